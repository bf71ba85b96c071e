"""What a peer asked and got no hit on is erased within a day; what opens the line, and what is still needed, stays."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from node.cli.parts import Parts
from node.cli.serving import running
from node.errors import NotFoundError
from node.federation.lines import QUERY_BODY
from node.federation.sweeping import AFTER_US, Sweeping
from node.ledger.leaf import parse_private
from node.store import alarms
from node.store.ledger import verify_ledger
from node.store.listing import ListedLine, read_bodies
from node.wire.codes_pb2 import EXPOSURE_JOURNALIST, AsylumState
from node.wire.exchange_pb2 import Body
from node.wire.ledger_pb2 import DIRECTION_SENT, LEAF_KIND_ANSWERED
from tests.federation.support import NOBODYS, SEEN, Book, case_record, telephone, told
from tests.peer_simulator import channel_to, request, sealed_query, send, telephone_query
from tests.safeguards.support import until, with_protection
from tests.world import DAY_US, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPORTER, SEEKER = "+12025551160", "+12025552160"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World.make(tmp_path_factory.mktemp("sweeping"), ("GT", "MX"))
    reporter = with_protection(REPORTER, exposure=EXPOSURE_JOURNALIST, origins=["GT"])
    seeker = with_protection(SEEKER, asylum=AsylumState.ASYLUM_STATE_CLAIMED, origins=["GT"])
    made["MX"].write((case_record(), [telephone(), reporter, seeker]))
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mx(world: World) -> AsyncIterator[Parts]:
    async with running(world["MX"].config) as parts:
        yield parts


@dataclass
class Ahead:
    """A clock that a test moves."""

    by_us: int = 0

    def __call__(self) -> int:
        return now_us() + self.by_us


async def asked_of(mx: Parts, line: ListedLine) -> str:
    """What is kept beside an answer's line of what was asked; empty where it is erased."""
    vault = mx.exchange.answering.vault
    try:
        bodies = await mx.database.read(lambda connection: read_bodies(connection, vault, line.index))
    except NotFoundError:
        return ""
    return Body.FromString(bodies[QUERY_BODY]).query.selectors[0].value


async def test_selectors_of_no_hits_are_erased_within_a_day(world: World, mx: Parts) -> None:
    book, order = Book(world["MX"], world), (NOBODYS, SEEN, SEEKER, REPORTER)
    async with channel_to(world["MX"], world["GT"].node) as channel:
        for number in order:
            await send(channel, request(sealed_query(world["GT"], "MX", telephone_query(number))))
    watching, vault = mx.exchange.answering.watching, mx.exchange.answering.vault

    async def open_alarms() -> int:
        await watching.look()
        return await mx.database.read(alarms.count_open)

    await until(open_alarms, lambda count: count == 2)
    lines = [each for each in book.lines() if each.shared.kind == LEAF_KIND_ANSWERED]
    assert [each.shared.direction for each in lines] == [DIRECTION_SENT] * 4
    clock = Ahead()
    sweeping = Sweeping(mx.standing, mx.database, vault, mx.writer, clock)

    clock.by_us = AFTER_US - 60_000_000
    await sweeping.look()
    assert [await asked_of(mx, line) for line in lines] == list(order)

    # Nobody's number goes; the hit stays with its answer, and what an alarm or a hold waits on stays until then.
    clock.by_us = AFTER_US + 60_000_000
    before = book.size
    sweeping = Sweeping(mx.standing, mx.database, vault, mx.writer, clock)
    await sweeping.look()
    assert [await asked_of(mx, line) for line in lines] == ["", SEEN, SEEKER, REPORTER]
    assert ("DELETED", "", "SELECTORS 1 OF 3") in [told(line) for line in book.lines(before)]
    assert AFTER_US < DAY_US

    # What opens the line stays, and the ledger verifies.
    (line, *_) = book.lines(lines[0].index)
    assert line.opening is not None
    assert parse_private(line.opening.private).officer == "analyst"
    await mx.database.read(lambda connection: verify_ledger(connection, vault=vault))

    # With its alarm closed, an asylum seeker's number goes; the exile's is held for a focal point still.
    for alarm in await mx.database.read(lambda connection: alarms.listed(connection, vault, closed=False, limit=9)):
        close = lambda connection, alarm_id=alarm.alarm_id: alarms.close(  # noqa: E731
            connection, vault, alarm_id, officer="focal", reason="Invented", now_us=clock()
        )
        mx.writer.submit(close).result()
    clock.by_us += DAY_US
    await sweeping.look()
    left = [await asked_of(mx, line) for line in lines]
    assert left[:3] == ["", SEEN, ""]
    assert left[3] == REPORTER
