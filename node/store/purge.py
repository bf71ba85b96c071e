"""What is past its date, and how it goes: rows, tokens and kept messages in one transaction, their keys right after.

A key is noted for erasure in the transaction that deletes what it sealed (`node.store.received_rows.queue_keys`). A
crash in between leaves a key that opens nothing here, and the next round erases it.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import structlog
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, or_, select, update

from node.errors import DecryptionError, KeyErasedError
from node.ledger.leaf import parse_leaf, parse_shared
from node.store.entries import Entries
from node.store.lines import ledger_bodies, ledger_lines
from node.store.received_rows import queue_keys
from node.store.received_tables import answer_bodies, key_erasures, legal_holds, received
from node.store.safeguard_tables import freezes
from node.store.tables import cases, entries, metadata
from node.store.vault import key_id_of
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, LEAF_KIND_ANSWERED

log = structlog.get_logger()

KEYS: Final = 1_000
"""Keys that are erased at once."""


def is_held(now_us: int, *subjects: ColumnElement[bytes]) -> ColumnElement[bool]:
    """Return the condition that a legal hold is on one of a row's ids."""
    held = legal_holds.c
    return exists().where(held.until_us > now_us, or_(*(held.subject == subject for subject in subjects)))


def held_copies(now_us: int) -> ColumnElement[bool]:
    """Return which rows of `received` are held, by themselves or with the case that they are kept with."""
    return is_held(now_us, received.c.received_id, received.c.case_id)


# --- own records -----------------------------------------------------------------------------------------------------


def due_entries(connection: Connection, now_us: int, limit: int) -> list[bytes]:
    """Return own entries past their review date, the longest due first.

    Where a peer goes on seeing one as it was, it stays until that view ends: vanishing before, it would tell the peer
    what an ordinary expiry does not.
    """
    query = select(entries.c.entry_id).where(_is_due(now_us)).order_by(entries.c.review_us).limit(limit)
    return list(connection.execute(query).scalars())


def _is_due(now_us: int) -> ColumnElement[bool]:
    seen = exists().where(freezes.c.entry_id == entries.c.entry_id, freezes.c.until_us > now_us)
    return and_(entries.c.review_us <= now_us, ~seen, ~is_held(now_us, entries.c.entry_id, entries.c.case_id))


def forget_entry(connection: Connection, kept: Entries, entry_id: bytes, now_us: int) -> bool:
    """Delete an own entry with all that hangs on it, if it is due, and tell whether it was.

    Its case's key goes with the case. The date counts that is inside the entry.
    """
    due = select(entries.c.entry_id).where(entries.c.entry_id == entry_id, _is_due(now_us))
    if connection.execute(due).first() is None:
        return False
    with suppress(KeyErasedError, DecryptionError):  # nobody can read such a one, and its date has come
        if kept.get(connection, entry_id).review_us > now_us:
            log.error("review_date_altered")
            return False
    _delete(connection, entries, entries.c.entry_id, entry_id)
    return True


def set_right(connection: Connection, kept: Entries, entry_id: bytes) -> None:
    """Write the date that is inside an entry beside it, where SQL has changed that."""
    for entry in kept.get_many(connection, [entry_id]).values():
        right = update(entries).where(entries.c.entry_id == entry_id)
        connection.execute(right.values(review_us=entry.review_us))


def due_cases(connection: Connection, now_us: int, limit: int) -> list[bytes]:
    """Return own cases past their review date in which nothing is left, the longest due first."""
    query = select(cases.c.case_id).where(_is_case_due(now_us)).order_by(cases.c.review_us).limit(limit)
    return list(connection.execute(query).scalars())


def _is_case_due(now_us: int) -> ColumnElement[bool]:
    return and_(
        cases.c.review_us <= now_us,
        ~exists().where(entries.c.case_id == cases.c.case_id),
        ~exists().where(received.c.case_id == cases.c.case_id),
        ~is_held(now_us, cases.c.case_id),
    )


def forget_case(connection: Connection, case_id: bytes, now_us: int) -> bool:
    """Delete an own case, if it is due, and have its key erased; tell whether it was."""
    due = select(cases.c.case_id).where(cases.c.case_id == case_id, _is_case_due(now_us))
    if connection.execute(due).first() is None:
        return False
    _delete(connection, cases, cases.c.case_id, case_id)
    queue_keys(connection, [case_id], now_us)
    return True


def _delete(connection: Connection, table: Table, column: ColumnElement[bytes], row_id: bytes) -> None:
    """Delete a row, and before it what refers to it: old revisions, tokens, bonds, views, changes that wait."""
    for other in metadata.sorted_tables:
        for key in other.foreign_keys:
            if key.column.table is table:
                connection.execute(delete(other).where(key.parent == row_id))
    connection.execute(delete(table).where(column == row_id))


# --- answers kept beside lines ---------------------------------------------------------------------------------------


def due_answers(connection: Connection, now_us: int, limit: int) -> list[tuple[str, bytes]]:
    """Return peer and exchange of the answers in which an entry is past its date; holds are on kept copies."""
    held = answer_bodies.c
    query = select(held.peer, held.exchange_id).where(held.delete_us <= now_us).distinct().limit(limit)
    return [(row.peer, row.exchange_id) for row in connection.execute(query)]


def forget_answer(connection: Connection, peer: str, exchange_id: bytes, now_us: int) -> bool:
    """Delete the message of an answer, as a whole, and have its key erased; its line stays as it is."""
    held = answer_bodies.c
    noted = delete(answer_bodies).where(held.peer == peer, held.exchange_id == exchange_id)
    if connection.execute(noted).rowcount == 0:
        return False
    joined = ledger_lines.join(ledger_bodies, ledger_bodies.c.idx == ledger_lines.c.idx)
    query = select(ledger_lines.c.idx, ledger_lines.c.leaf, ledger_bodies.c.sealed).select_from(joined)
    for row in connection.execute(query.where(ledger_lines.c.exchange_id == exchange_id)).all():
        shared = parse_shared(parse_leaf(row.leaf).shared)
        if (shared.kind, shared.direction, shared.peer) == (LEAF_KIND_ANSWERED, DIRECTION_RECEIVED, peer):
            connection.execute(delete(ledger_bodies).where(ledger_bodies.c.idx == row.idx))
            queue_keys(connection, [key_id_of(row.sealed)], now_us)
    return True


# --- keys ------------------------------------------------------------------------------------------------------------


def keys_to_erase(connection: Connection) -> list[bytes]:
    """Return keys whose records are gone."""
    return list(connection.execute(select(key_erasures.c.key_id).limit(KEYS)).scalars())


def erased(connection: Connection, key_ids: Iterable[bytes]) -> None:
    """Note that keys have left the key store."""
    connection.execute(delete(key_erasures).where(key_erasures.c.key_id.in_(tuple(key_ids))))
