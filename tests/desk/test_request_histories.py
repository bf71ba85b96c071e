"""Any order of asking, deciding, changing records and rules, delays and crashes: both sides agree in the end."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
import pytest_asyncio

from node.store import requests as store
from node.wire.codes_pb2 import DATA_CATEGORY_IDENTITY, DATA_CATEGORY_TELECOM, REFUSAL_COURT
from node.wire.deciding_pb2 import (
    EscalateRequestRequest,
    GetRequestRequest,
    ListRequestsRequest,
    RefuseRequestRequest,
    ReplyToAnswerRequest,
    RequestItem,
    TakeRequestRequest,
)
from node.wire.desk_pb2 import GetEntryRequest, PutEntryRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, LEAF_KIND_MAIL
from tests.desk.request_support import HELD, SUSPECTS, Pair, held_telephone, pair_of
from tests.desk.support import asserted
from tests.federation.mail_support import mail_here
from tests.federation.support import case_record, telephone
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS = 30
DECIDED = {"granted", "partly granted", "refused", "expired", "superseded"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    world = World.make(tmp_path_factory.mktemp("histories"), ("GT", "MX"))
    world["MX"].write((case_record(), [asserted(telephone(SUSPECTS)), asserted(held_telephone())]))
    async with pair_of(world) as opened:
        yield opened


class History:
    """One history: what is done next is drawn, and what can't be done then is refused and changes nothing."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self.pair = pair
        self.draw = random.Random(seed)
        self.asked: list[RequestItem] = []

    async def run(self) -> None:
        steps: list[Callable[[], Awaitable[object]]] = [
            self.search_held,
            self.follow_up,
            self.follow_up,
            self.narrow,
            self.take,
            self.escalate,
            self.refuse,
            self.grant,
            self.grant,
            self.grant_part,
            self.grant_what_changed,
            self.reply,
            self.change_record,
            self.pair.delivered,
        ]
        for _ in range(STEPS):
            try:
                await self.draw.choice(steps)()
            except grpc.aio.AioRpcError as error:
                assert error.code() in {  # noqa: PT017 - which step it is, is drawn
                    grpc.StatusCode.FAILED_PRECONDITION,
                    grpc.StatusCode.INVALID_ARGUMENT,
                    grpc.StatusCode.NOT_FOUND,
                    grpc.StatusCode.PERMISSION_DENIED,
                }, error.details()

    async def any(self, direction: int) -> RequestItem:
        code, officer = ("GT", "analyst") if direction == DIRECTION_SENT else ("MX", "focal-1")
        stub = await self.pair.desk(code, officer)
        items = [each for each in (await stub.ListRequests(ListRequestsRequest())).items if each.direction == direction]
        return self.draw.choice(items) if items else RequestItem(request_id=bytes(16))

    async def search_held(self) -> None:
        await self.pair.asked(number=HELD)

    async def follow_up(self) -> None:
        exchange_id, (hit,) = await self.pair.asked(number=SUSPECTS)
        data = self.draw.choice([[], [DATA_CATEGORY_TELECOM], [DATA_CATEGORY_TELECOM, DATA_CATEGORY_IDENTITY]])
        await self.pair.requested(exchange_id, [hit.entry.handle], categories=data)  # type: ignore[attr-defined]

    async def narrow(self) -> None:
        item = await self.any(DIRECTION_SENT)
        detail = await self.pair.seen(item)
        await self.pair.requested(
            item.exchange_id,
            list(detail.request.handles),
            categories=[DATA_CATEGORY_TELECOM],
            narrows=item.request_id,
        )

    async def take(self) -> None:
        item, stub = await self.any(DIRECTION_RECEIVED), await self.pair.desk("MX", "focal-2")
        await stub.TakeRequest(TakeRequestRequest(request_id=item.request_id))

    async def escalate(self) -> None:
        item, stub = await self.any(DIRECTION_RECEIVED), await self.pair.desk("MX", "focal-2")
        await stub.EscalateRequest(EscalateRequestRequest(request_id=item.request_id))

    async def refuse(self) -> None:
        item, stub = await self.any(DIRECTION_RECEIVED), await self.pair.desk("MX", "focal-2")
        await stub.RefuseRequest(RefuseRequestRequest(request_id=item.request_id, refusal=REFUSAL_COURT))

    async def grant(self) -> None:
        await self.pair.granted(await self.any(DIRECTION_RECEIVED))

    async def grant_part(self) -> None:
        await self.pair.granted(await self.any(DIRECTION_RECEIVED), categories=[DATA_CATEGORY_TELECOM])

    async def grant_what_changed(self) -> None:
        shown = await self.pair.prepared(await self.any(DIRECTION_RECEIVED))
        await self.change_record()
        await (await self.pair.desk("MX", "focal-1")).ApproveRelease(self.pair.signed(shown))

    async def reply(self) -> None:
        item, stub = await self.any(DIRECTION_SENT), await self.pair.desk("GT")
        await stub.ReplyToAnswer(ReplyToAnswerRequest(request_id=item.request_id, words="Invented words."))

    async def change_record(self) -> None:
        releasing = self.pair.nodes["MX"].correspondence.releasing
        with self.pair.nodes["MX"].database.reading() as connection:
            entry = self.draw.choice(list(releasing.entries.active(connection, 0, 10)))
        channel = await self.pair.stack.enter_async_context(self.pair.world["MX"].desk_channel())
        stub = DeskStub(channel)
        entry = (await stub.GetEntry(GetEntryRequest(entry_id=entry.entry_id))).entry
        entry.telecom.holder_name = f"Invented Holder {self.draw.randrange(100)}"
        await stub.PutEntry(PutEntryRequest(entry=entry))


async def agree(pair: Pair) -> None:
    """Check that both sides say the same of every request, and that what was released was logged and signed."""
    await pair.delivered()
    await asyncio.sleep(0.1)
    await pair.delivered()
    states: dict[str, dict[bytes, str]] = {}
    for code, direction in (("GT", DIRECTION_SENT), ("MX", DIRECTION_RECEIVED)):
        with pair.nodes[code].database.reading() as connection:
            items = store.list_items(connection, direction=direction, limit=10_000)
        states[code] = {each.request_id: each.state if each.state in DECIDED else "asked" for each in items}
    assert states["GT"] == states["MX"]
    logged = [line.shared.exchange_id for line in pair.book("MX").lines() if line.shared.kind == LEAF_KIND_MAIL]
    stub = await pair.desk("GT")
    focal = await pair.desk("MX", "focal-1")
    for request_id, state in states["GT"].items():
        request = GetRequestRequest(request_id=request_id)
        here, there = (await stub.GetRequest(request)).detail, (await focal.GetRequest(request)).detail
        assert bool(here.answer.hits) == (state in {"granted", "partly granted"})
        if here.answer.hits:
            assert here.item.exchange_id in logged
            assert there.signed_release
            assert list(there.approved_by) == ["focal-1"]
        assert list(here.replies) == list(there.replies)
    for mail in mail_here(pair.nodes["GT"], DIRECTION_SENT) + mail_here(pair.nodes["MX"], DIRECTION_SENT):
        assert not mail.reason, mail


@pytest.mark.parametrize("seed", range(3))
async def test_both_sides_agree_after_any_history(pair: Pair, seed: int) -> None:
    await History(pair, seed).run()
    await agree(pair)
