"""Countries, their authorities and certificates for all the other tests, good ones and evil ones.

`country("GT")` makes a country's root; `node_certificate` and `desk_certificate` issue as the product does; `forge`
makes anything else. Keys are P-256, made once per run; times are around the real clock, so that handshakes accept them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.identity.authority import (
    Authority,
    build_crl,
    create_issuing,
    create_root,
    generate_key,
    issue_desk,
    issue_node,
)
from node.identity.spiffe import TrustDomain

FEDERATION = "enlace.example"
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH

LeafKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Country:
    code: str
    root: Authority
    issuing: Authority  # below the root

    @property
    def domain(self) -> TrustDomain:
        return self.root.domain

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        return (self.root.certificate,)

    @property
    def roots_pem(self) -> bytes:
        return pem(self.root.certificate)

    @property
    def roots_der(self) -> tuple[bytes, ...]:
        return (self.root.certificate.public_bytes(Encoding.DER),)

    def crl(self, number: int, revoked: Iterable[int] = (), now: datetime = NOW) -> bytes:
        return build_crl(self.root, number, dict.fromkeys(revoked, now), now)


@dataclass(frozen=True)
class Holder:
    """A certificate with its key: what a node or a desk has, or what an attacker made."""

    certificate: x509.Certificate
    key: LeafKey = field(repr=False)
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def chain_pem(self) -> bytes:
        return pem(self.certificate, *self.intermediates)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def serial(self) -> int:
        return self.certificate.serial_number


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


@lru_cache
def country(code: str, federation: str = FEDERATION) -> Country:
    domain = TrustDomain(code, federation)
    root_key, issuing_key = generate_key(), generate_key()
    root = Authority(x509.load_pem_x509_certificate(create_root(domain, root_key, NOW)), root_key)
    between = x509.load_pem_x509_certificate(create_issuing(root, issuing_key.public_key(), NOW))
    return Country(code, root, Authority(between, issuing_key, (between,)))


def node_certificate(
    of: Country,
    name: str | None = None,
    *,
    dns_names: Iterable[str] = ("localhost",),
    validity: timedelta = timedelta(days=90),
    issuer: Authority | None = None,
    now: datetime = NOW,
) -> Holder:
    key = generate_key()
    name = name or f"{of.code.lower()}-1"
    chain = issue_node(
        issuer or of.root, name, key.public_key(), dns_names=tuple(dns_names), now=now, validity=validity
    )
    leaf, *rest = x509.load_pem_x509_certificates(chain)
    return Holder(leaf, key, tuple(rest))


def desk_certificate(
    of: Country, officer: str = "officer-1", issuer: Authority | None = None, now: datetime = NOW
) -> Holder:
    key = generate_key()
    leaf, *rest = x509.load_pem_x509_certificates(issue_desk(issuer or of.root, officer, key.public_key(), now=now))
    return Holder(leaf, key, tuple(rest))


def usage(**on: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    more = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: on.get(name, False) for name in (*names, *more)})


def uri_names(*uris: str, dns: Iterable[str] = ("localhost",)) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [*(x509.UniformResourceIdentifier(uri) for uri in uris), *(x509.DNSName(name) for name in dns)]
    )


NODE_EXTENSIONS: tuple[tuple[x509.ExtensionType, bool], ...] = (
    (x509.BasicConstraints(ca=False, path_length=None), True),
    (usage(digital_signature=True), True),
    (x509.ExtendedKeyUsage([SERVER, CLIENT]), False),
)


def forge(
    issuer: Authority,
    uri: str = "spiffe://gt.enlace.example/node/gt-1",
    *,
    replaced: Iterable[tuple[x509.ExtensionType, bool]] = (),
    without: Iterable[type[x509.ExtensionType]] = (),
    not_before: datetime = NOW - DAY,
    not_after: datetime = NOW + 30 * DAY,
    key: LeafKey | None = None,
    subject: x509.Name | None = None,
    signing: SHA256 | SHA384 | SHA512 | None = None,
    serial: int | None = None,
    intermediates: tuple[x509.Certificate, ...] = (),
) -> Holder:
    """Make a certificate as a node's, but for the extensions replaced (with whether critical) or left out."""
    key = key or generate_key()
    extensions: dict[type[x509.ExtensionType], tuple[x509.ExtensionType, bool]] = {
        type(value): (value, critical) for value, critical in ((uri_names(uri), False), *NODE_EXTENSIONS, *replaced)
    }
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "forged")]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            critical=False,
        )
    )
    for kind, (value, critical) in extensions.items():
        if kind not in set(without):
            builder = builder.add_extension(value, critical)
    return Holder(builder.sign(issuer.key, signing or SHA256()), key, intermediates)


def forged_authority(
    issuer: Authority,
    uri: str = "spiffe://gt.enlace.example",
    host: str = "gt.enlace.example",
    *,
    replaced: Iterable[tuple[x509.ExtensionType, bool]] = (),
    without: Iterable[type[x509.ExtensionType]] = (),
    not_before: datetime = NOW - DAY,
    not_after: datetime = NOW + 30 * DAY,
) -> Authority:
    """Make an authority below `issuer` as the product does, but for the extensions replaced or left out."""
    key = generate_key()
    proper: tuple[tuple[x509.ExtensionType, bool], ...] = (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (usage(key_cert_sign=True, crl_sign=True), True),
        (x509.NameConstraints([x509.UniformResourceIdentifier(host)], None), True),
        (uri_names(uri, dns=()), False),
    )
    holder = forge(
        issuer,
        key=key,
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "forged authority")]),
        replaced=(*proper, *replaced),
        without=(x509.ExtendedKeyUsage, *without),
        not_before=not_before,
        not_after=not_after,
    )
    return Authority(holder.certificate, key, (holder.certificate,))


def self_signed(uri: str = "spiffe://gt.enlace.example/node/gt-1") -> Holder:
    """Make a certificate that nobody vouches for, under the name of GT's root."""
    key = generate_key()
    root = country("GT").root
    return forge(Authority(root.certificate, key), uri, key=key, subject=root.certificate.subject)


def _below(authority: Authority) -> Holder:
    return forge(authority, intermediates=authority.chain)


@lru_cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def _node_as_authority() -> Authority:
    holder = node_certificate(country("GT"))
    assert isinstance(holder.key, ec.EllipticCurvePrivateKey)
    return Authority(holder.certificate, holder.key, (holder.certificate,))


def _two_below() -> Holder:
    deepest = forged_authority(country("GT").issuing)
    return forge(deepest, intermediates=(*deepest.chain, *country("GT").issuing.chain))


# Each claims to be GT's node gt-1, and must be refused under GT's root. Names say what is wrong.
EVIL: Mapping[str, Callable[[], Holder]] = {
    "issued by another country's authority": lambda: forge(country("MX").root),
    "issued below another country's issuing authority": lambda: _below(country("MX").issuing),
    "self-signed": self_signed,
    "expired": lambda: forge(country("GT").root, not_before=NOW - 9 * DAY, not_after=NOW - DAY),
    "not yet valid": lambda: forge(country("GT").root, not_before=NOW + DAY),
    "no URI name": lambda: forge(country("GT").root, replaced=[(uri_names(), False)]),
    "no names at all": lambda: forge(country("GT").root, without=[x509.SubjectAlternativeName]),
    "two URI names": lambda: forge(
        country("GT").root,
        replaced=[(uri_names("spiffe://gt.enlace.example/node/gt-1", "spiffe://gt.enlace.example/node/gt-2"), False)],
    ),
    "the same URI name twice": lambda: forge(
        country("GT").root, replaced=[(uri_names(*["spiffe://gt.enlace.example/node/gt-1"] * 2), False)]
    ),
    "is an authority": lambda: forge(
        country("GT").root, replaced=[(x509.BasicConstraints(ca=True, path_length=None), True)]
    ),
    "no basic constraints": lambda: forge(country("GT").root, without=[x509.BasicConstraints]),
    "key usage of an authority": lambda: forge(
        country("GT").root, replaced=[(usage(digital_signature=True, key_cert_sign=True), True)]
    ),
    "key usage for revocation lists": lambda: forge(
        country("GT").root, replaced=[(usage(digital_signature=True, crl_sign=True), True)]
    ),
    "key usage without signatures": lambda: forge(country("GT").root, replaced=[(usage(key_agreement=True), True)]),
    "key usage not critical": lambda: forge(country("GT").root, replaced=[(usage(digital_signature=True), False)]),
    "no key usage": lambda: forge(country("GT").root, without=[x509.KeyUsage]),
    "client only": lambda: forge(country("GT").root, replaced=[(x509.ExtendedKeyUsage([CLIENT]), False)]),
    "server only": lambda: forge(country("GT").root, replaced=[(x509.ExtendedKeyUsage([SERVER]), False)]),
    "any usage": lambda: forge(
        country("GT").root, replaced=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)]
    ),
    "no extended key usage": lambda: forge(country("GT").root, without=[x509.ExtendedKeyUsage]),
    "a critical extension not understood": lambda: forge(
        country("GT").root,
        replaced=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)],
    ),
    "name constraints on a leaf": lambda: forge(
        country("GT").root,
        replaced=[(x509.NameConstraints([x509.UniformResourceIdentifier("gt.enlace.example")], None), True)],
    ),
    "an RSA key": lambda: forge(country("GT").root, key=_rsa_key()),
    "an Ed25519 key": lambda: forge(country("GT").root, key=ed25519.Ed25519PrivateKey.generate()),
    "a P-521 key": lambda: forge(country("GT").root, key=ec.generate_private_key(ec.SECP521R1())),
    "issued by a node": lambda: _below(_node_as_authority()),
    "issued by an authority without the bit": lambda: _below(
        forged_authority(country("GT").root, replaced=[(x509.BasicConstraints(ca=False, path_length=None), True)])
    ),
    "issued by an authority that may not sign certificates": lambda: _below(
        forged_authority(country("GT").root, replaced=[(usage(crl_sign=True), True)])
    ),
    "issued by an authority two below the root": _two_below,
    "issued by an authority confined to another country": lambda: _below(
        forged_authority(country("GT").root, "spiffe://mx.enlace.example", "mx.enlace.example")
    ),
    "issued by an authority confined to nothing": lambda: _below(
        forged_authority(country("GT").root, without=[x509.NameConstraints])
    ),
    "issued by an authority confined to the whole federation": lambda: _below(
        forged_authority(country("GT").root, host=".enlace.example")
    ),
    "issued by an expired authority": lambda: _below(
        forged_authority(country("GT").root, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    ),
    "issued by an authority not yet valid": lambda: _below(forged_authority(country("GT").root, not_before=NOW + DAY)),
    "the issuing authority did not come along": lambda: forge(country("GT").issuing),
    "country in upper case": lambda: forge(country("GT").root, "spiffe://GT.enlace.example/node/gt-1"),
}
