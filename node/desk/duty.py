"""The duty roster at the desk: who is on call when, who stands in, and how each is reached."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.desk.masking import Reading
from node.desk.officers import private_of_officer
from node.errors import ForbiddenError, NotFoundError, UsageError
from node.federation.lines import local_line
from node.store import duty, pages
from node.store.database import Database
from node.store.lines import Line
from node.store.officers import Officer
from node.store.vault import Vault
from node.wire.desk_pb2 import (
    OFFICER_ROLE_AUDITOR,
    OFFICER_ROLE_FOCAL_POINT,
    OFFICER_ROLE_SUPERVISOR,
)
from node.wire.duty_pb2 import ContactOf, Page, SetTurnRequest, ShowDutyResponse, SwapTurnRequest, Turn
from node.wire.ledger_pb2 import LeafKind

DAY_US: Final = 86_400_000_000
LONGEST_TURN_US: Final = 31 * DAY_US
"""Nobody is on duty for longer; who sets a year at once has not looked at it since."""
FARTHEST_US: Final = 400 * DAY_US

_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
"""As HTML has it for its input of type "email": in ASCII, without quotes and comments."""
_TELEPHONE: Final = re.compile(r"\+?[0-9][0-9 ()-]{2,30}")


@dataclass(slots=True)
class DutyRoster:
    """Serves all officers; focal points and supervisors change it."""

    reading: Reading
    database: Database
    vault: Vault
    clock: Callable[[], int]

    async def show(self, reader: Officer, unmask: str) -> ShowDutyResponse:
        """Return who is on call now, and how they are reached; to auditors only who, under masks."""
        names = await self._begin(reader, "DUTY", unmask)
        turn = await self.database.read(duty.on_duty, self.clock())
        if turn is None:
            return ShowDutyResponse()
        found = await self.database.read(duty.get_contacts, self.vault, list(turn.officers))
        reaches = OFFICER_ROLE_AUDITOR not in reader.roles
        contacts = [found.get(name, ContactOf(officer=name)) for name in turn.officers if reaches]
        return ShowDutyResponse(turn=_masked(turn, names), contacts=contacts)

    async def list_turns(self, reader: Officer, since_us: int, unmask: str) -> list[Turn]:
        """Return who is on call one after the other from a time on; 0 is now."""
        names = await self._begin(reader, "ROSTER", unmask)
        found = await self.database.read(duty.timeline, since_us or self.clock())
        return [_masked(turn, names) for turn in found]

    async def set_turn(self, request: SetTurnRequest, officer: Officer) -> Turn:
        """Put people on call instead of whoever was.

        Raises:
            UsageError: its times are not in order, too long or too far ahead; or its people are none, too many, named
                twice, or not focal points of this node.
        """
        now_us, names = self.clock(), list(request.officers)
        if not 0 < request.until_us - request.from_us <= LONGEST_TURN_US:
            raise UsageError("a turn ends after it begins, and lasts 31 days at most")
        if request.until_us <= now_us:
            raise UsageError("this turn is over: who was on call then does not change any more")
        if request.until_us > now_us + FARTHEST_US:
            raise UsageError("a turn lies 400 days ahead at most")
        line = self._line(officer, b"", f"TURN {' '.join(names)}")

        def change(connection: Connection) -> Turn:
            _verify_people(connection, names)
            # What is past stays as it was.
            from_us = max(request.from_us, now_us)
            return duty.put_turn(connection, from_us, request.until_us, names, by=officer.name, now_us=now_us)

        return await asyncio.wrap_future(self.reading.writer.submit(change, [line]))

    async def swap(self, request: SwapTurnRequest, officer: Officer) -> Turn:
        """Let somebody stand in for another in a turn; who is in it already changes places with them.

        Raises:
            NotFoundError: there is no such turn, or it is over.
            UsageError: the first is not in it, or the second is no focal point of this node.
        """
        now_us, first, second = self.clock(), request.officer, request.stand_in
        line = self._line(officer, request.turn_id[:16], f"SWAP {first} {second}")

        def change(connection: Connection) -> Turn:
            parts = [part for part in duty.timeline(connection, now_us) if part.turn_id == request.turn_id]
            if not parts:
                raise NotFoundError("there is no such turn, or it is over: see `enlace duty list`")
            if first not in parts[0].officers or first == second:
                raise UsageError(f"{first} is not in this turn: {', '.join(parts[0].officers)} are")
            places = {first: second, second: first}
            names = [places.get(name, name) for name in parts[0].officers]
            _verify_people(connection, names)
            # Another turn over what is left of it, so that who was on call before stays told.
            made = [
                duty.put_turn(connection, part.from_us, part.until_us, names, by=officer.name, now_us=now_us)
                for part in parts
            ]
            return made[0]

        return await asyncio.wrap_future(self.reading.writer.submit(change, [line]))

    async def set_contact(self, contact: ContactOf, officer: Officer) -> None:
        """Keep how an officer is reached; with neither address nor number, forget it.

        Raises:
            ForbiddenError: it is another's, and the officer is no supervisor: who gets another's calls gets their work.
            UsageError: it is no e-mail address, or no telephone number; or no officer who can be on call.
        """
        if contact.officer != officer.name and OFFICER_ROLE_SUPERVISOR not in officer.roles:
            raise ForbiddenError("only a supervisor says how another officer is reached")
        if contact.email and not _EMAIL.fullmatch(contact.email):
            raise UsageError("email: is no e-mail address, as duty@example.org")
        if contact.telephone and not _TELEPHONE.fullmatch(contact.telephone):
            raise UsageError("telephone: is no telephone number, as +502 2411 9911")
        line = self._line(officer, b"", f"CONTACT {contact.officer}")

        def change(connection: Connection) -> bytes | None:
            people = {
                **duty.active(connection, OFFICER_ROLE_FOCAL_POINT),
                **duty.active(connection, OFFICER_ROLE_SUPERVISOR),
            }
            if contact.officer not in people:
                raise UsageError(f"{contact.officer} is neither an active focal point nor a supervisor of this node")
            return duty.put_contact(connection, self.vault, contact)

        old = await asyncio.wrap_future(self.reading.writer.submit(change, [line]))
        if old is not None:
            await asyncio.to_thread(self.vault.erase_keys, (old,), self.clock())

    async def list_pages(self, reader: Officer, unmask: str, *, closed: bool) -> list[Page]:
        """Return whom the node called for what, the earliest due first."""
        names = await self._begin(reader, "PAGES", unmask)
        found = await self.database.read(pages.list_pages, closed=closed)
        for page in found:
            page.officers[:] = [names(name) for name in page.officers]
        return found

    async def _begin(self, reader: Officer, reason: str, unmask: str) -> Callable[[str], str]:
        names = await self.reading.begin(reader, reason, unmask=unmask)
        return names if OFFICER_ROLE_AUDITOR in reader.roles else str

    def _line(self, officer: Officer, subject: bytes, reason: str) -> Line:
        private = private_of_officer(officer, subject=subject, reason=reason[:_MOST_REASON])
        return local_line(LeafKind.LEAF_KIND_DUTY, private, self.reading.standing.signer, self.clock())


_MOST_REASON: Final = 64  # of a ledger line; who is in a turn that says more stands in what the line binds


def _verify_people(connection: Connection, names: Sequence[str]) -> None:
    if not 0 < len(names) <= duty.MOST_OFFICERS or len(set(names)) < len(names):
        raise UsageError(f"name one officer, and up to {duty.MOST_OFFICERS - 1} deputies, each once")
    focal = duty.active(connection, OFFICER_ROLE_FOCAL_POINT)
    if others := [name for name in names if name not in focal]:
        raise UsageError(f"{others[0]} is no active focal point of this node, who alone can decide what comes")


def _masked(turn: Turn, names: Callable[[str], str]) -> Turn:
    shown = Turn()
    shown.CopyFrom(turn)
    shown.officers[:] = [names(name) for name in turn.officers]
    shown.set_by = names(turn.set_by)
    return shown
