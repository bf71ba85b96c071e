"""What a change has written, seen at the connection that writes, so that no change can forget to say.

Each INSERT, UPDATE and DELETE of a bound table (`node.store.bound`) is looked at before it runs: which things does it
write? Once the change is made, each of them is read again, and digested as it is then.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ClauseElement,
    Connection,
    CursorResult,
    Delete,
    Insert,
    Table,
    Update,
    event,
    select,
    tuple_,
)

from node.errors import LedgerError
from node.ledger.states import State, key_of, state_sha256
from node.store.bound import Bound, holding_of

_KEYS: Final = 200  # of one statement

_Key = tuple[Any, ...]


class Touched:
    """The things that statements on watched connections have written since `clear`."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._keys: dict[Table, dict[_Key, None]] = {}

    def watch(self, connection: Connection) -> None:
        """Look at all that is executed on the connection from now on."""
        event.listen(connection, "before_execute", self._before)
        event.listen(connection, "after_execute", self._after)

    def clear(self) -> None:
        """Forget what was written: it was rolled back, or a line says so."""
        self._keys = {}

    def states(self, connection: Connection) -> list[State]:
        """Return what each thing that was written is now."""
        found = []
        for table, keys in self._keys.items():
            held = holding_of(table)
            if isinstance(held, Bound):
                found += _states(connection, table, held, list(keys))
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


def _states(connection: Connection, table: Table, held: Bound, keys: Sequence[_Key]) -> list[State]:
    names = [str(column.name) for column in table.columns if column.name not in held.beside]
    columns = [table.c[name] for name in held.key]
    query = select(*(table.c[name] for name in names))
    places = [names.index(name) for name in held.key]
    rows: dict[_Key, list[Sequence[Any]]] = {key: [] for key in keys}
    for at in range(0, len(keys), _KEYS):
        wanted = keys[at : at + _KEYS]
        these = columns[0].in_([key[0] for key in wanted]) if len(columns) == 1 else tuple_(*columns).in_(wanted)
        for row in connection.execute(query.where(these)):
            rows[tuple(row[place] for place in places)].append(row)
    name = str(table.name)  # SQLAlchemy's own kind of string until here
    return [State(name, key_of(key), state_sha256(name, names, those)) for key, those in rows.items()]
