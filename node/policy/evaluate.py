"""How one rulebook bears on one set of facts, word by word after the published semantics (see `reference`)."""

from collections.abc import Collection
from typing import Final, NamedTuple

from node.policy.facts import UNKNOWN_AGE, Facts
from node.policy.rules import Condition, Conjunction, Rule, Rulebook
from node.policy.vocabulary import CATEGORIES_BY_KIND, UNKNOWN, Category, Obligation, Outcome
from node.schema import COMMON_CATEGORIES
from node.wire import codes_pb2

RELEASE: Final = codes_pb2.OUTCOME_RELEASE
GENERALISE: Final = codes_pb2.OUTCOME_GENERALISE
PSEUDONYMISE: Final = codes_pb2.OUTCOME_PSEUDONYMISE
MASK: Final = codes_pb2.OUTCOME_MASK
WITHHOLD: Final = codes_pb2.OUTCOME_WITHHOLD

EXISTENCE: Final = codes_pb2.DATA_CATEGORY_EXISTENCE
REFERENCE: Final = codes_pb2.DATA_CATEGORY_REFERENCE


class LayerResult(NamedTuple):
    """What one rulebook says.

    Attributes:
        limits: How far each category of this kind of entry is capped, whatever is granted.
        grants: Levels that are granted, each with the `allow` rule that does; what nobody grants is not in it.
        granting: The `allow` rules that gave each level, once both layers were weighed together; categories withheld
            are not in it.
        fired: All rules that fired, in the order of the rulebook.
        unaccepted: Rules whose conditions hold, but not all of whose obligations the recipient accepted.
        retention_days: The shortest of the rules that fired; 0 where none sets one.
        held: A rule lets a focal point decide.
        denied: Nothing of the entry leaves.
    """

    limits: dict[Category, Outcome]
    grants: dict[Category, list[tuple[Outcome, Rule]]]
    granting: dict[Category, list[Rule]]
    fired: list[Rule]
    unaccepted: list[Rule]
    obligations: frozenset[Obligation]
    retention_days: int
    held: bool
    denied: bool


def join(left: Outcome, right: Outcome) -> Outcome:
    """The least level at least as strict as both; generalise with pseudonymise is mask."""
    if {left, right} == {GENERALISE, PSEUDONYMISE}:
        return MASK
    return max(left, right)


def categories_of(kind: str) -> frozenset[Category]:
    """Categories to decide on for a kind of entry."""
    return CATEGORIES_BY_KIND[kind] | COMMON_CATEGORIES | {EXISTENCE}


def is_holding(condition: Condition, facts: Facts, *, unknown: bool) -> bool:
    """Whether a condition holds, counting UNKNOWN as `unknown`."""
    value = getattr(facts, condition.dimension)
    if condition.at_least is not None:
        return unknown if value == UNKNOWN_AGE else value >= condition.at_least
    present: frozenset[str] = value if isinstance(value, frozenset) else frozenset({value})
    if UNKNOWN in present:
        return unknown
    return present.isdisjoint(condition.values) == condition.negated


def is_met(conjunction: Conjunction, facts: Facts, *, unknown: bool) -> bool:
    """Whether all conditions hold, counting UNKNOWN as `unknown`."""
    return all(is_holding(condition, facts, unknown=unknown) for condition in conjunction)


def is_firing(rule: Rule, facts: Facts) -> bool:
    """Whether a rule fires: `when` holds and no exception does, with UNKNOWN counted against release in both."""
    restricts = rule.effect != "allow"
    return is_met(rule.when, facts, unknown=restricts) and not any(
        is_met(exception, facts, unknown=not restricts) for exception in rule.unless
    )


def evaluate_layer(book: Rulebook, facts: Facts, accepted: frozenset[Obligation]) -> LayerResult:
    """What a rulebook says of a situation whose kind of entry is known.

    Args:
        book: In force; whether it is, the caller has checked.
        facts: The situation.
        accepted: Obligations that the recipient has declared to honour.
    """
    categories = categories_of(facts.kind)
    fired = [rule for rule in book.rules if is_firing(rule, facts)]
    unaccepted = [rule for rule in fired if not rule.obligations <= accepted]
    fired = [rule for rule in fired if rule.effect != "allow" or rule.obligations <= accepted]
    restricting = [rule for rule in fired if rule.effect != "allow"]
    denied = any(rule.effect == "deny" or not rule.obligations <= accepted for rule in restricting)

    limits = dict.fromkeys(categories, RELEASE)
    for rule in restricting:
        for category in categories & rule.data.keys():
            limits[category] = join(limits[category], rule.data[category])
    return LayerResult(
        limits=limits,
        grants=grants_of(fired, facts.kind),
        granting={},
        fired=fired,
        unaccepted=unaccepted,
        obligations=frozenset().union(*(rule.obligations for rule in fired)),
        retention_days=min((rule.retention_days for rule in fired if rule.retention_days), default=0),
        held=any(rule.effect == "hold" for rule in fired),
        denied=denied,
    )


def grants_of(fired: Collection[Rule], kind: str) -> dict[Category, list[tuple[Outcome, Rule]]]:
    """Levels that the `allow` rules among those that fired grant, by category.

    A grant of what an entry of this kind can hold grants with it that it exists, and its reference data. A grant of
    something else (routes, where a telephone is asked for) must not betray that the telephone is held.
    """
    found: dict[Category, list[tuple[Outcome, Rule]]] = {}
    own = CATEGORIES_BY_KIND[kind] | {EXISTENCE, REFERENCE}
    for rule in fired:
        if rule.effect != "allow":
            continue
        for category in categories_of(kind) & rule.data.keys():
            found.setdefault(category, []).append((rule.data[category], rule))
        if own & rule.data.keys():
            for implied in (EXISTENCE, REFERENCE):
                found.setdefault(implied, []).append((RELEASE, rule))
    return found
