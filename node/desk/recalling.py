"""Taking back and correcting what peers were told: whom it goes to, and what became of it there."""

from collections.abc import Callable, MutableSequence, Sequence
from dataclasses import dataclass
from functools import partial

from node.desk.approving import LONGEST_REASON
from node.desk.notices import Notices
from node.desk.officers import private_of_officer
from node.errors import UsageError
from node.federation.lines import local_line
from node.federation.recalling import Recalling
from node.federation.redeciding import told_last
from node.policy.follow_up import MAX_HANDLES
from node.store import recalls
from node.store.ids import ID_BYTES
from node.store.officers import Officer
from node.store.recalls import RecallId
from node.store.traces import Given
from node.wire import sharing_pb2 as wire
from node.wire.desk_pb2 import OfficerRole
from node.wire.ledger_pb2 import LeafKind
from node.wire.sharing_pb2 import NotSent, RecallItem
from node.wire.subject_pb2 import NOTICE_KIND_RECALL
from node.workflow.recalls import Actor, State

MOST_LISTED = 1_000
_PETITION = "a person's request"  # stays here


@dataclass(slots=True)
class TakingBack:
    """Serves whoever corrects, or takes back, what this country told."""

    recalling: Recalling
    notices: Notices
    clock: Callable[[], int]

    async def recall(self, request: wire.SendRecallRequest, officer: Officer) -> wire.SendRecallResponse:
        """Take entries back from all who learnt of them, or from the peers named.

        Raises:
            UsageError: no entry or no reason is named.
        """
        self._verify(request.entry_ids, request.reason)
        private, actor = private_of_officer(officer), _actor(officer)
        response = wire.SendRecallResponse()
        told = await self._told(request.entry_ids, request.peers, officer, response.not_sent)
        not_sent: list[NotSent] = []
        send = partial(self.recalling.recall, reason=request.reason, private=private, actor=actor)
        response.items.extend(await self.recalling.each(told, send, not_sent))
        response.not_sent.extend(not_sent)
        return response

    async def update(self, request: wire.SendUpdateRequest, officer: Officer) -> wire.SendUpdateResponse:
        """Send entries as they are now to all who learnt of them, as far as the rules let it leave.

        Raises:
            UsageError: no entry or no reason is named.
        """
        self._verify(request.entry_ids, request.reason)
        response = wire.SendUpdateResponse()
        told = await self._told(request.entry_ids, request.peers, officer, response.not_sent)
        not_sent: list[NotSent] = []
        send = partial(self.recalling.update, private=private_of_officer(officer))
        response.items.extend(await self.recalling.each(told, send, not_sent))
        response.not_sent.extend(not_sent)
        return response

    async def send_notices(self, petition_id: bytes, officer: Officer) -> wire.SendNoticesResponse:
        """Send what a person's request leads to: to a state that may be one of origin only where counsel decided so.

        Nothing in what leaves differs from what a unit sends of its own accord.

        Raises:
            NotFoundError: there is no such petition.
        """
        plan = await self.notices.plan(petition_id, officer)
        await self.recalling.freezing.catch_up()
        response = wire.SendNoticesResponse()
        recalled: list[Given] = []
        corrected: list[Given] = []
        releasing, database = self.recalling.redeciding.releasing, self.recalling.database
        for notice in plan.notices:
            lines = await database.read(partial(told_last, peer=notice.peer), releasing, notice.entry_id)
            (recalled if notice.kind == NOTICE_KIND_RECALL else corrected).extend(lines)
        not_sent = [
            NotSent(
                peer=each.peer, entry_id=each.entry_id, why="it may be a state of origin, and counsel has not decided"
            )
            for each in plan.withheld
        ]
        private = private_of_officer(officer)
        recall = partial(self.recalling.recall, reason=_PETITION, private=private, actor=Actor.FOCAL_POINT)
        response.recalls.extend(await self.recalling.each(recalled, recall, not_sent))
        update = partial(self.recalling.update, private=private)
        response.updates.extend(await self.recalling.each(corrected, update, not_sent))
        response.not_sent.extend(not_sent)
        return response

    async def decide(self, request: wire.DecideRecallRequest, officer: Officer) -> RecallItem:
        """Send a recall that was proposed, or let stand what was told.

        Raises:
            UsageError: no reason is named.
            NotFoundError: there is no such recall.
            WorkflowError: it does not wait for a decision.
        """
        _verify_reason(request.reason)
        key = RecallId(request.peer, request.exchange_id, request.handle)
        private = private_of_officer(officer)
        if request.send:
            return await self.recalling.recall_again(key, request.reason, private, Actor.FOCAL_POINT)
        return await self.recalling.let_stand(key, request.reason, private)

    async def list_recalls(self, request: wire.ListRecallsRequest, officer: Officer) -> list[RecallItem]:
        """Return recalls with their receipts, the newest first."""
        await self._read(officer, b"", "RECALLS")
        states = [*[State.PROPOSED] * request.proposed, *[State.OVERDUE] * request.missing]
        limit = min(request.limit or 100, MOST_LISTED)
        database, vault = self.recalling.database, self.recalling.mailroom.vault
        return await database.read(recalls.list_items, vault, states, limit)

    async def _told(
        self, entry_ids: Sequence[bytes], peers: Sequence[str], officer: Officer, not_sent: MutableSequence[NotSent]
    ) -> list[Given]:
        found: list[Given] = []
        focal_point = OfficerRole.OFFICER_ROLE_FOCAL_POINT in officer.roles
        for entry_id in dict.fromkeys(entry_ids):
            await self._read(officer, entry_id, "TOLD")
            given, kept_back = await self.recalling.told(entry_id, peers, focal_point=focal_point)
            found += given
            not_sent.extend(kept_back)
        return found

    def _verify(self, entry_ids: Sequence[bytes], reason: str) -> None:
        if not 1 <= len(entry_ids) <= MAX_HANDLES or any(len(each) != ID_BYTES for each in entry_ids):
            raise UsageError(f"entries: 1 to {MAX_HANDLES}, by their ids")
        _verify_reason(reason)

    async def _read(self, officer: Officer, subject: bytes, reason: str) -> None:
        """Return when the look is durably logged: only then may anything be shown."""
        mailroom = self.recalling.mailroom
        private = private_of_officer(officer, subject=subject, reason=reason)
        await mailroom.writer.append(
            local_line(LeafKind.LEAF_KIND_READ, private, mailroom.standing.signer, self.clock())
        )


def _verify_reason(reason: str) -> None:
    if not 0 < len(reason.strip().encode()) <= LONGEST_REASON:
        raise UsageError(f"reason: say why, in up to {LONGEST_REASON} bytes; it stays here")


def _actor(officer: Officer) -> Actor:
    focal_point = OfficerRole.OFFICER_ROLE_FOCAL_POINT in officer.roles
    return Actor.FOCAL_POINT if focal_point else Actor.UNIT
