"""Asking for more, and deciding on it: the desks of both countries see the same, and only what was signed leaves."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import Connection, delete

from node.federation.mail_kinds import MailKind, OutgoingMail, Post, ReceivedMail
from node.store.request_tables import requests as table
from node.wire.codes_pb2 import (
    DATA_CATEGORY_IDENTITY,
    DATA_CATEGORY_TELECOM,
    REFUSAL_LIVE_INVESTIGATION,
    URGENCY_LIFE,
)
from node.wire.correspondence_pb2 import MAIL_STATE_DEAD, MAIL_STATE_WITHDRAWN
from node.wire.deciding_pb2 import (
    REQUEST_ORIGIN_FOLLOW_UP,
    REQUEST_ORIGIN_HELD,
    ApproveReleaseRequest,
    CountRequestsRequest,
    EscalateRequestRequest,
    GetRequestRequest,
    ListInboxRequest,
    ListRequestsRequest,
    RefuseRequestRequest,
    ReplyToAnswerRequest,
    RequestItem,
    SendRequestRequest,
    TakeRequestRequest,
)
from node.wire.ledger_pb2 import (
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    LEAF_KIND_DELETED,
    LEAF_KIND_MAIL,
    LEAF_KIND_REQUEST,
    LeafPrivate,
)
from node.wire.mail_pb2 import Mail
from node.wire.received_pb2 import ListReceivedRequest
from node.wire.request_pb2 import REQUEST_OUTCOME_GRANTED, REQUEST_OUTCOME_REFUSED, RequestAnswer
from tests.desk.request_support import HELD, SUSPECTS, Pair, follow_up, held_telephone, pair_of
from tests.desk.support import Status, refused
from tests.federation.mail_support import mail_here
from tests.federation.support import REJECTED, altered, case_record, private_of, telephone
from tests.world import DAY_US, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    world = World.make(tmp_path_factory.mktemp("requests"), ("GT", "MX"))
    world["MX"].write((case_record(), [telephone(SUSPECTS), held_telephone(), held_telephone("+12025550152")]))
    async with pair_of(world) as opened:
        yield opened


async def followed_up(pair: Pair, **changes: object) -> RequestItem:
    exchange_id, (hit,) = await pair.asked(number=SUSPECTS)
    return await pair.requested(exchange_id, [hit.entry.handle], **changes)  # type: ignore[attr-defined]


def reasons(pair: Pair, code: str, kind: int = LEAF_KIND_REQUEST) -> list[str]:
    return [private_of(line).reason for line in pair.book(code).lines() if line.shared.kind == kind]


async def test_what_was_held_leaves_once_a_focal_point_signs_it(pair: Pair) -> None:
    exchange_id, (hit,) = await pair.asked(number=HELD)
    assert hit.HasField("pending")
    waiting = await pair.waiting(exchange_id)
    assert (waiting.origin, waiting.state, waiting.peer) == (REQUEST_ORIGIN_HELD, "asked", "GT")
    asked = await pair.seen(waiting)
    assert (asked.item.state, asked.item.due_us) == ("asked", waiting.due_us)

    granted = await pair.granted(waiting)
    assert granted.state == "granted"
    seen = await pair.seen(waiting)
    assert seen.item.state == "granted"
    (hit,) = seen.answer.hits
    assert hit.entry.telecom.telephone == HELD
    assert hit.entry.terms.obligations
    assert hit.entry.grants
    assert exchange_id not in {each.exchange_id for each in await pair.queue()}
    lines = [
        line for code in ("GT", "MX") for line in pair.book(code).lines() if line.shared.exchange_id == exchange_id
    ]
    assert sum(line.shared.kind == LEAF_KIND_MAIL for line in lines) == 1


async def test_a_follow_up_is_granted_in_part_answered_back_and_asked_again_narrower(pair: Pair) -> None:
    item = await followed_up(pair)
    waiting = await pair.waiting(item.exchange_id)
    assert (waiting.origin, waiting.due_us) == (REQUEST_ORIGIN_FOLLOW_UP, item.due_us)
    shown = await pair.prepared(waiting)
    assert shown.approvals == 1
    assert "the same" in {each.link for each in shown.before}
    assert shown.entries[0].forbidden

    granted = await pair.granted(waiting, categories=[DATA_CATEGORY_TELECOM], words="Invented: the rest is sealed.")
    assert granted.state == "partly granted"
    seen = await pair.seen(item)
    assert (seen.item.state, seen.answer.words) == ("partly granted", "Invented: the rest is sealed.")
    (hit,) = seen.answer.hits
    assert hit.entry.telecom.telephone == SUSPECTS
    assert not hit.entry.telecom.holder_name
    assert {each.category for each in hit.entry.grants} == {DATA_CATEGORY_TELECOM}

    gt = await pair.desk("GT")
    await gt.ReplyToAnswer(ReplyToAnswerRequest(request_id=item.request_id, words="Invented: thanks."))
    await pair.delivered()
    assert list((await pair.seen(item, "MX", "focal-1")).replies) == ["Invented: thanks."]
    narrower = await pair.requested(
        item.exchange_id, list(seen.request.handles), categories=[DATA_CATEGORY_IDENTITY], narrows=item.request_id
    )
    assert (await pair.waiting(item.exchange_id)).request_id == narrower.request_id


async def test_a_refusal_says_no_more_than_that(pair: Pair) -> None:
    item = await followed_up(pair)
    focal = await pair.desk("MX", "focal-2")
    await refused(
        focal.RefuseRequest(RefuseRequestRequest(request_id=item.request_id)),
        Status.INVALID_ARGUMENT,
        "refusal: name the reason; it stays here",
    )
    refusing = RefuseRequestRequest(request_id=item.request_id, refusal=REFUSAL_LIVE_INVESTIGATION)
    await focal.RefuseRequest(refusing)
    await pair.delivered()
    seen = await pair.seen(item)
    assert seen.item.state == "refused"
    assert not seen.item.refusal
    assert not seen.answer.words
    assert (await pair.seen(item, "MX", "focal-1")).item.refusal == REFUSAL_LIVE_INVESTIGATION
    await refused(focal.RefuseRequest(refusing), Status.FAILED_PRECONDITION)
    assert f"REFUSED {REFUSAL_LIVE_INVESTIGATION} GT" in reasons(pair, "MX")
    auditor = await pair.desk("MX", "auditor")
    (count,) = (await auditor.CountRequests(CountRequestsRequest())).counts
    assert count.refused >= 1
    assert [each.refusal for each in count.reasons] == [REFUSAL_LIVE_INVESTIGATION]


async def test_a_colleague_takes_over_and_all_are_told(pair: Pair) -> None:
    item = await followed_up(pair)
    first, second = await pair.desk("MX", "focal-1"), await pair.desk("MX", "focal-2")
    taken = (await first.TakeRequest(TakeRequestRequest(request_id=item.request_id))).item
    assert (taken.state, taken.taken_by) == ("taken", "focal-1")
    taken = (await second.TakeRequest(TakeRequestRequest(request_id=item.request_id))).item
    assert (taken.state, taken.taken_by) == ("taken", "focal-2")
    escalated = (await first.EscalateRequest(EscalateRequestRequest(request_id=item.request_id))).item
    assert (escalated.state, escalated.taken_by) == ("escalated", "")
    assert (await pair.seen(item)).item.state == "asked"  # what happens at the focal points' stays there
    assert reasons(pair, "MX")[-3:] == ["TAKEN GT", "TAKEN GT", "ESCALATED GT"]


async def test_silence_past_the_due_time_is_refusal_on_both_sides(pair: Pair) -> None:
    item = await followed_up(pair, urgency=URGENCY_LIFE, urgency_reason="Invented: a person is held.")
    clocks = {code: node.correspondence.mailroom.clock for code, node in pair.nodes.items()}
    try:
        for node in pair.nodes.values():
            pair.clock.now_us = item.at_us + 6_000_000_000  # three quarters of two hours are over
            node.correspondence.mailroom.clock = pair.clock
            await node.correspondence.deadlines.look()
        assert (await pair.waiting(item.exchange_id)).state == "escalated"
        pair.clock.now_us = item.due_us
        for node in pair.nodes.values():
            await node.correspondence.deadlines.look()
    finally:
        for code, node in pair.nodes.items():
            node.correspondence.mailroom.clock = clocks[code]
    here, there = await pair.seen(item), await pair.seen(item, "MX", "focal-1")
    assert [(each.item.state, each.item.late) for each in (here, there)] == [("expired", True)] * 2
    assert "LATE GT" in reasons(pair, "MX")
    assert "EXPIRED MX" in reasons(pair, "GT")
    shown = await pair.prepared(there.item)
    focal = await pair.desk("MX", "focal-1")
    await refused(focal.ApproveRelease(pair.signed(shown)), Status.FAILED_PRECONDITION)
    (count,) = (await (await pair.desk("GT", "auditor")).CountRequests(CountRequestsRequest())).counts
    assert (count.peer, count.direction, count.late) == ("MX", DIRECTION_SENT, 1)


async def test_lists_show_to_each_what_is_theirs(pair: Pair) -> None:
    item = await followed_up(pair)
    own = (await (await pair.desk("GT")).ListInbox(ListInboxRequest())).items
    assert item.request_id in {each.request_id for each in own}
    assert {each.direction for each in own} == {DIRECTION_SENT}
    theirs = (await (await pair.desk("MX", "focal-1")).ListInbox(ListInboxRequest())).items
    assert {each.direction for each in theirs} == {DIRECTION_RECEIVED}
    assert [each.due_us for each in theirs] == sorted(each.due_us for each in theirs)
    assert not (await (await pair.desk("MX")).ListRequests(ListRequestsRequest())).items
    await refused((await pair.desk("MX")).GetRequest(_of(item)), Status.PERMISSION_DENIED)


def _of(item: RequestItem) -> GetRequestRequest:
    return GetRequestRequest(request_id=item.request_id)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"why": " "}, "why: say why this is asked for"),
        ({"urgency": URGENCY_LIFE}, "LIFE and URGENT need urgency_reason"),
        ({"handles": [b"short"]}, "handles: has 16 bytes"),
        ({"handles": []}, "handles: 1 to 16 different ones"),
        ({"categories": [51]}, "categories: each once, of this contract's list, and none that goes to no peer"),
        ({"why": "x" * 1_001}, "why: text of at most 1,000 characters"),
    ],
)
async def test_a_request_that_is_not_complete_does_not_leave(
    pair: Pair, changes: dict[str, object], words: str
) -> None:
    before = len(await pair.queue())
    request = altered(follow_up(bytes(16)), **changes)
    sending = SendRequestRequest(peer="MX", exchange_id=bytes(16), request=request)
    await refused((await pair.desk("GT")).SendRequest(sending), Status.INVALID_ARGUMENT, words)
    assert len(await pair.queue()) == before


async def test_only_what_was_exchanged_can_be_followed_up(pair: Pair) -> None:
    gt = await pair.desk("GT")
    sending = SendRequestRequest(peer="MX", exchange_id=bytes(16), request=follow_up(bytes(16)))
    await refused(gt.SendRequest(sending), Status.NOT_FOUND)
    # In an exchange that there is, about what was not told in it: the peer refuses, with a line and nothing queued.
    exchange_id, _ = await pair.asked(number="+12025550190")
    before = pair.book("MX").size
    item = await pair.requested(exchange_id, [bytes(16)])
    assert item.request_id not in {each.request_id for each in await pair.queue()}
    assert "FOLLOW_UP_REQUEST NotFoundError" in [private_of(line).reason for line in pair.book("MX").lines(before)]


async def test_a_false_signature_lets_nothing_leave(pair: Pair) -> None:
    item = await followed_up(pair)
    shown, focal = await pair.prepared(item), await pair.desk("MX", "focal-1")
    approval = pair.signed(shown).signed_release
    await refused(
        focal.ApproveRelease(ApproveReleaseRequest(signed_release=approval[:-1] + bytes([approval[-1] ^ 1]))),
        Status.UNAUTHENTICATED,
    )
    assert (await pair.waiting(item.exchange_id)).state == "asked"


@pytest.mark.parametrize("wrong", ["another entry", "other data", "nothing asked", "twice"])
async def test_an_answer_that_does_not_fit_is_refused_and_kept_nowhere(pair: Pair, wrong: str) -> None:
    """MX's node sends what no focal point signed and no rule composed: GT refuses it, and says so in a line."""
    item = await followed_up(pair, categories=[DATA_CATEGORY_TELECOM])
    handle = (await pair.seen(item)).request.handles[0]
    answer = RequestAnswer(request_id=item.request_id, outcome=REQUEST_OUTCOME_GRANTED)
    entry = answer.hits.add().entry
    entry.handle, entry.telecom.telephone = handle, SUSPECTS
    if wrong == "another entry":
        entry.handle = bytes(16)
    elif wrong == "other data":
        entry.telecom.holder_name = "Invented Holder"
    elif wrong == "nothing asked":
        answer.request_id = bytes(16)
    else:
        refusal = RequestAnswer(request_id=item.request_id, outcome=REQUEST_OUTCOME_REFUSED)
        await send_unsigned(pair, item.exchange_id, refusal)
    before = pair.book("GT").size
    # An honest node lets nothing leave that focal points did not sign: this one forgets to look.
    mailroom = pair.nodes["MX"].correspondence.mailroom
    kinds = mailroom.by_field
    mailroom.by_field = {**kinds, "request_answer": Unchecked()}
    try:
        await send_unsigned(pair, item.exchange_id, answer)
    finally:
        mailroom.by_field = kinds
    sent = mail_here(pair.nodes["MX"], DIRECTION_SENT, exchange_id=item.exchange_id)
    assert sent[-1].state == MAIL_STATE_DEAD
    rejected = [line for line in pair.book("GT").lines(before) if line.shared.kind == REJECTED]
    assert len(rejected) == 1
    assert (await pair.seen(item)).item.state == ("refused" if wrong == "twice" else "asked")
    received = (await (await pair.desk("GT")).ListReceived(ListReceivedRequest())).received
    assert item.exchange_id not in {each.received.exchange_id for each in received}


async def send_unsigned(pair: Pair, exchange_id: bytes, answer: RequestAnswer) -> None:
    mail = OutgoingMail("GT", exchange_id, Mail(request_answer=answer), LeafPrivate())
    await pair.nodes["MX"].correspondence.mailroom.post(lambda post: post.send(mail))
    await pair.delivered()


class Unchecked(MailKind):
    """Answers of a node that does not look at what leaves it."""

    field = "request_answer"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Take anything."""

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Do nothing."""


async def test_what_nobody_signed_does_not_leave(pair: Pair) -> None:
    item = await followed_up(pair)
    answer = RequestAnswer(request_id=item.request_id, outcome=REQUEST_OUTCOME_GRANTED)
    answer.hits.add().entry.handle = (await pair.seen(item)).request.handles[0]
    await send_unsigned(pair, item.exchange_id, answer)
    (mail,) = mail_here(pair.nodes["MX"], DIRECTION_SENT, exchange_id=item.exchange_id)
    assert mail.state == MAIL_STATE_WITHDRAWN
    assert (await pair.seen(item)).item.state == "asked"


async def test_a_request_that_a_crash_lost_is_made_again_from_the_ledger(pair: Pair) -> None:
    exchange_id, _ = await pair.asked(number="+12025550152")
    waiting = await pair.waiting(exchange_id)

    def lose(connection: Connection) -> None:
        connection.execute(delete(table).where(table.c.request_id == waiting.request_id))

    await asyncio.wrap_future(pair.nodes["GT"].writer.submit(lose))
    await refused((await pair.desk("GT")).GetRequest(_of(waiting)), Status.NOT_FOUND)
    await pair.granted(waiting)
    assert (await pair.seen(waiting)).item.state == "granted"


async def test_what_was_decided_a_year_ago_is_deleted_with_its_key_and_a_line(pair: Pair) -> None:
    item = await followed_up(pair)
    await pair.granted(await pair.waiting(item.exchange_id))
    for code in ("GT", "MX"):
        mailroom = pair.nodes[code].correspondence.mailroom
        clock, before = mailroom.clock, pair.book(code).size
        mailroom.clock = lambda: now_us() + 400 * DAY_US
        await pair.nodes[code].correspondence.deadlines.look()
        mailroom.clock = clock
        stub = await pair.desk(code, "focal-1")
        await refused(stub.GetRequest(_of(item)), Status.NOT_FOUND)
        kind = LEAF_KIND_DELETED
        deleted = [private_of(line).reason for line in pair.book(code).lines(before) if line.shared.kind == kind]
        assert {reason.split()[0] for reason in deleted} == {"REQUESTS"}  # the node itself may look meanwhile
