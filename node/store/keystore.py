"""The key store: wrapped data keys, in a database of their own with backups of their own.

Erasing a key erases what it encrypts from every backup of the main database, at the latest when the last backup of the
key store that still has it is gone: after 30 days. A key is durable here before anything is encrypted under it, since
the other order could lose what was logged.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Engine,
    LargeBinary,
    MetaData,
    Select,
    SmallInteger,
    Table,
    bindparam,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import SQLAlchemyError

from node.errors import DecryptionError, KeyErasedError, NewerDatabaseError, StoreError
from node.store.engines import (
    PRAGMAS,
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
from node.store.prepared import Prepared

if TYPE_CHECKING:
    from sqlalchemy.pool import PoolProxiedConnection

FORMAT: Final = 1

metadata = MetaData()

keys = Table(
    "keys",
    metadata,
    Column("key_id", LargeBinary, primary_key=True),
    Column("wrapped", LargeBinary),  # NULL: erased, and never to be made again under this id
    Column("erased_us", BigInteger),
    CheckConstraint("(wrapped IS NULL) = (erased_us IS NOT NULL)", name="erased_or_not"),
    sqlite_with_rowid=False,
)

key_format = Table("key_format", metadata, Column("format", SmallInteger, primary_key=True, autoincrement=False))

_PUT: Final = insert(keys).inline().values(key_id=bindparam("key_id"), wrapped=bindparam("wrapped"))
_GET_SIZES: Final = (1, 8, 64)  # parameters of the statement that reads keys; a list in between repeats its last one
_ERASE: Final = (
    update(keys)
    .where(keys.c.key_id == bindparam("id"), keys.c.wrapped.is_not(None))
    .values(wrapped=None, erased_us=bindparam("at_us"))
)


def _get(size: int) -> Select[bytes, bytes | None]:
    ids = [bindparam(f"id_{number}", type_=LargeBinary) for number in range(size)]
    return select(keys.c.key_id, keys.c.wrapped).where(keys.c.key_id.in_(ids))


class KeyStore:
    """An open key store; usable from any thread."""

    def __init__(self, engine: Engine) -> None:
        """Take what `open` has opened."""
        self._engine = engine
        self._quick = engine if engine.dialect.name == "sqlite" else postgresql_quick_engine(engine.url)
        self._put = Prepared(_PUT, engine.dialect)
        self._gets = {size: Prepared(_get(size), engine.dialect).sql for size in _GET_SIZES}
        self._lock = threading.Lock()
        self._held: PoolProxiedConnection | None = None
        self._cursor: DBAPICursor | None = None

    @classmethod
    def open(cls, url: str, *, create: bool = False) -> Self:
        """Open the key store, a SQLite file or a PostgreSQL database that is not the main one.

        Raises:
            NewerDatabaseError: a newer version of the node has written it.
            StoreError: nothing is there and nothing was to be made, or it can't be opened.
        """
        parsed = parse_url(url)
        if is_sqlite(parsed):
            if not create and not sqlite_path(parsed).exists():
                raise StoreError(f"{sqlite_path(parsed)} does not exist: restore the key store, or make the node anew")
            # What is erased is overwritten, not only unlinked.
            engine = sqlite_engine(parsed, pragmas=(*PRAGMAS, "PRAGMA secure_delete = ON"))
        else:
            engine = postgresql_engine(parsed)
        with opening(parsed, engine.dispose):
            with engine.begin() as connection:
                verify_durable(connection)
                if create and not inspect(connection).has_table("keys"):
                    metadata.create_all(connection)
                    connection.execute(insert(key_format).values(format=FORMAT))
                found = connection.execute(select(key_format.c.format)).scalar_one()
            if found != FORMAT:
                raise NewerDatabaseError(f"the key store has format {found}, and this node knows {FORMAT}")
            return cls(engine)

    def put(self, wrapped: Sequence[tuple[bytes, bytes]]) -> None:
        """Add keys, each an id and the wrapped key; they are durable when this returns.

        Raises:
            StoreError: an id is taken, also by a key that was erased; or they can't be written. None was added.
        """
        driver = self._engine.dialect.loaded_dbapi
        try:
            with self._engine.begin() as connection, closing(connection.connection.cursor()) as cursor:
                cursor.executemany(self._put.sql, wrapped)
        except driver.IntegrityError as error:
            raise StoreError("a key of this id exists, or was erased") from error
        except (SQLAlchemyError, driver.Error) as error:
            raise StoreError("keys could not be written to the key store") from error

    def get(self, key_id: bytes) -> bytes:
        """Return a wrapped key.

        Raises:
            KeyErasedError: it was erased.
            DecryptionError: there never was one, or this key store is older than the record.
            StoreError: the key store can't be read.
        """
        found = self.get_many((key_id,))
        if key_id not in found:
            raise DecryptionError("the key store has no key for this record")
        wrapped = found[key_id]
        if wrapped is None:
            raise KeyErasedError("the key of this record was erased")
        return wrapped

    def get_many(self, key_ids: Iterable[bytes]) -> dict[bytes, bytes | None]:
        """Return those of the keys that there are, None for those that were erased."""
        wanted = list(key_ids)
        try:
            if self._quick is self._engine:  # SQLite
                with self._lock:
                    return self._found(self._reader(), wanted)
            with closing(self._quick.raw_connection()) as connection, closing(connection.cursor()) as cursor:
                return self._found(cursor, wanted)
        except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error) as error:
            raise StoreError("the key store can't be read") from error

    def _found(self, cursor: DBAPICursor, wanted: Sequence[bytes]) -> dict[bytes, bytes | None]:
        found: dict[bytes, bytes | None] = {}
        for at in range(0, len(wanted), _GET_SIZES[-1]):
            part = wanted[at : at + _GET_SIZES[-1]]
            size = next(size for size in _GET_SIZES if size >= len(part))
            cursor.execute(self._gets[size], [*part, *[part[-1]] * (size - len(part))])
            found.update(cursor.fetchall())
        return found

    def _reader(self) -> DBAPICursor:
        """Return the cursor that is held for reading, since a checkout of the pool costs more than the read itself."""
        if self._cursor is None:
            self._held = self._engine.raw_connection()
            self._cursor = self._held.cursor()
        return self._cursor

    def erase(self, key_ids: Iterable[bytes], at_us: int) -> int:
        """Erase keys for ever; of each a tombstone remains. Returns how many there were to erase.

        On SQLite their bytes are overwritten and the write-ahead log is cut off; on PostgreSQL they are vacuumed, and
        its own log keeps them for as long as it is archived.
        """
        try:
            with self._engine.begin() as connection:
                erased = sum(connection.execute(_ERASE, {"id": key, "at_us": at_us}).rowcount for key in key_ids)
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                sqlite = connection.dialect.name == "sqlite"
                connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)" if sqlite else "VACUUM keys"))
        except SQLAlchemyError as error:
            raise StoreError("keys could not be erased from the key store") from error
        return erased

    def list_keys(self) -> Iterator[tuple[bytes, int | None]]:
        """Yield each key's id, and when it was erased (UTC microseconds) or None."""
        with self._engine.connect().execution_options(**{READING: True}, yield_per=1000) as connection:
            for row in connection.execute(select(keys.c.key_id, keys.c.erased_us).order_by(keys.c.key_id)):
                yield row.key_id, row.erased_us

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._held is not None:
                self._held.close()
                self._held = self._cursor = None
        self._quick.dispose()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
