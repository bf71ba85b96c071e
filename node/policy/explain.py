"""Why an entry was, or would be, released, redacted, held or invisible.

It tells what is hidden, so it never leaves the country.

It follows the reference evaluator, so that what people are told is what the published semantics say, and not what a
compiler made of them.
"""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from node.policy.decision import PENDING
from node.policy.evaluate import WITHHOLD, LayerResult, grants_of, is_holding, is_met
from node.policy.facts import UNKNOWN_AGE, Facts
from node.policy.reference import Weighed, decide, decide_approved, is_held_silently, refusals, weigh
from node.policy.rules import Condition, RedLine, Rule, Rulebook
from node.policy.vocabulary import DIMENSIONS, UNKNOWN, Category, Obligation, Outcome
from node.wire import codes_pb2
from node.wire.explaining_pb2 import (
    BoundRedLine,
    CitedRule,
    ConditionFound,
    ExceptionFound,
    ExplainedCategory,
    ExplainedObligation,
    Explanation,
    Fact,
    Granting,
    Limit,
    StructuralRefusal,
    Ungranted,
)

_ASYLUM: Final = codes_pb2.DATA_CATEGORY_ASYLUM
_REFUSALS: Final = {
    "no-pairing": ("two focal points have not signed the pairing with this country", ""),
    "unit-type": ("nothing leaves for immigration enforcement", "1951 Convention art. 33"),
    "purpose": ("this purpose is never lawful here", "1951 Convention art. 33"),
    "kind": ("this node does not know this kind of entry", ""),
    "no-floor": ("no multilateral floor is in force", ""),
    "no-release-rulebook": ("no release rulebook is in force", ""),
}
# The node's own, which no rulebook states.
_ASYLUM_LIMIT: Final = CitedRule(title="data on asylum goes to no peer", law="8 CFR 208.6")
_SILENT_HOLD: Final = CitedRule(title="a state of origin asks about somebody exposed to it")


def explain(
    floor: Rulebook | None,
    release: Rulebook | None,
    facts: Facts,
    accepted: frozenset[Obligation],
    now_us: int,
    *,
    language: str = "en",
    approved: bool = False,
) -> Explanation:
    """Explain what `node.policy.reference.decide` decides, or `decide_approved`; the arguments are theirs.

    `language` (ISO 639-1) is that of rules' titles, where the rulebook has it; else they are in English.
    """
    decision = (decide_approved if approved else decide)(floor, release, facts, accepted, now_us)
    told = Explanation(
        outcome=decision.outcome,
        facts=facts_told(facts),
        rulebooks=[f"{book.name} {book.version}" for book in (floor, release) if book is not None],
    )
    refused = refusals(floor, release, facts, now_us)
    if floor is None or release is None or refused:
        for code in refused:
            sentence, law = _REFUSALS[code]
            told.refusals.append(StructuralRefusal(code=code, sentence=sentence, law=law))
        told.categories.extend(ExplainedCategory(category=each, outcome=level) for each, level in decision.levels)
        return told

    weighed, telling = weigh(floor, release, facts, accepted, approved=approved), _Telling(language, accepted)
    layers = list(zip((floor, release), weighed.layers, strict=True))
    for category, level in decision.levels:
        told.categories.append(_category(category, level, layers, facts, telling))
    for book, layer in layers:
        told.denials.extend(telling.cited(book, rule) for rule in layer.fired if _is_denying(rule, accepted))
        told.holds.extend(telling.cited(book, rule) for rule in layer.fired if rule.effect == "hold")
    if is_held_silently(facts):
        told.holds.append(_SILENT_HOLD)
    _tell_red_lines(told, weighed, (floor, release), language)
    if decision.obligations or decision.outcome == PENDING:
        _tell_obligations(told, layers, telling)
    return told


def facts_told(facts: Facts) -> list[Fact]:
    """Facts in the words of rulebooks, in the order of the vocabulary; a set may be empty."""
    return [Fact(dimension=name, values=_words(facts, name)) for name in DIMENSIONS]


class _Telling(NamedTuple):
    """To whom and of whom is told."""

    language: str
    accepted: frozenset[Obligation]

    def cited(self, book: Rulebook, rule: Rule) -> CitedRule:
        return CitedRule(
            layer=book.layer,
            rule=rule.id,
            title=rule.titles.get(self.language, rule.titles["en"]),
            law=rule.law,
            unverified=[each.law for each in rule.citations if not each.verified],
            not_accepted=sorted(rule.obligations - self.accepted),
        )


def _words(facts: Facts, dimension: str) -> list[str]:
    value = getattr(facts, dimension)
    if isinstance(value, frozenset):
        return sorted(value)
    return [UNKNOWN if value == UNKNOWN_AGE else str(value)]


def _is_denying(rule: Rule, accepted: frozenset[Obligation]) -> bool:
    return rule.effect == "deny" or (rule.effect != "allow" and not rule.obligations <= accepted)


def _category(
    category: Category,
    level: Outcome,
    layers: Iterable[tuple[Rulebook, LayerResult]],
    facts: Facts,
    telling: _Telling,
) -> ExplainedCategory:
    told = ExplainedCategory(category=category, outcome=level)
    for book, layer in layers:
        granted = grants_of(layer.fired, facts.kind)
        if level != WITHHOLD:
            best = {rule.id for rule in layer.granting[category]}
            told.granting.extend(
                Granting(rule=telling.cited(book, rule), outcome=named)
                for rule, named in _named(granted[category])
                if rule.id in best
            )
        for rule in layer.fired:
            if rule.effect == "limit" and category in rule.data:
                told.limits.append(Limit(rule=telling.cited(book, rule), outcome=rule.data[category]))
        if category not in granted:
            told.ungranted.append(_ungranted(book, category, facts, telling))
    if category == _ASYLUM:
        told.limits.append(Limit(rule=_ASYLUM_LIMIT, outcome=WITHHOLD))
    return told


def _named(grants: Iterable[tuple[Outcome, Rule]]) -> list[tuple[Rule, Outcome]]:
    """Each rule once, with the least strict level that it names or implies."""
    found: dict[str, tuple[Rule, Outcome]] = {}
    for level, rule in grants:
        found[rule.id] = (rule, min(level, found.get(rule.id, (rule, level))[1]))
    return list(found.values())


# --- the nearest grant -----------------------------------------------------------------------------------------------


class _Failures(NamedTuple):
    rule: Rule
    failed: list[Condition]
    exceptions: list[tuple[Condition, ...]]
    not_accepted: frozenset[Obligation]

    def number(self) -> int:
        return len(self.failed) + len(self.exceptions) + bool(self.not_accepted)


def _ungranted(book: Rulebook, category: Category, facts: Facts, telling: _Telling) -> Ungranted:
    told = Ungranted(layer=book.layer, rulebook=book.name)
    granting = [rule for rule in book.rules if category in grants_of([rule], facts.kind)]
    if granting:
        nearest = min((_failures(rule, facts, telling.accepted) for rule in granting), key=_Failures.number)
        told.nearest.CopyFrom(telling.cited(book, nearest.rule))
        told.failed.extend(_found(each, facts) for each in nearest.failed)
        for exception in nearest.exceptions:
            told.exceptions.append(ExceptionFound(conditions=[_found(each, facts) for each in exception]))
    return told


def _failures(rule: Rule, facts: Facts, accepted: Collection[Obligation]) -> _Failures:
    """What keeps an `allow` from firing; UNKNOWN fails its conditions, and meets those of its exceptions."""
    return _Failures(
        rule,
        [each for each in rule.when if not is_holding(each, facts, unknown=False)],
        [each for each in rule.unless if is_met(each, facts, unknown=True)],
        rule.obligations.difference(accepted),
    )


def _found(condition: Condition, facts: Facts) -> ConditionFound:
    found = _words(facts, condition.dimension)
    return ConditionFound(
        dimension=condition.dimension,
        found=found,
        named=sorted(condition.values),
        negated=condition.negated,
        at_least=condition.at_least or 0,
        unknown=UNKNOWN in found,
    )


# --- of the entry as a whole -----------------------------------------------------------------------------------------


def _tell_red_lines(told: Explanation, weighed: Weighed, books: Iterable[Rulebook], language: str) -> None:
    layer_of = {id(line): book.layer for book in books for line in book.red_lines}
    for line, over in weighed.crossed:
        cited = _cited_line(line, layer_of[id(line)], language)
        told.red_lines.append(BoundRedLine(line=cited, categories=sorted(over)))


def _cited_line(line: RedLine, layer: str, language: str) -> CitedRule:
    return CitedRule(layer=layer, rule=line.id, title=line.titles.get(language, line.titles["en"]), law=line.law)


def _tell_obligations(told: Explanation, layers: Iterable[tuple[Rulebook, LayerResult]], telling: _Telling) -> None:
    fired = [(book, rule) for book, layer in layers for rule in layer.fired]
    for obligation in sorted({each for _, rule in fired for each in rule.obligations}):
        rules = [telling.cited(book, rule) for book, rule in fired if obligation in rule.obligations]
        told.obligations.append(ExplainedObligation(obligation=obligation, rules=rules))
    told.retention_days = min((rule.retention_days for _, rule in fired if rule.retention_days), default=0)
    if told.retention_days:
        shortest = [(book, rule) for book, rule in fired if rule.retention_days == told.retention_days]
        told.retention_rules.extend(telling.cited(book, rule) for book, rule in shortest)
