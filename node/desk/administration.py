"""What administrators do: officers, revocations, and how the node is. None of it shows case data."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from sqlalchemy import Connection

from node.desk.masking import Reading
from node.desk.officers import private_of_officer
from node.errors import CertificateInvalidError, ForbiddenError, UsageError
from node.federation.channels import GET_DIRECTORY, Channels
from node.federation.distribution import Distribution
from node.federation.lines import local_line
from node.federation.signed_checkpoints import quorum_of
from node.federation.standing import Standing
from node.identity.spiffe import SpiffeId, parse_spiffe_id
from node.policy.rules import LAYERS
from node.store import epochs, officers
from node.store.database import Database
from node.store.findings import count_open
from node.store.listing import read_head
from node.store.officers import Officer
from node.store.witnessing import last_witnessed
from node.store.writer import Writer
from node.wire.codes_pb2 import UnitType
from node.wire.desk_pb2 import (
    EnrolOfficerRequest,
    GetStatusResponse,
    LedgerStatus,
    OfficerRole,
    OfficerState,
    PeerOutcomeOf,
    PeerStatus,
    RulebookStatus,
)
from node.wire.exchange_pb2 import GetDirectoryRequest
from node.wire.ledger_pb2 import LeafKind

PROBE_S = 3.0
LONGEST_NAME = 32
LONGEST_UNIT = 64
KNOWN_ROLES = frozenset(OfficerRole.values()) - {OfficerRole.OFFICER_ROLE_UNKNOWN}
KNOWN_UNIT_TYPES = frozenset(UnitType.values()) - {UnitType.UNIT_TYPE_UNKNOWN}
# Who reads case data never administers the node.
READS_CASES = frozenset(
    {OfficerRole.OFFICER_ROLE_UNIT, OfficerRole.OFFICER_ROLE_SUPERVISOR, OfficerRole.OFFICER_ROLE_FOCAL_POINT}
)


@dataclass(slots=True)
class Administration:
    """Serves administrators."""

    standing: Standing
    database: Database
    writer: Writer
    distribution: Distribution
    channels: Channels
    data: Path | None  # whose disk is watched; None where it is another machine's
    clock: Callable[[], int]

    async def enrol_officer(self, request: EnrolOfficerRequest, administrator: Officer) -> None:
        """Enrol an officer, or change their unit and roles.

        Raises:
            UsageError: name, unit or roles are missing, too long, or not of the contract.
            ForbiddenError: the roles don't go together, or the administrator enrols themself.
        """
        roles = frozenset(request.roles)
        identity = self._identity(request.officer)
        if not 0 < len(request.unit.encode()) <= LONGEST_UNIT:
            raise UsageError(f"an officer needs a unit of up to {LONGEST_UNIT} bytes")
        if not roles or not roles <= KNOWN_ROLES or request.unit_type not in KNOWN_UNIT_TYPES:
            raise UsageError("an officer needs a unit type and at least one role, all of the contract's list")
        if request.officer == administrator.name:
            raise ForbiddenError("nobody gives themself roles")
        if OfficerRole.OFFICER_ROLE_ADMINISTRATOR in roles and roles & READS_CASES:
            raise ForbiddenError("an administrator never reads case data")
        if OfficerRole.OFFICER_ROLE_AUDITOR in roles and len(roles) > 1:
            raise ForbiddenError("an auditor has no other role: nobody audits themself")
        officer = Officer(request.officer, identity, request.unit, request.unit_type, roles)
        now_us = self.clock()
        private = private_of_officer(administrator, subject=request.officer.encode(), reason="OFFICER")
        line = local_line(LeafKind.LEAF_KIND_ENROLMENT, private, self.standing.signer, now_us)
        await asyncio.wrap_future(
            self.writer.submit(lambda connection: officers.put_officer(connection, officer, now_us), [line])
        )

    async def list_officers(self, reader: Officer, unmask: str) -> list[OfficerState]:
        """Return all officers by name, also those suspended; to an auditor who does not say why, under masks.

        Raises:
            UsageError: no reason for unmasking.
            LedgerError: the reading can't be logged.
        """
        names = await Reading(self.standing, self.writer, self.clock).begin(reader, "OFFICERS", unmask=unmask)
        if OfficerRole.OFFICER_ROLE_ADMINISTRATOR in reader.roles:  # who enrols them
            names = str
        shown = [
            OfficerState(
                officer=names(each.name),
                unit=each.unit,
                unit_type=each.unit_type,
                roles=sorted(each.roles),
                suspended=not each.active,
            )
            for each in await self.database.read(officers.list_officers)
        ]
        return sorted(shown, key=lambda each: each.officer)  # by what is shown: order tells names too

    async def import_directory(self, signed: bytes, administrator: Officer) -> int:
        """Put a directory in force, and return the version that is."""
        return await self.distribution.accept_directory(signed, private_of_officer(administrator))

    async def suspend_officer(self, name: str, administrator: Officer) -> None:
        """Take an officer's access away at once; enrolling them again gives it back.

        Raises:
            NotFoundError: there is no such officer.
            ForbiddenError: it is the administrator, who would lock everybody out.
        """
        if name == administrator.name:
            raise ForbiddenError("nobody suspends themself")
        private = private_of_officer(administrator, subject=name.encode(), reason="SUSPENDED")
        line = local_line(LeafKind.LEAF_KIND_ENROLMENT, private, self.standing.signer, self.clock())
        await asyncio.wrap_future(self.writer.submit(lambda connection: officers.deactivate(connection, name), [line]))

    async def store_revocations(self, crl: bytes, administrator: Officer) -> list[PeerOutcomeOf]:
        """Put this country's own revocation list in force here, and bring it to every peer."""
        await self.distribution.store_revocations(self.standing.country, crl, private_of_officer(administrator))
        pushed = await self.distribution.push_revocations(crl)
        return [PeerOutcomeOf(peer=peer, outcome=outcome) for peer, outcome in sorted(pushed.items())]

    async def status(self, *, probe_peers: bool) -> GetStatusResponse:
        """Tell how the node is; with `probe_peers`, also whether each peer answers."""
        directory, now_us = self.standing.trust.directory, self.clock()
        peers = [each.country for each in directory.members() if each.country != self.standing.country]
        disk = os.statvfs(self.data) if self.data else None
        return GetStatusResponse(
            country=self.standing.country,
            node=self.standing.signer.node,
            ledger_size=(await self.database.read(read_head)).size,
            directory_version=directory.version,
            directory_expires_us=directory.expires_us,
            certificate_expires_us=self.channels.own.not_after_us,
            clock_us=now_us,
            database="sqlite" if self.database.is_sqlite else "postgresql",
            peers=await asyncio.gather(*[self._peer(peer, probe=probe_peers) for peer in peers]),
            rulebooks=self._rulebooks(now_us),
            disk_free_bytes=disk.f_bavail * disk.f_frsize if disk else 0,
            ledger=await self.database.read(_ledger, quorum_of(directory)),
        )

    def _identity(self, officer: str) -> str:
        """Return the id that the officer's certificate bears; a name that no certificate can bear is a mistake."""
        identity = SpiffeId(self.standing.country, self.standing.trust.directory.federation, "desk", officer).uri
        try:
            parse_spiffe_id(identity)
        except CertificateInvalidError:
            pass
        else:
            if len(officer) <= LONGEST_NAME:
                return identity
        raise UsageError(f"an officer's pseudonym is of a-z, 0-9 and -, and has up to {LONGEST_NAME} of them")

    async def _peer(self, peer: str, *, probe: bool) -> PeerStatus:
        status = PeerStatus(peer=peer, paired=self.standing.trust.is_paired(peer))
        if probe:
            request = GetDirectoryRequest(have_version=self.standing.trust.directory.version).SerializeToString()
            try:
                await self.channels.call(self.standing.trust, peer, GET_DIRECTORY, request, PROBE_S)
            except grpc.aio.AioRpcError as error:
                status.detail = error.code().name
            else:
                status.reachable = True
        return status

    def _rulebooks(self, now_us: int) -> Sequence[RulebookStatus]:
        return [
            RulebookStatus(
                layer=layer,
                name=book.name if book else "",
                version=book.version if book else 0,
                sha256=book.sha256 if book else b"",
                valid_until_us=book.valid_until_us if book else 0,
                in_force=book is not None and book.is_valid_at(now_us),
                detail=self.standing.fault(layer, now_us),
            )
            for layer, book in [(layer, self.standing.rulebook(layer, now_us)) for layer in LAYERS]
        ]


def _ledger(connection: Connection, quorum: int) -> LedgerStatus:
    last = last_witnessed(connection, quorum)
    return LedgerStatus(
        epoch=epochs.epoch_of(connection),
        fenced=epochs.is_fenced(connection),
        witnessed_size=last.size if last else 0,
        witnessed_us=last.signed_us if last else 0,
        quorum=quorum,
        findings=sum(count_open(connection).values()),
    )
