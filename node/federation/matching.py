"""Works off what alerts have found, and who works on the same: at fixed instants, all that was found before.

So the time of a match tells a peer within which ten minutes something was written, and not when; see the decision on
alerts for what remains.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import structlog

from node.errors import DeniedError, IdentityError, NotFoundError
from node.federation import metrics
from node.federation.alert_kinds import log_step, private_of_alert, tokens_of, verify_standing
from node.federation.calling import Calling
from node.federation.holding import held_request
from node.federation.lines import line_of, shared_of_event
from node.federation.mail_kinds import OutgoingMail, Post
from node.federation.mailroom import Mailroom
from node.federation.weighing import Weighed, Weighing, hit_sha256
from node.policy.decide import HELD_SILENTLY, PENDING
from node.store import alert_finding, alert_pairs, alerts, holds, requests
from node.store.alert_finding import FindId, Found
from node.store.alerts import AlertId, Kept
from node.store.database import Database
from node.store.requests import RequestId, due_us, held_id
from node.store.writer import Priority
from node.wire.alert_pb2 import AlertMatch
from node.wire.exchange_pb2 import Query
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, LeafKind, LeafPrivate
from node.wire.mail_pb2 import Mail
from node.workflow.alerts import ANSWERING, SETTING, Actor, Event

log = structlog.get_logger()
T = TypeVar("T")

INSTANT_US: Final = 600 * 1_000_000
"""Matches leave at multiples of it, UTC: ten minutes hide which record was written when, and delay no inquiry."""

MOST: Final = 500
"""Finds that one round works off; the rest follows in the next, a second later."""


@dataclass(slots=True)
class Matching:
    """Looks after alerts of both directions; one per process."""

    mailroom: Mailroom
    database: Database
    weighing: Weighing
    calling: Calling
    _rules: dict[str, bytes] = field(default_factory=dict)  # by which what was found was last looked at, by peer

    async def look(self) -> None:
        """End what is over, and work off what was found before the last instant; to be called again and again."""
        now_us, vault = self.mailroom.clock(), self.mailroom.vault
        for kept in await self.database.read(alerts.overdue, vault, now_us):
            await self._post(partial(_expire, key=kept.id))
        await self._reconsider(now_us)
        instant_us = now_us // INSTANT_US * INSTANT_US
        for found in await self.database.read(alert_finding.due, instant_us, MOST):
            await self._post(partial(self._match, key=found))
        for pair in await self.database.read(alert_pairs.due, instant_us, MOST):
            await self._post(partial(self.calling.call, pair=pair))
        if await self.database.read(alerts.old, now_us):
            await self._post(lambda post: alerts.forget_old(post.connection, now_us))
        metrics.ALERTS_WAITING.set(await self.database.read(alert_finding.waiting, instant_us))
        metrics.ALERTS_FORBIDDEN.set(await self.database.read(alert_finding.recalls_due))

    async def note_asked(self, query: Query, exchanges: Mapping[str, bytes]) -> None:
        """Note which alerts of the peers that a unit asked look for the same; `exchanges` are ids by peer."""
        tokens = tokens_of(query.selectors, self.weighing.keys, self.mailroom.standing.country)
        found = await self.database.read(alerts.with_tokens, tokens, DIRECTION_RECEIVED)
        if any(key.peer in exchanges for key in found):
            asker, pair = query.asker, self.calling.pair_asked
            await self._post(lambda post: pair(post, exchanges, asker.officer, asker.unit, tokens))

    async def _post(self, change: Callable[[Post], T]) -> T:
        return await self.mailroom.post(change, Priority.BACKGROUND)

    async def _reconsider(self, now_us: int) -> None:
        """Have what was found looked at again once other rules decide."""
        peers = await self.database.read(alert_finding.peers_found)
        rules = {peer: self.weighing.rules_sha256(peer, now_us) for peer in peers}
        changed = {peer: digest for peer, digest in rules.items() if self._rules.get(peer) != digest}
        if changed:
            await self._post(lambda post: alert_finding.reconsider(post.connection, changed, post.now_us))
            self._rules |= changed

    # --- one find ----------------------------------------------------------------------------------------------------

    def _match(self, post: Post, *, key: FindId) -> None:
        found = alert_finding.get(post.connection, key)
        if found is None or found.found_us is None:  # another process was quicker
            return
        try:
            kept = alerts.get(post.connection, post.vault, AlertId(DIRECTION_RECEIVED, key.peer, key.exchange_id))
        except NotFoundError:
            alert_finding.forget(post.connection, key)
            return
        try:
            verify_standing(kept, post.now_us)
            weighed = self.weighing.weigh(post.connection, kept, key.entry_id, post.now_us)
        except (DeniedError, IdentityError):  # who is not paired, or is suspended, is told nothing, nor later
            weighed = None
        if weighed is not None:
            self._tell(post, kept, found, weighed)
        elif found.told_us is None:
            alert_finding.forget(post.connection, key)
        else:
            alert_finding.settle(post.connection, key)

    def _tell(self, post: Post, kept: Kept, found: Found, weighed: Weighed) -> None:
        state = ANSWERING.after(kept.item.state, Event.MATCH, Actor.NODE)
        rules = self.weighing.rules_sha256(kept.id.peer, post.now_us)
        private = self._private(post, kept, weighed)
        if weighed.decision.outcome in (PENDING, HELD_SILENTLY):
            hold(post, kept, weighed)
        if weighed.hit is None:
            forbidden = found.told_us is not None
            private.reason = f"{'FORBIDDEN_NOW' if forbidden else 'NOT_TOLD'} {kept.id.peer}"
            _log_weighed(post, kept, weighed, private)
            alert_finding.settle(post.connection, found.id, rules_sha256=rules, forbidden=forbidden)
            return
        digest = hit_sha256(weighed.hit)
        if digest == found.told_sha256:
            alert_finding.settle(post.connection, found.id, rules_sha256=rules, forbidden=False)
            return
        mail = Mail(alert_match=AlertMatch(hit=weighed.hit))
        post.send(OutgoingMail(kept.id.peer, kept.id.exchange_id, mail, private, weighed.decisions()))
        told = {"told_sha256": digest, "told_us": post.now_us, "forbidden": False}
        alert_finding.settle(post.connection, found.id, rules_sha256=rules, **told)
        alerts.change(post.connection, kept, kept.item.changed_us, state, matches=1)

    def _private(self, post: Post, kept: Kept, weighed: Weighed) -> LeafPrivate:
        private, hit = private_of_alert(kept, ""), weighed.hit
        policy = post.standing.policy_for(kept.id.peer, post.now_us)
        private.floor_sha256 = policy.floor.sha256 if policy.floor else b""
        private.release_sha256 = policy.release.sha256 if policy.release else b""
        private.held = int(weighed.decision.outcome in (PENDING, HELD_SILENTLY))
        private.released = int(hit is not None and hit.HasField("entry"))
        private.hits = int(hit is not None and hit.HasField("hit"))
        private.invisible = int(hit is None and not private.held)
        return private


def hold(post: Post, kept: Kept, weighed: Weighed) -> None:
    """Put what the rules hold into the focal points' queue, once."""
    peer, exchange_id, query = kept.id.peer, kept.id.exchange_id, kept.detail.alert.query
    silent, at_us, entry_id = weighed.hit is None, post.now_us, weighed.entry.entry_id
    key = RequestId(DIRECTION_RECEIVED, peer, held_id(exchange_id, weighed.handle))
    try:
        requests.get(post.connection, post.vault, key)
    except NotFoundError:
        detail = held_request(exchange_id, peer, query, weighed.handle, silent=silent, at_us=at_us)
        requests.put(post.connection, post.vault, detail, entry_id)
        holds.put(
            post.connection,
            exchange_id=exchange_id,
            peer=peer,
            entry_id=entry_id,
            at_us=at_us,
            due_us=due_us(query.urgency, at_us),
            silent=silent,
        )


def _log_weighed(post: Post, kept: Kept, weighed: Weighed, private: LeafPrivate) -> None:
    """Log what was decided and is not told: a line of this country alone."""
    private.subject, exchange_id = kept.id.exchange_id, secrets.token_bytes(16)
    kind = LeafKind.LEAF_KIND_ALERT
    shared = shared_of_event(kind, post.standing.signer, post.now_us, exchange_id=exchange_id)
    post.log(line_of(shared, private, exchange_id=exchange_id, now_us=post.now_us, decisions=weighed.decisions()))


def _expire(post: Post, *, key: AlertId) -> None:
    kept = alerts.get(post.connection, post.vault, key)
    machine = ANSWERING if key.direction == DIRECTION_RECEIVED else SETTING
    if Event.EXPIRE in machine.allowed(kept.item.state, Actor.CLOCK):
        log_step(post, kept, "EXPIRED")
        state = machine.after(kept.item.state, Event.EXPIRE, Actor.CLOCK)
        alerts.change(post.connection, kept, post.now_us, state)
