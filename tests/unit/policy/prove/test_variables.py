"""What the prover takes for guaranteed is so of all facts that are derived, whatever query and entry they come from."""

from typing import Any, Final

import z3
from google.protobuf.descriptor import EnumDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from node.policy.derive import derive_facts, derive_request
from node.policy.facts import Facts
from node.policy.prove.ranges import new_solver, solution
from node.policy.prove.variables import SETS, Variables
from node.policy.vocabulary import DIMENSIONS, KIND_BY_FIELD, OBLIGATION_NUMBERS
from node.wire import codes_pb2, entry_pb2
from tests.unit.policy.situations import DAY_US, NOW_US, but, question

COUNTRIES: Final = ("GT", "MX", "XX")
VARIABLES: Final = Variables([])
SOLVER: Final = new_solver(VARIABLES)
SOLVER.add(VARIABLES.well_formed())
TIMES: Final = st.sampled_from((0, NOW_US - 400 * DAY_US, NOW_US - 40 * DAY_US, NOW_US + DAY_US))


def codes(enum: EnumDescriptor) -> st.SearchStrategy[Any]:
    """A number of an enumeration, or one of a later contract."""
    return st.sampled_from([*enum.values_by_number, 999])


def lists(each: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(each, max_size=2)


@st.composite
def protections(draw: st.DrawFn) -> entry_pb2.Protection:
    recipient, given_us, revoked_us = (
        draw(st.sampled_from(COUNTRIES)),
        draw(TIMES),
        draw(st.sampled_from((0, NOW_US))),
    )
    purpose = draw(codes(codes_pb2.Purpose.DESCRIPTOR))
    consent = entry_pb2.Consent(recipient=recipient, purpose=purpose, given_us=given_us, revoked_us=revoked_us)
    assurance = entry_pb2.Assurance(recipient=recipient, given_us=given_us, revoked_us=revoked_us)
    return entry_pb2.Protection(
        victim=draw(codes(codes_pb2.Tri.DESCRIPTOR)),
        age=draw(codes(codes_pb2.AgeClass.DESCRIPTOR)),
        asylum=draw(codes(codes_pb2.AsylumState.DESCRIPTOR)),
        witness_protection=draw(codes(codes_pb2.Tri.DESCRIPTOR)),
        stateless=draw(codes(codes_pb2.Tri.DESCRIPTOR)),
        exposure=draw(codes(codes_pb2.Exposure.DESCRIPTOR)),
        torture_derived=draw(codes(codes_pb2.Tri.DESCRIPTOR)),
        torture_risk=draw(lists(st.sampled_from(COUNTRIES))),
        death_penalty_risk=draw(lists(st.sampled_from(COUNTRIES))),
        origins=draw(lists(st.sampled_from(COUNTRIES))),
        origins_complete=draw(st.booleans()),
        consents=[consent] if draw(st.booleans()) else [],
        assurances=[assurance] if draw(st.booleans()) else [],
    )


@st.composite
def entries(draw: st.DrawFn) -> entry_pb2.Entry:
    roles = st.sampled_from((*codes_pb2.Role.values(), 999, *[codes_pb2.ROLE_VICTIM] * 5))
    entry = entry_pb2.Entry(
        recorded_us=draw(TIMES),
        roles=draw(lists(roles)),
        inherited_roles=draw(lists(roles)),
        crimes=draw(lists(codes(codes_pb2.Crime.DESCRIPTOR))),
        handling=draw(codes(codes_pb2.HandlingCode.DESCRIPTOR)),
        caveats=draw(lists(codes(codes_pb2.Caveat.DESCRIPTOR))),
        protection=draw(st.none() | protections()),
        inherited=draw(st.none() | protections()),
    )
    holder = draw(st.sampled_from((None, "person", *KIND_BY_FIELD)))
    if holder:
        getattr(entry, holder).SetInParent()
    if holder == "person" and draw(st.booleans()):
        day = draw(st.sampled_from((0, 5_000, 15_000, 20_000)))
        entry.person.birth.first_day = entry.person.birth.last_day = day
    return entry


@st.composite
def derived(draw: st.DrawFn) -> Facts:
    query = question(
        purpose=draw(codes(codes_pb2.Purpose.DESCRIPTOR)),
        crimes=draw(lists(codes(codes_pb2.Crime.DESCRIPTOR))),
        urgency=draw(codes(codes_pb2.Urgency.DESCRIPTOR)),
        ground=draw(codes(codes_pb2.Ground.DESCRIPTOR)),
    )
    query.asker.unit_type = draw(codes(codes_pb2.UnitType.DESCRIPTOR))
    request = derive_request(
        recipient=draw(st.sampled_from(COUNTRIES)),
        query=query,
        instruments=draw(lists(codes(codes_pb2.InstrumentKind.DESCRIPTOR))),
        paired=draw(st.booleans()),
        reciprocity=draw(st.sampled_from(DIMENSIONS["reciprocity"].values)),
        emergency=draw(st.booleans()),
    )
    return derive_facts(request, draw(entries()), NOW_US)


def pins(facts: Facts) -> list[z3.BoolRef]:
    return [variable == value for variable, value in VARIABLES.pinned(facts, OBLIGATION_NUMBERS.values())]


@settings(max_examples=400, deadline=None)
@given(derived())
def test_derived_facts_are_well_formed(facts: Facts) -> None:
    assert solution(SOLVER, *pins(facts)) is not None


def test_facts_that_no_derivation_gives_are_not() -> None:
    for impossible in (
        but(role=frozenset()),
        but(crime=frozenset()),
        but(instrument=frozenset({"UNKNOWN"})),
        but(role=frozenset({"SUSPECT", "NOT_APPLICABLE"})),
        but(victim="YES"),
        but(role=frozenset({"VICTIM"})),
        but(asylum="NOT_APPLICABLE"),
        but(consent="RECORDED_BY_ORIGINATOR", minor="UNKNOWN"),
        but(consent="RECORDED_BY_ORIGINATOR", purpose="UNKNOWN"),
    ):
        assert solution(SOLVER, *pins(impossible)) is None


def test_each_value_of_each_dimension_is_possible() -> None:
    for name, values in VARIABLES.values.items():
        for value in values:
            is_left_out = (name, value) == ("instrument", "UNKNOWN")
            assert (solution(SOLVER, VARIABLES.has(name, value)) is None) == is_left_out, (name, value)


def test_what_the_asker_asserts_alone_may_be_retold() -> None:
    other = VARIABLES.retold()
    for name in VARIABLES.values:
        values = VARIABLES.values[name]
        is_same = VARIABLES.has(name, *values).eq(other.has(name, *values))
        assert is_same != (name in DIMENSIONS and DIMENSIONS[name].asserted)
    assert {name for name, dimension in DIMENSIONS.items() if dimension.many} < SETS
