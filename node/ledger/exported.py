"""An export of a ledger (C2SP tlog-tiles) verified without its node: from the leaves up to the checkpoint.

The checkpoint says whether the lines are the ones that were signed. Where they are not, the tiles say which: a tile's
hashes that lead to the checkpoint's root are those of the lines as they were, whatever stands in the bundle now.
"""

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Final

from node.errors import EnlaceError, LedgerBrokenError
from node.ledger.bundle import Keys, open_checkpoint_of
from node.ledger.checkpoint import SignedCheckpoint, parse_checkpoint
from node.ledger.epoch import FIRST, Confession, confessed, split_origin
from node.ledger.leaf import parse_leaf, parse_shared
from node.ledger.rfc6962 import Frontier, leaf_hash
from node.ledger.tiles import WIDTH, Tile, Tiler, parse_bundle, split_tile, tiles_at

CHECKPOINT: Final = "checkpoint"
"""Where the checkpoint is served."""

Read = Callable[[str], bytes | None]
"""Returns the file at a path of the export, or None where there is none."""

Progress = Callable[[int, int], None]
"""Told how many lines are done, of how many."""


def open_exported_checkpoint(data: bytes, keys: Keys) -> SignedCheckpoint:
    """Verify the checkpoint of an export, with the keys of the ledger that it names.

    Raises:
        NoteError: not a checkpoint; of a ledger that no directory knows; not signed by it; or falsely cosigned.
    """
    # What the text says only chooses the keys; they sign for no other ledger than their own.
    text = data.rpartition(b"\n\n")[0] + b"\n"
    _, _, node = split_origin(parse_checkpoint(text).origin)[0].partition("/")
    return open_checkpoint_of(data, keys.logs(node), keys.witnesses)


class ExportCheck:
    """One verification under way; what it finds is in `found`, by line, and in `whole`."""

    def __init__(self, read: Read, keys: Keys, signed: SignedCheckpoint) -> None:
        self.found: Final[dict[int, str]] = {}
        """What is wrong with which line."""
        self.whole: Final[list[str]] = []
        """What is wrong with the export as such."""
        self.signatures = 0
        """Of counterparts, that hold."""
        self.restores: Final[list[tuple[int, Confession]]] = []
        """Lines that open an epoch, with what each confesses as lost."""
        self._read = read
        self._keys = keys
        self._size, self._root = signed.checkpoint.size, signed.checkpoint.root
        name, self._epoch = split_origin(signed.checkpoint.origin)
        self._node = name.partition("/")[2]
        self._frontier = Frontier()  # over the hashes in the tiles
        self._complete = True
        self._tiler = Tiler()

    def run(self, progress: Progress | None = None) -> None:
        """Look at every line, in memory that does not grow with them.

        1. Each leaf is read strictly, is of this ledger, and hashes to what its tile says.
        2. Each counterpart's signature holds.
        3. Each tile above holds the roots of those below.
        4. The tree over the tiles is that of the checkpoint.
        """
        for tile in tiles_at(0, 0, self._size):
            self._tile(tile)
            if progress is not None:
                progress(tile.start + tile.width, self._size)
        if self._epoch != (self.restores[-1][1].fence.epoch if self.restores else FIRST):
            self.whole.append(f"the checkpoint is of epoch {self._epoch}, and no line opens it")
        if not self._complete:
            return
        for tile, data in self._tiler.end():
            self._above(tile, data)
        if self._frontier.root != self._root:
            self.whole.append("the tree over the lines is not the one that the checkpoint signs")

    def require_whole(self) -> None:
        """Raise what was found.

        Raises:
            LedgerBrokenError: the text names what is wrong, the lines first, counted from 0.
        """
        found = [self.found[index] for index in sorted(self.found)] + self.whole
        if found:
            raise LedgerBrokenError("; ".join(found))

    def _tile(self, tile: Tile) -> None:
        leaves = self._leaves(tile)
        hashes = [leaf_hash(leaf) for leaf in leaves] if leaves is not None else []
        expected = self._hashes(tile)
        if expected is None:
            if len(hashes) != tile.width:
                self._complete = False
                return
            expected = hashes
        if self._complete:  # behind a gap, nothing fits what is above any more
            self._frontier = self._frontier.appended(expected)
            for made, data in self._tiler.add(expected):
                self._above(made, data)
        if leaves is not None:
            if hashes != expected:
                self._compare(tile, expected, hashes)
            for place, leaf in enumerate(leaves):
                self._content(tile.start + place, leaf)

    def _leaves(self, tile: Tile) -> list[bytes] | None:
        data = self._read(tile.entries_path)
        if data is None:
            self._report(tile, f"{tile.entries_path} is missing")
            return None
        try:
            return parse_bundle(data)
        except LedgerBrokenError as error:
            self._report(tile, f"{tile.entries_path} is damaged, {error}")
            return None

    def _hashes(self, tile: Tile) -> list[bytes] | None:
        data = self._read(tile.path)
        if data is None:
            self.whole.append(f"{tile.path} is missing")
            return None
        try:
            return split_tile(tile, data)
        except LedgerBrokenError as error:
            self.whole.append(f"{error}")
            return None

    def _report(self, tile: Tile, text: str) -> None:
        self.found[tile.start] = f"{text}: lines {tile.start} to {tile.start + tile.width - 1} are missing"

    def _compare(self, tile: Tile, expected: Sequence[bytes], hashes: Sequence[bytes]) -> None:
        """Name what differs between the lines that were and those that are there."""
        if sorted(expected) == sorted(hashes):
            for place, (was, now) in enumerate(zip(expected, hashes, strict=True)):
                if was != now:
                    self.found[tile.start + place] = f"line {tile.start + place} stands in another's place"
            return
        for what, start, stop, first, last in SequenceMatcher(None, expected, hashes, autojunk=False).get_opcodes():
            if what == "equal":
                continue
            replaced = min(stop - start, last - first)
            for index in range(tile.start + start, tile.start + start + replaced):
                self.found[index] = f"line {index} is damaged"
            for index in range(tile.start + start + replaced, tile.start + stop):
                self.found[index] = f"line {index} is missing"
            if last - first > replaced:
                index = tile.start + stop
                self.found[index] = f"{last - first - replaced} lines were inserted before line {index}"

    def _above(self, tile: Tile, made: bytes) -> None:
        """Compare a tile above the lowest level with the one made from below it."""
        if tile.level == 0:
            return
        kept = self._hashes(tile)
        if kept is None:
            return
        span = WIDTH**tile.level
        for place, (was, now) in enumerate(zip(kept, split_tile(tile, made), strict=True)):
            if was != now:
                first = (tile.start + place) * span
                self.whole.append(
                    f"{tile.path} does not fit the tiles below it: of the lines {first} to {first + span - 1}, one or "
                    "more were rewritten together with their hashes, or it is damaged"
                )

    def _content(self, index: int, leaf: bytes) -> None:
        try:
            shared = parse_shared(parse_leaf(leaf).shared)
            if shared.node != self._node:
                raise LedgerBrokenError(f"it is of {shared.node}")
            found = confessed(shared)
            if found is not None:
                self.restores.append((index, found))
            if shared.counterpart_statement:
                self._keys.verify_statement(
                    shared.counterpart_statement, shared.counterpart_key_id, shared.counterpart_signature
                )
                self.signatures += 1
        except EnlaceError as error:
            self.found.setdefault(index, f"line {index} is damaged: {error}")
