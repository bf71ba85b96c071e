"""Petitions, persons' requests about their own data: each sealed under a key of its own.

Beside it stand its state and due date, for who counts what waits.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from node.errors import NotFoundError, UsageError
from node.store.subject_tables import petitions
from node.store.vault import Vault
from node.wire.subject_pb2 import (
    PETITION_STATE_IDENTITY_CHECKED,
    PETITION_STATE_RECEIVED,
    PETITION_STATE_UNDER_REVIEW,
    Petition,
)

WAITING = frozenset({PETITION_STATE_RECEIVED, PETITION_STATE_IDENTITY_CHECKED, PETITION_STATE_UNDER_REVIEW})
"""States in which the person waits for an answer."""


@dataclass(frozen=True, slots=True)
class Petitions:
    """Reads and writes petitions, in transactions of the caller, who adds the ledger line."""

    vault: Vault

    def insert(self, connection: Connection, petition: Petition) -> None:
        """Keep a new one, whose key is durable already (`Vault.ensure_keys` of its id)."""
        connection.execute(insert(petitions).values(self._row(petition, 1)))

    def change(self, connection: Connection, petition: Petition, revision: int) -> None:
        """Keep what became of the revision that was read.

        Raises:
            UsageError: somebody else has changed it since.
        """
        this = (petitions.c.petition_id == petition.petition_id, petitions.c.revision == revision)
        changed = update(petitions).where(*this).values(self._row(petition, revision + 1))
        if connection.execute(changed).rowcount != 1:
            raise UsageError("somebody else has changed the petition meanwhile: look again")

    def get(self, connection: Connection, petition_id: bytes) -> tuple[Petition, int]:
        """Return one, and its revision.

        Raises:
            NotFoundError: there is none of this id.
            KeyErasedError, DecryptionError: it was erased or altered.
        """
        row = connection.execute(select(petitions).where(petitions.c.petition_id == petition_id)).one_or_none()
        if row is None:
            raise NotFoundError("there is no such petition")
        return self._opened(row.petition_id, row.revision, row.sealed), row.revision

    def list_all(self, connection: Connection) -> list[Petition]:
        """Return all, the earliest due first."""
        held = petitions.c
        rows = connection.execute(select(petitions).order_by(held.due_us, held.petition_id)).all()
        self.vault.load_keys(row.petition_id for row in rows)
        return [self._opened(row.petition_id, row.revision, row.sealed) for row in rows]

    def _row(self, petition: Petition, revision: int) -> dict[str, object]:
        context = _context(petition.petition_id, revision)
        return {
            "petition_id": petition.petition_id,
            "revision": revision,
            "state": petition.state,
            "due_us": petition.due_us,
            "sealed": self.vault.seal(petition.petition_id, context, petition.SerializeToString()),
        }

    def _opened(self, petition_id: bytes, revision: int, sealed: bytes) -> Petition:
        return Petition.FromString(self.vault.open(petition_id, _context(petition_id, revision), sealed))


def due(connection: Connection) -> list[int]:
    """Return when each petition is due (UTC microseconds) on which the person waits, the earliest first."""
    held = petitions.c
    return list(connection.execute(select(held.due_us).where(held.state.in_(WAITING)).order_by(held.due_us)).scalars())


def _context(petition_id: bytes, revision: int) -> bytes:
    return b"enlace/v1/petition\0" + petition_id + revision.to_bytes(8, "big")
