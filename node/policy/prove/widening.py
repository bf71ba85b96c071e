"""From one situation to the widest ranges of situations in which the same holds."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

import z3

from node.policy.prove.ranges import Box, Range, is_possible
from node.policy.prove.variables import ASSERTED, SETS, Value, Variables


class Literal(NamedTuple):
    """That a fact is, or contains, one of some values; or that it does not have a value."""

    telling: int
    dimension: str
    values: tuple[Value, ...]
    is_so: bool


class Widening:
    """Looks for the widest box around one situation in which a claim holds everywhere.

    The solver knows what every situation guarantees. A situation may be told twice: the second telling then has ranges
    only of what the asker asserts, for all else is the same.
    """

    def __init__(self, solver: z3.Solver, tellings: Sequence[Variables]) -> None:
        """Bind a solver and one or two tellings."""
        self._solver: Final = solver
        self._tellings: Final = tellings
        self._terms: dict[Literal, z3.BoolRef] = {}
        self._named = 0

    def box(self, claim: z3.BoolRef, found: z3.ModelRef) -> Box:
        """The box around a situation that the solver found and in which the claim holds.

        A box is a list of literals, of which as few are kept as make it impossible that the claim fails. A fact with
        one value is told by those that it does not have, so that leaving one out widens its range; what a set must
        contain is then widened to any of as many values as will do.
        """
        fails = self._name(z3.Not(claim))
        kept = self._fewest(fails, self._point(found))
        for literal in [each for each in kept if each.is_so]:
            self._widen(fails, kept, literal)
        return tuple(
            {
                name: self._range(kept, place, name)
                for name in in_order({each.dimension for each in kept if each.telling == place})
            }
            for place in range(len(self._tellings))
        )

    def samples(self, box: Box) -> Iterator[z3.ModelRef]:
        """A situation in the box for each value that its ranges name."""
        inside = self._inside(box)
        for variables, ranges in zip(self._tellings, box, strict=True):
            for name, each in ranges.items():
                for value in [*each.values, *[value for group in each.has for value in group]]:
                    if is_possible(self._solver, [inside, variables.has(name, value)]):
                        yield self._solver.model()

    def is_throughout(self, claim: z3.BoolRef, box: Box) -> bool:
        """Whether a claim holds everywhere in a box."""
        return not is_possible(self._solver, [self._inside(box), self._name(z3.Not(claim))])

    def _inside(self, box: Box) -> z3.BoolRef:
        terms = [
            term
            for variables, ranges in zip(self._tellings, box, strict=True)
            for each in ranges.values()
            for term in each.terms(variables)
        ]
        return self._name(self._tellings[0].all_of(terms))

    def _name(self, claim: z3.BoolRef) -> z3.BoolRef:
        """A variable from which a claim follows: solvers assume nothing longer."""
        self._named += 1
        name = z3.Bool(f"claim {self._named}", self._tellings[0].context)
        self._solver.add(z3.Implies(name, claim))
        return name

    # --- literals ----------------------------------------------------------------------------------------------------

    def _point(self, found: z3.ModelRef) -> list[Literal]:
        """Everything about a situation, what says least to a reader first."""
        literals = []
        for place, variables in enumerate(self._tellings):
            for name in reversed(in_order([each for each in variables.values if not place or each in ASSERTED])):
                for value in variables.values[name]:
                    is_so = z3.is_true(found.eval(variables.has(name, value), model_completion=True))
                    if name in SETS or not is_so:
                        literals.append(Literal(place, name, (value,), is_so))
        return literals

    def _fewest(self, fails: z3.BoolRef, literals: Sequence[Literal]) -> list[Literal]:
        """Literals none of which can be left out: those of whole dimensions are tried first."""
        kept = self._needed(fails, literals)
        assert kept is not None  # the claim holds in the situation
        dimensions = dict.fromkeys((each.telling, each.dimension) for each in kept)
        groups = [[each for each in kept if each[:2] == dimension] for dimension in dimensions]
        for group in [*groups, *[[each] for each in kept]]:
            rest = [each for each in kept if each not in group]
            fewer = self._needed(fails, rest) if len(rest) < len(kept) else None
            kept = kept if fewer is None else fewer
        return kept

    def _needed(self, fails: z3.BoolRef, literals: Sequence[Literal]) -> list[Literal] | None:
        """Those that suffice of literals with which the claim can't fail; None where it can."""
        if is_possible(self._solver, [fails, *map(self._term, literals)]):
            return None
        core = {each.get_id() for each in self._solver.unsat_core()}
        return [each for each in literals if self._term(each).get_id() in core]

    def _widen(self, fails: z3.BoolRef, kept: list[Literal], literal: Literal) -> None:
        """Let a set contain any of more values in the place of one, as long as the claim can't fail."""
        variables = self._tellings[literal.telling]
        others = [self._term(each) for each in kept if each != literal]
        values = [*literal.values]
        for value in variables.values[literal.dimension]:
            has = variables.has(literal.dimension, value)
            if value in literal.values or not is_possible(self._solver, [*others, has]):
                continue
            if not is_possible(self._solver, [fails, *others, has]):
                values.append(value)
        in_vocabulary = tuple(value for value in variables.values[literal.dimension] if value in values)
        kept[kept.index(literal)] = literal._replace(values=in_vocabulary)

    def _term(self, literal: Literal) -> z3.BoolRef:
        if literal not in self._terms:
            has = self._tellings[literal.telling].has(literal.dimension, *literal.values)
            term = self._name(has) if len(literal.values) > 1 else has
            self._terms[literal] = term if literal.is_so else z3.Not(term)
        return self._terms[literal]

    def _range(self, kept: Sequence[Literal], place: int, name: str) -> Range:
        variables = self._tellings[place]
        own = [each for each in kept if each[:2] == (place, name)]
        lacks = tuple(value for each in own if not each.is_so for value in each.values)
        if name in SETS:
            return Range(name, has=tuple(each.values for each in own if each.is_so), lacks=lacks)
        # What can't be beside the other ranges is neither in this one nor left out of it.
        others = [self._term(each) for each in kept if each not in own]
        possible = [v for v in variables.values[name] if is_possible(self._solver, [*others, variables.has(name, v)])]
        return Range(
            name,
            values=tuple(value for value in possible if value not in lacks),
            excluded=tuple(value for value in possible if value in lacks),
        )


def in_order(names: Collection[str]) -> list[str]:
    """Dimensions in the order in which they are told; what has no place in it comes last."""
    return sorted(names, key=lambda name: _TOLD.index(name) if name in _TOLD else len(_TOLD))


_TOLD: Final = (
    "recipient",
    "unit_type",
    "purpose",
    "kind",
    "minor",
    "victim",
    "role",
    "asylum",
    "witness",
    "recipient_is_origin",
    "exposure",
    "torture_risk",
    "death_penalty",
    "assurance",
    "torture_derived",
    "stateless",
    "consent",
    "instrument",
    "crime",
    "record_crime",
    "caveat",
    "handling",
    "emergency",
    "urgency",
    "ground",
    "reciprocity",
    "paired",
    "record_age",
    "accepted",
)
