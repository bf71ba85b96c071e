"""Facts to determine for a life: what UNKNOWN alone kept from a LIFE query is brought before the duty officer.

The answer was a no-hit like any other. It is looked at after it has left, from the ledger line that it was logged with,
so that nothing of it shows in the answer or in its time, and no crash loses it.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import Connection

from node.errors import DecryptionError, KeyErasedError, PolicyError
from node.federation import metrics
from node.federation.standing import Standing
from node.ledger.leaf import unpad
from node.policy.blocked import blocked_by_unknown
from node.policy.decision import HELD_SILENTLY, INVISIBLE
from node.policy.derive import Request, derive_facts
from node.policy.facts import Facts, parse_facts
from node.store import determinations, life
from node.store.database import Database
from node.store.determinations import Notice
from node.store.entries import Entries
from node.store.listing import ListedLine, list_lines
from node.store.requests import due_us
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.codes_pb2 import URGENCY_LIFE
from node.wire.entry_pb2 import Entry
from node.wire.ledger_pb2 import DIRECTION_SENT, Decisions, EntryDecision, LeafKind
from node.wire.safeguard_pb2 import Determination

log = structlog.get_logger()

_ANSWERED = (LeafKind.LEAF_KIND_ANSWERED,)
_OF_REQUEST = tuple(name for name in Request.__struct_fields__ if name != "country")


@dataclass(slots=True)
class Determining:
    """Keeps the duty officer's list of facts to determine."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    entries: Entries
    clock: Callable[[], int]

    async def look(self) -> None:
        """Add what came since, and close what was determined or is no more; to be called again and again."""
        found = await self.database.read(self._examined)
        for exchange_id, peer, notices in found:
            adding = self.writer.submit(_adding(exchange_id, peer, notices), (), Priority.BACKGROUND)
            await asyncio.wrap_future(adding)
            if notices:
                # The page: monitoring rings on it. Which entries, and which facts, is for the desk alone.
                log.warning("life_blocked_by_unknown", peer=peer, entries=len(notices), due_us=notices[0].due_us)
        changed, now_us = await self.database.read(self._changed), self.clock()
        if changed:
            noting = partial(determinations.looked_at, notices=changed, now_us=now_us)
            await asyncio.wrap_future(self.writer.submit(noting, (), Priority.BACKGROUND))
        waiting = await self.database.read(determinations.waiting)
        overdue = sum(notice.due_us < now_us for notice in waiting)
        metrics.UNDETERMINED.labels("yes").set(overdue)
        metrics.UNDETERMINED.labels("no").set(len(waiting) - overdue)

    async def waiting(self) -> list[Determination]:
        """Return what is to be determined, the earliest due first."""
        return await self.database.read(self._waiting)

    # --- new ones ----------------------------------------------------------------------------------------------------

    def _examined(self, connection: Connection) -> list[tuple[bytes, str, list[Notice]]]:
        unexamined = life.unexamined(connection)
        return [(query_id, peer, list(self._of(connection, query_id, peer))) for query_id, peer in unexamined]

    def _of(self, connection: Connection, exchange_id: bytes, peer: str) -> Iterator[Notice]:
        """Yield a notice for each entry that unknown facts alone kept from a query."""
        lines = list_lines(connection, 0, 1, exchange_id=exchange_id, kinds=_ANSWERED, peer=peer, vault=self.vault)
        for line in lines:
            at_us = line.shared.time_us
            for decided in _decided(line):
                facts = _facts(decided)
                if facts is not None and self._blocked(peer, facts, at_us):
                    yield Notice(
                        exchange_id=exchange_id,
                        peer=peer,
                        entry_id=decided.entry_id,
                        line=line.index,
                        revision=decided.revision,
                        at_us=at_us,
                        due_us=due_us(URGENCY_LIFE, at_us),
                    )

    def _blocked(self, peer: str, facts: Facts, now_us: int) -> frozenset[str]:
        return blocked_by_unknown(self.standing.policy_for(peer, now_us), facts, now_us)

    # --- those that wait ---------------------------------------------------------------------------------------------

    def _changed(self, connection: Connection) -> list[tuple[Notice, int, bool]]:
        """Return the notices whose entry has changed, its revision, and whether nothing is left to determine."""
        notices = determinations.waiting(connection)
        if not notices:
            return []
        found, now_us = self._active(connection, notices), self.clock()
        changed = []
        for notice in notices:
            entry = found.get(notice.entry_id)
            if entry is None or entry.review_us <= now_us:
                changed.append((notice, notice.revision, True))
            elif entry.revision != notice.revision:
                changed.append((notice, entry.revision, not self._left(connection, notice, entry, now_us)))
        return changed

    def _left(self, connection: Connection, notice: Notice, entry: Entry, now_us: int) -> frozenset[str]:
        """Return what is to be determined of an entry as it is now, for the query as it was."""
        for line in list_lines(connection, notice.line, 1, kinds=_ANSWERED, vault=self.vault):
            for decided in _decided(line):
                facts = _facts(decided) if decided.entry_id == notice.entry_id else None
                if facts is not None:
                    asked = {name: getattr(facts, name) for name in _OF_REQUEST}
                    now = derive_facts(Request(country=notice.peer, **asked), entry, now_us)
                    return self._blocked(notice.peer, now, now_us)
        return frozenset()

    def _active(self, connection: Connection, notices: Sequence[Notice]) -> dict[bytes, Entry]:
        found = {}
        for entry_id in determinations.active_entries(connection, notices):
            try:
                found[entry_id] = self.entries.get(connection, entry_id)
            except KeyErasedError:
                continue
            except DecryptionError:  # it was altered; without ids, as everywhere
                log.error("entries_unreadable", count=1)  # noqa: TRY400 - there is no more to tell
        return found

    def _waiting(self, connection: Connection) -> list[Determination]:
        notices = determinations.waiting(connection)
        found, now_us = self._active(connection, notices), self.clock()
        shown = []
        for notice in notices:
            entry = found.get(notice.entry_id)
            left = self._left(connection, notice, entry, now_us) if entry is not None else frozenset()
            if left:
                shown.append(
                    Determination(
                        exchange_id=notice.exchange_id,
                        peer=notice.peer,
                        entry_id=notice.entry_id,
                        facts=sorted(left),
                        at_us=notice.at_us,
                        due_us=notice.due_us,
                    )
                )
        return shown


def _decided(line: ListedLine) -> list[EntryDecision]:
    """Return the decisions of a line that kept an entry from being seen."""
    if line.opening is None or line.shared.direction != DIRECTION_SENT or not line.opening.decisions:
        return []
    decided = Decisions.FromString(unpad(line.opening.decisions)).entries
    return [each for each in decided if each.outcome in {INVISIBLE, HELD_SILENTLY}]


def _facts(decided: EntryDecision) -> Facts | None:
    try:
        return parse_facts(decided.facts)
    except PolicyError:  # written by another version of this node, in words that this one doesn't have
        return None


def _adding(exchange_id: bytes, peer: str, notices: Sequence[Notice]) -> Callable[[Connection], None]:
    def change(connection: Connection) -> None:
        # Another process of this node may have looked at the same query.
        if life.examine(connection, exchange_id, peer):
            for notice in notices:
                determinations.put(connection, notice)

    return change
