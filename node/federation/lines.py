"""From what happened to a ledger line: the leaf, its opening, and what is kept beside it."""

import hashlib
import os
import secrets

from node.federation.envelope import Opened, Sealed, Signer
from node.ledger.leaf import build_leaf, build_opening
from node.store.lines import Line
from node.wire.exchange_pb2 import Query
from node.wire.ledger_pb2 import Decisions, Direction, LeafKind, LeafPrivate, LeafShared

QUERY_BODY = "query"
ANSWER_BODY = "answer"


def private_of(query: Query) -> LeafPrivate:
    """Start the private part of a line about this query: who asked, why, and on what."""
    asker = query.asker
    return LeafPrivate(
        officer=asker.officer,
        unit=asker.unit,
        unit_type=asker.unit_type,
        purpose=query.purpose,
        instrument=query.instrument,
        case_reference=query.case_reference,
        urgency=query.urgency,
    )


def line_of(
    shared: bytes,
    private: LeafPrivate,
    *,
    exchange_id: bytes,
    now_us: int,
    decisions: Decisions | None = None,
    replay_key: bytes | None = None,
    sent: Sealed | None = None,
    bodies: tuple[tuple[str, bytes], ...] = (),
) -> Line:
    """Make a ledger line; `shared` is a serialised LeafShared, `sent` the message of this node that it is about.

    `replay_key` makes the line the only one of its kind; `bodies` are kept encrypted beside it.
    """
    random = os.urandom(48)  # two salts
    if decisions is not None:
        decisions.salt = random[32:]
    opening, commitment = build_opening(random[:32], private, decisions)
    return Line(
        leaf=build_leaf(shared, now_us, commitment),
        opening=opening,
        exchange_id=exchange_id,
        replay_key=replay_key,
        statement=sent.statement if sent else b"",
        key_id=sent.envelope.key_id if sent else b"",
        signature=sent.envelope.signature if sent else b"",
        bodies=bodies,
    )


def shared_of_received(kind: LeafKind.ValueType, opened: Opened, signer: Signer) -> bytes:
    """Describe a verified message that came from a peer, as the line of the node it came to."""
    statement = opened.statement
    return LeafShared(
        kind=kind,
        direction=Direction.DIRECTION_RECEIVED,
        time_us=statement.time_us,
        exchange_id=statement.exchange_id,
        node=f"{signer.country}/{signer.node}",
        peer=statement.sender,
        body_sha256=statement.body_sha256,
        counterpart_statement=opened.statement_bytes,
        counterpart_key_id=opened.key_id,
        counterpart_signature=opened.signature,
    ).SerializeToString()


def shared_of_event(
    kind: LeafKind.ValueType,
    signer: Signer,
    now_us: int,
    *,
    exchange_id: bytes,
    peer: str = "",
    direction: Direction.ValueType = Direction.DIRECTION_LOCAL,
    body: bytes = b"",
) -> bytes:
    """Describe something that happened here, with or without a peer; `body` is what was read of a refused message."""
    return LeafShared(
        kind=kind,
        direction=direction,
        time_us=now_us,
        exchange_id=exchange_id,
        node=f"{signer.country}/{signer.node}",
        peer=peer,
        body_sha256=hashlib.sha256(body).digest(),
    ).SerializeToString()


def local_line(kind: LeafKind.ValueType, private: LeafPrivate, signer: Signer, now_us: int, peer: str = "") -> Line:
    """Make the line of something that concerns this country alone."""
    exchange_id = secrets.token_bytes(16)
    shared = shared_of_event(kind, signer, now_us, exchange_id=exchange_id, peer=peer)
    return line_of(shared, private, exchange_id=exchange_id, now_us=now_us)
