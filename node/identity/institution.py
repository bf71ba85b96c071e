"""The institution that audits a country's node: its charter, what is encrypted to it, and what its auditors sign.

Its own offline key is in its country's record in the directory. Neither the node's administrator nor its focal points
can replace it: that takes the country's own root key and the stewards' threshold, and every peer sees it.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from google.protobuf.message import DecodeError

from node.errors import DecryptionError, MalformedError, SignatureError
from node.identity.keys import PUBLIC_BYTES, key_id, public_key, sign, verify_signature
from node.wire.approval_pb2 import FocalSignature
from node.wire.institution_pb2 import (
    ERASURE_GROUND_AUDIT_PERIOD_ENDED,
    ERASURE_GROUND_COURT_ORDER,
    ERASURE_GROUND_DATA_SUBJECT,
    ERASURE_GROUND_UNKNOWN,
    Charter,
    Erasure,
    ErasureGround,
    SignedCharter,
    SignedErasure,
)

CHARTER_TYPE: Final = "application/vnd.enlace.charter.v1+protobuf"
"""DSSE payload type of a charter."""
ERASURE_TYPE: Final = "application/vnd.enlace.erasure.v1+protobuf"
"""DSSE payload type of an erasure."""
READING_TYPE: Final = "application/vnd.enlace.reading.v1+protobuf"
"""DSSE payload type of an auditor's reading."""

SIGNED_GROUNDS: Final = frozenset({ERASURE_GROUND_DATA_SUBJECT, ERASURE_GROUND_COURT_ORDER})
"""Grounds that the node can't check by itself, so that two focal points answer for them."""
SIGNERS: Final = 2
MAX_AUDITORS: Final = 256
MAX_NAME: Final = 32
MAX_REFERENCE: Final = 40
MAX_RANGES: Final = 1_000
_EPOCH_ID_BYTES: Final = 16

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


# --- charters --------------------------------------------------------------------------------------------------------


def sign_charter(charter: Charter, private_key: bytes) -> SignedCharter:
    """Return a charter signed with the institution's own offline key (32 bytes).

    Raises:
        MalformedError: a value is missing or out of bounds.
    """
    data = charter.SerializeToString()
    parse_charter(data)
    return SignedCharter(charter=data, signature=sign(private_key, CHARTER_TYPE, data))


def parse_charter(data: bytes) -> Charter:
    """Return the charter in the bytes, signed or not.

    Raises:
        MalformedError: it is no message of the contract, or lacks its number, time, keys or auditors' names.
    """
    try:
        charter = Charter.FromString(data)
    except DecodeError as error:
        raise MalformedError("the charter is not a message of the contract") from error
    if not (charter.country and charter.number and charter.time_us):
        raise MalformedError("the charter does not name a country, a number and a time")
    keys = [charter.encryption_key, charter.readings_key, *(auditor.public_key for auditor in charter.auditors)]
    if any(len(key) != PUBLIC_BYTES for key in keys):
        raise MalformedError(f"a key in the charter is not {PUBLIC_BYTES} bytes")
    names = [auditor.name for auditor in charter.auditors]
    if len(names) > MAX_AUDITORS or len(set(names)) < len(names):
        raise MalformedError(f"the charter names an auditor twice, or more than {MAX_AUDITORS}")
    if not all(0 < len(name.encode()) <= MAX_NAME and name.isprintable() for name in names):
        raise MalformedError("an auditor has no proper name")
    return charter


def verified_charter(signed_charter: bytes, country: str, root_key: bytes) -> Charter:
    """Return the charter that an institution has signed for its country.

    Args:
        signed_charter: SignedCharter, as it came.
        country: ISO 3166-1 alpha-2.
        root_key: The institution's own, from the country's record in the directory; 32 bytes.

    Raises:
        MalformedError: it is no message of the contract, says too little, or is of another country.
        SignatureError: that institution has not signed it.
    """
    try:
        signed = SignedCharter.FromString(signed_charter)
    except DecodeError as error:
        raise MalformedError("the charter is not a message of the contract") from error
    verify_signature(root_key, CHARTER_TYPE, signed.charter, signed.signature)
    charter = parse_charter(signed.charter)
    if charter.country != country:
        raise MalformedError(f"the charter is of {charter.country}, not of {country}")
    return charter


def auditors_of(charter: Charter) -> Mapping[str, bytes]:
    """Return the public keys (32 bytes) of the institution's auditors, by name."""
    return {auditor.name: auditor.public_key for auditor in charter.auditors}


# --- encryption ------------------------------------------------------------------------------------------------------


def seal_to(encryption_key: bytes, info: bytes, data: bytes) -> bytes:
    """Encrypt to an institution: HPKE (RFC 9180) in base mode, one message, as institution.proto says.

    Args:
        encryption_key: X25519, 32 bytes.
        info: What it is for; whoever opens it must say the same.
        data: In the clear.

    Returns:
        32 bytes of encapsulated key, then the ciphertext with its tag of 16.
    """
    return _SUITE.encrypt(data, X25519PublicKey.from_public_bytes(encryption_key), info=info)


def open_sealed(private_keys: Iterable[bytes], info: bytes, sealed: bytes) -> bytes:
    """Decrypt what `seal_to` made, with whichever of an institution's private keys (32 bytes) fits.

    Raises:
        DecryptionError: none does, it was altered, or was sealed for something else.
    """
    for private in private_keys:
        try:
            return _SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(private), info=info)
        except (InvalidTag, ValueError):
            continue
    raise DecryptionError("what is sealed for the institution opens with none of its keys")


# --- erasures --------------------------------------------------------------------------------------------------------


def parse_erasure(data: bytes) -> Erasure:
    """Return the erasure in the bytes, signed or not.

    Raises:
        MalformedError: it is no message of the contract, or names no node, ground, time or proper ranges of lines.
    """
    try:
        erasure = Erasure.FromString(data)
    except DecodeError as error:
        raise MalformedError("the erasure is not a message of the contract") from error
    known = erasure.ground in ErasureGround.values() and erasure.ground != ERASURE_GROUND_UNKNOWN
    if not (erasure.node and known and erasure.time_us):
        raise MalformedError("the erasure does not name a node, a ground and a time")
    if not 0 < len(erasure.lines) <= MAX_RANGES:
        raise MalformedError(f"an erasure names 1 to {MAX_RANGES:,} ranges of lines")
    end = -1
    for each in erasure.lines:
        if not end < each.first <= each.last:
            raise MalformedError("the ranges of an erasure are not apart, or not in order")
        end = each.last
    if (len(erasure.epoch_id) == _EPOCH_ID_BYTES) != (erasure.ground == ERASURE_GROUND_AUDIT_PERIOD_ENDED):
        raise MalformedError("copies for the institution are erased by their key, and nothing else is")
    if len(erasure.reference.encode()) > MAX_REFERENCE or not erasure.reference.isprintable():
        raise MalformedError(f"a reference has up to {MAX_REFERENCE} bytes")
    if erasure.ground in SIGNED_GROUNDS and not erasure.reference.strip():
        raise MalformedError("an erasure on this ground names the request or order")
    return erasure


def sign_erasure(signed: SignedErasure, private_key: bytes) -> SignedErasure:
    """Return the erasure with one more focal point's signature; `private_key` is 32 bytes."""
    own = key_id(public_key(private_key))
    kept = [signature for signature in signed.signatures if signature.key_id != own]
    added = FocalSignature(key_id=own, signature=sign(private_key, ERASURE_TYPE, signed.erasure))
    return SignedErasure(erasure=signed.erasure, signatures=[*kept, added])


def verified_erasure(signed_erasure: bytes, focal_keys: Iterable[bytes]) -> Erasure:
    """Return an erasure, signed by two focal points where its ground calls for it.

    Raises:
        MalformedError: as `parse_erasure`.
        SignatureError: too few focal points have signed it, or a signature is false.
    """
    try:
        signed = SignedErasure.FromString(signed_erasure)
    except DecodeError as error:
        raise MalformedError("the erasure is not a message of the contract") from error
    erasure = parse_erasure(signed.erasure)
    known, found = {key_id(key): key for key in focal_keys}, set()
    for signature in signed.signatures[:MAX_AUDITORS]:
        key = known.get(signature.key_id)
        if key is not None:
            verify_signature(key, ERASURE_TYPE, signed.erasure, signature.signature)
            found.add(key)
    if erasure.ground in SIGNED_GROUNDS and len(found) < SIGNERS:
        raise SignatureError(f"an erasure on this ground is signed by {SIGNERS} focal points, not by {len(found)}")
    return erasure


def erasure_sha256(signed_erasure: bytes) -> bytes:
    """Return the SHA-256 by which a ledger line names an erasure, of the bytes that were signed."""
    return sha256(SignedErasure.FromString(signed_erasure).erasure).digest()
