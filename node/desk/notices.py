"""Whom a correction or an erasure of an own entry goes to, and as what: nothing that any other would not be.

A person's request may tell where they are. So a holder gets an update or a recall like any that a unit sends, made by
the same function, with nothing in it of a requester, a place or a petition; and a state that may be one of origin gets
it only where counsel has decided so for that entry and that state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.desk.petitions import Petitions
from node.errors import DecryptionError, KeyErasedError, NotFoundError
from node.federation.freezing import Freezing
from node.federation.noticing import recall_of
from node.store import disclosures
from node.store.freezes import may_be_origin
from node.store.listing import read_head
from node.store.officers import Officer
from node.store.traces import Given, trace
from node.wire.ledger_pb2 import ENTRY_OUTCOME_PENDING
from node.wire.notice_pb2 import EntryRecall
from node.wire.subject_pb2 import (
    NOTICE_KIND_RECALL,
    NOTICE_KIND_UPDATE,
    PETITION_KIND_ERASURE,
    Petition,
    PlannedNotice,
    PlanNoticesResponse,
)

_PAGE: Final = 2_000  # lines


@dataclass(slots=True)
class Notices:
    """Serves focal points."""

    petitions: Petitions
    freezing: Freezing

    async def plan(self, petition_id: bytes, officer: Officer) -> PlanNoticesResponse:
        """Return what leaves for the entries that a petition names, and what is kept from states of origin.

        Raises:
            NotFoundError: there is no such petition.
            LedgerError: the ledger has no head, or the reading can't be logged.
        """
        database = self.petitions.database
        petition = await self.petitions.get(petition_id, officer)
        wanted, last = frozenset(petition.entry_ids), dict[tuple[bytes, str], Given]()
        size = (await database.read(read_head)).size
        for start in range(0, size, _PAGE):
            found = await database.read(trace, self.petitions.vault, wanted, start, min(start + _PAGE, size))
            # Of a PENDING, nothing has left: there is nothing to correct or to take back.
            given = (each for each in found.given if each.decided.outcome != ENTRY_OUTCOME_PENDING)
            last |= {(each.decided.entry_id, each.shared.peer): each for each in given}
        return await database.read(self._planned, petition, last)

    def _planned(
        self, connection: Connection, petition: Petition, last: Mapping[tuple[bytes, str], Given]
    ) -> PlanNoticesResponse:
        decided = {(each.entry_id, each.peer) for each in petition.origins if each.notify}
        plan = PlanNoticesResponse()
        for (entry_id, peer), given in sorted(last.items()):
            notice = PlannedNotice(
                peer=peer,
                entry_id=entry_id,
                kind=NOTICE_KIND_RECALL if petition.kind == PETITION_KIND_ERASURE else NOTICE_KIND_UPDATE,
                exchange_id=given.shared.exchange_id,
                handle=given.decided.handle,
                line=given.line,
                may_be_origin=self._may_be_origin(connection, entry_id, given.decided.revision, peer),
            )
            leaves = not notice.may_be_origin or (entry_id, peer) in decided
            (plan.notices if leaves else plan.withheld).append(notice)
        return plan

    async def origins_that_saw(self, entry_id: bytes) -> list[str]:
        """Return the peers that got something of an entry and may be a state of origin."""
        await self.freezing.catch_up()
        return await self.petitions.database.read(self._origins_that_saw, entry_id)

    def _origins_that_saw(self, connection: Connection, entry_id: bytes) -> list[str]:
        shown = disclosures.shown_to(connection, entry_id)
        return [p for p, each in shown.items() if self._may_be_origin(connection, entry_id, each.revision, p)]

    def _may_be_origin(self, connection: Connection, entry_id: bytes, revision: int, peer: str) -> bool:
        """Tell whether a peer may be a state of origin, by the entry as it is or as the peer saw it."""
        entries = self.petitions.entries
        try:
            seen = (entries.get(connection, entry_id), entries.revision(connection, entry_id, revision))
        except (NotFoundError, KeyErasedError, DecryptionError):
            return True  # of what is erased, nobody can say that it is not
        return any(may_be_origin(each, peer) for each in seen)


def recalls_of(plan: PlanNoticesResponse) -> list[tuple[str, bytes, EntryRecall]]:
    """Return peer, exchange and message of the recalls that leave.

    An update is made when it leaves, from what the rules release then (`node.federation.noticing.update_of`).
    """
    recalls = (each for each in plan.notices if each.kind == NOTICE_KIND_RECALL)
    return [(each.peer, each.exchange_id, recall_of(each.handle)) for each in recalls]
