"""What each peer was shown last of each entry, and how often peers were asked: both told by the ledger's lines.

The lines are followed behind the answers' back, and caught up with before a record's protection gets stronger: who has
seen it must be known then.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

import structlog
from sqlalchemy import Connection, Table, bindparam, insert, select, tuple_, update

from node.errors import DecryptionError
from node.ledger.leaf import parse_private, unpad
from node.store.lines import ledger_head
from node.store.listing import ListedLine, list_lines
from node.store.request_tables import told_lines
from node.store.safeguard_tables import asked_days, disclosures, followed
from node.store.vault import Vault
from node.wire.ledger_pb2 import (
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    ENTRY_OUTCOME_ENTRY,
    ENTRY_OUTCOME_HIT,
    ENTRY_OUTCOME_PENDING,
    LEAF_KIND_ANSWERED,
    LEAF_KIND_ASKED,
    LEAF_KIND_MAIL,
    LEAF_KIND_MAIL_RECEIPT,
    Decisions,
    EntryDecision,
    LeafShared,
    Opening,
)

log = structlog.get_logger()

PAGE: Final = 250
"""Lines read at once: a few milliseconds."""

K = TypeVar("K", bound=tuple[object, str])

# A follow-up request is a question too. What was held of a query's answer is not: the query is counted already.
_REQUEST: Final = "FOLLOW_UP_REQUEST"
_ANSWER: Final = "REQUEST_ANSWER FOLLOW_UP"
_TELLING: Final = frozenset({LEAF_KIND_ANSWERED, LEAF_KIND_MAIL})
_OPENED: Final = _TELLING | {LEAF_KIND_MAIL_RECEIPT}
_DAY_US: Final = 86_400_000_000
_SHOWN: Final = frozenset({ENTRY_OUTCOME_ENTRY, ENTRY_OUTCOME_HIT, ENTRY_OUTCOME_PENDING})


class LineToFollow(NamedTuple):
    """A line, and its opening; None where it can't be read."""

    line: int  # its index
    shared: LeafShared
    opening: Opening | None

    @property
    def day(self) -> tuple[int, str]:
        """The day (UTC, since 1970) and the peer for which it counts."""
        return self.shared.time_us // _DAY_US, self.shared.peer


class Shown(NamedTuple):
    """A revision of an entry that a peer saw, and the index of the line that says so."""

    revision: int
    line: int


class Told(NamedTuple):
    """What some lines tell, from index `start` to before `end`: by entry and peer, and by day and peer."""

    start: int
    end: int
    shown: Mapping[tuple[bytes, str], Shown]
    lines: Collection[tuple[bytes, str, int]]  # entry, peer and index of each line that showed it
    asked: Mapping[tuple[int, str], int]
    answered: Mapping[tuple[int, str], int]


def left(connection: Connection) -> int:
    """Return how many lines nobody has read."""
    size = connection.execute(select(ledger_head.c.size)).scalar_one_or_none() or 0  # none before the first start
    return size - _start(connection)


def _start(connection: Connection) -> int:
    return connection.execute(select(followed.c.size)).scalar_one_or_none() or 0


def read_on(connection: Connection, vault: Vault) -> Told | None:
    """Read the next lines that nobody has read; None where there are none."""
    start = _start(connection)
    if left(connection) <= 0:
        return None
    try:
        lines = list_lines(connection, start, PAGE, vault=vault)
    except DecryptionError:  # which must not hide all that comes after it
        lines = _readable(connection, vault, start)
    following = [LineToFollow(line.index, line.shared, line.opening) for line in lines]
    return told_of(following, start, lines[-1].index + 1 if lines else start + 1)


def keep(connection: Connection, told: Told) -> bool:
    """Write down what lines tell; False where another process has done so already."""
    if told.start == 0 and connection.execute(select(followed.c.id)).first() is None:
        connection.execute(insert(followed).values(id=1, size=0))
    moved = update(followed).where(followed.c.size == told.start).values(size=told.end)
    if connection.execute(moved).rowcount == 0:
        return False
    shown = {key: {"revision": each.revision, "idx": each.line} for key, each in told.shown.items()}
    _put(connection, disclosures, ("entry_id", "peer"), shown)
    if told.lines:
        rows = [{"entry_id": entry_id, "peer": peer, "idx": index} for entry_id, peer, index in sorted(told.lines)]
        connection.execute(insert(told_lines), rows)
    days = told.asked.keys() | told.answered.keys()
    before = _held(connection, asked_days, ("day", "peer"), days)
    counts = {}
    for key in days:
        asked, answered = before.get(key, (0, 0))
        counts[key] = {"asked": asked + told.asked.get(key, 0), "answered": answered + told.answered.get(key, 0)}
    _put(connection, asked_days, ("day", "peer"), counts)
    return True


def catch_up(connection: Connection, vault: Vault, then: Callable[[Told], None]) -> None:
    """Read and write down all that is left, in a transaction of the caller; `then` is told of each page."""
    while (told := read_on(connection, vault)) is not None and keep(connection, told):
        then(told)


def shown_to(connection: Connection, entry_id: bytes) -> dict[str, Shown]:
    """Return what each peer saw last of an entry."""
    query = select(disclosures).where(disclosures.c.entry_id == entry_id).order_by(disclosures.c.peer)
    return {row.peer: Shown(row.revision, row.idx) for row in connection.execute(query)}


def shown_after(connection: Connection, peer: str, after: bytes, limit: int) -> list[bytes]:
    """Return ids of entries that a peer was shown, in order, from behind `after` on."""
    held = disclosures.c
    query = select(held.entry_id).where(held.peer == peer, held.entry_id > after).order_by(held.entry_id).limit(limit)
    return list(connection.execute(query).scalars())


def lines_to(connection: Connection, peer: str, entry_ids: Collection[bytes]) -> list[int]:
    """Return the indexes of all lines by which a peer was shown anything of these entries, in order."""
    held = told_lines.c
    query = select(held.idx).where(held.peer == peer, held.entry_id.in_(entry_ids)).distinct().order_by(held.idx)
    return list(connection.execute(query).scalars())


def depends_on_opening(shared: LeafShared) -> bool:
    """Tell whether what opens a line may tell more of what was shown or asked than the line does."""
    return shared.direction == DIRECTION_SENT and shared.kind in _OPENED


def told_of(lines: Iterable[LineToFollow], start: int, end: int) -> Told:
    """Read what some lines tell, from index `start` to before `end`."""
    shown: dict[tuple[bytes, str], Shown] = {}
    telling = set[tuple[bytes, str, int]]()
    asked, answered = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
    for line in lines:
        shared = line.shared
        day = line.day
        if shared.kind == LEAF_KIND_ASKED:
            asked[day] += 1
        elif shared.kind == LEAF_KIND_ANSWERED and shared.direction == DIRECTION_RECEIVED:
            answered[day] += 1  # an answer after the deadline has no such line
        elif shared.kind == LEAF_KIND_MAIL_RECEIPT and shared.direction == DIRECTION_SENT:
            answered[day] += _reason(line).startswith(_ANSWER)
        elif shared.kind in _TELLING and shared.direction == DIRECTION_SENT:
            asked[day] += shared.kind == LEAF_KIND_MAIL and _reason(line).startswith(_REQUEST)
            for decided in _decided(line):
                if decided.outcome in _SHOWN:
                    shown[decided.entry_id, shared.peer] = Shown(decided.revision, line.line)
                    telling.add((decided.entry_id, shared.peer, line.line))
    return Told(start, end, shown, telling, +asked, +answered)


def _reason(line: LineToFollow) -> str:
    return "" if line.opening is None else parse_private(line.opening.private).reason


def _decided(line: LineToFollow) -> Iterable[EntryDecision]:
    if line.opening is None or not line.opening.decisions:
        return ()
    return Decisions.FromString(unpad(line.opening.decisions)).entries


def _readable(connection: Connection, vault: Vault, start: int) -> list[ListedLine]:
    """Read lines up to the first that can't be opened, or that one alone, without what opens it."""
    found: list[ListedLine] = []
    for index in range(start, start + PAGE):
        try:
            found += list_lines(connection, index, 1, vault=vault)
        except DecryptionError:
            if found:
                return found
            log.error("line_unreadable", index=index)  # noqa: TRY400 - there is no more to tell
            return list_lines(connection, index, 1)
    return found


def _put(
    connection: Connection,
    table: Table,
    key: tuple[str, str],
    rows: Mapping[K, Mapping[str, int]],
) -> None:
    """Write rows by their two key columns, whether they are there or not."""
    there = _held(connection, table, key, rows.keys())
    new = [dict(zip(key, ids, strict=True)) | dict(row) for ids, row in rows.items() if ids not in there]
    if new:
        connection.execute(insert(table), new)
    old = [{f"key_{n}": part for n, part in enumerate(ids)} | dict(rows[ids]) for ids in there]
    if old:
        where = [table.c[name] == bindparam(f"key_{n}") for n, name in enumerate(key)]
        names = next(iter(rows.values())).keys()
        values: dict[str, object] = {name: bindparam(name) for name in names}
        connection.execute(update(table).where(*where).values(values), old)


def _held(connection: Connection, table: Table, key: tuple[str, str], ids: Iterable[K]) -> dict[K, tuple[int, ...]]:
    """Return the other columns of those of the rows that there are, by key."""
    wanted = list(ids)
    if not wanted:
        return {}
    columns = [table.c[name] for name in key]
    query = select(table).where(tuple_(*columns).in_(wanted))
    there = {tuple(row[:2]): tuple(row[2:]) for row in connection.execute(query)}
    return {each: there[each] for each in wanted if each in there}
