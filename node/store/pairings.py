"""Pairings: with which peers, and under which root key of theirs, focal points have agreed to deal.

Whether one is in force is not read from here, where SQL could write it, but from the signatures:
`node.identity.approvals.verify_pairing`.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, insert, select, update

from node.errors import NotFoundError, NotPairedError
from node.store.tables import pairings
from node.wire.approval_pb2 import Pairing


def put(connection: Connection, pairing: Pairing, signed: bytes, *, signers: int, now_us: int) -> None:
    """Keep a pairing (SignedPairing bytes) with the number of focal points whose signatures on it verified.

    Raises:
        NotPairedError: a newer pairing with this peer is held, or the same one with more signatures, or it was ended.
    """
    values = {
        "peer_root_key": pairing.peer_root_key,
        "time_us": pairing.time_us,
        "signers": signers,
        "signed": signed,
        "stored_us": now_us,
        "ended_us": None,
    }
    held = pairings.c
    changed = connection.execute(
        update(pairings)
        .where(
            held.peer == pairing.peer,
            (held.time_us < pairing.time_us)
            | (
                held.ended_us.is_(None)
                & (held.time_us == pairing.time_us)
                & (held.signers <= signers)
                & (held.peer_root_key == pairing.peer_root_key)
            ),
        )
        .values(values)
    )
    if changed.rowcount:
        return
    if connection.execute(select(held.peer).where(held.peer == pairing.peer)).first() is not None:
        raise NotPairedError(f"a newer pairing with {pairing.peer} is held, or this one was ended")
    connection.execute(insert(pairings).values(peer=pairing.peer, **values))


def end(connection: Connection, peer: str, now_us: int) -> None:
    """Note that the pairing with this peer counts no more; the signatures on it don't bring it back.

    Raises:
        NotFoundError: there is none that counts.
    """
    held = pairings.c
    changed = update(pairings).where(held.peer == peer, held.ended_us.is_(None)).values(ended_us=now_us)
    if connection.execute(changed).rowcount == 0:
        raise NotFoundError(f"there is no pairing with {peer} to end")


def signed(connection: Connection, peer: str) -> bytes | None:
    """Return the newest pairing with this peer that was not ended (SignedPairing), however few have signed it."""
    query = select(pairings.c.signed).where(pairings.c.peer == peer, pairings.c.ended_us.is_(None))
    return connection.execute(query).scalar_one_or_none()


def list_signed(connection: Connection) -> Mapping[str, bytes]:
    """Return the newest pairing with each peer (SignedPairing) that was not ended."""
    query = select(pairings.c.peer, pairings.c.signed).where(pairings.c.ended_us.is_(None)).order_by(pairings.c.peer)
    rows = connection.execute(query)
    return {row.peer: row.signed for row in rows}
