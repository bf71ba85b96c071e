"""Facts that somebody is to determine for a life."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.desk.officers import private_of_officer
from node.federation.determining import Determining
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.store import pages
from node.store.lines import Line
from node.store.officers import Officer
from node.store.writer import Writer
from node.wire.desk_pb2 import OFFICER_ROLE_FOCAL_POINT, OFFICER_ROLE_SUPERVISOR
from node.wire.ledger_pb2 import LeafKind
from node.wire.safeguard_pb2 import Determination

_CALLED: Final = frozenset({OFFICER_ROLE_FOCAL_POINT, OFFICER_ROLE_SUPERVISOR})


@dataclass(slots=True)
class Determinations:
    """Serves duty officers."""

    standing: Standing
    writer: Writer
    determining: Determining
    clock: Callable[[], int]

    async def list_determinations(self, officer: Officer, *, take: bool = False) -> list[Determination]:
        """Return the facts to determine, the earliest due first; that they were read is logged before.

        With `take`, nobody else is called for them; of an officer who is never called, it changes nothing.
        """
        found = await self.determining.waiting()
        read = self._line(officer, LeafKind.LEAF_KIND_READ, b"", "DETERMINATIONS")
        if not take or not officer.roles & _CALLED:
            await self.writer.append(read)
            return found

        def change(connection: Connection, lines: list[Line]) -> None:
            lines.append(read)
            for exchange_id, peer in sorted({(each.exchange_id, each.peer) for each in found}):
                ticket = pages.take_facts(connection, exchange_id, peer, self.clock())
                if ticket is not None:
                    lines.append(self._line(officer, LeafKind.LEAF_KIND_DUTY, exchange_id, f"TAKEN {ticket}"))

        await asyncio.wrap_future(self.writer.submit_logging(change))
        return found

    def _line(self, officer: Officer, kind: LeafKind.ValueType, subject: bytes, reason: str) -> Line:
        private = private_of_officer(officer, subject=subject, reason=reason)
        return local_line(kind, private, self.standing.signer, self.clock())
