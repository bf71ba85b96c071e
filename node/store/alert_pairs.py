"""Who works on the same: units of this country, and countries whose alerts look for what a unit looks for."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from node.store.alert_tables import alert_pairs


class Pair(NamedTuple):
    """A unit that is to be told who works on the same.

    Attributes:
        own_exchange_id: Of its alert or query.
        country: Who does: a peer, or this country, whose unit is `other_unit`.
        exchange_id: Of their alert; the unit's own, where all that is known is that a peer said so.
        told_us: When the unit was told; None: it was not, or not yet.
    """

    own_exchange_id: bytes
    country: str
    exchange_id: bytes
    officer: str
    unit: str
    other_unit: str
    told_us: int | None = None


def put(connection: Connection, pair: Pair, found_us: int | None) -> None:
    """Write a pair down, unless it is known; with `found_us`, somebody is to look whether the unit may be told."""
    if connection.execute(select(alert_pairs.c.unit).where(*_this(pair))).first() is None:
        connection.execute(insert(alert_pairs).values(**pair._asdict(), found_us=found_us))


def due(connection: Connection, before_us: int, limit: int) -> list[Pair]:
    """Return what was found before a time and not looked at since."""
    held = alert_pairs.c
    query = select(alert_pairs).where(held.found_us < before_us).order_by(held.own_exchange_id).limit(limit)
    return [_pair(row) for row in connection.execute(query)]


def settle(connection: Connection, pair: Pair, told_us: int | None) -> None:
    """Note that a pair was looked at, and when the unit was told, if it was."""
    connection.execute(update(alert_pairs).where(*_this(pair)).values(found_us=None, told_us=told_us))


def is_told(connection: Connection, country: str, exchange_id: bytes) -> bool:
    """Tell whether a unit was told of this alert of a peer: then the peer was told too."""
    held = alert_pairs.c
    told = (held.country == country, held.exchange_id == exchange_id, held.told_us.is_not(None))
    return connection.execute(select(held.unit).where(*told).limit(1)).first() is not None


def told(
    connection: Connection,
    *,
    exchange_ids: Collection[bytes] = (),
    unit: str = "",
    since_us: int = 0,
    limit: int = 1_000,
) -> Sequence[Pair]:
    """Return of which alerts or queries the units were told who works on the same, the latest first."""
    held = alert_pairs.c
    query = select(alert_pairs).where(held.told_us >= since_us).order_by(held.told_us.desc()).limit(limit)
    if exchange_ids:
        query = query.where(held.own_exchange_id.in_(list(exchange_ids)))
    if unit:
        query = query.where(held.unit == unit)
    return [_pair(row) for row in connection.execute(query)]


def waiting(connection: Connection, before_us: int) -> int:
    """Count what was found before a time and not looked at since."""
    return connection.execute(select(func.count()).where(alert_pairs.c.found_us < before_us)).scalar_one()


def _this(pair: Pair) -> tuple[ColumnElement[bool], ...]:
    held = alert_pairs.c
    return (
        held.own_exchange_id == pair.own_exchange_id,
        held.country == pair.country,
        held.exchange_id == pair.exchange_id,
    )


def _pair(row: Row[Any]) -> Pair:
    return Pair(row.own_exchange_id, row.country, row.exchange_id, row.officer, row.unit, row.other_unit, row.told_us)
