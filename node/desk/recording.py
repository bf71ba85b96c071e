"""Recording: what a unit writes into its country's own records, and each look at them.

Every write commits together with its ledger line, and every read is a durable line before anything is shown.
What would weaken protection waits for a second officer.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from node.desk.asserting import assert_by
from node.desk.officers import private_of_officer
from node.errors import RecordError, SecondOfficerError, UsageError
from node.federation.freezing import Freezing
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.policy.outbound import MAX_CASE_REFERENCE_BYTES
from node.records.review import is_kept_longer
from node.records.validate import verify_case, verify_entry
from node.store.cases import Cases
from node.store.changes import Changes, weakened
from node.store.database import Database
from node.store.entries import Entries
from node.store.ids import new_id
from node.store.inheritance import pass_on_inherited
from node.store.lines import Line
from node.store.officers import Officer
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.desk_pb2 import PendingChange, PutEntryResponse
from node.wire.entry_pb2 import Case, Entry
from node.wire.ledger_pb2 import LeafKind

REVIEW_US: Final = 5 * 365 * 86_400_000_000
"""When a record is reviewed where its owner names no date: after five years (28 CFR 23.20(h))."""
MOST_REVIEW_REASON: Final = 40
"""Bytes of a reason that stands in a ledger line behind what was done."""
MOST_CASES: Final = 500
"""Cases of one list."""


@dataclass(slots=True)
class Recording:
    """Serves units with the records of their own country."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    clock: Callable[[], int]
    freezing: Freezing
    cases: Cases = field(init=False)
    entries: Entries = field(init=False)
    changes: Changes = field(init=False)

    def __post_init__(self) -> None:
        """Open the aggregates over the database."""
        self.cases = Cases(self.vault)
        self.entries = self.freezing.entries
        self.changes = Changes(self.entries, self.vault)

    # --- cases -------------------------------------------------------------------------------------------------------

    async def put_case(self, case: Case, officer: Officer) -> Case:
        """Write a case, a new one where it has no id, and return it as stored.

        Raises:
            NotFoundError: there is no case of this id.
            RecordError: it can't be kept; the text names the field.
        """
        now_us, held = self.clock(), None
        if case.case_id:
            held = await self.database.read(self.cases.get, case.case_id)
        stored = self.completed_case(case, officer, now_us, held)
        if held is not None and stored.review_us > held.review_us:
            raise UsageError("review_us: `enlace case review` keeps a case for longer, with a reason")
        # Off the writer's thread: a new key is a write to the disk of its own.
        await asyncio.to_thread(self.vault.ensure_keys, (stored.case_id,))
        line = self.line(LeafKind.LEAF_KIND_RECORD, officer, stored.case_id, "CASE", stored.reference)
        return await asyncio.wrap_future(
            self.writer.submit(lambda connection: self.cases.put(connection, stored, now_us), [line])
        )

    async def list_cases(self, officer: Officer, limit: int, after: bytes) -> list[Case]:
        """Return cases by id, which is by age, from the one after `after` on."""
        found = await self.database.read(self.cases.list_after, after, min(limit, MOST_CASES))
        await self._log_read(officer, after, "CASES")
        return found

    async def get_case(self, case_id: bytes, officer: Officer) -> tuple[Case, list[Entry]]:
        """Return a case with all its entries.

        Raises:
            NotFoundError, KeyErasedError: there is none, or not any more.
        """
        case, entries = await self.database.read(self._case_with_entries, case_id)
        await self._log_read(officer, case_id, "CASE", case.reference)
        return case, entries

    # --- entries -----------------------------------------------------------------------------------------------------

    async def put_entry(self, entry: Entry, reason: str, officer: Officer) -> PutEntryResponse:
        """Write an entry, a new one where it has no id; what would weaken protection waits for a second officer.

        Raises:
            NotFoundError: no entry has this id, there is no such case, or a link leads nowhere.
            RecordError: it can't be kept; the text names the field.
            UsageError: it was changed since it was read, or protection gets weaker and no reason is given.
        """
        now_us = self.clock()
        if not entry.entry_id:
            return await self._put_new(entry, officer, now_us)
        old, reference = await self.database.read(self._entry_with_reference, entry.entry_id)
        if entry.revision != old.revision:
            raise UsageError("the entry was changed by somebody else meanwhile: read it again")
        new = self._asserted(entry, old, officer, now_us)
        # The store decides again, on the same revision or not at all; this only tells which line it will be.
        weaker = bool(weakened(old, new))
        kind = LeafKind.LEAF_KIND_WEAKENING if weaker else LeafKind.LEAF_KIND_RECORD
        what = "PROPOSED" if weaker else "ENTRY"
        if is_kept_longer(old, new):
            verify_longer(old, reason, now_us)
            what = f"{what if weaker else 'REVIEW'} {reason}"
        line = self.line(kind, officer, new.entry_id, what, reference)

        await self.freezing.catch_up()

        def change(connection: Connection) -> PutEntryResponse:
            return self.changes.put(connection, new, officer=officer.name, reason=reason, now_us=now_us)

        return await asyncio.wrap_future(self.writer.submit(change, [line]))

    async def _put_new(self, entry: Entry, officer: Officer, now_us: int) -> PutEntryResponse:
        entry = self._asserted(entry, None, officer, now_us)
        case = await self.database.read(self.cases.get, entry.case_id)
        line = self.line(LeafKind.LEAF_KIND_RECORD, officer, entry.entry_id, "ENTRY", case.reference)

        def change(connection: Connection) -> PutEntryResponse:
            return PutEntryResponse(entry=self.entries.insert(connection, [entry], now_us)[0])

        return await asyncio.wrap_future(self.writer.submit(change, [line]))

    async def get_entry(self, entry_id: bytes, officer: Officer) -> Entry:
        """Return an entry as it stands.

        Raises:
            NotFoundError, KeyErasedError: there is none, or not any more.
        """
        entry, reference = await self.database.read(self._entry_with_reference, entry_id)
        await self._log_read(officer, entry_id, "ENTRY", reference)
        return entry

    # --- second officers ---------------------------------------------------------------------------------------------

    async def list_changes(self, officer: Officer) -> list[PendingChange]:
        """Return what waits for a second officer, oldest first."""
        waiting = await self.database.read(self.changes.list_pending)
        await self._log_read(officer, b"", "CHANGES")
        return waiting

    async def decide_change(self, change_id: bytes, officer: Officer, *, confirm: bool) -> Entry:
        """Confirm or decline a change that weakens protection, and return the entry as it stands now.

        Raises:
            SecondOfficerError: who proposed a change can't confirm it; a line says who tried.
            NotFoundError: no such change waits.
            UsageError: the entry was changed since.
        """
        now_us = self.clock()
        proposed, reference = await self.database.read(self._proposed_with_reference, change_id)
        decided = "CONFIRMED" if confirm else "DECLINED"
        lines = [self.line(LeafKind.LEAF_KIND_WEAKENING, officer, proposed.entry_id, decided, reference)]
        if confirm:
            lines.append(self.line(LeafKind.LEAF_KIND_RECORD, officer, proposed.entry_id, "ENTRY", reference))
        decide = self.changes.confirm if confirm else self.changes.decline
        await self.freezing.catch_up()

        def change(connection: Connection) -> Entry:
            return decide(connection, change_id, officer=officer.name, now_us=now_us)

        try:
            return await asyncio.wrap_future(self.writer.submit(change, lines))
        except SecondOfficerError:
            denied = LeafKind.LEAF_KIND_DENIED
            await self.writer.append(self.line(denied, officer, proposed.entry_id, "SECOND_OFFICER", reference))
            raise

    # --- what importing shares ---------------------------------------------------------------------------------------

    def completed_case(self, case: Case, officer: Officer, now_us: int, held: Case | None = None) -> Case:
        """Return a case with id, unit and dates filled in, fit to be kept; `held` is the one that it replaces.

        Raises:
            RecordError: it can't be kept; the text names the field.
        """
        new = Case()
        new.CopyFrom(case)
        new.case_id = case.case_id or new_id(now_us)
        new.unit = case.unit or officer.unit
        new.opened_us = case.opened_us or (held.opened_us if held else now_us)
        new.review_us = case.review_us or (held.review_us if held else now_us + REVIEW_US)
        # A query and every ledger line bear the reference, and they have no room for more.
        if len(new.reference.encode()) > MAX_CASE_REFERENCE_BYTES:
            raise RecordError(f"reference: has more than {MAX_CASE_REFERENCE_BYTES} bytes")
        verify_case(new, now_us=now_us)
        return new

    def completed_entry(self, entry: Entry, officer: Officer, now_us: int, old: Entry | None = None) -> Entry:
        """Return an entry with what the node knows filled in, fit to be kept; `old` is the one that it replaces.

        Raises:
            RecordError: it can't be kept, or is another country's; the text names the field.
        """
        new = Entry()
        new.CopyFrom(entry)
        if new.originator not in ("", self.standing.country):
            raise RecordError("originator: is another country; its entries are received, not recorded")
        new.originator = self.standing.country
        new.entry_id = entry.entry_id or new_id(now_us)
        new.unit = entry.unit or officer.unit
        new.recorded_us = entry.recorded_us or (old.recorded_us if old else now_us)
        new.review_us = entry.review_us or (old.review_us if old else now_us + REVIEW_US)
        pass_on_inherited(old or Entry(), new)
        verify_entry(new, now_us=now_us)
        return new

    def line(
        self,
        kind: LeafKind.ValueType,
        officer: Officer,
        subject: bytes,
        reason: str,
        case_reference: str = "",
    ) -> Line:
        """Make the ledger line of what an officer did with a record; `reason` is a code."""
        private = private_of_officer(officer, subject=subject, reason=reason)
        private.case_reference = case_reference
        return local_line(kind, private, self.standing.signer, self.clock())

    # --- inside ------------------------------------------------------------------------------------------------------

    def _asserted(self, entry: Entry, old: Entry | None, officer: Officer, now_us: int) -> Entry:
        new = Entry()
        new.CopyFrom(entry)
        assert_by(new, old, officer.name, now_us)
        return self.completed_entry(new, officer, now_us, old)

    async def _log_read(self, officer: Officer, subject: bytes, reason: str, case_reference: str = "") -> None:
        """Return when the look is durably logged: only then may anything be shown."""
        kind = LeafKind.LEAF_KIND_READ
        await self.writer.append(self.line(kind, officer, subject, reason, case_reference))

    def _case_with_entries(self, connection: Connection, case_id: bytes) -> tuple[Case, list[Entry]]:
        return self.cases.get(connection, case_id), self.entries.of_case(connection, case_id)

    def _entry_with_reference(self, connection: Connection, entry_id: bytes) -> tuple[Entry, str]:
        entry = self.entries.get(connection, entry_id)
        return entry, self.cases.get(connection, entry.case_id).reference

    def _proposed_with_reference(self, connection: Connection, change_id: bytes) -> tuple[Entry, str]:
        entry = self.changes.proposed(connection, change_id)
        return entry, self.cases.get(connection, entry.case_id).reference


def verify_longer(old: Entry, reason: str, now_us: int) -> None:
    """Check that an entry may be kept past the date that was set for it: while it lasts, and for a reason.

    Raises:
        UsageError: it may not.
    """
    if old.review_us <= now_us:
        raise UsageError("the entry is past its date, and is being deleted")
    if not reason.strip() or not reason.isprintable() or len(reason.encode()) > MOST_REVIEW_REASON:
        raise UsageError(f"review_us: say in up to {MOST_REVIEW_REASON} bytes why it is kept for longer")
