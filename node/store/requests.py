"""Requests, with where each stands: what this country asked of peers, and what peers wait for, held answers among them.

What may become of a request, `node.workflow.requests` says; here it is only written down.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, delete, insert, select, update

from node.errors import NotFoundError, ReplayError, UsageError
from node.store.request_tables import requests
from node.store.vault import Vault, key_id_of
from node.wire.codes_pb2 import Urgency
from node.wire.deciding_pb2 import (
    REQUEST_ORIGIN_FOLLOW_UP,
    REQUEST_ORIGIN_HELD,
    RefusedFor,
    RequestCount,
    RequestDetail,
    RequestItem,
)
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, Direction
from node.workflow.requests import OPEN, State

HOUR_US: Final = 3_600_000_000
DUE_US: Final = {
    Urgency.URGENCY_LIFE: 2 * HOUR_US,
    Urgency.URGENCY_URGENT: 8 * HOUR_US,
    Urgency.URGENCY_PRIORITY: 72 * HOUR_US,
    Urgency.URGENCY_ROUTINE: 168 * HOUR_US,
}
"""How soon somebody is to decide, by what the asker said."""

KEPT_US: Final = 365 * 24 * HOUR_US
"""How long a request is kept after it was decided; its lines tell of it for longer."""

REVIEW_WITHIN_US: Final = 24 * HOUR_US
"""How soon another focal point reviews what one released in an emergency."""

_COPIED: Final = (
    "direction",
    "peer",
    "exchange_id",
    "request_id",
    "origin",
    "state",
    "urgency",
    "at_us",
    "due_us",
    "changed_us",
    "late",
    "officer",
    "unit",
    "refusal",
    "emergency",
    "upheld",
)


class RequestId(NamedTuple):
    """What names a request here: two peers may choose the same id."""

    direction: Direction.ValueType
    peer: str
    request_id: bytes


class Kept(NamedTuple):
    """A request as it is kept; `entry_id` is of what was held, or the peer's ticket; of a follow-up request, empty."""

    id: RequestId
    entry_id: bytes
    detail: RequestDetail

    @property
    def item(self) -> RequestItem:
        """How it stands."""
        return self.detail.item


def due_us(urgency: Urgency.ValueType, at_us: int) -> int:
    """When somebody is to have decided, of what came at `at_us` (UTC microseconds)."""
    return at_us + DUE_US.get(urgency, DUE_US[Urgency.URGENCY_ROUTINE])


def held_id(exchange_id: bytes, ticket: bytes) -> bytes:
    """Return the id of the request that a held answer is; both sides know exchange and ticket (16 bytes each)."""
    return hashlib.sha256(b"enlace/v1/held\0" + exchange_id + ticket).digest()[:16]


def put(connection: Connection, vault: Vault, detail: RequestDetail, entry_id: bytes = b"") -> Kept:
    """Write down a new request.

    Raises:
        ReplayError: there is one of this id, of this peer and direction.
    """
    item = detail.item
    key = RequestId(item.direction, item.peer, item.request_id)
    if _row(connection, key) is not None:
        raise ReplayError("this request was made before")
    values = {name: getattr(item, name) for name in _COPIED}
    sealed = _sealed(vault, key, detail)
    connection.execute(insert(requests).values(**values, entry_id=entry_id or None, sealed=sealed))
    return Kept(key, entry_id, detail)


def is_waiting(connection: Connection, peer: str, ticket: bytes) -> bool:
    """Tell whether a peer is to decide already on what it holds under a ticket: who asks again adds nothing there."""
    held = requests.c
    same = (held.direction == DIRECTION_SENT, held.peer == peer, held.entry_id == ticket, held.state.in_(OPEN))
    return connection.execute(select(held.request_id).where(*same).limit(1)).first() is not None


def get(connection: Connection, vault: Vault, key: RequestId) -> Kept:
    """Return a request.

    Raises:
        NotFoundError: there is none.
        KeyErasedError, DecryptionError: it was erased or altered.
    """
    row = _row(connection, key)
    if row is None:
        raise NotFoundError("there is no such request")
    return _kept(vault, row)


def find(
    connection: Connection, vault: Vault, request_id: bytes, peer: str = "", *directions: Direction.ValueType
) -> Kept:
    """Return the request of this id; `peer` where two have the same.

    Raises:
        NotFoundError: there is none.
        UsageError: two peers chose it: say which.
    """
    held = requests.c
    where = [held.request_id == request_id, *([held.peer == peer] if peer else [])]
    where += [held.direction.in_(directions)] if directions else []
    rows = connection.execute(select(requests).where(*where)).all()
    if not rows:
        raise NotFoundError("there is no such request")
    if len(rows) > 1:
        raise UsageError(f"{', '.join(sorted({row.peer for row in rows}))} have a request of this id: name the peer")
    return _kept(vault, rows[0])


def change(connection: Connection, vault: Vault, kept: Kept, now_us: int, **values: object) -> Kept:
    """Write down what became of a request: these values of its item, and its detail as it is now."""
    item = kept.detail.item
    for name, value in values.items():
        setattr(item, name, value if value is not None else "")
    item.changed_us = now_us
    sealed = _sealed(vault, kept.id, kept.detail)
    this = (requests.c.direction == kept.id.direction, requests.c.peer == kept.id.peer)
    written = update(requests).where(*this, requests.c.request_id == kept.id.request_id)
    connection.execute(written.values(**values, changed_us=now_us, sealed=sealed))
    return kept


def list_items(
    connection: Connection,
    *,
    direction: Direction.ValueType | None = None,
    states: Sequence[State] = (),
    unit: str | None = None,
    emergency: bool = False,
    limit: int = 1_000,
) -> list[RequestItem]:
    """Return requests without contents: open ones by when they are due, with all states the newest first."""
    held = requests.c
    query = select(requests).order_by(*((held.due_us, held.request_id) if states else (held.at_us.desc(),)))
    if direction is not None:
        query = query.where(held.direction == direction)
    if states:
        query = query.where(held.state.in_(states))
    if unit is not None:
        query = query.where(held.unit == unit)
    if emergency:
        query = query.where(held.emergency)
    return [_item(row) for row in connection.execute(query.limit(limit))]


def waiting(connection: Connection) -> list[RequestItem]:
    """Return what waits for this country's focal points, the earliest due first."""
    return list_items(connection, direction=DIRECTION_RECEIVED, states=OPEN)


def overdue(connection: Connection, vault: Vault, now_us: int, *, limit: int = 100) -> list[Kept]:
    """Return open requests of both directions whose time is over."""
    held = requests.c
    query = select(requests).where(held.state.in_(OPEN), held.due_us <= now_us).order_by(held.due_us).limit(limit)
    return [_kept(vault, row) for row in connection.execute(query)]


def to_escalate(connection: Connection, vault: Vault, now_us: int) -> list[Kept]:
    """Return what nobody has decided though three quarters of its time are over, and that was not escalated."""
    held = requests.c
    late = held.due_us - (held.due_us - held.at_us) / 4 <= now_us
    where = (held.direction == DIRECTION_RECEIVED, held.state.in_((State.ASKED, State.TAKEN)), late)
    return [_kept(vault, row) for row in connection.execute(select(requests).where(*where).limit(100))]


def unreviewed(connection: Connection, vault: Vault, now_us: int) -> list[Kept]:
    """Return emergency releases that another focal point was to review by now, and of which no line says so."""
    held = requests.c
    where = (held.emergency, held.reviewed_by.is_(None), held.late.is_(False))
    query = select(requests).where(*where, held.changed_us <= now_us - REVIEW_WITHIN_US)
    return [_kept(vault, row) for row in connection.execute(query)]


def outdated(connection: Connection, now_us: int) -> list[tuple[RequestId, bytes]]:
    """Return requests that were decided so long ago that they are deleted, each with the id of its key."""
    held = requests.c
    query = select(held.direction, held.peer, held.request_id, held.sealed).where(
        held.state.not_in(OPEN), held.changed_us <= now_us - KEPT_US
    )
    rows = connection.execute(query.limit(100))
    return [(RequestId(row.direction, row.peer, row.request_id), key_id_of(row.sealed)) for row in rows]


def forget(connection: Connection, keys: Iterable[RequestId]) -> None:
    """Delete requests whose keys are gone."""
    held = requests.c
    for key in keys:
        this = (held.direction == key.direction, held.peer == key.peer, held.request_id == key.request_id)
        connection.execute(delete(requests).where(*this))


def count(connection: Connection, since_us: int, until_us: int) -> list[RequestCount]:
    """Count what was asked from `since_us` to before `until_us`, by peer and direction; silent holds are none."""
    held = requests.c
    found: dict[tuple[str, int], Counter[str]] = {}
    reasons: dict[tuple[str, int], Counter[int]] = {}
    told = held.origin.in_((REQUEST_ORIGIN_FOLLOW_UP, REQUEST_ORIGIN_HELD))
    query = select(held.peer, held.direction, held.state, held.late, held.refusal)
    for row in connection.execute(query.where(told, held.at_us >= since_us, held.at_us < until_us)):
        key = (row.peer, row.direction)
        tally = found.setdefault(key, Counter())
        tally["asked"] += 1
        tally[row.state] += 1
        tally["late"] += row.state == State.EXPIRED and row.late
        if row.refusal:
            reasons.setdefault(key, Counter())[row.refusal] += 1
    return [
        RequestCount(
            peer=peer,
            direction=direction,  # type: ignore[arg-type] # as it was written
            asked=tally["asked"],
            granted=tally[State.GRANTED],
            partly_granted=tally[State.PARTLY_GRANTED],
            refused=tally[State.REFUSED],
            late=tally["late"],
            open=sum(tally[state] for state in OPEN),
            reasons=[
                RefusedFor(refusal=refusal, count=number)  # type: ignore[arg-type] # likewise
                for refusal, number in sorted(reasons.get((peer, direction), Counter()).items())
            ],
        )
        for (peer, direction), tally in sorted(found.items())
    ]


def own(connection: Connection, vault: Vault, peer: str, request_id: bytes) -> Kept | None:
    """Return a request that this country sent to a peer; None where there is none."""
    row = _row(connection, RequestId(DIRECTION_SENT, peer, request_id))
    return None if row is None else _kept(vault, row)


# --- inside ----------------------------------------------------------------------------------------------------------


def _row(connection: Connection, key: RequestId) -> Row[Any] | None:
    held = requests.c
    this = (held.direction == key.direction, held.peer == key.peer, held.request_id == key.request_id)
    return connection.execute(select(requests).where(*this)).one_or_none()


def _context(key: RequestId) -> bytes:
    return b"request\0" + bytes([key.direction]) + key.peer.encode() + key.request_id


def _sealed(vault: Vault, key: RequestId, detail: RequestDetail) -> bytes:
    return vault.seal_alone(_context(key), detail.SerializeToString())


def _kept(vault: Vault, row: Row[Any]) -> Kept:
    key = RequestId(row.direction, row.peer, row.request_id)
    detail = RequestDetail.FromString(vault.open_alone(_context(key), row.sealed))
    detail.item.CopyFrom(_item(row))
    return Kept(key, row.entry_id or b"", detail)


def _item(row: Row[Any]) -> RequestItem:
    values: Mapping[str, Any] = {name: getattr(row, name) for name in _COPIED}
    return RequestItem(**values, taken_by=row.taken_by or "", reviewed_by=row.reviewed_by or "")
