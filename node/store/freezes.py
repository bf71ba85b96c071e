"""Views that stay as they were: a peer that may be the state somebody is protected from goes on seeing what it saw.

An entry that vanishes after an asylum claim tells the state of origin. So when protection is added to an entry that a
peer has seen, which may be that state, it keeps the revision that it saw last; a focal point decides how that ends.

Each view bears a tag under a secret that is not in the database (HMAC-SHA-256, see `Vault.tag`): else one row, written
with SQL, would show any peer an entry as it was before anybody protected it.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from sqlalchemy import Connection, Row, case, func, insert, select, tuple_, update

from node.errors import DecryptionError, KeyErasedError, NotFoundError
from node.policy.facts import origin_fact, subjects_of
from node.policy.vocabulary import KIND_BY_FIELD, UNKNOWN
from node.records.strengthening import strengthens
from node.store import disclosures
from node.store.columns import as_bytes
from node.store.disclosures import Shown
from node.store.entry_rows import EntryState
from node.store.safeguard_tables import freezes
from node.store.subject_tables import erasures
from node.store.tables import entries as entries_table
from node.store.vault import Vault
from node.wire.entry_pb2 import Entry
from node.wire.safeguard_pb2 import FREEZE_STATE_WAITING, Freeze, FreezeState

if TYPE_CHECKING:
    from node.store.entries import Entries


log = structlog.get_logger()


class Mark(NamedTuple):
    """Differs as soon as a view was frozen, decided on or sealed anew, or a frozen entry taken back."""

    views: int
    recalled: int
    made_us: int
    decided_us: int
    moved_us: int


def read_mark(connection: Connection) -> Mark:
    """Return the mark of what is frozen now."""
    return Mark(*connection.execute(MARK).one())


MARK: Final = select(
    func.count(),
    func.count(case((entries_table.c.state != EntryState.ACTIVE.value, 1))),
    func.coalesce(func.max(freezes.c.made_us), 0),
    func.coalesce(func.max(freezes.c.decided_us), 0),
    # An erasure moves the case, whose views are sealed anew.
    func.coalesce(select(func.max(erasures.c.decided_us)).scalar_subquery(), 0),
).select_from(freezes.join(entries_table, entries_table.c.entry_id == freezes.c.entry_id))
"""The statement for it: one row."""


def freeze_safer(
    connection: Connection, entries: "Entries", vault: Vault, written: Iterable[Entry], now_us: int
) -> bool:
    """Freeze what peers saw of those new revisions that protect somebody more than the one before; tell whether any is.

    The ledger is caught up with first, in this transaction: who has seen an entry must be known now.
    """
    safer = [new for new in written if strengthens(entries.revision(connection, new.entry_id, new.revision - 1), new)]
    if not safer:
        return False
    disclosures.catch_up(connection, vault, lambda told: entries.keep_views(connection, told, now_us))
    shown = {
        (new.entry_id, peer): each
        for new in safer
        for peer, each in disclosures.shown_to(connection, new.entry_id).items()
    }
    return freeze(connection, entries, vault, shown, now_us)


def freeze(
    connection: Connection, entries: "Entries", vault: Vault, shown: Mapping[tuple[bytes, str], Shown], now_us: int
) -> bool:
    """Freeze what peers saw that may be the state somebody is protected from since; tell whether any view is frozen.

    Args:
        connection: In a transaction of the caller.
        entries: To read revisions from.
        vault: To tag what is written.
        shown: By entry and peer, what the peer saw last.
        now_us: UTC microseconds.
    """
    seen = {key: each.revision for key, each in shown.items()}
    made = 0
    for entry_id, peer, revision in _outdated(connection, seen):
        try:
            old, new = entries.revision(connection, entry_id, revision), entries.get(connection, entry_id)
        except (KeyErasedError, NotFoundError):
            continue  # it was erased, so nobody sees it again
        except DecryptionError:  # what was altered can't be shown, and must not keep protection from being recorded
            log.error("entries_unreadable", count=1)  # noqa: TRY400 - without ids
            continue
        if not strengthens(old, new) or not (may_be_origin(old, peer) or may_be_origin(new, peer)):
            continue
        made += 1
        view = {
            "entry_id": entry_id,
            "peer": peer,
            "revision": revision,
            "state": FREEZE_STATE_WAITING,
            "until_us": old.review_us,
        }
        connection.execute(insert(freezes).values(**view, made_us=now_us, tag=_tag(vault, view)))
    return made > 0


def _outdated(connection: Connection, seen: dict[tuple[bytes, str], int]) -> list[tuple[bytes, str, int]]:
    """Return what was seen in a revision that is not the present one, and is not frozen yet."""
    ids = {entry_id for entry_id, _ in seen}
    present = select(entries_table.c.entry_id, entries_table.c.revision).where(entries_table.c.entry_id.in_(ids))
    now = {row.entry_id: row.revision for row in connection.execute(present)}
    old = {key for key, revision in seen.items() if revision < now.get(key[0], 0)}
    if not old:
        return []
    held = freezes.c
    frozen = select(held.entry_id, held.peer).where(tuple_(held.entry_id, held.peer).in_(list(old)))
    old -= {(row.entry_id, row.peer) for row in connection.execute(frozen)}
    return [(entry_id, peer, seen[entry_id, peer]) for entry_id, peer in sorted(old)]


def may_be_origin(entry: Entry, peer: str) -> bool:
    """Tell whether a peer is, or may be, a state of origin of whom an entry is about, or one where they risk something.

    Origin is birth, any nationality, habitual residence, or a state that is feared. Not recorded means it may be.
    """
    holder = entry.WhichOneof("entity")
    subjects = subjects_of(entry, KIND_BY_FIELD[holder] if holder else UNKNOWN)
    if any(peer in (*each.torture_risk, *each.death_penalty_risk) for each in subjects):
        return True
    return origin_fact(subjects, entry.person.nationalities, peer) in {"IS_ORIGIN", UNKNOWN}


def list_freezes(connection: Connection) -> list[Freeze]:
    """Return all views that were ever frozen: those that wait for a focal point first, then the earliest ending."""
    held = freezes.c
    order = (held.state != FREEZE_STATE_WAITING, held.until_us, held.entry_id, held.peer)
    return [
        Freeze(
            entry_id=row.entry_id,
            peer=row.peer,
            revision=row.revision,
            state=row.state,
            until_us=row.until_us,
            made_us=row.made_us,
            decided_by=row.decided_by or "",
            decided_us=row.decided_us or 0,
        )
        for row in connection.execute(select(freezes).order_by(*order))
    ]


def is_own(row: Row[*tuple[Any, ...]], vault: Vault) -> bool:
    """Tell whether this node wrote what a row of the table says of a view and its end."""
    return hmac.compare_digest(as_bytes(row.tag), _tag(vault, row._asdict()))


def _tag(vault: Vault, view: Mapping[str, Any]) -> bytes:
    said = [view["entry_id"].hex(), *(str(view[name]) for name in ("peer", "revision", "state", "until_us"))]
    return vault.tag("frozen-view", " ".join(said).encode())


def decide(
    connection: Connection,
    vault: Vault,
    entry_id: bytes,
    peer: str,
    state: FreezeState.ValueType,
    *,
    until_us: int | None,
    officer: str,
    line: bytes,
    now_us: int,
) -> None:
    """Note what a focal point decided; without `until_us` the view's review date stays.

    Raises:
        NotFoundError: no view of this entry is frozen for this peer, or it has ended.
    """
    held = freezes.c
    this = (held.entry_id == entry_id, held.peer == peer)
    row = connection.execute(select(freezes).where(*this, held.until_us > now_us)).one_or_none()
    if row is None or not is_own(row, vault):
        raise NotFoundError("no view of this entry is frozen for this peer, or it has ended")
    until_us = row.until_us if until_us is None else until_us
    ends = {"state": state, "until_us": until_us}
    tag = _tag(vault, {**row._asdict(), **ends})
    decided = {"decided_by": officer, "decided_us": now_us, "line": line}
    connection.execute(update(freezes).where(*this).values(**ends, **decided, tag=tag))


def untold(connection: Connection) -> list[tuple[bytes, str]]:
    """Return entry and peer of the views that no ledger line tells of."""
    held = freezes.c
    query = select(held.entry_id, held.peer).where(held.line.is_(None)).order_by(held.made_us)
    return [(row.entry_id, row.peer) for row in connection.execute(query)]


def tell(connection: Connection, entry_id: bytes, peer: str, line: bytes) -> None:
    """Note which line tells of a view, unless one does."""
    held = freezes.c
    this = (held.entry_id == entry_id, held.peer == peer, held.line.is_(None))
    connection.execute(update(freezes).where(*this).values(line=line))


def waiting(connection: Connection, now_us: int) -> Sequence[str]:
    """Return the peer of each view that waits for a focal point and has not ended."""
    held = freezes.c
    query = select(held.peer).where(held.state == FREEZE_STATE_WAITING, held.until_us > now_us)
    return connection.execute(query.order_by(held.peer)).scalars().all()
