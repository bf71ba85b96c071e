"""What focal points choose is never more than what the rules let leave, whatever the rules and whatever they choose."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import PolicyError
from node.policy.decide import ENTRY, HIT, INVISIBLE, Policy
from node.policy.evaluate import EXISTENCE, REFERENCE, WITHHOLD, join
from node.policy.narrowing import categories_in, for_emergency, forbidden, leaving, narrowed
from node.policy.redact import redact
from node.policy.rules import Rulebook
from node.policy.vocabulary import CATEGORY_NUMBERS, Category
from node.wire import codes_pb2
from node.wire.entry_pb2 import Entry, Telecom
from node.wire.exchange_pb2 import ReleasedEntry
from tests.unit.policy.books import acceptances, rulebooks, situations
from tests.unit.policy.situations import ACCEPTED, NOW_US, OPEN, SUSPECT_PHONE, book, but, rule

TELECOM = codes_pb2.DATA_CATEGORY_TELECOM
IDENTITY = codes_pb2.DATA_CATEGORY_IDENTITY
LOCATION = codes_pb2.DATA_CATEGORY_LOCATION
FLOOR = book(OPEN, "floor")


@settings(max_examples=150, deadline=None)
@given(
    st.data(),
    rulebooks("floor"),
    rulebooks(),
    acceptances(),
    st.frozensets(st.sampled_from([*CATEGORY_NUMBERS.values()])),
)
def test_a_choice_only_takes_away(
    data: st.DataObject,
    floor: Rulebook,
    release: Rulebook,
    accepted: frozenset[codes_pb2.Obligation.ValueType],
    keep: frozenset[Category],
) -> None:
    facts = data.draw(situations(floor, release))
    most = Policy(floor, release, accepted).decide_approved(facts, NOW_US)
    try:
        chosen = narrowed(most, facts.kind, keep)
    except PolicyError:
        assert most.outcome == INVISIBLE or not leaving(most) & keep or most.outcome == ENTRY
        return
    assert most.outcome == chosen.outcome != INVISIBLE
    for category, level in chosen.levels:
        assert join(level, most.level(category)) == level
        assert level == WITHHOLD or category in keep | {EXISTENCE, REFERENCE} or most.outcome == HIT
    assert set(chosen.grants) <= set(most.grants)
    assert (chosen.obligations, chosen.retention_days) == (most.obligations, most.retention_days)


def test_an_emergency_reaches_what_rules_marked_for_it_grant() -> None:
    hold = rule(id="H", effect="hold", approvals="2", when="{handling: [H0, UNKNOWN]}")
    usual = rule(id="A", effect="allow", when="{paired: ['YES']}", data="{TELECOM: release, LOCATION: mask}")
    marked = rule(id="E", effect="allow", emergency="true", when="{paired: ['YES']}", data="{LOCATION: release}")
    policy = Policy(FLOOR, book(usual + marked + hold), ACCEPTED)
    facts = but(SUSPECT_PHONE, emergency="DECLARED")
    most = policy.decide_approved(facts, NOW_US)
    assert most.approvals == 2
    assert leaving(most) == {TELECOM, LOCATION}
    assert policy.release is not None
    found = for_emergency(most, "TELECOM", policy.release)
    assert found.approvals == 1
    assert leaving(found) == {LOCATION}
    with pytest.raises(PolicyError, match="no rule marked for emergencies"):
        for_emergency(policy.decide_approved(SUSPECT_PHONE, NOW_US), "TELECOM", policy.release)


@pytest.mark.parametrize("keep", [frozenset(), {codes_pb2.DATA_CATEGORY_ROUTE}, {codes_pb2.DATA_CATEGORY_SOURCE}])
def test_who_chooses_nothing_of_this_kind_lets_nothing_leave(keep: frozenset[Category]) -> None:
    most = Policy(FLOOR, book(OPEN), ACCEPTED).decide_approved(SUSPECT_PHONE, NOW_US)
    with pytest.raises(PolicyError, match="nothing that is chosen"):
        narrowed(most, "TELECOM", keep)
    with pytest.raises(PolicyError, match="whoever approves"):
        narrowed(msgspec.structs.replace(most, outcome=INVISIBLE), "TELECOM", {TELECOM})


def test_a_hit_stays_one() -> None:
    grants = OPEN.replace("EVERYTHING: release", "EXISTENCE: release")
    most = Policy(FLOOR, book(grants), ACCEPTED).decide_approved(SUSPECT_PHONE, NOW_US)
    assert (most.outcome, narrowed(most, "TELECOM", ())) == (HIT, most)


RED = "- {id: R, title: t, law: l, kind: %s, data: [LOCATION], when: {handling: [H0]}}\n"


@pytest.mark.parametrize(
    ("rules", "red_lines", "kept_back"),
    [
        (OPEN, "", set()),
        (OPEN + rule(data="{LOCATION: mask}"), "", set()),
        (OPEN + rule(data="{LOCATION: withhold}"), "", {LOCATION}),
        (OPEN, RED % "never_release", {LOCATION}),
        (OPEN, RED % "never_without_approval", set()),
        (OPEN.replace("EVERYTHING", "TELECOM"), "", {LOCATION, IDENTITY}),
        (OPEN + rule(effect="deny"), "", {LOCATION, IDENTITY, TELECOM, EXISTENCE, REFERENCE}),
    ],
)
def test_what_the_floor_keeps_back_whoever_approves(rules: str, red_lines: str, kept_back: set[Category]) -> None:
    floor, facts = book(rules, "floor", red_lines), but(SUSPECT_PHONE, handling="H0")
    found = set(forbidden(floor, facts, ACCEPTED))
    assert found & {LOCATION, IDENTITY, TELECOM, EXISTENCE, REFERENCE} == kept_back
    # What it keeps back, no rulebook of a country lets leave.
    most = Policy(floor, book(OPEN), ACCEPTED).decide_approved(facts, NOW_US)
    assert not found & {category for category, level in most.levels if level != WITHHOLD}


def test_what_is_in_a_message_is_what_was_let_leave() -> None:
    entry = Entry(
        source="Invented", text_reviewed=True, telecom=Telecom(telephone="+12025550143", holder_name="Invented")
    )
    entry.telecom.last_cell.latitude_e6 = 19_432_608
    most = Policy(FLOOR, book(OPEN), ACCEPTED).decide_approved(SUSPECT_PHONE, NOW_US)
    for keep in ({TELECOM}, {IDENTITY}, {TELECOM, LOCATION}):
        released = ReleasedEntry()
        decision = narrowed(most, "TELECOM", keep)
        purpose = codes_pb2.PURPOSE_INVESTIGATE
        redact(entry, decision, into=released, purpose=purpose, handle=bytes(16), pseudonym=lambda _, value: value)
        assert categories_in(released) == keep
