"""Silent alarms: raised by a state of origin's question, by guesses, and by decoys; whoever asked sees a no-hit."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from node.cli.parts import Parts
from node.cli.serving import running
from node.federation.guessing import MOST_RUNS, Guessing
from node.federation.ticks import AFTER_S
from node.store import alarms
from node.store.guesses import WINDOW_US
from node.wire.alarm_pb2 import (
    ALARM_KIND_DECOY,
    ALARM_KIND_GUESSES,
    ALARM_KIND_PROTECTED,
    Alarm,
    CloseAlarmRequest,
    ListAlarmsRequest,
    ListDecoysRequest,
    PlantDecoyRequest,
)
from node.wire.codes_pb2 import EXPOSURE_JOURNALIST, LOOKUP_KIND_PLATE, LOOKUP_KIND_TELEPHONE, TRI_YES, AsylumState
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.desk_pb2 import PEER_OUTCOME_ANSWERED, GetEntryRequest, RehearsePairingRequest, SearchRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.exchange_pb2 import Answer, Query, QueryResponse, Selector
from node.wire.quota_pb2 import QUOTA_SCOPE_OFFICER, QUOTA_SCOPE_PEER
from tests.desk.support import Status, refused
from tests.federation.support import NOBODYS, Book, altered, case_record, telephone, told
from tests.federation.test_invisible import sizes
from tests.peer_simulator import channel_to, opened_answer, request, sealed_query, send, telephone_query
from tests.safeguards.support import with_protection
from tests.world import World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPORTER, SEEKER, WITNESS, FOREIGN, VICTIM = (f"+1202555{number}160" for number in range(1, 6))
DECOY = "+12025556177"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World.make(tmp_path_factory.mktemp("alarms"), ("GT", "MX"))
    entries = [
        telephone(),
        with_protection(REPORTER, exposure=EXPOSURE_JOURNALIST, origins=["GT"]),
        with_protection(SEEKER, asylum=AsylumState.ASYLUM_STATE_CLAIMED, origins=["GT"]),
        with_protection(WITNESS, witness_protection=TRI_YES, origins=["GT"]),
        with_protection(FOREIGN, asylum=AsylumState.ASYLUM_STATE_CLAIMED, origins=["BR"], origins_complete=True),
        telephone(VICTIM, victim=True),
    ]
    made["MX"].write((case_record(), entries))
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mx(world: World) -> AsyncIterator[Parts]:
    async with running(world["MX"].config) as parts:
        yield parts


async def asked(world: World, query: Query) -> tuple[Answer, dict[str, int]]:
    """What GT is answered by MX, and what anybody sees who counts bytes."""
    async with channel_to(world["MX"], world["GT"].node) as channel:
        sealed = sealed_query(world["GT"], "MX", query)
        data = await send(channel, request(sealed))
    await asyncio.sleep(5 * AFTER_S)  # until what an answer causes has begun
    return opened_answer(world, "MX", "GT", sealed, data).body.answer, sizes(QueryResponse.FromString(data).envelope)


async def raised(mx: Parts) -> list[Alarm]:
    """The alarms that are open."""
    await mx.exchange.answering.watching.look()
    return await mx.database.read(
        lambda connection: alarms.listed(connection, mx.exchange.answering.vault, closed=False, limit=100)
    )


async def closed(world: World, mx: Parts) -> None:
    """Close what is open, for the next test."""
    async with world["MX"].desk_channel("focal") as channel:
        for alarm in await raised(mx):
            await CorrespondenceStub(channel).CloseAlarm(
                CloseAlarmRequest(alarm_id=alarm.alarm_id, reason="Invented: looked into")
            )


@pytest.mark.parametrize(("number", "alarm"), [(REPORTER, 1), (SEEKER, 1), (WITNESS, 1), (FOREIGN, 0), (VICTIM, 0)])
async def test_a_state_of_origin_that_asks_about_whom_it_may_hurt_sees_a_no_hit(
    world: World, mx: Parts, number: str, alarm: int
) -> None:
    nobody = await asked(world, telephone_query(NOBODYS))
    answer, size = await asked(world, telephone_query(number))
    if alarm:
        assert (answer, size) == nobody
        assert answer == Answer()
    found = await raised(mx)
    assert [each.kind for each in found] == [ALARM_KIND_PROTECTED] * alarm
    for each in found:
        assert (each.peer, each.officer, each.unit, each.purpose) == ("GT", "analyst", "UNIT-1", "INVESTIGATE")
        assert len(each.entry_id) == 16
    await closed(world, mx)


async def test_an_alarm_is_no_line_and_closing_it_is_one(world: World, mx: Parts) -> None:
    book = Book(world["MX"], world)
    before = book.size
    await asked(world, telephone_query(NOBODYS))
    await raised(mx)
    nobody = book.size - before
    await asked(world, telephone_query(SEEKER))
    (alarm,) = await raised(mx)
    assert book.size - before - nobody == nobody == 1  # whoever counts lines learns nothing
    async with world["MX"].desk_channel("analyst") as channel:
        await refused(CorrespondenceStub(channel).ListAlarms(ListAlarmsRequest()), Status.PERMISSION_DENIED)
    async with world["MX"].desk_channel("auditor") as channel:
        stub = CorrespondenceStub(channel)
        assert list((await stub.ListAlarms(ListAlarmsRequest())).alarms) == [alarm]
        closing = CloseAlarmRequest(alarm_id=alarm.alarm_id)
        await refused(stub.CloseAlarm(closing), Status.INVALID_ARGUMENT)
        closing.reason = "Invented: a known liaison"
        assert (await stub.CloseAlarm(closing)).alarm.closed_by == "auditor"
        await refused(stub.CloseAlarm(closing), Status.INVALID_ARGUMENT)
        assert not (await stub.ListAlarms(ListAlarmsRequest())).alarms
        (kept, *_) = (await stub.ListAlarms(ListAlarmsRequest(all=True))).alarms
        assert (kept.alarm_id, kept.reason) == (alarm.alarm_id, "Invented: a known liaison")
    assert ("ALARM", "", "CLOSED Invented: a known liaison") in [told(line) for line in book.lines(before)]


async def test_what_a_crash_lost_is_raised_at_the_next_start(world: World, mx: Parts) -> None:
    await asked(world, telephone_query(REPORTER))
    watching = mx.exchange.answering.watching
    watching._seen.clear()
    assert await raised(mx) == []
    await watching.restore()
    assert len(await raised(mx)) == 1
    await watching.restore()
    assert len(await raised(mx)) == 1  # once
    await closed(world, mx)


def plates(*numbers: int) -> list[Selector]:
    return [Selector(kind=LOOKUP_KIND_PLATE, value=f"P-{number:03}BBB") for number in numbers]


async def test_numbers_asked_one_after_another_raise_an_alarm_and_cost(world: World, mx: Parts) -> None:
    key = (QUOTA_SCOPE_PEER, "GT", "INVESTIGATE")
    windows = mx.exchange.answering.watching.quotas._windows
    for number in (97, 98, 99, 100):  # across a round hundred
        await asked(world, altered(telephone_query(), selectors=plates(number)))
    assert await raised(mx) == []
    before = windows[key].in_hour
    assert (await asked(world, altered(telephone_query(), selectors=plates(102))))[0] == Answer()
    (alarm,) = await raised(mx)
    assert (alarm.kind, alarm.peer, alarm.officer, alarm.numbers) == (ALARM_KIND_GUESSES, "GT", "analyst", 5)
    assert windows[key].in_hour == before + 1 + 50
    await asked(world, altered(telephone_query(), selectors=plates(103)))
    assert len(await raised(mx)) == 1  # of one run, one
    await closed(world, mx)


async def test_guesses_at_once_by_several_officers_and_over_restarts_are_found(world: World, mx: Parts) -> None:
    telephones = [Selector(kind=LOOKUP_KIND_TELEPHONE, value=f"+52 55 5555 01{number:02}") for number in range(20)]
    await asked(world, altered(telephone_query(), selectors=telephones[:10]))
    assert [each.numbers for each in await raised(mx)] == [10]
    await closed(world, mx)

    def by(officer: str, *numbers: int) -> Query:
        query = altered(telephone_query(), selectors=plates(*numbers))
        query.asker.officer, query.asker.unit = officer, f"UNIT-{officer}"
        return query

    for at in range(0, 10, 2):  # each officer asks two, none of them near anything
        await asked(world, by(f"invented-{at}", 400 + at, 401 + at))
    assert await raised(mx) == []
    mx.exchange.answering.watching._guessing._near.clear()  # as a restart does
    await asked(world, by("invented-10", 410, 411))
    (alarm,) = await raised(mx)
    assert (alarm.kind, alarm.numbers) == (ALARM_KIND_GUESSES, 12)
    await closed(world, mx)
    for path in Path(str(mx.database.url.database)).parent.glob("enlace.db*"):
        data = path.read_bytes()
        assert b"BBB" not in data
        assert b"5555" not in data


async def test_own_officers_are_watched_too(world: World, mx: Parts) -> None:
    async with running(world["GT"].config) as gt, world["GT"].desk_channel() as channel:
        for number in range(5):
            query = altered(telephone_query(), selectors=plates(700 + number))
            search = SearchRequest(query=query, peers=["MX"], deadline_ms=5_000)
            (response,) = [each async for each in DeskStub(channel).Search(search)]
            assert response.outcome == PEER_OUTCOME_ANSWERED
        (alarm,) = await raised(gt)
        assert (alarm.kind, alarm.peer, alarm.officer) == (ALARM_KIND_GUESSES, "", "analyst")
        assert gt.asking.watching.quotas._windows[QUOTA_SCOPE_OFFICER, "analyst", "INVESTIGATE"].in_hour == 5 + 50
    await raised(mx)
    await closed(world, mx)


async def test_a_decoy_is_found_and_never_told(world: World, mx: Parts) -> None:
    nobody = await asked(world, telephone_query(NOBODYS))
    async with world["MX"].desk_channel("focal") as channel:
        report = (await DeskStub(channel).RehearsePairing(RehearsePairingRequest(peer="GT"))).report
        stub = CorrespondenceStub(channel)
        planting = PlantDecoyRequest(entry=telephone(DECOY), case_reference="CASE-77", case_title="Invented")
        decoy = (await stub.PlantDecoy(planting)).decoy
        assert list((await stub.ListDecoys(ListDecoysRequest())).decoys) == [decoy]
        again = (await DeskStub(channel).RehearsePairing(RehearsePairingRequest(peer="GT"))).report
        assert again == report  # it leaves a decoy out
    assert await asked(world, telephone_query(DECOY)) == nobody
    (alarm,) = await raised(mx)
    assert (alarm.kind, alarm.peer, alarm.officer, alarm.entry_id) == (
        ALARM_KIND_DECOY,
        "GT",
        "analyst",
        decoy.entry_id,
    )
    await closed(world, mx)

    # The unit sees an entry like any other, and nothing tells it apart; nor does SQL.
    async with world["MX"].desk_channel("analyst") as channel:
        shown = (await DeskStub(channel).GetEntry(GetEntryRequest(entry_id=decoy.entry_id))).entry
        assert (shown.telecom.telephone, shown.unit) == (DECOY, "UNIT-1")
        await refused(CorrespondenceStub(channel).ListDecoys(ListDecoysRequest()), Status.PERMISSION_DENIED)
        await refused(CorrespondenceStub(channel).PlantDecoy(planting), Status.PERMISSION_DENIED)
    async with world["MX"].desk_channel("auditor") as channel:
        await refused(CorrespondenceStub(channel).ListDecoys(ListDecoysRequest()), Status.PERMISSION_DENIED)
    with sqlite3.connect(str(mx.database.url.database)) as connection:
        rows = connection.execute("SELECT decoy_id, sealed FROM decoys").fetchall()
    assert len(rows) == 1
    assert decoy.entry_id not in b"".join(rows[0])


async def test_a_decoy_stays_one_over_a_restart(world: World, mx: Parts) -> None:
    mx.exchange.answering.watching.decoys = frozenset()
    await mx.exchange.answering.watching.restore()
    await raised(mx)
    await closed(world, mx)
    assert (await asked(world, telephone_query(DECOY)))[0] == Answer()
    assert [each.kind for each in await raised(mx)] == [ALARM_KIND_DECOY]


def guesses(guessing: Guessing, *values: str, at_us: int = 0, officer: str = "a") -> int:
    query = altered(telephone_query(), selectors=[Selector(kind=LOOKUP_KIND_PLATE, value=value) for value in values])
    query.asker.officer = officer
    grown = guessing.remember(query, "GT", "GT", at_us or now_us())
    return max(map(guessing.length, grown), default=0)


async def test_what_is_near_and_what_is_not() -> None:
    guessing = Guessing(bytes(32))
    assert guesses(guessing, "P-101BBB", "P-301BBB", "P-101CCC", "M-101BBB", "P-1010BBB") == 0
    assert guesses(guessing, "P-101BBB") == 0  # the same again
    assert guesses(guessing, "P-150BBB") == 2
    assert guesses(guessing, "P-102BBB", at_us=now_us() + WINDOW_US + 1) == 0  # a day later
    assert guesses(guessing, "?", "", "x" * 600) == 0
    guessing = Guessing(bytes(32))
    for number in range(0, 2_000_000, 200):
        guesses(guessing, f"Q-{number:08}BBB", officer=f"o{number}")
    assert len(guessing._near) == MOST_RUNS
    assert guesses(guessing, *(f"R-{number:03}BBB" for number in range(20))) == 20
    assert guesses(guessing, *(f"R-{number:03}BBB" for number in range(20, 40))) == 32  # no more are told apart
    assert guesses(guessing, *(f"R-{number:03}BBB" for number in range(40, 50))) == 0
