"""What two versions of a rulebook have in common: where it forbids something, nothing can differ."""

from collections.abc import Hashable
from typing import NamedTuple

from node.policy.diff_ranges import Pair, Situation
from node.policy.evaluate import EXISTENCE, WITHHOLD, is_firing, is_met
from node.policy.rules import RedLine, Rule
from node.policy.vocabulary import CATEGORY_NUMBERS, Category


class Shared(NamedTuple):
    """Rules and red lines that both versions have, but for their names."""

    rules: tuple[Rule, ...]
    red_lines: tuple[RedLine, ...]

    @property
    def holds(self) -> tuple[Rule, ...]:
        """Those that let a focal point decide, in both versions alike."""
        return tuple(rule for rule in self.rules if rule.effect == "hold")

    @property
    def exceptions(self) -> tuple[str, ...]:
        """Ids of all that forbids something."""
        parts = [part for category in CATEGORY_NUMBERS.values() for part in self.forbidding(category)]
        return tuple(dict.fromkeys(each.id for part in parts for each in part))

    def missing_from(self, pair: Pair) -> "Shared":
        """What only one version has."""
        rules = {rule_meaning(rule) for rule in self.rules}
        lines = {red_line_meaning(line) for line in self.red_lines}
        return Shared(
            tuple(rule for book in pair for rule in book.rules if rule_meaning(rule) not in rules),
            tuple(line for book in pair for line in book.red_lines if red_line_meaning(line) not in lines),
        )

    def forbidding(self, category: Category | None) -> "Shared":
        """Those that may withhold a category, or, of None, all of the entry, whatever else the rulebooks say."""
        categories = _with_existence(category)
        return Shared(
            tuple(
                rule
                for rule in self.rules
                if rule.effect != "allow" and (rule.obligations or _withholds(rule, categories))
            ),
            tuple(
                line
                for line in self.red_lines
                if line.kind == "never_release" and line.at_most == WITHHOLD and line.data & categories
            ),
        )


def shared_by(old: Pair, new: Pair) -> Shared:
    """What both versions have in common."""
    rules = {rule_meaning(rule) for book in new for rule in book.rules}
    lines = {red_line_meaning(line) for book in new for line in book.red_lines}
    return Shared(
        tuple(rule for book in old for rule in book.rules if rule_meaning(rule) in rules),
        tuple(line for book in old for line in book.red_lines if red_line_meaning(line) in lines),
    )


def rule_meaning(rule: Rule) -> Hashable:
    """What a rule does, whatever it is called and in whatever order its conditions stand."""
    unless = frozenset(frozenset(each) for each in rule.unless)
    return (
        rule.effect,
        frozenset(rule.when),
        unless,
        frozenset(rule.data.items()),
        rule.obligations,
        rule.retention_days,
    )


def red_line_meaning(line: RedLine) -> Hashable:
    """What a red line forbids, whatever it is called."""
    return line.kind, frozenset(line.when), line.data, line.at_most, line.test


def is_forbidden(situation: Situation, forbidding: Shared, category: Category | None) -> bool:
    """Whether one of the rules and red lines that `forbidding` gave for this category forbids it here."""
    categories = _with_existence(category)
    return any(
        is_firing(rule, situation.facts)
        and (_withholds(rule, categories) or not rule.obligations <= situation.accepted)
        for rule in forbidding.rules
    ) or any(is_met(line.when, situation.facts, unknown=True) for line in forbidding.red_lines)


def _with_existence(category: Category | None) -> frozenset[Category]:
    return frozenset({EXISTENCE} if category is None else {EXISTENCE, category})


def _withholds(rule: Rule, categories: frozenset[Category]) -> bool:
    """Whether a restriction withholds the entry, or one of the categories, whenever it fires."""
    return rule.effect == "deny" or any(rule.data.get(each) == WITHHOLD for each in categories)
