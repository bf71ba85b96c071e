"""What this node has seen of other ledgers, and which of its own checkpoints others have cosigned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from node.identity.directory import DAY_US
from node.ledger.checkpoint import Checkpoint
from node.ledger.epoch import FIRST, Confession, newest, split_origin
from node.ledger.witness import Seen, Verdict, judge, judge_restored
from node.store.bound import unbound
from node.store.epochs import last_restore
from node.store.tables import COUNTRY, metadata

LINKED_WITHIN_US: Final = 3 * DAY_US
"""How long a ledger may be out of reach when two of its checkpoints are to be linked; then it is a finding."""

KEPT_WHOLE_US: Final = 7 * DAY_US
"""Time for which all cosigned checkpoints are kept; of older ones, the last of each day."""

_THINNED: Final = 500  # checkpoints deleted in one transaction

_SIZE = BigInteger().with_variant(Integer, "sqlite")

witnessed = Table(
    "witnessed",
    metadata,
    Column("origin", String(255), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", LargeBinary, nullable=False),  # as its ledger signed it
    Column("seen_us", BigInteger, nullable=False),
    info=unbound("each row is signed by its ledger; a smaller one is found when members compare"),
)
"""The last checkpoint of each other ledger: this node never cosigns a smaller one, nor one that does not extend it."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", _SIZE, primary_key=True, autoincrement=False),
    Column("note", LargeBinary, nullable=False),
    Column("signed_us", BigInteger, nullable=False),
    info=unbound("each is signed, and held against the lines by `ledger verify`"),
)
"""This node's own, as it showed them to its witnesses."""

cosignatures = Table(
    "cosignatures",
    metadata,
    Column("size", _SIZE, primary_key=True, autoincrement=False),
    Column("country", COUNTRY, primary_key=True),
    Column("line", LargeBinary, nullable=False),  # a signature line of the note
    Column("time_us", BigInteger, nullable=False),  # when the witness says that it made it
    info=unbound("each is signed by its witness, and verified by `ledger verify`"),
)


unlinked = Table(
    "unlinked",
    metadata,
    Column("origin", String(255), primary_key=True),
    Column("since_us", BigInteger, nullable=False),
    info=unbound("a time since when a peer is out of reach, which begins anew where it was deleted"),
)
"""Ledgers that could not be asked to link two of their checkpoints, and since when."""


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint of this node, with the lines of its witnesses: country, signature line, time."""

    size: int
    note: bytes
    signed_us: int
    lines: tuple[tuple[str, bytes, int], ...]


# --- as a witness ----------------------------------------------------------------------------------------------------


def witness(
    connection: Connection,
    shown: Seen,
    old_size: int,
    proof: Sequence[bytes],
    now_us: int,
    *,
    confession: Confession | None = None,
) -> tuple[Verdict, Seen | None]:
    """Decide on a checkpoint and store it if it may be cosigned; return also what it was held against.

    The caller cosigns only after the transaction has committed: a crash in between loses a cosignature, which the
    ledger asks for again, and never the memory of what was cosigned.

    Args:
        connection: In a transaction that may write.
        shown: The checkpoint, whose signature was verified.
        old_size: Of the checkpoint that the proof starts from.
        proof: Consistency proof.
        now_us: UTC microseconds.
        confession: Of the epoch's first line, as verified; None where it did not come.

    Raises:
        MalformedError: as `node.ledger.witness.judge`.
    """
    name, epoch = split_origin(shown.checkpoint.origin)
    later = last_restore(connection, name)
    if later is not None and epoch < later.epoch:
        return Verdict.UNCONFESSED, later.seen  # the epoch has ended, as the ledger itself has said
    seen = last_seen(connection, shown.checkpoint.origin)
    if seen is None and epoch != FIRST:
        before = last_seen_before(connection, name, epoch)
        if confession is None:
            return Verdict.STALE, before
        held = before.checkpoint if before else None
        verdict = judge_restored(held, confession, shown.checkpoint, old_size, proof)
        if verdict is Verdict.COSIGN:
            see(connection, None, shown, now_us)
        return verdict, before
    verdict = judge(seen.checkpoint if seen else None, shown.checkpoint, old_size, proof)
    if verdict is Verdict.COSIGN and not see(connection, seen, shown, now_us):
        verdict = Verdict.STALE
    return verdict, seen


def see(connection: Connection, seen: Seen | None, shown: Seen, now_us: int) -> bool:
    """Put a checkpoint in the place of the last one seen of its ledger, which it extends; False where that changed."""
    new = {"size": shown.checkpoint.size, "root": shown.checkpoint.root, "note": shown.note, "seen_us": now_us}
    held = witnessed.c
    connection.execute(delete(unlinked).where(unlinked.c.origin == shown.checkpoint.origin))  # it is not out of reach
    if seen is None:
        connection.execute(insert(witnessed).values(origin=shown.checkpoint.origin, **new))
        return True
    same = (
        held.origin == shown.checkpoint.origin,
        held.size == seen.checkpoint.size,
        held.root == seen.checkpoint.root,
    )
    return connection.execute(update(witnessed).where(*same).values(new)).rowcount == 1


def last_seen_before(connection: Connection, name: str, epoch: int) -> Seen | None:
    """Return the last checkpoint seen of a ledger's latest epoch before this one."""
    of_ledger = witnessed.c.origin.startswith(name, autoescape=True)
    origin = newest(connection.execute(select(witnessed.c.origin).where(of_ledger)).scalars(), name, epoch)
    return None if origin is None else last_seen(connection, origin)


def last_seen(connection: Connection, origin: str) -> Seen | None:
    """Return the last checkpoint seen of a ledger."""
    row = connection.execute(select(witnessed).where(witnessed.c.origin == origin)).one_or_none()
    return None if row is None else Seen(Checkpoint(row.origin, row.size, row.root), row.note)


def all_seen(connection: Connection) -> list[Seen]:
    """Return the last checkpoint seen of each ledger, by name."""
    rows = connection.execute(select(witnessed).order_by(witnessed.c.origin))
    return [Seen(Checkpoint(row.origin, row.size, row.root), row.note) for row in rows]


# --- as a ledger -----------------------------------------------------------------------------------------------------


def put_checkpoint(connection: Connection, size: int, note: bytes, now_us: int) -> bytes:
    """Keep this node's checkpoint of a size before anybody sees it, and return the note that is kept."""
    kept = connection.execute(select(checkpoints.c.note).where(checkpoints.c.size == size)).scalar_one_or_none()
    if kept is not None:
        return bytes(kept)
    connection.execute(insert(checkpoints).values(size=size, note=note, signed_us=now_us))
    return note


def put_cosignature(connection: Connection, size: int, country: str, line: bytes, time_us: int) -> None:
    """Keep a witness's line, which was verified; the last one counts."""
    held = cosignatures.c
    new = {"line": line, "time_us": time_us}
    there = update(cosignatures).where(held.size == size, held.country == country).values(new)
    if connection.execute(there).rowcount == 0:
        connection.execute(insert(cosignatures).values(size=size, country=country, **new))


def last_cosigned(connection: Connection) -> dict[str, bytes]:
    """Return the largest checkpoint that each country has cosigned, as this node signed it."""
    held = cosignatures.c
    largest = select(held.country, func.max(held.size).label("size")).group_by(held.country).subquery()
    query = select(largest.c.country, checkpoints.c.note).join(checkpoints, checkpoints.c.size == largest.c.size)
    return {row.country: row.note for row in connection.execute(query)}


def own_checkpoints(connection: Connection, since: int = 0, limit: int | None = None) -> list[Cosigned]:
    """Return this node's checkpoints from a size on, the smallest first, with the lines of their witnesses."""
    lines: dict[int, list[tuple[str, bytes, int]]] = {}
    held = cosignatures.c
    for row in connection.execute(select(cosignatures).where(held.size >= since).order_by(held.size, held.country)):
        lines.setdefault(row.size, []).append((row.country, row.line, row.time_us))
    query = select(checkpoints).where(checkpoints.c.size >= since).order_by(checkpoints.c.size).limit(limit)
    return [
        Cosigned(row.size, row.note, row.signed_us, tuple(lines.get(row.size, ()))) for row in connection.execute(query)
    ]


def last_witnessed(connection: Connection, quorum: int) -> Cosigned | None:
    """Return this node's newest checkpoint that as many countries as the quorum have cosigned."""
    held = cosignatures.c
    enough = select(held.size).group_by(held.size).having(func.count() >= quorum)
    size = connection.execute(select(func.max(enough.subquery().c.size))).scalar_one_or_none()
    return None if size is None else next(each for each in own_checkpoints(connection, size, 1))


def thin_checkpoints(connection: Connection, quorum: int, now_us: int) -> int:
    """Delete old checkpoints of this node that prove nothing more than those that stay, and return how many.

    All of the last seven days stay, and of each day before the last one that the quorum cosigned; else its last one.
    What each witness cosigned last stays too, since proofs to it start there. Evidence lies elsewhere, and for good.
    """
    held, lines = checkpoints.c, cosignatures.c
    counts = select(lines.size, func.count().label("cosigned")).group_by(lines.size).subquery()
    query = (
        select(held.size, held.signed_us, func.coalesce(counts.c.cosigned, 0).label("cosigned"))
        .select_from(checkpoints.outerjoin(counts, counts.c.size == held.size))
        .where(held.signed_us < now_us - KEPT_WHOLE_US)
        .order_by(held.size)
    )
    rows = connection.execute(query).all()
    best: dict[int, tuple[bool, int]] = {}
    for row in rows:
        day = row.signed_us // DAY_US
        best[day] = max(best.get(day, (False, -1)), (row.cosigned >= quorum, row.size))
    last = select(func.max(lines.size)).group_by(lines.country)
    kept = {size for _, size in best.values()} | set(connection.execute(last).scalars())
    surplus = [row.size for row in rows if row.size not in kept][:_THINNED]
    if surplus:
        connection.execute(delete(cosignatures).where(lines.size.in_(surplus)))
        connection.execute(delete(checkpoints).where(held.size.in_(surplus)))
    return len(surplus)


# --- linking ---------------------------------------------------------------------------------------------------------


def waited_to_link(connection: Connection, origin: str, now_us: int) -> int:
    """Note that a ledger could not be asked to link two checkpoints, and return since when (UTC microseconds)."""
    held = unlinked.c
    since_us = connection.execute(select(held.since_us).where(held.origin == origin)).scalar_one_or_none()
    if since_us is None:
        connection.execute(insert(unlinked).values(origin=origin, since_us=now_us))
    return now_us if since_us is None else int(since_us)


def linked(connection: Connection, seen: Seen | None, other: Seen, now_us: int) -> None:
    """Note that a ledger has linked its checkpoints: what others have seen of it counts from now on as seen here.

    A witness that was restored from a backup has forgotten what it cosigned; so it learns it again before it cosigns.
    """
    origin = other.checkpoint.origin
    connection.execute(delete(unlinked).where(unlinked.c.origin == origin))
    if seen is not None and other.checkpoint.size > seen.checkpoint.size:
        see(connection, seen, other, now_us)
