"""The facts of law that the shipped rulebooks keep: a row of a table for each."""

from pathlib import Path
from typing import Any

import pytest

from node.policy.decide import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, PENDING, Policy
from node.policy.evaluate import GENERALISE, MASK, PSEUDONYMISE, RELEASE, WITHHOLD
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Rulebook
from node.policy.vocabulary import CATEGORY_NUMBERS, DIMENSIONS, OUTCOMES
from node.wire import codes_pb2
from tests.unit.policy.situations import ACCEPTED, NOW_US, but

FOLDER = Path(__file__).parents[3] / "node/policy/rulebooks"
COUNTRIES = ("gt", "mx", "us", "ca", "br")
IDENTITY = codes_pb2.DATA_CATEGORY_IDENTITY
LOCATION = codes_pb2.DATA_CATEGORY_LOCATION
EVENT = codes_pb2.DATA_CATEGORY_EVENT


def load(name: str) -> Rulebook:
    return parse_rulebook((FOLDER / f"{name}.yaml").read_bytes(), demonstration=True)


POLICIES = {country: Policy(load("floor"), load(country), ACCEPTED) for country in COUNTRIES}

PERSON: dict[str, Any] = {"kind": "PERSON"}
VICTIM: dict[str, Any] = {"kind": "PERSON", "role": frozenset({"VICTIM"}), "victim": "YES"}
MISSING: dict[str, Any] = {"kind": "PERSON", "role": frozenset({"MISSING"})}
ROUTE: dict[str, Any] = {
    **{name: "NOT_APPLICABLE" for name, each in DIMENSIONS.items() if each.about == "subject" and not each.many},
    "kind": "ROUTE",
    "role": frozenset({"NOT_APPLICABLE"}),
    "purpose": "PREVENT",
}
CLAIMED: dict[str, Any] = {"asylum": "CLAIMED", "recipient_is_origin": "IS_ORIGIN"}
AT_RISK: dict[str, Any] = {"death_penalty": "AT_RISK", "recipient": "US"}
HOMICIDE: dict[str, Any] = {"record_crime": frozenset({"HOMICIDE", "KIDNAPPING"})}


def roles(*names: str) -> dict[str, Any]:
    return {"kind": "PERSON", "role": frozenset(names)}


def caveats(*names: str) -> dict[str, Any]:
    return {"caveat": frozenset(names)}


CONSENTING: dict[str, Any] = {
    **roles("SUSPECT", "SMUGGLED_MIGRANT", "PRESUMED_VICTIM"),
    "victim": "YES",
    "consent": "RECORDED_BY_ORIGINATOR",
}

# A provision, a country whose rules answer, how the situation differs from a suspect's telephone, what comes of it, and
# the rule that keeps the provision.
LAW: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("UNTOC art. 27(1)", "mx", PERSON, ENTRY, "F-10"),
    ("UNTOC art. 27(1), of a thing", "mx", {"role": frozenset({"NOT_APPLICABLE"})}, ENTRY, "F-11"),
    ("UNTOC art. 18(13)", "mx", {"purpose": "EVIDENCE_MLA"}, INVISIBLE, "F-38"),
    ("UNTOC art. 18(19)-(20), H1", "mx", {"handling": "H1"}, ENTRY, "F-51"),
    ("UNTOC art. 18(4)-(5), H2", "mx", {"handling": "H2"}, ENTRY, "F-52"),
    ("UNTOC art. 24, protected", "mx", {"witness": "YES"}, INVISIBLE, "F-24"),
    ("UNTOC arts. 24, 25, witnesses", "ca", roles("SUSPECT", "WITNESS"), ENTRY, "F-32"),
    ("UNTOC art. 27(2)", "mx", {"instrument": frozenset()}, INVISIBLE, "F-20"),
    ("UNTOC art. 28(2)", "mx", {**ROUTE, "purpose": "TREND"}, ENTRY, "F-13"),
    ("Trafficking Protocol art. 6(1)", "ca", VICTIM, INVISIBLE, "F-30"),
    ("Trafficking Protocol art. 6(1), consent", "gt", CONSENTING, PENDING, "F-43"),
    ("Smuggling Protocol art. 5, consent", "gt", CONSENTING, PENDING, "F-44"),
    ("Trafficking Protocol art. 10(3), H3", "gt", {"handling": "H3"}, PENDING, "F-40"),
    ("Trafficking Protocol art. 10(3), named", "mx", caveats("NAMED_RECIPIENT"), PENDING, "F-41"),
    ("Trafficking Protocol art. 10(3), assurance", "mx", caveats("ASSURANCE_REQUIRED"), PENDING, "F-42"),
    ("Trafficking Protocol art. 10(3), contact", "mx", caveats("CONTACT_BEFORE_ACTION"), ENTRY, "F-53"),
    ("Trafficking Protocol art. 10(3), police", "mx", caveats("POLICE_ONLY"), ENTRY, "F-54"),
    ("not police", "mx", {**caveats("POLICE_ONLY"), "unit_type": "PROSECUTOR"}, INVISIBLE, "F-29"),
    ("Trafficking Protocol art. 10(3), immigration", "mx", caveats("NO_IMMIGRATION_USE"), ENTRY, "F-55"),
    ("Trafficking Protocol art. 10(3), origin", "mx", caveats("NO_ORIGIN_STATE"), ENTRY, "F-56"),
    ("origin", "mx", {**caveats("NO_ORIGIN_STATE"), "recipient_is_origin": "IS_ORIGIN"}, INVISIBLE, "F-28"),
    ("Smuggling Protocol art. 5, suspected too", "ca", roles("SUSPECT", "SMUGGLED_MIGRANT"), ENTRY, "F-31"),
    ("Smuggling Protocol art. 5, helpers", "ca", roles("SUSPECT", "ASSOCIATE"), ENTRY, "F-35"),
    ("Smuggling Protocol art. 10(1)", "us", ROUTE, ENTRY, "F-12"),
    ("Smuggling Protocol art. 19; 1951 Convention art. 33", "gt", CLAIMED, INVISIBLE, "F-23"),
    ("ACHR art. 22(8); CAT art. 3", "mx", {"torture_risk": "AT_RISK"}, INVISIBLE, "F-25"),
    ("CAT art. 15", "mx", {"torture_derived": "YES"}, INVISIBLE, "F-26"),
    ("ACHR art. 4", "gt", AT_RISK, INVISIBLE, "F-27"),
    ("ACHR art. 4, with assurance", "gt", {**AT_RISK, "assurance": "GIVEN"}, ENTRY, "F-58"),
    ("ACHR art. 4, capital offence", "gt", {**HOMICIDE, "recipient": "US"}, PENDING, "F-39"),
    ("CRC art. 16", "mx", {"minor": "IS_MINOR"}, PENDING, "F-33"),
    ("General Comment 25", "mx", {"minor": "UNKNOWN"}, PENDING, "F-36"),
    ("ICPPED art. 19", "mx", MISSING, INVISIBLE, "F-34"),
    ("ICPPED art. 15", "mx", {**MISSING, "purpose": "MISSING_SEARCH"}, HELD_SILENTLY, "F-37"),
    ("ICPPED art. 19, owed", "mx", {**MISSING, "purpose": "REMAINS_ID"}, HELD_SILENTLY, "F-57"),
    ("five years at the most", "us", {}, HIT, "F-50"),
    ("LAIP arts. 9, 30", "gt", {"handling": "H3"}, PENDING, "GT-03"),
    ("LAIP arts. 9, 30, sensitive", "gt", PERSON, ENTRY, "GT-08"),
    ("Decreto 9-2009 art. 2(a)", "gt", {"victim": "YES", "role": frozenset({"SUSPECT", "VICTIM"})}, INVISIBLE, "GT-01"),
    ("Decreto 9-2009 art. 2(d)", "gt", {"minor": "IS_MINOR"}, PENDING, "GT-02"),
    ("LGPDPPSO", "mx", {"handling": "H3"}, PENDING, "MX-04"),
    ("LGPDPPSO, sensitive", "mx", PERSON, ENTRY, "MX-06"),
    ("Refugee Regulation art. 22", "mx", CLAIMED, INVISIBLE, "MX-01"),
    ("Ley General de Víctimas", "mx", roles("SUSPECT", "SMUGGLED_MIGRANT"), INVISIBLE, "MX-02"),
    ("Treaty with the US, art. 8", "mx", {"recipient": "US"}, ENTRY, "MX-03"),
    ("Treaty with the US, art. 8, at risk", "mx", {**AT_RISK, "assurance": "GIVEN"}, PENDING, "MX-05"),
    ("5 USC 552a(b)(3)", "us", {}, HIT, "US-10"),
    ("8 USC 1367", "us", VICTIM, INVISIBLE, "US-01"),
    ("8 USC 1367, exceptions", "us", {**VICTIM, "purpose": "PROTECT_LIFE"}, HELD_SILENTLY, "US-06"),
    ("8 CFR 208.6, third countries too", "us", {"asylum": "PAST"}, INVISIBLE, "US-02"),
    ("28 CFR 23.20, review", "us", {"record_age": 1825}, INVISIBLE, "US-03"),
    ("28 CFR 23.20, H3", "us", {"handling": "H3"}, PENDING, "US-04"),
    ("28 CFR 23.20, reasonable suspicion", "us", roles("SUSPECT", "ASSOCIATE"), INVISIBLE, "US-05"),
    ("28 CFR 23.20; 5 USC 552a(c)", "us", {}, HIT, "US-07"),
    ("Privacy Act s. 8(2)(f)", "ca", PERSON, ENTRY, "CA-10"),
    ("Privacy Act s. 8(2)(f), of a thing", "ca", {"role": frozenset({"NOT_APPLICABLE"})}, ENTRY, "CA-11"),
    ("Avoiding Complicity in Mistreatment Act s. 3", "ca", {"torture_risk": "AT_RISK"}, INVISIBLE, "CA-01"),
    ("Avoiding Complicity in Mistreatment Act s. 3, owed", "ca", PERSON, ENTRY, "CA-07"),
    ("Burns", "ca", AT_RISK, INVISIBLE, "CA-02"),
    ("Burns, owed", "ca", {"recipient": "US"}, ENTRY, "CA-08"),
    ("IRPA s. 166", "ca", {"asylum": "RECOGNISED"}, INVISIBLE, "CA-03"),
    ("YCJA s. 118", "ca", {"minor": "IS_MINOR"}, HELD_SILENTLY, "CA-04"),
    ("Trafficking Protocol art. 6(1), in Canada", "ca", VICTIM, INVISIBLE, "CA-05"),
    ("Privacy Act s. 8(2)(f), H3", "ca", {"handling": "H3"}, PENDING, "CA-06"),
    ("LGPD art. 4 III", "br", PERSON, ENTRY, "BR-10"),
    ("LGPD art. 4 III, of a thing", "br", {"role": frozenset({"NOT_APPLICABLE"})}, ENTRY, "BR-11"),
    ("LGPD art. 4 §1", "br", PERSON, ENTRY, "BR-03"),
    ("LGPD art. 4 §1, H3", "br", {"handling": "H3"}, PENDING, "BR-04"),
    ("Lei 9.474/1997", "br", {"asylum": "REFUSED"}, INVISIBLE, "BR-01"),
    ("Lei 13.344/2016", "br", roles("SUSPECT", "SMUGGLED_MIGRANT"), INVISIBLE, "BR-02"),
    ("Lei 13.445/2017 art. 96", "br", {**AT_RISK, "assurance": "GIVEN"}, PENDING, "BR-05"),
]


@pytest.mark.parametrize("case", LAW, ids=lambda case: f"{case[4]} {case[0]}")
def test_each_fact_of_law_has_its_rule(case: tuple[str, str, dict[str, Any], int, str]) -> None:
    _, country, changed, outcome, rule = case
    decision = POLICIES[country].decide(but(**{"recipient": "PE", **changed}), NOW_US)
    assert rule in decision.fired
    assert decision.outcome == outcome
    assert decision.red_lines_crossed == ()


def test_each_restriction_and_each_duty_has_its_row() -> None:
    rows = {case[4] for case in LAW}
    for name in ("floor", *COUNTRIES):
        missing = {rule.id for rule in load(name).rules if rule.effect != "allow"} - rows
        assert not missing


def test_who_retains_the_death_penalty() -> None:
    (retaining,) = (rule.when[0].values for rule in load("floor").rules if rule.id == "F-39")
    assert retaining == {"US", "BZ", "JM"}


@pytest.mark.parametrize(
    "who", [roles("SUSPECT", "SMUGGLED_MIGRANT"), VICTIM | roles("SUSPECT", "VICTIM"), roles("ACCUSED", "WITNESS")]
)
def test_a_protected_role_prevails_whatever_else_somebody_is(who: dict[str, Any]) -> None:
    # In Canada, whose own rules do not hide that a migrant or a witness is known.
    decision = POLICIES["ca"].decide(but(recipient="PE", **who), NOW_US)
    assert decision.level(IDENTITY) in {PSEUDONYMISE, MASK, WITHHOLD}
    for category in ("CONTACT", "DOCUMENT_NUMBER", "PHOTO", "LOCATION", "NATIONALITY"):
        assert decision.level(CATEGORY_NUMBERS[category]) == WITHHOLD


def test_trends_are_coarse_and_about_nobody() -> None:
    decision = POLICIES["mx"].decide(but(**{**ROUTE, "purpose": "TREND", "kind": "INCIDENT"}), NOW_US)
    assert OUTCOMES[decision.level(EVENT)] == OUTCOMES[decision.level(LOCATION)] == "GENERALISE"
    for country in COUNTRIES:
        assert POLICIES[country].decide(but(purpose="TREND"), NOW_US).outcome == INVISIBLE


EMERGENCY: dict[str, Any] = {"emergency": "DECLARED", "purpose": "PROTECT_LIFE", "urgency": "LIFE"}


@pytest.mark.parametrize(("country", "rule"), [("gt", "GT-07"), ("mx", "MX-13")])
def test_a_declared_emergency_tells_where_a_suspect_is_and_nothing_of_others(country: str, rule: str) -> None:
    declared = POLICIES[country].decide(but(recipient="PE", **EMERGENCY), NOW_US)
    assert rule in declared.fired
    assert declared.level(LOCATION) == RELEASE
    assert declared.retention_days == 30
    usual = POLICIES[country].decide(but(recipient="PE", **EMERGENCY | {"emergency": "NOT_DECLARED"}), NOW_US)
    assert rule not in usual.fired
    assert usual.level(LOCATION) == GENERALISE
    for changed in ({"asylum": "CLAIMED", "recipient_is_origin": "IS_ORIGIN"}, {"witness": "YES"}, VICTIM):
        hidden = POLICIES[country].decide(but(recipient="PE", **EMERGENCY, **changed), NOW_US)
        assert hidden.outcome in {INVISIBLE, HELD_SILENTLY}
