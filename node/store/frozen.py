"""The frozen views in memory: what a peer finds instead of an entry as it stands."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog
from sqlalchemy import Connection, Row, and_, select

from node.errors import DecryptionError, KeyErasedError
from node.records.lookup import LookupKey, entry_tokens
from node.store.entry_rows import EntryState, superseded_context
from node.store.freezes import Mark, is_own, read_mark
from node.store.safeguard_tables import freezes
from node.store.tables import entries, entry_revisions
from node.store.vault import Vault
from node.wire.entry_pb2 import Entry

log = structlog.get_logger()

_VIEWS: Final = (
    select(
        freezes.c.entry_id,
        freezes.c.peer,
        freezes.c.revision,
        freezes.c.state.label("state"),
        freezes.c.until_us,
        freezes.c.tag,
        entries.c.state.label("entry_state"),
        entries.c.case_id,
        entry_revisions.c.sealed,
    )
    .select_from(freezes.join(entries, entries.c.entry_id == freezes.c.entry_id))
    .join(
        entry_revisions,
        and_(entry_revisions.c.entry_id == freezes.c.entry_id, entry_revisions.c.revision == freezes.c.revision),
    )
)

NOTHING: Final = Mark(0, 0, 0, 0, 0)


class _View(NamedTuple):
    case_id: bytes
    context: bytes
    sealed: bytes  # the revision; opened each time, so that an erased case shows nothing
    until_us: int
    tokens: frozenset[bytes]


@dataclass(slots=True)
class _OfPeer:
    by_entry: dict[bytes, _View | None] = field(default_factory=dict)  # None: it was taken back, or altered
    by_token: dict[bytes, set[bytes]] = field(default_factory=lambda: defaultdict(set))


class Frozen:
    """What peers go on seeing; one per process.

    A reader looks here after it has looked in the database, and what freezes a view puts it here before the change is
    committed that would show something else. So nobody ever finds the one without the other.
    """

    def __init__(self, vault: Vault, keys: Sequence[LookupKey]) -> None:
        """Start with nothing frozen; `keys` are of every live epoch."""
        self._vault = vault
        self._keys = keys
        self._peers: dict[str, _OfPeer] = {}
        self.mark = NOTHING

    def load(self, connection: Connection) -> None:
        """Read all frozen views, also those of the transaction that is under way."""
        mark, peers = read_mark(connection), dict[str, _OfPeer]()
        for row in connection.execute(_VIEWS):
            own = is_own(row, self._vault)
            if not own:  # silence is denial: by a row that SQL wrote, nobody sees anything
                log.error("frozen_view_altered", peer=row.peer)
            view = self._loaded(row) if own and row.entry_state == EntryState.ACTIVE else None
            of_peer = peers.setdefault(row.peer, _OfPeer())
            of_peer.by_entry[row.entry_id] = view
            for token in view.tokens if view else ():
                of_peer.by_token[token].add(row.entry_id)
        self._peers, self.mark = peers, mark

    def _loaded(self, row: Row[*tuple[object, ...]]) -> _View:
        context = superseded_context(row.entry_id, row.case_id, row.revision)
        view = _View(row.case_id, context, row.sealed, row.until_us, frozenset())
        known = self._peers[row.peer].by_entry.get(row.entry_id) if row.peer in self._peers else None
        if known is not None and known.context == context:
            return view._replace(tokens=known.tokens)
        entry = self._opened(view)
        return view._replace(tokens=frozenset(entry_tokens(entry, self._keys))) if entry else view

    def view(self, peer: str, found: list[Entry], tokens: Iterable[bytes], now_us: int, limit: int) -> list[Entry]:
        """Return what a peer finds: of what is frozen, the revision that it saw, by the selectors that it had then.

        Args:
            peer: That asks.
            found: Entries as they stand, by id.
            tokens: By which they were looked up.
            now_us: UTC microseconds; past its review date nobody finds a view.
            limit: At most so many.
        """
        frozen = self._peers.get(peer)
        if frozen is None:
            return found
        seen = [entry for entry in found if entry.entry_id not in frozen.by_entry]
        for entry_id in {each for token in tokens for each in frozen.by_token.get(token, ())}:
            view = frozen.by_entry[entry_id]
            entry = self._opened(view) if view and view.until_us > now_us else None
            if entry is not None:
                seen.append(entry)
        seen.sort(key=lambda entry: entry.entry_id)
        return seen[:limit]

    def of_entry(self, peer: str, entry: Entry, now_us: int) -> Entry | None:
        """Return an entry as a peer sees it: as it stands, or the revision that was frozen; None where it sees none."""
        frozen = self._peers.get(peer)
        if frozen is None or entry.entry_id not in frozen.by_entry:
            return entry if entry.review_us > now_us else None
        view = frozen.by_entry[entry.entry_id]
        return self._opened(view) if view and view.until_us > now_us else None

    def _opened(self, view: _View) -> Entry | None:
        try:
            return Entry.FromString(self._vault.open(view.case_id, view.context, view.sealed))
        except KeyErasedError:
            return None
        except DecryptionError:  # as `Entries.find`: an answer that fails would tell that there is something
            log.error("entries_unreadable", count=1)  # noqa: TRY400 - without ids
            return None
