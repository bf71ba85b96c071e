"""The rulebooks that answer one recipient. What a decision means, `node.policy.reference` says."""

from functools import lru_cache
from typing import Final

from node.policy.compile import Bound, compiled
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
from node.policy.reference import decide, decide_approved
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
    "decide_approved",
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
        """Bind two rulebooks and what the recipient accepted; remember so many decisions, the latest used.

        The first `Policy` of two rulebooks compiles them; those of other recipients share the tables.

        Raises:
            RulebookError: what was compiled differs from the reference; nothing may then be decided by it.
        """
        self.floor: Final = floor
        self.release: Final = release
        self.accepted: Final = accepted
        # Within both validities a decision depends on the facts alone, so one time stands for all of them.
        self._valid_from_us = self._valid_until_us = 0
        if floor and release and (floor.layer, release.layer) == ("floor", "release"):
            self._valid_from_us = max(floor.valid_from_us, release.valid_from_us)
            self._valid_until_us = min(floor.valid_until_us, release.valid_until_us)
            bound = Bound(compiled(floor, release), accepted, remembered)
            self._remembered = lru_cache(maxsize=remembered)(bound.decide)
            self._approved = bound.decide_approved

    def decide(self, facts: Facts, now_us: int) -> Decision:
        """Decide as the reference does, from memory where the like was decided before.

        Raises:
            PolicyError: a fact is no word of the vocabulary.
        """
        if self._valid_from_us <= now_us < self._valid_until_us:
            return self._remembered(facts)
        return decide(self.floor, self.release, facts, self.accepted, now_us)

    def decide_approved(self, facts: Facts, now_us: int) -> Decision:
        """Decide what leaves once focal points approve it, as the reference does.

        Raises:
            PolicyError: a fact is no word of the vocabulary.
        """
        if self._valid_from_us <= now_us < self._valid_until_us:
            return self._approved(facts)
        return decide_approved(self.floor, self.release, facts, self.accepted, now_us)
