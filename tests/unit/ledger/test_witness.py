from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import MalformedError
from node.ledger.checkpoint import Checkpoint
from node.ledger.rfc6962 import EMPTY_ROOT, consistency_proof, root_of
from node.ledger.witness import Verdict, is_split, judge, split_digest

HASHES = [sha256(bytes([n])).digest() for n in range(40)]
OTHER = [*HASHES[:5], *(sha256(b"other%d" % n).digest() for n in range(35))]


def at(size: int, hashes: list[bytes] = HASHES, origin: str = "enlace.example/GT/gt-1") -> Checkpoint:
    return Checkpoint(origin, size, root_of(hashes[:size]) if size else EMPTY_ROOT)


def proof(old: int, new: int, hashes: list[bytes] = HASHES) -> list[bytes]:
    return consistency_proof(old, hashes[:new]) if 0 < old <= new else []


@given(st.integers(0, 40), st.integers(0, 40))
def test_what_extends_the_last_seen_is_cosigned_and_nothing_smaller(old: int, new: int) -> None:
    if old <= new:
        assert judge(at(old), at(new), old, proof(old, new)) is Verdict.COSIGN
    else:
        assert judge(at(old), at(new), new, []) is Verdict.STALE
        with pytest.raises(MalformedError):
            judge(at(old), at(new), old, [])


@given(st.integers(6, 40), st.integers(6, 40))
def test_another_history_is_never_cosigned(old: int, new: int) -> None:
    if old > new:
        old, new = new, old
    verdict = judge(at(old), at(new, OTHER), old, proof(old, new, OTHER))
    assert verdict is (Verdict.SPLIT if old == new else Verdict.UNPROVED)


def test_an_old_size_that_is_not_the_one_seen_is_stale_whatever_the_proof() -> None:
    assert judge(at(8), at(12), 5, proof(5, 12)) is Verdict.STALE
    assert judge(at(8), at(12), 0, []) is Verdict.STALE
    assert judge(None, at(12), 5, []) is Verdict.STALE


def test_two_roots_of_one_size_are_told_apart_from_a_stale_submission() -> None:
    assert judge(at(8), at(8, OTHER), 3, proof(3, 8, OTHER)) is Verdict.SPLIT


def test_the_first_is_cosigned_without_a_proof() -> None:
    assert judge(None, at(12), 0, []) is Verdict.COSIGN
    with pytest.raises(MalformedError):
        judge(None, at(12), 0, [bytes(32)])


@pytest.mark.parametrize("wrong", [[bytes(31)], [bytes(33)], [b""], [bytes(32)] * 64])
def test_a_proof_that_no_tree_gives_is_malformed(wrong: list[bytes]) -> None:
    with pytest.raises(MalformedError):
        judge(at(3), at(8), 3, wrong)


@pytest.mark.parametrize("wrong", [[], [bytes(32)], [*proof(3, 8), bytes(32)], proof(3, 8)[:-1], proof(3, 8)[::-1]])
def test_a_wrong_proof_does_not_link(wrong: list[bytes]) -> None:
    assert judge(at(3), at(8), 3, wrong) is Verdict.UNPROVED


def test_two_histories_have_one_name_in_whatever_order() -> None:
    assert is_split(at(8), at(8, OTHER))
    assert not is_split(at(8), at(8))
    assert not is_split(at(8), at(9))
    assert not is_split(at(8), at(8, OTHER, "enlace.example/MX/mx-1"))
    assert split_digest(at(8), at(8, OTHER)) == split_digest(at(8, OTHER), at(8))
    assert split_digest(at(8), at(8, OTHER)) != split_digest(at(8), at(9, OTHER))
