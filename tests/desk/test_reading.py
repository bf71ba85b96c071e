"""Every consultation at home is a line with officer, case and reason, before anything is shown."""

import pytest
import pytest_asyncio
from google.protobuf.message import Message

from node.wire import desk_pb2
from node.wire.bundle_pb2 import ProveLineRequest
from node.wire.codes_pb2 import CRIME_TRAFFICKING, UNIT_TYPE_POLICE_INTELLIGENCE
from node.wire.desk_pb2 import (
    OFFICER_ROLE_UNIT,
    GetCaseRequest,
    GetEntryRequest,
    ListCasesRequest,
    ListLedgerRequest,
    PutCaseRequest,
)
from node.wire.entry_pb2 import Entry
from node.wire.ledger_pb2 import LeafKind
from tests.desk.support import Desks, Status, call, lines_since, refused
from tests.federation.support import altered, case_record, private_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def entry(desks: Desks) -> Entry:
    stub = await desks("MX")
    (case, *_) = (await stub.ListCases(ListCasesRequest())).cases
    first: Entry = (await stub.GetCase(GetCaseRequest(case_id=case.case_id))).entries[0]
    return first


@pytest.mark.parametrize(
    ("name", "officer", "request_", "reason"),
    [
        ("ListCases", "supervisor", ListCasesRequest(), "CASES"),
        ("ListChanges", "supervisor", desk_pb2.ListChangesRequest(), "CHANGES"),
        ("ListHolds", "focal", desk_pb2.ListHoldsRequest(), "HOLDS"),
        ("ListLife", "focal", desk_pb2.ListLifeRequest(), "LIFE"),
        ("RehearsePairing", "focal", desk_pb2.RehearsePairingRequest(peer="GT"), "REHEARSAL GT"),
        ("ListLedger", "auditor", ListLedgerRequest(), "LEDGER 0"),
        ("ProveLine", "auditor", ProveLineRequest(index=0), "PROVE 0"),
        ("ProveLine", "auditor", ProveLineRequest(index=0, unmask="FILE 12"), "PROVE 0 UNMASK FILE 12"),
        ("ListLedger", "auditor", ListLedgerRequest(start=2, peer="GT"), "LEDGER 2 GT"),
        ("ListLedger", "auditor", ListLedgerRequest(start=2, unmask="complaint 7"), "LEDGER 2 UNMASK complaint 7"),
        ("ListLedger", "auditor", ListLedgerRequest(lines=[2, 0, 2]), "LINES 0,2"),
        ("ListLedger", "auditor", ListLedgerRequest(lines=range(12)), "LINES 12 OF 0-11"),
    ],
)
async def test_lists_are_lines(desks: Desks, name: str, officer: str, request_: Message, reason: str) -> None:
    book = desks.book("MX")
    before = book.size
    await call(await desks("MX", officer), name, request_)
    (line,) = book.lines(before)
    assert lines_since(book, before) == [("READ", "", reason)]
    assert (private_of(line).officer, private_of(line).unit) == (officer, "UNIT-1")


async def test_names_are_masked_alike_until_an_auditor_says_why(desks: Desks) -> None:
    stub, auditor, book = await desks("MX"), await desks("MX", "auditor"), desks.book("MX")
    before = book.size
    for _ in range(2):
        await stub.ListCases(ListCasesRequest())
    masked = [line async for line in auditor.ListLedger(ListLedgerRequest(start=before))]
    first, second, own = (line.private.officer for line in masked)
    assert first == second != own
    assert all(name.startswith("masked-") for name in (first, own))
    again = [line async for line in auditor.ListLedger(ListLedgerRequest(start=before))]
    assert {line.private.officer for line in again}.isdisjoint({first, own})
    shown = [line async for line in auditor.ListLedger(ListLedgerRequest(start=before, limit=2, unmask="complaint"))]
    assert [line.private.officer for line in shown] == ["analyst", "analyst"]


async def test_whose_enrolment_a_line_is_about_is_masked_too(desks: Desks) -> None:
    administrator, auditor, book = await desks("MX", "administrator"), await desks("MX", "auditor"), desks.book("MX")
    before = book.size
    await administrator.EnrolOfficer(
        desk_pb2.EnrolOfficerRequest(
            officer="newcomer", unit="UNIT-1", unit_type=UNIT_TYPE_POLICE_INTELLIGENCE, roles=[OFFICER_ROLE_UNIT]
        )
    )
    (masked,) = [line async for line in auditor.ListLedger(ListLedgerRequest(start=before, limit=1))]
    assert masked.private.subject.startswith(b"masked-")
    (shown,) = [line async for line in auditor.ListLedger(ListLedgerRequest(lines=[before], unmask="complaint"))]
    assert (shown.private.subject, shown.private.officer) == (b"newcomer", "administrator")


async def test_single_lines_are_few_and_there(desks: Desks) -> None:
    auditor = await desks("MX", "auditor")
    found = [line.index async for line in auditor.ListLedger(ListLedgerRequest(lines=[3, 1, 3]))]
    assert found == [1, 3]
    for lines, code in ((range(1_001), Status.INVALID_ARGUMENT), ([10**9], Status.NOT_FOUND)):
        await refused(call(auditor, "ListLedger", ListLedgerRequest(lines=lines)), code)


async def test_a_case_and_an_entry_are_lines_that_name_them(desks: Desks, entry: Entry) -> None:
    stub, book = await desks("MX"), desks.book("MX")
    before = book.size
    await stub.GetCase(GetCaseRequest(case_id=entry.case_id))
    await stub.GetEntry(GetEntryRequest(entry_id=entry.entry_id))
    said = [private_of(line) for line in book.lines(before)]
    assert lines_since(book, before) == [("READ", "", "CASE"), ("READ", "", "ENTRY")]
    assert [each.subject for each in said] == [entry.case_id, entry.entry_id]
    assert {(each.officer, each.case_reference) for each in said} == {("analyst", "CASE-1")}


async def test_an_auditor_reads_what_was_done_and_that_he_read_is_the_last_line(desks: Desks) -> None:
    stub, auditor, book = await desks("MX"), await desks("MX", "auditor"), desks.book("MX")
    before = book.size
    put = await stub.PutCase(PutCaseRequest(case=altered(case_record(), crimes=[CRIME_TRAFFICKING])))
    lines = [line async for line in auditor.ListLedger(ListLedgerRequest(start=before, limit=10, unmask="test"))]
    assert [LeafKind.Name(line.kind) for line in lines] == ["LEAF_KIND_RECORD", "LEAF_KIND_READ"]
    assert (lines[0].private.officer, lines[0].private.subject) == ("analyst", put.case.case_id)
    assert lines[1].private.officer == "auditor"
    assert [line.index for line in lines] == [before, before + 1]
    book.verify()
