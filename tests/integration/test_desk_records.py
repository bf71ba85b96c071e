"""Records through the desk of a node in this process, on both databases."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from node.cli.parts import Parts
from node.cli.serving import running
from node.store.ledger import verify_ledger
from node.wire import codes_pb2
from node.wire.desk_pb2 import (
    DecideChangeRequest,
    GetCaseRequest,
    GetEntryRequest,
    ImportRequest,
    ImportResponse,
    ListCasesRequest,
    ListChangesRequest,
    ListLedgerRequest,
    ListLedgerResponse,
    PutCaseRequest,
    PutEntryRequest,
)
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.entry_pb2 import Case, Entry, Link, Person, PersonName, Place, Protection, Telecom
from node.wire.ledger_pb2 import LeafKind
from tests.world import Place as Country
from tests.world import World, now_us

if TYPE_CHECKING:
    from node.wire.desk_pb2_grpc import DeskAsyncStub

RECORD, READ, WEAKENING = LeafKind.LEAF_KIND_RECORD, LeafKind.LEAF_KIND_READ, LeafKind.LEAF_KIND_WEAKENING


@dataclass
class Desk:
    place: Country
    parts: Parts

    async def lines(self) -> list[ListLedgerResponse]:
        """Lines about what officers did with records."""
        async with self.place.desk_channel("auditor") as channel:
            stub: DeskAsyncStub = DeskStub(channel)
            listed = [line async for line in stub.ListLedger(ListLedgerRequest(limit=100_000, unmask="test"))]
        return [line for line in listed if line.private.officer not in {"", "auditor"}]

    async def take(self, stub: "DeskAsyncStub", requests: Iterable[ImportRequest]) -> ImportResponse:
        """Import, and return the last figures with all problems."""
        together = ImportResponse()
        async for response in stub.Import(iter(requests)):
            problems = [*together.problems, *response.problems]
            together = ImportResponse(cases=response.cases, entries=response.entries, problems=problems)
        return together


@pytest.fixture
async def desk(tmp_path: Path, empty_url: str) -> AsyncIterator[Desk]:
    world = World.make(tmp_path / "world", ("GT", "MX"), databases={"GT": empty_url})
    async with running(world["GT"].config) as parts:
        yield Desk(world["GT"], parts)


@pytest.fixture
async def stub(desk: Desk) -> AsyncIterator["DeskAsyncStub"]:
    async with desk.place.desk_channel() as channel:
        yield DeskStub(channel)


def case(reference: str = "C-1") -> Case:
    return Case(reference=reference, title="Invented", crimes=[codes_pb2.CRIME_TRAFFICKING], open=True)


def telephone(number: str) -> Entry:
    return Entry(telecom=Telecom(telephone=number), invented=True)


def requests(count: int, entries: int = 2) -> list[ImportRequest]:
    return [
        ImportRequest(case=case(f"I-{at}"), entries=[telephone(f"+502000{at:04d}{each}") for each in range(entries)])
        for at in range(count)
    ]


async def test_records_are_written_read_and_weakened_with_a_line_for_each(desk: Desk, stub: "DeskAsyncStub") -> None:
    kept = (await stub.PutCase(PutCaseRequest(case=case()))).case
    assert kept.unit == "UNIT-1"
    person = Entry(
        case_id=kept.case_id,
        roles=[codes_pb2.ROLE_VICTIM],
        protection=Protection(origins=["HN"]),
        person=Person(names=[PersonName(full="Ana Inventada")]),
    )
    entry = (await stub.PutEntry(PutEntryRequest(entry=person))).entry
    assert (entry.originator, entry.revision, entry.protection.origins_by.officer) == ("GT", 1, "analyst")
    assert (await stub.GetEntry(GetEntryRequest(entry_id=entry.entry_id))).entry == entry
    assert list((await stub.GetCase(GetCaseRequest(case_id=kept.case_id))).entries) == [entry]
    assert list((await stub.ListCases(ListCasesRequest())).cases) == [kept]

    entry.protection.ClearField("origins")
    response = await stub.PutEntry(PutEntryRequest(entry=entry, reason="entered twice"))
    assert list(response.weakened) == ["protection.origins"]
    (waiting,) = (await stub.ListChanges(ListChangesRequest())).changes
    assert waiting.change_id == response.pending_change
    async with desk.place.desk_channel("second") as channel:
        second: DeskAsyncStub = DeskStub(channel)
        decided = await second.DecideChange(DecideChangeRequest(change_id=waiting.change_id, confirm=True))
    assert not decided.entry.protection.origins

    lines = await desk.lines()
    assert [(line.kind, line.private.reason) for line in lines] == [
        (RECORD, "CASE"),
        (RECORD, "ENTRY"),
        (READ, "ENTRY"),
        (READ, "CASE"),
        (READ, "CASES"),
        (WEAKENING, "PROPOSED"),
        (READ, "CHANGES"),
        (WEAKENING, "CONFIRMED"),
        (RECORD, "ENTRY"),
    ]
    assert {line.private.subject for line in lines} == {kept.case_id, entry.entry_id, b""}
    assert {line.private.case_reference for line in lines} == {"C-1", ""}


async def test_a_case_is_changed_and_keeps_what_is_not_said_anew(stub: "DeskAsyncStub") -> None:
    kept = (await stub.PutCase(PutCaseRequest(case=case()))).case
    closed = Case(case_id=kept.case_id, reference="C-1", title="Closed", crimes=kept.crimes)
    changed = (await stub.PutCase(PutCaseRequest(case=closed))).case
    assert (changed.title, changed.open) == ("Closed", False)
    assert (changed.opened_us, changed.review_us) == (kept.opened_us, kept.review_us)


async def test_an_import_keeps_each_case_with_its_line(desk: Desk, stub: "DeskAsyncStub") -> None:
    kept = await desk.take(stub, requests(300))
    assert (kept.cases, kept.entries, list(kept.problems)) == (300, 600, [])
    assert [line.kind for line in await desk.lines()] == [RECORD] * 300
    with desk.parts.database.reading() as connection:
        verify_ledger(connection)


async def test_a_case_larger_than_a_change_is_kept_whole(desk: Desk, stub: "DeskAsyncStub") -> None:
    kept = await desk.take(stub, requests(1, entries=40))
    assert (kept.cases, kept.entries) == (1, 40)


async def test_entries_without_a_case_go_into_the_one_they_name(desk: Desk, stub: "DeskAsyncStub") -> None:
    kept = (await stub.PutCase(PutCaseRequest(case=case()))).case
    entry = telephone("+50200000001")
    entry.case_id = kept.case_id
    done = await desk.take(stub, [ImportRequest(entries=[entry]), ImportRequest()])
    assert (done.cases, done.entries, [problem.message for problem in done.problems]) == (0, 1, [1])
    assert len((await stub.GetCase(GetCaseRequest(case_id=kept.case_id))).entries) == 1


async def test_what_a_message_gets_wrong_is_told_by_its_ordinal(desk: Desk, stub: "DeskAsyncStub") -> None:
    sent = requests(8, entries=1)
    sent[1].case.reference = "R" * 65
    sent[2].entries[0].originator = "MX"
    sent[3].entries[0].case_id = bytes(16)
    sent[4].entries[0].links.append(Link(kind=codes_pb2.LINK_KIND_USES, to_entry_id=bytes(16)))
    sent[5].entries[0].telecom.telephone = "none"
    erased = (await stub.PutCase(PutCaseRequest(case=case("C-2")))).case
    desk.parts.exchange.answering.vault.erase_keys([erased.case_id], now_us())
    sent[6].case.case_id = erased.case_id
    done = await desk.take(stub, sent)
    assert (done.cases, done.entries) == (2, 2)
    assert {problem.message: problem.reason.partition(":")[0] for problem in done.problems} == {
        1: "reference",
        2: "originator",
        3: "case_id",
        4: "links",
        5: "enlace.v1.Telecom.telephone",
        6: "the key of this record was erased, and its id can't be used again",
    }
    assert "none" not in str(done.problems)


@pytest.mark.parametrize("late", [False, True])
async def test_an_atomic_import_is_one_change_or_none(desk: Desk, stub: "DeskAsyncStub", *, late: bool) -> None:
    sent = requests(40)
    sent[0].atomic = True
    if late:  # what only the store can tell
        sent[30].entries[0].links.append(Link(kind=codes_pb2.LINK_KIND_USES, to_entry_id=bytes(16)))
    else:
        sent[30].case.crimes[:] = []
    done = await desk.take(stub, sent)
    assert (done.cases, done.entries, [problem.message for problem in done.problems]) == (0, 0, [30])
    assert list((await stub.ListCases(ListCasesRequest())).cases) == []
    sent[30] = requests(41)[40]
    done = await desk.take(stub, sent)
    assert (done.cases, done.entries, list(done.problems)) == (40, 80, [])


async def test_an_atomic_import_has_a_limit(desk: Desk, stub: "DeskAsyncStub") -> None:
    sent = requests(11, entries=1_000)
    sent[0].atomic = True
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await desk.take(stub, sent)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list((await stub.ListCases(ListCasesRequest())).cases) == []


async def test_things_inherit_whatever_an_officer_types(stub: "DeskAsyncStub") -> None:
    kept = (await stub.PutCase(PutCaseRequest(case=case()))).case
    place = Entry(
        case_id=kept.case_id,
        inherited=Protection(victim=codes_pb2.TRI_NO),
        inherited_roles=[codes_pb2.ROLE_SUSPECT],
        place=Place(name="Invented", country="GT"),
    )
    entry = (await stub.PutEntry(PutEntryRequest(entry=place))).entry
    assert not entry.HasField("inherited")
    assert not entry.inherited_roles


async def test_the_auditor_is_told_of_one_peer_or_all_and_of_no_other_word(desk: Desk) -> None:
    async with desk.place.desk_channel("auditor") as channel:
        auditor: DeskAsyncStub = DeskStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            [line async for line in auditor.ListLedger(ListLedgerRequest(peer="MX; DROP"))]
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        first = [line async for line in auditor.ListLedger(ListLedgerRequest(limit=1))]
        assert [line.index for line in first] == [0]
        assert [line async for line in auditor.ListLedger(ListLedgerRequest(peer="MX"))] == []
        looks = [line async for line in auditor.ListLedger(ListLedgerRequest(start=first[0].index, unmask="test"))]
    assert [line.private.reason for line in looks if line.private.officer == "auditor"] == [
        "LEDGER 0",
        "LEDGER 0 MX",
        "LEDGER 0 UNMASK test",
    ]
