"""Two nodes that ask each other: who answers is known from the next midnight on, and decided with."""

from dataclasses import dataclass

import pytest

from node.cli.serving import running
from node.federation.reciprocating import Reciprocating
from node.policy.facts import parse_facts
from node.store import reciprocity
from node.wire.desk_pb2 import SearchRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.ledger_pb2 import DIRECTION_SENT
from tests.federation.support import NOBODYS, Book, case_record, decisions_of, telephone
from tests.peer_simulator import channel_to, request, sealed_query, send, telephone_query
from tests.world import DAY_US, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Days:
    """The clock of a node, some days ahead."""

    ahead: int = 0

    def __call__(self) -> int:
        return now_us() + self.ahead * DAY_US


async def ask(world: World, times: int, *peers: str) -> None:
    async with world["GT"].desk_channel() as channel:
        for _ in range(times):
            search = SearchRequest(query=telephone_query(NOBODYS), peers=peers, deadline_ms=2_000)
            assert len([each async for each in DeskStub(channel).Search(search)]) == len(peers)


async def test_who_answers_is_known_from_midnight_on(world: World) -> None:
    world["GT"].write((case_record(), [telephone()]))
    async with running(world["GT"].config) as gt, running(world["MX"].config):
        days = Days()
        await ask(world, 20, "MX", "US")  # of which US is down
        taking = Reciprocating(gt.standing, gt.database, gt.writer, gt.freezing, days)
        await taking.look()
        assert gt.standing.reciprocity_of("MX") == "UNKNOWN"  # today does not count
        days.ahead = 1
        await taking.look()
        assert (gt.standing.reciprocity_of("MX"), gt.standing.reciprocity_of("US")) == ("YES", "NO")
        await decided_with(world, "MX", "YES")
        days.ahead = 91
        await taking.look()
        assert gt.standing.reciprocity_of("MX") == "UNKNOWN"
        tomorrow = now_us() // DAY_US + 1
        assert await gt.database.read(reciprocity.stored, tomorrow) == {"MX": "YES", "US": "NO"}
        again = Reciprocating(gt.standing, gt.database, gt.writer, gt.freezing, Days(1))
        await again.resume()
        assert gt.standing.reciprocity_of("MX") == "YES"


async def decided_with(world: World, peer: str, word: str) -> None:
    """GT answers, and its ledger tells what was known of the peer."""
    async with channel_to(world["GT"], world[peer].node) as channel:
        await send(channel, request(sealed_query(world[peer], "GT", telephone_query())))
    answered = [each for each in Book(world["GT"], world).lines(peer=peer) if each.shared.direction == DIRECTION_SENT]
    (decision,) = decisions_of(answered[-1]).entries
    assert parse_facts(decision.facts).reciprocity == word
