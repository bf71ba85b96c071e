"""The Merkle tree of the ledger: RFC 6962 §2.1, which RFC 9162 §2.1 restates; SHA-256 throughout.

A hash is always exactly 32 bytes, and whatever reads leaves or proofs here refuses another length. A node hashes
`left || right` with no mark between them, so a verifier that took 31 bytes and 33 bytes would accept, for an honest
root, a leaf hash that was never in the tree beside a sibling that makes up for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from node.errors import LedgerBrokenError, ProofError

HASH_SIZE: Final = 32
"""Bytes in a hash."""

EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of the tree without leaves (RFC 6962 §2.1). No leaf can have it, since a leaf's hash starts from a zero byte."""

# Without these prefixes an attacker could present an inner node's 64 bytes as a leaf, and so prove that something was
# logged which never was (RFC 9162 §2.1.1: "domain separation is required to give second preimage resistance").
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"

_SIZE_BYTES: Final = 8


def leaf_hash(data: bytes) -> bytes:
    """Hash the bytes of a leaf: SHA-256 of 0x00 and `data`."""
    return sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two neighbouring subtrees of equal height: SHA-256 of 0x01, `left` and `right`."""
    return sha256(_NODE + left + right).digest()


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """Root of the tree over these leaves, in order; that of the empty tree is `EMPTY_ROOT`.

    Args:
        leaf_hashes: 32 bytes each.

    Raises:
        ProofError: a hash is not 32 bytes long.
    """
    return Frontier().appended(leaf_hashes).root


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed of a tree to append to it: its size and the roots of its largest complete subtrees.

    Immutable, and `appended` returns a new one. The writer keeps the old frontier until its transaction has committed:
    if the commit fails, it drops the new one and nothing has happened. A frontier changed in place would go on
    counting leaves that were never stored, and the next checkpoint would sign a tree that nobody can rebuild.

    Attributes:
        size: Number of leaves.
        peaks: Roots of the complete subtrees, from the left; their sizes are the powers of two in `size`, falling.
            transparency-dev/merkle calls this a compact range.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def appended(self, leaf_hashes: Iterable[bytes]) -> "Frontier":
        """The frontier after these leaves too; this one stays as it was.

        Works a level at a time, so that a batch of n leaves costs about n hashes and a few list operations per level.

        Args:
            leaf_hashes: 32 bytes each, in the order of the ledger.

        Raises:
            ProofError: a hash is not 32 bytes long.
        """
        nodes = list(leaf_hashes)
        _require_hashes(nodes)
        size = self.size + len(nodes)
        kept = list(self.peaks)  # from the left, so the smallest subtree is last
        made: list[bytes] = []  # from the right
        below = self.size  # shifted a level per round, so its lowest bit says whether there is a peak of this height
        while nodes:
            if below & 1:
                nodes.insert(0, kept.pop())
            if len(nodes) & 1:
                made.append(nodes.pop())
            nodes = _parents(nodes)
            below >>= 1
        return Frontier(size, (*kept, *reversed(made)))

    @property
    def root(self) -> bytes:
        """Root of the whole tree: the peaks joined from the right, since the RFC splits at the largest power of two."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def to_bytes(self) -> bytes:
        """Serialise for keeping: the size in 8 bytes, big-endian, then the peaks from the left, 32 bytes each."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, kept: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Only the shape can be checked here. A flipped bit in a peak leaves the shape alone and gives another root, so
        the caller compares `root` with the signed head before the first append.

        Raises:
            LedgerBrokenError: too short, too long, or not the number of peaks that the size calls for.
        """
        size, peaks = int.from_bytes(kept[:_SIZE_BYTES], "big"), kept[_SIZE_BYTES:]
        if len(kept) != _SIZE_BYTES + HASH_SIZE * size.bit_count():
            raise LedgerBrokenError(f"the kept frontier of the ledger has {len(kept)} bytes, which no tree gives")
        return cls(size, tuple(peaks[at : at + HASH_SIZE] for at in range(0, len(peaks), HASH_SIZE)))


def inclusion_proof(index: int, leaf_hashes: Iterable[bytes]) -> list[bytes]:
    """Prove that the leaf at `index` is in the tree over these leaves: PATH(m, D[n]) of RFC 9162 §2.1.3.1.

    Costs a hash per leaf.

    Args:
        index: Counted from 0.
        leaf_hashes: All leaves of the tree, 32 bytes each.

    Returns:
        The hashes to join, from the leaf up; none for a tree of one leaf.

    Raises:
        ProofError: there is no leaf at `index`, or a hash is not 32 bytes long.
    """
    nodes = list(leaf_hashes)
    _require_hashes(nodes)
    if not 0 <= index < len(nodes):
        raise ProofError(f"no inclusion proof: line {index} of a ledger of {len(nodes)} lines")
    return _siblings(index, nodes)


def consistency_proof(old_size: int, leaf_hashes: Iterable[bytes]) -> list[bytes]:
    """Prove that the tree over these leaves starts with its first `old_size`: PROOF(m, D[n]) of RFC 9162 §2.1.4.1.

    Costs a hash per leaf.

    Args:
        old_size: Number of leaves of the older tree.
        leaf_hashes: All leaves of the newer tree, 32 bytes each.

    Returns:
        The hashes, in the RFC's order; none where both trees are the same.

    Raises:
        ProofError: `old_size` is 0, which has no proof (see `verify_consistency`), or exceeds the newer size; or a hash
            is not 32 bytes long.
    """
    nodes = list(leaf_hashes)
    _require_hashes(nodes)
    new_size = len(nodes)
    if not 0 < old_size <= new_size:
        raise ProofError(f"no consistency proof: from {old_size} to {new_size} lines")
    if old_size == new_size:
        return []
    # The last complete subtree of the old tree is a node of both trees. The path from there to the new root has what
    # is needed for both roots.
    index = old_size - 1
    while index & 1:
        nodes = _level_above(nodes)
        index >>= 1
    path = _siblings(index, nodes)
    # An old tree that is one complete subtree is that node, and the verifier has its hash: the old root.
    return path if _is_power_of_two(old_size) else [nodes[index], *path]


def verify_inclusion(*, index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf is at `index` in the tree of this size and root: the steps of RFC 9162 §2.1.3.2.

    `size` and `root` must come from one checkpoint whose signature was verified. A size that the prover chooses lets it
    move the leaf to another index under the same root.

    Args:
        index: Counted from 0.
        size: Number of leaves.
        leaf_hash: 32 bytes, computed by the caller from the leaf itself.
        proof: 32 bytes each, from the leaf up.
        root: 32 bytes.

    Raises:
        ProofError: the tree is empty or the index past its end; a hash is missing, surplus or not 32 bytes long; or the
            root that comes out is another one.
    """
    _require_hashes((leaf_hash, root, *proof))
    if not 0 <= index < size:  # step 1; nothing is in the empty tree
        raise ProofError(f"line {index} can't be in a ledger of {size} lines")
    _, computed = _climb(index, size - 1, leaf_hash, proof)  # steps 2 to 4
    if computed != root:  # step 5
        raise ProofError(f"the inclusion proof of line {index} gives another root than that of {size} lines")


def verify_consistency(
    *, old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check that the newer tree only appends to the older one: the steps of RFC 9162 §2.1.4.2.

    Equal sizes need equal roots and no proof, as in transparency-dev/merkle (the RFC leaves that case out). An old size
    of 0 is refused, as there: everything is consistent with the empty tree, so a verifier that lost its memory, or was
    talked out of it, would accept a rewritten past and report it as proved. Who sees a ledger for the first time
    says so, and asks for no proof (C2SP tlog-witness does the same).

    Args:
        old_size: Number of leaves of the tree known before.
        new_size: Number of leaves of the tree to check.
        proof: 32 bytes each.
        old_root: 32 bytes.
        new_root: 32 bytes.

    Raises:
        ProofError: the older size is 0 or the larger one; a hash is missing, surplus or not 32 bytes long; sizes are
            equal and roots are not; or either root that comes out is another one.
    """
    _require_hashes((old_root, new_root, *proof))
    if not 0 < old_size <= new_size:
        raise ProofError(f"nothing proves a ledger of {new_size} lines consistent with one of {old_size}")
    if old_size == new_size:
        if proof:
            raise ProofError("the consistency proof has surplus hashes")
        if old_root != new_root:
            raise ProofError(f"two different ledgers of {old_size} lines were signed")
        return
    if not proof:  # step 1
        raise ProofError("the consistency proof lacks hashes")
    path = (old_root, *proof) if _is_power_of_two(old_size) else tuple(proof)  # step 2
    fn, sn = old_size - 1, new_size - 1  # step 3
    while fn & 1:  # step 4
        fn, sn = fn >> 1, sn >> 1
    old_computed, new_computed = _climb(fn, sn, path[0], path[1:])  # steps 5 and 6
    if old_computed != old_root:  # step 7
        raise ProofError(f"the consistency proof does not give the old root, of {old_size} lines")
    if new_computed != new_root:
        raise ProofError(f"the consistency proof does not give the new root, of {new_size} lines")


def _climb(fn: int, sn: int, start: bytes, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Join a node with its path: step 4 of RFC 9162 §2.1.3.2, which is step 6 of §2.1.4.2 with both roots kept.

    Args:
        fn: Index of the node on its level.
        sn: Index of the last node on that level.
        start: Hash of the node.
        path: Hashes beside the way up.

    Returns:
        Root of the tree that ends with this node, and root of the whole tree.

    Raises:
        ProofError: the path is longer or shorter than the way up. An ignored surplus would let anyone who passes a
            proof on turn it into another one that also verifies.
    """
    old = new = start
    for sibling in path:
        if sn == 0:
            raise ProofError("the proof has surplus hashes")
        if fn & 1 or fn == sn:  # the sibling is on the left, so in both trees
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while fn and not fn & 1:  # on the right border a node without a sibling moved up with no hash in the path
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofError("the proof lacks hashes")
    return old, new


def _require_hashes(hashes: Iterable[bytes]) -> None:
    wrong = set(map(len, hashes)) - {HASH_SIZE}
    if wrong:
        raise ProofError(f"a hash is {HASH_SIZE} bytes long, not {min(wrong)}")


def _is_power_of_two(size: int) -> bool:
    return size.bit_count() == 1


def _parents(nodes: list[bytes]) -> list[bytes]:
    """Join pairs; `nodes` has an even length. The hash is written out, since a call per node costs a third more."""
    ordered = iter(nodes)
    return [sha256(_NODE + left + right).digest() for left, right in zip(ordered, ordered, strict=True)]


def _level_above(nodes: list[bytes]) -> list[bytes]:
    """Join pairs; a last node without a sibling moves up as it is, which gives the RFC's split at a power of two."""
    if len(nodes) & 1:
        return [*_parents(nodes[:-1]), nodes[-1]]
    return _parents(nodes)


def _siblings(index: int, nodes: list[bytes]) -> list[bytes]:
    """The hashes beside the path from the node at `index` of this level up to the root."""
    path = []
    while len(nodes) > 1:
        sibling = index ^ 1
        if sibling < len(nodes):
            path.append(nodes[sibling])
        nodes = _level_above(nodes)
        index >>= 1
    return path
