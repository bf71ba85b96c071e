"""What weakens protection waits for a second officer; until then peers meet the stricter facts."""

import pytest
import pytest_asyncio

from node.errors import ForbiddenError, SecondOfficerError
from node.wire.codes_pb2 import ASYLUM_STATE_NONE, ROLE_SUSPECT, TRI_NO
from node.wire.desk_pb2 import (
    PEER_OUTCOME_ANSWERED,
    DecideChangeRequest,
    GetCaseRequest,
    GetEntryRequest,
    ListCasesRequest,
    ListChangesRequest,
    PutEntryRequest,
    PutEntryResponse,
)
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Answer
from node.wire.ledger_pb2 import LeafKind
from tests.desk.support import Desks, Status, lines_since, refused, search
from tests.federation.support import VICTIMS, private_of
from tests.peer_simulator import telephone_query

pytestmark = pytest.mark.asyncio(loop_scope="module")

REASON = "Invented: the interview of 3 May showed that this is a suspect's number."


async def asked_by_gt(desks: Desks) -> Answer:
    (response,) = await search(await desks("GT"), telephone_query(VICTIMS))
    assert response.outcome == PEER_OUTCOME_ANSWERED
    return response.answer


async def telephones_seen(desks: Desks) -> list[str]:
    return [hit.entry.telecom.telephone for hit in (await asked_by_gt(desks)).hits]


@pytest_asyncio.fixture(loop_scope="module")
async def victims(desks: Desks) -> Entry:
    """The victim's telephone in MX's records, as it stands."""
    stub = await desks("MX")
    (case,) = (await stub.ListCases(ListCasesRequest())).cases
    entries = (await stub.GetCase(GetCaseRequest(case_id=case.case_id))).entries
    return next(each for each in entries if each.telecom.telephone == VICTIMS)


def weaker(entry: Entry) -> Entry:
    changed = Entry()
    changed.CopyFrom(entry)
    changed.roles[:] = [ROLE_SUSPECT]
    changed.protection.victim = TRI_NO
    return changed


async def proposed(desks: Desks, entry: Entry) -> PutEntryResponse:
    return await (await desks("MX")).PutEntry(PutEntryRequest(entry=weaker(entry), reason=REASON))


async def test_without_a_reason_nothing_is_even_proposed(desks: Desks, victims: Entry) -> None:
    stub = await desks("MX")
    await refused(stub.PutEntry(PutEntryRequest(entry=weaker(victims), reason=" ")), Status.INVALID_ARGUMENT)
    assert not (await stub.ListChanges(ListChangesRequest())).changes


async def test_until_a_second_officer_confirms_it_the_peer_sees_nothing(desks: Desks, victims: Entry) -> None:
    analyst, second, book = await desks("MX"), await desks("MX", "second"), desks.book("MX")
    assert await asked_by_gt(desks) == Answer()
    before = book.size

    response = await proposed(desks, victims)
    assert response.entry == victims
    assert list(response.weakened)
    assert (await analyst.GetEntry(GetEntryRequest(entry_id=victims.entry_id))).entry == victims
    assert await asked_by_gt(desks) == Answer()

    (waiting,) = (await second.ListChanges(ListChangesRequest())).changes
    assert (waiting.change_id, waiting.proposed_by) == (response.pending_change, "analyst")
    assert (waiting.reason, waiting.weakened) == (REASON, response.weakened)

    confirm = DecideChangeRequest(change_id=response.pending_change, confirm=True)
    await refused(analyst.DecideChange(confirm), Status.FAILED_PRECONDITION, SecondOfficerError.public)
    for other in ("focal", "auditor", "administrator"):
        stub = await desks("MX", other)
        await refused(stub.DecideChange(confirm), Status.PERMISSION_DENIED, ForbiddenError.public)
    assert await asked_by_gt(desks) == Answer()

    confirmed = (await second.DecideChange(confirm)).entry
    assert confirmed.revision == victims.revision + 1
    assert (await analyst.GetEntry(GetEntryRequest(entry_id=victims.entry_id))).entry == confirmed
    assert await telephones_seen(desks) == [VICTIMS]
    await refused(second.DecideChange(confirm), Status.NOT_FOUND, "no such change waits for a second officer")

    told_of = [line for line in book.lines(before) if private_of(line).subject == victims.entry_id]
    assert [
        (LeafKind.Name(line.shared.kind).removeprefix("LEAF_KIND_"), private_of(line).officer, private_of(line).reason)
        for line in told_of
    ] == [
        ("WEAKENING", "analyst", "PROPOSED"),
        ("READ", "analyst", "ENTRY"),
        ("DENIED", "analyst", "SECOND_OFFICER"),
        ("WEAKENING", "second", "CONFIRMED"),
        ("RECORD", "second", "ENTRY"),
        ("READ", "analyst", "ENTRY"),
    ]
    assert {private_of(line).case_reference for line in told_of} == {"CASE-1"}
    book.verify()


async def test_strengthening_is_at_once_and_the_peer_sees_less_again(desks: Desks, victims: Entry) -> None:
    stub, book = await desks("MX"), desks.book("MX")
    before = book.size
    stricter = Entry()
    stricter.CopyFrom(victims)
    stricter.protection.ClearField("victim")
    stricter.protection.ClearField("asylum")
    response = await stub.PutEntry(PutEntryRequest(entry=stricter))
    assert (response.pending_change, list(response.weakened)) == (b"", [])
    assert lines_since(book, before) == [("RECORD", "", "ENTRY")]
    assert await telephones_seen(desks) == [""]


async def test_to_establish_that_there_is_nothing_to_protect_is_a_weakening_too(desks: Desks, victims: Entry) -> None:
    stub, supervisor = await desks("MX"), await desks("MX", "supervisor")
    known = Entry()
    known.CopyFrom(victims)
    known.protection.victim = TRI_NO
    known.protection.asylum = ASYLUM_STATE_NONE
    response = await stub.PutEntry(PutEntryRequest(entry=known, reason=REASON))
    assert set(response.weakened) == {"protection.victim", "protection.asylum"}
    decline = DecideChangeRequest(change_id=response.pending_change, confirm=False)
    assert await telephones_seen(desks) == [""]
    assert (await supervisor.DecideChange(decline)).entry == victims
    assert await telephones_seen(desks) == [""]
    await refused(supervisor.DecideChange(decline), Status.NOT_FOUND)


async def test_a_change_of_what_was_changed_meanwhile_is_to_be_proposed_anew(desks: Desks, victims: Entry) -> None:
    stub, second = await desks("MX"), await desks("MX", "second")
    known = Entry()
    known.CopyFrom(victims)
    known.protection.victim = TRI_NO
    response = await stub.PutEntry(PutEntryRequest(entry=known, reason=REASON))
    other = Entry()
    other.CopyFrom(victims)
    other.telecom.holder_name = "Another Invented Holder"
    await stub.PutEntry(PutEntryRequest(entry=other))
    await refused(
        stub.PutEntry(PutEntryRequest(entry=other)),
        Status.INVALID_ARGUMENT,
        "the entry was changed by somebody else meanwhile: read it again",
    )
    confirm = DecideChangeRequest(change_id=response.pending_change, confirm=True)
    await refused(
        second.DecideChange(confirm),
        Status.INVALID_ARGUMENT,
        "the entry was changed since: decline this change, and propose it anew",
    )
    assert await telephones_seen(desks) == [""]
    desks.book("MX").verify()
