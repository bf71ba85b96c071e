"""Findings as the store keeps them, until an auditor closes them."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection

from node.errors import NotFoundError, UsageError
from node.store import findings
from node.store.database import Database
from node.wire.reconcile_pb2 import (
    FINDING_STATE_CLOSED,
    FINDING_STATE_EXPLAINED,
    FINDING_STATE_OPEN,
    FINDING_STATE_UNKNOWN,
    Finding,
)
from tests.conftest import START_US

EXCHANGE = bytes(range(16))


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.engine.begin() as opened:
        yield opened


def raised(connection: Connection, kind: str = "ONLY_HERE", peer: str = "MX", at_us: int = START_US) -> bool:
    return findings.raise_finding(
        connection, kind=kind, peer=peer, exchange_id=EXCHANGE, detail="Invented", now_us=at_us
    )


def only(connection: Connection) -> Finding:
    (found,) = findings.list_findings(connection)
    return found


def test_a_finding_is_raised_once_whatever_became_of_it(connection: Connection) -> None:
    assert raised(connection)
    assert not raised(connection, at_us=START_US + 1)
    found = only(connection)
    assert (found.kind, found.peer, found.exchange_id, found.detail) == ("ONLY_HERE", "MX", EXCHANGE, "Invented")
    assert (found.raised_us, found.state, found.owner, found.changed_us) == (START_US, FINDING_STATE_OPEN, "", 0)
    findings.change_state(
        connection, found.finding_id, FINDING_STATE_CLOSED, owner="auditor", note="was down", now_us=START_US
    )
    assert not raised(connection)
    assert only(connection).state == FINDING_STATE_CLOSED


def test_another_kind_peer_or_exchange_is_another_finding(connection: Connection) -> None:
    assert raised(connection)
    assert raised(connection, kind="LATE")
    assert raised(connection, peer="US")
    other = os.urandom(32)
    assert findings.raise_finding(connection, kind="LATE", peer="US", exchange_id=other, detail="", now_us=START_US)
    assert len(findings.list_findings(connection)) == 4
    assert [each.exchange_id for each in findings.list_findings(connection, peer="US")] != [EXCHANGE] * 2


@pytest.mark.parametrize(("kind", "detail"), [("", ""), ("late", ""), ("A" * 33, ""), ("LATE", "x" * 201)])
def test_what_is_no_finding_is_not_kept(connection: Connection, kind: str, detail: str) -> None:
    with pytest.raises(UsageError):
        findings.raise_finding(connection, kind=kind, peer="MX", exchange_id=EXCHANGE, detail=detail, now_us=START_US)
    assert findings.list_findings(connection) == []


def test_open_ones_come_first_and_states_and_peers_narrow(connection: Connection) -> None:
    for place, (kind, peer) in enumerate([("LATE", "MX"), ("DIFFERENT", "MX"), ("LATE", "US")]):
        raised(connection, kind, peer, START_US + place)
    second = findings.list_findings(connection)[1]
    findings.change_state(
        connection, second.finding_id, FINDING_STATE_EXPLAINED, owner="auditor", note="a restore", now_us=START_US
    )
    listed = [(each.kind, each.peer) for each in findings.list_findings(connection)]
    assert listed == [("LATE", "US"), ("LATE", "MX"), ("DIFFERENT", "MX")]
    assert [each.peer for each in findings.list_findings(connection, state=FINDING_STATE_EXPLAINED)] == ["MX"]
    assert [each.kind for each in findings.list_findings(connection, peer="US")] == ["LATE"]
    assert findings.list_findings(connection, peer="US", state=FINDING_STATE_CLOSED) == []
    assert [each.peer for each in findings.list_findings(connection, limit=1)] == ["US"]


def test_a_finding_has_an_owner_an_explanation_and_an_end(connection: Connection) -> None:
    raised(connection)
    at, found = START_US + 5, only(connection)
    owned = findings.own(connection, found.finding_id, owner="auditor", note="I ask MX", now_us=at)
    assert (owned.state, owned.owner, owned.note, owned.changed_us) == (FINDING_STATE_OPEN, "auditor", "I ask MX", at)
    explained = findings.change_state(
        connection, found.finding_id, FINDING_STATE_EXPLAINED, owner="second", note="a restore", now_us=at + 1
    )
    assert (explained.state, explained.owner, explained.note) == (FINDING_STATE_EXPLAINED, "second", "a restore")
    closed = findings.change_state(
        connection, found.finding_id, FINDING_STATE_CLOSED, owner="auditor", note="done", now_us=at + 2
    )
    assert closed == only(connection)
    assert closed.state == FINDING_STATE_CLOSED
    with pytest.raises(UsageError, match="closed"):
        findings.own(connection, found.finding_id, owner="auditor", note="again", now_us=at)


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ((), FINDING_STATE_OPEN),
        ((), FINDING_STATE_UNKNOWN),
        ((FINDING_STATE_EXPLAINED,), FINDING_STATE_EXPLAINED),
        ((FINDING_STATE_EXPLAINED,), FINDING_STATE_OPEN),
        ((FINDING_STATE_CLOSED,), FINDING_STATE_OPEN),
        ((FINDING_STATE_CLOSED,), FINDING_STATE_EXPLAINED),
        ((FINDING_STATE_CLOSED,), FINDING_STATE_CLOSED),
    ],
)
def test_nothing_goes_back(connection: Connection, path: tuple[int, ...], state: int) -> None:
    raised(connection)
    finding_id = only(connection).finding_id
    for each in path:
        findings.change_state(connection, finding_id, each, owner="auditor", note="why", now_us=START_US)  # type: ignore[arg-type]
    before = only(connection)
    with pytest.raises(UsageError, match="can't become"):
        findings.change_state(connection, finding_id, state, owner="second", note="why", now_us=START_US)  # type: ignore[arg-type]
    assert only(connection) == before


@pytest.mark.parametrize("note", ["", "x" * 201])
def test_a_change_says_why(connection: Connection, note: str) -> None:
    raised(connection)
    finding_id = only(connection).finding_id
    with pytest.raises(UsageError, match="note"):
        findings.change_state(connection, finding_id, FINDING_STATE_CLOSED, owner="a", note=note, now_us=START_US)
    with pytest.raises(UsageError, match="note"):
        findings.own(connection, finding_id, owner="a", note=note, now_us=START_US)


def test_what_is_not_there_is_not_found(connection: Connection) -> None:
    with pytest.raises(NotFoundError):
        findings.own(connection, EXCHANGE, owner="a", note="why", now_us=START_US)
    with pytest.raises(NotFoundError):
        findings.change_state(connection, EXCHANGE, FINDING_STATE_CLOSED, owner="a", note="why", now_us=START_US)


def test_of_two_who_raise_the_same_at_once_one_does(database: Database) -> None:
    def second() -> bool:
        with database.engine.begin() as other:
            return raised(other)

    with ThreadPoolExecutor(1) as threads:
        with database.engine.begin() as first:
            assert raised(first)
            waiting = threads.submit(second)
            time.sleep(0.1)  # so that the other has looked, where it can, before this one commits
        assert not waiting.result(timeout=20)
    with database.reading() as connection:
        assert only(connection).kind == "ONLY_HERE"
