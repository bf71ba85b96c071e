"""An explanation in plain sentences, for people at the desk."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from node.policy.decision import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, PENDING, EntryOutcome
from node.policy.evaluate import EXISTENCE, WITHHOLD
from node.policy.vocabulary import CATEGORIES, DIMENSIONS, OBLIGATIONS, OUTCOMES, UNKNOWN
from node.wire.explaining_pb2 import (
    CitedRule,
    ConditionFound,
    ExplainedCategory,
    Explanation,
    Fact,
    Ungranted,
)

_OUTCOMES: Final = {
    ENTRY: "The entry leaves, as far as is said below.",
    HIT: "The peer learns that something is held, and nothing of it.",
    PENDING: "The peer learns that a focal point decides; until then nothing leaves, and then at most what follows.",
    HELD_SILENTLY: "To the peer it looks like a no-hit; a focal point reviews it in silence.",
    INVISIBLE: "To the peer it looks like a no-hit.",
}
_VISIBLE: Final = frozenset({ENTRY, HIT, PENDING})
_ABOUT: Final = {"request": "Of the request", "entry": "Of the record", "subject": "Of the subject"}


def outcome_sentence(outcome: EntryOutcome) -> str:
    """What a peer learns from an outcome."""
    return _OUTCOMES.get(outcome, "An outcome that this node does not know.")


def sentences(explanation: Explanation) -> list[str]:
    """Sentences that say what was decided and why, the whole entry first, then category by category.

    What belongs to the sentence before it begins with two blanks.
    """
    told = [outcome_sentence(explanation.outcome)]
    told += [f"Before any rule: {each.sentence}{_law(each.law)}." for each in explanation.refusals]
    told += [_denial(each) for each in explanation.denials]
    told += [f"{_subject(each)} lets a focal point decide: {_cited(each)}." for each in explanation.holds]
    for bound in explanation.red_lines:
        names = ", ".join(CATEGORIES.get(each, UNKNOWN) for each in bound.categories)
        told.append(f"Red line {bound.line.rule} kept {names} back, which the rules let leave: {_cited(bound.line)}.")
    told += _categories(explanation)
    told += _obligations(explanation)
    return told


def fact_sentences(facts: Iterable[Fact]) -> list[str]:
    """What was known, in three sentences: of the request, of the record, of its subject."""
    parts: dict[str, list[str]] = {about: [] for about in _ABOUT}
    for fact in facts:
        dimension = DIMENSIONS.get(fact.dimension)
        parts[dimension.about if dimension else "entry"].append(f"{_spelt(fact.dimension)} {_any(fact.values)}")
    return [f"{_ABOUT[about]}: {'; '.join(known)}." for about, known in parts.items() if known]


# --- categories ------------------------------------------------------------------------------------------------------


def _categories(explanation: Explanation) -> Iterator[str]:
    """One paragraph for categories with the same reasons; of what is not visible, why its existence is not told."""
    if explanation.refusals:
        return
    alike: dict[bytes, list[ExplainedCategory]] = {}
    for category in explanation.categories:
        if explanation.outcome in _VISIBLE or category.category == EXISTENCE:
            alike.setdefault(_without_name(category), []).append(category)
    for same in alike.values():
        names = ", ".join(CATEGORIES.get(each.category, UNKNOWN) for each in same)
        yield f"{names}: {_level(same[0].outcome)}."
        yield from (f"  {each}" for each in _reasons(same[0]))


def _without_name(category: ExplainedCategory) -> bytes:
    copy = ExplainedCategory()
    copy.CopyFrom(category)
    copy.ClearField("category")
    return copy.SerializeToString(deterministic=True)


def _reasons(category: ExplainedCategory) -> Iterator[str]:
    for granting in category.granting:
        yield f"{_subject(granting.rule)} grants {_level(granting.outcome)}: {_cited(granting.rule)}."
    for limit in category.limits:
        verb = "withholds it" if limit.outcome == WITHHOLD else f"lets at most {_level(limit.outcome)} pass"
        yield f"{_subject(limit.rule)} {verb}: {_cited(limit.rule)}."
    for ungranted in category.ungranted:
        yield _nearest(ungranted)


def _nearest(ungranted: Ungranted) -> str:
    if not ungranted.HasField("nearest"):
        return f"No rule of {ungranted.rulebook} grants it in any situation."
    rule = ungranted.nearest
    missing = [_needed(each) for each in ungranted.failed]
    missing += [
        f"that its exception does not hold ({' and '.join(map(_held, exception.conditions))})"
        for exception in ungranted.exceptions
    ]
    if rule.not_accepted:
        missing.append(f"that the recipient accepts {_obliged(rule.not_accepted)}")
    nearest = f"the nearest is {rule.rule}, {_cited(rule)}"
    return f"No rule of {ungranted.rulebook} grants it here; {nearest}, which needs {'; and '.join(missing)}."


def _needed(condition: ConditionFound) -> str:
    if condition.named:
        wanted = f"{'none of ' if condition.negated else ''}{_any(condition.named)}"
    else:
        wanted = f"at least {condition.at_least} days"
    return f"{_spelt(condition.dimension)} {wanted}, where there is {_there(condition)}"


def _held(condition: ConditionFound) -> str:
    return f"{_spelt(condition.dimension)} is {_there(condition)}"


def _there(condition: ConditionFound) -> str:
    return _any(condition.found) + (", which never helps release" if condition.unknown else "")


# --- rules -----------------------------------------------------------------------------------------------------------


def _obligations(explanation: Explanation) -> Iterator[str]:
    for each in explanation.obligations:
        rules = ", ".join(rule.rule for rule in each.rules)
        yield f"The recipient must honour {OBLIGATIONS.get(each.obligation, UNKNOWN)}, by {rules}."
    if explanation.retention_days:
        rules = ", ".join(f"{rule.rule} ({rule.law})" for rule in explanation.retention_rules)
        yield f"The recipient deletes it after {explanation.retention_days} days, the shortest of any rule: {rules}."


def _denial(rule: CitedRule) -> str:
    if rule.not_accepted:
        missing = _obliged(rule.not_accepted)
        return f"{_subject(rule)} forbids all, since the recipient has not accepted {missing}: {_cited(rule)}."
    return f"{_subject(rule)} forbids all: {_cited(rule)}."


def _subject(rule: CitedRule) -> str:
    if not rule.rule:
        return "The node itself"
    return f"Rule {rule.rule} of the {'floor' if rule.layer == 'floor' else 'national rulebook'}"


def _cited(rule: CitedRule) -> str:
    unverified = f"; not compared with its text: {', '.join(rule.unverified)}" if rule.unverified else ""
    return f"{rule.title}{_law(rule.law + unverified)}"


def _law(law: str) -> str:
    return f" ({law})" if law else ""


def _obliged(obligations: Sequence[int]) -> str:
    return ", ".join(OBLIGATIONS.get(each, UNKNOWN) for each in obligations)


def _level(outcome: int) -> str:
    return OUTCOMES.get(outcome, UNKNOWN).lower()


def _any(words: Sequence[str]) -> str:
    return " or ".join(words) or "nothing"


def _spelt(dimension: str) -> str:
    return dimension.replace("_", " ")
