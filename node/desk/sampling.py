"""Random samples of lines for review by hand, which neither the auditor nor the node can choose.

The auditor binds a seed by its SHA-256, in a line whose hash the node's own random salt decides; then the seed is
revealed in another line, and both together draw the sample (`node.ledger.usage.draw`).
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.desk.officers import private_of_officer
from node.errors import NotFoundError, UsageError
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.ledger.leaf import parse_private, verify_opening
from node.ledger.rfc6962 import leaf_hash
from node.store.database import Database
from node.store.listing import list_lines
from node.store.officers import Officer
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.audit_pb2 import CommitSampleRequest, RevealSampleRequest, SampleDrawn
from node.wire.ledger_pb2 import LEAF_KIND_READ, LeafPrivate

MOST_LINES: Final = 1_000
SEED_SIZE: Final = 32

_COMMIT: Final = re.compile(r"SAMPLE COMMIT ([1-9][0-9]{0,3})")
_REVEAL: Final = re.compile(r"SAMPLE REVEAL ([0-9]{1,19})")


@dataclass(slots=True)
class Sampling:
    """Serves auditors."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    clock: Callable[[], int]

    async def commit(self, request: CommitSampleRequest, officer: Officer) -> int:
        """Bind an auditor's seed by a line, and return the line's index.

        Raises:
            UsageError: no such number of lines, or no SHA-256.
            LedgerError: it can't be logged.
        """
        if not 1 <= request.lines <= MOST_LINES:
            raise UsageError(f"lines: 1 to {MOST_LINES:,}")
        if len(request.seed_sha256) != hashlib.sha256().digest_size:
            raise UsageError("seed: no SHA-256")
        return await self._log(officer, request.seed_sha256, f"SAMPLE COMMIT {request.lines}")

    async def reveal(self, request: RevealSampleRequest, officer: Officer) -> SampleDrawn:
        """Log the seed of a line that bound it, and return what draws the sample.

        Raises:
            NotFoundError: that line binds no seed of this officer.
            UsageError: it binds another seed.
            LedgerError: a line is damaged, or it can't be logged.
        """
        drawn, who = await self.database.read(self._bound, request.index)
        if who != officer.name:
            raise NotFoundError("this line binds no seed of yours")
        _open(drawn, request.seed)
        drawn.revealed = await self._log(officer, request.seed, f"SAMPLE REVEAL {request.index}")
        return drawn

    async def get(self, revealed: int, officer: Officer) -> SampleDrawn:
        """Return what drew a sample, by the line that revealed its seed.

        Raises:
            NotFoundError: that line reveals none.
            UsageError: the seed is not the one that was bound.
            LedgerError: a line is damaged, or the reading can't be logged.
        """
        await self._log(officer, b"", f"SAMPLE GET {revealed}")
        return await self.database.read(self._revealed, revealed)

    async def _log(self, officer: Officer, subject: bytes, reason: str) -> int:
        private = private_of_officer(officer, subject=subject, reason=reason)
        return await self.writer.append(local_line(LEAF_KIND_READ, private, self.standing.signer, self.clock()))

    def _bound(self, connection: Connection, index: int) -> tuple[SampleDrawn, str]:
        private, hashed = self._line(connection, index)
        said = _COMMIT.fullmatch(private.reason)
        if said is None:
            raise NotFoundError("this line binds no seed of a sample")
        drawn = SampleDrawn(index=index, leaf_hash=hashed, lines=int(said[1]), seed_sha256=private.subject)
        return drawn, private.officer

    def _revealed(self, connection: Connection, index: int) -> SampleDrawn:
        private, _ = self._line(connection, index)
        said = _REVEAL.fullmatch(private.reason)
        if said is None:
            raise NotFoundError("this line reveals no seed of a sample")
        drawn, who = self._bound(connection, int(said[1]))
        if who != private.officer:
            raise NotFoundError("who revealed this seed is not who bound it")
        _open(drawn, private.subject)
        drawn.revealed = index
        return drawn

    def _line(self, connection: Connection, index: int) -> tuple[LeafPrivate, bytes]:
        found = [line for line in list_lines(connection, index, 1, vault=self.vault) if line.index == index]
        if not found or found[0].shared.kind != LEAF_KIND_READ or found[0].opening is None:
            raise NotFoundError("there is no such line of a sample, or what opens it was erased")
        verify_opening(found[0].leaf, found[0].opening)
        return parse_private(found[0].opening.private), leaf_hash(found[0].leaf.SerializeToString())


def _open(drawn: SampleDrawn, seed: bytes) -> None:
    if len(seed) != SEED_SIZE or hashlib.sha256(seed).digest() != drawn.seed_sha256:
        raise UsageError("seed: not the one that was bound")
    drawn.seed = seed
