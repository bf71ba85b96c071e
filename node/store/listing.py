"""Reading single lines of the ledger, with what opens them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Select, select

from node.errors import KeyErasedError, LedgerBrokenError, NotFoundError
from node.ledger.leaf import parse_leaf, parse_opening, parse_shared
from node.store.lines import (
    Head,
    bodies_context,
    ledger_bodies,
    ledger_head,
    ledger_lines,
    ledger_openings,
    opening_context,
    parse_head,
    unpack_bodies,
)
from node.store.vault import Vault
from node.wire.ledger_pb2 import Leaf, LeafKind, LeafShared, Opening

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class ListedLine:
    """A line as it is in the ledger; `opening` is None where it was erased, or no vault was given.

    Statement, key id and signature are those of the message that this line let out; empty where none left.
    """

    index: int
    leaf: Leaf
    shared: LeafShared
    leaf_hash: bytes
    statement: bytes
    key_id: bytes
    signature: bytes
    opening: Opening | None


def read_head(connection: Connection) -> Head:
    """Read how many lines there are, and the root of their tree.

    Raises:
        LedgerBrokenError: There is no head, or it contradicts itself.
    """
    row = connection.execute(select(ledger_head)).one_or_none()
    if row is None:
        raise LedgerBrokenError("the ledger has no head")
    return parse_head(row.size, row.root, row.frontier, row.link)


def list_lines(
    connection: Connection,
    start: int = 0,
    count: int = 100,
    *,
    exchange_id: bytes | None = None,
    kinds: Collection[LeafKind.ValueType] = (),
    peer: str | None = None,
    vault: Vault | None = None,
) -> list[ListedLine]:
    """List lines from the index `start` on, in order, up to `count` of those that the filters let through.

    Args:
        connection: To the main database.
        start: Index, from 0.
        count: Of lines listed, not of lines looked at: a rare kind or peer is searched for to the end.
        exchange_id: 16 bytes; only the lines of this exchange.
        kinds: Only lines of these kinds; all where it is empty.
        peer: ISO 3166-1 alpha-2; empty for local lines, None for all.
        vault: Opens what can be opened.

    Raises:
        LedgerBrokenError: A line is damaged; `verify_ledger` names it.
        DecryptionError: An opening was altered.
    """
    found: list[ListedLine] = []
    # What no filter leaves out is not read beyond what is listed.
    size = _PAGE if kinds or peer is not None else min(_PAGE, count)
    while len(found) < count:
        rows = connection.execute(_page(start, exchange_id, size)).all()
        for row in rows:
            leaf = parse_leaf(row.leaf)
            shared = parse_shared(leaf.shared)
            if (kinds and shared.kind not in kinds) or (peer is not None and shared.peer != peer):
                continue
            message = (row.statement or b"", row.key_id or b"", row.signature or b"")
            opening = _opening(vault, row.leaf_hash, row.sealed)
            found.append(ListedLine(row.idx, leaf, shared, row.leaf_hash, *message, opening))
            if len(found) == count:
                break
        if len(rows) < size:
            break
        start = rows[-1].idx + 1
    return found


def read_bodies(connection: Connection, vault: Vault, index: int) -> dict[str, bytes]:
    """Read the messages kept beside a line, by the names they were given.

    Raises:
        NotFoundError: There is no such line, or none was kept.
        KeyErasedError: They were erased.
        DecryptionError, LedgerBrokenError: They were altered.
    """
    joined = ledger_lines.join(ledger_bodies, ledger_bodies.c.idx == ledger_lines.c.idx)
    query = select(ledger_lines.c.leaf_hash, ledger_bodies.c.sealed).select_from(joined)
    row = connection.execute(query.where(ledger_lines.c.idx == index)).one_or_none()
    if row is None:
        raise NotFoundError(f"no message is kept beside line {index}")
    return unpack_bodies(vault.open_alone(bodies_context(row.leaf_hash), row.sealed))


def _page(
    start: int, exchange_id: bytes | None, size: int
) -> Select[tuple[int, bytes, bytes, bytes, bytes, bytes, bytes]]:
    line = ledger_lines.c
    joined = ledger_lines.outerjoin(ledger_openings, ledger_openings.c.idx == line.idx)
    query = select(
        line.idx, line.leaf, line.leaf_hash, line.statement, line.key_id, line.signature, ledger_openings.c.sealed
    ).select_from(joined)
    query = query.where(line.idx >= start).order_by(line.idx).limit(size)
    return query if exchange_id is None else query.where(line.exchange_id == exchange_id)


def _opening(vault: Vault | None, leaf_hash: bytes, sealed: bytes | None) -> Opening | None:
    if vault is None or sealed is None:
        return None
    try:
        return parse_opening(vault.open_alone(opening_context(leaf_hash), sealed))
    except KeyErasedError:
        return None
