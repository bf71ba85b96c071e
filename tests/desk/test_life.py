"""A LIFE query is acknowledged by a human at the desk, and the asker learns who and where."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from node.cli.serving import running
from node.wire.desk_pb2 import (
    PEER_OUTCOME_ANSWERED,
    PEER_OUTCOME_UNREACHABLE,
    AcknowledgeLifeRequest,
    LifeNotice,
    ListLifeRequest,
    SearchResponse,
)
from node.wire.exchange_pb2 import Answer
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT
from tests.desk.support import Desks, Status, desks_of, life_query, refused, search
from tests.federation.support import NOBODYS, SEEN, VICTIMS, private_of, told
from tests.world import World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

TELEPHONE = "+52 55 1234 0000"
QUARTER_US = 15 * 60 * 1_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desks(world: World) -> AsyncIterator[Desks]:
    """MX runs all the time; GT comes and goes."""
    async with desks_of(world, "MX") as opened:
        yield opened


async def noticed(desks: Desks, code: str, exchange_id: bytes, officer: str = "analyst") -> LifeNotice:
    stub = await desks(code, officer)
    notices = (await stub.ListLife(ListLifeRequest())).notices
    (found,) = [each for each in notices if each.exchange_id == exchange_id]
    return found


async def asked(desks: Desks, value: str) -> SearchResponse:
    (response,) = await search(await desks("GT"), life_query(value), "MX")
    return response


async def acknowledged(desks: Desks, exchange_id: bytes, officer: str = "focal") -> int:
    stub = await desks("MX", officer)
    request = AcknowledgeLifeRequest(exchange_id=exchange_id, telephone=TELEPHONE)
    return (await stub.AcknowledgeLife(request)).acknowledged_us


@pytest.mark.parametrize("value", [SEEN, VICTIMS, NOBODYS], ids=["released", "withheld", "nobody's"])
async def test_the_asker_sees_until_when_and_whom_to_call_whatever_is_held(desks: Desks, value: str) -> None:
    async with running(desks.world["GT"].config):
        before = now_us()
        response = await asked(desks, value)
        assert response.outcome == PEER_OUTCOME_ANSWERED
        assert before + QUARTER_US <= response.acknowledge_by_us <= now_us() + QUARTER_US
        assert before + QUARTER_US <= response.answer.acknowledge_by_us <= now_us() + QUARTER_US
        assert response.duty_telephone == "+502 2411 9911"
        notice = await noticed(desks, "GT", response.exchange_id)
        assert (notice.peer, notice.direction, notice.acknowledged_us) == ("MX", DIRECTION_SENT, 0)
        assert notice.due_us == response.acknowledge_by_us


async def test_an_ordinary_question_waits_for_nobody(desks: Desks) -> None:
    async with running(desks.world["GT"].config):
        (response,) = await search(await desks("GT"))
        assert (response.acknowledge_by_us, response.duty_telephone) == (0, "")
        assert response.answer.acknowledge_by_us == 0


async def test_an_acknowledgement_reaches_the_asker_with_lines_on_both_sides(desks: Desks) -> None:
    async with running(desks.world["GT"].config):
        response = await asked(desks, NOBODYS)
        query_id = response.exchange_id
        waiting = await noticed(desks, "MX", query_id, "focal")
        assert (waiting.peer, waiting.direction, waiting.acknowledged_us) == ("GT", DIRECTION_RECEIVED, 0)
        gt, mx = desks.book("GT"), desks.book("MX")
        before = gt.size, mx.size

        at_us = await acknowledged(desks, query_id)
        read = await noticed(desks, "GT", query_id)
        assert (read.acknowledged_by, read.telephone, read.direction) == ("focal", TELEPHONE, DIRECTION_SENT)
        assert read.acknowledged_us >= at_us
        assert (await noticed(desks, "MX", query_id)).acknowledged_us == at_us

        (theirs, *_), (sent, receipt, *_) = gt.lines(before[0]), mx.lines(before[1])
        assert told(theirs) == ("RECEIVED", "MX", "")  # with the receipt that leaves
        assert [told(sent), told(receipt)] == [("ACKNOWLEDGED", "GT", ""), ("RECEIVED", "GT", "")]
        assert theirs.shared.exchange_id == sent.shared.exchange_id == receipt.shared.exchange_id
        assert {private_of(each).subject for each in (theirs, sent, receipt)} == {query_id}
        assert private_of(sent).officer == "focal"
        # Each holds the other side's signature over what it sent.
        assert theirs.shared.counterpart_statement == sent.statement
        assert receipt.shared.counterpart_statement == theirs.statement
        gt.verify()
        mx.verify()


async def test_the_first_who_read_it_stays_named(desks: Desks) -> None:
    async with running(desks.world["GT"].config):
        query_id = (await asked(desks, NOBODYS)).exchange_id
        await acknowledged(desks, query_id, "focal")
        await acknowledged(desks, query_id, "analyst")
        assert (await noticed(desks, "GT", query_id)).acknowledged_by == "focal"


async def test_an_asker_that_is_down_is_a_clear_error_and_can_be_told_later(desks: Desks) -> None:
    place = desks.world["GT"]
    async with running(place.config):
        query_id = (await asked(desks, NOBODYS)).exchange_id
    stub, mx = await desks("MX", "focal"), desks.book("MX")
    before = mx.size
    request = AcknowledgeLifeRequest(exchange_id=query_id, telephone=TELEPHONE)
    await refused(
        stub.AcknowledgeLife(request),
        Status.UNAVAILABLE,
        "GT was not reached (UNAVAILABLE): call its duty telephone",
    )
    assert [told(line) for line in mx.lines(before)] == [("ACKNOWLEDGED", "GT", "")]
    async with running(place.config):
        await until_reached(desks, query_id)
        assert (await noticed(desks, "GT", query_id)).acknowledged_by == "focal"
        mx.verify()


async def until_reached(desks: Desks, query_id: bytes) -> None:
    """The channel waits a little before it connects again."""
    for _ in range(100):
        try:
            await acknowledged(desks, query_id)
        except grpc.aio.AioRpcError as error:
            assert error.code() is Status.UNAVAILABLE  # noqa: PT017
            await asyncio.sleep(0.1)
        else:
            return
    pytest.fail("GT runs and is not reached")


async def test_what_never_came_can_not_be_acknowledged(desks: Desks) -> None:
    stub = await desks("MX", "focal")
    request = AcknowledgeLifeRequest(exchange_id=bytes(16), telephone=TELEPHONE)
    await refused(stub.AcknowledgeLife(request), Status.NOT_FOUND, "no LIFE query with this exchange id has come")


async def test_a_peer_that_is_down_leaves_the_telephone_to_call(desks: Desks) -> None:
    before = now_us()
    (response,) = await search(await desks("MX"), life_query(NOBODYS), "GT")
    assert (response.outcome, response.answer) == (PEER_OUTCOME_UNREACHABLE, Answer())
    assert response.duty_telephone == "+502 2411 9911"
    assert before + QUARTER_US <= response.acknowledge_by_us
    assert (await noticed(desks, "MX", response.exchange_id)).direction == DIRECTION_SENT
