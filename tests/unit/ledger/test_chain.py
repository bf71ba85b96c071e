"""The chain names exactly the lines that were altered, however they were."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

import pytest

from node.ledger.chain import FIRST_LINK, Chain, link_of

SIZE = 12


@dataclass(frozen=True)
class Kept:
    leaf_hash: bytes
    kept_hash: bytes
    link: bytes


def hashed(text: str) -> bytes:
    return sha256(text.encode()).digest()


def written() -> list[Kept]:
    lines, link = [], FIRST_LINK
    for number in range(SIZE):
        leaf_hash = hashed(f"leaf {number}")
        link = link_of(link, leaf_hash)
        lines.append(Kept(leaf_hash, leaf_hash, link))
    return lines


def found(lines: list[Kept], head: bytes | None = None) -> dict[int, str]:
    chain = Chain()
    for index, line in enumerate(lines):
        chain.follow(index, line.leaf_hash, line.kept_hash, line.link)
    chain.end(len(lines) - 1, written()[-1].link if head is None else head)
    return chain.found


def test_a_whole_chain_is_quiet() -> None:
    assert found(written()) == {}


@pytest.mark.parametrize("at", [0, 1, 5, SIZE - 2, SIZE - 1])
@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda line: replace(line, leaf_hash=hashed("x")), "line {} is damaged"),
        (lambda line: replace(line, kept_hash=hashed("x")), "the hash kept beside line {} is damaged"),
        (lambda line: replace(line, link=hashed("x")), "the link kept beside line {} is damaged"),
        (lambda line: replace(line, leaf_hash=hashed("x"), kept_hash=hashed("x")), "line {} is not the one"),
        (lambda line: replace(line, leaf_hash=hashed("x"), link=hashed("y")), "line {} is not the one"),
        (lambda _: Kept(hashed("x"), hashed("x"), hashed("y")), "line {} is not the one"),
    ],
)
def test_one_altered_line_names_itself_alone(damage: Callable[[Kept], Kept], text: str, at: int) -> None:
    lines = written()
    lines[at] = damage(lines[at])
    result = found(lines)
    assert list(result) == [at]
    assert result[at].startswith(text.format(at))


@pytest.mark.parametrize(("one", "other"), [(2, 3), (2, 4), (2, 9), (0, SIZE - 1), (SIZE - 2, SIZE - 1)])
def test_exchanged_lines_are_both_named(one: int, other: int) -> None:
    lines = written()
    lines[one], lines[other] = lines[other], lines[one]
    named = set(found(lines))
    assert {one, other} <= named
    assert named <= set(range(one, other + 1))


def test_a_line_taken_out_and_the_rest_moved_up_is_named_where_it_was() -> None:
    lines = written()
    del lines[5]
    assert list(found(lines)) == [5]


def test_a_line_put_in_is_named() -> None:
    lines = written()
    lines.insert(5, Kept(hashed("new"), hashed("new"), hashed("link")))
    assert list(found(lines)) == [5]


def test_behind_a_line_that_can_not_be_read_the_chain_starts_anew() -> None:
    lines, chain = written(), Chain()
    lines[8] = replace(lines[8], leaf_hash=hashed("x"))
    for index, line in enumerate(lines):
        if index == 4:
            chain.interrupt()
        else:
            chain.follow(index, line.leaf_hash, line.kept_hash, line.link)
    chain.end(SIZE - 1, lines[-1].link)
    assert list(chain.found) == [8]


def test_a_head_with_another_link_is_seen() -> None:
    assert list(found(written(), hashed("x"))) == [SIZE - 1]


def test_rewriting_all_that_follows_leaves_no_trace_in_the_chain() -> None:
    """Only the root and its witnesses help then; the chain is for finding damage, not for proof."""
    lines, link = written(), written()[3].link
    for index in range(4, SIZE):
        leaf_hash = hashed("forged") if index == 4 else lines[index].leaf_hash
        link = link_of(link, leaf_hash)
        lines[index] = Kept(leaf_hash, leaf_hash, link)
    assert found(lines, link) == {}
