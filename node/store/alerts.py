"""Alerts: those that this country set at peers, and those of peers that stand here, with where each stands.

What may become of an alert, `node.workflow.alerts` says; here it is only written down. What a peer's looks for is kept
only while it stands, sealed under a key of its own, and beside it the tokens by which an entry tells that it is meant.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from node.errors import NotFoundError, ReplayError, UsageError
from node.store.alert_tables import alert_finds, alert_pairs, alert_tokens, alerts
from node.store.received_rows import queue_keys
from node.store.vault import Vault, key_id_of
from node.wire.alerting_pb2 import AlertDetail, AlertItem
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, Direction
from node.workflow.alerts import OPEN, State

KEPT_US: Final = 365 * 86_400 * 1_000_000
"""How long it is kept that there was an alert after it ended, and what was told; its lines tell of it for longer."""

_COPIED: Final = (
    "direction",
    "peer",
    "exchange_id",
    "state",
    "set_us",
    "until_us",
    "changed_us",
    "officer",
    "unit",
    "matches",
)


class AlertId(NamedTuple):
    """What names an alert here."""

    direction: Direction.ValueType
    peer: str
    exchange_id: bytes


class Kept(NamedTuple):
    """An alert as it is kept."""

    id: AlertId
    detail: AlertDetail

    @property
    def item(self) -> AlertItem:
        """How it stands."""
        return self.detail.item


def put(connection: Connection, vault: Vault, detail: AlertDetail, tokens: Collection[bytes]) -> Kept:
    """Write down a new alert; `tokens` are those of its selectors, for as long as it stands.

    Raises:
        ReplayError: there is one in this exchange.
    """
    item = detail.item
    key = AlertId(item.direction, item.peer, item.exchange_id)
    if _row(connection, key) is not None:
        raise ReplayError("an alert was set in this exchange before")
    values = {name: getattr(item, name) for name in _COPIED}
    connection.execute(insert(alerts).values(**values, sealed=_sealed(vault, key, detail)))
    rows = [{"token": token, **key._asdict()} for token in sorted(set(tokens))]
    if rows:
        connection.execute(insert(alert_tokens), rows)
    return Kept(key, detail)


def get(connection: Connection, vault: Vault, key: AlertId) -> Kept:
    """Return an alert; of one that ended, what it looked for is gone.

    Raises:
        NotFoundError: there is none.
        KeyErasedError, DecryptionError: it was erased or altered.
    """
    row = _row(connection, key)
    if row is None:
        raise NotFoundError("there is no such alert")
    return _kept(vault, row)


def find(connection: Connection, vault: Vault, exchange_id: bytes) -> Kept:
    """Return the alert of an exchange, whoever set it; exchanges of two countries have different ids.

    Raises:
        NotFoundError: there is none.
    """
    rows = connection.execute(select(alerts).where(alerts.c.exchange_id == exchange_id)).all()
    if len(rows) != 1:
        raise NotFoundError("there is no such alert") if not rows else UsageError("two countries chose this id")
    return _kept(vault, rows[0])


def change(connection: Connection, kept: Kept, now_us: int, state: str, *, matches: int = 0) -> None:
    """Write down what became of an alert; what a peer's looked for is erased once it stands no more.

    Args:
        connection: In a transaction of the caller.
        kept: As it was read; its detail is changed too.
        now_us: UTC microseconds.
        state: What it is now.
        matches: How many it has told more.
    """
    kept.item.state, kept.item.changed_us = state, now_us
    kept.item.matches += matches
    values: dict[str, Any] = {"state": state, "changed_us": now_us, "matches": kept.item.matches}
    if state not in OPEN:
        close(connection, kept, now_us)
        if kept.id.direction == DIRECTION_RECEIVED:
            values["sealed"] = None
    connection.execute(update(alerts).where(*_this(kept.id)).values(values))


def close(connection: Connection, kept: Kept, now_us: int) -> None:
    """Have an alert find nothing from now on; what a peer's looked for is erased."""
    held, key = alert_tokens.c, kept.id
    this = (held.direction == key.direction, held.peer == key.peer, held.exchange_id == key.exchange_id)
    connection.execute(delete(alert_tokens).where(*this))
    if key.direction == DIRECTION_RECEIVED:
        row = _row(connection, key)
        if row is not None and row.sealed is not None:
            queue_keys(connection, [key_id_of(row.sealed)], now_us)
        kept.detail.ClearField("alert")
        found = alert_finds.c
        these = (found.peer == key.peer, found.exchange_id == key.exchange_id)
        connection.execute(delete(alert_finds).where(*these, found.told_us.is_(None)))
        connection.execute(update(alert_finds).where(*these).values(found_us=None))


def list_items(
    connection: Connection,
    *,
    direction: Direction.ValueType | None = None,
    states: Sequence[State] = (),
    unit: str | None = None,
    since_us: int = 0,
    limit: int = 1_000,
) -> list[AlertItem]:
    """Return alerts without what they look for, the newest first; of those `since_us` that changed since then."""
    held = alerts.c
    query = select(alerts).order_by(held.set_us.desc(), held.exchange_id)
    if direction is not None:
        query = query.where(held.direction == direction)
    if states:
        query = query.where(held.state.in_(states))
    if unit is not None:
        query = query.where(held.unit == unit)
    if since_us:
        query = query.where(held.changed_us >= since_us)
    return [_item(row) for row in connection.execute(query.limit(limit))]


def count_open(connection: Connection, direction: Direction.ValueType, *, peer: str = "", unit: str = "") -> int:
    """Count alerts that stand, or wait to: of a peer, or of a unit at one."""
    held = alerts.c
    where = [held.direction == direction, held.state.in_(OPEN)]
    where += [held.peer == peer] if peer else []
    where += [held.unit == unit] if unit else []
    return connection.execute(select(func.count()).where(*where)).scalar_one()


def overdue(connection: Connection, vault: Vault, now_us: int, limit: int = 100) -> list[Kept]:
    """Return alerts of both directions whose end has come."""
    held = alerts.c
    where = (held.direction.in_((DIRECTION_SENT, DIRECTION_RECEIVED)), held.state.in_(OPEN), held.until_us <= now_us)
    return [_kept(vault, row) for row in connection.execute(select(alerts).where(*where).limit(limit))]


def old(connection: Connection, now_us: int) -> bool:
    """Tell whether any alert ended so long ago that nothing is kept of it."""
    held = alerts.c
    where = (held.state.not_in(OPEN), held.changed_us <= now_us - KEPT_US)
    return connection.execute(select(held.peer).where(*where).limit(1)).first() is not None


def forget_old(connection: Connection, now_us: int, limit: int = 100) -> int:
    """Delete alerts that ended so long ago that nothing is kept of them, and return how many there were."""
    held = alerts.c
    query = select(held.direction, held.peer, held.exchange_id).where(
        held.state.not_in(OPEN), held.changed_us <= now_us - KEPT_US
    )
    found = [AlertId(*row) for row in connection.execute(query.limit(limit))]
    for key in found:
        connection.execute(delete(alerts).where(*_this(key)))
        told, pairs = alert_finds.c, alert_pairs.c
        connection.execute(delete(alert_finds).where(told.peer == key.peer, told.exchange_id == key.exchange_id))
        mine = (pairs.own_exchange_id == key.exchange_id) | (pairs.exchange_id == key.exchange_id)
        connection.execute(delete(alert_pairs).where(mine))
    return len(found)


def with_tokens(
    connection: Connection, tokens: Collection[bytes], direction: Direction.ValueType
) -> dict[AlertId, set[bytes]]:
    """Return alerts of a direction that look for any of the tokens, each with those of them that it looks for."""
    held, found = alert_tokens.c, dict[AlertId, set[bytes]]()
    query = select(alert_tokens).where(held.token.in_(list(tokens)), held.direction == direction)
    for row in connection.execute(query) if tokens else ():
        found.setdefault(AlertId(row.direction, row.peer, row.exchange_id), set()).add(row.token)
    return found


def tokens_of(connection: Connection, key: AlertId) -> frozenset[bytes]:
    """Return the tokens of what an alert looks for; none once it ended."""
    held = alert_tokens.c
    this = (held.direction == key.direction, held.peer == key.peer, held.exchange_id == key.exchange_id)
    return frozenset(connection.execute(select(held.token).where(*this)).scalars())


# --- inside ----------------------------------------------------------------------------------------------------------


def _this(key: AlertId) -> tuple[ColumnElement[bool], ...]:
    held = alerts.c
    return held.direction == key.direction, held.peer == key.peer, held.exchange_id == key.exchange_id


def _row(connection: Connection, key: AlertId) -> Row[Any] | None:
    return connection.execute(select(alerts).where(*_this(key))).one_or_none()


def _context(key: AlertId) -> bytes:
    return b"alert\0" + bytes([key.direction]) + key.peer.encode() + key.exchange_id


def _sealed(vault: Vault, key: AlertId, detail: AlertDetail) -> bytes:
    return vault.seal_alone(_context(key), detail.SerializeToString())


def _kept(vault: Vault, row: Row[Any]) -> Kept:
    key = AlertId(row.direction, row.peer, row.exchange_id)
    detail = AlertDetail()
    if row.sealed is not None:
        detail.ParseFromString(vault.open_alone(_context(key), row.sealed))
    detail.item.CopyFrom(_item(row))
    return Kept(key, detail)


def _item(row: Row[Any]) -> AlertItem:
    values: Mapping[str, Any] = {name: getattr(row, name) for name in _COPIED}
    return AlertItem(**values)
