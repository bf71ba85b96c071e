"""What this node has seen of other ledgers, and which of its own checkpoints others have cosigned."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, String, Table, func, insert, select, update

from node.ledger.checkpoint import Checkpoint
from node.ledger.witness import Seen, Verdict, judge
from node.store.tables import COUNTRY, metadata

_SIZE = BigInteger().with_variant(Integer, "sqlite")

witnessed = Table(
    "witnessed",
    metadata,
    Column("origin", String(255), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", LargeBinary, nullable=False),  # as its ledger signed it
    Column("seen_us", BigInteger, nullable=False),
)
"""The last checkpoint of each other ledger: this node never cosigns a smaller one, nor one that does not extend it."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", _SIZE, primary_key=True, autoincrement=False),
    Column("note", LargeBinary, nullable=False),
    Column("signed_us", BigInteger, nullable=False),
)
"""This node's own, as it showed them to its witnesses."""

cosignatures = Table(
    "cosignatures",
    metadata,
    Column("size", _SIZE, primary_key=True, autoincrement=False),
    Column("country", COUNTRY, primary_key=True),
    Column("line", LargeBinary, nullable=False),  # a signature line of the note
    Column("time_us", BigInteger, nullable=False),  # when the witness says that it made it
)


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint of this node, with the lines of its witnesses: country, signature line, time."""

    size: int
    note: bytes
    signed_us: int
    lines: tuple[tuple[str, bytes, int], ...]


# --- as a witness ----------------------------------------------------------------------------------------------------


def witness(
    connection: Connection, shown: Seen, old_size: int, proof: Sequence[bytes], now_us: int
) -> tuple[Verdict, Seen | None]:
    """Decide on a checkpoint and store it if it may be cosigned; return also what had been seen.

    The caller cosigns only after the transaction has committed: a crash in between loses a cosignature, which the
    ledger asks for again, and never the memory of what was cosigned.

    Raises:
        MalformedError: as `node.ledger.witness.judge`.
    """
    seen = last_seen(connection, shown.checkpoint.origin)
    verdict = judge(seen.checkpoint if seen else None, shown.checkpoint, old_size, proof)
    if verdict is not Verdict.COSIGN:
        return verdict, seen
    new = {"size": shown.checkpoint.size, "root": shown.checkpoint.root, "note": shown.note, "seen_us": now_us}
    held = witnessed.c
    if seen is None:
        connection.execute(insert(witnessed).values(origin=shown.checkpoint.origin, **new))
        return verdict, None
    same = (
        held.origin == shown.checkpoint.origin,
        held.size == seen.checkpoint.size,
        held.root == seen.checkpoint.root,
    )
    changed = connection.execute(update(witnessed).where(*same).values(new)).rowcount
    return (verdict if changed == 1 else Verdict.STALE), seen


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


def own_checkpoints(connection: Connection, since: int = 0) -> list[Cosigned]:
    """Return this node's checkpoints from a size on, the smallest first, with the lines of their witnesses."""
    lines: dict[int, list[tuple[str, bytes, int]]] = {}
    held = cosignatures.c
    for row in connection.execute(select(cosignatures).where(held.size >= since).order_by(held.size, held.country)):
        lines.setdefault(row.size, []).append((row.country, row.line, row.time_us))
    query = select(checkpoints).where(checkpoints.c.size >= since).order_by(checkpoints.c.size)
    return [
        Cosigned(row.size, row.note, row.signed_us, tuple(lines.get(row.size, ()))) for row in connection.execute(query)
    ]
