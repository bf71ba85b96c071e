"""A person's request about their own data: its way, the report for review, and that each step and look is a line."""

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message_factory import GetMessageClass

from node.wire import subject_pb2 as wire
from node.wire.codes_pb2 import LINK_KIND_USES, LOOKUP_KIND_NAME, LOOKUP_KIND_TELEPHONE, ROLE_SUSPECT
from node.wire.entry_pb2 import Entry, Link, Person, PersonName
from node.wire.exchange_pb2 import Selector
from node.wire.subject_pb2_grpc import SubjectsStub
from tests.desk.support import Desks, Status, asserted, lines_since, refused, search
from tests.desk.test_every_method import called, methods
from tests.federation.support import altered, case_record, private_of, protection, telephone
from tests.federation.test_questions import BASIS
from tests.peer_simulator import telephone_query
from tests.world import DAY_US, World, now_us

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from node.wire.subject_pb2_grpc import SubjectsAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER, OTHERS, UNRELATED = "+12025550171", "+12025550172", "+12025550173"
NAME = "Invented Maria Lopez"


def person(name: str, *numbers: str, **changes: object) -> Entry:
    entry = telephone()
    entry.ClearField("telecom")
    entry.person.CopyFrom(Person(names=[PersonName(full=name)], telephones=numbers))
    entry.roles[:] = [ROLE_SUSPECT]
    entry.protection.CopyFrom(protection(**changes))
    return asserted(entry)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """MX has a person with a telephone, another case with a person who shares a number, and an unrelated one."""
    world = World.make(tmp_path_factory.mktemp("petitions"), ("GT", "MX"))
    phone = asserted(telephone(NUMBER))
    phone.entry_id = secrets.token_bytes(16)
    them = person(NAME, NUMBER)
    them.links.append(Link(kind=LINK_KIND_USES, to_entry_id=phone.entry_id))
    them.entry_id = secrets.token_bytes(16)
    world["MX"].write((case_record(), [phone, them, asserted(telephone(UNRELATED))]))
    world["MX"].write((altered(case_record(), reference="CASE-2"), [person("Invented Other", OTHERS)]))
    return world


@asynccontextmanager
async def subjects(world: World, officer: str = "focal", code: str = "MX") -> "AsyncIterator[SubjectsAsyncStub]":
    async with world[code].desk_channel(officer) as channel:
        yield SubjectsStub(channel)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def focal(desks: Desks) -> "AsyncIterator[SubjectsAsyncStub]":
    async with subjects(desks.world) as stub:
        yield stub


def registration(
    kind: wire.PetitionKind.ValueType = wire.PETITION_KIND_ACCESS, **changes: object
) -> wire.RegisterPetitionRequest:
    request = wire.RegisterPetitionRequest(
        number=f"HD-{secrets.token_hex(4)}",
        kind=kind,
        due_us=now_us() + 20 * DAY_US,
        selectors=[Selector(kind=LOOKUP_KIND_TELEPHONE, value=NUMBER), Selector(kind=LOOKUP_KIND_NAME, value=NAME)],
    )
    return altered(request, **changes)


async def registered(
    focal: "SubjectsAsyncStub", kind: wire.PetitionKind.ValueType = wire.PETITION_KIND_ACCESS, **changes: object
) -> wire.Petition:
    return (await focal.RegisterPetition(registration(kind, **changes))).petition


async def step(focal: "SubjectsAsyncStub", petition: wire.Petition, event: str, **more: object) -> wire.Petition:
    request = wire.StepPetitionRequest(
        petition_id=petition.petition_id, event=wire.PetitionEvent.Value(f"PETITION_EVENT_{event}")
    )
    return (await focal.StepPetition(altered(request, **more))).petition


async def under_review(focal: "SubjectsAsyncStub", kind: wire.PetitionKind.ValueType, *entries: bytes) -> wire.Petition:
    petition = await registered(focal, kind)
    await step(focal, petition, "CHECK_IDENTITY")
    return await step(focal, petition, "REVIEW", entry_ids=entries)


async def report(
    focal: "SubjectsAsyncStub", petition: wire.Petition, **more: object
) -> tuple[list[wire.ReportItem], wire.ReportSummary, int]:
    items, summary, progress = list[wire.ReportItem](), wire.ReportSummary(), 0
    request = altered(wire.ReportPetitionRequest(petition_id=petition.petition_id), **more)
    async for response in focal.ReportPetition(request):
        if response.HasField("item"):
            items.append(response.item)
        elif response.HasField("summary"):
            summary = response.summary
        else:
            progress += 1
    return items, summary, progress


def of_kind(items: list[wire.ReportItem], kind: str) -> list[wire.ReportItem]:
    return [each for each in items if each.kind == wire.ReportItemKind.Value(f"REPORT_ITEM_KIND_{kind}")]


# --- the report ------------------------------------------------------------------------------------------------------


async def test_the_report_has_what_is_held_who_asked_and_who_got_it(desks: Desks, focal: "SubjectsAsyncStub") -> None:
    by_name = Selector(kind=LOOKUP_KIND_NAME, value="MARÍA LÓPEZ, Invented", birth_year=1990)
    await search(await desks("GT"), telephone_query(NUMBER), "MX")
    await search(await desks("GT"), telephone_query(UNRELATED), "MX")
    await search(await desks("GT"), altered(telephone_query(), selectors=[by_name], person_basis=BASIS), "MX")
    await search(await desks("MX"), telephone_query(NUMBER.replace("+1", "+1 ")), "GT")
    petition, book = await registered(focal), desks.book("MX")
    before = book.size
    items, summary, progress = await report(focal, petition)
    own = of_kind(items, "OWN_ENTRY")
    assert {each.entry.WhichOneof("entity") for each in own} == {"person", "telecom"}
    assert {each.suggested for each in own} == {wire.TELLING_INVESTIGATION}  # their case is open
    assert not of_kind(items, "POSSIBLE_DUPLICATE")
    asked = of_kind(items, "ASKED_BY_PEER")
    assert {each.peer for each in asked} == {"GT"}
    assert len(asked) in {1, 2}  # a name in another order may or may not be the person's
    assert [each.peer for each in of_kind(items, "ASKED_BY_US")] == ["GT"]
    released = of_kind(items, "RELEASED")
    assert {each.entry_id for each in released} <= {each.entry_id for each in own}
    assert {each.peer for each in released} == {"GT"}
    assert all(each.released.rules and each.released.rulebooks for each in released)
    assert all(each.officer.startswith("masked-") for each in [*asked, *released])
    assert summary.queries == 4
    assert (summary.unreadable_queries, summary.unreadable_answers, summary.erased_entries) == (0, 0, 0)
    assert summary.officer == "focal"
    assert progress > 0
    said = lines_since(book, before)
    assert said[0] == ("READ", "", "PETITION REPORT")
    read = [private_of(line) for line in book.lines(before)][1:]
    assert {each.subject for each in read} >= {each.entry_id for each in own}
    assert {(each.officer, each.case_reference) for each in read} == {("focal", petition.number)}


async def test_what_is_named_is_enough_and_brings_its_links_and_possible_duplicates(
    desks: Desks, focal: "SubjectsAsyncStub"
) -> None:
    first, *_ = of_kind((await report(focal, await registered(focal)))[0], "OWN_ENTRY")
    phone = next(
        each.entry_id
        for each in of_kind((await report(focal, await registered(focal)))[0], "OWN_ENTRY")
        if each.entry.HasField("telecom")
    )
    del first
    petition = await registered(focal, selectors=[], entry_ids=[phone])
    items, _, _ = await report(focal, petition)
    assert [each.entry_id for each in of_kind(items, "OWN_ENTRY")] == [phone]
    (linked,) = of_kind(items, "LINKED_ENTRY")
    assert (list(linked.links), linked.suggested) == ([LINK_KIND_USES], wire.TELLING_THIRD_PERSON)
    assert of_kind(items, "ASKED_BY_PEER"), "queries for what the entry is found by are about the person too"
    del desks


async def test_a_period_leaves_out_what_was_logged_outside(focal: "SubjectsAsyncStub") -> None:
    petition = await registered(focal)
    items, summary, _ = await report(focal, petition, until_us=1_000)
    assert not of_kind(items, "ASKED_BY_PEER")
    assert not of_kind(items, "RELEASED")
    assert summary.queries == 0
    await refused(report(focal, petition, since_us=5, until_us=3), Status.INVALID_ARGUMENT)


async def test_who_decides_what_is_told_is_kept_with_the_item(desks: Desks, focal: "SubjectsAsyncStub") -> None:
    petition, book = await registered(focal), desks.book("MX")
    item = (await report(focal, petition))[0][0]
    before = book.size
    mark = wire.MarkItemRequest(
        petition_id=petition.petition_id, reference=item.reference, telling=wire.TELLING_THIRD_PERSON, words="a sister"
    )
    await focal.MarkItem(mark)
    assert lines_since(book, before) == [("RECORD", "", "PETITION TELLING_THIRD_PERSON")]
    again = (await report(focal, petition))[0][0]
    assert (again.mark.telling, again.mark.officer, again.mark.words) == (
        wire.TELLING_THIRD_PERSON,
        "focal",
        "a sister",
    )
    await focal.MarkItem(altered(mark, telling=wire.TELLING_TOLD))
    whole = (await focal.GetPetition(wire.GetPetitionRequest(petition_id=petition.petition_id))).petition
    assert [each.telling for each in whole.marks] == [wire.TELLING_TOLD]
    await refused(focal.MarkItem(altered(mark, telling=wire.TELLING_UNKNOWN)), Status.INVALID_ARGUMENT)


# --- its way ---------------------------------------------------------------------------------------------------------


async def test_every_step_is_a_line_of_a_record_like_any_other(desks: Desks, focal: "SubjectsAsyncStub") -> None:
    book = desks.book("MX")
    before = book.size
    petition = await registered(focal)
    await step(focal, petition, "CHECK_IDENTITY")
    await step(focal, petition, "EXTEND", law="Ley, art. 9", words="many files", due_us=petition.due_us + DAY_US)
    await step(focal, petition, "REVIEW")
    await step(focal, petition, "ANSWER")
    await step(focal, petition, "REVIEW", words="on appeal")
    await step(focal, petition, "REFUSE", ground=wire.PETITION_GROUND_SAFETY, law="Ley, art. 12", words="a source")
    closed = await step(focal, petition, "CLOSE")
    events = ["ACCESS", "CHECK_IDENTITY", "EXTEND", "REVIEW", "ANSWER", "REVIEW", "REFUSE", "CLOSE"]
    assert lines_since(book, before) == [("RECORD", "", f"PETITION {event}") for event in events]
    said = [private_of(line) for line in book.lines(before)]
    assert {(each.officer, each.subject, each.case_reference) for each in said} == {
        ("focal", petition.petition_id, petition.number)
    }
    assert closed.due_us == petition.due_us + DAY_US
    assert closed.state == wire.PETITION_STATE_CLOSED
    assert [each.event for each in closed.steps][-1] == wire.PETITION_EVENT_CLOSE


@pytest.mark.parametrize(
    ("event", "more", "words"),
    [
        ("REVIEW", {}, "can't be reviewed"),
        ("ANSWER", {}, "can't be answered"),
        ("CLOSE", {}, "can't be closed"),
        ("REFUSE", {"law": "L", "words": "w"}, "ground"),
        ("REFUSE", {"ground": wire.PETITION_GROUND_SECURITY, "words": "w"}, "law"),
        ("REFUSE", {"ground": wire.PETITION_GROUND_SECURITY, "law": "L"}, "say why"),
        ("EXTEND", {"law": "L", "words": "w"}, "due"),
        ("EXTEND", {"law": "L", "words": "w", "due_us": 1}, "due"),
        ("CHECK_IDENTITY", {"ground": wire.PETITION_GROUND_SECURITY}, "ground"),
        ("UNKNOWN", {}, "event"),
    ],
)
async def test_a_step_that_the_table_or_the_law_does_not_have_changes_nothing(
    desks: Desks, focal: "SubjectsAsyncStub", event: str, more: dict[str, object], words: str
) -> None:
    petition, book = await registered(focal), desks.book("MX")
    before = book.size
    with pytest.raises(Exception, match=words):
        await step(focal, petition, event, **more)
    assert book.size == before
    whole = (await focal.GetPetition(wire.GetPetitionRequest(petition_id=petition.petition_id))).petition
    assert (whole.state, len(whole.steps)) == (wire.PETITION_STATE_RECEIVED, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": ""},
        {"number": "x" * 65},
        {"kind": wire.PETITION_KIND_UNKNOWN},
        {"selectors": []},
        {"selectors": [Selector(kind=LOOKUP_KIND_TELEPHONE, value="none")]},
        {"entry_ids": [b"short"]},
        {"due_us": 0},
        {"due_us": 2**60},
        {"received_us": 2**60},
    ],
)
async def test_what_is_no_petition_is_not_kept(focal: "SubjectsAsyncStub", changes: dict[str, object]) -> None:
    await refused(focal.RegisterPetition(registration(**changes)), Status.INVALID_ARGUMENT)  # type: ignore[arg-type]


async def test_a_number_is_one_petitions(focal: "SubjectsAsyncStub") -> None:
    petition = await registered(focal)
    await refused(registered(focal, number=petition.number), Status.INVALID_ARGUMENT)


async def test_who_handles_it_acts_and_whoever_takes_it_handles_it(desks: Desks, focal: "SubjectsAsyncStub") -> None:
    petition = await registered(focal)
    async with subjects(desks.world, "focal-1") as other:
        await refused(step(other, petition, "CHECK_IDENTITY"), Status.INVALID_ARGUMENT)
        taken = await step(other, petition, "TAKE")
        assert (taken.handler, taken.state) == ("focal-1", wire.PETITION_STATE_RECEIVED)
        await step(other, petition, "CHECK_IDENTITY")
    await refused(step(focal, petition, "REVIEW"), Status.INVALID_ARGUMENT)


async def test_two_steps_at_once_are_not_both_taken(focal: "SubjectsAsyncStub") -> None:
    petition = await registered(focal)
    done = await asyncio.gather(*[step(focal, petition, "CHECK_IDENTITY") for _ in range(2)], return_exceptions=True)
    assert sum(isinstance(each, wire.Petition) for each in done) == 1


async def test_lists_tell_nothing_of_the_person_and_auditors_see_masks(
    desks: Desks, focal: "SubjectsAsyncStub"
) -> None:
    petition = await registered(focal)
    (own,) = [
        each
        for each in (await focal.ListPetitions(wire.ListPetitionsRequest())).petitions
        if each.petition_id == petition.petition_id
    ]
    assert (own.number, own.handler, list(own.selectors)) == (petition.number, "focal", [])
    async with subjects(desks.world, "auditor") as auditor:
        listed = (await auditor.ListPetitions(wire.ListPetitionsRequest())).petitions
        assert all(each.handler.startswith("masked-") for each in listed)
        shown = (await auditor.ListPetitions(wire.ListPetitionsRequest(unmask="complaint 7"))).petitions
        assert {each.handler for each in shown} <= {"focal", "focal-1"}
        await refused(report(auditor, petition), Status.PERMISSION_DENIED)


FOCAL_ONLY = {method.name: {"focal"} for method in wire.DESCRIPTOR.services_by_name["Subjects"].methods}
MAY = {**FOCAL_ONLY, "ListPetitions": {"focal", "auditor"}}


@pytest.mark.parametrize("name", MAY)
async def test_nobody_but_the_competent_officer_has_a_part_in_it(desks: Desks, name: str) -> None:
    book, request = desks.book("MX"), GetMessageClass(methods()[f"Subjects.{name}"].input_type)()
    for role in {"analyst", "supervisor", "auditor", "administrator"} - MAY[name]:
        before = book.size
        await refused(called(desks.world["MX"], role, f"Subjects.{name}", request), Status.PERMISSION_DENIED)
        assert lines_since(book, before) == [("DENIED", "", "ROLE")]


async def test_an_empty_request_of_anything_is_refused_or_empty_and_breaks_nothing(desks: Desks) -> None:
    for name in MAY:
        request = GetMessageClass(methods()[f"Subjects.{name}"].input_type)()
        try:
            await called(desks.world["MX"], "focal", f"Subjects.{name}", request)
        except grpc.aio.AioRpcError as error:
            assert error.code() in {Status.INVALID_ARGUMENT, Status.NOT_FOUND}, name  # noqa: PT017
    desks.book("MX").verify()
