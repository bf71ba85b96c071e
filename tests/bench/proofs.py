"""Proving single lines of a large ledger from its kept tiles."""

import random
import secrets
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert, select, update

from node.ledger.rfc6962 import Frontier, leaf_hash
from node.store.append import found_ledger
from node.store.database import Database
from node.store.lines import ledger_head, ledger_lines
from node.store.listing import read_head
from node.store.tiles import keep_tiles, missing_tiles, prove_inclusion

PROOFS = 200
_BATCH = 20_000
_TILE = 256


@dataclass(frozen=True)
class Proofs:
    """Milliseconds of a proof, with its line's hash and the head read, and the proof verified."""

    lines: int
    median_ms: float
    slowest_ms: float
    tile_us: float  # to make and keep one of the tiles


def measure(folder: Path, lines: int) -> Proofs:
    """Prove lines drawn at random; each on a snapshot of its own, as a command or call does."""
    with Database.open(f"sqlite:///{folder / 'enlace.db'}", create=True) as database:
        _fill(database, lines)
        tile_us = _tiled(database, lines)
        drawn, times = random.Random(1), []
        for _ in range(PROOFS):
            started = time.perf_counter()
            with database.reading() as connection:
                head, index = read_head(connection), drawn.randrange(lines)
                hashed = connection.execute(
                    select(ledger_lines.c.leaf_hash).where(ledger_lines.c.idx == index)
                ).scalar_one()
                prove_inclusion(connection, index=index, leaf_hash=hashed, size=head.size, root=head.root)
            times.append((time.perf_counter() - started) * 1e3)
    return Proofs(lines, statistics.median(times), max(times), tile_us)


def _fill(database: Database, lines: int) -> None:
    """Write what proofs read; leaves as long as those of answers, so that rows lie as far apart."""
    frontier = Frontier()
    with database.engine.begin() as connection:
        found_ledger(connection)
        for start in range(0, lines, _BATCH):
            hashes = [leaf_hash(index.to_bytes(8, "big")) for index in range(start, min(start + _BATCH, lines))]
            rows = [
                {"idx": start + at, "leaf": bytes(450), "leaf_hash": hashed, "link": hashed, "exchange_id": hashed[:16]}
                for at, hashed in enumerate(hashes)
            ]
            connection.execute(insert(ledger_lines), rows)
            frontier = frontier.appended(hashes)
        kept = {"size": frontier.size, "root": frontier.root, "frontier": frontier.to_bytes()}
        connection.execute(update(ledger_head).values(link=secrets.token_bytes(32), **kept))


def _tiled(database: Database, lines: int) -> float:
    started, made = time.perf_counter(), 0
    while True:
        with database.engine.begin() as connection:
            rows = missing_tiles(connection, lines // _TILE)
            if not rows:
                return (time.perf_counter() - started) / made * 1e6
            keep_tiles(connection, rows)
            made += len(rows)
