"""Charters, encryption to an institution, and erasures; HPKE against a vector of its authors."""

import pytest
from cryptography.hazmat.bindings._rust import openssl as rust_openssl
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from node.errors import DecryptionError, MalformedError, SignatureError
from node.identity import institution
from node.identity.institution import (
    erasure_sha256,
    open_sealed,
    parse_charter,
    parse_erasure,
    seal_to,
    sign_charter,
    sign_erasure,
    verified_charter,
    verified_erasure,
)
from node.identity.keys import generate_private_key, public_key
from node.wire.institution_pb2 import (
    ERASURE_GROUND_AUDIT_PERIOD_ENDED,
    ERASURE_GROUND_COURT_ORDER,
    ERASURE_GROUND_RETENTION_ENDED,
    Charter,
    Erasure,
    InstitutionAuditor,
    LineRange,
    SignedCharter,
    SignedErasure,
)

# RFC 9180, from the test vectors that its authors publish (base mode, kem_id 0x0020, kdf_id 0x0001, aead_id 0x0002),
# first encryption: recipient's private key, info, encapsulated key, associated data, ciphertext, plaintext.
PRIVATE = "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d"
INFO = "4f6465206f6e2061204772656369616e2055726e"
ENC = "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256"
AAD = "436f756e742d30"
CIPHERTEXT = "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a"
PLAINTEXT = "4265617574792069732074727574682c20747275746820626561757479"

ROOT = generate_private_key()
FOCAL = [generate_private_key() for _ in range(3)]
KEYS = [public_key(key) for key in FOCAL[:2]]


def test_the_suite_is_that_of_the_rfc() -> None:
    opened = rust_openssl.hpke._decrypt_with_aad(
        institution._SUITE,
        bytes.fromhex(ENC + CIPHERTEXT),
        X25519PrivateKey.from_private_bytes(bytes.fromhex(PRIVATE)),
        bytes.fromhex(INFO),
        bytes.fromhex(AAD),
    )
    assert opened == bytes.fromhex(PLAINTEXT)


def test_only_the_key_and_what_it_is_for_open_what_was_sealed() -> None:
    key, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    sealed = seal_to(key.public_key().public_bytes_raw(), b"copies", b"a key")
    assert len(sealed) == 32 + 5 + 16
    private = [other.private_bytes_raw(), key.private_bytes_raw()]
    assert open_sealed(private, b"copies", sealed) == b"a key"
    for keys, info, data in (
        (private[:1], b"copies", sealed),
        (private, b"other", sealed),
        (private, b"copies", sealed[:-1] + b"\0"),
        (private, b"copies", b""),
        ([], b"copies", sealed),
    ):
        with pytest.raises(DecryptionError):
            open_sealed(keys, info, data)


def charter(**changes: object) -> Charter:
    key = public_key(generate_private_key())
    auditors = [InstitutionAuditor(name="one", public_key=key)]
    told = {"country": "GT", "number": 1, "time_us": 1, "encryption_key": key, "readings_key": key}
    return Charter(**{**told, "auditors": auditors, **changes})  # type: ignore[arg-type]


def test_a_charter_is_signed_by_the_institution_for_its_country() -> None:
    made = charter()
    signed = sign_charter(made, ROOT).SerializeToString()
    assert verified_charter(signed, "GT", public_key(ROOT)) == made
    with pytest.raises(MalformedError, match="of GT"):
        verified_charter(signed, "MX", public_key(ROOT))
    with pytest.raises(SignatureError):
        verified_charter(signed, "GT", KEYS[0])
    altered = SignedCharter.FromString(signed)
    altered.charter = charter().SerializeToString()
    with pytest.raises(SignatureError):
        verified_charter(altered.SerializeToString(), "GT", public_key(ROOT))
    with pytest.raises(MalformedError):
        verified_charter(b"\xff", "GT", public_key(ROOT))


@pytest.mark.parametrize(
    "changes",
    [
        {"country": ""},
        {"number": 0},
        {"time_us": 0},
        {"encryption_key": b"short"},
        {"readings_key": b""},
        {"auditors": [InstitutionAuditor(name="", public_key=bytes(32))]},
        {"auditors": [InstitutionAuditor(name="a\nb", public_key=bytes(32))]},
        {"auditors": [InstitutionAuditor(name="a", public_key=bytes(31))]},
        {"auditors": [InstitutionAuditor(name="a", public_key=bytes(32))] * 2},
    ],
)
def test_a_charter_that_says_too_little_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        parse_charter(charter(**changes).SerializeToString())


def erasure(**changes: object) -> Erasure:
    told = {"node": "GT/gt-1", "ground": ERASURE_GROUND_RETENTION_ENDED, "time_us": 1, "lines": [LineRange(last=3)]}
    return Erasure(**{**told, **changes})  # type: ignore[arg-type]


def signed(made: Erasure, *keys: bytes) -> bytes:
    document = SignedErasure(erasure=made.SerializeToString())
    for key in keys:
        document = sign_erasure(document, key)
    return document.SerializeToString()


def test_an_order_takes_two_focal_points() -> None:
    made = erasure(ground=ERASURE_GROUND_COURT_ORDER, reference="C 1/26")
    assert verified_erasure(signed(made, *FOCAL[:2]), KEYS) == made
    assert erasure_sha256(signed(made)) == erasure_sha256(signed(made, *FOCAL))
    for keys in ((), FOCAL[:1], [FOCAL[0], FOCAL[0]], [FOCAL[0], FOCAL[2]]):
        with pytest.raises(SignatureError, match="2 focal points"):
            verified_erasure(signed(made, *keys), KEYS)
    false = SignedErasure.FromString(signed(made, *FOCAL[:2]))
    false.signatures[1].signature = bytes(64)
    with pytest.raises(SignatureError):
        verified_erasure(false.SerializeToString(), KEYS)
    assert verified_erasure(signed(erasure()), KEYS) == erasure()
    with pytest.raises(MalformedError):
        verified_erasure(b"\xff", KEYS)


@pytest.mark.parametrize(
    "changes",
    [
        {"node": ""},
        {"ground": 0},
        {"ground": 99},
        {"time_us": 0},
        {"lines": []},
        {"lines": [LineRange(first=4, last=3)]},
        {"lines": [LineRange(first=4, last=5), LineRange(first=5, last=6)]},
        {"ground": ERASURE_GROUND_COURT_ORDER},
        {"ground": ERASURE_GROUND_COURT_ORDER, "reference": "C" * 41},
        {"reference": "two\nlines"},
        {"ground": ERASURE_GROUND_AUDIT_PERIOD_ENDED},
        {"epoch_id": bytes(16)},
    ],
)
def test_an_erasure_that_is_not_whole_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        parse_erasure(erasure(**changes).SerializeToString())
