"""The main database: SQLite in the data directory, or PostgreSQL, by URL.

SQLite has one serving process, held by a lock on a file beside the database; several processes mean PostgreSQL. A
transaction that SQLAlchemy begins takes the right to write at once (BEGIN IMMEDIATE): one that began by reading could
not go on to write after another has written, whatever it waited.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Concatenate, Final, ParamSpec, Self, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, ClauseElement, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from node.errors import NewerDatabaseError, StoreError, StoreLockedError
from node.store.migrations import HEAD, KNOWN, current_revision, upgrade
from node.store.prepared import Prepared

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 6
"""Threads for work that is not quick enough for the event loop."""

# Per connection. FULL: a commit that returned survives power loss, on which "no log, no disclosure" rests; in WAL mode
# NORMAL does not promise that (sqlite.org/pragma.html#pragma_synchronous).
_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA cache_size = -16000",  # KiB
    "PRAGMA mmap_size = 268435456",
    "PRAGMA temp_store = MEMORY",  # what is sorted stays out of temporary files
    "PRAGMA trusted_schema = OFF",
)
_READING: Final = "enlace_reading"


class Database:
    """An open database, with its connections and threads; one per process, closed last."""

    def __init__(self, url: URL, engine: Engine, lock: int | None) -> None:
        """Take what `open` or `open_read_only` has opened."""
        self.url: Final = url
        self.engine: Final = engine
        self._lock = lock
        self._held: PoolProxiedConnection | None = None
        self._cursor: DBAPICursor | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        # On PostgreSQL a look-up is one statement, so it needs no transaction, whose end would be another round trip.
        self._quick = engine if self.is_sqlite else _quick_engine(url)

    @classmethod
    def open(cls, url: str, *, create: bool = False) -> Self:
        """Open for reading and writing, and bring an older database to this version.

        Args:
            url: "sqlite:////absolute/path", or "postgresql://user@host/name".
            create: make the tables where there are none.

        Raises:
            StoreLockedError: another process serves this data directory.
            NewerDatabaseError: a newer version of the node has written it.
            StoreError: the URL is none of the two, nothing is there and nothing was to be made, or it can't be opened.
        """
        parsed, lock = parse_url(url), None
        if parsed.get_backend_name() == "sqlite":
            path = _sqlite_path(parsed)
            if not create and not path.exists():
                raise StoreError(f"{path} does not exist: make the node with `enlace init` first")
            lock = _locked(path)
        with _closed_on_failure(cls(parsed, _engine(parsed), lock)) as self, self.engine.begin() as connection:
            _verify_durable(connection)
            _bring_up(connection, create=create)
        return self

    @classmethod
    def open_read_only(cls, url: str) -> Self:
        """Open what must not change, as a copy that is to be verified; nothing is locked, migrated or created.

        Raises:
            NewerDatabaseError: a newer version of the node has written it.
            StoreError: it is missing, older than this version, or can't be opened.
        """
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite" and not _sqlite_path(parsed).is_file():
            raise StoreError(f"{_sqlite_path(parsed)} does not exist")
        with (
            _closed_on_failure(cls(parsed, _engine(parsed, read_only=True), None)) as self,
            self.reading() as connection,
        ):
            verify_revision(current_revision(connection))
        return self

    @property
    def is_sqlite(self) -> bool:
        """Tell whether look-ups run inline on the event loop."""
        return self.url.get_backend_name() == "sqlite"

    def prepare(self, statement: ClauseElement) -> Prepared:
        """Compile a statement of the hot path for this database."""
        return Prepared(statement, self.engine.dialect)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection on one snapshot, for the thread that asks; nothing written through it is kept."""
        with self.engine.connect().execution_options(**{_READING: True}) as connection:
            yield connection

    def reader(self) -> DBAPICursor:
        """Return the cursor that the event loop holds; each statement sees what was committed before it.

        It belongs to one thread. SQLite only: what waits for a server must not run on the loop, see `look_up`.
        """
        if self._cursor is None:
            if not self.is_sqlite:
                raise StoreError("look-ups on PostgreSQL do not run on the event loop")
            self._held = self.engine.raw_connection()
            self._cursor = self._held.cursor()
        return self._cursor

    async def look_up(self, function: Callable[Concatenate[DBAPICursor, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a quick read (up to 60 µs): inline on SQLite, where a thread would cost more; else in a thread."""
        if self.is_sqlite:
            return function(self.reader(), *args, **kwargs)

        def run() -> T:
            with closing(self._quick.raw_connection()) as connection, closing(connection.cursor()) as cursor:
                return function(cursor, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a read of any length in a thread, on one snapshot."""

        def run() -> T:
            with self.reading() as connection:
                return function(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def close(self) -> None:
        """Close all connections and let the data directory go."""
        self._threads.shutdown(wait=True)
        if self._held is not None:
            self._held.close()
            self._held = self._cursor = None
        self._quick.dispose()
        self.engine.dispose()
        if self._lock is not None:
            os.close(self._lock)  # which unlocks
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_Database = TypeVar("_Database", bound=Database)


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


def verify_revision(revision: str | None) -> None:
    """Check that a database has exactly the tables that this code reads.

    Raises:
        NewerDatabaseError: a newer version of the node has written it.
        StoreError: it is empty, or older.
    """
    if revision is None:
        raise StoreError("the database is empty: make the node with `enlace init` first")
    if revision not in KNOWN:
        raise NewerDatabaseError(f"the database has revision {revision}, and this node knows none after {HEAD}")
    if revision != HEAD:
        raise StoreError(f"the database has revision {revision} and is to be brought to {HEAD} by starting the node")


def _bring_up(connection: Connection, *, create: bool) -> None:
    revision = current_revision(connection)
    if revision is None and not create:
        verify_revision(revision)
    if revision is not None and revision not in KNOWN:
        verify_revision(revision)
    if revision != HEAD:
        upgrade(connection)


def _verify_durable(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        return
    setting = connection.execute(text("SHOW synchronous_commit")).scalar_one()
    if setting == "off":
        raise StoreError("PostgreSQL has synchronous_commit = off: what left could be lost from the ledger")


@contextmanager
def _closed_on_failure(database: _Database) -> Iterator[_Database]:
    """Close again what could not be opened, and say why without quoting a value or a password."""
    try:
        yield database
    except SQLAlchemyError as error:
        database.close()
        url = database.url
        where = url.database if database.is_sqlite else f"{url.host or 'local'}/{url.database}"
        reason = str(getattr(error, "orig", None) or type(error).__name__).strip().partition("\n")[0]
        raise StoreError(f"the database {where} can't be opened: {reason}") from error
    except StoreError:
        database.close()
        raise


def _sqlite_path(url: URL) -> Path:
    if url.database is None:
        raise StoreError("a SQLite URL names no file")
    return Path(url.database)


def _locked(path: Path) -> int:
    """Lock the file beside the database, and make the database private before SQLite makes it readable."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreLockedError(f"another process serves {path}; stop it first, or use PostgreSQL") from error
    return lock


def _engine(url: URL, *, read_only: bool = False) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(_sqlite_path(url), read_only=read_only)
    options = {"postgresql_readonly": True} if read_only else {}
    return create_engine(
        url,
        pool_size=THREADS + 2,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text must not quote values of records
        execution_options=options,
        connect_args={"connect_timeout": 5, "application_name": "enlace"},
    )


def _quick_engine(url: URL) -> Engine:
    return create_engine(
        url,
        pool_size=THREADS,
        pool_pre_ping=True,
        pool_reset_on_return=None,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        connect_args={"connect_timeout": 5, "application_name": "enlace look-ups"},
    )


def _sqlite_engine(path: Path, *, read_only: bool) -> Engine:
    # A copy without its WAL is whole; opening it as immutable works also where the folder can't be written.
    wal = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=rw" if not read_only else "mode=ro" if wal else "mode=ro&immutable=1"
    engine = create_engine(
        f"sqlite:///file:{quote(str(path))}?{mode}&uri=true",
        pool_size=THREADS + 2,
        hide_parameters=True,
        connect_args={"isolation_level": None, "cached_statements": 256},  # transactions begin below, not in the driver
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS if read_only else ("PRAGMA journal_mode = WAL", *_PRAGMAS):
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = read_only or connection.get_execution_options().get(_READING, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
