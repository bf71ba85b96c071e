import pytest
from sqlalchemy import Connection, delete, insert, update
from sqlalchemy.exc import IntegrityError

from node.errors import MalformedError, NotFoundError, SignatureError
from node.identity.approvals import countersign
from node.identity.keys import generate_private_key, public_key
from node.store import focal_points
from node.store import officers as store
from node.store.officers import Officer
from node.store.tables import focal_points as focal_points_table
from node.store.vault import Vault
from node.wire.approval_pb2 import FocalEnrolment, SignedFocalEnrolment
from node.wire.codes_pb2 import UnitType
from node.wire.desk_pb2 import OfficerRole
from tests.conftest import START_US

ANA = Officer(
    name="ana",
    identity="spiffe://gt.enlace.example/desk/ana",
    unit="UIF",
    unit_type=UnitType.UNIT_TYPE_POLICE_INTELLIGENCE,
    roles=frozenset({OfficerRole.OFFICER_ROLE_UNIT, OfficerRole.OFFICER_ROLE_FOCAL_POINT}),
)


def test_an_officer_is_known_by_the_identity_in_the_certificate(connection: Connection) -> None:
    store.put_officer(connection, ANA, START_US)
    assert store.find_officer(connection, ANA.identity) == ANA
    assert store.find_officer(connection, ANA.identity.upper()) is None
    assert store.find_officer(connection, "ana") is None


@pytest.mark.parametrize("roles", [(), OfficerRole.values()[1:], (OfficerRole.OFFICER_ROLE_ADMINISTRATOR,)])
def test_roles_are_kept(connection: Connection, roles: tuple[OfficerRole.ValueType, ...]) -> None:
    officer = Officer(ANA.name, ANA.identity, ANA.unit, ANA.unit_type, frozenset(roles))
    store.put_officer(connection, officer, START_US)
    assert store.find_officer(connection, ANA.identity) == officer


def test_an_officer_changes_and_leaves_and_the_name_stays(connection: Connection) -> None:
    store.put_officer(connection, ANA, START_US)
    moved = Officer(ANA.name, ANA.identity, "FISCALIA", UnitType.UNIT_TYPE_PROSECUTOR, frozenset())
    store.put_officer(connection, moved, START_US + 1)
    assert store.list_officers(connection) == [moved]
    store.deactivate(connection, "ana")
    (left,) = store.list_officers(connection)
    assert not left.active
    with pytest.raises(NotFoundError):
        store.deactivate(connection, "nobody")


def test_one_certificate_is_one_officer(connection: Connection) -> None:
    store.put_officer(connection, ANA, START_US)
    savepoint = connection.begin_nested()
    with pytest.raises(IntegrityError):
        store.put_officer(connection, Officer("eva", ANA.identity, "UIF", ANA.unit_type, frozenset()), START_US)
    savepoint.rollback()


# --- focal points ----------------------------------------------------------------------------------------------------

KEYS = {name: generate_private_key() for name in ("one", "two", "three", "four")}


def enrolment(name: str, by: str) -> SignedFocalEnrolment:
    entry = FocalEnrolment(name=name, public_key=public_key(KEYS[name]), time_us=START_US)
    return countersign(entry, KEYS[by])


def founded(connection: Connection, vault: Vault) -> None:
    focal_points.found(connection, vault, (enrolment("one", "two"), enrolment("two", "one")), START_US)


def test_the_first_two_vouch_for_each_other_and_each_later_one_is_vouched_for(
    connection: Connection, vault: Vault
) -> None:
    assert focal_points.keys(connection, vault) == []
    assert not focal_points.are_founded(connection)
    founded(connection, vault)
    assert focal_points.are_founded(connection)
    assert focal_points.put(connection, vault, enrolment("three", "one"), START_US) == "three"
    assert focal_points.put(connection, vault, enrolment("four", "three"), START_US) == "four"
    assert focal_points.by_name(connection, vault) == {name: public_key(key) for name, key in KEYS.items()}


def test_nobody_enrols_without_one_who_was_there_before(connection: Connection, vault: Vault) -> None:
    with pytest.raises(SignatureError):
        focal_points.put(connection, vault, enrolment("three", "one"), START_US)
    founded(connection, vault)
    for by in ("three", "four"):
        with pytest.raises(SignatureError):
            focal_points.put(connection, vault, enrolment("three", by), START_US)
    with pytest.raises(MalformedError, match="already"):
        focal_points.put(connection, vault, enrolment("two", "one"), START_US)
    assert set(focal_points.by_name(connection, vault)) == {"one", "two"}


def test_founders_who_do_not_vouch_for_each_other_are_refused(connection: Connection, vault: Vault) -> None:
    with pytest.raises(SignatureError):
        focal_points.found(connection, vault, (enrolment("one", "one"), enrolment("two", "one")), START_US)
    founded(connection, vault)
    savepoint = connection.begin_nested()
    with pytest.raises(IntegrityError):
        focal_points.found(connection, vault, (enrolment("three", "four"), enrolment("four", "three")), START_US)
    savepoint.rollback()


def test_a_focal_point_invented_by_sql_is_noticed(connection: Connection, vault: Vault) -> None:
    founded(connection, vault)
    focal_points.put(connection, vault, enrolment("three", "one"), START_US)
    forged = enrolment("four", "four").SerializeToString()
    connection.execute(update(focal_points_table).where(focal_points_table.c.place == 2).values(enrolment=forged))
    with pytest.raises(SignatureError):
        focal_points.keys(connection, vault)


def test_founders_that_sql_wrote_are_none(connection: Connection, vault: Vault) -> None:
    """Each vouches for the other, and for those who were there: so their chain holds, but for who wrote it."""
    founded(connection, vault)
    connection.execute(delete(focal_points_table))
    names = (("three", "four"), ("four", "three"), ("one", "three"), ("two", "three"))
    for place, (name, by) in enumerate(names):
        signed = enrolment(name, by).SerializeToString()
        row = {"place": place, "name": name, "public_key": public_key(KEYS[name]), "enrolment": signed}
        connection.execute(insert(focal_points_table).values(**row, enrolled_us=START_US, tag=bytes(32)))
    with pytest.raises(SignatureError, match="not written by this node"):
        focal_points.keys(connection, vault)
