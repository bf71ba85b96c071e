"""Focal points: who was enrolled, by whom, in order. What makes them trusted is `identity.approvals.enrolled`."""

from collections.abc import Mapping

from sqlalchemy import Connection, func, insert, select

from node.identity.approvals import FOUNDERS, enrolled
from node.store.tables import focal_points
from node.wire.approval_pb2 import SignedFocalEnrolment


def found(connection: Connection, enrolments: tuple[SignedFocalEnrolment, SignedFocalEnrolment], now_us: int) -> None:
    """Enrol the first two, who countersign each other, when the node is made.

    Raises:
        MalformedError, SignatureError: they do not.
        sqlalchemy.exc.IntegrityError: there are focal points already.
    """
    signed = [each.SerializeToString() for each in enrolments]
    for place, (name, key) in enumerate(enrolled(signed).items()):
        row = {"place": place, "name": name, "public_key": key, "enrolment": signed[place], "enrolled_us": now_us}
        connection.execute(insert(focal_points).values(row))


def put(connection: Connection, enrolment: SignedFocalEnrolment, now_us: int) -> str:
    """Enrol one more, countersigned by one already there, and return the name.

    Raises:
        MalformedError: the enrolment is malformed, or its name or key is enrolled already.
        SignatureError: nobody already there countersigned it, or the node has no founders yet.
    """
    signed = enrolment.SerializeToString()
    chain = [*list_enrolments(connection), signed]
    name, key = list(enrolled(chain).items())[-1]
    row = {"place": len(chain) - 1, "name": name, "public_key": key, "enrolment": signed, "enrolled_us": now_us}
    connection.execute(insert(focal_points).values(row))
    return name


def list_enrolments(connection: Connection) -> list[bytes]:
    """Return all enrolments (SignedFocalEnrolment) in their order."""
    return list(connection.execute(select(focal_points.c.enrolment).order_by(focal_points.c.place)).scalars())


def by_name(connection: Connection) -> Mapping[str, bytes]:
    """Return the public keys (32 bytes) by name, of those whose chain of countersignatures verifies from the start.

    An administrator who writes a focal point into the database writes one that nobody countersigned.

    Raises:
        MalformedError, SignatureError: the chain is broken.
    """
    enrolments = list_enrolments(connection)
    return enrolled(enrolments) if enrolments else {}


def keys(connection: Connection) -> list[bytes]:
    """Return the public keys (32 bytes) of all focal points; see `by_name`."""
    return list(by_name(connection).values())


def are_founded(connection: Connection) -> bool:
    """Tell whether the founders are enrolled."""
    return connection.execute(select(func.count()).select_from(focal_points)).scalar_one() >= FOUNDERS
