"""What focal points sign of a rulebook: its approval, and, where red lines go, an approval of that alone.

Two sign, neither of them the author. Everything that they have read is in the bytes that they sign, by digest: rules,
vocabulary, floor, red lines, proofs and rehearsal. So none of it can be changed afterwards.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.message import DecodeError

from node.errors import ApprovalError, MalformedError, SignatureError
from node.identity.approvals import MAX_SIGNATURES, SHA256_BYTES, SIGNERS, focal_points_text
from node.identity.keys import key_id, public_key, sign, verify_signature
from node.wire.approval_pb2 import FocalSignature
from node.wire.rulebook_pb2 import RedLineRemoval, RulebookApproval, SignedRedLineRemoval, SignedRulebookApproval

RULEBOOK_TYPE: Final = "application/vnd.enlace.rulebook.v1+protobuf"
"""DSSE payload type of a rulebook's approval."""

REMOVAL_TYPE: Final = "application/vnd.enlace.red-line-removal.v1+protobuf"
"""DSSE payload type of the approval that red lines go."""

OWN_LAYERS: Final = ("release", "outbound")
"""Layers that a country itself approves; stewards sign the floor."""

_DIGESTS: Final = ("rules_sha256", "red_lines_sha256", "proof_sha256", "rehearsal_sha256")


def parse_signed_approval(data: bytes) -> tuple[SignedRulebookApproval, RulebookApproval]:
    """Return an approval as it is signed, and what it says.

    Raises:
        MalformedError: it is no message of the contract, or lacks a value.
    """
    try:
        signed = SignedRulebookApproval.FromString(data)
        approval = RulebookApproval.FromString(signed.approval)
    except DecodeError as error:
        raise MalformedError("the approval is not a message of the contract") from error
    if not (approval.country and approval.name and approval.version and approval.author and approval.time_us):
        raise MalformedError("the approval does not name country, rulebook, version, author and time")
    if approval.layer not in OWN_LAYERS or not approval.vocabulary:
        raise MalformedError("the approval does not name a layer of the country's own, and a vocabulary")
    if any(len(getattr(approval, name)) != SHA256_BYTES for name in _DIGESTS):
        raise MalformedError("the approval does not name rules, red lines, proofs and rehearsal")
    if len(signed.signatures) > MAX_SIGNATURES:
        raise MalformedError(f"the approval has more than {MAX_SIGNATURES} signatures")
    return signed, approval


def parse_signed_removal(data: bytes) -> tuple[SignedRedLineRemoval, RedLineRemoval]:
    """Return the approval that red lines go, as it is signed, and what it says.

    Raises:
        MalformedError: it is no message of the contract, or lacks a value.
    """
    try:
        signed = SignedRedLineRemoval.FromString(data)
        removal = RedLineRemoval.FromString(signed.removal)
    except DecodeError as error:
        raise MalformedError("the removal of red lines is not a message of the contract") from error
    if not (removal.country and removal.layer and removal.red_lines and removal.author and removal.time_us):
        raise MalformedError("the removal does not name country, layer, red lines, author and time")
    if len(removal.rules_sha256) != SHA256_BYTES or len(removal.replaces_sha256) != SHA256_BYTES:
        raise MalformedError("the removal does not name the two rulebooks")
    if len(signed.signatures) > MAX_SIGNATURES:
        raise MalformedError(f"the removal has more than {MAX_SIGNATURES} signatures")
    return signed, removal


def sign_approval(signed: SignedRulebookApproval, private_key: bytes) -> SignedRulebookApproval:
    """Return the approval with one more focal point's signature; `private_key` is 32 bytes."""
    added = _signature(RULEBOOK_TYPE, signed.approval, private_key)
    return SignedRulebookApproval(approval=signed.approval, signatures=[*_others(signed.signatures, added), added])


def sign_removal(signed: SignedRedLineRemoval, private_key: bytes) -> SignedRedLineRemoval:
    """Return the approval that red lines go with one more focal point's signature; `private_key` is 32 bytes."""
    added = _signature(REMOVAL_TYPE, signed.removal, private_key)
    return SignedRedLineRemoval(removal=signed.removal, signatures=[*_others(signed.signatures, added), added])


def approval_signers(signed_approval: bytes, focal: Mapping[str, bytes]) -> dict[str, FocalSignature]:
    """Return the signatures on an approval by focal point; `focal` is every focal point's public key by name.

    Signatures by keys that are no focal point's are passed over; of one key, the last counts.

    Raises:
        MalformedError: it is no message of the contract.
        SignatureError: a signature under a focal point's key id is false.
        ApprovalError: its author signed it.
    """
    signed, approval = parse_signed_approval(signed_approval)
    return _signers(RULEBOOK_TYPE, signed.approval, signed.signatures, approval.author, focal)


def removal_signers(signed_removal: bytes, focal: Mapping[str, bytes]) -> dict[str, FocalSignature]:
    """Return the signatures on the approval that red lines go by focal point; else as `approval_signers`."""
    signed, removal = parse_signed_removal(signed_removal)
    return _signers(REMOVAL_TYPE, signed.removal, signed.signatures, removal.author, focal)


def verify_approved(signed_approval: bytes, signed_removal: bytes, focal: Mapping[str, bytes]) -> None:
    """Check that two focal points signed, neither of them the author, and two also that red lines go, where they do.

    Raises:
        ApprovalError: they did not.
    """
    try:
        _, approval = parse_signed_approval(signed_approval)
        found = approval_signers(signed_approval, focal)
        if len(found) < SIGNERS:
            raise ApprovalError(f"it is signed by {focal_points_text(len(found))}, not by {SIGNERS}")
        if not approval.removes_red_lines:
            return
        if not signed_removal:
            raise ApprovalError("it removes red lines, which is an approval of its own")
        _, removal = parse_signed_removal(signed_removal)
        if (removal.rules_sha256, removal.author) != (approval.rules_sha256, approval.author):
            raise ApprovalError("the removal of red lines is of another rulebook")
        found = removal_signers(signed_removal, focal)
        if len(found) < SIGNERS:
            who = focal_points_text(len(found))
            raise ApprovalError(f"that it removes red lines is signed by {who}, not by {SIGNERS}")
    except (MalformedError, SignatureError) as error:
        raise ApprovalError(f"its approval is not valid: {error}") from error


def _signature(payload_type: str, payload: bytes, private_key: bytes) -> FocalSignature:
    return FocalSignature(key_id=key_id(public_key(private_key)), signature=sign(private_key, payload_type, payload))


def _others(signatures: Iterable[FocalSignature], added: FocalSignature) -> list[FocalSignature]:
    return [each for each in signatures if each.key_id != added.key_id]


def _signers(
    payload_type: str, payload: bytes, signatures: Iterable[FocalSignature], author: str, focal: Mapping[str, bytes]
) -> dict[str, FocalSignature]:
    named = {key_id(key): (name, key) for name, key in focal.items()}
    found: dict[str, FocalSignature] = {}
    for each in signatures:
        if each.key_id not in named:
            continue
        name, key = named[each.key_id]
        verify_signature(key, payload_type, payload, each.signature)
        if name == author:
            raise ApprovalError(f"{name} is its author, and nobody approves what they have proposed")
        found[name] = each
    return found
