"""Importing through the desk: the good ones kept, the broken told by ordinal, and peers answered meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from node.wire.codes_pb2 import CRIME_TRAFFICKING
from node.wire.desk_pb2 import GetCaseRequest, ImportRequest, ImportResponse, ListCasesRequest
from node.wire.entry_pb2 import Case, Entry
from tests.desk.support import Desks, Status, asserted, refused, search
from tests.federation.support import SEEN, altered, case_record, private_of, telephone, told
from tests.peer_simulator import telephone_query
from tests.world import now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENTRIES = 5_000
PER_CASE = 10


def case(reference: str = "CASE-2") -> Case:
    return altered(case_record(), reference=reference, crimes=[CRIME_TRAFFICKING])


def good(number: int) -> ImportRequest:
    entry = asserted(telephone(f"+120255501{number:02}"))
    entry.originator = "GT"
    return ImportRequest(case=case(f"CASE-{number}"), entries=[entry])


def broken(number: int) -> ImportRequest:
    request = good(number)
    request.entries[0].telecom.telephone = "no number"
    return request


async def imported(desks: Desks, *requests: ImportRequest) -> ImportResponse:
    """The last figures, with all problems."""
    stub, together = await desks("GT"), ImportResponse()
    async for response in stub.Import(iter(requests)):
        problems = [*together.problems, *response.problems]
        together = ImportResponse(cases=response.cases, entries=response.entries, problems=problems)
    return together


async def cases_held(desks: Desks) -> int:
    return len((await (await desks("GT")).ListCases(ListCasesRequest(limit=500))).cases)


async def test_the_good_ones_are_kept_and_the_broken_told_by_ordinal(desks: Desks) -> None:
    book, held = desks.book("GT"), await cases_held(desks)
    before = book.size
    stream = [good(10), broken(11), good(12), ImportRequest(), good(14)]
    response = await imported(desks, *stream)
    assert (response.cases, response.entries) == (3, 3)
    assert [problem.message for problem in response.problems] == [1, 3]
    assert "Telecom.telephone: " in response.problems[0].reason
    assert not [problem for problem in response.problems if "no number" in problem.reason]
    assert await cases_held(desks) == held + 3
    lines = [line for line in book.lines(before) if told(line)[0] == "RECORD"]
    assert [told(line) for line in lines] == [("RECORD", "", "IMPORT")] * 3
    assert [private_of(line).case_reference for line in lines] == ["CASE-10", "CASE-12", "CASE-14"]
    assert {private_of(line).officer for line in lines} == {"analyst"}


async def test_atomic_keeps_nothing_where_one_is_broken(desks: Desks) -> None:
    book, held = desks.book("GT"), await cases_held(desks)
    before = book.size
    first = good(20)
    first.atomic = True
    response = await imported(desks, first, good(21), broken(22))
    assert (response.cases, response.entries) == (0, 0)
    assert [problem.message for problem in response.problems] == [2]
    assert await cases_held(desks) == held
    assert [told(line) for line in book.lines(before)] == [("READ", "", "CASES")]  # this test's own look
    response = await imported(desks, first, good(21))
    assert (response.cases, response.entries, len(response.problems)) == (2, 2, 0)


async def test_an_import_of_nothing_says_so(desks: Desks) -> None:
    assert await imported(desks) == ImportResponse()


async def test_a_message_that_is_too_large_ends_the_import(desks: Desks) -> None:
    stub = await desks("GT")
    huge = good(30)
    huge.entries[0].telecom.holder_name = "x" * 5_000_000
    responses = stub.Import(iter([huge]))
    await refused(anext(aiter(responses)), Status.RESOURCE_EXHAUSTED)
    assert (await imported(desks, good(31))).cases == 1


def many() -> Iterator[ImportRequest]:
    for number in range(ENTRIES // PER_CASE):
        entries = [_many(number * PER_CASE + each) for each in range(PER_CASE)]
        yield ImportRequest(case=case(f"MANY-{number}"), entries=entries)


def _many(number: int) -> Entry:
    entry = asserted(telephone(f"+1202555{number % 10_000:04}"))
    entry.originator = "MX"
    return entry


async def test_peers_are_answered_while_five_thousand_entries_come(desks: Desks) -> None:
    analyst = await desks("MX")
    started = now_us()

    async def take() -> ImportResponse:
        last = ImportResponse()
        async for response in analyst.Import(many()):
            assert not response.problems
            last = response
        return last

    importing = asyncio.create_task(take())
    answers: list[int] = []
    asking = await desks("GT")
    while not importing.done():
        (response,) = await search(asking, telephone_query(SEEN))
        assert response.answer.hits
        answers.append(response.elapsed_us)
    kept = await importing
    assert (kept.cases, kept.entries) == (ENTRIES // PER_CASE, ENTRIES)
    assert len(answers) > 3, f"{len(answers)} answers in {(now_us() - started) / 1e6:.1f} s"
    (found,) = [each async for each in _cases(desks, "MANY-499")]
    assert len((await analyst.GetCase(GetCaseRequest(case_id=found.case_id))).entries) == PER_CASE
    desks.book("MX").verify()


async def _cases(desks: Desks, reference: str) -> AsyncIterator[Case]:
    stub, after = await desks("MX"), b""
    while listed := (await stub.ListCases(ListCasesRequest(limit=500, after=after))).cases:
        for each in listed:
            if each.reference == reference:
                yield each
        after = listed[-1].case_id
