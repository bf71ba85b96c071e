"""A process that appends to a ledger until it is killed, or has had enough; what it was told is on its standard output.

Arguments: what to do, URL of the database, URL of the key store, key-encryption key (hexadecimal), how many lines.
"""

import asyncio
import os
import resource
import sys

from node.errors import LedgerError
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.vault import Vault
from node.store.writer import Writer
from tests.ledger_lines import new_line

CALLERS = 16


def tell(*words: object) -> None:
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode())  # at once, so that a kill loses none


async def append(writer: Writer, count: int) -> None:
    async def caller() -> None:
        for _ in range(count // CALLERS):
            line = new_line(bodies=(("answer", os.urandom(2000)),))
            index = await writer.append(line)
            tell(index, line.exchange_id.hex())

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


def main(action: str, database_url: str, keystore_url: str, key: str, count: str) -> None:
    with KeyStore.open(keystore_url) as keystore, Database.open(database_url) as database:
        vault = Vault(keystore, bytes.fromhex(key))
        with Writer(database.engine, vault) as writer:
            tell("ready")
            asyncio.run({"append": append, "fill": fill_disk}[action](writer, int(count)))
    tell("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
