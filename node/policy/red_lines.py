"""Red lines compared: what a rulebook's promises are, by digest, and which of them another rulebook no longer makes."""

from collections.abc import Sequence
from hashlib import sha256

import msgspec

from node.policy.rules import Condition, RedLine
from node.policy.vocabulary import CATEGORIES, OUTCOMES


def red_lines_digest(lines: Sequence[RedLine]) -> bytes:
    """Return the SHA-256 of what red lines say: canonical JSON of each id and meaning, in order of ids.

    Where they stand in their texts does not count, nor how they are called; floor before release, a shared id is kept
    apart by its meaning.
    """
    said = sorted([line.id, _meaning(line).decode()] for line in lines)
    return sha256(msgspec.json.encode(said)).digest()


def removed_red_lines(old: Sequence[RedLine], new: Sequence[RedLine]) -> list[str]:
    """Return the ids of red lines that the new rulebook does not have in the same meaning, in order.

    Whether a change widens or narrows a red line is not judged here: a changed one is a removed one and a new one.
    """
    kept = {_meaning(line) for line in new}
    return sorted(line.id for line in old if _meaning(line) not in kept)


def _meaning(line: RedLine) -> bytes:
    return msgspec.json.encode(
        {
            "kind": line.kind,
            "when": sorted(map(_condition, line.when)),
            "data": sorted(CATEGORIES[category] for category in line.data),
            "at_most": OUTCOMES[line.at_most],
            "test": line.test,
        }
    )


def _condition(condition: Condition) -> list[object]:
    at_least = -1 if condition.at_least is None else condition.at_least
    return [condition.dimension, condition.negated, at_least, sorted(condition.values)]
