"""Killed between the rows and the keys: nothing is readable, nothing half listed, and the next round ends it."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select

from node.errors import DecryptionError, KeyErasedError, NotFoundError
from node.store.cases import Cases
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.ledger import verify_ledger
from node.store.received_tables import key_erasures, received, received_lookups
from node.store.tables import cases, entries, lookups
from node.store.vault import Vault, key_id_of
from node.store.writer import Writer
from node.wire.entry_pb2 import Case, Entry, Telecom
from tests.conftest import START_US, Clock
from tests.integration.received_support import DAY_US, Keeper, arrived, released

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
TABLES = (cases, entries, lookups, received, received_lookups)


def rows(database: Database, *tables: Table) -> list[int]:
    with database.reading() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_the_erasure_of_keys(database_url: str, tmp_path: Path, when: str) -> None:
    keys, later_us = f"sqlite:///{tmp_path}/keys.db", START_US + 31 * DAY_US
    with Database.open(database_url) as database, KeyStore.open(keys, create=True) as keystore:
        vault = Vault(keystore, KEY, create=True)
        with Writer(database.engine, vault) as writer:
            keeper = Keeper(database, vault, writer, Clock())
            keeper.kept(arrived(released(30)))
            case = Case(reference="GT-1", unit="UIF", review_us=START_US + 10 * DAY_US, open=True)
            case = keeper.change(lambda connection: Cases(vault).put(connection, case, START_US))
            entry = Entry(case_id=case.case_id, originator="GT", unit="UIF", review_us=START_US + 9 * DAY_US)
            entry.telecom.CopyFrom(Telecom(telephone="+12025550199"))
            keeper.change(lambda connection: keeper.entries.insert(connection, [entry], START_US))
            sealed = keeper.read(lambda connection: connection.execute(select(received.c.sealed)).scalar_one())

    command = [sys.executable, "-m", "tests.purging_child", database_url, keys, KEY.hex(), when, str(later_us)]
    killed = subprocess.run(command, check=False, cwd=ROOT, timeout=60)
    assert killed.returncode == -signal.SIGKILL

    with Database.open(database_url) as database, KeyStore.open(keys) as keystore:
        vault = Vault(keystore, KEY)
        assert rows(database, *TABLES) == [0] * len(TABLES)
        assert rows(database, key_erasures) == [2]  # the copy's and the case's: not forgotten
        with Writer(database.engine, vault) as writer:
            keeper = Keeper(database, vault, writer, Clock(later_us))
            assert keeper.listed() == keeper.found() == []
            with pytest.raises(NotFoundError):
                keeper.read(lambda connection: Cases(vault).get(connection, case.case_id))
            told = sorted(what for what, _ in keeper.deleted())
            assert told == ["CASE", "ENTRY", "RECEIVED"]
            asyncio.run(keeper.purging.look())
            assert sorted(what for what, _ in keeper.deleted()) == told  # said once
        assert rows(database, key_erasures) == [0]
        for key_id in (key_id_of(sealed), case.case_id):
            with pytest.raises(KeyErasedError):
                keystore.get(key_id)
        with pytest.raises((KeyErasedError, DecryptionError)):  # as a backup of the database has it
            vault.open_alone(b"", sealed)
        with database.reading() as connection:
            verify_ledger(connection, vault=vault)
