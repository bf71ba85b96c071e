"""Appending to the ledger inside a transaction.

What this leaves behind is a head and exactly the lines that the head counts, or nothing: a crash at any point between
two statements rolls both back.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BindParameter,
    Connection,
    Dialect,
    Insert,
    LargeBinary,
    Select,
    Table,
    Update,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import IntegrityError

from node.errors import LedgerBrokenError, LedgerError, ReplayError
from node.ledger.chain import link_of
from node.ledger.rfc6962 import leaf_hash
from node.store.institution import MOST_COPIES, Epoch, copies
from node.store.lines import (
    EMPTY_HEAD,
    Head,
    Line,
    bodies_context,
    ledger_bodies,
    ledger_head,
    ledger_lines,
    ledger_openings,
    ledger_states,
    opening_context,
    pack_bodies,
    parse_head,
    states_tag,
)
from node.store.prepared import Prepared
from node.store.vault import Vault

Replay = tuple[bytes, bytes]
"""An exchange id, and the replay key that was used with it."""

REPLAYED: Final = "this exchange is in the ledger already"

# Rows of one INSERT. Each run of a statement gives up the interpreter's lock and waits for it again, up to 5 ms where
# the event loop is busy, so a batch is written in few of them.
_ROW_SIZES: Final = (32, 16, 8, 4, 2, 1)

# Parameters of the statement that looks replays up. A few fixed numbers, so that each is compiled and prepared once; a
# list in between is filled up with its last id.
_REPLAY_SIZES: Final = (1, 4, 16, 64, 256)


@dataclass(frozen=True, slots=True)
class SealedLine:
    """A line whose leaf is hashed, and whose opening and bodies (if any) are encrypted: ready to be numbered."""

    line: Line
    leaf_hash: bytes
    opening: bytes
    bodies: bytes | None
    packed: bytes  # the bodies in the clear, for the institution's copy
    states_tag: bytes | None  # where it says what was changed


def seal_line(vault: Vault, line: Line) -> SealedLine:
    """Encrypt what must not lie in the clear, each part under a key of its own, which is durable before it is used.

    Raises:
        StoreError: The key store can't be written.
    """
    hashed = leaf_hash(line.leaf)
    bodies, packed = None, b""
    if line.bodies:
        packed = pack_bodies(line.bodies)
        bodies = vault.seal_alone(bodies_context(hashed), packed)
    tag = states_tag(vault, hashed) if line.states else None
    return SealedLine(line, hashed, vault.seal_alone(opening_context(hashed), line.opening), bodies, packed, tag)


def placed(sealed: SealedLine, size: int, lines: list[SealedLine], used: set[Replay]) -> int | ReplayError:
    """Add a line that stands for itself to those that are written behind the first `size`, unless it is a replay."""
    line = sealed.line
    if line.replay_key is not None:
        replay = (line.exchange_id, line.replay_key)
        if replay in used:
            return ReplayError(REPLAYED)
        used.add(replay)
    lines.append(sealed)
    return size + len(lines) - 1


def found_ledger(connection: Connection) -> None:
    """Write the head of the empty ledger, unless there is one.

    Raises:
        LedgerBrokenError: There are lines without a head. To write one would be to forget them.
    """
    if connection.execute(select(ledger_head.c.id)).first() is not None:
        return
    if connection.execute(select(ledger_lines.c.idx).limit(1)).first() is not None:
        raise LedgerBrokenError("the head of the ledger is missing, but there are lines")
    empty = {"size": 0, "root": EMPTY_HEAD.root, "frontier": EMPTY_HEAD.frontier.to_bytes(), "link": EMPTY_HEAD.link}
    with suppress(IntegrityError), connection.begin_nested():  # another process has just founded it
        connection.execute(insert(ledger_head).values(id=1, **empty))


class Appender:
    """Appends to the ledger, with statements compiled once.

    It remembers the last head, so that its frontier isn't parsed and hashed anew for each batch; what counts is still
    the row that it has locked.
    """

    def __init__(self, dialect: Dialect) -> None:
        head = ledger_head.c["size", "root", "frontier", "link"]
        self._lock = Prepared(select(*head).with_for_update(), dialect).sql
        self._lines = _inserts(ledger_lines, dialect)
        self._openings = _inserts(ledger_openings, dialect)
        self._bodies = _inserts(ledger_bodies, dialect)
        self._states = _inserts(ledger_states, dialect)
        self._copies = _inserts(copies, dialect)
        self._epoch: Epoch | None = None  # under whose key copies for the institution are encrypted
        self._next: tuple[Epoch | None] | None = None  # the one from this transaction on, if it is committed
        self._move = Prepared(_move_head(), dialect).sql
        self._replays = {size: Prepared(_find_replays(size), dialect).sql for size in _REPLAY_SIZES}
        self._head = EMPTY_HEAD

    def lock_head(self, cursor: DBAPICursor) -> Head:
        """Lock the head until the transaction ends, and return it: from here on, nobody else can append.

        Raises:
            LedgerBrokenError: There is no head, or it contradicts itself. Appending would bury the damage.
        """
        cursor.execute(self._lock)
        row = cursor.fetchone()
        if row is None:
            raise LedgerBrokenError("the ledger has no head")
        size, root, frontier, link = row
        if (size, root, link) != (self._head.size, self._head.root, self._head.link):
            self._head = parse_head(size, root, frontier, link)  # another process has appended, or this one failed
        return self._head

    def used(self, cursor: DBAPICursor, replays: Sequence[Replay]) -> set[Replay]:
        """Find which of these were used, or others of their exchanges; under the lock, the answer stays true."""
        found: set[Replay] = set()
        for at in range(0, len(replays), _REPLAY_SIZES[-1]):
            ids = [exchange_id for exchange_id, _ in replays[at : at + _REPLAY_SIZES[-1]]]
            size = next(size for size in _REPLAY_SIZES if size >= len(ids))
            cursor.execute(self._replays[size], [*ids, *[ids[-1]] * (size - len(ids))])
            found.update(cursor.fetchall())
        return found

    def append(self, cursor: DBAPICursor, head: Head, lines: Sequence[SealedLine]) -> Head:
        """Write lines behind the locked head, and the new head, which is returned.

        The first of them has the index `head.size`.

        Raises:
            LedgerError: The head moved although it was locked.
        """
        index, link = head.size, head.link
        rows: list[tuple[object, ...]] = []
        openings: list[tuple[int, bytes]] = []
        bodies: list[tuple[int, bytes]] = []
        states: list[tuple[int, bytes, bytes]] = []
        for sealed in lines:
            line, hashed = sealed.line, sealed.leaf_hash
            link = link_of(link, hashed)
            message = (line.statement or None, line.key_id or None, line.signature or None)
            rows.append((index, line.leaf, hashed, link, line.exchange_id, line.replay_key, *message))
            openings.append((index, sealed.opening))
            if sealed.bodies is not None:
                bodies.append((index, sealed.bodies))
            if sealed.states_tag is not None:
                states.append((index, line.states, sealed.states_tag))
            index += 1
        frontier = head.frontier.appended([sealed.leaf_hash for sealed in lines])
        moved = Head(frontier, frontier.root, link)
        _write(cursor, self._lines, rows)
        _write(cursor, self._openings, openings)
        _write(cursor, self._bodies, bodies)
        _write(cursor, self._states, states)
        epoch = self._epoch if self._next is None else self._next[0]
        if epoch is not None:
            _write(cursor, self._copies, _copied(epoch, head.size, lines))
        cursor.execute(self._move, (moved.size, moved.root, frontier.to_bytes(), link, head.size, head.root))
        if cursor.rowcount != 1:
            raise LedgerError("the head of the ledger moved although it was locked")
        return moved

    def copy_under(self, epoch: Epoch | None) -> None:
        """Encrypt copies under this epoch's key, or none: from the transaction that has begun on, if it commits."""
        self._next = (epoch,)

    def committed(self, head: Head) -> None:
        """Remember the head that a commit has made durable; never call it before."""
        self._head = head
        if self._next is not None:
            (self._epoch,), self._next = self._next, None

    def failed(self) -> None:
        """Forget what the transaction that failed has begun."""
        self._next = None


def _copied(epoch: Epoch, first: int, lines: Sequence[SealedLine]) -> list[tuple[int, int, bytes, bytes]]:
    rows = []
    for at in range(0, len(lines), MOST_COPIES):
        part = [(sealed.line.opening, sealed.packed) for sealed in lines[at : at + MOST_COPIES]]
        rows.append((first + at, len(part), epoch.record.epoch_id, epoch.seal(first + at, part)))
    return rows


def _inserts(table: Table, dialect: Dialect) -> dict[int, str]:
    """Statements that write so many rows at once, all columns in their order."""
    return {size: Prepared(_insert(table, size), dialect).sql for size in _ROW_SIZES}


def _insert(table: Table, size: int) -> Insert:
    row = [column.name for column in table.columns]
    return insert(table).inline().values([{name: bindparam(f"{name}_{at}") for name in row} for at in range(size)])


def _write(cursor: DBAPICursor, inserts: Mapping[int, str], rows: Sequence[tuple[object, ...]]) -> None:
    at = 0
    for size, statement in inserts.items():
        while len(rows) - at >= size:
            cursor.execute(statement, [value for row in rows[at : at + size] for value in row])
            at += size


def _find_replays(size: int) -> Select[tuple[bytes, bytes]]:
    ids = [bindparam(f"id_{number}", type_=LargeBinary) for number in range(size)]
    line = ledger_lines.c
    used = line.exchange_id.in_(ids), line.replay_key.is_not(None)
    return select(line.exchange_id, line.replay_key).where(*used)


def _move_head() -> Update:
    new: dict[str, BindParameter[object]] = {
        name: bindparam(f"new_{name}") for name in ("size", "root", "frontier", "link")
    }
    head = ledger_head.c
    return update(ledger_head).values(new).where(head.size == bindparam("old_size"), head.root == bindparam("old_root"))
