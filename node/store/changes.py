"""Changes to entries: made at once, or, where they would weaken protection, when a second officer confirms them.

Until then the entry stands as it was, so that nothing is disclosed under the weaker facts.
"""

from dataclasses import dataclass
from enum import IntEnum

from sqlalchemy import Connection, Row, insert, select, update

from node.errors import NotFoundError, SecondOfficerError, UsageError
from node.records.review import is_kept_longer, is_protected
from node.records.weakening import weakens
from node.store.entries import Entries, verify_successor
from node.store.ids import new_id
from node.store.inheritance import pass_on_inherited
from node.store.tables import pending_changes
from node.store.vault import Vault
from node.wire.desk_pb2 import PendingChange, PutEntryResponse
from node.wire.entry_pb2 import Entry


class ChangeState(IntEnum):
    """Where a change that weakens stands."""

    PENDING = 1
    CONFIRMED = 2
    DECLINED = 3


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes entries, in transactions of the caller, who adds the ledger lines."""

    entries: Entries
    vault: Vault

    def put(self, connection: Connection, entry: Entry, *, officer: str, reason: str, now_us: int) -> PutEntryResponse:
        """Write an entry: a new one where it has no id, else a change of the revision that it names.

        Returns:
            The entry as it stands now. With `pending_change` it stands as before, and `weakened` names the facts.

        Raises:
            NotFoundError: there is no entry of this id, no such case, or nothing at the end of a link.
            RecordError: a value can't be kept.
            UsageError: the entry was changed meanwhile, or the change weakens protection and has no reason.
        """
        if not entry.entry_id:
            return PutEntryResponse(entry=self.entries.insert(connection, [entry], now_us)[0])
        old = self.entries.get(connection, entry.entry_id)
        weaker = weakened(old, entry)
        if not weaker:
            return PutEntryResponse(entry=self.entries.update(connection, old, entry, now_us))
        if not reason.strip():
            raise UsageError(f"a change that weakens protection needs a reason: {', '.join(weaker)}")
        verify_successor(old, entry)
        change_id = self._propose(connection, old, entry, officer=officer, reason=reason, now_us=now_us)
        return PutEntryResponse(entry=old, pending_change=change_id, weakened=weaker)

    def _propose(
        self, connection: Connection, old: Entry, entry: Entry, *, officer: str, reason: str, now_us: int
    ) -> bytes:
        change_id, case_id = new_id(now_us), old.case_id
        sealed = self.vault.seal(case_id, _context(b"entry", change_id, officer), entry.SerializeToString())
        sealed_reason = self.vault.seal(case_id, _context(b"reason", change_id, officer), reason.encode())
        connection.execute(
            insert(pending_changes).values(
                change_id=change_id,
                entry_id=old.entry_id,
                case_id=case_id,
                base_revision=old.revision,
                state=ChangeState.PENDING,
                proposed_by=officer,
                proposed_us=now_us,
                sealed=sealed,
                sealed_reason=sealed_reason,
            )
        )
        return change_id

    def list_pending(self, connection: Connection) -> list[PendingChange]:
        """Return what waits for a second officer, oldest first."""
        held = pending_changes.c
        query = select(pending_changes).where(held.state == ChangeState.PENDING).order_by(held.change_id)
        rows = connection.execute(query).all()
        standing = self.entries.get_many(connection, {row.entry_id for row in rows})
        found = []
        for row in rows:
            proposed = self._proposed(row)
            found.append(
                PendingChange(
                    change_id=row.change_id,
                    entry_id=row.entry_id,
                    proposed_by=row.proposed_by,
                    proposed_us=row.proposed_us,
                    reason=self.vault.open(row.case_id, _context_of(b"reason", row), row.sealed_reason).decode(),
                    weakened=weakened(standing[row.entry_id], proposed),
                    proposed=proposed,
                )
            )
        return found

    def proposed(self, connection: Connection, change_id: bytes) -> Entry:
        """Return the entry as it would be, for the second officer to read.

        Raises:
            NotFoundError: no such change waits.
        """
        return self._proposed(_pending(connection, change_id))

    def confirm(self, connection: Connection, change_id: bytes, *, officer: str, now_us: int) -> Entry:
        """Make a change that another officer proposed, and return the entry as it stands now.

        Raises:
            SecondOfficerError: the same officer proposed it.
            NotFoundError: no such change waits.
            UsageError: the entry was changed since: the change is to be declined, and proposed anew.
        """
        row = _pending(connection, change_id)
        if row.proposed_by == officer:
            raise SecondOfficerError("who proposed a change can't confirm it")
        old, new = self.entries.get(connection, row.entry_id), self._proposed(row)
        if old.revision != row.base_revision:
            raise UsageError("the entry was changed since: decline this change, and propose it anew")
        if is_kept_longer(old, new) and old.review_us <= now_us:
            raise UsageError("the entry is past its date, and is being deleted")
        _decide(connection, change_id, ChangeState.CONFIRMED, officer, now_us)
        return self.entries.update(connection, old, new, now_us, may_weaken=True)

    def decline(self, connection: Connection, change_id: bytes, *, officer: str, now_us: int) -> Entry:
        """Drop a change, also one's own, and return the entry, which stands as it was.

        Raises:
            NotFoundError: no such change waits.
        """
        row = _pending(connection, change_id)
        _decide(connection, change_id, ChangeState.DECLINED, officer, now_us)
        return self.entries.get(connection, row.entry_id)

    def _proposed(self, row: Row[*tuple[object, ...]]) -> Entry:
        return Entry.FromString(self.vault.open(row.case_id, _context_of(b"entry", row), row.sealed))


def weakened(old: Entry, new: Entry) -> list[str]:
    """Name what a change needs a second officer for: what it weakens, and whom it keeps on record for longer.

    It can't say what is inherited.
    """
    passed_on = Entry()
    passed_on.CopyFrom(new)
    pass_on_inherited(old, passed_on)
    longer = ["review_us"] if is_kept_longer(old, passed_on) and is_protected(old) else []
    return weakens(old, passed_on) + longer


def _pending(connection: Connection, change_id: bytes) -> Row[*tuple[object, ...]]:
    held = pending_changes.c
    query = select(pending_changes).where(held.change_id == change_id, held.state == ChangeState.PENDING)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError("no such change waits for a second officer")
    return row


def _decide(connection: Connection, change_id: bytes, state: ChangeState, officer: str, now_us: int) -> None:
    held = pending_changes.c
    decided = update(pending_changes).where(held.change_id == change_id, held.state == ChangeState.PENDING)
    values = {"state": state, "decided_by": officer, "decided_us": now_us}
    if connection.execute(decided.values(values)).rowcount != 1:
        raise NotFoundError("no such change waits for a second officer")


def _context_of(part: bytes, row: Row[*tuple[object, ...]]) -> bytes:
    return _context(part, row.change_id, row.proposed_by)


def _context(part: bytes, change_id: bytes, officer: str) -> bytes:
    # With who proposed it: else a name changed by SQL would make one officer two.
    return b"enlace/v1/change/" + part + b"\0" + change_id + officer.encode()
