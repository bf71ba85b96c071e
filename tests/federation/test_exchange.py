"""Two real nodes exchange an entry, on SQLite and on PostgreSQL, and a third party can prove it from the leaves."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from hashlib import sha256

import grpc
import pytest
import pytest_asyncio

from node.cli.parts import Parts
from node.cli.serving import running
from node.federation.envelope import STATEMENT_TYPE
from node.federation.lines import ANSWER_BODY, QUERY_BODY
from node.identity.directory import TrustedDirectory
from node.identity.keys import verify_signature
from node.ledger.leaf import build_leaf, parse_leaf, parse_shared
from node.store.listing import ListedLine, read_bodies
from node.wire.codes_pb2 import DATA_CATEGORY_COMMUNICATIONS, OBLIGATION_NO_IMMIGRATION_USE
from node.wire.desk_pb2 import PeerOutcome, SearchRequest, SearchResponse
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.envelope_pb2 import Statement
from node.wire.exchange_pb2 import Answer, Body
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, LeafKind, LeafShared
from tests.conftest import postgres_database
from tests.federation.conftest import furnished
from tests.federation.support import (
    NOBODYS,
    SEEN,
    VICTIMS,
    Book,
    opened_ledger,
    private_of,
    refused,
    rejected,
    still_answers,
)
from tests.peer_simulator import channel_to, request, sealed_query, send, telephone_query
from tests.world import World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with ExitStack() as stack:
        databases = {}
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres_server")
            databases = {code: stack.enter_context(postgres_database(server)) for code in ("GT", "MX", "US")}
        yield furnished(World.make(folder, databases=databases))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(world: World) -> AsyncIterator[dict[str, Parts]]:
    async with running(world["GT"].config) as gt, running(world["MX"].config) as mx:
        yield {"GT": gt, "MX": mx}


async def searched(world: World, number: str) -> list[SearchResponse]:
    """Ask MX from GT's desk, as an analyst."""
    async with world["GT"].desk_channel() as channel:
        search = SearchRequest(query=telephone_query(number), peers=["MX"], deadline_ms=3_000)
        return [each async for each in DeskStub(channel).Search(search)]


def of_exchange(book: Book, exchange_id: bytes) -> list[ListedLine]:
    return book.lines(exchange_id=exchange_id)


async def test_an_entry_is_asked_for_and_answered_and_both_ledgers_hold_it(
    world: World, nodes: dict[str, Parts]
) -> None:
    del nodes
    (response,) = await searched(world, SEEN)
    assert response.outcome == PeerOutcome.PEER_OUTCOME_ANSWERED
    (hit,) = response.answer.hits
    assert hit.entry.telecom.telephone == SEEN
    assert hit.entry.telecom.holder_name == "Invented Holder"
    assert OBLIGATION_NO_IMMIGRATION_USE in hit.entry.terms.obligations
    assert {grant.rule for grant in hit.entry.grants} >= {"MX-10", "F-10"}
    assert DATA_CATEGORY_COMMUNICATIONS in hit.entry.withheld
    gt, mx = Book(world["GT"], world), Book(world["MX"], world)
    asked, answered = of_exchange(gt, response.exchange_id)
    (answering,) = of_exchange(mx, response.exchange_id)
    assert response.ledger_index == answered.index
    assert [shape(each.shared) for each in (asked, answered, answering)] == [
        (LeafKind.LEAF_KIND_ASKED, DIRECTION_SENT, "GT/gt-1", "MX"),
        (LeafKind.LEAF_KIND_ANSWERED, DIRECTION_RECEIVED, "GT/gt-1", "MX"),
        (LeafKind.LEAF_KIND_ANSWERED, DIRECTION_SENT, "MX/mx-1", "GT"),
    ]
    # Each holds the other's signature over the digest of what it sent.
    assert answering.shared.counterpart_statement == asked.statement
    assert answering.shared.counterpart_signature == asked.signature
    assert answered.shared.counterpart_statement == answering.statement
    assert answered.shared.counterpart_signature == answering.signature
    assert private_of(answering).released == private_of(answered).released == 1
    for book in (gt, mx):
        report = book.verify()
        assert report.signatures >= 2
        assert report.unknown_keys == report.erased == 0


def shape(shared: LeafShared) -> tuple[int, int, str, str]:
    return shared.kind, shared.direction, shared.node, shared.peer


async def test_what_is_kept_beside_the_lines_is_what_was_signed(world: World, nodes: dict[str, Parts]) -> None:
    del nodes
    (response,) = await searched(world, SEEN)
    for code, kind, names in (
        ("GT", LeafKind.LEAF_KIND_ASKED, [QUERY_BODY]),
        ("GT", LeafKind.LEAF_KIND_ANSWERED, [ANSWER_BODY]),
        ("MX", LeafKind.LEAF_KIND_ANSWERED, [QUERY_BODY, ANSWER_BODY]),
    ):
        (line,) = Book(world[code], world).lines(exchange_id=response.exchange_id, kinds={kind})
        with opened_ledger(world[code]) as (database, vault), database.reading() as connection:
            bodies = read_bodies(connection, vault, line.index)
        assert sorted(bodies) == sorted(names)
        digests = {sha256(body).digest() for body in bodies.values()}
        assert line.shared.body_sha256 in digests
        assert {len(Body.FromString(body).salt) for body in bodies.values()} == {32}


@pytest.mark.parametrize("number", [VICTIMS, NOBODYS], ids=["a victim's", "nobody's"])
async def test_what_is_invisible_or_not_there_is_nothing_releasable(
    world: World, nodes: dict[str, Parts], number: str
) -> None:
    del nodes
    (response,) = await searched(world, number)
    assert response.outcome == PeerOutcome.PEER_OUTCOME_ANSWERED
    assert response.answer == Answer()
    (answering,) = of_exchange(Book(world["MX"], world), response.exchange_id)
    assert private_of(answering).invisible == (1 if number == VICTIMS else 0)
    (_, answered) = of_exchange(Book(world["GT"], world), response.exchange_id)
    assert private_of(answered).invisible == 0


async def test_a_third_party_proves_the_exchange_from_leaves_and_directory_alone(
    world: World, nodes: dict[str, Parts]
) -> None:
    del nodes
    (response,) = await searched(world, SEEN)
    leaves = {
        code: [line.leaf.SerializeToString() for line in Book(world[code], world).lines()] for code in ("GT", "MX")
    }
    prove(world.root, world.directory, leaves, response.exchange_id)
    # Neither can deny it, nor tell it otherwise.
    for code, kind in (("GT", LeafKind.LEAF_KIND_ASKED), ("MX", LeafKind.LEAF_KIND_ANSWERED)):
        changed = {**leaves, code: [retold(leaf, response.exchange_id, kind) for leaf in leaves[code]]}
        with pytest.raises(AssertionError):
            prove(world.root, world.directory, changed, response.exchange_id)


def retold(leaf: bytes, exchange_id: bytes, kind: int) -> bytes:
    """Return the leaf with another body, where it is about this."""
    parsed = parse_leaf(leaf)
    shared = parse_shared(parsed.shared)
    if (shared.exchange_id, shared.kind) != (exchange_id, kind):
        return leaf
    shared.body_sha256 = bytes(32)
    return build_leaf(shared.SerializeToString(), parsed.logged_us, parsed.private_sha256)


def prove(root: bytes, directory: bytes, leaves: dict[str, list[bytes]], exchange_id: bytes) -> None:
    """What an auditor of the federation does, with nothing of either country but its leaves."""
    trusted = TrustedDirectory.pinned(root).updated(directory, now_us())
    found = {}
    for ledger in leaves.values():
        for leaf in ledger:
            data = parse_leaf(leaf).shared
            shared = parse_shared(data)
            if shared.exchange_id == exchange_id:
                found[shared.node[:2], shared.kind] = data
    asked = found["GT", LeafKind.LEAF_KIND_ASKED]
    answered = found["GT", LeafKind.LEAF_KIND_ANSWERED]
    answering = found["MX", LeafKind.LEAF_KIND_ANSWERED]
    # The other side holds the sender's signature over exactly the line that the sender has in its own ledger.
    for holder, sender, sent in ((answering, "GT", asked), (answered, "MX", answering)):
        shared = LeafShared.FromString(holder)
        statement = Statement.FromString(shared.counterpart_statement)
        key = trusted.signing_key(sender, statement.node, shared.counterpart_key_id, statement.time_us)
        verify_signature(key, STATEMENT_TYPE, shared.counterpart_statement, shared.counterpart_signature)
        assert statement.sender == sender
        assert statement.leaf_sha256 == sha256(sent).digest()
        assert statement.body_sha256 == LeafShared.FromString(sent).body_sha256
    # What GT got is what MX says it sent.
    assert LeafShared.FromString(answered).body_sha256 == LeafShared.FromString(answering).body_sha256


async def test_a_replay_is_refused_and_logged(world: World, nodes: dict[str, Parts]) -> None:
    del nodes
    sealed = sealed_query(world["GT"], "MX", telephone_query())
    async with channel_to(world["MX"], world["GT"].node) as channel:
        await send(channel, request(sealed))
        call = send(channel, request(sealed))
        await refused(world, call, grpc.StatusCode.ALREADY_EXISTS, rejected("ReplayError"))
        await still_answers(world)
