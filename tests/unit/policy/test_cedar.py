"""Grants and denials against Cedar, an evaluator that shares no line with ours."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.policy.decide import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, Policy
from node.policy.evaluate import EXISTENCE, WITHHOLD, categories_of
from node.policy.facts import Facts
from node.policy.rules import Rulebook
from node.policy.vocabulary import CATEGORIES_BY_KIND, Obligation
from node.wire import codes_pb2
from tests.unit.policy.books import acceptances, rulebooks, situations
from tests.unit.policy.cedar import permitted, policies_of
from tests.unit.policy.situations import ACCEPTED, NOW_US, OPEN, SUSPECT_PHONE, any_facts, book, but, rule
from tests.unit.policy.test_shipped_rulebooks import FOLDER, load

IDENTITY = codes_pb2.DATA_CATEGORY_IDENTITY
OPEN_FLOOR = book(OPEN, "floor")
COUNTRIES = sorted(file.stem for file in FOLDER.glob("??.yaml"))
SHIPPED: Mapping[str, Rulebook] = {name: load(name) for name in ("floor", *COUNTRIES)}
POLICIES = {name: policies_of(each) for name, each in SHIPPED.items()}
POLICIES["open"] = policies_of(OPEN_FLOOR)


def verify_same(books: Mapping[str, Rulebook], facts: Facts, accepted: frozenset[Obligation]) -> None:
    """What leaves by both rulebooks, and what Cedar permits by both."""
    floor, release = books.values()
    decision = Policy(floor, release, accepted).decide(facts, NOW_US)
    categories = categories_of(facts.kind) if facts.kind in CATEGORIES_BY_KIND else frozenset({EXISTENCE})
    sets = [POLICIES[name] if name in POLICIES else policies_of(each) for name, each in books.items()]
    allowed = frozenset.intersection(*(permitted(each, facts, accepted, categories) for each in sets))
    if decision.outcome in {INVISIBLE, HELD_SILENTLY}:
        assert EXISTENCE not in allowed
        return
    if decision.outcome == HIT:
        assert allowed.isdisjoint(CATEGORIES_BY_KIND[facts.kind])
        allowed &= {category for category, level in decision.levels if level != WITHHOLD}
    assert {category for category, level in decision.levels if level != WITHHOLD} == allowed
    assert decision.outcome != ENTRY or allowed & CATEGORIES_BY_KIND[facts.kind]


@settings(max_examples=120, deadline=None)
@given(st.data(), rulebooks(lines=0), acceptances())
def test_cedar_permits_what_any_rules_release(
    data: st.DataObject, release: Rulebook, accepted: frozenset[Obligation]
) -> None:
    for _ in range(4):
        verify_same({"open": OPEN_FLOOR, "generated": release}, data.draw(situations(release)), accepted)


@settings(max_examples=60, deadline=None)
@given(st.data(), rulebooks("floor", lines=0), rulebooks(lines=0), acceptances())
def test_cedar_permits_what_any_two_layers_release(
    data: st.DataObject, floor: Rulebook, release: Rulebook, accepted: frozenset[Obligation]
) -> None:
    for _ in range(4):
        verify_same({"any": floor, "generated": release}, data.draw(situations(floor, release)), accepted)


@pytest.mark.parametrize("country", COUNTRIES)
@settings(max_examples=150, deadline=None)
@given(facts=any_facts() | st.deferred(lambda: situations(*SHIPPED.values())), accepted=acceptances())
def test_cedar_permits_what_the_shipped_rules_release(
    facts: Facts, country: str, accepted: frozenset[Obligation]
) -> None:
    verify_same({"floor": SHIPPED["floor"], country: SHIPPED[country]}, facts, accepted)


def test_the_oracle_tells_a_wrong_rule() -> None:
    """A rule that is not in the Cedar policies is noticed in what leaves."""
    limited = book(OPEN + rule(data="{IDENTITY: withhold}"))
    categories = categories_of("TELECOM")
    open_, capped = (
        permitted(policies_of(each), SUSPECT_PHONE, ACCEPTED, categories) for each in (book(OPEN), limited)
    )
    assert open_ - capped == {category for category in categories if category == IDENTITY}
    assert not permitted(policies_of(limited), but(paired="NO"), ACCEPTED, categories)
