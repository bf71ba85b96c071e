"""Erasing own entries: with a ground, a line, and, where a fact protects somebody, a second focal point."""

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection

from node.desk.approving import LONGEST_REASON
from node.desk.notices import Notices
from node.desk.officers import private_of_officer
from node.desk.petitions import Petitions, state_of
from node.errors import NotFoundError, SecondOfficerError, UsageError
from node.federation.lines import local_line
from node.store import erasing
from node.store.cases import Cases
from node.store.ids import ID_BYTES, new_id
from node.store.lines import Line
from node.store.officers import Officer
from node.store.purge import erased
from node.wire.entry_pb2 import Case, Entry
from node.wire.ledger_pb2 import LeafKind
from node.wire.subject_pb2 import (
    ENTRY_ERASURE_STATE_DECLINED,
    ENTRY_ERASURE_STATE_DONE,
    ENTRY_ERASURE_STATE_PROPOSED,
    PETITION_KIND_ERASURE,
    EntryErasure,
    EraseEntryRequest,
)
from node.workflow.petitions import State


@dataclass(slots=True)
class Erasing:
    """Serves focal points."""

    petitions: Petitions
    notices: Notices

    async def erase(self, request: EraseEntryRequest, officer: Officer) -> EntryErasure:
        """Erase an own entry, or propose it where a fact protects somebody, and return how that stands.

        Raises:
            NotFoundError: there is no such entry or petition.
            UsageError: the ground is missing or too long; the petition does not name the entry, or is not under review;
                a legal hold or a frozen view keeps it; or nobody has decided whether a state of origin may notice.
        """
        if len(request.entry_id) != ID_BYTES:
            raise UsageError(f"entry: an id has {ID_BYTES} bytes")
        if not 0 < len(request.ground.encode()) <= LONGEST_REASON or not request.ground.isprintable():
            raise UsageError(f"ground: say which, in up to {LONGEST_REASON} bytes")
        now_us, database = self.petitions.clock(), self.petitions.database
        entry, case = await database.read(self._with_case, request.entry_id)
        await database.read(erasing.verify_erasable, entry.entry_id, entry.case_id, now_us)
        await self._verify_unnoticed(request, officer)
        erasure = EntryErasure(
            erasure_id=new_id(now_us),
            entry_id=entry.entry_id,
            state=ENTRY_ERASURE_STATE_PROPOSED,
            ground=request.ground,
            proposed_by=officer.name,
            proposed_us=now_us,
            protected=erasing.protecting(entry),
        )
        if not erasure.protected:
            erasure.state = ENTRY_ERASURE_STATE_DONE
            return await self._do(erasure, case, officer, new=True)
        line = self._line(erasure, case, officer, LeafKind.LEAF_KIND_WEAKENING, "PROPOSED")

        def change(connection: Connection) -> EntryErasure:
            if erasing.waiting(connection, (erasure.entry_id,)):
                raise UsageError("its erasure waits for a second officer already")
            erasing.put(connection, self.petitions.vault, erasure, case.case_id)
            return erasure

        return await asyncio.wrap_future(self.petitions.writer.submit(change, [line]))

    async def list_erasures(self, officer: Officer) -> list[EntryErasure]:
        """Return all erasures, those that wait for a second officer first."""
        await self.petitions.reading.begin(officer, "ERASURES")
        return await self.petitions.database.read(erasing.list_erasures, self.petitions.vault)

    async def decide(self, erasure_id: bytes, officer: Officer, *, confirm: bool) -> EntryErasure:
        """Confirm or decline an erasure that another focal point proposed, and return how it stands.

        Raises:
            SecondOfficerError: who proposed it can't confirm it; a line says who tried.
            NotFoundError: no such erasure waits.
            UsageError: something keeps the entry by now.
        """
        found = await self.petitions.database.read(erasing.list_erasures, self.petitions.vault)
        waits = [each for each in found if each.state == ENTRY_ERASURE_STATE_PROPOSED]
        erasure = next((each for each in waits if each.erasure_id == erasure_id), None)
        if erasure is None:
            raise NotFoundError("no such erasure waits for a second officer")
        _, case = await self.petitions.database.read(self._with_case, erasure.entry_id)
        if confirm and officer.name == erasure.proposed_by:
            denied = self._line(erasure, case, officer, LeafKind.LEAF_KIND_DENIED, "SECOND_OFFICER")
            await self.petitions.writer.append(denied)
            raise SecondOfficerError("who proposed an erasure can't confirm it")
        erasure.decided_by, erasure.decided_us = officer.name, self.petitions.clock()
        erasure.state = ENTRY_ERASURE_STATE_DONE if confirm else ENTRY_ERASURE_STATE_DECLINED
        if confirm:
            return await self._do(erasure, case, officer, new=False)
        line = self._line(erasure, case, officer, LeafKind.LEAF_KIND_WEAKENING, "DECLINED")
        change = self.petitions.writer.submit(
            lambda connection: erasing.decided(connection, self.petitions.vault, erasure), [line]
        )
        await asyncio.wrap_future(change)
        return erasure

    async def _do(self, erasure: EntryErasure, case: Case, officer: Officer, *, new: bool) -> EntryErasure:
        vault, now_us = self.petitions.vault, self.petitions.clock()
        erasure.decided_us = now_us
        moved = new_id(now_us)
        # Off the writer's thread: a new key is a write to the disk of its own.
        await asyncio.to_thread(vault.ensure_keys, (moved,))
        line = self._line(erasure, case, officer, LeafKind.LEAF_KIND_DELETED, "ERASED")

        def change(connection: Connection) -> bytes:
            if new:
                erasing.put(connection, vault, erasure, case.case_id)
            else:
                erasing.decided(connection, vault, erasure)
            return erasing.erase(
                connection, vault, self.notices.freezing.frozen, erasure.entry_id, new_case_id=moved, now_us=now_us
            )

        old = await asyncio.wrap_future(self.petitions.writer.submit(change, [line]))
        # A crash in between leaves the key noted, and the next purge erases it.
        await asyncio.to_thread(vault.erase_keys, (old,), now_us)
        await asyncio.wrap_future(self.petitions.writer.submit(lambda connection: erased(connection, (old,))))
        return erasure

    async def _verify_unnoticed(self, request: EraseEntryRequest, officer: Officer) -> None:
        """Check that counsel has decided on each state that may be one of origin and would notice."""
        if not request.petition_id:
            peers = await self.notices.origins_that_saw(request.entry_id)
            if peers:
                raise UsageError(f"{', '.join(peers)} may be a state of origin, and has seen it: name the petition")
            return
        petition = await self.petitions.get(request.petition_id, officer)
        if petition.kind != PETITION_KIND_ERASURE or state_of(petition) != State.UNDER_REVIEW:
            raise UsageError("petition: is none for erasure that is under review")
        if request.entry_id not in petition.entry_ids:
            raise UsageError("petition: does not name this entry")
        known = {each.peer for each in petition.origins if each.entry_id == request.entry_id}
        peers = [each for each in await self.notices.origins_that_saw(request.entry_id) if each not in known]
        if peers:
            raise UsageError(f"decide first whether {', '.join(peers)}, which may be a state of origin, hears of it")

    def _with_case(self, connection: Connection, entry_id: bytes) -> tuple[Entry, Case]:
        entry = self.petitions.entries.get(connection, entry_id)
        return entry, Cases(self.petitions.vault).get(connection, entry.case_id)

    def _line(self, erasure: EntryErasure, case: Case, officer: Officer, kind: LeafKind.ValueType, said: str) -> Line:
        reason = f"ERASURE {said}: {erasure.ground}"
        private = private_of_officer(officer, subject=erasure.entry_id, reason=reason)
        private.case_reference = case.reference
        return local_line(kind, private, self.petitions.standing.signer, self.petitions.clock())
