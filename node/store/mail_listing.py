"""Mail as people see it: ids, kinds and states, without contents."""

from typing import Any, Final

from sqlalchemy import Connection, Row, Table, func, select

from node.store.mail import InboxRow, OutboxRow, open_received
from node.store.mail_tables import inbox, outbox
from node.store.vault import Vault
from node.wire.correspondence_pb2 import (
    MAIL_STATE_BLOCKED,
    MAIL_STATE_DEAD,
    MAIL_STATE_DELIVERED,
    MAIL_STATE_QUEUED,
    MAIL_STATE_WITHDRAWN,
    ListMailRequest,
    MailItem,
    MailQueue,
)
from node.wire.ledger_pb2 import Direction
from node.wire.mail_pb2 import Mail

_OPEN: Final = (MAIL_STATE_QUEUED, MAIL_STATE_DEAD, MAIL_STATE_BLOCKED)


def list_mail(connection: Connection, request: ListMailRequest, limit: int) -> list[MailItem]:
    """Return mail of both directions that fits a request, the newest first, at most so many."""
    found = list[MailItem]()
    if request.direction != Direction.DIRECTION_RECEIVED:
        found += [sent_item(OutboxRow._make(row)) for row in _rows(connection, outbox, request, limit)]
    if request.direction != Direction.DIRECTION_SENT:
        found += [received_item(InboxRow._make(row)) for row in _rows(connection, inbox, request, limit)]
    return sorted(found, key=lambda each: (-each.changed_us, each.peer, each.exchange_id, each.number))[:limit]


def read_received(connection: Connection, vault: Vault, peer: str, exchange_id: bytes, kind: str) -> list[Mail]:
    """Return what mail of a kind said that came in an exchange, in order; without what was forgotten since."""
    came = inbox.c
    query = select(inbox).where(came.peer == peer, came.exchange_id == exchange_id, came.kind == kind)
    rows = [
        InboxRow._make(row) for row in connection.execute(query.where(came.sealed.is_not(None)).order_by(came.number))
    ]
    return [Mail.FromString(open_received(vault, row.mail_id, row.sealed)) for row in rows]


def _rows(connection: Connection, table: Table, request: ListMailRequest, limit: int) -> list[Row[Any]]:
    query = select(table).order_by(table.c.changed_us.desc()).limit(limit)
    for name in ("peer", "exchange_id", "state"):
        if wanted := getattr(request, name):
            query = query.where(table.c[name] == wanted)
    return list(connection.execute(query))


def sent_item(row: OutboxRow) -> MailItem:
    """Return what people see of a mail of this country."""
    state = MAIL_STATE_WITHDRAWN if row.withdrawn is not None and row.state == MAIL_STATE_QUEUED else row.state
    return MailItem(
        direction=Direction.DIRECTION_SENT,
        peer=row.peer,
        exchange_id=row.exchange_id,
        number=row.number,
        kind=row.kind.upper(),
        state=state,
        time_us=row.sent_us,
        changed_us=row.changed_us,
        attempts=row.attempts,
        next_us=row.next_us,
        reason=row.reason,
        bytes=row.size,
    )


def received_item(row: InboxRow) -> MailItem:
    """Return what people see of a mail of a peer."""
    return MailItem(
        direction=Direction.DIRECTION_RECEIVED,
        peer=row.peer,
        exchange_id=row.exchange_id,
        number=row.number,
        kind=row.kind.upper(),
        state=row.state,
        time_us=row.sent_us,
        changed_us=row.changed_us,
        reason=row.reason,
        bytes=row.size,
    )


def queues(connection: Connection) -> list[MailQueue]:
    """Return what waits for each peer, in the order of their codes."""
    held = outbox.c
    query = select(held.peer, held.state, func.count().label("number"), func.min(held.queued_us).label("oldest_us"))
    query = query.where(held.state.in_(_OPEN)).group_by(held.peer, held.state)
    found: dict[str, MailQueue] = {}
    for row in connection.execute(query):
        queue = found.setdefault(row.peer, MailQueue(peer=row.peer))
        if row.state == MAIL_STATE_QUEUED:
            queue.queued, queue.oldest_us = row.number, row.oldest_us
        elif row.state == MAIL_STATE_DEAD:
            queue.dead = row.number
        else:
            queue.blocked = row.number
    return [found[peer] for peer in sorted(found)]


def is_withdrawn(connection: Connection, peer: str, exchange_id: bytes, written_us: int) -> bool:
    """Tell whether a mail that was written at this time is one that, by all that is known, never left."""
    held = outbox.c
    where = (held.peer == peer, held.exchange_id == exchange_id, held.queued_us == written_us)
    never = (held.withdrawn.is_not(None), held.state != MAIL_STATE_DELIVERED)
    return connection.execute(select(held.number).where(*where, *never).limit(1)).first() is not None
