"""What `policy check` says of a rulebook, and that no text takes it long."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.policy.check import Remark, check_rulebook
from node.policy.countries import AMERICAS
from node.policy.vocabulary import COUNTRIES
from node.policy.yaml_tree import MAX_BYTES, MAX_LINE, MAX_NODES
from tests.unit.policy.situations import HEAD, book, rule

DIGEST = "5f1b3b0f6c2b5b0cf2f8c6a1f5d9d3d3a0b4f6f2f1a9e8d7c6b5a493827160f0"
CITED = f"citations:\n- {{law: l, status: verified, verifier: counsel, date: '2026-01-01', text_sha256: {DIGEST}}}\n"
START = HEAD.format(layer="release", country="country: MX\n") + CITED + "rules:\n"
FIRST = START.count("\n") + 1  # line of the first rule
OPEN = "- {id: OPEN, title: {en: t, es: t}, law: l, effect: allow, when: {role: [SUSPECT]}, data: {TELECOM: release}}\n"
GUARD = "title: {en: t, es: t}"
FLOOR = book(rule(id="F", effect="allow", when="{paired: ['YES']}", data="{TELECOM: release}"), layer="floor")


def remarks(text: str | bytes) -> list[Remark]:
    return check_rulebook(text.encode() if isinstance(text, str) else text, FLOOR)


def mistakes(text: str | bytes) -> list[str]:
    return [
        f"{each.place.line}:{each.place.column}: {each.sentence}" for each in remarks(text) if each.weight == "mistake"
    ]


def warnings(text: str) -> list[str]:
    return [each.sentence for each in remarks(text) if each.weight == "warning"]


def test_a_sound_rulebook_is_only_an_illustration() -> None:
    assert mistakes(START + OPEN) == []
    (warning,) = warnings(START + OPEN)
    assert "demonstration federation only" in warning


def test_all_mistakes_come_at_once_in_the_order_of_the_text() -> None:
    text = (
        START.replace("country: MX", "country: MEX").replace("rules:", "- {law: unused, status: unverified}\nrules:")
        + "- {id: A, title: t, effect: deny, when: {purpose: [TREND]}}\n"
        + "- {id: B, id: C, title: t, law: l, effect: limit, when: {rol: [VICTIM]}, data: {TELECOMS: mask}}\n"
        + "- {id: A, title: t, law: l, effect: allow, when: {role: [SUSPET]}, data: {TELECOM: release}}\n"
    )
    found = mistakes(text)
    line = text.splitlines().index("rules:") + 2
    assert found == [
        "4:10: 'MEX' is no value of country; did you mean MX?",
        f"{line - 2}:3: no rule and no red line rests on unused; leave it out, or cite it",
        f"{line}:3: a rule must have 'law'",
        f"{line + 1}:11: the key 'id' occurs twice; the first is at {line + 1}:4",
        f"{line + 1}:58: 'rol' is no value of dimensions; did you mean role?",
        f"{line + 1}:81: 'TELECOMS' is no value of data; did you mean TELECOM?",
        f"{line + 2}:3: the id A is used twice",
        f"{line + 2}:58: 'SUSPET' is no value of role; did you mean SUSPECT?",
    ]


def test_more_mistakes_than_an_error_lists_are_all_told() -> None:
    assert len(mistakes(START + "".join(rule(id=f"X-{n}") for n in range(150)))) == 150


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ("{recipient: [Guatemala]}", "did you mean GT?"),
        ("{recipient: [México]}", "did you mean MX?"),
        ("{recipient: [us]}", "did you mean US?"),
        ("{recipient: [Utopia]}", "countries are written as two letters"),
        ("{recipient: [GTM]}", "did you mean GT?"),
        ("{minor: [CHILD]}", "it is one of IS_ADULT, IS_MINOR, NOT_APPLICABLE, UNKNOWN"),
    ],
)
def test_it_says_what_to_write_instead(changed: str, sentence: str) -> None:
    (found,) = mistakes(START + f"- {{id: A, {GUARD}, law: l, effect: deny, when: {changed}}}\n")
    assert sentence in found


# --- law -------------------------------------------------------------------------------------------------------------


def test_an_allow_on_unverified_law_is_a_mistake() -> None:
    text = START.replace(CITED, "citations:\n- {law: l, status: unverified}\n") + OPEN
    assert [each.split(": ", 1)[1] for each in mistakes(text)] == [
        "an allow must rest on verified law; on l a rule may hold, limit or deny"
    ]


@pytest.mark.parametrize("digest", ["0" * 64, "acac86c0e609ca906f632b0e2dacccb2b77d22b0621f20ebece1a4835b93f6f0"])
def test_a_digest_of_no_text_is_a_mistake(digest: str) -> None:
    (found,) = mistakes(START.replace(DIGEST, f"'{digest}'") + OPEN)  # of nothing, and of the law's own name
    assert "is the digest of no provision" in found


def test_a_citation_of_a_red_line_is_used() -> None:
    cited = START.replace("rules:", "- {law: r, status: unverified}\nrules:")
    line = f"red_lines:\n- {{id: R, {GUARD}, law: r, kind: never_release, data: [DNA], when: {{victim: ['YES']}}}}\n"
    assert mistakes(cited + OPEN + line) == []
    assert len(mistakes(cited + OPEN)) == 1


# --- titles ----------------------------------------------------------------------------------------------------------


def test_a_title_is_wanted_in_each_language_of_the_country() -> None:
    text = START + OPEN.replace("{en: t, es: t}", "{en: t}")
    assert "the title of OPEN is not in es, a language of MX" in warnings(text)
    assert "the title of OPEN is not in fr, a language of CA" in warnings(text.replace("country: MX", "country: CA"))
    assert len(warnings(text.replace("country: MX", "country: US"))) == 1
    assert len(warnings(text.replace("country: MX", "country: AQ"))) == 1  # which has none
    floor = text.replace("country: MX\n", "").replace("layer: release", "layer: floor")
    assert "the title of OPEN is not in es and fr and pt, a language of members" in warnings(floor)


def test_the_states_of_the_americas_are_countries() -> None:
    assert AMERICAS.keys() <= COUNTRIES
    assert len(AMERICAS) == 35
    assert all(set(each.languages) <= {"en", "es", "pt", "fr"} for each in AMERICAS.values())


# --- rules that do nothing -------------------------------------------------------------------------------------------


ALLOW = "effect: allow, data: {DNA: release}"


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            f"{ALLOW}, when: {{kind: [PERSON], minor: [NOT_APPLICABLE]}}",
            "can never fire: its conditions on kind and minor",
        ),
        (
            f"{ALLOW}, when: {{minor: [IS_MINOR]}}, unless: [{{minor: [IS_MINOR]}}]",
            "can never fire: its exceptions leave",
        ),
        (
            f"{ALLOW}, when: {{stateless: {{not: ['YES', 'NO', NOT_APPLICABLE]}}}}",
            "nothing meets its condition on stateless",
        ),
        ("effect: deny, when: {purpose: [POLITICAL]}", "fires only where the node itself refuses"),
        ("effect: deny, when: {unit_type: [IMMIGRATION]}", "fires only where the node itself refuses"),
    ],
)
def test_a_rule_that_can_never_fire_is_a_mistake(keys: str, sentence: str) -> None:
    (found,) = mistakes(START + OPEN + f"- {{id: A, {GUARD}, law: l, {keys}}}\n")
    assert found.startswith(f"{FIRST + 1}:3: A ")
    assert sentence in found


def test_what_unknown_alone_may_meet_can_fire() -> None:
    keys = "effect: deny, when: {minor: [IS_MINOR]}, unless: [{minor: [IS_MINOR, IS_ADULT, NOT_APPLICABLE]}]"
    assert mistakes(START + OPEN + f"- {{id: A, {GUARD}, law: l, {keys}}}\n") == []


@pytest.mark.parametrize(
    ("effect", "when", "data", "sentence"),
    [
        ("deny", "{purpose: [POLITICAL, COMMERCIAL]}", "", "fires only where the node itself refuses"),
        ("deny", "{paired: ['NO']}", "", "fires only where the node itself refuses"),
        ("deny", "{purpose: [POLITICAL, TREND]}", "", ""),
        ("allow", "{unit_type: [OVERSIGHT]}", "{TELECOM: release}", ""),
    ],
)
def test_outbound_rules_are_looked_at_too(effect: str, when: str, data: str, sentence: str) -> None:
    text = START.replace("layer: release", "layer: outbound") + OPEN.replace("role: [SUSPECT]", "crime: [TRAFFICKING]")
    found = mistakes(
        f"{text}- {{id: A, {GUARD}, law: l, effect: {effect}, when: {when}{data and f', data: {data}'}}}\n"
    )
    assert [sentence in each for each in found] == [True] * bool(sentence)


def test_a_grant_that_changes_nothing_is_a_warning() -> None:
    twice = START + OPEN + OPEN.replace("OPEN", "AGAIN")
    assert any("AGAIN lets nothing leave that would not leave without it" in each for each in warnings(twice))
    shut = START + OPEN.replace("TELECOM: release", "TELECOM: release, DNA: release")
    assert "OPEN grants DNA, which TEST never lets leave" in warnings(shut)
    assert mistakes(twice) == mistakes(shut) == []


# --- texts that harm -------------------------------------------------------------------------------------------------

_RULES = b"rules:\n"


@pytest.mark.parametrize(
    ("text", "place", "sentence"),
    [
        (b"a: [1, 2\nb: 3\n", "2:2", "a bracket is open"),
        (b"a: 'b\n", "2:1", "a quotation mark is open"),
        (b"a: b: c\n", "1:5", "put a text with a colon in quotes"),
        (b"a: 1\n b: 2\n", "2:3", "keys in one column"),
        (b"\xef\xbb\xbfa: 1\n", "1:1", "byte order mark"),
        (b"a: 1\nb: \x00\n", "2:4", "NUL"),
        (b"a:\n\tb: 1\n", "2:1", "a tab; use spaces"),
        (b"a: 1\rb: 2\n", "1:5", "a carriage return without a line feed"),
        ("a: 1 # harmless\u2028rules: []\n".encode(), "1:16", "U+2028, which can't be seen"),
        ("a: '\u202eTG\u202c'\n".encode(), "1:5", "U+202E, which can't be seen"),
        ("a: \u200bGT\n".encode(), "1:4", "U+200B, which can't be seen"),
        (b"a: 1\nb: \xc3\x28\n", "2:1", "not UTF-8"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "1:4", "anchors and aliases are not allowed"),
        (b"a: !!binary aGk=\n", "1:4", "tags are not allowed"),
        (b"- " * 900, "1:21", "nested deeper than 10 levels"),
        (b"[" * 1_000, "1:11", "nested deeper than 10 levels"),
        (b"#" * (MAX_LINE + 1), f"1:{MAX_LINE + 1}", "at most 2,000 characters"),
        (b"\n" * (MAX_BYTES + 1), "1:1", "at most 1,048,576 bytes"),
        (_RULES + b"- {id: A}\n" * MAX_NODES, "6667:8", "at most 20,000 words and lists"),
        (b"a: x\n" + b"  x\n" * (MAX_BYTES // 5), "1:1", "unknown key 'a' in the rulebook"),
        (_RULES + b"- " + b"{a: " * 8 + b"1" + b"}" * 8 + b"\n", "2:4", "unknown key 'a' in a rule"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_a_harmful_text_is_refused_in_bounded_time(text: bytes, place: str, sentence: str) -> None:
    before = time.process_time()
    found = mistakes(text)
    assert time.process_time() - before < 20
    assert any(each.startswith(f"{place}: ") and sentence in each for each in found), found[:5]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("version: 1", "version: 99999999999999999999", "version must be a whole number from 1 to 1000000"),
        ("version: 1", "version: 1e999", "version must be a whole number"),
        ("version: 1", "version: 0x1", "version must be a whole number"),
        ("version: 1", f"version: {'9' * 1_900}", "version must be a whole number"),
        ("country: MX", "country: true", "country must be a text; put it in quotes"),
        ("country: MX", f"country: {'M' * 1_900}", f"'{'M' * 48}…' is no value of country"),
        ("illustration: true", f"vocabulary: sha256:{'1' * 64}", "written for another vocabulary"),
    ],
)
def test_a_wrong_value_of_any_size_is_named(old: str, new: str, sentence: str) -> None:
    assert any(sentence in each for each in mistakes(START.replace(old, new) + OPEN))


def test_thousands_of_misspelt_words_take_no_time() -> None:
    words = ",\n".join(f"ZZ{number:05}" for number in range(15_000))
    before = time.process_time()
    found = mistakes(START + f"- {{id: A, {GUARD}, law: l, effect: deny, when: {{recipient: [\n{words}]}}}}\n")
    assert time.process_time() - before < 20
    assert len(found) == 15_000


def test_norway_is_a_country_and_no_is_a_word() -> None:
    assert mistakes(START + OPEN.replace("role: [SUSPECT]", "recipient: [NO], victim: [NO], role: [SUSPECT]")) == []


def test_lines_may_end_as_windows_ends_them() -> None:
    text = START + OPEN + f"- {{id: A, {GUARD}, law: l, effect: deny, when: {{rol: [VICTIM]}}}}\n"
    assert mistakes(text.replace("\n", "\r\n")) == mistakes(text)
    assert mistakes((START + OPEN).replace("\n", "\r\n")) == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_text_is_judged_whatever_it_says(data: st.DataObject) -> None:
    text = bytearray((START + OPEN).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    found = remarks(bytes(text))
    assert found == sorted(found)
    assert all(each.place.line >= 1 and each.place.column >= 1 and each.sentence for each in found)
