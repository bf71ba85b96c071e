"""The rulebooks that ship: they load, they keep their red lines, and they do what the demonstration tells."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given, settings

from node import schema
from node.errors import DeniedError, RulebookError
from node.policy.decide import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, Decision, Policy
from node.policy.derive import derive_facts, derive_request
from node.policy.evaluate import GENERALISE, PSEUDONYMISE, RELEASE, WITHHOLD
from node.policy.explain import explain
from node.policy.facts import PROTECTED_ROLES, Facts
from node.policy.outbound import CATEGORY_OF_LOOKUP, decide_outbound
from node.policy.rulebook import parse_rulebook
from node.policy.rules import RedLine, Rule, Rulebook
from node.policy.vocabulary import CATEGORIES, CATEGORY_NUMBERS, OUTCOMES
from node.wire import codes_pb2, entry_pb2
from node.wire.explaining_pb2 import Explanation
from tests.unit.policy.situations import (
    ACCEPTED,
    DAY_US,
    NOW_US,
    SUSPECT_PHONE,
    any_facts,
    assessed,
    phone,
    question,
)

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "node/policy/rulebooks"
FILES = sorted(FOLDER.glob("*.yaml"))
TREATY = [codes_pb2.INSTRUMENT_KIND_TREATY]
TELECOM = codes_pb2.DATA_CATEGORY_TELECOM
IDENTITY = codes_pb2.DATA_CATEGORY_IDENTITY
LOCATION = codes_pb2.DATA_CATEGORY_LOCATION
EVENT = codes_pb2.DATA_CATEGORY_EVENT


def load(name: str) -> Rulebook:
    return parse_rulebook((FOLDER / f"{name}.yaml").read_bytes(), demonstration=True)


COUNTRIES = ("gt", "mx", "us", "ca", "br")
LANGUAGES = {"GT": {"es"}, "MX": {"es"}, "US": set(), "CA": {"fr"}, "BR": {"pt"}, "": {"es", "pt", "fr"}}
POLICIES = {country: Policy(load("floor"), load(country), ACCEPTED) for country in COUNTRIES}


def answered(country: str, entry: entry_pb2.Entry, recipient: str = "GT", **asked: object) -> Decision:
    request = derive_request(recipient=recipient, query=question(**asked), instruments=TREATY, paired=True)
    facts = derive_facts(request, entry, NOW_US)
    return POLICIES[country].decide(facts, NOW_US)


def explained(country: str, entry: entry_pb2.Entry) -> Explanation:
    request = derive_request(recipient="GT", query=question(), instruments=TREATY, paired=True)
    policy = POLICIES[country]
    facts = derive_facts(request, entry, NOW_US)
    return explain(policy.floor, policy.release, facts, ACCEPTED, NOW_US)


def restricting_laws(told: Explanation) -> set[str]:
    """Laws that, as the operator is told, deny, hold or limit something of the entry."""
    limits = [limit.rule for category in told.categories for limit in category.limits]
    return {each.law for each in (*told.denials, *told.holds, *limits)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_rulebook_is_an_illustration_in_the_languages_of_its_country(file: Path) -> None:
    with pytest.raises(RulebookError, match="demonstration"):
        parse_rulebook(file.read_bytes())
    rulebook = parse_rulebook(file.read_bytes(), demonstration=True)
    assert rulebook.illustration
    assert file.read_text().count("ILLUSTRATION, to be reviewed by") == 1
    texts: list[Rule | RedLine] = [*rulebook.rules, *rulebook.red_lines]
    for each in texts:
        assert {"en"} | LANGUAGES[rulebook.country] <= each.titles.keys(), each.id
    for rule in rulebook.rules:
        assert rule.citations, rule.id


def test_there_is_a_floor_and_a_pair_for_each_country() -> None:
    books = [load(file.stem) for file in FILES]
    assert {(each.layer, each.country) for each in books} == {
        ("floor", ""),
        *((layer, country.upper()) for layer in ("release", "outbound") for country in COUNTRIES),
    }


# The project's list of legal facts has these checked against a source. Nothing else may be verified here.
CHECKED = {
    *("UNTOC art. 27(1)", "Trafficking Protocol art. 10(3)", "Smuggling Protocol art. 5", "ACHR art. 22(8)"),
    *("Smuggling Protocol art. 10(1)", "Smuggling Protocol art. 19", "CRC art. 16", "General Comment 25"),
    *("LAIP arts. 9, 30", "Decreto 9-2009 art. 2(a)", "Decreto 9-2009 art. 2(d)"),
    *("LGPDPPSO", "Refugee Regulation art. 22", "Treaty with the US, art. 8"),
    *("5 USC 552a(b)(3), by published routine use", "8 USC 1367", "8 CFR 208.6"),
    *("Privacy Act s. 8(2)(f)", "Avoiding Complicity in Mistreatment Act s. 3", "United States v. Burns, 2001 SCC 7"),
    *("IRPA s. 166", "YCJA s. 118", "LGPD art. 4 III"),
}


def test_only_what_was_checked_is_verified_and_its_digest_is_of_a_sentence() -> None:
    cited = {each.law: each for file in FILES for rule in load(file.stem).rules for each in rule.citations}
    assert {each.law for each in cited.values() if each.verified} <= CHECKED
    texts = [file.read_text() for file in FILES]
    assert [text.count("status: verified") for text in texts] == [text.count("\n  text: >-\n") for text in texts]
    placeholders = {sha256(law.encode()).hexdigest() for law in CHECKED}
    for each in cited.values():
        assert not each.verified or (each.text_sha256 and each.text_sha256 not in placeholders), each.law


def test_structural_red_lines_name_tests_that_exist() -> None:
    for line in load("floor").red_lines:
        if line.kind == "structural":
            file, _, name = line.test.partition("::")
            assert f"def {name}(" in (ROOT / file).read_text()


def test_the_ten_red_lines_and_those_against_the_system_itself() -> None:
    kinds = {line.id: line.kind for line in load("floor").red_lines}
    assert {f"R-{number}" for number in range(1, 11)} <= kinds.keys()
    assert kinds["R-4"] == kinds["R-7"] == "never_without_approval"
    assert {line for line, kind in kinds.items() if kind == "never_lifted_by_assertion"} == {"R-14", "R-14a", "R-14b"}
    (protected,) = (line.when[0].values for line in load("floor").red_lines if line.id == "R-14")
    assert protected == PROTECTED_ROLES


def searched(message: Descriptor) -> Iterator[FieldDescriptor]:
    for field in message.fields:
        yield field
        if field.message_type is not None:
            yield from searched(field.message_type)


def test_nobody_is_found_by_what_is_sensitive() -> None:
    found_by = {schema.category_of(field) for field in searched(entry_pb2.Entry.DESCRIPTOR) if schema.lookup_of(field)}
    assert CATEGORY_NUMBERS["TELECOM"] in found_by
    sensitive = {"BELIEF_ETHNICITY", "SEX_LIFE", "HEALTH", "MIGRATION_STATUS", "ASYLUM", "WITNESS_PROTECTION", "SOURCE"}
    assert found_by.isdisjoint(CATEGORY_NUMBERS[each] for each in sensitive)
    assert sensitive.isdisjoint(CATEGORIES[each] for each in CATEGORY_OF_LOOKUP.values())


@settings(max_examples=500, deadline=None)
@given(any_facts())
def test_the_rules_keep_every_red_line_by_themselves(facts: Facts) -> None:
    for policy in POLICIES.values():
        assert policy.decide(facts, NOW_US).red_lines_crossed == ()


# --- the tour --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", [codes_pb2.PURPOSE_INVESTIGATE, codes_pb2.PURPOSE_VICTIM_ID])
def test_mexico_releases_a_suspects_telephone(purpose: int) -> None:
    decision = answered("mx", phone(), purpose=purpose)
    assert decision.outcome == ENTRY
    assert decision.level(TELECOM) == RELEASE
    assert decision.level(IDENTITY) == RELEASE
    assert decision.level(LOCATION) == GENERALISE
    assert decision.level(codes_pb2.DATA_CATEGORY_COMMUNICATIONS) == WITHHOLD
    assert {grant.law for grant in decision.grants} == {"UNTOC art. 27(1)", "UNTOC art. 27(1); LGPDPPSO"}
    assert decision.retention_days == 365
    assert codes_pb2.OBLIGATION_NO_IMMIGRATION_USE in decision.obligations


def test_mexico_names_nobody_for_a_telephone_whose_user_has_no_role() -> None:
    decision = answered("mx", phone(roles=[]))
    assert (decision.outcome, decision.level(IDENTITY)) == (ENTRY, PSEUDONYMISE)


def test_the_united_states_tell_a_hit_only() -> None:
    decision = answered("us", phone())
    assert decision.outcome == HIT
    assert {grant.rule for grant in decision.grants} == {"F-10", "F-11", "US-10"}


PROTECTED: dict[str, dict[str, Any]] = {
    "a victim": {"roles": [codes_pb2.ROLE_VICTIM], "inherited": assessed(victim=codes_pb2.TRI_YES)},
    "a suspect who is a victim": {"inherited": assessed(victim=codes_pb2.TRI_YES)},
    "an asylum seeker from the asking state": {
        "inherited": assessed(asylum=codes_pb2.ASYLUM_STATE_CLAIMED, origins=["GT"])
    },
    "somebody who may have claimed asylum from it": {
        "inherited": assessed(asylum=codes_pb2.ASYLUM_STATE_UNKNOWN, origins_complete=False)
    },
    "a protected witness": {"inherited": assessed(witness_protection=codes_pb2.TRI_YES)},
    "somebody whose role is unknown": {"inherited_roles": [codes_pb2.ROLE_UNKNOWN]},
    "somebody at risk of torture there": {"inherited": assessed(torture_risk=["GT"])},
    "information got by torture": {"inherited": assessed(torture_derived=codes_pb2.TRI_YES)},
    "a robbery alone": {"crimes": [codes_pb2.CRIME_ROBBERY]},
    "somebody of whom nothing is recorded": {"inherited": entry_pb2.Protection()},
}


@pytest.mark.parametrize("country", COUNTRIES)
@pytest.mark.parametrize("who", PROTECTED)
def test_the_telephone_of_the_protected_stays_invisible(country: str, who: str) -> None:
    entry = phone(**PROTECTED[who])
    decision = answered(country, entry)
    assert decision.outcome in {INVISIBLE, HELD_SILENTLY}
    assert all(level == WITHHOLD for _, level in decision.levels)
    told = explained(country, entry)
    assert restricting_laws(told) or any(category.ungranted for category in told.categories)
    assert decision.red_lines_crossed == ()


def test_the_operator_learns_which_law_kept_it() -> None:
    laws = restricting_laws(explained("us", phone(**PROTECTED["a victim"])))
    assert {"8 USC 1367", "Trafficking Protocol art. 6(1); UNTOC art. 25"} <= laws
    entry = phone(**PROTECTED["an asylum seeker from the asking state"])
    assert "Refugee Regulation art. 22" in restricting_laws(explained("mx", entry))


def test_a_journalists_telephone_is_silently_held_from_the_state_of_origin_alone() -> None:
    entry = phone(inherited=assessed(exposure=codes_pb2.EXPOSURE_JOURNALIST, origins=["GT"]))
    assert answered("mx", entry).outcome == HELD_SILENTLY
    assert answered("mx", entry, recipient="US").outcome == ENTRY


def test_mexico_needs_the_united_states_assurance() -> None:
    policy = Policy(load("floor"), load("mx"), ACCEPTED - {codes_pb2.OBLIGATION_ASSURANCE_DEATH_PENALTY})
    request = derive_request(recipient="US", query=question(), instruments=TREATY, paired=True)
    facts = derive_facts(request, phone(), NOW_US)
    assert policy.decide(facts, NOW_US).outcome == INVISIBLE
    assert answered("mx", phone(), recipient="US").outcome == ENTRY


@pytest.mark.parametrize("country", COUNTRIES)
@pytest.mark.parametrize("purpose", [codes_pb2.PURPOSE_PREVENT, codes_pb2.PURPOSE_MISSING_SEARCH])
def test_incidents_leave_coarse(country: str, purpose: int) -> None:
    entry = entry_pb2.Entry(
        recorded_us=NOW_US - 3000 * DAY_US, handling=codes_pb2.HANDLING_CODE_H0, incident=entry_pb2.Incident(dead=2)
    )
    decision = answered(country, entry, purpose=purpose, crimes=[])
    assert decision.outcome == ENTRY
    assert OUTCOMES[decision.level(EVENT)] == OUTCOMES[decision.level(LOCATION)] == "GENERALISE"


def test_a_decision_replays_from_its_facts() -> None:
    assert POLICIES["mx"].decide(SUSPECT_PHONE, NOW_US) == answered("mx", phone())


def test_each_country_asks_under_its_own_rules() -> None:
    for country in COUNTRIES:
        rulebook = load(f"{country}-outbound")
        keys: dict[str, Any] = {"recipient": "PE", "instruments": TREATY, "paired": True, "now_us": NOW_US}
        decide_outbound(rulebook, question(), **keys)
        with pytest.raises(DeniedError):
            decide_outbound(rulebook, question(crimes=[codes_pb2.CRIME_ROBBERY]), **keys)
