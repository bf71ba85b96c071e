"""Follows the ledger for what peers were shown, and tells of the views that were frozen."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import Connection

from node.federation import metrics
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.store import disclosures, freezes
from node.store.database import Database
from node.store.disclosures import Told
from node.store.entries import Entries
from node.store.frozen import Frozen
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.ledger_pb2 import LeafKind, LeafPrivate

log = structlog.get_logger()

MOST_LEFT = 50_000
"""Lines; to catch up with as many takes some seconds, which an officer waits who adds protection."""


@dataclass(slots=True)
class Freezing:
    """Keeps what was shown to whom, and what stays as it was, up to date."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    entries: Entries
    frozen: Frozen
    clock: Callable[[], int]
    _left: int = 0  # lines that were not followed yet, when it was looked last

    async def look(self) -> None:
        """Follow the ledger by one page, and tell of what was frozen since; to be called again and again.

        What comes in a busy hour is read in a quiet one, so that it costs no answer, unless too much is left.
        """
        left = await self.database.read(disclosures.left)
        if left - self._left <= disclosures.PAGE or left > MOST_LEFT:
            await self._follow()
        self._left = left
        if await self.database.read(freezes.read_mark) != self.frozen.mark:
            await self._write(self.frozen.load)
        for entry_id, peer in await self.database.read(freezes.untold):
            await self._tell(entry_id, peer)
        waiting = await self.database.read(freezes.waiting, self.clock())
        metrics.FREEZES_WAITING.set(len(waiting))

    async def catch_up(self) -> None:
        """Follow the ledger to its end. A change of protection does so too, and then finds little left to read."""
        while await self._follow():
            pass

    async def _follow(self) -> bool:
        told = await self.database.read(disclosures.read_on, self.vault)
        if told is not None:
            await self._write(partial(self._keep, told))
        return told is not None

    def _keep(self, told: Told, connection: Connection) -> None:
        if disclosures.keep(connection, told):
            # An answer may have been under way while protection came: its line is the first to tell of it.
            self.entries.keep_views(connection, told, self.clock())

    async def _tell(self, entry_id: bytes, peer: str) -> None:
        # A line as of any record: whoever copies the tree must not learn that something is hidden from somebody.
        private = LeafPrivate(subject=entry_id, reason=f"FROZEN {peer}")
        line = local_line(LeafKind.LEAF_KIND_RECORD, private, self.standing.signer, self.clock())
        telling = partial(freezes.tell, entry_id=entry_id, peer=peer, line=line.exchange_id)
        await asyncio.wrap_future(self.writer.submit(telling, [line], Priority.BACKGROUND))
        log.warning("view_frozen", peer=peer)

    async def _write(self, change: Callable[[Connection], None]) -> None:
        await asyncio.wrap_future(self.writer.submit(change, (), Priority.BACKGROUND))
