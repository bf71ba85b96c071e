"""A person's request reaches who holds their data only as a correction or a recall like any other."""

from typing import TYPE_CHECKING

import pytest

from node.desk.notices import recalls_of
from node.errors import UsageError
from node.federation.envelope import padded
from node.federation.noticing import recall_of, update_of
from node.wire import subject_pb2 as wire
from node.wire.audit_pb2 import TraceEntryRequest
from node.wire.exchange_pb2 import Body, ReleasedEntry
from node.wire.ledger_pb2 import DIRECTION_LOCAL, LEAF_KIND_READ, LEAF_KIND_RECORD
from node.wire.notice_pb2 import EntryRecall, EntryUpdate
from tests.desk.support import Desks
from tests.desk.test_petitions import report, step, subjects
from tests.federation.support import altered
from tests.peer_simulator import telephone_query
from tests.safeguards.support import PLAIN, asked, entry_of, put
from tests.world import DAY_US, now_us

if TYPE_CHECKING:
    from node.wire.subject_pb2_grpc import SubjectsAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def planned(
    focal: "SubjectsAsyncStub", number: str, kind: wire.PetitionKind.ValueType, *entries: bytes
) -> tuple[wire.Petition, wire.PlanNoticesResponse]:
    registration = wire.RegisterPetitionRequest(
        number=number, kind=kind, due_us=now_us() + 20 * DAY_US, entry_ids=entries
    )
    petition = (await focal.RegisterPetition(registration)).petition
    await step(focal, petition, "CHECK_IDENTITY")
    await step(focal, petition, "REVIEW")
    await report(focal, petition)
    return petition, await focal.PlanNotices(wire.PlanNoticesRequest(petition_id=petition.petition_id))


async def test_an_erasure_for_a_person_is_byte_for_byte_a_recall(desks: Desks) -> None:
    await asked(desks, telephone_query(PLAIN))
    entry = await entry_of(desks, PLAIN)
    traced = [
        line
        async for response in (await desks("MX", "auditor")).TraceEntry(TraceEntryRequest(entry_id=entry.entry_id))
        for line in response.lines
    ]
    ordinary = recall_of(traced[-1].handle)  # what a unit sends that takes back what was wrong
    async with subjects(desks.world) as focal:
        _, plan = await planned(focal, "HD-2026-1", wire.PETITION_KIND_ERASURE, entry.entry_id)
    ((peer, exchange_id, message),) = recalls_of(plan)
    assert (peer, exchange_id) == ("GT", traced[-1].exchange_id)
    assert message.SerializeToString() == ordinary.SerializeToString()
    # Of another entry, it differs in the handle alone, and has the same size in the envelope.
    another = recall_of(bytes(16))
    assert len(another.SerializeToString()) == len(message.SerializeToString())
    bodies = {len(padded(Body(salt=bytes(32), mail=each.SerializeToString()))) for each in (another, message)}
    assert len(bodies) == 1


async def test_neither_message_has_a_place_for_a_reason_a_requester_or_a_time() -> None:
    fields = {message: [field.name for field in message.DESCRIPTOR.fields] for message in (EntryRecall, EntryUpdate)}
    assert fields == {EntryRecall: ["handle"], EntryUpdate: ["entry"]}
    released = ReleasedEntry(handle=bytes(16))
    assert update_of(released) == EntryUpdate(entry=released)


@pytest.mark.parametrize("size", [0, 15, 17])
async def test_what_is_no_handle_is_no_notice(size: int) -> None:
    with pytest.raises(UsageError):
        recall_of(bytes(size))
    with pytest.raises(UsageError):
        update_of(ReleasedEntry(handle=bytes(size)))


async def test_nothing_leaves_while_a_request_is_looked_into_and_the_tree_does_not_tell_of_it(desks: Desks) -> None:
    await asked(desks, telephone_query(PLAIN))
    entry, gt, mx = await entry_of(desks, PLAIN), desks.book("GT"), desks.book("MX")
    there, here = gt.size, mx.size
    async with subjects(desks.world) as focal:
        petition, _ = await planned(focal, "HD-2026-2", wire.PETITION_KIND_CORRECTION, entry.entry_id)
        await step(focal, petition, "REFUSE", ground=wire.PETITION_GROUND_ACCURATE, law="Invented law", words="right")
    assert gt.size == there
    of_petition = [line.shared for line in mx.lines(here)]
    assert {(each.kind, each.direction, each.peer) for each in of_petition} <= {
        (LEAF_KIND_RECORD, DIRECTION_LOCAL, ""),
        (LEAF_KIND_READ, DIRECTION_LOCAL, ""),
    }
    # A unit that edits a record leaves a line that can't be told from these, but for its random parts.
    before = mx.size
    await put(await desks("MX"), altered(entry, attribution="Invented"))
    (edited,) = mx.lines(before)
    records = [line for line in mx.lines(here) if line.shared.kind == LEAF_KIND_RECORD]
    assert {line.leaf.ByteSize() for line in records} == {edited.leaf.ByteSize()}


async def test_a_state_that_may_be_one_of_origin_is_kept_out_until_counsel_decides(desks: Desks) -> None:
    await asked(desks, telephone_query(PLAIN))
    entry = await entry_of(desks, PLAIN)
    claimed = altered(entry, protection=altered(entry.protection, origins_complete=False))
    await put(await desks("MX"), claimed)  # by now, more origins may exist than were known
    async with subjects(desks.world) as focal:
        petition, plan = await planned(focal, "HD-2026-3", wire.PETITION_KIND_ERASURE, entry.entry_id)
        assert recalls_of(plan) == []
        assert [(each.peer, each.may_be_origin) for each in plan.withheld] == [("GT", True)]
        decision = wire.DecideOriginRequest(
            petition_id=petition.petition_id, entry_id=entry.entry_id, peer="GT", notify=True, words="counsel, note 3"
        )
        await focal.DecideOrigin(decision)
        decided = await focal.PlanNotices(wire.PlanNoticesRequest(petition_id=petition.petition_id))
        assert [peer for peer, _, _ in recalls_of(decided)] == ["GT"]
