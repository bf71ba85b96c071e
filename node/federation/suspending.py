"""Peers that focal points have suspended are neither answered nor asked, and what is queued for them waits."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from node.federation import metrics
from node.federation.standing import Standing
from node.store import focal_points, suspensions
from node.store.database import Database
from node.store.vault import Vault

log = structlog.get_logger()


@dataclass(slots=True)
class Suspending:
    """Keeps trust as suspensions are stored, signed and lifted."""

    standing: Standing
    database: Database
    vault: Vault
    clock: Callable[[], int]

    async def look(self) -> frozenset[str]:
        """Take over what is stored, whichever process of this node stored it; returns peers that are so no more."""
        suspended, before = await self.database.read(self._in_force), self.standing.trust.suspended
        if suspended != before:
            self.standing.suspend(suspended)
            log.warning("peers_suspended", now=sorted(suspended), before=sorted(before))
        metrics.SUSPENDED.set(len(suspended))
        return before - suspended

    def _in_force(self, connection: Connection) -> frozenset[str]:
        focal = focal_points.by_name(connection, self.vault)
        return suspensions.in_force(connection, self.standing.country, focal, self.clock())
