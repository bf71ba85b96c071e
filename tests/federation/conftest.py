"""Worlds with nodes. `world` and `mx` are shared by the tests of a module, which leave them as they were."""

from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
import pytest_asyncio
import structlog
from structlog.processors import JSONRenderer

from node.cli.parts import Parts
from node.cli.serving import running
from node.logs import reduce_exception
from tests.federation.support import VICTIMS, Book, case_record, telephone
from tests.peer_simulator import channel_to
from tests.world import World


@pytest.fixture(scope="session", autouse=True)
def logs() -> Iterator[None]:
    """Log as the node does: structlog's own way with a traceback, which renders every local, takes half a minute."""
    structlog.configure(processors=[structlog.processors.add_log_level, reduce_exception, JSONRenderer()])
    yield
    structlog.reset_defaults()


def furnished(world: World) -> World:
    """Give MX records: a suspect's telephone, and a victim's."""
    world["MX"].write((case_record(), [telephone(), telephone(VICTIMS, victim=True)]))
    return world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return furnished(World.make(tmp_path_factory.mktemp("world")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mx(world: World) -> AsyncIterator[Parts]:
    async with running(world["MX"].config) as parts:
        yield parts


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(world: World, mx: Parts) -> AsyncIterator[grpc.aio.Channel]:
    """GT's connection to MX."""
    del mx
    async with channel_to(world["MX"], world["GT"].node) as opened:
        yield opened


@pytest.fixture(scope="module")
def book(world: World) -> Book:
    """MX's ledger."""
    return Book(world["MX"], world)


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world of a test's own."""
    return furnished(World.make(tmp_path_factory.mktemp("fresh")))
