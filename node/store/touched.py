"""What a change has written, seen at the connection that writes, so that no change can forget to say.

Each INSERT, UPDATE and DELETE of a bound table (`node.store.bound`) is looked at before it runs: which things does it
write? Once the change is made, each of them is read again, and digested as it is then.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Connection,
    CursorResult,
    Delete,
    Dialect,
    Insert,
    Table,
    Update,
    and_,
    bindparam,
    event,
    or_,
    select,
)
from sqlalchemy.engine.interfaces import DBAPICursor

from node.errors import LedgerError
from node.ledger.states import State, StateDigest, key_of
from node.store.bound import Bound, holding_of
from node.store.prepared import Prepared

_SIZES: Final = (1, 4, 16, 64, 256)
"""Keys of one statement: a few fixed numbers, each compiled once; what is in between is filled up with its last key."""

_Key = tuple[Any, ...]


class Touched:
    """The things that statements on watched connections have written since `clear`."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._keys: dict[Table, dict[_Key, None]] = {}
        self._things: dict[Table, _Things] = {}

    def watch(self, connection: Connection) -> None:
        """Look at all that is executed on the connection from now on."""
        event.listen(connection, "before_execute", self._before)
        event.listen(connection, "after_execute", self._after)

    def clear(self) -> None:
        """Forget what was written: it was rolled back, or a line says so."""
        self._keys = {}

    def states(self, connection: Connection) -> list[State]:
        """Return what each thing that was written is now."""
        found: list[State] = []
        if not self._keys:
            return found
        with closing(connection.connection.cursor()) as cursor:
            for table, keys in self._keys.items():
                things = self._things.get(table)
                if things is None:
                    held = holding_of(table)
                    if not isinstance(held, Bound):
                        continue
                    things = self._things[table] = _Things(table, held, connection.dialect)
                found += things.states(cursor, list(keys))
        return found

    def _before(
        self,
        connection: Connection,
        statement: ClauseElement,
        many: Sequence[Mapping[str, Any]],
        one: Mapping[str, Any],
        _: Mapping[str, Any],
    ) -> None:
        if not isinstance(statement, Update | Delete) or (held := _held(statement)) is None:
            return
        table, key = held
        query = select(*(table.c[name] for name in key))
        if statement.whereclause is not None:
            query = query.where(statement.whereclause)
        for values in many or [one]:
            self._add(table, connection.execute(query, dict(values)))

    def _after(
        self,
        _: Connection,
        statement: ClauseElement,
        many: Sequence[Mapping[str, Any]],
        one: Mapping[str, Any],
        __: Mapping[str, Any],
        result: CursorResult[Any],
    ) -> None:
        if not isinstance(statement, Insert) or (held := _held(statement)) is None:
            return
        table, key = held
        if statement.select is not None:
            raise LedgerError(f"which rows an INSERT … SELECT writes into {table.name} can't be told")
        if many or one:
            self._add(table, (tuple(values[name] for name in key) for values in many or [one]))
        else:
            primary = [column.name for column in table.primary_key]
            written = dict(zip(primary, result.inserted_primary_key or (), strict=True))
            self._add(table, [tuple(written[name] for name in key)])

    def _add(self, table: Table, keys: Iterable[Sequence[Any]]) -> None:
        self._keys.setdefault(table, {}).update((tuple(key), None) for key in keys)


def _held(statement: Insert | Update | Delete) -> tuple[Table, tuple[str, ...]] | None:
    table = statement.table
    held = holding_of(table) if isinstance(table, Table) else None
    return (table, held.key) if isinstance(table, Table) and isinstance(held, Bound) else None


class _Things:
    """Reads things of one table again, with statements compiled once, and digests them."""

    def __init__(self, table: Table, held: Bound, dialect: Dialect) -> None:
        self._table = table
        self._name = str(table.name)  # SQLAlchemy's own kind of string until here
        self._key = held.key
        self._dialect = dialect
        self._names = [str(column.name) for column in table.columns if column.name not in held.beside]
        self._places = [self._names.index(name) for name in held.key]
        self._digest = StateDigest(self._name, self._names)
        self._statements: dict[int, str] = {}

    def states(self, cursor: DBAPICursor, keys: Sequence[_Key]) -> list[State]:
        """Return what each of them is now."""
        rows: dict[_Key, list[Sequence[Any]]] = {key: [] for key in keys}
        places, most = self._places, _SIZES[-1]
        for at in range(0, len(keys), most):
            wanted = keys[at : at + most]
            size = next(size for size in _SIZES if size >= len(wanted))
            wanted = [*wanted, *[wanted[-1]] * (size - len(wanted))]
            cursor.execute(self._statement(size), [value for key in wanted for value in key])
            for row in cursor.fetchall():
                rows[tuple([row[place] for place in places])].append(row)
        name, digest = self._name, self._digest.of
        return [State(name, key_of(key), digest(those)) for key, those in rows.items()]

    def _statement(self, size: int) -> str:
        """Select so many things by their keys, values as the database has them."""
        if size not in self._statements:
            columns = self._table.c
            keys = [
                {name: bindparam(f"{name}_{at}", type_=columns[name].type) for name in self._key} for at in range(size)
            ]
            these: ColumnElement[bool]
            if len(self._key) == 1:
                (name,) = self._key
                these = columns[name].in_([key[name] for key in keys])
            else:
                these = or_(*(and_(*(columns[name] == key[name] for name in self._key)) for key in keys))
            query = select(*(columns[name] for name in self._names)).where(these)
            self._statements[size] = Prepared(query, self._dialect).sql
        return self._statements[size]
