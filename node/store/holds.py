"""Entries that the focal point is to decide on; of a silent one the peer saw a no-hit."""

from enum import IntEnum

from sqlalchemy import Connection, insert, select, update

from node.errors import NotFoundError
from node.store.tables import holds
from node.wire.desk_pb2 import Hold


class HoldState(IntEnum):
    """Where a hold stands."""

    WAITING = 1
    CLOSED = 2


def put(
    connection: Connection, *, exchange_id: bytes, peer: str, entry_id: bytes, at_us: int, due_us: int, silent: bool
) -> bool:
    """Note that an entry waits for the focal point; of one peer and entry, once: who asks again adds nothing.

    Returns:
        Whether it is noted now, and was not before.
    """
    held = holds.c
    known = (held.state == HoldState.WAITING) | (held.exchange_id == exchange_id)
    same = (held.peer == peer, held.entry_id == entry_id, known)
    if connection.execute(select(held.entry_id).where(*same).limit(1)).first() is not None:
        return False
    connection.execute(
        insert(holds).values(
            exchange_id=exchange_id,
            peer=peer,
            entry_id=entry_id,
            at_us=at_us,
            due_us=due_us,
            silent=silent,
            state=HoldState.WAITING,
        )
    )
    return True


def waiting(connection: Connection) -> list[Hold]:
    """Return what waits, the earliest due first."""
    query = select(holds).where(holds.c.state == HoldState.WAITING).order_by(holds.c.due_us, holds.c.entry_id)
    return [
        Hold(
            exchange_id=row.exchange_id,
            entry_id=row.entry_id,
            peer=row.peer,
            at_us=row.at_us,
            due_us=row.due_us,
            silent=row.silent,
        )
        for row in connection.execute(query)
    ]


def close(connection: Connection, exchange_id: bytes, peer: str, entry_id: bytes) -> None:
    """Note that the focal point has decided.

    Raises:
        NotFoundError: no such entry waits.
    """
    held = holds.c
    changed = connection.execute(
        update(holds)
        .where(
            held.exchange_id == exchange_id,
            held.peer == peer,
            held.entry_id == entry_id,
            held.state == HoldState.WAITING,
        )
        .values(state=HoldState.CLOSED)
    )
    if changed.rowcount == 0:
        raise NotFoundError("no such entry waits for a decision")
