"""Entries of peers at the desk: kept of an answer, read for a purpose, bound by their terms; what is kept longer."""

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest

from node.wire import received_pb2 as wire
from node.wire.codes_pb2 import CRIME_TRAFFICKING, LOOKUP_KIND_TELEPHONE, Purpose
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.desk_pb2 import DecideChangeRequest, ListChangesRequest, PutCaseRequest, PutEntryRequest
from node.wire.entry_pb2 import Case, Entry
from node.wire.exchange_pb2 import Selector
from node.wire.ledger_pb2 import LeafKind
from tests.desk.support import Desks, asserted, lines_since, refused, search
from tests.federation.support import NOBODYS, SEEN, VICTIMS, altered, case_record, private_of, telephone, told
from tests.peer_simulator import telephone_query
from tests.world import DAY_US, now_us

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from node.wire.correspondence_pb2_grpc import CorrespondenceAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="module")
Status = grpc.StatusCode
READ, KEPT = LeafKind.LEAF_KIND_READ, LeafKind.LEAF_KIND_KEPT
SELECTOR = Selector(kind=LOOKUP_KIND_TELEPHONE, value=SEEN)
INVESTIGATE = Purpose.PURPOSE_INVESTIGATE


@asynccontextmanager
async def mail_desk(desks: Desks, code: str, officer: str = "analyst") -> "AsyncIterator[CorrespondenceAsyncStub]":
    async with desks.world[code].desk_channel(officer) as channel:
        yield CorrespondenceStub(channel)


async def own_case(desks: Desks) -> Case:
    stub = await desks("GT")
    return (await stub.PutCase(PutCaseRequest(case=altered(case_record(), crimes=[CRIME_TRAFFICKING])))).case


async def kept_of_an_answer(desks: Desks) -> tuple[Case, wire.ShownReceived]:
    (response,) = await search(await desks("GT"), None, "MX")
    (hit,) = response.answer.hits
    case = await own_case(desks)
    request = wire.KeepReceivedRequest(exchange_id=response.exchange_id, handle=hit.entry.handle, case_id=case.case_id)
    async with mail_desk(desks, "GT") as stub:
        return case, (await stub.KeepReceived(request)).received


async def test_an_officer_keeps_an_entry_of_an_answer_and_reads_it_for_a_purpose(desks: Desks) -> None:
    case, kept = await kept_of_an_answer(desks)
    copy = kept.received
    assert (copy.peer, copy.originator, copy.officer, kept.case_reference) == ("MX", "MX", "analyst", case.reference)
    assert copy.entry.telecom.telephone == SEEN
    days = copy.entry.terms.retention_days
    assert copy.delete_us == (copy.disclosed_us + days * DAY_US if days else 0)
    book = desks.book("GT")
    before = book.size
    async with mail_desk(desks, "GT") as stub:
        shown = await stub.GetReceived(wire.GetReceivedRequest(received_id=copy.received_id, purpose=INVESTIGATE))
        assert shown.received == kept
        listed = (await stub.ListReceived(wire.ListReceivedRequest(case_id=case.case_id))).received
        assert [each.received.received_id for each in listed] == [copy.received_id]
        assert not listed[0].received.entry.telecom.telephone  # a list says what is here, not what it says
        found = wire.FindReceivedRequest(selectors=[SELECTOR], purpose=INVESTIGATE, case_reference=case.reference)
        assert kept in (await stub.FindReceived(found)).received
        bad = altered(found, purpose=Purpose.PURPOSE_IMMIGRATION_ENFORCEMENT)
        assert list((await stub.FindReceived(bad)).received) == []
        unlawful = wire.GetReceivedRequest(
            received_id=copy.received_id, purpose=Purpose.PURPOSE_IMMIGRATION_ENFORCEMENT
        )
        await refused(stub.GetReceived(unlawful), Status.INVALID_ARGUMENT)
    assert lines_since(book, before) == [
        ("READ", "", "RECEIVED"),
        ("READ", "", "RECEIVED_LIST"),
        ("READ", "", "RECEIVED_SEARCH"),
        ("READ", "", "RECEIVED_SEARCH"),
        ("DENIED", "", "TERMS"),
    ]
    privates = [private_of(line) for line in book.lines(before)]
    assert {each.officer for each in privates} == {"analyst"}
    assert (privates[0].case_reference, privates[0].subject) == (case.reference, copy.received_id)
    # Its line is in the exchange that brought it, so whoever follows the exchange finds it.
    kinds = [line.shared.kind for line in book.lines(exchange_id=copy.exchange_id)]
    assert kinds == [LeafKind.LEAF_KIND_ASKED, LeafKind.LEAF_KIND_ANSWERED, KEPT]


async def test_what_no_answer_has_can_not_be_kept(desks: Desks) -> None:
    case, kept = await kept_of_an_answer(desks)
    request = wire.KeepReceivedRequest(exchange_id=kept.received.exchange_id, handle=b"h" * 16, case_id=case.case_id)
    async with mail_desk(desks, "GT") as stub:
        await refused(stub.KeepReceived(request), Status.NOT_FOUND)
        no_case = altered(request, handle=kept.received.entry.handle, case_id=b"c" * 16)
        await refused(stub.KeepReceived(no_case), Status.NOT_FOUND)


async def test_what_was_received_answers_no_peer(desks: Desks) -> None:
    """GT has MX's entry in a case of its own; MX asks GT for it, and for nobody's number, and sees the same."""
    await kept_of_an_answer(desks)
    stub = await desks("MX")
    (about_it,) = await search(stub, None, "GT")
    (about_nobody,) = await search(stub, telephone_query(NOBODYS), "GT")
    assert list(about_it.answer.hits) == list(about_nobody.answer.hits) == []
    assert about_it.outcome == about_nobody.outcome


async def test_a_review_keeps_it_no_longer_than_its_originator_allows(desks: Desks) -> None:
    _, kept = await kept_of_an_answer(desks)
    received_id, delete_us = kept.received.received_id, kept.received.delete_us
    book = desks.book("GT")
    async with mail_desk(desks, "GT") as stub:
        sooner = wire.ReviewReceivedRequest(received_id=received_id, until_us=now_us() + DAY_US, reason="no use soon")
        assert (await stub.ReviewReceived(sooner)).received.received.review_us == sooner.until_us
        if delete_us:
            await refused(stub.ReviewReceived(altered(sooner, until_us=delete_us + 1)), Status.INVALID_ARGUMENT)
        await refused(stub.ReviewReceived(altered(sooner, reason="")), Status.INVALID_ARGUMENT)
    assert told(book.lines(kinds=[KEPT])[-1]) == ("KEPT", "MX", "REVIEW no use soon")


async def test_what_torture_brought_is_of_no_use_any_more(desks: Desks) -> None:
    case, kept = await kept_of_an_answer(desks)
    received_id = kept.received.received_id
    async with mail_desk(desks, "GT") as stub:
        await stub.BarReceived(wire.BarReceivedRequest(received_id=received_id, basis="expert opinion 12"))
        get = wire.GetReceivedRequest(received_id=received_id, purpose=INVESTIGATE)
        await refused(stub.GetReceived(get), Status.NOT_FOUND)
        assert list((await stub.ListReceived(wire.ListReceivedRequest())).received) == []
    (response,) = await search(await desks("GT"), None, "MX")  # the same entry, in another answer
    request = wire.KeepReceivedRequest(
        exchange_id=response.exchange_id, handle=response.answer.hits[0].entry.handle, case_id=case.case_id
    )
    async with mail_desk(desks, "GT") as stub:
        await refused(stub.KeepReceived(request), Status.NOT_FOUND)


async def test_a_case_is_kept_longer_by_a_review_alone(desks: Desks) -> None:
    case, book = await own_case(desks), desks.book("GT")
    later_us = case.review_us + DAY_US
    stub = await desks("GT")
    await refused(stub.PutCase(PutCaseRequest(case=altered(case, review_us=later_us))), Status.INVALID_ARGUMENT)
    async with mail_desk(desks, "GT") as mail:
        request = wire.ReviewCaseRequest(case_id=case.case_id, until_us=later_us, reason="trial goes on")
        assert (await mail.ReviewCase(request)).review_us == later_us
        await refused(mail.ReviewCase(altered(request, reason=" ")), Status.INVALID_ARGUMENT)
        far = altered(request, until_us=now_us() + 6 * 365 * DAY_US)
        await refused(mail.ReviewCase(far), Status.INVALID_ARGUMENT)
    assert told(book.lines()[-1]) == ("RECORD", "", "REVIEW trial goes on")


async def entry_in(desks: Desks, case: Case, entry: Entry) -> Entry:
    stub = await desks("GT")
    new = altered(asserted(entry), originator="GT", case_id=case.case_id)
    return (await stub.PutEntry(PutEntryRequest(entry=new))).entry


async def test_of_somebody_protected_a_second_officer_decides(desks: Desks) -> None:
    case, stub = await own_case(desks), await desks("GT")
    suspects = await entry_in(desks, case, telephone(NOBODYS))
    victims = await entry_in(desks, case, telephone(VICTIMS, victim=True))
    later_us = suspects.review_us + DAY_US
    async with mail_desk(desks, "GT") as mail:
        alone = wire.ReviewEntryRequest(entry_id=suspects.entry_id, until_us=later_us, reason="trial goes on")
        decided = await mail.ReviewEntry(alone)
        assert (decided.review_us, decided.pending_change) == (later_us, b"")
        two = altered(alone, entry_id=victims.entry_id, until_us=victims.review_us + DAY_US)
        waiting = await mail.ReviewEntry(two)
        assert waiting.review_us == victims.review_us
        assert waiting.pending_change
    change = (await stub.ListChanges(ListChangesRequest())).changes[-1]
    assert list(change.weakened) == ["review_us"]
    decide = DecideChangeRequest(change_id=waiting.pending_change, confirm=True)
    await refused(stub.DecideChange(decide), Status.FAILED_PRECONDITION)
    confirmed = (await (await desks("GT", "second")).DecideChange(decide)).entry
    assert confirmed.review_us == two.until_us
    # An ordinary edit needs the reason as well.
    edit = altered(confirmed, review_us=confirmed.review_us + DAY_US)
    await refused(stub.PutEntry(PutEntryRequest(entry=edit)), Status.INVALID_ARGUMENT)


async def test_a_legal_hold_names_law_end_and_who(desks: Desks) -> None:
    case, book = await own_case(desks), desks.book("GT")
    before = book.size
    place = wire.PlaceLegalHoldRequest(subject=case.case_id, law="CPP art. 150", until_us=now_us() + 90 * DAY_US)
    async with mail_desk(desks, "GT", "analyst") as units:
        await refused(units.PlaceLegalHold(place), Status.PERMISSION_DENIED)
    async with mail_desk(desks, "GT", "supervisor") as stub:
        held = (await stub.PlaceLegalHold(place)).hold
        assert (held.law, held.placed_by) == ("CPP art. 150", "supervisor")
        assert list((await stub.ListLegalHolds(wire.ListLegalHoldsRequest())).holds) == [held]
        await refused(stub.PlaceLegalHold(altered(place, subject=b"s" * 16)), Status.NOT_FOUND)
        await refused(stub.PlaceLegalHold(altered(place, law="")), Status.INVALID_ARGUMENT)
        release = wire.ReleaseLegalHoldRequest(subject=case.case_id, reason="judgment is final")
        await stub.ReleaseLegalHold(release)
        await refused(stub.ReleaseLegalHold(release), Status.NOT_FOUND)
    reasons = [reason for kind, _, reason in lines_since(book, before) if kind == "LEGAL_HOLD"]
    assert reasons == ["PLACED CPP art. 150", "RELEASED judgment is final"]


async def test_roles(desks: Desks) -> None:
    async with mail_desk(desks, "GT", "administrator") as stub:
        await refused(stub.ListReceived(wire.ListReceivedRequest()), Status.PERMISSION_DENIED)
        await refused(stub.GetReceived(wire.GetReceivedRequest()), Status.PERMISSION_DENIED)
        await refused(stub.FindReceived(wire.FindReceivedRequest()), Status.PERMISSION_DENIED)
        await refused(stub.ReviewCase(wire.ReviewCaseRequest()), Status.PERMISSION_DENIED)
