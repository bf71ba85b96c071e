"""Entries that wait for this country's focal point; to a peer they are pending, or look like a no-hit.

That an entry is held is a decision in the ledger line of the answer; the queue of the focal point is made from it,
behind the answer's back, and made again at the start where a crash came in between.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from node.errors import KeyErasedError, NotFoundError
from node.federation.lines import QUERY_BODY
from node.federation.watching import Watching
from node.ledger.leaf import parse_private, unpad
from node.store import holds, requests
from node.store.database import Database
from node.store.listing import ListedLine, list_lines, read_bodies, read_head
from node.store.requests import due_us
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.deciding_pb2 import REQUEST_ORIGIN_HELD, REQUEST_ORIGIN_HELD_SILENTLY, RequestDetail, RequestItem
from node.wire.exchange_pb2 import Asker, Body, Query
from node.wire.ledger_pb2 import (
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    ENTRY_OUTCOME_HELD_SILENTLY,
    ENTRY_OUTCOME_PENDING,
    Decisions,
    EntryDecision,
    LeafKind,
)
from node.wire.request_pb2 import FollowUpRequest
from node.workflow.requests import DECIDING

_SILENT = {ENTRY_OUTCOME_HELD_SILENTLY: True, ENTRY_OUTCOME_PENDING: False}  # outcomes that hold
LOOKED_BACK = 2_000  # lines; far more than a crash can leave without their holds


@dataclass(slots=True)
class Holding:
    """Fills the focal points' queue."""

    database: Database
    vault: Vault
    writer: Writer
    watching: Watching

    def hold(
        self,
        exchange_id: bytes,
        *,
        peer: str,
        query: Query,
        decisions: Decisions,
        at_us: int,
    ) -> "asyncio.Future[None] | None":
        """Queue what the decisions hold, after everything that waits for an answer; nobody waits for it."""
        self.watching.note(exchange_id, peer, query, decisions, at_us)
        return self._queue(exchange_id, peer=peer, query=query, decisions=decisions, at_us=at_us)

    def _queue(
        self,
        exchange_id: bytes,
        *,
        peer: str,
        query: Query,
        decisions: Decisions,
        at_us: int,
    ) -> "asyncio.Future[None] | None":
        held = [each for each in decisions.entries if each.outcome in _SILENT]
        if not held:
            return None
        change = partial(self._put, exchange_id=exchange_id, peer=peer, query=query, held=held, at_us=at_us)
        return asyncio.wrap_future(self.writer.submit(change, (), Priority.BACKGROUND))

    async def restore(self) -> None:
        """Queue again what the last lines hold and the queue does not have; to be called before serving."""
        for exchange_id, peer, query, decisions, at_us in await self.database.read(self._last):
            queued = self._queue(exchange_id, peer=peer, query=query, decisions=decisions, at_us=at_us)
            if queued is not None:
                await queued

    def _last(self, connection: Connection) -> list[tuple[bytes, str, Query, Decisions, int]]:
        start = max(0, read_head(connection).size - LOOKED_BACK)
        lines = list_lines(connection, start, LOOKED_BACK, kinds=(LeafKind.LEAF_KIND_ANSWERED,), vault=self.vault)
        found = []
        for line in lines:
            if line.opening is None or line.shared.direction != DIRECTION_SENT or not line.opening.decisions:
                continue
            decisions = Decisions.FromString(unpad(line.opening.decisions))
            if any(each.outcome in _SILENT for each in decisions.entries):
                shared = line.shared
                query = self._query(connection, line, line.opening.private)
                found.append((shared.exchange_id, shared.peer, query, decisions, shared.time_us))
        return found

    def _query(self, connection: Connection, line: ListedLine, private_bytes: bytes) -> Query:
        """Return what was asked; of a query whose text was erased, what its line tells."""
        try:
            return Body.FromString(read_bodies(connection, self.vault, line.index)[QUERY_BODY]).query
        except (KeyErasedError, NotFoundError):
            private = parse_private(private_bytes)
            return Query(
                purpose=private.purpose,
                urgency=private.urgency,
                instrument=private.instrument,
                case_reference=private.case_reference,
                asker=Asker(officer=private.officer, unit=private.unit, unit_type=private.unit_type),
            )

    def _put(
        self,
        connection: Connection,
        *,
        exchange_id: bytes,
        peer: str,
        query: Query,
        held: Sequence[EntryDecision],
        at_us: int,
    ) -> None:
        for each in held:
            silent, due = _SILENT[each.outcome], due_us(query.urgency, at_us)
            new = holds.put(
                connection,
                exchange_id=exchange_id,
                peer=peer,
                entry_id=each.entry_id,
                at_us=at_us,
                due_us=due,
                silent=silent,
            )
            if new:
                detail = held_request(exchange_id, peer, query, each.handle, silent=silent, at_us=at_us)
                requests.put(connection, self.vault, detail, each.entry_id)


def held_request(
    exchange_id: bytes, peer: str, query: Query, ticket: bytes, *, silent: bool, at_us: int, sent: bool = False
) -> RequestDetail:
    """Return the request that a query makes by itself where its answer is held; `sent` is for who asked."""
    asked, request_id = query.asker, requests.held_id(exchange_id, ticket)
    item = RequestItem(
        direction=DIRECTION_SENT if sent else DIRECTION_RECEIVED,
        peer=peer,
        exchange_id=exchange_id,
        request_id=request_id,
        origin=REQUEST_ORIGIN_HELD_SILENTLY if silent else REQUEST_ORIGIN_HELD,
        state=DECIDING.start,
        urgency=query.urgency,
        at_us=at_us,
        due_us=due_us(query.urgency, at_us),
        changed_us=at_us,
        officer=asked.officer,
        unit=asked.unit,
    )
    request = FollowUpRequest(
        request_id=request_id,
        handles=[ticket],
        purpose=query.purpose,
        crimes=query.crimes,
        urgency=query.urgency,
        urgency_reason=query.urgency_reason,
        asker=asked,
        case_reference=query.case_reference,
        instrument=query.instrument,
        ground=query.ground,
        asked_us=at_us,
    )
    return RequestDetail(item=item, request=request)
