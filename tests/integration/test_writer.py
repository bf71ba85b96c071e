"""The writer: nobody is released before the commit, one failure hurts one, and a broken disk lets nothing out."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from node.errors import LedgerBrokenError, LedgerError, ReplayError, UsageError
from node.store import writer as writing
from node.store.database import Database
from node.store.ledger import verify_ledger
from node.store.lines import ledger_bodies, ledger_head, ledger_lines, ledger_openings
from node.store.listing import list_lines, read_bodies, read_head
from node.store.tables import rulebooks
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from tests.ledger_lines import new_line

PATIENCE_S = 20


@pytest.fixture
def writer(database: Database, vault: Vault) -> Iterator[Writer]:
    with Writer(database.engine, vault) as opened:
        yield opened


def put(name: str) -> Callable[[Connection], object]:
    """A change of some table."""

    def change(connection: Connection) -> str:
        row = {"layer": name, "sha256": b"", "name": name, "version": 1, "valid_from_us": 1, "valid_until_us": 2}
        connection.execute(insert(rulebooks).values({**row, "content": b"", "stored_us": 1}))
        return name

    return change


def names(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(connection.execute(select(rulebooks.c.layer)).scalars())


def size(database: Database) -> int:
    with database.reading() as connection:
        return read_head(connection).size


async def test_a_line_is_durable_when_its_future_is_done(database: Database, writer: Writer, vault: Vault) -> None:
    line = new_line(bodies=(("query", b"q" * 1024), ("answer", b"a" * 4096)))
    assert await writer.append(line) == 0
    with database.reading() as connection:
        (listed,) = list_lines(connection, vault=vault)
        assert read_bodies(connection, vault, 0) == dict(line.bodies)
        assert verify_ledger(connection, vault=vault).openings == 1
    assert listed.leaf.SerializeToString() == line.leaf
    assert listed.opening is not None
    assert listed.opening.SerializeToString() == line.opening
    assert (listed.statement, listed.key_id, listed.signature) == (line.statement, line.key_id, line.signature)


async def test_openings_and_bodies_are_not_stored_in_the_clear(database: Database, writer: Writer) -> None:
    officer, selector = "officer-7f3a9c", b"+502 0000 0001"
    await writer.append(new_line(officer=officer, bodies=(("query", selector),)))
    tables = (ledger_lines, ledger_openings, ledger_bodies, ledger_head)
    with database.reading() as connection:
        values = [value for table in tables for row in connection.execute(select(table)) for value in row]
    stored = b"".join(value for value in values if isinstance(value, bytes))
    assert officer.encode() not in stored
    assert selector not in stored


async def test_64_callers_get_lines_of_their_own_in_few_transactions(database: Database, writer: Writer) -> None:
    batches: list[int] = []
    transact = writer._transact
    writer._transact = lambda jobs, deadline: batches.append(len(jobs)) or transact(jobs, deadline)  # type: ignore[method-assign,func-returns-value]

    async def caller() -> list[int]:
        return [await writer.append(new_line()) for _ in range(5)]

    indexes = [index for own in await asyncio.gather(*(caller() for _ in range(64))) for index in own]
    assert sorted(indexes) == list(range(320))
    assert len(batches) < 64
    with database.reading() as connection:
        assert verify_ledger(connection).size == 320


async def test_lines_logged_together_are_one_transaction_in_which_a_replay_is_refused_alone(
    database: Database, writer: Writer
) -> None:
    batches: list[int] = []
    transact = writer._transact
    writer._transact = lambda jobs, deadline: batches.append(len(jobs)) or transact(jobs, deadline)  # type: ignore[method-assign,func-returns-value]
    used = os.urandom(16)
    await writer.append(new_line(exchange_id=used, replay_key=b"MX\1"))
    again = [new_line(exchange_id=used, replay_key=b"MX\1"), new_line(exchange_id=used, replay_key=b"MX\2")]
    outcomes = await writer.append_all([new_line(), *again, again[1], new_line()])
    assert [type(each) for each in outcomes] == [int, ReplayError, int, ReplayError, int]
    assert [each for each in outcomes if isinstance(each, int)] == [1, 2, 3]
    assert batches == [1, 1]
    with database.reading() as connection:
        assert verify_ledger(connection).size == 4


async def test_lines_that_can_not_be_logged_together_fail_together(writer: Writer) -> None:
    writer.close()
    with pytest.raises(LedgerError):
        await writer.append_all([new_line(), new_line()])


async def test_a_replay_is_refused_alone_and_again_after_a_restart(
    database: Database, writer: Writer, vault: Vault
) -> None:
    exchange_id = os.urandom(16)
    again = [new_line(exchange_id=exchange_id, replay_key=b"MX\1") for _ in range(3)]
    futures = [writer.append(line) for line in (again[0], new_line(), again[1], new_line())]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(result) for result in results] == [int, int, ReplayError, int]
    # The same exchange, another message of it.
    await writer.append(new_line(exchange_id=exchange_id, replay_key=b"MX\2"))
    writer.close()
    with Writer(database.engine, vault) as restarted:
        with pytest.raises(ReplayError):
            await restarted.append(again[2])
        assert await restarted.append(new_line()) == 4
    with database.reading() as connection:
        assert verify_ledger(connection).size == 5
        assert [line.index for line in list_lines(connection, exchange_id=exchange_id)] == [0, 3]


async def test_many_replays_are_found_in_one_batch(writer: Writer) -> None:
    used = [(os.urandom(16), b"MX\1") for _ in range(70)]
    lines = [new_line(exchange_id=exchange_id, replay_key=key) for exchange_id, key in used]
    await asyncio.gather(*map(writer.append, lines))
    lines = [new_line(exchange_id=exchange_id, replay_key=key) for exchange_id, key in used]
    results = await asyncio.gather(*map(writer.append, lines), return_exceptions=True)
    assert {type(result) for result in results} == {ReplayError}


def test_a_change_and_its_lines_are_committed_together(database: Database, writer: Writer) -> None:
    assert writer.submit(put("ana"), [new_line(), new_line()]).result(PATIENCE_S) == "ana"
    assert names(database) == {"ana"}
    assert size(database) == 2


def test_a_change_without_lines_gets_one_that_says_what_it_wrote(database: Database, writer: Writer) -> None:
    writer.submit(put("ana")).result(PATIENCE_S)
    assert names(database) == {"ana"}
    assert size(database) == 1


def test_a_change_that_writes_nothing_leaves_the_ledger_as_it_is(database: Database, writer: Writer) -> None:
    writer.submit(lambda _: None).result(PATIENCE_S)
    assert size(database) == 0


def test_a_failing_change_fails_alone_and_takes_its_lines_with_it(database: Database, writer: Writer) -> None:
    def refuse(connection: Connection) -> object:
        put("half")(connection)
        raise UsageError("no")

    def stumble(connection: Connection) -> object:
        return put("ana")(connection)  # there already: on PostgreSQL nothing works any more but to roll back

    held = hold(writer)
    futures = [writer.submit(change, [new_line()]) for change in (put("ana"), refuse, stumble, put("eva"))]
    held.set()
    errors = [future.exception(PATIENCE_S) for future in futures]
    assert [type(error).__name__ for error in errors] == ["NoneType", "UsageError", "IntegrityError", "NoneType"]
    assert names(database) == {"ana", "eva"}
    with database.reading() as connection:
        assert verify_ledger(connection).size == 2


def test_a_change_that_the_database_can_not_make_is_a_ledger_error(database: Database, writer: Writer) -> None:
    def change(connection: Connection) -> None:
        cancelled = "SELECT pg_cancel_backend(pg_backend_pid())"  # as when a statement takes too long
        connection.exec_driver_sql("DROP TABLE nowhere" if database.is_sqlite else cancelled)

    with pytest.raises(LedgerError):
        writer.submit(change, [new_line()]).result(PATIENCE_S)
    writer.submit(put("ana"), [new_line()]).result(PATIENCE_S)
    assert size(database) == 1


async def test_a_job_of_many_lines_is_one_transaction_and_starves_nobody(database: Database, writer: Writer) -> None:
    held = hold(writer)
    many = [writer.submit(put(name), [new_line() for _ in range(200)]) for name in ("ana", "eva")]
    answer = writer.append(new_line())
    held.set()
    assert await answer == 0
    for future in many:
        await asyncio.wrap_future(future)
    assert names(database) == {"ana", "eva"}
    assert size(database) == 401


def test_a_change_whose_line_is_a_replay_is_not_made(database: Database, writer: Writer) -> None:
    exchange_id = os.urandom(16)
    writer.submit(put("ana"), [new_line(exchange_id=exchange_id, replay_key=b"k")]).result(PATIENCE_S)
    with pytest.raises(ReplayError):
        writer.submit(put("eva"), [new_line(exchange_id=exchange_id, replay_key=b"k")]).result(PATIENCE_S)
    twice = [new_line(exchange_id=b"e" * 16, replay_key=b"k") for _ in range(2)]
    with pytest.raises(ReplayError):
        writer.submit(put("eva"), twice).result(PATIENCE_S)
    assert names(database) == {"ana"}
    assert size(database) == 1


def hold(writer: Writer) -> threading.Event:
    """Keep the writer busy until the event is set, so that what comes meanwhile queues up."""
    held, started = threading.Event(), threading.Event()

    def wait(_: Connection) -> None:
        started.set()
        held.wait(PATIENCE_S)

    writer.submit(wait)
    started.wait(PATIENCE_S)
    return held


async def test_answers_go_before_the_desk_and_the_desk_before_imports(database: Database, writer: Writer) -> None:
    held = hold(writer)
    imports = [writer.submit(put(f"i{n}"), [new_line(peer="II")], Priority.BACKGROUND) for n in range(3)]
    desk = [writer.submit(put(f"d{n}"), [new_line(peer="DD")], Priority.DESK) for n in range(2)]
    answers = [writer.append(new_line(peer="MX")) for _ in range(2)]
    held.set()
    assert await asyncio.gather(*answers) == [0, 1]
    for future in [*desk, *imports]:
        await asyncio.wrap_future(future)
    with database.reading() as connection:
        order = [line.shared.peer for line in list_lines(connection)]
    assert order == ["MX", "MX", "DD", "DD", "II", "II", "II"]


async def test_slow_imports_make_way_for_an_answer(
    database: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "BATCH_S", 0)  # every change takes longer than a batch may

    held = hold(writer)
    imports = [writer.submit(put(f"i{n}"), [new_line()], Priority.BACKGROUND) for n in range(20)]
    held.set()
    imports[2].result(PATIENCE_S)
    index = await writer.append(new_line())
    assert index < 20
    for future in imports:
        await asyncio.wrap_future(future)
    with database.reading() as connection:
        assert verify_ledger(connection).size == 21


async def test_a_caller_who_gives_up_disturbs_nobody(database: Database, writer: Writer) -> None:
    held = hold(writer)
    gone, stays = writer.append(new_line()), writer.append(new_line())
    gone.cancel()
    held.set()
    assert await stays == 1
    assert size(database) == 2  # what was handed in is logged


def test_a_loop_that_was_closed_disturbs_nobody(database: Database, writer: Writer) -> None:
    held = hold(writer)

    async def leave() -> None:
        writer.append(new_line())

    asyncio.run(leave())
    held.set()
    writer.submit(lambda _: None).result(PATIENCE_S)
    assert size(database) == 1


async def test_closing_writes_what_was_handed_in_and_refuses_the_rest(database: Database, vault: Vault) -> None:
    writer = Writer(database.engine, vault)
    futures = [writer.append(new_line()) for _ in range(100)]
    await asyncio.to_thread(writer.close)
    assert await asyncio.gather(*futures) == list(range(100))
    with pytest.raises(LedgerError):
        await writer.append(new_line())
    with pytest.raises(LedgerError):
        writer.submit(put("ana")).result(PATIENCE_S)
    assert size(database) == 100


async def test_a_head_that_was_tampered_with_stops_the_ledger(database: Database, writer: Writer) -> None:
    await writer.append(new_line())
    with database.engine.begin() as connection:
        connection.execute(ledger_head.update().values(root=bytes(32)))
    with pytest.raises(LedgerError):
        await writer.append(new_line())
    with database.reading() as connection:
        assert len(connection.execute(select(ledger_lines.c.idx)).all()) == 1


def test_a_ledger_without_its_head_is_not_begun_anew(database: Database, vault: Vault) -> None:
    with Writer(database.engine, vault) as writer:
        writer.submit(put("ana"), [new_line()]).result(PATIENCE_S)
        with database.engine.begin() as connection:
            connection.execute(ledger_head.delete())
        with pytest.raises(LedgerError, match="no head"):
            writer.submit(put("eva"), [new_line()]).result(PATIENCE_S)
    with pytest.raises(LedgerBrokenError):
        Writer(database.engine, vault)


async def test_two_writers_on_one_database_share_one_ledger(database: Database, writer: Writer, vault: Vault) -> None:
    with Writer(database.engine, vault) as other:
        exchange_id = os.urandom(16)
        lines = [new_line() for _ in range(60)]
        futures = [(writer if n % 2 else other).append(line) for n, line in enumerate(lines)]
        assert sorted(await asyncio.gather(*futures)) == list(range(60))
        await writer.append(new_line(exchange_id=exchange_id, replay_key=b"k"))
        with pytest.raises(ReplayError):
            await other.append(new_line(exchange_id=exchange_id, replay_key=b"k"))
    with database.reading() as connection:
        assert verify_ledger(connection).size == 61


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_mistake_in_the_writer_stops_it_and_leaves_nobody_waiting(database: Database, vault: Vault) -> None:
    writer = Writer(database.engine, vault)
    running = [writer.is_running]

    def mistaken(_: object) -> None:
        raise ZeroDivisionError

    writer._appender.lock_head = mistaken  # type: ignore[method-assign, assignment]
    async with asyncio.timeout(PATIENCE_S):
        results = await asyncio.gather(*(writer.append(new_line()) for _ in range(300)), return_exceptions=True)
    assert {type(result) for result in results} == {LedgerError}
    assert [*running, writer.is_running] == [True, False]
    with pytest.raises(LedgerError):
        await writer.append(new_line())
    writer.close()
    with database.reading() as connection:
        assert verify_ledger(connection).size == 0


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, sqlite_template: Path) -> Path:
    path = tmp_path / "small.db"
    path.write_bytes(sqlite_template.read_bytes())
    return path


def set_room(writer: Writer, pages: int) -> None:
    """Let SQLite use so many more pages than it does now, on the connection of the writer."""

    def change(connection: Connection) -> None:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {used + pages}")

    writer.submit(change).result(PATIENCE_S)


async def test_a_full_database_lets_nothing_out_and_recovers(small: Path, vault: Vault) -> None:
    with Database.open(f"sqlite:///{small}") as database, Writer(database.engine, vault) as writer:
        await asyncio.gather(*(writer.append(new_line()) for _ in range(10)))
        set_room(writer, 40)
        held = hold(writer)
        futures = [writer.append(new_line(bodies=(("answer", os.urandom(4096)),))) for _ in range(60)]
        held.set()
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert {type(result) for result in results} == {LedgerError}
        assert all("full" in str(result) for result in results)
        with database.reading() as connection:
            assert verify_ledger(connection, vault=vault).size == 10
        # The writer has opened a new connection, which has room again.
        assert await writer.append(new_line()) == 10
        with database.reading() as connection:
            assert verify_ledger(connection, vault=vault).size == 11


async def test_a_database_that_is_gone_lets_nothing_out(small: Path, vault: Vault) -> None:
    with Database.open(f"sqlite:///{small}") as database, Writer(database.engine, vault) as writer:
        await writer.append(new_line())
        with sqlite3.connect(small) as other:
            other.execute("ALTER TABLE ledger_openings RENAME TO elsewhere")
        other.close()
        with pytest.raises(LedgerError):
            await writer.append(new_line())
        with sqlite3.connect(small) as other:
            other.execute("ALTER TABLE elsewhere RENAME TO ledger_openings")
        other.close()
        assert await writer.append(new_line()) == 1
        with database.reading() as connection:
            assert verify_ledger(connection, vault=vault).size == 2
