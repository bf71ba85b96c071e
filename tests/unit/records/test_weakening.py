"""What an edit weakens, held against what policy decides: more leaves only by what a second officer confirms."""

from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from node.policy.decide import Policy
from node.policy.derive import derive_facts, derive_request
from node.policy.evaluate import join
from node.policy.facts import Facts
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Rulebook
from node.policy.vocabulary import UNKNOWN
from node.records.weakening import weakens
from node.wire import codes_pb2 as codes
from node.wire.entry_pb2 import Consent, DateInterval, Entry, Organisation, Protection
from tests.unit.policy.situations import ACCEPTED, DAY_US, NOW_US, assessed, phone, question

TODAY: Final = NOW_US // DAY_US
FOLDER: Final = Path(__file__).parents[3] / "node/policy/rulebooks"
TREATY: Final = [codes.INSTRUMENT_KIND_TREATY]
PURPOSES: Final = (
    codes.PURPOSE_INVESTIGATE,
    codes.PURPOSE_VICTIM_ID,
    codes.PURPOSE_MISSING_SEARCH,
    codes.PURPOSE_TREND,
)
RECIPIENTS: Final = ("GT", "MX", "US")


def load(name: str) -> Rulebook:
    return parse_rulebook((FOLDER / f"{name}.yaml").read_bytes(), demonstration=True)


POLICIES: Final = [Policy(load("floor"), load(country), ACCEPTED) for country in ("gt", "mx", "us")]
REQUESTS: Final = [
    derive_request(recipient=recipient, query=question(purpose=purpose), instruments=TREATY, paired=True)
    for recipient in RECIPIENTS
    for purpose in PURPOSES
]

# Of each dimension of a subject, the values that can't hold back anything.
HARMLESS: Final = {
    "victim": {"NO", "NOT_APPLICABLE"},
    "minor": {"IS_ADULT", "NOT_APPLICABLE"},
    "asylum": {"NONE", "NOT_APPLICABLE"},
    "witness": {"NO", "NOT_APPLICABLE"},
    "exposure": {"NONE", "NOT_APPLICABLE"},
    "stateless": {"NO", "NOT_APPLICABLE"},
    "recipient_is_origin": {"NOT_ORIGIN", "NOT_APPLICABLE"},
    "torture_risk": {"NOT_RECORDED", "NOT_APPLICABLE"},
    "death_penalty": {"NOT_RECORDED", "NOT_APPLICABLE"},
    "torture_derived": {"NO", "NOT_APPLICABLE"},
}


def unlocked(old: Facts, new: Facts) -> list[str]:
    """Dimensions that held something back and no longer do."""
    found = [
        name
        for name, harmless in HARMLESS.items()
        if getattr(old, name) not in harmless and getattr(new, name) in harmless
    ]
    if new.consent == "RECORDED_BY_ORIGINATOR" != old.consent:
        found.append("consent")
    if old.caveat - new.caveat:
        found.append("caveat")
    if (old.handling == UNKNOWN and new.handling != UNKNOWN) or UNKNOWN != new.handling < old.handling:
        found.append("handling")
    if UNKNOWN in old.role and new.role & {"NOT_APPLICABLE", "SUSPECT"} and UNKNOWN not in new.role:
        found.append("role")
    return found


def more(old: Facts, new: Facts) -> bool:
    """Whether some shipped rulebook lets a category leave less treated than before."""
    for policy in POLICIES:
        before, after = policy.decide(old, NOW_US), policy.decide(new, NOW_US)
        for category, level in after.levels:
            if join(level, before.level(category)) != level:
                return True
    return False


def edited(entry: Entry, *cleared: str, **fields: object) -> Entry:
    new = Entry()
    new.CopyFrom(entry)
    for name in cleared:
        new.ClearField(name)  # type: ignore[arg-type]
    new.MergeFrom(Entry(**fields))  # type: ignore[arg-type]
    return new


# --- random edits ----------------------------------------------------------------------------------------------------

COUNTRIES: Final = st.lists(st.sampled_from(RECIPIENTS), unique=True, max_size=2)
CONSENTS: Final = st.builds(
    Consent,
    recipient=st.sampled_from(RECIPIENTS),
    purpose=st.sampled_from(PURPOSES),
    given_us=st.sampled_from((0, 1, NOW_US + 1)),
    revoked_us=st.sampled_from((0, 0, 2)),
)
FACTS: Final[dict[str, Any]] = {
    "victim": st.sampled_from((*codes.Tri.values(), 99)),
    "age": st.sampled_from((*codes.AgeClass.values(), 99)),
    "asylum": st.sampled_from((*codes.AsylumState.values(), 99)),
    "witness_protection": st.sampled_from((*codes.Tri.values(), 99)),
    "stateless": st.sampled_from((*codes.Tri.values(), 99)),
    "exposure": st.sampled_from((*codes.Exposure.values(), 99)),
    "torture_derived": st.sampled_from((*codes.Tri.values(), 99)),
    "torture_risk": COUNTRIES,
    "death_penalty_risk": COUNTRIES,
    "origins": COUNTRIES | st.just(["XX"]),
    "origins_complete": st.booleans(),
    "consents": st.lists(CONSENTS, max_size=2),
}
# Most of them near one of whom all is known and nothing protects, where a single fact decides.
PROTECTIONS: Final = (
    st.none()
    | st.just(Protection())
    | st.fixed_dictionaries({}, optional=FACTS).map(lambda changed: assessed(**changed))
)
BIRTHS: Final = st.none() | st.tuples(
    st.integers(TODAY - 20 * 366, TODAY - 16 * 365), st.sampled_from((0, 1, 400, -1))
).map(lambda drawn: DateInterval(first_day=drawn[0], last_day=drawn[0] + drawn[1]))
SOME_ROLES: Final[st.SearchStrategy[list[Any]]] = st.lists(
    st.sampled_from((codes.ROLE_SUSPECT, codes.ROLE_ACCUSED, *codes.Role.values(), 99)), unique=True, max_size=3
)
ROLES: Final[st.SearchStrategy[list[Any]]] = st.just([codes.ROLE_SUSPECT]) | st.builds(list) | SOME_ROLES
PASSED_ROLES: Final[st.SearchStrategy[list[Any]]] = st.builds(list) | SOME_ROLES
KINDS: Final = ("telecom", "person", "organisation", "place", "vehicle", "route")


@st.composite
def entries(draw: st.DrawFn, kind: str) -> Entry:
    entry = phone(recorded_us=draw(st.sampled_from((NOW_US - 40 * DAY_US, NOW_US - 2000 * DAY_US))))
    getattr(entry, kind).SetInParent()
    entry.handling = draw(st.sampled_from((1, 1, 1, *codes.HandlingCode.values(), 99)))  # type: ignore[assignment]
    entry.caveats[:] = draw(st.lists(st.sampled_from((*codes.Caveat.values(), 99)), unique=True, max_size=1))
    entry.roles[:] = draw(ROLES)
    entry.inherited_roles[:] = draw(PASSED_ROLES)
    for field in ("protection", "inherited"):
        entry.ClearField(field)
        protection = draw(PROTECTIONS)
        if protection is not None:
            getattr(entry, field).CopyFrom(protection)
    if kind == "person":
        entry.person.nationalities[:] = draw(COUNTRIES)
        birth = draw(BIRTHS)
        if birth is not None:
            entry.person.birth.CopyFrom(birth)
    return entry


PARTS: Final = ("roles", "inherited_roles", "handling", "caveats", "protection", "inherited", "recorded_us")


def replaced(old: Entry, other: Entry, parts: set[str]) -> Entry:
    """An entry with some parts of another of its kind."""
    new = edited(old, *parts)
    taken = edited(other, *{field.name for field, _ in other.ListFields()} - parts)
    new.MergeFrom(taken)
    return new


@st.composite
def edits(draw: st.DrawFn) -> tuple[Entry, Entry]:
    kind = draw(st.sampled_from(KINDS))
    old = draw(entries(kind))
    # An edit changes little as a rule, and so the reason why more leaves is one thing.
    parts = draw(st.sets(st.sampled_from((*PARTS, *(("person",) if kind == "person" else ()))), min_size=1, max_size=2))
    return old, replaced(old, draw(entries(kind)), parts)


@settings(max_examples=1500, deadline=None)
@given(edits())
def test_whatever_lets_more_leave_is_named(edit: tuple[Entry, Entry]) -> None:
    old, new = edit
    named = weakens(old, new)
    event(f"weakens: {bool(named)}")
    if named:
        return
    for request in REQUESTS:
        before, after = derive_facts(request, old, NOW_US), derive_facts(request, new, NOW_US)
        assert unlocked(before, after) == []
        assert not more(before, after)


# --- what an attacker found ------------------------------------------------------------------------------------------


BARE: Final = edited(phone(), "protection", "roles", "inherited", "caveats", handling=codes.HANDLING_CODE_H0)


@pytest.mark.parametrize(
    ("more_of_it", "named"),
    [
        ({"protection": Protection()}, ["protection"]),
        ({"protection": assessed()}, ["protection", "protection.origins"]),
        (
            {"protection": Protection(asylum=codes.ASYLUM_STATE_CLAIMED, origins=["GT"])},
            ["protection", "protection.asylum", "protection.origins"],
        ),
        ({"roles": [codes.ROLE_SUSPECT]}, ["roles"]),
        ({"roles": [codes.ROLE_UNKNOWN]}, ["roles"]),
        ({"inherited": Protection()}, ["inherited"]),
        ({"inherited": Protection(victim=codes.TRI_YES)}, ["inherited", "inherited.victim"]),
        ({"inherited_roles": [codes.ROLE_UNKNOWN]}, ["roles", "inherited_roles"]),
        ({"caveats": [codes.CAVEAT_NO_ORIGIN_STATE]}, ["caveats"]),
    ],
)
def test_whoever_was_there_and_is_forgotten(more_of_it: dict[str, Any], named: list[str]) -> None:
    full = edited(BARE, **more_of_it)
    assert weakens(full, BARE) == named


@pytest.mark.parametrize("old", [99, 0, 4, 3, 2, 1])
def test_handling_only_gets_stricter(old: int) -> None:
    order = [1, 2, 3, 4, 0]
    strictness = {code: rank for rank, code in enumerate(order)}
    for new in order:
        found = weakens(edited(BARE, "handling", handling=old), edited(BARE, "handling", handling=new))
        assert found == (["handling"] if strictness[new] < strictness.get(old, len(order)) and new else [])


def test_an_older_record_is_not_made_younger() -> None:
    younger = edited(BARE, recorded_us=BARE.recorded_us + 1)
    assert weakens(BARE, younger) == ["recorded_us"]
    assert weakens(younger, BARE) == []


def test_a_company_that_was_suspected_and_is_no_more() -> None:
    company = Entry(organisation=Organisation(name="Viajes Uno"), roles=[codes.ROLE_SUSPECT])
    assert weakens(company, edited(company, "roles")) == ["roles"]
    assert weakens(edited(company, "roles"), company) == ["roles"]  # a suspect's name leaves whole


def test_a_consent_that_is_in_force_sooner() -> None:
    later, sooner = (
        Protection(consents=[Consent(recipient="GT", purpose=codes.PURPOSE_VICTIM_ID, given_us=given_us)])
        for given_us in (NOW_US, 1)
    )
    assert weakens(edited(BARE, protection=later), edited(BARE, protection=sooner)) == ["protection.consents"]
    assert weakens(edited(BARE, inherited=later), edited(BARE, inherited=sooner)) == ["inherited.consents"]
    assert weakens(edited(BARE, protection=sooner), edited(BARE, protection=later)) == []


def test_to_learn_that_somebody_harmless_uses_a_thing_weakens_nothing_unless_a_role_told_of_somebody_else() -> None:
    stated = edited(BARE, roles=[codes.ROLE_SUSPECT])
    assert weakens(BARE, edited(BARE, inherited=assessed())) == []
    assert weakens(stated, edited(stated, inherited=assessed())) == ["roles"]
