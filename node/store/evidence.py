"""Evidence that a ledger has signed two histories: both checkpoints as they were signed, kept for good."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Boolean, Column, Connection, LargeBinary, String, Table, insert, select

from node.ledger.witness import Seen, is_split, split_digest
from node.store.bound import bound
from node.store.findings import raise_finding
from node.store.tables import COUNTRY, metadata

split_views = Table(
    "split_views",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("origin", String(255), nullable=False),
    Column("country", COUNTRY, nullable=False),
    Column("proved", Boolean, nullable=False),  # the two prove it; else their ledger could not link them
    Column("first", LargeBinary, nullable=False),
    Column("second", LargeBinary, nullable=False),
    Column("found_us", BigInteger, nullable=False),
    info=bound("the evidence of two histories"),
)


@dataclass(frozen=True, slots=True)
class SplitViewRow:
    """Two signed notes of one ledger; `proved` where one size has two roots, which needs nobody's word."""

    origin: str
    country: str
    proved: bool
    first: bytes
    second: bytes
    found_us: int


def keep_split_view(connection: Connection, country: str, one: Seen, other: Seen, now_us: int) -> bool:
    """Keep two checkpoints whose signatures were verified, with a finding, and return whether that is news."""
    first, second = sorted((one, other), key=lambda each: (each.checkpoint.size, each.checkpoint.root))
    digest = split_digest(first.checkpoint, second.checkpoint)
    if is_known(connection, digest):
        return False
    proved = is_split(first.checkpoint, second.checkpoint)
    connection.execute(
        insert(split_views).values(
            digest=digest,
            origin=first.checkpoint.origin,
            country=country,
            proved=proved,
            first=first.note,
            second=second.note,
            found_us=now_us,
        )
    )
    sizes = f"{first.checkpoint.size} and {second.checkpoint.size} lines"
    # Of two epochs, the first line of the later one should have named the checkpoint of the earlier one.
    silent = "UNLINKED_HISTORY" if first.checkpoint.origin == second.checkpoint.origin else "UNCONFESSED_LOSS"
    raise_finding(
        connection,
        kind="SPLIT_VIEW" if proved else silent,
        peer=country,
        exchange_id=digest,
        detail=f"{first.checkpoint.origin} signed checkpoints of {sizes} that are not of one history",
        now_us=now_us,
    )
    return True


def is_known(connection: Connection, digest: bytes) -> bool:
    """Tell whether these two histories are kept already."""
    return connection.execute(select(split_views.c.digest).where(split_views.c.digest == digest)).first() is not None


def list_split_views(connection: Connection) -> list[SplitViewRow]:
    """Return all that is kept, the oldest first."""
    rows = connection.execute(select(split_views).order_by(split_views.c.found_us, split_views.c.digest))
    return [SplitViewRow(row.origin, row.country, row.proved, row.first, row.second, row.found_us) for row in rows]
