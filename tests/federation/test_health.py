"""What the peer port tells of the node's health: to members' nodes alone, within their calls, and off the ledger."""

import asyncio

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from node.cli.parts import Parts
from node.cli.ports import set_health
from node.cli.serving import running
from node.federation.channels import MAX_MESSAGE_BYTES
from node.federation.health import CHECK
from node.federation.metrics import UNIDENTIFIED
from tests.federation.support import Book, still_answers
from tests.peer_simulator import channel_to, send
from tests.pki import Holder, country, desk_certificate
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")
Status = grpc.StatusCode


def asking(service: str = "") -> bytes:
    return HealthCheckRequest(service=service).SerializeToString()


async def told(channel: grpc.aio.Channel, service: str = "") -> int:
    return HealthCheckResponse.FromString(await send(channel, asking(service), CHECK)).status


async def refused(channel: grpc.aio.Channel, data: bytes = b"", method: str = CHECK) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(channel, data, method)
    return caught.value.code()


async def test_a_members_node_is_told(mx: Parts, channel: grpc.aio.Channel) -> None:
    for service in ("", "enlace.v1.Exchange"):
        assert await told(channel, service) == HealthCheckResponse.SERVING
    await set_health(mx, serving=False)
    assert await told(channel) == HealthCheckResponse.NOT_SERVING
    await set_health(mx, serving=True)


WRONG = {
    "another service": (asking("enlace.v1.Desk"), Status.NOT_FOUND),
    "no such message": (b"\xff" * 9, Status.INVALID_ARGUMENT),
    "a name that is no text": (b"\x0a\x01\xff", Status.INVALID_ARGUMENT),
    "too large": (asking("a" * MAX_MESSAGE_BYTES), Status.RESOURCE_EXHAUSTED),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.usefixtures("mx")
async def test_nothing_of_it_is_in_the_ledger(channel: grpc.aio.Channel, book: Book, wrong: str) -> None:
    before = book.size
    await told(channel)
    data, status = WRONG[wrong]
    assert await refused(channel, data) is status
    assert book.size == before


@pytest.mark.usefixtures("mx")
async def test_nobody_watches(channel: grpc.aio.Channel) -> None:
    assert await refused(channel, asking(), "/grpc.health.v1.Health/Watch") is Status.UNIMPLEMENTED


@pytest.mark.parametrize("holder", [desk_certificate(country("GT")), desk_certificate(country("MX"))])
@pytest.mark.usefixtures("mx")
async def test_who_is_no_member_s_node_is_not_heard(world: World, holder: Holder) -> None:
    before = UNIDENTIFIED._value.get()
    async with channel_to(world["MX"], holder) as channel:
        # It is refused before anything of it is read, so it need not send anything to learn that.
        call: grpc.aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(CHECK)(timeout=5.0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is Status.UNAUTHENTICATED
    assert UNIDENTIFIED._value.get() == before + 1


async def test_a_revoked_node_is_refused(fresh: World) -> None:
    async with running(fresh["MX"].config) as parts, channel_to(fresh["MX"], fresh["GT"].node) as channel:
        assert await told(channel) == HealthCheckResponse.SERVING
        parts.standing.revoke("GT", frozenset({fresh["GT"].node.serial}))
        assert await refused(channel, asking()) is Status.UNAUTHENTICATED


async def test_it_counts_among_the_calls_of_a_peer(fresh: World) -> None:
    fresh["MX"].configure(calls_per_peer=2)
    async with running(fresh["MX"].config), channel_to(fresh["MX"], fresh["GT"].node) as channel:
        held: list[grpc.aio.StreamUnaryCall[bytes, bytes]] = [channel.stream_unary(CHECK)(timeout=30) for _ in range(2)]
        for call in held:
            await call.wait_for_connection()
        await asyncio.sleep(0.2)
        assert await refused(channel, asking()) is Status.RESOURCE_EXHAUSTED
        async with channel_to(fresh["MX"], fresh["US"].node) as another:
            assert await told(another) == HealthCheckResponse.SERVING
        for call in held:
            call.cancel()
        await asyncio.sleep(0.2)
        assert await told(channel) == HealthCheckResponse.SERVING
        await still_answers(fresh)
