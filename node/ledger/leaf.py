"""Lines of the ledger: building and checking the bytes of proto/node/wire/ledger.proto.

A leaf commits to its private part by a salted hash. Without the 32 random bytes of salt the commitment tells nothing,
so erasing an opening erases what it opened, while the tree stays whole.
"""

from hashlib import sha256
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from node.errors import LedgerBrokenError, LedgerError, ProofError
from node.wire.ledger_pb2 import LEAF_KIND_FENCED, Decisions, Leaf, LeafPrivate, LeafShared, Opening

FORMAT: Final = 1
PRIVATE_SIZE: Final = 512
"""Bytes of a padded private part, and the block that decisions are padded to."""
SALT_SIZE: Final = 32

_LENGTH_BYTES: Final = 4
_HASH_SIZE: Final = 32
_EXCHANGE_ID_SIZE: Final = 16
_KEY_ID_SIZE: Final = 8
_SIGNATURE_SIZE: Final = 64
_COUNTRY_SIZE: Final = 2
# Separates this hash from every other of the contract, so that no other message can be passed off as a private part.
_DOMAIN: Final = b"enlace/v1/leaf-private\x00"
_LIMITS: Final = (("officer", 32), ("unit", 64), ("instrument", 48), ("case_reference", 64), ("reason", 64))


def pad(message: bytes) -> bytes:
    """Precede a message by its length (4 bytes, big-endian) and follow it by zeros, to a multiple of 512 bytes."""
    size = _LENGTH_BYTES + len(message)
    return len(message).to_bytes(_LENGTH_BYTES, "big") + message + bytes(-size % PRIVATE_SIZE)


def unpad(padded: bytes) -> bytes:
    """Return what `pad` was given.

    Raises:
        LedgerBrokenError: `pad` would have made other bytes; with those, something could hide behind a message that its
            readers believe they have seen whole.
    """
    length = int.from_bytes(padded[:_LENGTH_BYTES], "big")
    message = padded[_LENGTH_BYTES : _LENGTH_BYTES + length]
    if pad(message) != padded:
        raise LedgerBrokenError("a part of an opening is not padded as the format wants")
    return message


def private_bytes(private: LeafPrivate) -> bytes:
    """Serialise a private part to exactly 512 bytes.

    Raises:
        LedgerError: a field exceeds the limit in ledger.proto, or the whole does not fit. Nothing is ever cut off: two
            officers with a long prefix in common would become one.
    """
    for name, limit in _LIMITS:
        value: str = getattr(private, name)
        # A character takes at most four bytes, so short texts need no encoding to be measured.
        if len(value) * 4 > limit and len(value.encode()) > limit:
            raise LedgerError(f"{name} of a ledger line exceeds {limit} bytes")
    padded = pad(private.SerializeToString())
    if len(padded) != PRIVATE_SIZE:
        raise LedgerError(f"the private part of a ledger line exceeds {PRIVATE_SIZE - _LENGTH_BYTES} bytes")
    return padded


def private_commitment(salt: bytes, private: bytes) -> bytes:
    """Commit to a padded private part: SHA-256 as `Leaf.private_sha256` in ledger.proto.

    Args:
        salt: 32 random bytes, never used twice.
        private: 512 bytes of `private_bytes`.

    Raises:
        LedgerError: a wrong length. Salt and message are joined with no mark between them.
    """
    if len(salt) != SALT_SIZE or len(private) != PRIVATE_SIZE:
        raise LedgerError("a commitment needs 32 bytes of salt and 512 bytes of private part")
    return sha256(_DOMAIN + salt + private).digest()


def build_opening(salt: bytes, private: LeafPrivate, decisions: Decisions | None = None) -> tuple[bytes, bytes]:
    """Build what opens a leaf, and the commitment that goes into it.

    Args:
        salt: 32 random bytes.
        private: Its `decisions_sha256` is filled in here.
        decisions: With a random salt of their own; None where nothing was decided per entry.

    Returns:
        Serialised Opening, and the 32-byte commitment.

    Raises:
        LedgerError: as `private_bytes` and `private_commitment`.
    """
    decided = b""
    if decisions is not None:
        decided = pad(decisions.SerializeToString())
        private.decisions_sha256 = sha256(decided).digest()
    elif private.decisions_sha256:
        raise LedgerError("a private part names decisions that its opening lacks")
    padded = private_bytes(private)
    opening = Opening(salt=salt, private=padded, decisions=decided).SerializeToString()
    return opening, private_commitment(salt, padded)


def build_leaf(shared: bytes, logged_us: int, commitment: bytes, states: bytes = b"") -> bytes:
    """Build the bytes that are hashed into the tree.

    Args:
        shared: Serialised LeafShared, the very bytes whose SHA-256 the statement names.
        logged_us: UTC microseconds, this node's clock.
        commitment: 32 bytes of `private_commitment`.
        states: 32 bytes of `node.ledger.states.states_sha256`; empty where nothing was changed with the line.
    """
    return Leaf(
        format=FORMAT, logged_us=logged_us, shared=shared, private_sha256=commitment, states_sha256=states
    ).SerializeToString()


def parse_leaf(data: bytes) -> Leaf:
    """Read the bytes of a leaf.

    Raises:
        LedgerBrokenError: not a leaf of format 1 in the one encoding that `build_leaf` gives: damaged, with unknown or
            repeated fields, or with a field of a wrong length.
    """
    try:
        leaf = Leaf.FromString(data)
    except DecodeError:
        raise LedgerBrokenError("the bytes are not a leaf") from None
    if leaf.format != FORMAT:
        raise LedgerBrokenError(f"a leaf of format {leaf.format}, which this version does not know")
    lengths = len(leaf.private_sha256) == _HASH_SIZE and len(leaf.states_sha256) in (0, _HASH_SIZE)
    if not lengths or not leaf.shared:
        raise LedgerBrokenError("a leaf without its shared part or with a commitment of a wrong length")
    if build_leaf(leaf.shared, leaf.logged_us, leaf.private_sha256, leaf.states_sha256) != data:
        raise LedgerBrokenError("a leaf with fields that the format does not know, or not in its order")
    return leaf


def parse_shared(data: bytes) -> LeafShared:
    """Read the shared part of a leaf.

    Raises:
        LedgerBrokenError: not a shared part: damaged, with unknown fields, or with a field of a wrong length.
    """
    try:
        shared = LeafShared.FromString(data)
    except DecodeError:
        raise LedgerBrokenError("the bytes are not the shared part of a leaf") from None
    counterpart = (
        bool(shared.counterpart_statement),
        len(shared.counterpart_key_id),
        len(shared.counterpart_signature),
    )
    if (
        len(UnknownFieldSet(shared))
        or len(shared.exchange_id) != _EXCHANGE_ID_SIZE
        or len(shared.peer) not in (0, _COUNTRY_SIZE)
        or len(shared.body_sha256) not in (0, _HASH_SIZE)
        or counterpart not in ((False, 0, 0), (True, _KEY_ID_SIZE, _SIGNATURE_SIZE))
        or bool(shared.fence) != (shared.kind == LEAF_KIND_FENCED)
    ):
        raise LedgerBrokenError("the shared part of a leaf has unknown fields or fields of a wrong length")
    return shared


def parse_private(padded: bytes) -> LeafPrivate:
    """Read a padded private part.

    Raises:
        LedgerBrokenError: not 512 bytes, not padded, or not a private part.
    """
    if len(padded) != PRIVATE_SIZE:
        raise LedgerBrokenError(f"a private part of {len(padded)} bytes instead of {PRIVATE_SIZE}")
    try:
        private = LeafPrivate.FromString(unpad(padded))
    except DecodeError:
        raise LedgerBrokenError("the bytes are not the private part of a leaf") from None
    if len(UnknownFieldSet(private)):
        raise LedgerBrokenError("the private part of a leaf has fields that the format does not know")
    return private


def parse_opening(data: bytes) -> Opening:
    """Read the bytes of an opening; whether it opens a leaf is `verify_opening`'s to say.

    Raises:
        LedgerBrokenError: damaged, or with unknown fields.
    """
    try:
        opening = Opening.FromString(data)
    except DecodeError:
        raise LedgerBrokenError("the bytes are not an opening") from None
    if len(UnknownFieldSet(opening)):
        raise LedgerBrokenError("an opening has fields that the format does not know")
    return opening


def verify_opening(leaf: Leaf, opening: Opening) -> None:
    """Check that an opening is the one that a leaf was logged with.

    1. Salt and private part have their lengths, and hash to the leaf's commitment.
    2. The private part is padded and read strictly.
    3. The decisions are those whose hash the private part names.

    Raises:
        ProofError: the opening belongs to another leaf, or was altered.
        LedgerBrokenError: it is the logged one, but was malformed when it was logged.
    """
    if len(opening.salt) != SALT_SIZE or len(opening.private) != PRIVATE_SIZE:
        raise ProofError("the opening has a salt or a private part of a wrong length")
    if private_commitment(opening.salt, opening.private) != leaf.private_sha256:
        raise ProofError("the opening does not fit the commitment in the leaf")
    private = parse_private(opening.private)
    decided = sha256(opening.decisions).digest() if opening.decisions else b""
    if decided != private.decisions_sha256:
        raise ProofError("the decisions are not those that the private part names")
