"""Emergencies at the desk: one focal point declares or ends, another one reviews, each with a key of their own."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from node.desk.masking import Reading
from node.desk.officers import NOT_ON_DUTY, private_of_officer, verify_brought
from node.errors import ForbiddenError, ReplayError, UsageError
from node.federation.emergencies import Emergencies as InForce
from node.federation.lines import line_of, local_line, shared_of_event
from node.federation.standing import Standing
from node.identity.emergencies import MAX_REASON, emergency_sha256, emergency_signer, review_signer
from node.store import duty, emergencies, focal_points
from node.store.database import Database
from node.store.lines import Line
from node.store.officers import Officer
from node.store.writer import Writer
from node.wire.desk_pb2 import OfficerRole
from node.wire.ledger_pb2 import LeafKind
from node.wire.safeguard_pb2 import EmergencyState

CLOCK_US = 300 * 1_000_000
"""What is signed is brought within so much of the node's clock, or is signed anew."""


@dataclass(slots=True)
class Emergencies:
    """Serves focal points."""

    standing: Standing
    database: Database
    writer: Writer
    in_force: InForce
    clock: Callable[[], int]

    async def declare(self, signed: bytes, officer: Officer) -> bytes:
        """Put an emergency in force that a focal point has signed, and return its SHA-256.

        It makes rules count that the approved rulebook marks for emergencies, and no others.

        Raises:
            MalformedError, SignatureError: it says too little, or none of this country's focal points has signed it.
            ApprovalError: who brings it is not who signed it.
            ForbiddenError: somebody is on duty, and it is another; a line says so.
            UsageError: it is not of this country, towards another member, and of now; or one is in force, or the last
                one towards this peer was not reviewed.
        """
        focal, now_us = await self.database.read(focal_points.by_name, self.in_force.vault), self.clock()
        emergency, key = emergency_signer(signed, list(focal.values()))
        verify_brought([name for name, known in focal.items() if known == key], officer)
        others = {each.country for each in self.standing.trust.directory.members()} - {self.standing.country}
        if emergency.country != self.standing.country or emergency.peer not in others:
            raise UsageError(f"peer: is none of the other members, which are {', '.join(sorted(others)) or 'none'}")
        if abs(emergency.time_us - now_us) > CLOCK_US:
            raise UsageError("the emergency's time is not near this node's clock: sign another")
        await self._verify_on_duty(officer)
        line = self._line(officer, emergency_sha256(signed), f"DECLARED {emergency.peer}: {emergency.reason}")

        def change(connection: Connection) -> bytes:
            return emergencies.put(connection, signed, officer=officer.name, now_us=now_us)

        digest = await asyncio.wrap_future(self.writer.submit(change, [line]))
        await self.in_force.follow()
        return digest

    async def end(self, peer: str, reason: str, officer: Officer) -> None:
        """End the emergency towards a peer at once; any focal point may, since it only stops what leaves.

        Raises:
            UsageError: the reason is missing or too long.
            NotFoundError: none is in force.
        """
        if not 0 < len(reason.encode()) <= MAX_REASON:
            raise UsageError(f"say why, in up to {MAX_REASON} bytes")
        now_us, what = self.clock(), f"ENDED {peer}: {reason}"
        digests = await self.database.read(emergencies.open_towards, peer, now_us)
        lines = [self._line(officer, each, what, ends=True) for each in digests]

        def change(connection: Connection) -> None:
            emergencies.end(connection, peer, now_us)

        await self._end(change, lines)

    async def review(self, signed: bytes, officer: Officer) -> None:
        """Keep what another focal point says of an emergency; what is not upheld ends at once.

        Raises:
            MalformedError, SignatureError: it says too little, or none of this country's focal points has signed it.
            ApprovalError: who brings it is not who signed it.
            UsageError: who declared it would review it, with the same key or as the same officer; a line says so. Or it
                was reviewed already, or is not of now.
            NotFoundError: no such emergency was declared.
        """
        focal = await self.database.read(focal_points.by_name, self.in_force.vault)
        review, reviewer = review_signer(signed, list(focal.values()))
        digest, now_us = review.emergency_sha256, self.clock()
        if abs(review.time_us - now_us) > CLOCK_US:
            raise UsageError("the review's time is not near this node's clock: sign another")
        declared, declared_by = await self.database.read(emergencies.get, digest)
        emergency, declarer = emergency_signer(declared, list(focal.values()))
        if reviewer == declarer or officer.name == declared_by:
            await self.writer.append(self._line(officer, digest, "SECOND_FOCAL_POINT", LeafKind.LEAF_KIND_DENIED))
            raise UsageError("another focal point than the one who declared it reviews it, with a key of their own")
        verify_brought([name for name, known in focal.items() if known == reviewer], officer)
        said = "UPHELD" if review.upheld else "NOT_UPHELD"
        in_force = await self.database.read(emergencies.open_towards, emergency.peer, now_us)
        ends = not review.upheld and digest in in_force
        line = self._line(officer, digest, f"{said} {emergency.peer}: {review.reason}", ends=ends)

        def change(connection: Connection) -> None:
            emergencies.review(connection, digest, signed, officer=officer.name, now_us=now_us, upheld=review.upheld)

        await self._end(change, [line])

    async def list_emergencies(self, officer: Officer, unmask: str) -> list[EmergencyState]:
        """Return all emergencies, the newest first; to an auditor who does not say why, with names under masks.

        Raises:
            UsageError: no reason for unmasking.
        """
        names = await Reading(self.standing, self.writer, self.clock).begin(officer, "EMERGENCIES", unmask=unmask)
        found = await self.database.read(lambda connection: list(emergencies.list_emergencies(connection)))
        if OfficerRole.OFFICER_ROLE_FOCAL_POINT not in officer.roles:  # who declares and reviews them
            for each in found:
                each.declared_by, each.reviewed_by = names(each.declared_by), names(each.reviewed_by)
        return found

    async def _verify_on_duty(self, officer: Officer) -> None:
        """Check that who would act alone is on call, where anybody is."""
        if await self.database.read(duty.may_act_alone, officer.name, self.clock()):
            return
        await self.writer.append(self._line(officer, b"", "NOT_ON_DUTY", LeafKind.LEAF_KIND_DENIED))
        raise ForbiddenError(NOT_ON_DUTY)

    async def _end(self, change: Callable[[Connection], None], lines: Sequence[Line]) -> None:
        try:
            await asyncio.wrap_future(self.writer.submit(change, lines))
        except ReplayError as error:
            raise UsageError("somebody else ended it meanwhile: look again") from error
        await self.in_force.follow()

    def _line(
        self,
        officer: Officer,
        digest: bytes,
        reason: str,
        kind: LeafKind.ValueType = LeafKind.LEAF_KIND_EMERGENCY,
        *,
        ends: bool = False,
    ) -> Line:
        # Towards whom is in the private part: the shared one is in a tree that others may copy.
        private, now_us = private_of_officer(officer, subject=digest[:16], reason=reason), self.clock()
        if not ends:
            return local_line(kind, private, self.standing.signer, now_us)
        exchange_id = emergencies.ending_id(digest)
        shared = shared_of_event(kind, self.standing.signer, now_us, exchange_id=exchange_id)
        key = emergencies.ENDING_KEY
        return line_of(shared, private, exchange_id=exchange_id, now_us=now_us, replay_key=key)
