"""Cases: stored whole and encrypted, each under a data key of its own that its entries share."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from sqlalchemy import Connection, insert, select, update

from node.errors import NotFoundError, RecordError, UsageError
from node.store.ids import ID_BYTES, new_id
from node.store.tables import case_revisions, cases
from node.store.vault import Vault
from node.wire.entry_pb2 import Case


class CaseState(IntEnum):
    """Where a case stands."""

    OPEN = 1
    CLOSED = 2


@dataclass(frozen=True, slots=True)
class Cases:
    """Reads and writes cases, in transactions of the caller."""

    vault: Vault

    def put(self, connection: Connection, case: Case, now_us: int) -> Case:
        """Write a new case, or a new revision of one, and return it as stored; what came is left as it is.

        A new case without an id gets one. Its key is durable before anything is written: who writes many cases calls
        `Vault.ensure_keys` for all of them first, since each call costs a write to the disk.

        Raises:
            RecordError: it has no unit, no review date, or an id of another length.
            KeyErasedError: a case of this id was erased.
        """
        stored = _completed(case, now_us)
        held = connection.execute(select(cases).where(cases.c.case_id == stored.case_id)).one_or_none()
        self.vault.ensure_keys((stored.case_id,))
        if held is None:
            connection.execute(insert(cases).values(self._row(stored, 1, now_us)))
            return stored
        old = {name: getattr(held, name) for name in ("case_id", "revision", "written_us", "sealed")}
        connection.execute(insert(case_revisions).values(old))
        this = (cases.c.case_id == stored.case_id, cases.c.revision == held.revision)
        changed = update(cases).where(*this).values(self._row(stored, held.revision + 1, now_us))
        if connection.execute(changed).rowcount != 1:
            raise UsageError("the case was changed by somebody else meanwhile: read it again")
        return stored

    def insert(self, connection: Connection, new: Sequence[Case], now_us: int) -> None:
        """Write new cases, each with its id and with a key that is durable already.

        Raises:
            RecordError: as `put`, or a case of this id is here.
        """
        stored = [_completed(each, now_us) for each in new]
        ids = [each.case_id for each in stored]
        if connection.execute(select(cases.c.case_id).where(cases.c.case_id.in_(ids)).limit(1)).first() is not None:
            raise RecordError("case_id: this case is here already")
        if stored:
            connection.execute(insert(cases), [self._row(each, 1, now_us) for each in stored])

    def _row(self, stored: Case, revision: int, now_us: int) -> dict[str, object]:
        sealed = self.vault.seal(stored.case_id, case_context(stored.case_id, revision), stored.SerializeToString())
        return {
            "case_id": stored.case_id,
            "revision": revision,
            "state": CaseState.OPEN if stored.open else CaseState.CLOSED,
            "unit": stored.unit,
            "review_us": stored.review_us,
            "written_us": now_us,
            "sealed": sealed,
        }

    def get(self, connection: Connection, case_id: bytes) -> Case:
        """Return a case.

        Raises:
            NotFoundError: there is none.
            KeyErasedError: it was erased.
            DecryptionError: it was altered.
        """
        row = connection.execute(select(cases).where(cases.c.case_id == case_id)).one_or_none()
        if row is None:
            raise NotFoundError("there is no such case")
        return self._opened(row.case_id, row.revision, row.sealed)

    def list_after(self, connection: Connection, after: bytes, limit: int) -> list[Case]:
        """Return up to `limit` cases whose ids follow `after` (empty: from the first), oldest first."""
        query = select(cases).where(cases.c.case_id > after).order_by(cases.c.case_id).limit(limit)
        rows = connection.execute(query).all()
        self.vault.load_keys(row.case_id for row in rows)
        return [self._opened(row.case_id, row.revision, row.sealed) for row in rows]

    def _opened(self, case_id: bytes, revision: int, sealed: bytes) -> Case:
        return Case.FromString(self.vault.open(case_id, case_context(case_id, revision), sealed))


def _completed(case: Case, now_us: int) -> Case:
    if not case.unit or case.review_us <= 0:
        raise RecordError("case: has a unit and a review date")
    if len(case.case_id) not in (0, ID_BYTES):
        raise RecordError(f"case_id: has {ID_BYTES} bytes")
    stored = Case()
    stored.CopyFrom(case)
    stored.case_id = case.case_id or new_id(now_us)
    stored.opened_us = case.opened_us or now_us
    return stored


def case_context(case_id: bytes, revision: int) -> bytes:
    """Return what a revision is sealed for: its own place, and no other."""
    return b"enlace/v1/case\0" + case_id + revision.to_bytes(8, "big")
