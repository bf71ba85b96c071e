"""Conditions as bit masks: which boxes a situation is in, by one look-up for each dimension.

A conjunction of conditions is a *box* in the space of facts, and has one bit. For each dimension a table tells which
boxes accept a value there. A situation is in the boxes that all tables accept: the AND of what they say.
"""

from collections.abc import Sequence
from functools import reduce
from operator import and_, attrgetter, getitem, or_
from typing import Any, Final, NamedTuple

from node.errors import PolicyError, RulebookError
from node.policy.facts import UNKNOWN_AGE, Facts
from node.policy.rules import Condition, Conjunction
from node.policy.vocabulary import AGE_BOUNDS, DIMENSIONS, UNKNOWN, Dimension

# Peers choose the sets of crimes that they ask with, so what is remembered of sets is bounded; some 200 bytes each.
_REMEMBERED_SETS: Final = 4096


class Box(NamedTuple):
    """A conjunction, with what it makes of UNKNOWN."""

    conjunction: Conjunction
    unknown: bool


class SetTable(dict[frozenset[str], int]):
    """The boxes that accept a set of values, computed when first asked for."""

    def __init__(self, naming: dict[str, int], base: int, unknown: int) -> None:
        """Keep which boxes name a value; `base` and `unknown` are as in `_table`."""
        super().__init__()
        self._naming: Final = naming
        self._base: Final = base
        self._unknown: Final = unknown

    def __missing__(self, values: frozenset[str]) -> int:
        """Find the boxes of a set not seen before; a list in a rule asks whether any of the values is in it."""
        named = [self._naming[value] for value in values]
        mask = self._unknown if UNKNOWN in values else reduce(or_, named, 0) ^ self._base
        if len(self) >= _REMEMBERED_SETS:
            self.clear()
        self[values] = mask
        return mask


class Masks:
    """The tables of a sequence of boxes: box n has bit n."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        """Build the tables of all dimensions that any box asks about.

        Raises:
            RulebookError: a box asks twice about one dimension, or about a number as if it were a word. No text can.
        """
        self.boxes: Final = tuple(boxes)
        asked: dict[str, dict[int, Condition]] = {}
        for bit, box in enumerate(boxes):
            for condition in box.conjunction:
                _verify_form(condition)
                if asked.setdefault(condition.dimension, {}).setdefault(bit, condition) is not condition:
                    raise RulebookError(f"a rule asks twice about {condition.dimension}")
        self.tables: Final = {
            name: _table(DIMENSIONS[name], self.boxes, asked[name]) for name in DIMENSIONS if name in asked
        }
        self._tables: Final = tuple(self.tables.values())
        self._everything: Final = (1 << len(self.boxes)) - 1
        # Two names more than needed, since a getter of one name returns no tuple, and there is none of no name.
        self._read: Final = attrgetter(*self.tables, "kind", "paired")

    def containing(self, facts: Facts) -> int:
        """Return the boxes that a situation is in, as a bit set.

        Raises:
            PolicyError: a fact is no word of the vocabulary.
        """
        try:
            return reduce(and_, map(getitem, self._tables, self._read(facts)), self._everything)
        except KeyError as error:
            raise PolicyError("a fact is not in the vocabulary of this node") from error


def _verify_form(condition: Condition) -> None:
    dimension = DIMENSIONS.get(condition.dimension)
    if dimension is None or (condition.at_least is None) != bool(dimension.values):
        raise RulebookError(f"a condition on {condition.dimension} has the wrong form")


def _table(dimension: Dimension, boxes: Sequence[Box], asked: dict[int, Condition]) -> dict[Any, int]:
    """Which boxes accept a value of a dimension.

    In `base` are the boxes that accept what they don't name: those that ask nothing here, and `{not: […]}`. Naming a
    value turns that over. Of UNKNOWN a box makes what it makes, whatever it names.
    """
    silent = sum(1 << bit for bit in range(len(boxes)) if bit not in asked)
    base = silent | sum(1 << bit for bit, condition in asked.items() if condition.negated)
    unknown = silent | sum(1 << bit for bit in asked if boxes[bit].unknown)
    if not dimension.values:
        return {UNKNOWN_AGE: unknown} | {
            age: silent | sum(1 << bit for bit, condition in asked.items() if age >= (condition.at_least or 0))
            for age in AGE_BOUNDS
        }
    naming = dict.fromkeys(dimension.values, 0)
    for bit, condition in asked.items():
        for value in condition.values & naming.keys():
            naming[value] |= 1 << bit
    if dimension.many:
        return SetTable(naming, base, unknown)
    table = {value: base ^ named for value, named in naming.items()}
    if UNKNOWN in table:
        table[UNKNOWN] = unknown
    return table
