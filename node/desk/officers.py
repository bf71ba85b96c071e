"""Who is at the desk: an officer known by the client certificate, and what their roles let them do."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from cryptography import x509

from node.errors import ApprovalError, CertificateInvalidError, ForbiddenError
from node.federation.boundary import Context
from node.federation.lines import local_line
from node.federation.servicer import certificate_chain
from node.federation.standing import Standing
from node.identity.certificates import claimed_identity, parse_chain, verify_chain
from node.identity.revocation import verify_not_revoked
from node.identity.spiffe import SpiffeId
from node.store import officers
from node.store.database import Database
from node.store.officers import Officer
from node.store.writer import Writer
from node.wire.desk_pb2 import OfficerRole
from node.wire.ledger_pb2 import LeafKind, LeafPrivate

log = structlog.get_logger()

NOT_ON_DUTY: Final = "in an emergency, who is on duty acts alone, or a deputy of theirs: see `enlace duty now`"


@dataclass(slots=True)
class Officers:
    """Tells officers by their certificates, on every call."""

    standing: Standing
    roots: Sequence[x509.Certificate]  # of this country's own authority
    database: Database
    writer: Writer
    clock: Callable[[], int]

    async def officer(self, context: Context, *roles: OfficerRole.ValueType) -> Officer:
        """Return the officer that calls, who must have one of the roles.

        Raises:
            CertificateInvalidError, CertificateRevokedError: the certificate is not an officer's of this country.
            ForbiddenError: no such officer, or without these roles; a line says so.
        """
        holder = self.identified(parse_chain(certificate_chain(context)))
        officer = await self.database.read(officers.find_officer, holder.uri)
        if officer is None or not officer.active:
            await self._deny(holder.name, "NO_SUCH_OFFICER")
            raise ForbiddenError(f"{holder.name} is not an active officer of this node")
        if not officer.roles & frozenset(roles):
            await self._deny(officer.name, "ROLE")
            raise ForbiddenError(f"{officer.name} has none of the roles {', '.join(map(OfficerRole.Name, roles))}")
        return officer

    def identified(self, chain: Sequence[x509.Certificate]) -> SpiffeId:
        """Return whose certificate this is, leaf first; whether the officer is enrolled is not looked at.

        Raises:
            CertificateInvalidError, CertificateRevokedError: the certificate is not an officer's of this country.
        """
        leaf, *intermediates = chain
        claimed = claimed_identity(leaf)
        if claimed.kind != "desk" or claimed.country != self.standing.country:
            raise CertificateInvalidError("the certificate is not of an officer of this country")
        peer = verify_chain(leaf, intermediates, self.roots, datetime.fromtimestamp(self.clock() / 1e6, UTC))
        verify_not_revoked(peer, self.standing.trust.revoked.get(self.standing.country, frozenset()))
        return claimed

    async def _deny(self, name: str, reason: str) -> None:
        private = LeafPrivate(officer=name, reason=reason)
        await self.writer.append(local_line(LeafKind.LEAF_KIND_DENIED, private, self.standing.signer, self.clock()))


def verify_brought(new: Collection[str], officer: Officer) -> None:
    """Check that who brings it is who newly signed it: else one officer with two keys would be two focal points.

    Raises:
        ApprovalError: one of these focal points, by name, is somebody else.
    """
    if others := sorted(set(new) - {officer.name}):
        raise ApprovalError(
            f"a signature of {others[0]} is brought by {others[0]} alone: sign in with their certificate"
        )


def private_of_officer(officer: Officer, *, subject: bytes = b"", reason: str = "") -> LeafPrivate:
    """Start the private part of a line about what an officer did."""
    return LeafPrivate(
        officer=officer.name, unit=officer.unit, unit_type=officer.unit_type, subject=subject, reason=reason
    )
