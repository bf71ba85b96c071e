"""Restore fencing: a node whose witnesses have seen more of its ledger than it has lets nothing out until it says so.

A restored backup has forgotten lines that peers hold receipts for. To everybody else that looks like a rewritten past,
and the node can't know what it let out. So it asks its witnesses before it serves, and again whenever one answers. Once
lines are missing it is fenced: peers get UNAVAILABLE, officers are told what to do, and no checkpoint is signed, since
the next one of the old epoch could be a second history. An epoch that confesses the loss ends it (`node.ledger.epoch`).

Refusals while fenced are lines as usual: the tree goes on, so the epoch's first line stands behind them.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import structlog
from sqlalchemy import Connection

from node.errors import LedgerBrokenError, NoteError, ProofError, UnansweredError, UsageError
from node.federation import metrics
from node.federation.channels import GET_HEADS, Channels
from node.federation.evidence import Evidence
from node.federation.lines import line_of, local_line
from node.federation.signed_checkpoints import country_of, quorum_of
from node.federation.standing import Standing
from node.ledger.checkpoint import Checkpoint, origin_of
from node.ledger.epoch import LONGEST, epoch_origin, parse_fence, split_origin
from node.ledger.witness import Seen, split_digest
from node.store import epochs, findings
from node.store.database import Database
from node.store.listing import read_head
from node.store.tiles import prove_consistency
from node.store.witnessing import last_witnessed
from node.store.writer import Writer
from node.wire.fence_pb2 import Fence
from node.wire.ledger_pb2 import Direction, LeafKind, LeafPrivate, LeafShared
from node.wire.witness_pb2 import GetHeadsRequest, GetHeadsResponse

log = structlog.get_logger()

START_S: Final = 3.0
"""How long a start waits for what witnesses have seen; who is not reached is asked before anything is shown to it."""

ASK_S: Final = 10.0
MOST_HEADS: Final = 256


@dataclass(slots=True)
class Fencing:
    """Knows whether this ledger has lost lines, and how it goes on."""

    standing: Standing
    channels: Channels
    database: Database
    writer: Writer
    evidence: Evidence
    clock: Callable[[], int]
    _asked: set[str] = field(default_factory=set)  # whose view of this ledger was looked at since the start

    @property
    def name(self) -> str:
        """Name of this node's ledger, which all its epochs share."""
        signer = self.standing.signer
        return origin_of(self.standing.trust.directory.federation, signer.country, signer.node)

    async def recall(self) -> None:
        """Ask every member what it has seen of this ledger, before anything is served."""
        await self.follow()
        await asyncio.gather(*[self.ask(peer, START_S) for peer in self.evidence.others()])

    async def follow(self) -> None:
        """Take over what is kept, also by other processes of this node, and tell it to who watches."""
        fenced, witnessed, found = await self.database.read(_state, quorum_of(self.standing.trust.directory))
        self.standing.fenced = fenced
        metrics.LEDGER_FENCED.set(fenced)
        metrics.LEDGER_WITNESSED.set(witnessed / 1e6)
        metrics.follow_findings(found)

    async def ask(self, peer: str, timeout_s: float = ASK_S) -> bool:
        """Ask a member what it has seen of this ledger, and return whether it told."""
        data = await self.evidence.called(peer, GET_HEADS, GetHeadsRequest(), timeout_s)
        if data is None:
            self.channels.renew(peer)  # or gRPC would wait before it tries again, and the next question with it
            return False
        try:
            response = GetHeadsResponse.FromString(data)
        except ValueError:
            return False
        await self.look_at(peer, response)
        return True

    async def is_asked(self, peer: str) -> bool:
        """Tell whether a member's view of this ledger is known; it is asked for where it is not yet.

        Shown a ledger without its last lines, a witness that holds them would have seen two histories.
        """
        return peer in self._asked or await self.ask(peer)

    async def look_at(self, peer: str, response: GetHeadsResponse) -> None:
        """Look for this node's own checkpoints in what a member has seen."""
        for note in response.checkpoints[:MOST_HEADS]:
            if country_of(note) == self.standing.country:
                with suppress(NoteError):  # it is not signed by this node, and so says nothing
                    await self.check(peer, note)
        self._asked.add(peer)

    async def check(self, peer: str, note: bytes) -> Checkpoint | None:
        """Return a checkpoint of this ledger that a witness holds, if the lines extend it; else the node is fenced.

        Raises:
            NoteError: this node's key has not signed it.
        """
        seen = self.evidence.own_word(self.standing.country, note)[0]
        if split_origin(seen.checkpoint.origin)[0] != self.name:
            raise NoteError("the witness shows a checkpoint of another ledger")
        if await self.database.read(_extends, seen.checkpoint):
            return seen.checkpoint
        await self._lost(peer, seen)
        return None

    async def _lost(self, peer: str, seen: Seen) -> None:
        lost = await self.database.read(epochs.list_lost)
        if any(each.seen.checkpoint == seen.checkpoint and each.witness == peer for each in lost):
            return
        self.standing.fenced = not any(each.seen.checkpoint == seen.checkpoint and each.epoch for each in lost)
        now_us, head = self.clock(), await self.database.read(read_head)
        size, own = seen.checkpoint.size, Checkpoint(self.name, head.size, head.root)
        digest = split_digest(seen.checkpoint, own)
        detail = f"{peer} has seen {size} lines signed that the ledger of {head.size} lines does not begin with"
        private = LeafPrivate(reason="LINES LOST: FENCED", subject=digest)
        line = local_line(LeafKind.LEAF_KIND_FINDING, private, self.standing.signer, now_us, peer=peer)

        def change(connection: Connection) -> None:
            if epochs.note_lost(connection, peer, seen, head.size, now_us):
                findings.raise_finding(
                    connection, kind="ROLLED_BACK", peer=peer, exchange_id=digest[:16], detail=detail, now_us=now_us
                )

        await asyncio.wrap_future(self.writer.submit(change, [line]))
        log.error("ledger_rolled_back", peer=peer, seen=size, size=head.size)
        await self.follow()

    # --- going on ---

    async def propose(self, private: LeafPrivate, reason: str, without: Collection[str]) -> Fence:
        """Ask all members for the last head that they saw, and keep how the ledger is to go on, to be confirmed.

        Raises:
            UsageError: nothing was lost, or too much to be told in a line.
            UnansweredError: a member was not reached, and is not among `without`.
        """
        peers = self.evidence.others()
        reached = await asyncio.gather(*[self.ask(peer) for peer in peers])
        away = sorted(peer for peer, is_reached in zip(peers, reached, strict=True) if not is_reached)
        if set(away) - set(without):
            missing = ", ".join(sorted(set(away) - set(without)))
            raise UnansweredError(
                f"{missing} did not tell what they have seen: try again when they are up, or go on --without them"
            )
        await self.follow()
        if not self.standing.fenced:
            raise UsageError("the ledger holds all lines that its witnesses have seen: there is nothing to confess")
        fence, now_us = await self.database.read(epochs.build_fence, away), self.clock()
        data = fence.SerializeToString()
        if len(data) > LONGEST:
            raise UsageError("more was lost than a line can tell")
        parse_fence(data, self.name)
        private.subject, private.reason = sha256(data).digest(), f"EPOCH PROPOSED: {reason}"
        line = local_line(LeafKind.LEAF_KIND_FINDING, private, self.standing.signer, now_us)
        by = private.officer
        await asyncio.wrap_future(
            self.writer.submit(
                lambda connection: epochs.propose_epoch(connection, fence, proposer=by, reason=reason, now_us=now_us),
                [line],
            )
        )
        return fence

    async def open(self, private: LeafPrivate, fence_sha256: bytes) -> tuple[int, int]:
        """Open the proposed epoch with the line that confesses what was lost; return the epoch, and the line.

        Raises:
            UsageError: no such proposal, it is the officer's own, or more was lost since.
        """
        waiting = await self.database.read(epochs.proposal)
        if waiting is None or sha256(waiting.fence).digest() != fence_sha256:
            raise UsageError("no such epoch is proposed: see `enlace ledger fence`")
        if waiting.proposer == private.officer:
            raise UsageError("who proposed the epoch can't confirm it: it takes a focal point or an auditor")
        now_us, exchange_id = self.clock(), sha256(b"epoch\x00" + waiting.fence).digest()[:16]
        private.subject, private.reason = fence_sha256, f"EPOCH OPENED: {waiting.reason}"
        shared = LeafShared(
            kind=LeafKind.LEAF_KIND_FENCED,
            direction=Direction.DIRECTION_LOCAL,
            time_us=now_us,
            exchange_id=exchange_id,
            node=f"{self.standing.country}/{self.standing.signer.node}",
            body_sha256=fence_sha256,
            fence=waiting.fence,
        ).SerializeToString()
        line = line_of(shared, private, exchange_id=exchange_id, now_us=now_us, replay_key=epochs.EPOCH_KEY)

        def change(connection: Connection) -> None:
            if not epochs.open_epoch(connection, waiting.fence, exchange_id, now_us):
                raise UsageError("a witness has told of more since the epoch was proposed: propose it again")

        await asyncio.wrap_future(self.writer.submit(change, [line]))
        await self.follow()
        epoch = Fence.FromString(waiting.fence).epoch
        opened = await self.database.read(epochs.opening_line, epoch)
        if opened is None:
            raise LedgerBrokenError("the line that opens the epoch can't be read back")
        log.warning("epoch_opened", epoch=epoch, line=opened[0])
        return epoch, opened[0]


def _extends(connection: Connection, seen: Checkpoint) -> bool:
    """Tell whether the lines that are here begin with those of a checkpoint, or an epoch confesses that they don't."""
    head, epoch = read_head(connection), epochs.epoch_of(connection)
    if seen.size == 0:
        return True
    if any(each.epoch and each.seen.checkpoint == seen for each in epochs.list_lost(connection)):
        return True
    if split_origin(seen.origin)[1] > epoch or seen.size > head.size:
        return False
    try:
        prove_consistency(connection, old_size=seen.size, old_root=seen.root, size=head.size, root=head.root)
    except ProofError:
        return False
    return True


def current(connection: Connection, name: str) -> Checkpoint | None:
    """Return this ledger's state under the origin of its epoch; None while it is fenced, and signs nothing.

    All of one snapshot: a checkpoint of an epoch that ends meanwhile counts no line of the next.
    """
    if epochs.is_fenced(connection):
        return None
    head = read_head(connection)
    return Checkpoint(epoch_origin(name, epochs.epoch_of(connection)), head.size, head.root)


def _state(connection: Connection, quorum: int) -> tuple[bool, int, dict[tuple[str, str], int]]:
    last = last_witnessed(connection, quorum)
    return epochs.is_fenced(connection), last.signed_us if last else 0, findings.count_open(connection)
