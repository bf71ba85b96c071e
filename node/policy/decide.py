"""The rulebooks that answer one recipient. What a decision means, `node.policy.reference` says."""

from functools import lru_cache
from typing import Final

from node.policy.decision import (
    ENTRY,
    HELD_SILENTLY,
    HIT,
    INVISIBLE,
    PENDING,
    Decision,
    EntryOutcome,
    Grant,
)
from node.policy.facts import Facts
from node.policy.reference import decide
from node.policy.rules import Rulebook
from node.policy.vocabulary import Obligation

__all__ = [
    "ENTRY",
    "HELD_SILENTLY",
    "HIT",
    "INVISIBLE",
    "PENDING",
    "Decision",
    "EntryOutcome",
    "Grant",
    "Policy",
    "decide",
]


class Policy:
    """The rulebooks that answer one recipient, with a bounded memory of decisions.

    A new rulebook or acceptance is a new `Policy`; nothing here is ever invalidated.
    """

    def __init__(
        self,
        floor: Rulebook | None,
        release: Rulebook | None,
        accepted: frozenset[Obligation],
        remembered: int = 4096,
    ) -> None:
        """Bind two rulebooks and what the recipient accepted; remember so many decisions, the latest used."""
        self.floor: Final = floor
        self.release: Final = release
        self.accepted: Final = accepted
        # Within both validities a decision depends on the facts alone, so one time stands for all of them.
        self._valid_from_us = max(book.valid_from_us for book in (floor, release)) if floor and release else 0
        self._valid_until_us = min(book.valid_until_us for book in (floor, release)) if floor and release else 0
        self._remember = lru_cache(maxsize=remembered)(self._decide_in_force)

    def decide(self, facts: Facts, now_us: int) -> Decision:
        """Decide as `decide` does, from memory where the same facts were decided on before."""
        if self._valid_from_us <= now_us < self._valid_until_us:
            return self._remember(facts)
        return decide(self.floor, self.release, facts, self.accepted, now_us)

    def _decide_in_force(self, facts: Facts) -> Decision:
        return decide(self.floor, self.release, facts, self.accepted, self._valid_from_us)
