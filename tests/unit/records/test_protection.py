from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.policy.facts import PROTECTED_ROLES as PROTECTED_IN_POLICY
from node.policy.vocabulary import ROLES
from node.records.protection import (
    PROTECTED_ROLES,
    inherited_protection,
    inherited_roles,
    strictest,
    subject_protection,
)
from node.records.weakening import weakens
from node.wire import codes_pb2 as codes
from node.wire.entry_pb2 import (
    Assertion,
    Consent,
    DateInterval,
    Entry,
    Organisation,
    Person,
    Place,
    Protection,
    Telecom,
)

DAY_US = 86_400_000_000
EPOCH = date(1970, 1, 1)
RECORDED_US = (date(2026, 3, 1) - EPOCH).days * DAY_US
BY = Assertion(officer="mx-07", at_us=1, basis="interview")


def born(first: date, last: date | None = None) -> DateInterval:
    return DateInterval(first_day=(first - EPOCH).days, last_day=((last or first) - EPOCH).days)


def person(*roles: int, birth: DateInterval | None = None, nationalities: tuple[str, ...] = (), **facts: Any) -> Entry:  # noqa: ANN401
    return Entry(
        roles=roles,  # type: ignore[arg-type]
        recorded_us=RECORDED_US,
        protection=Protection(**facts),
        person=Person(birth=birth, nationalities=nationalities),
    )


HARMLESS: dict[str, Any] = {
    "victim": codes.TRI_NO,
    "age": codes.AGE_CLASS_ADULT,
    "asylum": codes.ASYLUM_STATE_NONE,
    "witness_protection": codes.TRI_NO,
    "stateless": codes.TRI_NO,
    "exposure": codes.EXPOSURE_NONE,
    "torture_derived": codes.TRI_NO,
    "origins": ["MX"],
    "origins_complete": True,
}
ADULT = born(date(1980, 5, 5))
CHILD = born(date(2012, 5, 5))
SUSPECT = person(codes.ROLE_SUSPECT, birth=ADULT, nationalities=("MX",), **HARMLESS)
CHILD_VICTIM = person(
    codes.ROLE_VICTIM,
    birth=CHILD,
    nationalities=("GT",),
    victim=codes.TRI_YES,
    asylum=codes.ASYLUM_STATE_CLAIMED,
    witness_protection=codes.TRI_YES,
    torture_risk=["GT"],
)


# --- joining ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "values", "joined"),
    [
        ("victim", [codes.TRI_YES, codes.TRI_NO], codes.TRI_YES),
        ("victim", [codes.TRI_YES, codes.TRI_UNKNOWN], codes.TRI_YES),
        ("victim", [codes.TRI_NO, codes.TRI_UNKNOWN], codes.TRI_UNKNOWN),
        ("victim", [codes.TRI_NO, codes.TRI_NO], codes.TRI_NO),
        ("victim", [codes.TRI_NO, 99], codes.TRI_UNKNOWN),
        ("victim", [99], codes.TRI_UNKNOWN),
        ("age", [codes.AGE_CLASS_MINOR, codes.AGE_CLASS_ADULT], codes.AGE_CLASS_MINOR),
        ("age", [codes.AGE_CLASS_UNKNOWN, codes.AGE_CLASS_ADULT], codes.AGE_CLASS_UNKNOWN),
        ("asylum", [codes.ASYLUM_STATE_NONE, codes.ASYLUM_STATE_PAST], codes.ASYLUM_STATE_PAST),
        ("asylum", [codes.ASYLUM_STATE_NONE, codes.ASYLUM_STATE_UNKNOWN], codes.ASYLUM_STATE_UNKNOWN),
        ("asylum", [codes.ASYLUM_STATE_CLAIMED, codes.ASYLUM_STATE_REFUSED], codes.ASYLUM_STATE_UNKNOWN),
        ("asylum", [codes.ASYLUM_STATE_CLAIMED, codes.ASYLUM_STATE_UNKNOWN], codes.ASYLUM_STATE_UNKNOWN),
        ("exposure", [codes.EXPOSURE_NONE, codes.EXPOSURE_EXILE], codes.EXPOSURE_EXILE),
        ("exposure", [codes.EXPOSURE_JOURNALIST, codes.EXPOSURE_EXILE], codes.EXPOSURE_UNKNOWN),
    ],
)
def test_what_protects_wins(field: str, values: list[int], joined: int) -> None:
    protections = [Protection(**{field: value}) for value in values]  # type: ignore[arg-type]
    assert getattr(strictest(*protections), field) == joined
    assert getattr(strictest(*reversed(protections)), field) == joined


def test_lists_unite_and_completeness_and_consent_need_all() -> None:
    consent = Consent(recipient="GT", purpose=codes.PURPOSE_VICTIM_ID, given_us=5)
    later = Consent(recipient="GT", purpose=codes.PURPOSE_VICTIM_ID, given_us=9)
    other = Consent(recipient="US", purpose=codes.PURPOSE_VICTIM_ID, given_us=5)
    revoked = Consent(recipient="MX", purpose=codes.PURPOSE_VICTIM_ID, given_us=5, revoked_us=6)
    left = Protection(origins=["GT"], origins_complete=True, torture_risk=["GT"], consents=[consent, other, revoked])
    right = Protection(origins=["HN", "GT"], death_penalty_risk=["US"], consents=[later, revoked])
    assert strictest(left, right) == Protection(
        origins=["GT", "HN"], torture_risk=["GT"], death_penalty_risk=["US"], consents=[later]
    )


def test_nothing_joined_protects_like_nothing_known() -> None:
    assert strictest() == Protection()


def test_the_join_names_who_recorded_what_won() -> None:
    joined = strictest(Protection(victim=codes.TRI_NO), Protection(victim=codes.TRI_YES, victim_by=BY))
    assert joined.victim_by == BY
    assert not joined.HasField("age_by")


PROTECTIONS = st.builds(
    Protection,
    victim=st.sampled_from(codes.Tri.values()),
    age=st.sampled_from(codes.AgeClass.values()),
    asylum=st.sampled_from(codes.AsylumState.values()),
    exposure=st.sampled_from(codes.Exposure.values()),
    torture_risk=st.lists(st.sampled_from(["GT", "MX"]), unique=True).map(sorted),
    origins=st.lists(st.sampled_from(["GT", "MX"]), unique=True).map(sorted),
    origins_complete=st.booleans(),
)


@given(PROTECTIONS, PROTECTIONS)
def test_joining_neither_depends_on_order_nor_on_repetition(one: Protection, two: Protection) -> None:
    joined = strictest(one, two)
    assert joined == strictest(two, one) == strictest(one, two, one)
    assert strictest(joined, joined) == joined
    assert strictest(one) == one


# --- inheriting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", codes.LinkKind.values())
def test_only_uses_and_owns_inherit(kind: codes.LinkKind.ValueType) -> None:
    inherits = kind in {codes.LINK_KIND_USES, codes.LINK_KIND_OWNS}
    assert (inherited_protection([(kind, CHILD_VICTIM)]) is not None) is inherits
    assert (inherited_roles([(kind, CHILD_VICTIM)]) == [codes.ROLE_VICTIM]) is inherits


def test_a_telephone_used_by_a_protected_child_is_protected_as_the_child() -> None:
    inherited = inherited_protection([(codes.LINK_KIND_USES, SUSPECT), (codes.LINK_KIND_USES, CHILD_VICTIM)])
    assert inherited is not None
    assert inherited.victim == codes.TRI_YES
    assert inherited.age == codes.AGE_CLASS_MINOR  # from the recorded birth
    assert inherited.asylum == codes.ASYLUM_STATE_CLAIMED
    assert inherited.witness_protection == codes.TRI_YES
    assert list(inherited.origins) == ["GT", "MX"]
    assert not inherited.origins_complete
    assert list(inherited.torture_risk) == ["GT"]


def test_a_telephone_that_threatened_a_witness_is_not_hidden() -> None:
    linked = [(codes.LINK_KIND_USES, SUSPECT), (codes.LINK_KIND_CONTACTED_BY, CHILD_VICTIM)]
    inherited = inherited_protection(linked)
    assert inherited is not None
    assert (inherited.victim, inherited.age) == (codes.TRI_NO, codes.AGE_CLASS_ADULT)
    assert inherited_roles(linked) == []


def test_nothing_is_inherited_from_nobody() -> None:
    company = Entry(organisation=Organisation(name="Viajes Uno"), roles=[codes.ROLE_SUSPECT])
    assert inherited_protection([]) is None
    assert inherited_protection([(codes.LINK_KIND_OWNS, company)]) is None
    assert inherited_roles([(codes.LINK_KIND_OWNS, company)]) == []


def test_protection_goes_on_through_what_is_owned() -> None:
    company = Entry(organisation=Organisation(name="Viajes Uno"))
    inherited = inherited_protection([(codes.LINK_KIND_OWNS, CHILD_VICTIM)])
    assert inherited is not None
    company.inherited.CopyFrom(inherited)
    company.inherited_roles.extend(inherited_roles([(codes.LINK_KIND_OWNS, CHILD_VICTIM)]))
    assert inherited_protection([(codes.LINK_KIND_OWNS, company)]) == inherited
    assert inherited_roles([(codes.LINK_KIND_OWNS, company)]) == [codes.ROLE_VICTIM]


@pytest.mark.parametrize(
    ("entry", "protection"),
    [
        (Entry(person=Person()), Protection()),
        (Entry(telecom=Telecom(), roles=[codes.ROLE_WITNESS]), Protection()),
        (Entry(telecom=Telecom(), inherited_roles=[codes.ROLE_VICTIM]), Protection()),
        (Entry(telecom=Telecom(), protection=Protection(victim=codes.TRI_NO)), Protection(victim=codes.TRI_NO)),
        (Entry(telecom=Telecom(), roles=[codes.ROLE_SUSPECT]), None),
        (Entry(place=Place()), None),
    ],
)
def test_whom_an_entry_is_about(entry: Entry, protection: Protection | None) -> None:
    assert subject_protection(entry) == protection


def test_somebody_without_role_passes_on_that_it_is_unknown() -> None:
    assert inherited_roles([(codes.LINK_KIND_USES, person())]) == [codes.ROLE_UNKNOWN]
    assert inherited_roles([(codes.LINK_KIND_USES, person(codes.ROLE_SUSPECT, victim=codes.TRI_YES))]) == [
        codes.ROLE_VICTIM
    ]
    assert inherited_roles([(codes.LINK_KIND_USES, person(99))]) == [99]


def test_protected_roles_are_those_of_the_rules() -> None:
    assert {ROLES[role] for role in PROTECTED_ROLES} == PROTECTED_IN_POLICY


@pytest.mark.parametrize(
    ("birth", "age", "inherited"),
    [
        (ADULT, codes.AGE_CLASS_UNKNOWN, codes.AGE_CLASS_ADULT),
        (ADULT, codes.AGE_CLASS_MINOR, codes.AGE_CLASS_ADULT),  # a recorded birth decides
        (CHILD, codes.AGE_CLASS_ADULT, codes.AGE_CLASS_MINOR),
        (born(date(2008, 1, 1), date(2008, 12, 31)), codes.AGE_CLASS_ADULT, codes.AGE_CLASS_UNKNOWN),
        (born(date(2008, 3, 1)), codes.AGE_CLASS_UNKNOWN, codes.AGE_CLASS_MINOR),  # not begun everywhere
        (born(date(2008, 2, 28)), codes.AGE_CLASS_UNKNOWN, codes.AGE_CLASS_ADULT),
        (born(date(2008, 2, 29)), codes.AGE_CLASS_UNKNOWN, codes.AGE_CLASS_MINOR),  # of age on 1 March
        (DateInterval(first_day=9, last_day=1), codes.AGE_CLASS_ADULT, codes.AGE_CLASS_UNKNOWN),
        (DateInterval(last_day=2**31 - 1), codes.AGE_CLASS_ADULT, codes.AGE_CLASS_UNKNOWN),
        (None, codes.AGE_CLASS_ADULT, codes.AGE_CLASS_ADULT),
        (None, codes.AGE_CLASS_MINOR, codes.AGE_CLASS_MINOR),
        (None, codes.AGE_CLASS_UNKNOWN, codes.AGE_CLASS_UNKNOWN),
    ],
)  # fmt: skip
def test_the_age_that_a_thing_inherits(birth: DateInterval | None, age: int, inherited: int) -> None:
    found = inherited_protection([(codes.LINK_KIND_USES, person(birth=birth, age=age))])
    assert found is not None
    assert found.age == inherited


# --- weakening -------------------------------------------------------------------------------------------------------


def changed(entry: Entry, **facts: Any) -> Entry:  # noqa: ANN401
    edited = Entry()
    edited.CopyFrom(entry)
    for field, value in facts.items():
        if isinstance(value, list):
            edited.protection.ClearField(field)  # type: ignore[arg-type]
            getattr(edited.protection, field).extend(value)
        else:
            setattr(edited.protection, field, value)
    return edited


@pytest.mark.parametrize(
    ("field", "falling"),
    [
        ("victim", [codes.TRI_YES, codes.TRI_UNKNOWN, codes.TRI_NO]),
        ("age", [codes.AGE_CLASS_MINOR, codes.AGE_CLASS_UNKNOWN, codes.AGE_CLASS_ADULT]),
        (
            "asylum",
            [
                codes.ASYLUM_STATE_CLAIMED,
                codes.ASYLUM_STATE_REFUSED,
                codes.ASYLUM_STATE_UNKNOWN,
                codes.ASYLUM_STATE_NONE,
            ],
        ),
        ("asylum", [codes.ASYLUM_STATE_RECOGNISED, codes.ASYLUM_STATE_PAST, codes.ASYLUM_STATE_UNKNOWN]),
        ("witness_protection", [codes.TRI_YES, codes.TRI_UNKNOWN, codes.TRI_NO]),
        ("stateless", [codes.TRI_YES, codes.TRI_UNKNOWN, codes.TRI_NO]),
        ("exposure", [codes.EXPOSURE_OPPOSITION, codes.EXPOSURE_UNKNOWN, codes.EXPOSURE_NONE]),
        ("torture_derived", [codes.TRI_YES, codes.TRI_UNKNOWN, codes.TRI_NO]),
        ("origins", [["GT", "HN"], ["GT"], []]),
        ("torture_risk", [["GT", "HN"], ["GT"], []]),
        ("death_penalty_risk", [["US"], []]),
        ("origins_complete", [False, True]),
    ],
)
def test_each_protective_fact_that_falls_is_named(field: str, falling: list[Any]) -> None:
    plain = person(codes.ROLE_VICTIM)
    for index, strong in enumerate(falling):
        old = changed(plain, **{field: strong})
        assert weakens(old, old) == []
        for weak in falling[index + 1 :]:
            assert weakens(old, changed(plain, **{field: weak})) == [f"protection.{field}"]
            assert weakens(changed(plain, **{field: weak}), old) == []


def test_a_claim_that_is_recognised_weakens_nothing() -> None:
    old = person(codes.ROLE_VICTIM, asylum=codes.ASYLUM_STATE_CLAIMED)
    assert weakens(old, changed(old, asylum=codes.ASYLUM_STATE_RECOGNISED)) == []


@pytest.mark.parametrize(
    ("old", "new", "weaker"),
    [
        ([codes.ROLE_VICTIM], [], True),
        ([codes.ROLE_VICTIM], [codes.ROLE_SUSPECT], True),
        ([codes.ROLE_VICTIM, codes.ROLE_WITNESS], [codes.ROLE_VICTIM], True),
        ([codes.ROLE_VICTIM], [codes.ROLE_VICTIM, codes.ROLE_WITNESS], False),
        ([codes.ROLE_VICTIM], [codes.ROLE_VICTIM, codes.ROLE_SUSPECT], True),  # rules release what concerns a suspect
        ([codes.ROLE_THIRD_PARTY], [codes.ROLE_SUSPECT], True),
        ([codes.ROLE_SUSPECT, codes.ROLE_ASSOCIATE], [codes.ROLE_SUSPECT], True),
        ([codes.ROLE_SUSPECT], [codes.ROLE_ACCUSED], False),
        ([codes.ROLE_OFFICIAL_SUSPECT], [codes.ROLE_SUSPECT], True),
        ([codes.ROLE_SUSPECT], [codes.ROLE_THIRD_PARTY], False),
        ([codes.ROLE_SUSPECT], [], False),
        ([], [codes.ROLE_VICTIM], False),
        ([], [codes.ROLE_SUSPECT], True),  # unknown until now, and unknown never helps release
        ([codes.ROLE_UNKNOWN], [codes.ROLE_SUSPECT], True),
        ([codes.ROLE_UNKNOWN], [codes.ROLE_MISSING], False),
        ([99], [codes.ROLE_MISSING, codes.ROLE_SUSPECT], True),
    ],
)
def test_roles_that_no_longer_protect(old: list[int], new: list[int], weaker: bool) -> None:  # noqa: FBT001
    assert weakens(person(*old), person(*new)) == (["roles"] if weaker else [])


@pytest.mark.parametrize(
    ("old", "new", "weaker"),
    [
        (CHILD, ADULT, True),
        (CHILD, born(date(2011, 5, 5)), True),  # of age a year sooner
        (CHILD, born(date(2013, 5, 5)), False),
        (CHILD, born(date(2011, 5, 5), date(2012, 5, 5)), True),  # may be of age a year sooner
        (CHILD, None, True),
        (None, ADULT, True),  # unknown until now
        (None, CHILD, True),  # will be of age one day, which was not known
        (ADULT, born(date(1979, 1, 1)), False),
        (ADULT, None, False),
        (ADULT, CHILD, False),
    ],
)
def test_a_birth_that_ends_childhood_sooner(old: Any, new: Any, weaker: bool) -> None:  # noqa: ANN401, FBT001
    found = weakens(person(codes.ROLE_VICTIM, birth=old), person(codes.ROLE_VICTIM, birth=new))
    assert found == (["person.birth"] if weaker else [])


def test_consent_nationality_links_and_another_entity() -> None:
    bare = person(codes.ROLE_VICTIM, nationalities=("GT",))
    linked = changed(bare)
    linked.links.add(kind=codes.LINK_KIND_USES, to_entry_id=b"x" * 16)
    linked.links.add(kind=codes.LINK_KIND_RELATIVE_OF)
    consented = changed(bare)
    consented.protection.consents.add(recipient="GT", purpose=codes.PURPOSE_VICTIM_ID, given_us=1)
    revoked = changed(consented)
    revoked.protection.consents[0].revoked_us = 2
    assert weakens(linked, bare) == ["links"]
    assert weakens(bare, linked) == []
    assert weakens(bare, consented) == weakens(revoked, consented) == ["protection.consents"]
    assert weakens(consented, revoked) == weakens(consented, bare) == []
    assert weakens(bare, person(codes.ROLE_VICTIM, nationalities=("HN",))) == ["person.nationalities"]
    thing = Entry(roles=[codes.ROLE_VICTIM], recorded_us=RECORDED_US, protection=Protection(), place=Place())
    assert "entity" in weakens(bare, thing)
