"""Requests by mail: asked, answered, answered back; on either side each step is a line, and both see the same state."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.errors import (
    DeniedError,
    MalformedError,
    NotFoundError,
    ReplayError,
)
from node.federation.holding import held_request
from node.federation.lines import QUERY_BODY
from node.federation.mail_kinds import MailKind, Post, ReceivedMail, SentMail
from node.federation.releasing import Releasing, choice_of, verify_composed
from node.federation.request_steps import (
    EVENT_OF,
    log_step,
    new_detail,
    private_of_request,
    put_back,
    put_pending,
    shown_in,
    without_entries,
)
from node.identity.releases import parse_release, verify_release
from node.policy.follow_up import (
    handles_of,
    verify_answer,
    verify_narrower,
    verify_request,
    verify_within,
    verify_words,
)
from node.store import alerts, focal_points, quotas, requests
from node.store.alerts import AlertId
from node.store.listing import list_lines, read_bodies
from node.store.received import ReceivedEntries
from node.store.requests import Kept, RequestId, held_id
from node.wire.correspondence_pb2 import MAIL_STATE_DELIVERED, MAIL_STATE_WITHDRAWN, MailState
from node.wire.deciding_pb2 import REQUEST_ORIGIN_FOLLOW_UP
from node.wire.exchange_pb2 import Body, Query
from node.wire.ledger_pb2 import (
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    LeafKind,
)
from node.wire.mail_pb2 import Mail
from node.wire.received_pb2 import RECEIVED_SOURCE_GRANT, ReceivedEntry
from node.wire.request_pb2 import (
    REQUEST_OUTCOME_REFUSED,
    FollowUpRequest,
    RequestAnswer,
)
from node.workflow.requests import ASKING, DECIDING, OPEN, RELEASED, Actor, Event, State

CLOCK_US: Final = 300 * 1_000_000
"""What a request says of when it was asked is so near its mail's time."""

MAX_REPLIES: Final = 20


class FollowUpKind(MailKind):
    """A peer asks for more."""

    field = "follow_up_request"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that the request is of the contract."""
        del peer, now_us
        verify_request(mail.follow_up_request)

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Put it in the focal points' queue.

        Raises:
            NotFoundError: it is about something that this country has not told the peer of in this exchange: the same
                whether or not there is such an entry, and whose it is.
            MalformedError, ReplayError: it contradicts its mail, or an earlier request.
            QuotaError: the peer has asked too much.
        """
        request, mail_id = received.mail.follow_up_request, received.mail_id
        if abs(request.asked_us - received.sent_us) > CLOCK_US:
            raise MalformedError("asked_us: is not the time of the mail")
        shown = shown_in(post.connection, post.vault, mail_id.exchange_id, mail_id.peer)
        if not set(request.handles) <= shown:
            raise NotFoundError("a request about what was not told in this exchange")
        if request.narrows:
            self._narrow(post, request, mail_id.peer, mail_id.exchange_id)
        detail = new_detail(mail_id.exchange_id, mail_id.peer, request, sent=False)
        received.private.CopyFrom(private_of_request(request))
        if detail.item.due_us <= post.now_us:  # it was under way for so long that nobody can answer it in time
            detail.item.state = DECIDING.after(DECIDING.start, Event.EXPIRE, Actor.CLOCK)
            received.private.reason = "EXPIRED"
        quotas.take_mail(post.connection, mail_id.peer, self.field, post.now_us)
        requests.put(post.connection, post.vault, detail)

    def _narrow(self, post: Post, request: FollowUpRequest, peer: str, exchange_id: bytes) -> None:
        key = RequestId(DIRECTION_RECEIVED, peer, request.narrows)
        old = requests.get(post.connection, post.vault, key)
        if old.item.exchange_id != exchange_id:
            raise NotFoundError("the request whose place it takes is of another exchange")
        verify_narrower(request, old.detail.request)
        to = DECIDING.after(old.item.state, Event.NARROW, Actor.PEER)
        if to != old.item.state:
            requests.change(post.connection, post.vault, old, post.now_us, state=to)
            log_step(post, old, "SUPERSEDED")


@dataclass(slots=True)
class RequestAnswerKind(MailKind):
    """An answer to a request, or to a query that was held."""

    releasing: Releasing
    received: ReceivedEntries
    field = "request_answer"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that the answer is of the contract."""
        del peer, now_us
        verify_answer(mail.request_answer)

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Keep what was granted, with what this country owes for it.

        Raises:
            NotFoundError: nothing was asked to which this is the answer.
            WorkflowError: it was answered before.
            MalformedError: it grants more than was asked for.
        """
        answer, mail_id = received.mail.request_answer, received.mail_id
        kept = requests.own(post.connection, post.vault, mail_id.peer, answer.request_id)
        if kept is None:
            kept = self._held(post, answer, mail_id.peer, mail_id.exchange_id)
        if kept.item.exchange_id != mail_id.exchange_id:
            raise NotFoundError("the request was made in another exchange")
        verify_within(answer, kept.detail.request)
        event = EVENT_OF[answer.outcome]
        state = ASKING.after(kept.item.state, event, Actor.PEER)
        item, private = kept.item, private_of_request(kept.detail.request)
        for hit in answer.hits:
            if hit.HasField("entry"):
                private.released += 1
                new = ReceivedEntry(
                    peer=mail_id.peer,
                    originator=mail_id.peer,
                    exchange_id=mail_id.exchange_id,
                    disclosed_us=received.sent_us,
                    source=RECEIVED_SOURCE_GRANT,
                    officer=item.officer,
                    unit=item.unit,
                    entry=hit.entry,
                )
                self.received.put(post.connection, new, post.now_us)
            else:
                private.hits += 1
        origin = "FOLLOW_UP" if item.origin == REQUEST_ORIGIN_FOLLOW_UP else "HELD"
        private.reason = f"{origin} {str(event).upper()}"
        received.private.CopyFrom(private)
        kept.detail.answer.CopyFrom(without_entries(answer))
        requests.change(post.connection, post.vault, kept, post.now_us, state=state)

    def _held(self, post: Post, answer: RequestAnswer, peer: str, exchange_id: bytes) -> Kept:
        """Return the request that a query of this country made by itself, though this node has not noted it yet.

        One whose answer was held in silence looked like a no-hit, so the query itself is looked for.
        """
        pending = put_pending(post.connection, post.vault, peer, exchange_id, answered=True)
        for kept in pending:
            if kept.id.request_id == answer.request_id:
                return kept
        handles = handles_of(answer)
        if len(handles) != 1 or held_id(exchange_id, handles[0]) != answer.request_id:
            raise NotFoundError("an answer to what was not asked")
        query, at_us = _asked(post, peer, exchange_id)
        detail = held_request(exchange_id, peer, query, handles[0], silent=False, at_us=at_us, sent=True)
        return requests.put(post.connection, post.vault, detail)

    def recheck(self, connection: Connection, sent: SentMail, now_us: int) -> None:
        """Check that what leaves is still what focal points signed, and that the rules still let it leave.

        Raises:
            DeniedError, ApprovalError: it is not, or they do not.
            NotFoundError: the request is gone.
        """
        answer = sent.mail.request_answer
        if answer.outcome == REQUEST_OUTCOME_REFUSED:
            return
        vault = self.releasing.vault
        kept = requests.get(connection, vault, RequestId(DIRECTION_RECEIVED, sent.row.peer, answer.request_id))
        if kept.item.state not in RELEASED or not kept.detail.signed_release:
            raise DeniedError("nobody has approved it")
        _, release = parse_release(kept.detail.signed_release)
        composed = self.releasing.compose(connection, kept, choice_of(release), now_us)
        focal = focal_points.by_name(connection, vault)
        verify_release(kept.detail.signed_release, verify_composed(composed), composed.approvals, focal)

    def settled(self, post: Post, sent: SentMail, state: MailState.ValueType) -> None:
        """Put a request back in the queue whose answer may not leave as it was approved."""
        answer = sent.mail.request_answer
        if answer.outcome == REQUEST_OUTCOME_REFUSED:
            return
        kept = requests.get(
            post.connection, post.vault, RequestId(DIRECTION_RECEIVED, sent.row.peer, answer.request_id)
        )
        if state == MAIL_STATE_WITHDRAWN and kept.item.state in RELEASED:
            put_back(post, kept)
        elif state == MAIL_STATE_DELIVERED and kept.item.state in OPEN:
            # It had left before it was withdrawn, and only its receipt was lost.
            granted = DECIDING.after(State.ASKED, EVENT_OF[answer.outcome], Actor.FOCAL_POINT)
            kept.detail.answer.CopyFrom(without_entries(answer))
            requests.change(post.connection, post.vault, kept, post.now_us, state=granted)
            log_step(post, kept, "HAD_LEFT")


class RequestReplyKind(MailKind):
    """What the unit that asked says to an answer."""

    field = "request_reply"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that it says something, and not too much."""
        del peer, now_us
        if not mail.request_reply.words.strip():
            raise MalformedError("words: says nothing")
        verify_words("words", mail.request_reply.words)

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Keep it with the request.

        Raises:
            NotFoundError: there is no such request of this peer in this exchange.
            WorkflowError: it was not answered.
        """
        reply, mail_id = received.mail.request_reply, received.mail_id
        key = RequestId(DIRECTION_RECEIVED, mail_id.peer, reply.request_id)
        kept = requests.get(post.connection, post.vault, key)
        if kept.item.exchange_id != mail_id.exchange_id:
            raise NotFoundError("the request is of another exchange")
        DECIDING.after(kept.item.state, Event.ANSWER_BACK, Actor.PEER)
        if len(kept.detail.replies) >= MAX_REPLIES:
            raise ReplayError("enough was said to this answer")
        kept.detail.replies.append(reply.words)
        requests.change(post.connection, post.vault, kept, post.now_us)


def _asked(post: Post, peer: str, exchange_id: bytes) -> tuple[Query, int]:
    """Return what this country asked a peer in an exchange, by a query or an alert, and when.

    Raises:
        NotFoundError: nothing.
    """
    with suppress(NotFoundError):
        kept = alerts.get(post.connection, post.vault, AlertId(DIRECTION_SENT, peer, exchange_id))
        return kept.detail.alert.query, post.now_us
    kinds = (LeafKind.LEAF_KIND_ASKED,)
    asked = list_lines(post.connection, exchange_id=exchange_id, kinds=kinds, peer=peer, vault=post.vault)
    if not asked:
        raise NotFoundError("an answer to what was not asked")
    body = read_bodies(post.connection, post.vault, asked[0].index)[QUERY_BODY]
    return Body.FromString(body).query, asked[0].shared.time_us
