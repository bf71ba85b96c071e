import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, LargeBinary, bindparam, insert, select, text
from sqlalchemy.engine.interfaces import DBAPICursor

from node.errors import NewerDatabaseError, StoreError, StoreLockedError
from node.store.database import Database
from node.store.migrations import HEAD
from node.store.tables import rulebooks
from tests.conftest import postgres_database

ROW = {
    "layer": "release",
    "sha256": bytes(32),
    "name": "GT-RELEASE",
    "version": 1,
    "valid_from_us": 1,
    "valid_until_us": 2**62,
    "content": b"\x00\xff'%s",
    "stored_us": 1,
}
BY_DIGEST = select(rulebooks.c.name, rulebooks.c.content).where(
    rulebooks.c.sha256.in_([bindparam("first", type_=LargeBinary), bindparam("second", type_=LargeBinary)]),
    rulebooks.c.version == 1,
)


def put(connection: Connection) -> None:
    connection.execute(insert(rulebooks).values(ROW))


def put_and_fail(connection: Connection) -> None:
    put(connection)
    raise ZeroDivisionError


def names(cursor: DBAPICursor, database: Database) -> list[tuple[str, bytes]]:
    rows = database.prepare(BY_DIGEST).run(cursor, {"first": bytes(32), "second": b"x"})
    return [(name, bytes(content)) for name, content in rows.fetchall()]


def test_what_is_committed_is_there_after_opening_again(database_url: str) -> None:
    with Database.open(database_url) as database, database.engine.begin() as connection:
        put(connection)
    with Database.open(database_url) as database, database.reading() as connection:
        assert connection.execute(select(rulebooks.c.content)).scalar_one() == ROW["content"]


async def test_a_prepared_statement_finds_what_was_committed_just_before(database: Database) -> None:
    assert await database.look_up(names, database) == []
    with database.engine.begin() as connection:
        put(connection)
    assert await database.look_up(names, database) == [("GT-RELEASE", ROW["content"])]


async def test_a_database_that_fails_is_a_deliberate_error(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("DROP TABLE rulebook_signatures"))
        connection.execute(text("DROP TABLE rulebook_proposals"))
        connection.execute(text("DROP TABLE rulebooks"))
    with pytest.raises(StoreError, match="can't be read"):
        await database.look_up(names, database)
    with pytest.raises(StoreError, match="can't be read"):
        await database.read(lambda connection: connection.execute(select(rulebooks)).all())


async def test_two_looks_within_one_read_see_the_same(database: Database) -> None:
    def count_twice(connection: Connection) -> tuple[int, int]:
        first = len(connection.execute(select(rulebooks.c.name)).all())
        with database.engine.begin() as other:
            put(other)
        return first, len(connection.execute(select(rulebooks.c.name)).all())

    assert await database.read(count_twice) == (0, 0)


async def test_a_look_up_on_sqlite_runs_on_the_event_loop_and_on_postgresql_does_not(database: Database) -> None:
    def loops(_: DBAPICursor) -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    assert await database.look_up(loops) is database.is_sqlite


async def test_a_read_sees_one_snapshot_and_does_not_wait_for_the_writer(database: Database) -> None:
    def count(connection: Connection) -> int:
        return len(connection.execute(select(rulebooks.c.name)).all())

    with database.engine.begin() as connection:
        put(connection)
        assert await database.read(count) == 0  # not committed
    assert await database.read(count) == 1


def test_nothing_written_while_reading_is_kept(database: Database) -> None:
    with database.reading() as connection:
        put(connection)
    with database.reading() as connection:
        assert connection.execute(select(rulebooks)).all() == []


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.engine.begin() as connection:
        put_and_fail(connection)
    with database.reading() as connection:
        assert connection.execute(select(rulebooks)).all() == []


def test_a_savepoint_fails_alone(database: Database) -> None:
    with database.engine.begin() as connection:
        with pytest.raises(ZeroDivisionError), connection.begin_nested():
            put_and_fail(connection)
        put(connection)
    with database.reading() as connection:
        assert len(connection.execute(select(rulebooks)).all()) == 1


def test_an_error_quotes_no_values(database: Database) -> None:
    with database.engine.begin() as connection:
        put(connection)
    with pytest.raises(Exception, match="rulebooks") as caught, database.engine.begin() as connection:
        put(connection)
    assert "GT-RELEASE" not in str(caught.value)


def test_a_newer_database_is_refused_and_left_as_it_is(database_url: str) -> None:
    with Database.open(database_url) as database, database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for way in (Database.open, Database.open_read_only):
        with pytest.raises(NewerDatabaseError, match="9999"):
            way(database_url)


def test_what_is_not_there_is_made_only_where_asked(empty_url: str) -> None:
    with pytest.raises(StoreError, match="enlace init"):
        Database.open(empty_url)
    Database.open(empty_url, create=True).close()
    Database.open(empty_url).close()
    Database.open(empty_url, create=True).close()


def test_processes_that_start_at_once_make_the_tables_once(postgres_server: URL) -> None:
    with postgres_database(postgres_server, template="template0") as url, ThreadPoolExecutor(4) as threads:
        for opened in threads.map(lambda _: Database.open(url, create=True), range(4)):
            opened.close()


def test_reading_only_can_not_write(database_url: str) -> None:
    with (
        Database.open_read_only(database_url) as database,
        pytest.raises(Exception, match=r"(?i)read-?\s?only"),
        database.engine.begin() as connection,
    ):
        put(connection)


def test_a_copy_opens_beside_the_node_that_serves(tmp_path: Path, sqlite_template: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    copy = folder / "enlace.db"
    copy.write_bytes(sqlite_template.read_bytes())
    copy.chmod(0o400)
    with Database.open_read_only(f"sqlite:///{copy}") as database, database.reading() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == HEAD
    assert [each.name for each in folder.iterdir()] == ["enlace.db"]


def test_a_reader_sees_what_the_serving_node_has_in_its_log(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'enlace.db'}"
    with Database.open(url, create=True) as database:
        with database.engine.begin() as connection:
            put(connection)
        with Database.open_read_only(url) as reader, reader.reading() as connection:
            assert len(connection.execute(select(rulebooks)).all()) == 1


def test_one_process_serves_a_data_directory(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'enlace.db'}"
    with Database.open(url, create=True), pytest.raises(StoreLockedError, match="another process"):
        Database.open(url)
    Database.open(url).close()


def test_a_commit_on_sqlite_is_durable_and_its_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "enlace.db"
    with Database.open(f"sqlite:///{path}", create=True) as database, database.engine.begin() as connection:
        put(connection)
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        assert {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == dict.fromkeys(
            ("enlace.db", "enlace.db-wal", "enlace.db-shm", "enlace.db.lock"), 0o600
        )


def test_a_writer_waits_for_another_instead_of_failing(tmp_path: Path) -> None:
    # Two connections that both begin by reading: with a deferred BEGIN the second could never go on to write.
    path = tmp_path / "enlace.db"
    with Database.open(f"sqlite:///{path}", create=True) as database, database.engine.begin() as connection:
        connection.execute(select(rulebooks)).all()
        with closing_connection(path) as other, pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        put(connection)


class closing_connection(sqlite3.Connection):  # noqa: N801 reads as a function
    def __init__(self, path: Path) -> None:
        super().__init__(path, timeout=0, isolation_level=None)

    def __exit__(self, *_: object) -> None:  # type: ignore[override]
        self.close()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://host/name", "no url", "sqlite+aiosqlite:///x.db"]
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(StoreError):
        Database.open(url, create=True)


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "enlace.db"
    path.write_text("This is no database, but long enough to have a header.\n" * 40)
    with pytest.raises(StoreError, match="not a database") as caught:
        Database.open(f"sqlite:///{path}")
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    with pytest.raises(StoreError, match="can't be opened") as caught:
        Database.open("postgresql://somebody:secret@127.0.0.1:1/enlace")
    assert "secret" not in str(caught.value)


def test_a_server_that_loses_commits_is_refused(postgres_server: URL) -> None:
    with postgres_database(postgres_server) as url:
        with Database.open(url) as database, database.engine.begin() as connection:
            name = connection.execute(text("SELECT current_database()")).scalar_one()
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
        with pytest.raises(StoreError, match="synchronous_commit"):
            Database.open(url)
