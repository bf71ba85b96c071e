"""LIFE queries until a human has read them: those of peers, and our own at peers."""

from typing import Final

from sqlalchemy import Connection, insert, select, update

from node.errors import NotFoundError
from node.store.tables import life_queries
from node.wire.desk_pb2 import LifeNotice
from node.wire.ledger_pb2 import Direction

WITHIN_US: Final = 15 * 60 * 1_000_000
"""How soon a human has read a LIFE query."""


def expect(
    connection: Connection, *, exchange_id: bytes, peer: str, direction: Direction.ValueType, due_us: int
) -> None:
    """Note that a human is to read a query: RECEIVED here, SENT at the peer."""
    connection.execute(
        insert(life_queries).values(
            exchange_id=exchange_id, peer=peer, direction=direction, due_us=due_us, examined=False
        )
    )


def acknowledge(
    connection: Connection,
    exchange_id: bytes,
    peer: str,
    direction: Direction.ValueType,
    *,
    officer: str,
    telephone: str,
    now_us: int,
) -> None:
    """Note who has read a query, and where they are reached; the first acknowledgement stands.

    Raises:
        NotFoundError: there is no such query.
    """
    held = life_queries.c
    this = (held.exchange_id == exchange_id, held.peer == peer, held.direction == direction)
    first = update(life_queries).where(*this, held.acknowledged_us.is_(None))
    read = {"acknowledged_us": now_us, "acknowledged_by": officer, "telephone": telephone}
    if connection.execute(first.values(read)).rowcount:
        return
    if connection.execute(select(held.peer).where(*this)).first() is None:
        raise NotFoundError("there is no such LIFE query")


def unexamined(connection: Connection) -> list[tuple[bytes, str]]:
    """Return exchange id and peer of the LIFE queries received of which nobody has looked why nothing was told."""
    held = life_queries.c
    came = (held.direction == Direction.DIRECTION_RECEIVED, held.examined.is_(False))
    return [(row.exchange_id, row.peer) for row in connection.execute(select(life_queries).where(*came))]


def examine(connection: Connection, exchange_id: bytes, peer: str) -> bool:
    """Note that it was looked at why a query was told nothing, and tell whether that is new."""
    held = life_queries.c
    this = (held.exchange_id == exchange_id, held.peer == peer, held.direction == Direction.DIRECTION_RECEIVED)
    changed = connection.execute(update(life_queries).where(*this, held.examined.is_(False)).values(examined=True))
    return changed.rowcount > 0


def notices(connection: Connection, *, waiting_only: bool = False) -> list[LifeNotice]:
    """Return LIFE queries of both directions, the earliest due first."""
    query = select(life_queries).order_by(life_queries.c.due_us, life_queries.c.exchange_id)
    if waiting_only:
        query = query.where(life_queries.c.acknowledged_us.is_(None))
    return [
        LifeNotice(
            exchange_id=row.exchange_id,
            peer=row.peer,
            direction=row.direction,
            due_us=row.due_us,
            acknowledged_us=row.acknowledged_us or 0,
            acknowledged_by=row.acknowledged_by or "",
            telephone=row.telephone or "",
        )
        for row in connection.execute(query)
    ]
