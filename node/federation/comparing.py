"""Comparing with every member what was seen of ledgers: who shows two histories shows them to different peers."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import grpc
import structlog
from sqlalchemy import Connection

from node.errors import LedgerError, MalformedError, UnknownMemberError
from node.federation.channels import GET_CONSISTENCY, GET_HEADS, Channels
from node.federation.cosigning import parsed
from node.federation.evidence import CALL_S, Evidence
from node.federation.fencing import Fencing
from node.federation.signed_checkpoints import country_of
from node.federation.standing import Standing
from node.ledger.epoch import split_origin
from node.ledger.rfc6962 import verify_consistency
from node.ledger.witness import Seen, is_split
from node.store.database import Database
from node.store.epochs import last_restore
from node.store.findings import raise_finding
from node.store.witnessing import LINKED_WITHIN_US, last_seen, last_seen_before, linked, waited_to_link
from node.store.writer import Priority, Writer
from node.wire.fence_pb2 import Restored
from node.wire.witness_pb2 import (
    GetConsistencyRequest,
    GetConsistencyResponse,
    GetHeadsRequest,
    GetHeadsResponse,
)

log = structlog.get_logger()

MOST_HEADS: Final = 256  # taken from one answer
MOST_VIEWS: Final = 64
_AWAY: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
"""A peer that answers so can't be judged yet."""


@dataclass(slots=True)
class Comparing:
    """Holds what other members have seen against what was seen here."""

    standing: Standing
    channels: Channels
    database: Database
    writer: Writer
    evidence: Evidence
    fencing: Fencing
    clock: Callable[[], int]

    async def compare(self) -> None:
        """Ask every member what it has seen, and compare."""
        peers = self.evidence.others()
        replies = await asyncio.gather(*[self.evidence.called(peer, GET_HEADS, GetHeadsRequest()) for peer in peers])
        for peer, data in zip(peers, replies, strict=True):
            if data is None:
                continue
            try:
                response = parsed(GetHeadsResponse, data)
            except MalformedError:
                log.warning("heads_malformed", peer=peer)
                continue
            await self.fencing.look_at(peer, response)
            # What was confessed first: it says which checkpoints are no second history.
            for restored in response.restored[:MOST_VIEWS]:
                with suppress(LedgerError, UnknownMemberError):
                    await self._take_restored(restored)
            for note in response.checkpoints[:MOST_HEADS]:
                with suppress(LedgerError, UnknownMemberError):
                    await self._compare_one(note)
            for view in response.split_views[:MOST_VIEWS]:
                with suppress(LedgerError, UnknownMemberError):
                    await self.evidence.take_split_view(view)

    async def _take_restored(self, restored: Restored) -> None:
        """Take another ledger's confession, and hold what was seen here against it."""
        country = country_of(restored.checkpoint)
        if country == self.standing.country:
            return
        shown = self.evidence.own_word(country, restored.checkpoint)[0]
        found = self.evidence.confession(country, restored, shown.checkpoint)
        if not await self.evidence.keep_restored(country, restored, found):
            return
        name, epoch = split_origin(shown.checkpoint.origin)
        before = await self.database.read(last_seen_before, name, epoch)
        if before is not None and before.checkpoint not in found.heads:
            await self._judge(country, before, shown)

    async def _compare_one(self, note: bytes) -> None:
        """Compare what somebody else has seen of a ledger with what was seen here."""
        country = country_of(note)
        if country == self.standing.country:
            return
        other = self.evidence.own_word(country, note)[0]
        seen = await self.database.read(last_seen, other.checkpoint.origin)
        if seen is not None and is_split(seen.checkpoint, other.checkpoint):
            await self.evidence.convict(country, seen, other)
            return
        name, epoch = split_origin(other.checkpoint.origin)
        later = await self.database.read(last_restore, name)
        if later is not None and epoch < later.epoch:
            # That epoch has ended. What its ledger names as lost can't be linked, and is kept as it was signed.
            if other.checkpoint not in later.confession.heads:
                await self._judge(country, other, later.seen)
        elif seen is not None and seen.checkpoint != other.checkpoint:
            await self._judge(country, seen, other)

    async def _judge(self, country: str, one: Seen, other: Seen) -> None:
        """Have a ledger link two of its checkpoints: it is convicted if it can't, and noted if it can't be asked."""
        is_one = await self._linked(country, one, other)
        now_us, origin = self.clock(), other.checkpoint.origin
        if is_one is False:
            await self.evidence.convict(country, one, other)
            return

        def change(connection: Connection) -> None:
            if is_one:
                linked(connection, one if one.checkpoint.origin == origin else None, other, now_us)
                return
            since_us = waited_to_link(connection, origin, now_us)
            if now_us - since_us >= LINKED_WITHIN_US:
                # A ledger with two histories could say for ever that it is not there.
                raise_finding(
                    connection,
                    kind="NOT_LINKED",
                    peer=country,
                    exchange_id=sha256(f"{origin} {since_us}".encode()).digest(),
                    detail=f"{origin} has not shown within three days that what members have seen is one history",
                    now_us=now_us,
                )

        await asyncio.wrap_future(self.writer.submit(change, priority=Priority.BACKGROUND))

    async def _linked(self, country: str, one: Seen, other: Seen) -> bool | None:
        """Tell whether a ledger can link two of its checkpoints; None where it can't be asked now."""
        first, second = sorted((one, other), key=lambda each: each.checkpoint.size)
        if first.checkpoint.size == 0:
            return True
        request = GetConsistencyRequest(first=first.note, second=second.note).SerializeToString()
        try:
            data = await self.channels.call(self.standing.trust, country, GET_CONSISTENCY, request, CALL_S)
            proof = tuple(parsed(GetConsistencyResponse, data).proof)
        except grpc.aio.AioRpcError as error:
            return None if error.code() in _AWAY else False
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
        except LedgerError:
            return False
        return True
