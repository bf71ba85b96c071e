"""What standing alerts find as entries are written, noted in the same transaction; what is told of it comes behind.

One look-up in an index for each entry, whether ten alerts stand or ten thousand: an entry is not compared with alerts,
but its own tokens are looked for among theirs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from node.store.alert_tables import alert_finds, alert_tokens
from node.store.database import Database
from node.wire.ledger_pb2 import DIRECTION_RECEIVED

_SIZES: Final = (4, 16, 64, 256)
"""Parameters of the statement; a list in between repeats its last token."""
_KEYS: Final = 200  # of one statement


class FindId(NamedTuple):
    """An entry that an alert of a peer has found."""

    peer: str
    exchange_id: bytes
    entry_id: bytes


class Found(NamedTuple):
    """What is kept of it; `told_sha256` is None where the peer was told nothing."""

    id: FindId
    found_us: int | None
    told_sha256: bytes | None
    told_us: int | None
    forbidden: bool


class Noting:
    """Notes what standing alerts find; what it writes is of the caller's transaction."""

    def __init__(self, database: Database) -> None:
        """Prepare the look-up."""
        self._look_ups = {size: database.prepare(_look_up(size)) for size in _SIZES}

    def note(self, connection: Connection, written: Sequence[tuple[bytes, bytes]], now_us: int) -> None:
        """Note which alerts the entries are found by that were just written; `written` are tokens with entries' ids."""
        entries: dict[bytes, list[bytes]] = {}
        for token, entry_id in written:
            entries.setdefault(token, []).append(entry_id)
        tokens, found = list(entries), dict[FindId, None]()
        raw = connection.connection.cursor()
        try:
            for at in range(0, len(tokens), _SIZES[-1]):
                part = tokens[at : at + _SIZES[-1]]
                size = next(size for size in _SIZES if size >= len(part))
                part += part[-1:] * (size - len(part))
                values: dict[str, object] = {f"token_{number}": token for number, token in enumerate(part)}
                for token, peer, exchange_id in self._look_ups[size].run(raw, values).fetchall():
                    found.update((FindId(peer, exchange_id, entry_id), None) for entry_id in entries[token])
        finally:
            raw.close()
        if found:
            _note(connection, list(found), now_us)


def _look_up(size: int) -> Select[bytes, str, bytes]:
    held = alert_tokens.c
    tokens = [bindparam(f"token_{number}", type_=LargeBinary) for number in range(size)]
    query = select(held.token, held.peer, held.exchange_id)
    return query.where(held.token.in_(tokens), held.direction == DIRECTION_RECEIVED)


def _note(connection: Connection, found: Sequence[FindId], now_us: int) -> None:
    held, known = alert_finds.c, set[FindId]()
    ids = list({each.entry_id for each in found})
    for at in range(0, len(ids), _KEYS):
        query = select(held.peer, held.exchange_id, held.entry_id).where(held.entry_id.in_(ids[at : at + _KEYS]))
        known.update(FindId(*row) for row in connection.execute(query))
    new = [{**each._asdict(), "found_us": now_us, "forbidden": False} for each in found if each not in known]
    if new:
        connection.execute(insert(alert_finds), new)
    again = [
        {"peer_": each.peer, "exchange_id_": each.exchange_id, "entry_id_": each.entry_id}
        for each in found
        if each in known
    ]
    if again:
        these = (held[name] == bindparam(f"{name}_") for name in FindId._fields)
        connection.execute(update(alert_finds).where(*these).values(found_us=now_us), again)


def due(connection: Connection, before_us: int, limit: int) -> list[FindId]:
    """Return what was found before a time and not looked at since, by entry: its alerts are answered together."""
    held = alert_finds.c
    query = select(held.peer, held.exchange_id, held.entry_id).where(held.found_us < before_us)
    return [FindId(*row) for row in connection.execute(query.order_by(held.entry_id).limit(limit))]


def get(connection: Connection, key: FindId) -> Found | None:
    """Return what is kept of a find; None where nothing is any more."""
    row = connection.execute(select(alert_finds).where(*_this(key))).one_or_none()
    return None if row is None else _found(row)


def settle(connection: Connection, key: FindId, **values: object) -> None:
    """Note that a find was looked at, and with what result."""
    connection.execute(update(alert_finds).where(*_this(key)).values(found_us=None, **values))


def untell(connection: Connection, key: FindId, now_us: int) -> None:
    """Note that what was to be told did not leave, and have the find looked at again."""
    values = {"told_sha256": None, "told_us": None, "found_us": now_us}
    connection.execute(update(alert_finds).where(*_this(key)).values(values))


def tell(connection: Connection, key: FindId, told_sha256: bytes, now_us: int) -> None:
    """Note that something was told after all, where nothing is known to be."""
    values = {"told_sha256": told_sha256, "told_us": now_us}
    connection.execute(update(alert_finds).where(*_this(key), alert_finds.c.told_us.is_(None)).values(values))


def forget(connection: Connection, key: FindId) -> None:
    """Keep nothing of a find: the entry is no more."""
    connection.execute(delete(alert_finds).where(*_this(key)))


def told_to(connection: Connection, peer: str, exchange_id: bytes) -> list[Found]:
    """Return what a peer was told on an alert, the latest first."""
    held = alert_finds.c
    query = select(alert_finds).where(held.peer == peer, held.exchange_id == exchange_id, held.told_us.is_not(None))
    return [_found(row) for row in connection.execute(query.order_by(held.told_us.desc()))]


def recalls_due(connection: Connection) -> int:
    """Count what was told and would not be by the rules as they are now."""
    return connection.execute(select(func.count()).where(alert_finds.c.forbidden)).scalar_one()


def waiting(connection: Connection, before_us: int) -> int:
    """Count what was found before a time and not looked at since."""
    return connection.execute(select(func.count()).where(alert_finds.c.found_us < before_us)).scalar_one()


def reconsider(connection: Connection, rules: Mapping[str, bytes], now_us: int) -> None:
    """Have all that was found looked at again that was decided on by other rules; `rules` are digests by peer."""
    held = alert_finds.c
    others: Iterable[ColumnElement[bool]] = [
        and_(held.peer == peer, held.rules_sha256.is_not(None), held.rules_sha256 != digest)
        for peer, digest in rules.items()
    ]
    if rules:
        connection.execute(update(alert_finds).where(held.found_us.is_(None), or_(*others)).values(found_us=now_us))


def peers_found(connection: Connection) -> list[str]:
    """Return peers of whose alerts anything is kept."""
    return list(connection.execute(select(alert_finds.c.peer).distinct()).scalars())


def _this(key: FindId) -> tuple[ColumnElement[bool], ...]:
    held = alert_finds.c
    return held.peer == key.peer, held.exchange_id == key.exchange_id, held.entry_id == key.entry_id


def _found(row: Row[Any]) -> Found:
    key = FindId(row.peer, row.exchange_id, row.entry_id)
    return Found(key, row.found_us, row.told_sha256, row.told_us, row.forbidden)
