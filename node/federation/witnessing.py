"""A ledger that its peers are witnesses to: it shows them its checkpoints, and keeps what they cosign.

Nobody waits for a witness: answers leave whether or not one is there, and only the age of the last cosignature shows.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from nacl.signing import SigningKey

from node.errors import EnlaceError, NoteError
from node.federation.channels import SUBMIT_CHECKPOINT
from node.federation.comparing import Comparing
from node.federation.cosigning import parsed, proof_between, restore_at
from node.federation.evidence import Evidence
from node.federation.fencing import Fencing, current
from node.federation.signed_checkpoints import opened_of, quorum_of, witness_keys
from node.federation.standing import Standing
from node.ledger.checkpoint import Checkpoint, format_checkpoint
from node.ledger.epoch import note_checkpoint
from node.ledger.note import note_signer, sign_note
from node.ledger.witness import Seen
from node.store.database import Database
from node.store.listing import read_head
from node.store.witnessing import last_cosigned, put_checkpoint, put_cosignature, thin_checkpoints
from node.store.writer import Priority, Writer
from node.wire.fence_pb2 import Restored
from node.wire.witness_pb2 import SubmitCheckpointRequest, SubmitCheckpointResponse

log = structlog.get_logger()

SUBMIT_S: Final = 60.0  # between checkpoints of a ledger that grows
COMPARE_S: Final = 600.0  # between comparisons with what others have seen; also of submitting anew what is the same
THIN_S: Final = 3_600.0
CLOCK_US: Final = 300_000_000  # a cosignature from further ahead is not believed


@dataclass(slots=True)
class Witnessing:
    """A ledger that paired peers are witnesses to."""

    standing: Standing
    database: Database
    writer: Writer
    evidence: Evidence
    fencing: Fencing
    comparing: Comparing
    clock: Callable[[], int]
    _published: int = -1  # size that was submitted last
    _published_at: float = float("-inf")
    _compared_at: float = float("-inf")
    _thinned_at: float = float("-inf")
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(self) -> None:
        """Submit what has grown, and compare with others, when it is time; to be called every second or so."""
        now = asyncio.get_running_loop().time()
        await self.fencing.follow()
        size = (await self.database.read(read_head)).size
        every = SUBMIT_S if size != self._published else COMPARE_S
        if now - self._published_at >= every:
            self._published, self._published_at = size, now
            await self.publish()
        if now - self._compared_at >= COMPARE_S:
            self._compared_at = now
            await self.comparing.compare()
        if now - self._thinned_at >= THIN_S:
            self._thinned_at = now
            await self.thin()

    async def publish(self) -> frozenset[str]:
        """Sign a checkpoint of the ledger as it is, submit it to every paired peer, and return who cosigned it."""
        async with self._one_at_a_time:
            own = await self._signed()
            if own is None:
                return frozenset()
            known = await self.database.read(last_cosigned)
            peers = [peer for peer in self.evidence.others() if self.standing.trust.is_paired(peer)]
            done = await asyncio.gather(*[self._submit(peer, own, known.get(peer)) for peer in peers])
            await self.fencing.follow()
            return frozenset(peer for peer, cosigned in zip(peers, done, strict=True) if cosigned)

    async def _signed(self) -> Seen | None:
        """Sign and keep a checkpoint of the ledger as it is; None while it is fenced."""
        checkpoint = await self.database.read(current, self.fencing.name)
        if checkpoint is None:
            return None
        now_us, key = self.clock(), SigningKey(self.standing.signer.private_key)
        public = key.verify_key.encode()
        signer = note_signer(checkpoint.origin, public, lambda message: key.sign(message).signature)
        note = sign_note(format_checkpoint(checkpoint), signer)
        kept = await asyncio.wrap_future(
            self.writer.submit(
                lambda connection: put_checkpoint(connection, checkpoint.size, note, now_us),
                priority=Priority.BACKGROUND,
            )
        )
        return Seen(checkpoint, kept)

    async def thin(self) -> int:
        """Delete old checkpoints that prove nothing more than those that stay, and return how many."""
        quorum, now_us, deleted = quorum_of(self.standing.trust.directory), self.clock(), 0
        while count := await asyncio.wrap_future(
            self.writer.submit(
                lambda connection: thin_checkpoints(connection, quorum, now_us), priority=Priority.BACKGROUND
            )
        ):
            deleted += count
        return deleted

    async def _submit(self, peer: str, own: Seen, cosigned: bytes | None) -> bool:
        if not await self.fencing.is_asked(peer) or self.standing.fenced:
            return False
        old = note_checkpoint(cosigned) if cosigned is not None else None
        try:
            # An epoch is opened to each witness by its first line.
            is_new = old is None or old.origin != own.checkpoint.origin
            restored = await self.database.read(restore_at, own.checkpoint, b"") if is_new else None
            reply = await self._asked_to_cosign(peer, own, None if is_new else old, restored)
            if reply is not None and not reply.cosignature:
                # Once more, from what the witness says that it has seen: its memory counts, not this node's.
                seen = await self.fencing.check(peer, reply.seen) if reply.seen else None
                if reply.seen and seen is None:
                    return False  # it has seen lines that are lost
                if seen is None or seen.origin != own.checkpoint.origin:
                    restored = await self.database.read(restore_at, own.checkpoint, b"")
                reply = await self._asked_to_cosign(peer, own, seen, restored)
            if reply is None or not reply.cosignature:
                return False
            await self._keep_cosignature(peer, own, reply.cosignature)
        except EnlaceError as error:
            log.warning("not_cosigned", peer=peer, reason=str(error))
            return False
        return True

    async def _asked_to_cosign(
        self, peer: str, own: Seen, old: Checkpoint | None, restored: Restored | None
    ) -> SubmitCheckpointResponse | None:
        old = old if old is not None and old.size else None
        proof: Sequence[bytes] = ()
        if old is not None:
            # Verified before it leaves: one that fails would pass, with the witness, for a second history.
            proof = await self.database.read(proof_between, old, own.checkpoint)
        request = SubmitCheckpointRequest(
            checkpoint=own.note, old_size=old.size if old else 0, proof=proof, restored=restored
        )
        data = await self.evidence.called(peer, SUBMIT_CHECKPOINT, request)
        return None if data is None else parsed(SubmitCheckpointResponse, data)

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
