"""Quotas at the desk: how each stands, and raising one for a time."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.desk.officers import private_of_officer
from node.desk.received import verified_reason
from node.errors import UsageError
from node.federation.lines import local_line
from node.federation.watching import Watching
from node.policy.quotas import LIFE, MAIL, WHATS, floor_of, scope_word
from node.store import quotas
from node.store.database import Database
from node.store.officers import Officer
from node.store.writer import Writer
from node.wire.ledger_pb2 import LeafKind
from node.wire.quota_pb2 import (
    QUOTA_SCOPE_OFFICER,
    QUOTA_SCOPE_PEER,
    QUOTA_SCOPE_UNIT,
    QuotaState,
    RaiseQuotaRequest,
)

SCOPES: Final = (QUOTA_SCOPE_PEER, QUOTA_SCOPE_UNIT, QUOTA_SCOPE_OFFICER)
MOST: Final = 10_000_000
"""What a quota may be raised to: more than a node answers in a day."""
_LONGEST: Final = 64  # characters of a name
_COUNTRY: Final = re.compile("[A-Z]{2}")


@dataclass(slots=True)
class QuotaDesk:
    """Serves everybody with what may be asked, and focal points who raise it."""

    watching: Watching
    database: Database
    writer: Writer
    clock: Callable[[], int]

    async def list_quotas(self, officer: Officer) -> list[QuotaState]:
        """Return what holds for all, and how each quota stands that was used today or is raised; a line says so."""
        private = private_of_officer(officer, reason="QUOTAS")
        signer, now_us = self.watching.standing.signer, self.clock()
        await self.writer.append(local_line(LeafKind.LEAF_KIND_READ, private, signer, now_us))
        return [*_floor(), *await self.database.read(quotas.states, now_us)]

    async def raise_quota(self, request: RaiseQuotaRequest, officer: Officer) -> QuotaState:
        """Raise a quota until a time, at most 31 days ahead, and return how it stands.

        Raises:
            UsageError: there is no such quota, it would not be raised, or the reason is missing or too long.
        """
        now_us = self.clock()
        reason = verified_reason(request.reason)
        self._verify(request, now_us)
        state = QuotaState(
            scope=request.scope,
            who=request.who,
            what=request.what,
            per_hour=request.per_hour,
            per_day=request.per_day,
            raised_until_us=request.until_us,
            raised_by=officer.name,
            reason=reason,
        )
        private = private_of_officer(officer, reason=f"RAISED {scope_word(request.scope)[:1]}: {reason}")
        line = local_line(LeafKind.LEAF_KIND_QUOTA, private, self.watching.standing.signer, now_us)

        def change(connection: Connection) -> QuotaState:
            quotas.raise_quota(connection, state)
            key = (request.scope, request.who, request.what)
            return next(each for each in quotas.states(connection, now_us) if (each.scope, each.who, each.what) == key)

        raised = await asyncio.wrap_future(self.writer.submit(change, [line]))
        await self.watching.follow()
        return raised

    def _verify(self, request: RaiseQuotaRequest, now_us: int) -> None:
        if request.scope not in SCOPES or request.what not in WHATS - {"UNKNOWN"}:
            raise UsageError("a quota is of a peer, a unit or an officer, and of a purpose, LIFE or a kind of mail")
        peer = request.scope == QUOTA_SCOPE_PEER
        if request.what in MAIL and not peer:
            raise UsageError("what: of mail, a peer alone has a quota")
        if not 0 < len(request.who) <= _LONGEST or (peer and not _COUNTRY.fullmatch(request.who)):
            raise UsageError("who: is a country's code, or the name of a unit or an officer")
        floor = floor_of(request.scope, request.what)
        if not floor.per_hour <= request.per_hour <= request.per_day <= MOST or request.per_day < floor.per_day:
            raise UsageError(f"it is at least {floor.per_hour} an hour and {floor.per_day} a day, and not more an hour")
        if not now_us < request.until_us <= now_us + quotas.LONGEST_RAISE_US:
            raise UsageError("until: is ahead, and 31 days at most")


def _floor() -> list[QuotaState]:
    """Return what holds for all whose quota nobody has raised."""
    names = sorted(WHATS - {"UNKNOWN"}, key=lambda what: (what in MAIL, what != LIFE, what))
    found = []
    for scope in SCOPES:
        for what in names if scope == QUOTA_SCOPE_PEER else [name for name in names if name not in MAIL]:
            quota = floor_of(scope, what)
            found.append(QuotaState(scope=scope, what=what, per_hour=quota.per_hour, per_day=quota.per_day))
    return found
