"""What waits for a human: pairings to sign, LIFE queries to acknowledge, entries silently held."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from node.desk.officers import private_of_officer, verify_brought
from node.desk.rehearsing import Rehearsing
from node.errors import MalformedError, NotFoundError, NotPairedError, UsageError
from node.federation.acknowledging import Acknowledging
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.identity.approvals import SIGNERS, parse_pairing, signers
from node.store import focal_points, holds, life, pairings
from node.store.database import Database
from node.store.officers import Officer
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.approval_pb2 import SignedFocalEnrolment, SignedPairing
from node.wire.desk_pb2 import Hold, LifeNotice, PairingState
from node.wire.ledger_pb2 import Direction, LeafKind

LONGEST_REASON = 40  # with the peer, it fits a ledger line
# A pairing from the future would lock out every later one.
CLOCK_US = 300 * 1_000_000
OLDEST_PAIRING_US = 30 * 86_400 * 1_000_000


@dataclass(slots=True)
class Approving:
    """Serves focal points."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    acknowledging: Acknowledging
    rehearsing: Rehearsing
    clock: Callable[[], int]

    async def sign_pairing(self, signed: bytes, officer: Officer) -> bool:
        """Keep the signatures on a pairing with those kept before, and tell whether two focal points have now signed.

        Raises:
            MalformedError: it is not a pairing, or is signed by nobody who may.
            UsageError: it names a rehearsal that this node did not make.
            ApprovalError: who brings it is not who newly signed it.
            NotPairedError: it is not of this country, or names another root key than the peer has in the directory.
        """
        pairing, now_us = parse_pairing(_parsed(signed).pairing), self.clock()
        root_key = self.standing.trust.directory.root_key(pairing.peer)
        if pairing.country != self.standing.country or pairing.peer_root_key != root_key:
            raise NotPairedError(f"the pairing is not between {self.standing.country} and {pairing.peer} as it is now")
        if not now_us - OLDEST_PAIRING_US <= pairing.time_us <= now_us + CLOCK_US:
            raise UsageError("the pairing's time is not near this node's clock: rehearse and sign another")
        held = (await self.database.read(pairings.begun)).get(pairing.peer)
        known = held is not None and parse_pairing(_parsed(held).pairing).rehearsal_sha256 == pairing.rehearsal_sha256
        if not known and not self.rehearsing.is_made(pairing.peer, pairing.rehearsal_sha256):
            raise UsageError(
                f"rehearse the pairing with {pairing.peer} first, so that who signs has read what would leave"
            )
        focal = await self.database.read(focal_points.by_name, self.vault)
        private = private_of_officer(officer, subject=root_key[:16], reason=f"PAIRING {pairing.peer}")
        line = local_line(LeafKind.LEAF_KIND_PAIRING, private, self.standing.signer, now_us, peer=pairing.peer)

        def change(connection: Connection) -> bool:
            begun = pairings.begun(connection).get(pairing.peer)
            together = _joined(begun, signed)
            who = signers(together, focal.values())
            if not who:
                raise NotPairedError("no focal point of this node has signed this pairing")
            new = who - _signed_before(begun, together, focal.values())
            verify_brought([name for name, key in focal.items() if key in new], officer)
            complete = len(who) >= SIGNERS
            keep = pairings.put if complete else pairings.begin
            keep(connection, pairing, together, now_us=now_us)
            return complete

        in_force = await asyncio.wrap_future(self.writer.submit(change, [line]))
        if in_force:
            self.standing.pair(pairing.peer, root_key)
        return in_force

    async def end_pairing(self, peer: str, reason: str, officer: Officer) -> None:
        """End the pairing with a peer at once; one focal point suffices, since it only stops what leaves.

        Raises:
            UsageError: the reason is missing or too long.
            NotFoundError: there is no pairing to end.
        """
        if not 0 < len(reason.encode()) <= LONGEST_REASON:
            raise UsageError(f"say why, in up to {LONGEST_REASON} bytes")
        now_us = self.clock()
        private = private_of_officer(officer, reason=f"ENDED {peer}: {reason}")
        line = local_line(LeafKind.LEAF_KIND_PAIRING, private, self.standing.signer, now_us, peer=peer)
        await asyncio.wrap_future(self.writer.submit(lambda connection: pairings.end(connection, peer, now_us), [line]))
        self.standing.unpair(peer)
        self.rehearsing.forget(peer)

    async def enrol_focal_point(self, signed: bytes, officer: Officer) -> str:
        """Enrol one more focal point, countersigned by one already there, and return the name.

        Raises:
            MalformedError, SignatureError: it is not such an enrolment.
        """
        try:
            enrolment = SignedFocalEnrolment.FromString(signed)
        except DecodeError as error:
            raise MalformedError("the enrolment is not a message of the contract") from error
        now_us = self.clock()
        digest = hashlib.sha256(enrolment.enrolment).digest()
        private = private_of_officer(officer, subject=digest, reason="FOCAL_POINT")
        line = local_line(LeafKind.LEAF_KIND_ENROLMENT, private, self.standing.signer, now_us)
        return await asyncio.wrap_future(
            self.writer.submit(lambda connection: focal_points.put(connection, self.vault, enrolment, now_us), [line])
        )

    async def list_pairings(self, officer: Officer) -> list[PairingState]:
        """Return how it stands with every other member."""
        await self._log_read(officer, "PAIRINGS")
        directory = self.standing.trust.directory
        signed, focal_keys = await self.database.read(_pairings_and_keys, self.vault)
        states = []
        for record in directory.members():
            if record.country == self.standing.country:
                continue
            held = signed.get(record.country)
            states.append(
                PairingState(
                    peer=record.country,
                    signatures=len(signers(held, focal_keys)) if held else 0,
                    in_force=self.standing.trust.is_paired(record.country),
                    root_key=directory.root_key(record.country),
                )
            )
        return states

    async def rehearse_pairing(self, peer: str, officer: Officer) -> tuple[str, bytes]:
        """Return what would leave to the peer, for people, and the report's SHA-256.

        Raises:
            UsageError: the peer is this country itself, or not in the directory.
        """
        rehearsed = await self.rehearsing.rehearse(peer)
        await self._log_read(officer, f"REHEARSAL {peer}")
        return rehearsed

    async def list_holds(self, officer: Officer) -> list[Hold]:
        """Return entries that wait for a focal point, the earliest due first."""
        waiting = await self.database.read(holds.waiting)
        await self._log_read(officer, "HOLDS")
        return waiting

    async def list_life(self, officer: Officer) -> list[LifeNotice]:
        """Return LIFE queries of both directions, the earliest due first."""
        notices = await self.database.read(life.notices)
        await self._log_read(officer, "LIFE")
        return notices

    async def acknowledge_life(self, query_id: bytes, telephone: str, officer: Officer) -> int:
        """Tell the peer that this officer has read its LIFE query, and return when (UTC microseconds).

        Raises:
            NotFoundError: no such query came.
            UnansweredError: the peer was not reached; it can be tried again.
        """
        for notice in await self.database.read(life.notices):
            if notice.exchange_id == query_id and notice.direction == Direction.DIRECTION_RECEIVED:
                return await self.acknowledging.send(notice.peer, query_id, private_of_officer(officer), telephone)
        raise NotFoundError("no LIFE query with this exchange id has come")

    async def _log_read(self, officer: Officer, reason: str) -> None:
        """Return when the look is durably logged: only then may anything be shown."""
        private = private_of_officer(officer, reason=reason)
        await self.writer.append(local_line(LeafKind.LEAF_KIND_READ, private, self.standing.signer, self.clock()))


def _pairings_and_keys(connection: Connection, vault: Vault) -> tuple[Mapping[str, bytes], list[bytes]]:
    return {**pairings.in_force(connection), **pairings.begun(connection)}, focal_points.keys(connection, vault)


def _parsed(signed: bytes) -> SignedPairing:
    try:
        return SignedPairing.FromString(signed)
    except DecodeError as error:
        raise MalformedError("the pairing is not a message of the contract") from error


def _signed_before(held: bytes | None, signed: bytes, focal_keys: Iterable[bytes]) -> frozenset[bytes]:
    """Return the keys that had signed the same pairing before it was brought again."""
    same = held is not None and _parsed(held).pairing == _parsed(signed).pairing
    return signers(held, focal_keys) if held is not None and same else frozenset()


def _joined(held: bytes | None, signed: bytes) -> bytes:
    """Put the signatures on the same pairing together; another pairing starts anew."""
    new = _parsed(signed)
    old = _parsed(held) if held is not None else SignedPairing()
    if old.pairing == new.pairing:
        known = {each.key_id for each in new.signatures}
        new.signatures.extend(each for each in old.signatures if each.key_id not in known)
    return new.SerializeToString()
