import pytest
from hypothesis import given

from node.policy.blocked import HARMLESS, UNDETERMINED, blocked_by_unknown
from node.policy.decide import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, PENDING, Policy
from node.policy.facts import UNKNOWN_AGE, Facts
from node.policy.rulebook import parse_rulebook
from node.policy.vocabulary import DIMENSIONS, UNKNOWN
from tests.unit.policy.situations import ACCEPTED, NOW_US, OPEN, SUSPECT_PHONE, any_facts, book, but, rule
from tests.world import RULEBOOKS

VISIBLE = {ENTRY, HIT, PENDING}
FLOOR = book(OPEN, "floor")


def policy_of(rules: str, red_lines: str = "") -> Policy:
    return Policy(FLOOR, book(OPEN + rules, red_lines=red_lines), ACCEPTED)


def blocked(rules: str, **facts: object) -> frozenset[str]:
    policy = policy_of(rules)
    return blocked_by_unknown(policy, but(SUSPECT_PHONE, **facts), NOW_US)


@pytest.mark.parametrize(
    ("dimension", "harm"),
    [
        ("handling", "H3"),
        ("victim", "YES"),
        ("minor", "IS_MINOR"),
        ("asylum", "CLAIMED"),
        ("witness", "YES"),
        ("exposure", "JOURNALIST"),
        ("stateless", "YES"),
        ("recipient_is_origin", "IS_ORIGIN"),
        ("torture_derived", "YES"),
    ],
)
def test_each_dimension_that_unknown_alone_denies_is_named(dimension: str, harm: str) -> None:
    denies = rule(effect="deny", when=f"{{{dimension}: [{harm}]}}")
    assert blocked(denies, **{dimension: UNKNOWN}) == {dimension}
    assert blocked(denies, **{dimension: harm}) == frozenset()


def test_harmless_facts_are_of_the_vocabulary_and_cover_every_unknown_that_an_officer_determines() -> None:
    for name, value in HARMLESS.items():
        assert isinstance(value, int) or value in DIMENSIONS[name].values
    determined = {each.name for each in DIMENSIONS.values() if each.about != "request" and UNKNOWN in each.values}
    assert determined - HARMLESS.keys() - set(UNDETERMINED) == {"kind", "caveat"}


def test_what_is_visible_is_not_blocked() -> None:
    limits = rule(when="{minor: [IS_MINOR]}", data="{IDENTITY: withhold}")
    assert blocked(limits, minor=UNKNOWN) == frozenset()


def test_what_is_held_openly_is_not_blocked() -> None:
    assert blocked(rule(effect="hold", when="{minor: [IS_MINOR]}"), minor=UNKNOWN) == frozenset()


def test_a_fact_that_is_recorded_blocks_whatever_is_unknown_beside_it() -> None:
    rules = rule(effect="deny", when="{minor: [IS_MINOR]}") + rule(id="X-2", effect="deny", when="{witness: ['YES']}")
    assert blocked(rules, minor=UNKNOWN, witness="YES") == frozenset()


def test_only_what_blocks_is_named() -> None:
    rules = rule(effect="deny", when="{minor: [IS_MINOR]}")
    assert blocked(rules, minor=UNKNOWN, witness=UNKNOWN, stateless=UNKNOWN) == {"minor"}


def test_what_blocks_together_is_named_together() -> None:
    rules = rule(effect="deny", when="{minor: [IS_MINOR]}") + rule(id="X-2", effect="deny", when="{witness: ['YES']}")
    assert blocked(rules, minor=UNKNOWN, witness=UNKNOWN) == {"minor", "witness"}


def test_of_two_ways_out_one_is_named() -> None:
    denies = rule(effect="deny", when="{minor: [IS_MINOR], witness: ['YES']}")
    assert blocked(denies, minor=UNKNOWN, witness=UNKNOWN) in ({"minor"}, {"witness"})


def test_a_silent_hold_that_unknown_causes_is_named() -> None:
    facts = but(SUSPECT_PHONE, exposure=UNKNOWN, recipient_is_origin="IS_ORIGIN")
    assert policy_of("").decide(facts, NOW_US).outcome == HELD_SILENTLY
    assert blocked_by_unknown(policy_of(""), facts, NOW_US) == {"exposure"}
    assert blocked("", exposure="JOURNALIST", recipient_is_origin=UNKNOWN) == {"recipient_is_origin"}


def test_an_unknown_age_of_the_record_is_named() -> None:
    denies = rule(effect="deny", when="{record_age: {at_least: 1825}}")
    assert blocked(denies, record_age=UNKNOWN_AGE) == {"record_age"}
    assert blocked(denies, record_age=1825) == frozenset()


def test_a_caveat_that_this_node_does_not_understand_is_named() -> None:
    denies = rule(effect="deny", when="{caveat: [NO_ORIGIN_STATE]}")
    assert blocked(denies, caveat=frozenset({"POLICE_ONLY", UNKNOWN})) == {"caveat"}
    assert blocked(denies, caveat=frozenset({"NO_ORIGIN_STATE", UNKNOWN})) == frozenset()


def granting(when: str) -> Policy:
    grants = rule(id="A", effect="allow", when=when, data="{TELECOM: release}")
    return Policy(FLOOR, book(grants), ACCEPTED)


def test_a_role_counts_that_a_rule_grants_for() -> None:
    policy = granting("{role: [SUSPECT]}")
    assert blocked_by_unknown(policy, but(SUSPECT_PHONE, role=frozenset({UNKNOWN})), NOW_US) == {"role"}
    assert blocked_by_unknown(policy, but(SUSPECT_PHONE, role=frozenset({"ASSOCIATE", UNKNOWN})), NOW_US) == {"role"}
    assert blocked_by_unknown(policy, but(SUSPECT_PHONE, role=frozenset({"ASSOCIATE"})), NOW_US) == frozenset()


def test_a_role_that_makes_a_victim_is_looked_at_as_one() -> None:
    grants = rule(id="A", effect="allow", when="{role: [VICTIM]}", data="{TELECOM: release}")
    denies = rule(effect="deny", when="{victim: ['YES']}")
    policy = Policy(FLOOR, book(grants + denies), ACCEPTED)
    facts = but(SUSPECT_PHONE, role=frozenset({UNKNOWN}), victim=UNKNOWN)
    assert blocked_by_unknown(policy, facts, NOW_US) == frozenset()


def test_what_the_record_is_about_is_named_only_where_it_has_to_be() -> None:
    policy = granting("{record_crime: [KIDNAPPING]}")
    facts = but(SUSPECT_PHONE, role=frozenset({UNKNOWN}), record_crime=frozenset({UNKNOWN}))
    assert blocked_by_unknown(policy, facts, NOW_US) == {"record_crime"}


def test_what_is_unknown_of_the_request_is_not_the_owners_to_determine() -> None:
    assert blocked_by_unknown(granting("{reciprocity: ['YES']}"), SUSPECT_PHONE, NOW_US) == frozenset()


def test_no_rulebook_in_force_is_no_question_of_facts() -> None:
    nobody = Policy(FLOOR, None, ACCEPTED)
    assert blocked_by_unknown(nobody, but(SUSPECT_PHONE, minor=UNKNOWN), NOW_US) == frozenset()


def shipped(name: str) -> Policy:
    floor = parse_rulebook((RULEBOOKS / "floor.yaml").read_bytes(), demonstration=True)
    return Policy(floor, parse_rulebook((RULEBOOKS / f"{name}.yaml").read_bytes(), demonstration=True), ACCEPTED)


MX = shipped("mx")


@given(facts=any_facts())
def test_what_is_named_is_unknown_and_determining_all_of_it_shows_the_entry(facts: Facts) -> None:
    found = blocked_by_unknown(MX, facts, NOW_US)
    for name in found:
        value = getattr(facts, name)
        assert value in {UNKNOWN, UNKNOWN_AGE} or UNKNOWN in value
    if found:
        assert MX.decide(facts, NOW_US).outcome in {INVISIBLE, HELD_SILENTLY}
    if found and found <= HARMLESS.keys():
        assert MX.decide(but(facts, **{name: HARMLESS[name] for name in found}), NOW_US).outcome in VISIBLE
        for left in found:
            others = {name: HARMLESS[name] for name in found - {left}}
            assert MX.decide(but(facts, **others), NOW_US).outcome not in VISIBLE
