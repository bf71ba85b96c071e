"""Whoever can write SQL is found out: each table has attacks that `ledger verify` names, or a reason why it has none.

The attacks follow from the tables themselves, so that a table that comes later is attacked too, or has to say why not.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    LargeBinary,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
    text,
    update,
)

from node.errors import LedgerBrokenError
from node.store.bound import Bound, Unbound, holding_of
from node.store.database import Database
from node.store.every_table import metadata
from node.store.ledger import verify_ledger
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.ledger_pb2 import LEAF_KIND_RECORD
from tests.ledger_lines import new_line

BOUND = {table: held for table in metadata.sorted_tables if isinstance(held := holding_of(table), Bound)}
PATIENCE_S = 20
BEHIND = "behind the ledger's back"

Value = int | str | bytes


def value_of(table: Table, name: str, number: int) -> Value:
    """A value that a column takes: the same number gives the same value, so that references meet."""
    kind = table.c[name].type
    if isinstance(kind, Boolean):
        return bool(number % 2)
    if isinstance(kind, LargeBinary):
        return bytes([number]) * 16
    if isinstance(kind, String):  # the tables themselves want two different officers
        return "GMUHC"[number] + "X" if kind.length == 2 else f"{name[:6]}-{number}"
    return number + 1


def row_of(table: Table, number: int) -> dict[str, Value]:
    return {column.name: value_of(table, column.name, number) for column in table.columns}


def fill(connection: Connection, number: int) -> None:
    for table in BOUND:
        connection.execute(insert(table).values(row_of(table, number)))


@pytest.fixture
def filled(database: Database, vault: Vault) -> Database:
    """Two rows in each bound table, written as the node writes, each with a line."""
    with Writer(database.engine, vault, "GT/gt-1") as writer:
        for number in (1, 2):
            line = new_line(kind=LEAF_KIND_RECORD)
            writer.submit(lambda connection, number=number: fill(connection, number), [line]).result(PATIENCE_S)  # type: ignore[misc]
    return database


@contextmanager
def attacked(database: Database) -> Iterator[Connection]:
    """Yield what an administrator may do to the database as its owner; all of it is undone at the end."""
    with database.engine.connect() as connection, connection.begin() as transaction:
        guards = (
            "PRAGMA defer_foreign_keys = ON" if database.is_sqlite else "SET LOCAL session_replication_role = replica"
        )
        connection.execute(text(guards))
        yield connection
        transaction.rollback()


def findings(connection: Connection, vault: Vault | None = None) -> str:
    with pytest.raises(LedgerBrokenError) as error:
        verify_ledger(connection, vault=vault)
    return str(error.value)


def this(table: Table, number: int = 1) -> list[ColumnElement[bool]]:
    return [column == value_of(table, column.name, number) for column in table.primary_key]


def test_every_table_of_the_database_says_how_it_is_held_to_the_ledger(database: Database) -> None:
    with database.reading() as connection:
        there = set(inspect(connection).get_table_names()) - {"alembic_version"}
    assert there == set(metadata.tables)
    held = {name: holding_of(table) for name, table in metadata.tables.items()}
    assert [name for name, each in held.items() if each is None] == []
    assert [name for name, each in held.items() if isinstance(each, Unbound) and len(each.why.split()) < 6] == []


def test_what_the_node_writes_is_as_the_lines_say(filled: Database, vault: Vault) -> None:
    with filled.reading() as connection:
        assert verify_ledger(connection, vault=vault).rows == 2 * len(BOUND)


def test_one_change_tells_of_many_rows_of_each_table(database: Database, vault: Vault) -> None:
    def change(connection: Connection) -> None:
        for number in range(5):
            fill(connection, number)

    with Writer(database.engine, vault, "GT/gt-1") as writer:
        writer.submit(change).result(PATIENCE_S)
    with database.reading() as connection:
        assert verify_ledger(connection, vault=vault).rows == 5 * len(BOUND)


def test_a_row_that_is_taken_away_is_named(filled: Database) -> None:
    for table, held in BOUND.items():
        with attacked(filled) as connection:
            connection.execute(delete(table).where(*this(table)))
            said = findings(connection)
        assert f"{held.what} " in said, table.name
        assert f"was taken away {BEHIND}: line 0 says that it is there" in said, table.name


def test_a_row_that_is_put_there_is_named(filled: Database) -> None:
    for table, held in BOUND.items():
        with attacked(filled) as connection:
            connection.execute(insert(table).values(row_of(table, 3)))
            said = findings(connection)
        assert f"{held.what} " in said, table.name
        assert f"was put there {BEHIND}: no line says so" in said, table.name


def test_each_column_that_is_altered_is_named(filled: Database) -> None:
    for table, held in BOUND.items():
        for column in table.columns:
            if column.primary_key or column.name in held.beside:
                continue
            with attacked(filled) as connection:
                other = value_of(table, column.name, 4)
                connection.execute(update(table).where(*this(table)).values({column.name: other}))
                said = findings(connection)
            assert f"{held.what} " in said, (table.name, column.name)
            assert f"was changed {BEHIND}: it is not what line 0 says" in said, (table.name, column.name)


def test_a_row_is_not_put_back_as_it_was(filled: Database, vault: Vault) -> None:
    """From an old backup, say: what a line says counts only until the next that speaks of the same row."""
    with filled.reading() as connection:
        old = {table: connection.execute(select(table).where(*this(table))).mappings().one() for table in BOUND}
    with Writer(filled.engine, vault, "GT/gt-1") as writer:

        def change(connection: Connection) -> None:
            for table in reversed(BOUND):
                if names := [column.name for column in table.columns if not _is_fixed(table, column.name)]:
                    last = {names[-1]: value_of(table, names[-1], 4)}
                    connection.execute(update(table).where(*this(table)).values(last))

        writer.submit(change).result(PATIENCE_S)
    for table, row in old.items():
        if all(_is_fixed(table, column.name) for column in table.columns):
            continue
        with attacked(filled) as connection:
            connection.execute(update(table).where(*this(table)).values(dict(row)))
            assert f"was changed {BEHIND}: it is not what line 2 says" in findings(connection), table.name


def test_what_was_taken_away_is_not_put_back(filled: Database, vault: Vault) -> None:
    with filled.reading() as connection:
        old = {table: connection.execute(select(table).where(*this(table))).mappings().one() for table in BOUND}
    with Writer(filled.engine, vault, "GT/gt-1") as writer:

        def remove(connection: Connection) -> None:
            for table in reversed(BOUND):
                connection.execute(delete(table).where(*this(table)))

        writer.submit(remove).result(PATIENCE_S)
    for table, row in old.items():
        with attacked(filled) as connection:
            connection.execute(insert(table).values(dict(row)))
            said = findings(connection)
        assert f"was put back {BEHIND}: line 2 says that it was taken away" in said, table.name


def _is_fixed(table: Table, name: str) -> bool:
    return table.c[name].primary_key or bool(table.c[name].foreign_keys)


# --- what binds them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "DELETE FROM ledger_states WHERE idx = 1",
            "what was changed with line 1 can't be told: the list beside it is gone",
        ),
        ("UPDATE ledger_states SET states = tag WHERE idx = 1", "what was changed with line 1 can't be told"),
    ],
)
def test_the_list_of_what_was_changed_is_bound_to_its_line(filled: Database, statement: str, says: str) -> None:
    with attacked(filled) as connection:
        connection.execute(text(statement))
        assert says in findings(connection)


def test_a_line_that_sql_appended_was_not_written_by_the_node(filled: Database, vault: Vault) -> None:
    with attacked(filled) as connection:
        connection.execute(text("UPDATE ledger_states SET tag = states WHERE idx = 1"))
        assert "line 1 says what was changed, and was not written by this node" in findings(connection, vault)


def test_what_would_write_behind_the_nodes_back_is_named(filled: Database) -> None:
    on_sqlite = ["CREATE TRIGGER helper AFTER INSERT ON officers BEGIN UPDATE officers SET roles = 255; END"]
    on_postgresql = [
        "CREATE RULE helper AS ON INSERT TO officers DO ALSO UPDATE officers SET roles = 255",
        (
            "CREATE FUNCTION help() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.roles := 255; RETURN NEW; END $$;"
            " CREATE TRIGGER helper BEFORE INSERT ON officers FOR EACH ROW EXECUTE FUNCTION help()"
        ),
    ]
    for statement in on_sqlite if filled.is_sqlite else on_postgresql:
        with attacked(filled) as connection:
            connection.exec_driver_sql(statement)
            assert "has a trigger, rule or view helper, and the node makes none" in findings(connection)


def test_text_that_is_none_is_another_row(filled: Database) -> None:
    statement = (
        "UPDATE officers SET unit = CAST(x'FF00FF' AS TEXT)" if filled.is_sqlite else "UPDATE officers SET unit = ''"
    )
    with attacked(filled) as connection:
        connection.exec_driver_sql(statement)
        assert "the officer name-1 was changed" in findings(connection)
