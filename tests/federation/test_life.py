"""What people do between two countries: a LIFE query that a human reads, and a protection that two officers lift."""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from node.cli.serving import running
from node.errors import NotFoundError
from node.federation.channels import ACKNOWLEDGE
from node.federation.envelope import Sealed, new_salt, seal
from node.wire.codes_pb2 import TRI_NO, TRI_YES, Urgency
from node.wire.desk_pb2 import (
    AcknowledgeLifeRequest,
    DecideChangeRequest,
    LifeNotice,
    ListCasesRequest,
    ListChangesRequest,
    ListLifeRequest,
    PeerOutcome,
    PutEntryRequest,
    SearchRequest,
    SearchResponse,
)
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.entry_pb2 import Entry
from node.wire.envelope_pb2 import StatementType
from node.wire.exchange_pb2 import Acknowledgement, AcknowledgeRequest, Answer, Body, Query
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT
from tests.federation.conftest import furnished
from tests.federation.support import (
    NOBODYS,
    SEEN,
    VICTIMS,
    Book,
    altered,
    private_of,
    protection,
    refused,
    rejected,
    telephone,
    told,
)
from tests.peer_simulator import channel_to, signer_of, telephone_query
from tests.peer_simulator import send as sent
from tests.world import World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

Status = grpc.StatusCode
MINUTE_US = 60_000_000
TELEPHONE = "+502 2411 9912"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    world = furnished(World.make(tmp_path_factory.mktemp("life")))
    async with running(world["GT"].config), running(world["MX"].config):
        yield world


def life(number: str = NOBODYS) -> Query:
    return altered(
        telephone_query(number), urgency=Urgency.URGENCY_LIFE, urgency_reason="Invented: held by kidnappers."
    )


async def searched(world: World, query: Query, *peers: str) -> list[SearchResponse]:
    async with world["GT"].desk_channel() as channel:
        search = SearchRequest(query=query, peers=peers, deadline_ms=2_000)
        return [each async for each in DeskStub(channel).Search(search)]


async def notices(world: World, code: str, exchange_id: bytes) -> LifeNotice:
    async with world[code].desk_channel() as channel:
        listed = await DeskStub(channel).ListLife(ListLifeRequest())
        (notice,) = [each for each in listed.notices if each.exchange_id == exchange_id]
        return notice


# --- LIFE ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [NOBODYS, VICTIMS, SEEN], ids=["nobody's", "a victim's", "a suspect's"])
async def test_a_life_query_tells_by_when_a_human_will_have_read_it_and_whom_to_call(nodes: World, number: str) -> None:
    before_us = now_us()
    (response,) = await searched(nodes, life(number), "MX")
    assert response.outcome == PeerOutcome.PEER_OUTCOME_ANSWERED
    assert 0 < response.acknowledge_by_us - before_us <= 15 * MINUTE_US + 5_000_000
    assert response.duty_telephone == nodes["MX"].record().duty_telephone
    assert (await notices(nodes, "MX", response.exchange_id)).direction == DIRECTION_RECEIVED
    assert (await notices(nodes, "GT", response.exchange_id)).direction == DIRECTION_SENT


async def test_a_life_query_to_a_peer_that_is_down_tells_whom_to_call_too(nodes: World) -> None:
    (response,) = await searched(nodes, life(), "US")
    assert response.outcome == PeerOutcome.PEER_OUTCOME_UNREACHABLE
    assert response.duty_telephone == nodes["US"].record().duty_telephone
    assert response.acknowledge_by_us > now_us()


async def test_a_routine_query_waits_for_nobody(nodes: World) -> None:
    (response,) = await searched(nodes, telephone_query(NOBODYS), "MX")
    assert (response.acknowledge_by_us, response.duty_telephone) == (0, "")
    assert response.answer == Answer()


async def test_that_a_human_has_read_it_is_known_and_logged_on_both_sides(nodes: World) -> None:
    (response,) = await searched(nodes, life(), "MX")
    books = {code: Book(nodes[code], nodes) for code in ("GT", "MX")}
    before = {code: book.size for code, book in books.items()}
    async with nodes["MX"].desk_channel("focal") as channel:
        acknowledge = AcknowledgeLifeRequest(exchange_id=response.exchange_id, telephone=TELEPHONE)
        at_us = (await DeskStub(channel).AcknowledgeLife(acknowledge)).acknowledged_us
    assert abs(at_us - now_us()) < 5_000_000
    for code in ("GT", "MX"):
        notice = await notices(nodes, code, response.exchange_id)
        assert (notice.acknowledged_by, notice.telephone) == ("focal", TELEPHONE)
        assert notice.acknowledged_us
    mx = books["MX"].lines(before["MX"], peer="GT")
    gt = books["GT"].lines(before["GT"], peer="MX")
    assert [told(line)[:2] for line in mx] == [("ACKNOWLEDGED", "GT"), ("RECEIVED", "GT")]
    assert [told(line)[:2] for line in gt] == [("RECEIVED", "MX")]
    # Each holds what the other signed.
    assert gt[0].shared.counterpart_signature == mx[0].signature
    assert mx[1].shared.counterpart_signature == gt[0].signature
    assert private_of(mx[0]).officer == "focal"
    for book in books.values():
        book.verify()


def acknowledging(world: World, query_id: bytes, by: str = "US", **changes: object) -> Sealed:
    content = {"exchange_id": query_id, "officer": "focal", "telephone": TELEPHONE}
    return seal(
        signer_of(world[by]),
        statement_type=StatementType.STATEMENT_TYPE_ACKNOWLEDGEMENT,
        exchange_id=b"\x01" * 15 + bytes([len(changes)]),
        recipient="GT",
        body=Body(salt=new_salt(), acknowledgement=Acknowledgement(**(content | changes))),  # type: ignore[arg-type]
        now_us=now_us(),
        directory_version=1,
    )


def as_request(sealed: Sealed) -> bytes:
    return AcknowledgeRequest(envelope=sealed.envelope).SerializeToString()


async def test_who_was_not_asked_can_not_say_that_it_was_read(nodes: World) -> None:
    (response,) = await searched(nodes, life(), "MX")
    async with channel_to(nodes["GT"], nodes["US"].node) as channel:
        call = sent(channel, as_request(acknowledging(nodes, response.exchange_id)), ACKNOWLEDGE)
        await refused(
            nodes,
            call,
            Status.NOT_FOUND,
            rejected("NotFoundError", "US"),
            words=NotFoundError.public,
            answerer="GT",
        )
    assert not (await notices(nodes, "GT", response.exchange_id)).acknowledged_us


async def test_an_acknowledgement_counts_once(nodes: World) -> None:
    (response,) = await searched(nodes, life(), "MX")
    data = as_request(acknowledging(nodes, response.exchange_id, "MX"))
    async with channel_to(nodes["GT"], nodes["MX"].node) as channel:
        assert await sent(channel, data, ACKNOWLEDGE)
        call = sent(channel, data, ACKNOWLEDGE)
        await refused(nodes, call, Status.ALREADY_EXISTS, rejected("ReplayError", "MX"), answerer="GT")


@pytest.mark.parametrize("name", ["officer", "telephone"])
async def test_an_acknowledgement_of_too_many_words_is_refused(nodes: World, name: str) -> None:
    (response,) = await searched(nodes, life(), "MX")
    sealed = acknowledging(nodes, response.exchange_id, "MX", **{name: "x" * 100})
    async with channel_to(nodes["GT"], nodes["MX"].node) as channel:
        call = sent(channel, as_request(sealed), ACKNOWLEDGE)
        await refused(nodes, call, Status.INVALID_ARGUMENT, rejected("MalformedError", "MX"), answerer="GT")


# --- protection that two officers lift -------------------------------------------------------------------------------


async def hits(world: World, number: str) -> int:
    (response,) = await searched(world, telephone_query(number), "MX")
    return len(response.answer.hits)


async def put(world: World, entry: Entry, reason: str = "") -> tuple[Entry, bytes]:
    async with world["MX"].desk_channel() as channel:
        response = await DeskStub(channel).PutEntry(PutEntryRequest(entry=entry, reason=reason))
        return response.entry, response.pending_change


async def test_one_officer_alone_discloses_nothing(nodes: World) -> None:
    number = "+12025550177"
    async with nodes["MX"].desk_channel() as channel:
        (case,) = (await DeskStub(channel).ListCases(ListCasesRequest())).cases
    entry = telephone(number)
    entry.case_id = case.case_id
    entry.protection.CopyFrom(protection(witness_protection=TRI_YES))
    stored, pending = await put(nodes, entry)
    assert not pending
    assert await hits(nodes, number) == 0
    stored.protection.witness_protection = TRI_NO
    kept, pending = await put(nodes, stored, "Invented: the protection has ended.")
    assert pending
    assert kept.protection.witness_protection == TRI_YES
    assert await hits(nodes, number) == 0
    book = Book(nodes["MX"], nodes)
    before = book.size
    decide = DecideChangeRequest(change_id=pending, confirm=True)
    async with nodes["MX"].desk_channel("analyst") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await DeskStub(channel).DecideChange(decide)
        assert caught.value.code() is Status.FAILED_PRECONDITION
    assert told(book.lines(before)[-1]) == ("DENIED", "", "SECOND_OFFICER")
    assert await hits(nodes, number) == 0
    async with nodes["MX"].desk_channel("second") as channel:
        stub = DeskStub(channel)
        assert pending in [each.change_id for each in (await stub.ListChanges(ListChangesRequest())).changes]
        await stub.DecideChange(decide)
    assert await hits(nodes, number) == 1
    book.verify()
