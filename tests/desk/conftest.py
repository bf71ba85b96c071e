"""A world of two countries for each module, whose nodes run with their desks open."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import structlog
from structlog.processors import JSONRenderer

from node.logs import reduce_exception
from tests.desk.support import Desks, asserted, desks_of
from tests.federation.support import VICTIMS, case_record, telephone
from tests.world import World


@pytest.fixture(scope="session", autouse=True)
def logs() -> Iterator[None]:
    """Log as the node does: structlog's own way with a traceback, which renders every local, takes half a minute."""
    structlog.configure(processors=[structlog.processors.add_log_level, reduce_exception, JSONRenderer()])
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """GT, which asks, and MX with a suspect's telephone and a victim's."""
    world = World.make(tmp_path_factory.mktemp("desk"), ("GT", "MX"))
    world["MX"].write((case_record(), [asserted(telephone()), asserted(telephone(VICTIMS, victim=True))]))
    return world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desks(world: World) -> AsyncIterator[Desks]:
    async with desks_of(world) as opened:
        yield opened
