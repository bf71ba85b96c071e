"""Silence past the due time is refusal: what nobody decided in time ends, and before that it is told to everybody."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from node.federation import metrics
from node.federation.lines import local_line
from node.federation.mail_kinds import Post
from node.federation.mailroom import Mailroom
from node.federation.request_steps import close_hold, log_step, private_of_request
from node.federation.sharing import note_decided
from node.store import requests
from node.store.database import Database
from node.store.requests import Kept, RequestId
from node.store.writer import Priority
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, LeafKind, LeafPrivate
from node.workflow import shares
from node.workflow.requests import ASKING, DECIDING, Actor, Event

log = structlog.get_logger()


@dataclass(slots=True)
class Deadlines:
    """Looks after the times of requests, of both directions."""

    mailroom: Mailroom
    database: Database

    async def look(self) -> None:
        """Expire, escalate, and tell of emergency releases that nobody reviewed; to be called again and again."""
        vault, now_us = self.mailroom.vault, self.mailroom.clock()
        await self._each(await self.database.read(requests.overdue, vault, now_us), _expire)
        await self._each(await self.database.read(requests.to_escalate, vault, now_us), _escalate)
        await self._each(await self.database.read(requests.unreviewed, vault, now_us), _tell_unreviewed)
        await self._purge(now_us)
        waiting = await self.database.read(requests.waiting)
        metrics.REQUESTS_WAITING.set(len(waiting))

    async def _purge(self, now_us: int) -> None:
        """Delete what was decided long ago; the keys first, so that a crash leaves nothing that can be read."""
        old = await self.database.read(requests.outdated, now_us)
        if old:
            self.mailroom.vault.erase_keys([key for _, key in old], now_us)
            await self.mailroom.post(partial(_forget, keys=[each for each, _ in old]), Priority.BACKGROUND)

    async def _each(self, found: list[Kept], change: Callable[[Post, Kept], None]) -> None:
        for kept in found:
            await self.mailroom.post(partial(_still, kept=kept, change=change), Priority.BACKGROUND)
            await asyncio.sleep(0)


def _still(post: Post, kept: Kept, change: Callable[[Post, Kept], None]) -> None:
    """Make a change, unless somebody was quicker."""
    now = requests.get(post.connection, post.vault, kept.id)
    if now.item.state == kept.item.state and now.item.changed_us == kept.item.changed_us:
        change(post, now)


def _forget(post: Post, keys: list[RequestId]) -> None:
    requests.forget(post.connection, keys)
    private = LeafPrivate(reason=f"REQUESTS {len(keys)}")
    post.log(local_line(LeafKind.LEAF_KIND_DELETED, private, post.standing.signer, post.now_us))


def _expire(post: Post, kept: Kept) -> None:
    received = kept.id.direction == DIRECTION_RECEIVED
    machine = DECIDING if received else ASKING
    state = machine.after(kept.item.state, Event.EXPIRE, Actor.CLOCK)
    kept.detail.ClearField("signed_release")
    requests.change(post.connection, post.vault, kept, post.now_us, state=state, late=True)
    if received:
        close_hold(post.connection, kept)
        note_decided(post, kept, shares.Event.EXPIRE, shares.Actor.CLOCK)
    # Whoever was to decide, they were late: the line is what the numbers of reciprocity are made of.
    log_step(post, kept, "LATE" if received else "EXPIRED", private_of_request(kept.detail.request))
    log.warning("request_expired", peer=kept.id.peer, received=received)


def _escalate(post: Post, kept: Kept) -> None:
    state = DECIDING.after(kept.item.state, Event.ESCALATE, Actor.CLOCK)
    requests.change(post.connection, post.vault, kept, post.now_us, state=state)
    log_step(post, kept, "ESCALATED")
    log.warning("request_escalated", peer=kept.id.peer, due_us=kept.item.due_us)


def _tell_unreviewed(post: Post, kept: Kept) -> None:
    changed_us = kept.item.changed_us
    requests.change(post.connection, post.vault, kept, changed_us, late=True)
    log_step(post, kept, "UNREVIEWED")
    log.error("emergency_release_unreviewed", peer=kept.id.peer)
