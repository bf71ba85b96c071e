"""From one situation to the widest ranges of situations in which the same holds."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import z3

from node.errors import ProverError
from node.policy.prove.variables import ASSERTED, SETS, Value, Variables


class Range(msgspec.Struct, frozen=True):
    """What one dimension is narrowed to; any other is free.

    Attributes:
        values: Of a single fact, those in the range.
        excluded: Of a single fact, those that are not, though otherwise there could be such a situation.
        has: Of a set, what it contains.
        lacks: Of a set, what it does not contain.
    """

    dimension: str
    values: tuple[Value, ...] = ()
    excluded: tuple[Value, ...] = ()
    has: tuple[Value, ...] = ()
    lacks: tuple[Value, ...] = ()

    def literals(self, variables: Variables) -> list[z3.BoolRef]:
        """What must be and what must not be for a situation to lie in the range."""
        lacks = self.lacks
        if self.dimension not in SETS:
            lacks = tuple(value for value in variables.values[self.dimension] if value not in self.values)
        present = [variables.has(self.dimension, value) for value in self.has]
        return present + [z3.Not(variables.has(self.dimension, value)) for value in lacks]


Box = tuple[Mapping[str, Range], ...]
"""Ranges by dimension, for each telling of the situation: all situations that lie in all of them."""


def new_solver(variables: Variables) -> z3.Solver:
    """A solver for finite domains, which Booleans are."""
    return z3.SolverFor("QF_FD", ctx=variables.context)


def solution(solver: z3.Solver, *claims: z3.BoolRef) -> z3.ModelRef | None:
    """A situation in which the claims hold beside what the solver was given; None where there is none.

    Raises:
        ProverError: the solver gave up.
    """
    solver.push()
    try:
        solver.add(*claims)
        return solver.model() if is_possible(solver, []) else None
    finally:
        solver.pop()


def is_possible(solver: z3.Solver, literals: Sequence[z3.BoolRef]) -> bool:
    """Whether there is a situation with these literals; it, or why there is none, can then be asked of the solver.

    Raises:
        ProverError: the solver gave up.
    """
    verdict = solver.check(*literals)
    if verdict == z3.unknown:
        raise ProverError(f"the solver gave up: {solver.reason_unknown()}")
    return bool(verdict == z3.sat)


class Literal(NamedTuple):
    """That a fact is, or contains, a value; or that it does not."""

    telling: int
    dimension: str
    value: Value
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

    def box(self, claim: z3.BoolRef, found: z3.ModelRef) -> Box:
        """The box around a situation that the solver found and in which the claim holds.

        A box is a set of literals, of which as few are kept as make it impossible that the claim fails. A fact with one
        value is told by those that it does not have, so that leaving one out widens its range.
        """
        self._solver.push()
        self._solver.add(z3.Not(claim))
        kept = self._fewest(self._point(found))
        self._solver.pop()
        return tuple(
            {name: self._range(kept, place, name) for name in _order({x.dimension for x in kept if x.telling == place})}
            for place in range(len(self._tellings))
        )

    def samples(self, box: Box) -> Iterator[z3.ModelRef]:
        """A situation in the box for each value of each range."""
        inside = self._inside(box)
        for variables, ranges in zip(self._tellings, box, strict=True):
            for name, each in ranges.items():
                for value in each.values:
                    assert self._is_possible([*inside, variables.has(name, value)])  # or it would not be in the range
                    yield self._solver.model()

    def is_throughout(self, claim: z3.BoolRef, box: Box) -> bool:
        """Whether a claim holds everywhere in a box."""
        return solution(self._solver, *self._inside(box), z3.Not(claim)) is None

    def _inside(self, box: Box) -> list[z3.BoolRef]:
        return [
            literal
            for variables, ranges in zip(self._tellings, box, strict=True)
            for each in ranges.values()
            for literal in each.literals(variables)
        ]

    def _point(self, found: z3.ModelRef) -> list[Literal]:
        """Everything about a situation, what says least to a reader first."""
        literals = []
        for place, variables in enumerate(self._tellings):
            for name in reversed(_order([each for each in variables.values if not place or each in ASSERTED])):
                for value in variables.values[name]:
                    is_so = z3.is_true(found.eval(variables.has(name, value), model_completion=True))
                    if name in SETS or not is_so:
                        literals.append(Literal(place, name, value, is_so))
        return literals

    def _fewest(self, literals: Sequence[Literal]) -> list[Literal]:
        """Literals none of which can be left out: those of whole dimensions are tried first."""
        kept = self._needed(literals)
        assert kept is not None  # the claim holds in the situation
        dimensions = dict.fromkeys((each.telling, each.dimension) for each in kept)
        groups = [[each for each in kept if each[:2] == dimension] for dimension in dimensions]
        for group in [*groups, *[[each] for each in kept]]:
            rest = [each for each in kept if each not in group]
            fewer = self._needed(rest) if len(rest) < len(kept) else None
            kept = kept if fewer is None else fewer
        return kept

    def _needed(self, literals: Sequence[Literal]) -> list[Literal] | None:
        """Those that suffice of literals which together make the claim hold; None where they don't."""
        terms = [self._term(each) for each in literals]
        if self._is_possible(terms):
            return None
        core = {each.get_id() for each in self._solver.unsat_core()}
        return [each for each, term in zip(literals, terms, strict=True) if term.get_id() in core]

    def _is_possible(self, terms: Sequence[z3.BoolRef]) -> bool:
        return is_possible(self._solver, terms)

    def _term(self, literal: Literal) -> z3.BoolRef:
        variable = self._tellings[literal.telling].has(literal.dimension, literal.value)
        return variable if literal.is_so else z3.Not(variable)

    def _range(self, kept: Sequence[Literal], place: int, name: str) -> Range:
        variables = self._tellings[place]
        own = [each for each in kept if (each.telling, each.dimension) == (place, name)]
        if name in SETS:
            has = tuple(each.value for each in own if each.is_so)
            return Range(name, has=has, lacks=tuple(each.value for each in own if not each.is_so))
        # What can't be beside the other ranges is neither in this one nor left out of it.
        others = [self._term(each) for each in kept if each not in own]
        possible = [v for v in variables.values[name] if self._is_possible([*others, variables.has(name, v)])]
        excluded = {each.value for each in own}
        return Range(
            name,
            values=tuple(value for value in possible if value not in excluded),
            excluded=tuple(value for value in possible if value in excluded),
        )


def _order(names: Collection[str]) -> list[str]:
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
