"""Two real nodes for each module, GT that asks and MX that answers, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
import pytest_asyncio
import structlog
from structlog.processors import JSONRenderer

from node.logs import reduce_exception
from tests.conftest import postgres_database
from tests.desk.support import Desks, desks_of
from tests.safeguards.support import records
from tests.world import World


@pytest.fixture(scope="session", autouse=True)
def logs() -> Iterator[None]:
    """Log as the node does: structlog's own way with a traceback, which renders every local, takes half a minute."""
    structlog.configure(processors=[structlog.processors.add_log_level, reduce_exception, JSONRenderer()])
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        databases = {}
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres_server")
            databases = {code: stack.enter_context(postgres_database(server)) for code in ("GT", "MX")}
        made = World.make(tmp_path_factory.mktemp("world"), ("GT", "MX", "US"), databases=databases)
        made["MX"].write(records())
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desks(world: World) -> AsyncIterator[Desks]:
    async with desks_of(world, "GT", "MX") as opened:
        yield opened
