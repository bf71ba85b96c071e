"""From one situation to the widest ranges of situations in which the same holds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

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

    def holds_in(self, variables: Variables) -> z3.BoolRef:
        """Whether a situation is in the range."""
        if self.dimension not in SETS:
            return variables.has(self.dimension, *self.values)
        present = [variables.has(self.dimension, value) for value in self.has]
        return variables.all_of([*present, *[z3.Not(variables.has(self.dimension, value)) for value in self.lacks]])


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
        verdict = solver.check()
        if verdict == z3.unknown:
            raise ProverError(f"the solver gave up: {solver.reason_unknown()}")
        return solver.model() if verdict == z3.sat else None
    finally:
        solver.pop()


class Widening:
    """Looks for the widest box around one situation in which a claim holds everywhere.

    The solver knows what every situation guarantees. A situation may be told twice: the second telling then has ranges
    only of what the asker asserts, for all else is the same.
    """

    def __init__(self, solver: z3.Solver, tellings: Sequence[Variables]) -> None:
        """Bind a solver and one or two tellings."""
        self._solver: Final = solver
        self._tellings: Final = [
            (variables, [name for name in variables.values if not place or name in ASSERTED])
            for place, variables in enumerate(tellings)
        ]

    def box(self, claim: z3.BoolRef, found: z3.ModelRef) -> Box:
        """The box around a situation that the solver found and in which the claim holds.

        Dimensions are freed one by one, what says least to a reader first; then what remains is widened value by value.
        """
        box = [
            {name: _point(variables, name, found) for name in reversed(_order(names))}
            for variables, names in self._tellings
        ]
        for ranges in box:
            for name in list(ranges):
                kept = ranges.pop(name)
                if not self._is_everywhere(claim, box):
                    ranges[name] = kept
        for (variables, _), ranges in zip(self._tellings, box, strict=True):
            for name in ranges:
                self._widen(claim, box, ranges, name, variables)
        for (variables, _), ranges in zip(self._tellings, box, strict=True):
            for name in ranges:
                self._note_excluded(box, ranges, name, variables)
        return tuple({name: ranges[name] for name in reversed(ranges)} for ranges in box)

    def samples(self, box: Box) -> Iterator[z3.ModelRef]:
        """A situation in the box for each value of each range."""
        for (variables, _), ranges in zip(self._tellings, box, strict=True):
            for name, each in ranges.items():
                for value in each.values:
                    found = solution(self._solver, *self._inside(box), variables.has(name, value))
                    if found is not None:
                        yield found

    def is_throughout(self, claim: z3.BoolRef, box: Box) -> bool:
        """Whether a claim holds everywhere in a box."""
        return self._is_everywhere(claim, box)

    def _is_everywhere(self, claim: z3.BoolRef, box: Sequence[Mapping[str, Range]]) -> bool:
        return solution(self._solver, *self._inside(box), z3.Not(claim)) is None

    def _inside(self, box: Sequence[Mapping[str, Range]]) -> list[z3.BoolRef]:
        return [
            each.holds_in(variables)
            for (variables, _), ranges in zip(self._tellings, box, strict=True)
            for each in ranges.values()
        ]

    def _widen(
        self,
        claim: z3.BoolRef,
        box: Sequence[Mapping[str, Range]],
        ranges: dict[str, Range],
        name: str,
        variables: Variables,
    ) -> None:
        """Widen one range as far as the claim holds; a value that can't be, beside the others, is not added."""
        for value in variables.values[name]:
            kept = ranges[name]
            wider = _with(kept, value, variables)
            if wider == kept:
                continue
            ranges[name] = wider
            is_possible = name in SETS or solution(self._solver, *self._inside(box), variables.has(name, value))
            if not is_possible or not self._is_everywhere(claim, box):
                ranges[name] = kept

    def _note_excluded(
        self, box: Sequence[Mapping[str, Range]], ranges: dict[str, Range], name: str, variables: Variables
    ) -> None:
        kept = ranges[name]
        if name in SETS:
            return
        free = Range(name, values=variables.values[name])
        ranges[name] = free
        excluded = [
            value
            for value in variables.values[name]
            if value not in kept.values and solution(self._solver, *self._inside(box), variables.has(name, value))
        ]
        ranges[name] = msgspec.structs.replace(kept, excluded=tuple(excluded))


def _order(names: Sequence[str]) -> list[str]:
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


def _point(variables: Variables, name: str, found: z3.ModelRef) -> Range:
    values = variables.values[name]
    present = [value for value in values if z3.is_true(found.eval(variables.has(name, value), model_completion=True))]
    if name not in SETS:
        return Range(name, values=tuple(present))
    return Range(name, has=tuple(present), lacks=tuple(value for value in values if value not in present))


def _with(narrow: Range, value: Value, variables: Variables) -> Range:
    """The range and this value: of a set, whether the set has it or not."""
    if narrow.dimension in SETS:
        return Range(
            narrow.dimension,
            has=tuple(each for each in narrow.has if each != value),
            lacks=tuple(each for each in narrow.lacks if each != value),
        )
    order = variables.values[narrow.dimension]
    return Range(narrow.dimension, values=tuple(each for each in order if each in narrow.values or each == value))
