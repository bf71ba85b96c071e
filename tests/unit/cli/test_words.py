import json
from datetime import date

import pytest

from node.cli.answers import NOTHING, hit_lines, notes_of, state_of
from node.cli.guessing import guess_kind
from node.cli.question import Typed, build_question, request_form, selector_texts
from node.cli.reading import message_dict, parse_message
from node.cli.records import entry_lines
from node.cli.words import (
    id_text,
    interval_text,
    named,
    parse_country,
    parse_id,
    parse_interval,
    parse_place,
    parse_word,
    word,
    words,
)
from node.errors import UsageError
from node.records.labels import Language, label
from node.wire import codes_pb2
from node.wire.codes_pb2 import Crime, LookupKind, Purpose
from node.wire.desk_pb2 import ImportRequest, PeerOutcome, SearchResponse
from node.wire.entry_pb2 import (
    Assertion,
    Consent,
    Coordinates,
    DateInterval,
    Entry,
    Link,
    Person,
    PersonName,
    Protection,
    Telecom,
)
from node.wire.exchange_pb2 import Answer, Grant, Hit, HitOnly, Pending, ReleasedEntry, Terms

# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["victim_id", "VICTIM-ID", " Victim id ", "PURPOSE_VICTIM_ID", "purpose_victim_id"])
def test_a_word_is_read_however_it_is_written(text: str) -> None:
    assert parse_word(Purpose.DESCRIPTOR, text) == codes_pb2.PURPOSE_VICTIM_ID


@pytest.mark.parametrize("text", ["", "unknown", "PURPOSE_UNKNOWN", "PURPOSE_", "3"])
def test_unknown_can_not_be_typed(text: str) -> None:
    with pytest.raises(UsageError, match="is no purpose"):
        parse_word(Purpose.DESCRIPTOR, text)


def test_a_slip_of_the_keyboard_is_answered_with_what_comes_near() -> None:
    with pytest.raises(UsageError, match=r"did you mean trafficking\?"):
        parse_word(Crime.DESCRIPTOR, "trafiking")


def test_words_are_shown_without_prefix_and_a_newer_code_as_its_number() -> None:
    assert words(Crime.DESCRIPTOR, [codes_pb2.CRIME_DOCUMENT_FRAUD, 77]) == "document fraud, unknown (77)"
    assert word(Crime.DESCRIPTOR, 0) == "unknown"


def days(first: date, last: date) -> DateInterval:
    epoch = date(1970, 1, 1)
    return DateInterval(first_day=(first - epoch).days, last_day=(last - epoch).days)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2025", date(2025, 1, 1), date(2025, 12, 31)),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("2025-12", date(2025, 12, 1), date(2025, 12, 31)),
        ("2025-03-14", date(2025, 3, 14), date(2025, 3, 14)),
        ("1968..1971", date(1968, 1, 1), date(1971, 12, 31)),
        ("2025-03-02..2025-05-31", date(2025, 3, 2), date(2025, 5, 31)),
    ],
)
def test_a_date_is_as_wide_as_it_is_known_and_is_shown_as_it_was_typed(text: str, first: date, last: date) -> None:
    assert parse_interval(text) == days(first, last)
    assert interval_text(days(first, last)) == text


@pytest.mark.parametrize("text", ["", "25", "2025-13", "2025-02-30", "2025-3", "March 2025", "2025..", "2025..2024"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_interval(text)


def test_an_interval_outside_the_calendar_is_shown_as_such() -> None:
    assert interval_text(DateInterval(first_day=-(2**31), last_day=0)) == "outside the calendar"


def test_a_place_is_a_country_and_a_name() -> None:
    assert parse_place("gt: Tecún Umán") == ("GT", "Tecún Umán")
    assert parse_country("mx") == "MX"
    for text in ("Tecún Umán", "GT:", "XX:Somewhere", "GT"):
        with pytest.raises(UsageError):
            parse_place(text)


def test_an_id_is_read_in_each_form_that_commands_print() -> None:
    record_id = bytes(range(16))
    for text in (id_text(record_id), f" {record_id.hex().upper()} "):
        assert parse_id(text) == record_id
    for text in ("", "abc", "AAEC", "AAECAwQFBgcICQoLDA0ODw==", "ñ" * 32):
        with pytest.raises(UsageError):
            parse_id(text)
    assert id_text(b"\x01\x02") == "0102"


# --- kinds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("+502 2411-9911", "TELEPHONE"),
        ("0052 1 55 5555 0143", "TELEPHONE"),
        ("2411 9911", "TELEPHONE"),  # a Guatemalan number at home
        ("someone@example.org", "EMAIL"),
        ("@guia_inventado_gt", "ONLINE_ACCOUNT"),
        ("https://social.example/guia", "ONLINE_ACCOUNT"),
        ("2026.MMP0001", "CASE_REFERENCE"),
        ("IMO 9074729", "VESSEL"),
        ("MMSI 366982330", "VESSEL"),
        ("490154203237518", "IMEI"),
        ("1M8GDM9AXKP042788", "VIN"),
        ("GB29 NWBK 6016 1331 9268 19", "BANK_ACCOUNT"),
        ("000000000000000017", "BANK_ACCOUNT"),
        ("MX:ABC-123-A", "PLATE"),
        ("P-123ABC", "PLATE"),
        ("A12345678", "DOCUMENT_NUMBER"),
        ("Empleos Inventados, S.A.", "ORGANISATION_NAME"),
        ("Invented Harvest LLC", "ORGANISATION_NAME"),
        ("Ana Inventada Ejemplo", "NAME"),
        ("O'Higgins Peña, José", "NAME"),
        ("Inventado", "UNKNOWN"),  # a name, a group, an account online?
        ("12345", "UNKNOWN"),
        ("", "UNKNOWN"),
    ],
)
def test_the_form_of_a_value_tells_its_kind_or_nothing(value: str, kind: str) -> None:
    assert LookupKind.Name(guess_kind(value, "GT")) == f"LOOKUP_KIND_{kind}"


# --- questions -------------------------------------------------------------------------------------------------------


def typed(*values: str, **changes: object) -> Typed:
    options: dict[str, object] = {
        "kind": None,
        "birth_year": 0,
        "purpose": "investigate",
        "crimes": ["trafficking"],
        "case": "C-1",
        "instrument": "UNTOC",
        "urgency": "routine",
        "reason": "",
        "offence": None,
        "when": None,
        "place": None,
        "basis": "",
        "page": 1,
    }
    return Typed(values=values, **{**options, **changes})  # type: ignore[arg-type]


BASIS = {"offence": "kidnapping", "when": "2025-03", "place": "GT:Tecún Umán", "basis": "seen by two witnesses"}


def test_a_question_says_which_kinds_were_guessed() -> None:
    question = build_question(typed("+50224119911", "someone@example.org"), "GT")
    assert selector_texts(question) == [
        "telephone: +50224119911 (by its form; else say --kind)",
        "email: someone@example.org (by its form; else say --kind)",
    ]
    told = build_question(typed("Inventado", kind="organisation-name"), "GT")
    assert selector_texts(told) == ["organisation name: Inventado"]


@pytest.mark.parametrize("missing", sorted(BASIS))
def test_who_is_named_is_named_for_something(missing: str) -> None:
    whole = build_question(typed("Ana Inventada", birth_year=1990, **BASIS), "GT").query
    assert whole.selectors[0].birth_year == 1990
    assert (whole.person_basis.place_country, whole.person_basis.place) == ("GT", "Tecún Umán")
    with pytest.raises(UsageError, match=f"say for what: --{missing}$"):
        build_question(typed("Ana Inventada", **{**BASIS, missing: ""}), "GT")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"purpose": "curiosity"}, "is no purpose"),
        ({"crimes": ["rudeness"]}, "is no crime"),
        ({"urgency": "life"}, "needs --reason"),
        ({"birth_year": 1990}, "goes with a name"),
        ({"kind": "shoe-size"}, "is no lookup kind"),
    ],
)
def test_a_wrong_question_is_refused_before_anybody_is_asked(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build_question(typed("+50224119911", **changes), "GT")


def test_a_value_whose_form_does_not_tell_is_not_quoted() -> None:
    with pytest.raises(UsageError, match=r"^value 2: .*--kind") as raised:
        build_question(typed("+50224119911", "Inventado"), "GT")
    assert "Inventado" not in str(raised.value)


def test_the_form_on_paper_says_all_that_the_question_says() -> None:
    question = build_question(typed("Ana Inventada", urgency="life", reason="held for ransom", **BASIS), "GT")
    response = SearchResponse(
        peer="MX", exchange_id=bytes(16), acknowledge_by_us=1_790_000_000_000_000, duty_telephone="+52 55 0000 0000"
    )
    text = "\n".join(request_form(question, response, officer="analyst", node="GT/gt-1", language="en"))
    for part in (
        *(
            "LIFE",
            "MX",
            "+52 55 0000 0000",
            "GT/gt-1",
            "analyst",
            id_text(bytes(16)),
            "2026-09-21T14:13:20Z",
            "Investigation",
        ),
        *("Trafficking", "UNTOC", "C-1", "held for ransom", "Name of a person: Ana Inventada", "Kidnapping", "2025-03"),
        *("Tecún Umán, GT", "seen by two witnesses"),
    ):
        assert part in text


# --- JSON ------------------------------------------------------------------------------------------------------------


def test_json_is_read_kindly_and_written_strictly() -> None:
    text = json.dumps(
        {
            "case_id": "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "roles": ["victim", "ROLE_WITNESS"],
            "protection": {"asylum": "claimed", "victim": "yes"},
            "person": {"birth": "1990-05", "names": [{"full": "Ana Inventada"}], "sex": 1},
        }
    )
    entry = parse_message(text, Entry())
    assert entry.case_id == bytes(range(16))
    assert list(entry.roles) == [codes_pb2.ROLE_VICTIM, codes_pb2.ROLE_WITNESS]
    assert entry.protection.asylum == codes_pb2.ASYLUM_STATE_CLAIMED
    assert entry.person.birth == days(date(1990, 5, 1), date(1990, 5, 31))
    entry.person.photo, entry.person.dna_profile = b"\xff\xd8\xff", b"x" * 24
    written = message_dict(entry)
    assert (written["case_id"], written["person"]["photo"]) == (id_text(bytes(range(16))), "ffd8ff")
    assert parse_message(json.dumps(written), Entry()) == entry


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"persona": {}}',
        '{"person": {"surname": "x"}}',
        '{"roles": ["hero"]}',
        '{"roles": "victim", "person": []}',
        '{"person": {"birth": "soon"}}',
        '{"case_id": "***"}',
        '{"case_id": "AAECAwQFBgcICQoLDA0ODw=="}',
        '{"revision": "many"}',
    ],
)
def test_json_with_anything_unknown_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_message(text, Entry())


def test_json_of_many_entries_is_read_alike() -> None:
    request = parse_message('{"case": {"crimes": ["smuggling"]}, "entries": [{"telecom": {}}]}', ImportRequest())
    assert list(request.case.crimes) == [codes_pb2.CRIME_SMUGGLING]
    assert request.entries[0].HasField("telecom")


# --- answers ---------------------------------------------------------------------------------------------------------


def answered(*hits: Hit, **fields: object) -> SearchResponse:
    answer = Answer(hits=hits, truncated=bool(fields.pop("truncated", False)))
    return SearchResponse(peer="MX", outcome=PeerOutcome.PEER_OUTCOME_ANSWERED, answer=answer, **fields)  # type: ignore[arg-type]


RELEASED = Hit(
    entry=ReleasedEntry(
        handle=bytes(16),
        terms=Terms(obligations=[codes_pb2.OBLIGATION_NO_ONWARD], retention_days=180),
        grants=[
            Grant(
                rule="MX-04",
                law="UNTOC art. 27(1)",
                category=codes_pb2.DATA_CATEGORY_TELECOM,
                outcome=codes_pb2.OUTCOME_GENERALISE,
            )
        ],
        withheld=[codes_pb2.DATA_CATEGORY_COMMUNICATIONS],
        roles=[codes_pb2.ROLE_SUSPECT],
        handling=codes_pb2.HANDLING_CODE_H3,
        handling_text="ask us\x1b[2J",
        source_grade=codes_pb2.SOURCE_GRADE_B,
        information_grade=codes_pb2.INFORMATION_GRADE_3,
        invented=True,
        telecom=Telecom(telephone="+52", last_cell=Coordinates(latitude_e6=22_200_000, longitude_e6=-100_000_000)),
    )
)


def test_an_answer_without_hits_never_reads_as_if_nothing_were_there() -> None:
    assert state_of(answered()) == NOTHING == "nothing releasable now"
    assert "no hit" not in state_of(answered()) + notes_of(answered())


@pytest.mark.parametrize("outcome", [value for value in PeerOutcome.values() if value])
def test_every_outcome_has_words(outcome: PeerOutcome.ValueType) -> None:
    assert state_of(SearchResponse(outcome=outcome)) not in {"", "unknown"}


def test_hits_are_counted_by_what_they_tell() -> None:
    response = answered(RELEASED, RELEASED, Hit(hit=HitOnly()), Hit(pending=Pending()), truncated=True)
    assert state_of(response) == "2 released, 1 hit only, 1 held"
    assert "--page" in notes_of(response)


def test_of_a_life_query_time_and_telephone_are_told_whatever_came() -> None:
    late = SearchResponse(
        peer="MX",
        outcome=PeerOutcome.PEER_OUTCOME_LATE,
        detail="too slow",
        acknowledge_by_us=1_790_000_000_000_000,
        duty_telephone="+52 55 0000 0000",
    )
    assert notes_of(late) == "too slow; a human reads it by 2026-09-21T14:13:20Z, else call +52 55 0000 0000"


def test_a_released_entry_is_shown_with_all_that_goes_with_it() -> None:
    text = "\n".join(hit_lines("MX", RELEASED, "en"))
    for part in (
        *("MX: Telephone or online account, invented", "telephone: +52   [Telecommunications; Generalise]"),
        *("last cell: 22.2, -100   [Location; Release]", "originator   MX", "H3: other, in words; ask us"),
        *("grading      B: mostly reliable; 3: corroborated", "obligations  Do not pass on", "delete after 180 days"),
        *("MX-04, UNTOC art. 27(1): Telecommunications", "withheld     Contents and data of communications"),
        *("roles        Suspect", id_text(bytes(16))),
    ):
        assert part in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("language", "parts"),
    [
        ("es", ("MX: Teléfono o cuenta en línea", "[Telecomunicaciones; Generalizar]", "Sospechoso", "No transmitir")),
        ("pt", ("[Telecomunicações; Generalizar]", "Suspeito")),
        ("fr", ("[Télécommunications; Généraliser]", "Suspect")),
    ],
)
def test_codes_are_told_in_the_officers_language(language: Language, parts: tuple[str, ...]) -> None:
    text = "\n".join(hit_lines("MX", RELEASED, language))
    for part in parts:
        assert part in text
    entry = Entry(entry_id=bytes(16), roles=[77], person=Person(sex=codes_pb2.SEX_FEMALE))  # type: ignore[list-item]
    own = "\n".join(entry_lines(entry, language))
    assert label("Sex", codes_pb2.SEX_FEMALE, language) in own
    assert "(77)" in own  # of a newer version of the contract


def test_what_the_house_has_no_names_for_keeps_its_words() -> None:
    assert named(PeerOutcome.DESCRIPTOR, PeerOutcome.PEER_OUTCOME_LATE, "es") == "late"


def test_hit_only_and_held_say_what_to_do() -> None:
    assert "ask MX for it" in "\n".join(hit_lines("MX", Hit(hit=HitOnly(handle=bytes(16))), "en"))
    held = "\n".join(hit_lines("MX", Hit(pending=Pending(ticket=bytes(16), due_us=1_790_000_000_000_000)), "en"))
    assert "2026-09-21T14:13:20Z" in held


def test_a_time_beyond_the_calendar_breaks_no_answer() -> None:
    hit = Hit(entry=ReleasedEntry(recorded_us=2**62))
    assert "recorded     outside the calendar" in "\n".join(hit_lines("MX", hit, "en"))


def test_names_of_people_are_shown_with_their_aliases() -> None:
    names = [PersonName(full="Ana Inventada"), PersonName(full="La Inventada", alias=True)]
    text = "\n".join(hit_lines("MX", Hit(entry=ReleasedEntry(person=Person(names=names, photo=bytes(7)))), "en"))
    assert "names: Ana Inventada, La Inventada (alias)" in text
    assert "photo: 7 bytes" in text


# --- own records -----------------------------------------------------------------------------------------------------


def test_an_own_entry_shows_what_protects_its_subject_and_who_said_so() -> None:
    by = Assertion(officer="analyst", at_us=1_790_000_000_000_000, basis="file 7")
    entry = Entry(
        entry_id=bytes(16),
        revision=3,
        roles=[codes_pb2.ROLE_WITNESS],
        links=[Link(kind=codes_pb2.LINK_KIND_USES, to_entry_id=bytes(range(16)))],
        protection=Protection(
            asylum=codes_pb2.ASYLUM_STATE_CLAIMED,
            asylum_by=by,
            origins=["HN", "GT"],
            consents=[
                Consent(recipient="MX", purpose=codes_pb2.PURPOSE_INVESTIGATE, given_us=1, by=by),
                Consent(recipient="US", purpose=codes_pb2.PURPOSE_INVESTIGATE, given_us=1, revoked_us=2_000_000, by=by),
            ],
        ),
        inherited=Protection(victim=codes_pb2.TRI_YES),
        person=Person(names=[PersonName(full="Ana Inventada")], last_seen_us=1_790_000_000_000_000),
    )
    text = "\n".join(entry_lines(entry, "en"))
    for part in (
        *("Person  00000000-0000-0000-0000-000000000000  revision 3", "last seen: 2026-09-21", "roles: Witness"),
        *(
            "Uses: 00010203-0405-0607-0809-0a0b0c0d0e0f",
            "protection, asylum: Asylum claimed",
            "protection, origins: HN, GT",
        ),
        *("protection, asylum by: analyst, 2026-09-21T14:13:20Z: file 7", "inherited, victim: Yes"),
        *("consent to MX: in force, recorded by analyst", "consent to US: revoked 1970-01-01T00:00:02Z"),
    ):
        assert part in text


def test_an_entry_of_a_newer_kind_is_shown_as_far_as_it_is_known() -> None:
    assert next(entry_lines(Entry(entry_id=bytes(16)), "en")).startswith(
        "an entry of a kind that this node does not know"
    )
    assert (
        next(hit_lines("MX", Hit(entry=ReleasedEntry()), "en")) == "MX: an entry of a kind that this node does not know"
    )
