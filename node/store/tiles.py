"""Full tiles of the tree, kept so that a proof reads a few rows instead of all lines.

They follow from the lines, so they are made behind the writer, when there is time, and nothing is lost with them: what
is not kept yet, or not any more, is computed from the lines. They are not trusted either. A proof made of them is
verified before it is handed out, and if it fails, made again from the lines alone.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    func,
    insert,
    select,
    tuple_,
)

from node.errors import LedgerBrokenError, ProofError
from node.ledger.rfc6962 import HASH_SIZE, root_of, verify_consistency, verify_inclusion
from node.ledger.tiles import WIDTH, Tile, TiledTree
from node.store.bound import unbound
from node.store.database import Database
from node.store.lines import ledger_lines
from node.store.tables import metadata
from node.store.writer import Priority, Writer

ledger_tiles = Table(
    "ledger_tiles",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("idx", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),  # 256 of 32 bytes
    Column("root", LargeBinary, nullable=False),  # of these hashes: one of the level above
    info=unbound("it follows from the lines; a proof made of tiles is verified before anybody gets it"),
)

_AT_ONCE: Final = 8
"""Tiles made in one step: 64 kB to write, and 2,000 hashes, which take 2 ms of a thread that reads."""

TileRow = tuple[int, int, bytes, bytes]
"""Level, index, hashes and root of a full tile."""


class Tiling:
    """Keeps the tiles up with the lines; one per process, and it does no harm if others do the same."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._full = 0  # tiles of level 0 that are known to be kept, with all above them

    async def follow(self, size: int) -> None:
        """Keep the full tiles of a ledger of so many lines.

        Raises:
            LedgerError, StoreError: a line is missing, or the database can't be read or written.
        """
        full = size // WIDTH
        if full == self._full:
            return
        while made := await self._database.read(missing_tiles, full):
            await asyncio.wrap_future(self._writer.submit(_keeping(made), (), Priority.BACKGROUND))
        self._full = full


def missing_tiles(connection: Connection, full: int) -> list[TileRow]:
    """Make the next tiles that are to be kept, at most 8; none when all are.

    Args:
        connection: To the main database.
        full: Full tiles of level 0 that the lines make.

    Raises:
        LedgerBrokenError: a line is missing, or a hash beside it damaged.
    """
    tile = ledger_tiles.c
    # A tile that somebody deleted in between is not made again: it is computed when it is asked for.
    rows = connection.execute(select(tile.level, func.max(tile.idx)).group_by(tile.level)).all()
    kept = {level: last + 1 for level, last in rows}
    level = 0
    while full:
        start, stop = kept.get(level, 0), min(full, kept.get(level, 0) + _AT_ONCE)
        if start < stop:
            return [_made(connection, Tile(level, index)) for index in range(start, stop)]
        level, full = level + 1, full // WIDTH
    return []


def keep_tiles(connection: Connection, rows: Sequence[TileRow]) -> None:
    """Keep tiles, but for those that another process has kept first; the head is locked meanwhile."""
    names = [(level, index) for level, index, _, _ in rows]
    tile = ledger_tiles.c
    there = select(tile.level, tile.idx).where(tuple_(tile.level, tile.idx).in_(names))
    known = {tuple(row) for row in connection.execute(there)}
    columns = [column.name for column in ledger_tiles.columns]
    new = [dict(zip(columns, row, strict=True)) for row in rows if row[:2] not in known]
    if new:
        connection.execute(insert(ledger_tiles), new)


def read_tile(connection: Connection, tile: Tile, *, kept: bool = True) -> bytes:
    """Return the hashes of a tile, 32 bytes each: a kept one as it is kept, else computed from what is below it.

    Args:
        connection: To the main database.
        tile: Of a tree that is no larger than the ledger.
        kept: False reads nothing but lines: for a tile of level 1, its 65,536.

    Raises:
        LedgerBrokenError: a line is missing, or a hash beside it damaged.
    """
    if tile.width == WIDTH and kept:
        columns = ledger_tiles.c
        query = select(columns.hashes).where(columns.level == tile.level, columns.idx == tile.index)
        found = connection.execute(query).scalar_one_or_none()
        if isinstance(found, bytes) and len(found) == WIDTH * HASH_SIZE:
            return found
    hashes = _leaf_hashes(connection, tile) if tile.level == 0 else _roots(connection, tile, kept=kept)
    return b"".join(hashes)


def prove_inclusion(connection: Connection, *, index: int, leaf_hash: bytes, size: int, root: bytes) -> list[bytes]:
    """Prove that a line is in the tree of this size and root.

    Args:
        connection: To the main database.
        index: Of the line, from 0.
        leaf_hash: Computed from its leaf, 32 bytes.
        size: Of the tree: of the head, or of an older checkpoint.
        root: Of that tree, 32 bytes.

    Returns:
        The hashes, which were verified, as `node.ledger.rfc6962.inclusion_proof` gives them.

    Raises:
        ProofError: there is no such line, or not in the tree with this root.
        LedgerBrokenError: lines are missing.
    """

    def prove(tree: TiledTree) -> list[bytes]:
        proof = tree.inclusion_proof(index)
        verify_inclusion(index=index, size=size, leaf_hash=leaf_hash, proof=proof, root=root)
        return proof

    return _proved(connection, size, prove)


def prove_consistency(connection: Connection, *, old_size: int, old_root: bytes, size: int, root: bytes) -> list[bytes]:
    """Prove that the tree of this size and root starts with the lines of an older one.

    Returns:
        The hashes, which were verified, as `node.ledger.rfc6962.consistency_proof` gives them.

    Raises:
        ProofError: it does not, or the older size is 0 or the larger one.
        LedgerBrokenError: lines are missing.
    """

    def prove(tree: TiledTree) -> list[bytes]:
        proof = tree.consistency_proof(old_size)
        verify_consistency(old_size=old_size, new_size=size, proof=proof, old_root=old_root, new_root=root)
        return proof

    return _proved(connection, size, prove)


def _proved(connection: Connection, size: int, prove: Callable[[TiledTree], list[bytes]]) -> list[bytes]:
    try:
        return prove(TiledTree(size, lambda tile: read_tile(connection, tile)))
    except ProofError:
        # Kept tiles can be damaged, or altered by SQL; only the lines say whether the tree is.
        return prove(TiledTree(size, lambda tile: read_tile(connection, tile, kept=False)))


def _keeping(rows: Sequence[TileRow]) -> Callable[[Connection], None]:
    return lambda connection: keep_tiles(connection, rows)


def _made(connection: Connection, tile: Tile) -> TileRow:
    hashes = _leaf_hashes(connection, tile) if tile.level == 0 else _roots(connection, tile)
    return tile.level, tile.index, b"".join(hashes), root_of(hashes)


def _leaf_hashes(connection: Connection, tile: Tile) -> list[bytes]:
    line = ledger_lines.c
    query = select(line.leaf_hash).where(line.idx >= tile.start, line.idx < tile.start + tile.width).order_by(line.idx)
    hashes = list(connection.execute(query).scalars())
    if len(hashes) != tile.width or any(len(each) != HASH_SIZE for each in hashes):
        last = tile.start + tile.width - 1
        raise LedgerBrokenError(f"of the lines {tile.start} to {last}, one or more are missing or damaged")
    return hashes


def _roots(connection: Connection, tile: Tile, *, kept: bool = True) -> list[bytes]:
    """Hashes of a tile above level 0: the roots of full tiles below it."""
    below = range(tile.start, tile.start + tile.width)
    known: dict[int, bytes] = {}
    if kept:
        columns = ledger_tiles.c
        query = select(columns.idx, columns.root).where(
            columns.level == tile.level - 1, columns.idx >= below.start, columns.idx < below.stop
        )
        known = {index: root for index, root in connection.execute(query) if len(root) == HASH_SIZE}
    return [known.get(index) or _root(connection, Tile(tile.level - 1, index), kept=kept) for index in below]


def _root(connection: Connection, tile: Tile, *, kept: bool) -> bytes:
    data = read_tile(connection, tile, kept=kept)
    return root_of(data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE))
