"""Counterexamples as people read them."""

from typing import Final

import pytest

from node.policy.evaluate import MASK, PSEUDONYMISE
from node.policy.facts import UNKNOWN_AGE
from node.policy.prove import words
from node.policy.prove.proof import prove
from node.policy.prove.ranges import Range
from node.policy.prove.variables import Variables
from node.policy.vocabulary import AGE_BOUNDS, CATEGORY_NUMBERS, DIMENSIONS
from tests.unit.policy.situations import OPEN, book, rule

VARIABLES: Final = Variables([])
FLOOR: Final = book(OPEN, layer="floor")
PERSON: Final = Range("kind", values=("PERSON",), excluded=("VEHICLE", "PLACE"))


def sentence(rules: str, line: str, *, is_floor_given: bool = True) -> str:
    keys = f"- {{id: R1, title: t, law: l, {line}}}\n"
    (verdict,) = prove(FLOOR if is_floor_given else None, book(rules, red_lines=keys)).verdicts
    assert verdict.counterexample
    return verdict.counterexample.sentence


def asking(*ranges: Range) -> str:
    return words.asking({each.dimension: each for each in ranges}, VARIABLES)


def test_a_minor_of_unknown_age() -> None:
    allow = rule(
        id="GT-02",
        effect="allow",
        when="{recipient: [JM], unit_type: [PROSECUTOR], purpose: [MISSING_SEARCH], kind: [PERSON]}",
        unless="[{minor: [IS_MINOR]}]",
        data="{IDENTITY: release}",
    )
    line = "kind: never_release, data: [IDENTITY], when: {minor: [IS_MINOR, UNKNOWN]}"
    # An exception of an allow counts UNKNOWN as met, so it keeps the line; without it, it is broken.
    assert prove(FLOOR, book(allow, red_lines=f"- {{id: R1, title: t, law: l, {line}}}\n")).is_kept()
    broken = allow.replace("unless: [{minor: [IS_MINOR]}], ", "")
    assert sentence(broken, line) == (
        "A prosecutor in JM asking with purpose MISSING_SEARCH about a person who is a minor or is of unknown age "
        "would receive IDENTITY, by rule GT-02 within OPEN of the floor"
    )
    assert sentence(broken, line, is_floor_given=False).endswith("by rule GT-02 where the floor allows it")


def test_what_an_assertion_lifts() -> None:
    rules = rule(id="GT-01", when="{victim: ['YES'], urgency: {not: [LIFE]}}", data="{IDENTITY: mask, PHOTO: mask}")
    line = "kind: never_lifted_by_assertion, data: [IDENTITY, PHOTO], when: {victim: ['YES']}"
    assert sentence(rules, line) == (
        "Any unit in any country asking about any entry whose subject is a victim or may be a victim would lift the "
        "limit of rule GT-01 on IDENTITY by asserting urgency LIFE instead of urgency any but LIFE"
    )


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ((), "Any unit in any country asking about any entry"),
        ((PERSON, Range("minor", values=("IS_MINOR",), excluded=("IS_ADULT",))), "a person who is a minor"),
        (
            (Range("minor", values=("UNKNOWN", "IS_MINOR")),),
            "any entry whose subject is a minor or is of unknown age",
        ),
        (
            (Range("minor", values=("IS_ADULT", "NOT_APPLICABLE")), Range("stateless", values=("NO",))),
            "any entry whose subject, if it has one, is an adult and is not stateless",
        ),
        ((Range("minor", values=("NOT_APPLICABLE",)),), "whose subject, if it has one, is nobody"),
        ((Range("recipient", values=("AD", "UNKNOWN"), excluded=("US", "MX")),), "in any country but US and MX asking"),
        ((Range("recipient", values=("US",), excluded=("AD",)),), "in US asking"),
        ((Range("recipient", values=("AD",), excluded=("US",)),), "in any country but US asking"),
        (
            (Range("unit_type", values=("FORENSIC", "OVERSIGHT"), excluded=("PROSECUTOR", "MISSING_PERSONS")),),
            "A forensic unit or an oversight body in",
        ),
        (
            (Range("unit_type", values=("FORENSIC", "OVERSIGHT"), excluded=("PROSECUTOR",)),),
            "Any unit but a prosecutor",
        ),
        ((Range("purpose", values=("TREND", "DISRUPT"), excluded=("PREVENT",)),), "with purpose any but PREVENT about"),
        ((Range("crime", has=(("ROBBERY", "TORTURE"),), lacks=("UNKNOWN",)),), "asking on ROBBERY or TORTURE about"),
        ((Range("crime", has=(("ROBBERY",), ("TORTURE",))),), "on ROBBERY and TORTURE about"),
        ((Range("crime", has=(("A", "B", "C", "D", "E", "F"),)),), "on A, B, C, D or 2 more about"),
        ((Range("caveat", lacks=("UNKNOWN", "POLICE_ONLY")),), "with caveat not POLICE_ONLY"),
        ((Range("caveat", lacks=("UNKNOWN",)),), "with caveat none that is UNKNOWN"),
        (
            (Range("role", has=(("SUSPECT", "ACCUSED"), ("VICTIM",))),),
            "is recorded as SUSPECT or ACCUSED and as VICTIM",
        ),
        ((Range("role", has=(("SUSPECT",),), lacks=("VICTIM", "UNKNOWN")),), "SUSPECT and is not recorded as VICTIM"),
        ((Range("role", has=(("NOT_APPLICABLE", "SUSPECT"),)),), "is recorded as nothing or SUSPECT"),
        ((Range("role", lacks=("UNKNOWN",)),), "whose subject has roles that are known"),
        ((Range("record_age", values=(365, 730, 1095, 1825, 3650)),), "any entry at least 365 days old"),
        ((Range("record_age", values=(0, 30, UNKNOWN_AGE)),), "any entry 0 to 89 days old or of unknown date"),
        ((Range("record_age", values=(0, 90)),), "0 to 29 days old or 90 to 179 days old"),
        ((Range("emergency", values=("DECLARED",)),), "in a declared emergency"),
        ((Range("emergency", values=("NOT_DECLARED",)),), "without a declared emergency"),
        ((Range("accepted", lacks=("RETENTION",)),), "having accepted not RETENTION"),
        ((Range("kind", values=("PLACE", "ROUTE"), excluded=("PERSON",)),), "any entry but a person"),
    ],
)
def test_ranges_in_words(ranges: tuple[Range, ...], said: str) -> None:
    assert said in asking(*ranges)


def test_every_value_of_every_dimension_has_words() -> None:
    for name in DIMENSIONS:
        for value in DIMENSIONS[name].values or AGE_BOUNDS:
            one = (
                Range(name, has=((value,),)) if DIMENSIONS[name].many else Range(name, values=(value,), excluded=("X",))
            )
            told = asking(one)
            assert told != asking()
            assert "nobody" not in told or value == "NOT_APPLICABLE"


def test_data_in_words() -> None:
    named = CATEGORY_NUMBERS
    assert words.data([named["IDENTITY"]], MASK) == "IDENTITY masked"
    assert words.data([named["IDENTITY"], named["DNA"]], PSEUDONYMISE) == "IDENTITY and DNA under a pseudonym"
    assert words.beside([named["EXISTENCE"], named["REFERENCE"]]) == ""
    assert words.beside([named["DNA"], named["EVENT"]]) == " (and DNA and EVENT)"
    assert words.beside(list(named.values())).endswith(" and 23 more)")
