"""What two rulebooks let leave, as z3 expressions over the variables of one situation.

Written from the published semantics (the numbered list in `node.policy.reference`), rule by rule, from the rulebook as
it was read. Levels are told by one Boolean for each category and level, "at most this strict": by the lattice's law, a
join is at most g exactly where both its sides are, so that joins become conjunctions.

Red lines withhold nothing here: the rules alone must keep them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import z3

from node.policy.facts import UNKNOWN_AGE
from node.policy.prove.anything import anything
from node.policy.prove.variables import SETS, Variables
from node.policy.rules import Condition, Conjunction, Layer, Rule, Rulebook
from node.policy.vocabulary import (
    AGE_BOUNDS,
    CATEGORIES_BY_KIND,
    CATEGORY_NUMBERS,
    NEVER_LAWFUL,
    NOT_APPLICABLE,
    UNKNOWN,
    Category,
    Obligation,
    Outcome,
)
from node.schema import COMMON_CATEGORIES
from node.wire import codes_pb2, ledger_pb2

RELEASE: Final = codes_pb2.OUTCOME_RELEASE
GENERALISE: Final = codes_pb2.OUTCOME_GENERALISE
PSEUDONYMISE: Final = codes_pb2.OUTCOME_PSEUDONYMISE
MASK: Final = codes_pb2.OUTCOME_MASK
WITHHOLD: Final = codes_pb2.OUTCOME_WITHHOLD

LEVELS: Final = (RELEASE, GENERALISE, PSEUDONYMISE, MASK)
"""All at which something leaves, in the order in which the first is the result."""

EXISTENCE: Final = codes_pb2.DATA_CATEGORY_EXISTENCE
REFERENCE: Final = codes_pb2.DATA_CATEGORY_REFERENCE
_ASYLUM: Final = codes_pb2.DATA_CATEGORY_ASYLUM
_TOLD_OF_A_HIT: Final = (EXISTENCE, REFERENCE)

# The levels at most as strict as each, in the lattice: neither of generalise and pseudonymise is below the other.
_AT_MOST: Final[Mapping[Outcome, frozenset[Outcome]]] = {
    RELEASE: frozenset({RELEASE}),
    GENERALISE: frozenset({RELEASE, GENERALISE}),
    PSEUDONYMISE: frozenset({RELEASE, PSEUDONYMISE}),
    MASK: frozenset(LEVELS),
    WITHHOLD: frozenset({*LEVELS, WITHHOLD}),
}

Levels = dict[tuple[Category, Outcome], z3.BoolRef]
"""For a category and a level: whether the category's is at most as strict."""


def crossing(at_most: Outcome) -> list[Outcome]:
    """The levels that are not at least as strict as this one; what is at most as strict as one of them is another."""
    return [level for level in LEVELS if at_most not in _AT_MOST[level]]


def is_at_most(level: Outcome, other: Outcome) -> bool:
    """Whether a level is at most as strict as another."""
    return level in _AT_MOST[other]


class LayerModel(NamedTuple):
    """What one rulebook says; see `node.policy.reference` for the words.

    Attributes:
        limits: How far its limits cap each category, whatever is granted.
        grants: Whether some `allow` grants a level at most as strict.
    """

    limits: Levels
    grants: Levels
    held: z3.BoolRef
    denied: z3.BoolRef


class Model:
    """One situation under a floor and a release rulebook.

    Attributes:
        variables: Of the situation.
        well_formed: What every situation guarantees; nothing else here implies it.
        refused: The node refuses before any rule: no pairing, an unlawful purpose, an immigration unit, no known kind.
        silent: The node holds silently after all rules: the state of origin asks about somebody exposed to it.
        held: A `hold` of either layer fires.
        denied: A `deny` of either layer fires, or a restriction with an obligation that was not accepted.
    """

    def __init__(self, floor: Rulebook | None, release: Rulebook | None, variables: Variables) -> None:
        """Tell both rulebooks in these variables, which must have been made for them; None is `anything`."""
        self.floor: Final = floor or anything("floor")
        self.release: Final = release or anything("release")
        self.books: Final[Mapping[Layer, Rulebook]] = {"floor": self.floor, "release": self.release}
        self.variables: Final = variables
        self.well_formed: Final = variables.well_formed()
        self.refused: Final = self._refused()
        self.silent: Final = self._silent()
        self._firing: dict[int, z3.BoolRef] = {}
        self._layers: Final = {layer: self._layer(book) for layer, book in self.books.items()}
        self.held: Final = variables.any_of(layer.held for layer in self._layers.values())
        self.denied: Final = variables.any_of(layer.denied for layer in self._layers.values())
        self._levels: Final = self._combined()

    # --- what may be asked -------------------------------------------------------------------------------------------

    def leaves(self, category: Category, level: Outcome = MASK) -> z3.BoolRef:
        """Whether a category leaves at a level at most as strict: at once, or as soon as a hold is approved."""
        return self._levels[category, level]

    def crosses(self, category: Category, at_most: Outcome) -> z3.BoolRef:
        """Whether a category leaves at a level not at least as strict as `at_most`."""
        return self._any(self._levels[category, level] for level in crossing(at_most))

    def grants(self, layer: Layer, rule: Rule, category: Category, level: Outcome) -> z3.BoolRef:
        """Whether an `allow` that fires would by itself, under the limits of its rulebook, let a category leave so."""
        return z3.And(self._granted([rule], category)[category, level], self._layers[layer].limits[category, level])

    def gains(self, layer: Layer, rule: Rule) -> z3.BoolRef:
        """Whether what both layers let leave is other than it would be without an `allow`."""
        own, other = self._layers[layer], self._layers["release" if layer == "floor" else "floor"]
        rules = [each for each in self.books[layer].rules if each is not rule]
        changes = []
        for category in sorted({*rule.data, *_TOLD_OF_A_HIT}):
            others = own._replace(grants=self._granted(rules, category))
            with_it, without = self._results(category, own, other), self._results(category, others, other)
            allowed = z3.And(self.is_of_kind(category), z3.Not(self.denied))
            changes += [z3.And(allowed, with_it[level] != without[level]) for level in LEVELS]
        return self._any(changes)

    def limited(self, category: Category, level: Outcome) -> z3.BoolRef:
        """Whether the limits of both layers, joined, are at most as strict on a category."""
        return self._all(layer.limits[category, level] for layer in self._layers.values())

    def is_of_kind(self, category: Category) -> z3.BoolRef:
        """Whether it is decided on a category for this kind of entry."""
        if category in COMMON_CATEGORIES | {EXISTENCE}:
            return z3.BoolVal(True, self.variables.context)
        return self.variables.has("kind", *[kind for kind, own in CATEGORIES_BY_KIND.items() if category in own])

    def outcome(self, outcome: ledger_pb2.EntryOutcome.ValueType) -> z3.BoolRef:
        """Whether the entry's outcome is this one."""
        silent = z3.And(z3.Not(self.refused), z3.Or(self.silent, z3.And(self.held, z3.Not(self.leaves(EXISTENCE)))))
        told = self.leaves(EXISTENCE)  # neither refused nor silent
        own = self._any(_own(self._levels, self.variables))
        return {
            ledger_pb2.ENTRY_OUTCOME_INVISIBLE: z3.Not(z3.Or(told, silent)),
            ledger_pb2.ENTRY_OUTCOME_HELD_SILENTLY: silent,
            ledger_pb2.ENTRY_OUTCOME_PENDING: z3.And(told, self.held),
            ledger_pb2.ENTRY_OUTCOME_HIT: z3.And(told, z3.Not(self.held), z3.Not(own)),
            ledger_pb2.ENTRY_OUTCOME_ENTRY: z3.And(told, z3.Not(self.held), own),
        }[outcome]

    def owes(self, obligation: Obligation) -> z3.BoolRef:
        """Whether an obligation goes with what leaves at once."""
        rules = [rule for book in self.books.values() for rule in book.rules if obligation in rule.obligations]
        return z3.And(self.leaves(EXISTENCE), z3.Not(self.held), self._any(map(self.fires, rules)))

    def retains(self, days: int) -> z3.BoolRef:
        """Whether what leaves at once must be deleted after so many days, or sooner."""
        rules = [r for book in self.books.values() for r in book.rules if 0 < r.retention_days <= days]
        return z3.And(self.leaves(EXISTENCE), z3.Not(self.held), self._any(map(self.fires, rules)))

    def applies(self, rule: Rule) -> z3.BoolRef:
        """Whether the conditions of a rule hold and none of its exceptions does."""
        restricts = rule.effect != "allow"
        return z3.And(
            self.met(rule.when, unknown=restricts),
            *[z3.Not(self.met(exception, unknown=not restricts)) for exception in rule.unless],
        )

    def fires(self, rule: Rule) -> z3.BoolRef:
        """Whether a rule fires: it applies, and the obligations of an `allow` were accepted."""
        if id(rule) not in self._firing:
            applies = self.applies(rule)
            is_conditional = rule.effect == "allow" and rule.obligations
            self._firing[id(rule)] = (
                z3.And(applies, self.variables.accepts(rule.obligations)) if is_conditional else applies
            )
        return self._firing[id(rule)]

    def met(self, conjunction: Conjunction, *, unknown: bool) -> z3.BoolRef:
        """Whether all conditions hold, counting UNKNOWN as `unknown`."""
        return self._all(self._holds(condition, unknown=unknown) for condition in conjunction)

    # --- conditions --------------------------------------------------------------------------------------------------

    def _holds(self, condition: Condition, *, unknown: bool) -> z3.BoolRef:
        name, has = condition.dimension, self.variables.has
        if condition.at_least is not None:
            classes = [bound for bound in AGE_BOUNDS if bound >= condition.at_least]
            return has(name, *classes, *([UNKNOWN_AGE] if unknown else []))
        if name not in SETS:
            return has(
                name,
                *[
                    value
                    for value in self.variables.values[name]
                    if (unknown if value == UNKNOWN else (value in condition.values) != condition.negated)
                ],
            )
        listed = has(name, *sorted(condition.values - {UNKNOWN}))
        known = z3.Not(listed) if condition.negated else listed
        # A set with UNKNOWN among its values is unknown, whatever else it has.
        return z3.Or(has(name, UNKNOWN), known) if unknown else z3.And(z3.Not(has(name, UNKNOWN)), known)

    def _refused(self) -> z3.BoolRef:
        has = self.variables.has
        return z3.Or(
            z3.Not(has("paired", "YES")),
            has("unit_type", "IMMIGRATION", UNKNOWN),
            has("purpose", *sorted(NEVER_LAWFUL), UNKNOWN),
            z3.Not(has("kind", *CATEGORIES_BY_KIND)),
        )

    def _silent(self) -> z3.BoolRef:
        has = self.variables.has
        exposed = z3.Not(has("exposure", "NONE", NOT_APPLICABLE))
        return z3.And(exposed, has("recipient_is_origin", "IS_ORIGIN", UNKNOWN))

    # --- layers ------------------------------------------------------------------------------------------------------

    def _layer(self, book: Rulebook) -> LayerModel:
        restricting = [rule for rule in book.rules if rule.effect != "allow"]
        denied = self._any(
            self.fires(rule) if rule.effect == "deny" else z3.And(self.fires(rule), self._unaccepted(rule))
            for rule in restricting
            if rule.effect == "deny" or rule.obligations
        )
        limits: Levels = {}
        grants: Levels = {}
        for category in CATEGORY_NUMBERS.values():
            grants |= self._granted(book.rules, category)
            for level in LEVELS:
                over = [rule for rule in restricting if not is_at_most(rule.data.get(category, RELEASE), level)]
                limits[category, level] = z3.Not(self._any(map(self.fires, over)))
        held = self._any(self.fires(rule) for rule in book.rules if rule.effect == "hold")
        return LayerModel(limits, grants, held, denied)

    def _unaccepted(self, rule: Rule) -> z3.BoolRef:
        return z3.Not(self.variables.accepts(rule.obligations))

    def _granted(self, rules: Sequence[Rule], category: Category) -> Levels:
        """Whether some `allow` of these grants a category at a level at most as strict, for each level."""
        granted = {level: self._any(self._granting(rules, category, level)) for level in LEVELS}
        return {
            (category, level): self._any(granted[each] for each in LEVELS if is_at_most(each, level))
            for level in LEVELS
        }

    def _results(self, category: Category, *layers: LayerModel) -> dict[Outcome, z3.BoolRef]:
        """How strictly a category leaves by these layers together."""
        parts = [part for layer in layers for part in (layer.limits, layer.grants)]
        return _first({level: self._all(part[category, level] for part in parts) for level in LEVELS})

    def _granting(self, rules: Sequence[Rule], category: Category, level: Outcome) -> Iterable[z3.BoolRef]:
        for rule in rules:
            if rule.effect != "allow":
                continue
            if rule.data.get(category) == level:
                yield self.fires(rule)
            # A grant of what this kind of entry can hold tells that it exists, and its reference data.
            if category in _TOLD_OF_A_HIT and level == RELEASE:
                kinds = [kind for kind, own in CATEGORIES_BY_KIND.items() if rule.data.keys() & own]
                if rule.data.keys() & set(_TOLD_OF_A_HIT):
                    yield self.fires(rule)
                elif kinds:
                    yield z3.And(self.fires(rule), self.variables.has("kind", *kinds))

    def _combined(self) -> Levels:
        """Join the layers; nothing leaves where the node or a denial forbids, or where existence is withheld."""
        joined: Levels = {
            (category, level): z3.And(self.is_of_kind(category), at_most)
            for category in CATEGORY_NUMBERS.values()
            for level, at_most in self._results(category, *self._layers.values()).items()
        }
        told = z3.And(joined[EXISTENCE, MASK], z3.Not(z3.Or(self.refused, self.silent, self.denied)))
        levels = {
            (category, level): z3.And(told, at_most) if category != _ASYLUM else z3.BoolVal(False, told.ctx)
            for (category, level), at_most in joined.items()
        }
        # Of a hit nothing is told but that it is one; what every kind has may be granted without its own.
        shown = self._any(_own(levels, self.variables))
        return {
            key: z3.And(shown, at_most) if key[0] in COMMON_CATEGORIES - {*_TOLD_OF_A_HIT} else at_most
            for key, at_most in levels.items()
        }

    def _any(self, parts: Iterable[z3.BoolRef]) -> z3.BoolRef:
        return self.variables.any_of(parts)

    def _all(self, parts: Iterable[z3.BoolRef]) -> z3.BoolRef:
        return self.variables.all_of(parts)


def _own(levels: Levels, variables: Variables) -> Iterable[z3.BoolRef]:
    """For each kind of entry and each category of its own: whether the entry is of the kind and the category leaves."""
    for kind, own in CATEGORIES_BY_KIND.items():
        leaving = variables.any_of(levels[category, MASK] for category in sorted(own))
        yield z3.And(variables.has("kind", kind), leaving)


def _first(reached: Mapping[Outcome, z3.BoolRef]) -> dict[Outcome, z3.BoolRef]:
    """The first result that is reached, as "at most this strict" for each level.

    A level is reached where all limits are at most as strict and each layer grants a level at most as strict: exactly
    then is some join(limits, f, g) at most as strict. Only pseudonymise has one before it that is not below it.
    """
    pseudonymised = z3.And(reached[PSEUDONYMISE], z3.Or(reached[RELEASE], z3.Not(reached[GENERALISE])))
    return {**reached, PSEUDONYMISE: pseudonymised}


def build_model(floor: Rulebook | None, release: Rulebook | None) -> Model:
    """Tell a floor and a release rulebook in variables of their own; None is `anything`."""
    books = [book for book in (floor, release) if book]
    return Model(floor, release, Variables(books))
