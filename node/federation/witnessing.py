"""Witnessing: cosigning the checkpoints of peers, having one's own cosigned, and telling all who shows two histories.

Nobody waits for a witness: answers leave whether or not one is there, and only the age of the last cosignature shows.
No line of the ledger says that a checkpoint was cosigned: it would grow one ledger by a line, which makes a checkpoint,
which would grow the other. Only what is wrong is a line.

The key that cosigns is the one that signs statements and the node's own checkpoints. Their texts can't be mistaken for
each other: they begin with "cosignature/v1", "DSSEv1" and the name of the federation with the country in capitals.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from nacl.signing import SigningKey
from sqlalchemy import Connection

from node.errors import EnlaceError, MalformedError, MisdirectedError, NoteError, ProofError, UnknownMemberError
from node.federation import metrics
from node.federation.channels import GET_CONSISTENCY, GET_HEADS, PUSH_SPLIT_VIEW, SUBMIT_CHECKPOINT, Channels
from node.federation.lines import local_line
from node.federation.signed_checkpoints import country_of, opened_of, quorum_of, witness_keys
from node.federation.standing import Standing
from node.identity.certificates import Peer
from node.ledger.checkpoint import (
    Checkpoint,
    cosigner,
    format_checkpoint,
    origin_of,
    parse_checkpoint,
)
from node.ledger.note import note_signer, sign_note, signature_line
from node.ledger.rfc6962 import verify_consistency
from node.ledger.witness import Seen, Verdict, is_split, split_digest
from node.store.database import Database
from node.store.evidence import is_known, keep_split_view, list_split_views
from node.store.findings import raise_finding
from node.store.listing import read_head
from node.store.tiles import prove_consistency
from node.store.witnessing import (
    all_seen,
    last_cosigned,
    last_seen,
    own_checkpoints,
    put_checkpoint,
    put_cosignature,
    witness,
)
from node.store.writer import Priority, Writer
from node.wire.ledger_pb2 import LeafKind, LeafPrivate
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

log = structlog.get_logger()

CALL_S: Final = 5.0
SUBMIT_S: Final = 60.0  # between checkpoints of a ledger that grows
COMPARE_S: Final = 600.0  # between comparisons with what others have seen; also of submitting anew what is the same
MOST_HEADS: Final = 256  # taken from one answer
MOST_VIEWS: Final = 64
MOST_NOTE_BYTES: Final = 4_096  # of a checkpoint to be kept
CLOCK_US: Final = 300_000_000  # a cosignature from further ahead is not believed

M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class Witnessing:
    """A witness to the ledgers of paired peers, and a ledger that they are witnesses to."""

    standing: Standing
    channels: Channels
    database: Database
    writer: Writer
    clock: Callable[[], int]
    _published: int = -1  # size that was submitted last
    _published_at: float = float("-inf")
    _compared_at: float = float("-inf")
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    # --- as a witness ---

    async def submitted(self, data: bytes, peer: Peer) -> bytes:
        """Cosign a paired peer's checkpoint, once it is stored as the last one seen of that ledger.

        Raises:
            MalformedError, NotPairedError, MisdirectedError: it is not cosigned.
        """
        request = _parsed(SubmitCheckpointRequest, data)
        self.standing.trust.verify_paired(peer.country)
        shown, text = self._received(peer.country, request.checkpoint)
        now_us = self.clock()
        verdict, seen = await asyncio.wrap_future(
            self.writer.submit(
                lambda connection: witness(connection, shown, request.old_size, tuple(request.proof), now_us),
                priority=Priority.BACKGROUND,
            )
        )
        if verdict is Verdict.COSIGN:
            return SubmitCheckpointResponse(cosignature=self._cosignature(text, now_us)).SerializeToString()
        if verdict is Verdict.STALE or seen is None:
            return SubmitCheckpointResponse(seen=seen.note if seen else b"").SerializeToString()
        await self._convict(peer.country, seen, shown)
        raise MisdirectedError(f"{peer.country} shows another history than the one that was seen before")

    async def heads(self, data: bytes, peer: Peer) -> bytes:
        """Tell a member what was seen last of every ledger, and which have shown two histories."""
        del peer
        _parsed(GetHeadsRequest, data)
        seen = await self.database.read(all_seen)
        split = await self.database.read(list_split_views)
        return GetHeadsResponse(
            checkpoints=[each.note for each in seen],
            split_views=[SplitView(first=each.first, second=each.second) for each in split if each.proved],
        ).SerializeToString()

    async def consistency(self, data: bytes, peer: Peer) -> bytes:
        """Prove to a member that one checkpoint of this node extends another.

        Raises:
            MisdirectedError: they are not this node's, or can't be linked.
        """
        del peer
        request = _parsed(GetConsistencyRequest, data)
        directory, country = self.standing.trust.directory, self.standing.country
        size = (await self.database.read(read_head)).size
        try:
            first = opened_of(directory, country, request.first).checkpoint
            second = opened_of(directory, country, request.second).checkpoint
            if first.origin != self.origin or second.origin != self.origin or second.size > size:
                raise ProofError("the checkpoints are not of this ledger as it is")
            proof = await self.database.read(_proof, first, second)
        except (NoteError, ProofError) as error:
            raise MisdirectedError(str(error)) from error
        return GetConsistencyResponse(proof=proof).SerializeToString()

    async def split_view(self, data: bytes, peer: Peer) -> bytes:
        """Take evidence from a member; it is believed for its signatures, not for who brings it."""
        del peer
        try:
            await self._take_split_view(_parsed(PushSplitViewRequest, data).split_view)
        except (NoteError, ProofError) as error:
            raise MisdirectedError(str(error)) from error
        return PushSplitViewResponse().SerializeToString()

    # --- as a ledger ---

    @property
    def origin(self) -> str:
        """Name of this node's ledger."""
        signer = self.standing.signer
        return origin_of(self.standing.trust.directory.federation, signer.country, signer.node)

    async def look(self) -> None:
        """Submit what has grown, and compare with others, when it is time; to be called every second or so."""
        now = asyncio.get_running_loop().time()
        size = (await self.database.read(read_head)).size
        every = SUBMIT_S if size != self._published else COMPARE_S
        if now - self._published_at >= every:
            self._published, self._published_at = size, now
            await self.publish()
        if now - self._compared_at >= COMPARE_S:
            self._compared_at = now
            await self.compare()

    async def publish(self) -> frozenset[str]:
        """Sign a checkpoint of the ledger as it is, submit it to every paired peer, and return who cosigned it."""
        async with self._one_at_a_time:
            head = await self.database.read(read_head)
            checkpoint, now_us = Checkpoint(self.origin, head.size, head.root), self.clock()
            text = format_checkpoint(checkpoint)
            key = SigningKey(self.standing.signer.private_key)
            signer = note_signer(self.origin, key.verify_key.encode(), lambda message: key.sign(message).signature)
            note = await asyncio.wrap_future(
                self.writer.submit(
                    lambda connection: put_checkpoint(connection, head.size, sign_note(text, signer), now_us),
                    priority=Priority.BACKGROUND,
                )
            )
            known = await self.database.read(last_cosigned)
            peers = [peer for peer in self._others() if self.standing.trust.is_paired(peer)]
            done = await asyncio.gather(
                *[self._submit(peer, Seen(checkpoint, note), _kept(known.get(peer))) for peer in peers]
            )
            kept = (await self.database.read(own_checkpoints, head.size))[0]
            if len(kept.lines) >= quorum_of(self.standing.trust.directory):
                metrics.LEDGER_WITNESSED.set(kept.signed_us / 1e6)
            return frozenset(peer for peer, cosigned in zip(peers, done, strict=True) if cosigned)

    async def _submit(self, peer: str, own: Seen, old: Checkpoint | None) -> bool:
        try:
            reply = await self._asked_to_cosign(peer, own, old)
            if reply is not None and not reply.cosignature:
                # Once more, from what the witness says that it has seen: its memory counts, not this node's.
                reply = await self._asked_to_cosign(peer, own, self._seen_of_own(reply.seen))
            if reply is None or not reply.cosignature:
                return False
            await self._keep_cosignature(peer, own, reply.cosignature)
        except EnlaceError as error:
            log.warning("not_cosigned", peer=peer, reason=str(error))
            return False
        return True

    async def _asked_to_cosign(self, peer: str, own: Seen, old: Checkpoint | None) -> SubmitCheckpointResponse | None:
        old = old if old is not None and old.size else None
        proof: Sequence[bytes] = ()
        if old is not None:
            try:
                # Verified before it leaves: one that fails would pass, with the witness, for a second history.
                proof = await self.database.read(_proof, old, own.checkpoint)
            except ProofError:
                await self._rolled_back(peer, old, own.checkpoint)
                raise
        request = SubmitCheckpointRequest(checkpoint=own.note, old_size=old.size if old else 0, proof=proof)
        data = await self._called(peer, SUBMIT_CHECKPOINT, request)
        return None if data is None else _parsed(SubmitCheckpointResponse, data)

    def _seen_of_own(self, note: bytes) -> Checkpoint | None:
        if not note:
            return None
        opened = opened_of(self.standing.trust.directory, self.standing.country, note)
        if opened.checkpoint.origin != self.origin:
            raise NoteError("the witness shows a checkpoint of another ledger")
        return opened.checkpoint

    async def _keep_cosignature(self, peer: str, own: Seen, line: bytes) -> None:
        directory = self.standing.trust.directory
        opened = opened_of(directory, self.standing.country, own.note + line, tuple(witness_keys(directory, peer)))
        times = [each.time_us for each in opened.cosignatures if each.time_us is not None]
        if len(times) != 1 or times[0] > self.clock() + CLOCK_US:
            raise NoteError(f"{peer} sent a line that is not its cosignature, or one of a time to come")
        await asyncio.wrap_future(
            self.writer.submit(
                lambda connection: put_cosignature(connection, own.checkpoint.size, peer, line, times[0]),
                priority=Priority.BACKGROUND,
            )
        )

    async def _rolled_back(self, peer: str, seen: Checkpoint, own: Checkpoint) -> None:
        """Say that a witness holds this node's own signature on lines that it does not have any more."""
        now_us, digest = self.clock(), split_digest(seen, own)
        detail = f"{peer} has seen {seen.size} lines signed that the ledger of {own.size} lines does not begin with"
        log.error("ledger_rolled_back", peer=peer, seen=seen.size, size=own.size)
        metrics.LEDGER_ROLLED_BACK.set(1)
        await asyncio.wrap_future(
            self.writer.submit(
                lambda connection: raise_finding(
                    connection, kind="ROLLED_BACK", peer=peer, exchange_id=digest[:16], detail=detail, now_us=now_us
                )
            )
        )

    # --- comparing ---

    async def compare(self) -> None:
        """Ask every member what it has seen, and compare: who shows two histories shows them to different peers."""
        peers = self._others()
        replies = await asyncio.gather(*[self._called(peer, GET_HEADS, GetHeadsRequest()) for peer in peers])
        for peer, data in zip(peers, replies, strict=True):
            if data is None:
                continue
            try:
                response = _parsed(GetHeadsResponse, data)
            except MalformedError:
                log.warning("heads_malformed", peer=peer)
                continue
            for note in response.checkpoints[:MOST_HEADS]:
                with suppress(NoteError, UnknownMemberError):
                    await self._compare_one(note)
            for view in response.split_views[:MOST_VIEWS]:
                with suppress(NoteError, UnknownMemberError, ProofError):
                    await self._take_split_view(view)

    async def _compare_one(self, note: bytes) -> None:
        """Compare what somebody else has seen of a ledger with what was seen here."""
        country = country_of(note)
        if country == self.standing.country:
            return
        other = self._own_word(country, note)[0]
        seen = await self.database.read(last_seen, other.checkpoint.origin)
        if seen is None or seen.checkpoint == other.checkpoint:
            return
        if is_split(seen.checkpoint, other.checkpoint) or not await self._linked(country, seen, other):
            await self._convict(country, seen, other)

    async def _linked(self, country: str, one: Seen, other: Seen) -> bool:
        """Tell whether a ledger can link two of its checkpoints; who can't be reached is asked again another time."""
        first, second = sorted((one, other), key=lambda each: each.checkpoint.size)
        if first.checkpoint.size == 0:
            return True
        request = GetConsistencyRequest(first=first.note, second=second.note).SerializeToString()
        try:
            data = await self.channels.call(self.standing.trust, country, GET_CONSISTENCY, request, CALL_S)
            proof = tuple(_parsed(GetConsistencyResponse, data).proof)
        except grpc.aio.AioRpcError as error:
            away = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
            away |= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAUTHENTICATED}
            return error.code() in away
        except (MalformedError, UnknownMemberError):
            return False
        try:
            verify_consistency(
                old_size=first.checkpoint.size,
                new_size=second.checkpoint.size,
                proof=proof,
                old_root=first.checkpoint.root,
                new_root=second.checkpoint.root,
            )
        except ProofError:
            return False
        return True

    async def _take_split_view(self, view: SplitView) -> None:
        country = country_of(view.first)
        one, other = self._own_word(country, view.first)[0], self._own_word(country, view.second)[0]
        if not is_split(one.checkpoint, other.checkpoint):
            raise ProofError("the two checkpoints don't prove that there are two histories")
        await self._convict(country, one, other)

    async def _convict(self, country: str, one: Seen, other: Seen) -> None:
        """Keep both checkpoints, with a line, and tell every member once."""
        if await self.database.read(is_known, split_digest(one.checkpoint, other.checkpoint)):
            return
        now_us, digest = self.clock(), split_digest(one.checkpoint, other.checkpoint)
        proved = is_split(one.checkpoint, other.checkpoint)
        private = LeafPrivate(reason="SPLIT VIEW" if proved else "UNLINKED HISTORY", subject=digest)
        line = local_line(LeafKind.LEAF_KIND_SPLIT_VIEW, private, self.standing.signer, now_us, peer=country)
        await asyncio.wrap_future(
            self.writer.submit(lambda connection: keep_split_view(connection, country, one, other, now_us), [line])
        )
        log.error("split_view", country=country, origin=one.checkpoint.origin, proved=proved)
        metrics.SPLIT_VIEWS.labels(country).inc()
        if proved:  # what could not be linked proves nothing to others, who compare for themselves
            request = PushSplitViewRequest(split_view=SplitView(first=one.note, second=other.note))
            await asyncio.gather(*[self._called(peer, PUSH_SPLIT_VIEW, request) for peer in self._others()])

    # --- shared ---

    def _received(self, country: str, note: bytes) -> tuple[Seen, bytes]:
        try:
            return self._own_word(country, note)
        except NoteError as error:  # a refusal with a line, which a ledger that can't be written would not have
            raise MisdirectedError(str(error)) from error

    def _own_word(self, country: str, note: bytes) -> tuple[Seen, bytes]:
        """Return a country's own signed checkpoint, and its text."""
        if len(note) > MOST_NOTE_BYTES:
            raise NoteError(f"a checkpoint of more than {MOST_NOTE_BYTES} bytes is not kept")
        opened = opened_of(self.standing.trust.directory, country, note)
        return Seen(opened.checkpoint, note), opened.text

    def _cosignature(self, text: bytes, now_us: int) -> bytes:
        key = SigningKey(self.standing.signer.private_key)
        public = key.verify_key.encode()
        return signature_line(
            text, cosigner(self.origin, public, lambda message: key.sign(message).signature, now_us=now_us)
        )

    def _others(self) -> list[str]:
        members = self.standing.trust.directory.members()
        return [record.country for record in members if record.country != self.standing.country]

    async def _called(self, peer: str, method: str, request: Message) -> bytes | None:
        try:
            return await self.channels.call(self.standing.trust, peer, method, request.SerializeToString(), CALL_S)
        except grpc.aio.AioRpcError as error:
            log.info("peer_not_reached", peer=peer, method=method, status=error.code().name)
            return None


def _proof(connection: Connection, first: Checkpoint, second: Checkpoint) -> list[bytes]:
    return prove_consistency(connection, old_size=first.size, old_root=first.root, size=second.size, root=second.root)


def _kept(note: bytes | None) -> Checkpoint | None:
    return None if note is None else parse_checkpoint(note.rpartition(b"\n\n")[0] + b"\n")


def _parsed(kind: type[M], data: bytes) -> M:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise MalformedError("the message is not one of the contract") from None
