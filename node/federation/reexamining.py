"""Looks again at what peers were told, whenever the rules that would let it leave are others than before.

What they forbid by now is listed for recall, and people decide: nothing is taken back by itself. What has not left yet
is looked at each time that it would leave (`MailKind.recheck`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection

from node.federation.freezing import Freezing
from node.federation.mail_kinds import Post
from node.federation.mailroom import Mailroom
from node.federation.proposing import propose_recalls
from node.federation.redeciding import Redeciding, told_last
from node.store import disclosures, recalls
from node.store.database import Database
from node.store.recalls import Examined
from node.store.traces import Given
from node.store.writer import Priority

PAGE: Final = 50
"""Entries that one round looks at for each peer: some milliseconds."""


@dataclass(slots=True)
class Reexamining:
    """Goes through what each peer was told, once for each set of rules."""

    mailroom: Mailroom
    database: Database
    redeciding: Redeciding
    freezing: Freezing

    async def look(self) -> None:
        """Look at the next page of what each peer was told, where rules have changed; to be called again and again."""
        now_us = self.mailroom.clock()
        for peer in self.mailroom.standing.trust.pairings:
            rules = self._rules(peer, now_us)
            if rules is None:
                continue  # without rules nothing is forbidden that was allowed: they are yet to come
            reached = await self.database.read(recalls.examined_of, peer)
            if reached is None or reached.rules_sha256 != rules:
                await self.freezing.catch_up()
                reached = Examined(rules, b"", done=False)
            if not reached.done:
                await self._page(peer, reached, now_us)

    def _rules(self, peer: str, now_us: int) -> bytes | None:
        """Return the digest of all that decides what a peer gets, but for the entries; None where no rules do."""
        standing = self.mailroom.standing
        policy = standing.policy_for(peer, now_us)
        if policy.floor is None or policy.release is None or not policy.release.is_valid_at(now_us):
            return None
        instruments = sorted(each.id for each in standing.instruments_with(peer, now_us))
        parts = [policy.floor.sha256, policy.release.sha256, bytes(sorted(policy.accepted))]
        return sha256(b"\0".join([*parts, *(each.encode() for each in instruments)])).digest()

    async def _page(self, peer: str, reached: Examined, now_us: int) -> None:
        entry_ids = await self.database.read(disclosures.shown_after, peer, reached.after, PAGE)
        found = await self.database.read(self._forbidden, peer, entry_ids, now_us)
        done = len(entry_ids) < PAGE
        new = Examined(reached.rules_sha256, entry_ids[-1] if entry_ids else reached.after, done)
        await self.mailroom.post(partial(self._note, peer=peer, found=found, reached=new), Priority.BACKGROUND)

    def _forbidden(
        self, connection: Connection, peer: str, entry_ids: Sequence[bytes], now_us: int
    ) -> list[tuple[Given, str]]:
        found = []
        for entry_id in entry_ids:
            for given in told_last(connection, self.redeciding.releasing, entry_id, peer=peer):
                why = self.redeciding.forbidden(connection, given, now_us)
                if why:
                    found.append((given, why))
        return found

    def _note(self, post: Post, *, peer: str, found: Sequence[tuple[Given, str]], reached: Examined) -> None:
        for given, why in found:
            propose_recalls(post, peer, given.shared.exchange_id, [given.decided.handle], why)
        recalls.note_examined(post.connection, peer, reached)
