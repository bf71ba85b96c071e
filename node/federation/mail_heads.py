"""Telling peers up to where mail was received: one that was restored from a backup doesn't know what it lacks.

Mail that comes in an exchange shows what is missing before it. Where nothing comes any more, this does.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import grpc
import structlog
from google.protobuf.message import DecodeError

from node.errors import EnlaceError, MalformedError
from node.federation.channels import DELIVER_MAIL, Channels
from node.federation.mail_kinds import Post
from node.federation.mailroom import Mailroom
from node.store import mail as store
from node.store.database import Database
from node.store.mail import HEADS, MailId
from node.store.writer import Priority
from node.wire.delivery_pb2 import DeliverMailRequest, DeliverMailResponse, MailHead

log = structlog.get_logger()

EVERY_US: Final = 6 * 3_600_000_000
"""Time between two tellings to one peer; the first is at the start."""

AGE_US: Final = 35 * 86_400_000_000
"""How far back exchanges are told of: no backup is older than thirty days."""

CALL_S: Final = 5.0


@dataclass(slots=True)
class Heads:
    """Tells peers, and sends again what they lack."""

    mailroom: Mailroom
    database: Database
    channels: Channels
    _next_us: dict[str, int] = field(default_factory=dict)  # by peer

    async def look(self) -> None:
        """Tell the peers for whom it is time; to be called again and again."""
        now_us = self.mailroom.clock()
        due = [peer for peer in self.mailroom.standing.trust.pairings if self._next_us.get(peer, 0) <= now_us]
        await asyncio.gather(*[self._told(peer, now_us) for peer in due])

    async def _told(self, peer: str, now_us: int) -> None:
        self._next_us[peer] = now_us + EVERY_US
        trust, after = self.mailroom.standing.trust, b""
        try:
            self.mailroom.standing.verify_not_fenced()
            trust.directory.verify_in_force(now_us)
            trust.verify_paired(peer)
            while heads := await self.database.read(store.heads, peer, now_us - AGE_US, after):
                request = DeliverMailRequest(heads=heads).SerializeToString()
                data = await self.channels.call(trust, peer, DELIVER_MAIL, request, CALL_S)
                await self._send_again(peer, heads, data)
                after = heads[-1].exchange_id
                if len(heads) < HEADS:
                    break
        except grpc.aio.AioRpcError as error:
            log.info("mail_heads_not_told", peer=peer, status=error.code().name)
            self._next_us[peer] = now_us + 60_000_000
        except EnlaceError as error:
            log.warning("mail_heads_not_told", peer=peer, reason=str(error))

    async def _send_again(self, peer: str, heads: Sequence[MailHead], data: bytes) -> None:
        try:
            lacking = DeliverMailResponse.FromString(data).lacking
        except DecodeError:
            raise MalformedError("what the peer lacks is not a message of the contract") from None
        told = {head.exchange_id: head.number for head in heads}
        for head in lacking:
            if 0 < head.number <= told.get(head.exchange_id, 0):
                first = MailId(peer, head.exchange_id, head.number)
                again = partial(_requeue, first=first, before=told[head.exchange_id] + 1)
                await self.mailroom.post(again, Priority.BACKGROUND)
                log.warning("mail_lacking", peer=peer, first=head.number)


def _requeue(post: Post, *, first: MailId, before: int) -> None:
    store.requeue(post.connection, first, before, post.now_us)
    post.peers.add(first.peer)
