"""What peers took back, remembered for ever, and what became of the copies.

A withdrawal names an entry by the handle of an exchange. Whatever comes in that exchange under that handle is refused
from then on, and so is what the peer disclosed of the handle up to the time of the recall, in whichever exchange: a
late duplicate brings nothing back. What the peer signs afterwards, in another exchange, is a disclosure of its own.
"""

from collections.abc import Collection, Iterable
from enum import IntEnum
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, insert, or_, select, update

from node.store.ids import new_id
from node.store.received_tables import answer_bodies, key_erasures, received, withdrawals
from node.store.retention import holds_on

BACKUPS_US: Final = 30 * 86_400_000_000
"""For how long backups of the key store are kept at most: until then an erased key may be in one of them."""
WITHIN_US: Final = 48 * 3_600_000_000
"""In which a copy that was taken back is deleted."""


class DeletionGround(IntEnum):
    """Why copies were taken back."""

    RECALL = 1
    CONSENT = 2  # that the subject had given, and revoked
    TORTURE = 3  # the information was got by it; barred here, and no peer is told


class Copy(NamedTuple):
    """By what a copy of an entry is known, here and to who sent it."""

    received_id: bytes
    peer: str
    exchange_id: bytes
    handle: bytes
    disclosed_us: int


class Deletion(NamedTuple):
    """What a deletion receipt states; it proves that this country says so, not that it is so.

    Attributes:
        deletion_id: 16 bytes.
        peer: That took it back.
        exchange_id: Of the recall's subject.
        handle: Empty where all of the exchange was taken back.
        ground: Why.
        withdrawn_us: When the copies were of no use any more.
        due_us: By when they are deleted.
        deleted_us: When they were, and the keys that they were sealed under; 0: not yet.
        copies: How many there were, wherever; 0: nothing was here.
        places: Where: RECEIVED_ENTRY, LOOKUP_TOKENS, ANSWER_BODY, and what else lies beside received entries.
        backups_until_us: Until when a backup of the key store may open a backup of the copies.
        held_law: By which law they are held, out of every use; empty: they are not.
        held_until_us: Until when.
    """

    deletion_id: bytes
    peer: str
    exchange_id: bytes
    handle: bytes
    ground: DeletionGround
    withdrawn_us: int
    due_us: int
    deleted_us: int
    copies: int
    places: tuple[str, ...]
    backups_until_us: int
    held_law: str
    held_until_us: int


def withdrawn_among(
    connection: Connection, copies: Iterable[tuple[str, bytes, bytes, int]]
) -> set[tuple[str, bytes, bytes]]:
    """Return which of the copies (peer, exchange, handle, time of disclosure) were taken back, without the time."""
    asked = list(copies)
    if not asked:
        return set()
    held = withdrawals.c
    named = or_(
        held.handle.in_({handle for _, _, handle, _ in asked}),
        and_(held.handle == b"", held.exchange_id.in_({exchange for _, exchange, _, _ in asked})),
    )
    rows = connection.execute(select(held.peer, held.exchange_id, held.handle, held.recalled_us).where(named)).all()
    return {
        (peer, exchange, handle)
        for peer, exchange, handle, disclosed_us in asked
        for row in rows
        if row.peer == peer
        and (
            (row.exchange_id == exchange and row.handle in (handle, b""))
            or (row.handle == handle and disclosed_us <= row.recalled_us)
        )
    }


def scope(table: Table, peer: str, exchange_id: bytes, handle: bytes, recalled_us: int) -> ColumnElement[bool]:
    """Return which rows of `received`, or of `answer_bodies`, a withdrawal is about."""
    held = table.c
    this = held.exchange_id == exchange_id
    if handle:
        this = and_(held.handle == handle, or_(this, held.disclosed_us <= recalled_us))
    return and_(held.peer == peer, this)


def remember(
    connection: Connection,
    *,
    peer: str,
    exchange_id: bytes,
    handle: bytes,
    recalled_us: int,
    ground: DeletionGround,
    copies: int,
    places: Iterable[str],
    now_us: int,
) -> bytes:
    """Write down that something was taken back, and return the id of it; the same again changes only its time."""
    held = withdrawals.c
    this = (held.peer == peer, held.exchange_id == exchange_id, held.handle == handle)
    known = connection.execute(select(held.deletion_id, held.recalled_us).where(*this)).one_or_none()
    if known is not None:
        later = max(known.recalled_us, recalled_us)
        connection.execute(update(withdrawals).where(*this).values(recalled_us=later))
        return bytes(known.deletion_id)
    deletion_id = new_id(now_us)
    connection.execute(
        insert(withdrawals).values(
            deletion_id=deletion_id,
            peer=peer,
            exchange_id=exchange_id,
            handle=handle,
            recalled_us=recalled_us,
            ground=ground,
            withdrawn_us=now_us,
            deleted_us=None if copies and ground != DeletionGround.TORTURE else now_us,
            copies=copies,
            places=" ".join(places),
            told=0,
        )
    )
    return deletion_id


def get(connection: Connection, deletion_id: bytes, now_us: int) -> Deletion:
    """Return how a withdrawal stands."""
    rows = _rows(connection, withdrawals.c.deletion_id == deletion_id, 1, now_us)
    return rows[0][0]


def untold(connection: Connection, now_us: int, limit: int = 100) -> list[Deletion]:
    """Return what no receipt told of yet, oldest first: copies that are deleted, or held under a law."""
    held = withdrawals.c
    open_ones = and_(held.ground != DeletionGround.TORTURE, held.told < _TOLD_DELETED)
    found = []
    for deletion, told in _rows(connection, open_ones, limit, now_us):
        if deletion.deleted_us or (deletion.held_law and told < _TOLD_HELD):
            found.append(deletion)
    return found


_TOLD_HELD: Final = 1
_TOLD_DELETED: Final = 2


def tell(connection: Connection, deletion_id: bytes) -> None:
    """Note that a receipt tells of a withdrawal as it stands, in the transaction that sends the receipt."""
    held = withdrawals.c
    this = held.deletion_id == deletion_id
    connection.execute(update(withdrawals).where(this, held.deleted_us.is_(None)).values(told=_TOLD_HELD))
    connection.execute(update(withdrawals).where(this, held.deleted_us.is_not(None)).values(told=_TOLD_DELETED))


def settled(connection: Connection) -> list[bytes]:
    """Return the withdrawals of which nothing is left here; none while keys are to be erased."""
    if connection.execute(select(key_erasures.c.key_id).limit(1)).first() is not None:
        return []
    found = []
    for row in connection.execute(select(withdrawals).where(withdrawals.c.deleted_us.is_(None))).all():
        about = (row.peer, row.exchange_id, row.handle, row.recalled_us)
        left = (select(table.c.handle).where(scope(table, *about)).limit(1) for table in (received, answer_bodies))
        if all(connection.execute(query).first() is None for query in left):
            found.append(row.deletion_id)
    return found


def settle(connection: Connection, deletion_ids: Collection[bytes], now_us: int) -> None:
    """Note that their copies are deleted, and the keys erased."""
    held = withdrawals.c
    this = (held.deletion_id.in_(deletion_ids), held.deleted_us.is_(None))
    connection.execute(update(withdrawals).where(*this).values(deleted_us=now_us))


def add_place(connection: Connection, copy: Copy, place: str) -> None:
    """Note in the withdrawals of a copy where else it lay."""
    held = withdrawals.c
    this = and_(held.peer == copy.peer, held.deleted_us.is_(None), held.handle.in_((copy.handle, b"")))
    for row in connection.execute(select(held.deletion_id, held.places).where(this)).all():
        places = dict.fromkeys([*row.places.split(), place])
        values = {"places": " ".join(places)}
        connection.execute(update(withdrawals).where(held.deletion_id == row.deletion_id).values(values))


def _rows(connection: Connection, where: ColumnElement[bool], limit: int, now_us: int) -> list[tuple[Deletion, int]]:
    query = select(withdrawals).where(where).order_by(withdrawals.c.deletion_id).limit(limit)
    found = []
    for row in connection.execute(query).all():
        law, until_us = "", 0
        if row.deleted_us is None:
            about = scope(received, row.peer, row.exchange_id, row.handle, row.recalled_us)
            ids = connection.execute(select(received.c.received_id, received.c.case_id).where(about)).all()
            holds = holds_on(connection, {each for pair in ids for each in pair if each}, now_us).values()
            if holds:
                last = max(holds, key=lambda hold: hold.until_us)
                law, until_us = last.law, last.until_us
        deletion = Deletion(
            deletion_id=row.deletion_id,
            peer=row.peer,
            exchange_id=row.exchange_id,
            handle=row.handle,
            ground=DeletionGround(row.ground),
            withdrawn_us=row.withdrawn_us,
            due_us=row.withdrawn_us + WITHIN_US,
            deleted_us=row.deleted_us or 0,
            copies=row.copies,
            places=tuple(row.places.split()),
            backups_until_us=row.deleted_us + BACKUPS_US if row.deleted_us else 0,
            held_law=law,
            held_until_us=until_us,
        )
        found.append((deletion, row.told))
    return found
