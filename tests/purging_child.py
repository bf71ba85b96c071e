"""A process that deletes what is due and is killed (SIGKILL) around the erasure of the keys.

Arguments: URL of the database, URL of the key store, key-encryption key (hexadecimal), when it is killed ("before" or
"after"), and the time by its clock.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable

from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.vault import Vault
from node.store.writer import Writer
from tests.conftest import Clock
from tests.integration.received_support import Keeper


class Mortal(Vault):
    """Erases keys, and is killed before it does, or when it has."""

    when = "before"

    def erase_keys(self, key_ids: Iterable[bytes], at_us: int) -> None:
        if self.when == "after":
            super().erase_keys(key_ids, at_us)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _, database_url, keystore_url, key, when, now_us = sys.argv
    with Database.open(database_url) as database, KeyStore.open(keystore_url) as keystore:
        vault = Mortal(keystore, bytes.fromhex(key))
        vault.when = when
        with Writer(database.engine, vault) as writer:
            asyncio.run(Keeper(database, vault, writer, Clock(int(now_us))).purging.look())
