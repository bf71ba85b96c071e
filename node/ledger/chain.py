"""The chain beside the tree: it tells where a ledger was altered, since the root tells only that it was.

Each line keeps its leaf's hash and a link: SHA-256 of the previous line's link and this leaf's hash. One damaged place
contradicts two others that still agree, and so names itself:

    leaf against its hash and its link: the leaf is damaged
    hash against leaf and link: the hash is damaged
    link against leaf and hash: the line is not where it was written, or only its link is damaged (the next line tells)

The chain proves nothing: whoever rewrites a line and all links after it leaves no trace here, only in the root.
"""

from hashlib import sha256
from typing import Final

from node.ledger.rfc6962 import HASH_SIZE

FIRST_LINK: Final = bytes(HASH_SIZE)
"""What the link of the first line starts from."""


def link_of(previous: bytes, leaf_hash: bytes) -> bytes:
    """Link a line to the one before it: SHA-256 of the previous link and this leaf's hash, 32 bytes each."""
    return sha256(previous + leaf_hash).digest()


class Chain:
    """Follows the links of a ledger, line by line, and names the lines that are not what was written.

    A link breaks between two lines, and either may be the wrong one. A wrong line breaks the link to the one before and
    the link from the one behind; so of several broken links in a row, the last leads from a wrong line to a right one.
    """

    def __init__(self) -> None:
        self.found: Final[dict[int, str]] = {}
        """What is wrong with which line."""
        self._link: bytes | None = FIRST_LINK  # None: the line before could not be read
        self._computed: bytes | None = None  # the link that the line before should have had
        self._broken = False  # between the line before and the one before that
        self._undecided: int | None = None  # the line before, which is wrong if the next link is broken too

    def follow(self, index: int, leaf_hash: bytes, kept_hash: bytes, kept_link: bytes) -> None:
        """Go on to the next line: what its leaf hashes to, and what is kept beside it."""
        before, computed = self._link, self._computed
        self._link, self._computed = kept_link, None
        if before is None or kept_link == link_of(before, leaf_hash):
            if leaf_hash != kept_hash:
                self.found[index] = f"the hash kept beside line {index} is damaged"
            self._mend()
        elif kept_link == link_of(before, kept_hash):
            self.found[index] = f"line {index} is damaged"
            self._mend()
        elif computed is not None and kept_link == link_of(computed, leaf_hash):
            self.found[index - 1] = f"the link kept beside line {index - 1} is damaged"
            self._mend()
        else:
            self._break(index)
            self._computed = None if self._undecided == index else link_of(before, leaf_hash)

    def interrupt(self) -> None:
        """Go on behind lines that are missing or can't be read: the next link can't be checked."""
        self._link = self._computed = None
        self._mend()

    def end(self, index: int, last_link: bytes) -> None:
        """Compare the last line, at `index`, with the link that the head keeps."""
        if self._computed == last_link:
            self.found[index] = f"the link kept beside line {index} is damaged"
        elif self._link in (None, last_link):
            return
        elif self._undecided is not None:
            self._accuse(self._undecided)
        else:
            self.found.setdefault(index, f"the link kept beside line {index} is not the one in the head")

    def _mend(self) -> None:
        self._broken, self._undecided = False, None

    def _break(self, index: int) -> None:
        if self._undecided is not None:
            self._accuse(self._undecided)
        if self._broken:
            self._undecided = index
        else:
            self._accuse(index)
        self._broken = True

    def _accuse(self, index: int) -> None:
        self.found[index] = f"line {index} is not the one that was written there"
