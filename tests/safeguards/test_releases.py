"""Focal points sign the bytes that leave, and nothing else; an emergency reaches as far as rules marked for one."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from hashlib import sha256

import pytest
import pytest_asyncio

from node.cli.serving import running
from node.identity.emergencies import HOUR_US, sign_emergency
from node.identity.releases import answer_bytes, sign_release
from node.ledger.leaf import unpad
from node.store import mail as store
from node.store.ids import new_id
from node.wire.codes_pb2 import (
    DATA_CATEGORY_LOCATION,
    EXPOSURE_EXILE,
    EXPOSURE_JOURNALIST,
    HANDLING_CODE_H3,
    LINK_KIND_USES,
    PURPOSE_PROTECT_LIFE,
    REFUSAL_COURT,
    REFUSAL_LIVE_INVESTIGATION,
)
from node.wire.correspondence_pb2 import MAIL_STATE_WITHDRAWN
from node.wire.deciding_pb2 import (
    REQUEST_ORIGIN_HELD_SILENTLY,
    ApproveReleaseRequest,
    GetRequestRequest,
    ListRequestsRequest,
    RefuseRequestRequest,
    RequestItem,
    ReviewReleaseRequest,
    SendRequestRequest,
    SignedRelease,
)
from node.wire.desk_pb2 import GetEntryRequest, PutEntryRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.duty_pb2 import SetTurnRequest
from node.wire.duty_pb2_grpc import DutyStub
from node.wire.entry_pb2 import Entry, Link
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, LEAF_KIND_MAIL, LEAF_KIND_REQUEST, Decisions
from node.wire.safeguard_pb2 import DeclareEmergencyRequest, Emergency, EndEmergencyRequest
from tests.desk.request_support import HELD, SUSPECTS, Pair, follow_up, held_telephone, pair_of
from tests.desk.support import Status, asserted, life_query, refused
from tests.desk.test_holds import naming
from tests.federation.mail_support import mail_here
from tests.federation.support import VICTIMS, altered, case_record, person, private_of, telephone
from tests.safeguards.support import until
from tests.safeguards.test_emergencies import located
from tests.world import RULEBOOKS, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHANGING = "+12025550160"
HIDDEN = "+12025550161"
LINKED = "+12025550162"
DANGER = "+12025550163"
EXILE, JOURNALIST = "Invented Exile", "Invented Journalist"


def records() -> list[Entry]:
    linked = altered(held_telephone(LINKED), entry_id=new_id())
    owner = person("Invented Owner")
    owner.links.append(Link(kind=LINK_KIND_USES, to_entry_id=linked.entry_id))
    return [
        person(EXILE, exposure=EXPOSURE_EXILE, origins=["GT"]),
        person(JOURNALIST, exposure=EXPOSURE_JOURNALIST, origins=["GT"]),
        asserted(telephone(SUSPECTS)),
        asserted(held_telephone()),
        asserted(held_telephone(CHANGING)),
        asserted(telephone(HIDDEN, roles=False)),
        asserted(telephone(VICTIMS, victim=True)),
        linked,
        owner,
        asserted(altered(located(DANGER), handling=HANDLING_CODE_H3, handling_text="Invented condition.")),
    ]


def two_eyes() -> bytes:
    """Mexico's rulebook, whose hold on H3 asks for two focal points."""
    text = (RULEBOOKS / "mx.yaml").read_text()
    asked = text.replace(
        "effect: hold\n  when: {handling: [H3]}", "effect: hold\n  approvals: 2\n  when: {handling: [H3]}"
    )
    assert asked != text
    return asked.encode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    world = World.make(tmp_path_factory.mktemp("releases"), ("GT", "MX"))
    world["MX"].write((case_record(), records()))
    async with pair_of(world) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """The same, where two focal points approve what is held."""
    folder = tmp_path_factory.mktemp("two-eyes")
    world = World.make(folder, ("GT", "MX"), rulebooks={"MX": {"release": two_eyes()}})
    world["MX"].write((case_record(), records()))
    async with pair_of(world) as opened:
        yield opened


async def held(pair: Pair, number: str = HELD) -> RequestItem:
    exchange_id, (hit,) = await pair.asked(number=number)
    assert hit.HasField("pending")
    return await pair.waiting(exchange_id)


async def desk_of(pair: Pair, officer: str) -> DeskStub:
    return DeskStub(await pair.stack.enter_async_context(pair.world["MX"].desk_channel(officer)))


async def change_record(pair: Pair, entry_id: bytes, **changes: object) -> None:
    stub = await desk_of(pair, "analyst")
    entry = (await stub.GetEntry(GetEntryRequest(entry_id=entry_id))).entry  # type: ignore[misc]
    for name, value in changes.items():
        setattr(entry.telecom, name, value)
    await stub.PutEntry(PutEntryRequest(entry=entry))  # type: ignore[misc]


def steps(pair: Pair, code: str = "MX", start: int = 0) -> list[str]:
    lines = pair.book(code).lines(start)
    return [private_of(line).reason for line in lines if line.shared.kind == LEAF_KIND_REQUEST]


# --- what is signed is what leaves -----------------------------------------------------------------------------------


async def test_the_signature_is_on_the_bytes_that_leave_beside_what_left_before(pair: Pair) -> None:
    first = await held(pair, LINKED)
    await pair.granted(first)
    waiting = await held(pair)
    shown = await pair.prepared(waiting)
    assert shown.answer_sha256 == sha256(shown.answer).digest()
    # Of what was released before: the other telephone of the same case, by which line, and what of it.
    before = {each.line.exchange_id: each for each in shown.before}
    assert before[first.exchange_id].line.released
    assert "same case" in {each.link for each in shown.before}

    await pair.granted(waiting)
    (line,) = [
        line
        for line in pair.book("MX").lines()
        if (line.shared.kind, line.shared.exchange_id) == (LEAF_KIND_MAIL, waiting.exchange_id)
    ]
    mailroom = pair.nodes["MX"].correspondence.mailroom
    with pair.nodes["MX"].database.reading() as connection:
        row = store.find_sent(connection, store.MailId("GT", waiting.exchange_id, 1))
    answer = mailroom.mail_of(row).request_answer
    assert sha256(answer_bytes(answer)).digest() == shown.answer_sha256
    assert line.opening is not None
    (decided,) = Decisions.FromString(unpad(line.opening.decisions)).entries
    assert decided.handle == answer.hits[0].entry.handle


async def test_a_record_that_changed_since_it_was_shown_goes_back_to_the_queue(pair: Pair) -> None:
    waiting, start = await held(pair, CHANGING), pair.book("MX").size
    shown = await pair.prepared(waiting)
    signed = pair.signed(shown)
    await change_record(pair, shown.entries[0].entry_id, holder_name="Invented Other Holder")
    await refused(
        (await pair.desk("MX", "focal-1")).ApproveRelease(signed),
        Status.FAILED_PRECONDITION,
        "what would leave has changed since it was shown: look again, and sign anew",
    )
    assert (await pair.waiting(waiting.exchange_id)).state == "asked"
    assert "CHANGED GT" in steps(pair, start=start)
    assert not mail_here(pair.nodes["MX"], DIRECTION_SENT, exchange_id=waiting.exchange_id)
    assert (await pair.granted(waiting)).state == "granted"


async def test_what_changes_before_it_leaves_does_not_leave(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World.make(tmp_path_factory.mktemp("leaving"), ("GT", "MX"))
    world["MX"].write((case_record(), records()))
    async with AsyncExitStack() as stack:
        async with pair_of(world) as pair:
            waiting = await held(pair)
            await pair.nodes["GT"].channels.close()
        mx = await stack.enter_async_context(running(world["MX"].config))
        alone = Pair(world, {"MX": mx}, stack, pair.clock)
        # GT is down: the answer waits in the outbox.
        shown = await alone.prepared(waiting)
        await (await alone.desk("MX", "focal-1")).ApproveRelease(alone.signed(shown))
        assert waiting.exchange_id not in {each.exchange_id for each in await alone.queue()}
        await change_record(alone, shown.entries[0].entry_id, holder_name="Invented Other Holder")
        gt = await stack.enter_async_context(running(world["GT"].config))
        mx.correspondence.mailroom.ring(["GT"], ["GT"])
        both = Pair(world, {"MX": mx, "GT": gt}, stack, pair.clock)
        await both.delivered()
        again = await both.waiting(waiting.exchange_id)
        assert again.state == "asked"
        (mail,) = mail_here(mx, DIRECTION_SENT, exchange_id=waiting.exchange_id)
        assert mail.state == MAIL_STATE_WITHDRAWN
        assert "PUT_BACK GT" in steps(both)
        assert (await both.seen(waiting)).item.state == "asked"
        await both.granted(again)
        detail = await until(lambda: both.seen(waiting), lambda found: found.item.state == "granted")
        assert detail.answer.hits[0].entry.telecom.holder_name == "Invented Other Holder"


# --- no message is an oracle -----------------------------------------------------------------------------------------


async def test_asking_about_what_was_not_told_is_refused_alike_whatever_is_there(pair: Pair) -> None:
    """A handle of nothing, and those of entries that the peer has not seen: of no role, and of a victim."""
    vault = pair.nodes["MX"].correspondence.mailroom.vault
    with pair.nodes["MX"].database.reading() as connection:
        entries = list(pair.nodes["MX"].correspondence.releasing.entries.active(connection, now_us(), 100))
    unseen = [each.entry_id for each in entries if each.telecom.telephone in {HIDDEN, VICTIMS}]
    handles = [bytes(16), *(vault.handle_for("GT", entry_id) for entry_id in unseen)]
    assert len(handles) == 3
    told = []
    for handle in handles:
        exchange_id, hits = await pair.asked(number="+12025550191")
        assert not hits
        await pair.requested(exchange_id, [handle])
        (mail,) = mail_here(pair.nodes["GT"], DIRECTION_SENT, exchange_id=exchange_id)
        told.append((mail.state, mail.reason))
    assert len(set(told)) == 1
    assert told[0][1]


async def test_refusals_for_different_reasons_are_the_same_bytes(pair: Pair) -> None:
    said = []
    for refusal in (REFUSAL_COURT, REFUSAL_LIVE_INVESTIGATION):
        exchange_id, (hit,) = await pair.asked(number=SUSPECTS)
        item = await pair.requested(exchange_id, [hit.entry.handle])  # type: ignore[attr-defined]
        focal = await pair.desk("MX", "focal-1")
        await focal.RefuseRequest(RefuseRequestRequest(request_id=item.request_id, refusal=refusal))
        await pair.delivered()
        with pair.nodes["GT"].database.reading() as connection:
            row = store.find_received(connection, store.MailId("MX", exchange_id, 1))
        assert row is not None
        detail = await pair.seen(item)
        said.append((row.kind, row.size, detail.item.state, detail.item.refusal, detail.answer.words))
    assert said[0] == said[1]


async def test_a_request_goes_to_the_one_peer_that_was_named(pair: Pair) -> None:
    exchange_id, (hit,) = await pair.asked(number=SUSPECTS)
    gt = await pair.desk("GT")
    request = follow_up(hit.entry.handle)  # type: ignore[attr-defined]
    await refused(
        gt.SendRequest(SendRequestRequest(exchange_id=exchange_id, request=request)), Status.PERMISSION_DENIED
    )
    await pair.requested(exchange_id, [hit.entry.handle])  # type: ignore[attr-defined]
    sent = mail_here(pair.nodes["GT"], DIRECTION_SENT, exchange_id=exchange_id)
    assert [each.peer for each in sent] == ["MX"]
    assert not mail_here(pair.nodes["MX"], DIRECTION_RECEIVED, peer="US")


async def test_what_was_held_in_silence_stays_silent_unless_a_focal_point_chooses_to_tell(pair: Pair) -> None:
    told = {}
    for name in (EXILE, JOURNALIST):
        exchange_id, hits = await pair.asked(naming(name))
        assert not hits
        told[name] = await pair.waiting(exchange_id)
        assert told[name].origin == REQUEST_ORIGIN_HELD_SILENTLY
    focal = await pair.desk("MX", "focal-1")
    refusal = RefuseRequestRequest(request_id=told[EXILE].request_id, refusal=REFUSAL_COURT)
    await refused(
        focal.RefuseRequest(altered(refusal, words="Invented words.")),
        Status.INVALID_ARGUMENT,
        "words: the peer saw a no-hit, and hears nothing of this decision",
    )
    await focal.RefuseRequest(refusal)
    await pair.delivered()
    assert not mail_here(pair.nodes["MX"], DIRECTION_SENT, exchange_id=told[EXILE].exchange_id)
    unheard = GetRequestRequest(request_id=told[EXILE].request_id)
    await refused((await pair.desk("GT")).GetRequest(unheard), Status.NOT_FOUND)

    await pair.granted(told[JOURNALIST])
    detail = await pair.seen(told[JOURNALIST])
    assert detail.item.state == "granted"
    assert detail.answer.hits[0].entry.HasField("person")


# --- two pairs of eyes -----------------------------------------------------------------------------------------------


async def test_two_focal_points_sign_where_a_rule_asks_for_it(strict: Pair) -> None:
    waiting = await held(strict)
    shown = await strict.prepared(waiting)
    assert shown.approvals == 2
    first = strict.signed(shown)
    one, two = await strict.desk("MX", "focal-1"), await strict.desk("MX", "focal-2")
    assert (await one.ApproveRelease(first)).item.state == "signed"
    assert (await strict.seen(waiting)).item.state == "asked"
    # Neither the same focal point again, nor the same key by another officer, nor another message.
    for stub, approval in ((one, first), (two, first), (two, strict.signed(shown, by=1))):
        await refused(stub.ApproveRelease(approval), Status.FAILED_PRECONDITION)
    assert list((await strict.prepared(waiting)).signed_by) == ["focal-1"]
    both = sign_release(SignedRelease.FromString(first.signed_release), strict.world["MX"].focal_keys[1])
    done = await two.ApproveRelease(ApproveReleaseRequest(signed_release=both.SerializeToString()))
    assert done.item.state == "granted"
    await strict.delivered()
    assert (await strict.seen(waiting)).item.state == "granted"


# --- emergencies -----------------------------------------------------------------------------------------------------


async def put_on_duty(strict: Pair, *names: str) -> None:
    at_us = now_us()
    async with strict.world["MX"].desk_channel("supervisor") as channel:
        request = SetTurnRequest(from_us=at_us, until_us=at_us + HOUR_US, officers=names)
        await DutyStub(channel).SetTurn(request)


async def test_an_emergency_release_is_one_focal_points_within_rules_marked_for_it(strict: Pair) -> None:
    query = altered(life_query(DANGER), purpose=PURPOSE_PROTECT_LIFE)
    exchange_id, (hit,) = await strict.asked(query)
    assert hit.HasField("pending")
    waiting = await strict.waiting(exchange_id)
    focal = await strict.desk("MX", "focal-1")
    # Without an emergency there is no such release, and two would have to sign.
    assert not (await strict.prepared(waiting, emergency=True)).answer
    assert (await strict.prepared(waiting)).approvals == 2

    at_us = now_us()
    emergency = Emergency(country="MX", peer="GT", time_us=at_us, until_us=at_us + HOUR_US, reason="Invented: taken.")
    signed = sign_emergency(emergency, strict.world["MX"].focal_keys[0]).SerializeToString()
    desk = await desk_of(strict, "focal-1")
    await desk.DeclareEmergency(DeclareEmergencyRequest(signed_emergency=signed))  # type: ignore[misc]
    shown = await strict.prepared(waiting, emergency=True)
    assert shown.approvals == 1
    assert list(shown.entries[0].categories) == [DATA_CATEGORY_LOCATION]
    await put_on_duty(strict, "focal-2")
    await refused(focal.ApproveRelease(strict.signed(shown, emergency=True)), Status.PERMISSION_DENIED)
    assert "NOT_ON_DUTY GT" in steps(strict)
    await put_on_duty(strict, "focal", "focal-1")  # a deputy may
    released = (await focal.ApproveRelease(strict.signed(shown, emergency=True))).item
    assert (released.state, released.emergency) == ("partly granted", True)
    await strict.delivered()
    (hit,) = (await strict.seen(waiting)).answer.hits
    assert hit.entry.telecom.HasField("last_cell")
    assert not hit.entry.telecom.telephone

    review = ReviewReleaseRequest(request_id=waiting.request_id, upheld=True, reason="Invented: read.")
    await refused(
        focal.ReviewRelease(review),
        Status.INVALID_ARGUMENT,
        "another focal point than the one who released it reviews it",
    )
    mailroom = strict.nodes["MX"].correspondence.mailroom
    clock, mailroom.clock = mailroom.clock, lambda: now_us() + 25 * HOUR_US
    await strict.nodes["MX"].correspondence.deadlines.look()
    mailroom.clock = clock
    assert "UNREVIEWED GT" in steps(strict)
    reviewed = (await (await strict.desk("MX", "focal-2")).ReviewRelease(review)).item
    assert (reviewed.reviewed_by, reviewed.upheld) == ("focal-2", True)
    assert "UPHELD GT" in steps(strict)
    # Always on the auditor's list, however many other requests there are.
    listing = ListRequestsRequest(emergency_only=True, limit=1)
    (listed,) = (await (await strict.desk("MX", "auditor")).ListRequests(listing)).items
    assert (listed.request_id, listed.emergency, listed.upheld) == (waiting.request_id, True, True)
    await desk.EndEmergency(EndEmergencyRequest(peer="GT", reason="Invented: over."))  # type: ignore[misc]
