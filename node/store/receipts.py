"""Answers whose line in the other side's ledger is still to be proved, and the proofs that came.

Each answer carries a signed promise that it is logged. Which promises there are is read from this node's own lines,
behind the writer, so that no answer waits for it.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    func,
    insert,
    select,
    update,
)

from node.ledger.leaf import parse_leaf, parse_shared
from node.store.bound import unbound
from node.store.findings import raise_finding
from node.store.lines import ledger_lines
from node.store.tables import COUNTRY, metadata
from node.wire.envelope_pb2 import Statement
from node.wire.ledger_pb2 import Direction, Leaf, LeafKind, LeafShared

WITHIN_US: Final = 86_400_000_000
"""Time from an answer until its line must have been proved."""

WAITING: Final = 1
PROVED: Final = 2
OVERDUE: Final = 3
_SCANNED: Final = 500  # lines at once

promises = Table(
    "promises",
    metadata,
    Column("exchange_id", LargeBinary, primary_key=True),
    Column("peer", COUNTRY, primary_key=True),
    Column("line", BigInteger, nullable=False),  # of this node's ledger
    Column("node", String(64), nullable=False),  # of the peer, that answered
    Column("leaf_sha256", LargeBinary, nullable=False),  # of the shared part of its line
    Column("due_us", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("asked_us", BigInteger, nullable=False),  # when the proof was asked for last; 0: not yet
    Column("inclusion", LargeBinary),  # GetInclusionResponse, as it was verified
    Index("ix_promises_line", "line"),
    Index("ix_promises_state", "state", "asked_us"),
    info=unbound("it follows from the lines, and each proof is kept: `ledger verify` makes it again and looks at both"),
)


class Promise(NamedTuple):
    """A line that a peer's node has promised to be in its ledger."""

    exchange_id: bytes
    peer: str
    line: int
    node: str
    leaf_sha256: bytes
    due_us: int


def next_line(connection: Connection) -> int:
    """Return from which of this node's lines on no promise is kept yet."""
    last = connection.execute(select(func.max(promises.c.line))).scalar_one_or_none()
    return 0 if last is None else int(last) + 1


def promised(connection: Connection, start: int) -> tuple[list[Promise], int]:
    """Read the promises in the next lines of this node's ledger, and return from which line to go on.

    Raises:
        LedgerBrokenError: a line is damaged.
    """
    lines = ledger_lines.c
    query = select(lines.idx, lines.leaf).where(lines.idx >= start).order_by(lines.idx).limit(_SCANNED)
    found = []
    for row in connection.execute(query):
        start = row.idx + 1
        leaf = parse_leaf(row.leaf)
        promise = promise_of(row.idx, leaf, parse_shared(leaf.shared))
        if promise is not None:
            found.append(promise)
    return found, start


def promise_of(index: int, leaf: Leaf, shared: LeafShared) -> Promise | None:
    """Return what the peer promised in the line of this index; None where it is not an answer that came."""
    if shared.kind != LeafKind.LEAF_KIND_ANSWERED or shared.direction != Direction.DIRECTION_RECEIVED:
        return None
    try:
        statement = Statement.FromString(shared.counterpart_statement)
    except DecodeError:
        return None  # such a line is for `verify_ledger` to name
    due_us = leaf.logged_us + WITHIN_US
    return Promise(shared.exchange_id, shared.peer, index, statement.node, statement.leaf_sha256, due_us)


def keep_promises(connection: Connection, found: Sequence[Promise]) -> None:
    """Keep promises, but for those that are kept already: another process of this node reads the same lines."""
    known = {
        (row.exchange_id, row.peer)
        for row in connection.execute(
            select(promises.c.exchange_id, promises.c.peer).where(
                promises.c.exchange_id.in_([each.exchange_id for each in found])
            )
        )
    }
    new = {(each.exchange_id, each.peer): each for each in found if (each.exchange_id, each.peer) not in known}
    if new:
        rows = [{**each._asdict(), "state": WAITING, "asked_us": 0} for each in new.values()]
        connection.execute(insert(promises), rows)


def waiting(connection: Connection, count: int) -> list[Promise]:
    """Return promises that are still to be proved, those that were asked for longest ago first."""
    held = promises.c
    query = select(*[getattr(held, name) for name in Promise._fields]).where(held.state == WAITING)
    return [Promise(*row) for row in connection.execute(query.order_by(held.asked_us, held.line).limit(count))]


def settle(connection: Connection, promise: Promise, inclusion: bytes, now_us: int, fault: str = "") -> None:
    """Note what became of asking for a proof: it came, it did not yet, or it is false or too late, which is a finding.

    Args:
        connection: In a transaction that may write.
        promise: One that waits.
        inclusion: Serialised GetInclusionResponse that was verified; empty where none came.
        now_us: UTC microseconds.
        fault: What was wrong with what came; up to 150 characters.
    """
    held = promises.c
    overdue = not inclusion and now_us >= promise.due_us
    state = PROVED if inclusion else OVERDUE if overdue else WAITING
    same = (held.exchange_id == promise.exchange_id, held.peer == promise.peer, held.state == WAITING)
    connection.execute(update(promises).where(*same).values(state=state, asked_us=now_us, inclusion=inclusion or None))
    where = f"line {promise.line}: {promise.peer}"
    for kind, is_so, detail in (
        ("FALSE_RECEIPT", bool(fault), f"{where} sent a proof that does not hold: {fault[:150]}"),
        ("NO_RECEIPT", overdue, f"{where} has not proved within a day that its answer is in its ledger"),
    ):
        if is_so:
            raise_finding(
                connection,
                kind=kind,
                peer=promise.peer,
                exchange_id=promise.exchange_id,
                detail=detail[:200],
                now_us=now_us,
            )
