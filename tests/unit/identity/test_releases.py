"""An approval is of one message, by focal points alone, and by as many as are asked for."""

import pytest

from node.errors import ApprovalError, MalformedError, SignatureError
from node.identity.keys import generate_private_key, public_key
from node.identity.releases import (
    answer_sha256,
    joined,
    parse_release,
    release_signers,
    sign_release,
    verify_release,
)
from node.wire.approval_pb2 import FocalSignature
from node.wire.deciding_pb2 import ReleaseApproval, SignedRelease
from node.wire.request_pb2 import RequestAnswer
from tests.federation.support import altered

KEYS = {name: generate_private_key() for name in ("ana", "bea", "carla")}
FOCAL = {name: public_key(KEYS[name]) for name in ("ana", "bea")}
ANSWER = RequestAnswer(request_id=bytes(16), words="Invented words.")
RELEASE = ReleaseApproval(
    country="MX", peer="GT", exchange_id=bytes(16), request_id=bytes(16), answer_sha256=answer_sha256(ANSWER), time_us=1
)


def signed(*names: str, release: ReleaseApproval = RELEASE) -> bytes:
    made = SignedRelease(release=release.SerializeToString())
    for name in names:
        made = sign_release(made, KEYS[name])
    return made.SerializeToString()


def test_as_many_focal_points_as_are_asked_for_sign_one_message() -> None:
    verify_release(signed("ana"), ANSWER, 1, FOCAL)
    verify_release(signed("ana", "bea"), ANSWER, 2, FOCAL)
    assert release_signers(signed("ana", "bea", "carla"), FOCAL) == {"ana", "bea"}
    for names, approvals in (((), 1), (("carla",), 1), (("ana",), 2), (("ana", "ana"), 2), (("ana", "carla"), 2)):
        with pytest.raises(ApprovalError, match=f"of {approvals} focal points have approved"):
            verify_release(signed(*names), ANSWER, approvals, FOCAL)


def test_another_message_is_not_what_was_approved() -> None:
    for other in (altered(ANSWER, words="Invented other words."), altered(ANSWER, request_id=bytes([1]) * 16)):
        with pytest.raises(ApprovalError, match="not what was approved"):
            verify_release(signed("ana"), other, 1, FOCAL)


def test_a_false_signature_counts_for_nobody_and_spoils_the_approval() -> None:
    made = SignedRelease.FromString(signed("ana"))
    made.signatures[0].signature = bytes(64)
    with pytest.raises(SignatureError):
        release_signers(made.SerializeToString(), FOCAL)
    with pytest.raises(ApprovalError, match="not valid"):
        verify_release(made.SerializeToString(), ANSWER, 1, FOCAL)


def test_signatures_on_the_same_approval_come_together() -> None:
    together = joined(signed("ana"), signed("bea"))
    assert release_signers(together, FOCAL) == {"ana", "bea"}
    other = signed("bea", release=altered(RELEASE, words="x"))
    assert release_signers(joined(signed("ana"), other), FOCAL) == {"bea"}
    assert len(parse_release(joined(signed("ana"), signed("ana")))[0].signatures) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"country": ""},
        {"peer": "MX"},
        {"time_us": 0},
        {"exchange_id": b"x"},
        {"request_id": b""},
        {"answer_sha256": b"x"},
    ],
)
def test_an_approval_that_says_too_little_is_none(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        parse_release(signed("ana", release=altered(RELEASE, **changes)))


def test_bytes_that_are_no_approval_are_none() -> None:
    for data in (b"\xff", SignedRelease(release=b"\xff").SerializeToString()):
        with pytest.raises(MalformedError):
            parse_release(data)
    crowd = SignedRelease(release=RELEASE.SerializeToString(), signatures=[FocalSignature()] * 100)
    with pytest.raises(MalformedError, match="more than"):
        parse_release(crowd.SerializeToString())
