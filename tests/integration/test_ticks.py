"""Ticks: what arrived in one of them is logged together, before it leaves together."""

import asyncio
import math
import os
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from node.errors import LedgerError, ReplayError
from node.federation.ticks import AFTER_S, BEGINNINGS, TICK_S, Ticks
from node.store.database import Database
from node.store.listing import read_head
from node.store.vault import Vault
from node.store.writer import Writer
from tests.ledger_lines import new_line

PATIENCE_S = 20


@pytest.fixture
def writer(database: Database, vault: Vault) -> Iterator[Writer]:
    with Writer(database.engine, vault) as opened:
        yield opened


def size(database: Database) -> int:
    with database.reading() as connection:
        return read_head(connection).size


async def after_a_tick() -> float:
    """Wait for the next tick, so that all of the following falls between the same two; return the time."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep((math.floor(loop.time() / TICK_S) + 1.02) * TICK_S - loop.time())
    return loop.time()


async def test_what_is_answered_together_is_logged_once_and_leaves_together(database: Database, writer: Writer) -> None:
    batches: list[int] = []
    append_all = writer.append_all
    writer.append_all = lambda lines: batches.append(len(lines)) or append_all(lines)  # type: ignore[method-assign,func-returns-value]
    loop, ticks, told = asyncio.get_running_loop(), Ticks(writer), list[int]()
    left: list[float] = []
    arrived = await after_a_tick()
    futures = [ticks.leave(new_line(), arrived + at / 1_000, lambda at=at: told.append(at)) for at in range(9)]  # type: ignore[misc]
    for future in futures:
        future.add_done_callback(lambda _: left.append(loop.time()))
    tick = (math.ceil(arrived / TICK_S) + 1) * TICK_S
    assert (size(database), told) == (0, [])
    assert await asyncio.gather(*futures) == list(range(9))
    assert told == []
    await asyncio.sleep(2 * AFTER_S)
    assert told == list(range(9))
    assert min(left) >= tick
    assert size(database) == 9
    assert batches == [9]


async def test_what_arrives_together_begins_together_and_never_while_answers_leave(writer: Writer) -> None:
    loop, ticks = asyncio.get_running_loop(), Ticks(writer)
    step = TICK_S / BEGINNINGS
    arrived = await after_a_tick()
    begun: list[tuple[str, float]] = []

    async def work(name: str, at: float) -> None:
        await ticks.begin(at)
        for _ in range(2):
            begun.append((name, loop.time()))
            await asyncio.sleep(0)

    at = [arrived, arrived + step / 4, arrived + 3.5 * step, arrived + 4.5 * step]
    await asyncio.gather(*[work(name, each) for name, each in zip("abcd", at, strict=True)])
    assert "".join(name for name, _ in begun) == "ababccdd"  # each step for all of them, then the next step
    for (_, instant), instants_after in zip(begun[::2], (1, 1, 4, 6), strict=True):
        assert instant >= math.floor(arrived / TICK_S) * TICK_S + instants_after * step


async def test_what_took_longer_leaves_at_a_later_tick(database: Database, writer: Writer) -> None:
    loop, ticks = asyncio.get_running_loop(), Ticks(writer)
    arrived = loop.time() - 3 * TICK_S
    assert await ticks.leave(new_line(), arrived, lambda: None) == 0
    assert loop.time() % TICK_S < TICK_S / 2
    assert size(database) == 1


async def test_a_replay_is_refused_alone_and_causes_nothing(writer: Writer) -> None:
    ticks, exchange_id, told = Ticks(writer), os.urandom(16), list[str]()
    arrived = asyncio.get_running_loop().time()
    lines = [new_line(exchange_id=exchange_id, replay_key=b"MX\1") for _ in range(2)]
    names = ("first", "again")
    futures = [ticks.leave(line, arrived, lambda n=n: told.append(n)) for n, line in zip(names, lines, strict=True)]  # type: ignore[misc]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(each) for each in outcomes] == [int, ReplayError]
    await asyncio.sleep(2 * AFTER_S)
    assert told == ["first"]


async def test_nothing_leaves_that_could_not_be_logged(writer: Writer) -> None:
    ticks, told = Ticks(writer), list[int]()
    writer.close()
    with pytest.raises(LedgerError):
        await ticks.leave(new_line(), asyncio.get_running_loop().time(), lambda: told.append(1))
    assert told == []


async def test_who_gives_up_waiting_is_logged_all_the_same(database: Database, writer: Writer) -> None:
    ticks = Ticks(writer)
    arrived = asyncio.get_running_loop().time()
    gone, stays = (ticks.leave(new_line(), arrived, lambda: None) for _ in range(2))
    gone.cancel()
    assert await stays == 1
    assert size(database) == 2


async def test_a_commit_that_takes_longer_than_it_may_is_waited_for(database: Database, writer: Writer) -> None:
    loop, ticks = asyncio.get_running_loop(), Ticks(writer)
    busy = asyncio.Event()

    def slow(connection: Connection) -> None:
        loop.call_soon_threadsafe(busy.set)
        connection.exec_driver_sql(_slow(database)).all()

    arrived = await after_a_tick()
    writer.submit(slow)
    await busy.wait()  # else the line could come before it
    assert await ticks.leave(new_line(), arrived, lambda: None) == 0
    assert loop.time() >= (math.ceil(arrived / TICK_S) + 2) * TICK_S
    assert size(database) == 1


def _slow(database: Database) -> str:
    """A statement of some 200 ms or more."""
    if not database.is_sqlite:
        return "SELECT pg_sleep(0.3)"
    counted = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)"
    return f"{counted} SELECT count(*) FROM n"
