"""Quotas: what a peer may ask, and an officer; told where one is used up, raised for a time, counted over restarts."""

import grpc
import pytest
from sqlalchemy import Connection

from node.cli.serving import running
from node.errors import DayQuotaError, QuotaError
from node.federation.quotas import Quotas
from node.policy.quotas import HOUR_US, HOURS, MAIL, Quota, floor_of
from node.store import quotas
from node.wire.codes_pb2 import (
    CRIME_CORRUPTION,
    PURPOSE_MISSING_SEARCH,
    PURPOSE_PREVENT,
    ROLE_OFFICIAL_SUSPECT,
    ROLE_VICTIM,
)
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.desk_pb2 import PEER_OUTCOME_ANSWERED, PEER_OUTCOME_REFUSED, SearchRequest, SearchResponse
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.exchange_pb2 import Query
from node.wire.ledger_pb2 import DIRECTION_SENT, LeafKind
from node.wire.quota_pb2 import (
    QUOTA_SCOPE_OFFICER,
    QUOTA_SCOPE_PEER,
    QUOTA_SCOPE_UNIT,
    ListQuotasRequest,
    RaiseQuotaRequest,
)
from tests.desk.support import Status, life_query, refused
from tests.federation.support import NOBODYS, Book, altered, private_of, told
from tests.peer_simulator import telephone_query
from tests.world import DAY_US, World, now_us

GT = (QUOTA_SCOPE_PEER, "GT", "INVESTIGATE")


async def ask(world: World, query: Query | None = None) -> SearchResponse:
    async with world["GT"].desk_channel() as channel:
        request = SearchRequest(query=query or telephone_query(NOBODYS), peers=["MX"], deadline_ms=5_000)
        (response,) = [each async for each in DeskStub(channel).Search(request)]
        return response


async def raise_quota(world: World, code: str, **values: object) -> None:
    made: dict[str, object] = {
        "per_hour": 5_000,
        "per_day": 50_000,
        "until_us": now_us() + DAY_US,
        "reason": "Invented",
    }
    async with world[code].desk_channel("focal") as channel:
        await CorrespondenceStub(channel).RaiseQuota(RaiseQuotaRequest(**(made | values)))  # type: ignore[arg-type]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_peer_is_told_which_quota_is_used_up_and_a_life_has_its_own(world: World) -> None:
    hour = now_us() // HOUR_US
    async with running(world["GT"].config), running(world["MX"].config) as mx:
        assert (await ask(world)).outcome == PEER_OUTCOME_ANSWERED
        mx.exchange.answering.watching.quotas.charge(GT, now_us(), floor_of(QUOTA_SCOPE_PEER, "INVESTIGATE").per_hour)
        book = Book(world["MX"], world)
        before = book.size
        response = await ask(world)
        assert response.outcome == PEER_OUTCOME_REFUSED
        quota = response.answer.quota
        assert (quota.what, quota.hours, quota.limit) == ("INVESTIGATE", 1, 2_000)
        assert quota.renews_us in {(hour + 1) * HOUR_US, (hour + 2) * HOUR_US}
        assert "the quota of 2000 INVESTIGATE an hour is used up: it renews at " in response.detail
        (line,) = [each for each in book.lines(before) if each.shared.kind == LeafKind.LEAF_KIND_ANSWERED]
        assert (line.shared.direction, private_of(line).reason) == (DIRECTION_SENT, "QUOTA")
        # Another purpose, and a life in danger, are asked on.
        assert (await ask(world, altered(telephone_query(NOBODYS), purpose=PURPOSE_PREVENT))).answer.quota.what == ""
        assert (await ask(world, life_query(NOBODYS))).outcome == PEER_OUTCOME_ANSWERED
        await mx.exchange.answering.watching.look()

    async with running(world["GT"].config), running(world["MX"].config):  # it survives a restart
        assert (await ask(world)).answer.quota.what == "INVESTIGATE"
        before = book.size
        await raise_quota(world, "MX", scope=QUOTA_SCOPE_PEER, who="GT", what="INVESTIGATE")
        assert (await ask(world)).outcome == PEER_OUTCOME_ANSWERED
        assert ("QUOTA", "", "RAISED p: Invented") in [told(line) for line in book.lines(before)]
        async with world["MX"].desk_channel("auditor") as channel:
            listed = (await CorrespondenceStub(channel).ListQuotas(ListQuotasRequest())).quotas
        (state,) = [each for each in listed if (each.scope, each.who, each.what) == GT]
        assert (state.per_hour, state.per_day, state.raised_by, state.reason) == (5_000, 50_000, "focal", "Invented")
        assert state.in_hour >= 2_001 or now_us() // HOUR_US > hour
        assert {each.what for each in listed if not each.who} >= {"LIFE", "INVESTIGATE", "share"}


@pytest.mark.asyncio(loop_scope="module")
async def test_what_an_officer_asks_beyond_the_quota_does_not_leave(world: World) -> None:
    async with running(world["GT"].config) as gt:
        key = (QUOTA_SCOPE_OFFICER, "analyst", "INVESTIGATE")
        gt.asking.watching.quotas.charge(key, now_us(), 3_000)
        book = Book(world["GT"], world)
        before = book.size
        async with world["GT"].desk_channel() as channel:
            request = SearchRequest(query=telephone_query(NOBODYS), peers=["MX"], deadline_ms=2_000)
            call = DeskStub(channel).Search(request)
            words = "officer analyst: the quota of 3000 INVESTIGATE a day is used up: it renews at 00:00 UTC"
            await refused(anext(aiter(call)), Status.RESOURCE_EXHAUSTED, words)
            stub = CorrespondenceStub(channel)
            raising = RaiseQuotaRequest(scope=QUOTA_SCOPE_OFFICER, who="analyst", what="INVESTIGATE")
            await refused(stub.RaiseQuota(raising), Status.PERMISSION_DENIED)
        assert ("DENIED", "", "DayQuotaError") in [told(line) for line in book.lines(before)]


WRONG: tuple[dict[str, object], ...] = (
    {"who": "gt"},
    {"what": "WEATHER"},
    {"per_hour": 10},
    {"until_us": 1},
    {"until_us": now_us() + 40 * DAY_US},
    {"reason": ""},
    {"reason": "x" * 41},
    {"scope": QUOTA_SCOPE_UNIT, "what": "share"},
    {"per_hour": 60_000},
)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_raise_that_is_none_is_refused(world: World) -> None:
    right: dict[str, object] = {"scope": QUOTA_SCOPE_PEER, "who": "GT", "what": "INVESTIGATE"}
    async with running(world["MX"].config):
        for wrong in WRONG:
            await refused(raise_quota(world, "MX", **(right | wrong)), Status.INVALID_ARGUMENT)


def test_counts_of_several_processes_meet() -> None:
    one, other, at = Quotas(), Quotas(), 5 * HOUR_US
    assert one.spend(GT, at, 7) is None
    assert other.spend(GT, at, 5) is None
    written = dict(one.take())
    for key, count in other.take().items():
        written[key] = written.get(key, 0) + count
    assert written == {(5, GT): 12}
    for each in (one, other):
        each.follow({GT: (12, 12)}, {}, at)
    one.follow({GT: (12, 12)}, {GT: Quota(13, 100)}, at)
    assert one.spend(GT, at) is None
    reached = one.spend(GT, at)
    assert reached is not None
    assert (reached.hours, reached.renews_us) == (1, 6 * HOUR_US)
    assert one.spend(GT, at + HOUR_US) is None  # of the next hour
    assert one.take() == {(5, GT): 1, (6, GT): 1}


def test_what_could_not_be_written_is_not_forgotten() -> None:
    counting, at = Quotas(), 5 * HOUR_US
    counting.spend(GT, at, 7)
    taken = counting.take()
    counting.give_back(taken)
    counting.follow({GT: (1, 1)}, {}, at)
    assert counting.take() == taken


def test_the_day_is_used_up_before_the_hour() -> None:
    counting = Quotas()
    floor = floor_of(*GT[::2])
    for hour in range(floor.per_day // floor.per_hour):
        assert counting.spend(GT, (hour % HOURS) * HOUR_US, floor.per_hour) is None
    last = floor.per_day // floor.per_hour
    reached = counting.spend(GT, last * HOUR_US)
    assert reached is not None
    assert (reached.hours, reached.renews_us) == (HOURS, HOURS * HOUR_US)


def test_mail_of_a_peer_is_counted_where_it_is_received(world: World) -> None:
    counted: list[str] = []

    def change(connection: Connection) -> None:
        at, kind = 1_000 * HOUR_US, "alert"
        for number in range(MAIL[kind].per_hour):
            quotas.take_mail(connection, "GT", kind, at + number)
        with pytest.raises(QuotaError, match="500 alert an hour is used up"):
            quotas.take_mail(connection, "GT", kind, at)
        quotas.take_mail(connection, "US", kind, at)
        quotas.take_mail(connection, "GT", "share", at)
        quotas.add(connection, {(1_001, (QUOTA_SCOPE_PEER, "GT", kind)): MAIL[kind].per_day})
        with pytest.raises(DayQuotaError):
            quotas.take_mail(connection, "GT", kind, 1_001 * HOUR_US)
        counted.append(kind)

    world["MX"].change(change)
    assert counted == ["alert"]


@pytest.mark.asyncio(loop_scope="module")
async def test_who_may_betray_by_asking_is_shown_who_would_see_what(world: World) -> None:
    sees = "selectors, purpose, crimes, urgency, asker, case_reference, instrument"

    def words(may: str) -> str:
        return (
            "choose the peers: asking about a victim, a missing person or an official may itself betray them. "
            f"Those that may be asked are {may}; each that you choose sees these of the query: {sees}"
        )

    delicate = [
        SearchRequest(query=altered(telephone_query(NOBODYS), purpose=PURPOSE_MISSING_SEARCH)),
        SearchRequest(query=altered(telephone_query(NOBODYS), crimes=[CRIME_CORRUPTION])),
        SearchRequest(query=telephone_query(NOBODYS), about=[ROLE_OFFICIAL_SUSPECT]),
        SearchRequest(query=telephone_query(NOBODYS), about=[ROLE_VICTIM]),
    ]
    async with running(world["GT"].config), world["GT"].desk_channel() as channel:
        stub, book = DeskStub(channel), Book(world["GT"], world)
        before = book.size
        for search in delicate:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await anext(aiter(stub.Search(search)))
            assert caught.value.code() == Status.INVALID_ARGUMENT
            # What this country's own rules let nobody be asked, nobody is.
            assert caught.value.details() in {words("MX, US"), words("none")}
        assert caught.value.details() == words("MX, US")
        assert [line for line in book.lines(before) if line.shared.peer] == []  # nobody was asked
        delicate[2].peers.append("MX")
        (response,) = [each async for each in stub.Search(delicate[2])]
        assert response.peer == "MX"
        assert private_of(book.lines(before)[-1]).reason == "PEER_OUTCOME_UNREACHABLE"
