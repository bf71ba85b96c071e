"""Tiles against the specification's own examples, and their proofs against those made from all leaves."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import LedgerBrokenError, LedgerError, ProofError
from node.ledger.rfc6962 import (
    HASH_SIZE,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from node.ledger.tiles import (
    LONGEST_ENTRY,
    WIDTH,
    Tile,
    TiledTree,
    Tiler,
    format_bundle,
    parse_bundle,
    split_tile,
    tiles_of,
)

LARGEST = 70_000
LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(LARGEST)]
LEVELS = [LEAVES]
while len(LEVELS[-1]) >= WIDTH:
    below = LEVELS[-1]
    LEVELS.append([root_of(below[at : at + WIDTH]) for at in range(0, len(below) - WIDTH + 1, WIDTH)])

SIZES = st.one_of(st.integers(1, 600), st.integers(65_400, 65_700), st.integers(1, LARGEST))


class Tiles:
    """What serves tiles; counts how often each was read."""

    def __init__(self) -> None:
        self.read: Counter[Tile] = Counter()

    def __call__(self, tile: Tile) -> bytes:
        self.read[tile] += 1
        hashes = LEVELS[tile.level][tile.start : tile.start + tile.width]
        assert len(hashes) == tile.width
        return b"".join(hashes)


@pytest.mark.parametrize(
    ("tile", "path", "entries"),
    [
        (Tile(0, 0), "tile/0/000", "tile/entries/000"),
        (Tile(1, 1_234_067), "tile/1/x001/x234/067", "tile/entries/x001/x234/067"),
        (Tile(0, 273, 112), "tile/0/273.p/112", "tile/entries/273.p/112"),
        (Tile(2, 1_000, 1), "tile/2/x001/000.p/1", "tile/entries/x001/000.p/1"),
        (Tile(63, 999), "tile/63/999", "tile/entries/999"),
    ],
)
def test_paths(tile: Tile, path: str, entries: str) -> None:
    assert (tile.path, tile.entries_path) == (path, entries)


def test_the_tiles_of_the_specifications_examples() -> None:
    made = list(tiles_of(70_000))
    assert sum(tile.level == 0 and tile.width == WIDTH for tile in made) == 273
    assert [tile for tile in made if tile.level or tile.width < WIDTH] == [
        Tile(0, 273, 112),
        Tile(1, 0),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_inclusion_is_proved_as_from_all_leaves(data: st.DataObject) -> None:
    size = data.draw(SIZES)
    index = data.draw(st.integers(0, size - 1))
    tiles = Tiles()
    proof = TiledTree(size, tiles).inclusion_proof(index)
    assert proof == inclusion_proof(index, LEAVES[:size])
    assert set(tiles.read.values()) <= {1}
    assert len(tiles.read) <= 6  # two borders, three levels
    verify_inclusion(index=index, size=size, leaf_hash=LEAVES[index], proof=proof, root=TiledTree(size, tiles).root())


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_consistency_is_proved_as_from_all_leaves(data: st.DataObject) -> None:
    size = data.draw(SIZES)
    old_size = data.draw(st.integers(1, size))
    proof = TiledTree(size, Tiles()).consistency_proof(old_size)
    assert proof == consistency_proof(old_size, LEAVES[:size])
    roots = root_of(LEAVES[:old_size]), root_of(LEAVES[:size])
    verify_consistency(old_size=old_size, new_size=size, proof=proof, old_root=roots[0], new_root=roots[1])


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_536, 66_000])
def test_all_tiles_are_made_while_leaves_pass_by(size: int) -> None:
    tiler, tiles = Tiler(), Tiles()
    half = size // 3
    made = [*tiler.add(LEAVES[:half]), *tiler.add(LEAVES[half:size]), *tiler.end()]
    assert sorted((tile.level, tile.index, tile.width) for tile, _ in made) == [
        (tile.level, tile.index, tile.width) for tile in tiles_of(size)
    ]
    assert all(data == tiles(tile) for tile, data in made)


def test_small_trees_whole() -> None:
    for size in range(1, 20):
        tree = TiledTree(size, Tiles())
        assert tree.root() == root_of(LEAVES[:size])
        for at in range(size):
            assert tree.inclusion_proof(at) == inclusion_proof(at, LEAVES[:size])
            assert tree.consistency_proof(at + 1) == consistency_proof(at + 1, LEAVES[:size])


def test_what_is_not_there_has_no_proof() -> None:
    tree = TiledTree(3, Tiles())
    for index in (-1, 3):
        with pytest.raises(ProofError):
            tree.inclusion_proof(index)
    for old_size in (0, 4):
        with pytest.raises(ProofError):
            tree.consistency_proof(old_size)
    assert TiledTree(0, Tiles()).root() == root_of([])


@pytest.mark.parametrize("data", [b"", bytes(HASH_SIZE), bytes(3 * HASH_SIZE), bytes(2 * HASH_SIZE - 1)])
def test_a_tile_of_another_length_is_refused(data: bytes) -> None:
    with pytest.raises(LedgerBrokenError, match=r"tile/0/000\.p/2"):
        split_tile(Tile(0, 0, 2), data)
    with pytest.raises(LedgerBrokenError):
        TiledTree(2, lambda _: data).root()


@given(st.lists(st.binary(max_size=80), max_size=WIDTH))
def test_bundles_hold_their_leaves(leaves: list[bytes]) -> None:
    assert parse_bundle(format_bundle(leaves)) == leaves


def test_bundles_are_strict() -> None:
    assert format_bundle([b"ab", b""]) == b"\0\2ab\0\0"
    assert parse_bundle(format_bundle([bytes(LONGEST_ENTRY)])) == [bytes(LONGEST_ENTRY)]
    with pytest.raises(LedgerError, match="longer"):
        format_bundle([bytes(LONGEST_ENTRY + 1)])
    for data in (b"\0", b"\0\2a", b"\0\1a\0"):
        with pytest.raises(LedgerBrokenError):
            parse_bundle(data)
