"""What one rehearsal of a rulebook has found so far."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from node.desk.differences import Change, Tally, change_between
from node.desk.rehearsing import situations
from node.errors import PolicyError
from node.federation.answering import VISIBLE
from node.federation.standing import Standing
from node.policy.blocked import blocked_by_unknown
from node.policy.decide import Policy
from node.policy.facts import Facts, parse_facts
from node.policy.vocabulary import PURPOSES
from node.store.decided import Decided
from node.wire.codes_pb2 import Purpose
from node.wire.entry_pb2 import Entry
from node.wire.explaining_pb2 import ChangedCategory, ChangedEntry

MOST_RECORDS: Final = 100_000
"""Records that a rehearsal reads, the newest first; each costs some 40 µs and 10 more for each paired peer."""

MOST_LISTED: Final = 2_000
"""Single entries that a rehearsal names at the most; how many there are, it says."""

_PURPOSE_NUMBERS: Final = {word: Purpose.ValueType(number) for number, word in PURPOSES.items()}
_Again: TypeAlias = tuple[Facts, Change | None]


class Asked(NamedTuple):
    """Everything that one peer may ask about records that are alike to the rules.

    `missing` are the facts whose being UNKNOWN alone keeps them from this peer, before and after; None where something
    is visible.
    """

    changes: Sequence[tuple[Facts, Change]]
    missing: tuple[frozenset[str] | None, frozenset[str] | None]


@dataclass(slots=True)
class Blocked:
    """Records of which UNKNOWN alone lets no peer see anything: how many, and by which facts."""

    records: int = 0
    facts: Counter[str] = field(default_factory=Counter)

    def add(self, missing: Sequence[frozenset[str] | None]) -> None:
        """Count one record, by what is missing for each peer."""
        if None not in missing and any(missing):
            self.records += 1
            self.facts.update(next(each for each in missing if each) or ())


@dataclass(slots=True)
class Replayed:
    """Records and past decisions under two pairs of rulebooks, and what differs.

    Attributes:
        standing: Of the node.
        now_us: When the rehearsal began, UTC microseconds.
        at_us: When the other rulebook is tried: then, or from when on it holds.
        old: What is in force, by peer, for every other member.
        new: The same with the other rulebook.
        peers: Those that are paired, in the order of their codes.
        records_total: How many records there are, also where not all are read.
        changed: Single entries that are treated otherwise, at most `MOST_LISTED`.
        changed_total: How many there are.
    """

    standing: Standing
    now_us: int
    at_us: int
    old: dict[str, Policy]
    new: dict[str, Policy]
    peers: Sequence[str]
    records_total: int = 0
    changed: list[ChangedEntry] = field(default_factory=list)
    changed_total: int = 0
    _read: int = 0
    _answers: int = 0
    _decisions: int = 0
    _records: Tally = field(default_factory=lambda: Tally("records"))
    _past: Tally = field(default_factory=lambda: Tally("decisions"))
    _past_peers: set[str] = field(default_factory=set)
    _set_aside: Counter[str] = field(default_factory=Counter)
    _blocked: tuple[Blocked, Blocked] = field(default_factory=lambda: (Blocked(), Blocked()))  # before and after
    _asked: dict[tuple[str, Facts], Asked] = field(default_factory=dict)  # situations recur
    _by_bytes: dict[tuple[str, bytes], _Again | str] = field(default_factory=dict)

    def take_record(self, entry: Entry, views: Mapping[str, Entry | None]) -> None:
        """Ask about a record as every paired peer might.

        `views` are what peers go on seeing instead of it, None where they find nothing any more.
        """
        self._read += 1
        seen = [(peer, views.get(peer, entry)) for peer in self.peers]
        every = [(peer, self._asked_by(peer, view)) for peer, view in seen if view is not None]
        for peer, asked in every:
            if asked.changes:
                self._records.add(peer, [(facts.purpose, change) for facts, change in asked.changes])
            for facts, change in asked.changes:
                self._name(entry.entry_id, b"", peer, facts, change)
        for which, blocked in enumerate(self._blocked):
            blocked.add([asked.missing[which] for _, asked in every])

    def _asked_by(self, peer: str, entry: Entry) -> Asked:
        """Return what comes of all that a peer may ask, remembered by the facts of the first question.

        Of the record itself no other fact depends on the question, but whether there is consent to its purpose.
        """
        questions = situations(self.standing, entry, peer, self.now_us)
        first = next(questions, None)
        if first is None:
            return Asked((), (frozenset(), frozenset()))
        if entry.protection.consents or entry.inherited.consents:
            return self._answered(peer, [first, *questions])
        found = self._asked.get((peer, first))
        if found is None:
            found = self._asked[peer, first] = self._answered(peer, [first, *questions])
        return found

    def _answered(self, peer: str, questions: Sequence[Facts]) -> Asked:
        changes = [(facts, self._change(peer, facts)) for facts in questions]
        return Asked(
            [(facts, change) for facts, change in changes if change is not None],
            (
                _missing(self.old[peer], questions, self.now_us),
                _missing(self.new[peer], questions, self.at_us),
            ),
        )

    def take_answer(self, answer: Decided) -> None:
        """Decide again on every entry of a past answer, from the facts that were kept."""
        self._answers += 1
        for each in answer.entries:
            self._decisions += 1
            again = self._by_bytes.get((answer.peer, each.facts))
            if again is None:
                again = self._by_bytes[answer.peer, each.facts] = self._again(answer.peer, each.facts)
            if isinstance(again, str):
                self._set_aside[again] += 1
                continue
            facts, change = again
            self._past_peers.add(answer.peer)
            if change is not None:
                self._past.add(answer.peer, [(facts.purpose, change)])
                self._name(each.entry_id, answer.exchange_id, answer.peer, facts, change)

    def lines(self) -> Iterator[str]:
        """Yield the report's lines on what was found."""
        yield ""
        yield "Records as they are, asked about by each paired peer's police intelligence (for evidence by its central"
        yield "authority), for the record's own crimes, for each lawful purpose and under each instrument in force"
        left = f", the newest of {self.records_total:,}" if self._read == MOST_RECORDS < self.records_total else ""
        yield f"records read: {self._read:,}{left}"
        yield from self._records.lines(self.peers)
        for blocked, when in zip(self._blocked, ("in force", "proposed"), strict=True):
            share = 100 * blocked.records / self._read if self._read else 0
            yield (
                f"records that UNKNOWN alone keeps from every paired peer, under the rulebook {when}: "
                f"{blocked.records:,} ({share:.1f} %)"
            )
            for name, number in sorted(blocked.facts.items()):
                yield f"  {name.replace('_', ' ')} is UNKNOWN: {number:,}"
        yield ""
        yield "Past answers, decided again from the facts that were kept"
        yield f"answers: {self._answers:,}; decisions: {self._decisions:,}"
        for why, number in sorted(self._set_aside.items()):
            yield f"decisions {why}, which can't be made again: {number:,}"
        yield from self._past.lines(sorted(self._past_peers))

    def _change(self, peer: str, facts: Facts) -> Change | None:
        old, new = self.old[peer].decide(facts, self.now_us), self.new[peer].decide(facts, self.at_us)
        return change_between(old, new)

    def _again(self, peer: str, data: bytes) -> _Again | str:
        try:
            facts = parse_facts(data)
        except PolicyError:
            return "whose facts are of another vocabulary"
        if peer not in self.old:
            return "for countries that are no members any more"
        return facts, self._change(peer, facts)

    def _name(self, entry_id: bytes, exchange_id: bytes, peer: str, facts: Facts, change: Change) -> None:
        self.changed_total += 1
        if len(self.changed) == MOST_LISTED:
            return
        self.changed.append(
            ChangedEntry(
                entry_id=entry_id,
                exchange_id=exchange_id,
                peer=peer,
                purpose=_PURPOSE_NUMBERS[facts.purpose],
                before=change.before,
                after=change.after,
                categories=[
                    ChangedCategory(category=category, before=before, after=after)
                    for category, before, after in change.categories
                ],
            )
        )


def _missing(policy: Policy, questions: Sequence[Facts], at_us: int) -> frozenset[str] | None:
    """Facts whose being UNKNOWN alone keeps a record from a peer, whatever it asks; None where it sees something."""
    if any(policy.decide(each, at_us).outcome in VISIBLE for each in questions):
        return None
    return next((found for each in questions if (found := blocked_by_unknown(policy, each, at_us))), frozenset())
