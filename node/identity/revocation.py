"""Certificates that a country took back: its revocation list (RFC 5280 §5), and the look-up.

A list counts for the whole country: it names every certificate that the country took back, whichever of its authorities
issued it. Serial numbers have 159 random bits, so none stands for two certificates. The caller keeps each issuer's list
of the highest number.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.errors import CertificateInvalidError, CertificateRevokedError
from node.identity.certificates import SIGNATURES, UNREADABLE, Peer, authority_domain

# RFC 5280 §5.2.3: a list's number has at most 20 octets; the wire carries 64 bits.
_MAX_NUMBER: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A country's revocation list, verified.

    `number` grows with each list; times are UTC microseconds; a list past `next_update_us` still counts, and its age is
    an alarm; `digest` is the SHA-256 of the list as received; `issuer` the SHA-256 of the signing authority's key
    (SubjectPublicKeyInfo): numbers are comparable among the lists of one issuer, and where a country has several, what
    any of them took back counts, so that a stolen issuing authority can't outnumber the root's list.
    """

    country: str
    number: int
    this_update_us: int
    next_update_us: int
    serials: frozenset[int]
    digest: bytes
    issuer: bytes


def parse_crl(der: bytes, issuers: Sequence[x509.Certificate]) -> RevocationList:
    """Return the revocation list in `der`, which one of `issuers`, the authorities of one country, must have signed.

    Raises:
        CertificateInvalidError: another signed it, or it is not a complete list with a number and an end.
    """
    try:
        # The library reads names, extensions and entries only when asked, so malformed ones surface here.
        listed = x509.load_der_x509_crl(der)
        numbered = [(each.oid, each.critical, each.value) for each in listed.extensions]
        serials = frozenset(each.serial_number for each in listed)
        critical_entries = any(each.critical for entry in listed for each in entry.extensions)
        issuer = _issuer(listed, issuers)
    except UNREADABLE as error:
        raise CertificateInvalidError("the revocation list can't be read") from error
    numbers = [value.crl_number for _, _, value in numbered if isinstance(value, x509.CRLNumber)]
    if len(numbers) != 1 or numbers[0] > _MAX_NUMBER:
        raise CertificateInvalidError("the revocation list has no number that fits 64 bits")
    # RFC 5280 §5.2: partial lists, lists of other issuers and the like announce themselves by critical extensions.
    if critical_entries or any(critical for _, critical, _ in numbered):
        raise CertificateInvalidError("the revocation list is not a country's complete list")
    if listed.next_update_utc is None or listed.next_update_utc <= listed.last_update_utc:
        raise CertificateInvalidError("the revocation list does not say when the next is due")
    return RevocationList(
        country=authority_domain(issuer).country,
        number=numbers[0],
        this_update_us=round(listed.last_update_utc.timestamp() * 1_000_000),
        next_update_us=round(listed.next_update_utc.timestamp() * 1_000_000),
        serials=serials,
        digest=listed.fingerprint(SHA256()),
        issuer=hashlib.sha256(
            issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).digest(),
    )


def verify_not_revoked(peer: Peer, revoked: Collection[int]) -> None:
    """Check a peer, and the authorities above it, against its country's revoked serial numbers.

    Raises:
        CertificateRevokedError: one of them was taken back.
    """
    if peer.serial in revoked:
        raise CertificateRevokedError(f"the certificate of {peer.country}/{peer.name} is revoked")
    if any(serial in revoked for serial in peer.issuer_serials):
        raise CertificateRevokedError(f"the authority that issued to {peer.country}/{peer.name} is revoked")


def _issuer(listed: x509.CertificateRevocationList, issuers: Sequence[x509.Certificate]) -> x509.Certificate:
    for issuer in issuers:
        if issuer.subject != listed.issuer or listed.signature_algorithm_oid not in SIGNATURES:
            continue
        authority_domain(issuer)  # refuses what is no authority
        key = issuer.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        if usage.crl_sign and listed.is_signature_valid(key):
            return issuer
    raise CertificateInvalidError("the revocation list is not signed by an authority of this country")
