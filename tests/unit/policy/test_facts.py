from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from node.errors import PolicyError
from node.policy import derive
from node.policy.derive import PROTECTION_CODES, PROTECTION_LISTS, derive_facts, derive_request
from node.policy.facts import (
    UNKNOWN_AGE,
    Facts,
    age_fact,
    age_of_birth,
    consent_fact,
    encode_facts,
    origin_fact,
    parse_facts,
    risk_fact,
    role_fact,
    strictest,
    subjects_of,
    victim_fact,
)
from node.policy.vocabulary import DIMENSIONS
from node.wire import codes_pb2, entry_pb2
from tests.unit.policy.situations import DAY_US, NOW_US, SUSPECT_PHONE, any_facts, assessed, but, phone, question

EPOCH = date(1970, 1, 1)


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * 1_000_000


def born(first: date, last: date | None = None) -> entry_pb2.DateInterval:
    return entry_pb2.DateInterval(first_day=(first - EPOCH).days, last_day=((last or first) - EPOCH).days)


def derived(entry: entry_pb2.Entry | None = None, recipient: str = "GT", **asked: object) -> Facts:
    instruments = [codes_pb2.INSTRUMENT_KIND_TREATY]
    request = derive_request(recipient=recipient, query=question(**asked), instruments=instruments, paired=True)
    return derive_facts(request, phone() if entry is None else entry, NOW_US)


def test_facts_are_the_dimensions_in_their_order() -> None:
    assert Facts.__struct_fields__ == tuple(DIMENSIONS)


def test_a_suspects_telephone() -> None:
    assert derived() == SUSPECT_PHONE


def test_what_is_not_recorded_is_unknown() -> None:
    facts = derived(entry_pb2.Entry(person=entry_pb2.Person()))
    for name in (
        "victim",
        "minor",
        "asylum",
        "witness",
        "exposure",
        "stateless",
        "recipient_is_origin",
        "torture_derived",
    ):
        assert getattr(facts, name) == "UNKNOWN", name
    assert facts.role == facts.record_crime == frozenset({"UNKNOWN"})
    assert facts.handling == "UNKNOWN"
    assert facts.record_age == UNKNOWN_AGE
    assert facts.torture_risk == facts.consent == "NOT_RECORDED"


def test_what_is_not_about_a_subject_does_not_apply() -> None:
    facts = derived(entry_pb2.Entry(incident=entry_pb2.Incident(dead=3)))
    for name, dimension in DIMENSIONS.items():
        if dimension.about == "subject" and name != "role":
            assert getattr(facts, name) == "NOT_APPLICABLE", name
    assert facts.role == frozenset({"NOT_APPLICABLE"})


def test_an_entry_of_a_kind_this_node_does_not_know_is_about_a_subject() -> None:
    facts = derived(entry_pb2.Entry())
    assert (facts.kind, facts.asylum) == ("UNKNOWN", "UNKNOWN")


def test_numbers_of_a_newer_contract_are_unknown() -> None:
    facts = derived(phone(roles=[99], crimes=[77]), purpose=60, crimes=[88], urgency=44)
    assert facts.role == facts.record_crime == facts.crime == frozenset({"UNKNOWN"})
    assert facts.purpose == facts.urgency == "UNKNOWN"


def test_an_unknown_country_or_instrument_helps_nobody() -> None:
    unheard = [codes_pb2.INSTRUMENT_KIND_UNKNOWN]
    request = derive_request(recipient="ZZ", query=question(), instruments=unheard, paired=False)
    facts = derive_facts(request, phone(), NOW_US)
    assert (facts.recipient, facts.paired, facts.instrument) == ("UNKNOWN", "NO", frozenset())


@pytest.mark.parametrize(
    ("entry", "count"),
    [
        (entry_pb2.Entry(person=entry_pb2.Person()), 1),
        (entry_pb2.Entry(person=entry_pb2.Person(), inherited=assessed()), 2),
        (entry_pb2.Entry(telecom=entry_pb2.Telecom()), 0),
        (entry_pb2.Entry(telecom=entry_pb2.Telecom(), inherited=assessed()), 1),
        (entry_pb2.Entry(telecom=entry_pb2.Telecom(), protection=assessed(), inherited=assessed()), 2),
        (entry_pb2.Entry(telecom=entry_pb2.Telecom(), inherited_roles=[codes_pb2.ROLE_VICTIM]), 1),
        (entry_pb2.Entry(telecom=entry_pb2.Telecom(), roles=[codes_pb2.ROLE_SUSPECT]), 1),
        (entry_pb2.Entry(organisation=entry_pb2.Organisation(), roles=[codes_pb2.ROLE_SUSPECT]), 0),
    ],
)
def test_whose_protection_counts(entry: entry_pb2.Entry, count: int) -> None:
    kind = {"person": "PERSON", "organisation": "ORGANISATION"}.get(entry.WhichOneof("entity") or "", "TELECOM")
    assert len(subjects_of(entry, kind)) == count


@pytest.mark.parametrize(
    ("values", "joined"),
    [
        ([], "NOT_APPLICABLE"),
        (["NONE"], "NONE"),
        (["NONE", "NONE"], "NONE"),
        (["NONE", "CLAIMED"], "CLAIMED"),
        (["NONE", "UNKNOWN"], "UNKNOWN"),
        (["CLAIMED", "UNKNOWN"], "UNKNOWN"),
        (["CLAIMED", "RECOGNISED"], "UNKNOWN"),
    ],
)
def test_the_strictest_subject_counts(values: list[str], joined: str) -> None:
    assert strictest(values, harmless="NONE") == joined
    assert strictest(values[::-1], harmless="NONE") == joined


VICTIM, SUSPECT, MISSING = codes_pb2.ROLE_VICTIM, codes_pb2.ROLE_SUSPECT, codes_pb2.ROLE_MISSING


@pytest.mark.parametrize(
    ("entry", "kind", "roles"),
    [
        (entry_pb2.Entry(), "PERSON", {"UNKNOWN"}),
        (entry_pb2.Entry(), "TELECOM", {"NOT_APPLICABLE"}),
        (entry_pb2.Entry(roles=[SUSPECT]), "PERSON", {"SUSPECT"}),
        (entry_pb2.Entry(roles=[SUSPECT], inherited_roles=[MISSING]), "TELECOM", {"SUSPECT", "MISSING"}),
        (
            entry_pb2.Entry(roles=[SUSPECT], protection=assessed(victim=codes_pb2.TRI_YES)),
            "PERSON",
            {"SUSPECT", "VICTIM"},
        ),
        (entry_pb2.Entry(inherited=assessed(victim=codes_pb2.TRI_YES)), "TELECOM", {"VICTIM"}),
        (
            entry_pb2.Entry(roles=[codes_pb2.ROLE_PRESUMED_VICTIM], protection=assessed(victim=codes_pb2.TRI_YES)),
            "PERSON",
            {"PRESUMED_VICTIM"},
        ),
    ],
)
def test_roles_are_several_and_inherited(entry: entry_pb2.Entry, kind: str, roles: set[str]) -> None:
    assert role_fact(entry, kind) == roles


@pytest.mark.parametrize(
    ("recorded", "roles", "fact"),
    [
        (codes_pb2.TRI_NO, {"SUSPECT"}, "NO"),
        (codes_pb2.TRI_UNKNOWN, {"SUSPECT"}, "UNKNOWN"),
        (codes_pb2.TRI_YES, {"SUSPECT", "VICTIM"}, "YES"),
        (codes_pb2.TRI_NO, {"PRESUMED_VICTIM"}, "YES"),  # a role prevails over a stale record
    ],
)
def test_a_victim_prevails(recorded: int, roles: set[str], fact: str) -> None:
    assert victim_fact([assessed(victim=recorded)], frozenset(roles)) == fact


@pytest.mark.parametrize(
    ("birth", "now_us", "fact"),
    [
        (born(date(2000, 6, 15)), at(2018, 6, 15, 11, 59), "IS_MINOR"),  # still the 14th at UTC-12
        (born(date(2000, 6, 15)), at(2018, 6, 15, 12, 0), "IS_ADULT"),
        (born(date(2000, 2, 29)), at(2018, 2, 28, 23), "IS_MINOR"),
        (born(date(2000, 2, 29)), at(2018, 3, 1, 11, 59), "IS_MINOR"),
        (born(date(2000, 2, 29)), at(2018, 3, 1, 12), "IS_ADULT"),
        (born(date(2000, 1, 1), date(2000, 12, 31)), at(2018, 7, 1), "UNKNOWN"),  # straddles 18
        (born(date(2000, 1, 1), date(2000, 12, 31)), at(2017, 12, 31), "IS_MINOR"),
        (born(date(2000, 1, 1), date(2000, 12, 31)), at(2018, 12, 31, 12), "IS_ADULT"),
        (born(date(1950, 3, 4)), at(2018, 7, 1), "IS_ADULT"),
        (born(date(2000, 1, 2), date(2000, 1, 1)), at(2030, 1, 1), "UNKNOWN"),  # no interval
        (born(date(2040, 1, 1)), at(2030, 1, 1), "UNKNOWN"),  # not yet born
        (entry_pb2.DateInterval(first_day=-(2**31), last_day=0), at(2030, 1, 1), "UNKNOWN"),
        (entry_pb2.DateInterval(first_day=2**31 - 1, last_day=2**31 - 1), at(2030, 1, 1), "UNKNOWN"),
        (born(date(2000, 6, 15)), 10**19, "UNKNOWN"),  # a clock beyond the calendar
    ],
)
def test_a_child_is_one_until_the_birthday_has_begun_everywhere(
    birth: entry_pb2.DateInterval, now_us: int, fact: str
) -> None:
    assert age_of_birth(birth, now_us) == fact


def test_a_recorded_birth_decides_over_an_assessment() -> None:
    child = entry_pb2.Person(birth=born(date(2015, 1, 1)))
    straddling = entry_pb2.Person(birth=born(date(2008, 1, 1), date(2008, 12, 31)))
    assert derived(entry_pb2.Entry(person=child, protection=assessed())).minor == "IS_MINOR"
    assert derived(entry_pb2.Entry(person=straddling, protection=assessed())).minor == "UNKNOWN"
    assert derived(entry_pb2.Entry(person=entry_pb2.Person(), protection=assessed())).minor == "IS_ADULT"


@pytest.mark.parametrize(
    ("days", "bound"), [(0, 0), (29, 0), (30, 30), (1824, 1095), (1825, 1825), (9999, 3650), (-1, UNKNOWN_AGE)]
)
def test_the_age_of_a_record_is_known_in_classes(days: int, bound: int) -> None:
    assert age_fact(NOW_US - days * DAY_US, NOW_US) == bound


def test_a_record_without_a_time_has_no_age() -> None:
    assert age_fact(0, NOW_US) == UNKNOWN_AGE


@pytest.mark.parametrize(
    ("origins", "complete", "nationalities", "fact"),
    [
        (["GT"], False, [], "IS_ORIGIN"),
        (["HN", "GT"], True, [], "IS_ORIGIN"),
        ([], False, ["GT"], "IS_ORIGIN"),
        (["HN"], True, [], "NOT_ORIGIN"),
        (["HN"], True, ["SV"], "NOT_ORIGIN"),
        (["HN"], False, [], "UNKNOWN"),
        ([], True, [], "UNKNOWN"),
        (["gt"], True, [], "UNKNOWN"),  # not a code: who can tell which country was meant
        (["HN"], True, ["Guatemala"], "UNKNOWN"),
    ],
)
def test_whether_the_recipient_is_a_state_of_origin(
    origins: list[str], *, complete: bool, nationalities: list[str], fact: str
) -> None:
    subject = entry_pb2.Protection(origins=origins, origins_complete=complete)
    assert origin_fact([subject], nationalities, "GT") == fact


def test_one_subject_whose_origins_are_not_known_is_enough() -> None:
    assert origin_fact([assessed(), entry_pb2.Protection()], [], "GT") == "UNKNOWN"
    assert origin_fact([], [], "GT") == "NOT_APPLICABLE"


def test_risks_are_per_recipient() -> None:
    assert risk_fact([["US"], []], "US") == "AT_RISK"
    assert risk_fact([["US"]], "GT") == "NOT_RECORDED"
    assert risk_fact([], "GT") == "NOT_APPLICABLE"


CONSENT: dict[str, Any] = {"recipient": "GT", "purpose": codes_pb2.PURPOSE_VICTIM_ID, "given_us": NOW_US - 1}


@pytest.mark.parametrize(
    ("changed", "purpose", "minor", "fact"),
    [
        ({}, "VICTIM_ID", "IS_ADULT", "RECORDED_BY_ORIGINATOR"),
        ({}, "INVESTIGATE", "IS_ADULT", "NOT_RECORDED"),
        ({}, "VICTIM_ID", "IS_MINOR", "NOT_RECORDED"),  # void for children
        ({}, "VICTIM_ID", "UNKNOWN", "NOT_RECORDED"),  # and for who may be one
        ({"recipient": "US"}, "VICTIM_ID", "IS_ADULT", "NOT_RECORDED"),
        ({"revoked_us": NOW_US}, "VICTIM_ID", "IS_ADULT", "NOT_RECORDED"),
        ({"given_us": NOW_US + 1}, "VICTIM_ID", "IS_ADULT", "NOT_RECORDED"),
        ({"given_us": 0}, "VICTIM_ID", "IS_ADULT", "NOT_RECORDED"),
        ({"purpose": 0}, "UNKNOWN", "IS_ADULT", "NOT_RECORDED"),
    ],
)
def test_consent_is_what_the_originator_recorded(changed: dict[str, Any], purpose: str, minor: str, fact: str) -> None:
    subject = assessed(consents=[entry_pb2.Consent(**{**CONSENT, **changed})])
    assert consent_fact([subject], "GT", purpose, minor, NOW_US) == fact


def test_every_subject_must_have_consented() -> None:
    one = assessed(consents=[entry_pb2.Consent(**CONSENT)])
    assert consent_fact([one, assessed()], "GT", "VICTIM_ID", "IS_ADULT", NOW_US) == "NOT_RECORDED"


def test_what_the_asker_says_of_consent_is_not_consent() -> None:
    facts = derived(ground=codes_pb2.GROUND_CONSENT)
    assert (facts.ground, facts.consent) == ("CONSENT", "NOT_RECORDED")


@given(
    st.dates(date(1900, 1, 1), date(2030, 12, 31)),
    st.integers(0, 3),
    st.dates(date(2000, 1, 1), date(2040, 12, 31)),
)
@example(date(2006, 2, 28), 1, date(2024, 2, 29))
@example(date(2000, 2, 28), 1, date(2018, 2, 28))
def test_of_age_is_who_has_had_the_eighteenth_birthday(first: date, days: int, today: date) -> None:
    def birthday(day: date) -> date:
        try:
            return day.replace(year=day.year + 18)
        except ValueError:
            return date(day.year + 18, 3, 1)

    last = first + timedelta(days=days)
    word = age_of_birth(born(first, last), at(today.year, today.month, today.day, 23))
    if last > today:
        assert word == "UNKNOWN"
    elif birthday(last) <= today:
        assert word == "IS_ADULT"
    else:
        assert word == ("IS_MINOR" if birthday(first) > today else "UNKNOWN")


# --- what is remembered ----------------------------------------------------------------------------------------------

CODES = st.integers(0, 12)
COUNTRY = st.sampled_from(["GT", "MX", "HN", "Honduras", ""])
ASSERTIONS = st.builds(entry_pb2.Assertion, officer=st.sampled_from(["p-1", "p-2"]), at_us=st.integers(0, 2**40))
PROTECTIONS = st.builds(
    entry_pb2.Protection,
    **{name: st.integers(0, 4) for name in PROTECTION_CODES if name != "origins_complete"},
    **{name: st.lists(COUNTRY, max_size=2) for name in PROTECTION_LISTS},
    origins_complete=st.booleans(),
    victim_by=ASSERTIONS,
    consents=st.lists(
        st.builds(
            entry_pb2.Consent,
            recipient=COUNTRY,
            purpose=st.sampled_from([codes_pb2.PURPOSE_INVESTIGATE, codes_pb2.PURPOSE_TREND]),
            given_us=st.sampled_from([0, NOW_US - 1, NOW_US + 1]),
            revoked_us=st.sampled_from([0, NOW_US - 1]),
        ),
        max_size=1,
    ),
)
BIRTHS = st.builds(born, st.dates(date(1990, 1, 1), date(2028, 1, 1)))


@st.composite
def entries(draw: st.DrawFn) -> entry_pb2.Entry:
    entry = entry_pb2.Entry(
        unit=draw(st.sampled_from(["U", "V"])),
        recorded_us=draw(st.sampled_from([0, NOW_US - 40 * DAY_US, NOW_US + 1])),
        handling=draw(CODES),  # type: ignore[arg-type]
        crimes=draw(st.lists(CODES, max_size=2)),  # type: ignore[arg-type]
        caveats=draw(st.lists(CODES, max_size=1)),  # type: ignore[arg-type]
        roles=draw(st.lists(CODES, max_size=2)),  # type: ignore[arg-type]
        inherited_roles=draw(st.lists(CODES, max_size=1)),  # type: ignore[arg-type]
        protection=draw(st.none() | PROTECTIONS),
        inherited=draw(st.none() | PROTECTIONS),
    )
    holder = draw(st.sampled_from(["", "person", "telecom", "organisation", "incident"]))
    if holder:
        getattr(entry, holder).SetInParent()
    if holder == "person":
        entry.person.nationalities.extend(draw(st.lists(COUNTRY, max_size=1)))
        if draw(st.booleans()):
            entry.person.birth.CopyFrom(draw(BIRTHS))
    return entry


@settings(max_examples=400, deadline=None)
@given(entries())
def test_what_is_remembered_changes_no_fact(entry: entry_pb2.Entry) -> None:
    request = derive_request(
        recipient="GT", query=question(), instruments=[codes_pb2.INSTRUMENT_KIND_TREATY], paired=True
    )
    birth = entry.person.birth if entry.person.HasField("birth") else None
    alone = derive._derive(
        request,
        entry,
        age_fact(entry.recorded_us, NOW_US),
        None if birth is None else age_of_birth(birth, NOW_US),
        NOW_US,
    )
    assert derive_facts(request, entry, NOW_US) == alone
    assert derive_facts(request, entry, NOW_US) == alone


@pytest.mark.parametrize("holder", ["protection", "inherited"])
@pytest.mark.parametrize(
    ("recorded", "fact", "word"),
    [
        ({"victim": codes_pb2.TRI_YES}, "victim", "YES"),
        ({"age": codes_pb2.AGE_CLASS_MINOR}, "minor", "IS_MINOR"),
        ({"asylum": codes_pb2.ASYLUM_STATE_CLAIMED}, "asylum", "CLAIMED"),
        ({"witness_protection": codes_pb2.TRI_YES}, "witness", "YES"),
        ({"stateless": codes_pb2.TRI_YES}, "stateless", "YES"),
        ({"exposure": codes_pb2.EXPOSURE_JOURNALIST}, "exposure", "JOURNALIST"),
        ({"torture_derived": codes_pb2.TRI_YES}, "torture_derived", "YES"),
        ({"origins": ["GT"]}, "recipient_is_origin", "IS_ORIGIN"),
        ({"origins_complete": False}, "recipient_is_origin", "UNKNOWN"),
        ({"torture_risk": ["GT"]}, "torture_risk", "AT_RISK"),
        ({"death_penalty_risk": ["GT"]}, "death_penalty", "AT_RISK"),
        ({"consents": [entry_pb2.Consent(**CONSENT)]}, "consent", "RECORDED_BY_ORIGINATOR"),
        ({"assurances": [entry_pb2.Assurance(recipient="GT", given_us=NOW_US)]}, "assurance", "GIVEN"),
    ],
)
def test_each_protection_reaches_its_fact(holder: str, recorded: dict[str, Any], fact: str, word: str) -> None:
    entry = phone()
    entry.ClearField("inherited")
    getattr(entry, holder).CopyFrom(assessed(**recorded))
    assert getattr(derived(entry, purpose=codes_pb2.PURPOSE_VICTIM_ID), fact) == word


def test_each_part_of_a_protection_is_read_but_who_asserted_it() -> None:
    read = {*PROTECTION_CODES, *PROTECTION_LISTS, "consents", "assurances"}
    for field in entry_pb2.Protection.DESCRIPTOR.fields:
        assert (field.name in read) == (field.message_type is not entry_pb2.Assertion.DESCRIPTOR), field.name


def test_equal_records_of_different_officers_share_their_facts() -> None:
    one, other = (phone(inherited=assessed(victim_by=entry_pb2.Assertion(officer=name))) for name in ("p-1", "p-2"))
    assert derived(one) is derived(other)


@given(any_facts())
def test_facts_survive_storage_and_equal_ones_are_equal_bytes(facts: Facts) -> None:
    data = encode_facts(facts)
    assert parse_facts(data) == facts
    assert encode_facts(parse_facts(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode({"recipient": "GT"}),
        encode_facts(but(purpose="PLUNDER")),
        encode_facts(but(role=frozenset({"KING"}))),
        encode_facts(but(record_age=31)),
        encode_facts(SUSPECT_PHONE) + b"\x00",
    ],
)
def test_what_is_not_facts_is_refused(data: bytes) -> None:
    with pytest.raises(PolicyError):
        parse_facts(data)
