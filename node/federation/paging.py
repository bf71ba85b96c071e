"""Calling people: what waits for a human in a matter of life, or urgently, until somebody takes it.

What waits is found again in each round from where it is kept, so no crash loses a call; that somebody took it is read
there too (`taken_by`, the acknowledgement). Only of facts to determine, the page itself is what is taken, by reading.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from node.federation import metrics
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.store import determinations, duty, life, pages, requests
from node.store.database import Database
from node.store.lines import Line
from node.store.pages import DEPUTIES_END, OpenPage, Rung, What
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.codes_pb2 import URGENCY_LIFE, URGENCY_URGENT, Urgency
from node.wire.desk_pb2 import OFFICER_ROLE_FOCAL_POINT, OFFICER_ROLE_SUPERVISOR
from node.wire.duty_pb2 import PAGE_KIND_FACTS, PAGE_KIND_LIFE, PAGE_KIND_REQUEST, Turn
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, LeafKind, LeafPrivate
from node.workflow.requests import State

log = structlog.get_logger()

MINUTE_US: Final = 60_000_000
WAIT_US: Final = {URGENCY_LIFE: 5 * MINUTE_US, URGENCY_URGENT: 30 * MINUTE_US}
"""How long the next one is not called yet. A LIFE query is to be read within 15 minutes, so that two deputies can be
called in time. What is urgent is due in 8 hours: half an hour each leaves most of them to decide."""

REPEAT_US: Final = 30 * MINUTE_US
"""How often everybody is called again, once everybody was."""

GIVEN_UP_US: Final = 24 * 60 * MINUTE_US
"""How long after it was due: by then it shows in red, and whoever did not come would not."""

_Key = tuple[int, str, bytes]


@dataclass(slots=True)
class Paging:
    """Keeps the pages; `has_mail` and `has_webhook` tell by which ways people can be called."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    clock: Callable[[], int]
    has_mail: bool
    has_webhook: bool

    async def look(self) -> None:
        """Call people for what is new, the next ones for what nobody took, and nobody for what is taken."""
        now_us = self.clock()
        to_advance, to_close, waiting = await self.database.read(self._todo, now_us)
        for what in to_advance:
            await self._write(partial(self._advance, what=what))
        for page in to_close:
            await self._write(partial(self._close, page=page))
        if await self.database.read(pages.outdated, now_us):
            await self._write(self._forget)
        for urgency in WAIT_US:
            named = Urgency.Name(urgency).removeprefix("URGENCY_").lower()
            metrics.UNTAKEN.labels(named).set(sum(what.urgency == urgency for what in waiting))
        metrics.NOTIFICATIONS_FAILING.set(await self.database.read(pages.count_failing))

    async def _write(self, change: Callable[[Connection, list[Line]], None]) -> None:
        await asyncio.wrap_future(self.writer.submit_logging(change, Priority.DESK))

    def _todo(self, connection: Connection, now_us: int) -> tuple[list[What], list[OpenPage], list[What]]:
        """Return what to call for now, what not to call for any more, and all that waits."""
        found = list(waiting(connection))
        calling = self.has_mail or self.has_webhook or duty.has_roster(connection)
        opened = {_key(page.what): page for page in pages.open_pages(connection)}
        turn = duty.on_duty(connection, now_us)
        wanted = {_key(what) for what in found}
        to_close = [page for key, page in opened.items() if key not in wanted]
        to_advance = []
        for what in found if calling else []:
            page = opened.get(_key(what))
            if page is None:
                # Who has read which facts to determine has taken them, though they wait until they are determined.
                if what.kind != PAGE_KIND_FACTS or pages.find(connection, what) is None:
                    to_advance.append(what)
            elif _is_due(page, what, turn, now_us):
                to_advance.append(what)
        return to_advance, to_close, found

    def _advance(self, connection: Connection, lines: list[Line], what: What) -> None:
        """Call the next ones, unless another process of this node, or somebody who took it, was quicker."""
        now_us, turn = self.clock(), duty.on_duty(connection, self.clock())
        if _key(what) not in {_key(each) for each in waiting(connection)}:
            return
        page = next((each for each in pages.open_pages(connection) if _key(each.what) == _key(what)), None)
        if page is None:
            page = pages.open_page(connection, what, now_us)
        elif not _is_due(page, what, turn, now_us):
            return
        focal = list(duty.active(connection, OFFICER_ROLE_FOCAL_POINT))
        team = [name for name in turn.officers if name in focal] if turn is not None else []
        rung = _next_rung(page, what, turn, len(team))
        recipients = self._recipients(connection, _people(connection, rung, team, focal))
        waits = bool(recipients) or rung == Rung.EVERYBODY or not (self.has_mail or self.has_webhook)
        wait_us = REPEAT_US if rung == Rung.EVERYBODY else WAIT_US[what.urgency]
        pages.tell(
            connection,
            page,
            rung=rung,
            turn_id=turn.turn_id if turn is not None else None,
            recipients=recipients,
            now_us=now_us,
            next_us=now_us + (wait_us if waits else 0),
        )
        urgency = Urgency.Name(what.urgency).removeprefix("URGENCY_")
        self._log(lines, what.subject, f"CALLED {page.ticket} {urgency}: {pages.rung_text(rung)}")
        log.warning("page", ticket=page.ticket, urgency=urgency, told=pages.rung_text(rung), due_us=what.due_us)

    def _recipients(self, connection: Connection, names: Sequence[str]) -> list[str]:
        """Return who can be told of these: officers with an address, and whoever is behind the webhook."""
        found = [pages.WEBHOOK] if self.has_webhook else []
        if self.has_mail:
            contacts = duty.get_contacts(connection, self.vault, names)
            found += [name for name in names if name in contacts and contacts[name].email]
        return found

    def _close(self, connection: Connection, lines: list[Line], page: OpenPage) -> None:
        if _key(page.what) in {_key(each) for each in waiting(connection)}:
            return
        if pages.close(connection, page.ticket, self.clock()):
            self._log(lines, page.what.subject, f"CLOSED {page.ticket}")

    def _forget(self, connection: Connection, lines: list[Line]) -> None:
        count = pages.forget(connection, self.clock())
        if count:
            self._log(lines, b"", f"FORGOTTEN {count}")

    def _log(self, lines: list[Line], subject: bytes, reason: str) -> None:
        private = LeafPrivate(subject=subject, reason=reason)
        lines.append(local_line(LeafKind.LEAF_KIND_DUTY, private, self.standing.signer, self.clock()))


def waiting(connection: Connection) -> Iterator[What]:
    """Yield what waits for a human in a matter of life, or urgently, and that nobody has taken."""
    for notice in life.notices(connection, waiting_only=True):
        if notice.direction == DIRECTION_RECEIVED:
            at_us = notice.due_us - life.WITHIN_US
            yield What(PAGE_KIND_LIFE, notice.peer, notice.exchange_id, URGENCY_LIFE, at_us, notice.due_us)
    seen = set[tuple[bytes, str]]()
    for fact in determinations.waiting(connection):
        if (fact.exchange_id, fact.peer) not in seen:  # the earliest of a query
            seen.add((fact.exchange_id, fact.peer))
            yield What(PAGE_KIND_FACTS, fact.peer, fact.exchange_id, URGENCY_LIFE, fact.at_us, fact.due_us)
    for item in requests.waiting(connection):
        if item.urgency in WAIT_US and not item.taken_by:
            to_all = item.state == State.ESCALATED
            yield What(PAGE_KIND_REQUEST, item.peer, item.request_id, item.urgency, item.at_us, item.due_us, to_all)


def _key(what: What) -> _Key:
    return (what.kind, what.peer, what.subject)


def _is_due(page: OpenPage, what: What, turn: Turn | None, now_us: int) -> bool:
    if page.rung == Rung.EVERYBODY and now_us > what.due_us + GIVEN_UP_US:
        return False
    if page.rung < DEPUTIES_END:
        if what.to_all:
            return True
        if turn is not None and turn.turn_id != page.turn_id:
            return True  # whoever comes on duty is told of what the last ones left
    return page.next_us <= now_us


def _next_rung(page: OpenPage, what: What, turn: Turn | None, team: int) -> int:
    """Return who is told next: on duty, each deputy, all focal points, the supervisors, and then everybody."""
    if page.rung >= DEPUTIES_END:
        return min(page.rung + 1, Rung.EVERYBODY)
    if turn is None or not team or what.to_all:
        return Rung.FOCAL_POINTS
    if turn.turn_id != page.turn_id:
        return 0
    return page.rung + 1 if page.rung + 1 < team else Rung.FOCAL_POINTS


def _people(connection: Connection, rung: int, team: Sequence[str], focal: Sequence[str]) -> list[str]:
    if rung < DEPUTIES_END:
        return [team[rung]]
    supervisors = list(duty.active(connection, OFFICER_ROLE_SUPERVISOR))
    if rung == Rung.FOCAL_POINTS:
        return list(focal)
    if rung == Rung.SUPERVISORS:
        return supervisors
    return sorted({*focal, *supervisors})
