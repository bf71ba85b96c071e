"""A process that appends to a ledger until it is killed, or has had enough; what it was told is on its standard output.

Arguments: what to do, URL of the database, URL of the key store, key-encryption key (hexadecimal), how many lines; and
of a watched one, the file for what it noted, and at which event it is to be killed, and how (`tests.disk`).
"""

import asyncio
import os
import pickle
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, event, insert

from node.errors import LedgerError
from node.store import vault as vaults
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.ledger_pb2 import LEAF_KIND_RECORD
from tests.disk import Watch
from tests.ledger_lines import new_line

CALLERS = 16
FEW = 4
CHANGES = Table("test_changes", MetaData(), Column("name", String(32), primary_key=True))
"""A table beside the node's own, for changes that go with lines."""


def tell(*words: object) -> None:
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode())  # at once, so that a kill loses none


async def append(writer: Writer, count: int) -> None:
    async def caller() -> None:
        for _ in range(count // CALLERS):
            line = new_line(bodies=(("answer", os.urandom(2000)),))
            index = await writer.append(line)
            tell(index, line.exchange_id.hex())

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def persist(writer: Writer, _: int) -> None:
    """Append until killed, also while the database is away."""

    async def caller() -> None:
        while True:
            line = new_line(bodies=(("answer", os.urandom(2000)),))
            try:
                tell(await writer.append(line), line.exchange_id.hex())
            except LedgerError as error:
                tell("refused", error)
            await asyncio.sleep(0.02)  # leaves time for the server to come back, and for who looks on

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def fill_disk(writer: Writer, count: int) -> None:
    """Append until no file may grow, then with room again."""
    await append(writer, count)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 * 1024, usual[1]))
    try:
        for _ in range(100):
            await append(writer, CALLERS)
    except LedgerError as error:
        tell("refused", error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    await append(writer, count)


def putting(name: str) -> Callable[[Connection], int]:
    """A change of `CHANGES`, to be found there if and only if its line is in the ledger."""

    def put(connection: Connection) -> int:
        connection.execute(insert(CHANGES).values(name=name))
        return 0

    return put


async def append_and_change(writer: Writer, count: int, told: Callable[[int, str], None]) -> None:
    """Append answers and make changes, each with its line; of a change, no number is told."""

    async def caller() -> None:
        for _ in range(count // FEW):
            line = new_line()
            told(await writer.append(line), line.exchange_id.hex())
            line = new_line(kind=LEAF_KIND_RECORD)
            await asyncio.wrap_future(writer.submit(putting(line.exchange_id.hex()), [line]))
            told(-1, line.exchange_id.hex())

    await asyncio.gather(*(caller() for _ in range(FEW)))


def watched(database_url: str, keystore_url: str, key: str, count: str, *rest: str) -> None:
    """Open, append, close, and once more, with frequent checkpoints and few keys at once, so that all is seen soon."""
    events, kill_at, how = rest
    watch = Watch(kill_at=int(kill_at), how=how)
    watch.install()
    vaults._STOCK = FEW  # type: ignore[misc]

    def told(index: int, exchange_id: str) -> None:
        watch.told(index, exchange_id)
        tell(index, exchange_id)

    @event.listens_for(Engine, "connect")
    def prepare(connection: object, _: object) -> None:
        connection.execute("PRAGMA wal_autocheckpoint = 40")  # type: ignore[attr-defined]

    for _ in range(2):
        with KeyStore.open(keystore_url) as keystore, Database.open(database_url) as database:
            vault = Vault(keystore, bytes.fromhex(key))
            with Writer(database.engine, vault) as writer:
                asyncio.run(append_and_change(writer, int(count), told))
    if events:
        Path(events).write_bytes(pickle.dumps([tuple(each) for each in watch.events]))


def serve() -> None:
    """Append for each line of standard input: URLs of the database and of the key store, the key, how many lines."""
    for order in sys.stdin:
        main("append", *order.split())


def main(action: str, database_url: str, keystore_url: str, key: str, count: str, *rest: str) -> None:
    if action == "watched":
        watched(database_url, keystore_url, key, count, *rest)
        return
    with KeyStore.open(keystore_url) as keystore, Database.open(database_url) as database:
        vault = Vault(keystore, bytes.fromhex(key))
        with Writer(database.engine, vault) as writer:
            tell("ready")
            asyncio.run({"append": append, "persist": persist, "fill": fill_disk}[action](writer, int(count)))
    tell("done")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main(*sys.argv[1:])
