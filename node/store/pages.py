"""Whom the node called for what waits: a page for each thing, and a notification for each person and step of it."""

import secrets
from collections import defaultdict
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from node.store.duty_tables import notifications, pages
from node.wire.codes_pb2 import Urgency
from node.wire.duty_pb2 import Page, PageKind

KEPT_US: Final = 365 * 86_400_000_000
"""How long a page is kept after it was closed, as requests are; its lines tell of it for longer."""

WEBHOOK: Final = ""
"""The recipient of a notification that goes to no officer."""

DEPUTIES_END: Final = 100
"""Rungs below are places in a turn: 0 is who is on duty."""


class Rung(IntEnum):
    """Who is told once a turn's people all were."""

    FOCAL_POINTS = DEPUTIES_END
    SUPERVISORS = DEPUTIES_END + 1
    EVERYBODY = DEPUTIES_END + 2  # both, again and again


class Sending(IntEnum):
    """Where a notification stands."""

    QUEUED = 1
    SENT = 2
    DROPPED = 3  # somebody took it before it was sent


class What(NamedTuple):
    """What waits for a human; `subject` is an exchange id, or the id of a request (16 bytes)."""

    kind: PageKind.ValueType
    peer: str
    subject: bytes
    urgency: Urgency.ValueType
    at_us: int
    due_us: int
    to_all: bool = False  # somebody has called for all focal points


class OpenPage(NamedTuple):
    """A page that nobody has taken."""

    ticket: str
    what: What
    turn_id: bytes | None
    step: int
    rung: int
    next_us: int


class Due(NamedTuple):
    """A notification to be sent now."""

    ticket: str
    step: int
    recipient: str
    attempts: int
    rung: int
    urgency: Urgency.ValueType
    due_us: int


def rung_text(rung: int) -> str:
    """Return who is told, in words that name nobody."""
    words = {Rung.FOCAL_POINTS: "all focal points", Rung.SUPERVISORS: "supervisors", Rung.EVERYBODY: "everybody"}
    if rung < DEPUTIES_END:
        return f"deputy {rung}" if rung else "on duty"
    return words[Rung(rung)]


def find(connection: Connection, what: What) -> tuple[str, int | None] | None:
    """Return ticket and time of closing of the page for this, or None where nobody was ever called for it."""
    held = pages.c
    this = (held.kind == what.kind, held.peer == what.peer, held.subject == what.subject)
    row = connection.execute(select(held.ticket, held.closed_us).where(*this)).one_or_none()
    return None if row is None else (row.ticket, row.closed_us)


def open_page(connection: Connection, what: What, now_us: int) -> OpenPage:
    """Open the page for something, or open it again, with nobody told yet."""
    known = find(connection, what)
    values: dict[str, object] = {"at_us": what.at_us, "due_us": what.due_us, "urgency": what.urgency}
    values |= {"told_us": now_us, "next_us": now_us, "turn_id": None, "rung": -1, "closed_us": None}
    if known is not None:
        ticket = known[0]
        connection.execute(update(pages).where(pages.c.ticket == ticket).values(values))
        step = connection.execute(select(pages.c.step).where(pages.c.ticket == ticket)).scalar_one()
    else:
        ticket, step = _new_ticket(connection), 0
        row = {"ticket": ticket, "kind": what.kind, "peer": what.peer, "subject": what.subject, "step": step}
        connection.execute(insert(pages).values(**row, **values))
    return OpenPage(ticket, what, None, step, -1, now_us)


def _new_ticket(connection: Connection) -> str:
    """Return ten digits that nobody has: drawn, so that neither what waits nor how much can be read from them."""
    while True:
        ticket = f"{secrets.randbelow(10**10):010}"
        if connection.execute(select(pages.c.ticket).where(pages.c.ticket == ticket)).first() is None:
            return ticket


def open_pages(connection: Connection) -> list[OpenPage]:
    """Return the pages that nobody has taken, the earliest due first."""
    query = select(pages).where(pages.c.closed_us.is_(None)).order_by(pages.c.due_us, pages.c.ticket)
    return [
        OpenPage(row.ticket, _what(row), row.turn_id, row.step, row.rung, row.next_us)
        for row in connection.execute(query)
    ]


def tell(
    connection: Connection,
    page: OpenPage,
    *,
    rung: int,
    turn_id: bytes | None,
    recipients: Sequence[str],
    now_us: int,
    next_us: int,
) -> int:
    """Write a step of a page down with the notifications of it, and return its number."""
    step = page.step + 1
    values = {"step": step, "rung": rung, "turn_id": turn_id, "told_us": now_us, "next_us": next_us}
    connection.execute(update(pages).where(pages.c.ticket == page.ticket).values(values))
    for recipient in recipients:
        row = {"ticket": page.ticket, "step": step, "recipient": recipient, "state": Sending.QUEUED}
        connection.execute(insert(notifications).values(**row, attempts=0, next_us=now_us, reason=""))
    return step


def close(connection: Connection, ticket: str, now_us: int) -> bool:
    """Close a page, with what was not sent of it, and tell whether it was open."""
    this = (pages.c.ticket == ticket, pages.c.closed_us.is_(None))
    if connection.execute(update(pages).where(*this).values(closed_us=now_us)).rowcount == 0:
        return False
    waiting = (notifications.c.ticket == ticket, notifications.c.state == Sending.QUEUED)
    connection.execute(update(notifications).where(*waiting).values(state=Sending.DROPPED))
    return True


def take_facts(connection: Connection, exchange_id: bytes, peer: str, now_us: int) -> str | None:
    """Close the page for the facts to determine of a LIFE query; returns its ticket, or None where none was open.

    Of all else that waits, it is kept there who took it.
    """
    held = pages.c
    this = (held.kind == PageKind.PAGE_KIND_FACTS, held.peer == peer, held.subject == exchange_id)
    ticket = connection.execute(select(held.ticket).where(*this, held.closed_us.is_(None))).scalar_one_or_none()
    return ticket if ticket is not None and close(connection, ticket, now_us) else None


# --- sending ---------------------------------------------------------------------------------------------------------


def due(connection: Connection, now_us: int, limit: int = 32) -> list[Due]:
    """Return notifications to be sent now."""
    held = notifications.c
    query = select(held.ticket, held.step, held.recipient, held.attempts, pages.c.rung, pages.c.urgency, pages.c.due_us)
    query = query.join_from(notifications, pages, held.ticket == pages.c.ticket)
    query = query.where(held.state == Sending.QUEUED, held.next_us <= now_us).order_by(pages.c.due_us, held.ticket)
    return [Due(*row) for row in connection.execute(query.limit(limit))]


def claim(connection: Connection, each: Due, next_us: int) -> bool:
    """Take a notification to send it, until it would be tried again; False where somebody else has."""
    held = notifications.c
    this = (*_this(each), held.state == Sending.QUEUED, held.attempts == each.attempts)
    values = {"attempts": each.attempts + 1, "next_us": next_us}
    return connection.execute(update(notifications).where(*this).values(values)).rowcount > 0


def sent(connection: Connection, each: Due) -> None:
    """Note that a notification was sent."""
    connection.execute(update(notifications).where(*_this(each)).values(state=Sending.SENT, reason=""))


def failed(connection: Connection, each: Due, reason: str) -> None:
    """Note why a notification was not sent; it is tried again."""
    connection.execute(update(notifications).where(*_this(each)).values(reason=reason[:100]))


def _this(each: Due) -> tuple[ColumnElement[bool], ...]:
    held = notifications.c
    return (held.ticket == each.ticket, held.step == each.step, held.recipient == each.recipient)


# --- telling ---------------------------------------------------------------------------------------------------------


def count_failing(connection: Connection) -> int:
    """Return how many notifications were tried and are not sent."""
    held = notifications.c
    query = select(func.count()).where(held.state == Sending.QUEUED, held.reason != "")
    return connection.execute(query).scalar_one()


def list_pages(connection: Connection, *, closed: bool) -> list[Page]:
    """Return pages, the earliest due first."""
    query = select(pages).order_by(pages.c.due_us, pages.c.ticket).limit(1_000)
    if not closed:
        query = query.where(pages.c.closed_us.is_(None))
    rows = connection.execute(query).all()
    told: dict[str, list[Row[*tuple[object, ...]]]] = defaultdict(list)
    for row in connection.execute(
        select(notifications).where(notifications.c.ticket.in_([row.ticket for row in rows]))
    ):
        told[row.ticket].append(row)
    return [
        Page(
            ticket=row.ticket,
            kind=row.kind,
            peer=row.peer,
            subject=row.subject,
            urgency=row.urgency,
            at_us=row.at_us,
            due_us=row.due_us,
            closed_us=row.closed_us or 0,
            told=rung_text(row.rung) if row.rung >= 0 else "",
            told_us=row.told_us,
            officers=sorted({each.recipient for each in told[row.ticket] if each.recipient != WEBHOOK}),
            failing=sum(each.state == Sending.QUEUED and bool(each.reason) for each in told[row.ticket]),
        )
        for row in rows
    ]


def forget(connection: Connection, now_us: int) -> int:
    """Delete pages that were closed long ago, a hundred at once, and return how many there were."""
    held = pages.c
    query = select(held.ticket).where(held.closed_us <= now_us - KEPT_US).limit(100)
    tickets = list(connection.execute(query).scalars())
    if tickets:
        connection.execute(delete(notifications).where(notifications.c.ticket.in_(tickets)))
        connection.execute(delete(pages).where(held.ticket.in_(tickets)))
    return len(tickets)


def outdated(connection: Connection, now_us: int) -> bool:
    """Tell whether there is anything to forget."""
    query = select(pages.c.ticket).where(pages.c.closed_us <= now_us - KEPT_US).limit(1)
    return connection.execute(query).first() is not None


def _what(row: Row[*tuple[object, ...]]) -> What:
    return What(row.kind, row.peer, row.subject, row.urgency, row.at_us, row.due_us)
