"""Every table of a compiled rulebook against the reference evaluator, value by value."""

from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import msgspec

from node.errors import RulebookError
from node.policy.evaluate import is_holding
from node.policy.facts import UNKNOWN_AGE, Facts
from node.policy.masks import Masks
from node.policy.vocabulary import AGE_BOUNDS, DIMENSIONS

if TYPE_CHECKING:
    from node.policy.rules import Condition

_FIRST: Final = {
    name: each.values[:1] if each.many else each.values[0] for name, each in DIMENSIONS.items() if each.values
}
_ANY: Final = msgspec.convert({**_FIRST, "record_age": UNKNOWN_AGE}, Facts)


def verify_masks(masks: Masks) -> None:
    """Check what each table says of each value, for each box, against the reference's meaning of its condition.

    Of sets: the empty one, all of one value, all of two. A table of sets is a union over their values, so that these
    stand for the larger ones.

    Raises:
        RulebookError: they differ.
    """
    asked: dict[str, list[tuple[int, Condition, bool]]] = {name: [] for name in DIMENSIONS}
    for bit, box in enumerate(masks.boxes):
        for condition in box.conjunction:
            asked[condition.dimension].append((bit, condition, box.unknown))
    everything = (1 << len(masks.boxes)) - 1
    for name, conditions in asked.items():
        if (name in masks.tables) != bool(conditions):
            raise RulebookError(f"the compiled rules and the reference differ on whether {name} is asked about")
        probes = probes_of(name) if conditions else ()
        silent = everything & ~sum(1 << bit for bit, _, _ in conditions)
        expected = [silent] * len(probes)
        columns: dict[tuple[Condition, bool], list[int]] = {}
        for bit, condition, unknown in conditions:
            column = columns.get((condition, unknown))
            if column is None:
                column = [n for n, (_, facts) in enumerate(probes) if is_holding(condition, facts, unknown=unknown)]
                columns[condition, unknown] = column
            for number in column:
                expected[number] |= 1 << bit
        for (value, _), mask in zip(probes, expected, strict=True):
            if masks.tables[name][value] != mask:
                raise RulebookError(f"the compiled rules and the reference differ where {name} is {value}")


@cache
def probes_of(name: str) -> tuple[tuple[Any, Facts], ...]:
    """Values of a dimension, each with a situation that has it."""
    return tuple((value, msgspec.structs.replace(_ANY, **{name: value})) for value in _values(name))


def _values(name: str) -> Iterator[Any]:
    dimension = DIMENSIONS[name]
    if not dimension.values:
        yield from (UNKNOWN_AGE, *AGE_BOUNDS)
    elif not dimension.many:
        yield from dimension.values
    else:
        for size in range(3):
            yield from map(frozenset, combinations(dimension.values, size))
