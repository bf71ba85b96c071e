"""The values in docs/wire.md, computed from the guide's words alone and then with the node's own code.

Two computations that share nothing but the guide: were it wrong, another country's implementation would be too.
"""

import hashlib
import re
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node.federation.envelope import SIZE_CLASSES, STATEMENT_TYPE, padded
from node.identity.keys import key_id, public_key, sign, verify_signature
from node.ledger.leaf import build_leaf, private_bytes, private_commitment
from node.ledger.rfc6962 import leaf_hash, node_hash
from node.wire.envelope_pb2 import Statement
from node.wire.exchange_pb2 import Body
from node.wire.ledger_pb2 import LeafPrivate

GUIDE = Path(__file__).resolve().parents[3].joinpath("docs/wire.md").read_text("utf-8")
VALUES = {
    name.strip(): bytes.fromhex(value)
    for name, value in re.findall(r"^(\S[\w() ]*?)\s{2,}([0-9a-f]{16,})$", GUIDE, re.MULTILINE)
}
SEED = bytes(range(32))
NEW_YEAR_US = 1_767_225_600_000_000


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def field(number: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2, len(data)]) + data


def fixed64(number: int, value: int) -> bytes:
    return bytes([number << 3 | 1]) + struct.pack("<Q", value)


def by_the_words() -> dict[str, bytes]:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    public = key.public_key().public_bytes_raw()
    exchange = field(3, bytes(range(16)))
    statement = b"\x08\x01\x10\x01" + exchange + field(4, "GT") + field(5, "MX") + field(6, "gt-1")
    statement += fixed64(7, NEW_YEAR_US) + field(8, sha256(b"body")) + field(9, sha256(b"leaf")) + fixed64(10, 1)
    kind = b"application/vnd.enlace.statement.v1+protobuf"
    encoded = b" ".join([b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(statement), statement])
    message = field(1, "officer-1")
    private = (struct.pack(">I", len(message)) + message).ljust(512, b"\0")
    commitment = sha256(b"enlace/v1/leaf-private" + b"\0" + bytes(32) + private)
    shared = b"\x08\x01\x10\x01" + fixed64(3, NEW_YEAR_US) + field(4, bytes(range(16))) + field(5, "GT/gt-1")
    shared += field(6, "MX") + field(7, sha256(b"body"))
    leaf = b"\x08\x01" + fixed64(2, NEW_YEAR_US) + field(3, shared) + field(4, commitment)
    first = sha256(b"\x00" + leaf)
    return {
        "public key": public,
        "key id": sha256(b"enlace ed25519 key id v1\n" + public)[:8],
        "statement": statement,
        "H(PAE)": sha256(encoded),
        "signature": key.sign(encoded),
        "private_sha256": commitment,
        "shared part": shared,
        "leaf": leaf,
        "leaf hash": first,
        "root of two": sha256(b"\x01" + first + sha256(b"\x00")),
    }


def test_the_values_follow_from_the_words() -> None:
    assert by_the_words() == VALUES


def test_the_node_signs_and_hashes_as_the_guide_says() -> None:
    statement = VALUES["statement"]
    parsed = Statement.FromString(statement)
    assert (parsed.sender, parsed.recipient, parsed.node, parsed.time_us) == ("GT", "MX", "gt-1", NEW_YEAR_US)
    assert public_key(SEED) == VALUES["public key"]
    assert key_id(VALUES["public key"]) == VALUES["key id"]
    assert sign(SEED, STATEMENT_TYPE, statement) == VALUES["signature"]
    verify_signature(VALUES["public key"], STATEMENT_TYPE, statement, VALUES["signature"])
    commitment = private_commitment(bytes(32), private_bytes(LeafPrivate(officer="officer-1")))
    assert commitment == VALUES["private_sha256"]
    assert build_leaf(VALUES["shared part"], NEW_YEAR_US, commitment) == VALUES["leaf"]
    assert node_hash(leaf_hash(VALUES["leaf"]), leaf_hash(b"")) == VALUES["root of two"]


def test_the_guide_names_the_size_classes() -> None:
    assert all(f"{size:,}" in GUIDE for size in SIZE_CLASSES)


@pytest.mark.parametrize("content", [0, 1, 900, 980, 1_015, 1_016, 1_017, 3_960, 16_300, 65_480, 65_500, 70_000])
def test_a_body_has_the_size_of_its_class_or_a_byte_less(content: int) -> None:
    body = Body(salt=bytes(32))
    body.query.urgency_reason = "x" * content
    size = len(padded(body))
    goal = next((c for c in SIZE_CLASSES if size <= c), -(-size // SIZE_CLASSES[-1]) * SIZE_CLASSES[-1])
    assert size in (goal - 1, goal)
