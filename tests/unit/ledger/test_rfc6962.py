"""The tree against known answers, against the definitions of RFC 6962 written out naively, and against forgers."""

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import LedgerBrokenError, ProofError
from node.ledger.rfc6962 import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "ledger" / "rfc6962.json").read_text(encoding="utf-8")
)
KNOWN = [leaf_hash(bytes.fromhex(data)) for data in VECTORS["tree"]["leaves"]]
LARGEST = 20
"""Sizes up to here are tried exhaustively: every shape of border occurs below."""


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(size)]


# --- RFC 6962 §2.1, word for word ------------------------------------------------------------------------------------


def split(size: int) -> int:
    """The largest power of two smaller than the size."""
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def mth(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = split(len(hashes))
    return sha256(b"\x01" + mth(hashes[:k]) + mth(hashes[k:])).digest()


def path(m: int, hashes: Sequence[bytes]) -> list[bytes]:
    if len(hashes) == 1:
        return []
    k = split(len(hashes))
    if m < k:
        return [*path(m, hashes[:k]), mth(hashes[k:])]
    return [*path(m - k, hashes[k:]), mth(hashes[:k])]


def subproof(m: int, hashes: Sequence[bytes], *, known: bool) -> list[bytes]:
    if m == len(hashes):
        return [] if known else [mth(hashes)]
    k = split(len(hashes))
    if m <= k:
        return [*subproof(m, hashes[:k], known=known), mth(hashes[k:])]
    return [*subproof(m - k, hashes[k:], known=False), mth(hashes[:k])]


# --- known answers ---------------------------------------------------------------------------------------------------


def test_hashes_are_the_known_ones() -> None:
    known = VECTORS["hashes"]
    assert EMPTY_ROOT.hex() == known["empty_root"]
    for leaf in known["leaves"]:
        assert leaf_hash(bytes.fromhex(leaf["data"])).hex() == leaf["hash"]
    for node in known["nodes"]:
        assert node_hash(bytes.fromhex(node["left"]), bytes.fromhex(node["right"])).hex() == node["hash"]


@pytest.mark.parametrize(("size", "root"), list(enumerate(VECTORS["tree"]["roots"])))
def test_roots_are_the_known_ones(size: int, root: str) -> None:
    assert root_of(KNOWN[:size]).hex() == root


@pytest.mark.parametrize("case", VECTORS["inclusion"])
def test_inclusion_proofs_are_the_known_ones(case: dict[str, Any]) -> None:
    index, size = case["index"], case["size"]
    proof = [bytes.fromhex(sibling) for sibling in case["proof"]]
    assert inclusion_proof(index, KNOWN[:size]) == proof
    root = bytes.fromhex(VECTORS["tree"]["roots"][size])
    verify_inclusion(index=index, size=size, leaf_hash=KNOWN[index], proof=proof, root=root)


@pytest.mark.parametrize("case", VECTORS["consistency"])
def test_consistency_proofs_are_the_known_ones(case: dict[str, Any]) -> None:
    old_size, new_size = case["old_size"], case["new_size"]
    proof = [bytes.fromhex(sibling) for sibling in case["proof"]]
    assert consistency_proof(old_size, KNOWN[:new_size]) == proof
    old_root, new_root = (bytes.fromhex(VECTORS["tree"]["roots"][size]) for size in (old_size, new_size))
    verify_consistency(old_size=old_size, new_size=new_size, proof=proof, old_root=old_root, new_root=new_root)


def test_proofs_have_the_nodes_that_the_rfc_names() -> None:
    example = VECTORS["rfc"]
    d = leaves(example["size"])
    for case in example["inclusion"]:
        assert inclusion_proof(case["index"], d) == [mth(d[start:end]) for start, end in case["proof"]]
    for case in example["consistency"]:
        assert consistency_proof(case["old_size"], d) == [mth(d[start:end]) for start, end in case["proof"]]


def test_a_node_is_never_a_leaf() -> None:
    left, right = leaves(2)
    assert leaf_hash(left + right) != node_hash(left, right)
    assert node_hash(left, right) != node_hash(right, left)


# --- the definitions -------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.data())
def test_a_tree_in_batches_is_the_tree_of_the_rfc(size: int, data: st.DataObject) -> None:
    d = leaves(size)
    frontier = Frontier()
    while frontier.size < size:
        batch = data.draw(st.integers(0, size - frontier.size), label="batch")
        frontier = frontier.appended(d[frontier.size : frontier.size + batch])
        assert frontier.root == mth(d[: frontier.size])
        assert Frontier.from_bytes(frontier.to_bytes()) == frontier
    assert frontier == Frontier().appended(iter(d))
    assert root_of(d) == mth(d)


@given(st.integers(1, 200), st.data())
def test_every_inclusion_proof_is_that_of_the_rfc_and_verifies(size: int, data: st.DataObject) -> None:
    d = leaves(size)
    index = data.draw(st.integers(0, size - 1), label="index")
    proof = inclusion_proof(index, d)
    assert proof == path(index, d)
    verify_inclusion(index=index, size=size, leaf_hash=d[index], proof=proof, root=mth(d))


@given(st.integers(1, 200), st.data())
def test_every_consistency_proof_is_that_of_the_rfc_and_verifies(new_size: int, data: st.DataObject) -> None:
    d = leaves(new_size)
    old_size = data.draw(st.integers(1, new_size), label="old_size")
    proof = consistency_proof(old_size, d)
    assert proof == subproof(old_size, d, known=True)
    verify_consistency(old_size=old_size, new_size=new_size, proof=proof, old_root=mth(d[:old_size]), new_root=mth(d))


def test_a_ledger_of_seventeen_billion_lines_verifies() -> None:
    """Where the border is long: the left part is one subtree, of which only the root is known."""
    half = leaf_hash(b"2^34 lines, in reality")
    frontier = Frontier(1 << 34, (half,)).appended(leaves(3))
    last, pair = leaves(3)[2], mth(leaves(2))
    verify_inclusion(
        index=frontier.size - 1, size=frontier.size, leaf_hash=last, proof=[pair, half], root=frontier.root
    )
    verify_consistency(
        old_size=1 << 34, new_size=frontier.size, proof=[node_hash(pair, last)], old_root=half, new_root=frontier.root
    )


# --- the frontier ----------------------------------------------------------------------------------------------------


def test_appending_leaves_the_old_frontier_as_it_was() -> None:
    d = leaves(7)
    before = Frontier().appended(d[:5])
    kept = before.to_bytes()
    after = before.appended(d[5:])
    assert (before.size, before.to_bytes(), before.root) == (5, kept, mth(d[:5]))
    assert (after.size, after.root) == (7, mth(d))
    assert before.appended([]) == before


def test_a_hash_of_wrong_length_never_enters_the_tree() -> None:
    good = leaves(2)
    for bad in (b"", good[0][:-1], good[0] + b"\0"):
        with pytest.raises(ProofError, match="32 bytes long"):
            Frontier().appended([*good, bad])
        with pytest.raises(ProofError, match="32 bytes long"):
            root_of([bad])
        with pytest.raises(ProofError, match="32 bytes long"):
            inclusion_proof(0, [*good, bad])
        with pytest.raises(ProofError, match="32 bytes long"):
            consistency_proof(1, [*good, bad])
    joined = good[0] + good[1]
    with pytest.raises(ProofError, match="32 bytes long"):
        root_of([joined[:31], joined[31:]])  # else the root of good[0], good[1] would also be that of these


def test_a_kept_frontier_is_the_size_and_the_peaks() -> None:
    d = leaves(5)
    assert Frontier().to_bytes() == bytes(8)
    assert Frontier().appended(d).to_bytes() == (5).to_bytes(8, "big") + mth(d[:4]) + d[4]


def test_a_damaged_frontier_is_refused() -> None:
    kept = Frontier().appended(leaves(5)).to_bytes()
    for bad in (b"", kept[:7], kept[:-1], kept + b"\0", kept[:-32], kept + bytes(32), b"\0" * 7 + b"\7" + kept[8:]):
        with pytest.raises(LedgerBrokenError):
            Frontier.from_bytes(bad)


# --- refusals: inclusion ---------------------------------------------------------------------------------------------


def test_nothing_is_in_the_empty_tree() -> None:
    for root in (EMPTY_ROOT, leaf_hash(b"")):
        with pytest.raises(ProofError, match="can't be in a ledger of 0 lines"):
            verify_inclusion(index=0, size=0, leaf_hash=leaf_hash(b""), proof=[], root=root)
    with pytest.raises(ProofError, match="no inclusion proof"):
        inclusion_proof(0, [])


@pytest.mark.parametrize(("index", "size"), [(3, 3), (4, 3), (-1, 3), (0, -1), (1 << 64, 3)])
def test_an_index_past_the_size_is_refused(index: int, size: int) -> None:
    d = leaves(3)
    with pytest.raises(ProofError, match="can't be in"):
        verify_inclusion(index=index, size=size, leaf_hash=d[2], proof=[mth(d[:2])], root=mth(d))


@pytest.mark.parametrize("index", [-1, 3])
def test_no_inclusion_proof_is_made_past_the_size(index: int) -> None:
    with pytest.raises(ProofError, match="of a ledger of 3 lines"):
        inclusion_proof(index, leaves(3))


def test_a_single_leaf_is_its_own_root_and_needs_no_proof() -> None:
    (leaf,) = leaves(1)
    verify_inclusion(index=0, size=1, leaf_hash=leaf, proof=[], root=leaf)
    with pytest.raises(ProofError, match="surplus"):
        verify_inclusion(index=0, size=1, leaf_hash=leaf, proof=[leaf], root=leaf)
    with pytest.raises(ProofError, match="another root"):
        verify_inclusion(index=0, size=1, leaf_hash=leaf, proof=[], root=EMPTY_ROOT)


def test_surplus_and_missing_hashes_of_an_inclusion_proof_are_told_apart() -> None:
    d = leaves(6)
    for index in range(6):
        proof = path(index, d)
        with pytest.raises(ProofError, match="surplus"):
            verify_inclusion(index=index, size=6, leaf_hash=d[index], proof=[*proof, mth(d)], root=mth(d))
        with pytest.raises(ProofError, match="lacks"):
            verify_inclusion(index=index, size=6, leaf_hash=d[index], proof=proof[:-1], root=mth(d))


def test_the_top_of_a_proof_does_not_pass_for_the_root() -> None:
    """A proof cut short so that what it gives is truly a node of the tree, shown as the root."""
    d = leaves(8)
    with pytest.raises(ProofError, match="lacks"):
        verify_inclusion(index=1, size=8, leaf_hash=d[1], proof=path(1, d)[:2], root=mth(d[:4]))


def mutations(proof: Sequence[bytes], stranger: bytes) -> Iterator[list[bytes]]:
    """Every proof that differs in one place: altered, shortened, lengthened, repeated, cut or swapped."""
    for at, sibling in enumerate(proof):
        before, after = list(proof[:at]), list(proof[at + 1 :])
        yield [*before, *after]
        yield [*before, stranger, *after]
        yield [*before, stranger, sibling, *after]
        yield [*before, sibling, sibling, *after]
        yield [*before, bytes([sibling[0] ^ 1]) + sibling[1:], *after]
        for wrong in (b"", sibling[:-1], sibling + b"\0"):
            yield [*before, wrong, *after]
            yield [*before, sibling, wrong, *after]
        if after:
            yield [*before, after[0], sibling, *after[1:]]
            # The same 64 bytes, cut at another place: the node above would have the same hash.
            joined = sibling + after[0]
            yield [*before, joined[:31], joined[31:], *after[1:]]
    yield [stranger, *proof]
    yield [*proof, stranger]
    yield [*proof, b""]


def refused(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except ProofError:
        return True
    return False


@pytest.mark.parametrize("size", range(1, LARGEST))
def test_no_altered_inclusion_proof_verifies(size: int) -> None:
    d, root, stranger = leaves(size), mth(leaves(size)), leaf_hash(b"stranger")
    for index in range(size):
        proof = path(index, d)
        for forged in (*mutations(proof, stranger), *mutations(proof, root)):
            if forged != proof:
                assert refused(
                    lambda index=index, forged=forged: verify_inclusion(  # type: ignore[misc]
                        index=index, size=size, leaf_hash=d[index], proof=forged, root=root
                    )
                )
        for other in range(-1, size + 2):
            if other != index:
                with pytest.raises(ProofError):
                    verify_inclusion(index=other, size=size, leaf_hash=d[index], proof=proof, root=root)
        for wrong in (stranger, EMPTY_ROOT, b"", root + b"\0", d[index][:31]):
            with pytest.raises(ProofError):
                verify_inclusion(index=index, size=size, leaf_hash=d[index], proof=proof, root=wrong)
            with pytest.raises(ProofError):
                verify_inclusion(index=index, size=size, leaf_hash=wrong, proof=proof, root=root)


def test_a_leaf_and_its_sibling_are_not_cut_at_another_place() -> None:
    """The forgery that the length check is for: all hashes above come out right."""
    d = leaves(4)
    first, *rest = path(0, d)
    joined = d[0] + first
    for cut in (0, 31, 33, 64):
        with pytest.raises(ProofError, match="32 bytes long"):
            verify_inclusion(index=0, size=4, leaf_hash=joined[:cut], proof=[joined[cut:], *rest], root=mth(d))


# --- refusals: consistency -------------------------------------------------------------------------------------------


def test_from_the_empty_tree_nothing_is_proved() -> None:
    d = leaves(3)
    for new_size, new_root in ((0, EMPTY_ROOT), (3, mth(d))):
        for proof in ([], [new_root]):
            with pytest.raises(ProofError, match="nothing proves"):
                verify_consistency(old_size=0, new_size=new_size, proof=proof, old_root=EMPTY_ROOT, new_root=new_root)
    with pytest.raises(ProofError, match="no consistency proof"):
        consistency_proof(0, d)
    with pytest.raises(ProofError, match="no consistency proof"):
        consistency_proof(0, [])


def test_equal_sizes_need_equal_roots_and_no_proof() -> None:
    d = leaves(3)
    root = mth(d)
    assert consistency_proof(3, d) == []
    verify_consistency(old_size=3, new_size=3, proof=[], old_root=root, new_root=root)
    with pytest.raises(ProofError, match="two different ledgers"):
        verify_consistency(old_size=3, new_size=3, proof=[], old_root=root, new_root=d[0])
    with pytest.raises(ProofError, match="surplus"):
        verify_consistency(old_size=3, new_size=3, proof=[root], old_root=root, new_root=root)


@pytest.mark.parametrize(("old_size", "new_size"), [(4, 3), (1, 0), (-1, 3), (2, -3)])
def test_a_ledger_never_shrinks(old_size: int, new_size: int) -> None:
    d = leaves(4)
    with pytest.raises(ProofError, match="nothing proves"):
        verify_consistency(old_size=old_size, new_size=new_size, proof=[], old_root=mth(d), new_root=mth(d[:3]))


@pytest.mark.parametrize("old_size", [-1, 4])
def test_no_consistency_proof_is_made_past_the_size(old_size: int) -> None:
    with pytest.raises(ProofError, match="no consistency proof"):
        consistency_proof(old_size, leaves(3))


@pytest.mark.parametrize("old_size", range(1, 7))
def test_surplus_and_missing_hashes_of_a_consistency_proof_are_told_apart(old_size: int) -> None:
    d = leaves(7)
    proof = consistency_proof(old_size, d)
    roots = {"old_root": mth(d[:old_size]), "new_root": mth(d)}
    with pytest.raises(ProofError, match="surplus"):
        verify_consistency(old_size=old_size, new_size=7, proof=[*proof, mth(d)], **roots)
    for kept in range(len(proof)):
        with pytest.raises(ProofError, match="lacks"):
            verify_consistency(old_size=old_size, new_size=7, proof=proof[:kept], **roots)


def test_a_rewritten_line_is_told_from_a_wrong_new_root() -> None:
    d = leaves(7)
    rewritten = [*d[:1], leaf_hash(b"rewritten"), *d[2:]]
    proof = consistency_proof(3, rewritten)
    with pytest.raises(ProofError, match="old root, of 3 lines"):
        verify_consistency(old_size=3, new_size=7, proof=proof, old_root=mth(d[:3]), new_root=mth(rewritten))
    with pytest.raises(ProofError, match="new root, of 7 lines"):
        verify_consistency(old_size=3, new_size=7, proof=proof, old_root=mth(rewritten[:3]), new_root=mth(d))


@pytest.mark.parametrize("new_size", range(2, LARGEST))
def test_no_altered_consistency_proof_verifies(new_size: int) -> None:
    d, new_root, stranger = leaves(new_size), mth(leaves(new_size)), leaf_hash(b"stranger")
    for old_size in range(1, new_size):
        old_root, proof = mth(d[:old_size]), consistency_proof(old_size, d)
        for forged in (*mutations(proof, old_root), *mutations(proof, new_root), *mutations(proof, stranger)):
            if forged != proof:
                assert refused(
                    lambda old_size=old_size, old_root=old_root, forged=forged: verify_consistency(  # type: ignore[misc]
                        old_size=old_size, new_size=new_size, proof=forged, old_root=old_root, new_root=new_root
                    )
                )
        for other in range(-1, new_size + 2):
            if other != old_size:
                with pytest.raises(ProofError):
                    verify_consistency(
                        old_size=other, new_size=new_size, proof=proof, old_root=old_root, new_root=new_root
                    )
        for first, second in ((new_root, old_root), (stranger, new_root), (old_root, stranger), (b"", new_root)):
            with pytest.raises(ProofError):
                verify_consistency(old_size=old_size, new_size=new_size, proof=proof, old_root=first, new_root=second)


def test_an_old_root_and_its_neighbour_are_not_cut_at_another_place() -> None:
    d = leaves(4)
    (neighbour,) = consistency_proof(2, d)
    joined = mth(d[:2]) + neighbour
    for cut in (0, 31, 33, 64):
        with pytest.raises(ProofError, match="32 bytes long"):
            verify_consistency(old_size=2, new_size=4, proof=[joined[cut:]], old_root=joined[:cut], new_root=mth(d))


def test_the_size_must_come_from_the_checkpoint() -> None:
    """Why `size` is never taken from the prover: under another size the same hashes prove another index."""
    d = leaves(3)
    proof = inclusion_proof(2, d)
    verify_inclusion(index=2, size=3, leaf_hash=d[2], proof=proof, root=mth(d))
    verify_inclusion(index=1, size=2, leaf_hash=d[2], proof=proof, root=mth(d))
