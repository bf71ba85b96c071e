import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import RulebookError
from node.policy.rulebook import parse_rulebook
from node.policy.vocabulary import CATEGORY_NUMBERS, TIER_5, vocabulary_digest
from node.policy.yaml_tree import MAX_BYTES
from node.wire import codes_pb2
from tests.unit.policy.situations import HEAD, OPEN, VERIFIED, book, cited, rule

START = HEAD.format(layer="release", country="country: MX\n") + cited("law: l, law: u") + "rules:\n"
FIRST = START.count("\n") + 1  # line of the first rule


def mistakes(text: str, *, demonstration: bool = True) -> list[str]:
    with pytest.raises(RulebookError) as caught:
        parse_rulebook(text.encode(), demonstration=demonstration)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "at", "sentence"),
    [
        (rule(efect="limit"), "efect", "unknown key 'efect' in a rule; did you mean effect?"),
        ("- {id: A, id: B}\n", "id: B", "the key 'id' occurs twice"),
        ("- {id: A}\n", "{", "a rule must have 'law'"),
        (rule(law="''"), "''", "law must not be empty"),
        (rule(effect="alow"), "alow", "'alow' is no value of effect; did you mean allow?"),
        (rule(effect="hold", data="{TELECOM: mask}"), "{TELECOM", "a hold keeps the whole entry until"),
        (rule(data="{TELECOM: mask}", approvals="2"), "2", "only a hold waits for approvals"),
        (rule(effect="hold", approvals="3"), "3", "approvals must be a whole number from 1 to 2"),
        (rule(effect="attach"), "{", "an attach must have 'obligations'"),
        (rule(effect="deny", emergency="true"), "true", "is for emergencies"),
        (rule(when="{emergency: [DECLARED]}"), "emergency", "write `emergency: true` on the rule"),
        (rule(law="LAIP", data="{TELECOM: mask}"), "LAIP", "'LAIP' is not among the rulebook's citations"),
        (rule(law="u", effect="allow", when="{kind: [PERSON]}"), "u,", "an allow must rest on verified law"),
        (rule(law="';'", effect="allow", when="{kind: [PERSON]}"), "';'", "a citation is missing beside a semicolon"),
        (rule(law="l;", data="{TELECOM: mask}"), "l;", "a citation is missing beside a semicolon"),
        (rule(when="{rol: [VICTIM]}"), "rol:", "'rol' is no value of dimensions; did you mean role?"),
        (rule(when="{role: [VICTM]}"), "VICTM", "'VICTM' is no value of role; did you mean VICTIM?"),
        (rule(when="{role: [victim]}"), "victim", "'victim' is no value of role; did you mean VICTIM?"),
        (rule(when="{role: VICTIM}"), "VICTIM", "role must be a list, in [ ]"),
        (rule(when="{role: []}"), "[]", "role must not be empty; leave it out instead"),
        (rule(when="{role: [VICTIM, VICTIM]}"), "VICTIM]", "VICTIM occurs twice in role"),
        (rule(when="{role: {nto: [VICTIM]}}"), "nto", "did you mean not?"),
        (rule(when="{role: {not: [UNKNOWN]}}"), "UNKNOWN", "UNKNOWN never helps release"),
        (rule(when="{}"), "{}", "not empty"),
        (rule(when="{record_age: {at_least: 400}}"), "400", "use one of 0, 30, 90"),
        (rule(when="{record_age: [400]}"), "[400]", "must be a mapping"),
        (rule(when="{recipient: [ZZ]}"), "ZZ", "'ZZ' is no value of recipient"),
        (rule(unless="[{asylum: [UNKNOWN]}]", data="{TELECOM: mask}"), "UNKNOWN", "UNKNOWN never helps release"),
        (rule(data="[TELECOM]"), "[TELECOM]", "data is a mapping of categories to outcomes"),
        (rule(data="{TELECOMS: mask}"), "TELECOMS", "did you mean TELECOM?"),
        (rule(data="{TELECOM: hide}"), "hide", "'hide' is no value of outcomes"),
        (rule(data="{TELECOM: release}"), "TELECOM", "a limit to release limits nothing"),
        (rule(data="{EXISTENCE: mask}"), "EXISTENCE", "EXISTENCE is told or not"),
        (rule(data="{EVERYTHING: mask, TELECOM: withhold}"), "TELECOM", "overlap; write two rules"),
        (rule(), "{", "this limits nothing"),
        (rule(effect="deny", data="{TELECOM: mask}"), "{TELECOM", "a deny withholds everything"),
        (rule(data="{TELECOM: mask}", obligations="{days: 3}"), "days", "unknown key 'days' in obligations"),
        (rule(data="{TELECOM: mask}", obligations="{retention_days: 0}"), "0}", "a whole number from 1 to 36500"),
        (rule(data="{TELECOM: mask}", obligations="{flags: [RETENTION]}"), "RETENTION", "no value of flags"),
        (rule(effect="allow", data="{TELECOM: mask}"), "{", "an allow must say when"),
        (rule(effect="allow", when="{role: [SUSPECT, UNKNOWN]}"), "UNKNOWN", "UNKNOWN never helps release"),
        (rule(effect="allow", when="{role: [SUSPECT]}"), "{", "an allow must have 'data'"),
        (
            rule(effect="allow", when="{kind: [PERSON]}", data="{TELECOM: withhold}"),
            "TELECOM",
            "an allow can't withhold",
        ),
        (rule(effect="allow", when="{kind: [PERSON]}", data="{ASYLUM: mask}"), "ASYLUM", "goes to no peer"),
        (
            rule(when="{role: [VICTIM]}", unless="[{purpose: [VICTIM_ID]}]", data="{IDENTITY: mask}"),
            "{purpose",
            "what the asker says never lifts the protection of a person",
        ),
        (
            rule(effect="deny", when="{role: [VICTIM]}", unless="[{urgency: [LIFE], kind: [PERSON]}]"),
            "{urgency",
            "what the asker says never lifts the protection of a person",
        ),
        (rule(id="'a b'", data="{TELECOM: mask}"), "'a b'", "an id has letters"),
        (rule(title="2026", data="{TELECOM: mask}"), "2026", "title must be a text; put it in quotes"),
        (rule(title="{es: Víctimas}", data="{TELECOM: mask}"), "{es", "must also be in English"),
    ],
)
def test_mistakes_are_found_at_their_place(text: str, at: str, sentence: str) -> None:
    found = mistakes(START + text)
    place = f"{FIRST}:{text.index(at) + 1}"
    assert any(line.startswith(f"{place}: ") and sentence in line for line in found), found


def test_an_id_is_used_once() -> None:
    assert mistakes(START + OPEN + OPEN) == [f"{FIRST + 1}:3: the id OPEN is used twice"]
    line = "- {id: R1, title: t, law: l, kind: never_release, data: [DNA], when: {victim: ['YES']}}\n"
    assert mistakes(START + OPEN + "red_lines:\n" + line * 2) == [f"{FIRST + 3}:3: the id R1 is used twice"]


@pytest.mark.parametrize(
    ("citation", "sentence"),
    [
        ("{law: a, status: verified}", "a verified citation must have 'verifier'"),
        ("{law: a, status: verified, verifier: x}", "a verified citation must have 'date'"),
        ("{law: a, status: verified, verifier: x, date: '2026-01-01'}", "a verified citation must have 'text_sha256'"),
        ("{law: a, status: verified, verifier: x, date: yesterday}", "write the date in quotes"),
        ("{law: a, status: verified, verifier: x, date: '2026-02-31'}", "there is no such day"),
        ("{law: a, status: unverified, text_sha256: abc}", "64 lower-case hexadecimal"),
        (f"{{law: a, text: words, {VERIFIED}}}", "the digest of this text is dba36bff"),
        ("{law: a, status: probably}", "'probably' is no value of status"),
        ("{law: a; b, status: unverified}", "one citation is one provision"),
        ("{law: l, status: unverified}", "l is cited twice"),
    ],
)
def test_a_citation_says_who_compared_it_with_which_text(citation: str, sentence: str) -> None:
    found = mistakes(START.replace("rules:\n", f"- {citation}\nrules:\n") + OPEN)
    assert any(sentence in line for line in found), found


def test_an_unverified_citation_may_limit() -> None:
    citations = book(rule(law="'l; u'", data="{TELECOM: mask}")).rules[0].citations
    assert [(each.law, each.verified) for each in citations] == [("l", True), ("u", False)]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("version: 1", "version: 0", "version must be a whole number"),
        ("version: 1", "version: '1'", "version must be a whole number"),
        ("rulebook: TEST", "rulebok: TEST", "did you mean rulebook?"),
        ("layer: release", "layer: inner", "'inner' is no value of layer"),
        ("country: MX", "country: mx", "'mx' is no value of country; did you mean MX?"),
        ("country: MX\n", "", "must have 'country'"),
        ("layer: release", "layer: floor", "the floor belongs to no country"),
        ("2027-01-01", "2026-01-01", "valid_until must be later than valid_from"),
        ('"2026-01-01T00:00:00Z"', "2026-01-01", "write a UTC time in quotes"),
        ('"2026-01-01T00:00:00Z"', '"2026-13-01T00:00:00Z"', "there is no such time"),
        ("illustration: true", "illustration: yes", "illustration is true or false"),
        ("illustration: true", "illustration: false", "must have 'vocabulary'"),
        ("illustration: true", f"vocabulary: sha256:{'0' * 64}", "written for another vocabulary"),
        ("rules:\n", "rules: []\nred_lines:\n", "rules must not be empty"),
    ],
)
def test_the_head_of_a_rulebook_is_read_strictly(old: str, new: str, sentence: str) -> None:
    found = mistakes(START.replace(old, new) + OPEN)
    assert any(sentence in line for line in found), found


def test_an_illustration_loads_in_a_demonstration_only() -> None:
    assert "demonstration federation only" in mistakes(START + OPEN, demonstration=False)[0]
    reviewed = START.replace("illustration: true", f"vocabulary: {vocabulary_digest()}") + OPEN
    assert parse_rulebook(reviewed.encode()).illustration is False


LINE = "red_lines:\n- {id: R1, title: t, law: l, kind: %s}\n"


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("never_without_approval", "a red line of kind never_without_approval must have 'data'"),
        ("never_release", "must have 'when'"),
        ("never_release, when: {victim: ['YES']}", "must have 'data'"),
        ("structural", "must have 'test'"),
        ("structural, test: somewhere", "name the test as"),
        ("structural, test: 'tests/a.py::test_a', data: [IDENTITY]", "has no 'data'"),
        ("never_release, when: {victim: ['YES']}, data: [IDENTITY], at_most: release", "no value of at_most"),
        ("never_release, when: {victim: ['YES']}, data: [EVERYTHING], at_most: mask", "EXISTENCE is told or not"),
    ],
)
def test_red_lines_are_read_strictly(kind: str, sentence: str) -> None:
    found = mistakes(START + OPEN + LINE % kind)
    assert any(sentence in line for line in found), found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (rule(effect="deny", when="{asylum: [CLAIMED]}"), "asylum is not known of an own query"),
        (rule(data="{TELECOM: mask}"), "a selector leaves or does not"),
        (rule(data="{TELECOM: withhold}", obligations="{retention_days: 3}"), "obligations go with data"),
        (OPEN + LINE % "structural, test: 'tests/a.py::test_a'", "an outbound rulebook has no red lines"),
    ],
)
def test_outbound_rules_speak_of_queries_alone(text: str, sentence: str) -> None:
    found = mistakes(START.replace("layer: release", "layer: outbound") + text)
    assert any(sentence in line for line in found), found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "1:1: the file is empty"),
        (b"\xff\xfe", "1:1: the text is not UTF-8"),
        (b"a: 1\nb: \x07", "2:4: the character U+0007"),
        (b"a: [1", "1:6: this is not YAML"),
        (b"a: &x 1\nb: *x", "1:4: anchors and aliases are not allowed"),
        (b"a: *x", "1:4: anchors and aliases are not allowed"),
        (b"a: !!python/object:os.system 1", "1:4: tags are not allowed"),
        (b"%YAML 1.1\n---\na: 1", "2:1: only YAML 1.2"),
        (b"a: 1\n---\nb: 1", "2:1: a file holds one rulebook"),
        (b"[" * 1_000, "1:11: nested deeper than 10 levels"),
        (b"- 1", "1:1: the rulebook must be a mapping"),
        (b"? [a]\n: b", "1:3: a key must be a word"),
        (b"#" * (MAX_BYTES + 1), "1:1: a rulebook has at most 1,048,576 bytes"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(text: bytes, sentence: str) -> None:
    with pytest.raises(RulebookError) as caught:
        parse_rulebook(text, demonstration=True)
    assert sentence in str(caught.value)


def test_all_mistakes_come_at_once_in_the_order_of_the_text() -> None:
    found = mistakes(START + rule(efect="x", law="''") + rule(id="X-2", data="{TELECOMS: mask}"))
    assert len(found) == 4
    assert found == sorted(found, key=lambda line: [int(part) for part in line.split(":")[:2]])


def test_many_mistakes_are_counted_and_not_all_listed() -> None:
    found = mistakes(START + "".join(rule(id=f"X-{n}") for n in range(150)))
    assert len(found) == 101
    assert found[-1] == "and 50 more"


def test_words_of_yaml_1_1_are_words() -> None:
    # In YAML 1.1 NO is false; Norway and "no" would be lost.
    parsed = book(rule(when="{recipient: [NO], victim: [NO]}", data="{TELECOM: mask}"))
    assert [condition.values for condition in parsed.rules[0].when] == [frozenset({"NO"})] * 2


def test_what_is_read_is_what_was_written() -> None:
    parsed = book(
        rule(
            id="MX-1",
            title="{en: Victims, es: Víctimas}",
            when="{role: {not: [SUSPECT]}, record_age: {at_least: 1825}}",
            unless="[{consent: [RECORDED_BY_ORIGINATOR]}, {kind: [PERSON], recipient: [GT]}]",
            data="{IDENTITY: pseudonymise}",
            obligations="{retention_days: 180, flags: [NO_ONWARD]}",
        )
        + OPEN
    )
    first, last = parsed.rules
    assert first.titles == {"en": "Victims", "es": "Víctimas"}
    assert (first.when[0].negated, first.when[1].at_least) == (True, 1825)
    assert [len(exception) for exception in first.unless] == [1, 2]
    assert first.data == {codes_pb2.DATA_CATEGORY_IDENTITY: codes_pb2.OUTCOME_PSEUDONYMISE}
    assert first.obligations == {codes_pb2.OBLIGATION_NO_ONWARD, codes_pb2.OBLIGATION_RETENTION}
    assert first.retention_days == 180
    assert last.data.keys() == set(CATEGORY_NUMBERS.values()) - TIER_5
    assert (parsed.name, parsed.layer, parsed.country, parsed.valid_from_us) == (
        "TEST",
        "release",
        "MX",
        1_767_225_600_000_000,
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_rulebook_is_refused_or_read_but_never_breaks_the_reader(data: st.DataObject) -> None:
    text = bytearray((START + OPEN + rule(data="{TELECOM: mask}")).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    sentences = ""
    try:
        parse_rulebook(bytes(text), demonstration=True)
    except RulebookError as error:
        sentences = str(error)
    assert all(line.split(":")[0].isdigit() for line in sentences.splitlines())
