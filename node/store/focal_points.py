"""Focal points: who was enrolled, by whom, in order. What makes them trusted is `identity.approvals.enrolled`.

The first two vouch for each other, as any two invented ones would. So each row bears a tag under a secret that is not
in the database (HMAC-SHA-256, see `Vault.tag`): with SQL alone nobody puts two of their own at the chain's beginning.
"""

import hmac
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, func, insert, select

from node.errors import SignatureError
from node.identity.approvals import FOUNDERS, enrolled
from node.store.columns import as_bytes
from node.store.tables import focal_points
from node.store.vault import Vault
from node.wire.approval_pb2 import SignedFocalEnrolment


def found(
    connection: Connection, vault: Vault, enrolments: tuple[SignedFocalEnrolment, SignedFocalEnrolment], now_us: int
) -> None:
    """Enrol the first two, who countersign each other, when the node is made.

    Raises:
        MalformedError, SignatureError: they do not.
        sqlalchemy.exc.IntegrityError: there are focal points already.
    """
    signed = [each.SerializeToString() for each in enrolments]
    _insert(connection, vault, signed, 0, now_us)


def put(connection: Connection, vault: Vault, enrolment: SignedFocalEnrolment, now_us: int) -> str:
    """Enrol one more, countersigned by one already there, and return the name.

    Raises:
        MalformedError: the enrolment is malformed, or its name or key is enrolled already.
        SignatureError: nobody already there countersigned it, or the node has no founders yet.
    """
    signed = enrolment.SerializeToString()
    chain = [*_enrolments(connection, vault), signed]
    _insert(connection, vault, chain, len(chain) - 1, now_us)
    return list(enrolled(chain))[-1]


def _insert(connection: Connection, vault: Vault, chain: Sequence[bytes], start: int, now_us: int) -> None:
    """Write the enrolments of a chain from one place on, once the chain is known to hold."""
    people = list(enrolled(chain).items())
    for place in range(start, len(chain)):
        (name, key), signed = people[place], chain[place]
        row = {"place": place, "name": name, "public_key": key, "enrolment": signed, "enrolled_us": now_us}
        connection.execute(insert(focal_points).values(**row, tag=_tag(vault, place, signed)))


def _tag(vault: Vault, place: int, signed: bytes) -> bytes:
    return vault.tag("focal-point", f"{place} ".encode() + signed)


def _enrolments(connection: Connection, vault: Vault) -> list[bytes]:
    """Return all enrolments (SignedFocalEnrolment) in their order.

    Raises:
        SignatureError: a row was not written by this node.
    """
    found: list[bytes] = []
    for row in connection.execute(select(focal_points).order_by(focal_points.c.place)):
        signed = as_bytes(row.enrolment)
        if not hmac.compare_digest(as_bytes(row.tag), _tag(vault, len(found), signed)):
            raise SignatureError(f"enrolment {len(found) + 1} was not written by this node")
        found.append(signed)
    return found


def by_name(connection: Connection, vault: Vault) -> Mapping[str, bytes]:
    """Return the public keys (32 bytes) by name, of those whose chain of countersignatures verifies from the start.

    An administrator who writes a focal point into the database writes one that nobody countersigned.

    Raises:
        MalformedError, SignatureError: the chain is broken, or not this node's.
    """
    enrolments = _enrolments(connection, vault)
    return enrolled(enrolments) if enrolments else {}


def keys(connection: Connection, vault: Vault) -> list[bytes]:
    """Return the public keys (32 bytes) of all focal points; see `by_name`."""
    return list(by_name(connection, vault).values())


def are_founded(connection: Connection) -> bool:
    """Tell whether the founders are enrolled."""
    return connection.execute(select(func.count()).select_from(focal_points)).scalar_one() >= FOUNDERS
