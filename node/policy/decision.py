"""What is decided on one entry. All values are immutable and comparable."""

from typing import Final, TypeAlias

import msgspec

from node.policy.vocabulary import Category, Obligation, Outcome
from node.wire import codes_pb2, ledger_pb2

EntryOutcome: TypeAlias = ledger_pb2.EntryOutcome.ValueType

ENTRY: Final = ledger_pb2.ENTRY_OUTCOME_ENTRY
HIT: Final = ledger_pb2.ENTRY_OUTCOME_HIT
PENDING: Final = ledger_pb2.ENTRY_OUTCOME_PENDING
HELD_SILENTLY: Final = ledger_pb2.ENTRY_OUTCOME_HELD_SILENTLY
INVISIBLE: Final = ledger_pb2.ENTRY_OUTCOME_INVISIBLE


class Grant(msgspec.Struct, frozen=True):
    """A rule that let a category leave at its level; this is what the recipient is told."""

    rule: str
    law: str
    category: Category
    outcome: Outcome


class Decision(msgspec.Struct, frozen=True, cache_hash=True):
    """What leaves of one entry.

    Attributes:
        outcome: ENTRY, HIT, PENDING, HELD_SILENTLY or INVISIBLE; the last two look like a no-hit outside.
        levels: Category and its level, for each category of this kind of entry, in ascending order. Of a PENDING what
            an approval may let leave at the most: until then, nothing does. What goes with it then, grants, obligations
            and retention, `decide_approved` tells.
        grants: Of an ENTRY for each category that leaves but EXISTENCE and REFERENCE; of a HIT for EXISTENCE.
        fired: Ids of the rules that fired, floor first, also where nothing leaves.
        obligations: That go with what leaves, in ascending order; empty where nothing does.
        retention_days: The recipient deletes after as many days; 0 where no rule says so.
        red_lines_crossed: Ids of red lines that the rules would have crossed. Not empty means: raise an alarm.
        approvals: How many focal points must approve before what is held leaves; 0 where nothing is held. Of what
            `decide_approved` tells, how many must have approved, at least one.
    """

    outcome: EntryOutcome
    levels: tuple[tuple[Category, Outcome], ...]
    grants: tuple[Grant, ...]
    fired: tuple[str, ...]
    obligations: tuple[Obligation, ...]
    retention_days: int
    red_lines_crossed: tuple[str, ...]
    approvals: int = 0

    def level(self, category: Category) -> Outcome:
        """Level of a category; WITHHOLD for one that this kind of entry does not have."""
        return dict(self.levels).get(category, codes_pb2.OUTCOME_WITHHOLD)

    def bits(self, outcome: Outcome) -> int:
        """Categories with this level as a bit set: bit n for category number n, as the ledger keeps them."""
        return sum(1 << category for category, level in self.levels if level == outcome)
