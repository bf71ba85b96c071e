"""Entries that UNKNOWN alone kept from a LIFE query, until the fact is determined."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, insert, select, update

from node.store.entry_rows import EntryState
from node.store.safeguard_tables import determinations
from node.store.tables import entries


class Notice(NamedTuple):
    """One entry to look at; `line` is the index of the ledger line whose decision kept it."""

    exchange_id: bytes
    peer: str
    entry_id: bytes
    line: int
    revision: int
    at_us: int
    due_us: int


def put(connection: Connection, notice: Notice) -> None:
    """Keep a notice."""
    connection.execute(
        insert(determinations).values(
            exchange_id=notice.exchange_id,
            peer=notice.peer,
            entry_id=notice.entry_id,
            idx=notice.line,
            revision=notice.revision,
            at_us=notice.at_us,
            due_us=notice.due_us,
        )
    )


def waiting(connection: Connection) -> list[Notice]:
    """Return the notices that are not closed, the earliest due first."""
    held = determinations.c
    query = select(held.exchange_id, held.peer, held.entry_id, held.idx, held.revision, held.at_us, held.due_us)
    query = query.where(held.closed_us.is_(None)).order_by(held.due_us, held.exchange_id, held.entry_id)
    return [Notice(*row) for row in connection.execute(query)]


def active_entries(connection: Connection, notices: Sequence[Notice]) -> list[bytes]:
    """Return the ids of the entries that were not taken back."""
    named = {notice.entry_id for notice in notices}
    query = select(entries.c.entry_id).where(entries.c.entry_id.in_(named), entries.c.state == EntryState.ACTIVE)
    return list(connection.execute(query).scalars())


def looked_at(connection: Connection, notices: Sequence[tuple[Notice, int, bool]], now_us: int) -> None:
    """Note which revision of each entry was looked at, and close what no fact keeps back any more (`closes`)."""
    held = determinations.c
    for notice, revision, closes in notices:
        this = (
            held.exchange_id == notice.exchange_id,
            held.peer == notice.peer,
            held.entry_id == notice.entry_id,
            held.closed_us.is_(None),
        )
        values = {"revision": revision, "closed_us": now_us if closes else None}
        connection.execute(update(determinations).where(*this).values(values))
