"""What a focal point signs to let something leave: what was chosen, and the digest of the very message that it makes.

Whoever runs the node can queue a message; nobody can without a focal point's key make one that a focal point has read.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from google.protobuf.message import DecodeError

from node.errors import ApprovalError, MalformedError, SignatureError
from node.identity.approvals import MAX_SIGNATURES, SHA256_BYTES
from node.identity.keys import key_id, public_key, sign, verify_signature
from node.wire.approval_pb2 import FocalSignature
from node.wire.deciding_pb2 import ReleaseApproval, SignedRelease
from node.wire.request_pb2 import RequestAnswer

RELEASE_TYPE: Final = "application/vnd.enlace.release.v1+protobuf"
"""DSSE payload type of an approval that something leaves."""

_ID_BYTES: Final = 16


def answer_bytes(answer: RequestAnswer) -> bytes:
    """Return an answer as it leaves; equal answers are equal bytes."""
    return answer.SerializeToString(deterministic=True)


def answer_sha256(answer: RequestAnswer) -> bytes:
    """Return the digest of an answer as it leaves, which focal points sign."""
    return hashlib.sha256(answer_bytes(answer)).digest()


def parse_release(signed_release: bytes) -> tuple[SignedRelease, ReleaseApproval]:
    """Return an approval as it is signed, and what it says.

    Raises:
        MalformedError: it is no message of the contract, or lacks a value.
    """
    try:
        signed = SignedRelease.FromString(signed_release)
        release = ReleaseApproval.FromString(signed.release)
    except DecodeError as error:
        raise MalformedError("the approval is not a message of the contract") from error
    if not (release.country and release.peer and release.country != release.peer and release.time_us):
        raise MalformedError("the approval does not name two countries and a time")
    if (len(release.exchange_id), len(release.request_id)) != (_ID_BYTES, _ID_BYTES):
        raise MalformedError("the approval does not name a request")
    if len(release.answer_sha256) != SHA256_BYTES:
        raise MalformedError("the approval does not name the message that leaves")
    if len(signed.signatures) > MAX_SIGNATURES:
        raise MalformedError(f"the approval has more than {MAX_SIGNATURES} signatures")
    return signed, release


def sign_release(signed: SignedRelease, private_key: bytes) -> SignedRelease:
    """Return the approval with one more focal point's signature; `private_key` is 32 bytes."""
    own = key_id(public_key(private_key))
    kept = [signature for signature in signed.signatures if signature.key_id != own]
    added = FocalSignature(key_id=own, signature=sign(private_key, RELEASE_TYPE, signed.release))
    return SignedRelease(release=signed.release, signatures=[*kept, added])


def joined(held: bytes, brought: bytes) -> bytes:
    """Put the signatures on the same approval together; another approval stands alone."""
    new = parse_release(brought)[0]
    old = SignedRelease.FromString(held)
    if old.release == new.release:
        known = {each.key_id for each in new.signatures}
        new.signatures.extend(each for each in old.signatures if each.key_id not in known)
    return new.SerializeToString()


def release_signers(signed_release: bytes, focal: Mapping[str, bytes]) -> frozenset[str]:
    """Return the names of the focal points who signed; `focal` is every focal point's public key by name.

    Signatures by keys that are no focal point's are passed over.

    Raises:
        MalformedError: it is no message of the contract.
        SignatureError: a signature under a focal point's key id is false.
    """
    signed, _ = parse_release(signed_release)
    named = {key_id(key): (name, key) for name, key in focal.items()}
    found = set()
    for each in signed.signatures:
        if each.key_id in named:
            name, key = named[each.key_id]
            verify_signature(key, RELEASE_TYPE, signed.release, each.signature)
            found.add(name)
    return frozenset(found)


def verify_release(signed_release: bytes, answer: RequestAnswer, approvals: int, focal: Mapping[str, bytes]) -> None:
    """Check that as many focal points as the rules ask for have signed this very answer.

    Raises:
        ApprovalError: they have not, or what they have signed is another message.
    """
    try:
        _, release = parse_release(signed_release)
        names = release_signers(signed_release, focal)
    except (MalformedError, SignatureError) as error:
        raise ApprovalError(f"the approval is not valid: {error}") from error
    if release.answer_sha256 != answer_sha256(answer) or release.request_id != answer.request_id:
        raise ApprovalError("what would leave is not what was approved")
    if len(names) < approvals:
        raise ApprovalError(f"{len(names)} of {approvals} focal points have approved it")
