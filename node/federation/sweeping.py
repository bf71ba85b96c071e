"""Erases what peers asked and got no hit on, within a day of the answer.

A line tells of each batch, and is committed with it; the keys go right after (`node.federation.purging`). What opens
the answers' lines stays, so that an auditor still sees who asked, why, and what was decided.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.errors import NotFoundError
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.store import sweeping
from node.store.database import Database
from node.store.lines import Line
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.ledger_pb2 import LeafKind, LeafPrivate

AFTER_US: Final = 20 * 3_600_000_000
"""How old an answer is then: a node that was down for some hours still keeps to the 24."""
_EVERY_US: Final = 600_000_000
_PAGES: Final = 20  # in a row, then others have their turn


class _QuickerError(NotFoundError):
    """Another process has swept these lines."""


@dataclass(slots=True)
class Sweeping:
    """Looks for what is to be erased; one per process, several may share a database."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    clock: Callable[[], int]
    _looked_us: int = 0

    async def look(self) -> None:
        """Erase what is due, every ten minutes; to be called again and again."""
        if self.clock() - self._looked_us < _EVERY_US:
            return
        for _ in range(_PAGES):
            if not await self._next():
                self._looked_us = self.clock()
                break
        left = await self.database.read(sweeping.left_over)
        if left:
            line = self._line(len(left), len(left))
            await self._write(lambda connection: sweeping.erase(connection, left, self.clock()), [line])

    async def _next(self) -> bool:
        page = await self.database.read(sweeping.next_page, self.vault, self.clock() - AFTER_US)
        if page is None:
            return False

        def change(connection: Connection) -> None:
            if not sweeping.sweep(connection, page, self.clock()):
                raise _QuickerError("another process has swept these lines")

        # The line is there whether or not something waits on some of them: whoever counts lines must not learn that.
        waited_on = await self.database.read(sweeping.needed, page.found)
        erased = sum(each.exchange_id not in waited_on for each in page.found)
        try:
            await self._write(change, [self._line(erased, len(page.found))] if page.found else [])
        except _QuickerError:
            return False
        return True

    def _line(self, erased: int, found: int) -> Line:
        private = LeafPrivate(reason=f"SELECTORS {erased} OF {found}")
        return local_line(LeafKind.LEAF_KIND_DELETED, private, self.standing.signer, self.clock())

    async def _write(self, change: Callable[[Connection], None], lines: list[Line]) -> None:
        await asyncio.wrap_future(self.writer.submit(change, lines, Priority.BACKGROUND))
