"""Red lines compared: what counts as the same, and what is gone."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.policy.red_lines import red_lines_digest, removed_red_lines
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Condition, Place, RedLine
from node.wire import codes_pb2

FLOOR = Path(__file__).parents[3] / "node" / "policy" / "rulebooks" / "floor.yaml"
LINE = RedLine(
    id="R1",
    titles={"en": "A line"},
    law="1951 Convention art. 33",
    kind="never_release",
    when=(
        Condition("asylum", frozenset({"CLAIMED", "PAST", "UNKNOWN"})),
        Condition("recipient_is_origin", frozenset({"IS_ORIGIN", "UNKNOWN"})),
        Condition("days_since_recorded", at_least=30),
    ),
    data=frozenset({codes_pb2.DATA_CATEGORY_IDENTITY, codes_pb2.DATA_CATEGORY_CONTACT}),
    at_most=codes_pb2.OUTCOME_WITHHOLD,
    test="",
    place=Place(3, 1),
)

SAME: dict[str, dict[str, Any]] = {
    "another place": {"place": Place(9, 9)},
    "another title": {"titles": {"en": "Said otherwise", "es": "Una línea"}},
    "another order of conditions": {"when": LINE.when[::-1]},
}
OTHERWISE: dict[str, dict[str, Any]] = {
    "another kind": {"kind": "never_without_approval"},
    "less data": {"data": frozenset({codes_pb2.DATA_CATEGORY_IDENTITY})},
    "one condition more": {"when": (*LINE.when, Condition("minor", frozenset({"IS_MINOR"})))},
    "one value less": {"when": (Condition("asylum", frozenset({"CLAIMED", "UNKNOWN"})), *LINE.when[1:])},
    "the opposite": {"when": (Condition("asylum", LINE.when[0].values, negated=True), *LINE.when[1:])},
    "another bound": {"when": (*LINE.when[:2], Condition("days_since_recorded", at_least=31))},
    "less strict": {"at_most": codes_pb2.OUTCOME_MASK},
    "another test": {"test": "tests/x.py"},
}


@pytest.mark.parametrize("what", SAME)
def test_what_does_not_change_what_it_says(what: str) -> None:
    other = msgspec.structs.replace(LINE, **SAME[what])
    assert red_lines_digest([other]) == red_lines_digest([LINE])
    assert removed_red_lines([LINE], [other]) == []


@pytest.mark.parametrize("what", OTHERWISE)
def test_a_changed_line_is_a_removed_one(what: str) -> None:
    other = msgspec.structs.replace(LINE, **OTHERWISE[what])
    assert red_lines_digest([other]) != red_lines_digest([LINE])
    assert removed_red_lines([LINE], [other]) == ["R1"]
    assert removed_red_lines([LINE], [LINE, other]) == []


def test_another_id_removes_nothing_yet_is_another_promise() -> None:
    other = msgspec.structs.replace(LINE, id="R2")
    assert removed_red_lines([LINE], [other]) == []
    assert red_lines_digest([other]) != red_lines_digest([LINE])
    assert removed_red_lines([LINE, msgspec.structs.replace(LINE, id="Z", test="x")], []) == ["R1", "Z"]


def test_the_order_of_lines_does_not_count() -> None:
    lines = parse_rulebook(FLOOR.read_bytes(), demonstration=True).red_lines
    assert len(lines) >= 10
    assert red_lines_digest(lines) == red_lines_digest(lines[::-1])
    assert len({red_lines_digest([line]) for line in lines}) == len(lines)
    assert removed_red_lines(lines, lines) == []
