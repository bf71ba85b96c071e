"""The directory and the pairings: who is a member, for how long, and with whom two focal points have agreed to deal."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import grpc
import pytest
import pytest_asyncio

from node.cli.parts import Parts
from node.cli.serving import running
from node.errors import (
    DirectoryError,
    DirectoryExpiredError,
    DirectoryMalformedError,
    DirectoryRollbackError,
    DirectorySignatureError,
    NotPairedError,
)
from node.federation.channels import ACKNOWLEDGE, GET_DIRECTORY
from node.federation.envelope import new_salt, seal
from node.identity.directory import TrustedDirectory
from node.identity.keys import generate_private_key, public_key
from node.identity.members import sign_member
from node.identity.stewards import build_root
from node.store import directories, pairings
from node.store.database import Database
from node.wire.desk_pb2 import PeerOutcome, SearchResponse
from node.wire.directory_pb2 import SignedMember
from node.wire.envelope_pb2 import StatementType
from node.wire.exchange_pb2 import (
    Acknowledgement,
    AcknowledgeRequest,
    Body,
    GetDirectoryRequest,
    GetDirectoryResponse,
)
from tests.federation.support import Book, refused, rejected, still_answers, told
from tests.peer_simulator import channel_to, hostile_server, request, sealed_query, send, signer_of, telephone_query
from tests.pki import FEDERATION
from tests.world import DAY_US, Place, World, now_us, signed_pairing

Status = grpc.StatusCode
NOT_ASKED = PeerOutcome.PEER_OUTCOME_NOT_ASKED
UNPAIRED = rejected("NotPairedError")


def question(world: World, asker: str = "GT", at_us: int = 0) -> bytes:
    return request(sealed_query(world[asker], "MX", telephone_query(), at_us=at_us))


async def asked(parts: Parts, peer: str) -> SearchResponse:
    (response,) = [each async for each in parts.asking.ask(telephone_query(), [peer], 2.0)]
    return response


def set_clock(parts: Parts, ahead_us: int) -> Callable[[], int]:
    """Let the node live in another time."""

    def clock() -> int:
        return now_us() + ahead_us

    for part in (parts.exchange, parts.exchange.answering, parts.asking, parts.distribution):
        part.clock = clock
    return clock


async def never(data: bytes) -> bytes:
    """Answer a question that must not have come."""
    return data


# --- a directory that has ended --------------------------------------------------------------------------------------


async def test_when_the_directory_ends_nobody_is_answered(fresh: World) -> None:
    short = fresh.compose(lifetime_us=2 * DAY_US)
    async with running(fresh["MX"].config) as parts, channel_to(fresh["MX"], fresh["GT"].node) as channel:
        await parts.distribution.accept_directory(short)
        await still_answers(fresh)
        clock = set_clock(parts, 3 * DAY_US)
        call = send(channel, question(fresh, at_us=clock()))
        await refused(fresh, call, Status.FAILED_PRECONDITION, words=DirectoryError.public)
        call = send(channel, GetDirectoryRequest().SerializeToString(), GET_DIRECTORY)
        await refused(fresh, call, Status.FAILED_PRECONDITION, words=DirectoryError.public)
        set_clock(parts, 0)
        await still_answers(fresh)


async def test_when_the_directory_ends_nobody_is_asked(fresh: World) -> None:
    short, book = fresh.compose(lifetime_us=2 * DAY_US), Book(fresh["GT"], fresh)
    async with hostile_server(fresh, "MX", never) as calls, running(fresh["GT"].config) as parts:
        await parts.distribution.accept_directory(short)
        set_clock(parts, 3 * DAY_US)
        response = await asked(parts, "MX")
        assert (response.outcome, response.detail) == (NOT_ASKED, DirectoryError.public)
        assert calls.requests == []
        assert told(book.lines()[-1]) == ("DENIED", "MX", "DirectoryExpiredError")
        book.verify()


def stored(place: Place, world: World, signed: bytes) -> None:
    """Put a directory into the database of a node that is down, as it was accepted when it was in force."""
    trusted = TrustedDirectory.pinned(world.root).updated(signed, now_us())
    place.change(lambda connection: directories.put_directory(connection, trusted, now_us()))


async def test_a_node_that_starts_after_the_end_serves_nobody_until_a_new_one_comes(fresh: World) -> None:
    stored(fresh["MX"], fresh, fresh.compose(lifetime_us=1_500_000))
    await asyncio.sleep(0.6)
    async with running(fresh["MX"].config) as parts, channel_to(fresh["MX"], fresh["GT"].node) as channel:
        book, before = Book(fresh["MX"], fresh), Book(fresh["MX"], fresh).size
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(channel, question(fresh))
        assert (caught.value.code(), caught.value.details()) == (Status.FAILED_PRECONDITION, DirectoryError.public)
        assert book.size == before
        await parts.distribution.accept_directory(fresh.compose())
        await still_answers(fresh)
        book.verify()


async def test_a_node_does_not_start_on_a_directory_that_was_put_into_its_database(fresh: World) -> None:
    bad = fresh.directory_of(2, signers=[fresh.stewards["ana"]])
    good = fresh.directory_of(2)
    with Database.open(fresh["MX"].config.store.database) as database, database.engine.begin() as connection:
        trusted = TrustedDirectory.pinned(fresh.root).updated(good, now_us())
        directories.put_directory(connection, replace(trusted, signed=bad), now_us())
    with pytest.raises(DirectorySignatureError):
        async with running(fresh["MX"].config):
            pass


# --- directories that a peer brings ----------------------------------------------------------------------------------


def unsigned_by_member(world: World) -> list[SignedMember]:
    """GT's endpoint as the stewards would like it, under the signature of GT's record as it was."""
    signed = world["GT"].member()
    record = world["GT"].record()
    record.number += 1
    record.nodes[0].endpoint = "127.0.0.1:9"
    moved = SignedMember()
    moved.CopyFrom(signed)
    moved.record = record.SerializeToString()
    return [moved, world["MX"].member(), world["US"].member()]


def same_number(world: World) -> list[SignedMember]:
    record = world["GT"].record()
    record.duty_telephone = "+502 2411 0000"
    return [sign_member(record, world["GT"].root_key), world["MX"].member(), world["US"].member()]


def by_other_stewards(world: World) -> bytes:
    strangers = [generate_private_key(), generate_private_key()]
    root = build_root(
        federation=FEDERATION,
        version=1,
        threshold=2,
        stewards=dict(zip("xy", map(public_key, strangers), strict=True)),
    )
    return world.directory_of(9, root=root, signers=strangers)


def another_federation(world: World) -> bytes:
    root = build_root(
        federation="other.example",
        version=1,
        threshold=2,
        stewards={name: public_key(key) for name, key in world.stewards.items()},
    )
    return world.directory_of(9, root=root)


BAD: dict[str, tuple[Callable[[World], bytes], type[DirectoryError]]] = {
    "expired": (
        lambda world: world.directory_of(9, issued_us=now_us() - 5 * DAY_US, lifetime_us=4 * DAY_US),
        DirectoryExpiredError,
    ),
    "not yet begun": (lambda world: world.directory_of(9, issued_us=now_us() + DAY_US), DirectoryExpiredError),
    "living too long": (lambda world: world.directory_of(9, lifetime_us=91 * DAY_US), DirectoryMalformedError),
    "rolled back": (lambda world: world.directory_of(1), DirectoryRollbackError),
    "a second one of its version": (lambda world: world.directory_of(world.version), DirectoryRollbackError),
    "signed by one of three stewards": (
        lambda world: world.directory_of(9, signers=[world.stewards["ana"]]),
        DirectorySignatureError,
    ),
    "signed twice by one steward": (
        lambda world: world.directory_of(9, signers=[world.stewards["ana"]] * 2),
        DirectorySignatureError,
    ),
    "signed by a steward and a stranger": (
        lambda world: world.directory_of(9, signers=[world.stewards["ana"], generate_private_key()]),
        DirectorySignatureError,
    ),
    "signed by nobody": (lambda world: world.directory_of(9, signers=[]), DirectorySignatureError),
    "of stewards of their own making": (by_other_stewards, DirectorySignatureError),
    "of another federation": (another_federation, DirectoryMalformedError),
    "with a member's record that the member did not sign": (
        lambda world: world.directory_of(9, members=unsigned_by_member(world)),
        DirectorySignatureError,
    ),
    "with a record changed under its old number": (
        lambda world: world.directory_of(9, members=same_number(world)),
        DirectoryRollbackError,
    ),
    "cut off": (lambda world: world.directory_of(9)[:-9], DirectoryError),
    "garbage": (lambda _: b"\xff" * 100, DirectoryMalformedError),
    "too large": (lambda _: bytes(250_000), DirectoryMalformedError),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def held(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, Parts]]:
    """GT in its second directory, which no bad one may change."""
    world = World.make(tmp_path_factory.mktemp("held"))
    second = world.compose()
    stored(world["GT"], world, second)
    async with running(world["GT"].config) as parts:
        yield world, parts


async def fetch_until_heard(parts: Parts, book: Book, before: int) -> None:
    """Fetch until the peer is heard: a channel that has just failed waits a little before it connects again."""
    for _ in range(100):
        assert await parts.distribution.fetch_directories() == 2
        if book.size > before:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the peer was not heard")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("fault", BAD)
async def test_a_bad_directory_of_a_peer_changes_nothing_and_is_a_line(held: tuple[World, Parts], fault: str) -> None:
    world, parts = held
    make, error = BAD[fault]
    bad, book = make(world), Book(world["GT"], world)
    before = book.size
    async with hostile_server(world, "MX", never, directory=bad):
        await fetch_until_heard(parts, book, before)
        assert parts.standing.trust.directory.signed == world.directory
        # At once, and perhaps again by the node's own look at its peers.
        lines = {told(line) for line in book.lines(before)}
        assert {(kind, peer) for kind, peer, _ in lines} == {("REJECTED", "MX")}
        assert {reason for _, _, reason in lines} <= {each.__name__ for each in (error, *error.__subclasses__())}
        # By hand it is no better.
        with pytest.raises(error):
            await parts.distribution.accept_directory(bad)
        assert parts.standing.trust.directory.signed == world.directory
    book.verify()


@pytest.mark.asyncio(loop_scope="module")
async def test_an_answer_that_is_no_message_is_a_line_too(held: tuple[World, Parts]) -> None:
    world, parts = held
    book = Book(world["GT"], world)
    before = book.size
    async with hostile_server(world, "MX", never, directory_answer=b"\x0a\xff\xff"):
        await fetch_until_heard(parts, book, before)
    assert told(book.lines(before)[-1]) == ("REJECTED", "MX", "MalformedError")
    book.verify()


async def test_a_newer_directory_of_a_peer_comes_into_force_everywhere(fresh: World) -> None:
    newer = fresh.compose()
    async with running(fresh["MX"].config) as mx, running(fresh["GT"].config) as gt:
        assert await mx.distribution.accept_directory(newer) == 2
        assert await gt.distribution.fetch_directories() == 2
        for code in ("GT", "MX"):
            book = Book(fresh[code], fresh)
            assert told(book.lines()[-1]) == ("DIRECTORY", "", "VERSION 2")
            book.verify()
        assert (await asked(gt, "MX")).outcome == PeerOutcome.PEER_OUTCOME_ANSWERED
    async with running(fresh["GT"].config) as again:
        assert again.standing.trust.directory.version == 2


# --- members ---------------------------------------------------------------------------------------------------------


async def test_a_member_that_is_removed_while_connected_is_a_stranger_from_the_next_call_on(fresh: World) -> None:
    mx, us = fresh["MX"], fresh["US"]
    async with running(mx.config) as parts, channel_to(mx, us.node) as channel:
        assert await send(channel, question(fresh, "US"))
        del fresh.places["US"]
        await parts.distribution.accept_directory(fresh.compose())
        fresh.places["US"] = us
        before = Book(mx, fresh).size
        for data, method in ((question(fresh, "US"), None), (b"", GET_DIRECTORY)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (send(channel, data, method) if method else send(channel, data))
            assert caught.value.code() is Status.UNAUTHENTICATED
        assert Book(mx, fresh).size == before  # nobody was identified
        assert (await asked(parts, "US")).outcome == NOT_ASKED
        await still_answers(fresh)


async def test_a_new_member_is_denied_until_it_is_paired_but_gets_the_directory(fresh: World, tmp_path: object) -> None:
    del tmp_path
    from tests.world import _place

    mx = fresh["MX"]
    fresh.places["BR"] = _place(fresh.folder / "BR", "BR")
    async with running(mx.config) as parts:
        await parts.distribution.accept_directory(fresh.compose())
        await asyncio.sleep(1.2)  # roots for handshakes are looked at once a second
        async with channel_to(mx, fresh["BR"].node) as channel:
            await refused(
                fresh,
                send(channel, question(fresh, "BR")),
                Status.PERMISSION_DENIED,
                rejected("NotPairedError", "BR"),
                words=NotPairedError.public,
            )
            data = await send(channel, GetDirectoryRequest().SerializeToString(), GET_DIRECTORY)
            assert GetDirectoryResponse.FromString(data).signed_directory == fresh.directory
        assert (await asked(parts, "BR")).outcome == NOT_ASKED


# --- pairings --------------------------------------------------------------------------------------------------------


@pytest.fixture
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("unpaired"), ("GT", "MX"), paired=False)


async def test_without_a_pairing_a_peer_is_refused(unpaired: World) -> None:
    async with running(unpaired["MX"].config), channel_to(unpaired["MX"], unpaired["GT"].node) as channel:
        call = send(channel, question(unpaired))
        await refused(unpaired, call, Status.PERMISSION_DENIED, UNPAIRED, words=NotPairedError.public)


async def test_without_a_pairing_a_peer_acknowledges_nothing(unpaired: World) -> None:
    sealed = seal(
        signer_of(unpaired["GT"]),
        statement_type=StatementType.STATEMENT_TYPE_ACKNOWLEDGEMENT,
        exchange_id=bytes(16),
        recipient="MX",
        body=Body(salt=new_salt(), acknowledgement=Acknowledgement(exchange_id=bytes(16))),
        now_us=now_us(),
        directory_version=1,
    )
    data = AcknowledgeRequest(envelope=sealed.envelope).SerializeToString()
    async with running(unpaired["MX"].config), channel_to(unpaired["MX"], unpaired["GT"].node) as channel:
        await refused(unpaired, send(channel, data, ACKNOWLEDGE), Status.PERMISSION_DENIED, UNPAIRED)


async def test_without_a_pairing_a_peer_is_not_asked(unpaired: World) -> None:
    book = Book(unpaired["GT"], unpaired)
    async with hostile_server(unpaired, "MX", never) as calls, running(unpaired["GT"].config) as parts:
        response = await asked(parts, "MX")
        assert (response.outcome, response.detail) == (NOT_ASKED, NotPairedError.public)
        assert calls.requests == []
        assert [told(line) for line in book.lines(peer="MX")] == [("DENIED", "MX", "NotPairedError")]
        book.verify()


def store_pairing(place: Place, signed: bytes) -> None:
    """Write it as somebody would who has more than SQL: two have signed, says the row, and a line says so too."""
    from node.identity.approvals import parse_pairing
    from node.wire.approval_pb2 import SignedPairing

    pairing = parse_pairing(SignedPairing.FromString(signed).pairing)
    place.change(lambda connection: pairings.put(connection, pairing, signed, now_us=now_us()))


@pytest.mark.parametrize("signers", ["one focal point", "two strangers", "one, twice"])
async def test_a_pairing_needs_the_signatures_of_two_focal_points(unpaired: World, signers: str) -> None:
    mx, gt = unpaired["MX"], unpaired["GT"]
    first, second = mx.focal_keys
    if signers == "two strangers":
        mx.focal_keys = (generate_private_key(), generate_private_key())
    elif signers == "one, twice":
        mx.focal_keys = (first, first)
    store_pairing(mx, signed_pairing(mx, gt, 1 if signers == "one focal point" else 2).SerializeToString())
    mx.focal_keys = (first, second)
    async with running(mx.config), channel_to(mx, gt.node) as channel:
        await refused(unpaired, send(channel, question(unpaired)), Status.PERMISSION_DENIED, UNPAIRED)


async def test_a_changed_root_key_undoes_the_pairing_in_both_directions(fresh: World) -> None:
    mx, gt = fresh["MX"], fresh["GT"]
    async with running(mx.config) as parts, channel_to(mx, gt.node) as channel:
        assert await send(channel, question(fresh))
        gt.root_key, gt.record_number = generate_private_key(), 2
        await parts.distribution.accept_directory(fresh.compose())
        await refused(fresh, send(channel, question(fresh)), Status.PERMISSION_DENIED, UNPAIRED)
        assert (await asked(parts, "GT")).outcome == NOT_ASKED
        assert told(Book(mx, fresh).lines()[-1]) == ("DENIED", "GT", "NotPairedError")
        await still_answers(fresh, asker="US")
    async with running(mx.config), channel_to(mx, gt.node) as channel:
        await refused(fresh, send(channel, question(fresh)), Status.PERMISSION_DENIED, UNPAIRED)
    store_pairing(mx, signed_pairing(mx, gt).SerializeToString())
    async with running(mx.config):
        await still_answers(fresh)
