"""Who a certificate belongs to: validation of X.509 chains under the roots of one country.

Profile: X.509-SVID of SPIFFE on top of RFC 5280, narrowed to what the profiles in certs/ issue. Every authority is
confined to its country by a URI name constraint; `cryptography.x509.verification` refuses those as unsupported, and
without them a country's authority could pass the handshake of other software as another country. So the path, which
has at most three certificates here, is checked step by step below; signatures are checked by the library.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, SignatureAlgorithmOID

from node.errors import CertificateInvalidError
from node.identity.spiffe import Kind, SpiffeId, TrustDomain, parse_spiffe_id, parse_trust_domain

# What a handshake may bring along besides the leaf: the issuing authority, and for the careless also the root.
MAX_INTERMEDIATES: Final = 4

# Ed25519 would be sound, but gRPC's TLS library offers no such signature algorithm, so its handshakes fail.
CURVES: Final = (ec.SECP256R1, ec.SECP384R1)
SIGNATURES: Final = frozenset(
    {
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
    }
)
# A desk that could also serve might stand in for a node; a node both serves and asks.
USAGES: Final[dict[Kind, frozenset[x509.ObjectIdentifier]]] = {
    "node": frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}),
    "desk": frozenset({ExtendedKeyUsageOID.CLIENT_AUTH}),
}

# All that the library raises at malformed parts, many of which it reads only when asked; TypeError: bits in a name.
UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)

_LEAF_EXTENSIONS: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
_AUTHORITY_EXTENSIONS: Final = _LEAF_EXTENSIONS | {ExtensionOID.NAME_CONSTRAINTS}

_Value = TypeVar("_Value", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, verified.

    `country` is upper-case ISO 3166-1 alpha-2; `not_after_us` the earliest end of validity in the chain, half-open;
    `issuer_serials` the serial numbers of the authorities above the certificate; `fingerprint` the SHA-256 of the
    certificate as it came (32 bytes). Tell certificates apart by serial number: an ECDSA signature (r, s) holds as
    (r, -s) too, so that one certificate has several fingerprints.
    """

    country: str
    federation: str
    kind: Kind
    name: str
    serial: int
    fingerprint: bytes
    not_after_us: int
    issuer_serials: frozenset[int] = frozenset()


def parse_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates in a PEM text, in their order; at least one.

    Raises:
        CertificateInvalidError: there is none, or one can't be read.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except UNREADABLE as error:
        raise CertificateInvalidError("the certificate can't be read") from error


def parse_certificate(der: bytes) -> x509.Certificate:
    """Return the certificate in DER.

    Raises:
        CertificateInvalidError: it can't be read.
    """
    try:
        return x509.load_der_x509_certificate(der)
    except UNREADABLE as error:
        raise CertificateInvalidError("the certificate can't be read") from error


def claimed_identity(leaf: x509.Certificate) -> SpiffeId:
    """Return whom a certificate claims to belong to, unverified, so that the caller can choose the country's roots.

    Raises:
        CertificateInvalidError: it has no URI name, more than one, or one of another form.
    """
    return parse_spiffe_id(_only_uri(leaf))


def verify_chain(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> Peer:
    """Return whose certificate `leaf` is, after validating it under the roots of the one country it claims.

    `roots` are that country's alone, trusted as they stand; `intermediates` are what the handshake brought, in any
    order; `now` carries a time zone. Revocation is not looked at: see `node.identity.revocation`.

    Raises:
        CertificateInvalidError: no path leads from the leaf to a root with every step in order.
    """
    if len(intermediates) > MAX_INTERMEDIATES:
        raise CertificateInvalidError(f"more than {MAX_INTERMEDIATES} certificates came with the peer's own")
    # 1. One country: the one that the leaf claims and the one that the roots are confined to are the same.
    claimed = claimed_identity(leaf)
    if not roots:
        raise CertificateInvalidError(f"no roots of {claimed.country} are known")
    for root in roots:
        verify_authority(root, claimed.country, claimed.federation)
    # 2. The leaf may serve or ask as what it claims to be, and may not issue.
    _verify_leaf(leaf, claimed.kind)
    # 3. Signatures lead from the leaf to a root. Roots of one name and key may overlap in time, so all paths are tried.
    refusal = CertificateInvalidError(f"{claimed.uri} was not issued by an authority of {claimed.country}")
    for path in _paths(leaf, intermediates, roots):
        try:
            _verify_path(path, claimed.domain, now)
        except CertificateInvalidError as error:
            refusal = error
        else:
            return Peer(
                country=claimed.country,
                federation=claimed.federation,
                kind=claimed.kind,
                name=claimed.name,
                serial=leaf.serial_number,
                fingerprint=leaf.fingerprint(SHA256()),
                not_after_us=min(round(each.not_valid_after_utc.timestamp() * 1_000_000) for each in path),
                issuer_serials=frozenset(each.serial_number for each in path[1:]),
            )
    raise refusal


def verify_authority(authority: x509.Certificate, country: str, federation: str) -> None:
    """Check that a certificate may issue for this country and can issue for no other.

    Raises:
        CertificateInvalidError: it may not, is not confined to that country, or has another form than the profile.
    """
    domain = authority_domain(authority)
    if domain != TrustDomain(country, federation):
        raise CertificateInvalidError(f"{_called(authority)} is an authority of {domain.host}, not of {country}")


def authority_domain(authority: x509.Certificate) -> TrustDomain:
    """Return the country that a certification authority is confined to, by its name and by its name constraint.

    Raises:
        CertificateInvalidError: it is no authority, or not confined to exactly the country that it names.
    """
    domain = parse_trust_domain(_only_uri(authority))
    basic = _required(authority, x509.BasicConstraints, critical=True)
    usage = _required(authority, x509.KeyUsage, critical=True)
    if not basic.ca or not usage.key_cert_sign:
        raise CertificateInvalidError(f"{_called(authority)} is not a certification authority")
    constraints = _required(authority, x509.NameConstraints, critical=True)
    # RFC 5280 §4.2.1.10: without a leading dot, a URI constraint permits exactly that host.
    if (
        constraints.permitted_subtrees != [x509.UniformResourceIdentifier(domain.host)]
        or constraints.excluded_subtrees is not None
    ):
        raise CertificateInvalidError(f"{_called(authority)} is not confined to {domain.host} alone")
    extended = _extension(authority, x509.ExtendedKeyUsage)
    if extended is not None and not USAGES["node"] <= set(extended.value):
        raise CertificateInvalidError(f"{_called(authority)} may not issue for TLS servers and clients")
    _verify_form(authority, _AUTHORITY_EXTENSIONS)
    return domain


def _verify_leaf(leaf: x509.Certificate, kind: Kind) -> None:
    _verify_form(leaf, _LEAF_EXTENSIONS)
    if _required(leaf, x509.BasicConstraints).ca:
        raise CertificateInvalidError(f"{_called(leaf)} is a certification authority and can't speak for a {kind}")
    # X509-SVID.md §4.3: set and critical; a leaf signs handshakes, not certificates or revocation lists.
    usage = _required(leaf, x509.KeyUsage, critical=True)
    if not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        raise CertificateInvalidError(f"{_called(leaf)} has the wrong key usage for a {kind}")
    if frozenset(_required(leaf, x509.ExtendedKeyUsage)) != USAGES[kind]:
        raise CertificateInvalidError(f"{_called(leaf)} has the wrong extended key usage for a {kind}")


def _paths(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> Iterator[tuple[x509.Certificate, ...]]:
    for root in roots:
        if _is_issued(leaf, root):
            yield leaf, root
    for between in intermediates:
        if _is_issued(leaf, between):
            for root in roots:
                if _is_issued(between, root):
                    yield leaf, between, root


def _is_issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        if certificate.issuer != authority.subject or not _has_accepted_key(authority):
            return False
        certificate.verify_directly_issued_by(authority)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _verify_path(path: tuple[x509.Certificate, ...], domain: TrustDomain, now: datetime) -> None:
    for certificate in path:
        if now < certificate.not_valid_before_utc:
            raise CertificateInvalidError(f"{_called(certificate)} is not yet valid")
        if now >= certificate.not_valid_after_utc:
            raise CertificateInvalidError(f"{_called(certificate)} has expired")
    for below, authority in enumerate(path[1:]):
        verify_authority(authority, domain.country, domain.federation)
        length = _required(authority, x509.BasicConstraints).path_length
        if length is not None and length < below:
            raise CertificateInvalidError(f"{_called(authority)} may not issue to authorities")


def _verify_form(certificate: x509.Certificate, understood: frozenset[x509.ObjectIdentifier]) -> None:
    if not _has_accepted_key(certificate):
        raise CertificateInvalidError(f"{_called(certificate)} has a key that is neither P-256 nor P-384")
    if certificate.signature_algorithm_oid not in SIGNATURES:
        raise CertificateInvalidError(f"{_called(certificate)} is not signed with ECDSA and SHA-2")
    if certificate.serial_number <= 0:  # RFC 5280 §4.1.2.2; revocation goes by this number
        raise CertificateInvalidError(f"{_called(certificate)} has no positive serial number")
    for extension in _extensions(certificate):
        # RFC 5280 §4.2: what is critical and not understood is refused.
        if extension.critical and extension.oid not in understood:
            raise CertificateInvalidError(f"{_called(certificate)} has the critical extension {extension.oid}")


def _has_accepted_key(certificate: x509.Certificate) -> bool:
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return False
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES)


def _extensions(certificate: x509.Certificate) -> x509.Extensions:
    try:
        return certificate.extensions
    except UNREADABLE as error:
        raise CertificateInvalidError("the extensions of the certificate can't be read") from error


def _extension(certificate: x509.Certificate, kind: type[_Value]) -> x509.Extension[_Value] | None:
    try:
        return _extensions(certificate).get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _required(certificate: x509.Certificate, kind: type[_Value], *, critical: bool = False) -> _Value:
    extension = _extension(certificate, kind)
    if extension is None or (critical and not extension.critical):
        how = "has no critical" if critical else "has no"
        raise CertificateInvalidError(f"{_called(certificate)} {how} {kind.__name__} extension")
    return extension.value


def _only_uri(certificate: x509.Certificate) -> str:
    names = _required(certificate, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    # X509-SVID.md §2: exactly one, or validators might disagree on whose certificate it is.
    if len(uris) != 1:
        raise CertificateInvalidError(f"the certificate has {len(uris)} URI names instead of one")
    return uris[0]


def _called(certificate: x509.Certificate) -> str:
    # The serial number leads the operator to the line in the issuer's index; names in it may be anything.
    return f"certificate {certificate.serial_number:x}"
