"""A country's certification authority: roots, issuing authorities, certificates of nodes and desks, revocation lists.

The profiles stand here and in the table of certs/README.md, which a test compares. What is issued is returned as bytes;
the time is an argument. Randomness (keys, serial numbers) is the operating system's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from node.errors import CertificateInvalidError, UsageError
from node.identity.certificates import CURVES, USAGES, authority_domain
from node.identity.spiffe import Kind, SpiffeId, TrustDomain, parse_spiffe_id, parse_trust_domain

Curve = Literal["P-256", "P-384"]

ROOT_VALIDITY: Final = timedelta(days=3_652)
ISSUING_VALIDITY: Final = timedelta(days=1_096)
LEAF_VALIDITY: Final = timedelta(days=90)
LIST_VALIDITY: Final = timedelta(days=30)
# Clocks of peers may be slow, and a certificate is used in the minute it is made.
BACKDATED: Final = timedelta(minutes=5)
MAX_LEAF_VALIDITY: Final = timedelta(days=398)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certification authority that can issue: its certificate, its key, and the chain that leads from it to the root.

    `chain` is what a leaf's holder presents besides the leaf: empty for a root, the authority's own certificate for an
    issuing authority below a root.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def domain(self) -> TrustDomain:
        """The country it is confined to."""
        return authority_domain(self.certificate)


def generate_key(curve: Curve = "P-256") -> ec.EllipticCurvePrivateKey:
    """Return a new private key for a certificate."""
    return ec.generate_private_key(ec.SECP384R1() if curve == "P-384" else ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> bytes:
    """Return a certificate's private key as PKCS #8 PEM, encrypted where a passphrase is given."""
    encryption: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def parse_key(pem: bytes, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    """Return the private key of a certificate.

    Raises:
        UsageError: it is not PEM, not P-256 or P-384, or the passphrase is wrong, missing or not called for.
    """
    try:
        key = load_pem_private_key(pem, passphrase)
    except TypeError as error:  # the library's word for a passphrase that is missing, or given where none is set
        raise UsageError(
            "the key is encrypted: give its passphrase" if passphrase is None else "the key has no passphrase"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError("the key is not PKCS #8 PEM, or the passphrase is wrong") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, CURVES):
        raise UsageError("the key is neither P-256 nor P-384")
    return key


def parse_request(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key in a certificate signing request; the names in it are not looked at.

    Raises:
        UsageError: it is not a request, not signed by its own key, or the key is neither P-256 nor P-384.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        key, signed = request.public_key(), request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError("this is not a certificate signing request in PEM") from error
    if not signed:
        raise UsageError("the certificate signing request is not signed by the key in it")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, CURVES):
        raise UsageError("the key in the certificate signing request is neither P-256 nor P-384")
    return key


def create_root(domain: TrustDomain, key: ec.EllipticCurvePrivateKey, now: datetime) -> bytes:
    """Return a new root certificate of a country (PEM), confined to it, with room for one authority below.

    Raises:
        UsageError: the country or the federation has another form than in SPIFFE ids.
    """
    try:
        parse_trust_domain(domain.uri)
    except CertificateInvalidError as error:
        raise UsageError(str(error)) from error
    name = _subject(domain, f"{domain.country} root {now:%Y-%m-%d}")
    builder = _authority(domain, name, key.public_key(), now=now, end=now + ROOT_VALIDITY, path_length=1)
    return _signed(builder.issuer_name(name), key).public_bytes(Encoding.PEM)


def create_issuing(root: Authority, public: ec.EllipticCurvePublicKey, now: datetime) -> bytes:
    """Return the certificate (PEM) of an issuing authority below a root, which can then be kept off the network.

    Raises:
        UsageError: the root has expired.
    """
    name = _subject(root.domain, f"{root.domain.country} issuing authority {now:%Y-%m-%d}")
    end = _end(root, now, ISSUING_VALIDITY)
    builder = _authority(root.domain, name, public, now=now, end=end, path_length=0)
    return _issued(builder, root).public_bytes(Encoding.PEM)


def issue_node(
    authority: Authority,
    name: str,
    public: ec.EllipticCurvePublicKey,
    *,
    dns_names: Sequence[str],
    now: datetime,
    validity: timedelta = LEAF_VALIDITY,
) -> bytes:
    """Return a node's certificate and what lies between it and the root (PEM, leaf first).

    Raises:
        UsageError: the name, a DNS name or the validity is not allowed, or the authority has expired.
    """
    if not dns_names:
        raise UsageError("a node's certificate needs the DNS name that peers call it by")
    return _leaf(authority, "node", name, public, dns_names=dns_names, now=now, validity=validity)


def issue_desk(
    authority: Authority,
    officer: str,
    public: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
    validity: timedelta = LEAF_VALIDITY,
) -> bytes:
    """Return the certificate of an officer's desk (PEM, leaf first); `officer` is the pseudonymous id, never a name.

    Raises:
        UsageError: the id or the validity is not allowed, or the authority has expired.
    """
    return _leaf(authority, "desk", officer, public, dns_names=(), now=now, validity=validity)


def build_crl(
    authority: Authority,
    number: int,
    revoked: Mapping[int, datetime],
    now: datetime,
    validity: timedelta = LIST_VALIDITY,
) -> bytes:
    """Return a revocation list (DER): `revoked` gives each serial number and when it was taken back."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - BACKDATED)
        .next_update(now + validity)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_key_identifier(authority.key), critical=False)
    )
    for serial, when in sorted(revoked.items()):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(authority.key, _hash(authority.key)).public_bytes(Encoding.DER)


def _leaf(
    authority: Authority,
    kind: Kind,
    name: str,
    public: ec.EllipticCurvePublicKey,
    *,
    dns_names: Iterable[str],
    now: datetime,
    validity: timedelta,
) -> bytes:
    domain = authority.domain
    identity = SpiffeId(domain.country, domain.federation, kind, name)
    if not timedelta() < validity <= MAX_LEAF_VALIDITY:
        raise UsageError(f"a certificate is valid for 1 to {MAX_LEAF_VALIDITY.days} days")
    try:
        parse_spiffe_id(identity.uri)
        names = [x509.UniformResourceIdentifier(identity.uri), *(x509.DNSName(each) for each in dns_names)]
    except (CertificateInvalidError, ValueError) as error:
        raise UsageError(f"{name!r} or its DNS names can't stand in a certificate: {error}") from error
    builder = _certificate(_subject(domain, name), public, now, _end(authority, now, validity))
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(sorted(USAGES[kind], key=lambda oid: oid.dotted_string)), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    chain = (_issued(builder, authority), *authority.chain)
    return b"".join(each.public_bytes(Encoding.PEM) for each in chain)


def _authority(
    domain: TrustDomain,
    name: x509.Name,
    public: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
    end: datetime,
    path_length: int,
) -> x509.CertificateBuilder:
    confined = x509.NameConstraints([x509.UniformResourceIdentifier(domain.host)], None)
    return (
        _certificate(name, public, now, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(domain.uri)]), critical=False)
        .add_extension(confined, critical=True)
    )


def _certificate(
    name: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before((now - BACKDATED).replace(microsecond=0))
        .not_valid_after(end.replace(microsecond=0))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _end(authority: Authority, now: datetime, validity: timedelta) -> datetime:
    end = authority.certificate.not_valid_after_utc
    if now >= end:
        raise UsageError(f"the authority's certificate ended on {end:%Y-%m-%d}; run a ceremony for a new one")
    # What outlives its issuer would be refused anyway, with a less helpful error.
    return min(end, now + validity)


def _issued(builder: x509.CertificateBuilder, authority: Authority) -> x509.Certificate:
    return _signed(builder.issuer_name(authority.certificate.subject), authority.key)


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.add_extension(_key_identifier(key), critical=False).sign(key, _hash(key))


def _key_identifier(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _hash(key: ec.EllipticCurvePrivateKey) -> SHA256 | SHA384:
    return SHA384() if key.curve.key_size > ec.SECP256R1.key_size else SHA256()


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(domain: TrustDomain, name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, domain.country),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, domain.federation),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
