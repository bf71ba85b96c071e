"""Kept tiles: made behind the writer, never trusted, and never needed."""

import asyncio

import pytest
from sqlalchemy import delete, func, insert, select, update

from node.errors import LedgerBrokenError, ProofError
from node.ledger.rfc6962 import Frontier, consistency_proof, inclusion_proof, leaf_hash, root_of
from node.ledger.tiles import WIDTH, Tile
from node.store.append import found_ledger
from node.store.database import Database
from node.store.lines import ledger_lines
from node.store.tiles import (
    Tiling,
    keep_tiles,
    ledger_tiles,
    missing_tiles,
    prove_consistency,
    prove_inclusion,
    read_tile,
)
from node.store.vault import Vault
from node.store.writer import Writer

SIZE = 66_100
"""One full tile of level 1, and borders at both levels."""
LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(SIZE)]
ROOT = root_of(LEAVES)


@pytest.fixture
def filled(database: Database) -> Database:
    """A ledger whose hashes alone matter here."""
    rows = [
        {"idx": idx, "leaf": b"", "leaf_hash": hashed, "link": b"", "exchange_id": idx.to_bytes(4, "big")}
        for idx, hashed in enumerate(LEAVES)
    ]
    with database.engine.begin() as connection:
        found_ledger(connection)
        connection.execute(insert(ledger_lines), rows)
    return database


def tiled(database: Database, vault: Vault) -> None:
    with Writer(database.engine, vault) as writer:
        asyncio.run(Tiling(database, writer).follow(SIZE))


def counted(database: Database) -> dict[int, int]:
    with database.reading() as connection:
        level = ledger_tiles.c.level
        return dict(connection.execute(select(level, func.count()).group_by(level).order_by(level)).all())


def proved(database: Database, index: int, size: int = SIZE) -> list[bytes]:
    with database.reading() as connection:
        return prove_inclusion(connection, index=index, leaf_hash=LEAVES[index], size=size, root=root_of(LEAVES[:size]))


def test_tiles_follow_the_lines_and_prove_any(filled: Database, vault: Vault) -> None:
    tiled(filled, vault)
    assert counted(filled) == {0: SIZE // WIDTH, 1: 1}
    for index in (0, 255, 256, 65_535, 65_536, SIZE - 1):
        assert proved(filled, index) == inclusion_proof(index, LEAVES)
    assert proved(filled, 700, 1_000) == inclusion_proof(700, LEAVES[:1_000])
    with filled.reading() as connection:
        for old in (1, 256, 65_536, 66_000, SIZE):
            proof = prove_consistency(connection, old_size=old, old_root=root_of(LEAVES[:old]), size=SIZE, root=ROOT)
            assert proof == consistency_proof(old, LEAVES)
        assert missing_tiles(connection, SIZE // WIDTH) == []


def test_without_kept_tiles_or_with_some_gone_the_lines_prove(filled: Database, vault: Vault) -> None:
    assert proved(filled, 300) == inclusion_proof(300, LEAVES)
    tiled(filled, vault)
    with filled.engine.begin() as connection:
        connection.execute(delete(ledger_tiles).where(ledger_tiles.c.idx.in_([0, 3])))
    assert proved(filled, 300) == inclusion_proof(300, LEAVES)


def test_altered_tiles_prove_nothing_and_hinder_nothing(filled: Database, vault: Vault) -> None:
    tiled(filled, vault)
    with filled.engine.begin() as connection:
        connection.execute(update(ledger_tiles).values(hashes=bytes(8_192), root=bytes(32)))
    assert proved(filled, 300) == inclusion_proof(300, LEAVES)
    with filled.engine.begin() as connection:
        connection.execute(update(ledger_tiles).values(hashes=b"short", root=b""))
    assert proved(filled, 300) == inclusion_proof(300, LEAVES)


def test_a_line_that_is_not_in_the_tree_has_no_proof(filled: Database, vault: Vault) -> None:
    tiled(filled, vault)
    with filled.reading() as connection:
        for index, hashed in ((5, LEAVES[6]), (SIZE, LEAVES[0])):
            with pytest.raises(ProofError):
                prove_inclusion(connection, index=index, leaf_hash=hashed, size=SIZE, root=ROOT)
        with pytest.raises(ProofError):
            prove_consistency(connection, old_size=9, old_root=bytes(32), size=SIZE, root=ROOT)
    with filled.engine.begin() as connection:
        connection.execute(delete(ledger_lines).where(ledger_lines.c.idx == SIZE - 2))
    with pytest.raises(LedgerBrokenError, match="one or more are missing"):
        proved(filled, SIZE - 1)


def test_two_processes_keep_the_same_tiles(filled: Database) -> None:
    with filled.engine.begin() as connection:
        rows = missing_tiles(connection, 3)
        assert [row[:2] for row in rows] == [(0, 0), (0, 1), (0, 2)]
        keep_tiles(connection, rows[:2])
        keep_tiles(connection, rows)
        keep_tiles(connection, rows)
        assert read_tile(connection, Tile(0, 2)) == b"".join(LEAVES[512:768])
        assert read_tile(connection, Tile(1, 0, 3)) == b"".join(root_of(LEAVES[at : at + 256]) for at in (0, 256, 512))
    assert counted(filled) == {0: 3}
    assert Frontier().appended(LEAVES).root == ROOT
