"""A peer is dealt with only after a rehearsal that two focal points have read and signed."""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from node.cli.serving import running
from node.identity.approvals import build_pairing, parse_pairing, sign_pairing
from node.identity.keys import generate_private_key, public_key
from node.wire.approval_pb2 import SignedPairing
from node.wire.desk_pb2 import (
    PEER_OUTCOME_ANSWERED,
    PEER_OUTCOME_NOT_ASKED,
    PEER_OUTCOME_REFUSED,
    EndPairingRequest,
    GetStatusRequest,
    ListPairingsRequest,
    PairingState,
    RehearsePairingRequest,
    SearchResponse,
    SignPairingRequest,
)
from tests.desk.support import Desks, Status, desks_of, refused, search
from tests.federation.support import SEEN, VICTIMS, case_record, private_of, telephone, told
from tests.world import FOCAL, Place, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World.make(tmp_path_factory.mktemp("pairing"), ("GT", "MX", "US"), paired=False)
    world["MX"].write((case_record(), [telephone(), telephone(VICTIMS, victim=True)]))
    return world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desks(world: World) -> AsyncIterator[Desks]:
    async with desks_of(world, "GT", "MX") as opened:
        yield opened


async def rehearsed(desks: Desks, code: str, peer: str) -> bytes:
    stub = await desks(code, "focal")
    return (await stub.RehearsePairing(RehearsePairingRequest(peer=peer))).sha256


def pairing(place: Place, other: Place, rehearsal: bytes, *keys: bytes, root_key: bytes = b"") -> SignPairingRequest:
    signed = build_pairing(
        country=place.code,
        peer=other.code,
        peer_root_key=root_key or public_key(other.root_key),
        time_us=now_us(),
        rehearsal_sha256=rehearsal,
    )
    for key in keys:
        signed = sign_pairing(signed, key)
    return SignPairingRequest(signed_pairing=signed.SerializeToString())


def with_signature(request: SignPairingRequest, key: bytes) -> SignPairingRequest:
    """The same pairing, signed by this key alone."""
    bare = SignedPairing(pairing=SignedPairing.FromString(request.signed_pairing).pairing)
    return SignPairingRequest(signed_pairing=sign_pairing(bare, key).SerializeToString())


async def brought(desks: Desks, code: str, request: SignPairingRequest, number: int) -> bool:
    """Have a focal point (0 or 1) bring their own signature on this pairing; tells whether it is in force."""
    signed = with_signature(request, desks.world[code].focal_keys[number])
    return (await (await desks(code, FOCAL[number])).SignPairing(signed)).in_force


async def state(desks: Desks, code: str) -> PairingState:
    """How it stands with the other of GT and MX."""
    held = (await (await desks(code, "focal")).ListPairings(ListPairingsRequest())).pairings
    (found,) = [each for each in held if each.peer in {"GT", "MX"}]
    return found


async def asked(desks: Desks, *peers: str) -> list[SearchResponse]:
    return await search(await desks("GT"), None, *peers)


async def test_an_unpaired_peer_is_not_asked(desks: Desks) -> None:
    gt, mx = desks.book("GT"), desks.book("MX")
    before = gt.size, mx.size
    assert await asked(desks) == []  # of all that are paired: none
    (response,) = await asked(desks, "MX")
    assert response.outcome == PEER_OUTCOME_NOT_ASKED
    assert response.detail
    assert [told(line) for line in gt.lines(before[0])] == [("DENIED", "MX", "NotPairedError")]
    assert mx.size == before[1]


async def test_the_rehearsal_counts_and_names_no_record(desks: Desks) -> None:
    stub = await desks("MX", "focal")
    response = await stub.RehearsePairing(RehearsePairingRequest(peer="GT"))
    assert "entries read: 2\n" in response.report
    assert "entries of which GT could see something: 1\n" in response.report
    assert "entries that stay invisible whatever GT asks: 1\n" in response.report
    assert "instruments in force: UNTOC\n" in response.report
    assert not [value for value in (SEEN, VICTIMS, "Invented", "CASE-1") if value in response.report]


@pytest.mark.parametrize("peer", ["MX", "BR", ""])
async def test_only_another_member_is_rehearsed(desks: Desks, peer: str) -> None:
    stub = await desks("MX", "focal")
    words = "peer: is none of the other members, which are GT, US"
    await refused(stub.RehearsePairing(RehearsePairingRequest(peer=peer)), Status.INVALID_ARGUMENT, words)


async def test_what_was_not_rehearsed_or_is_not_theirs_can_not_be_signed(desks: Desks) -> None:
    world, stub, book = desks.world, await desks("MX", "focal"), desks.book("MX")
    mx, gt = world["MX"], world["GT"]
    digest = await rehearsed(desks, "MX", "GT")
    before, stranger = book.size, generate_private_key()
    cases = {
        "unrehearsed": (pairing(mx, gt, bytes(32), *mx.focal_keys), Status.INVALID_ARGUMENT),
        "rehearsed with another peer": (
            pairing(mx, world["US"], digest, *mx.focal_keys),
            Status.INVALID_ARGUMENT,
        ),
        "by a stranger": (pairing(mx, gt, digest, stranger), Status.PERMISSION_DENIED),
        "by the peer's focal points": (pairing(mx, gt, digest, *gt.focal_keys), Status.PERMISSION_DENIED),
        "by nobody": (pairing(mx, gt, digest), Status.PERMISSION_DENIED),
        "another root key": (
            pairing(mx, gt, digest, *mx.focal_keys, root_key=public_key(stranger)),
            Status.PERMISSION_DENIED,
        ),
        "the other way round": (pairing(gt, mx, digest, *gt.focal_keys), Status.PERMISSION_DENIED),
        "garbage": (SignPairingRequest(signed_pairing=b"\xff" * 9), Status.INVALID_ARGUMENT),
        "empty": (SignPairingRequest(), Status.INVALID_ARGUMENT),
    }
    for name, (request, code) in cases.items():
        try:
            await refused(stub.SignPairing(request), code)
        except AssertionError as error:
            raise AssertionError(name) from error
    assert book.size == before
    held = await state(desks, "MX")
    assert (held.peer, held.signatures, held.in_force) == ("GT", 0, False)
    assert held.root_key == public_key(gt.root_key)


async def test_one_focal_point_is_not_enough_and_two_are(desks: Desks) -> None:
    gt, mx = desks.world["GT"], desks.world["MX"]
    # GT's side first.
    both = pairing(gt, mx, await rehearsed(desks, "GT", "MX"), *gt.focal_keys)
    for officer in ("focal", *FOCAL):  # nobody brings another's signature: one officer would be two
        await refused((await desks("GT", officer)).SignPairing(both), Status.FAILED_PRECONDITION)
    assert (await state(desks, "GT")).signatures == 0
    assert not await brought(desks, "GT", both, 1)
    assert (await (await desks("GT", FOCAL[0])).SignPairing(both)).in_force  # with what was signed before in it
    # MX has not signed: it is asked now, and refuses.
    book = desks.book("MX")
    before = book.size
    (response,) = await asked(desks)
    assert response.outcome == PEER_OUTCOME_REFUSED
    assert [told(line) for line in book.lines(before)] == [("REJECTED", "GT", "NotPairedError")]

    stub = await desks("MX", FOCAL[0])
    first, second = mx.focal_keys
    one = pairing(mx, gt, await rehearsed(desks, "MX", "GT"), first)
    assert not (await stub.SignPairing(one)).in_force
    assert not (await stub.SignPairing(one)).in_force  # twice the same focal point is one
    held = await state(desks, "MX")
    assert (held.signatures, held.in_force) == (1, False)
    (response,) = await asked(desks)
    assert response.outcome == PEER_OUTCOME_REFUSED

    await refused(stub.SignPairing(with_signature(one, second)), Status.FAILED_PRECONDITION)
    before = book.size
    assert await brought(desks, "MX", one, 1)
    (line,) = book.lines(before)
    assert told(line) == ("PAIRING", "GT", "PAIRING GT")
    assert private_of(line).officer == FOCAL[1]
    (response,) = await asked(desks)
    assert response.outcome == PEER_OUTCOME_ANSWERED
    assert [hit.entry.telecom.telephone for hit in response.answer.hits] == [SEEN]
    peers = (await (await desks("GT")).GetStatus(GetStatusRequest(probe_peers=True))).peers
    assert [(peer.peer, peer.paired, peer.reachable) for peer in peers] == [("MX", True, True), ("US", False, False)]
    book.verify()


async def test_one_focal_point_ends_it_at_once_and_what_was_signed_is_no_use_any_more(desks: Desks) -> None:
    gt, mx, book = desks.world["GT"], desks.world["MX"], desks.book("MX")
    stub = await desks("MX", "focal")
    again = pairing(mx, gt, await rehearsed(desks, "MX", "GT"), *mx.focal_keys)
    assert [await brought(desks, "MX", again, number) for number in (0, 1)] == [False, True]
    (response,) = await asked(desks)
    assert response.outcome == PEER_OUTCOME_ANSWERED

    await refused(stub.EndPairing(EndPairingRequest(peer="GT")), Status.INVALID_ARGUMENT, "say why, in up to 40 bytes")
    before = book.size
    await stub.EndPairing(EndPairingRequest(peer="GT", reason="an invented coup"))
    (line,) = book.lines(before)
    assert told(line) == ("PAIRING", "GT", "ENDED GT: an invented coup")
    (response,) = await asked(desks)
    assert response.outcome == PEER_OUTCOME_REFUSED
    assert not (await state(desks, "MX")).in_force

    # The two signatures are still true, and the rehearsal was made: neither brings an ended pairing back.
    with pytest.raises(grpc.aio.AioRpcError):
        await brought(desks, "MX", again, 0)
    assert not (await state(desks, "MX")).in_force
    await refused(stub.SignPairing(pairing(mx, gt, rehearsal_of(again), *mx.focal_keys)), Status.INVALID_ARGUMENT)
    (response,) = await asked(desks)
    assert response.outcome == PEER_OUTCOME_REFUSED
    fresh = pairing(mx, gt, await rehearsed(desks, "MX", "GT"), *mx.focal_keys)
    assert [await brought(desks, "MX", fresh, number) for number in (0, 1)] == [False, True]
    book.verify()


def rehearsal_of(request: SignPairingRequest) -> bytes:
    return parse_pairing(SignedPairing.FromString(request.signed_pairing).pairing).rehearsal_sha256


async def test_a_pairing_outlives_the_process(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World.make(tmp_path_factory.mktemp("restart"), ("GT", "MX"), paired=False)
    gt, mx = world["GT"], world["MX"]
    async with desks_of(world, "GT") as desks:
        half = pairing(gt, mx, await rehearsed(desks, "GT", "MX"), gt.focal_keys[0])
        assert not await brought(desks, "GT", half, 0)
    async with desks_of(world, "GT") as desks:
        # Half signed before the restart: the second signs what the first has read.
        assert not (await state(desks, "GT")).in_force
        assert await brought(desks, "GT", half, 1)
    async with running(gt.config) as parts:
        assert parts.standing.trust.is_paired("MX")
