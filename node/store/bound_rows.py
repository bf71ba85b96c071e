"""Comparing what is in the database with what the lines say of it; `node.ledger.states` says how.

Both sides are written to a file of their own while they are read, and sorted there, so that memory stays flat.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from itertools import groupby, islice
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Connection, Row, Table, select

from node.errors import LedgerBrokenError
from node.ledger.leaf import parse_leaf
from node.ledger.states import (
    Difference,
    State,
    StateDigest,
    Told,
    Value,
    compare,
    key_of,
    parse_key,
    parse_states,
    states_sha256,
    words_of,
)
from node.store.bound import Bound, holding_of
from node.store.every_table import metadata
from node.store.ledger_rows import PAGE, LedgerRows
from node.store.lines import states_tag
from node.store.prepared import Prepared
from node.store.vault import Vault
from node.wire.ledger_pb2 import Leaf

_AT_ONCE: Final = 1_000  # rows
_NAMED: Final = 1_000  # differences of which is told; of more, that there are more
_SHORT: Final = 16  # bytes of a key that are shown

_SCRATCH: Final = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA cache_size = -16000",
    "CREATE TABLE told (place TEXT, key BLOB, sha256 BLOB, line INTEGER)",
    "CREATE TABLE found (place TEXT, key BLOB, sha256 BLOB)",
)
_TRIGGERS: Final = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view')",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal UNION ALL SELECT rulename FROM pg_rules"
    " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
}


class BoundRows:
    """One comparison: told of the lines page by page, then of the rows."""

    def __init__(self, connection: Connection, vault: Vault | None = None) -> None:
        """Begin; with a vault, what a line says must have been written by this node."""
        self.rows: int = 0
        """Things that were compared."""
        self._connection = connection
        self._vault = vault
        self._lines = LedgerRows(connection)
        self._said: dict[int, tuple[bytes, bytes]] = {}  # by line: digest of the list beside it, hash of the leaf
        self._tables = {
            str(table.name): (table, held)
            for table in metadata.sorted_tables
            if isinstance(held := holding_of(table), Bound)
        }
        self._scratch = sqlite3.connect("", isolation_level=None)  # a file without a name, gone when it is closed
        for statement in _SCRATCH:
            self._scratch.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scratch.close()

    def take(self, index: int, leaf: Leaf, leaf_hash: bytes) -> None:
        """Take up a line, to be followed with its page."""
        if leaf.states_sha256:
            self._said[index] = (leaf.states_sha256, leaf_hash)

    def follow(self, start: int, stop: int) -> dict[int, str]:
        """Follow the lines from the index `start` to before `stop` that were taken up; returns faults by line."""
        said, self._said = self._said, {}
        faults: dict[int, str] = {}
        told: list[Told] = []
        there = self._lines.states(start, stop)
        for index in there.keys() - said.keys():
            faults[index] = f"what was changed with line {index} is told beside it, and its leaf says nothing of it"
        for index, (digest, leaf_hash) in said.items():
            states, tag = there.get(index, (None, b""))
            if states is None or states_sha256(states) != digest:
                faults[index] = f"what was changed with line {index} can't be told: the list beside it is " + (
                    "gone" if states is None else "altered"
                )
                continue
            if self._vault is not None and tag != states_tag(self._vault, leaf_hash):
                faults[index] = f"line {index} says what was changed, and was not written by this node"
            try:
                told += (Told(*state, index) for state in parse_states(states) if state.table in self._tables)
            except LedgerBrokenError as error:
                faults[index] = f"line {index} is damaged: {error}"
        if told:
            self._scratch.executemany("INSERT INTO told VALUES (?, ?, ?, ?)", told)
        return faults

    def differences(self, size: int) -> Iterator[str]:
        """Say what is in the database and not as the lines say, those beyond `size` included; ends with a snapshot.

        Rows and the last lines are read on one snapshot, so that what is written meanwhile is no difference.
        """
        connection = self._connection
        with nullcontext() if connection.in_transaction() else connection.begin():
            head = self._lines.head()
            yield from self._catch_up(size, head.size if head is not None else size)
            with closing(connection.connection.cursor()) as cursor:
                cursor.execute(_TRIGGERS[connection.dialect.name])
                for (name,) in cursor.fetchall():
                    yield f"the database has a trigger, rule or view {text_of(name)}, and the node makes none"
            for table, held in self._tables.values():
                for states in _batches(self._states(table, held)):
                    self.rows += len(states)
                    self._scratch.executemany("INSERT INTO found VALUES (?, ?, ?)", states)
        for number, difference in enumerate(self._compared()):
            if number == _NAMED:
                yield "and more than can be named"
                return
            yield words_of(difference, self._what(difference))

    def _catch_up(self, size: int, end: int) -> Iterator[str]:
        for start in range(size, end, PAGE):
            stop = min(start + PAGE, end)
            for row in self._lines.lines(start, stop):
                if not isinstance(row, int):
                    self.take(row.idx, parse_leaf(row.leaf), row.leaf_hash)
            yield from self.follow(start, stop).values()

    def _states(self, table: Table, held: Bound) -> Iterator[State]:
        """Digest what is in a table."""
        name = str(table.name)
        names = [str(column.name) for column in table.columns if column.name not in held.beside]
        places = [names.index(each) for each in held.key]
        query = select(*(table.c[each] for each in names))
        if set(held.key) != {column.name for column in table.primary_key}:  # rows that share a key
            query = query.order_by(*(table.c[each] for each in held.key))
        rows, digest = (
            raw_rows(self._connection, Prepared(query, self._connection.dialect).sql),
            StateDigest(name, names),
        )
        for key, those in groupby(rows, key=lambda row: [row[place] for place in places]):
            yield State(name, key_of(key), digest.of(those))

    def _compared(self) -> Iterator[Difference]:
        told = self._scratch.execute("SELECT place, key, sha256, line FROM told ORDER BY place, key, line")
        found = self._scratch.execute("SELECT place, key, sha256 FROM found ORDER BY place, key")
        return compare((Told(*row) for row in told), (State(*row) for row in found))

    def _what(self, difference: Difference) -> str:
        held = self._tables[difference.table][1]
        return f"{held.what} {' '.join(text_of(value) for value in parse_key(difference.key))}"


def raw_rows(connection: Connection, sql: str) -> Iterator[Row[Any]]:
    """Read rows as the database has them, whatever SQL may have put there: without SQLAlchemy's types."""
    streaming = {"stream_results": True}
    with (
        _lenient(connection.connection.driver_connection),
        connection.exec_driver_sql(sql, execution_options=streaming) as result,
    ):
        for rows in result.partitions(_AT_ONCE):
            yield from rows


@contextmanager
def _lenient(connection: object) -> Iterator[None]:
    """Read text that is none on SQLite; with what it becomes, its digest is another one."""
    if not isinstance(connection, sqlite3.Connection):
        yield
        return
    usual = connection.text_factory
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    try:
        yield
    finally:
        connection.text_factory = usual


def _batches(states: Iterable[State]) -> Iterator[list[State]]:
    each = iter(states)
    while batch := list(islice(each, _AT_ONCE)):
        yield batch


def text_of(value: Value) -> str:
    """Show a value of a column: bytes as hexadecimal, the first of them."""
    if isinstance(value, bytes):
        return value[:_SHORT].hex() + ("…" if len(value) > _SHORT else "")
    return str(value)
