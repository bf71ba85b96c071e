"""Pairings: with which peers, and under which root key of theirs, focal points have agreed to deal (SAFEGUARDS 9).

Whether one is in force is not read from here, where SQL could write it, but from the signatures:
`node.identity.approvals.verify_pairing`.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, insert, select, update

from node.errors import NotPairedError
from node.store.tables import pairings
from node.wire.approval_pb2 import Pairing


def put(connection: Connection, pairing: Pairing, signed: bytes, *, signers: int, now_us: int) -> None:
    """Keep a pairing (SignedPairing bytes) with the number of focal points whose signatures on it verified.

    Raises:
        NotPairedError: a newer pairing with this peer is held, or the same one with more signatures.
    """
    values = {
        "peer_root_key": pairing.peer_root_key,
        "time_us": pairing.time_us,
        "signers": signers,
        "signed": signed,
        "stored_us": now_us,
    }
    held = pairings.c
    changed = connection.execute(
        update(pairings)
        .where(
            held.peer == pairing.peer,
            (held.time_us < pairing.time_us)
            | (
                (held.time_us == pairing.time_us)
                & (held.signers <= signers)
                & (held.peer_root_key == pairing.peer_root_key)
            ),
        )
        .values(values)
    )
    if changed.rowcount:
        return
    if connection.execute(select(held.peer).where(held.peer == pairing.peer)).first() is not None:
        raise NotPairedError(f"a newer pairing with {pairing.peer} is held")
    connection.execute(insert(pairings).values(peer=pairing.peer, **values))


def signed(connection: Connection, peer: str) -> bytes | None:
    """Return the newest pairing with this peer (SignedPairing), however few have signed it."""
    return connection.execute(select(pairings.c.signed).where(pairings.c.peer == peer)).scalar_one_or_none()


def list_signed(connection: Connection) -> Mapping[str, bytes]:
    """Return the newest pairing with each peer (SignedPairing)."""
    rows = connection.execute(select(pairings.c.peer, pairings.c.signed).order_by(pairings.c.peer))
    return {row.peer: row.signed for row in rows}
