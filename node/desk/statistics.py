"""Who asked what of whom, and what stands out: counted over the ledger's lines for auditors.

What was searched for is compared by digests under a key that is made for one reading and then forgotten.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from node.desk.masking import Names, Reading
from node.errors import RecordError, UsageError
from node.federation.lines import ANSWER_BODY, QUERY_BODY
from node.ledger.usage import DAY_US, Asked, Past, Search, Unusual, searches, unusual
from node.records.lookup import KEY_SIZE, LookupKey, selector_tokens
from node.store.database import Database
from node.store.listing import read_head
from node.store.officers import Officer
from node.store.usage import Used, bodies, used
from node.store.vault import Vault
from node.wire.audit_pb2 import LedgerStatsRequest, LedgerStatsResponse, OfficerUse, PeerUse, UnusualUse
from node.wire.desk_pb2 import PEER_OUTCOME_LATE, PeerOutcome
from node.wire.exchange_pb2 import Body
from node.wire.ledger_pb2 import (
    DIRECTION_LOCAL,
    DIRECTION_SENT,
    LEAF_KIND_ANSWERED,
    LEAF_KIND_ASKED,
    LEAF_KIND_DENIED,
    LEAF_KIND_REJECTED,
    LEAF_KIND_UNANSWERED,
    LeafPrivate,
)

PERIOD_US: Final = 30 * DAY_US
PAST_US: Final = 90 * DAY_US
"""What a period is compared with."""
MOST_UNUSUAL: Final = 200

_PAGE: Final = 2_000  # lines read on one snapshot
_TEXTS: Final = 200  # messages opened on one snapshot
_ROWS: Final = 2_000  # officers of a response
_MOST_DAMAGED: Final = 100  # lines that are named
_MOST_LINES: Final = 50
_MOST_OFFSET: Final = 16 * 60  # minutes: no clock on the wall is further from UTC
_LATE: Final = PeerOutcome.Name(PEER_OUTCOME_LATE)
_KINDS: Final = (
    LEAF_KIND_ASKED,
    LEAF_KIND_ANSWERED,
    LEAF_KIND_UNANSWERED,
    LEAF_KIND_DENIED,
    LEAF_KIND_REJECTED,
)


@dataclass(slots=True)
class _Tally:
    """What the lines of a period say, and the questions of the time before."""

    since_us: int
    lines: int = 0
    unreadable: int = 0
    damaged: list[int] = field(default_factory=list)
    peers: dict[str, PeerUse] = field(default_factory=dict)
    officers: dict[tuple[str, str, int], OfficerUse] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    before: list[Asked] = field(default_factory=list)

    def take(self, each: Used) -> None:
        """Count a line."""
        if not each.logged_us:
            self.damaged.append(each.line)
            return
        shared, private = each.shared, each.private or LeafPrivate()
        if shared.kind == LEAF_KIND_ASKED and each.private:
            asked = Asked(
                each.line,
                each.logged_us,
                private.officer,
                private.unit,
                private.purpose,
                bool(private.case_reference),
                shared.peer,
            )
            (self.asked if each.logged_us >= self.since_us else self.before).append(asked)
        if each.logged_us < self.since_us:
            return
        self.lines += 1
        self.unreadable += each.private is None
        if shared.peer:
            self._count(self.peer(shared.peer), each, private)
        if each.private and shared.kind == LEAF_KIND_DENIED and shared.direction == DIRECTION_LOCAL:
            self.officer(private.officer, private.unit, private.purpose).denied += 1

    @staticmethod
    def _count(peer: PeerUse, each: Used, private: LeafPrivate) -> None:
        kind, direction = each.shared.kind, each.shared.direction
        if kind == LEAF_KIND_ASKED:
            peer.asked += 1
        elif kind == LEAF_KIND_UNANSWERED:
            peer.late += private.reason == _LATE
            peer.unanswered += private.reason != _LATE
        elif kind == LEAF_KIND_DENIED and direction == DIRECTION_LOCAL:
            peer.denied += 1
        elif kind != LEAF_KIND_ANSWERED:
            peer.rejected_here += 1
        elif direction == DIRECTION_SENT:
            peer.asked_us += 1
            peer.answered_here += not private.reason
            peer.denied_here += bool(private.reason)
            peer.held_here += bool(private.held)
        else:
            peer.answered += 1
            peer.held += bool(private.held)

    def peer(self, code: str) -> PeerUse:
        """Return the row of a country."""
        return self.peers.setdefault(code, PeerUse(peer=code))

    def officer(self, name: str, unit: str, purpose: int) -> OfficerUse:
        """Return the row of an officer and a purpose."""
        new = OfficerUse(officer=name, unit=unit, purpose=purpose)  # type: ignore[arg-type]
        return self.officers.setdefault((name, unit, purpose), new)


@dataclass(slots=True)
class Statistics:
    """Serves auditors."""

    reading: Reading
    database: Database
    vault: Vault
    clock: Callable[[], int]

    async def stats(self, request: LedgerStatsRequest, officer: Officer) -> AsyncIterator[LedgerStatsResponse]:
        """Yield what was asked and answered in a period, and what stands out; further responses have more officers.

        Raises:
            UsageError: a period that ends before it begins, no such clock, or no reason for unmasking.
            LedgerError: the reading can't be logged.
        """
        until_us = request.until_us or self.clock()
        since_us = request.since_us or until_us - PERIOD_US
        if not 0 <= since_us < until_us:
            raise UsageError("the period ends before it begins")
        if abs(request.utc_offset_minutes) > _MOST_OFFSET:
            raise UsageError("no clock on the wall is so far from UTC")
        names = await self.reading.begin(officer, "STATS", unmask=request.unmask)
        tally = await self._tally(since_us, until_us)
        response = LedgerStatsResponse(
            since_us=since_us,
            until_us=until_us,
            lines=tally.lines,
            unreadable=tally.unreadable,
            damaged=tally.damaged[:_MOST_DAMAGED],
            damaged_total=len(tally.damaged),
        )
        response.peers.extend(tally.peers[code] for code in sorted(tally.peers))
        period = list(searches(tally.asked))
        await self._stand_out(response, tally, period, request.utc_offset_minutes * 60_000_000, names)
        _count_searches(tally, period)
        rows = list(tally.officers.values())
        for row in rows:
            row.officer = names(row.officer)
        rows.sort(key=lambda row: (row.unit, row.officer, row.purpose))  # by what is shown: order tells names too
        for at in range(0, max(1, len(rows)), _ROWS):
            response.officers.extend(rows[at : at + _ROWS])
            yield response
            response = LedgerStatsResponse()

    async def _tally(self, since_us: int, until_us: int) -> _Tally:
        size, tally = (await self.database.read(read_head)).size, _Tally(since_us)
        for start in range(0, size, _PAGE):
            await self.database.read(self._page, tally, start, min(start + _PAGE, size), until_us)
        return tally

    def _page(self, connection: Connection, tally: _Tally, start: int, stop: int, until_us: int) -> None:
        since = dict.fromkeys(_KINDS, tally.since_us) | {LEAF_KIND_ASKED: max(0, tally.since_us - PAST_US)}
        found = used(connection, self.vault, start, stop, since_us=since, until_us=until_us)
        for each in found:
            tally.take(each)
        # That a peer refused stands in its answer alone.
        empty = {each.line: each.shared.peer for each in found if _is_empty_answer(each)}
        for line, body in bodies(connection, self.vault, list(empty), ANSWER_BODY).items():
            tally.peer(empty[line]).refused += Body.FromString(body).answer.refused

    async def _stand_out(
        self, response: LedgerStatsResponse, tally: _Tally, period: Sequence[Search], offset_us: int, names: Names
    ) -> None:
        past = Past(searches(tally.before), offset_us)
        key = LookupKey(0, secrets.token_bytes(KEY_SIZE))
        targets: dict[int, frozenset[bytes]] = {}
        lines = [search.line for search in period]
        for at in range(0, len(lines), _TEXTS):
            targets |= await self.database.read(self._targets, lines[at : at + _TEXTS], key)
        found = await asyncio.to_thread(unusual, period, past, targets, offset_us)
        response.untold = len(period) - len(targets)
        response.unusual_total = len(found)
        response.unusual.extend(_shown(each, names) for each in found[:MOST_UNUSUAL])
        units = {search.unit for search in period}
        response.units_without_past.extend(sorted(unit for unit in units if past.median_of(unit) is None))

    def _targets(self, connection: Connection, lines: Sequence[int], key: LookupKey) -> dict[int, frozenset[bytes]]:
        found = {}
        for line, body in bodies(connection, self.vault, lines, QUERY_BODY).items():
            tokens: set[bytes] = set()
            for selector in Body.FromString(body).query.selectors:
                with suppress(RecordError):
                    tokens.update(selector_tokens(selector, [key], self.reading.standing.country))
            found[line] = frozenset(tokens)
        return found


def _is_empty_answer(each: Used) -> bool:
    """Tell whether a peer's answer had nothing in it: only then may it have been a refusal."""
    if each.shared.kind != LEAF_KIND_ANSWERED or each.shared.direction == DIRECTION_SENT or each.private is None:
        return False
    return not (each.private.released or each.private.hits or each.private.held)


def _count_searches(tally: _Tally, period: Iterable[Search]) -> None:
    for search in period:
        row = tally.officer(search.officer, search.unit, search.purpose)
        row.searches += 1
        row.asked += len(search.peers)
        row.without_case += not search.case


def _shown(each: Unusual, names: Names) -> UnusualUse:
    made = each.searches
    return UnusualUse(
        kind=each.kind,
        score=each.score,
        officers=sorted(map(names, each.officers)),
        units=sorted({search.unit for search in made}),
        searches=len(made),
        usual=each.usual,
        median=each.median,
        from_us=min(search.at_us for search in made),
        to_us=max(search.at_us for search in made),
        lines=[search.line for search in made[:_MOST_LINES]],
    )
