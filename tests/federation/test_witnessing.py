"""Witnesses: cosignatures, their order, and a ledger that shows two histories."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import grpc
import pytest
from nacl.signing import SigningKey
from sqlalchemy import delete

from node.cli.parts import Parts
from node.cli.serving import running
from node.federation.channels import GET_CONSISTENCY, PUSH_SPLIT_VIEW, SUBMIT_CHECKPOINT
from node.federation.signed_checkpoints import opened_of, witness_keys
from node.ledger.checkpoint import Checkpoint, format_checkpoint, origin_of
from node.ledger.note import note_signer, sign_note
from node.ledger.rfc6962 import EMPTY_ROOT, consistency_proof, root_of
from node.store.evidence import list_split_views
from node.store.findings import list_findings
from node.store.witnessing import cosignatures, last_seen, own_checkpoints
from node.wire.ledger_pb2 import LeafKind
from node.wire.witness_pb2 import (
    GetConsistencyRequest,
    PushSplitViewRequest,
    SplitView,
    SubmitCheckpointRequest,
    SubmitCheckpointResponse,
)
from tests.federation.support import Book
from tests.peer_simulator import channel_to
from tests.pki import FEDERATION
from tests.world import Place, World

ONE = [sha256(bytes([n])).digest() for n in range(9)]
OTHER = [*ONE[:4], *(sha256(b"other%d" % n).digest() for n in range(5))]


def note_of(place: Place, size: int, hashes: Sequence[bytes], key: bytes = b"") -> bytes:
    origin = origin_of(FEDERATION, place.code, place.name)
    signing = SigningKey(key or place.signing_key)
    signer = note_signer(origin, signing.verify_key.encode(), lambda message: signing.sign(message).signature)
    root = root_of(hashes[:size]) if size else EMPTY_ROOT
    return sign_note(format_checkpoint(Checkpoint(origin, size, root)), signer)


async def call(world: World, sender: str, to: str, method: str, request: bytes) -> bytes:
    async with channel_to(world[to], world[sender].node) as channel:
        stub: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        return await stub(request, timeout=10)


async def submit(
    world: World, size: int, old_size: int, hashes: Sequence[bytes] = ONE, *, to: str = "MX", key: bytes = b""
) -> SubmitCheckpointResponse:
    """GT shows its ledger to a witness."""
    proof = consistency_proof(old_size, hashes[:size]) if 0 < old_size <= size else []
    request = SubmitCheckpointRequest(
        checkpoint=note_of(world["GT"], size, hashes, key), old_size=old_size, proof=proof
    )
    answer = await call(world, "GT", to, SUBMIT_CHECKPOINT, request.SerializeToString())
    return SubmitCheckpointResponse.FromString(answer)


async def is_refused(world: World, *args: int, **how: object) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await submit(world, *args, **how)  # type: ignore[arg-type]
    return refused.value.code()


async def seen_size(parts: Parts) -> int:
    seen = await parts.database.read(last_seen, origin_of(FEDERATION, "GT", "gt-1"))
    return seen.checkpoint.size if seen else -1


async def test_two_nodes_cosign_each_others_ledgers(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX", "US"))
    async with running(world["GT"].config) as gt, running(world["MX"].config) as mx:
        assert await gt.witnessing.publish() == {"MX"}  # US is down, which delays nothing
        await gt.distribution.store_revocations("GT", world["GT"].ca.crl(1))
        assert await gt.witnessing.publish() == {"MX"}
        assert await mx.witnessing.publish() == {"GT"}
        assert await gt.witnessing.publish() == {"MX"}  # the same again

        own = await gt.database.read(own_checkpoints)
        directory = gt.standing.trust.directory
        for each in own:
            note = each.note + b"".join(line for _, line, _ in each.lines)
            opened = opened_of(directory, "GT", note, tuple(witness_keys(directory, "MX")))
            assert [signature.key.name for signature in opened.cosignatures] == [f"{FEDERATION}/MX/mx-1"]
        assert own[-1].size == await seen_size(mx)


async def test_a_witness_follows_one_history_only(fresh: World) -> None:
    async with running(fresh["MX"].config) as mx:
        assert (await submit(fresh, 3, 0)).cosignature
        assert (await submit(fresh, 3, 3)).cosignature  # its answer was lost: the same again
        stale = await submit(fresh, 8, 0)
        assert not stale.cosignature
        assert b"\n3\n" in stale.seen
        assert (await submit(fresh, 8, 3)).cosignature
        older = await submit(fresh, 5, 3)  # an old backup: never a smaller size again
        assert not older.cosignature
        assert b"\n8\n" in older.seen
        assert await seen_size(mx) == 8
        assert await mx.database.read(list_split_views) == []


@pytest.mark.parametrize(
    ("old_size", "proof"),
    [(9, []), (0, [bytes(32)]), (3, [bytes(31)]), (3, [bytes(32)] * 64), (1 << 63, [])],
)
async def test_a_proof_that_is_none_is_refused(fresh: World, old_size: int, proof: list[bytes]) -> None:
    async with running(fresh["MX"].config) as mx:
        note = note_of(fresh["GT"], 5, ONE)
        request = SubmitCheckpointRequest(checkpoint=note, old_size=old_size, proof=proof).SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(fresh, "GT", "MX", SUBMIT_CHECKPOINT, request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await seen_size(mx) == -1


async def test_only_a_ledgers_own_key_shows_it(fresh: World) -> None:
    async with running(fresh["MX"].config) as mx:
        before = Book(fresh["MX"], fresh).size
        assert await is_refused(fresh, 3, 0, key=fresh["US"].signing_key) is grpc.StatusCode.PERMISSION_DENIED
        assert Book(fresh["MX"], fresh).size == before + 1
        # A good checkpoint of another country is not the caller's to submit.
        request = SubmitCheckpointRequest(checkpoint=note_of(fresh["US"], 3, ONE)).SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError):
            await call(fresh, "GT", "MX", SUBMIT_CHECKPOINT, request)
        assert await seen_size(mx) == -1


async def test_two_roots_of_one_size_are_kept_and_every_member_is_told(fresh: World) -> None:
    async with running(fresh["MX"].config) as mx, running(fresh["US"].config) as us:
        assert (await submit(fresh, 6, 0)).cosignature
        assert await is_refused(fresh, 6, 0, hashes=OTHER) is grpc.StatusCode.PERMISSION_DENIED
        assert await is_refused(fresh, 6, 0, hashes=OTHER) is grpc.StatusCode.PERMISSION_DENIED

        for parts, code in ((mx, "MX"), (us, "US")):
            (view,) = await parts.database.read(list_split_views)
            assert view.proved
            assert {view.first, view.second} == {note_of(fresh["GT"], 6, hashes) for hashes in (ONE, OTHER)}
            (finding,) = await parts.database.read(list_findings)
            assert (finding.kind, finding.peer) == ("SPLIT_VIEW", "GT")
            lines = Book(fresh[code], fresh).lines(kinds=[LeafKind.LEAF_KIND_SPLIT_VIEW])
            assert [line.shared.peer for line in lines] == ["GT"]
            Book(fresh[code], fresh).verify()


async def test_what_the_proof_does_not_link_is_not_cosigned(fresh: World) -> None:
    async with running(fresh["MX"].config) as mx:
        assert (await submit(fresh, 6, 0)).cosignature
        assert await is_refused(fresh, 8, 6, hashes=OTHER) is grpc.StatusCode.PERMISSION_DENIED
        assert await seen_size(mx) == 6
        (view,) = await mx.database.read(list_split_views)
        assert not view.proved
        assert [finding.kind for finding in await mx.database.read(list_findings)] == ["UNLINKED_HISTORY"]


async def test_a_history_for_each_peer_is_found_when_they_compare(fresh: World) -> None:
    async with running(fresh["MX"].config) as mx, running(fresh["US"].config) as us:
        assert (await submit(fresh, 6, 0, ONE, to="MX")).cosignature
        assert (await submit(fresh, 6, 0, OTHER, to="US")).cosignature
        await mx.witnessing.comparing.compare()
        for parts in (mx, us):
            (view,) = await parts.database.read(list_split_views)
            assert view.proved


async def test_what_proves_nothing_is_not_taken_for_evidence(fresh: World) -> None:
    async with running(fresh["MX"].config) as mx:
        good = note_of(fresh["GT"], 6, ONE)
        for second in (good, note_of(fresh["GT"], 7, ONE), note_of(fresh["GT"], 6, OTHER, fresh["US"].signing_key)):
            request = PushSplitViewRequest(split_view=SplitView(first=good, second=second)).SerializeToString()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(fresh, "US", "MX", PUSH_SPLIT_VIEW, request)
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert await mx.database.read(list_split_views) == []


async def test_a_ledger_that_lost_lines_learns_it_from_its_witness(fresh: World) -> None:
    async with running(fresh["MX"].config), running(fresh["GT"].config) as gt:
        assert (await submit(fresh, 9, 0)).cosignature  # of lines that this database has never had
        assert await gt.witnessing.publish() == frozenset()
        (finding,) = await gt.database.read(list_findings)
        assert (finding.kind, finding.peer) == ("ROLLED_BACK", "MX")


async def test_a_ledger_without_its_own_memory_goes_on_from_the_witnesss(fresh: World) -> None:
    async with running(fresh["MX"].config), running(fresh["GT"].config) as gt:
        assert await gt.witnessing.publish() == {"MX"}
        await gt.distribution.store_revocations("GT", fresh["GT"].ca.crl(1))
        with gt.database.engine.begin() as connection:
            connection.execute(delete(cosignatures))
        assert await gt.witnessing.publish() == {"MX"}


async def test_a_ledger_proves_its_own_growth_and_nothing_else(fresh: World) -> None:
    async with running(fresh["GT"].config) as gt:
        await gt.witnessing.publish()
        (own,) = await gt.database.read(own_checkpoints)
        request = GetConsistencyRequest(first=own.note, second=note_of(fresh["GT"], 1_000, ONE)).SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(fresh, "MX", "GT", GET_CONSISTENCY, request)
        # Its own signature, under lines that it does not have: it has lost them, and says no more until that is told.
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert gt.standing.fenced
