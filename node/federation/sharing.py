"""Shares by mail: what a unit tells a peer unasked, decided and redacted as an answer would be.

A share that a rule holds waits in the focal points' queue like a held answer, whole: they sign the very message that
leaves. One that nothing holds leaves as its preview showed it, or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from node.errors import DeniedError, MalformedError, NotFoundError
from node.federation.lines import local_line
from node.federation.mail_kinds import MailKind, OutgoingMail, Post, ReceivedMail, SentMail
from node.federation.proposing import propose_recalls
from node.federation.releasing import Choice, Composed, Releasing, choice_of, verify_composed
from node.federation.request_steps import private_of_request, put_back
from node.identity.releases import answer_sha256, parse_release, verify_release
from node.policy.decide import HELD_SILENTLY, PENDING
from node.policy.follow_up import handles_of, query_of, verify_answer
from node.policy.outbound import verify_asking
from node.store import focal_points, quotas, requests, shares
from node.store.listing import list_lines
from node.store.received import ReceivedEntries
from node.store.requests import Kept, RequestId, due_us
from node.store.vault import Vault
from node.wire.codes_pb2 import Urgency
from node.wire.correspondence_pb2 import MAIL_STATE_DELIVERED, MAIL_STATE_WITHDRAWN, MailState
from node.wire.deciding_pb2 import REQUEST_ORIGIN_SHARE, RequestDetail, RequestItem
from node.wire.exchange_pb2 import Asker
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, LeafKind, LeafPrivate
from node.wire.mail_pb2 import Mail
from node.wire.received_pb2 import RECEIVED_SOURCE_SHARE, ReceivedEntry
from node.wire.request_pb2 import REQUEST_OUTCOME_GRANTED, FollowUpRequest, RequestAnswer
from node.wire.share_pb2 import Share
from node.wire.sharing_pb2 import ShareDetail, ShareDraft, ShareItem
from node.workflow import requests as deciding
from node.workflow.requests import DECIDING, OPEN, RELEASED
from node.workflow.shares import SHARED, SHARING, Actor, Event, State

NOT_ASKED = "Shared unasked."
"""What stands where a request says why it is asked for, when the unit wrote nothing."""


class Sharer(NamedTuple):
    """Who shares: pseudonym and unit."""

    officer: str
    unit: str


def kept_share(
    vault: Vault, draft: ShareDraft, peer: str, *, ids: tuple[bytes, bytes], sharer: Sharer, at_us: int
) -> Kept:
    """Return a share with one peer as what it is to the rules: a request that the peer has not made.

    `ids` are those of exchange and share, 16 bytes each. Nothing of it is written down.
    """
    exchange_id, share_id = ids
    request = FollowUpRequest(
        request_id=share_id,
        handles=[vault.handle_for(peer, entry_id) for entry_id in dict.fromkeys(draft.entry_ids)],
        categories=draft.categories,
        why=draft.words or NOT_ASKED,
        purpose=draft.purpose,
        crimes=draft.crimes,
        urgency=Urgency.URGENCY_ROUTINE,
        asker=Asker(officer=sharer.officer, unit=sharer.unit, unit_type=draft.unit_type),
        case_reference=draft.case_reference,
        instrument=draft.instrument,
        asked_us=at_us,
    )
    item = RequestItem(
        direction=DIRECTION_RECEIVED,
        peer=peer,
        exchange_id=exchange_id,
        request_id=share_id,
        origin=REQUEST_ORIGIN_SHARE,
        state=DECIDING.start,
        urgency=request.urgency,
        at_us=at_us,
        due_us=due_us(request.urgency, at_us),
        changed_us=at_us,
        officer=sharer.officer,
        unit=sharer.unit,
    )
    return Kept(RequestId(DIRECTION_RECEIVED, peer, share_id), b"", RequestDetail(item=item, request=request))


def composed_share(
    releasing: Releasing, connection: Connection, kept: Kept, words: str, now_us: int
) -> tuple[Composed, bool]:
    """Return what would leave of a share, and whether focal points decide on it first."""
    at_once = releasing.compose(connection, kept, Choice(words=words), now_us, approved=False)
    waiting = {each.handle for each in at_once.considered if each.most.outcome in {PENDING, HELD_SILENTLY}}
    if waiting:
        approved = releasing.compose(connection, kept, Choice(words=words), now_us)
        if any(each.chosen is not None and each.handle in waiting for each in approved.considered):
            return approved, True
    return at_once, False


def share_of(kept: Kept, answer: RequestAnswer) -> Share:
    """Return the message that leaves."""
    request = kept.detail.request
    return Share(
        released=answer,
        purpose=request.purpose,
        crimes=request.crimes,
        instrument=request.instrument,
        unit_type=request.asker.unit_type,
        sharer=Asker(officer=request.asker.officer, unit=request.asker.unit),
        case_reference=request.case_reference,
    )


def send_share(post: Post, kept: Kept, composed: Composed, private: LeafPrivate) -> None:
    """Queue a share; its line tells what was decided on each entry that was considered."""
    answer = verify_composed(composed)
    asked = private_of_request(kept.detail.request)
    private.purpose, private.urgency, private.instrument = asked.purpose, asked.urgency, asked.instrument
    private.case_reference = asked.case_reference
    private.floor_sha256, private.release_sha256 = composed.floor_sha256, composed.release_sha256
    private.released = sum(hit.HasField("entry") for hit in answer.hits)
    private.hits = len(answer.hits) - private.released
    mail = Mail(share=share_of(kept, answer))
    post.send(OutgoingMail(kept.id.peer, kept.item.exchange_id, mail, private, composed.decisions()))


def log_share(post: Post, exchange_id: bytes, reason: str, private: LeafPrivate | None = None) -> None:
    """Log what a peer does not see of a share; exchange and peer are in the private part alone."""
    made = private or LeafPrivate()
    made.subject, made.reason = exchange_id, reason[:64]
    post.log(local_line(LeafKind.LEAF_KIND_SHARE, made, post.standing.signer, post.now_us))


def note_decided(post: Post, kept: Kept, event: Event, actor: Actor) -> None:
    """Note on a share what became of the decision that it waited for; nothing where `kept` is no share."""
    if kept.item.origin != REQUEST_ORIGIN_SHARE:
        return
    detail = shares.find(post.connection, post.vault, DIRECTION_SENT, kept.id.peer, kept.id.request_id)
    if detail is not None:
        shares.change(post.connection, detail, SHARING.after(detail.item.state, event, actor), post.now_us)


@dataclass(slots=True)
class ShareKind(MailKind):
    """A peer tells of entries unasked."""

    releasing: Releasing
    received: ReceivedEntries
    field = "share"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that the share is of the contract."""
        del peer, now_us
        share = mail.share
        verify_answer(share.released)
        if share.released.outcome != REQUEST_OUTCOME_GRANTED:
            raise MalformedError("released: a share tells of something")
        asked = FollowUpRequest(purpose=share.purpose, crimes=share.crimes, instrument=share.instrument)
        asked.urgency, asked.case_reference = Urgency.URGENCY_ROUTINE, share.case_reference
        asked.asker.CopyFrom(share.sharer)
        asked.asker.unit_type = share.unit_type
        verify_asking(query_of(asked))

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Keep what came, with what this country owes for it, but what was taken back already.

        Raises:
            MalformedError: the exchange is one of this country's own.
            QuotaError: the peer has shared too much.
        """
        share, mail_id = received.mail.share, received.mail_id
        own = (LeafKind.LEAF_KIND_ASKED,)
        if list_lines(post.connection, 0, 1, exchange_id=mail_id.exchange_id, kinds=own, peer=mail_id.peer):
            raise MalformedError("a share is in an exchange of its own")
        quotas.take_mail(post.connection, mail_id.peer, self.field, post.now_us)
        private = received.private
        private.purpose, private.instrument = share.purpose, share.instrument
        private.case_reference = share.case_reference
        for hit in share.released.hits:
            if not hit.HasField("entry"):
                private.hits += 1
                continue
            private.released += 1
            new = ReceivedEntry(
                peer=mail_id.peer,
                originator=mail_id.peer,
                exchange_id=mail_id.exchange_id,
                disclosed_us=received.sent_us,
                source=RECEIVED_SOURCE_SHARE,
                entry=hit.entry,
            )
            self.received.put(post.connection, new, post.now_us)
        share_id = share.released.request_id
        if shares.find(post.connection, post.vault, DIRECTION_RECEIVED, mail_id.peer, share_id) is None:
            shares.put(post.connection, post.vault, _received_detail(share, mail_id.peer, mail_id.exchange_id, post))

    def recheck(self, connection: Connection, sent: SentMail, now_us: int) -> None:
        """Check that what leaves is what was shown, or what focal points signed, and that the rules still let it.

        Raises:
            DeniedError, ApprovalError: it is not, or they do not.
            NotFoundError: the share is gone.
        """
        vault, peer = self.releasing.vault, sent.row.peer
        share_id = sent.mail.share.released.request_id
        detail = shares.get(connection, vault, DIRECTION_SENT, peer, share_id)
        kept = _decided_on(connection, vault, peer, share_id)
        if kept is not None:
            if kept.item.state not in RELEASED or not kept.detail.signed_release:
                raise DeniedError("nobody has approved it")
            _, release = parse_release(kept.detail.signed_release)
            composed = self.releasing.compose(connection, kept, choice_of(release), now_us)
            focal = focal_points.by_name(connection, vault)
            verify_release(kept.detail.signed_release, verify_composed(composed), composed.approvals, focal)
            return
        again = kept_again(vault, detail)
        composed, held = composed_share(self.releasing, connection, again, detail.draft.words, now_us)
        if held or answer_sha256(verify_composed(composed)) != detail.answer_sha256:
            raise DeniedError("what would leave is not what was shown: the entry or the rules have changed")

    def settled(self, post: Post, sent: SentMail, state: MailState.ValueType) -> None:
        """Note what became of it; what the rules forbid by now, but had left, is proposed for recall."""
        peer, share_id = sent.row.peer, sent.mail.share.released.request_id
        detail = shares.find(post.connection, post.vault, DIRECTION_SENT, peer, share_id)
        if detail is None:
            return
        stands = detail.item.state
        kept = _decided_on(post.connection, post.vault, peer, share_id)
        if state == MAIL_STATE_WITHDRAWN and stands == State.SENT:
            event = Event.WITHDRAW
            if kept is not None and kept.item.state in RELEASED:
                put_back(post, kept)
                event = Event.PUT_BACK
            shares.change(post.connection, detail, SHARING.after(stands, event, Actor.NODE), post.now_us)
            log_share(post, detail.item.exchange_id, f"WITHDRAWN {peer}")
        elif state == MAIL_STATE_DELIVERED and stands in {State.SENT, State.WITHDRAWN, State.HELD}:
            shares.change(post.connection, detail, SHARING.after(stands, Event.DELIVER, Actor.PEER), post.now_us)
            if stands == State.SENT:
                return
            if kept is not None and kept.item.state in OPEN:
                closed = DECIDING.after(deciding.State.ASKED, deciding.Event.GRANT, deciding.Actor.FOCAL_POINT)
                requests.change(post.connection, post.vault, kept, post.now_us, state=closed)
            handles = handles_of(sent.mail.share.released)
            propose_recalls(post, peer, detail.item.exchange_id, handles, "it had left before it was withdrawn")


def take_back(post: Post, received: ReceivedEntries, peer: str, exchange_id: bytes) -> None:
    """Note on a share of a peer that it has taken an entry of it back."""
    for detail in shares.of_exchange(post.connection, post.vault, DIRECTION_RECEIVED, peer, exchange_id):
        left = received.of_exchange(post.connection, exchange_id, post.now_us)
        event = Event.TAKE_BACK_PART if left else Event.TAKE_BACK
        if event in SHARED.allowed(detail.item.state, Actor.PEER):
            to = SHARED.after(detail.item.state, event, Actor.PEER)
            shares.change(post.connection, detail, to, post.now_us)


def kept_again(vault: Vault, detail: ShareDetail) -> Kept:
    """Return a share that is written down as what it is to the rules."""
    item = detail.item
    ids = item.exchange_id, item.share_id
    sharer = Sharer(item.officer, item.unit)
    return kept_share(vault, detail.draft, item.peer, ids=ids, sharer=sharer, at_us=item.at_us)


def new_share(kept: Kept, draft: ShareDraft, state: str, handles: Sequence[bytes], sha256: bytes) -> ShareDetail:
    """Return a share of this country as it begins."""
    item = ShareItem(
        direction=DIRECTION_SENT,
        peer=kept.id.peer,
        exchange_id=kept.item.exchange_id,
        share_id=kept.id.request_id,
        state=state,
        at_us=kept.item.at_us,
        changed_us=kept.item.at_us,
        officer=kept.item.officer,
        unit=kept.item.unit,
        entries=len(handles),
    )
    return ShareDetail(item=item, draft=draft, answer_sha256=sha256, handles=handles)


def _received_detail(share: Share, peer: str, exchange_id: bytes, post: Post) -> ShareDetail:
    handles = handles_of(share.released)
    item = ShareItem(
        direction=DIRECTION_RECEIVED,
        peer=peer,
        exchange_id=exchange_id,
        share_id=share.released.request_id,
        state=SHARED.start,
        at_us=post.now_us,
        changed_us=post.now_us,
        officer=share.sharer.officer,
        unit=share.sharer.unit,
        entries=len(handles),
    )
    draft = ShareDraft(
        purpose=share.purpose,
        crimes=share.crimes,
        instrument=share.instrument,
        unit_type=share.unit_type,
        case_reference=share.case_reference,
        words=share.released.words,
    )
    return ShareDetail(item=item, draft=draft, handles=handles)


def _decided_on(connection: Connection, vault: Vault, peer: str, share_id: bytes) -> Kept | None:
    """Return what focal points decide, or decided, of a share; None where nothing held it."""
    try:
        return requests.get(connection, vault, RequestId(DIRECTION_RECEIVED, peer, share_id))
    except NotFoundError:
        return None
