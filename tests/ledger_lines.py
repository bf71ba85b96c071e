"""Lines for tests of the ledger: what a node would log, without a node."""

import os
from hashlib import sha256

from node.federation.envelope import STATEMENT_TYPE
from node.identity.keys import key_id, public_key, sign
from node.ledger.leaf import build_leaf, build_opening
from node.store.lines import Line
from node.wire.envelope_pb2 import Statement
from node.wire.ledger_pb2 import (
    DIRECTION_SENT,
    LEAF_KIND_ANSWERED,
    Decisions,
    EntryDecision,
    LeafKind,
    LeafPrivate,
    LeafShared,
)

OWN_KEY = bytes(range(32))
PEER_KEY = bytes(range(1, 33))


def new_line(
    *,
    kind: LeafKind.ValueType = LEAF_KIND_ANSWERED,
    peer: str = "MX",
    officer: str = "a41f",
    exchange_id: bytes | None = None,
    replay_key: bytes | None = None,
    bodies: tuple[tuple[str, bytes], ...] = (),
) -> Line:
    """A line as an answer makes it, signed by both sides."""
    exchange_id = exchange_id or os.urandom(16)
    query = Statement(exchange_id=exchange_id, sender=peer, recipient="GT").SerializeToString()
    shared = LeafShared(
        kind=kind,
        direction=DIRECTION_SENT,
        time_us=1_790_000_000_000_000,
        exchange_id=exchange_id,
        node="GT/gt-1",
        peer=peer,
        counterpart_statement=query,
        counterpart_key_id=key_id(public_key(PEER_KEY)),
        counterpart_signature=sign(PEER_KEY, STATEMENT_TYPE, query),
    ).SerializeToString()
    statement = Statement(
        exchange_id=exchange_id, sender="GT", recipient=peer, leaf_sha256=sha256(shared).digest()
    ).SerializeToString()
    decisions = Decisions(salt=os.urandom(16), entries=[EntryDecision(entry_id=os.urandom(16), rules=["GT-04"])])
    opening, commitment = build_opening(os.urandom(32), LeafPrivate(officer=officer, released=1), decisions)
    return Line(
        leaf=build_leaf(shared, 1_790_000_000_000_001, commitment),
        opening=opening,
        exchange_id=exchange_id,
        replay_key=replay_key,
        statement=statement,
        key_id=key_id(public_key(OWN_KEY)),
        signature=sign(OWN_KEY, STATEMENT_TYPE, statement),
        bodies=bodies,
    )
