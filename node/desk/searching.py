"""Searching from the desk: the officer's question, completed with who asks, put to peers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from node.errors import UsageError
from node.federation.asking import Asking
from node.federation.standing import Standing
from node.store.officers import Officer
from node.wire.codes_pb2 import Purpose
from node.wire.desk_pb2 import SearchRequest, SearchResponse
from node.wire.exchange_pb2 import Asker

DEADLINE_MS = 5_000
LONGEST_DEADLINE_MS = 60_000

# Asking itself may warn an accomplice: who is asked about these people is chosen by hand.
CHOOSE_PEERS = frozenset({Purpose.PURPOSE_VICTIM_ID, Purpose.PURPOSE_MISSING_SEARCH, Purpose.PURPOSE_REMAINS_ID})


@dataclass(slots=True)
class Searching:
    """Puts officers' questions to peers."""

    standing: Standing
    asking: Asking

    async def search(self, request: SearchRequest, officer: Officer) -> AsyncIterator[SearchResponse]:
        """Ask the peers that the officer chose, or all that are paired, and yield what comes.

        Raises:
            UsageError: no peer is named where one must be, or one is not a member.
            MalformedError: the query is not one that may be asked.
        """
        query = request.query
        query.asker.CopyFrom(Asker(officer=officer.name, unit=officer.unit, unit_type=officer.unit_type))
        deadline_ms = request.deadline_ms or DEADLINE_MS
        if deadline_ms > LONGEST_DEADLINE_MS:
            raise UsageError(f"the deadline is at most {LONGEST_DEADLINE_MS} ms")
        async for response in self.asking.ask(query, self._peers(request), deadline_ms / 1_000):
            yield response

    def _peers(self, request: SearchRequest) -> list[str]:
        trust = self.standing.trust
        members = {record.country for record in trust.directory.members()} - {self.standing.country}
        if request.peers:
            if set(request.peers) - members:  # which, is not repeated: whatever was typed there would be in the log
                raise UsageError(f"a peer is not a member; members are {', '.join(sorted(members))}")
            return sorted(set(request.peers))
        if request.query.purpose in CHOOSE_PEERS:
            raise UsageError("choose the peers: asking about a victim or a missing person may itself betray them")
        return sorted(country for country in members if trust.is_paired(country))
