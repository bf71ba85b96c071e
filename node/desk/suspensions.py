"""Focal points stop all exchange with a peer at once, and begin it again.

One of them stops it for 24 hours, two until it is lifted, which takes two. Neither the peer nor any steward has a say.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from node.desk.masking import Reading
from node.desk.officers import private_of_officer, verify_brought
from node.errors import ApprovalError, MalformedError, UsageError
from node.federation.lines import local_line
from node.federation.mailroom import Mailroom
from node.federation.suspending import Suspending
from node.identity.suspensions import (
    ALONE_US,
    lifting_signers,
    parse_lifting,
    parse_suspension,
    suspension_sha256,
    suspension_signers,
)
from node.store import focal_points, suspensions
from node.store.lines import Line
from node.store.officers import Officer
from node.wire.desk_pb2 import OfficerRole
from node.wire.ledger_pb2 import LeafKind
from node.wire.suspension_pb2 import SignedLifting, SignedSuspension, SuspensionState

Signed = TypeVar("Signed", SignedSuspension, SignedLifting)

CLOCK_US: Final = 300_000_000
"""How far ahead of this node's clock a signer's may be; what is older than a day is signed anew."""


@dataclass(slots=True)
class Suspensions:
    """Serves focal points; auditors read."""

    suspending: Suspending
    mailroom: Mailroom

    async def suspend(self, data: bytes, officer: Officer) -> SuspensionState:
        """Put a suspension in force that a focal point has signed, or add that of a second one.

        Raises:
            MalformedError, SignatureError: it is no suspension, or a signature on it is false.
            UsageError: it is not of this country, towards another member, and of now.
            ApprovalError: who brings it is not who newly signed it.
        """
        focal = await self._focal()
        signed = _parsed(SignedSuspension, data)
        said = parse_suspension(signed.suspension)
        standing = self.suspending.standing
        others = {each.country for each in standing.trust.directory.members()} - {standing.country}
        if said.country != standing.country or said.peer not in others:
            raise UsageError(f"peer: is none of the other members, which are {', '.join(sorted(others)) or 'none'}")
        self._verify_time(said.time_us)
        digest = suspension_sha256(signed.suspension)

        def change(connection: Connection) -> None:
            held, lifting = suspensions.get(connection, digest)
            if lifting is not None:
                raise UsageError("two focal points are about to lift it, or have: sign another")
            together = _joined(signed, held)
            before = suspension_signers(held.SerializeToString(), focal)[1] if held else frozenset[str]()
            _verify_brought(suspension_signers(together.SerializeToString(), focal)[1] - before, officer)
            suspensions.put(connection, together)

        await self._write(change, self._line(officer, digest, f"SUSPENDED {said.peer}: {said.reason}"))
        return await self._state(digest, focal)

    async def lift(self, data: bytes, officer: Officer) -> SuspensionState:
        """Keep a signature on the lifting of a suspension; with the second one, it is lifted.

        Raises:
            MalformedError, SignatureError: it is no lifting, or a signature on it is false.
            NotFoundError: there is no such suspension.
            UsageError: it is not of now, or another lifting of it is under way.
            ApprovalError: who brings it is not who newly signed it.
        """
        focal = await self._focal()
        signed = _parsed(SignedLifting, data)
        said = parse_lifting(signed.lifting)
        self._verify_time(said.time_us)
        digest = said.suspension_sha256
        peers = [each.peer for each in await self._states(focal) if each.suspension_sha256 == digest]

        def change(connection: Connection) -> None:
            _, held = suspensions.get(connection, digest)
            if held is not None and held.lifting != signed.lifting:
                raise UsageError("another lifting of it waits for a second signature: sign that one")
            together = _joined(signed, held)
            before = lifting_signers(held.SerializeToString(), focal)[1] if held else frozenset[str]()
            _verify_brought(lifting_signers(together.SerializeToString(), focal)[1] - before, officer)
            suspensions.put_lifting(connection, together)

        await self._write(change, self._line(officer, digest, f"LIFTED {' '.join(peers)}: {said.reason}"))
        return await self._state(digest, focal)

    async def list_suspensions(self, officer: Officer, unmask: str) -> list[SuspensionState]:
        """Return how each suspension stands, the newest first; to an auditor who does not say why, names masked.

        Raises:
            UsageError: no reason for unmasking.
        """
        reading = Reading(self.mailroom.standing, self.mailroom.writer, self.mailroom.clock)
        names = await reading.begin(officer, "SUSPENSIONS", unmask=unmask)
        found = await self._states(await self._focal())
        if OfficerRole.OFFICER_ROLE_FOCAL_POINT not in officer.roles:  # who imposes and lifts them
            for each in found:
                each.signed_by[:] = sorted(names(name) for name in each.signed_by)
                each.lifting_signed_by[:] = sorted(names(name) for name in each.lifting_signed_by)
        return found

    async def _write(self, change: Callable[[Connection], None], line: Line) -> None:
        await asyncio.wrap_future(self.mailroom.writer.submit(change, [line]))
        resumed = await self.suspending.look()
        self.mailroom.ring(resumed, hurried=resumed)

    async def _focal(self) -> Mapping[str, bytes]:
        return await self.suspending.database.read(focal_points.by_name, self.suspending.vault)

    async def _states(self, focal: Mapping[str, bytes]) -> list[SuspensionState]:
        return list(await self.suspending.database.read(suspensions.listed, focal, self.suspending.clock()))

    async def _state(self, digest: bytes, focal: Mapping[str, bytes]) -> SuspensionState:
        return next(each for each in await self._states(focal) if each.suspension_sha256 == digest)

    def _verify_time(self, time_us: int) -> None:
        now_us = self.suspending.clock()
        if not now_us - ALONE_US <= time_us <= now_us + CLOCK_US:
            raise UsageError("its time is not near this node's clock: sign another")

    def _line(self, officer: Officer, digest: bytes, reason: str) -> Line:
        # Towards whom is in the private part: the shared one is in a tree that others may copy.
        private = private_of_officer(officer, subject=digest[:16], reason=reason)
        signer, now_us = self.suspending.standing.signer, self.suspending.clock()
        return local_line(LeafKind.LEAF_KIND_PAIRING, private, signer, now_us)


def _parsed(kind: type[Signed], data: bytes) -> Signed:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise MalformedError("what is signed is not a message of the contract") from error


def _joined(signed: Signed, held: Signed | None) -> Signed:
    """Return it with the signatures that it has here besides."""
    together = type(signed)()
    together.CopyFrom(signed)
    known = {each.key_id for each in signed.signatures}
    together.signatures.extend([each for each in held.signatures if each.key_id not in known] if held else [])
    return together


def _verify_brought(new: Collection[str], officer: Officer) -> None:
    """Check that somebody newly signed it, who also brings it."""
    if not new:
        raise ApprovalError("no focal point of this node has signed it who had not before")
    verify_brought(new, officer)
