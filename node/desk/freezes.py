"""Views that stay as they were, before the focal point."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from node.desk.approving import LONGEST_REASON
from node.desk.officers import private_of_officer
from node.desk.recording import REVIEW_US
from node.errors import UsageError
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.store import freezes
from node.store.database import Database
from node.store.frozen import Frozen
from node.store.officers import Officer
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.ledger_pb2 import LeafKind
from node.wire.safeguard_pb2 import (
    FREEZE_STATE_EXPIRY,
    FREEZE_STATE_FREEZE,
    DecideFreezeRequest,
    Freeze,
)

_WORDS = {FREEZE_STATE_FREEZE: "FREEZE", FREEZE_STATE_EXPIRY: "EXPIRY"}


@dataclass(slots=True)
class Freezes:
    """Serves focal points."""

    standing: Standing
    database: Database
    writer: Writer
    frozen: Frozen
    vault: Vault
    clock: Callable[[], int]

    async def list_freezes(self, officer: Officer) -> list[Freeze]:
        """Return all views that were frozen, those that wait for a focal point first."""
        found = await self.database.read(freezes.list_freezes)
        private = private_of_officer(officer, reason="FREEZES")
        await self.writer.append(local_line(LeafKind.LEAF_KIND_READ, private, self.standing.signer, self.clock()))
        return found

    async def decide(self, request: DecideFreezeRequest, officer: Officer) -> Freeze:
        """Decide how long a peer goes on seeing what it saw, also again, and return how it stands.

        Raises:
            UsageError: neither freeze nor expiry is chosen, the date is wrong, or the reason is missing or too long.
            NotFoundError: no view of this entry is frozen for this peer, or it has ended.
        """
        now_us, until_us = self.clock(), None
        if request.state not in _WORDS:
            raise UsageError("state: is FREEZE, which goes on, or EXPIRY, which ends at the view's review date")
        if not 0 < len(request.reason.encode()) <= LONGEST_REASON:
            raise UsageError(f"reason: say why, in up to {LONGEST_REASON} bytes")
        if request.state == FREEZE_STATE_FREEZE:
            until_us = request.until_us or now_us + REVIEW_US
            if not now_us < until_us <= now_us + REVIEW_US:
                raise UsageError("until: is ahead, and five years at most")
        elif request.until_us:
            raise UsageError("until: goes with FREEZE; an expiry comes at the view's review date")
        reason = f"{_WORDS[request.state]} {request.peer}: {request.reason}"
        private = private_of_officer(officer, subject=request.entry_id, reason=reason)
        line = local_line(LeafKind.LEAF_KIND_RECORD, private, self.standing.signer, now_us)

        def change(connection: Connection) -> Freeze:
            freezes.decide(
                connection,
                self.vault,
                request.entry_id,
                request.peer,
                request.state,
                until_us=until_us,
                officer=officer.name,
                line=line.exchange_id,
                now_us=now_us,
            )
            self.frozen.load(connection)
            (found,) = [
                each
                for each in freezes.list_freezes(connection)
                if (each.entry_id, each.peer) == (request.entry_id, request.peer)
            ]
            return found

        return await asyncio.wrap_future(self.writer.submit(change, [line]))
