"""Random histories of a ledger with several writers; after each step, the whole of it is audited.

Two writers share each database, and on PostgreSQL a third is another process. What they are asked to append comes in
bursts, at once, with replays and with changes that fail; while that goes on, a reader looks for a head without its
lines. ENLACE_HISTORIES sets how many histories are made of each database (8).
"""

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import URL, Connection, insert, select

from node.errors import ReplayError
from node.ledger.rfc6962 import root_of
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.ledger import verify_ledger
from node.store.lines import Line, ledger_lines
from node.store.listing import read_head
from node.store.tiles import Tiling, prove_consistency, prove_inclusion
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.ledger_pb2 import (
    LEAF_KIND_ACKNOWLEDGED,
    LEAF_KIND_ANSWERED,
    LEAF_KIND_ASKED,
    LEAF_KIND_DENIED,
    LEAF_KIND_READ,
    LEAF_KIND_RECEIVED,
    LEAF_KIND_REJECTED,
    LEAF_KIND_UNANSWERED,
)
from tests.conftest import postgres_database
from tests.ledger_child import CALLERS, CHANGES
from tests.ledger_lines import new_line

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
HISTORIES = int(os.environ.get("ENLACE_HISTORIES", "8"))
STEPS = 14
BEFORE = 240
"""Lines before a history, so that a tile is filled in it."""
KINDS = (
    LEAF_KIND_ACKNOWLEDGED,
    LEAF_KIND_ANSWERED,
    LEAF_KIND_ASKED,
    LEAF_KIND_DENIED,
    LEAF_KIND_READ,
    LEAF_KIND_RECEIVED,
    LEAF_KIND_REJECTED,
    LEAF_KIND_UNANSWERED,
)


@dataclass
class Template:
    """A node's files with some lines in the ledger, and how to make a database of them."""

    keys: Path
    copied: Callable[[ExitStack, Path], str]
    other: "subprocess.Popen[str] | None"  # a process that appends to what it is told


@dataclass
class Model:
    """What must be in the database."""

    lines: dict[int, bytes] = field(default_factory=dict)  # exchange id by index
    replays: list[tuple[bytes, bytes]] = field(default_factory=list)
    changes: set[str] = field(default_factory=set)
    heads: list[tuple[int, bytes]] = field(default_factory=list)  # size and root


class _Refused(Exception):  # noqa: N818 no error, but what a test raises
    pass


def change(name: str, *, fails: bool = False) -> Callable[[Connection], str]:
    def make(connection: Connection) -> str:
        connection.execute(insert(CHANGES).values(name=name))
        if fails:
            raise _Refused
        return name

    return make


class Histories(RuleBasedStateMachine):
    """Appends of all kinds; the audit is the invariant."""

    template: Template
    folder: Path

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        folder = self.folder / os.urandom(6).hex()
        folder.mkdir()
        shutil.copy(self.template.keys, folder / "keys.db")
        self.keys_url = f"sqlite:///{folder / 'keys.db'}"
        self.url = self.template.copied(self.stack, folder)
        self.database = self.stack.enter_context(Database.open(self.url))
        self.vault = Vault(self.stack.enter_context(KeyStore.open(self.keys_url)), KEY)
        self.databases = [self.database]
        if not self.database.is_sqlite:
            self.databases.append(self.stack.enter_context(Database.open(self.url)))
        self.writers = [Writer(self.databases[number % len(self.databases)].engine, self.vault) for number in range(2)]
        self.tiling = Tiling(self.database, self.writers[0])
        self.model = Model()
        with self.database.reading() as connection:
            before = connection.execute(select(*ledger_lines.c["idx", "exchange_id"])).all()
            self.model.lines = {row.idx: row.exchange_id for row in before}

    def teardown(self) -> None:
        if hasattr(self, "writers"):
            for writer in self.writers:
                writer.close()
            self.stack.close()

    # --- what is done ------------------------------------------------------------------------------------------------

    @rule(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=24), data=st.data())
    def append(self, kinds: list[int], data: st.DataObject) -> None:
        """Both writers at once."""
        lines = [new_line(kind=kind, replay_key=data.draw(st.sampled_from((None, b"MX1")))) for kind in kinds]  # type: ignore[arg-type]
        self.take(lines, self.run([self.appending(at % 2, line) for at, line in enumerate(lines)]))

    @rule(count=st.integers(1, 12), which=st.integers(0, 1))
    def append_together(self, count: int, which: int) -> None:
        """Lines that stand for themselves, of which the first comes twice."""
        lines = [new_line(replay_key=b"MX1") for _ in range(count)]

        async def appending() -> list[int | BaseException]:
            return await self.writers[which].append_all([*lines, lines[0]])

        ((*indexes, last),) = self.run([appending])
        assert isinstance(last, ReplayError)
        self.take(lines, indexes)

    @precondition(lambda self: self.model.replays)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """What was used is refused by each writer, alone and in a change with other lines."""
        exchange_id, key = data.draw(st.sampled_from(self.model.replays))
        again = new_line(exchange_id=exchange_id, replay_key=key)
        refused = self.run([self.appending(number, again) for number in range(2)])
        refused += self.run([self.changing(0, change("replayed"), [new_line(), again])])
        assert [type(each) for each in refused] == [ReplayError] * 3

    @rule()
    def race(self) -> None:
        """Of one exchange that both writers are given at once, one line is written."""
        exchange_id = os.urandom(16)
        lines = [new_line(exchange_id=exchange_id, replay_key=b"MX2") for _ in range(6)]
        found = self.run([self.appending(at % 2, line) for at, line in enumerate(lines)])
        assert Counter(map(type, found)) == {int: 1, ReplayError: 5}
        self.take(lines, found)

    @rule(fails=st.lists(st.booleans(), min_size=1, max_size=8), extra=st.integers(0, 3))
    def make_changes(self, fails: list[bool], extra: int) -> None:
        """Changes with lines, of which some fail, among answers: each fails alone."""
        names = [os.urandom(8).hex() for _ in fails]
        lines = [[new_line() for _ in range(at % 3)] for at in range(len(fails))]
        answers = [new_line() for _ in range(extra)]
        jobs = [
            self.changing(at % 2, change(name, fails=fail), lines[at])
            for at, (name, fail) in enumerate(zip(names, fails, strict=True))
        ]
        found = self.run([*jobs, *(self.appending(at % 2, line) for at, line in enumerate(answers))])
        made = found[: len(fails)]
        assert [isinstance(each, _Refused) for each in made] == fails
        self.model.changes.update(name for name, fail in zip(names, fails, strict=True) if not fail)
        self.take(answers, found[len(fails) :])
        # Of a change's lines, nobody is told the number; they must be there, in a row.
        for fail, logged in zip(fails, lines, strict=True):
            indexes = [self.index_of(line) for line in logged]
            assert all(index is None for index in indexes) if fail else None not in indexes
            placed = [index for index in indexes if index is not None]
            assert placed == list(range(placed[0], placed[0] + len(placed))) if placed else True
            self.take(logged if placed else [], placed)

    @precondition(lambda self: self.template.other is not None)
    @rule(here=st.integers(0, 12))
    def append_in_two_processes(self, here: int) -> None:
        """Another process appends to the same ledger, and this one too."""
        other, lines = self.template.other, [new_line() for _ in range(here)]
        assert other is not None
        assert other.stdin is not None
        print(self.url, self.keys_url, KEY.hex(), CALLERS, file=other.stdin, flush=True)

        async def there() -> list[str]:
            out: IO[str] | None = other.stdout
            assert out is not None
            told = iter(lambda: out.readline().strip(), "done")
            return await asyncio.to_thread(lambda: [line for line in told if line != "ready"])

        told, *found = self.run([there, *(self.appending(at % 2, line) for at, line in enumerate(lines))])
        self.take(lines, found)
        assert len(told) == CALLERS
        for index, exchange_id in map(str.split, told):
            self.place(int(index), bytes.fromhex(exchange_id))

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        """One writer ends, and another takes its place."""
        self.writers[which].close()
        self.writers[which] = Writer(self.databases[which % len(self.databases)].engine, self.vault)
        self.tiling = Tiling(self.database, self.writers[0])

    @rule()
    def keep_tiles(self) -> None:
        asyncio.run(self.tiling.follow(len(self.model.lines)))

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def audit(self) -> None:
        model = self.model
        with self.database.reading() as connection:
            report = verify_ledger(connection, vault=self.vault)
            head = read_head(connection)
            columns = ledger_lines.c["idx", "exchange_id", "leaf_hash"]
            rows = connection.execute(select(*columns).order_by(ledger_lines.c.idx)).all()
            assert (report.size, report.root, report.openings) == (head.size, head.root, head.size)
            assert {row.idx: row.exchange_id for row in rows} == model.lines
            assert set(connection.execute(select(CHANGES.c.name)).scalars()) == model.changes
            hashes = [row.leaf_hash for row in rows]
            for size, root in model.heads[-4:]:
                assert root_of(hashes[:size]) == root, "history was rewritten"
                if 0 < size < head.size:
                    prove_consistency(connection, old_size=size, old_root=root, size=head.size, root=head.root)
            index = random.randrange(head.size)
            prove_inclusion(connection, index=index, leaf_hash=hashes[index], size=head.size, root=head.root)
        model.heads.append((head.size, head.root))

    def run(self, jobs: Sequence[Callable[[], object]]) -> list:  # type: ignore[type-arg]
        """Do all at once, while a reader looks on."""

        async def together() -> list[object]:
            doing = asyncio.gather(*(job() for job in jobs), return_exceptions=True)  # type: ignore[call-overload]
            while not doing.done():
                await asyncio.to_thread(self.look)
            return list(await doing)

        return asyncio.run(together())

    def look(self) -> None:
        """A reader sees a head with exactly its lines."""
        with self.databases[-1].reading() as connection:
            head = read_head(connection)
            hashes = list(connection.execute(select(ledger_lines.c.leaf_hash).order_by(ledger_lines.c.idx)).scalars())
        assert (head.size, head.root) == (len(hashes), root_of(hashes)), "a head without its lines"

    def appending(self, which: int, line: Line) -> Callable[[], object]:
        priority = Priority.ANSWER if which else Priority.BACKGROUND
        return lambda: self.writers[which].append(line, priority)

    def changing(self, which: int, make: Callable[[Connection], str], lines: Sequence[Line]) -> Callable[[], object]:
        return lambda: asyncio.wrap_future(self.writers[which].submit(make, lines))

    def take(self, lines: Sequence[Line], found: Sequence[object]) -> None:
        """Enter what was written, at the numbers that were told."""
        for line, index in zip(lines, found, strict=True):
            if isinstance(index, ReplayError):
                continue
            assert isinstance(index, int), index
            self.place(index, line.exchange_id)
            if line.replay_key is not None:
                self.model.replays.append((line.exchange_id, line.replay_key))

    def place(self, index: int, exchange_id: bytes) -> None:
        assert index not in self.model.lines, "a number was used twice"
        self.model.lines[index] = exchange_id

    def index_of(self, line: Line) -> int | None:
        with self.database.reading() as connection:
            wanted = select(ledger_lines.c.idx).where(ledger_lines.c.exchange_id == line.exchange_id)
            return connection.execute(wanted).scalar_one_or_none()


# --- databases -------------------------------------------------------------------------------------------------------


def filled(url: str, keys: Path) -> None:
    with (
        KeyStore.open(f"sqlite:///{keys}", create=True) as keystore,
        Database.open(url, create=True) as database,
    ):
        CHANGES.create(database.engine)
        with Writer(database.engine, Vault(keystore, KEY, create=True)) as writer:
            for future in [writer.submit(lambda _: None, [new_line()]) for _ in range(BEFORE)]:
                future.result(60)


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Template:
    filled(f"sqlite:///{tmp_path / 'template.db'}", tmp_path / "keys.db")

    def copied(_: ExitStack, folder: Path) -> str:
        shutil.copy(tmp_path / "template.db", folder / "enlace.db")
        return f"sqlite:///{folder / 'enlace.db'}"

    return Template(tmp_path / "keys.db", copied, None)


@pytest.fixture
def on_postgresql(tmp_path: Path, postgres_server: URL) -> Iterator[Template]:
    command = [sys.executable, "-m", "tests.ledger_child", "serve"]
    with (
        postgres_database(postgres_server) as template,
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other,
    ):
        filled(template, tmp_path / "keys.db")
        name = template.rpartition("/")[2].partition("?")[0]

        def copied(stack: ExitStack, _: Path) -> str:
            return stack.enter_context(postgres_database(postgres_server, template=name))

        try:
            yield Template(tmp_path / "keys.db", copied, other)
        finally:
            other.kill()


@pytest.mark.parametrize("databases", ["on_sqlite", "on_postgresql"])
def test_whatever_several_writers_do_the_ledger_is_whole_after_each_step(
    databases: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    class Here(Histories):
        template = request.getfixturevalue(databases)
        folder = tmp_path

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=HISTORIES, stateful_step_count=STEPS, suppress_health_check=list(HealthCheck), deadline=None
        ),
    )
