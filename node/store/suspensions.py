"""Suspensions of peers, as focal points signed them, with what lifts them.

Whether one is lifted is read from the signatures, so nobody lifts one by altering its row; that a row was deleted, the
ledger's lines tell.
"""

from collections.abc import Mapping, Sequence

import structlog
from sqlalchemy import Column, Connection, LargeBinary, Row, Table, insert, select, update

from node.errors import EnlaceError, NotFoundError
from node.identity.suspensions import (
    FOR_GOOD_US,
    is_lifted,
    lifting_signers,
    parse_lifting,
    parse_suspension,
    suspension_sha256,
    suspension_signers,
    until_us,
)
from node.store.bound import bound
from node.store.columns import as_bytes
from node.store.tables import COUNTRY, metadata
from node.wire.suspension_pb2 import SignedLifting, SignedSuspension, SuspensionState

log = structlog.get_logger()

suspensions = Table(
    "suspensions",
    metadata,
    Column("suspension_sha256", LargeBinary, primary_key=True),
    Column("peer", COUNTRY, nullable=False),
    Column("signed", LargeBinary, nullable=False),  # SignedSuspension
    Column("lifting", LargeBinary),  # SignedLifting, with one signature or two
    info=bound("the suspension"),
)


def get(connection: Connection, digest: bytes) -> tuple[SignedSuspension | None, SignedLifting | None]:
    """Return the suspension with this SHA-256, and what lifts it; None where nobody has signed such a thing."""
    row = connection.execute(select(suspensions).where(suspensions.c.suspension_sha256 == digest)).one_or_none()
    if row is None:
        return None, None
    lifting = None if row.lifting is None else SignedLifting.FromString(as_bytes(row.lifting))
    return SignedSuspension.FromString(as_bytes(row.signed)), lifting


def put(connection: Connection, signed: SignedSuspension) -> bytes:
    """Keep a suspension with all its signatures, which the caller has verified, and return its SHA-256."""
    digest, held = suspension_sha256(signed.suspension), suspensions.c
    changed = connection.execute(
        update(suspensions).where(held.suspension_sha256 == digest).values(signed=signed.SerializeToString())
    )
    if changed.rowcount == 0:
        peer = parse_suspension(signed.suspension).peer
        row = {"suspension_sha256": digest, "peer": peer, "signed": signed.SerializeToString()}
        connection.execute(insert(suspensions).values(row))
    return digest


def put_lifting(connection: Connection, signed: SignedLifting) -> None:
    """Keep what lifts a suspension with all its signatures, which the caller has verified.

    Raises:
        NotFoundError: there is no such suspension.
    """
    digest = parse_lifting(signed.lifting).suspension_sha256
    where = suspensions.c.suspension_sha256 == digest
    if connection.execute(update(suspensions).where(where).values(lifting=signed.SerializeToString())).rowcount == 0:
        raise NotFoundError("there is no such suspension: see `enlace suspension list`")


def in_force(connection: Connection, country: str, focal: Mapping[str, bytes], now_us: int) -> frozenset[str]:
    """Return the peers that are suspended now; `focal` are the country's focal points' public keys by name.

    A row that does not verify suspends its peer too, until somebody has looked: that is logged.
    """
    found = set[str]()
    for row in connection.execute(select(suspensions)):
        try:
            state = _state(row, focal, now_us)
            if state.in_force and parse_suspension(_said(row)).country == country:
                found.add(state.peer)
        except EnlaceError as error:
            log.error("suspension_not_valid", peer=row.peer, reason=str(error))  # noqa: TRY400 - its text says all
            found.add(row.peer)
    return frozenset(found)


def listed(connection: Connection, focal: Mapping[str, bytes], now_us: int) -> Sequence[SuspensionState]:
    """Return how each suspension stands, the newest first.

    Raises:
        MalformedError, SignatureError: a row was altered.
    """
    states = [_state(row, focal, now_us) for row in connection.execute(select(suspensions))]
    return sorted(states, key=lambda state: (-state.time_us, state.suspension_sha256))


def _said(row: Row[*tuple[object, ...]]) -> bytes:
    return SignedSuspension.FromString(as_bytes(row.signed)).suspension


def _state(row: Row[*tuple[object, ...]], focal: Mapping[str, bytes], now_us: int) -> SuspensionState:
    signed, signers = suspension_signers(as_bytes(row.signed), focal)
    said = parse_suspension(signed.suspension)
    ends_us = until_us(said, signers)
    state = SuspensionState(
        suspension_sha256=suspension_sha256(signed.suspension),
        peer=said.peer,
        reason=said.reason,
        time_us=said.time_us,
        signed_by=sorted(signers),
        until_us=0 if ends_us == FOR_GOOD_US else ends_us,
        in_force=now_us < ends_us,
        signed_suspension=as_bytes(row.signed),
    )
    if row.lifting is not None:
        signed_lifting, lifters = lifting_signers(as_bytes(row.lifting), focal)
        lifting = parse_lifting(signed_lifting.lifting)
        state.lifting_signed_by.extend(sorted(lifters))
        state.signed_lifting = as_bytes(row.lifting)
        if is_lifted(signed.suspension, lifting, lifters):
            state.lifted_us, state.in_force = lifting.time_us, False
    return state
