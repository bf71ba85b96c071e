import pytest

from node.errors import MalformedError, SignatureError
from node.identity.approvals import PAIRING_TYPE
from node.identity.emergencies import (
    HOUR_US,
    emergency_sha256,
    emergency_signer,
    parse_emergency,
    parse_review,
    review_signer,
    sign_emergency,
    sign_review,
)
from node.identity.keys import key_id, public_key, sign
from node.wire.approval_pb2 import FocalSignature
from node.wire.safeguard_pb2 import Emergency, EmergencyReview, SignedEmergency, SignedEmergencyReview

ONE, TWO, STRANGER = (bytes([n]) * 32 for n in (1, 2, 3))
KEYS = [public_key(ONE), public_key(TWO)]
NOW_US = 1_795_000_000_000_000


def emergency(**changes: object) -> Emergency:
    told: dict[str, object] = {
        "country": "MX",
        "peer": "GT",
        "time_us": NOW_US,
        "until_us": NOW_US + 24 * HOUR_US,
        "reason": "Invented: a child was taken.",
    }
    return Emergency(**{**told, **changes})  # type: ignore[arg-type]


def review(**changes: object) -> EmergencyReview:
    told: dict[str, object] = {"emergency_sha256": bytes(32), "time_us": NOW_US, "upheld": True, "reason": "Right."}
    return EmergencyReview(**{**told, **changes})  # type: ignore[arg-type]


def test_who_signed_is_known() -> None:
    signed = sign_emergency(emergency(), TWO).SerializeToString()
    assert emergency_signer(signed, KEYS) == (emergency(), public_key(TWO))
    reviewed = sign_review(review(emergency_sha256=emergency_sha256(signed)), ONE).SerializeToString()
    assert review_signer(reviewed, KEYS) == (review(emergency_sha256=emergency_sha256(signed)), public_key(ONE))


@pytest.mark.parametrize(
    "wrong",
    [
        {"country": ""},
        {"peer": ""},
        {"peer": "MX"},
        {"time_us": 0, "until_us": HOUR_US},
        {"until_us": NOW_US},
        {"until_us": NOW_US + 24 * HOUR_US + 1},
        {"reason": " "},
        {"reason": "é" * 21},
    ],
    ids=str,
)
def test_an_emergency_that_says_too_little_or_too_much_is_none(wrong: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        sign_emergency(emergency(**wrong), ONE)
    data = emergency(**wrong).SerializeToString()
    signature = FocalSignature(
        key_id=key_id(KEYS[0]), signature=sign(ONE, "application/vnd.enlace.emergency.v1+protobuf", data)
    )
    with pytest.raises(MalformedError):
        emergency_signer(SignedEmergency(emergency=data, signature=signature).SerializeToString(), KEYS)


@pytest.mark.parametrize(
    "wrong", [{"emergency_sha256": b"x"}, {"time_us": 0}, {"reason": ""}, {"reason": "x" * 41}], ids=str
)
def test_a_review_that_says_too_little_is_none(wrong: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        sign_review(review(**wrong), ONE)


def test_what_nobody_signed_is_nothing() -> None:
    with pytest.raises(SignatureError):
        emergency_signer(sign_emergency(emergency(), STRANGER).SerializeToString(), KEYS)
    with pytest.raises(SignatureError):
        emergency_signer(SignedEmergency(emergency=emergency().SerializeToString()).SerializeToString(), KEYS)
    with pytest.raises(SignatureError):
        review_signer(sign_review(review(), STRANGER).SerializeToString(), KEYS)


def test_what_was_signed_can_not_be_changed() -> None:
    signed = sign_emergency(emergency(), ONE)
    signed.emergency = emergency(peer="US").SerializeToString()
    with pytest.raises(SignatureError):
        emergency_signer(signed.SerializeToString(), KEYS)
    reviewed = sign_review(review(upheld=False), ONE)
    reviewed.review = review().SerializeToString()
    with pytest.raises(SignatureError):
        review_signer(reviewed.SerializeToString(), KEYS)


def test_what_was_signed_for_something_else_is_no_emergency() -> None:
    data = emergency().SerializeToString()
    signature = FocalSignature(key_id=key_id(KEYS[0]), signature=sign(ONE, PAIRING_TYPE, data))
    with pytest.raises(SignatureError):
        emergency_signer(SignedEmergency(emergency=data, signature=signature).SerializeToString(), KEYS)


@pytest.mark.parametrize("parse", [parse_emergency, parse_review])
def test_what_is_no_message_is_refused(parse: object) -> None:
    with pytest.raises(MalformedError):
        parse(b"\xff")  # type: ignore[operator]
    for signer in (emergency_signer, review_signer):
        with pytest.raises(MalformedError):
            signer(b"\xff", KEYS)
    assert SignedEmergencyReview().review == b""
