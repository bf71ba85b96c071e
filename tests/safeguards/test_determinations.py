"""A LIFE query that UNKNOWN alone blocks brings the fact before the duty officer, and nothing of it to the asker."""

import asyncio
import json
from pathlib import Path

import pytest

from node.cli.examining_safeguards import examine_safeguards
from node.store.database import Database
from node.store.entries import Entries
from node.store.keystore import KeyStore
from node.store.safeguard_tables import determinations
from node.store.tables import life_queries
from node.store.vault import Vault, read_key_file
from node.wire.codes_pb2 import TRI_NO, TRI_UNKNOWN, TRI_YES
from node.wire.desk_pb2 import DecideChangeRequest
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Answer
from node.wire.ledger_pb2 import LEAF_KIND_READ
from node.wire.safeguard_pb2 import Determination, ListDeterminationsRequest
from tests.desk.support import Desks, asserted, desks_of, life_query, search
from tests.federation.support import NOBODYS, case_record, private_of
from tests.safeguards.support import (
    EXILE,
    PLAIN,
    PROTECTED,
    UNDECIDED,
    asked,
    entry_of,
    put,
    records,
    until,
    with_protection,
)
from tests.world import World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR_US = 3_600_000_000


async def listed(desks: Desks, officer: str = "focal") -> list[Determination]:
    stub = await desks("MX", officer)
    return list((await stub.ListDeterminations(ListDeterminationsRequest())).determinations)


async def life(desks: Desks, number: str) -> bytes:
    """Ask in a matter of life, get a no-hit, and return the exchange's id once MX has looked at it."""
    (response,) = await search(await desks("GT"), life_query(number), "MX")
    assert not response.answer.hits
    await examined(desks)
    return response.exchange_id


async def examined(desks: Desks) -> None:
    async def left() -> int:
        with Database.open_read_only(desks.world["MX"].config.store.database) as database, database.reading() as on:
            return len(on.execute(life_queries.select().where(life_queries.c.examined.is_(False))).all())

    await until(left, lambda count: count == 0)


async def notices_of(desks: Desks, exchange_id: bytes) -> list[Determination]:
    return [each for each in await listed(desks) if each.exchange_id == exchange_id]


async def test_what_unknown_alone_keeps_is_brought_before_the_duty_officer(desks: Desks) -> None:
    exchange_id = await life(desks, UNDECIDED)
    (notice,) = await notices_of(desks, exchange_id)
    entry = await entry_of(desks, UNDECIDED)
    assert (notice.peer, notice.entry_id, list(notice.facts)) == ("GT", entry.entry_id, ["witness"])
    assert notice.due_us == notice.at_us + 2 * HOUR_US
    line = desks.book("MX").lines(exchange_id=exchange_id)[0]
    assert notice.at_us == line.shared.time_us


async def test_a_silent_hold_that_unknown_causes_is_brought_too(desks: Desks) -> None:
    (notice,) = await notices_of(desks, await life(desks, EXILE))
    assert list(notice.facts) == ["exposure"]


@pytest.mark.parametrize("number", [PROTECTED, NOBODYS], ids=["recorded", "nobody's"])
async def test_what_a_recorded_fact_keeps_is_not(desks: Desks, number: str) -> None:
    assert await notices_of(desks, await life(desks, number)) == []


async def test_nor_is_what_is_seen(desks: Desks) -> None:
    (response,) = await search(await desks("GT"), life_query(PLAIN), "MX")
    assert response.answer.hits
    await examined(desks)
    assert await notices_of(desks, response.exchange_id) == []


async def test_the_asker_sees_what_it_sees_of_nobodys_number(desks: Desks) -> None:
    shown = []
    for number in (UNDECIDED, NOBODYS):
        answer = await asked(desks, life_query(number))
        answer.acknowledge_by_us = 0
        shown.append(answer)
    assert shown == [Answer(), Answer()]


async def test_that_it_was_read_is_a_line(desks: Desks) -> None:
    book = desks.book("MX")
    before = book.size
    await listed(desks)
    (line,) = book.lines(before)
    assert (line.shared.kind, private_of(line).reason, private_of(line).officer) == (
        LEAF_KIND_READ,
        "DETERMINATIONS",
        "focal",
    )


async def test_the_log_tells_that_somebody_is_needed_and_nothing_of_whom(
    desks: Desks, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = await entry_of(desks, UNDECIDED)
    await examined(desks)
    await asyncio.sleep(0.5)  # the log follows what is stored
    capsys.readouterr()
    exchange_id, out = await life(desks, UNDECIDED), ""

    async def pages() -> list[str]:
        nonlocal out
        out += capsys.readouterr().out
        return [line for line in out.splitlines() if "life_blocked_by_unknown" in line]

    (line,) = await until(pages, bool)
    page = json.loads(line)
    assert page.keys() == {"event", "level", "peer", "entries", "due_us"}
    assert (page["level"], page["peer"], page["entries"]) == ("warning", "GT", 1)
    assert entry.entry_id.hex() not in str(page)
    assert exchange_id.hex() not in str(page)


async def confirmed(desks: Desks, entry: Entry, reason: str) -> None:
    change_id = await put(await desks("MX"), entry, reason)
    await (await desks("MX", "second")).DecideChange(DecideChangeRequest(change_id=change_id, confirm=True))


async def test_a_fact_that_is_determined_closes_the_notice_by_itself(desks: Desks) -> None:
    exchange_id = await life(desks, UNDECIDED)
    entry = await entry_of(desks, UNDECIDED)
    entry.protection.witness_protection = TRI_NO
    await confirmed(desks, asserted(entry), "Invented: looked into.")
    assert await notices_of(desks, exchange_id) == []
    await until(lambda: closed(desks, exchange_id), lambda count: count == 1)
    (response,) = await search(await desks("GT"), life_query(UNDECIDED), "MX")
    assert response.answer.hits  # so determining it helped


async def test_so_does_a_fact_that_turns_out_to_protect(desks: Desks) -> None:
    exchange_id = await life(desks, EXILE)
    entry = await entry_of(desks, EXILE)
    entry.protection.witness_protection = TRI_YES
    assert await put(await desks("MX"), asserted(entry)) == b""
    assert await notices_of(desks, exchange_id) == []
    await until(lambda: closed(desks, exchange_id), lambda count: count == 1)


async def closed(desks: Desks, exchange_id: bytes) -> int:
    with Database.open_read_only(desks.world["MX"].config.store.database) as database, database.reading() as on:
        held = determinations.c
        query = determinations.select().where(held.exchange_id == exchange_id, held.closed_us.is_not(None))
        return len(on.execute(query).all())


async def test_what_a_crash_lost_is_made_again(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX"))
    world["MX"].write(records())
    async with desks_of(world, "MX", "GT") as desks:
        exchange_id = await life(desks, UNDECIDED)
        assert len(await notices_of(desks, exchange_id)) == 1
    # As after a crash between the answer's line and the look at it: the query is there, the look is not.
    with Database.open(world["MX"].config.store.database) as database, database.engine.begin() as connection:
        connection.execute(determinations.delete())
        connection.execute(life_queries.update().values(examined=False))
    async with desks_of(world, "MX") as desks:
        await examined(desks)
        (notice,) = await notices_of(desks, exchange_id)
        assert list(notice.facts) == ["witness"]


async def test_what_is_no_more_waits_for_nobody(tmp_path: Path) -> None:
    """Three telephones that facts are unknown of: one stays, one is taken back, the case of one is erased."""
    world = World.make(tmp_path, ("GT", "MX"))
    numbers = [f"+120255501{number}" for number in (80, 81, 82)]
    for number in numbers:
        world["MX"].write((case_record(), [with_protection(number, witness_protection=TRI_UNKNOWN)]))
    async with desks_of(world, "MX", "GT") as desks:
        for number in numbers:
            await life(desks, number)
        assert len(await listed(desks)) == 3
    stays = end_two_of_three(world, numbers)
    config, late = world["MX"].config, now_us() + 2 * HOUR_US
    before = {each.what: each for each in examine_safeguards(config, late)}["facts for a life"]
    assert (before.state, before.says[:26]) == ("red", "3 of 3 entries are overdue")
    async with desks_of(world, "MX") as desks:
        (notice,) = await listed(desks)
        assert notice.entry_id == stays

        async def waiting() -> list[str]:
            return [each.says for each in examine_safeguards(config, late) if each.what == "facts for a life"]

        (says,) = await until(waiting, lambda found: found[0].startswith("1 of 1"))
        assert says == "1 of 1 entries are overdue: determine them, `enlace life facts`"


def end_two_of_three(world: World, numbers: list[str]) -> bytes:
    """Take the second entry back and erase the case of the third, while the node is down; return the first one's id."""
    config = world["MX"].config
    with Database.open(config.store.database) as database, KeyStore.open(config.store.keystore) as keys:
        vault = Vault(keys, read_key_file(config.store.key_encryption_key))
        entries = Entries(database, vault, vault.lookup_keys())
        with database.engine.begin() as connection:
            found = {each.telecom.telephone: each for each in entries.active(connection, now_us(), 10)}
            stays, recalled, erased = (found[number] for number in numbers)
            entries.recall(connection, recalled.entry_id)
        vault.erase_keys([erased.case_id], now_us())
        return stays.entry_id
