"""How long own records are kept: decided at their review, by an officer and with a reason; and legal holds."""

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection

from node.desk.received import verified_reason
from node.desk.recording import Recording
from node.errors import NotFoundError, UsageError
from node.store import retention
from node.store.officers import Officer
from node.store.received import ReceivedEntries
from node.wire import received_pb2 as wire
from node.wire.entry_pb2 import Case, Entry
from node.wire.ledger_pb2 import LeafKind


@dataclass(slots=True)
class Reviewing:
    """Serves units that review their records, and who holds them by law."""

    recording: Recording
    received: ReceivedEntries

    async def review_case(self, request: wire.ReviewCaseRequest, officer: Officer) -> wire.ReviewCaseResponse:
        """Decide until when a case is kept.

        Raises:
            NotFoundError: there is none.
            RecordError: the date is not ahead, or more than five years.
            UsageError: it is past its date, or the reason is missing or too long.
        """
        recording, now_us, reason = self.recording, self.recording.clock(), verified_reason(request.reason)
        case = await recording.database.read(recording.cases.get, request.case_id)
        recording.completed_case(_reviewed_case(case, request.until_us, now_us), officer, now_us, case)
        kind = LeafKind.LEAF_KIND_RECORD
        line = recording.line(kind, officer, case.case_id, f"REVIEW {reason}", case.reference)

        def change(connection: Connection) -> int:
            held = recording.cases.get(connection, request.case_id)  # as it stands when this is written
            return recording.cases.put(connection, _reviewed_case(held, request.until_us, now_us), now_us).review_us

        review_us = await asyncio.wrap_future(recording.writer.submit(change, [line]))
        return wire.ReviewCaseResponse(review_us=review_us)

    async def review_entry(self, request: wire.ReviewEntryRequest, officer: Officer) -> wire.ReviewEntryResponse:
        """Decide until when an entry is kept; of somebody protected, longer only with a second officer.

        Raises:
            NotFoundError: there is none.
            RecordError: the date is not ahead, or more than five years.
            UsageError: it is past its date, or the reason is missing or too long.
        """
        recording, reason = self.recording, verified_reason(request.reason)
        old = await recording.database.read(recording.entries.get, request.entry_id)
        new = Entry()
        new.CopyFrom(old)
        if request.until_us <= recording.clock():
            raise UsageError("until: is ahead, and five years at most")
        new.review_us = request.until_us
        response = await recording.put_entry(new, reason, officer)
        return wire.ReviewEntryResponse(review_us=response.entry.review_us, pending_change=response.pending_change)

    # --- legal holds -------------------------------------------------------------------------------------------------

    async def place_hold(self, request: wire.PlaceLegalHoldRequest, officer: Officer) -> wire.LegalHold:
        """Keep a case, an entry or a received entry from being deleted; it is of no more use for that.

        Raises:
            NotFoundError: there is no such record.
            UsageError: law or end are not ones that may be given.
        """
        recording, now_us = self.recording, self.recording.clock()
        kind = LeafKind.LEAF_KIND_LEGAL_HOLD
        line = recording.line(kind, officer, request.subject, f"PLACED {request.law}"[:64])

        def change(connection: Connection) -> wire.LegalHold:
            self._verify_subject(connection, request.subject)
            return retention.place_hold(
                connection,
                recording.vault,
                request.subject,
                law=request.law,
                until_us=request.until_us,
                officer=officer.name,
                now_us=now_us,
            )

        return await asyncio.wrap_future(recording.writer.submit(change, [line]))

    async def release_hold(self, request: wire.ReleaseLegalHoldRequest, officer: Officer) -> None:
        """End a hold.

        Raises:
            NotFoundError: nothing is held.
            UsageError: the reason is missing or too long.
        """
        recording, now_us, reason = self.recording, self.recording.clock(), verified_reason(request.reason)
        line = recording.line(LeafKind.LEAF_KIND_LEGAL_HOLD, officer, request.subject, f"RELEASED {reason}")

        def change(connection: Connection) -> None:
            retention.release_hold(connection, request.subject, now_us)

        await asyncio.wrap_future(recording.writer.submit(change, [line]))

    async def list_holds(self, officer: Officer) -> list[wire.LegalHold]:
        """Return the holds in force, the earliest ending first."""
        recording = self.recording
        found = await recording.database.read(retention.list_holds, recording.vault, recording.clock())
        await recording.writer.append(recording.line(LeafKind.LEAF_KIND_READ, officer, b"", "LEGAL_HOLDS"))
        return found

    def _verify_subject(self, connection: Connection, subject: bytes) -> None:
        for look in (self.recording.cases.get, self.recording.entries.get, self.received.state):
            try:
                look(connection, subject)
            except NotFoundError:
                continue
            return
        raise NotFoundError("there is no case, entry or received entry of this id")


def _reviewed_case(case: Case, until_us: int, now_us: int) -> Case:
    if case.review_us <= now_us:
        raise UsageError("it is past its date, and is being deleted")
    if until_us <= now_us:
        raise UsageError("until: is ahead, and five years at most")
    new = Case()
    new.CopyFrom(case)
    new.review_us = until_us
    return new
