"""How this node was used: the lines of a period with what opens them, and the messages kept beside some of them."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import Connection, select

from node.errors import DecryptionError, KeyErasedError, LedgerBrokenError, LedgerError, NotFoundError
from node.ledger.leaf import parse_leaf, parse_opening, parse_private, parse_shared, verify_opening
from node.store.lines import ledger_lines, ledger_openings, opening_context
from node.store.listing import ListedLine, list_lines, read_bodies
from node.store.vault import Vault
from node.wire.ledger_pb2 import LeafKind, LeafPrivate, LeafShared


class Used(NamedTuple):
    """A line of a period; `private` is None where what opens it was erased or does not fit.

    Of a line whose leaf is damaged nothing is known but its index: its time is 0.
    """

    line: int
    logged_us: int
    shared: LeafShared
    private: LeafPrivate | None


def used(
    connection: Connection,
    vault: Vault,
    start: int,
    stop: int,
    *,
    since_us: Mapping[LeafKind.ValueType, int],
    until_us: int,
) -> list[Used]:
    """Return lines from the index `start` to before `stop` that were logged within a period; others are not opened.

    Args:
        connection: To the main database.
        vault: Opens what can be opened.
        start: Index, from 0.
        stop: Exclusive.
        since_us: By kind of line, UTC microseconds of this node's clock, inclusive. Other kinds are left out.
        until_us: Exclusive.

    One line that was damaged does not hide the others.
    """
    line = ledger_lines.c
    joined = ledger_lines.outerjoin(ledger_openings, ledger_openings.c.idx == line.idx)
    query = select(line.idx, line.leaf, line.leaf_hash, ledger_openings.c.sealed).select_from(joined)
    found = []
    for row in connection.execute(query.where(line.idx >= start, line.idx < stop).order_by(line.idx)):
        try:
            leaf = parse_leaf(row.leaf)
            shared = parse_shared(leaf.shared)
        except LedgerBrokenError:
            found.append(Used(row.idx, 0, LeafShared(), None))
            continue
        if not since_us.get(shared.kind, until_us) <= leaf.logged_us < until_us:
            continue
        private = None
        if row.sealed is not None:
            with suppress(KeyErasedError, DecryptionError, LedgerError):
                opening = parse_opening(vault.open_alone(opening_context(row.leaf_hash), row.sealed))
                verify_opening(leaf, opening)
                private = parse_private(opening.private)
        found.append(Used(row.idx, leaf.logged_us, shared, private))
    return found


def bodies(connection: Connection, vault: Vault, lines: Sequence[int], name: str) -> dict[int, bytes]:
    """Return the messages (serialised) kept beside lines under a name; those erased or altered are not."""
    found = {}
    for line in lines:
        with suppress(KeyErasedError, NotFoundError, DecryptionError, LedgerError):
            body = read_bodies(connection, vault, line).get(name)
            if body is not None:
                found[line] = body
    return found


def lines_at(connection: Connection, vault: Vault, indexes: Collection[int]) -> list[ListedLine]:
    """Return single lines, in order.

    Raises:
        NotFoundError: There is none of this index.
        LedgerBrokenError: One is damaged.
        DecryptionError: An opening was altered.
    """
    found = []
    for index in sorted(indexes):
        one = list_lines(connection, index, 1, vault=vault)
        if [each.index for each in one] != [index]:
            raise NotFoundError(f"there is no line {index}")
        found += one
    return found
