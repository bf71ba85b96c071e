"""Who works at the desk, and in which roles."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Row, insert, select, update

from node.errors import NotFoundError
from node.store.tables import officers
from node.wire.codes_pb2 import UnitType
from node.wire.desk_pb2 import OfficerRole


@dataclass(frozen=True, slots=True)
class Officer:
    """An officer of this country; `name` is a pseudonym, `identity` the SPIFFE id in the client certificate."""

    name: str
    identity: str
    unit: str
    unit_type: UnitType.ValueType
    roles: frozenset[OfficerRole.ValueType]
    active: bool = True


def put_officer(connection: Connection, officer: Officer, now_us: int) -> None:
    """Enrol an officer, or change one; a certificate's identity stays with the name that it was enrolled for.

    Raises:
        sqlalchemy.exc.IntegrityError: the identity is another officer's.
    """
    values = {
        "identity": officer.identity,
        "unit": officer.unit,
        "unit_type": officer.unit_type,
        "roles": _bits(officer.roles),
        "active": officer.active,
    }
    changed = connection.execute(update(officers).where(officers.c.name == officer.name).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(officers).values(name=officer.name, enrolled_us=now_us, **values))


def find_officer(connection: Connection, identity: str) -> Officer | None:
    """Return who has this identity in the certificate, also where no longer active."""
    row = connection.execute(select(officers).where(officers.c.identity == identity)).one_or_none()
    return None if row is None else _officer(row)


def list_officers(connection: Connection) -> list[Officer]:
    """Return all officers by name."""
    return [_officer(row) for row in connection.execute(select(officers).order_by(officers.c.name))]


def deactivate(connection: Connection, name: str) -> None:
    """Take an officer's access away; the name stays, since past ledger lines bear it.

    Raises:
        NotFoundError: there is no such officer.
    """
    changed = connection.execute(update(officers).where(officers.c.name == name).values(active=False))
    if changed.rowcount == 0:
        raise NotFoundError(f"there is no officer {name}")


def _officer(row: Row[*tuple[object, ...]]) -> Officer:
    roles = frozenset(role for role in OfficerRole.values() if role and row.roles >> role & 1)
    return Officer(row.name, row.identity, row.unit, row.unit_type, roles, row.active)


def _bits(roles: Iterable[OfficerRole.ValueType]) -> int:
    return sum(1 << role for role in frozenset(roles))
