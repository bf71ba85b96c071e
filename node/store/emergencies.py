"""Emergencies that focal points declared, with what another one said of each.

The signed bytes are what counts. What the columns beside them say ends an emergency, and never begins or prolongs one:
that one was ended before its time, a ledger line tells too, whose exchange id follows from the declaration
(`ending_id`), so that nobody takes the end back by clearing a column.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final

import structlog
from sqlalchemy import Connection, Row, insert, select, update

from node.errors import EnlaceError, NotFoundError, UsageError
from node.identity.emergencies import (
    REVIEW_WITHIN_US,
    emergency_sha256,
    emergency_signer,
    parse_emergency,
    parse_review,
    review_signer,
)
from node.store.lines import ledger_lines
from node.store.safeguard_tables import emergencies
from node.wire.safeguard_pb2 import Emergency, EmergencyState, SignedEmergency, SignedEmergencyReview

log = structlog.get_logger()

ENDING_KEY: Final = b"emergency-ended"
"""Replay key of the line that tells of an end; there is one for each emergency."""


def ending_id(digest: bytes) -> bytes:
    """Return the exchange id of the ledger line that tells that an emergency ended before its time."""
    return sha256(b"enlace/v1/emergency-ended\0" + digest).digest()[:16]


def in_force(connection: Connection, country: str, focal_keys: Sequence[bytes], now_us: int) -> Mapping[str, int]:
    """Return until when an emergency is in force towards each peer, as one of the country's focal points signed it."""
    held, found = emergencies.c, dict[str, int]()
    open_ones = (held.until_us > now_us, held.ended_us.is_(None))
    for row in connection.execute(select(emergencies).where(*open_ones)):
        try:
            emergency, key = emergency_signer(row.signed, focal_keys)
            over = _is_ended(connection, emergency_sha256(row.signed)) or _is_rejected(row, focal_keys, key)
            if emergency.country == country and now_us < emergency.until_us and not over:
                found[emergency.peer] = max(found.get(emergency.peer, 0), emergency.until_us)
        except EnlaceError as error:
            log.warning("no_emergency", peer=row.peer, reason=str(error))
    return found


def _is_ended(connection: Connection, digest: bytes) -> bool:
    held = ledger_lines.c
    query = select(held.idx).where(held.exchange_id == ending_id(digest), held.replay_key == ENDING_KEY)
    return connection.execute(query).first() is not None


def _is_rejected(row: Row[*tuple[object, ...]], focal_keys: Sequence[bytes], declarer: bytes) -> bool:
    if row.review is None:
        return False
    review, key = review_signer(row.review, focal_keys)
    return key != declarer and not review.upheld


def put(connection: Connection, signed: bytes, *, officer: str, now_us: int) -> bytes:
    """Keep a declaration whose signature was verified, and return its SHA-256.

    Raises:
        UsageError: one is in force towards this peer, or the last one was not reviewed: nobody goes on alone.
    """
    emergency, digest = parse_emergency(SignedEmergency.FromString(signed).emergency), emergency_sha256(signed)
    held = emergencies.c
    for row in connection.execute(select(emergencies).where(held.peer == emergency.peer)):
        if row.emergency_sha256 == digest:
            raise UsageError("this emergency was declared before")
        if row.ended_us is None and row.until_us > now_us:
            raise UsageError(f"an emergency towards {emergency.peer} is in force: end it first")
        if row.review is None:
            raise UsageError(f"the last emergency towards {emergency.peer} was not reviewed by another focal point")
    connection.execute(
        insert(emergencies).values(
            emergency_sha256=digest,
            peer=emergency.peer,
            signed=signed,
            until_us=emergency.until_us,
            declared_by=officer,
            declared_us=now_us,
            overdue=False,
        )
    )
    return digest


def open_towards(connection: Connection, peer: str, now_us: int) -> list[bytes]:
    """Return the SHA-256 of each emergency towards a peer that is in force."""
    held = emergencies.c
    this = (held.peer == peer, held.until_us > now_us, held.ended_us.is_(None))
    found = [emergency_sha256(signed) for signed in connection.execute(select(held.signed).where(*this)).scalars()]
    return [digest for digest in found if not _is_ended(connection, digest)]


def end(connection: Connection, peer: str, now_us: int) -> None:
    """End what is in force towards a peer.

    Raises:
        NotFoundError: nothing is.
    """
    held = emergencies.c
    this = (held.peer == peer, held.until_us > now_us, held.ended_us.is_(None))
    if connection.execute(update(emergencies).where(*this).values(ended_us=now_us)).rowcount == 0:
        raise NotFoundError(f"no emergency towards {peer} is in force")


def get(connection: Connection, digest: bytes) -> tuple[bytes, str]:
    """Return a declaration (SignedEmergency), and which officer brought it.

    Raises:
        NotFoundError: there is none of this SHA-256.
    """
    row = connection.execute(select(emergencies).where(emergencies.c.emergency_sha256 == digest)).one_or_none()
    if row is None:
        raise NotFoundError("no such emergency was declared")
    return row.signed, row.declared_by


def review(connection: Connection, digest: bytes, signed: bytes, *, officer: str, now_us: int, upheld: bool) -> None:
    """Keep a review whose signature was verified; what it doesn't uphold ends.

    Raises:
        UsageError: it was reviewed already.
    """
    held = emergencies.c
    this = (held.emergency_sha256 == digest, held.review.is_(None))
    values: dict[str, object] = {"review": signed, "reviewed_by": officer}
    if connection.execute(update(emergencies).where(*this).values(values)).rowcount == 0:
        raise UsageError("this emergency was reviewed already")
    if not upheld:
        still = (held.emergency_sha256 == digest, held.ended_us.is_(None), held.until_us > now_us)
        connection.execute(update(emergencies).where(*still).values(ended_us=now_us))


def unreviewed(connection: Connection, now_us: int) -> list[tuple[bytes, str, bool]]:
    """Return digest and peer of each emergency that was to be reviewed by now, and whether a line says so."""
    held = emergencies.c
    late = (held.review.is_(None), held.declared_us <= now_us - REVIEW_WITHIN_US)
    query = select(held.emergency_sha256, held.peer, held.overdue).where(*late).order_by(held.declared_us)
    return [(row.emergency_sha256, row.peer, row.overdue) for row in connection.execute(query)]


def tell_overdue(connection: Connection, digest: bytes) -> None:
    """Note that a line says that nobody reviewed an emergency in time."""
    connection.execute(update(emergencies).where(emergencies.c.emergency_sha256 == digest).values(overdue=True))


def list_emergencies(connection: Connection) -> Iterator[EmergencyState]:
    """Yield all emergencies, the newest first."""
    query = select(emergencies).order_by(emergencies.c.declared_us.desc(), emergencies.c.peer)
    for row in connection.execute(query):
        emergency: Emergency = parse_emergency(SignedEmergency.FromString(row.signed).emergency)
        state = EmergencyState(
            emergency_sha256=row.emergency_sha256,
            peer=emergency.peer,
            reason=emergency.reason,
            time_us=emergency.time_us,
            until_us=emergency.until_us,
            ended_us=row.ended_us or 0,
            declared_by=row.declared_by,
            review_due_us=row.declared_us + REVIEW_WITHIN_US,
        )
        if row.review is not None:
            reviewed = parse_review(SignedEmergencyReview.FromString(row.review).review)
            state.reviewed_by, state.reviewed_us, state.upheld = row.reviewed_by, reviewed.time_us, reviewed.upheld
        yield state
