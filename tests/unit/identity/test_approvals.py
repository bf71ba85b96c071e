"""Who counts as a focal point, and what two of them must have signed before a country is dealt with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import MalformedError, NotPairedError, SignatureError
from node.identity.approvals import (
    ENROLMENT_TYPE,
    PAIRING_TYPE,
    build_pairing,
    countersign,
    enrolled,
    sign_pairing,
    signers,
    verify_pairing,
)
from node.identity.keys import key_id, public_key, sign
from node.wire.approval_pb2 import FocalEnrolment, FocalSignature, SignedFocalEnrolment, SignedPairing

NOW_US = 1_772_000_000_000_000
ROOT_KEY = public_key(b"r" * 32)
REHEARSAL = bytes(range(32))


def key(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def enrolment(name: str, by: str, owner: str | None = None) -> bytes:
    entry = FocalEnrolment(name=name, public_key=public_key(key(owner or name)), time_us=NOW_US)
    return countersign(entry, key(by)).SerializeToString()


FOUNDERS = [enrolment("luz", by="mar"), enrolment("mar", by="luz")]
FOCAL = enrolled([*FOUNDERS, enrolment("sol", by="mar")])


# --- enrolment --------------------------------------------------------------------------------------------------------


def test_the_first_two_vouch_for_each_other_and_later_ones_are_vouched_for() -> None:
    chain = [*FOUNDERS, enrolment("sol", by="mar"), enrolment("paz", by="sol")]
    assert enrolled(chain) == {name: public_key(key(name)) for name in ("luz", "mar", "sol", "paz")}
    assert enrolled([]) == {}


def claimed(name: str, by: str, signer: str, payload_type: str = ENROLMENT_TYPE) -> bytes:
    """Return an enrolment under the key id of one and with the signature of another."""
    entry = FocalEnrolment(name=name, public_key=public_key(key(name)), time_us=NOW_US).SerializeToString()
    signature = FocalSignature(key_id=key_id(public_key(key(by))), signature=sign(key(signer), payload_type, entry))
    return SignedFocalEnrolment(enrolment=entry, countersignature=signature).SerializeToString()


def bare(**fields: object) -> bytes:
    entry = FocalEnrolment(**{"name": "sol", "public_key": public_key(key("sol")), "time_us": 1, **fields})  # type: ignore[arg-type]
    return countersign(entry, key("mar")).SerializeToString()


CHAINS_REFUSED: dict[str, tuple[list[bytes], type[Exception]]] = {
    "one alone": (FOUNDERS[:1], SignatureError),
    "one who vouches for herself": ([enrolment("luz", by="luz"), FOUNDERS[1]], SignatureError),
    "a founder whom the other does not vouch for": ([FOUNDERS[0], enrolment("mar", by="zoe")], SignatureError),
    "two invented by an administrator": (
        [*FOUNDERS, enrolment("eva", by="ada"), enrolment("ada", by="eva")],
        SignatureError,
    ),
    "a later one who vouches for herself": ([*FOUNDERS, enrolment("sol", by="sol")], SignatureError),
    "vouched for by one who comes later": (
        [*FOUNDERS, enrolment("sol", by="paz"), enrolment("paz", by="mar")],
        SignatureError,
    ),
    "a false signature": ([*FOUNDERS, claimed("sol", by="mar", signer="zoe")], SignatureError),
    "signed as something else": (
        [*FOUNDERS, claimed("sol", by="mar", signer="mar", payload_type=PAIRING_TYPE)],
        SignatureError,
    ),
    "no signature": (
        [
            *FOUNDERS,
            SignedFocalEnrolment(
                enrolment=FocalEnrolment(name="a", public_key=ROOT_KEY, time_us=1).SerializeToString()
            ).SerializeToString(),
        ],
        SignatureError,
    ),
    "a name twice": ([*FOUNDERS, enrolment("luz", by="mar", owner="sol")], MalformedError),
    "a key twice": ([*FOUNDERS, enrolment("sol", by="mar", owner="luz")], MalformedError),
    "two founders who are one": (
        [enrolment("luz", by="luz"), enrolment("mar", by="luz", owner="luz")],
        MalformedError,
    ),
    "no name": ([*FOUNDERS, bare(name="")], MalformedError),
    "a name that moves the cursor": ([*FOUNDERS, bare(name="sol\x1b[2K")], MalformedError),
    "a short key": ([*FOUNDERS, bare(public_key=b"short")], MalformedError),
    "no time": ([*FOUNDERS, bare(time_us=0)], MalformedError),
    "malformed": ([*FOUNDERS, b"\xff"], MalformedError),
    "malformed within": (
        [*FOUNDERS, SignedFocalEnrolment(enrolment=b"\xff").SerializeToString()],
        MalformedError,
    ),
}


@pytest.mark.parametrize(("chain", "error"), CHAINS_REFUSED.values(), ids=CHAINS_REFUSED.keys())
def test_an_enrolment_is_refused(chain: list[bytes], error: type[Exception]) -> None:
    with pytest.raises(error):
        enrolled(chain)


# --- pairing ----------------------------------------------------------------------------------------------------------


def pairing(*names: str, country: str = "GT", peer: str = "MX", root_key: bytes = ROOT_KEY) -> SignedPairing:
    signed = build_pairing(
        country=country, peer=peer, peer_root_key=root_key, time_us=NOW_US, rehearsal_sha256=REHEARSAL
    )
    for name in names:
        signed = sign_pairing(signed, key(name))
    return signed


def verify(data: bytes) -> None:
    verify_pairing(data, "GT", "MX", ROOT_KEY, FOCAL.values())


@pytest.mark.parametrize("names", [("luz", "mar"), ("sol", "luz"), ("luz", "mar", "sol"), ("zoe", "luz", "mar")])
def test_two_focal_points_pair_with_a_peer(names: tuple[str, ...]) -> None:
    verify(pairing(*names).SerializeToString())


def test_signing_twice_counts_once() -> None:
    signed = pairing("luz", "luz")
    assert len(signed.signatures) == 1
    assert signers(signed.SerializeToString(), FOCAL.values()) == {FOCAL["luz"]}


def duplicated() -> SignedPairing:
    signed = pairing("luz")
    signed.signatures.append(signed.signatures[0])
    return signed


def forged() -> SignedPairing:
    signed = pairing("luz")
    fake = sign(key("zoe"), PAIRING_TYPE, signed.pairing)
    signed.signatures.append(FocalSignature(key_id=key_id(FOCAL["mar"]), signature=fake))
    return signed


def of_another_type() -> SignedPairing:
    signed = pairing()
    for name in ("luz", "mar"):
        fake = sign(key(name), ENROLMENT_TYPE, signed.pairing)
        signed.signatures.append(FocalSignature(key_id=key_id(FOCAL[name]), signature=fake))
    return signed


def signed_bytes(data: bytes) -> SignedPairing:
    return sign_pairing(sign_pairing(SignedPairing(pairing=data), key("luz")), key("mar"))


PAIRINGS_REFUSED: dict[str, tuple[bytes, str]] = {
    "unsigned": (pairing().SerializeToString(), "signed by 0 "),
    "one focal point": (pairing("luz").SerializeToString(), "signed by 1 "),
    "one focal point twice": (duplicated().SerializeToString(), "signed by 1 "),
    "one and a stranger": (pairing("luz", "zoe").SerializeToString(), "signed by 1 "),
    "a false signature": (forged().SerializeToString(), "not by this key"),
    "signed as something else": (of_another_type().SerializeToString(), "not by this key"),
    "for another country": (pairing("luz", "mar", peer="US").SerializeToString(), "between GT and US"),
    "by another country": (pairing("luz", "mar", country="MX", peer="GT").SerializeToString(), "between MX and GT"),
    "for another root key": (
        pairing("luz", "mar", root_key=public_key(b"q" * 32)).SerializeToString(),
        "another root key",
    ),
    "without anything": (signed_bytes(b"").SerializeToString(), "does not name two countries"),
    "too many signatures": (SignedPairing(signatures=[FocalSignature()] * 33).SerializeToString(), "more than 32"),
    "malformed": (b"\xff", "not a message"),
    "malformed within": (signed_bytes(b"\xff").SerializeToString(), "not a message"),
    "empty": (b"", "does not name two countries"),
}


@pytest.mark.parametrize(("data", "reason"), PAIRINGS_REFUSED.values(), ids=PAIRINGS_REFUSED.keys())
def test_a_pairing_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(NotPairedError, match=reason):
        verify(data)


@pytest.mark.parametrize(
    "changes",
    [{"country": ""}, {"peer": ""}, {"peer": "GT"}, {"time_us": 0}, {"peer_root_key": b""}, {"rehearsal_sha256": b""}],
    ids=str,
)
def test_nobody_signs_a_pairing_that_leaves_something_open(changes: dict[str, object]) -> None:
    values: dict[str, object] = {
        "country": "GT",
        "peer": "MX",
        "peer_root_key": ROOT_KEY,
        "time_us": NOW_US,
        "rehearsal_sha256": REHEARSAL,
    }
    with pytest.raises(MalformedError):
        build_pairing(**{**values, **changes})  # type: ignore[arg-type]


WHOLE = pairing("luz", "mar").SerializeToString()


@given(place=st.integers(0, len(WHOLE) - 1), flip=st.integers(1, 255))
def test_any_altered_byte_of_a_pairing_is_refused(place: int, flip: int) -> None:
    data = bytearray(WHOLE)
    data[place] ^= flip
    with pytest.raises(NotPairedError):
        verify(bytes(data))
