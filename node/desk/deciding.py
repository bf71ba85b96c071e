"""The focal points' queue: what waits for a decision, what would leave by it, and letting it leave or not."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from node.desk.officers import NOT_ON_DUTY, private_of_officer
from node.desk.releases import Shown, shown_release
from node.errors import ApprovalError, DeniedError, ForbiddenError, NotFoundError, UsageError, WorkflowError
from node.federation.freezing import Freezing
from node.federation.lines import local_line
from node.federation.mail_kinds import OutgoingMail, Post
from node.federation.mailroom import Mailroom
from node.federation.releasing import Choice, Composed, Releasing, choice_of, verify_composed
from node.federation.request_steps import (
    EVENT_OF,
    close_hold,
    log_step,
    private_of_request,
    put_back,
    without_entries,
)
from node.federation.sharing import note_decided, share_of
from node.identity.releases import answer_sha256, joined, parse_release, release_signers, verify_release
from node.policy.follow_up import verify_words
from node.store import duty, focal_points, requests
from node.store.database import Database
from node.store.officers import Officer
from node.store.requests import Kept
from node.wire.codes_pb2 import Refusal
from node.wire.deciding_pb2 import (
    REQUEST_ORIGIN_HELD_SILENTLY,
    REQUEST_ORIGIN_SHARE,
    PrepareReleaseRequest,
    PrepareReleaseResponse,
    RefuseRequestRequest,
    RequestDetail,
    RequestItem,
    ReviewReleaseRequest,
    SignedRelease,
)
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, LeafKind
from node.wire.mail_pb2 import Mail
from node.wire.request_pb2 import REQUEST_OUTCOME_REFUSED, RequestAnswer
from node.workflow import shares
from node.workflow.requests import DECIDING, OPEN, RELEASED, Actor, Event, State

CLOCK_US = 300 * 1_000_000
"""What is signed is brought within so much of the node's clock, or is signed anew."""

LONGEST_REASON = 40


@dataclass(slots=True)
class Deciding:
    """Serves focal points."""

    mailroom: Mailroom
    database: Database
    releasing: Releasing
    freezing: Freezing
    clock: Callable[[], int]

    async def queue(self, officer: Officer) -> list[RequestItem]:
        """Return what waits, the earliest due first."""
        found = await self.database.read(requests.waiting)
        await self._read(officer, b"", "QUEUE")
        return found

    async def get(self, request_id: bytes, peer: str, officer: Officer) -> RequestDetail:
        """Return a request of either direction."""
        kept = await self.database.read(requests.find, self.mailroom.vault, request_id, peer)
        await self._read(officer, kept.item.exchange_id, "REQUEST")
        return kept.detail

    async def prepare(self, request: PrepareReleaseRequest, officer: Officer) -> PrepareReleaseResponse:
        """Return what would leave by a choice, exactly, and what to know before it does.

        Raises:
            NotFoundError, UsageError: there is no such request here to decide on.
        """
        await self.freezing.catch_up()  # what was released before is read from the lines, up to the last
        await self._read(officer, request.request_id, "RELEASE")
        choice = Choice(frozenset(request.entry_ids), frozenset(request.categories), request.words, request.emergency)
        return await self.database.read(self._prepared, request, choice)

    def _prepared(
        self, connection: Connection, request: PrepareReleaseRequest, choice: Choice
    ) -> PrepareReleaseResponse:
        kept = self._received(connection, request.request_id, request.peer)
        composed = self.releasing.compose(connection, kept, choice, self.clock())
        shown = Shown(self.releasing, request.language or "en", self.clock())
        response = shown_release(connection, shown, kept, composed)
        held = kept.detail.signed_release
        if held and composed.answer and parse_release(held)[1].answer_sha256 == answer_sha256(composed.answer):
            focal = focal_points.by_name(connection, self.mailroom.vault)
            response.signed_by.extend(sorted(release_signers(held, focal)))
        return response

    # --- letting it leave --------------------------------------------------------------------------------------------

    async def approve(self, signed: bytes, officer: Officer) -> RequestItem:
        """Take a focal point's signature, and let the answer leave once as many have signed as the rules ask for.

        Raises:
            MalformedError, SignatureError: it is no approval, or a signature is false.
            ApprovalError: what would leave is not what was signed: it is in the queue again; or the same focal point or
                officer would approve twice.
            DeniedError: nothing may leave.
            ForbiddenError: in an emergency, by somebody who is not on duty; a line says so.
            WorkflowError: somebody has decided already, or its time is over.
        """
        _, release = parse_release(signed)
        if release.country != self.releasing.standing.country:
            raise UsageError("the approval is another country's")
        verify_words("words", release.words)
        item, refused = await self.mailroom.post(partial(self._approve, signed=signed, officer=officer))
        if refused is not None:
            raise refused  # only now: what was put back, and its line, are kept
        return item

    def _approve(
        self, post: Post, *, signed: bytes, officer: Officer
    ) -> tuple[RequestItem, ApprovalError | DeniedError | ForbiddenError | None]:
        _, release = parse_release(signed)
        kept = self._received(post.connection, release.request_id, release.peer)
        detail = kept.detail
        if release.exchange_id != kept.item.exchange_id:
            raise UsageError("the approval is of another exchange")
        first = kept.item.state != State.SIGNED
        if not _is_held(detail, signed) and abs(release.time_us - post.now_us) > CLOCK_US:
            raise UsageError("the approval's time is not near this node's clock: look again, and sign anew")
        if release.emergency and not duty.may_act_alone(post.connection, officer.name, post.now_us):
            log_step(post, kept, "NOT_ON_DUTY", private_of_officer(officer))
            return kept.item, ForbiddenError(NOT_ON_DUTY)
        actor = Actor.FOCAL_POINT if first else Actor.SECOND
        DECIDING.after(kept.item.state, Event.GRANT, actor)  # whether it is open at all
        self._verify_in_time(kept, post.now_us)
        composed = self.releasing.compose(post.connection, kept, choice_of(release), post.now_us)
        together = joined(detail.signed_release, signed) if detail.signed_release else signed
        if composed.answer is None or release.answer_sha256 != answer_sha256(composed.answer):
            if not first:
                put_back(post, kept)
            log_step(post, kept, "CHANGED", private_of_officer(officer))
            why = composed.nothing or "what would leave has changed since it was shown: look again, and sign anew"
            return kept.item, DeniedError(why) if composed.answer is None else ApprovalError(why)
        focal = focal_points.by_name(post.connection, post.vault)
        names = release_signers(together, focal)
        if not names:
            raise ApprovalError("no focal point of this node has signed it")
        if not first:
            _verify_second(kept, signed, names, officer)
        detail.signed_release = together
        detail.approved_by.append(officer.name)
        if min(len(names), len(detail.approved_by)) < composed.approvals:
            state = DECIDING.after(kept.item.state, Event.SIGN, Actor.FOCAL_POINT)
            requests.change(post.connection, post.vault, kept, post.now_us, state=state)
            log_step(post, kept, "SIGNED", private_of_officer(officer))
            return kept.item, None
        verify_release(together, verify_composed(composed), composed.approvals, focal)
        self._send(post, kept, composed, actor, officer)
        return kept.item, None

    def _send(self, post: Post, kept: Kept, composed: Composed, actor: Actor, officer: Officer) -> None:
        answer = verify_composed(composed)
        event = EVENT_OF[answer.outcome]
        state = DECIDING.after(kept.item.state, event, actor)
        _, release = parse_release(kept.detail.signed_release)
        private = private_of_officer(officer, reason=f"{str(event).upper()}{' EMERGENCY' * release.emergency}")
        asked = private_of_request(kept.detail.request)
        private.purpose, private.urgency, private.instrument = asked.purpose, asked.urgency, asked.instrument
        private.case_reference = asked.case_reference
        private.floor_sha256, private.release_sha256 = composed.floor_sha256, composed.release_sha256
        private.released = sum(hit.HasField("entry") for hit in answer.hits)
        private.hits = len(answer.hits) - private.released
        shared = kept.item.origin == REQUEST_ORIGIN_SHARE
        mail = Mail(share=share_of(kept, answer)) if shared else Mail(request_answer=answer)
        post.send(OutgoingMail(kept.id.peer, kept.item.exchange_id, mail, private, composed.decisions()))
        note_decided(post, kept, shares.Event.GRANT, shares.Actor.FOCAL_POINT)
        kept.detail.answer.CopyFrom(without_entries(answer))
        requests.change(
            post.connection, post.vault, kept, post.now_us, state=state, emergency=release.emergency, late=False
        )
        close_hold(post.connection, kept)
        if release.emergency:
            log_step(post, kept, "EMERGENCY", private_of_officer(officer))

    # --- or not ------------------------------------------------------------------------------------------------------

    async def refuse(self, request: RefuseRequestRequest, officer: Officer) -> RequestItem:
        """Refuse: the peer hears that it is refused, and the words, where there are any; of a silent hold, nothing.

        Raises:
            UsageError: no reason is named, or words to somebody who hears nothing.
            WorkflowError: somebody has decided already, or its time is over.
        """
        if not request.refusal or request.refusal not in Refusal.values():
            raise UsageError("refusal: name the reason; it stays here")
        verify_words("words", request.words)
        return await self.mailroom.post(partial(self._refuse, request=request, officer=officer))

    def _refuse(self, post: Post, *, request: RefuseRequestRequest, officer: Officer) -> RequestItem:
        kept = self._received(post.connection, request.request_id, request.peer)
        silent = kept.item.origin in {REQUEST_ORIGIN_HELD_SILENTLY, REQUEST_ORIGIN_SHARE}
        if silent and request.words:
            saw = "knows of nothing" if kept.item.origin == REQUEST_ORIGIN_SHARE else "saw a no-hit"
            raise UsageError(f"words: the peer {saw}, and hears nothing of this decision")
        self._verify_in_time(kept, post.now_us)
        state = DECIDING.after(kept.item.state, Event.REFUSE, Actor.FOCAL_POINT)
        kept.detail.ClearField("signed_release")
        requests.change(post.connection, post.vault, kept, post.now_us, state=state, refusal=request.refusal)
        close_hold(post.connection, kept)
        note_decided(post, kept, shares.Event.REFUSE, shares.Actor.FOCAL_POINT)
        log_step(post, kept, f"REFUSED {request.refusal}", private_of_officer(officer))
        if not silent:
            # One code for all reasons: which one it was would tell what is hidden.
            answer = RequestAnswer(request_id=kept.id.request_id, outcome=REQUEST_OUTCOME_REFUSED, words=request.words)
            private = private_of_officer(officer, reason="REFUSED")
            post.send(OutgoingMail(kept.id.peer, kept.item.exchange_id, Mail(request_answer=answer), private))
            kept.detail.answer.CopyFrom(answer)
            requests.change(post.connection, post.vault, kept, post.now_us)
        return kept.item

    async def take(self, request_id: bytes, peer: str, officer: Officer) -> RequestItem:
        """Take a request upon oneself, also from a colleague."""
        step = partial(self._step, officer=officer, event=Event.TAKE, reason="TAKEN", taken_by=officer.name)
        return await self.mailroom.post(partial(step, request_id=request_id, peer=peer))

    async def escalate(self, request_id: bytes, peer: str, officer: Officer) -> RequestItem:
        """Tell all focal points that this one has to be decided."""
        step = partial(self._step, officer=officer, event=Event.ESCALATE, reason="ESCALATED", taken_by=None)
        return await self.mailroom.post(partial(step, request_id=request_id, peer=peer))

    def _step(
        self,
        post: Post,
        *,
        request_id: bytes,
        peer: str,
        officer: Officer,
        event: Event,
        reason: str,
        taken_by: str | None,
    ) -> RequestItem:
        kept = self._received(post.connection, request_id, peer)
        state = DECIDING.after(kept.item.state, event, Actor.FOCAL_POINT)
        requests.change(post.connection, post.vault, kept, post.now_us, state=state, taken_by=taken_by)
        log_step(post, kept, reason, private_of_officer(officer))
        return kept.item

    async def review(self, request: ReviewReleaseRequest, officer: Officer) -> RequestItem:
        """Note what a second focal point says of what one released in an emergency.

        Raises:
            UsageError: nothing was released so, it was reviewed, or who released it would review it; a line says so.
        """
        if not 0 < len(request.reason.encode()) <= LONGEST_REASON:
            raise UsageError(f"say why, in up to {LONGEST_REASON} bytes")
        item, refused = await self.mailroom.post(partial(self._review, request=request, officer=officer))
        if refused:
            raise UsageError(refused)
        return item

    def _review(self, post: Post, *, request: ReviewReleaseRequest, officer: Officer) -> tuple[RequestItem, str]:
        kept = self._received(post.connection, request.request_id, request.peer)
        if not kept.item.emergency or kept.item.state not in RELEASED or kept.item.reviewed_by:
            return kept.item, "no emergency release waits for a review here"
        if officer.name in kept.detail.approved_by:
            log_step(post, kept, "SECOND_FOCAL_POINT", private_of_officer(officer))
            return kept.item, "another focal point than the one who released it reviews it"
        said = "UPHELD" if request.upheld else "NOT_UPHELD"
        requests.change(
            post.connection, post.vault, kept, kept.item.changed_us, reviewed_by=officer.name, upheld=request.upheld
        )
        log_step(post, kept, said, private_of_officer(officer))
        return kept.item, ""

    # --- inside ------------------------------------------------------------------------------------------------------

    def _received(self, connection: Connection, request_id: bytes, peer: str) -> Kept:
        return requests.find(connection, self.mailroom.vault, request_id, peer, DIRECTION_RECEIVED)

    def _verify_in_time(self, kept: Kept, now_us: int) -> None:
        if kept.item.state in OPEN and kept.item.due_us <= now_us:
            raise WorkflowError("its time is over: silence was refusal, and the peer may ask again")

    async def _read(self, officer: Officer, subject: bytes, reason: str) -> None:
        """Return when the look is durably logged: only then may anything be shown."""
        if len(subject) not in {0, 16}:
            raise NotFoundError("there is no such request")
        private = private_of_officer(officer, subject=subject, reason=reason)
        line = local_line(LeafKind.LEAF_KIND_READ, private, self.releasing.standing.signer, self.clock())
        await self.mailroom.writer.append(line)


def _is_held(detail: RequestDetail, signed: bytes) -> bool:
    """Tell whether another focal point has signed this very approval."""
    held = SignedRelease.FromString(detail.signed_release)
    return bool(held.release) and held.release == SignedRelease.FromString(signed).release


def _verify_second(kept: Kept, signed: bytes, names: frozenset[str], officer: Officer) -> None:
    """Check that another focal point approves what the first one did."""
    if not _is_held(kept.detail, signed):
        raise ApprovalError("another focal point has signed another choice or message: sign that one, or refuse")
    if officer.name in kept.detail.approved_by or len(names) <= len(kept.detail.approved_by):
        raise ApprovalError("another focal point approves it too, as another officer and with a key of their own")
