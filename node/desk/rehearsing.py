"""What would leave to a peer, before two focal points agree to deal with it.

Each active entry is decided on for each lawful purpose, as if the peer's police intelligence (for evidence its central
authority) asked about the record's own crimes under each instrument in force. The report counts; it says nothing of a
single record. The pairing names the report's digest, so that it is known afterwards what its signers read.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection

from node.errors import UsageError
from node.federation.answering import VISIBLE
from node.federation.standing import Standing
from node.policy.derive import derive_facts, derive_request
from node.policy.facts import Facts
from node.policy.vocabulary import CATEGORIES, NEVER_LAWFUL, PURPOSES, UNKNOWN
from node.store.database import Database
from node.store.entries import Entries
from node.wire.codes_pb2 import PURPOSE_EVIDENCE_MLA, URGENCY_ROUTINE, Outcome, Purpose, UnitType
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Asker, Query

MOST_ENTRIES = 10_000
_POLICE = Asker(unit_type=UnitType.UNIT_TYPE_POLICE_INTELLIGENCE)
_EVIDENCE = Asker(unit_type=UnitType.UNIT_TYPE_CENTRAL_AUTHORITY)
LAWFUL = tuple(Purpose.ValueType(n) for n, word in PURPOSES.items() if word not in {*NEVER_LAWFUL, UNKNOWN})


@dataclass(slots=True)
class Rehearsing:
    """Rehearses pairings, and remembers which reports it made."""

    standing: Standing
    database: Database
    entries: Entries
    clock: Callable[[], int]
    _reports: dict[bytes, str] = field(default_factory=dict)  # peer by digest, of this process's reports

    async def rehearse(self, peer: str) -> tuple[str, bytes]:
        """Return a report for people, and its SHA-256.

        Raises:
            UsageError: the peer is this country itself, or not in the directory.
        """
        others = {record.country for record in self.standing.trust.directory.members()} - {self.standing.country}
        if peer not in others:
            raise UsageError(f"peer: is none of the other members, which are {', '.join(sorted(others)) or 'none'}")
        report = await self.database.read(self._report, peer)
        digest = hashlib.sha256(report.encode()).digest()
        self._reports[digest] = peer
        return report, digest

    def is_made(self, peer: str, digest: bytes) -> bool:
        """Tell whether this is the digest of a report on this peer that was made here."""
        return self._reports.get(digest) == peer

    def forget(self, peer: str) -> None:
        """Take no report on this peer for granted any more: its next pairing needs a new one."""
        self._reports = {digest: each for digest, each in self._reports.items() if each != peer}

    def _report(self, connection: Connection, peer: str) -> str:
        now_us = self.clock()
        read, seen = 0, Counter[str]()
        leaving: dict[str, Counter[str]] = {PURPOSES[purpose]: Counter() for purpose in LAWFUL}
        for entry in self.entries.active(connection, now_us, MOST_ENTRIES):
            read += 1
            visible = False
            for purpose, word in self._leaving(entry, peer, now_us):
                leaving[purpose][word] += 1
                visible = True
            seen["visible" if visible else "invisible"] += 1
        instruments = ", ".join(each.id for each in self.standing.instruments_with(peer, now_us)) or "none"
        lines = [
            f"Rehearsal of {self.standing.country} towards {peer}",
            f"instruments in force: {instruments}",
            f"directory: version {self.standing.trust.directory.version}",
            f"entries read: {read}{' (of more)' if read == MOST_ENTRIES else ''}",
            f"entries of which {peer} could see something: {seen['visible']}",
            f"entries that stay invisible whatever {peer} asks: {seen['invisible']}",
        ]
        for purpose, words in leaving.items():
            lines += [f"{purpose}: {word}: {count}" for word, count in sorted(words.items())]
        return "\n".join(lines) + "\n"

    def _leaving(self, entry: Entry, peer: str, now_us: int) -> Iterator[tuple[str, str]]:
        """Yield each purpose with each thing that would leave for it under any instrument, once."""
        policy, found = self.standing.policy_for(peer, now_us), set[tuple[str, str]]()
        for facts in situations(self.standing, entry, peer, now_us):
            decision = policy.decide(facts, now_us)
            if decision.outcome in VISIBLE:
                found.update(
                    (facts.purpose, f"{CATEGORIES[category]} {Outcome.Name(level)[8:].lower()}")
                    for category, level in decision.levels
                    if level != Outcome.OUTCOME_WITHHOLD
                )
        yield from found


def situations(standing: Standing, entry: Entry, peer: str, now_us: int) -> Iterator[Facts]:
    """Yield the facts for each lawful purpose under each instrument in force with the peer.

    They are as if its police intelligence, or its central authority where it is for evidence, asked about the record's
    own crimes, with the pairing signed.
    """
    for instrument in standing.instruments_with(peer, now_us):
        for purpose in LAWFUL:
            query = Query(
                purpose=purpose,
                crimes=entry.crimes,
                urgency=URGENCY_ROUTINE,
                instrument=instrument.id,
                asker=_EVIDENCE if purpose == PURPOSE_EVIDENCE_MLA else _POLICE,
            )
            request = derive_request(
                recipient=peer,
                query=query,
                instruments=[instrument.kind],
                paired=True,
                reciprocity=standing.reciprocity_of(peer),
            )
            yield derive_facts(request, entry, now_us)
