import itertools
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import PolicyError, RulebookError
from node.policy import reference
from node.policy.compile import Bound, Compiled, _Pair, compiled
from node.policy.compile_check import verify_masks
from node.policy.decide import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, PENDING, Decision, Policy
from node.policy.evaluate import EXISTENCE, MASK, PSEUDONYMISE, RELEASE, WITHHOLD, is_firing, is_met
from node.policy.facts import Facts
from node.policy.masks import Box, Masks, SetTable
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Condition, Rule, Rulebook
from node.policy.vocabulary import AGE_BOUNDS, DIMENSIONS, UNKNOWN, Category, Obligation, Outcome
from node.wire import codes_pb2
from tests.unit.policy.books import (
    PLACE,
    acceptances,
    book_of,
    forgotten,
    rulebooks,
    rules,
    situations,
    text_of,
)
from tests.unit.policy.situations import ACCEPTED, NOW_US, OPEN, SUSPECT_PHONE, any_facts, book, but, rule
from tests.unit.policy.test_shipped_rulebooks import FOLDER, load

IDENTITY = codes_pb2.DATA_CATEGORY_IDENTITY
SOURCE = codes_pb2.DATA_CATEGORY_SOURCE


def placeless(book: Rulebook) -> Rulebook:
    """What a rulebook says, but for where it stands."""
    replace = msgspec.structs.replace
    return replace(
        book,
        sha256=b"",
        rules=tuple(replace(each, place=PLACE) for each in book.rules),
        red_lines=tuple(replace(each, place=PLACE) for each in book.red_lines),
    )


@settings(max_examples=25, deadline=None)
@given(rulebooks(), rulebooks("floor"))
def test_generated_rulebooks_are_of_the_language(release: Rulebook, floor: Rulebook) -> None:
    for each in (release, floor):
        assert placeless(parse_rulebook(text_of(each), demonstration=True)) == placeless(each)


# --- compiled = reference --------------------------------------------------------------------------------------------


def verify_same(floor: Rulebook, release: Rulebook, facts: Facts, accepted: frozenset[Obligation]) -> None:
    bound = Bound(compiled(floor, release), accepted, 16)
    decision, approved = bound.decide(facts), bound.decide_approved(facts)
    assert decision == reference.decide(floor, release, facts, accepted, NOW_US)
    assert approved == reference.decide_approved(floor, release, facts, accepted, NOW_US)
    verify_no_wider(decision, approved)


def verify_no_wider(decision: Decision, approved: Decision) -> None:
    """What an approval lets leave is what was held at the most; what was not held, it does not change."""
    assert approved.outcome in {ENTRY, HIT, INVISIBLE}
    assert approved.approvals == max(decision.approvals, 1)
    if decision.outcome == PENDING:
        assert approved.levels == decision.levels
    elif decision.outcome != HELD_SILENTLY:
        assert msgspec.structs.replace(approved, approvals=0) == decision


@settings(max_examples=150, deadline=None)
@given(st.data(), rulebooks("floor"), rulebooks(), acceptances())
def test_what_is_compiled_decides_as_the_reference(
    data: st.DataObject, floor: Rulebook, release: Rulebook, accepted: frozenset[Obligation]
) -> None:
    for _ in range(8):
        verify_same(floor, release, data.draw(situations(floor, release)), accepted)


OPEN_FLOOR = book(OPEN, "floor")


@settings(max_examples=150, deadline=None)
@given(st.data(), rulebooks(most=6), acceptances())
def test_what_is_compiled_decides_as_the_reference_under_an_open_floor(
    data: st.DataObject, release: Rulebook, accepted: frozenset[Obligation]
) -> None:
    for _ in range(8):
        verify_same(OPEN_FLOOR, release, data.draw(situations(release)), accepted)


COUNTRIES = sorted(file.stem for file in FOLDER.glob("??.yaml"))
SHIPPED = {name: load(name) for name in ("floor", *COUNTRIES)}


@settings(max_examples=500, deadline=None)
@given(any_facts(), st.sampled_from(COUNTRIES), acceptances())
def test_shipped_rulebooks_decide_as_the_reference(facts: Facts, country: str, accepted: frozenset[Obligation]) -> None:
    verify_same(SHIPPED["floor"], SHIPPED[country], facts, accepted)


def one_changed(facts: Facts) -> Iterator[Facts]:
    for name, dimension in DIMENSIONS.items():
        for value in (-1, *AGE_BOUNDS) if not dimension.values else dimension.values:
            yield but(facts, **{name: frozenset({value}) if dimension.many else value})


@pytest.mark.parametrize("country", COUNTRIES)
@pytest.mark.parametrize("base", [SUSPECT_PHONE, but(kind="PERSON", victim="YES", consent="RECORDED_BY_ORIGINATOR")])
def test_every_single_fact_decides_as_the_reference(country: str, base: Facts) -> None:
    for facts in one_changed(base):
        verify_same(SHIPPED["floor"], SHIPPED[country], facts, ACCEPTED)


def test_what_no_rulebook_lifts_is_compiled_as_the_reference_says() -> None:
    open_ = book(OPEN)
    exposures, origins = DIMENSIONS["exposure"].values, DIMENSIONS["recipient_is_origin"].values
    for exposure, origin in itertools.product(exposures, origins):
        facts = but(exposure=exposure, recipient_is_origin=origin)
        boxes = compiled(OPEN_FLOOR, SHIPPED["mx"])
        assert bool(boxes.masks.containing(facts) & boxes.exposed) == reference.is_held_silently(facts)
        for kind in DIMENSIONS["kind"].values:
            verify_same(OPEN_FLOOR, open_, but(facts, kind=kind), ACCEPTED)
    for names in itertools.combinations(("paired", "unit_type", "purpose", "kind"), 2):
        for values in itertools.product(*(DIMENSIONS[each].values for each in names)):
            changed: dict[str, Any] = dict(zip(names, values, strict=True))
            verify_same(OPEN_FLOOR, open_, but(**changed), ACCEPTED)


def test_of_a_hit_nothing_else_is_told() -> None:
    """Every kind of entry has a source and roles; they are no part of a hit, whoever grants them."""
    granting = rule(
        effect="allow", when="{paired: ['YES']}", data="{EXISTENCE: release, SOURCE: mask, IDENTITY: release}"
    )
    floor, release = book(granting, "floor"), book(granting)
    for kind, outcome in (("ROUTE", HIT), ("TELECOM", ENTRY)):
        decision = Policy(floor, release, ACCEPTED).decide(but(kind=kind), NOW_US)
        assert decision.outcome == outcome
        assert {each.category for each in decision.grants} == ({EXISTENCE} if outcome == HIT else {IDENTITY, SOURCE})
        assert (decision.level(SOURCE), decision.level(IDENTITY)) == (
            (WITHHOLD, WITHHOLD) if outcome == HIT else (MASK, RELEASE)
        )
        verify_same(floor, release, but(kind=kind), ACCEPTED)


# --- the tables ------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.data(), rulebooks())
def test_a_situation_is_in_the_boxes_that_hold(data: st.DataObject, release: Rulebook) -> None:
    boxes = [Box(each.when, unknown=unknown) for each in release.rules for unknown in (False, True)]
    masks = Masks(boxes)
    facts = data.draw(situations(release))
    found = masks.containing(facts)
    for bit, box in enumerate(boxes):
        assert bool(found >> bit & 1) == is_met(box.conjunction, facts, unknown=box.unknown)


@settings(max_examples=80, deadline=None)
@given(st.data(), rulebooks("floor"), rulebooks())
def test_rules_fire_as_in_the_reference(data: st.DataObject, floor: Rulebook, release: Rulebook) -> None:
    pair = compiled(floor, release)
    facts = data.draw(situations(floor, release))
    firing = list(pair.rules_where(pair.firing(pair.masks.containing(facts))))
    assert firing == [each for each in (*floor.rules, *release.rules) if is_firing(each, facts)]


@pytest.mark.parametrize("name", sorted(DIMENSIONS))
def test_a_wrong_table_is_found(name: str) -> None:
    """One bit of one value, in every dimension: also of a set, of UNKNOWN, and of a box that does not ask."""
    values: tuple[Any, ...] = DIMENSIONS[name].values or (-1, *AGE_BOUNDS)
    condition = Condition(name, frozenset({values[0]})) if DIMENSIONS[name].values else Condition(name, at_least=30)
    other = Condition("paired" if name != "paired" else "purpose", frozenset({"YES" if name != "paired" else "TREND"}))
    boxes = [Box((condition,), unknown=True), Box((other,), unknown=False), Box((other, condition), unknown=False)]
    for value in values:
        for bit in range(len(boxes)):
            masks = Masks(boxes)
            verify_masks(masks)
            key = frozenset({value}) if DIMENSIONS[name].many else value
            masks.tables[name][key] ^= 1 << bit
            with pytest.raises(RulebookError, match=f"differ where {name} is"):
                verify_masks(masks)


def test_a_wrong_table_of_two_values_is_found() -> None:
    masks = Masks([Box((Condition("role", frozenset({"SUSPECT"})),), unknown=False)])
    masks.tables["role"][frozenset({"SUSPECT", UNKNOWN})] |= 1
    with pytest.raises(RulebookError, match="differ where role is"):
        verify_masks(masks)


def test_a_missing_table_is_found() -> None:
    masks = Masks([Box((Condition("role", frozenset({"SUSPECT"})),), unknown=False)])
    del masks.tables["role"]
    with pytest.raises(RulebookError, match="whether role is asked"):
        verify_masks(masks)


@pytest.mark.parametrize(
    "conjunction",
    [
        (Condition("minor", frozenset({"IS_MINOR"})), Condition("minor", frozenset({"IS_MINOR"}))),
        (Condition("minor", at_least=30),),
        (Condition("record_age", frozenset({"30"})),),
        (Condition("colour", frozenset({"RED"})),),
    ],
)
def test_conditions_that_no_text_can_state_are_not_compiled(conjunction: tuple[Condition, ...]) -> None:
    with pytest.raises(RulebookError):
        Masks([Box(conjunction, unknown=False)])


def test_a_fact_outside_the_vocabulary_is_an_error() -> None:
    policy = Policy(SHIPPED["floor"], SHIPPED["mx"], ACCEPTED)
    for facts in (but(purpose="TOURISM"), but(crime=frozenset({"LITTERING"}))):
        with pytest.raises(PolicyError, match="vocabulary"):
            policy.decide(facts, NOW_US)


class Slippery(frozenset[str]):
    """Words that the reference, which looks through them, finds in no fact, though they are there."""

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __and__(self, _other: object) -> frozenset[str]:
        return frozenset({"INVESTIGATE"})


def test_rules_that_the_reference_reads_otherwise_decide_nothing() -> None:
    (open_,) = OPEN_FLOOR.rules
    condition = Condition("purpose", Slippery({"INVESTIGATE"}))
    for changed in ({"when": (condition,)}, {"unless": ((condition,),)}):
        release = book_of([msgspec.structs.replace(open_, **changed)])
        with pytest.raises(RulebookError, match="differ where purpose is INVESTIGATE"):
            Policy(OPEN_FLOOR, release, ACCEPTED)


def test_tables_of_sets_forget() -> None:
    table = Masks([Box((Condition("crime", frozenset({"TRAFFICKING"})),), unknown=False)]).tables["crime"]
    assert isinstance(table, SetTable)
    crimes = [each for each in DIMENSIONS["crime"].values if each != UNKNOWN]
    sets = [frozenset(each) for size in (2, 4, 6) for each in itertools.combinations(crimes, size)]
    assert len(sets) > 4096
    for values in sets:
        assert table[values] == ("TRAFFICKING" in values)
        assert len(table) <= 4096


def test_recipients_share_what_was_compiled() -> None:
    floor, release = SHIPPED["floor"], SHIPPED["mx"]
    assert compiled(floor, release) is compiled(floor, release)
    assert compiled(floor, release) is not compiled(floor, load("mx"))
    assert isinstance(compiled(floor, release), Compiled)
    assert _Pair(floor, release) == _Pair(floor, release)
    for other in (_Pair(load("floor"), release), _Pair(floor, load("mx")), _Pair(release, floor), (floor, release)):
        assert _Pair(floor, release) != other


# --- laws that hold for every rulebook and situation -----------------------------------------------------------------

# What leaves by itself is compared in the published order of outcomes, category by category; what waits for a focal
# point does not leave by itself. Obligations are no part of the order: an allow may well add some.


def leaving(decision: Decision) -> dict[Category, Outcome]:
    if decision.outcome not in {ENTRY, HIT}:
        return {category: WITHHOLD for category, _ in decision.levels}
    return dict(decision.levels)


def releases_no_more(left: Decision, right: Decision) -> bool:
    """Whether of no category more leaves by the left decision; where both wait, whether no more may."""
    more, less = leaving(right), leaving(left)
    if left.outcome == right.outcome == PENDING:
        more, less = dict(right.levels), dict(left.levels)
    return all(less.get(category, WITHHOLD) >= more.get(category, WITHHOLD) for category in less.keys() | more.keys())


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Rulebook, Rulebook]:
    """Two rulebooks, small enough that their rules meet."""
    floor, release = draw(rulebooks("floor", most=4)), draw(rulebooks(most=4))
    return draw(st.sampled_from((OPEN_FLOOR, floor))), release


def decided(books: tuple[Rulebook, Rulebook], facts: Facts, accepted: frozenset[Obligation]) -> Decision:
    return Bound(compiled(*books), accepted, 1).decide(facts)


def with_rule(books: tuple[Rulebook, Rulebook], added: Rule, *, to_floor: bool) -> tuple[Rulebook, Rulebook]:
    floor, release = books
    if to_floor:
        return book_of((*floor.rules, added), "floor", floor.red_lines), release
    return floor, book_of((*release.rules, added), "release", release.red_lines)


@settings(max_examples=150, deadline=None)
@given(st.data(), pairs(), acceptances())
def test_a_restriction_more_never_releases_more(
    data: st.DataObject, books: tuple[Rulebook, Rulebook], accepted: frozenset[Obligation]
) -> None:
    added = data.draw(rules("floor", ("limit", "hold", "deny", "attach"), "ADDED"))
    changed = with_rule(books, added, to_floor=data.draw(st.booleans()))
    for _ in range(5):
        facts = data.draw(situations(*changed))
        assert releases_no_more(decided(changed, facts, accepted), decided(books, facts, accepted))


@settings(max_examples=150, deadline=None)
@given(st.data(), pairs(), acceptances())
def test_an_allow_more_never_releases_less(
    data: st.DataObject, books: tuple[Rulebook, Rulebook], accepted: frozenset[Obligation]
) -> None:
    changed = with_rule(books, data.draw(rules("floor", ("allow",), "ADDED")), to_floor=data.draw(st.booleans()))
    for _ in range(5):
        facts = data.draw(situations(*changed))
        assert releases_no_more(decided(books, facts, accepted), decided(changed, facts, accepted))


@settings(max_examples=150, deadline=None)
@given(st.data(), pairs(), acceptances())
def test_a_fact_less_never_releases_more(
    data: st.DataObject, books: tuple[Rulebook, Rulebook], accepted: frozenset[Obligation]
) -> None:
    for _ in range(3):
        facts = data.draw(situations(*books))
        before = decided(books, facts, accepted)
        for name in DIMENSIONS:
            assert releases_no_more(decided(books, forgotten(facts, name), accepted), before), name


@settings(max_examples=80, deadline=None)
@given(st.data(), rulebooks("floor", most=6), rulebooks(most=6), acceptances(), st.randoms(use_true_random=False))
def test_the_order_of_rules_never_matters(
    data: st.DataObject, floor: Rulebook, release: Rulebook, accepted: frozenset[Obligation], random: Random
) -> None:
    def shuffled(each: Rulebook) -> Rulebook:
        return book_of(random.sample(each.rules, len(each.rules)), each.layer, each.red_lines)

    books, others = (floor, release), (shuffled(floor), shuffled(release))
    for _ in range(5):
        facts = data.draw(situations(*books))
        one, other = decided(books, facts, accepted), decided(others, facts, accepted)
        assert msgspec.structs.replace(one, fired=(), grants=()) == msgspec.structs.replace(other, fired=(), grants=())
        assert (set(one.fired), set(one.grants)) == (set(other.fired), set(other.grants))


def test_layers_that_coarsen_otherwise_keep_these_laws() -> None:
    """A floor that pseudonymises, under rules that generalise, or pseudonymise, or both."""

    def level(*granted: str, limits: str = "") -> Outcome:
        floor = book(rule(id="F", effect="allow", when="{paired: ['YES']}", data="{IDENTITY: pseudonymise}"), "floor")
        rows = [
            rule(id=each, effect="allow", when="{paired: ['YES']}", data=f"{{IDENTITY: {each}}}") for each in granted
        ]
        return decided((floor, book("".join(rows) + limits)), SUSPECT_PHONE, ACCEPTED).level(IDENTITY)

    assert level("pseudonymise") == level("pseudonymise", "generalise") == PSEUDONYMISE
    assert level("generalise") == MASK
    assert level("pseudonymise", "generalise", limits=rule(data="{IDENTITY: pseudonymise}")) == PSEUDONYMISE
