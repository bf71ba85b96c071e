"""The directory in force: an immutable value that only a properly signed successor replaces.

Modelled on the trusted metadata set of python-tuf (theupdateframework.io, specification 1.0.31): roots first, then the
stewards' threshold, and only then what the bytes say. Nothing is believed that was not verified from the pinned root.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography import x509

from node.errors import (
    DirectoryError,
    DirectoryExpiredError,
    DirectoryRollbackError,
    SignatureError,
    UnknownMemberError,
)
from node.identity.members import Member, instruments_by_pair, parse_members, signing_keys
from node.identity.stewards import MAX_NUMBER, decoded, followed, parse_root, require, verify_threshold, with_signature
from node.wire.directory_pb2 import Directory, Instrument, MemberRecord, SignedDirectory, SignedMember, SignedRoot

if TYPE_CHECKING:
    from node.wire.codes_pb2 import Obligation

DIRECTORY_TYPE: Final = "application/vnd.enlace.directory.v1+protobuf"
"""DSSE payload type of a directory."""

DAY_US: Final = 86_400_000_000
LIFETIME_US: Final = 90 * DAY_US
"""Longest life of a directory: stewards who are silent for longer have lost the federation."""

ALARM_US: Final = 30 * DAY_US
"""Time before the end from which people are to be warned, so that no urgent call meets an expired directory."""

MAX_DIRECTORY_BYTES: Final = 245_760
"""Fits, with its frame, into the largest message of the peer service (262,144 bytes)."""

MAX_FLOOR_BYTES: Final = 131_072
MAX_MEMBERS: Final = 64
MAX_INSTRUMENTS: Final = 128
MAX_SIGNATURES: Final = 64


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class TrustedDirectory:
    """What this node believes about the federation; every look-up is in a dictionary made when it was accepted.

    Attributes:
        federation: As in spiffe://gt.<federation>.
        version: 0 as long as there is a pinned root and no directory.
        issued_us: From when on it holds, UTC microseconds.
        expires_us: When it ends; half-open.
        signed: The bytes that were accepted, for peers that ask and for the store. SignedDirectory.
        digest: SHA-256 of the Directory in it.
        floor_rulebook: The multilateral floor, YAML.
        demonstration: Invented data only; rulebooks that are illustrations may be used.
        witness_quorum: Countries that must have cosigned a checkpoint for it to count as witnessed; 0: one.
        rerooted: Countries whose root key is another than this node knew before. A pairing pins the old one, so they
            are unpaired until their enrolment in person is acknowledged.
    """

    federation: str
    version: int = 0
    issued_us: int = 0
    expires_us: int = 0
    signed: bytes = b""
    digest: bytes = b""
    floor_rulebook: bytes = b""
    demonstration: bool = False
    witness_quorum: int = 0
    rerooted: frozenset[str] = frozenset()
    _roots: tuple[bytes, ...]
    # The last known record of every country that ever was a member: leaving and coming back must not turn time back.
    _known: Mapping[str, Member] = field(default_factory=dict)
    _members: Mapping[str, Member] = field(default_factory=dict)
    _keys: Mapping[tuple[str, str, bytes], tuple[bytes, int, int]] = field(default_factory=dict)
    _instruments: Mapping[tuple[str, str], tuple[tuple[int, int, Instrument], ...]] = field(default_factory=dict)

    # --- taking over --------------------------------------------------------------------------------------------------

    @classmethod
    def pinned(cls, root: bytes) -> "TrustedDirectory":
        """Return a value without members, which trusts a root (Root) and nothing else.

        Raises:
            DirectoryMalformedError: the root is malformed.
        """
        return cls(federation=parse_root(root).federation, _roots=(root,))

    @classmethod
    def restored(cls, root: bytes, accepted: Iterable[bytes]) -> "TrustedDirectory":
        """Return what was trusted before a restart: the pinned root and every directory accepted since, oldest first.

        All is verified again but the time, because an expired directory still tells which versions are too old.

        Raises:
            DirectoryError: what was stored is not what was accepted.
        """
        directory = cls.pinned(root)
        for signed in accepted:
            directory = directory._verified(signed)  # noqa: SLF001 (of this class)
        return directory

    def updated(self, signed_directory: bytes, now_us: int) -> "TrustedDirectory":
        """Return the successor of this value.

        Raises:
            DirectoryMalformedError: too large, no message of the contract, or in contradiction with itself.
            DirectorySignatureError: too few stewards signed, or a member's record lacks its own root signature.
            DirectoryRollbackError: a version or number is lower than, or equal with other bytes to, the one known.
            DirectoryExpiredError: its time is over or has not begun.
        """
        successor = self._verified(signed_directory)
        successor.verify_in_force(now_us)
        return successor

    def _verified(self, data: bytes) -> "TrustedDirectory":
        # 1. Small enough to look at, and a message of the contract.
        signed = _parse_signed(data)
        # 2. Roots lead from the pinned one to the newest, and no root that this node has seen is left out or replaced.
        roots = self._followed(signed)
        # 3. The stewards of the newest root have signed these bytes. Only now are they read.
        root = parse_root(roots[-1])
        verify_threshold(root, DIRECTORY_TYPE, signed.directory, signed.signatures, "the directory")
        return self._successor(data, signed.directory, roots)

    def verify_draft(self, signed_directory: bytes, now_us: int) -> None:
        """Check all of a directory but the stewards' signatures on it, before a steward adds one.

        Raises:
            DirectoryError: as for `updated`.
        """
        signed = _parse_signed(signed_directory)
        self._successor(signed_directory, signed.directory, self._followed(signed)).verify_in_force(now_us)

    def _followed(self, signed: SignedDirectory) -> tuple[bytes, ...]:
        roots = followed(self._roots[0], signed.roots)
        if roots[: len(self._roots)] != self._roots:
            raise DirectoryRollbackError("the directory leaves out or replaces a root that this node has seen")
        return roots

    def _successor(self, data: bytes, payload: bytes, roots: tuple[bytes, ...]) -> "TrustedDirectory":
        directory = decoded(Directory, payload, "the directory")
        # 4. It is of this federation, of the newest root, and newer than what is held.
        _verify_frame(directory, self.federation, parse_root(roots[-1]).version)
        digest = hashlib.sha256(payload).digest()
        if directory.version < self.version:
            raise DirectoryRollbackError(f"directory {directory.version} is older than {self.version}, which is held")
        if directory.version == self.version and digest != self.digest:
            raise DirectoryRollbackError(f"there are two directories with the version {self.version}")
        # A federation of invented data never turns into a real one, nor back: rulebooks differ in what they may do.
        require(not self.version or directory.demonstration == self.demonstration, "a demonstration stays one")
        # 5. Each member speaks for itself, none for another, and none as it spoke before.
        members = parse_members(directory.members, self.federation)
        rerooted = {country for country, member in members.items() if self._is_rerooted(member)}
        # 6. What joins members joins members of this directory, who say so themselves.
        instruments = instruments_by_pair(directory.instruments, members)
        return TrustedDirectory(
            federation=self.federation,
            version=directory.version,
            issued_us=directory.issued_us,
            expires_us=directory.expires_us,
            signed=data,
            digest=digest,
            floor_rulebook=directory.floor_rulebook,
            demonstration=directory.demonstration,
            witness_quorum=directory.witness_quorum,
            rerooted=frozenset(rerooted) if directory.version != self.version else self.rerooted,
            _roots=roots,
            _known={**self._known, **members},
            _members=members,
            _keys=signing_keys(members),
            _instruments=instruments,
        )

    def _is_rerooted(self, member: Member) -> bool:
        """Tell whether the member's root key changed, and refuse a record that is not newer than the one known."""
        record = member.record
        known = self._known.get(record.country)
        if known is None:
            return False
        what = f"the record of {record.country}"
        if record.number < known.record.number:
            raise DirectoryRollbackError(f"{what} has the number {record.number}, after {known.record.number}")
        same = member.signed.record == known.signed.record and member.root_key == known.root_key
        if record.number == known.record.number and not same:
            raise DirectoryRollbackError(f"{what} changed without a new number")
        return member.root_key != known.root_key

    # --- reading ------------------------------------------------------------------------------------------------------

    def verify_in_force(self, now_us: int) -> None:
        """Check that the directory holds now; without one in force nothing may be exchanged.

        Raises:
            DirectoryExpiredError: its time is over or has not begun.
            DirectoryError: there is none yet.
        """
        if self.issued_us <= now_us < self.expires_us:
            return
        if not self.version:
            raise DirectoryError("no directory has been accepted yet: import one")
        state = "has expired: import a newer one" if now_us >= self.expires_us else "is not valid yet: check the clock"
        raise DirectoryExpiredError(f"directory {self.version} {state}")

    def members(self) -> tuple[MemberRecord, ...]:
        """Return the members' records, in the order of the countries; not to be written to."""
        return tuple(self._members[country].record for country in sorted(self._members))

    def member(self, country: str) -> MemberRecord:
        """Return a member's record, shared by all readers and so not to be written to.

        Raises:
            UnknownMemberError: the country is not in the directory.
        """
        return self._member(country).record

    def root_key(self, country: str) -> bytes:
        """Return the member's own root key (32 bytes), which a pairing pins.

        Raises:
            UnknownMemberError: the country is not in the directory.
        """
        return self._member(country).root_key

    def roots(self, country: str) -> tuple[x509.Certificate, ...]:
        """Return the member's CA certificates, which vouch for this country alone.

        Raises:
            UnknownMemberError: the country is not in the directory.
        """
        return self._member(country).authorities

    def accepted(self, country: str) -> "frozenset[Obligation.ValueType]":
        """Return the numbers of the obligations that the member honours as a recipient.

        Raises:
            UnknownMemberError: the country is not in the directory.
        """
        return self._member(country).accepted

    def signing_key(self, country: str, node: str, key: bytes, at_us: int) -> bytes:
        """Return the public key (32 bytes) with this id (8 bytes) with which the country's node signs at that time.

        Raises:
            UnknownMemberError: the country is not in the directory.
            SignatureError: it has no such node, or the node no such key at that time.
        """
        found = self._keys.get((country, node, key))
        if found is not None and found[1] <= at_us < found[2]:
            return found[0]
        self._member(country)
        raise SignatureError(f"{country} has no signing key with this id for that node and time")

    def instruments_between(self, one: str, other: str, at_us: int) -> tuple[Instrument, ...]:
        """Return the instruments in force at that time to which both countries are party; none for strangers."""
        found = self._instruments.get((one, other), ())
        return tuple([instrument for start, end, instrument in found if start <= at_us < end])

    def steward_roots(self) -> tuple[bytes, ...]:
        """Return the roots (Root) from the pinned one to the newest."""
        return self._roots

    def _member(self, country: str) -> Member:
        member = self._members.get(country)
        if member is None:
            raise UnknownMemberError(f"{country} is not in directory {self.version}")
        return member


def _parse_signed(data: bytes) -> SignedDirectory:
    require(len(data) <= MAX_DIRECTORY_BYTES, f"the directory is larger than {MAX_DIRECTORY_BYTES} bytes")
    signed = decoded(SignedDirectory, data, "the directory")
    # Each signature costs a verification, so a peer can't make them many.
    for signatures in (signed.signatures, *(root.signatures for root in signed.roots)):
        require(len(signatures) <= MAX_SIGNATURES, f"there are more than {MAX_SIGNATURES} signatures")
    return signed


def _verify_frame(directory: Directory, federation: str, root_version: int) -> None:
    require(directory.federation == federation, f"the directory is not of {federation}")
    require(directory.root_version == root_version, f"the directory is not of the newest root, {root_version}")
    require(0 < directory.version <= MAX_NUMBER, "the directory has no version, or too large a one")
    require(directory.issued_us < directory.expires_us, "the directory ends before it begins")
    require(directory.expires_us - directory.issued_us <= LIFETIME_US, "the directory lives for more than 90 days")
    require(len(directory.floor_rulebook) <= MAX_FLOOR_BYTES, f"the floor is larger than {MAX_FLOOR_BYTES} bytes")
    require(len(directory.members) <= MAX_MEMBERS, f"there are more than {MAX_MEMBERS} members")
    # More than all others can't cosign, and nothing would ever count as witnessed.
    require(
        directory.witness_quorum < max(1, len(directory.members)), "the quorum of witnesses exceeds the other members"
    )
    require(len(directory.instruments) <= MAX_INSTRUMENTS, f"there are more than {MAX_INSTRUMENTS} instruments")


def build_directory(
    root: bytes,
    *,
    version: int,
    issued_us: int,
    members: Iterable[SignedMember],
    floor_rulebook: bytes,
    instruments: Iterable[Instrument] = (),
    demonstration: bool = False,
    rotations: Iterable[SignedRoot] = (),
    lifetime_us: int = LIFETIME_US,
    witness_quorum: int = 0,
) -> SignedDirectory:
    """Return a directory that nobody has signed yet.

    `root` is the newest (Root), `rotations` are all roots after the first, the newest included.

    Raises:
        DirectoryMalformedError: the root is malformed. The rest is for `TrustedDirectory.verify_draft` to judge.
    """
    newest = parse_root(root)
    directory = Directory(
        federation=newest.federation,
        version=version,
        issued_us=issued_us,
        expires_us=issued_us + lifetime_us,
        root_version=newest.version,
        members=members,
        instruments=instruments,
        floor_rulebook=floor_rulebook,
        demonstration=demonstration,
        witness_quorum=witness_quorum,
    )
    return SignedDirectory(directory=directory.SerializeToString(), roots=rotations)


def sign_directory(signed: SignedDirectory, private_key: bytes) -> SignedDirectory:
    """Return the directory with one more steward's signature; `private_key` is 32 bytes."""
    signatures = with_signature(signed.signatures, private_key, DIRECTORY_TYPE, signed.directory)
    return SignedDirectory(directory=signed.directory, signatures=signatures, roots=signed.roots)
