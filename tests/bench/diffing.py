"""Comparing two versions of a rulebook of a hundred rules, in seconds of CPU: the solver has one thread."""

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec

from node.policy.diff import diff
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Condition, Rule, Rulebook
from node.policy.vocabulary import COUNTRIES, DIMENSIONS, NEVER_LAWFUL, UNKNOWN
from tests.world import RULEBOOKS

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = 100


@dataclass(frozen=True)
class Diffing:
    """Seconds of CPU for one comparison; how many ranges it told, and whether it stopped before the end."""

    what: str
    seconds: float
    ranges: int
    stopped: bool
    verdict: str
    rules: int


def measure(folder: Path = RULEBOOKS) -> list[Diffing]:
    """Compare a national rulebook, a hundred rules with the floor, with versions that differ in more and more rules."""
    floor = parse_rulebook((folder / "floor.yaml").read_bytes(), demonstration=True)
    shipped = parse_rulebook((folder / "gt.yaml").read_bytes(), demonstration=True)
    old = _filled(shipped, RULES - len(floor.rules), Random(7))
    changes: dict[str, Callable[[], Rulebook]] = {
        "one rule added": lambda: _filled(old, len(old.rules) + 1, Random(8)),
        "one rule removed": lambda: _with(old, [*old.rules[:20], *old.rules[21:]]),
        "five rules changed": lambda: _changed(old, 5),
        "half the rules changed": lambda: _changed(old, len(old.rules) // 2),
    }
    found = []
    for what, make in changes.items():
        new = make()
        started = time.process_time()
        difference = diff(old, new, floor=floor)
        seconds = time.process_time() - started
        rules = len(floor.rules) + len(old.rules)
        stopped = bool(difference.unfinished)
        found.append(Diffing(what, seconds, len(difference.boxes), stopped, difference.verdict, rules))
    return found


def _with(book: Rulebook, rules: list[Rule]) -> Rulebook:
    return msgspec.structs.replace(book, rules=tuple(rules))


def _filled(book: Rulebook, count: int, random: Random) -> Rulebook:
    """The rulebook with copies of its rules whose conditions are about other values."""
    rules = list(book.rules)
    while len(rules) < count:
        rule = random.choice(book.rules)
        rules.append(_varied(msgspec.structs.replace(rule, id=f"{rule.id}-{len(rules)}"), random))
    return _with(book, rules)


def _changed(book: Rulebook, count: int) -> Rulebook:
    random = Random(9)
    rules = list(book.rules)
    for place in random.sample(range(len(rules)), count):
        rules[place] = _varied(rules[place], random)
    return _with(book, rules)


def _varied(rule: Rule, random: Random) -> Rule:
    """The rule for two recipients, and one of its lists drawn anew."""
    when = [each for each in rule.when if each.dimension not in {"recipient", "emergency"}]
    lists = [place for place, each in enumerate(when) if each.values and not each.negated]
    if lists:
        place = random.choice(lists)
        words = [w for w in DIMENSIONS[when[place].dimension].values if w != UNKNOWN and w not in NEVER_LAWFUL]
        drawn = random.sample(words, min(len(when[place].values), len(words) - 1))
        when[place] = Condition(when[place].dimension, frozenset(drawn))
    when.append(Condition("recipient", frozenset(random.sample(sorted(COUNTRIES)[:12], 2))))
    return msgspec.structs.replace(rule, when=tuple(when), emergency=False)
