from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

import node.store.erasures
import node.store.evidence
import node.store.findings
import node.store.institution
import node.store.lines
import node.store.mail_tables
import node.store.receipts
import node.store.received_tables
import node.store.safeguard_tables
import node.store.subject_tables
import node.store.tiles
import node.store.witnessing  # noqa: F401 their tables register themselves
from node.store.database import Database
from node.store.engines import parse_url, postgresql_engine, sqlite_engine
from node.store.migrations import FOLDER, HEAD, KNOWN, current_revision, upgrade
from node.store.tables import metadata


def described(connection: Connection) -> dict[str, Any]:
    """What Alembic's comparison leaves out: CHECK constraints, and how SQLite lays a table out."""
    found = inspect(connection)
    checks = {
        table: sorted(f"{each['name']}: {each['sqltext']}" for each in found.get_check_constraints(table))
        for table in sorted(metadata.tables)
    }
    layout = {table: found.get_table_options(table) for table in sorted(metadata.tables)}
    return {"checks": checks, "layout": layout}


@contextmanager
def engine_on(url: str) -> Iterator[Engine]:
    parsed = parse_url(url)
    engine = sqlite_engine(parsed) if parsed.get_backend_name() == "sqlite" else postgresql_engine(parsed)
    try:
        yield engine
    finally:
        engine.dispose()


def test_the_migrations_make_the_tables_of_this_version(database: Database) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_checks_and_layout_are_those_of_the_tables(empty_url: str) -> None:
    with engine_on(empty_url) as engine:
        with engine.begin() as connection:
            metadata.create_all(connection)
            directly_made = described(connection)
            metadata.drop_all(connection)
        with engine.begin() as connection:
            upgrade(connection)
            assert described(connection) == directly_made


def test_every_column_of_the_tables_is_there_in_their_order(database: Database) -> None:
    with database.reading() as connection:
        found = inspect(connection)
        for name, table in metadata.tables.items():
            there = [(each["name"], each["nullable"]) for each in found.get_columns(name)]
            assert there == [(column.name, column.nullable) for column in table.columns], name


def test_migrations_are_one_chain_numbered_in_its_order() -> None:
    chain = [script.revision for script in ScriptDirectory(str(FOLDER)).walk_revisions()][::-1]
    assert chain == list(KNOWN)
    assert chain[-1] == HEAD
    assert chain == [f"{number:04}" for number in range(1, len(chain) + 1)]


def test_a_migration_that_fails_leaves_the_database_as_it_was(empty_url: str) -> None:
    with engine_on(empty_url) as engine:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE pairings (peer INTEGER)"))  # in the way of the one to come
        with pytest.raises(Exception, match="pairings"), engine.begin() as connection:
            upgrade(connection)
        with engine.connect() as connection:
            assert inspect(connection).get_table_names() == ["pairings"]
            assert current_revision(connection) is None
