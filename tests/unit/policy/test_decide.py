from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.policy.decide import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, PENDING, Decision, Policy, decide
from node.policy.evaluate import GENERALISE, MASK, PSEUDONYMISE, RELEASE, WITHHOLD, evaluate_layer, join
from node.policy.facts import Facts
from node.policy.rules import Rulebook
from node.policy.vocabulary import CATEGORY_NUMBERS, DIMENSIONS, NEVER_LAWFUL, UNKNOWN, Obligation, Outcome
from node.wire import codes_pb2, ledger_pb2
from tests.unit.policy.situations import ACCEPTED, NOW_US, OPEN, SUSPECT_PHONE, any_facts, book, but, rule

TELECOM = codes_pb2.DATA_CATEGORY_TELECOM
IDENTITY = codes_pb2.DATA_CATEGORY_IDENTITY
EXISTENCE = codes_pb2.DATA_CATEGORY_EXISTENCE
REFERENCE = codes_pb2.DATA_CATEGORY_REFERENCE
FLOOR = book(OPEN, "floor")

NO_SELECTOR = "{paired: ['YES']}"


def decided(
    rules: str,
    facts: Facts = SUSPECT_PHONE,
    *,
    floor: Rulebook = FLOOR,
    red_lines: str = "",
    accepted: frozenset[Obligation] = ACCEPTED,
    now_us: int = NOW_US,
) -> Decision:
    release = book(rules, red_lines=red_lines)
    decision = decide(floor, release, facts, accepted, now_us)
    assert Policy(floor, release, accepted).decide(facts, now_us) == decision
    return decision


# --- the lattice -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "joined"),
    [
        (RELEASE, RELEASE, RELEASE),
        (RELEASE, GENERALISE, GENERALISE),
        (RELEASE, PSEUDONYMISE, PSEUDONYMISE),
        (GENERALISE, PSEUDONYMISE, MASK),
        (GENERALISE, GENERALISE, GENERALISE),
        (GENERALISE, MASK, MASK),
        (PSEUDONYMISE, WITHHOLD, WITHHOLD),
    ],
)
def test_levels_join(left: Outcome, right: Outcome, joined: Outcome) -> None:
    assert join(left, right) == joined
    assert join(right, left) == joined


@pytest.mark.parametrize(
    ("grants", "limits", "level"),
    [
        (["release"], [], RELEASE),
        (["generalise"], [], GENERALISE),
        ([], ["generalise"], WITHHOLD),
        (["release", "generalise"], [], RELEASE),
        (["release"], ["pseudonymise"], PSEUDONYMISE),
        (["generalise"], ["pseudonymise"], MASK),
        # Each level granted gives join(limits, g); the first in the order is the result, not the join of all.
        (["generalise", "pseudonymise"], ["pseudonymise"], PSEUDONYMISE),
        (["generalise", "pseudonymise"], ["generalise"], GENERALISE),
        (["mask"], ["generalise"], MASK),
        (["release"], ["generalise", "pseudonymise"], MASK),
        (["release"], ["generalise", "withhold"], WITHHOLD),
    ],
)
def test_each_level_granted_meets_the_limits(grants: list[str], limits: list[str], level: int) -> None:
    rules = rule(id="E", effect="allow", when=NO_SELECTOR, data="{EXISTENCE: release}")
    for number, grant in enumerate(grants):
        rules += rule(id=f"A{number}", effect="allow", when=NO_SELECTOR, data=f"{{TELECOM: {grant}}}")
    for number, limit in enumerate(limits):
        rules += rule(id=f"L{number}", data=f"{{TELECOM: {limit}}}")
    assert decided(rules).level(TELECOM) == level


def test_both_layers_must_grant_and_their_results_join() -> None:
    floor = book(
        rule(effect="allow", when=NO_SELECTOR, data="{TELECOM: generalise, LOCATION: release, IDENTITY: release}"),
        "floor",
    )
    decision = decided(
        rule(effect="allow", when=NO_SELECTOR, data="{TELECOM: pseudonymise, LOCATION: generalise, EVENT: release}"),
        floor=floor,
    )
    assert decision.level(TELECOM) == MASK
    assert decision.level(codes_pb2.DATA_CATEGORY_LOCATION) == GENERALISE
    assert decision.level(IDENTITY) == WITHHOLD


# --- visibility ------------------------------------------------------------------------------------------------------


def test_a_grant_implies_existence_and_reference() -> None:
    decision = decided(rule(effect="allow", when=NO_SELECTOR, data="{TELECOM: mask}"))
    assert decision.outcome == ENTRY
    assert decision.level(EXISTENCE) == RELEASE
    assert decision.level(REFERENCE) == RELEASE


@pytest.mark.parametrize("category", ["EXISTENCE", "REFERENCE"])
def test_a_grant_of_existence_or_reference_grants_both(category: str) -> None:
    release = book(rule(effect="allow", when=NO_SELECTOR, data=f"{{{category}: release}}"))
    for decision in (
        decide(FLOOR, release, SUSPECT_PHONE, ACCEPTED, NOW_US),
        Policy(FLOOR, release, ACCEPTED).decide(SUSPECT_PHONE, NOW_US),
    ):
        assert decision.outcome == HIT
        assert {each for each, level in decision.levels if level == RELEASE} == {EXISTENCE, REFERENCE}


def test_a_grant_of_what_this_kind_can_not_hold_betrays_nothing() -> None:
    decision = decided(rule(effect="allow", when=NO_SELECTOR, data="{ROUTE: release, SOURCE: release}"))
    assert decision.outcome == INVISIBLE


def test_existence_alone_is_a_hit_and_names_who_granted_it() -> None:
    decision = decided(rule(id="H", effect="allow", when=NO_SELECTOR, data="{EXISTENCE: release}"))
    assert decision.outcome == HIT
    assert {grant.rule for grant in decision.grants} == {"H", "OPEN"}
    assert {grant.category for grant in decision.grants} == {EXISTENCE}


def test_a_grant_that_limits_took_back_is_still_a_hit() -> None:
    rules = rule(id="A", effect="allow", when=NO_SELECTOR, data="{TELECOM: release}")
    assert decided(rules + rule(data="{TELECOM: withhold}")).outcome == HIT
    assert decided(rules + rule(data="{TELECOM: withhold, EXISTENCE: withhold}")).outcome == INVISIBLE


def test_everything_includes_existence_and_reference_but_grants_no_tier_5() -> None:
    person = but(kind="PERSON")
    open_ = decided(OPEN, person)
    assert open_.level(codes_pb2.DATA_CATEGORY_HEALTH) == RELEASE
    assert open_.level(codes_pb2.DATA_CATEGORY_WITNESS_PROTECTION) == WITHHOLD
    assert decided(OPEN + rule(data="{EVERYTHING: withhold}"), person).outcome == INVISIBLE


def test_tier_5_leaves_where_both_layers_name_it() -> None:
    named = rule(effect="allow", when=NO_SELECTOR, data="{MIGRATION_STATUS: release}")
    person = but(kind="PERSON")
    category = codes_pb2.DATA_CATEGORY_MIGRATION_STATUS
    assert decided(named, person, floor=book(named, "floor")).level(category) == RELEASE
    assert decided(named, person).level(category) == WITHHOLD


def test_asylum_goes_to_no_peer_whatever_the_rules_say() -> None:
    # No text can grant it (the parser refuses), so grant it in the values that evaluator and compiler see.
    granting = book(OPEN, "floor")
    for rule_ in granting.rules:
        rule_.data[codes_pb2.DATA_CATEGORY_ASYLUM] = RELEASE
    release = book(OPEN)
    for rule_ in release.rules:
        rule_.data[codes_pb2.DATA_CATEGORY_ASYLUM] = RELEASE
    person = but(kind="PERSON")
    decision = decide(granting, release, person, ACCEPTED, NOW_US)
    assert decision.outcome == ENTRY
    assert decision.level(codes_pb2.DATA_CATEGORY_ASYLUM) == WITHHOLD
    assert Policy(granting, release, ACCEPTED).decide(person, NOW_US) == decision


# --- UNKNOWN ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "outcome"),
    [
        (rule(effect="allow", when="{asylum: [NONE]}", data="{TELECOM: release}"), INVISIBLE),
        (rule(effect="allow", when="{asylum: {not: [CLAIMED]}}", data="{TELECOM: release}"), INVISIBLE),
        (
            rule(effect="allow", when=NO_SELECTOR, unless="[{asylum: [CLAIMED]}]", data="{TELECOM: release}"),
            INVISIBLE,
        ),
        (OPEN + rule(effect="deny", when="{asylum: [CLAIMED]}"), INVISIBLE),
        (OPEN + rule(effect="deny", when="{asylum: {not: [NONE]}}"), INVISIBLE),
        (OPEN + rule(effect="deny", when="{kind: [TELECOM]}", unless="[{asylum: [NONE]}]"), INVISIBLE),
        (OPEN + rule(effect="deny", when="{asylum: [CLAIMED], recipient: [US]}"), ENTRY),
    ],
)
def test_unknown_never_helps_release(rules: str, outcome: int) -> None:
    assert decided(rules, but(asylum=UNKNOWN)).outcome == outcome


def test_not_applicable_is_a_value_like_others() -> None:
    facts = but(asylum="NOT_APPLICABLE")
    allow = rule(id="A", effect="allow", when="{asylum: [NONE]}", data="{TELECOM: release}")
    assert decided(allow, facts).outcome == INVISIBLE
    assert decided(allow.replace("[NONE]", "[NONE, NOT_APPLICABLE]"), facts).outcome == ENTRY
    assert decided(OPEN + rule(effect="deny", when="{asylum: [CLAIMED]}"), facts).outcome == ENTRY


def test_a_list_asks_for_any_and_not_for_none_of_several_values() -> None:
    both = but(role=frozenset({"SUSPECT", "VICTIM"}))
    assert decided(rule(effect="allow", when="{role: [SUSPECT]}", data="{TELECOM: release}"), both).outcome == ENTRY
    none_of = rule(effect="allow", when="{role: {not: [VICTIM]}}", data="{TELECOM: release}")
    assert decided(none_of, both).outcome == INVISIBLE
    assert decided(none_of).outcome == ENTRY


def test_numbers_have_a_lower_bound() -> None:
    rules = OPEN + rule(effect="deny", when="{record_age: {at_least: 1825}}")
    outcomes = [decided(rules, but(record_age=age)).outcome for age in (-1, 0, 1095, 1825, 3650)]
    assert outcomes == [INVISIBLE, ENTRY, ENTRY, INVISIBLE, INVISIBLE]


# --- obligations and validity ----------------------------------------------------------------------------------------


def test_an_allow_with_an_unaccepted_obligation_does_not_grant() -> None:
    rules = rule(effect="allow", when=NO_SELECTOR, data="{TELECOM: release}", obligations="{flags: [NO_ONWARD]}")
    assert decided(rules, accepted=frozenset()).outcome == INVISIBLE
    assert decided(rules, accepted=frozenset({codes_pb2.OBLIGATION_NO_ONWARD})).outcome == ENTRY


def test_a_limit_with_an_unaccepted_obligation_denies() -> None:
    rules = OPEN + rule(when="{recipient: [GT]}", obligations="{flags: [NO_ONWARD]}")
    assert decided(rules, accepted=frozenset()).outcome == INVISIBLE
    assert decided(rules).obligations == (codes_pb2.OBLIGATION_NO_ONWARD,)


def test_rules_whose_obligations_are_not_all_accepted_are_told_of() -> None:
    asking = book(OPEN + rule(effect="attach", obligations="{flags: [NO_ONWARD]}"))
    none = frozenset[Obligation]()
    for accepted, unaccepted in ((none, ["X-1"]), ({codes_pb2.OBLIGATION_NO_ONWARD}, []), (ACCEPTED, [])):
        layer = evaluate_layer(asking, SUSPECT_PHONE, frozenset(accepted))
        assert [each.id for each in layer.unaccepted] == unaccepted
        assert [each.id for each in layer.fired] == ["OPEN", "X-1"]
        assert layer.denied == bool(unaccepted)


def test_retention_must_be_accepted_too() -> None:
    rules = rule(effect="allow", when=NO_SELECTOR, data="{TELECOM: release}", obligations="{retention_days: 30}")
    assert decided(rules, accepted=ACCEPTED - {codes_pb2.OBLIGATION_RETENTION}).outcome == INVISIBLE


def test_obligations_unite_and_the_shortest_retention_wins() -> None:
    floor = book(
        rule(effect="allow", when=NO_SELECTOR, data="{TELECOM: release}", obligations="{retention_days: 365}"), "floor"
    )
    rules = OPEN + rule(id="B", data="{LOCATION: withhold}", obligations="{retention_days: 90, flags: [NO_ONWARD]}")
    decision = decided(rules, floor=floor)
    assert decision.retention_days == 90
    assert decision.obligations == (codes_pb2.OBLIGATION_NO_ONWARD, codes_pb2.OBLIGATION_RETENTION)
    assert decided(OPEN).retention_days == 0


@pytest.mark.parametrize(
    ("now_us", "outcome"),
    [
        (1_767_225_600_000_000 - 1, INVISIBLE),
        (1_767_225_600_000_000, ENTRY),
        (1_798_761_600_000_000 - 1, ENTRY),
        (1_798_761_600_000_000, INVISIBLE),
    ],
)
def test_validity_is_half_open(now_us: int, outcome: int) -> None:
    assert decided(OPEN, now_us=now_us).outcome == outcome
    assert Policy(FLOOR, book(OPEN), ACCEPTED).decide(SUSPECT_PHONE, now_us).outcome == outcome


@pytest.mark.parametrize("shift_us", [-1000, 0, 1000])
def test_both_rulebooks_must_be_in_force(shift_us: int) -> None:
    shifted = msgspec.structs.replace(
        FLOOR, valid_from_us=FLOOR.valid_from_us + shift_us, valid_until_us=FLOOR.valid_until_us + shift_us
    )
    policy = Policy(shifted, book(OPEN), ACCEPTED)
    for edge_us in (FLOOR.valid_from_us, FLOOR.valid_until_us, shifted.valid_from_us, shifted.valid_until_us):
        for now_us in (edge_us - 1, edge_us):
            decision = policy.decide(SUSPECT_PHONE, now_us)
            in_force = all(each.is_valid_at(now_us) for each in (shifted, FLOOR))
            assert decision.outcome == (ENTRY if in_force else INVISIBLE)
            assert decision == decide(shifted, book(OPEN), SUSPECT_PHONE, ACCEPTED, now_us)


@pytest.mark.parametrize(
    ("floor", "release"),
    [(None, book(OPEN)), (FLOOR, None), (None, None), (book(OPEN), book(OPEN)), (FLOOR, FLOOR)],
)
def test_without_two_valid_rulebooks_nothing_leaves(floor: Rulebook | None, release: Rulebook | None) -> None:
    decision = decide(floor, release, SUSPECT_PHONE, ACCEPTED, NOW_US)
    assert decision.outcome == INVISIBLE
    assert Policy(floor, release, ACCEPTED).decide(SUSPECT_PHONE, NOW_US) == decision


# --- what no rule can permit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"paired": "NO"},
        {"unit_type": "IMMIGRATION"},
        {"unit_type": UNKNOWN},
        {"purpose": UNKNOWN},
        {"kind": UNKNOWN},
        *({"purpose": purpose} for purpose in sorted(NEVER_LAWFUL)),
    ],
)
def test_some_requests_are_refused_before_any_rule(changed: dict[str, Any]) -> None:
    rules = rule(effect="allow", when="{paired: ['YES', 'NO']}", data="{EVERYTHING: release}")
    decision = decided(rules, but(**changed), floor=book(rules, "floor"))
    assert decision.outcome == INVISIBLE


@pytest.mark.parametrize("exposure", ["EXILE", "JOURNALIST", "DEFENDER", "OPPOSITION", UNKNOWN])
@pytest.mark.parametrize("origin", ["IS_ORIGIN", UNKNOWN])
@pytest.mark.parametrize("kind", ["PERSON", "TELECOM"])
def test_the_state_of_origin_is_silently_held_off_those_exposed_to_it(exposure: str, origin: str, kind: str) -> None:
    decision = decided(OPEN, but(kind=kind, exposure=exposure, recipient_is_origin=origin))
    assert decision.outcome == HELD_SILENTLY
    assert {level for _, level in decision.levels} == {WITHHOLD}
    assert decision.grants == ()
    assert decision.obligations == ()


@pytest.mark.parametrize(
    ("exposure", "origin"), [("NONE", "IS_ORIGIN"), ("JOURNALIST", "NOT_ORIGIN"), ("NOT_APPLICABLE", "NOT_APPLICABLE")]
)
def test_others_are_not_held(exposure: str, origin: str) -> None:
    assert decided(OPEN, but(exposure=exposure, recipient_is_origin=origin)).outcome == ENTRY


# --- red lines -------------------------------------------------------------------------------------------------------

RED = "- {id: R1, title: t, law: the law, kind: never_release, data: [%s], when: {%s}}\n"


def test_a_red_line_that_would_be_crossed_withholds_and_is_reported() -> None:
    line = RED % ("EVERYTHING", "asylum: [CLAIMED, UNKNOWN], recipient_is_origin: [IS_ORIGIN, UNKNOWN]")
    for asylum in ("CLAIMED", UNKNOWN):
        decision = decided(OPEN, but(asylum=asylum, recipient_is_origin="IS_ORIGIN"), red_lines=line)
        assert decision.outcome == INVISIBLE
        assert decision.red_lines_crossed == ("R1",)
        assert decision.grants == ()
    assert decided(OPEN, red_lines=line).red_lines_crossed == ()


def test_a_red_line_that_the_rules_keep_is_not_reported() -> None:
    line = RED % ("IDENTITY", "victim: ['YES']")
    victim = but(victim="YES")
    assert decided(OPEN + rule(data="{IDENTITY: withhold}"), victim, red_lines=line).red_lines_crossed == ()
    crossed = decided(OPEN + rule(data="{IDENTITY: mask}"), victim, red_lines=line)
    assert crossed.red_lines_crossed == ("R1",)
    assert crossed.outcome == ENTRY
    assert crossed.level(IDENTITY) == WITHHOLD


@pytest.mark.parametrize(
    ("level", "crossed"), [("generalise", True), ("pseudonymise", False), ("mask", False), ("withhold", False)]
)
def test_a_red_line_may_permit_a_level(level: str, *, crossed: bool) -> None:
    line = (RED % ("IDENTITY", "victim: ['YES']")).replace("when:", "at_most: pseudonymise, when:")
    decision = decided(OPEN + rule(data=f"{{IDENTITY: {level}}}"), but(victim="YES"), red_lines=line)
    assert bool(decision.red_lines_crossed) == crossed


# --- what the ledger keeps -------------------------------------------------------------------------------------------


def test_outcomes_are_those_of_the_ledger() -> None:
    names = ("ENTRY", "HIT", "PENDING", "HELD_SILENTLY", "INVISIBLE")
    numbers = [ledger_pb2.EntryOutcome.Value(f"ENTRY_OUTCOME_{name}") for name in names]
    assert numbers == [ENTRY, HIT, PENDING, HELD_SILENTLY, INVISIBLE]


def test_bits_are_those_of_the_ledger() -> None:
    decision = decided(rule(effect="allow", when=NO_SELECTOR, data="{TELECOM: generalise}"))
    assert decision.bits(GENERALISE) == 1 << TELECOM
    assert decision.bits(RELEASE) == 1 << EXISTENCE | 1 << REFERENCE
    everything = sum(decision.bits(level) for level in (RELEASE, GENERALISE, PSEUDONYMISE, MASK, WITHHOLD))
    assert everything == sum(1 << category for category, _ in decision.levels)


# --- laws that hold for every rulebook and situation -----------------------------------------------------------------

_OUTCOMES = ("release", "generalise", "pseudonymise", "mask", "withhold")
_DIMENSIONS = ("role", "asylum", "minor", "victim", "purpose", "crime", "caveat", "recipient_is_origin", "kind")


@st.composite
def any_rules(draw: st.DrawFn) -> list[str]:
    found = []
    for number in range(draw(st.integers(1, 6))):
        effect = draw(st.sampled_from(("allow", "allow", "limit", "deny")))
        keys = {"id": f"X{number}", "effect": effect, "when": draw(_conditions())}
        if draw(st.booleans()):
            keys["unless"] = f"[{draw(_conditions(('role', 'asylum', 'kind')))}]"
        if effect != "deny":
            levels = _OUTCOMES[:-1] if effect == "allow" else _OUTCOMES[1:]
            category = draw(st.sampled_from(("TELECOM", "IDENTITY", "LOCATION", "EVERYTHING")))
            keys["data"] = f"{{{category}: {draw(st.sampled_from(levels))}}}"
        found.append(rule(**keys))
    return found


@st.composite
def _conditions(draw: st.DrawFn, names: tuple[str, ...] = _DIMENSIONS) -> str:
    found = []
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)):
        words = [word for word in DIMENSIONS[name].values if word != UNKNOWN]
        listed = ", ".join(f'"{word}"' for word in draw(st.lists(st.sampled_from(words), min_size=1, unique=True)))
        found.append(f"{name}: {{not: [{listed}]}}" if draw(st.booleans()) else f"{name}: [{listed}]")
    return "{" + ", ".join(found) + "}"


@settings(max_examples=150, deadline=None)
@given(any_rules(), any_facts(), st.randoms(use_true_random=False))
def test_the_order_of_rules_never_matters(rules: list[str], facts: Facts, random: Random) -> None:
    shuffled = rules[:]
    random.shuffle(shuffled)
    one, other = decided("".join(rules), facts), decided("".join(shuffled), facts)
    assert (one.outcome, one.levels, set(one.grants), set(one.fired)) == (
        other.outcome,
        other.levels,
        set(other.grants),
        set(other.fired),
    )


@settings(max_examples=300, deadline=None)
@given(any_rules(), any_facts(), st.sampled_from(sorted(DIMENSIONS)))
def test_forgetting_a_fact_never_releases_more(rules: list[str], facts: Facts, forgotten: str) -> None:
    dimension = DIMENSIONS[forgotten]
    unknown: Any = UNKNOWN if dimension.values else -1
    if dimension.values and UNKNOWN not in dimension.values:
        return
    if dimension.many:
        unknown = getattr(facts, forgotten) | {UNKNOWN}
    text = "".join(rules)
    before, after = decided(text, facts), decided(text, but(facts, **{forgotten: unknown}))
    for category in CATEGORY_NUMBERS.values():
        assert join(before.level(category), after.level(category)) == after.level(category)


@settings(max_examples=150, deadline=None)
@given(any_rules(), any_facts())
def test_memory_decides_as_the_rules_do(rules: list[str], facts: Facts) -> None:
    release = book("".join(rules))
    policy = Policy(FLOOR, release, ACCEPTED, remembered=2)
    for each in (facts, SUSPECT_PHONE, but(kind="PERSON"), facts):
        assert policy.decide(each, NOW_US) == decide(FLOOR, release, each, ACCEPTED, NOW_US)


# --- what a focal point decides ------------------------------------------------------------------------------------

H3 = but(SUSPECT_PHONE, handling="H3")
HOLD = rule(id="HOLD", effect="hold", when="{handling: [H3]}")


def test_a_hold_waits_for_approval_of_what_the_rules_computed() -> None:
    decision = decided(OPEN + HOLD + rule(data="{TELECOM: mask}"), H3)
    assert decision.outcome == PENDING
    assert decision.level(TELECOM) == MASK
    assert (decision.grants, decision.obligations) == ((), ())
    assert decided(OPEN + HOLD).outcome == ENTRY


def test_unknown_holds() -> None:
    assert decided(OPEN + HOLD, but(SUSPECT_PHONE, handling="UNKNOWN")).outcome == PENDING


@pytest.mark.parametrize("hiding", [rule(id="D", effect="deny"), rule(id="D", data="{EXISTENCE: withhold}")])
def test_what_is_invisible_is_held_in_silence(hiding: str) -> None:
    assert decided(OPEN + HOLD + hiding, H3).outcome == HELD_SILENTLY
    assert decided(OPEN + hiding, H3).outcome == INVISIBLE


def test_a_hold_or_attach_whose_obligation_is_not_accepted_denies() -> None:
    for effect in ("hold", "attach"):
        rules = OPEN + rule(id="O", effect=effect, obligations="{flags: [NO_ONWARD]}")
        assert decided(rules, accepted=frozenset()).level(EXISTENCE) == WITHHOLD
        assert decided(rules).outcome in {ENTRY, PENDING}


def test_an_attach_adds_its_obligations() -> None:
    decision = decided(OPEN + rule(effect="attach", obligations="{retention_days: 30}"))
    assert (decision.obligations, decision.retention_days) == ((codes_pb2.OBLIGATION_RETENTION,), 30)


APPROVAL = "- {id: R, title: t, law: l, kind: never_without_approval, data: [TELECOM], when: {handling: [H3]}}\n"


def test_a_red_line_that_asks_for_approval_is_kept_by_a_hold() -> None:
    held = decided(OPEN + HOLD, H3, red_lines=APPROVAL)
    assert (held.outcome, held.red_lines_crossed) == (PENDING, ())
    crossed = decided(OPEN, H3, red_lines=APPROVAL)
    assert (crossed.red_lines_crossed, crossed.level(TELECOM)) == (("R",), WITHHOLD)


def test_no_approval_lifts_a_red_line_on_what_is_released() -> None:
    lines = APPROVAL.replace("never_without_approval", "never_release")
    floor, release = book(OPEN, "floor", lines), book(OPEN + HOLD)
    for held in (
        decided(OPEN + HOLD, H3, red_lines=lines),
        decided(OPEN + HOLD, H3, floor=floor),
        Policy(floor, release, ACCEPTED).decide(H3, NOW_US),
    ):
        assert held.outcome == PENDING
        assert (held.red_lines_crossed, held.level(TELECOM), held.level(IDENTITY)) == (("R",), WITHHOLD, RELEASE)


def test_a_policy_tells_what_it_decides_by_and_remembers_a_bounded_number() -> None:
    release = book(OPEN)
    policy = Policy(FLOOR, release, ACCEPTED)
    assert (policy.floor, policy.release, policy.accepted) == (FLOOR, release, ACCEPTED)
    assert (policy._remembered.cache_info().maxsize or 10**9) <= 10_000
    assert Policy(FLOOR, release, ACCEPTED, remembered=7)._remembered.cache_info().maxsize == 7


def test_an_emergency_activates_only_rules_marked_for_it() -> None:
    rules = OPEN.replace("effect:", "emergency: true, effect:")
    assert decided(rules).outcome == INVISIBLE
    assert decided(rules, but(SUSPECT_PHONE, emergency="DECLARED")).outcome == ENTRY


def test_an_approval_lets_nothing_leave_that_would_not_have_left_without_the_hold() -> None:
    grants = OPEN.replace("EVERYTHING: release", "EXISTENCE: release, SOURCE: release")
    hit, held = decided(grants), decided(grants + HOLD, H3)
    assert (hit.outcome, held.outcome) == (HIT, PENDING)
    assert held.levels == hit.levels
    assert held.level(codes_pb2.DATA_CATEGORY_SOURCE) == WITHHOLD


def approved(
    rules: str, facts: Facts = SUSPECT_PHONE, *, red_lines: str = "", accepted: frozenset[Obligation] = ACCEPTED
) -> Decision:
    return Policy(FLOOR, book(rules, red_lines=red_lines), accepted).decide_approved(facts, NOW_US)


OBLIGED = rule(id="O", effect="attach", obligations="{retention_days: 30, flags: [NO_ONWARD]}")


def test_what_an_approval_lets_leave_has_the_grants_and_obligations_that_the_rules_give() -> None:
    limits = rule(data="{TELECOM: mask}") + OBLIGED
    free, held = decided(OPEN + limits, H3), approved(OPEN + HOLD + limits, H3)
    assert held.outcome == ENTRY
    assert held.level(TELECOM) == MASK
    assert (held.grants, held.retention_days) == (free.grants, 30)
    assert set(held.obligations) == {codes_pb2.OBLIGATION_NO_ONWARD, codes_pb2.OBLIGATION_RETENTION}
    assert held.levels == decided(OPEN + HOLD + limits, H3).levels


@pytest.mark.parametrize("hiding", [rule(id="D", effect="deny"), rule(id="D", data="{EXISTENCE: withhold}")])
def test_no_approval_lifts_a_denial(hiding: str) -> None:
    assert approved(OPEN + HOLD + hiding, H3).outcome == INVISIBLE
    exposed = but(exposure="EXILE", recipient_is_origin="IS_ORIGIN")
    assert approved(OPEN + hiding, exposed).outcome == INVISIBLE


def test_no_approval_lifts_what_no_rulebook_could() -> None:
    for facts in (but(paired="NO"), but(unit_type="IMMIGRATION"), but(purpose="POLITICAL")):
        assert approved(OPEN + HOLD, facts).outcome == INVISIBLE
    assert Policy(None, book(OPEN), ACCEPTED).decide_approved(SUSPECT_PHONE, NOW_US).outcome == INVISIBLE


def test_a_focal_point_may_lift_what_is_held_in_silence_as_far_as_the_rules_go() -> None:
    exposed = but(exposure="EXILE", recipient_is_origin="IS_ORIGIN")
    found = approved(OPEN + rule(data="{TELECOM: mask}"), exposed)
    assert (found.outcome, found.level(TELECOM)) == (ENTRY, MASK)
    line = RED % ("EVERYTHING", "exposure: [EXILE]")
    assert approved(OPEN, exposed, red_lines=line).outcome == INVISIBLE
    asking = line.replace("never_release", "never_without_approval")
    assert approved(OPEN, exposed, red_lines=asking).outcome == ENTRY
    assert decided(OPEN, exposed, red_lines=asking).outcome == HELD_SILENTLY


def test_the_strictest_hold_says_how_many_must_approve() -> None:
    twice = rule(id="TWICE", effect="hold", approvals="2", when="{handling: [H3]}")
    assert (decided(OPEN, H3).approvals, approved(OPEN, H3).approvals) == (0, 1)
    assert (decided(OPEN + HOLD, H3).approvals, approved(OPEN + HOLD, H3).approvals) == (1, 1)
    assert (decided(OPEN + HOLD + twice, H3).approvals, approved(OPEN + HOLD + twice, H3).approvals) == (2, 2)
    assert (decided(OPEN + HOLD + twice).approvals, approved(OPEN + HOLD + twice).approvals) == (0, 1)


def test_in_a_silent_hold_no_red_line_is_crossed() -> None:
    facts = but(SUSPECT_PHONE, exposure="EXILE", recipient_is_origin="IS_ORIGIN")
    line = "- {id: R, title: t, law: l, kind: never_release, data: [TELECOM], when: {exposure: [EXILE]}}\n"
    decision = decided(OPEN, facts, red_lines=line)
    assert (decision.outcome, decision.red_lines_crossed) == (HELD_SILENTLY, ())
