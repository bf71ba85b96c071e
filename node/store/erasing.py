"""Erasing one own entry for good, and with it whatever a backup holds of it.

An entry shares its case's data key. So the case moves: what is left of it is sealed anew under another id, and thereby
under another key, and the old key is erased. Nothing else then opens what older backups of the database hold, once the
key store's own backups, of 30 days at most, are gone.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, delete, exists, insert, or_, select, update

from node.errors import NotFoundError, UsageError
from node.records.weakening import weakens
from node.store.cases import case_context
from node.store.changes import ChangeState
from node.store.entry_rows import entry_context, superseded_context
from node.store.frozen import Frozen
from node.store.received_rows import queue_keys
from node.store.received_tables import legal_holds, received
from node.store.safeguard_tables import freezes
from node.store.subject_tables import erasures
from node.store.tables import (
    bonds,
    case_revisions,
    cases,
    entries,
    entry_revisions,
    holds,
    lookups,
    pending_changes,
)
from node.store.vault import Vault
from node.wire.entry_pb2 import Case, Entry
from node.wire.subject_pb2 import ENTRY_ERASURE_STATE_PROPOSED, EntryErasure

_PROTECTIVE: Final = ("roles", "caveats", "handling", "protection", "inherited", "inherited_roles", "links")


def protecting(entry: Entry) -> list[str]:
    """Name the facts of an entry that protect somebody: erasing them takes a second officer, as weakening them does."""
    bare = Entry()
    bare.CopyFrom(entry)
    for name in _PROTECTIVE:
        bare.ClearField(name)
    bare.person.ClearField("nationalities") if entry.HasField("person") else None
    bare.handling = entry.handling
    return weakens(entry, bare)


def verify_erasable(connection: Connection, entry_id: bytes, case_id: bytes, now_us: int) -> None:
    """Check that nothing keeps an entry from being erased now.

    Raises:
        UsageError: a legal hold, a view that stays as it was, or a change in its case that waits.
    """
    law = select(legal_holds.c.law).where(
        legal_holds.c.subject.in_((entry_id, case_id)), legal_holds.c.until_us > now_us
    )
    if (held := connection.execute(law).scalar()) is not None:
        raise UsageError(f"a legal hold keeps it: {held}")
    seen = select(freezes.c.peer).where(freezes.c.entry_id == entry_id, freezes.c.until_us > now_us)
    if connection.execute(seen).first() is not None:
        # Vanishing before its time, it would tell what an ordinary expiry does not.
        raise UsageError("a peer goes on seeing it as it was: decide how that ends, and erase it afterwards")
    waits = (pending_changes.c.case_id == case_id, pending_changes.c.state == ChangeState.PENDING)
    if connection.execute(select(pending_changes.c.change_id).where(*waits)).first() is not None:
        raise UsageError("changes wait for a second officer in its case: have them decided first")


def erase(
    connection: Connection, vault: Vault, frozen: Frozen, entry_id: bytes, *, new_case_id: bytes, now_us: int
) -> bytes:
    """Erase an entry and move its case to a new id, whose key is durable already; return the old id.

    The key of that id is noted for erasure, and erased by who calls this after the commit.

    Raises:
        NotFoundError: there is no such entry.
        UsageError: see `verify_erasable`.
    """
    case_id: bytes | None = connection.execute(select(entries.c.case_id).where(entries.c.entry_id == entry_id)).scalar()
    if case_id is None:
        raise NotFoundError("there is no such entry")
    verify_erasable(connection, entry_id, case_id, now_us)
    for column in (
        entry_revisions.c.entry_id,
        lookups.c.entry_id,
        bonds.c.subject_id,
        bonds.c.thing_id,
        freezes.c.entry_id,
        holds.c.entry_id,
    ):
        connection.execute(delete(column.table).where(column == entry_id))
    connection.execute(delete(pending_changes).where(pending_changes.c.case_id == case_id))  # decided long ago
    connection.execute(delete(entries).where(entries.c.entry_id == entry_id))
    _move(connection, vault, case_id, new_case_id, without=entry_id, now_us=now_us)
    frozen.load(connection)  # views of other entries of the case are sealed anew too
    queue_keys(connection, [case_id], now_us)
    return case_id


def _move(connection: Connection, vault: Vault, old: bytes, new: bytes, *, without: bytes, now_us: int) -> None:
    row = connection.execute(select(cases).where(cases.c.case_id == old).with_for_update()).one()
    if _is_held(connection, old):
        raise UsageError("a legal hold is on its case, which can't move")
    moved = {**row._asdict(), "case_id": new, "sealed": _case(vault, row.sealed, old, new, row.revision)}
    connection.execute(insert(cases).values(moved))
    for past in connection.execute(select(case_revisions).where(case_revisions.c.case_id == old)).all():
        sealed = _case(vault, past.sealed, old, new, past.revision)
        connection.execute(insert(case_revisions).values({**past._asdict(), "case_id": new, "sealed": sealed}))
    _move_entries(connection, vault, old, new, without=without, now_us=now_us)
    connection.execute(update(received).where(received.c.case_id == old).values(case_id=new))
    connection.execute(delete(case_revisions).where(case_revisions.c.case_id == old))
    connection.execute(delete(cases).where(cases.c.case_id == old))


def _move_entries(connection: Connection, vault: Vault, old: bytes, new: bytes, *, without: bytes, now_us: int) -> None:
    for past in connection.execute(select(entry_revisions).where(entry_revisions.c.case_id == old)).all():
        entry = Entry.FromString(vault.open(old, superseded_context(past.entry_id, old, past.revision), past.sealed))
        this = (entry_revisions.c.entry_id == past.entry_id, entry_revisions.c.revision == past.revision)
        sealed = _past(vault, entry, new, past.revision)
        connection.execute(update(entry_revisions).where(*this).values(case_id=new, sealed=sealed))
    for row in connection.execute(select(entries).where(entries.c.case_id == old)).all():
        entry = Entry.FromString(vault.open(old, entry_context(row.entry_id, old, row.revision), row.sealed))
        place = {"entry_id": row.entry_id, "revision": row.revision, "written_us": row.written_us}
        sealed = _past(vault, entry, new, row.revision)
        connection.execute(insert(entry_revisions).values(**place, case_id=new, sealed=sealed))
        # A revision of its own: else another process that has read the entry would write it under the old key.
        entry.revision = row.revision + 1
        # A link that leads nowhere would keep the entry from ever being edited.
        kept = [link for link in entry.links if link.to_entry_id != without]
        del entry.links[:]
        entry.links.extend(kept)
        sealed = vault.seal(new, entry_context(row.entry_id, new, entry.revision), entry.SerializeToString())
        values = {"case_id": new, "sealed": sealed}
        current = update(entries).where(entries.c.entry_id == row.entry_id).values(values)
        connection.execute(current.values(revision=entry.revision, written_us=now_us))


def _past(vault: Vault, entry: Entry, case_id: bytes, revision: int) -> bytes:
    """Seal a superseded revision in the case that it moves to."""
    entry.case_id = case_id
    return vault.seal(case_id, superseded_context(entry.entry_id, case_id, revision), entry.SerializeToString())


def _is_held(connection: Connection, case_id: bytes) -> bool:
    return bool(connection.execute(select(exists().where(legal_holds.c.subject == case_id))).scalar())


def _case(vault: Vault, sealed: bytes, old: bytes, new: bytes, revision: int) -> bytes:
    case = Case.FromString(vault.open(old, case_context(old, revision), sealed))
    case.case_id = new
    return vault.seal(new, case_context(new, revision), case.SerializeToString())


# --- what waits for a second officer ---------------------------------------------------------------------------------


def put(connection: Connection, vault: Vault, erasure: EntryErasure, case_id: bytes) -> None:
    """Keep an erasure, proposed or done."""
    connection.execute(insert(erasures).values({**_row(vault, erasure), "case_id": case_id}))


def decided(connection: Connection, vault: Vault, erasure: EntryErasure) -> None:
    """Note what became of one that waited.

    Raises:
        NotFoundError: it waits no more.
    """
    this = (erasures.c.erasure_id == erasure.erasure_id, erasures.c.state == ENTRY_ERASURE_STATE_PROPOSED)
    if connection.execute(update(erasures).where(*this).values(_row(vault, erasure))).rowcount != 1:
        raise NotFoundError("no such erasure waits for a second officer")


def waiting(connection: Connection, entry_ids: Iterable[bytes]) -> bool:
    """Tell whether the erasure of one of these entries waits for a second officer."""
    waits = or_(*(erasures.c.entry_id == each for each in entry_ids))
    query = select(erasures.c.erasure_id).where(waits, erasures.c.state == ENTRY_ERASURE_STATE_PROPOSED)
    return connection.execute(query).first() is not None


def list_erasures(connection: Connection, vault: Vault) -> list[EntryErasure]:
    """Return all erasures, those that wait first, then the newest."""
    query = select(erasures).order_by(erasures.c.state, erasures.c.proposed_us.desc())
    return [
        EntryErasure.FromString(vault.open_alone(_context(row.erasure_id, row.proposed_by), row.sealed))
        for row in connection.execute(query).all()
    ]


def _row(vault: Vault, erasure: EntryErasure) -> dict[str, object]:
    context = _context(erasure.erasure_id, erasure.proposed_by)
    return {
        "erasure_id": erasure.erasure_id,
        "entry_id": erasure.entry_id,
        "state": erasure.state,
        "proposed_by": erasure.proposed_by,
        "proposed_us": erasure.proposed_us,
        "decided_by": erasure.decided_by or None,
        "decided_us": erasure.decided_us or None,
        "sealed": vault.seal_alone(context, erasure.SerializeToString()),
    }


def _context(erasure_id: bytes, officer: str) -> bytes:
    # With who proposed it: else a name changed by SQL would make one officer two.
    return b"enlace/v1/erasure\0" + erasure_id + officer.encode()
