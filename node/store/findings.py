"""Findings: what does not fit between ledgers, until an auditor has explained and closed it.

A finding names exchanges by their random ids and says nothing of a person. Who changed it and why is a ledger line too
(`node.desk.reconciling`), so that one that was closed by SQL alone shows.
"""

import re
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    Row,
    Select,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from node.errors import NotFoundError, UsageError
from node.store.bound import bound
from node.store.ids import new_id
from node.store.tables import COUNTRY, PSEUDONYM, metadata
from node.wire.reconcile_pb2 import (
    FINDING_STATE_CLOSED,
    FINDING_STATE_EXPLAINED,
    FINDING_STATE_OPEN,
    FINDING_STATE_UNKNOWN,
    Finding,
    FindingState,
)

findings = Table(
    "findings",
    metadata,
    Column("finding_id", LargeBinary, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("peer", COUNTRY, nullable=False),
    Column("exchange_id", LargeBinary, nullable=False),
    Column("detail", String(200), nullable=False),
    Column("raised_us", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("owner", PSEUDONYM),
    Column("note", String(200)),
    Column("changed_us", BigInteger),
    UniqueConstraint("kind", "peer", "exchange_id"),
    info=bound("the finding"),
)

LISTED: Final = 5_000
"""Findings of one list at most; they fit a message of the desk."""

_KIND: Final = re.compile("[A-Z][A-Z_]{0,31}")
_LONGEST: Final = 200  # characters of detail and note
_LATER: Final = {
    FINDING_STATE_OPEN: (FINDING_STATE_EXPLAINED, FINDING_STATE_CLOSED),
    FINDING_STATE_EXPLAINED: (FINDING_STATE_CLOSED,),
    FINDING_STATE_CLOSED: (),
}


def raise_finding(
    connection: Connection, *, kind: str, peer: str, exchange_id: bytes, detail: str, now_us: int
) -> bool:
    """Keep an open finding, unless there is one of this kind, peer and exchange in whatever state; return whether.

    Args:
        connection: In a transaction that may write.
        kind: A word in capitals, up to 32 characters: "ONLY_THERE".
        peer: ISO 3166-1 alpha-2.
        exchange_id: 16 bytes; of what is no exchange, the digest of what the finding is about.
        detail: For the auditor, up to 200 characters; never a value of a record.
        now_us: UTC microseconds.

    Raises:
        UsageError: the kind is no such word, or the detail is too long.
    """
    if not _KIND.fullmatch(kind) or len(detail) > _LONGEST:
        raise UsageError(f"a finding has a kind in capitals and a detail of up to {_LONGEST} characters")
    held = findings.c
    same = (held.kind == kind, held.peer == peer, held.exchange_id == exchange_id)
    if connection.execute(select(held.finding_id).where(*same)).first() is not None:
        return False
    values: dict[str, object] = {"kind": kind, "peer": peer, "exchange_id": exchange_id, "detail": detail}
    values |= {"finding_id": new_id(now_us), "raised_us": now_us, "state": FINDING_STATE_OPEN}
    try:
        with connection.begin_nested():
            connection.execute(insert(findings).values(values))
    except IntegrityError:  # another process has just raised it
        return False
    return True


def list_findings(
    connection: Connection,
    *,
    peer: str = "",
    state: FindingState.ValueType = FINDING_STATE_UNKNOWN,
    limit: int = LISTED,
) -> list[Finding]:
    """List findings, those that are least done first and the newest of them first; empty and UNKNOWN: all."""
    held = findings.c
    query = select(findings).order_by(held.state, held.raised_us.desc(), held.finding_id)
    query = query.where(held.peer == peer) if peer else query
    query = query.where(held.state == state) if state else query
    return [_finding(row) for row in connection.execute(query.limit(limit))]


def count_open(connection: Connection) -> dict[tuple[str, str], int]:
    """Count the findings that are not closed, by kind and peer."""
    held = findings.c
    query = select(held.kind, held.peer, func.count()).where(held.state != FINDING_STATE_CLOSED)
    return {(kind, peer): count for kind, peer, count in connection.execute(query.group_by(held.kind, held.peer))}


def get_finding(connection: Connection, finding_id: bytes) -> Finding:
    """Return a finding.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = connection.execute(_this(finding_id)).one_or_none()
    if row is None:
        raise NotFoundError("no finding has this id: see `enlace ledger findings`")
    return _finding(row)


def own(connection: Connection, finding_id: bytes, *, owner: str, note: str, now_us: int) -> Finding:
    """Note which officer (a pseudonym) takes care of a finding from now on, and return it.

    Raises:
        NotFoundError: there is none of this id.
        UsageError: it is closed, or the note is too long.
    """
    found = get_finding(connection, finding_id)
    if found.state == FINDING_STATE_CLOSED:
        raise UsageError("the finding is closed")
    return _change(connection, found, found.state, owner=owner, note=note, now_us=now_us)


def change_state(
    connection: Connection,
    finding_id: bytes,
    state: FindingState.ValueType,
    *,
    owner: str,
    note: str,
    now_us: int,
) -> Finding:
    """Explain or close a finding, whose owner is then the officer who did, and return it.

    Raises:
        NotFoundError: there is none of this id.
        UsageError: it would go back (from closed to open, say), or the note is too long.
    """
    found = get_finding(connection, finding_id)
    if state not in _LATER.get(found.state, ()):
        was, wanted = (FindingState.Name(each).removeprefix("FINDING_STATE_") for each in (found.state, state))
        raise UsageError(f"the finding is {was}: it can't become {wanted}")
    return _change(connection, found, state, owner=owner, note=note, now_us=now_us)


def _change(
    connection: Connection, found: Finding, state: FindingState.ValueType, *, owner: str, note: str, now_us: int
) -> Finding:
    if not 0 < len(note) <= _LONGEST:
        raise UsageError(f"a note has up to {_LONGEST} characters")
    held = findings.c
    values: dict[str, object] = {"state": state, "owner": owner, "note": note, "changed_us": now_us}
    # What somebody else has decided meanwhile is not overwritten.
    same = (held.finding_id == found.finding_id, held.state == found.state)
    if connection.execute(update(findings).where(*same).values(values)).rowcount == 0:
        raise UsageError("somebody else has just decided on the finding: look again")
    return get_finding(connection, found.finding_id)


def _this(finding_id: bytes) -> Select[tuple[object, ...]]:
    return select(findings).where(findings.c.finding_id == finding_id)


def _finding(row: Row[tuple[object, ...]]) -> Finding:
    return Finding(
        finding_id=row.finding_id,
        kind=row.kind,
        peer=row.peer,
        exchange_id=row.exchange_id,
        detail=row.detail,
        raised_us=row.raised_us,
        state=row.state,
        owner=row.owner or "",
        note=row.note or "",
        changed_us=row.changed_us or 0,
    )
