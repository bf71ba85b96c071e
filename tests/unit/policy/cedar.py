"""A rulebook as Cedar policies, so that an evaluator which others wrote tells the same of grants and denials.

Cedar permits or forbids, and knows neither levels nor holds. So a category is an action: permitted where it leaves at
any level above withhold, forbidden by a denial or by a limit to withhold. UNKNOWN is a word like others, spelt out in
each condition as §8 counts it there.
"""

import json
from collections.abc import Collection, Iterable
from typing import Any, Final

import cedarpy

from node.policy.facts import UNKNOWN_AGE, Facts
from node.policy.rules import Condition, Conjunction, RedLine, Rule, Rulebook
from node.policy.vocabulary import (
    CATEGORIES,
    CATEGORIES_BY_KIND,
    DIMENSIONS,
    NEVER_LAWFUL,
    OBLIGATIONS,
    UNKNOWN,
    Category,
    Obligation,
)
from node.wire import codes_pb2

_WITHHOLD: Final = codes_pb2.OUTCOME_WITHHOLD
_TOLD: Final[frozenset[Category]] = frozenset({codes_pb2.DATA_CATEGORY_EXISTENCE, codes_pb2.DATA_CATEGORY_REFERENCE})

# What the node itself forbids, whatever a rulebook says.
NODE: Final = f"""
forbid(principal, action, resource) unless {{ context.paired == "YES" }};
forbid(principal, action, resource) when {{ ["IMMIGRATION", "UNKNOWN"].contains(context.unit_type) }};
forbid(principal, action, resource) when {{ {json.dumps([*sorted(NEVER_LAWFUL), UNKNOWN])}.contains(context.purpose) }};
forbid(principal, action, resource) when {{ context.kind == "UNKNOWN" }};
forbid(principal, action == Action::"ASYLUM", resource);
forbid(principal, action, resource) when {{
  !["NONE", "NOT_APPLICABLE"].contains(context.exposure)
  && ["IS_ORIGIN", "UNKNOWN"].contains(context.recipient_is_origin)
}};
"""


def policies_of(book: Rulebook) -> cedarpy.PolicySet:
    """The rulebook's grants and denials, with what the node forbids."""
    text = NODE + "".join(map(_policies, book.rules)) + "".join(map(_red_line, book.red_lines))
    return cedarpy.PolicySet.from_str(text)


def context_of(facts: Facts, accepted: Collection[Obligation]) -> dict[str, Any]:
    """The facts of a situation, and what the recipient has accepted, as Cedar's context."""
    values = {name: getattr(facts, name) for name in DIMENSIONS}
    context = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}
    return context | {"accepted": [OBLIGATIONS[each] for each in sorted(accepted)]}


def request_of(context: dict[str, Any], category: Category) -> dict[str, Any]:
    """The question whether a category may leave in a situation."""
    return {
        "principal": f'Country::"{context["recipient"]}"',
        "action": f'Action::"{CATEGORIES[category]}"',
        "resource": 'Entry::"entry"',
        "context": context,
    }


def permitted(
    policies: cedarpy.PolicySet, facts: Facts, accepted: Collection[Obligation], categories: Collection[Category]
) -> frozenset[Category]:
    """The categories that Cedar lets leave.

    Raises:
        ValueError: a policy is in error, so that what Cedar says is not what the rules say.
    """
    context, asked = context_of(facts, accepted), sorted(categories)
    results = cedarpy.is_authorized_batch([request_of(context, each) for each in asked], policies, [])
    for result in results:
        if result.diagnostics.errors:
            raise ValueError(str(result.diagnostics.errors))
    return frozenset(each for each, result in zip(asked, results, strict=True) if result.allowed)


# --- rules -----------------------------------------------------------------------------------------------------------


def _policies(rule: Rule) -> str:
    restricts = rule.effect != "allow"
    when, unless = _all(rule.when, unknown=restricts), [_all(each, unknown=not restricts) for each in rule.unless]
    accepted = f"context.accepted.containsAll({_words(OBLIGATIONS[each] for each in rule.obligations)})"
    if rule.effect == "allow":
        granted = {category for category, level in rule.data.items() if level != _WITHHOLD}
        kinds = [kind for kind, own in CATEGORIES_BY_KIND.items() if rule.data.keys() & (own | _TOLD)]
        implied = f"{when} && {accepted} && {_words(kinds)}.contains(context.kind)"
        return _policy("permit", granted, f"{when} && {accepted}", unless) + _policy("permit", _TOLD, implied, unless)
    if rule.effect == "deny":
        return _policy("forbid", None, when, unless)
    capped = {category for category, level in rule.data.items() if level == _WITHHOLD}
    return _policy("forbid", capped, when, unless) + _policy("forbid", None, f"{when} && !({accepted})", unless)


def _red_line(line: RedLine) -> str:
    """Of a line that no approval lifts and that permits no level; others Cedar can't tell."""
    if line.kind != "never_release" or line.at_most != _WITHHOLD:
        return ""
    return _policy("forbid", line.data, _all(line.when, unknown=True), ())


def _policy(effect: str, categories: Collection[Category] | None, when: str, unless: Iterable[str]) -> str:
    actions = "action"
    if categories is not None:
        actions = f"action in [{', '.join(f'Action::{json.dumps(CATEGORIES[each])}' for each in sorted(categories))}]"
    exceptions = "".join(f" unless {{ {each} }}" for each in unless)
    return f"{effect}(principal, {actions}, resource) when {{ {when} }}{exceptions};\n"


def _all(conjunction: Conjunction, *, unknown: bool) -> str:
    return " && ".join(["true", *(_condition(each, unknown=unknown) for each in conjunction)])


def _condition(condition: Condition, *, unknown: bool) -> str:
    fact, dimension = f"context.{condition.dimension}", DIMENSIONS[condition.dimension]
    if condition.at_least is not None:
        is_unknown, holds = f"{fact} == {UNKNOWN_AGE}", f"{fact} >= {condition.at_least}"
    elif dimension.many:
        is_unknown, holds = f'{fact}.contains("{UNKNOWN}")', f"{fact}.containsAny({_words(condition.values)})"
    else:
        is_unknown, holds = f'{fact} == "{UNKNOWN}"', f"{_words(condition.values)}.contains({fact})"
    if condition.negated:
        holds = f"!({holds})"
    return f"({is_unknown} || {holds})" if unknown else f"(!({is_unknown}) && {holds})"


def _words(words: Iterable[str]) -> str:
    return json.dumps(sorted(words))
