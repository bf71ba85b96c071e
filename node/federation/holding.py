"""Entries that wait for this country's focal point; to a peer they are pending, or look like a no-hit.

That an entry is held is a decision in the ledger line of the answer; the queue of the focal point is made from it,
behind the answer's back, and made again at the start where a crash came in between.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from node.ledger.leaf import parse_private, unpad
from node.store import holds
from node.store.database import Database
from node.store.listing import list_lines, read_head
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.codes_pb2 import Urgency
from node.wire.ledger_pb2 import (
    DIRECTION_SENT,
    ENTRY_OUTCOME_HELD_SILENTLY,
    ENTRY_OUTCOME_PENDING,
    Decisions,
    LeafKind,
)

HOUR_US = 3_600_000_000
# How soon somebody is to look, by what the asker said.
DUE_US = {
    Urgency.URGENCY_LIFE: 2 * HOUR_US,
    Urgency.URGENCY_URGENT: 8 * HOUR_US,
    Urgency.URGENCY_PRIORITY: 72 * HOUR_US,
    Urgency.URGENCY_ROUTINE: 168 * HOUR_US,
}
_SILENT = {ENTRY_OUTCOME_HELD_SILENTLY: True, ENTRY_OUTCOME_PENDING: False}  # outcomes that hold
LOOKED_BACK = 2_000  # lines; far more than a crash can leave without their holds


@dataclass(slots=True)
class Holding:
    """Fills the focal points' queue."""

    database: Database
    vault: Vault
    writer: Writer

    def hold(
        self,
        exchange_id: bytes,
        *,
        peer: str,
        urgency: Urgency.ValueType,
        decisions: Decisions,
        at_us: int,
    ) -> "asyncio.Future[None] | None":
        """Queue what the decisions hold, after everything that waits for an answer; nobody waits for it."""
        held = {each.entry_id: _SILENT[each.outcome] for each in decisions.entries if each.outcome in _SILENT}
        if not held:
            return None
        due = due_us(urgency, at_us)
        change = partial(_put, exchange_id=exchange_id, peer=peer, held=held, at_us=at_us, due_us=due)
        return asyncio.wrap_future(self.writer.submit(change, (), Priority.BACKGROUND))

    async def restore(self) -> None:
        """Queue again what the last lines hold and the queue does not have; to be called before serving."""
        for exchange_id, peer, urgency, decisions, at_us in await self.database.read(self._last):
            queued = self.hold(exchange_id, peer=peer, urgency=urgency, decisions=decisions, at_us=at_us)
            if queued is not None:
                await queued

    def _last(self, connection: Connection) -> list[tuple[bytes, str, Urgency.ValueType, Decisions, int]]:
        start = max(0, read_head(connection).size - LOOKED_BACK)
        lines = list_lines(connection, start, LOOKED_BACK, kinds=(LeafKind.LEAF_KIND_ANSWERED,), vault=self.vault)
        found = []
        for line in lines:
            if line.opening is None or line.shared.direction != DIRECTION_SENT or not line.opening.decisions:
                continue
            decisions = Decisions.FromString(unpad(line.opening.decisions))
            private = parse_private(line.opening.private)
            shared = line.shared
            found.append((shared.exchange_id, shared.peer, private.urgency, decisions, shared.time_us))
        return found


def due_us(urgency: Urgency.ValueType, at_us: int) -> int:
    """When somebody is to have decided, of what came at `at_us` (UTC microseconds)."""
    return at_us + DUE_US.get(urgency, DUE_US[Urgency.URGENCY_ROUTINE])


def _put(
    connection: Connection, *, exchange_id: bytes, peer: str, held: Mapping[bytes, bool], at_us: int, due_us: int
) -> None:
    for entry_id, silent in held.items():
        holds.put(
            connection,
            exchange_id=exchange_id,
            peer=peer,
            entry_id=entry_id,
            at_us=at_us,
            due_us=due_us,
            silent=silent,
        )
