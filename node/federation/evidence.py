"""What ledgers have signed, held against each other: evidence is kept for good, and every member is told.

What is wrong with a ledger follows from its own signatures alone, so it does not matter who brings it. A ledger that
was restored and says so in its next epoch's first line is a finding, and no second history.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import structlog
from google.protobuf.message import Message
from sqlalchemy import Connection

from node.errors import MisdirectedError, NoteError, ProofError, ReplayError
from node.federation.channels import PUSH_SPLIT_VIEW, Channels
from node.federation.lines import line_of, local_line, shared_of_event
from node.federation.signed_checkpoints import country_of, opened_of
from node.federation.standing import Standing
from node.ledger.checkpoint import Checkpoint
from node.ledger.epoch import Confession, name_gap, split_origin, verify_restored
from node.ledger.rfc6962 import leaf_hash
from node.ledger.witness import Seen, is_split, split_digest
from node.store.database import Database
from node.store.epochs import keep_restore, last_restore
from node.store.evidence import is_known, keep_split_view
from node.store.findings import raise_finding
from node.store.writer import Writer
from node.wire.fence_pb2 import Restored
from node.wire.ledger_pb2 import LeafKind, LeafPrivate
from node.wire.witness_pb2 import PushSplitViewRequest, SplitView

log = structlog.get_logger()

CALL_S = 5.0
MOST_NOTE_BYTES = 4_096  # of a checkpoint to be kept
_LONGEST_DETAIL = 200


@dataclass(slots=True)
class Evidence:
    """Verifies what ledgers have signed, and keeps what is wrong with it."""

    standing: Standing
    channels: Channels
    database: Database
    writer: Writer
    clock: Callable[[], int]

    def own_word(self, country: str, note: bytes) -> tuple[Seen, bytes]:
        """Return a country's own signed checkpoint, and its text.

        Raises:
            NoteError: it is none, too long, or not signed by that country's ledger.
            UnknownMemberError: the country is not in the directory.
        """
        if len(note) > MOST_NOTE_BYTES:
            raise NoteError(f"a checkpoint of more than {MOST_NOTE_BYTES} bytes is not kept")
        opened = opened_of(self.standing.trust.directory, country, note)
        return Seen(opened.checkpoint, note), opened.text

    def confession(self, country: str, restored: Restored, checkpoint: Checkpoint) -> Confession:
        """Return what a ledger confesses in the tree of this checkpoint, whose signature was verified.

        Raises:
            LedgerError: the line does not open that epoch there, or names what this ledger never signed.
            UnknownMemberError: the country is not in the directory.
        """
        found = verify_restored(restored, checkpoint)
        for head in found.fence.heads:
            self.own_word(country, head.checkpoint)
        return found

    async def take_split_view(self, view: SplitView) -> None:
        """Keep two histories of one ledger, from whomever they come.

        Raises:
            NoteError, ProofError: they are not two histories that one ledger has signed.
        """
        country = country_of(view.first)
        one, other = self.own_word(country, view.first)[0], self.own_word(country, view.second)[0]
        if not is_split(one.checkpoint, other.checkpoint):
            raise ProofError("the two checkpoints don't prove that there are two histories")
        await self.convict(country, one, other)

    async def convict(self, country: str, one: Seen, other: Seen) -> None:
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
        if proved:  # what could not be linked proves nothing to others, who compare for themselves
            request = PushSplitViewRequest(split_view=SplitView(first=one.note, second=other.note))
            await asyncio.gather(*[self.called(peer, PUSH_SPLIT_VIEW, request) for peer in self.others()])

    async def keep_restored(self, country: str, restored: Restored, found: Confession) -> bool:
        """Keep what a ledger confessed, with a line and a finding; return whether it is news."""
        name = split_origin(found.heads[0].origin)[0]
        known = await self.database.read(last_restore, name)
        if known is not None and known.epoch >= found.fence.epoch:
            return False
        now_us, digest = self.clock(), leaf_hash(restored.leaf)
        private = LeafPrivate(reason=f"EPOCH {found.fence.epoch}", subject=digest)
        shared = shared_of_event(
            LeafKind.LEAF_KIND_RESTORED, self.standing.signer, now_us, exchange_id=digest[:16], peer=country
        )
        # One line, however many tell of it at once.
        line = line_of(shared, private, exchange_id=digest[:16], now_us=now_us, replay_key=b"restored")
        detail = f"{name}: {name_gap(found, restored.index)}"[:_LONGEST_DETAIL]

        def change(connection: Connection) -> None:
            if keep_restore(connection, country, restored, found, now_us):
                raise_finding(
                    connection, kind="RESTORED", peer=country, exchange_id=digest, detail=detail, now_us=now_us
                )

        try:
            await asyncio.wrap_future(self.writer.submit(change, [line]))
        except ReplayError:
            return False
        log.warning("ledger_restored", country=country, ledger=name, epoch=found.fence.epoch, lost=found.lost)
        return True

    def received(self, country: str, note: bytes) -> tuple[Seen, bytes]:
        """Return a checkpoint that a peer sends of itself, as `own_word`.

        Raises:
            MisdirectedError: it is none; a refusal with a line, which a ledger that can't be written would not have.
        """
        try:
            return self.own_word(country, note)
        except NoteError as error:
            raise MisdirectedError(str(error)) from error

    def others(self) -> list[str]:
        """Return all other members."""
        members = self.standing.trust.directory.members()
        return [record.country for record in members if record.country != self.standing.country]

    async def called(self, peer: str, method: str, request: Message, timeout_s: float = CALL_S) -> bytes | None:
        """Call a member, and return what it answers; None where it does not."""
        try:
            return await self.channels.call(self.standing.trust, peer, method, request.SerializeToString(), timeout_s)
        except grpc.aio.AioRpcError as error:
            log.info("peer_not_reached", peer=peer, method=method, status=error.code().name)
            return None
