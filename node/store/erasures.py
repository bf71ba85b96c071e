"""Erasing what opens ledger lines, each time with its ground: the lines stay, and a line says that it was done.

First the line, then the keys, then the rows. A crash in between leaves an erasure that is not done, which is taken up
again; it never leaves one that no line tells of.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    Table,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from node.errors import UsageError
from node.identity.institution import erasure_sha256, parse_erasure
from node.store.bound import unbound
from node.store.institution import copies, epochs
from node.store.lines import ledger_bodies, ledger_lines, ledger_openings
from node.store.tables import metadata
from node.store.vault import key_id_of
from node.wire.institution_pb2 import Erasure, SignedErasure

erasures = Table(
    "opening_erasures",
    metadata,
    Column("erasure_sha256", LargeBinary, primary_key=True),
    Column("signed", LargeBinary, nullable=False),  # SignedErasure
    Column("logged_us", BigInteger, nullable=False),
    Column("done_us", BigInteger),
    info=unbound("the institution signed each, and `ledger verify` asks for the line that has its digest"),
)

_STEP: Final = 500
"""Lines whose openings are erased at once."""


def put_erasure(connection: Connection, signed: bytes, now_us: int) -> None:
    """Keep an erasure that was verified, as one to be done.

    Raises:
        UsageError: it was kept before, or names lines that there are not.
    """
    digest = erasure_sha256(signed)
    if connection.execute(select(erasures.c.done_us).where(erasures.c.erasure_sha256 == digest)).first() is not None:
        raise UsageError("this erasure was brought before")
    last = parse_erasure(SignedErasure.FromString(signed).erasure).lines[-1].last
    if last > (connection.execute(select(func.max(ledger_lines.c.idx))).scalar_one() or 0):
        raise UsageError(f"there is no line {last}")
    connection.execute(insert(erasures).values(erasure_sha256=digest, signed=signed, logged_us=now_us))


def undone(connection: Connection) -> list[bytes]:
    """Return the erasures (SignedErasure) that are not done yet, the oldest first."""
    query = select(erasures.c.signed).where(erasures.c.done_us.is_(None)).order_by(erasures.c.logged_us)
    return list(connection.execute(query).scalars())


def list_erasures(connection: Connection) -> list[bytes]:
    """Return all erasures (SignedErasure), the oldest first."""
    return list(connection.execute(select(erasures.c.signed).order_by(erasures.c.logged_us)).scalars())


def keys_to_erase(connection: Connection, erasure: Erasure) -> tuple[list[int], list[bytes]]:
    """Return the next lines with something to erase, at most 500, and the ids of the keys it is encrypted under."""
    lines: set[int] = set()
    keys: list[bytes] = []
    for table in (ledger_openings, ledger_bodies):
        within = or_(*[and_(table.c.idx >= each.first, table.c.idx <= each.last) for each in erasure.lines])
        for row in connection.execute(select(table).where(within).order_by(table.c.idx).limit(_STEP)):
            lines.add(row.idx)
            keys.append(key_id_of(row.sealed))
    return sorted(lines), keys


def drop_rows(connection: Connection, lines: Sequence[int]) -> None:
    """Delete what can't be opened any more, since its keys are erased."""
    for table in (ledger_openings, ledger_bodies):
        connection.execute(delete(table).where(table.c.idx.in_(lines)))


def drop_copies(connection: Connection, erasure: Erasure) -> None:
    """Delete the institution's copies under one epoch's key, and that key."""
    connection.execute(delete(copies).where(copies.c.epoch_id == erasure.epoch_id))
    connection.execute(update(epochs).where(epochs.c.epoch_id == erasure.epoch_id).values(wrapped=None))


def mark_done(connection: Connection, signed: bytes, now_us: int) -> None:
    """Note that an erasure is done."""
    this = erasures.c.erasure_sha256 == erasure_sha256(signed)
    connection.execute(update(erasures).where(this).values(done_us=now_us))


def ended_epochs(connection: Connection, now_us: int) -> list[tuple[bytes, int, int]]:
    """Return the epochs whose audit period has ended with copies to delete: id, first and last line."""
    held, copied = epochs.c, copies.c
    query = (
        select(held.epoch_id, func.min(copied.first), func.max(copied.first + copied["count"] - 1))
        .join(copies, copied.epoch_id == held.epoch_id)
        .where(held.until_us <= now_us)
        .group_by(held.epoch_id)
    )
    return [(epoch_id, first, last) for epoch_id, first, last in connection.execute(query)]


def openings_before(connection: Connection, index: int) -> tuple[int, int] | None:
    """Return the first and last line before `index` that something opens; None where there is none."""
    query = select(func.min(ledger_openings.c.idx), func.max(ledger_openings.c.idx))
    first, last = connection.execute(query.where(ledger_openings.c.idx < index)).one()
    return None if first is None else (first, last)
