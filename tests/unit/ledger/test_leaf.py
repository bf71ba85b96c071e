"""Leaves and openings: one encoding, a fixed size, nothing cut off, and every changed byte is seen."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import LedgerBrokenError, LedgerError, ProofError
from node.ledger import leaf
from node.wire.codes_pb2 import PURPOSE_INVESTIGATE, UNIT_TYPE_POLICE_INTELLIGENCE, URGENCY_URGENT
from node.wire.ledger_pb2 import (
    DIRECTION_SENT,
    LEAF_KIND_ANSWERED,
    Decisions,
    EntryDecision,
    Leaf,
    LeafPrivate,
    LeafShared,
    Opening,
)

SALT = bytes(range(32))


def private_part() -> LeafPrivate:
    return LeafPrivate(officer="a41f", unit="FECI", purpose=PURPOSE_INVESTIGATE, reason="released", released=2)


def shared_part() -> bytes:
    return LeafShared(
        kind=LEAF_KIND_ANSWERED,
        direction=DIRECTION_SENT,
        time_us=1_770_000_000_000_000,
        exchange_id=b"e" * 16,
        node="GT/gt-1",
        peer="MX",
        counterpart_statement=b"statement",
        counterpart_key_id=b"k" * 8,
        counterpart_signature=b"s" * 64,
    ).SerializeToString()


def decisions() -> Decisions:
    return Decisions(salt=b"d" * 16, entries=[EntryDecision(entry_id=b"i" * 16, rules=["GT-04"])])


@pytest.mark.parametrize("size", [0, 1, 507, 508, 509, 1019, 1020, 1021])
def test_padding_hides_the_length_and_gives_the_message_back(size: int) -> None:
    padded = leaf.pad(b"x" * size)
    assert len(padded) % 512 == 0
    assert len(padded) - size < 512 + 4
    assert leaf.unpad(padded) == b"x" * size


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        b"\0\0\0",
        bytes(511),
        bytes(1024),  # a block too many
        bytes(511) + b"\1",  # something behind the message
        b"\0\0\0\1" + b"x" + bytes(506) + b"\1",
        b"\0\0\2\0" + bytes(508),  # longer than the block
        b"\xff\xff\xff\xff" + bytes(508),
    ],
)
def test_a_padding_that_was_not_made_here_is_refused(padded: bytes) -> None:
    with pytest.raises(LedgerBrokenError):
        leaf.unpad(padded)


@given(st.binary(max_size=2000))
def test_unpad_accepts_only_what_pad_makes(data: bytes) -> None:
    assert leaf.unpad(leaf.pad(data)) == data
    try:
        message = leaf.unpad(data)
    except LedgerBrokenError:
        return
    assert leaf.pad(message) == data


def test_a_private_part_is_always_512_bytes() -> None:
    longest = LeafPrivate(
        officer="o" * 32,
        unit="u" * 64,
        unit_type=UNIT_TYPE_POLICE_INTELLIGENCE,
        purpose=PURPOSE_INVESTIGATE,
        instrument="i" * 48,
        case_reference="c" * 64,
        urgency=URGENCY_URGENT,
        floor_sha256=b"f" * 32,
        release_sha256=b"r" * 32,
        outbound_sha256=b"o" * 32,
        reason="r" * 64,
        released=200,
        hits=200,
        held=200,
        invisible=200,
        decisions_sha256=b"d" * 32,
        subject=b"s" * 16,
    )
    for private in (LeafPrivate(), private_part(), longest):
        padded = leaf.private_bytes(private)
        assert len(padded) == 512
        assert leaf.parse_private(padded) == private


@pytest.mark.parametrize(
    ("field", "limit"), [("officer", 32), ("unit", 64), ("instrument", 48), ("case_reference", 64), ("reason", 64)]
)
def test_a_text_over_its_limit_is_refused_and_never_cut_off(field: str, limit: int) -> None:
    leaf.private_bytes(LeafPrivate(**{field: "ñ" * (limit // 2)}))  # type: ignore[arg-type]
    with pytest.raises(LedgerError, match=field):
        leaf.private_bytes(LeafPrivate(**{field: "ñ" * (limit // 2) + "x"}))  # type: ignore[arg-type]


def test_a_private_part_that_does_not_fit_is_refused() -> None:
    leaf.private_bytes(LeafPrivate(subject=b"s" * 504))
    with pytest.raises(LedgerError, match="508"):
        leaf.private_bytes(LeafPrivate(subject=b"s" * 505))


def test_the_commitment_is_the_hash_that_the_contract_states() -> None:
    padded = leaf.private_bytes(private_part())
    expected = sha256(b"enlace/v1/leaf-private" + b"\0" + SALT + padded).digest()
    assert leaf.private_commitment(SALT, padded) == expected


@pytest.mark.parametrize(("salt", "private"), [(bytes(31), bytes(512)), (bytes(33), bytes(511)), (bytes(32), b"")])
def test_a_commitment_to_wrong_lengths_is_refused(salt: bytes, private: bytes) -> None:
    with pytest.raises(LedgerError):
        leaf.private_commitment(salt, private)


def test_a_leaf_is_read_back_and_holds_the_shared_bytes_as_they_were() -> None:
    shared = shared_part()
    _, commitment = leaf.build_opening(SALT, private_part())
    parsed = leaf.parse_leaf(leaf.build_leaf(shared, 1_770_000_000_000_001, commitment))
    assert parsed.shared == shared
    assert parsed.logged_us == 1_770_000_000_000_001
    assert leaf.parse_shared(parsed.shared).peer == "MX"


def test_every_changed_byte_of_a_leaf_gives_another_leaf_or_none() -> None:
    _, commitment = leaf.build_opening(SALT, private_part())
    data = leaf.build_leaf(shared_part(), 1_770_000_000_000_001, commitment)
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]
        try:
            parsed = leaf.parse_leaf(changed)
        except LedgerBrokenError:
            continue
        assert leaf.build_leaf(parsed.shared, parsed.logged_us, parsed.private_sha256) == changed


def test_leaves_outside_the_format_are_refused() -> None:
    good = leaf.build_leaf(shared_part(), 1, bytes(32))
    bad = [
        b"",
        b"\xff",
        good[:-1],
        good + b"\x28\x01",  # an unknown field
        good + good,  # repeated fields, of which the last would win
        good[2:] + good[:2],  # another order
        Leaf(format=2, logged_us=1, shared=shared_part(), private_sha256=bytes(32)).SerializeToString(),
        Leaf(format=1, logged_us=1, shared=shared_part(), private_sha256=bytes(31)).SerializeToString(),
        Leaf(format=1, logged_us=1, private_sha256=bytes(32)).SerializeToString(),
    ]
    for data in bad:
        with pytest.raises(LedgerBrokenError):
            leaf.parse_leaf(data)


@pytest.mark.parametrize(
    "shared",
    [
        b"\xff",
        shared_part() + b"\xa8\x06\x01",
        LeafShared(exchange_id=b"e" * 15).SerializeToString(),
        LeafShared(exchange_id=b"e" * 16, peer="MEX").SerializeToString(),
        LeafShared(exchange_id=b"e" * 16, body_sha256=b"short").SerializeToString(),
        LeafShared(exchange_id=b"e" * 16, counterpart_statement=b"unsigned").SerializeToString(),
        LeafShared(exchange_id=b"e" * 16, counterpart_signature=b"s" * 64).SerializeToString(),
    ],
)
def test_shared_parts_outside_the_format_are_refused(shared: bytes) -> None:
    with pytest.raises(LedgerBrokenError):
        leaf.parse_shared(shared)


@pytest.mark.parametrize("decided", [None, decisions()])
def test_an_opening_opens_its_own_leaf(decided: Decisions | None) -> None:
    opening, commitment = leaf.build_opening(SALT, private_part(), decided)
    parsed = leaf.parse_leaf(leaf.build_leaf(shared_part(), 1, commitment))
    leaf.verify_opening(parsed, leaf.parse_opening(opening))


def test_an_opening_changed_anywhere_opens_nothing() -> None:
    data, commitment = leaf.build_opening(SALT, private_part(), decisions())
    parsed = leaf.parse_leaf(leaf.build_leaf(shared_part(), 1, commitment))
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]
        with pytest.raises(LedgerError):
            leaf.verify_opening(parsed, leaf.parse_opening(changed))


def test_an_opening_of_wrong_lengths_opens_nothing() -> None:
    with pytest.raises(ProofError):
        leaf.verify_opening(Leaf(), Opening(salt=SALT, private=bytes(511)))


def test_decisions_can_neither_be_dropped_nor_added() -> None:
    with_them, commitment = leaf.build_opening(SALT, private_part(), decisions())
    parsed = leaf.parse_leaf(leaf.build_leaf(shared_part(), 1, commitment))
    dropped = leaf.parse_opening(with_them)
    dropped.ClearField("decisions")
    with pytest.raises(ProofError):
        leaf.verify_opening(parsed, dropped)

    without, commitment = leaf.build_opening(SALT, private_part())
    parsed = leaf.parse_leaf(leaf.build_leaf(shared_part(), 1, commitment))
    added = leaf.parse_opening(without)
    added.decisions = leaf.pad(decisions().SerializeToString())
    with pytest.raises(ProofError):
        leaf.verify_opening(parsed, added)


def test_a_private_part_can_not_name_decisions_that_are_not_there() -> None:
    private = private_part()
    private.decisions_sha256 = b"d" * 32
    with pytest.raises(LedgerError):
        leaf.build_opening(SALT, private)


@pytest.mark.parametrize("data", [b"\xff", Opening(salt=SALT).SerializeToString() + b"\xa8\x06\x01"])
def test_openings_outside_the_format_are_refused(data: bytes) -> None:
    with pytest.raises(LedgerBrokenError):
        leaf.parse_opening(data)


@pytest.mark.parametrize("padded", [bytes(1024), b"\0\0\0\1\xff" + bytes(507), b"\0\0\0\3\xa8\x06\x01" + bytes(505)])
def test_private_parts_outside_the_format_are_refused(padded: bytes) -> None:
    with pytest.raises(LedgerBrokenError):
        leaf.parse_private(padded)
