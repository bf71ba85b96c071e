"""What was asked in queries that ended as no-hits, to be erased within a day: the messages beside their lines.

What opens the line stays: it says who asked, why and what was decided, and no selector. A message stays as long as a
hold, a query for a life or a silent alarm waits on it.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from node.errors import LedgerBrokenError, LedgerError
from node.ledger.leaf import parse_leaf, parse_opening, parse_shared, unpad
from node.store.alarms import open_exchanges
from node.store.columns import as_bytes
from node.store.holds import HoldState
from node.store.lines import ledger_bodies, ledger_lines, ledger_openings, opening_context
from node.store.received_rows import queue_keys
from node.store.tables import holds, life_queries
from node.store.vault import Vault, key_id_of
from node.store.watch_tables import swept, swept_later
from node.wire.ledger_pb2 import (
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    ENTRY_OUTCOME_HELD_SILENTLY,
    ENTRY_OUTCOME_INVISIBLE,
    LEAF_KIND_ANSWERED,
    Decisions,
    LeafShared,
)

PAGE: Final = 250
"""Lines looked at once."""

_UNSEEN: Final = frozenset({ENTRY_OUTCOME_INVISIBLE, ENTRY_OUTCOME_HELD_SILENTLY})


class NoHit(NamedTuple):
    """A line whose exchange ended as a no-hit, with the key that what was asked is encrypted under."""

    line: int
    exchange_id: bytes
    key_id: bytes


class Page(NamedTuple):
    """What was found in lines from index `start` to before `end`."""

    start: int
    end: int
    found: Sequence[NoHit]


def next_page(connection: Connection, vault: Vault, before_us: int) -> Page | None:
    """Read the next lines of before a time that nobody looked at; None where there are none."""
    start = connection.execute(select(swept.c.size)).scalar_one_or_none() or 0
    line = ledger_lines.c
    joined = ledger_lines.outerjoin(ledger_bodies, ledger_bodies.c.idx == line.idx).outerjoin(
        ledger_openings, ledger_openings.c.idx == line.idx
    )
    query = (
        select(line.idx, line.leaf, line.leaf_hash, ledger_bodies.c.sealed, ledger_openings.c.sealed.label("opening"))
        .select_from(joined)
        .where(line.idx >= start)
        .order_by(line.idx)
        .limit(PAGE)
    )
    found, end = [], start
    for row in connection.execute(query):
        try:
            leaf = parse_leaf(row.leaf)
            shared = parse_shared(leaf.shared)
        except LedgerBrokenError:  # `ledger verify` names it
            end = row.idx + 1
            continue
        if leaf.logged_us > before_us:
            break
        end = row.idx + 1
        if row.sealed is not None and _is_no_hit(vault, shared, as_bytes(row.leaf_hash), row.opening):
            found.append(NoHit(row.idx, shared.exchange_id, key_id_of(as_bytes(row.sealed))))
    return Page(start, end, found) if end > start else None


def _is_no_hit(vault: Vault, shared: LeafShared, leaf_hash: bytes, opening: bytes | None) -> bool:
    """Tell whether an answer told nothing; of one whose opening is gone nobody knows."""
    if (shared.kind, shared.direction) != (LEAF_KIND_ANSWERED, DIRECTION_SENT) or opening is None:
        return False
    try:
        opened = parse_opening(vault.open_alone(opening_context(leaf_hash), opening))
    except LedgerError:
        return False
    decisions = Decisions.FromString(unpad(opened.decisions)) if opened.decisions else Decisions()
    return all(each.outcome in _UNSEEN for each in decisions.entries)


def needed(connection: Connection, found: Collection[NoHit]) -> set[bytes]:
    """Return the exchanges on which a hold, a query for a life or an alarm waits."""
    exchanges = [each.exchange_id for each in found]
    held, life = holds.c, life_queries.c
    waiting = select(held.exchange_id).where(held.state == HoldState.WAITING, held.exchange_id.in_(exchanges))
    unread = select(life.exchange_id).where(
        life.direction == DIRECTION_RECEIVED, life.acknowledged_us.is_(None), life.exchange_id.in_(exchanges)
    )
    rows = (*connection.execute(waiting).scalars(), *connection.execute(unread).scalars())
    return {*rows, *open_exchanges(connection, exchanges)}


def left_over(connection: Connection) -> list[NoHit]:
    """Return no-hits on which something waited, and on which nothing does any more."""
    joined = swept_later.join(ledger_lines, ledger_lines.c.idx == swept_later.c.idx).join(
        ledger_bodies, ledger_bodies.c.idx == swept_later.c.idx
    )
    query = select(ledger_lines.c.idx, ledger_lines.c.exchange_id, ledger_bodies.c.sealed).select_from(joined)
    rows = connection.execute(query.order_by(ledger_lines.c.idx).limit(PAGE))
    found = [NoHit(row.idx, as_bytes(row.exchange_id), key_id_of(as_bytes(row.sealed))) for row in rows]
    waited_on = needed(connection, found)
    return [each for each in found if each.exchange_id not in waited_on]


def sweep(connection: Connection, page: Page, now_us: int) -> bool:
    """Delete what was asked in the no-hits of a page that nothing waits on; False where another process was quicker."""
    moved = update(swept).where(swept.c.size == page.start).values(size=page.end)
    if connection.execute(moved).rowcount == 0:
        if connection.execute(select(swept.c.size)).first() is not None:
            return False
        connection.execute(insert(swept).values(id=1, size=page.end))
    waited_on = needed(connection, page.found)
    later = [{"idx": each.line} for each in page.found if each.exchange_id in waited_on]
    if later:
        connection.execute(insert(swept_later), later)
    erase(connection, [each for each in page.found if each.exchange_id not in waited_on], now_us)
    return True


def erase(connection: Connection, found: Collection[NoHit], now_us: int) -> None:
    """Delete what was asked, and have the keys erased that it is encrypted under."""
    lines = [each.line for each in found]
    connection.execute(delete(ledger_bodies).where(ledger_bodies.c.idx.in_(lines)))
    connection.execute(delete(swept_later).where(swept_later.c.idx.in_(lines)))
    queue_keys(connection, [each.key_id for each in found], now_us)
