"""What a focal point signs to declare an emergency towards a peer, and what another one signs who reviews it.

Who runs the database can store either; nobody can without a focal point's key make one that counts.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from google.protobuf.message import DecodeError

from node.errors import MalformedError, SignatureError
from node.identity.keys import key_id, public_key, sign, verify_signature
from node.wire.approval_pb2 import FocalSignature
from node.wire.safeguard_pb2 import Emergency, EmergencyReview, SignedEmergency, SignedEmergencyReview

EMERGENCY_TYPE: Final = "application/vnd.enlace.emergency.v1+protobuf"
"""DSSE payload type of a declaration."""

REVIEW_TYPE: Final = "application/vnd.enlace.emergency-review.v1+protobuf"
"""DSSE payload type of a review."""

HOUR_US: Final = 3_600_000_000
LONGEST_US: Final = 24 * HOUR_US
"""No emergency lasts longer; another needs another declaration."""

REVIEW_WITHIN_US: Final = 24 * HOUR_US
"""How soon another focal point reviews it, from when it was declared."""

MAX_REASON: Final = 40
"""Bytes of a reason; with what was done and the peer, it fits a ledger line."""

SHA256_BYTES: Final = 32


def sign_emergency(emergency: Emergency, private_key: bytes) -> SignedEmergency:
    """Return a declaration signed with a focal point's private key (32 bytes).

    Raises:
        MalformedError: a value is missing or out of bounds.
    """
    data = emergency.SerializeToString()
    parse_emergency(data)
    return SignedEmergency(emergency=data, signature=_signed(private_key, EMERGENCY_TYPE, data))


def parse_emergency(data: bytes) -> Emergency:
    """Return the declaration in the bytes, signed or not.

    Raises:
        MalformedError: it is no message of the contract, or names no two countries, time or reason, or lasts too long.
    """
    try:
        emergency = Emergency.FromString(data)
    except DecodeError as error:
        raise MalformedError("the emergency is not a message of the contract") from error
    if not (emergency.country and emergency.peer and emergency.country != emergency.peer and emergency.time_us):
        raise MalformedError("the emergency does not name two countries and a time")
    if not 0 < emergency.until_us - emergency.time_us <= LONGEST_US:
        raise MalformedError(f"an emergency lasts {LONGEST_US // HOUR_US} hours at most")
    _verify_reason(emergency.reason)
    return emergency


def emergency_signer(signed_emergency: bytes, focal_keys: Iterable[bytes]) -> tuple[Emergency, bytes]:
    """Return a declaration, and the public key (32 bytes) of the focal point who signed it.

    Raises:
        MalformedError: it is no message of the contract, or says too little.
        SignatureError: none of the focal points signed it.
    """
    try:
        signed = SignedEmergency.FromString(signed_emergency)
    except DecodeError as error:
        raise MalformedError("the emergency is not a message of the contract") from error
    key = _signer(signed.signature, focal_keys, EMERGENCY_TYPE, signed.emergency)
    return parse_emergency(signed.emergency), key


def emergency_sha256(signed_emergency: bytes) -> bytes:
    """Return the SHA-256 by which a declaration is known, of the bytes that were signed."""
    return hashlib.sha256(SignedEmergency.FromString(signed_emergency).emergency).digest()


def sign_review(review: EmergencyReview, private_key: bytes) -> SignedEmergencyReview:
    """Return a review signed with a focal point's private key (32 bytes).

    Raises:
        MalformedError: a value is missing or out of bounds.
    """
    data = review.SerializeToString()
    parse_review(data)
    return SignedEmergencyReview(review=data, signature=_signed(private_key, REVIEW_TYPE, data))


def parse_review(data: bytes) -> EmergencyReview:
    """Return the review in the bytes, signed or not.

    Raises:
        MalformedError: it is no message of the contract, or names no emergency, time or reason.
    """
    try:
        review = EmergencyReview.FromString(data)
    except DecodeError as error:
        raise MalformedError("the review is not a message of the contract") from error
    if len(review.emergency_sha256) != SHA256_BYTES or not review.time_us:
        raise MalformedError("the review does not name an emergency and a time")
    _verify_reason(review.reason)
    return review


def review_signer(signed_review: bytes, focal_keys: Iterable[bytes]) -> tuple[EmergencyReview, bytes]:
    """Return a review, and the public key (32 bytes) of the focal point who signed it.

    Raises:
        MalformedError: it is no message of the contract, or says too little.
        SignatureError: none of the focal points signed it.
    """
    try:
        signed = SignedEmergencyReview.FromString(signed_review)
    except DecodeError as error:
        raise MalformedError("the review is not a message of the contract") from error
    key = _signer(signed.signature, focal_keys, REVIEW_TYPE, signed.review)
    return parse_review(signed.review), key


def _verify_reason(reason: str) -> None:
    if not reason.strip() or len(reason.encode()) > MAX_REASON:
        raise MalformedError(f"a reason has up to {MAX_REASON} bytes")


def _signed(private_key: bytes, payload_type: str, data: bytes) -> FocalSignature:
    return FocalSignature(key_id=key_id(public_key(private_key)), signature=sign(private_key, payload_type, data))


def _signer(signature: FocalSignature, focal_keys: Iterable[bytes], payload_type: str, data: bytes) -> bytes:
    for key in focal_keys:
        if key_id(key) == signature.key_id:
            verify_signature(key, payload_type, data, signature.signature)
            return key
    raise SignatureError("none of this country's focal points has signed it")
