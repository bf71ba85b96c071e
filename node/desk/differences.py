"""What another rulebook would change, counted over many situations, and told in text.

Counts alone: the text says nothing of a single record. The same records and the same past give the same text.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from node.policy.decision import ENTRY, HELD_SILENTLY, HIT, PENDING, Decision, EntryOutcome
from node.policy.evaluate import WITHHOLD, join
from node.policy.vocabulary import CATEGORIES, OUTCOMES, Category, Outcome

_LEAVING: Final = frozenset({ENTRY, HIT})
_HELD: Final = frozenset({PENDING, HELD_SILENTLY})

NEWLY_LEAVES: Final = "newly leaving"
MORE_LEAVES: Final = "leaving with more"
LESS_LEAVES: Final = "leaving with less"
NO_LONGER_LEAVES: Final = "no longer leaving"
NEWLY_HELD: Final = "newly held"
NO_LONGER_HELD: Final = "no longer held"
OTHER_HOLD: Final = "held as before, but the peer is told otherwise"
OTHER_APPROVAL: Final = "held as before, but an approval could let other data leave"
FEWER_APPROVE: Final = "held as before, but one focal point alone may approve"
MORE_APPROVE: Final = "held as before, but two focal points must approve"
OTHER_OBLIGATIONS: Final = "leaving with other obligations or retention"

_Level: TypeAlias = tuple[str, Category, Outcome, Outcome]  # country, category, before, after

_KINDS: Final = (
    NEWLY_LEAVES,
    MORE_LEAVES,
    LESS_LEAVES,
    NO_LONGER_LEAVES,
    NEWLY_HELD,
    NO_LONGER_HELD,
    OTHER_HOLD,
    OTHER_APPROVAL,
    FEWER_APPROVE,
    MORE_APPROVE,
    OTHER_OBLIGATIONS,
)


class Change(NamedTuple):
    """What is decided otherwise in one situation.

    Attributes:
        before: Outcome under the rulebook in force.
        after: Under the other one.
        categories: Each that leaves otherwise, with its levels before and after, in ascending order; what a focal point
            has still to decide on does not leave.
        kinds: What kinds of change this is, of `_KINDS`.
    """

    before: EntryOutcome
    after: EntryOutcome
    categories: tuple[tuple[Category, Outcome, Outcome], ...]
    kinds: tuple[str, ...]


def change_between(old: Decision, new: Decision) -> Change | None:
    """Return what differs between two decisions on the same situation; None where nothing does."""
    before, after = _leaving(old), _leaving(new)
    categories = tuple(
        (each, before.get(each, WITHHOLD), after.get(each, WITHHOLD))
        for each in sorted(before.keys() | after.keys())
        if before.get(each, WITHHOLD) != after.get(each, WITHHOLD)
    )
    kinds = []
    if after and not before:
        kinds.append(NEWLY_LEAVES)
    elif before and not after:
        kinds.append(NO_LONGER_LEAVES)
    elif before:
        # Neither of generalise and pseudonymise is the stricter one: such a change is both.
        kinds += [MORE_LEAVES] if any(join(was, now) != now for _, was, now in categories) else []
        kinds += [LESS_LEAVES] if any(join(was, now) != was for _, was, now in categories) else []
        if (old.obligations, old.retention_days) != (new.obligations, new.retention_days):
            kinds.append(OTHER_OBLIGATIONS)
    if (old.outcome in _HELD) != (new.outcome in _HELD):
        kinds.append(NEWLY_HELD if new.outcome in _HELD else NO_LONGER_HELD)
    elif old.outcome in _HELD and old.outcome != new.outcome:
        kinds.append(OTHER_HOLD)
    elif old.outcome == PENDING and old.levels != new.levels:
        kinds.append(OTHER_APPROVAL)
    if old.outcome in _HELD and new.outcome in _HELD and old.approvals != new.approvals:
        kinds.append(FEWER_APPROVE if new.approvals < old.approvals else MORE_APPROVE)
    if not kinds:
        return None
    return Change(old.outcome, new.outcome, categories, tuple(kinds))


def _leaving(decision: Decision) -> dict[Category, Outcome]:
    if decision.outcome not in _LEAVING:
        return {}
    return {category: level for category, level in decision.levels if level != WITHHOLD}


@dataclass(slots=True)
class Tally:
    """Counts changes by country, of records or of past decisions.

    A record that is asked about for several purposes counts once for each country.
    """

    unit: str  # "records" or "decisions"
    _kinds: Counter[tuple[str, str]] = field(default_factory=Counter)  # by country and kind
    _levels: Counter[_Level] = field(default_factory=Counter)
    _purposes: dict[_Level, set[str]] = field(default_factory=dict)

    def add(self, peer: str, changes: Sequence[tuple[str, Change]]) -> None:
        """Count one record or decision, by each purpose for which something changes."""
        self._kinds.update((peer, kind) for kind in {kind for _, each in changes for kind in each.kinds})
        found: dict[_Level, set[str]] = {}
        for purpose, change in changes:
            for category, before, after in change.categories:
                found.setdefault((peer, category, before, after), set()).add(purpose)
        self._levels.update(found.keys())
        for level, purposes in found.items():
            self._purposes.setdefault(level, set()).update(purposes)

    def lines(self, peers: Iterable[str]) -> Iterator[str]:
        """Yield lines of text, for these countries in this order."""
        for peer in peers:
            kinds = [(kind, self._kinds[peer, kind]) for kind in _KINDS if self._kinds[peer, kind]]
            for kind, number in kinds:
                yield f"{peer}: {self.unit} {kind}: {number:,}"
            if not kinds:
                yield f"{peer}: nothing changes"
            for level in sorted(each for each in self._levels if each[0] == peer):
                _, category, before, after = level
                what = f"{CATEGORIES[category]}, {_level(before)} before, {_level(after)} then"
                yield f"{peer}: {what}: {self._levels[level]:,}, for {', '.join(sorted(self._purposes[level]))}"


def _level(outcome: Outcome) -> str:
    return "withheld" if outcome == WITHHOLD else OUTCOMES[outcome].lower()
