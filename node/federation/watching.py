"""Watches what is asked, behind the answers' back: counts it against quotas, and raises silent alarms.

Three things raise one: a state of origin, or what may be one, that asks about a person protected from it; numbers near
each other that are asked one after another; and an entry that no real case holds. Whoever asked sees none of it. An
answer leaves before it is looked at, and an alarm has no ledger line, since a line more would show in the ledger's
size. What a crash loses of alarms is made again from the last lines' decisions.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog
from sqlalchemy import Connection

from node.errors import EnlaceError, KeyErasedError, NotFoundError, PolicyError
from node.federation import metrics
from node.federation.guessing import ENOUGH, Guessing, Place, Run
from node.federation.lines import QUERY_BODY
from node.federation.quotas import Quotas
from node.federation.standing import Standing
from node.ledger.leaf import unpad
from node.policy.facts import Facts, parse_facts
from node.policy.quotas import GUESSES_COST, HOUR_US, what_of
from node.policy.vocabulary import PURPOSES
from node.store import alarms, decoys, guesses
from node.store import quotas as counts
from node.store.database import Database
from node.store.listing import list_lines, read_bodies, read_head
from node.store.quotas import Key
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.alarm_pb2 import ALARM_KIND_DECOY, ALARM_KIND_GUESSES, ALARM_KIND_PROTECTED, Alarm
from node.wire.exchange_pb2 import Body, Query
from node.wire.ledger_pb2 import (
    DIRECTION_SENT,
    ENTRY_OUTCOME_HELD_SILENTLY,
    ENTRY_OUTCOME_INVISIBLE,
    LEAF_KIND_ANSWERED,
    LEAF_KIND_ASKED,
    Decisions,
)
from node.wire.quota_pb2 import QUOTA_SCOPE_PEER, QuotaReached, QuotaScope

log = structlog.get_logger()

LOOKED_BACK: Final = 2_000
"""Lines that are looked at again at a start; far more than a crash can leave unlooked at."""
_AT_ONCE: Final = 50  # queries looked at before others have their turn
_RUNS_AT_ONCE: Final = 100
_FEW: Final = 1_000_000_000  # microseconds between two looks at what is older than a day

_UNSEEN: Final = frozenset({ENTRY_OUTCOME_INVISIBLE, ENTRY_OUTCOME_HELD_SILENTLY})
_SOUGHT: Final = frozenset({"CLAIMED", "RECOGNISED", "REFUSED", "PAST"})
_EXPOSED: Final = frozenset({"EXILE", "JOURNALIST", "DEFENDER", "OPPOSITION"})
_OF_ORIGIN: Final = frozenset({"IS_ORIGIN", "UNKNOWN"})


class Seen(NamedTuple):
    """A query of a peer with what was decided, or (peer empty) one of an officer of this country."""

    exchange_id: bytes
    peer: str
    query: Query
    decisions: Decisions
    at_us: int


class _Suspicion(NamedTuple):
    """What may raise an alarm: an alarm and what it is about; of a run of guesses, only once there are enough."""

    alarm: Alarm
    about: bytes
    charged: Key
    run: Run | None = None


@dataclass(slots=True)
class Watching:
    """Looks at what was asked; one per process."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    clock: Callable[[], int]
    quotas: Quotas = field(default_factory=Quotas)
    decoys: frozenset[bytes] = frozenset()
    """Ids of entries that are decoys."""
    _guessing: Guessing = field(init=False)
    _seen: list[Seen] = field(default_factory=list)
    _forgot_us: int = 0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Derive the key of what is written down of numbers."""
        self._guessing = Guessing(self.vault.tag("guesses", b""))

    def spend(self, scope: QuotaScope.ValueType, who: str, query: Query, now_us: int) -> QuotaReached | None:
        """Count a query, or return which quota is used up."""
        return self.quotas.spend((scope, who, what_of(query.purpose, query.urgency)), now_us)

    def note(self, exchange_id: bytes, peer: str, query: Query, decisions: Decisions, at_us: int) -> None:
        """Have an exchange looked at, later; `peer` is empty for what this country asks."""
        self._seen.append(Seen(exchange_id, peer, query, decisions, at_us))

    async def restore(self) -> None:
        """Look again at the last lines, and take over counts and decoys; to be called before serving."""
        self.decoys = await self.database.read(decoys.entry_ids, self.vault)
        self._seen.extend(await self.database.read(self._last))
        await self.look()
        await self.follow()

    async def look(self) -> None:
        """Look at what was asked since the last time; to be called again and again."""
        async with self._turn:  # who comes second finds that all is written down
            await self._look()

    async def _look(self) -> None:
        seen, self._seen = self._seen, []
        suspicions: list[_Suspicion] = []
        grown: dict[Place, Seen] = {}
        for number, each in enumerate(seen, start=1):
            suspicions.extend(self._suspicions(each))
            country = each.peer or self.standing.country
            for place in self._guessing.remember(each.query, each.peer, country, each.at_us):
                grown[place] = each
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        # The longest first: who asks very much must not keep the writer busy with it.
        longest = heapq.nlargest(_RUNS_AT_ONCE, grown, self._guessing.length)
        suspicions.extend(self._guesses(place, grown[place]) for place in longest)
        taken = self.quotas.take()
        if suspicions or taken:
            try:
                charged = await self._write(suspicions, taken)
            except EnlaceError:
                self.quotas.give_back(taken)
                self._seen[:0] = seen
                raise
            for key in charged:
                self.quotas.charge(key, self.clock(), GUESSES_COST)
        if taken or not self.database.is_sqlite:
            await self.follow()
        metrics.ALARMS.set(await self.database.read(alarms.count_open))

    async def follow(self) -> None:
        """Take over what is written down of quotas and decoys, whichever process of this node did."""
        now_us = self.clock()

        def read(connection: Connection) -> tuple[object, ...]:
            found = counts.counted(connection, now_us // HOUR_US), counts.raised(connection, now_us)
            return (*found, decoys.entry_ids(connection, self.vault))

        counted, raised, self.decoys = await self.database.read(read)  # type: ignore[assignment]
        self.quotas.follow(counted, raised, now_us)  # type: ignore[arg-type]

    # --- what raises an alarm ----------------------------------------------------------------------------------------

    def _suspicions(self, seen: Seen) -> Iterator[_Suspicion]:
        what = what_of(seen.query.purpose, seen.query.urgency)
        charged: Key = (QUOTA_SCOPE_PEER, seen.peer, what)
        for made in seen.decisions.entries:
            if made.outcome not in _UNSEEN:
                continue
            if made.entry_id in self.decoys:
                kind = ALARM_KIND_DECOY
            elif _is_protected_from(made.facts):
                kind = ALARM_KIND_PROTECTED
            else:
                continue
            yield _Suspicion(_alarm(kind, seen, entry_id=made.entry_id), seen.exchange_id + made.entry_id, charged)

    def _guesses(self, place: Place, seen: Seen) -> _Suspicion:
        run, what = self._guessing.run(place), what_of(seen.query.purpose, seen.query.urgency)
        charged: Key = (QUOTA_SCOPE_PEER, seen.peer, what)
        if not seen.peer:
            charged = (run.asker.scope, run.asker.who, what)
        return _Suspicion(_alarm(ALARM_KIND_GUESSES, seen), run.about, charged, run)

    async def _write(self, suspicions: list[_Suspicion], taken: dict[tuple[int, Key], int]) -> list[Key]:
        """Write down counts and runs, raise alarms, and return the quotas that guesses count against."""
        now_us = self.clock()
        forgets = now_us - self._forgot_us > _FEW

        def change(connection: Connection) -> list[Key]:
            counts.add(connection, taken)
            if forgets:
                guesses.forget(connection, now_us)
            charged = []
            for alarm, about, key, run in suspicions:
                if run is not None:
                    alarm.numbers = guesses.merge(connection, run.run, run.numbers, now_us)
                    if alarm.numbers < ENOUGH[run.asker.scope]:
                        continue
                new = alarms.raise_alarm(connection, self.vault, alarm, about, now_us)
                if new and run is not None:
                    charged.append(key)
            return charged

        charged = await asyncio.wrap_future(self.writer.submit(change, (), Priority.BACKGROUND))
        if forgets:
            self._forgot_us = now_us
        return charged

    # --- at a start --------------------------------------------------------------------------------------------------

    def _last(self, connection: Connection) -> list[Seen]:
        start = max(0, read_head(connection).size - LOOKED_BACK)
        kinds = (LEAF_KIND_ANSWERED, LEAF_KIND_ASKED)
        found = []
        for line in list_lines(connection, start, LOOKED_BACK, kinds=kinds, vault=self.vault):
            shared = line.shared
            if shared.direction != DIRECTION_SENT or line.opening is None:
                continue
            peer = shared.peer if shared.kind == LEAF_KIND_ANSWERED else ""
            decisions = Decisions.FromString(unpad(line.opening.decisions)) if line.opening.decisions else Decisions()
            try:
                query = Body.FromString(read_bodies(connection, self.vault, line.index)[QUERY_BODY]).query
            except (KeyErasedError, NotFoundError):
                continue  # it was erased because it had been looked at long ago
            found.append(Seen(shared.exchange_id, peer, query, decisions, shared.time_us))
        return found


def _alarm(kind: int, seen: Seen, entry_id: bytes = b"") -> Alarm:
    asker = seen.query.asker
    return Alarm(
        kind=kind,  # type: ignore[arg-type]
        peer=seen.peer,
        exchange_id=seen.exchange_id,
        officer=asker.officer,
        unit=asker.unit,
        purpose=PURPOSES.get(seen.query.purpose, ""),
        entry_id=entry_id,
    )


def _is_protected_from(data: bytes) -> bool:
    """Tell whether facts are of a person whom it is known to protect from the state that asks, or may be from it.

    Protection of a victim or a minor is not from their state, which may well be looking for them.
    """
    try:
        facts: Facts = parse_facts(data)
    except PolicyError:
        log.exception("facts_unreadable")
        return False
    if facts.recipient_is_origin not in _OF_ORIGIN:
        return False
    return facts.asylum in _SOUGHT or facts.exposure in _EXPOSED or facts.witness == "YES"
