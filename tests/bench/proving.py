"""Proving every red line of a hundred rules, in seconds."""

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node.policy.prove.proof import prove
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Rulebook
from tests.world import RULEBOOKS

RULES = 100


@dataclass(frozen=True)
class Proving:
    """Seconds for model and proofs of red lines that hold, and of the same without the rules that keep them."""

    seconds: float
    broken: float
    violated: int
    lines: int
    rules: int


def measure(folder: Path = RULEBOOKS) -> Proving:
    """Prove the floor and a national rulebook that was filled up to a hundred rules."""
    floor = parse_rulebook((folder / "floor.yaml").read_bytes(), demonstration=True)
    release = _filled(parse_rulebook((folder / "gt.yaml").read_bytes(), demonstration=True), RULES - len(floor.rules))
    seconds, violated = min(_timed(floor, release) for _ in range(3))
    if violated:
        raise AssertionError("the rulebooks that ship break a red line")
    broken, violated = _timed(_allowing(floor), _allowing(release))
    lines = sum(line.kind != "structural" for book in (floor, release) for line in book.red_lines)
    return Proving(seconds, broken, violated, lines, len(floor.rules) + len(release.rules))


def _timed(floor: Rulebook, release: Rulebook) -> tuple[float, int]:
    started = time.perf_counter()
    proof = prove(floor, release)
    return time.perf_counter() - started, sum(each.verdict == "violated" for each in proof.verdicts)


def _allowing(book: Rulebook) -> Rulebook:
    return msgspec.structs.replace(book, rules=tuple(rule for rule in book.rules if rule.effect == "allow"))


def _filled(book: Rulebook, count: int) -> Rulebook:
    """The rulebook with copies of its rules, each with one condition less and so with a meaning of its own."""
    rules = list(book.rules)
    place = 0
    while len(rules) < count:
        rule = book.rules[place % len(book.rules)]
        drop = place // len(book.rules)
        when = (
            tuple(each for number, each in enumerate(rule.when) if number != drop)
            if rule.effect != "allow"
            else rule.when
        )
        rules.append(msgspec.structs.replace(rule, id=f"{rule.id}-{drop + 1}", when=when))
        place += 1
    return msgspec.structs.replace(book, rules=tuple(rules[: max(count, len(book.rules))]))
