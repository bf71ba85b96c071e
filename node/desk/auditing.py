"""Auditing at the desk: lines of the ledger with what opens them. That they were read is a line itself."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from node.desk.officers import private_of_officer
from node.errors import UsageError
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.ledger.leaf import parse_private, unpad, verify_opening
from node.store.database import Database
from node.store.listing import ListedLine, list_lines
from node.store.officers import Officer
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.desk_pb2 import ListLedgerRequest, ListLedgerResponse
from node.wire.ledger_pb2 import Decisions, LeafKind

DEFAULT_LINES: Final = 100
_PAGE: Final = 200
_COUNTRY: Final = re.compile("[A-Z]{2}")


@dataclass(slots=True)
class Auditing:
    """Serves auditors."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    clock: Callable[[], int]

    async def list_ledger(self, request: ListLedgerRequest, officer: Officer) -> AsyncIterator[ListLedgerResponse]:
        """Yield lines from `start` on, up to `limit` of those that concern the peer, or of all.

        Raises:
            UsageError: the peer is no country's code.
            LedgerError: a line is damaged, or does not fit what opens it; `enlace ledger verify` names all such lines.
        """
        if request.peer and not _COUNTRY.fullmatch(request.peer):
            raise UsageError("peer: is no country's code of two capital letters")
        private = private_of_officer(officer, reason=f"LEDGER {request.start} {request.peer}".rstrip())
        await self.writer.append(local_line(LeafKind.LEAF_KIND_READ, private, self.standing.signer, self.clock()))
        start, left = request.start, request.limit or DEFAULT_LINES
        while left:
            count = min(left, _PAGE)
            lines = await self.database.read(list_lines, start, count, peer=request.peer or None, vault=self.vault)
            for line in lines:
                yield _shown(line)
            if len(lines) < count:
                return
            start, left = lines[-1].index + 1, left - count


def _shown(line: ListedLine) -> ListLedgerResponse:
    shared = line.shared
    response = ListLedgerResponse(
        index=line.index,
        kind=shared.kind,
        direction=shared.direction,
        peer=shared.peer,
        time_us=shared.time_us,
        logged_us=line.leaf.logged_us,
        exchange_id=shared.exchange_id,
    )
    if line.opening is not None:
        verify_opening(line.leaf, line.opening)
        response.private.CopyFrom(parse_private(line.opening.private))
        if line.opening.decisions:
            response.decisions.extend(Decisions.FromString(unpad(line.opening.decisions)).entries)
    return response
