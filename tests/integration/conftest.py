"""What tests of the store share: records to write, and the parts that write them."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from node.store.cases import Cases
from node.store.changes import Changes
from node.store.database import Database
from node.store.entries import Entries
from node.store.vault import Vault
from node.wire.entry_pb2 import Case
from tests.conftest import START_US

REVIEW_US = START_US + 365 * 86_400_000_000


@pytest.fixture
def cases(vault: Vault) -> Cases:
    return Cases(vault)


@pytest.fixture
def entries(database: Database, vault: Vault) -> Entries:
    return Entries(database, vault, vault.lookup_keys())


@pytest.fixture
def changes(entries: Entries, vault: Vault) -> Changes:
    return Changes(entries, vault)


@pytest.fixture
def case(database: Database, cases: Cases) -> Case:
    with database.engine.begin() as connection:
        return cases.put(connection, Case(reference="X-1", unit="UIF", review_us=REVIEW_US, open=True), START_US)


@pytest.fixture
def connection(database: Database, case: Case) -> Iterator[Connection]:
    """One transaction, kept at the end, begun after the case was written."""
    del case
    with database.engine.begin() as opened:
        yield opened
