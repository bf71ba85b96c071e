"""An auditor compares two ledgers at the command line, and looks after what does not fit."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from node.errors import EnlaceError, UsageError
from tests.command_line import QUESTION, TELEPHONE, Desk, running
from tests.world import World

NOW = ("--until", "2099-01-01")  # what is ahead means now


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def auditor(world: World) -> Desk:
    return Desk(world["GT"], "auditor")


def asked(world: World) -> None:
    Desk(world["GT"]).run("search", TELEPHONE, *QUESTION, "--peer", "MX")


def forget_the_last_answer(world: World) -> None:
    """Delete a line of MX by SQL, behind its node's back."""
    with closing(sqlite3.connect(world["MX"].home.data / "enlace.db")) as database, database:
        last = "SELECT max(idx) FROM ledger_lines WHERE replay_key IS NOT NULL"
        database.execute(f"DELETE FROM ledger_lines WHERE idx = ({last})")


def test_ledgers_that_say_the_same_and_then_do_not(world: World, auditor: Desk) -> None:
    asked(world)
    asked(world)
    same = auditor.json("ledger", "reconcile", "--with", "MX", *NOW)
    assert auditor.status == 0
    assert (same["here"], same["there"], same["agreed"], same["discrepancies"]) == (2, 2, 2, [])
    assert "Both ledgers say the same." in auditor.run("ledger", "reconcile", "--with", "mx", *NOW)

    since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    asked(world)
    forget_the_last_answer(world)
    found = auditor.json("ledger", "reconcile", "--with", "MX", "--since", since, *NOW)
    assert auditor.status == 1
    assert (found["here"], found["there"], found["new_findings"]) == (1, 0, 1)
    (lost,) = found["discrepancies"]
    assert (lost["kind"], lost["asked"]) == ("only here", "here")
    shown = auditor.run("ledger", "reconcile", "--with", "MX", "--since", since, *NOW, wide=True)
    assert auditor.status == 1
    assert "only here" in shown
    assert lost["exchange"] in shown
    other_way = Desk(world["MX"], "auditor").json("ledger", "reconcile", "--with", "GT", "--since", since, *NOW)
    assert [(each["kind"], each["asked"]) for each in other_way["discrepancies"]] == [("only there", "")]

    (finding,) = auditor.json("ledger", "findings", "--peer", "mx", "--state", "open")
    assert (finding["kind"], finding["exchange"], finding["owner"]) == ("only here", lost["exchange"], "")
    owned = auditor.json("ledger", "finding", finding["finding"], "--own", "I ask MX")
    assert (owned["state"], owned["owner"], owned["note"]) == ("open", "auditor", "I ask MX")
    auditor.run("ledger", "finding", finding["finding"], "--explain", "a deleted line")
    table = auditor.run("ledger", "findings", wide=True)
    assert finding["finding"] in table
    assert "explained" in table
    auditor.run("ledger", "finding", finding["finding"], "--close", "the stewards know")
    assert auditor.json("ledger", "findings", "--state", "open") == []
    assert auditor.last_reasons(2) == [("FINDING", "CLOSED: the stewards know"), ("READ", "FINDINGS")]
    with pytest.raises(UsageError, match="CLOSED"):
        auditor.run("ledger", "finding", finding["finding"], "--explain", "again")


def test_what_is_not_well_said_is_refused(world: World, auditor: Desk) -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    for wrong in (
        ("ledger", "reconcile", "--with", "MX", "--since", "yesterday"),
        ("ledger", "reconcile", "--with", "MX", "--since", "2098-01-01"),
        ("ledger", "reconcile", "--with", "MX", "--since", "2001-01-01"),
        ("ledger", "reconcile", "--with", "GT"),
        ("ledger", "findings", "--state", "forgotten"),
        ("ledger", "finding", nobody),
        ("ledger", "finding", nobody, "--own", "mine", "--close", "done"),
        ("ledger", "finding", nobody, "--close", ""),
        ("ledger", "finding", nobody, "--close", "x" * 41),
        ("ledger", "finding", nobody, "--close", "not there"),
    ):
        with pytest.raises(UsageError):
            auditor.run(*wrong)
    with pytest.raises(EnlaceError, match="did not answer"):
        auditor.run("ledger", "reconcile", "--with", "US")
    with pytest.raises(EnlaceError, match="role"):
        Desk(world["GT"]).run("ledger", "reconcile", "--with", "MX")
