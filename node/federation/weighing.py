"""What an alert of a peer would be told of an entry: decided and redacted by the rules at that moment, as for a query.

Composed anew whenever it matters: when it is found, and once more just before it leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from node.errors import DecryptionError, KeyErasedError, NotFoundError
from node.federation.answering import decided
from node.federation.standing import Standing
from node.policy.decide import ENTRY, HIT, INVISIBLE, PENDING, Decision
from node.policy.derive import derive_facts, derive_request
from node.policy.facts import encode_facts
from node.policy.redact import hit_only, redact
from node.policy.vocabulary import NEVER_LAWFUL, PURPOSES
from node.records.lookup import LookupKey, entry_tokens
from node.store import alerts, decoys
from node.store.alerts import Kept
from node.store.entries import Entries
from node.store.entry_rows import EntryState
from node.store.frozen import Frozen
from node.store.requests import due_us
from node.store.tables import entries as entries_table
from node.store.vault import Vault
from node.wire.codes_pb2 import UNIT_TYPE_IMMIGRATION
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Hit, Query
from node.wire.ledger_pb2 import Decisions

VISIBLE: Final = frozenset({ENTRY, HIT, PENDING})


@dataclass(frozen=True, slots=True)
class Weighed:
    """An entry as the peer sees it, what was decided on it, and what would be told; None: nothing."""

    entry: Entry
    decision: Decision
    facts: bytes
    handle: bytes
    hit: Hit | None

    def decisions(self) -> Decisions:
        """Return what the ledger keeps of it."""
        found = Decisions()
        made = found.entries.add()
        made.CopyFrom(decided(self.decision))
        made.entry_id, made.revision, made.outcome = self.entry.entry_id, self.entry.revision, self.decision.outcome
        made.facts, made.handle = self.facts, self.handle
        return found


@dataclass(slots=True)
class Weighing:
    """Decides and redacts; reads alone."""

    standing: Standing
    vault: Vault
    entries: Entries
    frozen: Frozen
    keys: Sequence[LookupKey]  # every live epoch

    def weigh(self, connection: Connection, kept: Kept, entry_id: bytes, now_us: int) -> Weighed | None:
        """Return what the alert would be told of an entry now; None where it does not find the entry any more.

        Raises:
            NotPairedError: the peer is not, or is suspended; its alerts find nothing.
        """
        self.standing.trust.verify_paired(kept.id.peer)
        query = kept.detail.alert.query
        seen = self._seen(connection, kept.id.peer, entry_id, now_us)
        # As the peer sees it: what was frozen is found by what it had then.
        if seen is None or self.refusal(query, kept.id.peer, now_us):
            return None
        if not entry_tokens(seen, self.keys) & alerts.tokens_of(connection, kept.id):
            return None
        weighed = self._weighed(kept.id.peer, query, seen, now_us)
        if entry_id in decoys.entry_ids(connection, self.vault):  # it matches like any other, and never leaves
            hidden = msgspec.structs.replace(weighed.decision, outcome=INVISIBLE)
            return replace(weighed, decision=hidden, hit=None)
        return weighed

    def refusal(self, query: Query, peer: str, now_us: int) -> str:
        """Return why an alert is refused as a whole, whatever is recorded, for the private part; empty if it is not."""
        if PURPOSES.get(query.purpose) in NEVER_LAWFUL or query.asker.unit_type == UNIT_TYPE_IMMIGRATION:
            return "PURPOSE"
        if query.instrument not in {each.id for each in self.standing.instruments_with(peer, now_us)}:
            return "NO_INSTRUMENT"
        return ""

    def rules_sha256(self, peer: str, now_us: int) -> bytes:
        """Return a digest of the rules that decide for a peer: with others, what it found is weighed again."""
        policy = self.standing.policy_for(peer, now_us)
        books = [book.sha256 if book else b"" for book in (policy.floor, policy.release)]
        accepted = ",".join(str(each) for each in sorted(policy.accepted))
        return sha256(b"\0".join([*books, accepted.encode()])).digest()

    def matching(self, connection: Connection, tokens: frozenset[bytes], now_us: int) -> list[Entry]:
        """Return own entries that have any of the tokens and may be found."""
        raw = connection.connection.cursor()
        try:
            return self.entries.find(raw, sorted(tokens), now_us, 1_024)
        finally:
            raw.close()

    def _seen(self, connection: Connection, peer: str, entry_id: bytes, now_us: int) -> Entry | None:
        held = entries_table.c
        active = select(held.entry_id).where(held.entry_id == entry_id, held.state == EntryState.ACTIVE)
        if connection.execute(active).first() is None:
            return None
        try:
            entry = self.entries.get(connection, entry_id)
        except (NotFoundError, KeyErasedError, DecryptionError):
            return None
        return self.frozen.of_entry(peer, entry, now_us)

    def decide(self, peer: str, query: Query, entry: Entry, now_us: int) -> tuple[Decision, bytes]:
        """Decide on an entry for a peer that asks so, and return the facts too, encoded."""
        instruments = self.standing.instruments_with(peer, now_us)
        request = derive_request(
            recipient=peer,
            query=query,
            instruments=[each.kind for each in instruments if each.id == query.instrument],
            paired=self.standing.trust.is_paired(peer),
            reciprocity=self.standing.reciprocity_of(peer),
            emergency=self.standing.is_emergency(peer, now_us),
        )
        facts = derive_facts(request, entry, now_us)
        return self.standing.policy_for(peer, now_us).decide(facts, now_us), encode_facts(facts)

    def _weighed(self, peer: str, query: Query, seen: Entry, now_us: int) -> Weighed:
        decision, facts = self.decide(peer, query, seen, now_us)
        handle = self.vault.handle_for(peer, seen.entry_id)
        hit = Hit() if decision.outcome in VISIBLE else None
        if hit is not None and decision.outcome == PENDING:
            hit.pending.ticket, hit.pending.due_us = handle, due_us(query.urgency, now_us)
        elif hit is not None and decision.outcome == HIT:
            hit_only(decision, into=hit.hit, handle=handle)
        elif hit is not None:
            pseudonym = partial(self.vault.pseudonym, peer)
            redact(seen, decision, into=hit.entry, purpose=query.purpose, handle=handle, pseudonym=pseudonym)
        return Weighed(seen, decision, facts, handle, hit)


def hit_sha256(hit: Hit) -> bytes:
    """Return a digest of what is told: the same is not told again. When a held one is due, is no part of it."""
    told = Hit()
    told.CopyFrom(hit)
    if told.HasField("pending"):
        told.pending.due_us = 0
    return sha256(told.SerializeToString(deterministic=True)).digest()
