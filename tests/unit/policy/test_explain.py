"""An explanation says what was decided, and names the rules that decided it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.policy.decide import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, PENDING, Policy
from node.policy.evaluate import EXISTENCE, GENERALISE, MASK, PSEUDONYMISE, RELEASE, WITHHOLD
from node.policy.explain import explain
from node.policy.explain_text import fact_sentences, sentences
from node.policy.facts import Facts
from node.policy.rules import Rulebook
from node.policy.vocabulary import DIMENSIONS, Category, Obligation
from node.wire import codes_pb2
from node.wire.explaining_pb2 import ExplainedCategory, Explanation
from tests.unit.policy.books import acceptances, rulebooks, situations
from tests.unit.policy.situations import ACCEPTED, NOW_US, OPEN, SUSPECT_PHONE, book, but, rule

IDENTITY = codes_pb2.DATA_CATEGORY_IDENTITY
TELECOM = codes_pb2.DATA_CATEGORY_TELECOM
LOCATION = codes_pb2.DATA_CATEGORY_LOCATION
ASYLUM = codes_pb2.DATA_CATEGORY_ASYLUM
FLOOR = book(OPEN, "floor")
ALLOW = rule(id="A", effect="allow", when="{paired: ['YES']}", data="{TELECOM: release, IDENTITY: release}")


def told(
    rules: str, facts: Facts = SUSPECT_PHONE, red_lines: str = "", accepted: frozenset[Obligation] = ACCEPTED
) -> Explanation:
    return explain(FLOOR, book(rules, red_lines=red_lines), facts, accepted, NOW_US)


def of(explanation: Explanation, category: Category) -> ExplainedCategory:
    (found,) = [each for each in explanation.categories if each.category == category]
    return found


def everything_named(explanation: Explanation) -> str:
    return "\n".join(sentences(explanation))


# --- what was decided ------------------------------------------------------------------------------------------------


@given(st.data(), rulebooks("floor"), rulebooks("release"), acceptances())
def test_an_explanation_says_what_is_decided_and_gives_a_reason_for_what_is_withheld(
    data: st.DataObject, floor: Rulebook, release: Rulebook, accepted: frozenset[Obligation]
) -> None:
    facts = data.draw(situations(floor, release))
    decision = Policy(floor, release, accepted).decide(facts, NOW_US)
    explanation = explain(floor, release, facts, accepted, NOW_US)
    assert explanation.outcome == decision.outcome
    assert tuple((each.category, each.outcome) for each in explanation.categories) == decision.levels
    assert tuple(each.line.rule for each in explanation.red_lines) == decision.red_lines_crossed
    if decision.outcome in {ENTRY, HIT}:
        assert tuple(each.obligation for each in explanation.obligations) == decision.obligations
        assert explanation.retention_days == decision.retention_days
    granting = {(each.category, by.rule.rule) for each in explanation.categories for by in each.granting}
    assert {(grant.category, grant.rule) for grant in decision.grants} <= granting
    verify_reasons(explanation)


def verify_reasons(explanation: Explanation) -> None:
    of_all = explanation.refusals or explanation.denials or explanation.holds or explanation.red_lines
    hidden = of(explanation, EXISTENCE) if explanation.categories else ExplainedCategory()
    for category in explanation.categories:
        if category.outcome == WITHHOLD:
            assert of_all or category.limits or category.ungranted or hidden.limits or hidden.ungranted
        elif category.outcome != RELEASE:
            assert category.limits or any(each.outcome != RELEASE for each in category.granting)
    assert sentences(explanation)


# --- why -------------------------------------------------------------------------------------------------------------


def test_grants_limits_and_laws_by_category() -> None:
    explanation = told(
        ALLOW
        + rule(id="V", title="Victims", law="Decreto 9-2009 art. 2", when="{role: [SUSPECT]}", data="{IDENTITY: mask}")
    )
    assert explanation.outcome == ENTRY
    assert explanation.rulebooks == ["TEST 1", "TEST 1"]
    identity = of(explanation, IDENTITY)
    assert identity.outcome == MASK
    assert [(each.rule.layer, each.rule.rule, each.outcome) for each in identity.granting] == [
        ("floor", "OPEN", RELEASE),
        ("release", "A", RELEASE),
    ]
    (limit,) = identity.limits
    assert (limit.rule.rule, limit.rule.title, limit.rule.law, limit.outcome) == (
        "V",
        "Victims",
        "Decreto 9-2009 art. 2",
        MASK,
    )
    assert "lets at most mask pass: Victims (Decreto 9-2009 art. 2)." in everything_named(explanation)


def test_the_nearest_of_several_grants_is_named_with_what_it_lacks() -> None:
    far = "{purpose: [TREND], crime: [TORTURE], minor: [IS_ADULT]}"
    near = "{purpose: [TREND], role: [SUSPECT], minor: [IS_ADULT]}"
    explanation = told(
        ALLOW
        + rule(id="FAR", effect="allow", when=far, data="{LOCATION: release}")
        + rule(id="NEAR", title="Near", law="n", effect="allow", when=near, data="{LOCATION: generalise}"),
        but(minor="UNKNOWN"),
    )
    (ungranted,) = of(explanation, LOCATION).ungranted
    assert (ungranted.layer, ungranted.nearest.rule, ungranted.nearest.law) == ("release", "NEAR", "n")
    assert [(each.dimension, [*each.found], [*each.named], each.unknown) for each in ungranted.failed] == [
        ("purpose", ["INVESTIGATE"], ["TREND"], False),
        ("minor", ["UNKNOWN"], ["IS_ADULT"], True),
    ]
    text = everything_named(explanation)
    assert "purpose TREND, where there is INVESTIGATE" in text
    assert "minor IS_ADULT, where there is UNKNOWN, which never helps release" in text


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"when": "{record_age: {at_least: 90}}"}, "record age at least 90 days, where there is 30"),
        ({"when": "{role: {not: [SUSPECT]}}"}, "role none of SUSPECT, where there is SUSPECT"),
        ({"when": "{caveat: [POLICE_ONLY]}"}, "caveat POLICE_ONLY, where there is nothing"),
        (
            {"when": "{paired: ['YES']}", "unless": "[{role: [SUSPECT], purpose: [INVESTIGATE]}]"},
            "that its exception does not hold (role is SUSPECT and purpose is INVESTIGATE)",
        ),
        (
            {"when": "{paired: ['YES']}", "obligations": "{flags: [NO_ONWARD]}"},
            "that the recipient accepts NO_ONWARD",
        ),
        ({"when": "{paired: ['YES']}", "emergency": "true"}, "emergency DECLARED, where there is NOT_DECLARED"),
    ],
)
def test_each_way_to_miss_a_grant_has_words(keys: dict[str, str], words: str) -> None:
    rules = ALLOW + rule(id="B", effect="allow", data="{LOCATION: release}", **keys)
    explanation = told(rules, accepted=frozenset())
    assert words in everything_named(explanation)


def test_what_no_rule_ever_grants_is_said_so() -> None:
    (ungranted,) = of(told(ALLOW), LOCATION).ungranted
    assert not ungranted.HasField("nearest")
    assert "No rule of TEST grants it in any situation." in everything_named(told(ALLOW))


def test_holds_denials_and_red_lines_are_told_of_the_whole() -> None:
    held = told(ALLOW + rule(id="H", effect="hold", title="Wait", law="w", when="{role: [SUSPECT]}"))
    assert (held.outcome, [each.rule for each in held.holds]) == (PENDING, ["H"])
    assert "Rule H of the national rulebook lets a focal point decide: Wait (w)." in everything_named(held)
    denied = told(ALLOW + rule(id="D", effect="deny", title="Never", law="d", when="{role: [SUSPECT]}"))
    assert (denied.outcome, [each.rule for each in denied.denials]) == (INVISIBLE, ["D"])
    assert "Rule D of the national rulebook forbids all: Never (d)." in everything_named(denied)
    line = "- {id: R, title: Line, law: l, kind: never_release, data: [TELECOM], when: {role: [SUSPECT]}}\n"
    crossed = told(ALLOW, red_lines=line)
    assert [(each.line.rule, [*each.categories]) for each in crossed.red_lines] == [("R", [TELECOM])]
    assert of(crossed, TELECOM).outcome == WITHHOLD
    assert "Red line R kept TELECOM back" in everything_named(crossed)


def test_a_restriction_whose_obligation_is_not_accepted_denies() -> None:
    limit = rule(id="L", when="{role: [SUSPECT]}", data="{IDENTITY: mask}", obligations="{flags: [NO_ONWARD]}")
    explanation = told(ALLOW + limit, accepted=frozenset())
    assert explanation.outcome == INVISIBLE
    (denial,) = explanation.denials
    assert (denial.rule, list(denial.not_accepted)) == ("L", [codes_pb2.OBLIGATION_NO_ONWARD])
    assert "since the recipient has not accepted NO_ONWARD" in everything_named(explanation)


def test_obligations_come_with_their_rules_and_the_shortest_retention() -> None:
    first = rule(
        id="B", effect="attach", when="{role: [SUSPECT]}", obligations="{retention_days: 90, flags: [NO_ONWARD]}"
    )
    second = rule(id="C", effect="attach", when="{role: [SUSPECT]}", obligations="{retention_days: 30}")
    explanation = told(ALLOW + first + second)
    assert {each.obligation: [by.rule for by in each.rules] for each in explanation.obligations} == {
        codes_pb2.OBLIGATION_NO_ONWARD: ["B"],
        codes_pb2.OBLIGATION_RETENTION: ["B", "C"],
    }
    assert (explanation.retention_days, [each.rule for each in explanation.retention_rules]) == (30, ["C"])
    held = told(ALLOW + first + rule(id="H", effect="hold", when="{role: [SUSPECT]}"))
    assert held.retention_days == 90  # what would go with it after an approval


def test_what_the_node_itself_forbids() -> None:
    persons = but(kind="PERSON")
    limits = of(told(ALLOW, persons), ASYLUM).limits
    assert [(each.rule.rule, each.rule.law, each.outcome) for each in limits] == [("", "8 CFR 208.6", WITHHOLD)]
    exposed = told(ALLOW, but(exposure="JOURNALIST", recipient_is_origin="UNKNOWN"))
    assert exposed.outcome == HELD_SILENTLY
    assert "The node itself lets a focal point decide: a state of origin asks about" in everything_named(exposed)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"paired": "NO"}, "no-pairing"),
        ({"unit_type": "IMMIGRATION"}, "unit-type"),
        ({"purpose": "POLITICAL"}, "purpose"),
        ({"kind": "UNKNOWN"}, "kind"),
    ],
)
def test_what_no_rule_can_permit_is_said_before_any_rule(changed: dict[str, Any], code: str) -> None:
    explanation = told(ALLOW, but(**changed))
    assert [each.code for each in explanation.refusals] == [code]
    assert everything_named(explanation).splitlines()[1].startswith("Before any rule: ")


def test_a_missing_rulebook_is_a_reason() -> None:
    release = book(ALLOW)
    assert [each.code for each in explain(None, release, SUSPECT_PHONE, ACCEPTED, NOW_US).refusals] == ["no-floor"]
    for wrong in (None, FLOOR):
        explanation = explain(FLOOR, wrong, SUSPECT_PHONE, ACCEPTED, NOW_US)
        assert [each.code for each in explanation.refusals] == ["no-release-rulebook"]


def test_titles_are_in_the_language_asked_for_where_the_rulebook_has_it() -> None:
    titled = rule(
        id="A", effect="allow", title="{en: Open, es: Abierto}", when="{paired: ['YES']}", data="{TELECOM: mask}"
    )
    release = book(titled)
    for language, title in (("es", "Abierto"), ("fr", "Open"), ("en", "Open")):
        explanation = explain(FLOOR, release, SUSPECT_PHONE, ACCEPTED, NOW_US, language=language)
        assert [each.rule.title for each in of(explanation, TELECOM).granting if each.rule.rule == "A"] == [title]


def test_law_that_nobody_compared_with_its_text_is_marked() -> None:
    limit = rule(id="L", law="l; u", when="{role: [SUSPECT]}", data="{IDENTITY: pseudonymise}")
    explanation = told(ALLOW + limit)
    assert of(explanation, IDENTITY).limits[0].rule.unverified == ["u"]
    assert of(explanation, IDENTITY).outcome == PSEUDONYMISE
    assert "not compared with its text: u" in everything_named(explanation)


def test_a_rule_is_named_once_with_the_level_it_names() -> None:
    allow = rule(id="A", effect="allow", when="{paired: ['YES']}", data="{EXISTENCE: release, LOCATION: generalise}")
    explanation = told(allow)
    assert [each.rule.rule for each in of(explanation, EXISTENCE).granting] == ["OPEN", "A"]
    assert [each.outcome for each in of(explanation, LOCATION).granting] == [RELEASE, GENERALISE]


def test_every_fact_is_told() -> None:
    explanation = told(ALLOW)
    assert [each.dimension for each in explanation.facts] == list(DIMENSIONS)
    text = " ".join(fact_sentences(explanation.facts))
    assert "caveat nothing" in text
    assert "role SUSPECT" in text
    assert [line.partition(":")[0] for line in fact_sentences(explanation.facts)] == [
        "Of the request",
        "Of the record",
        "Of the subject",
    ]
