"""Searching from the desk: the officer's question, completed with who asks, put to peers."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from node.errors import UsageError
from node.federation.asking import Asking
from node.federation.standing import Standing
from node.store.officers import Officer
from node.wire.codes_pb2 import Crime, Purpose, Role
from node.wire.desk_pb2 import SearchRequest, SearchResponse
from node.wire.exchange_pb2 import Asker, Query

DEADLINE_MS = 5_000
LONGEST_DEADLINE_MS = 60_000

# Asking itself may warn an accomplice: who is asked about these people is chosen by hand.
CHOOSE_PEERS = frozenset({Purpose.PURPOSE_VICTIM_ID, Purpose.PURPOSE_MISSING_SEARCH, Purpose.PURPOSE_REMAINS_ID})
# Of these, an official is a suspect by what the crime is: UNTOC art. 8(1), CAT art. 1, ICPPED art. 2.
OFFICIAL_CRIMES = frozenset({Crime.CRIME_CORRUPTION, Crime.CRIME_TORTURE, Crime.CRIME_DISAPPEARANCE})
CHOOSE_FOR = frozenset(
    {
        Role.ROLE_VICTIM,
        Role.ROLE_PRESUMED_VICTIM,
        Role.ROLE_SMUGGLED_MIGRANT,
        Role.ROLE_MISSING,
        Role.ROLE_WITNESS,
        Role.ROLE_COMPLAINANT,
        Role.ROLE_OFFICIAL_SUSPECT,
    }
)


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
        query = request.query
        if query.purpose in CHOOSE_PEERS or OFFICIAL_CRIMES & set(query.crimes) or CHOOSE_FOR & set(request.about):
            raise UsageError(self._who_sees_what(query, sorted(members)))
        return sorted(country for country in members if trust.is_paired(country))

    def _who_sees_what(self, query: Query, members: Sequence[str]) -> str:
        """Say who could be asked, and what each of them would see."""
        may = [peer for peer in members if self.asking.is_allowed(query, peer)]
        sees = ", ".join(field.name for field, _ in query.ListFields())
        return (
            "choose the peers: asking about a victim, a missing person or an official may itself betray them. Those"
            f" that may be asked are {', '.join(may) or 'none'}; each that you choose sees these of the query: {sees}"
        )
