"""The duty roster at the desk: who is on call, who may change it, and what nobody may put there."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from node.cli.parts import Parts
from node.cli.serving import running
from node.store.duty_tables import contacts
from node.wire.duty_pb2 import (
    ContactOf,
    ListPagesRequest,
    ListTurnsRequest,
    SetContactRequest,
    SetTurnRequest,
    ShowDutyRequest,
    SwapTurnRequest,
    Turn,
)
from node.wire.duty_pb2_grpc import DutyStub
from tests.desk.support import Status, lines_since, refused
from tests.federation.support import Book
from tests.world import DAY_US, FOCAL, World, now_us

if TYPE_CHECKING:
    from node.wire.duty_pb2_grpc import DutyAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR_US = DAY_US // 24


class Office:
    """One country's node and its desk."""

    def __init__(self, world: World, node: Parts) -> None:
        self.world, self.node, self.place = world, node, world["MX"]

    @asynccontextmanager
    async def desk(self, officer: str) -> "AsyncIterator[DutyAsyncStub]":
        async with self.place.desk_channel(officer) as channel:
            yield DutyStub(channel)

    async def set(self, begin_us: int, end_us: int, *officers: str, by: str = "supervisor") -> Turn:
        async with self.desk(by) as stub:
            request = SetTurnRequest(from_us=begin_us, until_us=end_us, officers=officers)
            return (await stub.SetTurn(request)).turn

    async def turns(self, since_us: int = 0) -> list[tuple[str, int, int]]:
        async with self.desk("analyst") as stub:
            found = (await stub.ListTurns(ListTurnsRequest(since_us=since_us))).turns
        return [(" ".join(turn.officers), turn.from_us, turn.until_us) for turn in found]

    @property
    def book(self) -> Book:
        return Book(self.place, self.world)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    world = World.make(tmp_path_factory.mktemp("duty"), ("GT", "MX"))
    async with AsyncExitStack() as stack:
        yield Office(world, await stack.enter_async_context(running(world["MX"].config)))


async def test_the_turn_that_was_set_last_counts_and_leaves_the_rest_of_the_one_below(office: Office) -> None:
    start = now_us() + DAY_US
    week = await office.set(start, start + 7 * DAY_US, *FOCAL)
    day = await office.set(start + DAY_US, start + 2 * DAY_US, "focal", by="focal-1")
    assert await office.turns() == [
        ("focal-1 focal-2", start, start + DAY_US),
        ("focal", start + DAY_US, start + 2 * DAY_US),
        ("focal-1 focal-2", start + 2 * DAY_US, start + 7 * DAY_US),
    ]
    async with office.desk("focal-2") as stub:
        # A deputy changes places; the day that was set over the week stays.
        await stub.SwapTurn(SwapTurnRequest(turn_id=week.turn_id, officer="focal-1", stand_in="focal-2"))
        assert [names for names, _, _ in await office.turns()] == ["focal-2 focal-1", "focal", "focal-2 focal-1"]
        await stub.SwapTurn(SwapTurnRequest(turn_id=day.turn_id, officer="focal", stand_in="focal-1"))
        assert [names for names, _, _ in await office.turns()] == ["focal-2 focal-1", "focal-1", "focal-2 focal-1"]
        again = SwapTurnRequest(turn_id=day.turn_id, officer="focal", stand_in="focal-1")
        await refused(stub.SwapTurn(again), Status.NOT_FOUND)


async def test_everybody_reads_who_is_on_duty_and_auditors_neither_names_nor_numbers(office: Office) -> None:
    now = now_us()
    await office.set(now - HOUR_US, now + HOUR_US, *FOCAL)
    async with office.desk("supervisor") as stub:
        contact = ContactOf(officer="focal-1", email="one@duty.example", telephone="+52 55 5555 0101")
        await stub.SetContact(SetContactRequest(contact=contact))
    for officer in ("analyst", "focal-2", "supervisor", "administrator"):
        async with office.desk(officer) as stub:
            shown = await stub.ShowDuty(ShowDutyRequest())
        assert list(shown.turn.officers) == list(FOCAL)
        assert shown.turn.from_us >= now, "what is past does not change"
        assert [each.telephone for each in shown.contacts] == ["+52 55 5555 0101", ""]
    async with office.desk("auditor") as stub:
        shown = await stub.ShowDuty(ShowDutyRequest())
        assert all(name.startswith("masked-") for name in shown.turn.officers)
        assert not shown.contacts
        shown = await stub.ShowDuty(ShowDutyRequest(unmask="complaint 7"))
        assert (list(shown.turn.officers), list(shown.contacts)) == (list(FOCAL), [])


async def test_each_change_is_a_line(office: Office) -> None:
    before, later = office.book.size, now_us() + 100 * DAY_US
    turn = await office.set(later, later + HOUR_US, *FOCAL)
    async with office.desk("focal-1") as stub:
        await stub.SwapTurn(SwapTurnRequest(turn_id=turn.turn_id, officer="focal-2", stand_in="focal"))
        await stub.SetContact(SetContactRequest(contact=ContactOf(officer="focal-1", telephone="+52 55 5555 0102")))
    lines = [line for line in lines_since(office.book, before) if line[0] == "DUTY"]
    assert [reason for _, _, reason in lines] == ["TURN focal-1 focal-2", "SWAP focal-2 focal", "CONTACT focal-1"]


async def test_how_somebody_is_reached_is_sealed_and_forgotten(office: Office) -> None:
    async with office.desk("focal-2") as stub:
        await stub.SetContact(SetContactRequest(contact=ContactOf(officer="focal-2", email="two@duty.example")))

        def sealed() -> list[bytes]:
            with office.node.database.reading() as connection:
                query = contacts.select().where(contacts.c.officer == "focal-2")
                return [row.sealed for row in connection.execute(query)]

        (kept,) = sealed()
        assert b"two@" not in kept
        await stub.SetContact(SetContactRequest(contact=ContactOf(officer="focal-2")))
        assert not sealed()


@pytest.mark.parametrize(
    ("begin_us", "end_us", "officers"),
    [
        pytest.param(0, HOUR_US, ["analyst"], id="no focal point"),
        pytest.param(0, HOUR_US, ["nobody"], id="nobody"),
        pytest.param(0, HOUR_US, [], id="empty"),
        pytest.param(0, HOUR_US, ["focal-1", "focal-1"], id="twice"),
        pytest.param(0, HOUR_US, ["focal-1"] * 7, id="too many"),
        pytest.param(HOUR_US, HOUR_US, ["focal-1"], id="no time"),
        pytest.param(HOUR_US, 0, ["focal-1"], id="backwards"),
        pytest.param(-2 * HOUR_US, -HOUR_US, ["focal-1"], id="over"),
        pytest.param(0, 32 * DAY_US, ["focal-1"], id="too long"),
        pytest.param(400 * DAY_US, 401 * DAY_US, ["focal-1"], id="too far"),
        pytest.param(0, 1 << 62, ["focal-1"], id="for ever"),
    ],
)
async def test_a_turn_that_makes_no_sense_is_refused(
    office: Office, begin_us: int, end_us: int, officers: list[str]
) -> None:
    now = now_us()
    await refused(office.set(now + begin_us, now + end_us, *officers), Status.INVALID_ARGUMENT)


@pytest.mark.parametrize(
    "contact",
    [
        ContactOf(officer="focal-1", email="two words@duty.example"),
        ContactOf(officer="focal-1", email="one@duty.example\r\nBcc: them@evil.example"),
        ContactOf(officer="focal-1", email="one@localhost"),
        ContactOf(officer="focal-1", telephone="call me"),
        ContactOf(officer="focal-1", telephone="+" + "1" * 40),
        ContactOf(officer="analyst", email="one@duty.example"),
        ContactOf(officer="nobody", email="one@duty.example"),
    ],
)
async def test_what_is_no_way_to_reach_somebody_is_refused(office: Office, contact: ContactOf) -> None:
    async with office.desk("supervisor") as stub:
        await refused(stub.SetContact(SetContactRequest(contact=contact)), Status.INVALID_ARGUMENT)


async def test_who_may_change_what(office: Office) -> None:
    now, own = now_us(), ContactOf(officer="focal-1", email="them@duty.example")
    for officer in ("analyst", "auditor", "administrator"):
        await refused(office.set(now, now + HOUR_US, "focal-1", by=officer), Status.PERMISSION_DENIED)
        async with office.desk(officer) as stub:
            await refused(stub.SetContact(SetContactRequest(contact=own)), Status.PERMISSION_DENIED)
    async with office.desk("focal-2") as stub:
        # Whoever gets another's calls gets their work.
        await refused(stub.SetContact(SetContactRequest(contact=own)), Status.PERMISSION_DENIED)
    async with office.desk("analyst") as stub:
        await refused(stub.ListPages(ListPagesRequest()), Status.PERMISSION_DENIED)
