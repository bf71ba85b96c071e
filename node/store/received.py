"""Entries of other countries, apart from own records: kept, found, used and ended as their originators say.

Nothing that answers a peer imports this module, and its tokens are of keys that no peer's question is looked up by.
Each copy is sealed under a key of its own, so that erasing the key erases it from older backups whatever became of the
others of its exchange, and for its state: SQL can't make one current that was taken back.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from node.errors import NotFoundError, RecordError
from node.policy.received_use import Use, delete_at, is_listed, is_usable, verify_onward, verify_use
from node.records.lookup import LookupKey, selector_tokens
from node.store import withdrawals
from node.store.ids import new_id
from node.store.received_rows import LONGEST_US, UNTAKEN_US, ReceivedRows, this
from node.store.received_tables import answer_bodies, received, received_lookups
from node.store.vault import Vault
from node.store.withdrawals import Copy, Deletion, DeletionGround
from node.wire.exchange_pb2 import ReleasedEntry, Selector
from node.wire.received_pb2 import (
    RECEIVED_STATE_ACTIVE,
    RECEIVED_STATE_BARRED,
    RECEIVED_STATE_WITHDRAWN,
    ReceivedEntry,
    ReceivedState,
)

_PAGE: Final = 200
_FOR_EVER: Final = 2**62  # microseconds: no disclosure is later
_FIND_TOKENS: Final = 400  # of one statement


class ReceivedEntries:
    """Keeps copies, in transactions of the caller, who adds the ledger lines."""

    def __init__(self, vault: Vault) -> None:
        """Derive the lookup keys, which are not those of own entries."""
        epochs = [key.epoch for key in vault.lookup_keys()]
        self._keys = tuple(LookupKey(epoch, vault.tag("received-lookup", bytes((epoch,)))) for epoch in epochs)
        self._rows = ReceivedRows(vault, self._keys)

    # --- keeping -----------------------------------------------------------------------------------------------------

    def put(self, connection: Connection, new: ReceivedEntry, now_us: int) -> ReceivedEntry | None:
        """Keep a copy, or a later version of one that came in the same exchange, and return what stands.

        Ids and dates are this method's to write; so is who keeps it, where a later version comes by itself.

        Returns:
            None where it was taken back or is barred: the same never comes here again.

        Raises:
            NotFoundError: there is no such own case.
        """
        handle = new.entry.handle
        if withdrawals.withdrawn_among(connection, [(new.peer, new.exchange_id, handle, new.disclosed_us)]):
            self._rows.insert_withdrawn(connection, new, now_us)
            return None
        copy = ReceivedEntry()
        copy.CopyFrom(new)
        copy.received_us = now_us
        held = self._rows.row(connection, this(new.peer, new.exchange_id, handle))
        old = self._rows.opened(held) if held is not None else None
        if old is not None:
            if old.disclosed_us >= new.disclosed_us:
                return old
            copy.case_id = new.case_id or old.case_id
            copy.officer, copy.unit = new.officer or old.officer, new.unit or old.unit
        copy.received_id = held.received_id if held is not None else new.received_id or new_id(now_us)
        copy.delete_us = delete_at(copy.entry, copy.disclosed_us)
        copy.review_us = self._rows.review_us(connection, copy, now_us)
        if held is not None:
            self._rows.drop(connection, held, now_us)
        self._rows.insert(connection, copy)
        return copy

    def keep(
        self, connection: Connection, received_id: bytes, *, case_id: bytes, officer: str, unit: str, now_us: int
    ) -> ReceivedEntry:
        """Put a copy with an own case: from then on the case's review date is the copy's, unless its own is earlier.

        Raises:
            NotFoundError: there is no such copy in use, or no such case.
        """
        copy = self._rows.usable(connection, received_id, now_us)
        copy.case_id, copy.officer, copy.unit = case_id, officer, unit
        copy.review_us = self._rows.review_us(connection, copy, now_us)
        self._rows.rewrite(connection, copy)
        return copy

    def review(self, connection: Connection, received_id: bytes, until_us: int, now_us: int) -> ReceivedEntry:
        """Move a copy's review date, which was decided; never past what its originator allows.

        Raises:
            NotFoundError: there is no such copy in use.
            RecordError: the date is not ahead, more than five years, or past the originator's.
        """
        copy = self._rows.usable(connection, received_id, now_us)
        if not now_us < until_us <= now_us + LONGEST_US:
            raise RecordError("until: is ahead, and five years at most")
        if copy.delete_us and until_us > copy.delete_us:
            raise RecordError("until: is after the day on which its originator wants it deleted; ask the originator")
        copy.review_us = until_us
        self._rows.rewrite(connection, copy)
        return copy

    def extend(
        self, connection: Connection, *, peer: str, exchange_id: bytes, handle: bytes, delete_us: int, now_us: int
    ) -> bool:
        """Move the date by which a copy is deleted, on its originator's signed consent and on nothing else.

        Returns:
            Whether there is such a copy, in use and not past its date.
        """
        row = self._rows.row(connection, this(peer, exchange_id, handle))
        copy = self._rows.opened(row) if row is not None else None
        if copy is None or row is None or row.state != RECEIVED_STATE_ACTIVE or copy.review_us <= now_us:
            return False
        at_its_end = copy.review_us == copy.delete_us
        copy.delete_us = delete_us
        if at_its_end:  # else an officer, or the case, has it end earlier anyway
            copy.review_us = self._rows.review_us(connection, copy, now_us)
        copy.review_us = min(copy.review_us, delete_us or copy.review_us)
        self._rows.rewrite(connection, copy)
        return True

    def note_answer(
        self,
        connection: Connection,
        entries: Iterable[ReleasedEntry],
        *,
        peer: str,
        exchange_id: bytes,
        disclosed_us: int,
    ) -> None:
        """Note which entries lie in an answer that is kept beside its line, and until when it is kept."""
        rows = {
            entry.handle: {
                "peer": peer,
                "handle": entry.handle,
                "exchange_id": exchange_id,
                "disclosed_us": disclosed_us,
                "delete_us": min(delete_at(entry, disclosed_us) or _FOR_EVER, disclosed_us + UNTAKEN_US),
            }
            for entry in entries
        }
        if rows:
            connection.execute(insert(answer_bodies), list(rows.values()))

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, connection: Connection, received_id: bytes, use: Use, now_us: int) -> ReceivedEntry:
        """Return a copy for a use.

        Raises:
            NotFoundError: there is none, or none in use any more.
            DeniedError: its terms rule the use out.
        """
        copy = self._rows.usable(connection, received_id, now_us)
        verify_use(copy, use)
        return copy

    def in_use(self, connection: Connection, received_id: bytes, now_us: int) -> ReceivedEntry:
        """Return a copy, for what is decided of it and not to be shown.

        Raises:
            NotFoundError: there is none, or none in use any more.
        """
        return self._rows.usable(connection, received_id, now_us)

    def by_handle(
        self, connection: Connection, peer: str, exchange_id: bytes, handle: bytes, now_us: int
    ) -> ReceivedEntry | None:
        """Return a copy in use, for what is to become of it and not to be shown."""
        row = self._rows.row(connection, this(peer, exchange_id, handle))
        return next(self._rows.in_use(connection, [row] if row is not None else [], now_us), None)

    def copies_of(self, connection: Connection, peer: str, handle: bytes, now_us: int) -> list[ReceivedEntry]:
        """Return the copies in use of what a peer knows by this handle, in whichever exchange they came, likewise."""
        query = select(received).where(received.c.peer == peer, received.c.handle == handle)
        return list(self._rows.in_use(connection, connection.execute(query).all(), now_us))

    def is_anybody_elses(self, connection: Connection, peer: str, handle: bytes) -> bool:
        """Tell whether another peer told of this handle, in whatever state its copies are, and this one did not."""
        tables = (received, answer_bodies)
        peers = {
            each for t in tables for each in connection.execute(select(t.c.peer).where(t.c.handle == handle)).scalars()
        }
        return bool(peers) and peer not in peers

    def of_exchange(self, connection: Connection, exchange_id: bytes, now_us: int) -> list[ReceivedEntry]:
        """Return the copies in use of an exchange, likewise."""
        query = select(received).where(received.c.exchange_id == exchange_id).order_by(received.c.received_id)
        return list(self._rows.in_use(connection, connection.execute(query).all(), now_us))

    def list_after(
        self, connection: Connection, after: bytes, limit: int, use: Use, now_us: int, *, case_id: bytes = b""
    ) -> list[ReceivedEntry]:
        """Return copies in use that a unit may know of, whatever the purpose; oldest first, of one case or of all."""
        found: list[ReceivedEntry] = []
        while len(found) < limit:
            where = [received.c.received_id > after]
            if case_id:
                where.append(received.c.case_id == case_id)
            query = select(received).where(*where).order_by(received.c.received_id).limit(_PAGE)
            rows = connection.execute(query).all()
            found += [copy for copy in self._rows.in_use(connection, rows, now_us) if is_listed(copy, use)]
            if len(rows) < _PAGE:
                break
            after = rows[-1].received_id
        return found[:limit]

    def find(
        self, connection: Connection, selectors: Iterable[Selector], region: str, use: Use, *, now_us: int, limit: int
    ) -> list[ReceivedEntry]:
        """Return copies that any selector matches and whose terms allow the use, at most `limit`, oldest first.

        `region` is what a national telephone number is read as. What can't be normalised matches nothing.
        """
        tokens: list[bytes] = []
        for selector in selectors:
            try:
                tokens += selector_tokens(selector, self._keys, region)
            except RecordError:
                continue
        rows: dict[bytes, Row[*tuple[Any, ...]]] = {}
        for at in range(0, len(tokens), _FIND_TOKENS):
            matching = select(received_lookups.c.received_id).where(
                received_lookups.c.token.in_(tokens[at : at + _FIND_TOKENS])
            )
            for row in connection.execute(select(received).where(received.c.received_id.in_(matching))):
                rows[row.received_id] = row
        ordered = [rows[key] for key in sorted(rows)]
        return [copy for copy in self._rows.in_use(connection, ordered, now_us) if is_usable(copy, use)][:limit]

    def for_onward(
        self,
        connection: Connection,
        received_id: bytes,
        *,
        recipient: str,
        consented_to: Collection[str],
        now_us: int,
    ) -> ReceivedEntry:
        """Return a copy that may go on to a third country: see `node.policy.received_use.verify_onward`.

        Raises:
            NotFoundError: there is none, or none in use any more.
            DeniedError: it may not.
        """
        copy = self._rows.usable(connection, received_id, now_us)
        verify_onward(copy, recipient=recipient, consented_to=consented_to, now_us=now_us)
        return copy

    def state(self, connection: Connection, received_id: bytes) -> ReceivedState.ValueType:
        """Return where a copy stands, by the seal that opens.

        Raises:
            NotFoundError: there is none.
        """
        row = self._rows.row(connection, received.c.received_id == received_id)
        if row is None or self._rows.opened(row) is None:
            raise NotFoundError("there is no such received entry")
        return ReceivedState.ValueType(row.state)

    # --- ending ------------------------------------------------------------------------------------------------------

    def withdraw(
        self,
        connection: Connection,
        *,
        peer: str,
        exchange_id: bytes,
        handle: bytes = b"",
        recalled_us: int,
        ground: DeletionGround = DeletionGround.RECALL,
        now_us: int,
    ) -> Deletion:
        """Take what a peer took back out of every use at once, and remember it for ever; purging deletes it.

        Args:
            connection: In a transaction of the caller, who logs it.
            peer: That sent the entry, and takes it back.
            exchange_id: In which it came.
            handle: By which the peer knows it; empty for all of the exchange.
            recalled_us: Time of the recall's statement: what was disclosed of the handle until then goes, wherever.
            ground: Why. What torture brought is barred, and stays until its date as evidence of the torture alone.
            now_us: UTC microseconds.
        """
        about = (peer, exchange_id, handle, recalled_us)
        state = RECEIVED_STATE_BARRED if ground == DeletionGround.TORTURE else RECEIVED_STATE_WITHDRAWN
        places: dict[str, None] = {}
        rows = connection.execute(select(received).where(withdrawals.scope(received, *about))).all()
        for row in rows:
            places["RECEIVED_ENTRY"] = None
            places["LOOKUP_TOKENS"] = None
            self._rows.restate(connection, row, state, now_us)
        bodies = update(answer_bodies).where(withdrawals.scope(answer_bodies, *about)).values(delete_us=now_us)
        kept = connection.execute(bodies).rowcount
        if kept:
            places["ANSWER_BODY"] = None
        deletion_id = withdrawals.remember(
            connection,
            peer=peer,
            exchange_id=exchange_id,
            handle=handle,
            recalled_us=recalled_us,
            ground=ground,
            copies=len(rows) + kept,
            places=places,
            now_us=now_us,
        )
        return withdrawals.get(connection, deletion_id, now_us)

    def bar(self, connection: Connection, received_id: bytes, now_us: int) -> None:
        """Take what was got by torture out of every use, in all its copies, for good (CAT art. 15).

        Raises:
            NotFoundError: there is no such copy in use.
        """
        copy = self._rows.usable(connection, received_id, now_us)
        self.withdraw(
            connection,
            peer=copy.peer,
            exchange_id=copy.exchange_id,
            handle=copy.entry.handle,
            recalled_us=_FOR_EVER,
            ground=DeletionGround.TORTURE,
            now_us=now_us,
        )

    def due(self, connection: Connection, now_us: int, held: ColumnElement[bool], limit: int) -> list[Copy]:
        """Return copies past their date that no hold keeps, the longest due first."""
        columns = [received.c[name] for name in Copy._fields]
        where = (received.c.review_us <= now_us, ~held)
        query = select(*columns).where(*where).order_by(received.c.review_us).limit(limit)
        return [Copy(*row) for row in connection.execute(query)]

    def is_due(self, connection: Connection, received_id: bytes, now_us: int, held: ColumnElement[bool]) -> bool:
        """Tell whether a copy is past the date inside it, and not held."""
        where = (received.c.received_id == received_id, received.c.review_us <= now_us, ~held)
        row = connection.execute(select(received).where(*where)).one_or_none()
        copy = self._rows.opened(row) if row is not None else None
        return row is not None and (copy is None or copy.review_us <= now_us)

    def set_right(self, connection: Connection, received_id: bytes) -> None:
        """Write the date that is inside a copy beside it, where SQL has changed that."""
        row = self._rows.row(connection, received.c.received_id == received_id)
        copy = self._rows.opened(row) if row is not None else None
        if copy is not None:
            right = update(received).where(received.c.received_id == received_id)
            connection.execute(right.values(review_us=copy.review_us))

    def forget(self, connection: Connection, received_id: bytes, now_us: int) -> bool:
        """Delete a copy with its tokens, and have its key erased; tell whether it was there."""
        row = self._rows.row(connection, received.c.received_id == received_id)
        if row is not None:
            self._rows.drop(connection, row, now_us)
        return row is not None
