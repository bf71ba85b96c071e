"""A witness to the ledgers of paired peers: it cosigns what extends all that it has seen, and stores that first.

No line of the ledger says that a checkpoint was cosigned: it would grow one ledger by a line, which makes a checkpoint,
which would grow the other. Only what is wrong is a line.

The key that cosigns is the one that signs statements and the node's own checkpoints. Their texts can't be mistaken for
each other: they begin with "cosignature/v1", "DSSEv1" and the name of the federation with the country in capitals.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from nacl.signing import SigningKey
from sqlalchemy import Connection

from node.errors import LedgerError, MalformedError, MisdirectedError, NoteError, ProofError
from node.federation.evidence import Evidence
from node.federation.fencing import Fencing
from node.federation.signed_checkpoints import opened_of
from node.federation.standing import Standing
from node.identity.certificates import Peer
from node.ledger.checkpoint import Checkpoint, cosigner, origin_of
from node.ledger.epoch import FIRST, Confession, note_checkpoint, split_origin
from node.ledger.note import signature_line
from node.ledger.rfc6962 import leaf_hash
from node.ledger.witness import Verdict
from node.store.database import Database
from node.store.epochs import epoch_of, list_restores, opening_line
from node.store.evidence import list_split_views
from node.store.listing import read_head
from node.store.tiles import prove_consistency, prove_inclusion
from node.store.witnessing import all_seen, own_checkpoints, witness
from node.store.writer import Priority, Writer
from node.wire.fence_pb2 import Restored
from node.wire.witness_pb2 import (
    GetConsistencyRequest,
    GetConsistencyResponse,
    GetHeadsRequest,
    GetHeadsResponse,
    PushSplitViewRequest,
    PushSplitViewResponse,
    SplitView,
    SubmitCheckpointRequest,
    SubmitCheckpointResponse,
)

MOST_RESTORED = 16  # told in one answer, at up to 10 kB each

M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class Cosigning:
    """Serves ledgers whose witness this node is, and members that compare what was seen."""

    standing: Standing
    database: Database
    writer: Writer
    evidence: Evidence
    fencing: Fencing
    clock: Callable[[], int]

    async def submitted(self, data: bytes, peer: Peer) -> bytes:
        """Cosign a paired peer's checkpoint, once it is stored as the last one seen of that ledger.

        Raises:
            MalformedError, NotPairedError, MisdirectedError: it is not cosigned.
        """
        request = parsed(SubmitCheckpointRequest, data)
        self.standing.trust.verify_paired(peer.country)
        shown, text = self.evidence.received(peer.country, request.checkpoint)
        restored, confession = self._confession(peer.country, request, shown.checkpoint)
        now_us = self.clock()
        verdict, seen = await asyncio.wrap_future(
            self.writer.submit(
                lambda connection: witness(
                    connection, shown, request.old_size, tuple(request.proof), now_us, confession=confession
                ),
                priority=Priority.BACKGROUND,
            )
        )
        if verdict is Verdict.COSIGN:
            if confession is not None:
                await self.evidence.keep_restored(peer.country, restored, confession)
            return SubmitCheckpointResponse(cosignature=self._cosignature(text, now_us)).SerializeToString()
        if verdict is Verdict.STALE or seen is None:
            return SubmitCheckpointResponse(seen=seen.note if seen else b"").SerializeToString()
        await self.evidence.convict(peer.country, seen, shown)
        raise MisdirectedError(f"{peer.country} shows another history than the one that was seen before")

    def _confession(
        self, country: str, request: SubmitCheckpointRequest, shown: Checkpoint
    ) -> tuple[Restored, Confession | None]:
        restored = request.restored
        if not request.HasField("restored") or split_origin(shown.origin)[1] == FIRST:
            return restored, None
        restored.checkpoint = request.checkpoint
        try:
            return restored, self.evidence.confession(country, restored, shown)
        except LedgerError as error:
            raise MisdirectedError(str(error)) from error

    async def heads(self, data: bytes, peer: Peer) -> bytes:
        """Tell a member what was seen last of every ledger, which have shown two histories, and which were restored."""
        del peer
        parsed(GetHeadsRequest, data)
        seen = await self.database.read(all_seen)
        split = await self.database.read(list_split_views)
        own = await self.database.read(own_restore)
        others = await self.database.read(list_restores)
        return GetHeadsResponse(
            checkpoints=[each.note for each in seen],
            split_views=[SplitView(first=each.first, second=each.second) for each in split if each.proved],
            restored=[*([own] if own else []), *map(Restored.FromString, others[: MOST_RESTORED - 1])],
        ).SerializeToString()

    async def consistency(self, data: bytes, peer: Peer) -> bytes:
        """Prove to a member that one checkpoint of this node extends another, also of an earlier epoch.

        Raises:
            MisdirectedError: they are not this node's, or can't be linked.
            FencedError: this node has signed them, and lost their lines.
        """
        request = parsed(GetConsistencyRequest, data)
        directory, country = self.standing.trust.directory, self.standing.country
        name = origin_of(directory.federation, country, self.standing.signer.node)
        size = (await self.database.read(read_head)).size
        try:
            first = opened_of(directory, country, request.first).checkpoint
            second = opened_of(directory, country, request.second).checkpoint
            if {split_origin(first.origin)[0], split_origin(second.origin)[0]} != {name}:
                raise NoteError("the checkpoints are not of this ledger")
            if second.size > size:
                raise ProofError("the ledger does not have so many lines")
            proof = await self.database.read(proof_between, first, second)
        except NoteError as error:
            raise MisdirectedError(str(error)) from error
        except ProofError as error:
            # Whoever asks may hold what this node has lost: then it is no second history, if it says so.
            for note in (request.first, request.second):
                await self.fencing.check(peer.country, note)
            self.standing.verify_not_fenced()
            raise MisdirectedError(str(error)) from error
        return GetConsistencyResponse(proof=proof).SerializeToString()

    async def split_view(self, data: bytes, peer: Peer) -> bytes:
        """Take evidence from a member; it is believed for its signatures, not for who brings it."""
        del peer
        try:
            await self.evidence.take_split_view(parsed(PushSplitViewRequest, data).split_view)
        except (NoteError, ProofError) as error:
            raise MisdirectedError(str(error)) from error
        return PushSplitViewResponse().SerializeToString()

    def _cosignature(self, text: bytes, now_us: int) -> bytes:
        signer = self.standing.signer
        name = origin_of(self.standing.trust.directory.federation, signer.country, signer.node)
        key = SigningKey(signer.private_key)
        public = key.verify_key.encode()
        return signature_line(text, cosigner(name, public, lambda message: key.sign(message).signature, now_us=now_us))


def proof_between(connection: Connection, first: Checkpoint, second: Checkpoint) -> list[bytes]:
    """Prove that one checkpoint of this ledger extends another.

    Raises:
        ProofError, LedgerBrokenError: as `node.store.tiles.prove_consistency`.
    """
    return prove_consistency(connection, old_size=first.size, old_root=first.root, size=second.size, root=second.root)


def restore_at(connection: Connection, checkpoint: Checkpoint, note: bytes) -> Restored | None:
    """Return what the epoch of this node's checkpoint confesses, with its proof; None in the first epoch.

    Raises:
        LedgerError: the line is missing, or not in that tree.
    """
    line = opening_line(connection, split_origin(checkpoint.origin)[1])
    if line is None:
        return None
    index, leaf = line
    proof = prove_inclusion(
        connection, index=index, leaf_hash=leaf_hash(leaf), size=checkpoint.size, root=checkpoint.root
    )
    return Restored(checkpoint=note, leaf=leaf, index=index, proof=proof)


def own_restore(connection: Connection) -> Restored | None:
    """Return what this node confessed last, under its newest checkpoint; None where there is nothing to tell."""
    line = opening_line(connection, epoch_of(connection))
    if line is None:
        return None
    newest = own_checkpoints(connection, line[0] + 1)[-1:]
    return restore_at(connection, note_checkpoint(newest[0].note), newest[0].note) if newest else None


def parsed(kind: type[M], data: bytes) -> M:
    """Read a message of the contract.

    Raises:
        MalformedError: it is none.
    """
    try:
        return kind.FromString(data)
    except DecodeError:
        raise MalformedError("the message is not one of the contract") from None
