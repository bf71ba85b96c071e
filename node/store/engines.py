"""How connections are made: to SQLite with a file, or to PostgreSQL, by URL.

A transaction that SQLAlchemy begins on SQLite takes the right to write at once (BEGIN IMMEDIATE): one that began by
reading could not go on to write after another has written, however long it waited.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from node.errors import StoreError

# Per connection. FULL: a commit that returned survives power loss, on which "no log, no disclosure" rests; in WAL mode
# NORMAL does not promise that (sqlite.org/pragma.html#pragma_synchronous).
PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA cache_size = -16000",  # KiB
    "PRAGMA temp_store = MEMORY",  # what is sorted stays out of temporary files
    "PRAGMA trusted_schema = OFF",
)
READING: Final = "enlace_reading"
"""Execution option of a connection that only reads, so that it doesn't wait for who writes."""


def parse_url(url: str) -> URL:
    """Read the URL of a database.

    Raises:
        StoreError: it is neither of SQLite with a file nor of PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("a database's URL is not well formed") from error
    if parsed.drivername in {"postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed
    raise StoreError(f"{parsed.drivername} is no database for a node: give sqlite:////path/file or postgresql://…")


def sqlite_path(url: URL) -> Path:
    """Return the file of a SQLite URL."""
    if url.database is None:
        raise StoreError("a SQLite URL names no file")
    return Path(url.database)


def is_sqlite(url: URL) -> bool:
    """Tell whether the URL is of SQLite; it is of PostgreSQL otherwise."""
    return url.get_backend_name() == "sqlite"


def sqlite_engine(url: URL, *, pragmas: Sequence[str] = PRAGMAS, read_only: bool = False) -> Engine:
    """Make an engine on a file; to be written, the file is made private before SQLite makes it readable.

    Raises:
        StoreError: the file can't be made, or is missing where it is only to be read.
    """
    path = sqlite_path(url)
    try:
        os.close(os.open(path, os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    # A copy without its WAL is whole; opening it as immutable works also where the folder can't be written.
    wal = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=rw" if not read_only else "mode=ro" if wal else "mode=ro&immutable=1"
    engine = create_engine(
        f"sqlite:///file:{quote(str(path.absolute()))}?{mode}&uri=true",
        pool_size=8,
        hide_parameters=True,  # an error's text must not quote values of records
        connect_args={"isolation_level": None, "cached_statements": 256},  # transactions begin below, not in the driver
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in pragmas if read_only else ("PRAGMA journal_mode = WAL", *pragmas):
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("isolation_level") == "AUTOCOMMIT":
            return
        reads = read_only or options.get(READING, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def postgresql_engine(url: URL, *, read_only: bool = False) -> Engine:
    """Make an engine on a server, for transactions."""
    return create_engine(
        url,
        pool_size=8,
        pool_pre_ping=True,
        hide_parameters=True,
        execution_options={"postgresql_readonly": True} if read_only else {},
        connect_args={"connect_timeout": 5, "application_name": "enlace"},
    )


def postgresql_quick_engine(url: URL) -> Engine:
    """Make an engine on a server for single statements: without a transaction, whose end would be a round trip."""
    return create_engine(
        url,
        pool_size=8,
        pool_pre_ping=True,
        pool_reset_on_return=None,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        connect_args={"connect_timeout": 5, "application_name": "enlace look-ups"},
    )


def verify_durable(connection: Connection) -> None:
    """Check that what the server says is committed survives it.

    Raises:
        StoreError: PostgreSQL is set to lose commits in a crash.
    """
    if connection.dialect.name != "postgresql":
        return
    if connection.execute(text("SHOW synchronous_commit")).scalar_one() == "off":
        raise StoreError("PostgreSQL has synchronous_commit = off: what left could be lost from the ledger")


@contextmanager
def opening(url: URL, close: Callable[[], None]) -> Iterator[None]:
    """Close again what could not be opened, and say why without quoting a password.

    Raises:
        StoreError: whatever the database said, in one line.
    """
    try:
        yield
    except SQLAlchemyError as error:
        close()
        where = url.database if is_sqlite(url) else f"{url.host or 'local'}/{url.database}"
        reason = str(getattr(error, "orig", None) or type(error).__name__).strip().partition("\n")[0]
        raise StoreError(f"the database {where} can't be opened: {reason}") from error
    except StoreError:
        close()
        raise
