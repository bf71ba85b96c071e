"""Pairings: with which peers, and under which root key of theirs, focal points have agreed to deal.

Whether one is in force is not read from here, where SQL could write it, but from the signatures:
`node.identity.approvals.verify_pairing`.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, insert, select, update

from node.errors import NotFoundError, NotPairedError
from node.store.tables import pairings
from node.wire.approval_pb2 import Pairing


def put(connection: Connection, pairing: Pairing, signed: bytes, *, now_us: int) -> None:
    """Put a pairing (SignedPairing bytes) in force that two focal points have signed.

    Raises:
        NotPairedError: one as new or newer was in force, or this one and was ended.
    """
    held = _held(connection, pairing, signed)
    values = {"time_us": pairing.time_us, "signed": signed, "stored_us": now_us, "ended_us": None, "begun": None}
    _write(connection, pairing.peer, values, held=held)


def begin(connection: Connection, pairing: Pairing, signed: bytes, *, now_us: int) -> None:
    """Keep a pairing that waits for its second signature, beside the one in force, which it does not touch.

    Raises:
        NotPairedError: as `put`.
    """
    held = _held(connection, pairing, signed)
    values: dict[str, object] = {"begun": signed, "stored_us": now_us}
    _write(connection, pairing.peer, values if held else {"time_us": 0, **values}, held=held)


def end(connection: Connection, peer: str, now_us: int) -> None:
    """Note that the pairing with this peer counts no more; the signatures on it don't bring it back.

    Raises:
        NotFoundError: there is none that counts.
    """
    in_force = (pairings.c.peer == peer, pairings.c.signed.is_not(None), pairings.c.ended_us.is_(None))
    if connection.execute(update(pairings).where(*in_force).values(ended_us=now_us, begun=None)).rowcount == 0:
        raise NotFoundError(f"there is no pairing with {peer} to end")


def begun(connection: Connection) -> Mapping[str, bytes]:
    """Return the pairing with each peer (SignedPairing) that waits for its second signature."""
    query = select(pairings.c.peer, pairings.c.begun).where(pairings.c.begun.is_not(None)).order_by(pairings.c.peer)
    return {row.peer: row.begun for row in connection.execute(query)}


def in_force(connection: Connection) -> Mapping[str, bytes]:
    """Return the newest pairing with each peer (SignedPairing) that was signed by two and not ended."""
    where = (pairings.c.signed.is_not(None), pairings.c.ended_us.is_(None))
    query = select(pairings.c.peer, pairings.c.signed).where(*where).order_by(pairings.c.peer)
    return {row.peer: row.signed for row in connection.execute(query)}


def _held(connection: Connection, pairing: Pairing, signed: bytes) -> bool:
    """Tell whether there is a row for the peer, which must not be as new as the pairing."""
    row = connection.execute(select(pairings).where(pairings.c.peer == pairing.peer)).one_or_none()
    if row is None:
        return False
    again = row.signed == signed and row.ended_us is None
    if pairing.time_us <= row.time_us and not again:
        raise NotPairedError(f"a pairing with {pairing.peer} as new is or was in force: rehearse and sign another")
    return True


def _write(connection: Connection, peer: str, values: Mapping[str, object], *, held: bool) -> None:
    if held:
        connection.execute(update(pairings).where(pairings.c.peer == peer).values(values))
    else:
        connection.execute(insert(pairings).values(peer=peer, **values))
