"""Tiles: the tree cut into files that never change (C2SP tlog-tiles, https://c2sp.org/tlog-tiles).

A tile holds up to 256 neighbouring hashes of every eighth level of the tree. A full tile stays as it is for ever, so
only those at the right border grow, and whoever has the tiles computes any proof from a few of them: three for a
ledger of a million lines, and no hash in them is trusted before the root that comes out is that of a checkpoint.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from node.errors import LedgerBrokenError, LedgerError, ProofError
from node.ledger.rfc6962 import EMPTY_ROOT, HASH_SIZE, node_hash, root_of

HEIGHT: Final = 8
"""Levels of the tree in one tile."""

WIDTH: Final = 1 << HEIGHT
"""Hashes in a full tile, and leaves in a full entry bundle."""

LONGEST_ENTRY: Final = (1 << 16) - 1
"""Bytes of the longest leaf that an entry bundle takes: its length is written in 16 bits."""

_LENGTH_BYTES: Final = 2
_DIGITS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Tile:
    """Which tile.

    Attributes:
        level: 0 holds the hashes of leaves, each one above the roots of full tiles of the one below.
        index: From the left, from 0.
        width: Hashes in it, 1 to 256; fewer than 256 at the right border alone.
    """

    level: int
    index: int
    width: int = WIDTH

    @property
    def start(self) -> int:
        """Position of its first hash among all of its level."""
        return self.index * WIDTH

    @property
    def path(self) -> str:
        """Where it is served: `tile/1/x001/x234/067.p/8` is the first eight hashes of tile 1,234,067 at level 1."""
        return f"tile/{self.level}/{_numbered(self.index)}{self._partial}"

    @property
    def entries_path(self) -> str:
        """Where the leaves are served whose hashes a tile of level 0 holds."""
        return f"tile/entries/{_numbered(self.index)}{self._partial}"

    @property
    def _partial(self) -> str:
        return "" if self.width == WIDTH else f".p/{self.width}"


Read = Callable[[Tile], bytes]
"""Returns the hashes of a tile, 32 bytes each, joined."""


def tiles_at(level: int, start: int, stop: int) -> Iterator[Tile]:
    """Cut the hashes of a level, from `start` (of a tile) to before `stop`, into tiles; the last may be partial."""
    for first in range(start, stop, WIDTH):
        yield Tile(level, first // WIDTH, min(WIDTH, stop - first))


def tiles_of(size: int) -> Iterator[Tile]:
    """All tiles of a tree of so many leaves, the lowest level first."""
    level, hashes = 0, size
    while hashes:
        yield from tiles_at(level, 0, hashes)
        level, hashes = level + 1, hashes // WIDTH


def split_tile(tile: Tile, data: bytes) -> list[bytes]:
    """Part the bytes of a tile into its hashes.

    Raises:
        LedgerBrokenError: it holds more or fewer bytes than its width calls for.
    """
    if len(data) != tile.width * HASH_SIZE:
        raise LedgerBrokenError(f"{tile.path} has {len(data)} bytes instead of {tile.width * HASH_SIZE}")
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]


def format_bundle(leaves: Sequence[bytes]) -> bytes:
    """Write an entry bundle: each leaf, preceded by its length (2 bytes, big-endian).

    Raises:
        LedgerError: a leaf is longer than `LONGEST_ENTRY`.
    """
    if any(len(leaf) > LONGEST_ENTRY for leaf in leaves):
        raise LedgerError(f"a line is longer than the {LONGEST_ENTRY} bytes that an entry bundle takes")
    return b"".join(len(leaf).to_bytes(_LENGTH_BYTES, "big") + leaf for leaf in leaves)


def parse_bundle(data: bytes) -> list[bytes]:
    """Read the leaves of an entry bundle.

    Raises:
        LedgerBrokenError: it ends inside a leaf.
    """
    leaves, at = [], 0
    while at < len(data):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "big")
        leaf = data[start:at]
        if start > len(data) or at > len(data):
            raise LedgerBrokenError("an entry bundle ends inside a leaf")
        leaves.append(leaf)
    return leaves


class Tiler:
    """Makes all tiles of a tree while its leaves pass by, holding one growing tile for each level."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = []
        self._made: list[int] = []  # full tiles, by level

    def add(self, hashes: Iterable[bytes]) -> Iterator[tuple[Tile, bytes]]:
        """Take the next leaf hashes, 32 bytes each; yields each tile that they fill, a lower one before one above."""
        for each in hashes:
            yield from self._put(0, each)

    def end(self) -> Iterator[tuple[Tile, bytes]]:
        """Yield the partial tiles, the lowest first."""
        for level, hashes in enumerate(self._levels):
            if hashes:
                yield Tile(level, self._made[level], len(hashes)), b"".join(hashes)

    def _put(self, level: int, each: bytes) -> Iterator[tuple[Tile, bytes]]:
        if level == len(self._levels):
            self._levels.append([])
            self._made.append(0)
        hashes = self._levels[level]
        hashes.append(each)
        if len(hashes) < WIDTH:
            return
        yield Tile(level, self._made[level]), b"".join(hashes)
        self._made[level] += 1
        self._levels[level] = []
        yield from self._put(level + 1, root_of(hashes))


class TiledTree:
    """The tree of one size, read from tiles; each tile is read once at most.

    It follows the recursive definitions of RFC 9162 §2.1, with a tile's hash for every complete subtree.
    """

    def __init__(self, size: int, read: Read) -> None:
        self._size = size
        self._read = read
        self._tiles: dict[Tile, list[bytes]] = {}

    def root(self) -> bytes:
        """Root of the tree: what the tiles are worth shows when it is that of a checkpoint.

        Raises:
            LedgerBrokenError: a tile has a wrong length.
        """
        return self._range(0, self._size) if self._size else EMPTY_ROOT

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Prove that the leaf at `index` is in the tree: as `node.ledger.rfc6962.inclusion_proof`.

        Raises:
            ProofError: there is no such leaf.
            LedgerBrokenError: a tile has a wrong length.
        """
        if not 0 <= index < self._size:
            raise ProofError(f"no inclusion proof: line {index} of a ledger of {self._size} lines")
        path, low, high = [], 0, self._size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return path[::-1]

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """Prove that the tree starts with its first `old_size` leaves: as `node.ledger.rfc6962.consistency_proof`.

        Raises:
            ProofError: `old_size` is 0 or exceeds the size.
            LedgerBrokenError: a tile has a wrong length.
        """
        if not 0 < old_size <= self._size:
            raise ProofError(f"no consistency proof: from {old_size} to {self._size} lines")
        path, low, high = [], 0, self._size
        while old_size != high:
            middle = low + _split(high - low)
            if old_size <= middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        # A verifier has the old root; where that is the subtree arrived at, it needs no hash of it.
        return [*([self._range(low, high)] if low else []), *path[::-1]]

    def _range(self, low: int, high: int) -> bytes:
        """Root of the subtree over the leaves from `low` to before `high`, as the RFC's recursion meets them."""
        count = high - low
        if count.bit_count() == 1:
            return self._complete(count.bit_length() - 1, low)
        middle = low + _split(count)
        return node_hash(self._range(low, middle), self._range(middle, high))

    def _complete(self, height: int, low: int) -> bytes:
        level, above = divmod(height, HEIGHT)
        position = low >> level * HEIGHT
        index, first = divmod(position, WIDTH)
        width = min(WIDTH, (self._size >> level * HEIGHT) - index * WIDTH)
        hashes = self._hashes(Tile(level, index, width))
        return root_of(hashes[first : first + (1 << above)])

    def _hashes(self, tile: Tile) -> list[bytes]:
        if tile not in self._tiles:
            self._tiles[tile] = split_tile(tile, self._read(tile))
        return self._tiles[tile]


def _split(count: int) -> int:
    """Largest power of two smaller than `count`, where the RFC splits a tree."""
    return 1 << (count - 1).bit_length() - 1


def _numbered(index: int) -> str:
    """Three digits to a path element, all but the last behind an x: no file has the name of a folder."""
    parts = [f"{index % _DIGITS:03}"]
    while index := index // _DIGITS:
        parts.insert(0, f"x{index % _DIGITS:03}")
    return "/".join(parts)
