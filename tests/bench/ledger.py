"""Durable ledger lines a second through the group commit, against the same inserts without a tree."""

import asyncio
import secrets
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from node.ledger.leaf import build_leaf, build_opening
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.lines import Line
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.ledger_pb2 import Direction, LeafKind, LeafPrivate, LeafShared

CALLERS = 64
LINES = 20_000


@dataclass(frozen=True)
class Appends:
    """Lines a second, and CPU of the process by line in µs."""

    per_second: float
    cpu_us: float


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


def with_tree(folder: Path) -> Appends:
    """Append through the writer from so many callers."""
    url = f"sqlite:///{folder / 'enlace.db'}"
    with (
        Database.open(url, create=True) as database,
        KeyStore.open(f"sqlite:///{folder / 'keys.db'}", create=True) as keys,
    ):
        vault = Vault(keys, secrets.token_bytes(32), create=True)
        lines = [_line() for _ in range(LINES)]
        with Writer(database.engine, vault) as writer:
            return asyncio.run(_appended(writer, lines))


async def _appended(writer: Writer, lines: list[Line]) -> Appends:
    waiting = iter(lines)

    async def caller() -> None:
        for line in waiting:
            await writer.append(line)

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[caller() for _ in range(CALLERS)])
    return Appends(LINES / (time.perf_counter() - started), (time.process_time() - cpu) / LINES * 1e6)


def without_tree(folder: Path, batch: int = CALLERS) -> Appends:
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
