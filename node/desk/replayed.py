"""What one rehearsal of a rulebook has found so far."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from node.desk.differences import Change, Tally, change_between
from node.desk.rehearsing import MOST_ENTRIES, situations
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

MOST_LISTED: Final = 2_000
"""Single entries that a rehearsal names at the most; how many there are, it says."""

_PURPOSE_NUMBERS: Final = {word: Purpose.ValueType(number) for number, word in PURPOSES.items()}
_Again: TypeAlias = tuple[Facts, Change | None]


@dataclass(slots=True)
class Blocked:
    """Records of which UNKNOWN alone lets nobody see anything: how many, and by which facts."""

    records: int = 0
    facts: Counter[str] = field(default_factory=Counter)
    _known: dict[Facts, frozenset[str]] = field(default_factory=dict)

    def take(self, asked: Sequence[Facts], policies: dict[str, Policy], at_us: int) -> None:
        """Count one record, by all that may be asked about it."""
        if any(policies[each.recipient].decide(each, at_us).outcome in VISIBLE for each in asked):
            return
        for each in asked:
            missing = self._known.get(each)
            if missing is None:
                missing = self._known[each] = blocked_by_unknown(policies[each.recipient], each, at_us)
            if missing:
                self.records += 1
                self.facts.update(missing)
                return


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
    """

    standing: Standing
    now_us: int
    at_us: int
    old: dict[str, Policy]
    new: dict[str, Policy]
    peers: Sequence[str]
    changed: list[ChangedEntry] = field(default_factory=list)
    changed_total: int = 0
    _read: int = 0
    _answers: int = 0
    _decisions: int = 0
    _records: Tally = field(default_factory=lambda: Tally("records"))
    _past: Tally = field(default_factory=lambda: Tally("decisions"))
    _past_peers: set[str] = field(default_factory=set)
    _set_aside: Counter[str] = field(default_factory=Counter)
    _blocked_before: Blocked = field(default_factory=Blocked)
    _blocked_after: Blocked = field(default_factory=Blocked)
    _changes: dict[Facts, Change | None] = field(default_factory=dict)  # situations recur
    _by_bytes: dict[bytes, _Again | str] = field(default_factory=dict)

    def take_record(self, entry: Entry) -> None:
        """Ask about a record as every paired peer might."""
        self._read += 1
        asked: list[Facts] = []
        for peer in self.peers:
            changes = {}
            for facts in situations(self.standing, entry, peer, self.now_us):
                asked.append(facts)
                change = self._change(facts)
                if change is not None:
                    changes[facts.purpose] = change
                    self._name(entry.entry_id, b"", facts, change)
            if changes:
                self._records.add(peer, changes)
        self._blocked_before.take(asked, self.old, self.now_us)
        self._blocked_after.take(asked, self.new, self.at_us)

    def take_answer(self, answer: Decided) -> None:
        """Decide again on every entry of a past answer, from the facts that were kept."""
        self._answers += 1
        for each in answer.entries:
            self._decisions += 1
            again = self._by_bytes.get(each.facts)
            if again is None:
                again = self._by_bytes[each.facts] = self._again(each.facts)
            if isinstance(again, str):
                self._set_aside[again] += 1
                continue
            facts, change = again
            self._past_peers.add(facts.recipient)
            if change is not None:
                self._past.add(facts.recipient, {facts.purpose: change})
                self._name(each.entry_id, answer.exchange_id, facts, change)

    def lines(self) -> Iterator[str]:
        """Yield the report's lines on what was found."""
        yield ""
        yield "Records as they are, asked about by each paired peer's police intelligence (for evidence by its central"
        yield "authority), for the record's own crimes, for each lawful purpose and under each instrument in force"
        yield f"records read: {self._read:,}{' (of more)' if self._read == MOST_ENTRIES else ''}"
        yield from self._records.lines(self.peers)
        for blocked, when in ((self._blocked_before, "in force"), (self._blocked_after, "proposed")):
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

    def _change(self, facts: Facts) -> Change | None:
        if facts not in self._changes:
            peer = facts.recipient
            old, new = self.old[peer].decide(facts, self.now_us), self.new[peer].decide(facts, self.at_us)
            self._changes[facts] = change_between(old, new)
        return self._changes[facts]

    def _again(self, data: bytes) -> _Again | str:
        try:
            facts = parse_facts(data)
        except PolicyError:
            return "whose facts are of another vocabulary"
        if facts.recipient not in self.old:
            return "for countries that are no members any more"
        return facts, self._change(facts)

    def _name(self, entry_id: bytes, exchange_id: bytes, facts: Facts, change: Change) -> None:
        self.changed_total += 1
        if len(self.changed) == MOST_LISTED:
            return
        self.changed.append(
            ChangedEntry(
                entry_id=entry_id,
                exchange_id=exchange_id,
                peer=facts.recipient,
                purpose=_PURPOSE_NUMBERS[facts.purpose],
                before=change.before,
                after=change.after,
                categories=[
                    ChangedCategory(category=category, before=before, after=after)
                    for category, before, after in change.categories
                ],
            )
        )
