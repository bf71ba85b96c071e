"""Two countries' desks with requests between them: what a unit asks, what a focal point is shown, signs, lets leave."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from node.cli.parts import Parts
from node.cli.serving import running
from node.identity.releases import sign_release
from node.wire.codes_pb2 import HANDLING_CODE_H3, Urgency
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.deciding_pb2 import (
    ApproveReleaseRequest,
    GetRequestRequest,
    ListQueueRequest,
    PrepareReleaseRequest,
    PrepareReleaseResponse,
    ReleaseApproval,
    RequestDetail,
    RequestItem,
    SendRequestRequest,
    SignedRelease,
)
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Query
from node.wire.request_pb2 import FollowUpRequest
from tests.conftest import Clock
from tests.desk.support import search
from tests.federation.mail_support import delivered
from tests.federation.support import Book, altered, telephone
from tests.peer_simulator import telephone_query
from tests.safeguards.support import until
from tests.world import World, now_us

if TYPE_CHECKING:
    from node.wire.correspondence_pb2_grpc import CorrespondenceAsyncStub

SUSPECTS = "+12025550150"
HELD = "+12025550151"


def held_telephone(number: str = HELD, *, victim: bool = False) -> Entry:
    """What the originator said in words, a human applies: it waits for a focal point."""
    return altered(telephone(number, victim=victim), handling=HANDLING_CODE_H3, handling_text="Invented condition.")


@dataclass(repr=False)  # asyncio writes out what a task returned, and a node is long
class Pair:
    """GT, which asks, and MX, which decides, with a clock that both go by for requests and mail."""

    world: World
    nodes: dict[str, Parts]
    stack: AsyncExitStack
    clock: Clock

    async def desk(self, code: str, officer: str = "analyst") -> "CorrespondenceAsyncStub":
        channel = await self.stack.enter_async_context(self.world[code].desk_channel(officer))
        return CorrespondenceStub(channel)

    async def delivered(self) -> None:
        await delivered(*self.nodes.values())

    def book(self, code: str) -> Book:
        return Book(self.world[code], self.world)

    async def asked(self, query: Query | None = None, number: str = SUSPECTS) -> tuple[bytes, list[Message]]:
        """Search at MX, and return the exchange with its hits."""
        channel = await self.stack.enter_async_context(self.world["GT"].desk_channel())
        (response,) = await search(DeskStub(channel), query or telephone_query(number), "MX")
        return response.exchange_id, list(response.answer.hits)

    async def requested(self, exchange_id: bytes, handles: list[bytes], **changes: object) -> RequestItem:
        stub = await self.desk("GT")
        request = altered(follow_up(*handles), **changes)
        sent = await stub.SendRequest(SendRequestRequest(peer="MX", exchange_id=exchange_id, request=request))
        await self.delivered()
        return sent.item

    async def queue(self, officer: str = "focal-1") -> list[RequestItem]:
        return list((await (await self.desk("MX", officer)).ListQueue(ListQueueRequest())).items)

    async def waiting(self, exchange_id: bytes) -> RequestItem:
        """What waits at MX's focal points in an exchange; a held answer comes behind the answer's back."""
        found = await until(self.queue, lambda items: any(each.exchange_id == exchange_id for each in items))
        (item,) = [each for each in found if each.exchange_id == exchange_id]
        return item

    async def prepared(self, item: RequestItem, **choice: object) -> PrepareReleaseResponse:
        request = altered(PrepareReleaseRequest(request_id=item.request_id), **choice)
        return await (await self.desk("MX", "focal-1")).PrepareRelease(request)

    def signed(self, shown: PrepareReleaseResponse, by: int = 0, **choice: object) -> ApproveReleaseRequest:
        item = shown.detail.item
        release = ReleaseApproval(
            country="MX",
            peer=item.peer,
            exchange_id=item.exchange_id,
            request_id=item.request_id,
            answer_sha256=shown.answer_sha256,
            time_us=now_us(),
        )
        data = altered(release, **choice).SerializeToString()
        signed = sign_release(SignedRelease(release=data), self.world["MX"].focal_keys[by])
        return ApproveReleaseRequest(signed_release=signed.SerializeToString())

    async def granted(self, item: RequestItem, **choice: object) -> RequestItem:
        shown = await self.prepared(item, **choice)
        stub = await self.desk("MX", "focal-1")
        approved = await stub.ApproveRelease(self.signed(shown, 0, **choice))
        await self.delivered()
        return approved.item

    async def seen(self, item: RequestItem, code: str = "GT", officer: str = "analyst") -> RequestDetail:
        stub = await self.desk(code, officer)
        return (await stub.GetRequest(GetRequestRequest(request_id=item.request_id))).detail


def follow_up(*handles: bytes) -> FollowUpRequest:
    query = telephone_query()
    return FollowUpRequest(
        handles=handles,
        why="Invented: needed to find the group.",
        purpose=query.purpose,
        crimes=query.crimes,
        urgency=Urgency.URGENCY_ROUTINE,
        case_reference="CASE-1",
        instrument=query.instrument,
    )


@asynccontextmanager
async def pair_of(world: World) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        nodes = {}
        for code in ("MX", "GT"):
            nodes[code] = await stack.enter_async_context(running(world[code].config))
        clock = Clock(now_us())
        yield Pair(world, nodes, stack, clock)
