"""Violations planted in small rulebooks, one for each kind of red line and each dimension: the prover finds them all.

Each rulebook allows something and forgets one guard. The same rulebook with its guard is proved.
"""

from typing import Final

import pytest

from node.policy.prove.proof import Proof, Verdict, prove
from node.policy.prove.search import Counterexample
from node.policy.rules import Rulebook
from node.policy.vocabulary import CATEGORY_NUMBERS, DIMENSIONS
from tests.unit.policy.situations import OPEN, book, rule

# A value of each dimension that a red line may be about, and on which rules decide.
GUARDED: Final = {
    "recipient": "[US]",
    "paired": "['YES']",
    "unit_type": "[FORENSIC]",
    "purpose": "[TREND]",
    "crime": "[ROBBERY]",
    "urgency": "[ROUTINE]",
    "ground": "[CONSENT]",
    "instrument": "[STATUTE]",
    "reciprocity": "['NO', UNKNOWN]",
    "kind": "[ACCOUNT]",
    "record_crime": "[UNKNOWN, ROBBERY]",
    "handling": "[H3]",
    "caveat": "[POLICE_ONLY]",
    "record_age": "{at_least: 365}",
    "role": "[WITNESS]",
    "victim": "['YES']",
    "minor": "[IS_MINOR, UNKNOWN]",
    "asylum": "[REFUSED]",
    "witness": "['YES']",
    "exposure": "[JOURNALIST]",
    "stateless": "['YES']",
    "recipient_is_origin": "[IS_ORIGIN]",
    "torture_risk": "[AT_RISK]",
    "death_penalty": "[AT_RISK]",
    "torture_derived": "['YES']",
    "assurance": "[NOT_GIVEN]",
    "consent": "[NOT_RECORDED]",
}
# What a rule may ask for so that the dimension is at stake; `exposure` is silently held from states of origin.
ALLOW: Final = rule(id="GT-02", effect="allow", when="{paired: ['YES']}", data="{EVERYTHING: release}")
FLOOR: Final = book(OPEN, layer="floor")


def red_line(kind: str, when: str, data: str = "[EVERYTHING]", **keys: str) -> str:
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    return f"- {{id: R1, title: t, law: l, kind: {kind}, when: {when}, data: {data}{more}}}\n"


def only(proof: Proof) -> Verdict:
    (verdict,) = proof.verdicts
    return verdict


def violation(floor: Rulebook | None, release: Rulebook | None) -> Counterexample:
    verdict = only(prove(floor, release))
    assert verdict.verdict == "violated"
    assert verdict.counterexample is not None
    return verdict.counterexample


def test_every_dimension_that_a_red_line_may_name_is_here() -> None:
    assert GUARDED.keys() == DIMENSIONS.keys() - {"emergency"}


@pytest.mark.parametrize("name", GUARDED)
def test_a_forgotten_guard_is_found_and_told(name: str) -> None:
    line = red_line("never_release", f"{{{name}: {GUARDED[name]}}}")
    found = violation(FLOOR, book(ALLOW, red_lines=line))
    assert found.rules == ("OPEN", "GT-02")
    # Without pairing nothing leaves at all, so that it goes without saying; the kind is that of the data told of.
    assert found.box[0].keys() - {"kind"} == {name} - {"paired", "kind"}

    guard = rule(id="GT-03", effect="deny", when=f"{{{name}: {GUARDED[name]}}}")
    assert only(prove(FLOOR, book(ALLOW + guard, red_lines=line))).verdict == "proved"


@pytest.mark.parametrize("name", GUARDED)
def test_a_forgotten_hold_is_found(name: str) -> None:
    line = red_line("never_without_approval", f"{{{name}: {GUARDED[name]}}}", "[IDENTITY]")
    found = violation(FLOOR, book(ALLOW, red_lines=line))
    assert "without anybody's approval" in found.sentence
    assert found.box[0].keys() == {name} - {"paired"}

    guard = rule(id="GT-03", effect="hold", when=f"{{{name}: {GUARDED[name]}}}")
    assert only(prove(FLOOR, book(ALLOW + guard, red_lines=line))).verdict == "proved"


@pytest.mark.parametrize("name", [name for name in GUARDED if name != "paired"])
def test_a_guard_inside_the_allow_serves_as_well(name: str) -> None:
    """By `not` in its `when`, where UNKNOWN fails it; by age, in its `unless`."""
    value = GUARDED[name].replace(", UNKNOWN", "").replace("UNKNOWN, ", "")
    keys = {"when": f"{{{name}: {{not: {value}}}}}"}
    if name == "record_age":
        keys = {"when": "{paired: ['YES']}", "unless": f"[{{{name}: {value}}}]"}
    line = red_line("never_release", f"{{{name}: {GUARDED[name]}}}")
    guarded = rule(id="GT-02", effect="allow", data="{EVERYTHING: release}", **keys)
    assert only(prove(FLOOR, book(guarded, red_lines=line))).verdict == "proved"
    assert only(prove(FLOOR, book(guarded + rule(id="GT-09", **ANOTHER), red_lines=line))).verdict == "violated"


ANOTHER: Final = {"effect": "allow", "when": "{paired: ['YES']}", "data": "{IDENTITY: generalise}"}


@pytest.mark.parametrize("name", [name for name, dimension in DIMENSIONS.items() if dimension.asserted])
def test_an_assertion_that_lifts_a_limit_is_found(name: str) -> None:
    line = red_line("never_lifted_by_assertion", "{role: [VICTIM]}", "[IDENTITY]")
    fixed = rule(id="GT-01", when="{role: [VICTIM]}", data="{IDENTITY: mask}")
    assert only(prove(FLOOR, book(ALLOW + fixed, red_lines=line))).verdict == "proved"

    lifted = rule(id="GT-01", when=f"{{role: [VICTIM], {name}: {{not: {GUARDED[name]}}}}}", data="{IDENTITY: mask}")
    found = violation(FLOOR, book(ALLOW + lifted, red_lines=line))
    assert found.rules == ("GT-01",)
    assert found.retold is not None
    assert getattr(found.facts, name) != getattr(found.retold, name)
    assert found.box[1].keys() == {name}

    human = lifted + rule(id="GT-03", effect="hold", when="{role: [VICTIM]}")
    assert only(prove(FLOOR, book(ALLOW + human, red_lines=line))).verdict == "proved"


def test_what_is_recorded_may_lift_a_limit() -> None:
    line = red_line("never_lifted_by_assertion", "{role: [VICTIM]}", "[IDENTITY]")
    limit = rule(when="{role: [VICTIM], consent: {not: [RECORDED_BY_ORIGINATOR]}}", data="{IDENTITY: mask}")
    assert only(prove(FLOOR, book(ALLOW + limit, red_lines=line))).verdict == "proved"


def test_a_purpose_may_deny_and_so_only_narrows() -> None:
    line = red_line("never_lifted_by_assertion", "{role: [VICTIM]}", "[IDENTITY]")
    deny = rule(effect="deny", when="{role: [VICTIM], purpose: {not: [VICTIM_ID]}}")
    assert only(prove(FLOOR, book(ALLOW + deny, red_lines=line))).verdict == "proved"


@pytest.mark.parametrize(
    ("granted", "at_most", "verdict"),
    [
        ("release", "generalise", "violated"),
        ("release", "pseudonymise", "violated"),
        ("release", "mask", "violated"),
        ("release", "withhold", "violated"),
        ("generalise", "generalise", "proved"),
        ("generalise", "pseudonymise", "violated"),
        ("generalise", "mask", "violated"),
        ("generalise", "withhold", "violated"),
        ("pseudonymise", "generalise", "violated"),
        ("pseudonymise", "pseudonymise", "proved"),
        ("pseudonymise", "mask", "violated"),
        ("mask", "generalise", "proved"),
        ("mask", "pseudonymise", "proved"),
        ("mask", "mask", "proved"),
        ("mask", "withhold", "violated"),
    ],
)
def test_levels_are_compared_in_the_lattice(granted: str, at_most: str, verdict: str) -> None:
    allow = rule(effect="allow", when="{paired: ['YES']}", data=f"{{TELECOM: {granted}}}")
    line = red_line("never_release", "{victim: ['YES']}", "[TELECOM]", at_most=at_most)
    assert only(prove(None, book(allow, red_lines=line))).verdict == verdict


def test_limits_of_two_layers_join() -> None:
    line = red_line("never_release", "{victim: ['YES']}", "[TELECOM]", at_most="mask")
    floor = OPEN + rule(when="{victim: ['YES']}", data="{TELECOM: generalise}")
    release = ALLOW + rule(when="{victim: ['YES']}", data="{TELECOM: pseudonymise}")
    assert only(prove(book(floor, layer="floor"), book(release, red_lines=line))).verdict == "proved"
    assert only(prove(None, book(release, red_lines=line))).verdict == "violated"


# --- emergencies, obligations, existence -----------------------------------------------------------------------------


def test_an_emergency_does_not_suspend_a_red_line() -> None:
    rules = rule(id="E-1", effect="allow", emergency="true", when="{minor: [IS_MINOR]}", data="{IDENTITY: release}")
    found = violation(FLOOR, book(rules, red_lines=red_line("never_release", "{minor: [IS_MINOR]}", "[IDENTITY]")))
    assert found.facts.emergency == "DECLARED"
    assert "in a declared emergency" in found.sentence


def test_an_allow_is_met_by_a_recipient_that_accepts_its_obligations() -> None:
    rules = rule(
        effect="allow", when="{minor: [IS_MINOR]}", data="{ROUTE: release}", obligations="{flags: [NO_ONWARD]}"
    )
    found = violation(None, book(rules, red_lines=red_line("never_release", "{minor: [IS_MINOR]}")))
    assert found.box[0]["accepted"].has == (("NO_ONWARD",),)
    assert "NO_ONWARD" not in found.sentence  # which the rule that grants asks for anyway


def test_a_duty_that_was_not_accepted_guards_only_against_those_who_do_not() -> None:
    duty = rule(effect="attach", when="{minor: [IS_MINOR]}", obligations="{flags: [NO_ONWARD]}")
    found = violation(None, book(ALLOW + duty, red_lines=red_line("never_release", "{minor: [IS_MINOR]}")))
    assert found.accepted


def test_existence_alone_crosses_a_line_about_everything() -> None:
    rules = ALLOW + rule(when="{minor: [IS_MINOR]}", data=f"{{{ALL_BUT_EXISTENCE}}}")
    found = violation(None, book(rules, red_lines=red_line("never_release", "{minor: [IS_MINOR, UNKNOWN]}")))
    assert "would learn that the entry exists" in found.sentence


ALL_BUT_EXISTENCE: Final = ", ".join(f"{word}: withhold" for word in CATEGORY_NUMBERS if word != "EXISTENCE")


def test_existence_withheld_withholds_all() -> None:
    rules = ALLOW + rule(when="{minor: [IS_MINOR]}", data="{EXISTENCE: withhold}")
    assert (
        only(prove(None, book(rules, red_lines=red_line("never_release", "{minor: [IS_MINOR]}")))).verdict == "proved"
    )


def test_what_is_held_may_still_be_approved_and_so_counts_as_leaving() -> None:
    rules = ALLOW + rule(effect="hold", when="{minor: [IS_MINOR]}")
    found = violation(None, book(rules, red_lines=red_line("never_release", "{minor: [IS_MINOR]}", "[IDENTITY]")))
    assert "could be approved to receive IDENTITY" in found.sentence


# --- what is guaranteed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "verdict"),
    [
        ("{consent: [RECORDED_BY_ORIGINATOR], minor: [IS_MINOR, UNKNOWN]}", "vacuous"),
        ("{consent: [RECORDED_BY_ORIGINATOR], minor: [IS_ADULT]}", "violated"),
        ("{consent: [NOT_APPLICABLE], torture_risk: [AT_RISK]}", "vacuous"),
        ("{consent: [NOT_APPLICABLE], kind: [PERSON]}", "vacuous"),
        ("{consent: [NOT_APPLICABLE], kind: [GROUP]}", "violated"),
        # UNKNOWN counts as the worst, so this is met where roles are not known.
        ("{victim: ['NO'], role: [VICTIM]}", "violated"),
    ],
)
def test_a_line_about_what_derivation_rules_out_is_vacuous(when: str, verdict: str) -> None:
    assert only(prove(None, book(ALLOW, red_lines=red_line("never_release", when)))).verdict == verdict


def test_a_line_that_nothing_tests_is_remarked_on() -> None:
    allow = rule(effect="allow", when="{paired: ['YES']}", data="{ROUTE: release}")
    nothing = red_line("never_release", "{minor: [IS_MINOR]}", "[SEX_LIFE]")
    (remark,) = only(prove(None, book(allow, red_lines=nothing))).remarks
    assert "no rule ever" in remark
    refused = red_line("never_release", "{purpose: [POLITICAL]}")
    (remark,) = only(prove(None, book(allow, red_lines=refused))).remarks
    assert "the node itself refuses" in remark


def test_a_protection_that_the_node_keeps_by_itself_needs_no_rule() -> None:
    line = red_line("never_release", "{exposure: [EXILE], recipient_is_origin: [IS_ORIGIN]}")
    assert only(prove(None, book(ALLOW, red_lines=line))).verdict == "proved"
    asylum = red_line("never_release", "{paired: ['YES']}", "[ASYLUM]")
    assert only(prove(None, book(ALLOW, red_lines=asylum))).verdict == "proved"
