"""Telling peers unasked, correcting and taking back: MX tells GT, and both desks see the same."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import pytest_asyncio

from node.federation.mail_kinds import OutgoingMail, Post
from node.federation.noticing import recall_of
from node.identity.keys import public_key
from node.identity.releases import answer_sha256
from node.wire.alarm_pb2 import PlantDecoyRequest
from node.wire.codes_pb2 import (
    CRIME_TRAFFICKING,
    DATA_CATEGORY_TELECOM,
    PURPOSE_INVESTIGATE,
    REFUSAL_LIVE_INVESTIGATION,
    UNIT_TYPE_POLICE_INTELLIGENCE,
)
from node.wire.correspondence_pb2 import MAIL_STATE_DEAD, GetMailRequest
from node.wire.deciding_pb2 import REQUEST_ORIGIN_SHARE, RefuseRequestRequest
from node.wire.desk_pb2 import GetEntryRequest, PutEntryRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.ledger_pb2 import (
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    LEAF_KIND_DELETED,
    LEAF_KIND_MAIL,
    LEAF_KIND_MAIL_RECEIPT,
    LEAF_KIND_SHARE,
    LeafPrivate,
)
from node.wire.mail_pb2 import Mail
from node.wire.received_pb2 import GetReceivedRequest, ListReceivedRequest, PlaceLegalHoldRequest, ShownReceived
from node.wire.request_pb2 import RequestAnswer
from node.wire.share_pb2 import FLAG_KIND_SAME_PERSON, FLAG_KIND_WRONG, DeletionReceipt
from node.wire.sharing_pb2 import (
    DecideRecallRequest,
    ListFlagsRequest,
    ListRecallsRequest,
    ListSharesRequest,
    PreviewShareRequest,
    RecallItem,
    SendFlagRequest,
    SendNoticesRequest,
    SendRecallRequest,
    SendShareRequest,
    SendUpdateRequest,
    ShareDraft,
    ShareItem,
    SharePreview,
)
from node.wire.subject_pb2 import PETITION_KIND_ERASURE
from tests.desk.request_support import Pair, held_telephone, pair_of
from tests.desk.support import Status, asserted, refused
from tests.desk.test_petitions import subjects
from tests.federation.mail_support import mail_here
from tests.federation.support import REJECTED, altered, case_record, private_of, telephone
from tests.rulebooks import enact
from tests.safeguards.test_neutral_notices import planned
from tests.world import DAY_US, FLOOR, FOCAL, RULEBOOKS, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

FREE = [f"+120255501{number}" for number in range(60, 78)]
HELD = [f"+120255501{number}" for number in range(80, 84)]
VICTIM = "+12025550190"
US = 1_000_000
STRICTER = (
    (RULEBOOKS / "mx.yaml")
    .read_bytes()
    .replace(b"\nversion: 1\n", b"\nversion: 2\n")
    .replace(
        b"- id: MX-05\n",
        b"""- id: MX-99
  title: {en: "Invented: no holders"}
  law: LGPDPPSO
  effect: limit
  when: {kind: [TELECOM]}
  data: {IDENTITY: withhold}
- id: MX-05
""",
    )
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    world = World.make(tmp_path_factory.mktemp("sharing"), ("GT", "MX"))
    free = [telephone(number) for number in FREE]
    world["MX"].write((case_record(), [*free, *map(held_telephone, HELD), telephone(VICTIM, victim=True)]))
    world["GT"].write((case_record(), [altered(telephone(FREE[0]), originator="GT"), telephone(VICTIM, victim=True)]))
    async with pair_of(world) as opened:
        for node in opened.nodes.values():
            assert node.upkeep is not None
            node.upkeep.cancel()  # each test looks after what is due, when it is to be
        yield opened


def id_of(pair: Pair, code: str, number: str) -> bytes:
    """The entry of this number, as its own country stores it."""
    node = pair.nodes[code]
    with node.database.reading() as connection:
        active = node.freezing.entries.active(connection, now_us(), 1_000)
        (entry_id,) = [entry.entry_id for entry in active if entry.telecom.telephone == number]
    return entry_id


def draft(*entry_ids: bytes, **changes: object) -> ShareDraft:
    made = ShareDraft(
        entry_ids=entry_ids,
        purpose=PURPOSE_INVESTIGATE,
        crimes=[CRIME_TRAFFICKING],
        instrument="UNTOC",
        unit_type=UNIT_TYPE_POLICE_INTELLIGENCE,
        case_reference="CASE-1",
        words="Invented: seen at the border.",
    )
    return altered(made, **changes)


async def previewed(pair: Pair, wanted: ShareDraft) -> SharePreview:
    stub = await pair.desk("MX")
    (preview,) = (await stub.PreviewShare(PreviewShareRequest(draft=wanted))).previews
    return preview


async def shared(pair: Pair, *numbers: str) -> ShareItem:
    wanted = draft(*(id_of(pair, "MX", number) for number in numbers))
    preview = await previewed(pair, wanted)
    request = SendShareRequest(draft=altered(wanted, peers=["GT"]), answer_sha256=[preview.answer_sha256])
    (item,) = (await (await pair.desk("MX")).SendShare(request)).items
    await pair.delivered()
    return item


async def received(pair: Pair, item: ShareItem) -> list[ShownReceived]:
    stub = await pair.desk("GT")
    listed = (await stub.ListReceived(ListReceivedRequest())).received
    ids = [each.received.received_id for each in listed if each.received.exchange_id == item.exchange_id]
    requests = [GetReceivedRequest(received_id=each, purpose=PURPOSE_INVESTIGATE, case_reference="C-1") for each in ids]
    return [(await stub.GetReceived(each)).received for each in requests]


async def share_at(pair: Pair, code: str, item: ShareItem) -> ShareItem:
    items = (await (await pair.desk(code)).ListShares(ListSharesRequest())).items
    (found,) = [each for each in items if each.share_id == item.share_id]
    return found


async def recalled(pair: Pair, number: str, officer: str = "analyst", **changes: object) -> list[RecallItem]:
    stub = await pair.desk("MX", officer)
    request = SendRecallRequest(entry_ids=[id_of(pair, "MX", number)], reason="an invented mistake")
    response = await stub.SendRecall(altered(request, **changes))
    assert not response.not_sent
    await pair.delivered()
    return list(response.items)


async def purged(pair: Pair) -> None:
    """GT deletes what it must, and says so."""
    await pair.nodes["GT"].correspondence.purging.look()
    await pair.nodes["GT"].correspondence.recalling.look()
    await pair.delivered()


@contextmanager
def put_off(pair: Pair) -> Iterator[None]:
    """Have GT take no mail of MX's, and then have MX try again."""
    gt, mx = pair.nodes["GT"], pair.nodes["MX"]
    gt.standing.suspend(frozenset({"MX"}))
    try:
        yield
    finally:
        gt.standing.suspend(frozenset())
    mx.correspondence.mailroom.ring(["GT"], ["GT"])


async def recall_of_number(pair: Pair, number: str) -> RecallItem:
    entry_id = id_of(pair, "MX", number)
    items = (await (await pair.desk("MX")).ListRecalls(ListRecallsRequest())).items
    (found,) = [each for each in items if each.entry_id == entry_id]
    return found


def step_reasons(pair: Pair, code: str) -> list[str]:
    return [private_of(line).reason for line in pair.book(code).lines() if line.shared.kind == LEAF_KIND_SHARE]


# --- sharing ---------------------------------------------------------------------------------------------------------


async def test_what_the_preview_shows_is_what_the_peer_gets(pair: Pair) -> None:
    wanted = draft(id_of(pair, "MX", FREE[0]), id_of(pair, "MX", VICTIM))
    preview = await previewed(pair, wanted)
    assert (preview.peer, preview.held, preview.nothing) == ("GT", False, "")
    answer = RequestAnswer.FromString(preview.answer)
    (hit,) = answer.hits
    assert hit.entry.telecom.telephone == FREE[0]
    assert answer_sha256(answer) == preview.answer_sha256
    told, kept_back = sorted(preview.entries, key=lambda each: not each.categories)
    assert told.categories
    assert (kept_back.entry_id, list(kept_back.categories)) == (id_of(pair, "MX", VICTIM), [])

    item = await shared(pair, FREE[0], VICTIM)
    assert (item.state, item.entries) == ("sent", 1)
    (shown,) = await received(pair, item)
    assert shown.received.entry == hit.entry
    assert (shown.received.originator, shown.received.exchange_id) == ("MX", item.exchange_id)
    assert (await share_at(pair, "MX", item)).state == "delivered"
    at_gt = await share_at(pair, "GT", item)
    assert (at_gt.direction, at_gt.state, at_gt.officer) == (DIRECTION_RECEIVED, "received", "analyst")
    ((mail,), (receipt,)) = (
        [line for line in pair.book(code).lines(exchange_id=item.exchange_id) if line.shared.kind == kind]
        for code, kind in (("MX", LEAF_KIND_MAIL), ("GT", LEAF_KIND_MAIL_RECEIPT))
    )
    assert (private_of(mail).reason, private_of(mail).released) == ("SHARE", 1)
    assert (private_of(receipt).reason, private_of(receipt).released) == ("SHARE", 1)


async def test_nothing_is_sent_that_was_not_shown(pair: Pair) -> None:
    stub, victim = await pair.desk("MX"), draft(id_of(pair, "MX", VICTIM))
    preview = await previewed(pair, victim)
    assert (preview.answer, bool(preview.nothing)) == (b"", True)
    request = SendShareRequest(draft=altered(victim, peers=["GT"]), answer_sha256=[b""])
    await refused(stub.SendShare(request), Status.PERMISSION_DENIED)
    free = draft(id_of(pair, "MX", FREE[1]), peers=["GT"])
    before = len(mail_here(pair.nodes["MX"], DIRECTION_SENT))
    await refused(stub.SendShare(SendShareRequest(draft=free, answer_sha256=[bytes(32)])), Status.PERMISSION_DENIED)
    await refused(stub.SendShare(SendShareRequest(draft=free)), Status.INVALID_ARGUMENT)
    await refused(stub.PreviewShare(PreviewShareRequest(draft=draft())), Status.INVALID_ARGUMENT)
    away = draft(id_of(pair, "MX", FREE[1]), peers=["US"])
    await refused(stub.PreviewShare(PreviewShareRequest(draft=away)), Status.INVALID_ARGUMENT)
    assert len(mail_here(pair.nodes["MX"], DIRECTION_SENT)) == before
    less = await previewed(pair, draft(id_of(pair, "MX", FREE[1]), categories=[DATA_CATEGORY_TELECOM]))
    (hit,) = RequestAnswer.FromString(less.answer).hits
    assert (hit.entry.telecom.telephone, hit.entry.telecom.holder_name) == (FREE[1], "")


async def test_what_was_received_goes_nowhere(pair: Pair) -> None:
    """GT has MX's entry, and no way to share it: neither by what it is here, nor by what MX knows it by."""
    item = await shared(pair, FREE[17])
    (shown,) = await received(pair, item)
    gt = await pair.desk("GT")
    for each in (shown.received.received_id, shown.received.entry.handle, id_of(pair, "MX", FREE[17])):
        (preview,) = (await gt.PreviewShare(PreviewShareRequest(draft=draft(each)))).previews
        assert (preview.answer, preview.nothing) == (b"", "what was asked for is held here no more")


async def test_a_decoy_is_shared_with_nobody(pair: Pair) -> None:
    planting = PlantDecoyRequest(entry=telephone("+12025550177"), case_reference="CASE-9", case_title="Invented")
    decoy = (await (await pair.desk("MX", "focal-1")).PlantDecoy(planting)).decoy
    preview = await previewed(pair, draft(decoy.entry_id, id_of(pair, "MX", FREE[0])))
    (hit,) = RequestAnswer.FromString(preview.answer).hits
    assert hit.entry.telecom.telephone == FREE[0]
    preview = await previewed(pair, draft(decoy.entry_id))
    assert (preview.answer, preview.nothing) == (b"", "what was asked for is held here no more")


async def test_what_a_rule_holds_leaves_once_a_focal_point_signs_that_very_message(pair: Pair) -> None:
    item = await shared(pair, HELD[0], FREE[2])
    assert item.state == "held"
    assert not mail_here(pair.nodes["MX"], DIRECTION_SENT, exchange_id=item.exchange_id)
    assert "HELD GT" in step_reasons(pair, "MX")
    waiting = await pair.waiting(item.exchange_id)
    assert (waiting.origin, waiting.peer, waiting.request_id) == (REQUEST_ORIGIN_SHARE, "GT", item.share_id)
    granted = await pair.granted(waiting)
    assert granted.state == "granted"
    got = await received(pair, item)
    assert sorted(each.received.entry.telecom.telephone for each in got) == sorted([FREE[2], HELD[0]])
    assert (await share_at(pair, "MX", item)).state == "delivered"


async def test_of_a_share_that_is_refused_the_peer_hears_nothing(pair: Pair) -> None:
    item = await shared(pair, HELD[1])
    before = len(mail_here(pair.nodes["GT"], DIRECTION_RECEIVED))
    focal = await pair.desk("MX", "focal-1")
    refusing = RefuseRequestRequest(request_id=item.share_id, refusal=REFUSAL_LIVE_INVESTIGATION)
    await refused(focal.RefuseRequest(altered(refusing, words="No.")), Status.INVALID_ARGUMENT)
    await focal.RefuseRequest(refusing)
    await pair.delivered()
    assert (await share_at(pair, "MX", item)).state == "not shared"
    assert len(mail_here(pair.nodes["GT"], DIRECTION_RECEIVED)) == before


async def test_what_has_changed_before_it_left_does_not_leave(pair: Pair) -> None:
    with put_off(pair):
        item = await shared(pair, FREE[3])
        await corrected(pair, FREE[3], holder_name="Another")
    await pair.delivered()
    assert await received(pair, item) == []
    assert (await share_at(pair, "MX", item)).state == "withdrawn"
    assert "WITHDRAWN GT" in step_reasons(pair, "MX")


# --- taking back -----------------------------------------------------------------------------------------------------


async def test_a_recall_ends_every_use_at_once_and_a_receipt_says_what_was_deleted(pair: Pair) -> None:
    item = await shared(pair, FREE[4])
    assert len(await received(pair, item)) == 1
    (recall,) = await recalled(pair, FREE[4])
    assert (recall.peer, recall.exchange_id, recall.reason) == ("GT", item.exchange_id, "an invented mistake")
    assert await received(pair, item) == []
    assert (await share_at(pair, "GT", item)).state == "taken back"
    assert (await recall_of_number(pair, FREE[4])).state == "delivered"
    await purged(pair)
    done = await recall_of_number(pair, FREE[4])
    receipt = done.receipt
    assert (done.state, receipt.copies, receipt.held_law) == ("deleted", 1, "")
    assert {"RECEIVED_ENTRY", "LOOKUP_TOKENS", "MAIL_BODY"} <= set(receipt.places)
    assert receipt.withdrawn_us <= receipt.deleted_us < receipt.backups_until_us
    # Neither message has a place for the reason.
    told = [line for code in ("GT",) for line in pair.book(code).lines(exchange_id=item.exchange_id)]
    assert all("mistake" not in private_of(line).reason for line in told)


async def test_a_recall_goes_to_what_was_answered_and_granted_too(pair: Pair) -> None:
    exchange_id, (hit,) = await pair.asked(number=FREE[5])
    (recall,) = await recalled(pair, FREE[5])
    assert (recall.exchange_id, recall.handle) == (exchange_id, hit.entry.handle)  # type: ignore[attr-defined]
    await purged(pair)
    done = await recall_of_number(pair, FREE[5])
    assert (done.state, list(done.receipt.places)) == ("deleted", ["ANSWER_BODY"])


async def test_a_late_duplicate_brings_nothing_back(pair: Pair) -> None:
    """The recall overtakes the share, which the peer gets behind it."""
    with put_off(pair):
        item = await shared(pair, FREE[6])
        assert (await share_at(pair, "MX", item)).state == "sent"
        await recalled(pair, FREE[6])
    await pair.delivered()
    assert await received(pair, item) == []
    await purged(pair)
    assert (await recall_of_number(pair, FREE[6])).state == "deleted"


async def test_under_a_legal_hold_the_receipt_says_held_and_by_which_law(pair: Pair) -> None:
    item = await shared(pair, FREE[7])
    (shown,) = await received(pair, item)
    until_us = now_us() + 30 * DAY_US
    focal = await pair.desk("GT", "focal-1")
    await focal.PlaceLegalHold(
        PlaceLegalHoldRequest(subject=shown.received.received_id, law="Invented Act art. 7", until_us=until_us)
    )
    await recalled(pair, FREE[7])
    await purged(pair)
    held = await recall_of_number(pair, FREE[7])
    assert (held.state, held.receipt.held_law, held.receipt.held_until_us) == ("held", "Invented Act art. 7", until_us)
    assert held.receipt.deleted_us == 0
    assert await received(pair, item) == []


async def test_a_recall_and_a_receipt_of_what_was_never_told_are_refused_and_logged(pair: Pair) -> None:
    mx = pair.nodes["MX"].correspondence
    receipt = DeletionReceipt(handle=b"h" * 16, withdrawn_us=1, deleted_us=2)
    mails = [Mail(entry_recall=recall_of(b"x" * 16)), Mail(deletion_receipt=receipt)]
    before = pair.book("GT").size

    def send(post: Post) -> list[int]:
        outgoing = (OutgoingMail("GT", secrets.token_bytes(16), mail, LeafPrivate()) for mail in mails)
        return [post.send(each).number for each in outgoing]

    await mx.mailroom.post(send)
    await pair.delivered()
    dead = [each.kind for each in mail_here(pair.nodes["MX"], DIRECTION_SENT, state=MAIL_STATE_DEAD)]
    assert sorted(dead)[:2] == ["DELETION_RECEIPT", "ENTRY_RECALL"]
    reasons = [private_of(line).reason for line in pair.book("GT").lines(before) if line.shared.kind == REJECTED]
    assert sorted(reasons) == ["DELETION_RECEIPT NotFoundError", "ENTRY_RECALL NotFoundError"]


async def test_a_country_takes_back_nobody_elses_entry(pair: Pair) -> None:
    """GT recalls, under MX's handle, what MX told it: to MX it is no entry of GT's."""
    item = await shared(pair, FREE[9])
    (shown,) = await received(pair, item)
    mail = Mail(entry_recall=recall_of(shown.received.entry.handle))
    gt = pair.nodes["GT"].correspondence
    await gt.mailroom.post(lambda post: post.send(OutgoingMail("MX", item.exchange_id, mail, LeafPrivate())))
    await pair.delivered()
    (sent,) = mail_here(pair.nodes["GT"], DIRECTION_SENT, exchange_id=item.exchange_id)
    assert sent.state == MAIL_STATE_DEAD
    assert len(await received(pair, item)) == 1


# --- correcting ------------------------------------------------------------------------------------------------------


async def corrected(pair: Pair, number: str, **changes: object) -> bytes:
    """Change an own entry at MX's desk, and return its id."""
    entry_id = id_of(pair, "MX", number)
    async with pair.world["MX"].desk_channel() as channel:
        stub = DeskStub(channel)
        entry = (await stub.GetEntry(GetEntryRequest(entry_id=entry_id))).entry
        for name, value in changes.items():
            setattr(entry.telecom, name, value)
        await stub.PutEntry(PutEntryRequest(entry=asserted(entry)))
    return entry_id


async def test_a_correction_takes_the_place_of_what_was_told(pair: Pair) -> None:
    item = await shared(pair, FREE[10])
    entry_id = await corrected(pair, FREE[10], holder_name="Another Invented Holder")
    stub = await pair.desk("MX")
    response = await stub.SendUpdate(SendUpdateRequest(entry_ids=[entry_id], reason="a name was wrong"))
    assert [(each.peer, each.exchange_id) for each in response.items] == [("GT", item.exchange_id)]
    await pair.delivered()
    (shown,) = await received(pair, item)
    assert shown.received.entry.telecom.holder_name == "Another Invented Holder"
    # A recall takes the newer version too, and whatever mail brought either.
    await recalled(pair, FREE[10])
    assert await received(pair, item) == []


async def test_a_correction_that_changed_again_before_it_left_does_not_leave(pair: Pair) -> None:
    await shared(pair, FREE[11])
    with put_off(pair):
        entry_id = await corrected(pair, FREE[11], holder_name="Second")
        stub = await pair.desk("MX")
        await stub.SendUpdate(SendUpdateRequest(entry_ids=[entry_id], reason="first correction"))
        await pair.delivered()
        await corrected(pair, FREE[11], holder_name="Third")
    await pair.delivered()

    proposed = (await stub.ListRecalls(ListRecallsRequest(proposed=True))).items
    assert [each.entry_id for each in proposed] == [entry_id]
    assert "NOT_CORRECTED GT" in step_reasons(pair, "MX")


# --- flagging --------------------------------------------------------------------------------------------------------


async def test_a_flag_shows_at_the_originators_desk(pair: Pair) -> None:
    item = await shared(pair, FREE[12])
    (shown,) = await received(pair, item)
    gt = await pair.desk("GT")
    request = SendFlagRequest(
        received_id=shown.received.received_id, kind=FLAG_KIND_WRONG, categories=[DATA_CATEGORY_TELECOM]
    )
    await refused(gt.SendFlag(altered(request, kind=0)), Status.INVALID_ARGUMENT)
    await refused(gt.SendFlag(altered(request, entry_id=b"e" * 16)), Status.INVALID_ARGUMENT)
    sent = (await gt.SendFlag(request)).item
    await pair.delivered()
    flags = (await (await pair.desk("MX")).ListFlags(ListFlagsRequest())).items
    (flag,) = [each for each in flags if each.flag.flag_id == sent.flag.flag_id]
    assert (flag.peer, flag.entry_id) == ("GT", id_of(pair, "MX", FREE[12]))
    assert list(flag.flag.categories) == [DATA_CATEGORY_TELECOM]


async def test_the_same_person_is_told_only_as_far_as_the_rules_let_the_peer_know(pair: Pair) -> None:
    item = await shared(pair, FREE[13])
    (shown,) = await received(pair, item)
    gt = await pair.desk("GT")
    request = SendFlagRequest(
        received_id=shown.received.received_id,
        kind=FLAG_KIND_SAME_PERSON,
        entry_id=id_of(pair, "GT", VICTIM),
        purpose=PURPOSE_INVESTIGATE,
        crimes=[CRIME_TRAFFICKING],
        instrument="UNTOC",
        unit_type=UNIT_TYPE_POLICE_INTELLIGENCE,
        case_reference="CASE-1",
    )
    before = len(mail_here(pair.nodes["GT"], DIRECTION_SENT))
    await refused(gt.SendFlag(request), Status.PERMISSION_DENIED)
    assert len(mail_here(pair.nodes["GT"], DIRECTION_SENT)) == before
    await gt.SendFlag(altered(request, entry_id=id_of(pair, "GT", FREE[0])))
    await pair.delivered()
    mx = await pair.desk("MX")
    flag = (await mx.ListFlags(ListFlagsRequest())).items[0]
    assert (flag.flag.kind, flag.entry_id) == (FLAG_KIND_SAME_PERSON, id_of(pair, "MX", FREE[13]))
    assert flag.flag.basis.HasField("hit")  # what it says is with the received entries, until its date
    kept = (await mx.ListReceived(ListReceivedRequest())).received
    assert any(each.received.exchange_id == item.exchange_id and each.received.peer == "GT" for each in kept)


async def test_a_persons_erasure_leaves_as_a_recall_like_any_other(pair: Pair) -> None:
    number = FREE[16]
    item, entry_id = await shared(pair, number), id_of(pair, "MX", number)
    async with subjects(pair.world) as focal:
        petition, _ = await planned(focal, "HD-1", PETITION_KIND_ERASURE, entry_id)
    notices = SendNoticesRequest(petition_id=petition.petition_id)
    await refused((await pair.desk("MX")).SendNotices(notices), Status.PERMISSION_DENIED)
    response = await (await pair.desk("MX", "focal")).SendNotices(notices)
    assert [(each.peer, each.exchange_id) for each in response.recalls] == [("GT", item.exchange_id)]
    await pair.delivered()
    assert await received(pair, item) == []
    (sent,) = [
        each
        for each in mail_here(pair.nodes["GT"], DIRECTION_RECEIVED, exchange_id=item.exchange_id)
        if each.kind == "ENTRY_RECALL"
    ]
    get = GetMailRequest(direction=DIRECTION_RECEIVED, peer="MX", exchange_id=item.exchange_id, number=sent.number)
    mail = Mail.FromString((await (await pair.desk("GT", "focal-1")).GetMail(get)).mail)
    assert mail == Mail(entry_recall=recall_of(response.recalls[0].handle))


# --- other rules -----------------------------------------------------------------------------------------------------


async def test_other_rules_stop_what_is_under_way_and_list_for_recall_what_has_left(pair: Pair) -> None:
    left, waiting, gone = FREE[14], FREE[15], FREE[4]
    shared_before = await shared(pair, left)
    mx = pair.nodes["MX"]
    with put_off(pair):
        under_way = await shared(pair, waiting)
        focal = dict(zip(FOCAL, map(public_key, pair.world["MX"].focal_keys), strict=True))
        bring = partial(
            enact, vault=mx.freezing.vault, text=STRICTER, focal=focal, keys=pair.world["MX"].focal_keys, floor=FLOOR
        )
        await asyncio.wrap_future(mx.writer.submit(lambda connection: bring(connection, at_us=now_us())))
        await mx.distribution.enacting.follow()
    await pair.delivered()
    assert (await share_at(pair, "MX", under_way)).state == "withdrawn"
    assert await received(pair, under_way) == []

    await mx.correspondence.reexamining.look()
    stub = await pair.desk("MX", "focal-1")
    items = (await stub.ListRecalls(ListRecallsRequest(proposed=True))).items
    found = {each.entry_id: each for each in items}
    item = found[id_of(pair, "MX", left)]
    assert (item.exchange_id, item.reason) == (shared_before.exchange_id, "the rules let less leave of identity")
    assert id_of(pair, "MX", waiting) not in found
    assert id_of(pair, "MX", gone) in found  # it was taken back, and told by now only in the ledgers
    assert len(await received(pair, shared_before)) == 1  # nothing is taken back by itself

    decision = DecideRecallRequest(peer="GT", exchange_id=item.exchange_id, handle=item.handle, reason="invented")
    unit = await pair.desk("MX")
    await refused(unit.DecideRecall(decision), Status.PERMISSION_DENIED)
    other = found[id_of(pair, "MX", FREE[12])]
    stands = altered(decision, exchange_id=other.exchange_id, handle=other.handle)
    assert (await stub.DecideRecall(stands)).item.state == "stands"
    await refused(stub.DecideRecall(stands), Status.FAILED_PRECONDITION)
    assert (await stub.DecideRecall(altered(decision, send=True))).item.state == "sent"
    await pair.delivered()
    assert await received(pair, shared_before) == []


# --- by the clock; last, since no mail of a node is older than the one before it -------------------------------------


async def test_a_receipt_that_is_missing_is_chased(pair: Pair) -> None:
    await shared(pair, FREE[8])
    await recalled(pair, FREE[8])
    for node in pair.nodes.values():
        node.correspondence.mailroom.clock = pair.clock
        node.correspondence.purging.clock = pair.clock
    pair.clock.now_us = now_us() + 2 * DAY_US + US
    recalling = pair.nodes["MX"].correspondence.recalling
    await recalling.look()
    await recalling.look()
    missing = (await (await pair.desk("MX")).ListRecalls(ListRecallsRequest(missing=True))).items
    assert id_of(pair, "MX", FREE[8]) in [each.entry_id for each in missing]
    assert "RECEIPT_MISSING GT" in step_reasons(pair, "MX")
    chased = await recall_of_number(pair, FREE[8])
    assert (chased.state, chased.chased) == ("overdue", 1)
    await pair.delivered()
    await purged(pair)
    assert (await recall_of_number(pair, FREE[8])).state == "deleted"

    # Silence is refusal, and the peer hears nothing.
    held, before = await shared(pair, HELD[2]), len(mail_here(pair.nodes["GT"], DIRECTION_RECEIVED))
    pair.clock.now_us += 8 * DAY_US
    await pair.nodes["MX"].correspondence.deadlines.look()
    await pair.delivered()
    assert (held.state, (await share_at(pair, "MX", held)).state) == ("held", "not shared")
    assert len(mail_here(pair.nodes["GT"], DIRECTION_RECEIVED)) == before

    # A year after, nothing is kept of shares and flags but their lines.
    before = pair.book("MX").size
    pair.clock.now_us += 366 * DAY_US
    for _ in range(5):
        await recalling.look()
    stub = await pair.desk("MX")
    assert not (await stub.ListShares(ListSharesRequest())).items
    assert not (await stub.ListFlags(ListFlagsRequest())).items
    told = [private_of(line).reason for line in pair.book("MX").lines(before) if line.shared.kind == LEAF_KIND_DELETED]
    assert any(each.startswith("SHARES ") for each in told)
