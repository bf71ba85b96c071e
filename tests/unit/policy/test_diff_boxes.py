"""Boxes against the reference evaluator: what they say is so everywhere in them, and they leave nothing out."""

from typing import Any

import msgspec
import z3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.policy.decision import HIT
from node.policy.diff import Difference, diff
from node.policy.diff_ranges import (
    APPROVALS,
    HOLD,
    RETENTION,
    WHATEVER,
    Change,
    Pair,
    Situation,
    changes_between,
    outcomes_in,
)
from node.policy.diff_search import Box
from node.policy.diff_shared import is_forbidden, shared_by
from node.policy.evaluate import EXISTENCE, REFERENCE, WITHHOLD, categories_of, evaluate_layer, is_firing
from node.policy.prove.anything import anything
from node.policy.prove.variables import ACCEPTED, SETS, Variables
from node.policy.reference import decide, is_held_silently, refusals
from node.policy.rules import Layer, Rule, Rulebook
from node.policy.vocabulary import (
    CATEGORIES_BY_KIND,
    CATEGORY_NUMBERS,
    DIMENSIONS,
    OBLIGATION_NUMBERS,
    OUTCOME_NUMBERS,
    Category,
)
from node.schema import COMMON_CATEGORIES
from tests.unit.policy.books import acceptances, book_of, facts_of, red_lines, rulebooks, rules, situations

HIDDEN_IN_A_HIT = COMMON_CATEGORIES - {EXISTENCE, REFERENCE}


def pairs_of(difference: Difference) -> tuple[Pair, Pair]:
    def in_force(book: Rulebook) -> Rulebook:
        return msgspec.structs.replace(book, valid_from_us=0, valid_until_us=1 << 62)

    old, new = in_force(difference.old), in_force(difference.new)
    if difference.old.layer == "floor":
        return (old, anything("release")), (new, anything("release"))
    floor = in_force(difference.floor) if difference.floor else anything("floor")
    return (floor, old), (floor, new)


def can_be(situation: Situation, pair: Pair) -> bool:
    """Whether facts can be derived so, and rules decide on them."""
    variables = Variables([])
    claim = z3.substitute(variables.well_formed(), *variables.pinned(*situation))
    is_well_formed = z3.is_true(z3.simplify(claim))
    return is_well_formed and not refusals(*pair, situation.facts, 0) and not is_held_silently(situation.facts)


def is_hit(pair: Pair, situation: Situation) -> bool:
    return decide(*pair, *situation, 0).outcome == HIT


def is_excepted(change: Change, situation: Situation, old: Pair, new: Pair) -> bool:
    """Whether a change is not spoken of here, in the words of `Difference` and `Change`."""
    shared, category = shared_by(old, new), CATEGORY_NUMBERS.get(change.subject)
    if change.subject == HOLD:
        return any(is_firing(rule, situation.facts) for rule in shared.holds)
    if change.subject == APPROVALS:
        floor_asks = (rule for rule in old[0].rules if rule.approvals > 1)
        return change.within_floor and any(is_firing(rule, situation.facts) for rule in floor_asks)
    if is_forbidden(situation, shared.forbidding(category), category):
        return True
    if WHATEVER in {change.before, change.after}:
        found = changes_between(outcomes_in(situation, old), outcomes_in(situation, new), situation.facts.kind)
        if change.subject not in found or found[change.subject].kind != change.kind:
            return True
    lacks = category not in categories_of(situation.facts.kind) if category else is_void(change, situation, old, new)
    return lacks or (change.within_floor and is_beyond_the_floor(change, situation, old, new))


def is_void(change: Change, situation: Situation, old: Pair, new: Pair) -> bool:
    """Whether obligations or retention mean nothing, or a rule of both versions deletes as soon anyway."""
    if not outcomes_in(situation, old).levels or not outcomes_in(situation, new).levels:
        return True
    if change.subject != RETENTION:
        return False
    least = min(int(each) for each in (change.before, change.after) if each != "0")
    return any(
        0 < rule.retention_days <= least and is_firing(rule, situation.facts)
        for rule in shared_by(old, new).rules
        if rule.effect != "allow" or rule.obligations <= situation.accepted
    )


def is_beyond_the_floor(change: Change, situation: Situation, old: Pair, new: Pair) -> bool:
    category = CATEGORY_NUMBERS.get(change.subject)
    of_it = {category or EXISTENCE, EXISTENCE}
    rules = msgspec.structs.replace(old[0], red_lines=())
    alone = outcomes_in(situation, (rules, anything("release"))).levels
    leaving = EXISTENCE if category is None or category in HIDDEN_IN_A_HIT else category
    crossed = [set(over) for pair in (old, new) for _, over in outcomes_in(situation, pair).crossed]
    if alone.get(leaving, WITHHOLD) == WITHHOLD or any(over & of_it for over in crossed):
        return True
    if category:
        return is_beside_the_rest(change, category, situation, old, new)
    floor = evaluate_layer(old[0], *situation)
    return change.subject != RETENTION and OBLIGATION_NUMBERS[change.subject] in floor.obligations


def is_beside_the_rest(change: Change, category: Category, situation: Situation, old: Pair, new: Pair) -> bool:
    kind = situation.facts.kind
    if category not in HIDDEN_IN_A_HIT or (category in CATEGORIES_BY_KIND[kind] and not change.follows):
        return False
    if not change.follows:
        alone = [(anything("floor"), each[1]) for each in (old, new)]
        return any(is_hit(pair, situation) for pair in (old, new, *alone))
    hit, other = (new, old) if change.after == "withhold" else (old, new)
    return (
        category in CATEGORIES_BY_KIND[kind]
        or not is_hit(hit, situation)
        or is_hit(other, situation)
        or not outcomes_in(situation, other).levels
    )


def takes_place(change: Change, situation: Situation, old: Pair, new: Pair) -> bool:
    before, after = outcomes_in(situation, old), outcomes_in(situation, new)
    if change.subject == HOLD:
        return (before.held, after.held) == (change.before == "yes", change.after == "yes")
    if change.subject == APPROVALS:
        return before.held and after.held and (before.twice, after.twice) == (change.before == "2", change.after == "2")
    category = CATEGORY_NUMBERS.get(change.subject)
    if category:
        is_held = any(is_firing(rule, situation.facts) for rule in shared_by(old, new).holds)
        if change.after not in {"withhold", WHATEVER} and not is_held and after.held != change.on_approval:
            return False
        pairs = [(anything("floor"), each[1]) for each in (old, new)] if change.within_floor else (old, new)
        levels = [outcomes_in(situation, pair).levels.get(category, WITHHOLD) for pair in pairs]
        return all(
            word == WHATEVER or (change.follows and word == "withhold") or level == OUTCOME_NUMBERS[word]
            for level, word in zip(levels, (change.before, change.after), strict=True)
        )
    if change.subject == RETENTION:
        days = [int(change.before), int(change.after)]
        floor = evaluate_layer(old[0], *situation)
        if change.within_floor and floor.retention_days:
            days = [min(each or floor.retention_days, floor.retention_days) for each in days]
        return days == [before.days, after.days]
    obligation = OBLIGATION_NUMBERS[change.subject]
    expected = (change.before == "yes", change.after == "yes")
    return (obligation in before.obligations, obligation in after.obligations) == expected


def verify(difference: Difference, situation: Situation) -> int:
    """Check what boxes say of a situation, and that they say all; return how many changes they tell of it."""
    old, new = pairs_of(difference)
    told = set()
    for box in difference.boxes:
        for change in box.changes if box.has(situation) else ():
            if not is_excepted(change, situation, old, new):
                assert takes_place(change, situation, old, new), (change, situation, difference.text)
                told.add((box.kind, change.subject))
    before, after = outcomes_in(situation, old), outcomes_in(situation, new)
    for change in changes_between(before, after, situation.facts.kind).values():
        if (
            change.subject in CATEGORY_NUMBERS
            or change.subject in {HOLD, APPROVALS}
            or (before.levels and after.levels)
        ):
            assert difference.verdict != "same"
            assert change.kind in difference.unfinished or (change.kind, change.subject) in told, (
                change,
                situation,
                difference.text,
            )
    return len(told)


def _with_other_approvals(rule: Rule) -> Rule:
    return msgspec.structs.replace(rule, approvals=3 - rule.approvals) if rule.effect == "hold" else rule


@st.composite
def versions(draw: st.DrawFn, layer: Layer) -> tuple[Rulebook, Rulebook]:
    """A rulebook, and what it became."""
    old = draw(rulebooks(layer, most=4, lines=1))
    found = list(old.rules)
    lines = list(old.red_lines)
    for number in range(draw(st.integers(1, 2))):
        step = draw(st.sampled_from(("add", "remove", "replace", "line", "approvals")))
        if step == "approvals":
            found = [_with_other_approvals(rule) for rule in found]
        if step in {"remove", "replace"} and found:
            found.pop(draw(st.integers(0, len(found) - 1)))
        if step in {"add", "replace"}:
            found.append(draw(rules(layer, name=f"N{number}")))
        if step == "line":
            lines = [] if lines else [draw(red_lines("L"))]
    return old, book_of(found, layer, lines)


@st.composite
def inside(draw: st.DrawFn, box: Box) -> Situation:
    """Some situation near the example of a box, and mostly in it."""
    ranges = {each.dimension: each for each in box.where}
    changed: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(tuple(DIMENSIONS)), max_size=5, unique=True)):
        if name not in ranges or name == "record_age":
            changed[name] = draw(facts_of(name))
        elif name in SETS:
            chosen = [draw(st.sampled_from(sorted(words))) for words in ranges[name].any_of]
            changed[name] = (draw(facts_of(name)) - ranges[name].none_of) | set(chosen)
        else:
            changed[name] = draw(st.sampled_from(sorted(ranges[name].any_of[0])))
    accepted = box.example.accepted if ACCEPTED in ranges else draw(acceptances())
    return Situation(msgspec.structs.replace(box.example.facts, **changed), accepted)


SLOW = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@SLOW
@given(rulebooks("floor", most=4, lines=2), versions("release"), st.data())
def test_boxes_tell_what_differs_under_a_floor(
    floor: Rulebook, books: tuple[Rulebook, Rulebook], data: st.DataObject
) -> None:
    check(diff(*books, floor=floor, most_boxes=40, most_questions=1_500), data, floor, *books)


@SLOW
@given(versions("floor"), st.data())
def test_boxes_tell_what_differs_between_floors(books: tuple[Rulebook, Rulebook], data: st.DataObject) -> None:
    check(diff(*books, floor=None, most_boxes=40, most_questions=1_500), data, *books)


def check(difference: Difference, data: st.DataObject, *books: Rulebook) -> None:
    old, new = pairs_of(difference)
    for box in difference.boxes:
        assert verify(difference, box.example)
    for _ in range(10):
        places = [situations(*books).flatmap(lambda facts: acceptances().map(lambda got: Situation(facts, got)))]
        places += [inside(box) for box in difference.boxes]
        situation = data.draw(st.one_of(*places[:1], *places[1:]))
        if can_be(situation, old) and can_be(situation, new):
            verify(difference, situation)
