"""What every search for a counterexample needs, and what it finds."""

from collections.abc import Collection
from typing import Final

import msgspec
import z3

from node.policy.facts import Facts
from node.policy.prove.model import EXISTENCE, REFERENCE, Model
from node.policy.prove.ranges import Box, new_solver, solution
from node.policy.prove.replay import Replay
from node.policy.prove.variables import ACCEPTED, SETS, Variables
from node.policy.prove.widening import Widening
from node.policy.rules import Conjunction, Rulebook
from node.policy.vocabulary import OBLIGATION_NUMBERS, UNKNOWN, Category, Obligation, tier


class Counterexample(msgspec.Struct, frozen=True):
    """Situations in which a red line does not hold, replayed through the evaluator.

    Attributes:
        sentence: In plain words, of the whole box.
        facts: One of them.
        retold: The same but for what the asker asserts, where two situations are compared.
        accepted: What the recipient accepted in it.
        box: The widest ranges of such situations, once for each telling. Where the node itself refuses or holds
            silently, whatever the rules say, nothing is claimed.
        categories: That cross the line everywhere in the box; first the one that is looked for.
        rules: Ids of the rules that grant the first category, floor first; of two tellings, the limit lifted.
    """

    sentence: str
    facts: Facts
    retold: Facts | None
    accepted: frozenset[Obligation]
    box: Box
    categories: tuple[Category, ...]
    rules: tuple[str, ...]


class Search:
    """One situation under two rulebooks, and a solver.

    Attributes:
        given: Layers whose rulebooks are there; another layer may say anything.
    """

    def __init__(self, floor: Rulebook | None, release: Rulebook | None) -> None:
        """Build the model; None stands for whatever that layer may say."""
        books = [book for book in (floor, release) if book]
        self.given: Final = {book.layer for book in books}
        self.variables: Final = Variables(books)
        self.model: Final = Model(floor, release, self.variables)
        self.replay: Final = Replay(self.model.floor, self.model.release)
        self.solver: Final = new_solver(self.variables)
        self.solver.add(self.model.well_formed)
        self._retold: Model | None = None

    @property
    def retold(self) -> Model:
        """The same situation as the asker might also tell it."""
        if self._retold is None:
            self._retold = Model(self.model.floor, self.model.release, self.variables.retold())
            self.solver.add(self._retold.well_formed)
        return self._retold

    def met(self, conjunction: Conjunction, model: Model | None = None) -> z3.BoolRef:
        """Whether the conditions of a red line hold, where UNKNOWN counts as the worst."""
        return (model or self.model).met(conjunction, unknown=True)

    def any_of(self, claims: Collection[z3.BoolRef]) -> z3.BoolRef:
        """Whether one of the claims holds."""
        return self.variables.any_of(claims)

    def plainest(self, claim: z3.BoolRef) -> z3.ModelRef:
        """A situation that is plain to tell, if there is one: of a person, all accepted, no set half known."""
        wishes = [self.variables.has("kind", "PERSON")]
        wishes += [self.variables.accepts([each]) for each in OBLIGATION_NUMBERS.values()]
        wishes += [z3.Not(self.variables.has(name, UNKNOWN)) for name in sorted(SETS - {ACCEPTED})]
        for wish in wishes:
            if solution(self.solver, claim, wish) is not None:
                claim = z3.And(claim, wish)
        found = solution(self.solver, claim)
        assert found is not None  # as claimed
        return found

    def widening(self, *models: Model) -> Widening:
        """How to widen a situation, told once or twice, among those on which rules decide."""
        solver = new_solver(self.variables)
        for model in models:
            solver.add(model.well_formed, z3.Not(model.refused), z3.Not(model.silent))
        return Widening(solver, [model.variables for model in models])


def is_true(found: z3.ModelRef, claim: z3.BoolRef) -> bool:
    """Whether a claim holds in a situation that the solver found."""
    return bool(z3.is_true(found.eval(claim, model_completion=True)))


def most_telling(categories: Collection[Category]) -> Category:
    """The category that does most harm; EXISTENCE and REFERENCE only where there is no other."""
    return min(categories, key=lambda each: (each in {EXISTENCE, REFERENCE}, -tier(each), each))
