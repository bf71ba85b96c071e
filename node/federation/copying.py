"""Keeps copies for the auditing institution: under which key, from when on, and what it has signed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection

from node.errors import MalformedError, NoteError, SignatureError, UsageError
from node.federation.envelope import Signer
from node.federation.lines import line_of, shared_of_event
from node.federation.standing import Standing
from node.identity.directory import TrustedDirectory
from node.identity.institution import verified_charter
from node.ledger.checkpoint import open_checkpoint
from node.ledger.note import ED25519, VerifierKey
from node.ledger.readings import readings_origin
from node.store import institution
from node.store.database import Database
from node.store.institution import DAY_US, LINE_KEY, Epoch, end_of_copies, line_id, new_epoch
from node.store.lines import Line
from node.store.writer import Writer
from node.wire.directory_pb2 import Audit
from node.wire.ledger_pb2 import LEAF_KIND_INSTITUTION, LeafKind, LeafPrivate

if TYPE_CHECKING:
    from concurrent.futures import Future

log = structlog.get_logger()


@dataclass(slots=True)
class Copying:
    """Follows directory and charters, and begins a new key each day."""

    standing: Standing
    database: Database
    writer: Writer
    clock: Callable[[], int]
    _current: tuple[int, int, int] | None = None  # charter, period and day of this process's key

    def audit(self) -> Audit | None:
        """Return who audits this country, and for how long; None where the directory names nobody."""
        return audit_of(self.standing.trust.directory, self.standing.country)

    async def look(self) -> None:
        """Begin another key where a charter or a day began; to be called before anything is logged, and ever again.

        What stands in the database in a charter's place, and is none of the institution's, changes nothing.
        """
        audit = self.audit()
        if audit is None:
            await self._end()
            return
        try:
            charter = await self.database.read(institution.charter_in_force, self.standing.country, audit)
        except (SignatureError, MalformedError):
            log.exception("no_charter")
            return
        wanted = (charter.number, audit.period_days, self.clock() // DAY_US) if charter is not None else None
        if charter is not None and wanted != self._current:
            await self._begin(new_epoch(charter, audit.period_days, self.clock()), f"COPIES {charter.number}")
            self._current = wanted

    async def accept_charter(self, signed: bytes, private: LeafPrivate) -> int:
        """Log and keep a charter; copies are made under it at once. `private` says which officer brought it.

        Raises:
            UsageError: the directory names no institution, or the charter's number is not higher than the last one's.
            MalformedError, SignatureError: it is not what that institution has signed.
        """
        audit = self.audit()
        if audit is None:
            raise UsageError("the directory names no institution that audits this country")
        charter, now_us = verified_charter(signed, self.standing.country, audit.root_key), self.clock()
        private.reason = f"CHARTER {charter.number}"
        line = named_line(LEAF_KIND_INSTITUTION, signed, private, self.standing.signer, now_us)

        def change(connection: Connection) -> None:
            institution.put_charter(connection, charter, signed, now_us)

        await asyncio.wrap_future(self.writer.submit(change, [line]))
        await self.look()
        return charter.number

    async def accept_commitment(self, note: bytes, private: LeafPrivate) -> int:
        """Log and keep what the institution's log of readings commits to, and return its size.

        Raises:
            UsageError: no charter is in force, its key has not signed this, or it commits to no more than before.
        """
        audit = self.audit()
        country = self.standing.country
        charter = await self.database.read(institution.charter_in_force, country, audit) if audit is not None else None
        if charter is None:
            raise UsageError("no charter of an institution is in force")
        origin = readings_origin(self.standing.trust.directory.federation, country)
        try:
            opened = open_checkpoint(note, log=VerifierKey(origin, ED25519, charter.readings_key)).checkpoint
        except NoteError as error:
            raise UsageError(f"the institution's charter does not vouch for this: {error}") from error
        now_us = self.clock()
        private.reason = f"READINGS {opened.size}"
        line = named_line(LEAF_KIND_INSTITUTION, note, private, self.standing.signer, now_us)

        def change(connection: Connection) -> None:
            institution.put_commitment(connection, opened.size, note, now_us)

        await asyncio.wrap_future(self.writer.submit(change, [line]))
        return opened.size

    async def _end(self) -> None:
        last = await self.database.read(institution.last_epoch)
        if last is not None and last.charter:
            await self._begin(end_of_copies(self.clock()), "NO COPIES")
        self._current = None

    async def _begin(self, epoch: Epoch, reason: str) -> None:
        await asyncio.wrap_future(_begun(self.writer, epoch, self.standing.signer, reason))


def audit_of(directory: TrustedDirectory, country: str) -> Audit | None:
    """Return who audits a country, and for how long; None where the directory names nobody."""
    for record in directory.members():
        if record.country == country and record.HasField("audit"):
            return record.audit
    return None


def begin_copies(
    connection: Connection, writer: Writer, directory: TrustedDirectory, signer: Signer, now_us: int
) -> None:
    """Begin copies in a process that writes lines while the node is down; none where no charter is in force.

    Raises:
        SignatureError, MalformedError: the charter that is stored is not what the institution signed: restore it first.
        LedgerError: the line of the key can't be written.
    """
    audit = audit_of(directory, signer.country)
    charter = institution.charter_in_force(connection, signer.country, audit) if audit is not None else None
    if audit is not None and charter is not None:
        epoch = new_epoch(charter, audit.period_days, now_us)
        _begun(writer, epoch, signer, f"COPIES {charter.number}").result()


def _begun(writer: Writer, epoch: Epoch, signer: Signer, reason: str) -> "Future[None]":
    line = named_line(LEAF_KIND_INSTITUTION, epoch.data, LeafPrivate(reason=reason), signer, epoch.record.begun_us)

    def change(connection: Connection) -> None:
        institution.put_epoch(connection, epoch)
        # Last: the line that tells of the epoch is the first with a copy under it, and both are written or neither.
        writer.copy_under(None if epoch.is_end else epoch)

    return writer.submit(change, [line])


def named_line(kind: LeafKind.ValueType, named: bytes, private: LeafPrivate, signer: Signer, now_us: int) -> Line:
    """Make the line that names a document by its SHA-256, of which there is one for each document."""
    digest = sha256(named).digest()
    private.subject = private.subject or digest[:16]
    shared = shared_of_event(kind, signer, now_us, exchange_id=line_id(digest), body=named)
    return line_of(shared, private, exchange_id=line_id(digest), now_us=now_us, replay_key=LINE_KEY)
