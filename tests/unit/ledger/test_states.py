"""What lines say of rows against what is there: the four ways in which they differ."""

import pytest

from node.errors import LedgerBrokenError
from node.ledger.leaf import build_leaf, parse_leaf
from node.ledger.states import (
    Difference,
    Fault,
    State,
    StateDigest,
    Told,
    bind,
    build_states,
    compare,
    key_of,
    parse_key,
    parse_states,
    states_sha256,
)

ONE, OTHER = b"\x01" * 32, b"\x02" * 32
SALT = b"s" * 16


@pytest.mark.parametrize(
    ("told", "found", "faults"),
    [
        ([], [], []),
        ([Told("a", b"1", ONE, 4)], [State("a", b"1", ONE)], []),
        ([Told("a", b"1", ONE, 4)], [State("a", b"1", OTHER)], [Difference(Fault.ALTERED, "a", b"1", 4)]),
        ([Told("a", b"1", ONE, 4)], [], [Difference(Fault.MISSING, "a", b"1", 4)]),
        ([], [State("a", b"1", ONE)], [Difference(Fault.UNTOLD, "a", b"1", -1)]),
        ([Told("a", b"1", ONE, 4), Told("a", b"1", b"", 5)], [], []),
        (
            [Told("a", b"1", ONE, 4), Told("a", b"1", b"", 5)],
            [State("a", b"1", ONE)],
            [Difference(Fault.RETURNED, "a", b"1", 5)],
        ),
        ([Told("a", b"1", ONE, 4), Told("a", b"1", OTHER, 5)], [State("a", b"1", OTHER)], []),
        (
            [Told("a", b"1", ONE, 4), Told("b", b"1", ONE, 4), Told("b", b"3", ONE, 6)],
            [State("a", b"2", ONE), State("b", b"3", ONE), State("c", b"1", ONE)],
            [
                Difference(Fault.MISSING, "a", b"1", 4),
                Difference(Fault.UNTOLD, "a", b"2", -1),
                Difference(Fault.MISSING, "b", b"1", 4),
                Difference(Fault.UNTOLD, "c", b"1", -1),
            ],
        ),
    ],
)
def test_what_differs_is_found(told: list[Told], found: list[State], faults: list[Difference]) -> None:
    assert list(compare(told, found)) == faults


def test_a_digest_is_of_names_and_values_and_not_of_their_order() -> None:
    digest = StateDigest("t", ["a", "b"]).of([[1, "x"], [2, None]])
    assert digest == StateDigest("t", ["b", "a"]).of([[None, 2], ["x", True]])
    assert digest == StateDigest("t", ["a", "b", "new"]).of([[1, "x", None], [2, None, None]])
    others = [
        StateDigest("u", ["a", "b"]).of([[1, "x"], [2, None]]),
        StateDigest("t", ["a", "b"]).of([[1, b"x"], [2, None]]),
        StateDigest("t", ["a", "b"]).of([[1, "x"]]),
        StateDigest("t", ["a", "b"]).of([["x", 1], [2, None]]),
    ]
    assert len({digest, *others}) == 5
    assert StateDigest("t", ["a"]).of([]) == b""


def test_a_leaf_names_the_list_beside_it() -> None:
    states = [State("t", key_of([b"id", "GT"]), ONE), State("s", key_of([7]), b"")]
    data = build_states(SALT, states)
    assert sorted(parse_states(data)) == sorted(states)
    leaf = bind(build_leaf(b"shared", 5, OTHER), data)
    assert parse_leaf(leaf).states_sha256 == states_sha256(data)
    assert leaf == build_leaf(b"shared", 5, OTHER, states_sha256(data))
    assert parse_key(states[0].key) == [b"id", "GT"]


@pytest.mark.parametrize(
    "data", [b"", b"garbage", build_states(b"short", []), build_states(SALT, [State("t", b"k", b"x")])]
)
def test_a_damaged_list_is_none(data: bytes) -> None:
    with pytest.raises(LedgerBrokenError):
        parse_states(data)


@pytest.mark.parametrize("key", [b"", b"\xc1", b"\x01"])
def test_a_damaged_key_is_none(key: bytes) -> None:
    with pytest.raises(LedgerBrokenError):
        parse_key(key)
