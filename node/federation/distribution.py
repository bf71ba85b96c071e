"""What keeps trust current between peers: the directory, and each country's own revocation list.

Neither discloses anything about a case. A directory verifies by itself, so any peer may bring it; a revocation list
comes from its own country alone.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import grpc
import structlog
from google.protobuf.message import DecodeError

from node.errors import CertificateInvalidError, DirectoryError, DirectoryRollbackError, MalformedError
from node.federation.channels import GET_DIRECTORY, PUSH_REVOCATIONS, Channels
from node.federation.enacting import Enacting
from node.federation.lines import line_of, local_line, shared_of_event
from node.federation.standing import Standing
from node.identity.certificates import Peer
from node.identity.revocation import RevocationList, parse_crl
from node.store import directories
from node.store.database import Database
from node.store.writer import Writer
from node.wire.desk_pb2 import PeerOutcome
from node.wire.exchange_pb2 import (
    GetDirectoryRequest,
    GetDirectoryResponse,
    PushRevocationsRequest,
    PushRevocationsResponse,
)
from node.wire.ledger_pb2 import Direction, LeafKind, LeafPrivate

log = structlog.get_logger()

CALL_S = 5.0
MOST_LISTS = 128  # taken from one answer


@dataclass(slots=True)
class Distribution:
    """Serves, fetches and accepts directories and revocation lists."""

    standing: Standing
    channels: Channels
    writer: Writer
    database: Database
    enacting: Enacting
    clock: Callable[[], int]
    # Two directories that arrive at once are judged one after the other, each against what is then in force.
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    # --- as a server ---

    async def directory(self, data: bytes, peer: Peer) -> bytes:
        """Answer a GetDirectoryRequest of any member, paired or not: a new member needs it most."""
        del peer
        try:
            request = GetDirectoryRequest.FromString(data)
        except DecodeError:
            raise MalformedError("the request is not a message of the contract") from None
        held = self.standing.trust.directory
        newer = held.version > request.have_version
        lists = await self.database.read(directories.crls)
        return GetDirectoryResponse(
            signed_directory=held.signed if newer else b"", crls=[crl for _, crl in lists]
        ).SerializeToString()

    async def revocations(self, data: bytes, peer: Peer) -> bytes:
        """Store the caller's own revocation list; it counts from the next call on, open connections included."""
        try:
            crl = PushRevocationsRequest.FromString(data).crl
        except DecodeError:
            raise MalformedError("the request is not a message of the contract") from None
        listed = await self.store_revocations(peer.country, crl)
        return PushRevocationsResponse(crl_number=listed.number).SerializeToString()

    # --- as this node ---

    async def store_revocations(self, country: str, crl: bytes, private: LeafPrivate | None = None) -> RevocationList:
        """Verify a country's list, log and store it, and put it in force; `private` says which officer brought it.

        Raises:
            CertificateInvalidError: another signed it.
            DirectoryRollbackError: its number is lower than the one held.
        """
        listed = parse_crl(crl, self.standing.trust.directory.roots(country))
        async with self._one_at_a_time:
            now_us = self.clock()
            private = private or LeafPrivate()
            private.reason, private.subject = f"CRL {listed.number}", listed.digest
            line = local_line(LeafKind.LEAF_KIND_REVOCATIONS, private, self.standing.signer, now_us, peer=country)
            serials = await asyncio.wrap_future(
                self.writer.submit(lambda connection: directories.put_crl(connection, listed, crl, now_us), [line])
            )
            self.standing.revoke(country, serials)
        return listed

    async def accept_directory(self, signed_directory: bytes, private: LeafPrivate | None = None) -> int:
        """Verify a directory, log and store it, put it in force, and return its version.

        `private` says which officer brought it, where one did.

        Raises:
            DirectoryError: it is not a successor of the one in force.
        """
        async with self._one_at_a_time:
            now_us = self.clock()
            successor = self.standing.trust.directory.updated(signed_directory, now_us)
            if successor.version > self.standing.trust.directory.version:
                private = private or LeafPrivate()
                private.reason, private.subject = f"VERSION {successor.version}", successor.digest
                line = local_line(LeafKind.LEAF_KIND_DIRECTORY, private, self.standing.signer, now_us)
                await asyncio.wrap_future(
                    self.writer.submit(
                        lambda connection: directories.put_directory(connection, successor, now_us), [line]
                    )
                )
                self.standing.follow(successor)
                await self.enacting.enact()
        return self.standing.trust.directory.version

    async def fetch_directories(self) -> int:
        """Ask every peer for a newer directory and revocation lists, accept what verifies, and return the version.

        A revocation reaches a node that was down when it was pushed, and a new member, in this way.
        """
        trust = self.standing.trust
        request = GetDirectoryRequest(have_version=trust.directory.version).SerializeToString()
        peers = [record.country for record in trust.directory.members() if record.country != self.standing.country]
        replies = await asyncio.gather(*[self._called(peer, GET_DIRECTORY, request) for peer in peers])
        for peer, data in zip(peers, replies, strict=True):
            if data:
                await self._take(peer, data)
        return self.standing.trust.directory.version

    async def _take(self, peer: str, data: bytes) -> None:
        """Accept the directory in a peer's answer, if there is one; a line says that it was not acceptable."""
        try:
            response = GetDirectoryResponse.FromString(data)
            if response.signed_directory:
                await self.accept_directory(response.signed_directory)
            await self._take_lists(response.crls[:MOST_LISTS])
        except (DecodeError, DirectoryError) as error:
            kind = MalformedError.__name__ if isinstance(error, DecodeError) else type(error).__name__
            log.warning("directory_not_accepted", peer=peer, kind=kind)
            now_us, exchange_id = self.clock(), secrets.token_bytes(16)
            shared = shared_of_event(
                LeafKind.LEAF_KIND_REJECTED,
                self.standing.signer,
                now_us,
                exchange_id=exchange_id,
                peer=peer,
                direction=Direction.DIRECTION_RECEIVED,
                body=data,
            )
            await self.writer.append(line_of(shared, LeafPrivate(reason=kind), exchange_id=exchange_id, now_us=now_us))

    async def _take_lists(self, crls: Sequence[bytes]) -> None:
        """Store those lists that are news; who brings a false or an old one changes nothing."""
        held = {hashlib.sha256(crl).digest() for _, crl in await self.database.read(directories.crls)}
        for crl in crls:
            if hashlib.sha256(crl).digest() in held:
                continue
            for member in self.standing.trust.directory.members():
                with suppress(CertificateInvalidError, DirectoryRollbackError):
                    await self.store_revocations(member.country, crl)
                    break

    async def push_revocations(self, crl: bytes) -> dict[str, PeerOutcome.ValueType]:
        """Bring this country's revocation list to every peer, and return how that ended with each."""
        request = PushRevocationsRequest(crl=crl).SerializeToString()
        members = self.standing.trust.directory.members()
        peers = [record.country for record in members if record.country != self.standing.country]
        replies = await asyncio.gather(*[self._called(peer, PUSH_REVOCATIONS, request) for peer in peers])
        return {
            peer: PeerOutcome.PEER_OUTCOME_UNREACHABLE if reply is None else PeerOutcome.PEER_OUTCOME_ANSWERED
            for peer, reply in zip(peers, replies, strict=True)
        }

    async def _called(self, peer: str, method: str, request: bytes) -> bytes | None:
        try:
            return await self.channels.call(self.standing.trust, peer, method, request, CALL_S)
        except grpc.aio.AioRpcError as error:
            log.warning("peer_not_reached", peer=peer, method=method, status=error.code().name)
            return None
