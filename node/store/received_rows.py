"""How copies of other countries' entries lie in their rows: sealed for their state, each under a key of its own."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from node.errors import DecryptionError, KeyErasedError, NotFoundError
from node.records.lookup import LookupKey
from node.records.received_lookup import released_tokens
from node.store import withdrawals
from node.store.ids import new_id
from node.store.received_tables import key_erasures, received, received_lookups
from node.store.tables import cases
from node.store.vault import Vault, key_id_of
from node.wire.exchange_pb2 import ReleasedEntry
from node.wire.received_pb2 import RECEIVED_STATE_ACTIVE, RECEIVED_STATE_WITHDRAWN, ReceivedEntry, ReceivedState

log = structlog.get_logger()

DAY_US: Final = 86_400_000_000
UNTAKEN_US: Final = 90 * DAY_US
"""For how long an entry is kept that nobody has put with a case, and an answer of which nobody kept anything."""
LONGEST_US: Final = 5 * 365 * DAY_US
"""How far ahead the review of a copy is at most, as of own records (28 CFR 23.20(h))."""

AnyRow = Row[*tuple[Any, ...]]


def this(peer: str, exchange_id: bytes, handle: bytes) -> ColumnElement[bool]:
    """Return which row of `received` has these names."""
    held = received.c
    return (held.peer == peer) & (held.handle == handle) & (held.exchange_id == exchange_id)


class ReceivedRows:
    """Reads and writes single copies, in transactions of the caller."""

    def __init__(self, vault: Vault, keys: Sequence[LookupKey]) -> None:
        """Take the keys of the tokens that are written."""
        self._vault = vault
        self._keys = keys

    def row(self, connection: Connection, where: ColumnElement[bool]) -> AnyRow | None:
        """Return the one row that there is."""
        return connection.execute(select(received).where(where)).one_or_none()

    def opened(self, row: AnyRow) -> ReceivedEntry | None:
        """Return a copy; None where it was erased or altered, which the log tells."""
        try:
            data = self._vault.open_alone(_context(row, row.state), row.sealed)
        except KeyErasedError:
            return None
        except DecryptionError:
            log.error("received_entries_unreadable", count=1)  # noqa: TRY400 - without ids
            return None
        copy = ReceivedEntry.FromString(data)
        copy.case_id = row.case_id or b""  # a case that lost an entry to an erasure has another id from then on
        return copy

    def in_use(self, connection: Connection, rows: Sequence[AnyRow], now_us: int) -> Iterator[ReceivedEntry]:
        """Yield those copies that are active, within their date, and not among what was taken back."""
        active = [row for row in rows if row.state == RECEIVED_STATE_ACTIVE and row.review_us > now_us]
        asked = [(row.peer, row.exchange_id, row.handle, row.disclosed_us) for row in active]
        gone = withdrawals.withdrawn_among(connection, asked)
        for row in active:
            if (row.peer, row.exchange_id, row.handle) in gone:  # as after a restored backup
                continue
            copy = self.opened(row)
            if copy is not None and copy.review_us > now_us:
                yield copy

    def usable(self, connection: Connection, received_id: bytes, now_us: int) -> ReceivedEntry:
        """Return a copy in use.

        Raises:
            NotFoundError: there is none, or none in use any more.
        """
        row = self.row(connection, received.c.received_id == received_id)
        found = next(self.in_use(connection, [row] if row is not None else [], now_us), None)
        if found is None:
            raise NotFoundError("there is no such received entry, or it is of no use any more")
        return found

    def review_us(self, connection: Connection, copy: ReceivedEntry, now_us: int) -> int:
        """Return by when a copy is deleted unless it is decided otherwise: its originator's date, or the case's.

        Raises:
            NotFoundError: there is no such case, or it is past its own date.
        """
        latest = now_us + UNTAKEN_US
        if copy.case_id:
            query = select(cases.c.review_us).where(cases.c.case_id == copy.case_id)
            of_case = connection.execute(query).scalar_one_or_none()
            if of_case is None or of_case <= now_us:
                raise NotFoundError("there is no such case")
            latest = min(of_case, now_us + LONGEST_US)
        return min(copy.delete_us, latest) if copy.delete_us else latest

    def insert(self, connection: Connection, copy: ReceivedEntry) -> None:
        """Write a new copy with its tokens, sealed under a new key."""
        self._insert(connection, copy, RECEIVED_STATE_ACTIVE)
        tokens = released_tokens(copy.entry, copy.originator, self._keys)
        if tokens:
            rows = [{"token": token, "received_id": copy.received_id} for token in tokens]
            connection.execute(insert(received_lookups), rows)

    def insert_withdrawn(self, connection: Connection, new: ReceivedEntry, now_us: int) -> None:
        """Note that what was taken back came all the same, without what it says: what brought it is deleted next."""
        if self.row(connection, this(new.peer, new.exchange_id, new.entry.handle)) is not None:
            return
        copy = ReceivedEntry(
            received_id=new_id(now_us),
            peer=new.peer,
            originator=new.originator,
            exchange_id=new.exchange_id,
            disclosed_us=new.disclosed_us,
            received_us=now_us,
            review_us=now_us,
            entry=ReleasedEntry(handle=new.entry.handle),
        )
        self._insert(connection, copy, RECEIVED_STATE_WITHDRAWN)

    def _insert(self, connection: Connection, copy: ReceivedEntry, state: ReceivedState.ValueType) -> None:
        named = (copy.received_id, copy.peer, copy.exchange_id, copy.entry.handle)
        connection.execute(
            insert(received).values(
                received_id=copy.received_id,
                peer=copy.peer,
                exchange_id=copy.exchange_id,
                handle=copy.entry.handle,
                case_id=copy.case_id or None,
                state=state,
                disclosed_us=copy.disclosed_us,
                review_us=copy.review_us,
                sealed=self._vault.seal_alone(_context_of(*named, state), copy.SerializeToString()),
            )
        )

    def rewrite(self, connection: Connection, copy: ReceivedEntry) -> None:
        """Write what was decided of an active copy."""
        row = connection.execute(select(received).where(received.c.received_id == copy.received_id)).one()
        self._seal_again(connection, row, copy, RECEIVED_STATE_ACTIVE)

    def restate(self, connection: Connection, row: AnyRow, state: ReceivedState.ValueType, now_us: int) -> None:
        """Take a copy out of every use: its tokens go, and it is sealed for its new state.

        What was withdrawn is due at once. A copy that can't be opened is dropped.
        """
        connection.execute(delete(received_lookups).where(received_lookups.c.received_id == row.received_id))
        if row.state == RECEIVED_STATE_WITHDRAWN:
            return
        copy = self.opened(row)
        if copy is None:
            self.drop(connection, row)
            return
        if state == RECEIVED_STATE_WITHDRAWN:
            copy.review_us = min(copy.review_us, now_us)
        self._seal_again(connection, row, copy, state)

    def drop(self, connection: Connection, row: AnyRow, now_us: int = 0) -> None:
        """Delete a copy with its tokens; its key is to be erased."""
        connection.execute(delete(received_lookups).where(received_lookups.c.received_id == row.received_id))
        connection.execute(delete(received).where(received.c.received_id == row.received_id))
        queue_keys(connection, [key_id_of(row.sealed)], now_us)

    def _seal_again(
        self, connection: Connection, row: AnyRow, copy: ReceivedEntry, state: ReceivedState.ValueType
    ) -> None:
        key_id = key_id_of(row.sealed)
        sealed = key_id + self._vault.seal(key_id, _context(row, state), copy.SerializeToString())
        values = {"case_id": copy.case_id or None, "state": state, "review_us": copy.review_us, "sealed": sealed}
        connection.execute(update(received).where(received.c.received_id == row.received_id).values(values))


def queue_keys(connection: Connection, key_ids: Sequence[bytes], now_us: int) -> None:
    """Note keys whose records this transaction deletes, so that a crash before they are erased forgets none."""
    wanted = list(dict.fromkeys(key_ids))
    there = set(connection.execute(select(key_erasures.c.key_id).where(key_erasures.c.key_id.in_(wanted))).scalars())
    rows = [{"key_id": key_id, "at_us": now_us} for key_id in wanted if key_id not in there]
    if rows:
        connection.execute(insert(key_erasures), rows)


def _context(row: AnyRow, state: int) -> bytes:
    return _context_of(row.received_id, row.peer, row.exchange_id, row.handle, state)


def _context_of(received_id: bytes, peer: str, exchange_id: bytes, handle: bytes, state: int) -> bytes:
    return b"enlace/v1/received\0" + received_id + peer.encode() + exchange_id + handle + bytes((state,))
