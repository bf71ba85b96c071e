"""Reconciling at the desk: both ledgers compared, and what becomes of each thing that does not fit."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection

from node.desk.approving import LONGEST_REASON
from node.desk.masking import Reading
from node.desk.officers import private_of_officer
from node.errors import UsageError
from node.federation.lines import local_line
from node.federation.reconciling import Reconciling
from node.federation.standing import Standing
from node.ledger.reconcile import LONGEST_US, reconcile
from node.store import findings
from node.store.database import Database
from node.store.lines import Line
from node.store.officers import Officer
from node.store.writer import Priority, Writer
from node.wire.ledger_pb2 import LeafKind
from node.wire.reconcile_pb2 import (
    DISCREPANCY_KIND_DIFFERENT,
    DISCREPANCY_KIND_LATE,
    DISCREPANCY_KIND_ONLY_HERE,
    DISCREPANCY_KIND_ONLY_THERE,
    FINDING_STATE_CLOSED,
    FINDING_STATE_EXPLAINED,
    FINDING_STATE_UNKNOWN,
    DecideFindingRequest,
    Discrepancy,
    DiscrepancyKind,
    Finding,
    ListFindingsRequest,
    ReconcileLedgerRequest,
    ReconcileLedgerResponse,
)

SETTLED_US: Final = 180_000_000
"""After which an exchange is over, and logged: the longest deadline of a question is a minute."""

PERIOD_US: Final = 30 * 86_400_000_000
"""Looked back where nobody says since when."""

LISTED: Final = 10_000
"""Discrepancies that one answer tells; each is a finding all the same."""

_AT_ONCE: Final = 50  # findings raised in one transaction
_COUNTRY: Final = re.compile("[A-Z]{2}")
_DETAILS: Final = {
    DISCREPANCY_KIND_ONLY_HERE: "the peer has no line of this exchange",
    DISCREPANCY_KIND_ONLY_THERE: "this ledger has no line of an exchange that the peer logged as answered",
    DISCREPANCY_KIND_DIFFERENT: "the two ledgers hold other statements of this exchange",
    DISCREPANCY_KIND_LATE: "an answer was sent that did not count where it was asked for, or came long after",
}
_WORDS: Final = {
    FINDING_STATE_UNKNOWN: "OWN",
    FINDING_STATE_EXPLAINED: "EXPLAINED",
    FINDING_STATE_CLOSED: "CLOSED",
}


@dataclass(slots=True)
class Reconciliation:
    """Serves auditors."""

    standing: Standing
    database: Database
    writer: Writer
    reconciling: Reconciling
    clock: Callable[[], int]

    async def reconcile(self, request: ReconcileLedgerRequest, officer: Officer) -> ReconcileLedgerResponse:
        """Compare the two ledgers for a period, and raise a finding for each thing that does not fit.

        Raises:
            UsageError: no such peer or period.
            NotPairedError, DirectoryError, UnansweredError, EnvelopeError: the peer can't be asked, or its answer is
                not what the contract allows; no finding is raised.
            LedgerError: a line here is damaged; `enlace ledger verify` names it.
        """
        peer, since_us, until_us = request.peer, *self._period(request)
        self.standing.trust.directory.member(self._peer(peer))
        here = await self.reconciling.logged_here(peer, since_us=since_us, until_us=until_us)
        private = private_of_officer(officer, reason="RECONCILE")
        there = await self.reconciling.logged_there(peer, private, since_us=since_us, until_us=until_us)
        compared = reconcile(here, there)
        reason = f"RECONCILED {peer}: {compared.agreed} FIT, {len(compared.discrepancies)} DO NOT"
        await self.writer.append(self._line(officer, reason, peer=peer), Priority.DESK)
        raised = await self._raise(peer, compared.discrepancies)
        return ReconcileLedgerResponse(
            peer=peer,
            since_us=since_us,
            until_us=until_us,
            here=len(here),
            there=len(there),
            agreed=compared.agreed,
            unanswered=compared.unanswered,
            discrepancies=compared.discrepancies[:LISTED],
            discrepancy_count=len(compared.discrepancies),
            findings=raised,
        )

    async def list_findings(self, request: ListFindingsRequest, officer: Officer) -> Sequence[Finding]:
        """Return findings, open ones first; that they were looked at is a line.

        Raises:
            UsageError: the peer is no country's code, or no reason for unmasking.
        """
        if request.peer and not _COUNTRY.fullmatch(request.peer):
            raise UsageError("peer: is no country's code of two capital letters")
        reading = Reading(self.standing, self.writer, self.clock)
        names = await reading.begin(officer, f"FINDINGS {request.peer}".rstrip(), unmask=request.unmask)
        limit = min(request.limit or findings.LISTED, findings.LISTED)
        found = await self.database.read(findings.list_findings, peer=request.peer, state=request.state, limit=limit)
        for each in found:
            if each.owner != officer.name:  # who looks knows their own name, and finds by it what is theirs to do
                each.owner = names(each.owner)
        return found

    async def decide(self, request: DecideFindingRequest, officer: Officer) -> Finding:
        """Take care of a finding, explain or close it, and return it; the line says who, what and why.

        Raises:
            UsageError: no such state, the reason is missing or too long, or the finding would go back.
            NotFoundError: there is no such finding.
        """
        if request.state not in _WORDS:
            raise UsageError("state: is EXPLAINED or CLOSED, or left out by who takes care of the finding")
        if not 0 < len(request.reason.encode()) <= LONGEST_REASON:
            raise UsageError(f"reason: say why, in up to {LONGEST_REASON} bytes")
        now_us = self.clock()
        reason = f"{_WORDS[request.state]}: {request.reason}"
        line = self._line(officer, reason, subject=request.finding_id)
        by, finding_id = {"owner": officer.name, "note": request.reason}, request.finding_id

        def change(connection: Connection) -> Finding:
            if request.state == FINDING_STATE_UNKNOWN:
                return findings.own(connection, finding_id, **by, now_us=now_us)
            return findings.change_state(connection, finding_id, request.state, **by, now_us=now_us)

        return await asyncio.wrap_future(self.writer.submit(change, [line]))

    async def _raise(self, peer: str, discrepancies: Sequence[Discrepancy]) -> int:
        """Raise a finding for each, a few at a time so that no answer waits for them, and return how many are new.

        Where a crash comes in between, the next comparison raises the rest.
        """
        raised, now_us = 0, self.clock()
        for at in range(0, len(discrepancies), _AT_ONCE):
            change = partial(_raise_all, peer=peer, found=discrepancies[at : at + _AT_ONCE], now_us=now_us)
            raised += await asyncio.wrap_future(self.writer.submit(change, (), Priority.BACKGROUND))
        return raised

    def _peer(self, peer: str) -> str:
        if not _COUNTRY.fullmatch(peer) or peer == self.standing.country:
            raise UsageError("peer: is the code of another country, two capital letters")
        return peer

    def _period(self, request: ReconcileLedgerRequest) -> tuple[int, int]:
        now_us = self.clock()
        until_us = min(request.until_us or now_us - SETTLED_US, now_us)
        since_us = request.since_us or until_us - PERIOD_US
        if not 0 <= since_us < until_us or until_us - since_us > LONGEST_US:
            raise UsageError("since and until: are a period that has begun, of 366 days at most")
        return since_us, until_us

    def _line(
        self,
        officer: Officer,
        reason: str,
        kind: LeafKind.ValueType = LeafKind.LEAF_KIND_FINDING,
        *,
        subject: bytes = b"",
        peer: str = "",
    ) -> Line:
        private = private_of_officer(officer, subject=subject, reason=reason)
        return local_line(kind, private, self.standing.signer, self.clock(), peer=peer)


def _raise_all(connection: Connection, *, peer: str, found: Sequence[Discrepancy], now_us: int) -> int:
    return sum(_raise_one(connection, peer, each, now_us) for each in found)


def _raise_one(connection: Connection, peer: str, found: Discrepancy, now_us: int) -> bool:
    return findings.raise_finding(
        connection,
        kind=DiscrepancyKind.Name(found.kind).removeprefix("DISCREPANCY_KIND_"),
        peer=peer,
        exchange_id=found.exchange_id,
        detail=_DETAILS[found.kind],
        now_us=now_us,
    )
