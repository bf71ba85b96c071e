"""What would leave on a request, composed anew whenever it matters: shown, signed, and once more before it leaves.

The same choice over the same records, rules and facts makes the same bytes; that is what focal points sign. So whatever
changes in between shows as another digest, and nothing leaves that nobody has read.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, select

from node.errors import DecryptionError, DeniedError, IdentityError, KeyErasedError, PolicyError
from node.federation.answering import decided
from node.federation.standing import Standing
from node.policy.decide import ENTRY, HIT, INVISIBLE, Decision
from node.policy.derive import Request, derive_facts, derive_request
from node.policy.facts import Facts, encode_facts
from node.policy.follow_up import asked_of, query_of
from node.policy.narrowing import for_emergency, forbidden, leaving, narrowed
from node.policy.redact import hit_only, redact
from node.policy.vocabulary import Category
from node.store import decoys
from node.store.entries import Entries
from node.store.entry_rows import EntryState
from node.store.frozen import Frozen
from node.store.requests import Kept
from node.store.tables import entries as entries_table
from node.store.vault import Vault
from node.wire.deciding_pb2 import REQUEST_ORIGIN_SHARE, ReleaseApproval
from node.wire.entry_pb2 import Entry
from node.wire.ledger_pb2 import Decisions
from node.wire.request_pb2 import (
    REQUEST_OUTCOME_GRANTED,
    REQUEST_OUTCOME_PARTLY_GRANTED,
    FollowUpRequest,
    RequestAnswer,
)


class Choice(NamedTuple):
    """What a focal point chooses to let leave: all that was asked for, where a part is empty."""

    entry_ids: frozenset[bytes] = frozenset()
    categories: frozenset[Category] = frozenset()
    words: str = ""
    emergency: bool = False


@dataclass(frozen=True, slots=True)
class Considered:
    """An entry that was asked for: as the peer sees it, what the rules would let leave of it, and what would.

    Attributes:
        entry: As the peer sees it, which may be as it was before it was protected.
        most: What an approval may let leave at the most.
        chosen: What leaves of it; None where nothing does.
        why_not: For people, where nothing does.
        forbidden: Categories that the floor keeps back, whoever approves.
    """

    entry: Entry
    handle: bytes
    frozen: bool
    facts: Facts
    most: Decision
    chosen: Decision | None
    why_not: str
    forbidden: tuple[Category, ...]


@dataclass(frozen=True, slots=True)
class Composed:
    """An answer as it would leave, and how it came to be."""

    answer: RequestAnswer | None  # None: nothing may leave
    considered: Sequence[Considered]
    approvals: int
    floor_sha256: bytes
    release_sha256: bytes
    nothing: str  # why nothing may leave

    def decisions(self) -> Decisions:
        """Return what the ledger keeps of every entry that was asked for."""
        found = Decisions()
        for each in self.considered:
            decision = each.chosen or each.most
            made = found.entries.add()
            made.CopyFrom(decided(decision))
            made.entry_id, made.revision, made.handle = each.entry.entry_id, each.entry.revision, each.handle
            made.outcome = decision.outcome if each.chosen else INVISIBLE
            made.facts = encode_facts(each.facts)
        return found


def choice_of(release: ReleaseApproval) -> Choice:
    """Return what a focal point has signed to let leave."""
    return Choice(frozenset(release.entry_ids), frozenset(release.categories), release.words, release.emergency)


@dataclass(slots=True)
class Releasing:
    """Composes answers to requests; reads alone."""

    standing: Standing
    vault: Vault
    entries: Entries
    frozen: Frozen

    def compose(
        self, connection: Connection, kept: Kept, choice: Choice, now_us: int, *, approved: bool = True
    ) -> Composed:
        """Compose what would leave now, by this choice; `approved` by focal points, or else by the rules alone."""
        request, peer = kept.detail.request, kept.id.peer
        policy = self.standing.policy_for(peer, now_us)
        digests = (policy.floor.sha256 if policy.floor else b"", policy.release.sha256 if policy.release else b"")
        refused = self._refused(peer, request, now_us)
        asking = self._request(peer, request, now_us)
        considered = []
        for entry, handle, is_frozen in self._entries(connection, peer, request.handles, now_us):
            facts = derive_facts(asking, entry, now_us)
            most = policy.decide_approved(facts, now_us) if approved else policy.decide(facts, now_us)
            chosen, why_not = None, refused
            if not refused and (not choice.entry_ids or entry.entry_id in choice.entry_ids):
                asked = asked_of(request, entry.WhichOneof("entity") or "")
                chosen, why_not = self._chosen(most, facts, asked, choice, now_us)
            kept_back = forbidden(policy.floor, facts, policy.accepted) if policy.floor else ()
            considered.append(Considered(entry, handle, is_frozen, facts, most, chosen, why_not, kept_back))
        answer = self._answer(request, considered, choice, peer)
        if kept.item.origin == REQUEST_ORIGIN_SHARE:
            answer.outcome = REQUEST_OUTCOME_GRANTED  # what else was considered, nobody is told who did not ask
        told = [each for each in considered if each.chosen is not None]
        approvals = max((each.chosen.approvals for each in told if each.chosen), default=1)
        nothing = "" if told else refused or "; ".join(dict.fromkeys(each.why_not for each in considered))
        return Composed(
            answer if told else None,
            considered,
            1 if choice.emergency else approvals,
            *digests,
            nothing=nothing or ("" if told else "what was asked for is held here no more"),
        )

    def _refused(self, peer: str, request: FollowUpRequest, now_us: int) -> str:
        """Return why nothing may leave on such a request, whatever it is about; empty where something may."""
        try:
            self.standing.trust.verify_paired(peer)
        except IdentityError as error:
            return str(error)
        if request.instrument not in {each.id for each in self.standing.instruments_with(peer, now_us)}:
            return "no instrument of that name is in force with the peer"
        return ""

    def _request(self, peer: str, request: FollowUpRequest, now_us: int) -> Request:
        instruments = self.standing.instruments_with(peer, now_us)
        return derive_request(
            recipient=peer,
            query=query_of(request),
            instruments=[each.kind for each in instruments if each.id == request.instrument],
            paired=self.standing.trust.is_paired(peer),
            reciprocity=self.standing.reciprocity_of(peer),
            emergency=self.standing.is_emergency(peer, now_us),
        )

    def _entries(
        self, connection: Connection, peer: str, handles: Collection[bytes], now_us: int
    ) -> list[tuple[Entry, bytes, bool]]:
        """Return the entries behind handles that the peer may still see, as it sees them; a decoy leaves on no way."""
        by_id = {self.vault.resolve_handle(peer, handle): handle for handle in handles}
        for decoy in by_id.keys() & decoys.entry_ids(connection, self.vault):
            del by_id[decoy]
        held = entries_table.c
        active = select(held.entry_id).where(held.entry_id.in_(by_id), held.state == EntryState.ACTIVE)
        found = []
        for entry_id in sorted(connection.execute(active).scalars()):
            try:
                entry = self.entries.get(connection, entry_id)
            except (KeyErasedError, DecryptionError):
                continue
            seen = self.frozen.of_entry(peer, entry, now_us)
            if seen is not None:
                found.append((seen, by_id[entry_id], seen.revision != entry.revision))
        return sorted(found, key=lambda each: each[1])

    def _chosen(
        self, most: Decision, facts: Facts, asked: frozenset[Category], choice: Choice, now_us: int
    ) -> tuple[Decision | None, str]:
        keep = asked & choice.categories if choice.categories else asked
        release = self.standing.rulebook("release", now_us)
        try:
            if choice.emergency:
                if facts.urgency != "LIFE" or facts.emergency != "DECLARED" or release is None:
                    return None, "an emergency release is for a LIFE request, while an emergency is declared"
                most = for_emergency(most, facts.kind, release)
            return narrowed(most, facts.kind, keep), ""
        except PolicyError as error:
            return None, str(error)

    def _answer(
        self, request: FollowUpRequest, considered: Sequence[Considered], choice: Choice, peer: str
    ) -> RequestAnswer:
        answer = RequestAnswer(request_id=request.request_id, words=choice.words)
        pseudonym = partial(self.vault.pseudonym, peer)
        leaves = {
            each.entry.entry_id: each.handle for each in considered if each.chosen and each.chosen.outcome == ENTRY
        }
        for each in considered:
            if each.chosen is None:
                continue
            hit = answer.hits.add()
            if each.chosen.outcome == HIT:
                hit_only(each.chosen, into=hit.hit, handle=each.handle)
                continue
            redact(
                each.entry,
                each.chosen,
                into=hit.entry,
                purpose=request.purpose,
                handle=each.handle,
                pseudonym=pseudonym,
            )
            for link in each.entry.links:
                if link.to_entry_id in leaves:
                    hit.entry.links.add(kind=link.kind, to_handle=leaves[link.to_entry_id])
        whole = len(answer.hits) == len(request.handles) and all(_is_whole(each, request) for each in considered)
        answer.outcome = REQUEST_OUTCOME_GRANTED if whole else REQUEST_OUTCOME_PARTLY_GRANTED
        return answer


def _is_whole(each: Considered, request: FollowUpRequest) -> bool:
    """Tell whether all that was asked for of an entry leaves; where nothing was named, all that the rules let leave."""
    if each.chosen is None:
        return False
    if not request.categories:
        return leaving(each.chosen) == leaving(each.most)
    return asked_of(request, each.entry.WhichOneof("entity") or "") <= leaving(each.chosen)


def verify_composed(composed: Composed) -> RequestAnswer:
    """Return what leaves.

    Raises:
        DeniedError: nothing may.
    """
    if composed.answer is None:
        raise DeniedError(composed.nothing)
    return composed.answer
