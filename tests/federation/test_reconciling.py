"""Two real nodes compare their ledgers: what was altered, lost or late on one side shows on the other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from hashlib import sha256

import grpc
import pytest
import pytest_asyncio
from sqlalchemy import Connection, create_engine, text

from node.cli.serving import running
from node.ledger.leaf import build_leaf
from node.ledger.reconcile import LATE_US, PAGE
from node.store.listing import ListedLine
from node.wire.desk_pb2 import SearchRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.envelope_pb2 import Statement
from node.wire.ledger_pb2 import LeafKind
from node.wire.reconcile_pb2 import (
    DISCREPANCY_KIND_DIFFERENT,
    DISCREPANCY_KIND_LATE,
    DISCREPANCY_KIND_ONLY_HERE,
    DISCREPANCY_KIND_ONLY_THERE,
    FINDING_STATE_CLOSED,
    FINDING_STATE_EXPLAINED,
    FINDING_STATE_OPEN,
    DecideFindingRequest,
    ListFindingsRequest,
    ReconcileLedgerRequest,
    ReconcileLedgerResponse,
)
from tests.conftest import postgres_database
from tests.federation.conftest import furnished
from tests.federation.support import ANSWERED, ASKED, NOBODYS, SEEN, UNANSWERED, VICTIMS, Book, private_of, told
from tests.peer_simulator import channel_to, hostile_server, request, sealed_query, send, telephone_query
from tests.world import Place, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

Status = grpc.StatusCode


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


async def test_a_peer_that_was_down_leaves_nothing_to_look_into(tmp_path_factory: pytest.TempPathFactory) -> None:
    world, begun_us = furnished(World.make(tmp_path_factory.mktemp("down"))), now_us()
    async with running(world["GT"].config):
        await searched(world, SEEN, deadline_ms=300)
    async with both(world):
        await searched(world, SEEN)
        report = await reconciled(world, since_us=begun_us)
        back = await reconciled(world, "MX", "GT", begun_us)
    assert (report.here, report.there, report.agreed, report.unanswered, told_of(report)) == (2, 1, 1, 1, [])
    assert (back.here, back.there, back.agreed, back.unanswered, told_of(back)) == (1, 2, 1, 1, [])


async def test_many_exchanges_come_page_by_page(nodes: World, begun_us: int) -> None:
    count = PAGE + 20
    async with channel_to(nodes["MX"], nodes["GT"].node) as channel:
        for first in range(0, count, 20):
            queries = [sealed_query(nodes["GT"], "MX", telephone_query(NOBODYS)) for _ in range(20)]
            await asyncio.gather(*[send(channel, request(each)) for each in queries[: count - first]])
    # GT's node did not ask these: somebody with its keys did, and MX's ledger is what tells.
    report = await reconciled(nodes, since_us=begun_us)
    assert (report.here, report.there, report.findings, report.discrepancy_count) == (0, count, count, count)
    assert {each.kind for each in report.discrepancies} == {DISCREPANCY_KIND_ONLY_THERE}
    assert len({each.exchange_id for each in report.discrepancies}) == count
    again = await reconciled(nodes, since_us=begun_us)
    assert (len(again.discrepancies), again.findings) == (count, 0)


async def test_a_period_holds_what_began_in_it(nodes: World, begun_us: int) -> None:
    await searched(nodes, SEEN)
    middle_us = now_us()
    await searched(nodes, SEEN, SEEN)
    async with nodes["GT"].desk_channel("auditor") as channel:
        stub = DeskStub(channel)
        first = await stub.ReconcileLedger(
            ReconcileLedgerRequest(peer="MX", since_us=begun_us, until_us=middle_us), timeout=30
        )
        second = await stub.ReconcileLedger(
            ReconcileLedgerRequest(peer="MX", since_us=middle_us, until_us=now_us()), timeout=30
        )
    assert [(each.here, each.there, each.agreed) for each in (first, second)] == [(1, 1, 1), (2, 2, 2)]


# --- one side's past is rewritten ------------------------------------------------------------------------------------


def by_sql(place: Place, change: Callable[[Connection], object]) -> None:
    """Do what an administrator could, behind the node's back."""
    engine = create_engine(place.config.store.database)
    with engine.begin() as connection:
        change(connection)
    engine.dispose()


def line_of_exchange(world: World, code: str, exchange_id: bytes, kind: LeafKind.ValueType = ANSWERED) -> ListedLine:
    (line,) = Book(world[code], world).lines(exchange_id=exchange_id, kinds=(kind,))
    return line


def rewrite(world: World, code: str, line: ListedLine, **columns: object) -> None:
    names = ", ".join(f"{name} = :{name}" for name in columns)
    by_sql(
        world[code],
        lambda connection: connection.execute(
            text(f"UPDATE ledger_lines SET {names} WHERE idx = :idx"), {**columns, "idx": line.index}
        ),
    )


def delete(world: World, code: str, exchange_id: bytes) -> None:
    by_sql(
        world[code],
        lambda connection: connection.execute(
            text("DELETE FROM ledger_lines WHERE exchange_id = :id"), {"id": exchange_id}
        ),
    )


async def test_lines_that_one_side_lost_show_on_both(nodes: World, begun_us: int) -> None:
    kept, lost = await searched(nodes, NOBODYS, SEEN)
    delete(nodes, "MX", lost)
    report = await reconciled(nodes, since_us=begun_us)
    assert (report.here, report.there, report.agreed) == (2, 1, 1)
    assert told_of(report) == [(DISCREPANCY_KIND_ONLY_HERE, lost)]
    assert report.discrepancies[0].ours
    back = await reconciled(nodes, "MX", "GT", begun_us)
    assert told_of(back) == [(DISCREPANCY_KIND_ONLY_THERE, lost)]
    delete(nodes, "GT", kept)
    report = await reconciled(nodes, since_us=begun_us)
    assert told_of(report) == [(DISCREPANCY_KIND_ONLY_THERE, kept), (DISCREPANCY_KIND_ONLY_HERE, lost)]
    assert report.findings == 1  # the other one was raised before


async def test_an_answer_that_was_rewritten_shows(nodes: World, begun_us: int) -> None:
    (exchange_id,) = await searched(nodes, SEEN)
    line = line_of_exchange(nodes, "MX", exchange_id)
    statement = Statement.FromString(line.statement)
    statement.body_sha256 = sha256(b"nothing was told").digest()
    rewrite(nodes, "MX", line, statement=statement.SerializeToString())
    for code, peer in (("GT", "MX"), ("MX", "GT")):
        report = await reconciled(nodes, code, peer, begun_us)
        assert told_of(report) == [(DISCREPANCY_KIND_DIFFERENT, exchange_id)]


async def test_a_question_that_was_rewritten_with_its_leaf_shows(nodes: World, begun_us: int) -> None:
    (exchange_id,) = await searched(nodes, SEEN)
    line = line_of_exchange(nodes, "MX", exchange_id)
    shared = line.shared
    statement = Statement.FromString(shared.counterpart_statement)
    statement.body_sha256 = sha256(b"another question").digest()
    shared.counterpart_statement = statement.SerializeToString()
    leaf = build_leaf(shared.SerializeToString(), line.leaf.logged_us, line.leaf.private_sha256)
    rewrite(nodes, "MX", line, leaf=leaf)
    report = await reconciled(nodes, since_us=begun_us)
    assert told_of(report) == [(DISCREPANCY_KIND_DIFFERENT, exchange_id)]


async def test_an_answer_that_was_logged_long_after_shows(nodes: World, begun_us: int) -> None:
    (exchange_id,) = await searched(nodes, SEEN)
    line = line_of_exchange(nodes, "GT", exchange_id)
    later_us = line.leaf.logged_us + LATE_US + 1_000_000
    leaf = build_leaf(line.shared.SerializeToString(), later_us, line.leaf.private_sha256)
    rewrite(nodes, "GT", line, leaf=leaf)
    report = await reconciled(nodes, since_us=begun_us)
    assert told_of(report) == [(DISCREPANCY_KIND_LATE, exchange_id)]


async def test_an_answer_that_its_asker_no_longer_waited_for_is_late(tmp_path_factory: pytest.TempPathFactory) -> None:
    world, begun_us = furnished(World.make(tmp_path_factory.mktemp("late"))), now_us()

    async def silent(data: bytes) -> bytes:
        del data
        await asyncio.sleep(10)
        return b""

    # The network holds the question back until GT has given up, and then delivers it.
    async with hostile_server(world, "MX", silent) as calls, running(world["GT"].config):
        (exchange_id,) = await searched(world, SEEN, deadline_ms=400)
    async with both(world):
        async with channel_to(world["MX"], world["GT"].node) as channel:
            await send(channel, calls.requests[0])
        kinds = [each.shared.kind for each in Book(world["GT"], world).lines(exchange_id=exchange_id)]
        assert kinds == [ASKED, UNANSWERED]
        for code, peer in (("GT", "MX"), ("MX", "GT")):
            report = await reconciled(world, code, peer, begun_us)
            assert (report.here, report.there, report.agreed) == (1, 1, 0)
            assert told_of(report) == [(DISCREPANCY_KIND_LATE, exchange_id)]


async def test_a_damaged_line_is_named_to_nobody_but_ends_the_comparison(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    world = furnished(World.make(tmp_path_factory.mktemp("damaged")))
    async with both(world):
        (exchange_id,) = await searched(world, SEEN)
        line = line_of_exchange(world, "MX", exchange_id)
        whole = build_leaf(line.shared.SerializeToString(), line.leaf.logged_us, line.leaf.private_sha256)
        rewrite(world, "MX", line, leaf=whole + b"\x28\x01")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reconciled(world)
        assert caught.value.code() == Status.UNAVAILABLE


# --- findings at the desk --------------------------------------------------------------------------------------------


async def test_an_auditor_owns_explains_and_closes_a_finding_and_each_step_is_a_line(
    nodes: World, begun_us: int
) -> None:
    (exchange_id,) = await searched(nodes, SEEN)
    delete(nodes, "MX", exchange_id)
    await reconciled(nodes, since_us=begun_us)
    book = Book(nodes["GT"], nodes)
    before = book.size
    async with nodes["GT"].desk_channel("auditor") as channel:
        stub = DeskStub(channel)
        listed = await stub.ListFindings(ListFindingsRequest(peer="MX", state=FINDING_STATE_OPEN))
        (finding,) = [each for each in listed.findings if each.exchange_id == exchange_id]
        assert (finding.kind, finding.peer, finding.owner) == ("ONLY_HERE", "MX", "")
        steps = [(0, "I ask MX"), (FINDING_STATE_EXPLAINED, "a restore"), (FINDING_STATE_CLOSED, "told the stewards")]
        for state, reason in steps:
            decided = DecideFindingRequest(finding_id=finding.finding_id, state=state, reason=reason)  # type: ignore[arg-type]
            now = (await stub.DecideFinding(decided)).finding
            assert (now.owner, now.note) == ("auditor", reason)
        assert now.state == FINDING_STATE_CLOSED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.DecideFinding(decided)
        assert caught.value.code() == Status.INVALID_ARGUMENT
    lines = book.lines(before)
    assert [told(each) for each in lines] == [
        ("READ", "", "FINDINGS MX"),
        ("FINDING", "", "OWN: I ask MX"),
        ("FINDING", "", "EXPLAINED: a restore"),
        ("FINDING", "", "CLOSED: told the stewards"),
    ]
    assert {private_of(each).subject for each in lines[1:]} == {finding.finding_id}


@pytest.mark.parametrize(
    "asked",
    [
        ReconcileLedgerRequest(peer="GT"),
        ReconcileLedgerRequest(peer="mexico"),
        ReconcileLedgerRequest(peer="MX", since_us=2, until_us=1),
        ReconcileLedgerRequest(peer="MX", since_us=1),
        ReconcileLedgerRequest(peer="MX", since_us=2**63),
    ],
)
async def test_a_period_or_peer_that_makes_no_sense_asks_nobody(nodes: World, asked: ReconcileLedgerRequest) -> None:
    book = Book(nodes["MX"], nodes)
    before = book.size
    async with nodes["GT"].desk_channel("auditor") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await DeskStub(channel).ReconcileLedger(asked)
    assert caught.value.code() == Status.INVALID_ARGUMENT
    assert book.size == before


async def test_a_peer_that_is_down_is_told_as_such(nodes: World) -> None:
    book = Book(nodes["GT"], nodes)
    before = book.size
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await reconciled(nodes, peer="US")
    assert (caught.value.code(), caught.value.details()) == (
        Status.UNAVAILABLE,
        "US did not answer: the call ended with UNAVAILABLE",
    )
    assert [told(each) for each in book.lines(before)] == [
        ("RECONCILE_ASKED", "US", "RECONCILE"),
        ("UNANSWERED", "US", "UnansweredError"),
    ]
