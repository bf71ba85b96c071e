"""What two focal points must have signed before a rulebook counts, and what does not count."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import ApprovalError, MalformedError, SignatureError
from node.identity.approvals import PAIRING_TYPE
from node.identity.keys import key_id, public_key, sign
from node.identity.rulebook_approvals import (
    RULEBOOK_TYPE,
    approval_signers,
    parse_signed_approval,
    parse_signed_removal,
    removal_signers,
    sign_approval,
    sign_removal,
    verify_approved,
)
from node.wire.approval_pb2 import FocalSignature
from node.wire.rulebook_pb2 import RedLineRemoval, RulebookApproval, SignedRedLineRemoval, SignedRulebookApproval

DIGEST = bytes(range(32))


def key(name: str) -> bytes:
    return name.encode().ljust(32, b".")


FOCAL = {name: public_key(key(name)) for name in ("luz", "mar", "sol")}


def approval(**changes: object) -> SignedRulebookApproval:
    said: dict[str, object] = {
        "country": "GT",
        "layer": "release",
        "name": "GT-RELEASE",
        "version": 2,
        "rules_sha256": DIGEST,
        "vocabulary": "sha256:00",
        "floor_sha256": DIGEST,
        "red_lines_sha256": DIGEST,
        "proof_sha256": DIGEST,
        "rehearsal_sha256": DIGEST,
        "author": "paz",
        "time_us": 1,
    }
    return SignedRulebookApproval(approval=RulebookApproval(**{**said, **changes}).SerializeToString())  # type: ignore[arg-type]


def removal(**changes: object) -> SignedRedLineRemoval:
    said: dict[str, object] = {
        "country": "GT",
        "layer": "release",
        "rules_sha256": DIGEST,
        "replaces_sha256": DIGEST,
        "red_lines": ["R1"],
        "author": "paz",
        "time_us": 1,
    }
    return SignedRedLineRemoval(removal=RedLineRemoval(**{**said, **changes}).SerializeToString())  # type: ignore[arg-type]


def signed(document: SignedRulebookApproval, *names: str) -> bytes:
    for name in names:
        document = sign_approval(document, key(name))
    return document.SerializeToString()


def signed_removal(document: SignedRedLineRemoval, *names: str) -> bytes:
    for name in names:
        document = sign_removal(document, key(name))
    return document.SerializeToString()


def test_two_of_three_suffice_whoever_they_are() -> None:
    for names in (("luz", "mar"), ("sol", "luz"), ("luz", "mar", "sol")):
        verify_approved(signed(approval(), *names), b"", FOCAL)
        assert approval_signers(signed(approval(), *names), FOCAL).keys() == set(names)


def test_that_red_lines_go_is_signed_by_two_besides() -> None:
    both = signed(approval(removes_red_lines=True), "luz", "mar")
    verify_approved(both, signed_removal(removal(), "mar", "sol"), FOCAL)
    assert removal_signers(signed_removal(removal(), "mar", "sol"), FOCAL).keys() == {"mar", "sol"}


REFUSED: dict[str, tuple[bytes, bytes, str]] = {
    "nobody": (signed(approval()), b"", "signed by 0 focal points"),
    "one": (signed(approval(), "luz"), b"", "signed by 1 focal point,"),
    "one twice": (signed(approval(), "luz", "luz"), b"", "signed by 1 focal point,"),
    "a stranger beside one": (signed(approval(), "luz", "eve"), b"", "signed by 1 focal point,"),
    "the author beside two": (signed(approval(author="sol"), "luz", "mar", "sol"), b"", "sol is its author"),
    "the author beside one": (signed(approval(author="sol"), "luz", "sol"), b"", "sol is its author"),
    "red lines go, unsigned": (signed(approval(removes_red_lines=True), "luz", "mar"), b"", "approval of its own"),
    "red lines go, by one": (
        signed(approval(removes_red_lines=True), "luz", "mar"),
        signed_removal(removal(), "luz"),
        "removes red lines is signed by 1",
    ),
    "red lines go, by the author": (
        signed(approval(removes_red_lines=True, author="sol"), "luz", "mar"),
        signed_removal(removal(author="sol"), "luz", "sol"),
        "sol is its author",
    ),
    "red lines of another rulebook go": (
        signed(approval(removes_red_lines=True), "luz", "mar"),
        signed_removal(removal(rules_sha256=bytes(32)), "luz", "mar"),
        "of another rulebook",
    ),
    "not a message": (b"\xff" * 9, b"", "not a message of the contract"),
    "removal not a message": (
        signed(approval(removes_red_lines=True), "luz", "mar"),
        b"\xff" * 9,
        "not a message of the contract",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_approved(what: str) -> None:
    document, gone, words = REFUSED[what]
    with pytest.raises(ApprovalError, match=words):
        verify_approved(document, gone, FOCAL)


def test_a_signature_over_other_bytes_or_of_another_type_is_false() -> None:
    document = approval()
    other = sign_approval(approval(version=3), key("mar")).signatures
    pairing = FocalSignature(key_id=key_id(FOCAL["mar"]), signature=sign(key("mar"), PAIRING_TYPE, document.approval))
    for signatures in (other, [pairing]):
        forged = SignedRulebookApproval(approval=document.approval, signatures=signatures).SerializeToString()
        with pytest.raises(SignatureError):
            approval_signers(forged, FOCAL)
        with pytest.raises(ApprovalError, match="not by this key over these bytes"):
            verify_approved(forged, b"", FOCAL)


def test_the_removal_is_signed_as_a_type_of_its_own() -> None:
    document = removal()
    signature = FocalSignature(key_id=key_id(FOCAL["mar"]), signature=sign(key("mar"), RULEBOOK_TYPE, document.removal))
    document.signatures.append(signature)
    with pytest.raises(SignatureError):
        removal_signers(document.SerializeToString(), FOCAL)


MALFORMED: dict[str, Callable[[], object]] = {
    **{
        f"approval without {name}": lambda name=name, none=none: parse_signed_approval(  # type: ignore[misc]
            approval(**{name: none}).SerializeToString()
        )
        for name, none in {
            "country": "",
            "name": "",
            "version": 0,
            "author": "",
            "time_us": 0,
            "vocabulary": "",
            "rules_sha256": b"",
            "red_lines_sha256": b"short",
            "proof_sha256": b"",
            "rehearsal_sha256": bytes(33),
            "layer": "floor",
        }.items()
    },
    **{
        f"removal without {name}": lambda name=name, none=none: parse_signed_removal(  # type: ignore[misc]
            removal(**{name: none}).SerializeToString()
        )
        for name, none in {
            "country": "",
            "layer": "",
            "red_lines": [],
            "author": "",
            "time_us": 0,
            "rules_sha256": b"",
            "replaces_sha256": b"",
        }.items()
    },
    "more signatures than people": lambda: parse_signed_approval(
        SignedRulebookApproval(approval=approval().approval, signatures=[FocalSignature()] * 33).SerializeToString()
    ),
    "more signatures on a removal": lambda: parse_signed_removal(
        SignedRedLineRemoval(removal=removal().removal, signatures=[FocalSignature()] * 33).SerializeToString()
    ),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_lacks_something_is_malformed(what: str) -> None:
    with pytest.raises(MalformedError):
        MALFORMED[what]()


@given(st.binary(max_size=200))
def test_no_bytes_are_approved_by_chance(data: bytes) -> None:
    with pytest.raises(ApprovalError):
        verify_approved(data, data, FOCAL)


@given(st.integers(0, 2**31), st.integers(0, 7))
def test_no_bit_of_what_was_signed_can_be_turned(place: int, bit: int) -> None:
    document = sign_approval(sign_approval(approval(), key("luz")), key("mar"))
    turned = bytearray(document.approval)
    turned[place % len(turned)] ^= 1 << bit
    document.approval = bytes(turned)
    with pytest.raises(ApprovalError):
        verify_approved(document.SerializeToString(), b"", FOCAL)
