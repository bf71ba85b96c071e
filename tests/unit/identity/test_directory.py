"""What a directory must be to be believed; each way of not being so is a case of its own."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import (
    DirectoryError,
    DirectoryExpiredError,
    DirectoryMalformedError,
    DirectoryRollbackError,
    DirectorySignatureError,
    SignatureError,
    UnknownMemberError,
)
from node.identity.directory import DAY_US, DIRECTORY_TYPE, LIFETIME_US, MAX_DIRECTORY_BYTES, TrustedDirectory
from node.identity.keys import key_id, public_key, sign
from node.identity.stewards import ROOT_TYPE
from node.wire.codes_pb2 import Obligation
from node.wire.directory_pb2 import SignedDirectory, SignedRoot, StewardSignature
from tests.directories import (
    FIRST,
    FLOOR,
    HELD,
    NOW_US,
    PINNED,
    ROOT,
    ROTATION,
    altered,
    authority,
    directory,
    key,
    member,
    record,
    resigned,
    rotation,
    signed_by_two,
    unsigned_change,
)
from tests.pki import FEDERATION

# --- accepted ---------------------------------------------------------------------------------------------------------


def test_a_directory_answers_what_its_members_signed() -> None:
    assert HELD.version == 3
    assert HELD.federation == FEDERATION
    assert HELD.signed == FIRST
    assert HELD.floor_rulebook == FLOOR
    assert not HELD.demonstration
    assert HELD.expires_us == NOW_US + LIFETIME_US
    assert [each.country for each in HELD.members()] == ["GT", "MX", "US"]
    assert HELD.member("MX") == record("MX")
    assert HELD.root_key("MX") == public_key(key("MX root"))
    assert [each.public_bytes(Encoding.DER) for each in HELD.roots("MX")] == [authority("MX")]
    assert HELD.accepted("MX") == {Obligation.OBLIGATION_NO_ONWARD, Obligation.OBLIGATION_RETENTION}
    assert HELD.rerooted == frozenset()
    HELD.verify_in_force(NOW_US)


def test_strangers_are_unknown() -> None:
    for look_up in (HELD.member, HELD.root_key, HELD.roots, HELD.accepted):
        with pytest.raises(UnknownMemberError):
            look_up("BR")
    with pytest.raises(UnknownMemberError):
        HELD.signing_key("BR", "br-1", bytes(8), NOW_US)
    assert HELD.instruments_between("GT", "BR", NOW_US) == ()


@pytest.mark.parametrize(
    ("node", "owner", "at_us"),
    [
        pytest.param("gt-1", "GT", NOW_US - DAY_US - 1, id="not yet valid"),
        pytest.param("gt-1", "GT", NOW_US + DAY_US, id="no longer valid"),
        pytest.param("gt-2", "GT", NOW_US, id="another node"),
        pytest.param("gt-1", "MX", NOW_US, id="another country's key"),
    ],
)
def test_a_signing_key_is_of_one_node_and_time(node: str, owner: str, at_us: int) -> None:
    own = public_key(key("GT node"))
    assert HELD.signing_key("GT", "gt-1", key_id(own), NOW_US - DAY_US) == own
    assert HELD.signing_key("GT", "gt-1", key_id(own), NOW_US + DAY_US - 1) == own
    with pytest.raises(SignatureError):
        HELD.signing_key("GT", node, key_id(public_key(key(f"{owner} node"))), at_us)


def test_instruments_join_their_parties_for_their_time() -> None:
    for pair in (("GT", "MX"), ("MX", "GT")):
        assert [each.id for each in HELD.instruments_between(*pair, NOW_US)] == ["UNTOC"]
        assert HELD.instruments_between(*pair, NOW_US + DAY_US) == ()
        assert HELD.instruments_between(*pair, NOW_US - DAY_US - 1) == ()
    assert HELD.instruments_between("GT", "US", NOW_US) == ()
    assert HELD.instruments_between("GT", "GT", NOW_US) == ()


def test_more_signatures_than_needed_and_those_of_strangers_do_no_harm() -> None:
    accepted = PINNED.updated(directory(signers=["zoe", "ana", "bea", "caro"]), NOW_US)
    assert accepted.version == 4


def test_the_same_directory_comes_again_and_changes_nothing() -> None:
    again = HELD.updated(directory(3, signers=["bea", "caro"]), NOW_US)
    assert again.digest == HELD.digest


def test_versions_may_be_missed_but_rise() -> None:
    assert HELD.updated(directory(9), NOW_US).version == 9


def test_a_newer_record_of_a_member_is_taken() -> None:
    newer = altered("MX", lambda r: setattr(r.nodes[0], "endpoint", "elsewhere.example:1"))
    held = HELD.updated(directory(members=[member("GT"), newer]), NOW_US)
    assert held.member("MX").nodes[0].endpoint == "elsewhere.example:1"
    assert held.rerooted == frozenset()
    # And the value that it replaces is as it was.
    assert HELD.member("MX").nodes[0].endpoint == "mx-1.example:7443"


def test_a_changed_root_key_is_taken_and_marked_so_that_the_pairing_lapses() -> None:
    held = HELD.updated(directory(members=[member("GT"), member("MX", 2, root="new root")]), NOW_US)
    assert held.rerooted == {"MX"}
    assert held.root_key("MX") != HELD.root_key("MX")
    # The mark lasts as long as that directory, also when it comes again, and not longer.
    assert held.updated(held.signed, NOW_US).rerooted == {"MX"}
    later = directory(5, members=[member("GT"), member("MX", 2, root="new root")])
    assert held.updated(later, NOW_US).rerooted == frozenset()


def test_roots_rotate_by_old_and_new_threshold() -> None:
    second = directory(root=ROTATION.root, rotations=[ROTATION], signers=["caro", "dora"])
    for before in (PINNED, HELD):
        held = before.updated(second, NOW_US)
        assert held.steward_roots() == (ROOT, ROTATION.root)
    # A node founded later pins the newer root and passes over what came before.
    assert TrustedDirectory.pinned(ROTATION.root).updated(second, NOW_US).version == 4
    third = rotation(3, ["dora", "eva"], ["caro", "dora", "eva"])
    chain = directory(root=third.root, rotations=[ROTATION, third], signers=["dora", "eva"])
    for root in (ROOT, ROTATION.root, third.root):
        assert TrustedDirectory.pinned(root).updated(chain, NOW_US).version == 4


def test_a_restart_restores_what_was_known_though_it_expired() -> None:
    second = directory(4, members=[member("GT"), member("MX", 7)])
    third = directory(5, members=[member("GT")], instruments=[])
    restored = TrustedDirectory.restored(ROOT, [FIRST, second, third])
    assert restored.version == 5
    with pytest.raises(DirectoryExpiredError):
        restored.verify_in_force(NOW_US + LIFETIME_US)
    with pytest.raises(DirectoryRollbackError):
        restored.updated(second, NOW_US)
    # A country that left and comes back can't come back as it was before its last word.
    with pytest.raises(DirectoryRollbackError):
        restored.updated(directory(6, members=[member("GT"), member("MX", 6)]), NOW_US)


def test_nothing_is_in_force_before_the_first_directory() -> None:
    with pytest.raises(DirectoryError, match="import one"):
        PINNED.verify_in_force(NOW_US)
    assert PINNED.members() == ()


# --- refused: frame, signatures, time ---------------------------------------------------------------------------------


def duplicated(data: bytes) -> bytes:
    """Return a directory that one steward signed, with the signature in it twice."""
    signed = SignedDirectory.FromString(data)
    signed.signatures.append(signed.signatures[0])
    return signed.SerializeToString()


def forged(data: bytes) -> bytes:
    """Return the directory with a stranger's signature under the key id of a steward."""
    signed = SignedDirectory.FromString(data)
    fake = sign(key("zoe"), DIRECTORY_TYPE, signed.directory)
    signed.signatures.append(StewardSignature(key_id=key_id(public_key(key("caro"))), signature=fake))
    return signed.SerializeToString()


def of_another_type(data: bytes) -> bytes:
    """Return the directory with signatures that stewards made over the same bytes as a root."""
    signed = SignedDirectory.FromString(data)
    signatures = [
        StewardSignature(key_id=key_id(public_key(key(name))), signature=sign(key(name), ROOT_TYPE, signed.directory))
        for name in ("ana", "bea")
    ]
    return SignedDirectory(directory=signed.directory, signatures=signatures).SerializeToString()


REFUSED = {
    "expired": (directory(issued_us=NOW_US - LIFETIME_US), DirectoryExpiredError, "has expired"),
    "not yet valid": (directory(issued_us=NOW_US + 1), DirectoryExpiredError, "not valid yet"),
    "rolled back": (directory(2), DirectoryRollbackError, "older than 3"),
    "same version, other bytes": (directory(3, floor=b"other"), DirectoryRollbackError, "two directories"),
    "under-signed": (directory(signers=["ana"]), DirectorySignatureError, "signed by 1 "),
    "unsigned": (directory(signers=[]), DirectorySignatureError, "signed by 0 "),
    "one steward twice": (duplicated(directory(signers=["ana"])), DirectorySignatureError, "signed by 1 "),
    "unknown steward": (directory(signers=["ana", "zoe"]), DirectorySignatureError, "signed by 1 "),
    "false signature": (forged(directory()), DirectorySignatureError, "of caro does not verify"),
    "signed as another kind": (of_another_type(directory()), DirectorySignatureError, "does not verify"),
    "altered byte": (directory(floor=b"AAAA").replace(b"AAAA", b"AAAB"), DirectorySignatureError, "does not verify"),
    "lives too long": (directory(lifetime_us=LIFETIME_US + 1), DirectoryMalformedError, "90 days"),
    "ends before it begins": (
        resigned(FIRST, lambda d: setattr(d, "expires_us", 1)),
        DirectoryMalformedError,
        "ends before",
    ),
    "no version": (directory(0), DirectoryMalformedError, "no version"),
    "the last version there is": (directory((1 << 64) - 1), DirectoryMalformedError, "too large"),
    "another federation": (
        resigned(FIRST, lambda d: setattr(d, "federation", "x.example")),
        DirectoryMalformedError,
        "not of enlace.example",
    ),
    "another root's": (resigned(FIRST, lambda d: setattr(d, "root_version", 2)), DirectoryMalformedError, "newest"),
    "turned into a demonstration": (directory(demonstration=True), DirectoryMalformedError, "demonstration"),
    "oversized": (bytes(MAX_DIRECTORY_BYTES + 1), DirectoryMalformedError, "larger"),
    "oversized floor": (directory(floor=bytes(140_000)), DirectoryMalformedError, "floor is larger"),
    "too many signatures": (
        SignedDirectory(signatures=[StewardSignature()] * 65).SerializeToString(),
        DirectoryMalformedError,
        "more than 64 signatures",
    ),
    "too many signatures on a root": (
        SignedDirectory(roots=[SignedRoot(signatures=[StewardSignature()] * 65)]).SerializeToString(),
        DirectoryMalformedError,
        "more than 64 signatures",
    ),
    "malformed": (b"\xff\xff", DirectoryMalformedError, "not a message"),
    "malformed within": (
        signed_by_two(SignedDirectory(directory=b"\xff")),
        DirectoryMalformedError,
        "not a message",
    ),
    "empty": (b"", DirectorySignatureError, "signed by 0 "),
}


@pytest.mark.parametrize(("data", "error", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_directory_is_refused(data: bytes, error: type[DirectoryError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        HELD.updated(data, NOW_US)


# --- every byte counts ------------------------------------------------------------------------------------------------

WHOLE = directory(root=ROTATION.root, rotations=[ROTATION], signers=["caro", "dora"])


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, len(WHOLE) - 1), flip=st.integers(1, 255))
def test_any_altered_byte_is_refused(place: int, flip: int) -> None:
    data = bytearray(WHOLE)
    data[place] ^= flip
    with pytest.raises(DirectoryError):
        PINNED.updated(bytes(data), NOW_US)


@given(st.binary(max_size=300))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DirectoryError):
        HELD.updated(data, NOW_US)


def test_a_draft_is_judged_before_anybody_signs_it() -> None:
    HELD.verify_draft(directory(signers=[]), NOW_US)
    with pytest.raises(DirectoryRollbackError):
        HELD.verify_draft(directory(2, floor=b"other", signers=[]), NOW_US)
    with pytest.raises(DirectorySignatureError):
        HELD.verify_draft(directory(members=[unsigned_change()], instruments=[], signers=[]), NOW_US)
