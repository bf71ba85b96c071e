"""What this country takes back from peers, and what they say became of it; `node.workflow.recalls` says what may."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, func, insert, select, update

from node.errors import NotFoundError
from node.store.share_tables import examined, recalls
from node.store.vault import Vault
from node.store.withdrawals import WITHIN_US
from node.wire.sharing_pb2 import RecallItem
from node.workflow.recalls import OPEN, State

CHASE_US: Final = 86_400_000_000
"""How long after a recall was delivered without a receipt it is sent again."""

_COPIED: Final = ("peer", "exchange_id", "handle", "entry_id", "state", "at_us", "changed_us", "due_us", "chased")


class RecallId(NamedTuple):
    """What names a recall: the exchange in which something was told last, and what the peer knows it by."""

    peer: str
    exchange_id: bytes
    handle: bytes


def find(connection: Connection, vault: Vault, key: RecallId) -> RecallItem | None:
    """Return a recall; None where there is none.

    Raises:
        KeyErasedError, DecryptionError: it was erased or altered.
    """
    row = connection.execute(select(recalls).where(*_this(key))).one_or_none()
    return None if row is None else _item(vault, row)


def get(connection: Connection, vault: Vault, key: RecallId) -> RecallItem:
    """Return a recall.

    Raises:
        NotFoundError: there is none.
        KeyErasedError, DecryptionError: it was erased or altered.
    """
    found = find(connection, vault, key)
    if found is None:
        raise NotFoundError("there is no such recall")
    return found


def put(connection: Connection, vault: Vault, item: RecallItem) -> None:
    """Write down a new recall, sent or proposed, or one that there is as it stands now."""
    key = RecallId(item.peer, item.exchange_id, item.handle)
    values = {name: getattr(item, name) for name in _COPIED}
    values["sealed"] = vault.seal_alone(_context(key), item.SerializeToString())
    changed = connection.execute(update(recalls).where(*_this(key)).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(recalls).values(**values, sent_us=0, delivered=False))


def note_sent(connection: Connection, key: RecallId, now_us: int) -> None:
    """Note that it is under way, again or for the first time."""
    connection.execute(update(recalls).where(*_this(key)).values(sent_us=now_us, delivered=False))


def note_delivered(connection: Connection, key: RecallId) -> None:
    """Note that the peer has received it."""
    connection.execute(update(recalls).where(*_this(key)).values(delivered=True))


def due_us(sent_us: int) -> int:
    """When a receipt is to be here, of a recall that was sent at `sent_us` (UTC microseconds)."""
    return sent_us + WITHIN_US


def late(connection: Connection, vault: Vault, now_us: int, limit: int = 100) -> list[RecallItem]:
    """Return recalls that are to have a receipt by now, and were not yet noted as overdue."""
    held = recalls.c
    where = (held.state.in_((State.SENT, State.DELIVERED, State.HELD)), held.due_us <= now_us)
    return [_item(vault, row) for row in connection.execute(select(recalls).where(*where).limit(limit))]


def to_chase(connection: Connection, vault: Vault, now_us: int, limit: int = 100) -> list[RecallItem]:
    """Return overdue recalls to be sent again: what the peer did not even receive, the outbox still delivers."""
    held = recalls.c
    where = (held.state == State.OVERDUE, held.delivered, held.sent_us <= now_us - CHASE_US)
    return [_item(vault, row) for row in connection.execute(select(recalls).where(*where).limit(limit))]


def list_items(
    connection: Connection, vault: Vault, states: Sequence[State] = (), limit: int = 100
) -> list[RecallItem]:
    """Return recalls in any of these states, or all; the newest first."""
    query = select(recalls).order_by(recalls.c.at_us.desc(), recalls.c.handle)
    if states:
        query = query.where(recalls.c.state.in_(states))
    return [_item(vault, row) for row in connection.execute(query.limit(limit))]


def count(connection: Connection) -> dict[str, int]:
    """Return how many recalls wait for a receipt, are overdue, or wait for a decision, by state."""
    held = recalls.c
    query = select(held.state, func.count()).where(held.state.in_((*OPEN, State.PROPOSED))).group_by(held.state)
    found = dict.fromkeys((*OPEN, State.PROPOSED), 0)
    return found | {State(state): number for state, number in connection.execute(query)}


def _this(key: RecallId) -> tuple[Any, ...]:
    held = recalls.c
    return held.peer == key.peer, held.exchange_id == key.exchange_id, held.handle == key.handle


def _context(key: RecallId) -> bytes:
    return b"recall\0" + key.peer.encode() + key.exchange_id + key.handle


def _item(vault: Vault, row: Row[Any]) -> RecallItem:
    key = RecallId(row.peer, row.exchange_id, row.handle)
    item = RecallItem.FromString(vault.open_alone(_context(key), row.sealed))
    for name in _COPIED:
        setattr(item, name, getattr(row, name))
    return item


# --- how far disclosures were examined again -------------------------------------------------------------------------


class Examined(NamedTuple):
    """Up to which entry disclosures to a peer were looked at under some rules."""

    rules_sha256: bytes
    after: bytes
    done: bool


def examined_of(connection: Connection, peer: str) -> Examined | None:
    """Return how far disclosures to a peer were looked at; None where never."""
    row = connection.execute(select(examined).where(examined.c.peer == peer)).one_or_none()
    return None if row is None else Examined(row.rules_sha256, row.after, row.done)


def note_examined(connection: Connection, peer: str, reached: Examined) -> None:
    """Write down how far they were."""
    values = reached._asdict()
    if connection.execute(update(examined).where(examined.c.peer == peer).values(values)).rowcount == 0:
        connection.execute(insert(examined).values(peer=peer, **values))
