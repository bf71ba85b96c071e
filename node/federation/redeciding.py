"""What was told before, decided anew: under the rules, the entry and the peer's standing as they are now.

What a peer asked for once, or was told unasked, is in the facts that its line keeps. Only the peer's own part is taken
from there; what is known of the entry is read anew.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from sqlalchemy import Connection

from node.errors import DecryptionError, DeniedError, KeyErasedError, NotFoundError, PolicyError
from node.federation.answering import decided
from node.federation.noticing import update_of
from node.federation.releasing import Releasing
from node.policy.decide import ENTRY, HIT, INVISIBLE, PENDING, Decision
from node.policy.derive import Request, derive_facts
from node.policy.evaluate import EXISTENCE, WITHHOLD, join
from node.policy.facts import Facts, encode_facts, parse_facts
from node.policy.narrowing import narrowed
from node.policy.redact import redact
from node.policy.vocabulary import CATEGORIES, INSTRUMENT_KINDS, Category, Outcome
from node.store import disclosures
from node.store.mail_listing import is_withdrawn
from node.store.traces import Given, trace
from node.wire import codes_pb2
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import ReleasedEntry
from node.wire.ledger_pb2 import LEAF_KIND_MAIL, Decisions, EntryDecision
from node.wire.notice_pb2 import EntryUpdate

_BITS: Final = (
    ("released", codes_pb2.OUTCOME_RELEASE),
    ("generalised", codes_pb2.OUTCOME_GENERALISE),
    ("pseudonymised", codes_pb2.OUTCOME_PSEUDONYMISE),
    ("masked", codes_pb2.OUTCOME_MASK),
)
_APPROVED: Final = ("REQUEST_ANSWER", "SHARE GRANT")
"""What a line's reason begins with where focal points had approved what it tells of."""


class Again(NamedTuple):
    """What was told once, decided on now.

    Attributes:
        entry: As the peer sees it; None where it sees none any more.
        frozen: The peer goes on seeing it as it was, until a focal point decides otherwise.
        facts: Of now; those of then where there is no entry.
        decision: By the rules alone.
        approved: Once focal points approve.
    """

    entry: Entry | None
    frozen: bool
    facts: Facts
    decision: Decision
    approved: Decision


class Corrected(NamedTuple):
    """A correction as it would leave, with what the ledger keeps of it."""

    update: EntryUpdate
    decisions: Decisions


def levels_of(told: EntryDecision) -> Mapping[Category, Outcome]:
    """Return of which categories something left, and how much."""
    found: dict[Category, Outcome] = {}
    for name, level in _BITS:
        bits = getattr(told, name)
        found |= {Category(category): level for category in CATEGORIES if bits >> category & 1}
    return found


def told_last(
    connection: Connection, releasing: Releasing, entry_id: bytes, *, peer: str = "", exchange_id: bytes = b""
) -> list[Given]:
    """Return, for each peer that learnt of an entry, or for one, the last line by which it did.

    In one exchange, or in any.

    Of what was only pending, nothing has left. The ledger is to be followed to its end before (`Freezing.catch_up`).
    """
    found = []
    for country in [peer] if peer else disclosures.shown_to(connection, entry_id):
        for index in reversed(disclosures.lines_to(connection, country, [entry_id])):
            given = [
                each
                for each in trace(connection, releasing.vault, {entry_id}, index, index + 1).given
                if each.decided.outcome in {ENTRY, HIT} and exchange_id in {b"", each.shared.exchange_id}
            ]
            if given and not _never_left(connection, given[-1]):
                found.append(given[-1])
                break
    return found


@dataclass(slots=True)
class Redeciding:
    """Decides anew; reads alone."""

    releasing: Releasing

    def again(self, connection: Connection, given: Given, now_us: int) -> Again:
        """Decide on what a line tells of an entry as if it were to leave now.

        Raises:
            PolicyError: the line's facts are not of this version's vocabulary.
        """
        peer = given.shared.peer
        policy = self.releasing.standing.policy_for(peer, now_us)
        then = parse_facts(given.decided.facts)
        entry, frozen = self.seen(connection, given, now_us)
        facts = derive_facts(self._request(then, peer, now_us), entry, now_us) if entry is not None else then
        if entry is None:
            nothing = Decision(INVISIBLE, (), (), (), (), 0, ())
            return Again(None, frozen, facts, nothing, nothing)
        decision, approved = policy.decide(facts, now_us), policy.decide_approved(facts, now_us)
        return Again(entry, frozen, facts, decision, approved)

    def seen(self, connection: Connection, given: Given, now_us: int) -> tuple[Entry | None, bool]:
        """Return the entry as the peer of a line sees it, None where it sees none, and whether that is frozen."""
        try:
            entry = self.releasing.entries.get(connection, given.decided.entry_id)
        except (NotFoundError, KeyErasedError, DecryptionError):
            return None, False
        seen = self.releasing.frozen.of_entry(given.shared.peer, entry, now_us)
        if seen is None:
            return None, entry.review_us > now_us
        return seen, seen.revision != entry.revision

    def _request(self, then: Facts, peer: str, now_us: int) -> Request:
        standing = self.releasing.standing
        in_force = {INSTRUMENT_KINDS[each.kind] for each in standing.instruments_with(peer, now_us)}
        return Request(
            country=peer,
            recipient=then.recipient,
            paired="YES" if standing.trust.is_paired(peer) else "NO",
            unit_type=then.unit_type,
            purpose=then.purpose,
            crime=then.crime,
            urgency=then.urgency,
            ground=then.ground,
            instrument=then.instrument & in_force,
            reciprocity=standing.reciprocity_of(peer),
            emergency="DECLARED" if standing.is_emergency(peer, now_us) else "NOT_DECLARED",
        )

    # --- correcting --------------------------------------------------------------------------------------------------

    def corrected(self, connection: Connection, given: Given, now_us: int) -> Corrected:
        """Return the correction of what a line tells: of no category more than the peer was told of then.

        Raises:
            DeniedError: nothing is sent; the text says why, and what to do instead.
        """
        again = self.again(connection, given, now_us)
        if again.frozen:
            raise DeniedError("the peer goes on seeing it as it was, until a focal point decides how long")
        if again.entry is None:
            raise DeniedError("there is no such entry any more: recall it")
        if given.decided.outcome != ENTRY:
            raise DeniedError("the peer knows that there is something, and not what")
        if again.decision.outcome == PENDING:
            raise DeniedError("a rule has focal points decide: share it anew")
        told = levels_of(given.decided)
        try:
            decision = narrowed(again.decision, again.facts.kind, told)
        except PolicyError as error:
            raise DeniedError("the rules let nothing of it leave now: recall it") from error
        if decision.outcome != ENTRY:
            raise DeniedError("the rules let nothing of it leave now: recall it")
        peer, vault = given.shared.peer, self.releasing.vault
        released = ReleasedEntry()
        redact(
            again.entry,
            decision,
            into=released,
            purpose=given.private.purpose,
            handle=given.decided.handle,
            pseudonym=partial(vault.pseudonym, peer),
        )
        decisions = Decisions()
        made = decisions.entries.add()
        made.CopyFrom(decided(decision))
        made.entry_id, made.revision, made.handle = again.entry.entry_id, again.entry.revision, given.decided.handle
        made.outcome, made.facts = decision.outcome, encode_facts(again.facts)
        return Corrected(update_of(released), decisions)

    # --- what is forbidden by now ------------------------------------------------------------------------------------

    def forbidden(self, connection: Connection, given: Given, now_us: int) -> str:
        """Return why the rules would not let leave now what a line tells; empty where they would.

        What focal points had approved is compared with what they may let leave now. A view that is frozen for the peer
        is decided on by focal points alone, so nothing is said of it.
        """
        try:
            again = self.again(connection, given, now_us)
        except PolicyError as error:
            return str(error)[:100]
        if again.frozen or again.entry is None:  # what is deleted here is not a matter of rules
            return ""
        decision = again.approved if was_approved(given) else again.decision
        if decision.outcome == PENDING:
            return "a rule has focal points decide on it first"
        if decision.outcome not in {ENTRY, HIT}:
            return "no rule lets anything of it leave"
        told = levels_of(given.decided) if given.decided.outcome == ENTRY else {EXISTENCE: codes_pb2.OUTCOME_RELEASE}
        less = _stricter(told, decision)
        names = [codes_pb2.DataCategory.Name(each).removeprefix("DATA_CATEGORY_").lower() for each in less]
        return f"the rules let less leave of {', '.join(names)}" if less else ""


def _never_left(connection: Connection, given: Given) -> bool:
    """Tell whether a line tells of mail that was withdrawn; to take that back would tell that there was something."""
    shared = given.shared
    return shared.kind == LEAF_KIND_MAIL and is_withdrawn(connection, shared.peer, shared.exchange_id, shared.time_us)


def was_approved(given: Given) -> bool:
    """Tell whether focal points had approved what a line tells."""
    return given.shared.kind == LEAF_KIND_MAIL and given.private.reason.startswith(_APPROVED)


def _stricter(told: Mapping[Category, Outcome], decision: Decision) -> Collection[Category]:
    now = dict(decision.levels)
    return sorted(each for each, level in told.items() if join(level, now.get(each, WITHHOLD)) != level)
