"""Two real nodes compare their ledgers: what was altered, lost or late on one side shows on the other."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import grpc
import pytest
import pytest_asyncio

from node.cli.serving import running
from node.wire.desk_pb2 import SearchRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.ledger_pb2 import LeafKind
from node.wire.reconcile_pb2 import (
    ReconcileLedgerRequest,
    ReconcileLedgerResponse,
)
from tests.conftest import postgres_database
from tests.federation.conftest import furnished
from tests.federation.support import NOBODYS, SEEN, VICTIMS, Book, private_of, told
from tests.peer_simulator import telephone_query
from tests.world import World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

Status = grpc.StatusCode
RECONCILE_ASKED = LeafKind.LEAF_KIND_RECONCILE_ASKED
RECONCILE_ANSWERED = LeafKind.LEAF_KIND_RECONCILE_ANSWERED
DAY_US = 86_400_000_000


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        databases = {}
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres_server")
            databases = {code: stack.enter_context(postgres_database(server)) for code in ("GT", "MX", "US")}
        yield furnished(World.make(tmp_path_factory.mktemp("world"), databases=databases))


@asynccontextmanager
async def both(world: World) -> AsyncIterator[None]:
    async with running(world["MX"].config), running(world["GT"].config):
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(world: World) -> AsyncIterator[World]:
    async with both(world):
        yield world


async def searched(world: World, *numbers: str, deadline_ms: int = 3_000) -> list[bytes]:
    """Ask MX from GT's desk; return the exchange ids."""
    ids = []
    async with world["GT"].desk_channel() as channel:
        for number in numbers:
            search = SearchRequest(query=telephone_query(number), peers=["MX"], deadline_ms=deadline_ms)
            ids += [each.exchange_id async for each in DeskStub(channel).Search(search)]
    return ids


async def reconciled(world: World, code: str = "GT", peer: str = "MX", since_us: int = 0) -> ReconcileLedgerResponse:
    """Compare as an auditor, up to now: in these tests no exchange is under way."""
    async with world[code].desk_channel("auditor") as channel:
        asked = ReconcileLedgerRequest(peer=peer, since_us=since_us, until_us=now_us())
        return await DeskStub(channel).ReconcileLedger(asked, timeout=30)


def told_of(report: ReconcileLedgerResponse) -> list[tuple[int, bytes]]:
    return [(each.kind, each.exchange_id) for each in report.discrepancies]


@pytest.fixture
def begun_us() -> int:
    return now_us()


# --- two honest nodes ------------------------------------------------------------------------------------------------


async def test_after_usual_traffic_both_say_the_same_from_either_side(nodes: World, begun_us: int) -> None:
    # A hit, one that stays invisible or held, and a no-hit: all are answered exchanges, here as there.
    ids = await searched(nodes, SEEN, VICTIMS, NOBODYS)
    for code, peer in (("GT", "MX"), ("MX", "GT")):
        report = await reconciled(nodes, code, peer, begun_us)
        assert (report.here, report.there, report.agreed) == (3, 3, 3)
        assert (report.unanswered, told_of(report), report.findings) == (0, [], 0)
    assert len(set(ids)) == 3


async def test_reconciling_is_logged_on_both_sides_and_not_compared_itself(nodes: World, begun_us: int) -> None:
    gt, mx = Book(nodes["GT"], nodes), Book(nodes["MX"], nodes)
    before = gt.size, mx.size
    await reconciled(nodes, since_us=begun_us)
    report = await reconciled(nodes, since_us=begun_us)
    assert (report.here, report.there) == (0, 0)
    asked, answered, compared = gt.lines(before[0])[:3]
    assert told(asked) == ("RECONCILE_ASKED", "MX", "RECONCILE")
    assert told(answered) == ("RECONCILE_ANSWERED", "MX", "RECONCILE")
    assert told(compared) == ("FINDING", "MX", "RECONCILED MX: 0 FIT, 0 DO NOT")
    assert {private_of(each).officer for each in (asked, answered, compared)} == {"auditor"}
    (first, _) = mx.lines(before[1])
    assert told(first) == ("RECONCILE_ANSWERED", "GT", "0 COMMITMENTS")
    assert first.shared.exchange_id == asked.shared.exchange_id
    assert answered.shared.counterpart_statement == first.statement
    gt.verify()
    mx.verify()
