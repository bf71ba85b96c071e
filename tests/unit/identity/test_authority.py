"""A country's authority issues what its table of profiles says, and nothing else."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from node.errors import UsageError
from node.identity.authority import (
    BACKDATED,
    ISSUING_VALIDITY,
    LEAF_VALIDITY,
    LIST_VALIDITY,
    ROOT_VALIDITY,
    Authority,
    build_crl,
    create_issuing,
    create_root,
    generate_key,
    issue_desk,
    issue_node,
    key_pem,
    parse_key,
    parse_request,
)
from node.identity.certificates import parse_chain, verify_authority
from node.identity.spiffe import TrustDomain
from tests.pki import DAY, FEDERATION, NOW, country, desk_certificate, node_certificate

GT = country("GT")
TABLE = Path(__file__).parents[3] / "certs" / "README.md"


def described(certificate: x509.Certificate) -> dict[str, str]:
    """Say in the words of the table what a certificate holds."""
    extensions = certificate.extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    dns = ["DNS"] if names.get_values_for_type(x509.DNSName) else []
    extended = [each for each in extensions if isinstance(each.value, x509.ExtendedKeyUsage)]
    confined = [each for each in extensions if isinstance(each.value, x509.NameConstraints)]
    signs = [name for name in ("digital_signature", "key_cert_sign", "crl_sign") if getattr(usage, name)]
    length = "-" if basic.path_length is None else str(basic.path_length)
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
    return {
        "days": str(days),
        "CA": "yes" if basic.ca else "no",
        "path length": length,
        "key usage": ", ".join(
            {"digital_signature": "digitalSignature", "key_cert_sign": "keyCertSign"}.get(n, "cRLSign") for n in signs
        ),
        "extended key usage": ", ".join(oid._name for each in extended for oid in each.value) or "-",
        "names": ", ".join([*(uri.replace("gt.enlace.example", "…") for uri in uris), *dns]),
        "confined": "yes" if confined else "no",
    }


def table() -> dict[str, dict[str, str]]:
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in TABLE.read_text("utf-8").splitlines()
        if line.startswith("| ")
    ]
    start = next(index for index, row in enumerate(rows) if row[0] == "profile")
    heads = rows[start]
    return {row[0]: dict(zip(heads[1:], row[1:], strict=True)) for row in rows[start + 1 : start + 5]}


def test_the_table_in_the_guide_is_what_is_issued() -> None:
    issued = {
        "root": GT.root.certificate,
        "issuing": GT.issuing.certificate,
        "node": node_certificate(GT).certificate,
        "desk": desk_certificate(GT, "a7-42").certificate,
    }
    assert {name: described(certificate) for name, certificate in issued.items()} == table()


def test_validity_is_backdated_for_slow_clocks_and_ends_as_said() -> None:
    for certificate, validity in [
        (GT.root.certificate, ROOT_VALIDITY),
        (GT.issuing.certificate, ISSUING_VALIDITY),
        (node_certificate(GT).certificate, LEAF_VALIDITY),
        (desk_certificate(GT).certificate, LEAF_VALIDITY),
    ]:
        assert certificate.not_valid_before_utc == NOW - BACKDATED
        assert certificate.not_valid_after_utc == NOW + validity


def test_nothing_outlives_its_authority() -> None:
    late = GT.root.certificate.not_valid_after_utc - DAY
    assert node_certificate(GT, now=late).certificate.not_valid_after_utc == GT.root.certificate.not_valid_after_utc


def test_an_expired_authority_issues_nothing() -> None:
    over = GT.root.certificate.not_valid_after_utc
    with pytest.raises(UsageError, match="ceremony"):
        node_certificate(GT, now=over)
    with pytest.raises(UsageError, match="ceremony"):
        create_issuing(GT.root, generate_key().public_key(), over)


def test_serial_numbers_do_not_repeat_and_are_long() -> None:
    serials = {node_certificate(GT).serial for _ in range(20)}
    assert len(serials) == 20
    assert all(serial.bit_length() > 128 for serial in serials)


def test_names_stand_only_where_they_are_not_personal() -> None:
    subject = desk_certificate(GT, "a7-42").certificate.subject
    assert [each.value for each in subject] == ["GT", FEDERATION, "a7-42"]
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "a7-42"


@pytest.mark.parametrize("name", ["", "GT-1", "gt_1", "gt/1", "gt 1", "gt-1\n", "ü", "a" * 65, "../x"])
def test_names_that_can_not_stand_in_an_id_are_refused(name: str) -> None:
    public = generate_key().public_key()
    with pytest.raises(UsageError):
        issue_node(GT.root, name, public, dns_names=["gt-1.example"], now=NOW)
    with pytest.raises(UsageError):
        issue_desk(GT.root, name, public, now=NOW)


@pytest.mark.parametrize("dns_names", [[], ["bücher.example"]])
def test_dns_names_are_needed_and_plain(dns_names: list[str]) -> None:
    with pytest.raises(UsageError):
        issue_node(GT.root, "gt-1", generate_key().public_key(), dns_names=dns_names, now=NOW)


@pytest.mark.parametrize("validity", [timedelta(), -DAY, 399 * DAY])
def test_validity_has_bounds(validity: timedelta) -> None:
    with pytest.raises(UsageError, match="398 days"):
        node_certificate(GT, validity=validity)


@pytest.mark.parametrize(
    ("code", "federation"), [("gtm", "x.example"), ("", "x.example"), ("GT", ""), ("GT", "X.example"), ("G1", "x")]
)
def test_a_root_is_some_countrys(code: str, federation: str) -> None:
    with pytest.raises(UsageError):
        create_root(TrustDomain(code, federation), generate_key(), NOW)


@pytest.mark.parametrize(("curve", "size", "digest"), [("P-256", 256, "sha256"), ("P-384", 384, "sha384")])
def test_the_digest_is_as_strong_as_the_curve(curve: str, size: int, digest: str) -> None:
    key = generate_key("P-384" if curve == "P-384" else "P-256")
    (root,) = parse_chain(create_root(GT.domain, key, NOW))
    verify_authority(root, "GT", FEDERATION)
    assert key.curve.key_size == size
    assert root.signature_hash_algorithm is not None
    assert root.signature_hash_algorithm.name == digest
    listed = x509.load_der_x509_crl(build_crl(Authority(root, key), 1, {}, NOW))
    assert listed.signature_hash_algorithm is not None
    assert listed.signature_hash_algorithm.name == digest


def test_a_revocation_list_says_when_the_next_is_due() -> None:
    listed = x509.load_der_x509_crl(build_crl(GT.root, 12, {7: NOW - DAY, 5: NOW}, NOW))
    assert listed.next_update_utc == NOW + LIST_VALIDITY
    assert [(each.serial_number, each.revocation_date_utc) for each in listed] == [(5, NOW), (7, NOW - DAY)]
    assert listed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 12


# --- keys and requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passphrase", [None, b"correct horse battery staple"])
def test_keys_round_trip(passphrase: bytes | None) -> None:
    key = generate_key()
    text = key_pem(key, passphrase)
    assert (b"ENCRYPTED" in text) is (passphrase is not None)
    assert parse_key(text, passphrase).private_numbers() == key.private_numbers()


def test_keys_do_not_show() -> None:
    assert "PrivateKey" not in repr(GT.root)


OTHER_CURVE = ec.generate_private_key(ec.SECP521R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
OTHER_KIND = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    ("text", "passphrase", "sentence"),
    [
        (key_pem(GT.root.key, b"right"), b"wrong", "passphrase is wrong"),
        (key_pem(GT.root.key, b"right"), None, "give its passphrase"),
        (key_pem(GT.root.key, None), b"needless", "no passphrase"),
        (b"", None, "not PKCS #8"),
        (OTHER_CURVE, None, "neither P-256 nor P-384"),
        (OTHER_KIND.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), None, "neither P-256"),
    ],
)
def test_keys_refused(text: bytes, passphrase: bytes | None, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        parse_key(text, passphrase)


def request(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.PEM)


def test_a_request_gives_its_key() -> None:
    key = generate_key()
    assert parse_request(request(key)) == key.public_key()


def test_a_request_signed_by_another_key_is_refused() -> None:
    der = x509.load_pem_x509_csr(request(generate_key())).public_bytes(Encoding.DER)
    altered = der[:-1] + bytes([der[-1] ^ 1])
    with pytest.raises(UsageError, match="not signed by the key in it"):
        parse_request(x509.load_der_x509_csr(altered).public_bytes(Encoding.PEM))


@pytest.mark.parametrize("text", [b"", GT.roots_pem, request(OTHER_KIND)])
def test_requests_refused(text: bytes) -> None:
    with pytest.raises(UsageError):
        parse_request(text)
