"""The rulebooks that ship keep their red lines in every situation, and without what restricts they do not."""

from pathlib import Path

import msgspec
import pytest

from node.policy.prove.idle import idle_rules
from node.policy.prove.proof import prove
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Rulebook

FOLDER = Path(__file__).parents[4] / "node/policy/rulebooks"
BOOKS = {
    file.stem: parse_rulebook(file.read_bytes(), demonstration=True)
    for file in sorted(FOLDER.glob("*.yaml"))
    if not file.stem.endswith("-outbound")
}
FLOOR = BOOKS.pop("floor")


def without_restrictions(book: Rulebook) -> Rulebook:
    return msgspec.structs.replace(book, rules=tuple(rule for rule in book.rules if rule.effect == "allow"))


def test_the_floor_keeps_its_lines_whatever_a_country_allows() -> None:
    proof = prove(FLOOR, None)
    assert {each.verdict for each in proof.verdicts} == {"proved", "structural"}
    assert len(proof.verdicts) >= 10


@pytest.mark.parametrize("country", BOOKS)
def test_a_country_keeps_the_floors_lines_and_its_own(country: str) -> None:
    proof = prove(FLOOR, BOOKS[country])
    assert {each.verdict for each in proof.verdicts} <= {"proved", "structural"}


def test_without_what_restricts_the_lines_are_broken() -> None:
    """They are kept by rules, and not because nothing ever comes near them."""
    proof = prove(without_restrictions(FLOOR), None)
    broken = [each for each in proof.verdicts if each.verdict == "violated"]
    leaving = [each for each in proof.verdicts if each.kind in {"never_release", "never_without_approval"}]
    assert len(broken) > len(leaving) / 2


@pytest.mark.parametrize("country", BOOKS)
def test_no_rule_is_idle(country: str) -> None:
    assert [each for each in idle_rules(FLOOR, BOOKS[country]) if each.why == "never fires"] == []
