"""The lines of a period, with those that can't be opened any more, and single lines."""

import asyncio
import secrets
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, delete, event, update

from node.errors import NotFoundError
from node.store.database import Database
from node.store.lines import ledger_lines, ledger_openings
from node.store.listing import list_lines
from node.store.traces import trace
from node.store.usage import bodies, lines_at, used
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.ledger_pb2 import LEAF_KIND_ANSWERED, LEAF_KIND_ASKED, LEAF_KIND_READ
from tests.ledger_lines import new_line

AT_US = 1_790_000_000_000_001  # when all of these lines were logged


@pytest.fixture
def written(database: Database, vault: Vault) -> Iterator[Connection]:
    """Three answers, a question with its text, and a reading; the opening of the second answer is erased."""
    lines = [new_line() for _ in range(3)]
    lines += [new_line(kind=LEAF_KIND_ASKED, bodies=(("query", b"text"),)), new_line(kind=LEAF_KIND_READ)]

    async def append() -> None:
        await writer.append_all(lines)

    with Writer(database.engine, vault) as writer:
        asyncio.run(append())
    with database.engine.begin() as connection:
        connection.execute(delete(ledger_openings).where(ledger_openings.c.idx == 1))
    with database.reading() as connection:
        yield connection


def test_lines_of_some_kinds_within_a_period_are_opened_where_they_can_be(written: Connection, vault: Vault) -> None:
    since = {LEAF_KIND_ANSWERED: AT_US, LEAF_KIND_ASKED: AT_US + 1}
    found = used(written, vault, 0, 100, since_us=since, until_us=AT_US + 1)
    assert [(each.line, each.private is None) for each in found] == [(0, False), (1, True), (2, False)]
    assert [each.line for each in used(written, vault, 2, 3, since_us=since, until_us=AT_US + 1)] == [2]
    assert used(written, vault, 0, 100, since_us=since, until_us=AT_US) == []


def test_a_damaged_leaf_is_named_and_hides_none_after_it(written: Connection, vault: Vault) -> None:
    with written.engine.begin() as connection:
        connection.execute(update(ledger_lines).where(ledger_lines.c.idx == 1).values(leaf=b"damaged"))
    found = used(written, vault, 0, 3, since_us={LEAF_KIND_ANSWERED: AT_US}, until_us=AT_US + 1)
    assert [(each.line, each.logged_us) for each in found] == [(0, AT_US), (1, 0), (2, AT_US)]


def test_no_more_lines_are_read_than_are_listed_unless_some_are_left_out(written: Connection) -> None:
    read: list[tuple[int, ...] | dict[str, int]] = []
    event.listen(written, "before_cursor_execute", lambda *given: read.append(given[3]))
    assert [line.index for line in list_lines(written, 1, 2)] == [1, 2]
    assert [line.index for line in list_lines(written, 0, 1, kinds=[LEAF_KIND_READ])] == [4]
    limits = [values[1] if isinstance(values, tuple) else values["param_1"] for values in read if values]
    assert limits == [2, 500]


def test_messages_are_read_by_name_and_what_is_not_kept_is_left_out(written: Connection, vault: Vault) -> None:
    assert bodies(written, vault, [0, 3, 99], "query") == {3: b"text"}
    assert bodies(written, vault, [3], "answer") == {}


def test_single_lines_come_in_order(written: Connection, vault: Vault) -> None:
    assert [line.index for line in lines_at(written, vault, {4, 0})] == [0, 4]
    with pytest.raises(NotFoundError):
        lines_at(written, vault, {5})


def test_a_trace_looks_at_answers_alone(written: Connection, vault: Vault) -> None:
    traced = trace(written, vault, {secrets.token_bytes(16)}, 0, 100)
    assert (list(traced.given), traced.answers, list(traced.unreadable)) == ([], 3, [1])
