"""Shares and flags of both directions; what may become of a share, `node.workflow.shares` says."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Table, delete, insert, select, update

from node.errors import NotFoundError
from node.store.share_tables import flags, recalls, shares
from node.store.vault import Vault, key_id_of
from node.wire.ledger_pb2 import Direction
from node.wire.sharing_pb2 import FlagItem, ShareDetail, ShareItem
from node.workflow.recalls import State as RecallState
from node.workflow.shares import State

_COPIED: Final = (
    "direction",
    "peer",
    "exchange_id",
    "share_id",
    "state",
    "at_us",
    "changed_us",
    "officer",
    "unit",
    "entries",
)


def put(connection: Connection, vault: Vault, detail: ShareDetail) -> None:
    """Write down a new share."""
    item = detail.item
    values = {name: getattr(item, name) for name in _COPIED}
    connection.execute(insert(shares).values(**values, sealed=_sealed(vault, detail)))


def find(
    connection: Connection, vault: Vault, direction: Direction.ValueType, peer: str, share_id: bytes
) -> ShareDetail | None:
    """Return a share; None where there is none.

    Raises:
        KeyErasedError, DecryptionError: it was erased or altered.
    """
    row = connection.execute(select(shares).where(*_this(direction, peer, share_id))).one_or_none()
    return None if row is None else _detail(vault, row)


def get(
    connection: Connection, vault: Vault, direction: Direction.ValueType, peer: str, share_id: bytes
) -> ShareDetail:
    """Return a share.

    Raises:
        NotFoundError: there is none.
        KeyErasedError, DecryptionError: it was erased or altered.
    """
    found = find(connection, vault, direction, peer, share_id)
    if found is None:
        raise NotFoundError("there is no such share")
    return found


def of_exchange(
    connection: Connection, vault: Vault, direction: Direction.ValueType, peer: str, exchange_id: bytes
) -> list[ShareDetail]:
    """Return the shares of an exchange with a peer: one, or none."""
    held = shares.c
    where = (held.direction == direction, held.peer == peer, held.exchange_id == exchange_id)
    return [_detail(vault, row) for row in connection.execute(select(shares).where(*where))]


def change(connection: Connection, detail: ShareDetail, state: str, now_us: int) -> None:
    """Note where a share stands now."""
    item = detail.item
    item.state, item.changed_us = state, now_us
    this = _this(item.direction, item.peer, item.share_id)
    connection.execute(update(shares).where(*this).values(state=state, changed_us=now_us))


def list_items(
    connection: Connection, direction: Direction.ValueType | None = None, limit: int = 100
) -> list[ShareItem]:
    """Return shares without what they say, the newest first."""
    query = select(shares).order_by(shares.c.at_us.desc(), shares.c.share_id)
    if direction is not None:
        query = query.where(shares.c.direction == direction)
    return [_item(row) for row in connection.execute(query.limit(limit))]


def _this(direction: int, peer: str, share_id: bytes) -> tuple[Any, ...]:
    held = shares.c
    return held.direction == direction, held.peer == peer, held.share_id == share_id


def _context(direction: int, peer: str, share_id: bytes) -> bytes:
    return b"share\0" + bytes([direction]) + peer.encode() + share_id


def _sealed(vault: Vault, detail: ShareDetail) -> bytes:
    item = detail.item
    return vault.seal_alone(_context(item.direction, item.peer, item.share_id), detail.SerializeToString())


def _detail(vault: Vault, row: Row[Any]) -> ShareDetail:
    detail = ShareDetail.FromString(vault.open_alone(_context(row.direction, row.peer, row.share_id), row.sealed))
    detail.item.CopyFrom(_item(row))
    return detail


def _item(row: Row[Any]) -> ShareItem:
    return ShareItem(**{name: getattr(row, name) for name in _COPIED})


# --- how long they are kept ------------------------------------------------------------------------------------------

KEPT_US: Final = 365 * 86_400_000_000
"""How long a share, a flag and a recall that is done are kept; their lines tell of them for longer."""

Outdated = tuple[Table, tuple[bytes | int | str, ...], bytes]
"""A row, by its table and key, and the id of the key that it is sealed under."""


def outdated(connection: Connection, now_us: int, limit: int = 100) -> list[Outdated]:
    """Return what is kept for long enough; what still waits for somebody is not."""
    done = recalls.c.state.in_((RecallState.DELETED, RecallState.STANDS)) & (recalls.c.changed_us <= now_us - KEPT_US)
    where: tuple[tuple[Table, ColumnElement[bool]], ...] = (
        (shares, (shares.c.changed_us <= now_us - KEPT_US) & (shares.c.state != State.HELD)),
        (flags, flags.c.at_us <= now_us - KEPT_US),
        (recalls, done),
    )
    found: list[Outdated] = []
    for table, old in where:
        rows = connection.execute(select(*table.primary_key, table.c.sealed).where(old).limit(limit))
        found += [(table, tuple(row[:-1]), key_id_of(row.sealed)) for row in rows]
    return found


def forget(connection: Connection, rows: Iterable[Outdated]) -> None:
    """Delete rows whose keys are gone."""
    for table, key, _ in rows:
        this = [column == value for column, value in zip(table.primary_key, key, strict=True)]
        connection.execute(delete(table).where(*this))


# --- flags -----------------------------------------------------------------------------------------------------------


def put_flag(connection: Connection, vault: Vault, item: FlagItem) -> bool:
    """Write down a flag; False where it is known."""
    held = flags.c
    this = (held.direction == item.direction, held.peer == item.peer, held.flag_id == item.flag.flag_id)
    if connection.execute(select(held.at_us).where(*this)).first() is not None:
        return False
    sealed = vault.seal_alone(_flag_context(item.direction, item.peer, item.flag.flag_id), item.SerializeToString())
    values = {"direction": item.direction, "peer": item.peer, "flag_id": item.flag.flag_id, "at_us": item.at_us}
    connection.execute(insert(flags).values(**values, sealed=sealed))
    return True


def find_flag(
    connection: Connection, vault: Vault, direction: Direction.ValueType, peer: str, flag_id: bytes
) -> FlagItem:
    """Return a flag.

    Raises:
        NotFoundError: there is none.
        KeyErasedError, DecryptionError: it was erased or altered.
    """
    held = flags.c
    this = (held.direction == direction, held.peer == peer, held.flag_id == flag_id)
    row = connection.execute(select(flags).where(*this)).one_or_none()
    if row is None:
        raise NotFoundError("there is no such flag")
    return FlagItem.FromString(vault.open_alone(_flag_context(direction, peer, flag_id), row.sealed))


def list_flags(
    connection: Connection, vault: Vault, direction: Direction.ValueType | None = None, limit: int = 100
) -> list[FlagItem]:
    """Return flags, the newest first.

    Raises:
        KeyErasedError, DecryptionError: one was erased or altered.
    """
    query = select(flags).order_by(flags.c.at_us.desc(), flags.c.flag_id)
    if direction is not None:
        query = query.where(flags.c.direction == direction)
    return [
        FlagItem.FromString(vault.open_alone(_flag_context(row.direction, row.peer, row.flag_id), row.sealed))
        for row in connection.execute(query.limit(limit))
    ]


def _flag_context(direction: int, peer: str, flag_id: bytes) -> bytes:
    return b"flag\0" + bytes([direction]) + peer.encode() + flag_id
