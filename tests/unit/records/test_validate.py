from collections.abc import Callable

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from node.errors import RecordError
from node.policy.vocabulary import COUNTRIES as COUNTRIES_IN_POLICY
from node.records.validate import (
    COUNTRIES,
    COUNTRY_FIELDS,
    LONGEST_FREE_TEXT,
    LONGEST_REVIEW_US,
    LONGEST_TEXT,
    MOST_ITEMS,
    verify_case,
    verify_entry,
)
from node.wire import codes_pb2 as codes
from node.wire.entry_pb2 import Assertion, Case, Consent, Entry, Link, Person, PersonName, Protection, Telecom

NOW_US = 1_780_000_000_000_000  # 2026-05-28
DAY_US = 86_400_000_000
BY = Assertion(officer="gt-01", at_us=NOW_US, basis="interview")


def case() -> Case:
    return Case(
        case_id=b"c" * 16,
        reference="GT-2026-0001",
        title="An invented case",
        crimes=[codes.CRIME_TRAFFICKING],
        unit="UIP",
        opened_us=NOW_US - DAY_US,
        review_us=NOW_US + 365 * DAY_US,
        open=True,
    )


def entry() -> Entry:
    return Entry(
        entry_id=b"e" * 16,
        case_id=b"c" * 16,
        revision=1,
        originator="GT",
        unit="UIP",
        recorded_us=NOW_US,
        review_us=NOW_US + 365 * DAY_US,
        roles=[codes.ROLE_VICTIM],
        crimes=[codes.CRIME_TRAFFICKING],
        handling=codes.HANDLING_CODE_H0,
        source_grade=codes.SOURCE_GRADE_B,
        information_grade=codes.INFORMATION_GRADE_3,
        protection=Protection(victim=codes.TRI_YES, asylum=codes.ASYLUM_STATE_CLAIMED, origins=["GT"]),
        links=[Link(kind=codes.LINK_KIND_USES, to_entry_id=b"t" * 16)],
        person=Person(names=[PersonName(full="Ana Inventada \u00d1and\u00fa")], nationalities=["GT"]),
    )


def suspect(record: Entry) -> None:
    record.roles[:] = [codes.ROLE_SUSPECT]
    record.source = "statement of an invented witness"


def test_whole_records_pass() -> None:
    verify_case(case(), now_us=NOW_US)
    verify_entry(entry(), now_us=NOW_US)


def test_a_suspect_with_a_basis_passes() -> None:
    record = entry()
    suspect(record)
    verify_entry(record, now_us=NOW_US)


def test_a_smuggled_migrant_may_be_suspected_of_something_else() -> None:
    record = entry()
    suspect(record)
    record.roles.append(codes.ROLE_SMUGGLED_MIGRANT)
    record.crimes[:] = [codes.CRIME_SMUGGLING, codes.CRIME_HOMICIDE]
    verify_entry(record, now_us=NOW_US)


def test_nothing_to_protect_with_who_and_when_passes() -> None:
    record = entry()
    record.protection.CopyFrom(
        Protection(
            victim=codes.TRI_NO,
            age=codes.AGE_CLASS_ADULT,
            asylum=codes.ASYLUM_STATE_NONE,
            witness_protection=codes.TRI_NO,
            exposure=codes.EXPOSURE_NONE,
            torture_derived=codes.TRI_NO,
            stateless=codes.TRI_NO,
            origins=["GT"],
            origins_complete=True,
            victim_by=BY,
            age_by=BY,
            asylum_by=BY,
            witness_by=BY,
            exposure_by=BY,
            origins_by=BY,
            torture_derived_by=BY,
            consents=[Consent(recipient="MX", purpose=codes.PURPOSE_VICTIM_ID, given_us=1, by=BY)],
        )
    )
    verify_entry(record, now_us=NOW_US)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda c: setattr(c, "case_id", b"short"), "case_id"),
        (lambda c: c.ClearField("reference"), "reference"),
        (lambda c: setattr(c, "title", "  "), "title"),
        (lambda c: c.ClearField("unit"), "unit"),
        (lambda c: c.ClearField("crimes"), "crimes"),
        (lambda c: c.crimes.append(99), "crimes"),
        (lambda c: c.ClearField("opened_us"), "opened_us"),
        (lambda c: setattr(c, "opened_us", NOW_US + DAY_US), "opened_us"),
        (lambda c: c.ClearField("review_us"), "review_us"),
        (lambda c: setattr(c, "review_us", NOW_US + LONGEST_REVIEW_US + 1), "review_us"),
        (lambda c: setattr(c, "reference", "x" * (LONGEST_TEXT + 1)), "reference"),
        (lambda c: setattr(c, "title", "a\x1b[2Jb"), "title"),
    ],
)
def test_a_case_that_can_not_be_kept(change: Callable[[Case], None], field: str) -> None:
    record = case()
    change(record)
    with pytest.raises(RecordError, match=rf"^{field}: "):
        verify_case(record, now_us=NOW_US)


def suspect_without(field: str) -> Callable[[Entry], None]:
    def change(record: Entry) -> None:
        suspect(record)
        record.ClearField(field)  # type: ignore[arg-type]

    return change


def no_words(record: Entry) -> None:
    record.handling = codes.HANDLING_CODE_H3


def merely_smuggled(record: Entry) -> None:
    suspect(record)
    record.roles.append(codes.ROLE_SMUGGLED_MIGRANT)
    record.crimes[:] = [codes.CRIME_SMUGGLING, codes.CRIME_DOCUMENT_FRAUD]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda e: setattr(e, "entry_id", b""), "entry_id"),
        (lambda e: setattr(e, "case_id", b"c" * 17), "case_id"),
        (lambda e: e.ClearField("originator"), "originator"),
        (lambda e: setattr(e, "originator", "gt"), "originator"),
        (lambda e: setattr(e, "originator", "XX"), "originator"),
        (lambda e: e.ClearField("unit"), "unit"),
        (lambda e: e.ClearField("person"), "entity"),
        (lambda e: e.ClearField("recorded_us"), "recorded_us"),
        (lambda e: setattr(e, "recorded_us", NOW_US + DAY_US), "recorded_us"),
        (lambda e: e.ClearField("review_us"), "review_us"),
        (lambda e: setattr(e, "review_us", NOW_US - 1), "review_us"),
        (lambda e: setattr(e, "review_us", NOW_US + LONGEST_REVIEW_US + 1), "review_us"),
        (lambda e: e.roles.append(99), "roles"),
        (lambda e: e.roles.append(codes.ROLE_VICTIM), "roles"),
        (lambda e: setattr(e, "handling", 99), "handling"),
        (no_words, "handling_text"),
        (lambda e: setattr(e, "handling_text", "words"), "handling_text"),
        (suspect_without("source"), "source"),
        (suspect_without("source_grade"), "source_grade"),
        (suspect_without("information_grade"), "information_grade"),
        (suspect_without("crimes"), "crimes"),
        (merely_smuggled, "crimes"),
        (lambda e: setattr(e.protection, "victim", 7), "protection.victim"),
        (lambda e: setattr(e.protection, "victim", codes.TRI_NO), "protection.victim_by"),
        (lambda e: setattr(e.protection, "age", codes.AGE_CLASS_ADULT), "protection.age_by"),
        (lambda e: setattr(e.protection, "asylum", codes.ASYLUM_STATE_NONE), "protection.asylum_by"),
        (lambda e: setattr(e.protection, "witness_protection", codes.TRI_NO), "protection.witness_by"),
        (lambda e: setattr(e.protection, "exposure", codes.EXPOSURE_NONE), "protection.exposure_by"),
        (lambda e: setattr(e.protection, "torture_derived", codes.TRI_NO), "protection.torture_derived_by"),
        (lambda e: setattr(e.protection, "origins_complete", True), "protection.origins_by"),
        (
            lambda e: e.protection.MergeFrom(Protection(victim=codes.TRI_NO, victim_by=Assertion(officer="x"))),
            "protection.victim_by",
        ),
        (
            lambda e: e.protection.CopyFrom(Protection(origins_complete=True, origins_by=BY)),
            "protection.origins",
        ),
        (lambda e: e.protection.origins.append("Guatemala"), "protection.origins"),
        (lambda e: e.protection.torture_risk.append(""), "protection.torture_risk"),
        (lambda e: e.protection.consents.add(purpose=1, given_us=1, by=BY), "protection.consents.recipient"),
        (lambda e: e.protection.consents.add(recipient="MX", given_us=1, by=BY), "protection.consents.purpose"),
        (lambda e: e.protection.consents.add(recipient="MX", purpose=1, by=BY), "protection.consents.given_us"),
        (lambda e: e.protection.consents.add(recipient="MX", purpose=1, given_us=1), "protection.consents.by"),
        (lambda e: e.links.add(to_entry_id=b"x" * 16), "links.kind"),
        (lambda e: e.links.add(kind=codes.LINK_KIND_USES), "links.to_entry_id"),
        (lambda e: e.links.add(kind=codes.LINK_KIND_USES, to_entry_id=e.entry_id), "links.to_entry_id"),
        (lambda e: e.person.nationalities.append("gt"), "person.nationalities"),
        (lambda e: e.person.names.add(full="a" * (LONGEST_TEXT + 1)), "person.names.full"),
        (lambda e: e.person.names.add(full="a\nb"), "person.names.full"),
        (lambda e: e.person.names.add(full="\u202egnp"), "person.names.full"),
        (lambda e: setattr(e.person, "health", "a" * (LONGEST_FREE_TEXT + 1)), "person.health"),
        (lambda e: setattr(e.person, "health", "a\x1b"), "person.health"),
        (lambda e: e.person.telephones.extend(["+12025550147"] * (MOST_ITEMS + 1)), "person.telephones"),
        (lambda e: setattr(e.person, "dna_profile", bytes(70_000)), "person.dna_profile"),
        (lambda e: setattr(e.person, "photo", bytes(5 * 1024 * 1024)), "entity"),
        (lambda e: setattr(e.person, "photo", bytes(256 * 1024 + 1)), "person.photo"),
        (lambda e: e.person.MergeFrom(Person(photo=bytes(200_000), fingerprints=bytes(70_000))), "person.photo"),
        (lambda e: setattr(e.person, "sex", 9), "person.sex"),
        (lambda e: setattr(e.person.birth, "first_day", 1), "person.birth"),
        (lambda e: setattr(e.person.birth, "last_day", 60_000), "person.birth"),
        (lambda e: setattr(e.person.birth, "last_day", 2**31 - 1), "person.birth"),
        (lambda e: setattr(e.person.last_seen_at, "latitude_e6", 90_000_001), "person.last_seen_at"),
        (lambda e: setattr(e.incident, "source_quality", 6), "incident.source_quality"),
    ],
)
def test_an_entry_that_can_not_be_kept(change: Callable[[Entry], None], field: str) -> None:
    record = entry()
    change(record)
    with pytest.raises(RecordError, match=rf"^{field}: "):
        verify_entry(record, now_us=NOW_US)


def test_free_text_may_have_lines() -> None:
    record = entry()
    record.person.health = "first\nsecond\u00a0line"
    verify_entry(record, now_us=NOW_US)


def test_a_refusal_never_quotes_the_value() -> None:
    record = entry()
    record.telecom.CopyFrom(Telecom(carrier_country="Nowhere", platform="x\x1b"))
    with pytest.raises(RecordError) as refused:
        verify_entry(record, now_us=NOW_US)
    assert "Nowhere" not in str(refused.value)


def test_unknown_fields_of_a_newer_contract_are_no_reason_to_refuse() -> None:
    record = Entry()
    record.ParseFromString(entry().SerializeToString() + b"\xc2\x3e\x01x")  # field 1000
    verify_entry(record, now_us=NOW_US)
    assert b"\xc2\x3e\x01x" in record.SerializeToString()


def test_the_countries_are_those_of_the_rules() -> None:
    assert COUNTRIES == COUNTRIES_IN_POLICY


def strings(message: Descriptor) -> set[str]:
    found = set()
    for field in message.fields:
        if field.message_type is not None:
            found |= strings(field.message_type)
        elif field.type == FieldDescriptor.TYPE_STRING:
            found.add(field.name)
    return found


def test_every_field_that_names_a_country_is_checked_as_one() -> None:
    names = strings(Entry.DESCRIPTOR)
    assert names >= COUNTRY_FIELDS
    speaking = {
        name for name in names if any(part in name for part in ("countr", "nationalit", "origin", "flag", "risk"))
    }
    assert speaking <= COUNTRY_FIELDS
