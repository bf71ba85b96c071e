"""The main database: SQLite in the data directory, or PostgreSQL, by URL.

SQLite has one serving process, held by a lock on a file beside the database; several processes mean PostgreSQL.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Self, TypeVar

from sqlalchemy import URL, ClauseElement, Connection, Engine
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import SQLAlchemyError

from node.errors import NewerDatabaseError, StoreError, StoreLockedError
from node.store.engines import (
    READING,
    is_sqlite,
    opening,
    parse_url,
    postgresql_engine,
    postgresql_quick_engine,
    sqlite_engine,
    sqlite_path,
    verify_durable,
)
from node.store.migrations import HEAD, KNOWN, current_revision, upgrade
from node.store.prepared import Prepared

if TYPE_CHECKING:
    from sqlalchemy.pool import PoolProxiedConnection

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 6
"""Threads for work that is not quick enough for the event loop."""


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
        self._quick = engine if self.is_sqlite else postgresql_quick_engine(url)

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
        if is_sqlite(parsed):
            path = sqlite_path(parsed)
            if not create and not path.exists():
                raise StoreError(f"{path} does not exist: make the node with `enlace init` first")
            lock = _locked(path)
            self = cls(parsed, sqlite_engine(parsed), lock)
        else:
            self = cls(parsed, postgresql_engine(parsed), None)
        with opening(parsed, self.close), self.engine.begin() as connection:
            verify_durable(connection)
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
        engine = sqlite_engine if is_sqlite(parsed) else postgresql_engine
        self = cls(parsed, engine(parsed, read_only=True), None)
        with opening(parsed, self.close), self.reading() as connection:
            verify_revision(current_revision(connection))
        return self

    @property
    def is_sqlite(self) -> bool:
        """Tell whether look-ups run inline on the event loop."""
        return is_sqlite(self.url)

    def prepare(self, statement: ClauseElement) -> Prepared:
        """Compile a statement of the hot path for this database."""
        return Prepared(statement, self.engine.dialect)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection on one snapshot, for the thread that asks; nothing written through it is kept."""
        snapshot = {READING: True} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self.engine.connect().execution_options(**snapshot) as connection:
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
        """Run a quick read (up to 60 µs): inline on SQLite, where a thread would cost more; else in a thread.

        Raises:
            StoreError: the database can't be read; or what the function raises.
        """
        if self.is_sqlite:
            try:
                return function(self._cursor or self.reader(), *args, **kwargs)
            except (SQLAlchemyError, self.engine.dialect.loaded_dbapi.Error) as error:
                raise _unreadable(error) from error

        def run() -> T:
            with (
                self._failing(),
                closing(self._quick.raw_connection()) as connection,
                closing(connection.cursor()) as cursor,
            ):
                return function(cursor, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a read of any length in a thread, on one snapshot.

        Raises:
            StoreError: the database can't be read; or what the function raises.
        """

        def run() -> T:
            with self._failing(), self.reading() as connection:
                return function(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Make the driver's errors deliberate ones, so that a peer's call gets its line and its refusal."""
        try:
            yield
        except (SQLAlchemyError, self.engine.dialect.loaded_dbapi.Error) as error:
            raise _unreadable(error) from error

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


def _unreadable(error: Exception) -> StoreError:
    reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
    return StoreError(f"the database can't be read: {reason}")


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


def _locked(path: Path) -> int:
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path}.lock: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreLockedError(f"another process serves {path}; stop it first, or use PostgreSQL") from error
    return lock
