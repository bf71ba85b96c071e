"""Members' records in the directory: what stewards can't change without the member; and what joins members.

The record is signed with the member's own offline root key. Whoever holds k stewards' keys and not this one can leave
the member out, or put another root key in its place, which undoes every pairing with it; they can't speak for it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.errors import CertificateInvalidError, DirectoryMalformedError, DirectorySignatureError, SignatureError
from node.identity.certificates import verify_authority
from node.identity.keys import PUBLIC_BYTES, key_id, public_key, sign, verify_signature
from node.identity.stewards import MAX_NUMBER, decoded, require
from node.wire.codes_pb2 import Crime, InstrumentKind, Obligation
from node.wire.directory_pb2 import Audit, Instrument, MemberRecord, Node, SignedMember

MEMBER_TYPE: Final = "application/vnd.enlace.member.v1+protobuf"
"""DSSE payload type of a member's record."""

MAX_RECORD_BYTES: Final = 32_768
MAX_CERTIFICATES: Final = 8
MAX_CERTIFICATE_BYTES: Final = 4_096
MAX_NODES: Final = 16
MAX_NODE_KEYS: Final = 16
MAX_TREATIES: Final = 256
MAX_TITLE: Final = 256
MAX_SERVER_NAME: Final = 253
"""Of a DNS name, in characters (RFC 1035, section 2.3.4)."""

MAX_PORT: Final = 65_535

MAX_INSTITUTION: Final = 128
LONGEST_PERIOD_DAYS: Final = 36_525
"""A hundred years; what is meant to be longer is a mistake of a digit."""

COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)
"""ISO 3166-1 alpha-2, by form."""

INSTRUMENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}", re.ASCII)
"""At most 48 bytes, which is what a ledger line has room for."""

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NODE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_SERVER_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_ENDPOINT: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\]):([1-9][0-9]{{0,4}})", re.ASCII)
_TELEPHONE: Final = re.compile(r"\+[0-9](?:[ -]?[0-9]){5,18}", re.ASCII)
"""International form: a plus sign and at most 15 digits (ITU-T E.164), or somewhat more with an extension."""


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A member whose record verified.

    Attributes:
        signed: As it stands in the directory.
        record: What it says. Shared by all who read the directory, so never written to.
        authorities: Its CA certificates.
        authority_keys: Their public keys (DER, SubjectPublicKeyInfo): a CA is its key, whatever certificate wraps it.
        accepted: Numbers of the obligations that it honours as a recipient.
    """

    signed: SignedMember
    record: MemberRecord
    authorities: tuple[x509.Certificate, ...]
    authority_keys: frozenset[bytes]
    accepted: "frozenset[Obligation.ValueType]"

    @property
    def root_key(self) -> bytes:
        """The offline key that signed the record, 32 bytes."""
        return self.signed.root_key


def parse_member(signed: SignedMember, federation: str) -> Member:
    """Return the member whose record this is.

    Raises:
        DirectorySignatureError: the record is not signed by the root key beside it.
        DirectoryMalformedError: the record has a value that the contract does not allow, or another country's CA.
    """
    require(len(signed.record) <= MAX_RECORD_BYTES, f"a member's record is larger than {MAX_RECORD_BYTES} bytes")
    record = decoded(MemberRecord, signed.record, "a member's record")
    require(COUNTRY.fullmatch(record.country), "a member's record has no country")
    what = f"the record of {record.country}"
    try:
        verify_signature(signed.root_key, MEMBER_TYPE, signed.record, signed.signature)
    except SignatureError as error:
        raise DirectorySignatureError(f"{what} is not signed by its own root key") from error
    require(0 < record.number <= MAX_NUMBER, f"{what} has no number, or too large a one")
    require(_TELEPHONE.fullmatch(record.duty_telephone), f"{what}: the duty telephone is not in international form")
    require(record.protocols and 0 not in record.protocols, f"{what} names no protocol")
    require(Obligation.OBLIGATION_UNKNOWN not in record.accepted, f"{what} accepts an obligation that has no name")
    require(len(record.treaties) <= MAX_TREATIES, f"{what} lists too many treaties")
    require(all(INSTRUMENT_ID.fullmatch(treaty) for treaty in record.treaties), f"{what}: a treaty's id is malformed")
    require(0 < len(record.nodes) <= MAX_NODES, f"{what} has no node, or more than {MAX_NODES}")
    for node in record.nodes:
        _verify_node(node, what)
    if record.HasField("audit"):
        _verify_audit(record.audit, what)
    authorities = _authorities(record, federation, what)
    return Member(
        signed=signed,
        record=record,
        authorities=authorities,
        authority_keys=frozenset(
            certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for certificate in authorities
        ),
        accepted=frozenset(record.accepted),
    )


def _verify_node(node: Node, what: str) -> None:
    require(_NODE.fullmatch(node.name), f"{what}: a node's name is malformed")
    what = f"{what}, node {node.name}"
    require(
        len(node.server_name) <= MAX_SERVER_NAME and _SERVER_NAME.fullmatch(node.server_name),
        f"{what}: the name in its certificate is no DNS name",
    )
    endpoint = _ENDPOINT.fullmatch(node.endpoint)
    require(
        len(node.endpoint) <= MAX_SERVER_NAME + 6 and endpoint and int(endpoint[1]) <= MAX_PORT,
        f"{what}: the endpoint is not host:port",
    )
    require(0 < len(node.signing_keys) <= MAX_NODE_KEYS, f"{what} has no signing key, or more than {MAX_NODE_KEYS}")
    for key in node.signing_keys:
        require(len(key.public_key) == PUBLIC_BYTES, f"{what}: a signing key is not 32 bytes")
        require(key.valid_from_us < key.valid_until_us, f"{what}: a signing key ends before it begins")


def _verify_audit(audit: Audit, what: str) -> None:
    named = 0 < len(audit.institution) <= MAX_INSTITUTION and audit.institution.isprintable()
    require(named, f"{what}: the auditing institution has no proper name")
    require(len(audit.root_key) == PUBLIC_BYTES, f"{what}: the institution's key is not {PUBLIC_BYTES} bytes")
    require(0 < audit.period_days <= LONGEST_PERIOD_DAYS, f"{what}: the audit period is not a number of days")
    # Else what opens a line would be gone for everybody, and legitimately so, before it was audited.
    require(audit.retention_days <= audit.period_days, f"{what}: the audit period ends before openings are erased")


def _authorities(record: MemberRecord, federation: str, what: str) -> tuple[x509.Certificate, ...]:
    ders = record.ca_certificates
    require(0 < len(ders) <= MAX_CERTIFICATES, f"{what} has no CA certificate, or more than {MAX_CERTIFICATES}")
    require(all(len(der) <= MAX_CERTIFICATE_BYTES for der in ders), f"{what}: a CA certificate is too large")
    certificates = []
    for der in ders:
        try:
            certificate = x509.load_der_x509_certificate(der)
            verify_authority(certificate, record.country, federation)
        except (ValueError, CertificateInvalidError) as error:
            raise DirectoryMalformedError(f"{what}: a CA certificate is not {record.country}'s own: {error}") from error
        certificates.append(certificate)
    return tuple(certificates)


def parse_members(records: Iterable[SignedMember], federation: str) -> dict[str, Member]:
    """Return the members by country, none of whom has anything that another could pass for it with.

    Raises:
        DirectorySignatureError: a record is not signed by the root key beside it.
        DirectoryMalformedError: a record is malformed, or two share a CA, a key, a node's name or a country.
    """
    members: dict[str, Member] = {}
    # Whoever shares any of these with another can pass for it.
    owners: dict[tuple[str, bytes | str], str] = {}
    for signed in records:
        member = parse_member(signed, federation)
        country = member.record.country
        require(country not in members, f"{country} is in the directory twice")
        claims: list[tuple[str, bytes | str]] = [("CA key", key) for key in member.authority_keys]
        claims.append(("Ed25519 key", member.root_key))
        if member.record.HasField("audit"):
            claims.append(("Ed25519 key", member.record.audit.root_key))
        for node in member.record.nodes:
            claims.append(("node name", node.name))
            claims.extend(("Ed25519 key", key.public_key) for key in node.signing_keys)
        for claim in claims:
            owner = owners.setdefault(claim, country)
            require(owner == country, f"{owner} and {country} have the same {claim[0]}")
        require(len(set(claims)) == len(claims), f"{country} has a node name or a key twice")
        members[country] = member
    return members


def signing_keys(members: Mapping[str, Member]) -> dict[tuple[str, str, bytes], tuple[bytes, int, int]]:
    """Return public key, begin and end (microseconds, half-open) by country, node and key id."""
    return {
        (country, node.name, key_id(key.public_key)): (key.public_key, key.valid_from_us, key.valid_until_us)
        for country, member in members.items()
        for node in member.record.nodes
        for key in node.signing_keys
    }


def instruments_by_pair(
    instruments: Iterable[Instrument], members: Mapping[str, Member]
) -> dict[tuple[str, str], tuple[tuple[int, int, Instrument], ...]]:
    """Return the instruments between any two members, each with when it begins and ends (microseconds, half-open).

    Raises:
        DirectoryMalformedError: an instrument is malformed, or names a party that is no member or does not say itself
            that it is party.
    """
    between: dict[tuple[str, str], tuple[tuple[int, int, Instrument], ...]] = {}
    ids: set[str] = set()
    for instrument in instruments:
        require(INSTRUMENT_ID.fullmatch(instrument.id), "an instrument has no proper id")
        require(instrument.id not in ids, f"{instrument.id} is in the directory twice")
        ids.add(instrument.id)
        _verify_instrument(instrument, members)
        item = (instrument.valid_from_us, instrument.valid_until_us, instrument)
        for one in instrument.parties:
            for other in instrument.parties:
                if one != other:
                    between[one, other] = (*between.get((one, other), ()), item)
    return between


def _verify_instrument(instrument: Instrument, members: Mapping[str, Member]) -> None:
    what = f"instrument {instrument.id}"
    parties: Sequence[str] = instrument.parties
    require(instrument.kind != InstrumentKind.INSTRUMENT_KIND_UNKNOWN, f"{what} is of no kind")
    require(Crime.CRIME_UNKNOWN not in instrument.crimes, f"{what} covers a crime that has no name")
    require(instrument.title.isprintable() and 0 < len(instrument.title) <= MAX_TITLE, f"{what} has no proper title")
    require(instrument.valid_from_us < instrument.valid_until_us, f"{what} ends before it begins")
    require(len(set(parties)) == len(parties) > 1, f"{what} is not between two states or more")
    for country in parties:
        require(country in members, f"{what}: {country} is not a member")
        # Stewards alone can't bind a state: its own signed record must say that it is party.
        require(instrument.id in members[country].record.treaties, f"{what}: {country} does not say that it is party")


def sign_member(record: MemberRecord, root_key: bytes) -> SignedMember:
    """Return the record signed with the member's offline root key; `root_key` is the private key, 32 bytes."""
    data = record.SerializeToString()
    return SignedMember(record=data, root_key=public_key(root_key), signature=sign(root_key, MEMBER_TYPE, data))
