"""Steps of requests that both desk and mail take, and what of them is written down where."""

from contextlib import suppress
from typing import Final

from sqlalchemy import Connection

from node.errors import NotFoundError
from node.federation.holding import held_request
from node.federation.lines import ANSWER_BODY, local_line, private_of
from node.federation.mail_kinds import Post
from node.ledger.leaf import parse_private, unpad
from node.policy.follow_up import handles_of, query_of
from node.store import holds, requests
from node.store.listing import list_lines, read_bodies
from node.store.requests import Kept, due_us, held_id
from node.store.vault import Vault
from node.wire.deciding_pb2 import REQUEST_ORIGIN_FOLLOW_UP, RequestDetail, RequestItem
from node.wire.exchange_pb2 import Asker, Body, Hit, HitOnly, Query
from node.wire.ledger_pb2 import (
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    ENTRY_OUTCOME_ENTRY,
    ENTRY_OUTCOME_HIT,
    ENTRY_OUTCOME_PENDING,
    Decisions,
    LeafKind,
    LeafPrivate,
)
from node.wire.request_pb2 import (
    REQUEST_OUTCOME_GRANTED,
    REQUEST_OUTCOME_PARTLY_GRANTED,
    REQUEST_OUTCOME_REFUSED,
    FollowUpRequest,
    RequestAnswer,
)
from node.workflow.requests import DECIDING, Actor, Event

EVENT_OF: Final = {
    REQUEST_OUTCOME_GRANTED: Event.GRANT,
    REQUEST_OUTCOME_PARTLY_GRANTED: Event.GRANT_PART,
    REQUEST_OUTCOME_REFUSED: Event.REFUSE,
}
_TOLD: Final = {ENTRY_OUTCOME_ENTRY, ENTRY_OUTCOME_HIT, ENTRY_OUTCOME_PENDING}


def private_of_request(request: FollowUpRequest) -> LeafPrivate:
    """Start the private part of a line about this request: who asks, why, and on what."""
    return private_of(query_of(request))


def log_step(post: Post, kept: Kept, reason: str, private: LeafPrivate | None = None) -> None:
    """Log a step that the peer does not see: the line names exchange and peer in its private part alone."""
    made = private or LeafPrivate()
    made.subject, made.reason = kept.item.exchange_id, f"{reason} {kept.id.peer}"[:64]
    post.log(local_line(LeafKind.LEAF_KIND_REQUEST, made, post.standing.signer, post.now_us))


def new_detail(exchange_id: bytes, peer: str, request: FollowUpRequest, *, sent: bool) -> RequestDetail:
    """Return a follow-up request as it begins."""
    item = RequestItem(
        direction=DIRECTION_SENT if sent else DIRECTION_RECEIVED,
        peer=peer,
        exchange_id=exchange_id,
        request_id=request.request_id,
        origin=REQUEST_ORIGIN_FOLLOW_UP,
        state=DECIDING.start,
        urgency=request.urgency,
        at_us=request.asked_us,
        due_us=due_us(request.urgency, request.asked_us),
        changed_us=request.asked_us,
        officer=request.asker.officer,
        unit=request.asker.unit,
    )
    return RequestDetail(item=item, request=request)


def without_entries(answer: RequestAnswer) -> RequestAnswer:
    """Return an answer as it is kept with its request: what it released lies elsewhere, with its date of deletion."""
    kept = RequestAnswer(request_id=answer.request_id, outcome=answer.outcome, words=answer.words)
    kept.hits.extend(Hit(hit=HitOnly(handle=handle)) for handle in handles_of(answer))
    return kept


def put_back(post: Post, kept: Kept) -> None:
    """Have focal points decide anew: what would leave is not what was signed."""
    state = DECIDING.after(kept.item.state, Event.PUT_BACK, Actor.NODE)
    kept.detail.ClearField("signed_release")
    kept.detail.ClearField("answer")
    del kept.detail.approved_by[:]
    requests.change(post.connection, post.vault, kept, post.now_us, state=state, taken_by=None, emergency=False)
    log_step(post, kept, "PUT_BACK")


def put_pending(
    connection: Connection, vault: Vault, peer: str, exchange_id: bytes, *, answered: bool = False
) -> list[Kept]:
    """Write down what a peer holds of a query of this country, from the lines of the exchange, and return it.

    What waits there already is not written down twice, as it is not there, unless this very exchange is `answered`.
    """
    kinds = (LeafKind.LEAF_KIND_ANSWERED,)
    lines = list_lines(connection, exchange_id=exchange_id, kinds=kinds, peer=peer, vault=vault)
    made: list[Kept] = []
    for line in lines:
        if line.shared.direction != DIRECTION_RECEIVED or line.opening is None:
            continue
        private = parse_private(line.opening.private)
        answer = Body.FromString(read_bodies(connection, vault, line.index)[ANSWER_BODY]).answer
        for hit in answer.hits:
            if not hit.HasField("pending"):
                continue
            request_id = held_id(exchange_id, hit.pending.ticket)
            kept = requests.own(connection, vault, peer, request_id)
            if kept is None and not answered and requests.is_waiting(connection, peer, hit.pending.ticket):
                continue
            if kept is None:
                query = _query_of(private)
                at_us = hit.pending.due_us - (due_us(query.urgency, 0))
                detail = held_request(
                    exchange_id, peer, query, hit.pending.ticket, silent=False, at_us=at_us, sent=True
                )
                kept = requests.put(connection, vault, detail, hit.pending.ticket)
            made.append(kept)
    return made


def shown_in(connection: Connection, vault: Vault, exchange_id: bytes, peer: str) -> frozenset[bytes]:
    """Return the handles by which this country has told a peer of entries in an exchange."""
    kinds = (LeafKind.LEAF_KIND_ANSWERED, LeafKind.LEAF_KIND_MAIL)
    found = set()
    for line in list_lines(connection, exchange_id=exchange_id, kinds=kinds, peer=peer, vault=vault):
        if line.shared.direction == DIRECTION_SENT and line.opening is not None and line.opening.decisions:
            entries = Decisions.FromString(unpad(line.opening.decisions)).entries
            found |= {each.handle for each in entries if each.outcome in _TOLD}
    return frozenset(found)


def _query_of(private: LeafPrivate) -> Query:
    """Return what a line tells of the query that it is about."""
    return Query(
        purpose=private.purpose,
        urgency=private.urgency,
        instrument=private.instrument,
        case_reference=private.case_reference,
        asker=Asker(officer=private.officer, unit=private.unit, unit_type=private.unit_type),
    )


def close_hold(connection: Connection, kept: Kept) -> None:
    """Note of a held answer that it was decided on, or that its time is over."""
    if kept.entry_id:
        with suppress(NotFoundError):  # it was closed before
            holds.close(connection, kept.item.exchange_id, kept.id.peer, kept.entry_id)
