import pytest

from node.records.strengthening import strengthens
from node.wire import codes_pb2 as codes
from node.wire.entry_pb2 import Assurance, Consent, Entry, Link, Person, Protection, Telecom


def phone(**changes: object) -> Entry:
    recorded: dict[str, object] = {
        "victim": codes.TRI_NO,
        "age": codes.AGE_CLASS_ADULT,
        "asylum": codes.ASYLUM_STATE_NONE,
        "witness_protection": codes.TRI_NO,
        "stateless": codes.TRI_NO,
        "exposure": codes.EXPOSURE_NONE,
        "torture_derived": codes.TRI_NO,
        "origins": ["GT"],
        "origins_complete": True,
    }
    return Entry(telecom=Telecom(telephone="+12025550143"), protection=Protection(**{**recorded, **changes}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("victim", codes.TRI_YES),
        ("age", codes.AGE_CLASS_MINOR),
        ("asylum", codes.ASYLUM_STATE_CLAIMED),
        ("witness_protection", codes.TRI_YES),
        ("stateless", codes.TRI_YES),
        ("exposure", codes.EXPOSURE_JOURNALIST),
        ("torture_derived", codes.TRI_YES),
        ("origins", ["GT", "HN"]),
        ("torture_risk", ["GT"]),
        ("death_penalty_risk", ["US"]),
    ],
)
def test_each_protective_fact_counts_and_taking_it_back_does_not(fact: str, value: object) -> None:
    assert strengthens(phone(), phone(**{fact: value})) == [f"protection.{fact}"]
    assert strengthens(phone(**{fact: value}), phone()) == []


@pytest.mark.parametrize("role", [codes.ROLE_VICTIM, codes.ROLE_WITNESS, codes.ROLE_SMUGGLED_MIGRANT])
def test_a_role_that_protects_counts(role: codes.Role.ValueType) -> None:
    old, new = phone(), phone()
    old.roles[:] = [codes.ROLE_SUSPECT]
    new.roles[:] = [codes.ROLE_SUSPECT, role]
    assert strengthens(old, new) == ["roles"]


def test_protection_where_there_was_none_counts_also_when_inherited() -> None:
    bare = Entry(telecom=Telecom(telephone="+12025550143"))
    assert "protection" in strengthens(bare, phone(asylum=codes.ASYLUM_STATE_CLAIMED))
    new = Entry()
    new.CopyFrom(bare)
    new.inherited.asylum = codes.ASYLUM_STATE_CLAIMED
    assert "inherited" in strengthens(bare, new)


def test_a_caveat_against_the_state_of_origin_counts() -> None:
    new = phone()
    new.caveats.append(codes.CAVEAT_NO_ORIGIN_STATE)
    assert strengthens(phone(), new) == ["caveats"]


def corrected() -> dict[str, tuple[Entry, Entry]]:
    """Changes after which less leaves, and that protect nobody from anybody."""
    cleared, suspected = phone(), phone()
    suspected.roles[:] = [codes.ROLE_SUSPECT]
    cleared.roles[:] = [codes.ROLE_THIRD_PARTY]
    given = phone(consents=[Consent(recipient="GT", purpose=codes.PURPOSE_INVESTIGATE, given_us=1)])
    assured = phone(assurances=[Assurance(recipient="GT", given_us=1)])
    secret, linked, police = phone(), Entry(person=Person()), phone()
    secret.handling = codes.HANDLING_CODE_H3
    linked.links.append(Link(kind=codes.LINK_KIND_USES, to_entry_id=b"x" * 16))
    police.caveats.append(codes.CAVEAT_POLICE_ONLY)
    return {
        "a suspicion that was lifted": (suspected, cleared),
        "a consent taken back": (given, phone()),
        "an assurance taken back": (assured, phone()),
        "a stricter handling": (phone(), secret),
        "a link to a thing": (Entry(person=Person()), linked),
        "another caveat": (phone(), police),
    }


@pytest.mark.parametrize("name", corrected())
def test_what_corrects_or_revokes_does_not_count(name: str) -> None:
    assert strengthens(*corrected()[name]) == []
