"""Whom this node believes, now: the directory in force, revocations and pairings.

A peer is identified on every call. Its certificate chain is validated once per certificate and directory, against the
roots of the one country it claims and no other; membership, validity and revocation are looked up each time, so that a
revocation takes effect on connections that are already open.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from node.errors import CertificateInvalidError, NotPairedError, SuspendedError, UnknownMemberError
from node.identity.certificates import Peer, claimed_identity, parse_chain, verify_chain
from node.identity.directory import TrustedDirectory
from node.identity.revocation import verify_not_revoked

CACHED_CERTIFICATES = 1_024


class Trust:
    """The directory, revocations and pairings in force; replaced whole whenever one of them changes."""

    def __init__(
        self,
        country: str,
        directory: TrustedDirectory,
        revoked: Mapping[str, frozenset[int]],
        pairings: Mapping[str, bytes],
        suspended: frozenset[str] = frozenset(),
    ) -> None:
        """Take the directory, and of countries: revoked serial numbers, root keys signed for, and who is suspended."""
        self.country = country
        self.directory = directory
        self.revoked = revoked
        self.pairings = pairings
        self.suspended = suspended
        self._peers: dict[bytes, Peer] = {}

    def identified(self, chain: bytes, now_us: int) -> Peer:
        """Return whose certificate this is; `chain` is PEM, leaf first, as it came from the handshake.

        Raises:
            DirectoryExpiredError, UnknownMemberError, CertificateInvalidError.
        """
        self.directory.verify_in_force(now_us)
        peer = self._peers.get(chain)
        if peer is None:
            peer = self._validated(chain, now_us)
            if len(self._peers) >= CACHED_CERTIFICATES:
                self._peers.clear()
            self._peers[chain] = peer
        return peer

    def verify_standing(self, peer: Peer, now_us: int) -> None:
        """Check what may have changed since the peer connected: its certificate's time, and revocation.

        Raises:
            CertificateInvalidError, CertificateRevokedError.
        """
        if now_us >= peer.not_after_us:
            raise CertificateInvalidError(f"the certificate of {peer.country}/{peer.name} has expired")
        verify_not_revoked(peer, self.revoked.get(peer.country, frozenset()))

    def _validated(self, chain: bytes, now_us: int) -> Peer:
        leaf, *intermediates = parse_chain(chain)
        claimed = claimed_identity(leaf)
        if claimed.kind != "node":
            raise CertificateInvalidError("the certificate is not a node's")
        if claimed.federation != self.directory.federation:
            raise UnknownMemberError(f"{claimed.country} claims another federation")
        return verify_chain(
            leaf, intermediates, self.directory.roots(claimed.country), datetime.fromtimestamp(now_us / 1e6, UTC)
        )

    def verify_paired(self, country: str) -> None:
        """Check that two focal points signed the pairing with this country and with the root key it has now.

        Raises:
            NotPairedError: they did not, the country's root key changed since, or focal points suspended it.
        """
        if country in self.suspended:
            raise SuspendedError(f"exchange with {country} is suspended by this country's focal points")
        signed_for = self.pairings.get(country)
        if signed_for is None:
            raise NotPairedError(f"no pairing with {country} has been signed by two focal points")
        if signed_for != self.directory.root_key(country):
            raise NotPairedError(f"{country} has another root key than the one the pairing was signed for")

    def is_paired(self, country: str) -> bool:
        """Tell whether the pairing with this country is in force."""
        try:
            self.verify_paired(country)
        except (NotPairedError, UnknownMemberError):
            return False
        return True
