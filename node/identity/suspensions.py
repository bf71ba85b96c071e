"""What focal points sign to stop all exchange with a peer at once, and to begin it again.

One of them stops it for a day, two until it is lifted; to lift it takes two. Who runs the database can store either;
nobody can without focal points' keys make one that counts.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.message import DecodeError

from node.errors import MalformedError
from node.identity.approvals import MAX_SIGNATURES, SHA256_BYTES, SIGNERS
from node.identity.keys import key_id, public_key, sign, verify_signature
from node.wire.approval_pb2 import FocalSignature
from node.wire.suspension_pb2 import Lifting, SignedLifting, SignedSuspension, Suspension

SUSPENSION_TYPE: Final = "application/vnd.enlace.suspension.v1+protobuf"
"""DSSE payload type of a suspension."""

LIFTING_TYPE: Final = "application/vnd.enlace.suspension-lifting.v1+protobuf"
"""DSSE payload type of what lifts one."""

ALONE_US: Final = 24 * 3_600_000_000
"""How long a suspension lasts that one focal point signed."""

FOR_GOOD_US: Final = 2**63 - 1
"""The end of one that two signed: it is lifted, or stays."""

MAX_REASON: Final = 40
"""Bytes of a reason; with what was done and the peer, it fits a ledger line."""


def sign_suspension(signed: SignedSuspension, private_key: bytes) -> SignedSuspension:
    """Return the suspension with one more focal point's signature; `private_key` is 32 bytes.

    Raises:
        MalformedError: a value is missing or out of bounds.
    """
    parse_suspension(signed.suspension)
    added = _signature(SUSPENSION_TYPE, signed.suspension, private_key)
    return SignedSuspension(suspension=signed.suspension, signatures=[*_others(signed.signatures, added), added])


def sign_lifting(signed: SignedLifting, private_key: bytes) -> SignedLifting:
    """Return the lifting with one more focal point's signature; `private_key` is 32 bytes.

    Raises:
        MalformedError: a value is missing or out of bounds.
    """
    parse_lifting(signed.lifting)
    added = _signature(LIFTING_TYPE, signed.lifting, private_key)
    return SignedLifting(lifting=signed.lifting, signatures=[*_others(signed.signatures, added), added])


def parse_suspension(data: bytes) -> Suspension:
    """Return the suspension in the bytes.

    Raises:
        MalformedError: it is no message of the contract, or names no two countries, time or reason.
    """
    try:
        said = Suspension.FromString(data)
    except DecodeError as error:
        raise MalformedError("the suspension is not a message of the contract") from error
    if not (said.country and said.peer and said.country != said.peer and said.time_us):
        raise MalformedError("the suspension does not name two countries and a time")
    _verify_reason(said.reason)
    return said


def parse_lifting(data: bytes) -> Lifting:
    """Return the lifting in the bytes.

    Raises:
        MalformedError: it is no message of the contract, or names no suspension, time or reason.
    """
    try:
        said = Lifting.FromString(data)
    except DecodeError as error:
        raise MalformedError("the lifting is not a message of the contract") from error
    if len(said.suspension_sha256) != SHA256_BYTES or not said.time_us:
        raise MalformedError("the lifting does not name a suspension and a time")
    _verify_reason(said.reason)
    return said


def suspension_signers(signed_suspension: bytes, focal: Mapping[str, bytes]) -> tuple[SignedSuspension, frozenset[str]]:
    """Return a suspension, and the names of the focal points who signed it; `focal` is their public keys by name.

    Signatures by keys that are no focal point's are passed over.

    Raises:
        MalformedError: it is no message of the contract, or says too little.
        SignatureError: a signature under a focal point's key id is false.
    """
    try:
        signed = SignedSuspension.FromString(signed_suspension)
    except DecodeError as error:
        raise MalformedError("the suspension is not a message of the contract") from error
    parse_suspension(signed.suspension)
    return signed, _signers(SUSPENSION_TYPE, signed.suspension, signed.signatures, focal)


def lifting_signers(signed_lifting: bytes, focal: Mapping[str, bytes]) -> tuple[SignedLifting, frozenset[str]]:
    """Return a lifting, and the names of the focal points who signed it; else as `suspension_signers`."""
    try:
        signed = SignedLifting.FromString(signed_lifting)
    except DecodeError as error:
        raise MalformedError("the lifting is not a message of the contract") from error
    parse_lifting(signed.lifting)
    return signed, _signers(LIFTING_TYPE, signed.lifting, signed.signatures, focal)


def until_us(suspension: Suspension, signers: frozenset[str]) -> int:
    """Return when a suspension ends of itself (UTC microseconds): at once, unless a focal point signed it."""
    if len(signers) >= SIGNERS:
        return FOR_GOOD_US
    return suspension.time_us + ALONE_US if signers else 0


def is_lifted(suspension: bytes, lifting: Lifting, signers: frozenset[str]) -> bool:
    """Tell whether two focal points lifted this suspension, given as the bytes that were signed."""
    return len(signers) >= SIGNERS and lifting.suspension_sha256 == suspension_sha256(suspension)


def suspension_sha256(suspension: bytes) -> bytes:
    """Return the SHA-256 by which a suspension is known, of the bytes that were signed."""
    return hashlib.sha256(suspension).digest()


def _verify_reason(reason: str) -> None:
    if not reason.strip() or len(reason.encode()) > MAX_REASON:
        raise MalformedError(f"a reason has up to {MAX_REASON} bytes")


def _signature(payload_type: str, payload: bytes, private_key: bytes) -> FocalSignature:
    return FocalSignature(key_id=key_id(public_key(private_key)), signature=sign(private_key, payload_type, payload))


def _others(signatures: Iterable[FocalSignature], added: FocalSignature) -> list[FocalSignature]:
    return [each for each in signatures if each.key_id != added.key_id]


def _signers(
    payload_type: str, payload: bytes, signatures: Iterable[FocalSignature], focal: Mapping[str, bytes]
) -> frozenset[str]:
    named, found = {key_id(key): (name, key) for name, key in focal.items()}, set[str]()
    for each in list(signatures)[:MAX_SIGNATURES]:
        if each.key_id in named:
            name, key = named[each.key_id]
            verify_signature(key, payload_type, payload, each.signature)
            found.add(name)
    return frozenset(found)
