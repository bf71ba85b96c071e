"""Who is on call when, and how officers are reached.

A turn says who is on duty from one time to another, and who stands in for them, in order. Where turns overlap, the one
that was set last counts: to change the roster is to set another turn over it.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import structlog
from sqlalchemy import Connection, Row, delete, func, insert, select

from node.errors import StoreError
from node.store.columns import as_bytes
from node.store.duty_tables import contacts, duty_turns
from node.store.ids import new_id
from node.store.officers import Officer, list_officers
from node.store.vault import Vault, key_id_of
from node.wire.desk_pb2 import OfficerRole
from node.wire.duty_pb2 import ContactOf, Turn

log = structlog.get_logger()

MOST_OFFICERS: Final = 6
"""In one turn: a person and five deputies. Their pseudonyms, of 32 bytes at most, fit the column."""

_CONTEXT: Final = b"enlace/v1/contact\0"


def put_turn(
    connection: Connection, from_us: int, until_us: int, names: Sequence[str], *, by: str, now_us: int
) -> Turn:
    """Keep a turn, which counts before all that were set until now."""
    last_us = connection.execute(select(func.max(duty_turns.c.set_us))).scalar_one() or 0
    turn = Turn(
        turn_id=new_id(now_us),
        from_us=from_us,
        until_us=until_us,
        officers=names,
        set_by=by,
        set_us=max(now_us, last_us + 1),
    )
    connection.execute(
        insert(duty_turns).values(
            turn_id=turn.turn_id,
            from_us=from_us,
            until_us=until_us,
            officers=" ".join(names),
            set_by=by,
            set_us=turn.set_us,
        )
    )
    return turn


def on_duty(connection: Connection, at_us: int) -> Turn | None:
    """Return the turn that counts at a time, or None where nobody is on call."""
    held = duty_turns.c
    this = (held.from_us <= at_us, held.until_us > at_us)
    row = connection.execute(select(duty_turns).where(*this).order_by(held.set_us.desc()).limit(1)).one_or_none()
    return None if row is None else _turn(row)


def may_act_alone(connection: Connection, name: str, now_us: int) -> bool:
    """Tell whether an officer is on call; where nobody is, everybody is: an empty roster must not cost a life."""
    turn = on_duty(connection, now_us)
    return turn is None or name in turn.officers


def has_roster(connection: Connection) -> bool:
    """Tell whether anybody was ever put on call."""
    return connection.execute(select(duty_turns.c.turn_id).limit(1)).first() is not None


def timeline(connection: Connection, since_us: int) -> list[Turn]:
    """Return who is on call one after the other from a time on: turns cut to where they count."""
    query = select(duty_turns).where(duty_turns.c.until_us > since_us).order_by(duty_turns.c.set_us)
    turns = [_turn(row) for row in connection.execute(query)]
    times = sorted({max(time, since_us) for turn in turns for time in (turn.from_us, turn.until_us)})
    found: list[Turn] = []
    for start, stop in pairwise(times):
        counts = next((turn for turn in reversed(turns) if turn.from_us <= start < turn.until_us), None)
        if counts is None:
            continue
        if found and found[-1].turn_id == counts.turn_id and found[-1].until_us == start:
            found[-1].until_us = stop
            continue
        part = Turn()
        part.CopyFrom(counts)
        part.from_us, part.until_us = start, stop
        found.append(part)
    return found


def _turn(row: Row[*tuple[object, ...]]) -> Turn:
    return Turn(
        turn_id=row.turn_id,
        from_us=row.from_us,
        until_us=row.until_us,
        officers=row.officers.split(),
        set_by=row.set_by,
        set_us=row.set_us,
    )


# --- people ----------------------------------------------------------------------------------------------------------


def active(connection: Connection, role: OfficerRole.ValueType) -> dict[str, Officer]:
    """Return the officers of a role whose access was not taken away, by name."""
    return {each.name: each for each in list_officers(connection) if each.active and role in each.roles}


def put_contact(connection: Connection, vault: Vault, contact: ContactOf) -> bytes | None:
    """Keep how an officer is reached, instead of what was known; with neither address nor number, forget it.

    Returns:
        The id of the key that sealed what was known, to be erased (`Vault.erase_keys`) once this is committed.
    """
    this = contacts.c.officer == contact.officer
    old = connection.execute(select(contacts.c.sealed).where(this)).scalar_one_or_none()
    connection.execute(delete(contacts).where(this))
    if contact.email or contact.telephone:
        sealed = vault.seal_alone(_CONTEXT + contact.officer.encode(), contact.SerializeToString())
        connection.execute(insert(contacts).values(officer=contact.officer, sealed=sealed))
    return None if old is None else key_id_of(as_bytes(old))


def get_contacts(connection: Connection, vault: Vault, names: Sequence[str]) -> dict[str, ContactOf]:
    """Return how these officers are reached, as far as it is known and was not altered; that is logged."""
    found = {}
    for row in connection.execute(select(contacts).where(contacts.c.officer.in_(names))):
        try:
            opened = vault.open_alone(_CONTEXT + row.officer.encode(), as_bytes(row.sealed))
            found[row.officer] = ContactOf.FromString(opened)
        except StoreError as error:
            log.error("contact_unreadable", reason=str(error))  # noqa: TRY400 - its text says all
    return found
