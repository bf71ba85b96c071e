"""What this node decided and asked in the past, read in pages, to be decided again."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import Connection, select

from node.errors import KeyErasedError, NotFoundError
from node.ledger.leaf import parse_leaf, parse_opening, parse_shared, unpad
from node.store.lines import ledger_lines, ledger_openings, opening_context
from node.store.listing import read_bodies
from node.store.vault import Vault
from node.wire.ledger_pb2 import Decisions, Direction, EntryDecision, LeafKind


class Decided(NamedTuple):
    """An answer, and what was decided in it on each entry that matched."""

    exchange_id: bytes
    peer: str
    entries: Sequence[EntryDecision]


def decided(connection: Connection, vault: Vault, start: int, stop: int) -> list[Decided]:
    """Return the answers among the ledger lines from `start` to before `stop`; those whose opening was erased are not.

    Raises:
        LedgerBrokenError: A line is damaged; `verify_ledger` names it.
        DecryptionError: An opening was altered.
    """
    line = ledger_lines.c
    joined = ledger_lines.join(ledger_openings, ledger_openings.c.idx == line.idx)
    # Answers to peers are in the replay memory; hardly anything else is.
    query = (
        select(line.leaf, line.leaf_hash, ledger_openings.c.sealed)
        .select_from(joined)
        .where(line.idx >= start, line.idx < stop, line.replay_key.is_not(None))
        .order_by(line.idx)
    )
    found = []
    for row in connection.execute(query):
        shared = parse_shared(parse_leaf(row.leaf).shared)
        if (shared.kind, shared.direction) != (LeafKind.LEAF_KIND_ANSWERED, Direction.DIRECTION_SENT):
            continue
        try:
            opening = parse_opening(vault.open_alone(opening_context(row.leaf_hash), row.sealed))
        except KeyErasedError:
            continue
        if opening.decisions:
            entries = Decisions.FromString(unpad(opening.decisions)).entries
            found.append(Decided(shared.exchange_id, shared.peer, entries))
    return found


class Asked(NamedTuple):
    """A query that this node sent, and the body (serialised) that it was in."""

    exchange_id: bytes
    peer: str
    body: bytes


def asked(connection: Connection, vault: Vault, start: int, stop: int, name: str) -> list[Asked]:
    """Return the queries among the ledger lines from `start` to before `stop`; those whose text was erased are not.

    `name` is that of the body that the query is in.

    Raises:
        LedgerBrokenError: A line is damaged; `verify_ledger` names it.
        DecryptionError: A body was altered.
    """
    line = ledger_lines.c
    query = select(line.idx, line.leaf).where(line.idx >= start, line.idx < stop, line.statement.is_not(None))
    found = []
    for row in connection.execute(query.order_by(line.idx)):
        shared = parse_shared(parse_leaf(row.leaf).shared)
        if shared.kind == LeafKind.LEAF_KIND_ASKED:
            with suppress(KeyErasedError, NotFoundError):
                found.append(Asked(shared.exchange_id, shared.peer, read_bodies(connection, vault, row.idx)[name]))
    return found
