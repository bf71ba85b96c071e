"""What peers disclosed, before the officers who use it: kept with a case, read for a purpose, searched, decided on.

Every look is a durable line before anything is shown, with officer, case and purpose; so is a look that an entry's
terms did not allow.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from node.desk.approving import LONGEST_REASON
from node.desk.officers import private_of_officer
from node.errors import DeniedError, NotFoundError, UsageError
from node.federation.lines import ANSWER_BODY, line_of, local_line, shared_of_event
from node.federation.standing import Standing
from node.policy.outbound import MAX_CASE_REFERENCE_BYTES, MAX_SELECTORS
from node.policy.received_use import Use, is_listed
from node.store.cases import Cases
from node.store.database import Database
from node.store.ids import new_id
from node.store.lines import Line
from node.store.listing import list_lines, read_bodies
from node.store.officers import Officer
from node.store.received import ReceivedEntries
from node.store.retention import holds_on
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire import received_pb2 as wire
from node.wire.codes_pb2 import Purpose
from node.wire.exchange_pb2 import Body
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, LeafKind
from node.wire.received_pb2 import RECEIVED_SOURCE_ANSWER, RECEIVED_STATE_ACTIVE, ReceivedEntry, ShownReceived

MOST_LISTED = 500
MOST_FOUND = 100


@dataclass(slots=True)
class Receiving:
    """Serves units with entries of other countries."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    received: ReceivedEntries
    clock: Callable[[], int]

    # --- reading -----------------------------------------------------------------------------------------------------

    async def list_received(self, request: wire.ListReceivedRequest, officer: Officer) -> list[ShownReceived]:
        """Return received entries without what they say, oldest first: those that the unit may know of."""
        now_us, limit = self.clock(), min(request.limit or 100, MOST_LISTED)
        use = _use(officer)

        def read(connection: Connection) -> list[ShownReceived]:
            found = self.received.list_after(connection, request.after, limit, use, now_us, case_id=request.case_id)
            return self._shown(connection, found)

        shown = await self.database.read(read)
        await self._log(LeafKind.LEAF_KIND_READ, officer, request.case_id or request.after, "RECEIVED_LIST")
        for each in shown:
            holder = each.received.entry.WhichOneof("entity")
            if holder:
                getattr(each.received.entry, holder).Clear()
                getattr(each.received.entry, holder).SetInParent()  # its kind is no secret
        return shown

    async def find(self, request: wire.FindReceivedRequest, officer: Officer) -> list[ShownReceived]:
        """Search received entries for a purpose and a case.

        Raises:
            UsageError: no case is named, or too much is asked at once.
        """
        if not request.case_reference or len(request.case_reference.encode()) > MAX_CASE_REFERENCE_BYTES:
            raise UsageError("case: say for which case you search, by its reference")
        if not 0 < len(request.selectors) <= MAX_SELECTORS:
            raise UsageError(f"selectors: has 1 to {MAX_SELECTORS}")
        now_us, use = self.clock(), _use(officer, request.purpose)

        def read(connection: Connection) -> list[ShownReceived]:
            country = self.standing.country
            found = self.received.find(connection, request.selectors, country, use, now_us=now_us, limit=MOST_FOUND)
            return self._shown(connection, found)

        shown = await self.database.read(read)
        await self._log(
            LeafKind.LEAF_KIND_READ, officer, b"", "RECEIVED_SEARCH", request.case_reference, purpose=request.purpose
        )
        return shown

    async def get(self, request: wire.GetReceivedRequest, officer: Officer) -> ShownReceived:
        """Return one for a purpose and a case.

        Raises:
            NotFoundError: there is none, or none in use any more.
            UsageError: its terms don't allow this use, or no case is named and it is with none.
        """
        now_us, received_id = self.clock(), request.received_id
        use = _use(officer, request.purpose)
        try:
            shown = await self.database.read(self._get, received_id, use, now_us)
        except DeniedError as error:
            kind = LeafKind.LEAF_KIND_DENIED
            await self._log(kind, officer, received_id, "TERMS", request.case_reference, purpose=request.purpose)
            raise UsageError(str(error)) from error
        reference = request.case_reference or shown.case_reference
        if not reference or len(reference.encode()) > MAX_CASE_REFERENCE_BYTES:
            raise UsageError("case: say for which case you read it, by its reference")
        await self._log(LeafKind.LEAF_KIND_READ, officer, received_id, "RECEIVED", reference, purpose=request.purpose)
        return shown

    # --- deciding ----------------------------------------------------------------------------------------------------

    async def keep(self, request: wire.KeepReceivedRequest, officer: Officer) -> ShownReceived:
        """Put an entry of an answer, or one that is here already, with an own case.

        Raises:
            NotFoundError: there is no such entry, answer or case, or it was taken back.
            UsageError: its terms keep it from this unit.
        """
        now_us = self.clock()
        case = await self.database.read(Cases(self.vault).get, request.case_id)
        new = await self.database.read(self._to_keep, request, now_us)
        if not is_listed(new, _use(officer)):
            await self._log(LeafKind.LEAF_KIND_DENIED, officer, new.received_id, "TERMS", case.reference)
            raise UsageError("its terms keep this entry from your unit")
        line = self._line_of(new, officer, "KEPT", case.reference)

        def change(connection: Connection) -> ShownReceived:
            stored = self.received.put(connection, new, now_us) if not request.received_id else new
            if stored is None:
                raise NotFoundError("its originator has taken this entry back")
            kept = self.received.keep(
                connection,
                stored.received_id,
                case_id=case.case_id,
                officer=officer.name,
                unit=officer.unit,
                now_us=now_us,
            )
            return self._shown(connection, [kept])[0]

        return await asyncio.wrap_future(self.writer.submit(change, [line]))

    async def review(self, request: wire.ReviewReceivedRequest, officer: Officer) -> ShownReceived:
        """Decide how long a received entry is kept; never longer than its originator allows.

        Raises:
            NotFoundError: there is none in use.
            RecordError: the date is not one that may be chosen.
            UsageError: the reason is missing or too long.
        """
        now_us, reason = self.clock(), verified_reason(request.reason)
        copy = await self.database.read(self._copy, request.received_id, now_us)
        line = self._line_of(copy, officer, f"REVIEW {reason}")

        def change(connection: Connection) -> ShownReceived:
            reviewed = self.received.review(connection, copy.received_id, request.until_us, now_us)
            return self._shown(connection, [reviewed])[0]

        return await asyncio.wrap_future(self.writer.submit(change, [line]))

    async def bar(self, request: wire.BarReceivedRequest, officer: Officer) -> None:
        """Take what was got by torture out of every use; nothing brings it back (CAT art. 15).

        Raises:
            NotFoundError: there is none in use.
            UsageError: the basis is missing or too long.
        """
        now_us, basis = self.clock(), verified_reason(request.basis)
        copy = await self.database.read(self._copy, request.received_id, now_us)
        line = self._line_of(copy, officer, f"TORTURE {basis}")
        barring = self.writer.submit(lambda connection: self.received.bar(connection, copy.received_id, now_us), [line])
        await asyncio.wrap_future(barring)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _get(self, connection: Connection, received_id: bytes, use: Use, now_us: int) -> ShownReceived:
        return self._shown(connection, [self.received.get(connection, received_id, use, now_us)])[0]

    def _copy(self, connection: Connection, received_id: bytes, now_us: int) -> ReceivedEntry:
        return self.received.in_use(connection, received_id, now_us)

    def _to_keep(self, connection: Connection, request: wire.KeepReceivedRequest, now_us: int) -> ReceivedEntry:
        if request.received_id:
            return self._copy(connection, request.received_id, now_us)
        lines = list_lines(connection, exchange_id=request.exchange_id, kinds=[LeafKind.LEAF_KIND_ANSWERED])
        for line in lines:
            if line.shared.direction != DIRECTION_RECEIVED:
                continue
            held = self.received.by_handle(connection, line.shared.peer, request.exchange_id, request.handle, now_us)
            if held is not None:
                return held
            try:
                body = Body.FromString(read_bodies(connection, self.vault, line.index)[ANSWER_BODY])
            except DecodeError:
                raise NotFoundError("the answer can't be read any more") from None
            for hit in body.answer.hits:
                if hit.HasField("entry") and hit.entry.handle == request.handle:
                    return ReceivedEntry(
                        received_id=new_id(now_us),
                        peer=line.shared.peer,
                        originator=line.shared.peer,
                        exchange_id=request.exchange_id,
                        disclosed_us=line.shared.time_us,
                        source=RECEIVED_SOURCE_ANSWER,
                        line=line.index + 1,
                        entry=hit.entry,
                    )
        raise NotFoundError("no answer of this exchange has an entry of this handle")

    def _shown(self, connection: Connection, found: Iterable[ReceivedEntry]) -> list[ShownReceived]:
        copies, now_us = list(found), self.clock()
        ids = {each for copy in copies for each in (copy.received_id, copy.case_id) if each}
        held = holds_on(connection, ids, now_us)
        of_case = {case_id: self._reference(connection, case_id) for case_id in {copy.case_id for copy in copies}}
        return [
            ShownReceived(
                received=copy,
                state=RECEIVED_STATE_ACTIVE,
                case_reference=of_case[copy.case_id],
                held=copy.received_id in held or copy.case_id in held,
            )
            for copy in copies
        ]

    def _reference(self, connection: Connection, case_id: bytes) -> str:
        return Cases(self.vault).get(connection, case_id).reference if case_id else ""

    def _line_of(self, copy: ReceivedEntry, officer: Officer, reason: str, case_reference: str = "") -> Line:
        """Make a line in the exchange that brought the entry."""
        now_us = self.clock()
        private = private_of_officer(officer, subject=copy.received_id, reason=reason)
        private.case_reference = case_reference
        shared = shared_of_event(
            LeafKind.LEAF_KIND_KEPT, self.standing.signer, now_us, exchange_id=copy.exchange_id, peer=copy.peer
        )
        return line_of(shared, private, exchange_id=copy.exchange_id, now_us=now_us)

    async def _log(
        self,
        kind: LeafKind.ValueType,
        officer: Officer,
        subject: bytes,
        reason: str,
        case_reference: str = "",
        *,
        purpose: Purpose.ValueType = Purpose.PURPOSE_UNKNOWN,
    ) -> None:
        """Return when it is durably logged: only then may anything be shown."""
        private = private_of_officer(officer, subject=subject, reason=reason)
        private.case_reference, private.purpose = case_reference[:MAX_CASE_REFERENCE_BYTES], purpose
        await self.writer.append(local_line(kind, private, self.standing.signer, self.clock()))


def verified_reason(reason: str) -> str:
    """Return a reason that a ledger line has room for.

    Raises:
        UsageError: it is blank, too long, or has control characters.
    """
    if not reason.strip() or not reason.isprintable() or len(reason.encode()) > LONGEST_REASON:
        raise UsageError(f"reason: say why, in up to {LONGEST_REASON} bytes, and never about a person")
    return reason


def _use(officer: Officer, purpose: int = 0) -> Use:
    return Use(purpose, officer.unit_type, officer.unit)
