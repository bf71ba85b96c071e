"""Who got an entry, from the ledger's lines alone: an index of them could be edited, and they can't."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from node.errors import DecryptionError, KeyErasedError, LedgerError
from node.ledger.leaf import parse_leaf, parse_opening, parse_private, parse_shared, unpad, verify_opening
from node.store.lines import ledger_lines, ledger_openings, opening_context
from node.store.vault import Vault
from node.wire.ledger_pb2 import (
    DIRECTION_SENT,
    ENTRY_OUTCOME_ENTRY,
    ENTRY_OUTCOME_HIT,
    ENTRY_OUTCOME_PENDING,
    LEAF_KIND_ANSWERED,
    LEAF_KIND_MAIL,
    Decisions,
    EntryDecision,
    LeafPrivate,
    LeafShared,
)

SHOWN = frozenset({ENTRY_OUTCOME_ENTRY, ENTRY_OUTCOME_HIT, ENTRY_OUTCOME_PENDING})
"""Outcomes by which a peer learns anything."""

_TELLING = frozenset({LEAF_KIND_ANSWERED, LEAF_KIND_MAIL})


class Given(NamedTuple):
    """An answer by which a peer learnt something of an entry."""

    line: int  # its index
    logged_us: int
    shared: LeafShared
    private: LeafPrivate
    decided: EntryDecision


class Traced(NamedTuple):
    """What some lines tell of an entry; `unreadable` are the answers whose opening was erased or does not fit."""

    given: Sequence[Given]
    answers: int
    unreadable: Sequence[int]


def trace(connection: Connection, vault: Vault, entry_ids: Collection[bytes], start: int, stop: int) -> Traced:
    """Look for entries in the answers and the mail among the ledger lines from `start` to before `stop`.

    One line that was damaged does not hide the others: it is among the unreadable.
    """
    line = ledger_lines.c
    joined = ledger_lines.outerjoin(ledger_openings, ledger_openings.c.idx == line.idx)
    query = select(line.idx, line.leaf, line.leaf_hash, ledger_openings.c.sealed).select_from(joined)
    given: list[Given] = []
    unreadable: list[int] = []
    answers = 0
    for row in connection.execute(query.where(line.idx >= start, line.idx < stop).order_by(line.idx)):
        try:
            leaf = parse_leaf(row.leaf)
            shared = parse_shared(leaf.shared)
            if shared.kind not in _TELLING or shared.direction != DIRECTION_SENT:
                continue
            answers += shared.kind == LEAF_KIND_ANSWERED
            if row.sealed is None:
                unreadable.append(row.idx)
                continue
            opening = parse_opening(vault.open_alone(opening_context(row.leaf_hash), row.sealed))
            verify_opening(leaf, opening)
            private = parse_private(opening.private)
            entries = Decisions.FromString(unpad(opening.decisions)).entries if opening.decisions else ()
        except (KeyErasedError, DecryptionError, LedgerError):
            unreadable.append(row.idx)
            continue
        given += (
            Given(row.idx, leaf.logged_us, shared, private, each)
            for each in entries
            if each.entry_id in entry_ids and each.outcome in SHOWN
        )
    return Traced(given, answers, unreadable)
