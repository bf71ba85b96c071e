"""Foreign vectors: DSSE (protocol.md, testvectors/vectors.json of secure-systems-lab/dsse) and RFC 8032 §7.1.

What is refused follows "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020).
"""

import base64
import subprocess
from pathlib import Path

import pytest

from node.errors import SignatureError, UsageError
from node.identity.keys import (
    generate_private_key,
    key_id,
    pae,
    parse_private_key,
    private_key_pem,
    public_key,
    sign,
    verify_signature,
)

TYPE = "application/vnd.enlace.statement.v1+protobuf"
# Order of the base point, RFC 8032 §5.1.
ORDER = 2**252 + 27742317777372353535851937790883648493
# RFC 8032 §7.1, tests 1 and 2: secret, public key.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ),
]


@pytest.mark.parametrize(
    ("payload_type", "payload", "encoded"),
    [
        (
            "http://example.com/HelloWorld",
            b"hello world",
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world",
        ),
        ("application/x", b"", b"DSSEv1 13 application/x 0 "),
        # Lengths count bytes of UTF-8, not characters.
        ("application/vnd.exämple+json", b"{}", b"DSSEv1 29 application/vnd.ex\xc3\xa4mple+json 2 {}"),
    ],
)
def test_the_encoding_is_that_of_dsse(payload_type: str, payload: bytes, encoded: bytes) -> None:
    assert pae(payload_type, payload) == encoded


@pytest.mark.parametrize(("secret", "public"), RFC_8032)
def test_keys_are_those_of_rfc_8032(secret: str, public: str) -> None:
    assert public_key(bytes.fromhex(secret)).hex() == public


STATEMENT = b'{"_type":"https://in-toto.io/Statement/v1"}'


@pytest.mark.parametrize(
    ("secret", "payload_type", "payload", "signature"),
    [
        (
            RFC_8032[0][0],
            "application/vnd.in-toto+json",
            STATEMENT,
            "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA==",
        ),
        (
            RFC_8032[1][0],
            "application/vnd.in-toto+json",
            STATEMENT,
            "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw==",
        ),
        (
            RFC_8032[0][0],
            "application/vnd.exämple+json",
            STATEMENT,
            "xmSk/ug66ysT7ayhkCIjhAq42zgZXSsEWuzUaNL7w2eGAdF/NU6/fRXPtmfN+5DNSAs5/i2lUnHjbbjPsu0tAw==",
        ),
        (
            RFC_8032[0][0],
            "application/vnd.in-toto+json",
            b"",
            "gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg==",
        ),
    ],
)
def test_signatures_are_those_of_dsse(secret: str, payload_type: str, payload: bytes, signature: str) -> None:
    private, expected = bytes.fromhex(secret), base64.b64decode(signature)
    assert sign(private, payload_type, payload) == expected
    verify_signature(public_key(private), payload_type, payload, expected)


def test_openssl_verifies_what_we_sign(tmp_path: Path) -> None:
    private = generate_private_key()
    (tmp_path / "key").write_bytes(private_key_pem(private, None))
    (tmp_path / "signed").write_bytes(pae(TYPE, b"payload"))
    (tmp_path / "signature").write_bytes(sign(private, TYPE, b"payload"))
    command = "openssl pkeyutl -verify -rawin -inkey key -in signed -sigfile signature"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_we_verify_what_openssl_signs(tmp_path: Path) -> None:
    (tmp_path / "signed").write_bytes(pae(TYPE, b"payload"))
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", "key"], cwd=tmp_path, check=True)
    command = "openssl pkeyutl -sign -rawin -inkey key -in signed -out signature"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    private = parse_private_key((tmp_path / "key").read_bytes(), None)
    verify_signature(public_key(private), TYPE, b"payload", (tmp_path / "signature").read_bytes())
    # Ed25519 is deterministic, so both must agree to the last byte.
    assert sign(private, TYPE, b"payload") == (tmp_path / "signature").read_bytes()


PRIVATE = bytes.fromhex(RFC_8032[0][0])
PUBLIC = public_key(PRIVATE)
SIGNATURE = sign(PRIVATE, TYPE, b"payload")
HIGH_S = SIGNATURE[:32] + (int.from_bytes(SIGNATURE[32:], "little") + ORDER).to_bytes(32, "little")
IDENTITY_POINT = (1).to_bytes(32, "little")


@pytest.mark.parametrize(
    ("public", "payload_type", "payload", "signature"),
    [
        pytest.param(public_key(bytes(32)), TYPE, b"payload", SIGNATURE, id="another key"),
        pytest.param(PUBLIC, TYPE + "x", b"payload", SIGNATURE, id="another type"),
        pytest.param(PUBLIC, "", b"payload", SIGNATURE, id="no type"),
        pytest.param(PUBLIC, TYPE, b"payloae", SIGNATURE, id="another payload"),
        pytest.param(PUBLIC, TYPE, b"", SIGNATURE, id="no payload"),
        pytest.param(PUBLIC, TYPE, b"payload", b"", id="no signature"),
        pytest.param(PUBLIC, TYPE, b"payload", SIGNATURE[:-1], id="short signature"),
        pytest.param(PUBLIC, TYPE, b"payload", SIGNATURE + b"\0", id="long signature"),
        # A signature one byte longer must not borrow that byte from the message.
        pytest.param(PUBLIC, TYPE, b"ayload", SIGNATURE + b"p", id="signature and payload split elsewhere"),
        pytest.param(PUBLIC[:-1], TYPE, b"payload", SIGNATURE, id="short key"),
        pytest.param(PUBLIC + b"\0", TYPE, b"payload", SIGNATURE, id="long key"),
        pytest.param(PUBLIC, TYPE, b"payload", HIGH_S, id="second form of the same signature"),
        pytest.param(IDENTITY_POINT, TYPE, b"payload", IDENTITY_POINT + bytes(32), id="key of small order"),
    ],
)
def test_refused(public: bytes, payload_type: str, payload: bytes, signature: bytes) -> None:
    verify_signature(PUBLIC, TYPE, b"payload", SIGNATURE)
    with pytest.raises(SignatureError):
        verify_signature(public, payload_type, payload, signature)


@pytest.mark.parametrize("position", range(64))
def test_each_byte_of_a_signature_counts(position: int) -> None:
    altered = bytearray(SIGNATURE)
    altered[position] ^= 1
    with pytest.raises(SignatureError):
        verify_signature(PUBLIC, TYPE, b"payload", bytes(altered))


def test_what_has_no_type_is_not_signed() -> None:
    with pytest.raises(ValueError, match="must have a type"):
        sign(PRIVATE, "", b"payload")
    with pytest.raises(ValueError, match="32 bytes"):
        sign(PRIVATE[:31], TYPE, b"payload")


def test_key_ids_differ_and_stay() -> None:
    assert key_id(PUBLIC).hex() == "5dd5489ea7305fca"
    assert len({key_id(public_key(generate_private_key())) for _ in range(50)}) == 50


@pytest.mark.parametrize("passphrase", [None, b"correct horse battery staple"])
def test_pem_round_trip(passphrase: bytes | None) -> None:
    private = generate_private_key()
    pem = private_key_pem(private, passphrase)
    assert parse_private_key(pem, passphrase) == private
    assert (b"ENCRYPTED" in pem) is (passphrase is not None)


EC_KEY = subprocess.run(
    ["openssl", "genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], capture_output=True, check=True
).stdout


@pytest.mark.parametrize(
    ("pem", "passphrase", "sentence"),
    [
        (private_key_pem(PRIVATE, b"right"), b"wrong", "passphrase is wrong"),
        (private_key_pem(PRIVATE, b"right"), None, "give its passphrase"),
        (private_key_pem(PRIVATE, None), b"needless", "no passphrase"),
        (b"", None, "not PKCS #8"),
        (b"\x00\xff", None, "not PKCS #8"),
        (EC_KEY, None, "not an Ed25519"),
    ],
)
def test_pem_refused(pem: bytes, passphrase: bytes | None, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse_private_key(pem, passphrase)
