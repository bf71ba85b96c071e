"""Which rules bring a change about."""

from collections.abc import Iterator

import msgspec

from node.policy.diff_ranges import APPROVALS, HOLD, RETENTION, WIDENING, Change
from node.policy.diff_shared import rule_meaning
from node.policy.evaluate import EXISTENCE, LayerResult
from node.policy.rules import Rule
from node.policy.vocabulary import CATEGORY_NUMBERS, OBLIGATION_NUMBERS, Category


class Cause(msgspec.Struct, frozen=True):
    """A rule that a change comes from.

    Attributes:
        says: "granted by", "limited by", … or "no longer granted by", ….
        throughout: The rule fires in all of the box; else in its example at least.
    """

    says: str
    rule: str
    law: str
    throughout: bool


def rules_behind(change: Change, old: LayerResult, new: LayerResult) -> Iterator[tuple[str, Rule, bool]]:
    """The rules that a change comes from in one situation: what each does, and whether it is one of the new version.

    Args:
        change: As it takes place in the situation, or as it would if the kind of entry had the category.
        old: What the old version of the rulebook says in it.
        new: What the new version says.
    """
    widens = change.kind in WIDENING
    category = CATEGORY_NUMBERS.get(change.subject)
    if category:
        if widens:
            yield from (("granted by", rule, True) for rule in _granting(new, category))
            for rule in _without(_restricting(old, category), new):
                yield f"no longer {_restricts(rule, old)}", rule, False
        else:
            yield from ((_restricts(rule, new), rule, True) for rule in _without(_restricting(new, category), old))
            yield from (("no longer granted by", rule, False) for rule in _without(_granting(old, category), new))
    elif change.subject == HOLD:
        held, other = (old, new) if widens else (new, old)
        for rule in _without([each for each in held.fired if each.effect == "hold"], other):
            yield ("no longer held by" if widens else "held by"), rule, not widens
    elif change.subject == APPROVALS:
        asking = new if change.kind == "two approve" else old
        says = "asked for by" if asking is new else "no longer asked for by"
        yield from ((says, each, asking is new) for each in asking.fired if each.approvals > 1)
    elif change.subject == RETENTION:
        for layer, days, says in ((new, change.after, "set by"), (old, change.before, "no longer set by")):
            rules = [each for each in layer.fired if each.retention_days == int(days) != 0]
            yield from ((says, rule, layer is new) for rule in _without(rules, old if layer is new else new))
    else:
        owing, other = (old, new) if widens else (new, old)
        rules = [each for each in owing.fired if OBLIGATION_NUMBERS[change.subject] in each.obligations]
        for rule in _without(rules, other):
            yield ("no longer set by" if widens else "set by"), rule, not widens


def _granting(layer: LayerResult, category: Category) -> list[Rule]:
    """The rules that grant a category, or, of one that the kind of entry lacks, would."""
    found = layer.granting.get(category) or [each for each in layer.fired if each.effect == "allow"]
    return [each for each in found if category in each.data or category == EXISTENCE or category in layer.granting]


def _restricting(layer: LayerResult, category: Category) -> list[Rule]:
    """The rules that keep a category from leaving whole."""
    return [
        rule
        for rule in layer.fired
        if rule.effect == "deny"
        or (rule.effect != "allow" and rule in layer.unaccepted)
        or (rule.effect == "limit" and rule.data.keys() & {category, EXISTENCE})
    ]


def _restricts(rule: Rule, layer: LayerResult) -> str:
    if rule.effect == "deny":
        return "denied by"
    return "by the unaccepted obligations of" if rule in layer.unaccepted else "limited by"


def _without(rules: list[Rule], layer: LayerResult) -> list[Rule]:
    """Those that do not fire in another version under whatever name."""
    there = {rule_meaning(each) for each in layer.fired}
    return [rule for rule in rules if rule_meaning(rule) not in there]
