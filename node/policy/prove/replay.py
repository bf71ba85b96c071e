"""What the prover found, decided again by the reference evaluator: nothing is shown that the two disagree on."""

from typing import Final

import msgspec

from node.errors import ProverError
from node.policy.decision import HELD_SILENTLY, INVISIBLE, PENDING, Decision
from node.policy.evaluate import RELEASE, is_firing, is_met, join
from node.policy.facts import Facts
from node.policy.reference import decide
from node.policy.rules import RedLine, Rulebook
from node.policy.vocabulary import Category, Obligation, Outcome

_ALWAYS: Final = 1 << 62  # UTC microseconds, far off


class Replay:
    """Two rulebooks as the evaluator sees them, without red lines and at a time at which both are in force."""

    def __init__(self, floor: Rulebook, release: Rulebook) -> None:
        """Bind the rulebooks that a model was built from."""
        self._floor: Final = _bare(floor)
        self._release: Final = _bare(release)

    def decide(self, facts: Facts, accepted: frozenset[Obligation]) -> Decision:
        """What the rules alone let leave."""
        return decide(self._floor, self._release, facts, accepted, 0)

    def verify_crossing(
        self, line: RedLine, category: Category, level: Outcome, facts: Facts, accepted: frozenset[Obligation]
    ) -> None:
        """Check that a category leaves at a level at most as strict, and that this crosses the line.

        Raises:
            ProverError: prover and evaluator disagree.
        """
        decision = self.decide(facts, accepted)
        found = decision.level(category)
        is_crossed = (
            is_met(line.when, facts, unknown=True)
            and decision.outcome not in {HELD_SILENTLY, INVISIBLE}
            and join(found, level) == level
            and join(found, line.at_most) != found
            and not (line.kind == "never_without_approval" and decision.outcome == PENDING)
        )
        if not is_crossed:
            raise _disagreement(line, facts)

    def verify_lifting(self, line: RedLine, category: Category, limited: Facts, lifted: Facts) -> None:
        """Check that the limits on a category differ between two tellings, and that this crosses the line.

        Raises:
            ProverError: prover and evaluator disagree.
        """
        is_crossed = (
            all(is_met(line.when, facts, unknown=True) for facts in (limited, lifted))
            and self.limit(category, limited) != self.limit(category, lifted)
            and not all(self.is_held(facts) for facts in (limited, lifted))
        )
        if not is_crossed:
            raise _disagreement(line, limited)

    def is_held(self, facts: Facts) -> bool:
        """Whether a rule of either lets a focal point decide."""
        rules = (*self._floor.rules, *self._release.rules)
        return any(rule.effect == "hold" and is_firing(rule, facts) for rule in rules)

    def limit(self, category: Category, facts: Facts) -> Outcome:
        """How far the limits of both rulebooks cap a category."""
        found = RELEASE
        for book in (self._floor, self._release):
            for rule in book.rules:
                if rule.effect == "limit" and is_firing(rule, facts):
                    found = join(found, rule.data.get(category, RELEASE))
        return found


def _bare(book: Rulebook) -> Rulebook:
    return msgspec.structs.replace(book, red_lines=(), valid_from_us=0, valid_until_us=_ALWAYS)


def _disagreement(line: RedLine, facts: Facts) -> ProverError:
    return ProverError(f"prover and evaluator disagree on whether {line.id} is crossed by {facts}")
