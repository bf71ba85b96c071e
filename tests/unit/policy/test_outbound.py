from typing import Any

import pytest

from node.errors import DeniedError, MalformedError
from node.policy.outbound import decide_outbound, verify_query
from node.policy.rules import Rulebook
from node.wire import codes_pb2, entry_pb2, exchange_pb2
from tests.unit.policy.situations import NOW_US, OPEN, book, question, rule

TELEPHONE = codes_pb2.LOOKUP_KIND_TELEPHONE
NAME = codes_pb2.LOOKUP_KIND_NAME


def selector(kind: int = TELEPHONE, value: str = "+525500000000", birth_year: int = 0) -> exchange_pb2.Selector:
    return exchange_pb2.Selector(kind=kind, value=value, birth_year=birth_year)  # type: ignore[arg-type]


def basis(**changed: object) -> exchange_pb2.PersonBasis:
    keys: dict[str, Any] = {
        "offence": codes_pb2.CRIME_TRAFFICKING,
        "when": entry_pb2.DateInterval(first_day=20_000, last_day=20_001),
        "place_country": "MX",
        "place": "Tapachula",
        "factual_basis": "named by two invented witnesses",
    }
    keys.update(changed)
    return exchange_pb2.PersonBasis(**keys)


def asker(**changed: object) -> exchange_pb2.Asker:
    keys: dict[str, Any] = {"officer": "p", "unit": "u", "unit_type": codes_pb2.UNIT_TYPE_INVESTIGATION}
    keys.update(changed)
    return exchange_pb2.Asker(**keys)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"selectors": [selector()] * 20},
        {"selectors": [selector(value="x" * 256)]},
        {"crimes": [], "case_reference": "", "instrument": ""},
        {"urgency": codes_pb2.URGENCY_LIFE, "urgency_reason": "a lorry without air"},
        {"selectors": [selector(NAME, "Invented Name", 1990)], "person_basis": basis()},
        {"ground": codes_pb2.GROUND_VITAL_INTEREST},
    ],
)
def test_a_complete_query_passes(changed: dict[str, Any]) -> None:
    verify_query(question(**changed))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"selectors": []}, "1 to 20 selectors"),
        ({"selectors": [selector()] * 21}, "1 to 20 selectors"),
        ({"selectors": [selector(value="")]}, "selector.value"),
        ({"selectors": [selector(value=" \t")]}, "selector.value"),
        ({"selectors": [selector(value="é" * 129)]}, "selector.value"),
        ({"selectors": [selector(0)]}, "selector.kind"),
        ({"selectors": [selector(99)]}, "selector.kind"),
        ({"selectors": [selector(birth_year=1990)]}, "birth_year"),
        ({"selectors": [selector(NAME, "N", 90)], "person_basis": basis()}, "birth_year"),
        ({"purpose": 0}, "purpose"),
        ({"purpose": 77}, "purpose"),
        ({"crimes": [0]}, "crime"),
        ({"crimes": [99]}, "crime"),
        ({"crimes": [1] * 100}, "crimes"),
        ({"urgency": 0}, "urgency"),
        ({"urgency": codes_pb2.URGENCY_LIFE}, "urgency_reason"),
        ({"urgency": codes_pb2.URGENCY_URGENT, "urgency_reason": " "}, "urgency_reason"),
        ({"urgency_reason": "x" * 513}, "urgency_reason"),
        ({"ground": 9}, "ground"),
        ({"asker": asker(officer="")}, "asker.officer"),
        ({"asker": asker(officer="x" * 33)}, "asker.officer"),
        ({"asker": asker(unit="")}, "asker.unit"),
        ({"asker": asker(unit="x" * 65)}, "asker.unit"),
        ({"asker": asker(unit_type=0)}, "asker.unit_type"),
        ({"instrument": "x" * 49}, "instrument"),
        ({"case_reference": "x" * 65}, "case_reference"),
    ],
)
def test_an_incomplete_query_is_malformed(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(MalformedError, match=field):
        verify_query(question(**changed))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (None, "offence"),
        (basis(offence=0), "offence"),
        (basis(when=None), "when"),
        (basis(when=entry_pb2.DateInterval(first_day=2, last_day=1)), "when"),
        (basis(place_country=""), "place_country"),
        (basis(place_country="Mexico"), "place_country"),
        (basis(place=" "), "place"),
        (basis(factual_basis=""), "factual_basis"),
        (basis(factual_basis="x" * 1025), "factual_basis"),
    ],
)
def test_who_names_a_person_says_why(given: exchange_pb2.PersonBasis | None, field: str) -> None:
    with pytest.raises(MalformedError, match=f"person_basis.{field}"):
        verify_query(question(selectors=[selector(), selector(NAME, "Invented Name")], person_basis=given))


def test_an_error_never_repeats_a_value() -> None:
    secret = "Invented Name " * 40
    with pytest.raises(MalformedError) as caught:
        verify_query(question(selectors=[selector(NAME, secret)], person_basis=basis()))
    assert "Invented" not in str(caught.value)


# --- permission ------------------------------------------------------------------------------------------------------


def outbound(rules: str) -> Rulebook:
    return book(rules, "outbound")


def decided(rulebook: Rulebook | None, query: exchange_pb2.Query | None = None, **changed: object) -> None:
    keys: dict[str, Any] = {
        "recipient": "MX",
        "instruments": [codes_pb2.INSTRUMENT_KIND_TREATY],
        "paired": True,
        "now_us": NOW_US,
    }
    keys.update(changed)
    decide_outbound(rulebook, query or question(), **keys)


ALLOW = rule(id="O1", effect="allow", law="'UNTOC art. 27'", when="{instrument: [TREATY]}", data="{TELECOM: release}")


def test_a_query_goes_where_every_selector_may() -> None:
    decided(outbound(ALLOW))
    with pytest.raises(DeniedError, match="no rule of TEST lets IDENTITY go to MX"):
        decided(outbound(ALLOW), question(selectors=[selector(), selector(NAME, "N")], person_basis=basis()))


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        (rule(id="O9", effect="deny", law="'the law'", when="{recipient: [MX]}"), r"rule O9 of TEST .* \(the law\)"),
        (rule(id="O8", data="{TELECOM: withhold}"), r"rule O8 of TEST does not let TELECOM go to MX \(l\)"),
        (rule(id="O7", effect="deny", when="{ground: [CONSENT]}"), "rule O7"),  # not stated: UNKNOWN, the worst
    ],
)
def test_a_denial_names_rule_and_law(rules: str, sentence: str) -> None:
    with pytest.raises(DeniedError, match=sentence):
        decided(outbound(ALLOW + rules))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"query": question(purpose=codes_pb2.PURPOSE_IMMIGRATION_ENFORCEMENT)}, "never lawful"),
        ({"query": question(purpose=codes_pb2.PURPOSE_COMMERCIAL)}, "never lawful"),
        ({"query": question(purpose=0)}, "never lawful"),
        ({"query": question(asker=asker(unit_type=codes_pb2.UNIT_TYPE_IMMIGRATION))}, "IMMIGRATION"),
        ({"query": question(asker=asker(unit_type=0))}, "UNKNOWN"),
        ({"paired": False}, "no pairing with MX"),
        ({"now_us": 0}, "no outbound rulebook is in force"),
        ({"instruments": []}, "no rule of TEST"),
    ],
)
def test_what_no_rule_can_permit(changed: dict[str, Any], sentence: str) -> None:
    open_ = outbound(OPEN + ALLOW if "instruments" not in changed else ALLOW)
    with pytest.raises(DeniedError, match=sentence):
        decided(open_, **changed)


@pytest.mark.parametrize("rulebook", [None, book(OPEN)])
def test_without_an_outbound_rulebook_nothing_is_asked(rulebook: Rulebook | None) -> None:
    with pytest.raises(DeniedError, match="no outbound rulebook is in force"):
        decided(rulebook)
