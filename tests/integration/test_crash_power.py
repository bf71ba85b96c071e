"""The power fails at any write or sync of the ledger's files: no line is lost, none left alone, no number used twice.

A real process appends, and all that SQLite does to its files is noted. From that, files are made as a disk could hold
them after a power cut behind each event (`tests.disk`), opened as a node opens them, and verified whole. The process is
also killed outright, at writes and syncs drawn at random.
"""

import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import select

from node.errors import EnlaceError
from node.store.append import found_ledger
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.ledger import verify_ledger
from node.store.listing import list_lines
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.ledger_pb2 import LEAF_KIND_RECORD
from tests.disk import Event, State, states
from tests.ledger_child import CHANGES
from tests.ledger_lines import new_line

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
LINES = 8
PATIENCE_S = 20
KILLS = 2
LEDGER = ("ledger_head", "ledger_lines", "ledger_openings", CHANGES.name)


@dataclass(frozen=True)
class Recording:
    """Files before the process, and all that happened to them."""

    files: dict[str, bytes]
    events: list[Event]


def laid(folder: Path, template: Path) -> None:
    folder.mkdir()
    shutil.copy(template, folder / "enlace.db")
    with Database.open(f"sqlite:///{folder / 'enlace.db'}") as database:
        CHANGES.create(database.engine)
    with KeyStore.open(f"sqlite:///{folder / 'keys.db'}", create=True) as keystore:
        Vault(keystore, KEY, create=True)


def appended(folder: Path, events: str = "", kill_at: int = -1, how: str = "") -> "subprocess.CompletedProcess[str]":
    places = (f"sqlite:///{folder / 'enlace.db'}", f"sqlite:///{folder / 'keys.db'}")
    command = [sys.executable, "-m", "tests.ledger_child", "watched", *places, KEY.hex()]
    command += [str(LINES), events, str(kill_at), how]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Recording:
    folder = tmp_path_factory.mktemp("recording") / "node"
    laid(folder, sqlite_template)
    files = {str(folder / name): (folder / name).read_bytes() for name in ("enlace.db", "keys.db")}
    done = appended(folder, str(folder / "events"))
    assert done.returncode == 0, done.stderr
    return Recording(files, [Event(*each) for each in pickle.loads((folder / "events").read_bytes())])


def verified(folder: Path, *, then_append: bool) -> dict[str, int]:
    """Open what is there as a node does, and verify all of it; returns each line's index by its exchange id."""
    with (
        KeyStore.open(f"sqlite:///{folder / 'keys.db'}") as keystore,
        Database.open(f"sqlite:///{folder / 'enlace.db'}") as database,
    ):
        vault = Vault(keystore, KEY)
        with database.engine.begin() as connection:
            found_ledger(connection)  # as the writer does, where the power went before it had
        with database.reading() as connection:
            report = verify_ledger(connection, vault=vault)
            lines = list_lines(connection, count=report.size)
            changes = set(connection.execute(select(CHANGES)).scalars())
        changed = {line.shared.exchange_id.hex() for line in lines if line.shared.kind == LEAF_KIND_RECORD}
        assert report.openings == report.size, "an opening was lost, or its key"
        assert changes == changed, "a change is there without its line, or a line without its change"
        if then_append:
            with Writer(database.engine, vault) as writer:
                writer.submit(lambda _: None, [new_line()]).result(PATIENCE_S)
            with database.reading() as connection:
                assert verify_ledger(connection, vault=vault).openings == report.size + 1
    return {line.shared.exchange_id.hex(): line.index for line in lines}


def check_told(told: dict[str, int], held: dict[str, int]) -> None:
    assert told.keys() <= held.keys(), "a line that was told of was lost"
    assert all(index in (-1, held[exchange]) for exchange, index in told.items()), "a number was used twice"


def write(state: State, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, data in state.files.items():
        (folder / Path(path).name).write_bytes(data)


def content(folder: Path) -> bytes:
    """Digest of all that can be read of the ledger and its keys, once SQLite has recovered its files."""
    digest = sha256()
    for name, tables in (("enlace.db", LEDGER), ("keys.db", ("keys",))):
        with closing(sqlite3.connect(folder / name)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            for table in tables:
                digest.update(repr(connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()).encode())
    return digest.digest()


def test_whatever_a_power_cut_leaves_of_the_files_holds_every_line_that_was_told_of(
    recording: Recording, tmp_path: Path
) -> None:
    seen: dict[bytes, dict[str, int]] = {}  # what reads the same is verified once
    for state in states(recording.files, recording.events, random.Random(31)):
        try:
            write(state, tmp_path / "node")
            read = content(tmp_path / "node")
            if read not in seen:
                write(state, tmp_path / "node")
                seen[read] = verified(tmp_path / "node", then_append=len(seen) % 8 == 0)
            check_told(state.told, seen[read])
        except (AssertionError, EnlaceError) as error:
            pytest.fail(f"behind event {state.after} of {len(recording.events)}, {state.how}: {error}")
    assert len({len(held) for held in seen.values()}) > 10  # states of all ages
    restarted = [event for event in recording.events if event.what == "write" and event.at == 0]
    assert len([event for event in restarted if event.path.endswith("-wal")]) > 4  # the log began anew, too


def test_what_is_told_before_it_is_synced_is_found_out_here(recording: Recording, tmp_path: Path) -> None:
    """The same process, had it not synced the ledger's log: so the test above would notice."""
    unsynced = [event for event in recording.events if event.what != "sync" or not event.path.endswith("enlace.db-wal")]
    lost = 0
    chance = random.Random(32)
    for state in chance.sample(list(states(recording.files, unsynced, chance)), 16):
        try:
            write(state, tmp_path / "node")
            check_told(state.told, verified(tmp_path / "node", then_append=False))
        except (AssertionError, EnlaceError):
            lost += 1
    assert lost > 3


def test_a_process_that_is_killed_at_any_write_or_sync_has_lost_nothing_that_it_told(
    recording: Recording, tmp_path: Path, sqlite_template: Path
) -> None:
    chance = random.Random(33)
    count = sum(event.what != "told" for event in recording.events)
    for number, how in enumerate(("before", "half", "after") * KILLS):
        folder = tmp_path / str(number)
        laid(folder, sqlite_template)
        killed = appended(folder, kill_at=chance.randrange(count * 3 // 4), how=how)  # batches fall a little otherwise
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        told = {exchange: int(index) for index, exchange in map(str.split, killed.stdout.splitlines())}
        check_told(told, verified(folder, then_append=True))
