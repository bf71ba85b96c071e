"""What the tests of the desk share: officers who call, and what a refusal leaves behind."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.message import Message

from node.cli.serving import running
from node.wire import desk_pb2
from node.wire.codes_pb2 import Urgency
from node.wire.desk_pb2 import SearchRequest, SearchResponse
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.entry_pb2 import Assertion, Entry
from node.wire.exchange_pb2 import Query
from tests.federation.support import Book, told
from tests.peer_simulator import telephone_query
from tests.pki import Holder
from tests.world import Place, World

if TYPE_CHECKING:
    from node.wire.desk_pb2_grpc import DeskAsyncStub

Status = grpc.StatusCode
METHODS = desk_pb2.DESCRIPTOR.services_by_name["Desk"].methods_by_name


@asynccontextmanager
async def desk_as(place: Place, holder: Holder | None) -> "AsyncIterator[DeskAsyncStub]":
    """The desk, called with this certificate, or with none."""
    credentials = grpc.ssl_channel_credentials(
        place.ca.roots_pem, holder.key_pem if holder else None, holder.chain_pem if holder else None
    )
    options = [("grpc.ssl_target_name_override", place.server_name), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(place.desk, credentials, options=options) as channel:
        yield DeskStub(channel)


@dataclass(repr=False)  # asyncio writes out what a task returned, and a world is long
class Desks:
    """The desks of the countries whose nodes run, one connection for each officer."""

    world: World
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _open: dict[tuple[str, str], "DeskAsyncStub"] = field(default_factory=dict)

    async def __call__(self, code: str, officer: str = "analyst") -> "DeskAsyncStub":
        if (code, officer) not in self._open:
            place = self.world[code]
            stub = await self.stack.enter_async_context(desk_as(place, place.officer(officer)))
            self._open[code, officer] = stub
        return self._open[code, officer]

    def book(self, code: str) -> Book:
        return Book(self.world[code], self.world)


@asynccontextmanager
async def desks_of(world: World, *codes: str) -> AsyncIterator[Desks]:
    """Run the nodes of these countries, or of all, with their desks open."""
    async with AsyncExitStack() as nodes:
        # GT, which asks, comes last: a channel that did not connect at once waits before it tries again.
        for code in reversed(codes or tuple(world.places)):
            await nodes.enter_async_context(running(world[code].config))
        desks = Desks(world)
        async with desks.stack:
            yield desks


async def call(stub: "DeskAsyncStub", name: str, request: Message) -> list[Message]:
    """Call any method of the desk with one message, and return all that comes."""
    method, multicallable = METHODS[name], getattr(stub, name)
    made: Any = multicallable(iter([request]) if method.client_streaming else request, timeout=20)
    return [each async for each in made] if method.server_streaming else [await made]


async def search(stub: "DeskAsyncStub", query: Query | None = None, *peers: str) -> list[SearchResponse]:
    request = SearchRequest(query=query or telephone_query(), peers=peers, deadline_ms=5_000)
    return [each async for each in stub.Search(request)]


def life_query(value: str) -> Query:
    return telephone_query(
        value, urgency=Urgency.URGENCY_LIFE, urgency_reason="Invented: a person is held and threatened."
    )


def asserted(entry: Entry) -> Entry:
    """The entry, with who established each protective fact: without it, it could be stored but never edited."""
    for by in ("victim_by", "age_by", "asylum_by", "witness_by", "exposure_by", "origins_by", "torture_derived_by"):
        getattr(entry.protection, by).CopyFrom(
            Assertion(officer="analyst", at_us=entry.recorded_us, basis="Invented interview")
        )
    entry.source = "Invented informant"
    return entry


async def refused(call: Awaitable[Any], code: grpc.StatusCode, words: str | None = None) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() == code, caught.value.details()
    if words is not None:
        assert caught.value.details() == words


def lines_since(book: Book, before: int) -> list[tuple[str, str, str]]:
    """What the lines from an index on say, as `told` tells it."""
    return [told(line) for line in book.lines(before)]
