"""Puts emergencies in force and out of it, and tells of those that nobody reviewed."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import Connection

from node.federation import metrics
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.store import emergencies, focal_points
from node.store.database import Database
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.ledger_pb2 import LeafKind, LeafPrivate

log = structlog.get_logger()


@dataclass(slots=True)
class Emergencies:
    """Keeps what decisions are made with as it is stored and signed."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    clock: Callable[[], int]

    async def follow(self) -> None:
        """Take over what is stored, whichever process of this node stored it.

        An emergency also ends by the clock, at each decision; see `Standing.is_emergency`.
        """
        self.standing.emergencies = await self.database.read(self._in_force)

    async def look(self) -> None:
        """Follow, and log what another focal point was to review by now; to be called again and again."""
        await self.follow()
        now_us = self.clock()
        late = await self.database.read(emergencies.unreviewed, now_us)
        for digest, peer, is_told in late:
            if not is_told:
                await self._tell(digest, peer, now_us)
        metrics.EMERGENCIES_UNREVIEWED.set(len(late))
        metrics.EMERGENCIES.set(sum(now_us < until_us for until_us in self.standing.emergencies.values()))

    async def _tell(self, digest: bytes, peer: str, now_us: int) -> None:
        private = LeafPrivate(subject=digest[:16], reason=f"UNREVIEWED {peer}")
        line = local_line(LeafKind.LEAF_KIND_EMERGENCY, private, self.standing.signer, now_us)
        telling = partial(emergencies.tell_overdue, digest=digest)
        await asyncio.wrap_future(self.writer.submit(telling, [line], Priority.BACKGROUND))
        log.error("emergency_unreviewed", peer=peer)

    def _in_force(self, connection: Connection) -> Mapping[str, int]:
        focal_keys = focal_points.keys(connection, self.vault)
        return emergencies.in_force(connection, self.standing.country, focal_keys, self.clock())
