"""Ranges of situations, and solvers that look for one."""

from collections.abc import Mapping, Sequence

import msgspec
import z3

from node.errors import ProverError
from node.policy.prove.variables import SETS, Value, Variables


class Range(msgspec.Struct, frozen=True):
    """What one dimension is narrowed to; any other is free.

    Attributes:
        values: Of a single fact, those in the range.
        excluded: Of a single fact, those that are not, though otherwise there could be such a situation.
        has: Of a set, groups of values; it contains at least one of each group.
        lacks: Of a set, what it does not contain.
    """

    dimension: str
    values: tuple[Value, ...] = ()
    excluded: tuple[Value, ...] = ()
    has: tuple[tuple[Value, ...], ...] = ()
    lacks: tuple[Value, ...] = ()

    def terms(self, variables: Variables) -> list[z3.BoolRef]:
        """What must hold for a situation to lie in the range."""
        if self.dimension not in SETS:
            return [variables.has(self.dimension, *self.values)]
        present = [variables.has(self.dimension, *group) for group in self.has]
        return present + [z3.Not(variables.has(self.dimension, value)) for value in self.lacks]


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
