"""Entries: the protobuf message stored whole and encrypted, lookup tokens beside it, old revisions kept.

What policy decides on is inside the encrypted message. Beside it stand id, revision, case, state, unit and review date;
of these the first three are bound to the ciphertext, and the review date is checked again inside.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import structlog
from sqlalchemy import (
    Connection,
    Select,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine.interfaces import DBAPICursor

from node.errors import DecryptionError, KeyErasedError, NotFoundError, RecordError, UsageError
from node.records.lookup import LookupKey, entry_tokens
from node.store import decoys, disclosures, freezes
from node.store.alert_finding import Noting
from node.store.database import Database
from node.store.entry_rows import FIND_SIZES, ROW, EntryState, entry_context, find_statement, superseded_context
from node.store.frozen import Frozen
from node.store.ids import ID_BYTES, new_id
from node.store.inheritance import (
    downstream,
    drop_ended_links,
    inherit,
    is_inherited_alike,
    pass_on_inherited,
    put_bonds,
    replace_bonds,
    subjects_of,
    things_of,
)
from node.store.tables import cases, entries, entry_revisions, lookups
from node.store.vault import Vault
from node.wire.entry_pb2 import Entry

log = structlog.get_logger()


class Entries:
    """Finds, reads and writes entries; what writes runs in a transaction of the caller."""

    def __init__(
        self, database: Database, vault: Vault, keys: Sequence[LookupKey], frozen: Frozen | None = None
    ) -> None:
        """Take the lookup keys of every live epoch; tokens of all of them are written.

        `frozen` is where this process looks for what peers go on seeing; it is told before anything else is seen.
        """
        self._vault = vault
        self._keys = keys
        self._frozen = frozen or Frozen(vault, keys)
        self._noting = Noting(database)
        self._finds = {size: database.prepare(find_statement(size)) for size in FIND_SIZES}

    # --- reading -----------------------------------------------------------------------------------------------------

    def find(self, cursor: DBAPICursor, tokens: Sequence[bytes], now_us: int, limit: int) -> list[Entry]:
        """Return active entries within their review date that have any of the tokens, at most `limit`, by id.

        Erased cases are passed over: their entries are no more. So is what was altered: an answer that fails where one
        about nobody's number does not would tell that there is something.
        """
        rows: dict[bytes, tuple[bytes, bytes, int, bytes]] = {}
        for at in range(0, len(tokens), FIND_SIZES[-1]):
            part = tokens[at : at + FIND_SIZES[-1]]
            size = next(size for size in FIND_SIZES if size >= len(part))
            values: dict[str, object] = {f"token_{number}": token for number, token in enumerate(part)}
            for number in range(len(part), size):
                values[f"token_{number}"] = part[-1]
            values["now_us"], values["limit"] = now_us, limit
            for row in self._finds[size].run(cursor, values).fetchall():
                rows[row[0]] = row
        found = sorted(rows.values())[:limit] if len(tokens) > FIND_SIZES[-1] else rows.values()
        if len(found) > 1:
            with suppress(DecryptionError):  # a key was altered: those that it sealed tell below
                self._vault.load_keys([case_id for _, case_id, _, _ in found])
        opened, open_sealed, parse = [], self._vault.open, Entry.FromString
        unreadable = 0
        for entry_id, case_id, revision, sealed in found:
            try:
                data = open_sealed(case_id, entry_context(entry_id, case_id, revision), sealed)
            except KeyErasedError:
                continue
            except DecryptionError:
                unreadable += 1
                continue
            entry = parse(data)
            if entry.review_us > now_us:
                opened.append(entry)
        if unreadable:  # without ids: who reads logs must not learn who was asked about
            log.error("entries_unreadable", count=unreadable)
        return opened

    def get(self, connection: Connection, entry_id: bytes) -> Entry:
        """Return an entry as it stands, whatever its state.

        Raises:
            NotFoundError: there is none.
            KeyErasedError, DecryptionError: it was erased or altered.
        """
        found = self.get_many(connection, (entry_id,))
        if not found:
            raise NotFoundError("there is no such entry")
        return found[entry_id]

    def get_many(self, connection: Connection, entry_ids: Iterable[bytes]) -> dict[bytes, Entry]:
        """Return those of the entries that there are, by id."""
        wanted = tuple(entry_ids)
        return self._all(connection, select(*ROW).where(entries.c.entry_id.in_(wanted))) if wanted else {}

    def of_case(self, connection: Connection, case_id: bytes) -> list[Entry]:
        """Return all entries of a case, oldest first."""
        query = select(*ROW).where(entries.c.case_id == case_id).order_by(entries.c.entry_id)
        return list(self._all(connection, query).values())

    def active(self, connection: Connection, now_us: int, limit: int) -> Iterator[Entry]:
        """Yield what may be found, the newest first, at most `limit`; erased cases are passed over, and decoys."""
        hidden = decoys.entry_ids(connection, self._vault)
        where = (entries.c.state == EntryState.ACTIVE, entries.c.review_us > now_us)
        query = select(*ROW).where(*where).order_by(entries.c.entry_id.desc()).limit(limit)
        for row in connection.execute(query):
            if row.entry_id in hidden:
                continue
            try:
                yield self._opened(*row)
            except KeyErasedError:
                continue

    def count_active(self, connection: Connection, now_us: int) -> int:
        """Return how many entries may be found; those of erased cases are among them."""
        query = select(func.count()).where(entries.c.state == EntryState.ACTIVE, entries.c.review_us > now_us)
        return connection.execute(query).scalar_one()

    def revision(self, connection: Connection, entry_id: bytes, revision: int) -> Entry:
        """Return an entry as it was.

        Raises:
            NotFoundError: there was no such revision.
            KeyErasedError, DecryptionError: it was erased or altered.
        """
        old = entry_revisions.c
        query = select(old.entry_id, old.case_id, old.revision, old.sealed)
        row = connection.execute(query.where(old.entry_id == entry_id, old.revision == revision)).one_or_none()
        if row is not None:
            return Entry.FromString(self._vault.open(row.case_id, superseded_context(*row[:3]), row.sealed))
        entry = self.get(connection, entry_id)
        if entry.revision != revision:
            raise NotFoundError(f"the entry has no revision {revision}")
        return entry

    def _all(self, connection: Connection, query: Select[bytes, bytes, int, bytes]) -> dict[bytes, Entry]:
        rows = connection.execute(query).all()
        self._vault.load_keys(row[1] for row in rows)
        return {row[0]: self._opened(*row) for row in rows}

    def _opened(self, entry_id: bytes, case_id: bytes, revision: int, sealed: bytes) -> Entry:
        return Entry.FromString(self._vault.open(case_id, entry_context(entry_id, case_id, revision), sealed))

    # --- writing -----------------------------------------------------------------------------------------------------

    def insert(self, connection: Connection, new: Sequence[Entry], now_us: int) -> list[Entry]:
        """Write new entries and what they pass on to others; return them as stored, and leave what came as it is.

        Links may lead to each other and to entries that are stored. Entries without an id get one.

        Raises:
            NotFoundError: a case or the end of a link is not there.
            RecordError: an entry lacks its unit or review date, its id is taken, or a value can't be normalised.
        """
        batch = {entry.entry_id: entry for entry in (_completed(each, now_us) for each in new)}
        if len(batch) < len(new):
            raise RecordError("entry_id: comes twice")
        self._verify_ids(connection, batch)
        self._verify_targets(connection, batch)
        # Nothing stored can link to what is new, so these inherit from each other alone, and were never more protected.
        subjects: dict[bytes, list[Entry]] = {}
        outward: set[bytes] = set()
        for entry in batch.values():
            for thing in things_of(entry):
                subjects.setdefault(thing, []).append(entry)
                if thing not in batch:
                    outward.add(thing)
        inherit({thing: batch[thing] for thing in subjects if thing in batch}, subjects, may_weaken=True)
        self._write_new(connection, list(batch.values()), now_us)
        if outward:
            self._spread(connection, {}, outward | downstream(connection, outward), now_us)
        return list(batch.values())

    def update(self, connection: Connection, old: Entry, new: Entry, now_us: int, *, may_weaken: bool = False) -> Entry:
        """Write a new revision of an entry and what it passes on to others, and return it as stored.

        Whether the change may be made is the caller's to know: see `node.store.changes`. Unless it `may_weaken`, this
        entry and all that inherit from it keep at least what they inherited.

        Raises:
            NotFoundError: the end of a link is not there.
            RecordError: it moved to another case, lacks its unit or review date, or a value can't be normalised.
            UsageError: somebody else has changed the entry since it was read.
            KeyErasedError, DecryptionError: it, or what inherits from it, was erased or altered.
        """
        entry = _completed(new, now_us)
        verify_successor(old, entry)
        pass_on_inherited(old, entry)
        inherited = drop_ended_links(connection, old, entry)
        entry.recorded_us = new.recorded_us or old.recorded_us
        self._verify_targets(connection, {entry.entry_id: entry})
        replace_bonds(connection, entry)
        self._replace_tokens(connection, entry)
        # What lost its link inherits less from now on, and so does all behind it.
        start = {entry.entry_id} | inherited
        things = start | downstream(connection, start)
        self._spread(connection, {entry.entry_id: entry}, things, now_us, may_weaken=may_weaken)
        return entry

    def recall(self, connection: Connection, entry_id: bytes) -> None:
        """Take an entry back, so that nobody finds it again; it stays readable here.

        Raises:
            NotFoundError: there is none.
        """
        this = update(entries).where(entries.c.entry_id == entry_id)
        if connection.execute(this.values(state=EntryState.RECALLED)).rowcount == 0:
            raise NotFoundError("there is no such entry")
        self._frozen.load(connection)

    def keep_views(self, connection: Connection, told: disclosures.Told, now_us: int) -> None:
        """Freeze views that ledger lines tell of, where protection has come since."""
        if freezes.freeze(connection, self, self._vault, told.shown, now_us):
            self._frozen.load(connection)

    def _verify_ids(self, connection: Connection, batch: Mapping[bytes, Entry]) -> None:
        wanted = {entry.case_id for entry in batch.values()}
        there = connection.execute(select(cases.c.case_id).where(cases.c.case_id.in_(wanted))).scalars()
        if wanted - set(there):
            raise NotFoundError("there is no such case")
        taken = select(entries.c.entry_id).where(entries.c.entry_id.in_(tuple(batch))).limit(1)
        if connection.execute(taken).first() is not None:
            raise RecordError("entry_id: is taken")

    def _verify_targets(self, connection: Connection, batch: Mapping[bytes, Entry]) -> None:
        wanted = {link.to_entry_id for entry in batch.values() for link in entry.links} - batch.keys()
        if not wanted:
            return
        there = connection.execute(select(entries.c.entry_id).where(entries.c.entry_id.in_(wanted))).scalars()
        if wanted - set(there):
            raise NotFoundError("links: there is no such entry to link to")

    def _write_new(self, connection: Connection, new: Sequence[Entry], now_us: int) -> None:
        rows, tokens = [], list[tuple[bytes, bytes]]()
        for entry in new:
            entry.revision = 1
            entry_id, case_id = entry.entry_id, entry.case_id
            rows.append(
                {
                    "entry_id": entry_id,
                    "case_id": case_id,
                    "revision": 1,
                    "state": EntryState.ACTIVE,
                    "unit": entry.unit,
                    "review_us": entry.review_us,
                    "written_us": now_us,
                    "sealed": self._sealed(entry),
                }
            )
            tokens += [(token, entry_id) for token in entry_tokens(entry, self._keys)]
        connection.execute(insert(entries), rows)
        if tokens:
            connection.execute(insert(lookups), [{"token": token, "entry_id": each} for token, each in tokens])
            self._noting.note(connection, tokens, now_us)
        put_bonds(connection, new)

    def _replace_tokens(self, connection: Connection, entry: Entry) -> None:
        tokens = entry_tokens(entry, self._keys)
        connection.execute(delete(lookups).where(lookups.c.entry_id == entry.entry_id))
        if tokens:
            rows = [{"token": token, "entry_id": entry.entry_id} for token in tokens]
            connection.execute(insert(lookups), rows)

    def _spread(
        self,
        connection: Connection,
        changed: Mapping[bytes, Entry],
        things: Iterable[bytes],
        now_us: int,
        *,
        may_weaken: bool = False,
    ) -> None:
        """Write what changed, and those of the things that now inherit something else, each as a new revision."""
        subjects = subjects_of(connection, things)
        wanted = {*things, *(each for ids in subjects.values() for each in ids)} - changed.keys()
        working = {**self.get_many(connection, wanted), **changed}
        if may_weaken:
            # The table of bonds may lack a row. Those beside a thing tell by their links, inside what is encrypted.
            beside = {working[entry_id].case_id for entry_id in things}
            working = {**{each.entry_id: each for case in beside for each in self.of_case(connection, case)}, **working}
        linked: dict[bytes, list[Entry]] = {}
        for entry_id in sorted(working):
            for thing in things_of(working[entry_id]).intersection(things):
                linked.setdefault(thing, []).append(working[entry_id])
        before = {entry_id: _copy(working[entry_id]) for entry_id in things}
        inherit({entry_id: working[entry_id] for entry_id in things}, linked, may_weaken=may_weaken)
        written = [
            working[each] for each in things if each in changed or not is_inherited_alike(before[each], working[each])
        ]
        for entry in written:
            self._write_revision(connection, entry, now_us)
        tokens = [(token, entry.entry_id) for entry in written for token in entry_tokens(entry, self._keys)]
        self._noting.note(connection, tokens, now_us)
        if freezes.freeze_safer(connection, self, self._vault, written, now_us):
            self._frozen.load(connection)

    def _write_revision(self, connection: Connection, entry: Entry, now_us: int) -> None:
        this = (entries.c.entry_id == entry.entry_id, entries.c.revision == entry.revision)
        self._keep_superseded(connection, entry.entry_id, entry.revision)
        entry.revision += 1
        values = {
            "revision": entry.revision,
            "unit": entry.unit,
            "review_us": entry.review_us,
            "written_us": now_us,
            "sealed": self._sealed(entry),
        }
        if connection.execute(update(entries).where(*this).values(values)).rowcount != 1:
            raise UsageError("the entry was changed by somebody else meanwhile: read it again")

    def _keep_superseded(self, connection: Connection, entry_id: bytes, revision: int) -> None:
        """Keep the same bytes under another seal: copied back with SQL, they would undo whatever protection came."""
        held = entries.c
        query = select(*ROW, held.written_us).where(held.entry_id == entry_id, held.revision == revision)
        row = connection.execute(query.with_for_update(key_share=True)).one_or_none()
        if row is None:  # changed meanwhile: the update that follows says so
            return
        place = (row.entry_id, row.case_id, row.revision)
        data = self._vault.open(row.case_id, entry_context(*place), row.sealed)
        sealed = self._vault.seal(row.case_id, superseded_context(*place), data)
        connection.execute(insert(entry_revisions).values({**row._asdict(), "sealed": sealed}))

    def _sealed(self, entry: Entry) -> bytes:
        context = entry_context(entry.entry_id, entry.case_id, entry.revision)
        return self._vault.seal(entry.case_id, context, entry.SerializeToString())


def verify_successor(old: Entry, new: Entry) -> None:
    """Check that one entry was made of the other as it stands.

    Raises:
        RecordError: it is another entry, or moved to another case, whose key would seal it.
        UsageError: somebody else has changed the entry since it was read.
    """
    if (new.entry_id, new.case_id) != (old.entry_id, old.case_id):
        raise RecordError("case_id: an entry stays in its case")
    if new.revision != old.revision:
        raise UsageError("the entry was changed by somebody else meanwhile: read it again")


def _copy(entry: Entry) -> Entry:
    copy = Entry()
    copy.CopyFrom(entry)
    return copy


def _completed(entry: Entry, now_us: int) -> Entry:
    """Copy an entry, unknown fields included; fill in what the store knows."""
    if not entry.unit or entry.review_us <= 0:
        raise RecordError("entry: has a unit and a review date")
    if len(entry.entry_id) not in (0, ID_BYTES) or len(entry.case_id) != ID_BYTES:
        raise RecordError(f"entry_id, case_id: have {ID_BYTES} bytes")
    copy = _copy(entry)
    copy.ClearField("inherited")  # the node's own to write: nobody types in what others pass on
    copy.ClearField("inherited_roles")
    if not entry.entry_id:
        copy.entry_id = new_id(now_us)
    if not entry.recorded_us:
        copy.recorded_us = now_us
    return copy
