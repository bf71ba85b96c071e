"""One situation as Booleans: what a solver may choose freely, and what the derivation of facts guarantees."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any, Final, TypeAlias

import z3

from node.policy.facts import UNKNOWN_AGE, VICTIM_ROLES, Facts
from node.policy.rules import Conjunction, Rulebook
from node.policy.vocabulary import (
    AGE_BOUNDS,
    DIMENSIONS,
    NOT_APPLICABLE,
    OBLIGATION_NUMBERS,
    UNKNOWN,
    Obligation,
)

Value: TypeAlias = str | int
"""A word of a dimension; of `record_age`, the lower bound of a class."""

ACCEPTED: Final = "accepted"
"""The dimension of what the recipient has accepted, beside those of the facts: a set of words for obligations."""

SETS: Final = frozenset({ACCEPTED, *(name for name, dimension in DIMENSIONS.items() if dimension.many)})
"""Dimensions whose fact is a set of values."""

ASSERTED: Final = frozenset(name for name, dimension in DIMENSIONS.items() if dimension.asserted)
"""Dimensions that the asker merely asserts."""

_OBLIGATIONS: Final = {number: word for word, number in OBLIGATION_NUMBERS.items()}
_ABOUT_A_SUBJECT: Final = (
    "asylum",
    "witness",
    "exposure",
    "stateless",
    "recipient_is_origin",
    "torture_risk",
    "death_penalty",
    "torture_derived",
    "assurance",
    "consent",
)
_LEGAL_PERSONS: Final = ("ORGANISATION", "GROUP")


def any_of(context: z3.Context, parts: Iterable[z3.BoolRef]) -> z3.BoolRef:
    """Whether one of the parts holds; of none, none does."""
    return _joined(z3.Z3_mk_or, context, list(parts))


def all_of(context: z3.Context, parts: Iterable[z3.BoolRef]) -> z3.BoolRef:
    """Whether all parts hold; of none, all do."""
    return _joined(z3.Z3_mk_and, context, list(parts))


def _joined(make: Callable[..., Any], context: z3.Context, parts: Sequence[z3.BoolRef]) -> z3.BoolRef:
    # `z3.Or` looks for the common sort of its parts, at 6 µs for each: most of the time that a model would take.
    asts = (z3.Ast * len(parts))(*[part.as_ast() for part in parts])
    return z3.BoolRef(make(context.ref(), len(parts), asts), context)


def conjunctions_of(book: Rulebook) -> Iterator[Conjunction]:
    """Every conjunction that a rulebook writes, of rules and of red lines."""
    for rule in book.rules:
        yield rule.when
        yield from rule.unless
    for line in book.red_lines:
        yield line.when


class Variables:
    """The Booleans of one situation: one for each value of each dimension.

    Attributes:
        context: Of z3; expressions of different contexts do not mix.
        values: Of each dimension, those that are told apart. Of countries, those that the rulebooks name, UNKNOWN, and
            one that stands for all others.
        other: The country that stands for all that no rulebook names.
    """

    def __init__(self, books: Collection[Rulebook]) -> None:
        """Make variables in which all of these rulebooks can be told."""
        self.context: Final = z3.Context()
        named = {
            value
            for book in books
            for conjunction in conjunctions_of(book)
            for condition in conjunction
            if condition.dimension == "recipient"
            for value in condition.values
        } - {UNKNOWN}
        countries = [each for each in DIMENSIONS["recipient"].values if each != UNKNOWN]
        self.other: Final = next((each for each in countries if each not in named), UNKNOWN)
        self.values: Final[dict[str, tuple[Value, ...]]] = {
            name: dimension.values or (*AGE_BOUNDS, UNKNOWN_AGE) for name, dimension in DIMENSIONS.items()
        }
        self.values[ACCEPTED] = tuple(OBLIGATION_NUMBERS)
        self.values["recipient"] = tuple(dict.fromkeys((*sorted(named), self.other, UNKNOWN)))
        self._has: dict[tuple[str, Value], z3.BoolRef] = {
            (name, value): z3.Bool(f"{name}={value}", self.context)
            for name, values in self.values.items()
            for value in values
        }

    def retold(self) -> "Variables":
        """The same situation, told otherwise: what the asker merely asserts has variables of its own."""
        other = object.__new__(Variables)
        other.__dict__.update(self.__dict__)
        other._has = {
            (name, value): z3.Bool(f"{name}={value}'", self.context) if name in ASSERTED else variable
            for (name, value), variable in self._has.items()
        }
        return other

    def has(self, dimension: str, *values: Value) -> z3.BoolRef:
        """Whether the fact is one of these values, or contains one."""
        return self.any_of(self._has[dimension, value] for value in values)

    def accepts(self, obligations: Collection[Obligation]) -> z3.BoolRef:
        """Whether the recipient has accepted all of these."""
        return self.all_of(self._has[ACCEPTED, _OBLIGATIONS[each]] for each in sorted(obligations))

    def any_of(self, parts: Iterable[z3.BoolRef]) -> z3.BoolRef:
        """See `any_of`."""
        return any_of(self.context, parts)

    def all_of(self, parts: Iterable[z3.BoolRef]) -> z3.BoolRef:
        """See `all_of`."""
        return all_of(self.context, parts)

    # --- to facts and back -------------------------------------------------------------------------------------------

    def situation_of(self, found: z3.ModelRef) -> tuple[Facts, frozenset[Obligation]]:
        """The facts and accepted obligations that a solver found; what it left open is absent."""
        facts: dict[str, Any] = {}
        for name, values in self.values.items():
            present = [v for v in values if z3.is_true(found.eval(self._has[name, v], model_completion=True))]
            facts[name] = frozenset(present) if name in SETS else present[0]
        accepted = frozenset(OBLIGATION_NUMBERS[word] for word in facts.pop(ACCEPTED))
        return Facts(**facts), accepted

    def pinned(self, facts: Facts, accepted: Collection[Obligation]) -> Iterator[tuple[z3.BoolRef, z3.BoolRef]]:
        """Each variable with its truth in a situation, as `z3.substitute` takes them."""
        present = self.present(facts, accepted)
        for key, variable in self._has.items():
            yield variable, z3.BoolVal(key in present, self.context)

    def present(self, facts: Facts, accepted: Collection[Obligation]) -> set[tuple[str, Value]]:
        """Dimensions and values of a situation, of those that are told apart here."""
        found: set[tuple[str, Value]] = {(ACCEPTED, _OBLIGATIONS[each]) for each in accepted}
        for name in DIMENSIONS:
            fact = getattr(facts, name)
            found |= {(name, value) for value in (fact if name in SETS else {fact})}
        return found if ("recipient", facts.recipient) in self._has else found | {("recipient", self.other)}

    # --- what is guaranteed ------------------------------------------------------------------------------------------

    def well_formed(self) -> z3.BoolRef:
        """What `node.policy.derive` guarantees of facts, whatever query and entry they come from."""
        return self.all_of([*self._single(), *self._of_sets(), *self._of_subjects()])

    def _single(self) -> Iterator[z3.BoolRef]:
        """A dimension that is not a set has exactly one value."""
        for name, values in self.values.items():
            if name not in SETS:
                yield self.has(name, *values)
                for left, right in combinations(values, 2):
                    yield z3.Not(z3.And(self._has[name, left], self._has[name, right]))

    def _of_sets(self) -> Iterator[z3.BoolRef]:
        # Nothing stated is UNKNOWN (`words_of(…) or _UNKNOWN_SET`), or NOT_APPLICABLE of roles (`role_fact`).
        for name in ("crime", "record_crime", "role"):
            yield self.has(name, *self.values[name])
        # `role_fact`: NOT_APPLICABLE only where there is no role.
        roles = [each for each in self.values["role"] if each != NOT_APPLICABLE]
        yield z3.Not(z3.And(self.has("role", NOT_APPLICABLE), self.has("role", *roles)))
        # Instruments come from the directory, and those that this node does not know are left out.
        yield z3.Not(self.has("instrument", UNKNOWN))

    def _of_subjects(self) -> Iterator[z3.BoolRef]:
        no_subject, no_role = self.has("minor", NOT_APPLICABLE), self.has("role", NOT_APPLICABLE)
        # Without subjects (`subjects_of`) each of these is NOT_APPLICABLE, with them none is.
        for name in _ABOUT_A_SUBJECT:
            yield self.has(name, NOT_APPLICABLE) == no_subject
        # `victim_fact`: a role of victim says YES even without subjects; and `role_fact`: YES gives the role.
        is_victim = self.has("role", *sorted(VICTIM_ROLES))
        yield self.has("victim", "YES") == is_victim
        yield self.has("victim", NOT_APPLICABLE) == z3.And(no_subject, z3.Not(is_victim))
        # `subjects_of`: a person always is one, and whoever recorded a role knew of one, but of legal persons.
        yield z3.Implies(self.has("kind", "PERSON", UNKNOWN), z3.Not(z3.Or(no_subject, no_role)))
        yield z3.Implies(z3.And(no_subject, z3.Not(no_role)), self.has("kind", *_LEGAL_PERSONS))
        # `consent_fact`: void for children and who may be one; given for a purpose that is known.
        yield z3.Implies(
            self.has("consent", "RECORDED_BY_ORIGINATOR"),
            z3.And(self.has("minor", "IS_ADULT"), z3.Not(self.has("purpose", UNKNOWN))),
        )
