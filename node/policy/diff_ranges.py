"""Ranges of situations, and what differs in one situation between two versions of a rulebook.

A range is a set of values for each dimension that matters; a box is all situations whose facts lie in its ranges.
Nothing here knows a solver: what is said of a box can be checked with `node.policy.reference` alone.
"""

from collections.abc import Collection
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from node.policy.evaluate import LayerResult, categories_of, join
from node.policy.facts import UNKNOWN_AGE, Facts
from node.policy.prove.variables import ACCEPTED
from node.policy.reference import decide, weigh
from node.policy.rules import RedLine, Rulebook
from node.policy.vocabulary import (
    AGE_BOUNDS,
    CATEGORIES,
    CATEGORIES_BY_KIND,
    DIMENSIONS,
    NEVER_LAWFUL,
    OBLIGATION_NUMBERS,
    OBLIGATIONS,
    OUTCOMES,
    UNKNOWN,
    Category,
    Obligation,
    Outcome,
)
from node.wire import codes_pb2, ledger_pb2

Kind = Literal[
    "newly released",
    "no longer held",
    "one approves",
    "obligations lost",
    "kept longer",
    "newly withheld",
    "newly held",
    "two approve",
    "obligations gained",
    "deleted sooner",
]
WIDENING: Final[tuple[Kind, ...]] = (
    "newly released",
    "no longer held",
    "one approves",
    "obligations lost",
    "kept longer",
)
NARROWING: Final[tuple[Kind, ...]] = (
    "newly withheld",
    "newly held",
    "two approve",
    "obligations gained",
    "deleted sooner",
)
KINDS: Final[tuple[Kind, ...]] = (*WIDENING, *NARROWING)
"""In the order in which they are looked for and shown."""

HOLD: Final = "HOLD"
"""Subject of a change in whether a focal point decides."""

APPROVALS: Final = "APPROVALS"
"""Subject of a change in how many focal points must approve what waits for them."""

RETENTION: Final = "RETENTION"
"""Subject of a change of the days after which the recipient deletes."""

WITHHELD: Final = "withhold"
"""The level of what does not leave, in words."""

WHATEVER: Final = "whatever"
"""A level that is not told: of what a restriction now keeps back, or of what one kept back before."""

Pair: TypeAlias = tuple[Rulebook, Rulebook]
"""A floor and a release rulebook, both in force."""

_WITHHOLD: Final = codes_pb2.OUTCOME_WITHHOLD
_RETENTION: Final = codes_pb2.OBLIGATION_RETENTION
_MAY_LEAVE: Final = frozenset(
    {ledger_pb2.ENTRY_OUTCOME_ENTRY, ledger_pb2.ENTRY_OUTCOME_HIT, ledger_pb2.ENTRY_OUTCOME_PENDING}
)
# What the node refuses before any rule (`reference.refusals`), and what is never a fact (`Variables.well_formed`).
_NEVER: Final[dict[str, Collection[str]]] = {
    "paired": {"NO"},
    "unit_type": {"IMMIGRATION", UNKNOWN},
    "purpose": {*NEVER_LAWFUL, UNKNOWN},
    "kind": {UNKNOWN},
    "instrument": {UNKNOWN},
}


# --- situations ------------------------------------------------------------------------------------------------------


class Situation(NamedTuple):
    """One situation to compare in: facts, and what the recipient has accepted."""

    facts: Facts
    accepted: frozenset[Obligation]

    def words(self, dimension: str) -> frozenset[str]:
        """What is so in one dimension, in words; a class of age is its lower bound."""
        if dimension == ACCEPTED:
            return frozenset(OBLIGATIONS[each] for each in self.accepted)
        value = getattr(self.facts, dimension)
        if isinstance(value, frozenset):
            return value
        if isinstance(value, int):
            return frozenset({UNKNOWN if value == UNKNOWN_AGE else str(value)})
        return frozenset({value})


def possible_words(dimension: str) -> tuple[str, ...]:
    """Words of a dimension, ages and acceptance included, that occur where rules decide."""
    if dimension == ACCEPTED:
        return tuple(OBLIGATION_NUMBERS)
    words = DIMENSIONS[dimension].values or (UNKNOWN, *map(str, AGE_BOUNDS))
    return tuple(word for word in words if word not in _NEVER.get(dimension, ()))


class Range(msgspec.Struct, frozen=True):
    """What a box asks of one dimension.

    Attributes:
        dimension: Its name; of what the recipient accepted, `ACCEPTED`.
        any_of: At least one word of each of these sets holds. Of a dimension with one value there is one set.
        none_of: And none of these words.
    """

    dimension: str
    any_of: tuple[frozenset[str], ...]
    none_of: frozenset[str] = frozenset()

    def has(self, present: Collection[str]) -> bool:
        """Whether these words of the dimension lie in the range."""
        return self.none_of.isdisjoint(present) and not any(each.isdisjoint(present) for each in self.any_of)


# --- what differs ----------------------------------------------------------------------------------------------------


class Change(msgspec.Struct, frozen=True):
    """One difference in outcome.

    Attributes:
        subject: Word of a category or an obligation, `RETENTION`, `HOLD` or `APPROVALS`.
        before: Level, or `WHATEVER` is less strict than the other; "yes" or "no"; days, 0 where no rule says.
        after: Likewise.
        on_approval: Of a category that leaves after: only once a focal point has approved it.
        within_floor: `before` and `after` are what the release rulebook says by itself, told of situations in which the
            floor lets something of it leave; the floor may leave less of it. Else they are the outcome itself.
        follows: Of a category that every kind of entry has: it changes because something of the entry's own now leaves,
            or nothing does any more.
    """

    kind: Kind
    subject: str
    before: str
    after: str
    on_approval: bool = False
    within_floor: bool = False
    follows: bool = False


class Outcomes(NamedTuple):
    """What counts of a decision.

    Attributes:
        levels: By category; of what is held, what an approval may let leave at the most. Empty where nothing may leave.
        hit: Nothing leaves but that the entry exists, and its reference.
        held: A focal point decides, though perhaps in silence.
        twice: Two of them do.
        obligations: Of all rules that fired; RETENTION is told by `days`.
        layers: What each rulebook said.
        crossed: Red lines that withheld something, each with what.
    """

    levels: dict[Category, Outcome]
    hit: bool
    held: bool
    twice: bool
    obligations: frozenset[Obligation]
    days: int
    layers: tuple[LayerResult, LayerResult]
    crossed: list[tuple[RedLine, list[Category]]]


def outcomes_in(situation: Situation, pair: Pair) -> Outcomes:
    """Decide as the published semantics say, in a situation in which rules decide."""
    facts, accepted = situation
    decision = decide(*pair, facts, accepted, pair[0].valid_from_us)
    weighed = weigh(*pair, facts, accepted)
    days = [layer.retention_days for layer in weighed.layers if layer.retention_days]
    return Outcomes(
        levels=dict(decision.levels) if decision.outcome in _MAY_LEAVE else {},
        hit=decision.outcome in _MAY_LEAVE
        and all(decision.level(category) == _WITHHOLD for category in CATEGORIES_BY_KIND[facts.kind]),
        held=weighed.held,
        twice=any(rule.approvals > 1 for layer in weighed.layers for rule in layer.fired),
        obligations=frozenset[Obligation]().union(*(layer.obligations for layer in weighed.layers)) - {_RETENTION},
        days=min(days, default=0),
        layers=weighed.layers,
        crossed=weighed.crossed,
    )


def changes_between(old: Outcomes, new: Outcomes, kind: str) -> dict[str, Change]:
    """All that differs in one situation about this kind of entry, by subject.

    Whether something leaves at all, and obligations and retention therefore matter, is for the caller.
    """
    found = []
    for category in sorted(categories_of(kind)):
        before, after = old.levels.get(category, _WITHHOLD), new.levels.get(category, _WITHHOLD)
        if before != after:
            stricter = join(before, after) == after
            found.append(
                Change(
                    "newly withheld" if stricter else "newly released",
                    CATEGORIES[category],
                    OUTCOMES[before].lower(),
                    OUTCOMES[after].lower(),
                    on_approval=new.held and after != _WITHHOLD,
                )
            )
    if old.held != new.held:
        found.append(_flag("newly held" if new.held else "no longer held", HOLD, after=new.held))
    elif old.twice != new.twice:
        kind_of: Kind = "two approve" if new.twice else "one approves"
        found.append(Change(kind_of, APPROVALS, *(("1", "2") if new.twice else ("2", "1"))))
    for each in sorted(old.obligations ^ new.obligations):
        owed = each in new.obligations
        found.append(_flag("obligations gained" if owed else "obligations lost", OBLIGATIONS[each], after=owed))
    if old.days != new.days:
        longer = not new.days or 0 < old.days < new.days
        found.append(Change("kept longer" if longer else "deleted sooner", RETENTION, str(old.days), str(new.days)))
    return {each.subject: each for each in found}


def _flag(kind: Kind, subject: str, *, after: bool) -> Change:
    return Change(kind, subject, "no" if after else "yes", "yes" if after else "no")
