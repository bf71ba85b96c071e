"""Takes the day's snapshot of who answers what this country asks."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from node.federation.freezing import Freezing
from node.federation.standing import Standing
from node.store import reciprocity
from node.store.database import Database
from node.store.writer import Priority, Writer

_DAY_US = 86_400_000_000


@dataclass(slots=True)
class Reciprocating:
    """Puts a snapshot in force from each midnight (UTC) on, so that all decisions of a day are made with the same."""

    standing: Standing
    database: Database
    writer: Writer
    freezing: Freezing  # follows the ledger
    clock: Callable[[], int]
    _day: int = -1

    async def resume(self) -> None:
        """Put the day's snapshot in force if it was made before the node started; else nothing is known at first."""
        self.standing.reciprocity = await self.database.read(reciprocity.stored, self.clock() // _DAY_US)

    async def look(self) -> None:
        """Take a new day's snapshot; to be called again and again."""
        day = self.clock() // _DAY_US
        if day == self._day:
            return
        await self.freezing.catch_up()
        taking = partial(reciprocity.snapshot, day=day)
        taken = await asyncio.wrap_future(self.writer.submit(taking, (), Priority.BACKGROUND))
        self.standing.reciprocity, self._day = taken, day
