"""Who answers what this country asks, from the counts that the ledger's lines gave."""

import pytest
from sqlalchemy import Connection, insert

from node.store import reciprocity
from node.store.safeguard_tables import asked_days
from node.store.safeguard_tables import reciprocity as snapshots

TODAY = 20_781


def counted(connection: Connection, peer: str, asked: int, answered: int, day: int = TODAY - 1) -> None:
    connection.execute(insert(asked_days).values(day=day, peer=peer, asked=asked, answered=answered))


@pytest.mark.parametrize(
    ("asked", "answered", "word"),
    [(0, 0, "UNKNOWN"), (19, 19, "UNKNOWN"), (20, 10, "YES"), (20, 9, "NO"), (21, 10, "NO"), (500, 500, "YES")],
)
def test_half_of_twenty_is_enough(asked: int, answered: int, word: str) -> None:
    assert reciprocity.word_of(asked, answered) == word


def test_ninety_days_count_and_today_does_not(connection: Connection) -> None:
    counted(connection, "US", 20, 20, TODAY)
    counted(connection, "MX", 20, 0, TODAY - 91)
    counted(connection, "MX", 10, 10, TODAY - 90)
    counted(connection, "MX", 10, 1)
    assert reciprocity.snapshot(connection, TODAY) == {"MX": "YES"}
    assert reciprocity.snapshot(connection, TODAY + 1) == {"MX": "UNKNOWN", "US": "YES"}


def test_what_was_taken_stays_as_it_is(connection: Connection) -> None:
    counted(connection, "MX", 20, 20)
    assert reciprocity.snapshot(connection, TODAY) == {"MX": "YES"}
    counted(connection, "MX", 200, 0, TODAY - 2)
    assert reciprocity.snapshot(connection, TODAY) == {"MX": "YES"}
    assert reciprocity.stored(connection, TODAY) == {"MX": "YES"}
    assert connection.execute(snapshots.select()).all() == [(TODAY, "MX", "YES", 20, 20)]
    assert reciprocity.snapshot(connection, TODAY + 1) == {"MX": "NO"}


def test_where_nobody_was_asked_nothing_is_known(connection: Connection) -> None:
    assert reciprocity.snapshot(connection, TODAY) == {}
    assert reciprocity.stored(connection, TODAY) == {}
