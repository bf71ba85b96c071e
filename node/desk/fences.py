"""Going on after a restore: an administrator proposes what the ledger confesses, and another officer confirms it.

Two people, since a loss that is confessed is one that nobody looks for any more: who could have caused it, and who
answers for what left the country or audits it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from node.desk.approving import LONGEST_REASON
from node.desk.officers import private_of_officer
from node.errors import UsageError
from node.federation.fencing import Fencing
from node.federation.lines import local_line
from node.federation.witnessing import Witnessing
from node.store import epochs
from node.store.database import Database
from node.store.officers import Officer
from node.store.writer import Writer
from node.wire.fence_pb2 import (
    Fence,
    GetFenceResponse,
    LostHead,
    OpenEpochRequest,
    OpenEpochResponse,
    ProposeFenceRequest,
    ProposeFenceResponse,
)
from node.wire.ledger_pb2 import LeafKind


@dataclass(slots=True)
class Fences:
    """Serves those who bring a restored node back."""

    fencing: Fencing
    witnessing: Witnessing
    database: Database
    writer: Writer
    clock: Callable[[], int]

    async def get_fence(self, officer: Officer) -> GetFenceResponse:
        """Tell whether lines are lost, and what is proposed; that it was looked at is a line."""
        private = private_of_officer(officer, reason="FENCE")
        signer = self.fencing.standing.signer
        await self.writer.append(local_line(LeafKind.LEAF_KIND_READ, private, signer, self.clock()))
        lost = await self.database.read(epochs.list_lost)
        waiting = await self.database.read(epochs.proposal)
        return GetFenceResponse(
            fenced=await self.database.read(epochs.is_fenced),
            epoch=await self.database.read(epochs.epoch_of),
            heads=[LostHead(checkpoint=each.seen.note, witnesses=[each.witness]) for each in lost if not each.epoch],
            proposed=Fence.FromString(waiting.fence) if waiting else None,
            proposed_sha256=sha256(waiting.fence).digest() if waiting else b"",
            proposer=waiting.proposer if waiting else "",
            reason=waiting.reason if waiting else "",
            proposed_us=waiting.proposed_us if waiting else 0,
        )

    async def propose(self, request: ProposeFenceRequest, officer: Officer) -> ProposeFenceResponse:
        """Ask all witnesses for the last head that they saw, and keep what is to be confessed.

        Raises:
            UsageError: no reason, or nothing was lost.
            UnansweredError: a member was not reached, and is not among those that need not be.
        """
        if not 0 < len(request.reason.encode()) <= LONGEST_REASON or not request.reason.isprintable():
            raise UsageError(f"reason: say in up to {LONGEST_REASON} bytes of one line what happened")
        fence = await self.fencing.propose(private_of_officer(officer), request.reason, set(request.without))
        return ProposeFenceResponse(fence=fence, sha256=sha256(fence.SerializeToString()).digest())

    async def open_epoch(self, request: OpenEpochRequest, officer: Officer) -> OpenEpochResponse:
        """Open the proposed epoch, and show it to the witnesses; the node serves again from here on.

        Raises:
            UsageError: no such proposal, it is the officer's own, or more was lost since.
        """
        epoch, line = await self.fencing.open(private_of_officer(officer), request.sha256)
        cosigned = await self.witnessing.publish()
        return OpenEpochResponse(epoch=epoch, line=line, cosigned=sorted(cosigned))
