"""Erasing what opens ledger lines, and copies whose audit period has ended: each time a line first."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection

from node.errors import UsageError
from node.federation.copying import Copying, named_line
from node.federation.standing import Standing
from node.identity.institution import verified_erasure
from node.store import erasures, focal_points
from node.store.commitments import first_logged
from node.store.database import Database
from node.store.institution import DAY_US
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.institution_pb2 import (
    ERASURE_GROUND_AUDIT_PERIOD_ENDED,
    ERASURE_GROUND_RETENTION_ENDED,
    Erasure,
    LineRange,
    SignedErasure,
)
from node.wire.ledger_pb2 import LEAF_KIND_ERASURE, LeafPrivate

CLOCK_US: Final = 300 * 1_000_000
"""What is signed is brought within so much of the node's clock, or is signed anew."""
SIGNED_WITHIN_US: Final = 7 * DAY_US
"""How long two focal points may take to sign."""
_SLACK_US: Final = 3_600_000_000
"""Lines lie in the order of their time but for seconds; those of this last hour wait for the next day."""


@dataclass(slots=True)
class Erasing:
    """Erases on a ground, and by itself where a period has ended."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    copying: Copying
    clock: Callable[[], int]
    _looked: int = -1  # the day of the last purge

    async def erase(self, signed: bytes, private: LeafPrivate) -> int:
        """Log an erasure that was brought, do it, and return of how many lines it erased what opens them.

        Raises:
            MalformedError, SignatureError: it says too little, or too few focal points have signed it.
            UsageError: it is not of this node or of now, its ground is not given, or it names no such lines.
        """
        erasure = verified_erasure(signed, await self.database.read(focal_points.keys, self.vault))
        signer, now_us = self.standing.signer, self.clock()
        if erasure.node != f"{signer.country}/{signer.node}":
            raise UsageError(f"the erasure is of {erasure.node}, and this node is {signer.country}/{signer.node}")
        if not -SIGNED_WITHIN_US < erasure.time_us - now_us < CLOCK_US:
            raise UsageError("the erasure's time is not near this node's clock: sign another")
        if erasure.ground == ERASURE_GROUND_AUDIT_PERIOD_ENDED:
            raise UsageError("ground: the institution's copies are erased when their time is over alone")
        if erasure.ground == ERASURE_GROUND_RETENTION_ENDED:
            end = await self._retained_from(now_us)
            if erasure.lines[-1].last >= end:
                raise UsageError("ground: by the directory, what opens these lines is still to be kept")
        return await self._log(signed, erasure, private, Priority.DESK)

    async def look(self) -> None:
        """Go on with what was begun, and erase what has outlived its time; to be called again and again."""
        for signed in await self.database.read(erasures.undone):
            await self._do(signed)
        today = self.clock() // DAY_US
        if today != self._looked:
            await self._purge()
            self._looked = today

    async def _purge(self) -> None:
        now_us = self.clock()
        node = f"{self.standing.signer.country}/{self.standing.signer.node}"
        found = await self.database.read(erasures.openings_before, await self._retained_from(now_us))
        if found is not None:
            erasure = Erasure(node=node, ground=ERASURE_GROUND_RETENTION_ENDED, time_us=now_us, lines=[_range(*found)])
            await self._log(_unsigned(erasure), erasure, LeafPrivate(), Priority.BACKGROUND)
        for epoch_id, first, last in await self.database.read(erasures.ended_epochs, now_us):
            erasure = Erasure(
                node=node,
                ground=ERASURE_GROUND_AUDIT_PERIOD_ENDED,
                time_us=now_us,
                lines=[_range(first, last)],
                epoch_id=epoch_id,
            )
            await self._log(_unsigned(erasure), erasure, LeafPrivate(), Priority.BACKGROUND)

    async def _retained_from(self, now_us: int) -> int:
        """Return the first line whose opening is still to be kept by law; 0 where no law says how long."""
        audit = self.copying.audit()
        if audit is None or not audit.retention_days:
            return 0
        return await self.database.read(first_logged, (now_us // DAY_US - audit.retention_days) * DAY_US - _SLACK_US)

    async def _log(self, signed: bytes, erasure: Erasure, private: LeafPrivate, priority: Priority) -> int:
        now_us = self.clock()
        told = SignedErasure.FromString(signed).erasure
        private.reason = f"ERASED {erasure.reference}".rstrip()
        line = named_line(LEAF_KIND_ERASURE, told, private, self.standing.signer, now_us)

        def change(connection: Connection) -> None:
            erasures.put_erasure(connection, signed, now_us)

        await asyncio.wrap_future(self.writer.submit(change, [line], priority))
        return await self._do(signed)

    async def _do(self, signed: bytes) -> int:
        erasure = Erasure.FromString(SignedErasure.FromString(signed).erasure)
        count = 0
        if erasure.ground == ERASURE_GROUND_AUDIT_PERIOD_ENDED:
            await self._change(partial(erasures.drop_copies, erasure=erasure))
        else:
            while True:
                lines, keys = await self.database.read(erasures.keys_to_erase, erasure)
                if not lines:
                    break
                # The keys first: rows that are gone while their keys are kept would open again from a backup.
                await asyncio.to_thread(self.vault.erase_keys, keys, self.clock())
                await self._change(partial(erasures.drop_rows, lines=lines))
                count += len(lines)
        await self._change(partial(erasures.mark_done, signed=signed, now_us=self.clock()))
        return count

    async def _change(self, change: Callable[[Connection], None]) -> None:
        await asyncio.wrap_future(self.writer.submit(change, (), Priority.BACKGROUND))


def _range(first: int, last: int) -> LineRange:
    return LineRange(first=first, last=last)


def _unsigned(erasure: Erasure) -> bytes:
    return SignedErasure(erasure=erasure.SerializeToString()).SerializeToString()
