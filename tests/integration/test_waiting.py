"""What waits for a person: holds and LIFE queries."""

import pytest
from sqlalchemy import Connection

from node.errors import NotFoundError
from node.store import holds, life
from node.store.entries import Entries
from node.wire.desk_pb2 import Hold, LifeNotice
from node.wire.entry_pb2 import Case, Entry, Telecom
from node.wire.ledger_pb2 import Direction
from tests.conftest import START_US

EXCHANGE = bytes(16)
RECEIVED, SENT = Direction.DIRECTION_RECEIVED, Direction.DIRECTION_SENT


def test_holds_wait_in_the_order_in_which_they_are_due(connection: Connection, entries: Entries, case: Case) -> None:
    new = [
        Entry(
            case_id=case.case_id, unit="UIF", review_us=START_US * 2, telecom=Telecom(telephone=f"+5025550000{number}")
        )
        for number in range(2)
    ]
    stored = entries.insert(connection, new, START_US)
    expected = [
        Hold(exchange_id=EXCHANGE, entry_id=entry.entry_id, peer="MX", at_us=1, due_us=due, silent=silent)
        for entry, due, silent in zip(stored, (9, 5), (True, False), strict=True)
    ]
    for hold in expected:
        holds.put(
            connection,
            exchange_id=hold.exchange_id,
            peer=hold.peer,
            entry_id=hold.entry_id,
            at_us=hold.at_us,
            due_us=hold.due_us,
            silent=hold.silent,
        )
    assert holds.waiting(connection) == expected[::-1]
    holds.close(connection, EXCHANGE, "MX", stored[1].entry_id)
    assert holds.waiting(connection) == expected[:1]
    for peer, entry_id in (("MX", stored[1].entry_id), ("US", stored[0].entry_id)):
        with pytest.raises(NotFoundError):
            holds.close(connection, EXCHANGE, peer, entry_id)


def test_a_life_query_waits_until_a_human_has_read_it(connection: Connection) -> None:
    for peer, direction, due_us in (("MX", RECEIVED, 20), ("MX", SENT, 10), ("US", SENT, 30)):
        life.expect(connection, exchange_id=EXCHANGE, peer=peer, direction=direction, due_us=due_us)
    life.acknowledge(connection, EXCHANGE, "MX", SENT, officer="luis", telephone="+52555", now_us=7)
    read = LifeNotice(
        exchange_id=EXCHANGE,
        peer="MX",
        direction=SENT,
        due_us=10,
        acknowledged_us=7,
        acknowledged_by="luis",
        telephone="+52555",
    )
    assert life.notices(connection)[0] == read
    assert [(each.peer, each.direction) for each in life.notices(connection, waiting_only=True)] == [
        ("MX", RECEIVED),
        ("US", SENT),
    ]


def test_the_first_acknowledgement_stands(connection: Connection) -> None:
    life.expect(connection, exchange_id=EXCHANGE, peer="MX", direction=SENT, due_us=10)
    for officer, now_us in (("luis", 7), ("eva", 8)):
        life.acknowledge(connection, EXCHANGE, "MX", SENT, officer=officer, telephone="", now_us=now_us)
    (notice,) = life.notices(connection)
    assert (notice.acknowledged_by, notice.acknowledged_us) == ("luis", 7)


@pytest.mark.parametrize(("peer", "direction"), [("US", SENT), ("MX", RECEIVED)])
def test_nobody_acknowledges_what_was_asked_of_another(
    connection: Connection, peer: str, direction: Direction.ValueType
) -> None:
    life.expect(connection, exchange_id=EXCHANGE, peer="MX", direction=SENT, due_us=10)
    with pytest.raises(NotFoundError):
        life.acknowledge(connection, EXCHANGE, peer, direction, officer="eve", telephone="", now_us=7)
