"""Reading the ledger's tables where they may be damaged.

A flipped byte in a database file can change a value's type or make a page unreadable, so nothing is assumed here:
values come without SQLAlchemy's types, and where a page of lines can't be read, each line is tried alone.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import product
from types import NoneType
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Connection, bindparam, func, select

from node.store.lines import ledger_head, ledger_lines, ledger_openings, ledger_states
from node.store.prepared import Prepared

_CORRUPT: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
PAGE: Final = 500
"""Lines read at once."""


_WHOLE: Final = {(int, *(bytes,) * 4, *rest) for rest in product((bytes, NoneType), repeat=4)}
"""Types of a line's columns, in the order of `LineRow`."""


class HeadRow(NamedTuple):
    """The head as kept."""

    size: int
    root: bytes
    frontier: bytes
    link: bytes


class LineRow(NamedTuple):
    """A line as kept."""

    idx: int
    leaf: bytes
    leaf_hash: bytes
    link: bytes
    exchange_id: bytes
    statement: bytes | None = None
    key_id: bytes | None = None
    signature: bytes | None = None
    replay_key: bytes | None = None


class LedgerRows:
    """The rows of one ledger.

    Each statement is a snapshot of its own: a verification of hours must not keep SQLite from emptying its write-ahead
    log. Since lines are only ever appended, those that the head counted when it was read stay as they were.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        head, lines, openings, dialect = ledger_head.c, ledger_lines.c, ledger_openings.c, connection.dialect
        start, stop = bindparam("start", type_=BigInteger), bindparam("stop", type_=BigInteger)
        self._head = Prepared(select(head.size, head.root, head.frontier, head.link), dialect).sql
        self._last = Prepared(select(func.max(lines.idx)).where(lines.idx < stop), dialect).sql
        columns = (getattr(lines, name) for name in LineRow._fields[1:])
        page = select(lines.idx, *columns).where(lines.idx >= start, lines.idx < stop).order_by(lines.idx)
        self._lines = Prepared(page, dialect).sql
        sealed = select(openings.idx, openings.sealed).where(openings.idx >= start, openings.idx < stop)
        self._openings = Prepared(sealed, dialect).sql
        kept = ledger_states.c
        changed = select(kept.idx, kept.states, kept.tag).where(kept.idx >= start, kept.idx < stop)
        self._states = Prepared(changed, dialect).sql
        # One statement, so that a line appended meanwhile is seen with the head that counts it.
        size = select(head.size).scalar_subquery()
        past = select(lines.idx).where(lines.idx >= size).order_by(lines.idx)
        self._past = Prepared(past, dialect).sql
        self._negative = Prepared(select(lines.idx).where(lines.idx < bindparam("zero")), dialect).sql

    def head(self) -> HeadRow | None:
        """Read the head; None if it is missing, or not of the right types."""
        rows = self._all(self._head, ())
        if len(rows) != 1 or not _has_types(rows[0], int, bytes, bytes, bytes):
            return None
        head = HeadRow(*rows[0])
        return head if head.size >= 0 else None

    def end(self, size: int) -> int:
        """Find the end of the lines below this size: one past the last of them."""
        last = self._all(self._last, (size,))[0][0]
        return 0 if last is None else max(0, last + 1)

    def lines(self, start: int, stop: int) -> Iterator[LineRow | int]:
        """Read the lines from `start` to before `stop`, in order; of one that can't be read, only its index."""
        try:
            rows = self._all(self._lines, (start, stop))
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            for index in range(start, stop):
                yield from self._alone(index)
            return
        for row in rows:
            yield _line(row)

    def openings(self, start: int, stop: int) -> dict[int, bytes]:
        """Read the encrypted openings of the lines from `start` to before `stop`; a damaged one is empty."""
        rows = self._all(self._openings, (start, stop))
        return {index: sealed if isinstance(sealed, bytes) else b"" for index, sealed in rows}

    def states(self, start: int, stop: int) -> dict[int, tuple[bytes, bytes]]:
        """Read what is told beside lines that was changed with them, and the node's tag; a damaged one is empty."""
        rows = self._all(self._states, (start, stop))
        return {row[0]: (row[1], row[2]) if _has_types(row, int, bytes, bytes) else (b"", b"") for row in rows}

    def surplus(self) -> list[int]:
        """Find lines that the head does not count; the first of them."""
        rows = self._all(self._past, ()) + self._all(self._negative, (0,))
        return [row[0] for row in rows]

    def _alone(self, index: int) -> Iterator[LineRow | int]:
        try:
            for row in self._all(self._lines, (index, index + 1)):
                yield _line(row)
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            yield index

    def _all(self, sql: str, values: tuple[int, ...]) -> list[tuple[Any, ...]]:
        raw = self._connection.connection
        with _as_bytes(raw.driver_connection), closing(raw.cursor()) as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchmany(PAGE))


def is_corrupt(error: BaseException) -> bool:
    """Tell whether SQLite found its file damaged, and not merely locked, missing or full."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


@contextmanager
def _as_bytes(connection: object) -> Iterator[None]:
    """Read damaged blobs that pretend to be text: as text they would not decode, and the whole page would be lost."""
    if not isinstance(connection, sqlite3.Connection):
        yield
        return
    usual = connection.text_factory
    connection.text_factory = bytes
    try:
        yield
    finally:
        connection.text_factory = usual


def _line(row: tuple[Any, ...]) -> LineRow | int:
    return LineRow._make(row) if tuple(map(type, row)) in _WHOLE else int(row[0])


def _has_types(row: tuple[Any, ...], *types: type) -> bool:
    return all(isinstance(value, wanted) for value, wanted in zip(row, types, strict=True))
