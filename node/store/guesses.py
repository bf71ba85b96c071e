"""Numbers that were asked near each other within a day, as keyed digests: whoever reads them learns no number."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from node.store.columns import as_bytes
from node.store.watch_tables import guesses

WINDOW_US: Final = 86_400_000_000
DIGEST: Final = 4
"""Bytes that stand for a number within its run."""
MOST_SEEN: Final = 32
"""Numbers of one run that are told apart."""


def merge(connection: Connection, run: bytes, numbers: Collection[bytes], now_us: int) -> int:
    """Add numbers to a run, and return how many different ones were seen in it within a day.

    Args:
        connection: To the main database, in a transaction that may write.
        run: Keyed digest of who asked and of what the numbers begin with.
        numbers: 4 bytes of each one's keyed digest.
        now_us: UTC microseconds.
    """
    held = guesses.c
    row = connection.execute(select(held.seen, held.at_us).where(held.run == run)).one_or_none()
    seen = as_bytes(row.seen) if row is not None and row.at_us > now_us - WINDOW_US else b""
    known = {seen[at : at + DIGEST] for at in range(0, len(seen), DIGEST)} | set(numbers)
    values = {"seen": b"".join(sorted(known)[:MOST_SEEN]), "at_us": now_us}
    if row is None:
        connection.execute(insert(guesses).values(run=run, **values))
    else:
        connection.execute(update(guesses).where(held.run == run).values(values))
    return len(known)


def forget(connection: Connection, now_us: int) -> None:
    """Forget what was asked a day ago."""
    connection.execute(delete(guesses).where(guesses.c.at_us <= now_us - WINDOW_US))
