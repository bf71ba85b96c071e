"""Alerts as they are kept, and what is written finding them, on both databases."""

import secrets

import pytest
from sqlalchemy import Connection, select

from node.errors import NotFoundError, ReplayError
from node.records.lookup import selector_tokens
from node.store import alert_finding, alert_pairs, alerts
from node.store.alert_finding import FindId
from node.store.alert_pairs import Pair
from node.store.alert_tables import alert_tokens
from node.store.alerts import AlertId, Kept
from node.store.entries import Entries
from node.store.received_tables import key_erasures
from node.store.vault import Vault
from node.wire.alert_pb2 import Alert
from node.wire.alerting_pb2 import AlertDetail, AlertItem
from node.wire.codes_pb2 import LOOKUP_KIND_TELEPHONE
from node.wire.entry_pb2 import Case, Entry, Telecom
from node.wire.exchange_pb2 import Query, Selector
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, Direction
from tests.conftest import START_US
from tests.integration.conftest import REVIEW_US

NUMBER, OTHER = "+12025550160", "+12025550161"
DAY_US = 86_400_000_000


def put(
    connection: Connection,
    vault: Vault,
    number: str = NUMBER,
    direction: Direction.ValueType = DIRECTION_RECEIVED,
    peer: str = "GT",
) -> Kept:
    selector = Selector(kind=LOOKUP_KIND_TELEPHONE, value=number)
    item = AlertItem(
        direction=direction,
        peer=peer,
        exchange_id=secrets.token_bytes(16),
        state="standing",
        set_us=START_US,
        until_us=START_US + DAY_US,
        changed_us=START_US,
        officer="analyst",
        unit="UIF",
    )
    detail = AlertDetail(item=item, alert=Alert(query=Query(selectors=[selector])))
    return alerts.put(connection, vault, detail, selector_tokens(selector, vault.lookup_keys(), peer))


def phone(case: Case, number: str = NUMBER) -> Entry:
    return Entry(case_id=case.case_id, unit="UIF", review_us=REVIEW_US, telecom=Telecom(telephone=number))


def found(connection: Connection) -> set[FindId]:
    return set(alert_finding.due(connection, START_US + DAY_US, 100))


def test_what_is_written_finds_the_alerts_of_peers_that_look_for_it(
    connection: Connection, vault: Vault, entries: Entries, case: Case
) -> None:
    here, elsewhere = put(connection, vault), put(connection, vault, OTHER)
    put(connection, vault, direction=DIRECTION_SENT)
    (entry,) = entries.insert(connection, [phone(case)], START_US)
    assert found(connection) == {FindId("GT", here.id.exchange_id, entry.entry_id)}
    changed = Entry()
    changed.CopyFrom(entry)
    changed.telecom.telephone = OTHER
    entries.update(connection, entry, changed, START_US + 1)
    assert {each.exchange_id for each in found(connection)} == {here.id.exchange_id, elsewhere.id.exchange_id}


def test_what_was_looked_at_waits_again_once_the_entry_is_changed_or_other_rules_decide(
    connection: Connection, vault: Vault, entries: Entries, case: Case
) -> None:
    put(connection, vault)
    (entry,) = entries.insert(connection, [phone(case)], START_US)
    (key,) = found(connection)
    alert_finding.settle(connection, key, rules_sha256=b"a", told_sha256=b"t", told_us=START_US)
    assert not found(connection)
    changed = Entry()
    changed.CopyFrom(entry)
    changed.telecom.holder_name = "Invented Holder"
    entries.update(connection, entry, changed, START_US + 1)
    assert found(connection) == {key}

    alert_finding.settle(connection, key, rules_sha256=b"a")
    alert_finding.reconsider(connection, {"GT": b"a"}, START_US)
    assert not found(connection)
    alert_finding.reconsider(connection, {"GT": b"b"}, START_US)
    assert found(connection) == {key}
    assert alert_finding.peers_found(connection) == ["GT"]
    alert_finding.untell(connection, key, START_US)
    assert not alert_finding.told_to(connection, *key[:2])


def test_many_entries_at_once_find_many_alerts(
    connection: Connection, vault: Vault, entries: Entries, case: Case
) -> None:
    numbers = [f"+1202555{number:04}" for number in range(100, 400)]
    for number in numbers[::2]:
        put(connection, vault, number)
    entries.insert(connection, [phone(case, number) for number in numbers], START_US)
    assert alert_finding.waiting(connection, START_US + 1) == 150


def test_what_ended_finds_nothing_and_what_a_peers_looked_for_is_erased(
    connection: Connection, vault: Vault, entries: Entries, case: Case
) -> None:
    kept, own = put(connection, vault), put(connection, vault, direction=DIRECTION_SENT)
    entries.insert(connection, [phone(case)], START_US)
    for each in (kept, own):
        alerts.change(connection, each, START_US, "ended")
    assert not found(connection)
    assert connection.execute(select(alert_tokens)).all() == []
    assert not alerts.get(connection, vault, kept.id).detail.HasField("alert")
    assert alerts.get(connection, vault, own.id).detail.HasField("alert")
    assert len(connection.execute(select(key_erasures)).all()) == 1
    entries.insert(connection, [phone(case)], START_US)
    assert not found(connection)
    assert not alerts.old(connection, START_US)
    assert alerts.old(connection, START_US + alerts.KEPT_US)
    assert alerts.forget_old(connection, START_US + alerts.KEPT_US) == 2
    with pytest.raises(NotFoundError):
        alerts.get(connection, vault, own.id)


def test_an_exchange_has_one_alert_and_what_is_listed_is_what_was_asked_for(
    connection: Connection, vault: Vault
) -> None:
    kept, own = put(connection, vault), put(connection, vault, direction=DIRECTION_SENT, peer="US")
    with pytest.raises(ReplayError):
        alerts.put(connection, vault, kept.detail, ())
    assert [each.exchange_id for each in alerts.list_items(connection, direction=DIRECTION_SENT)] == [
        own.id.exchange_id
    ]
    assert alerts.count_open(connection, DIRECTION_RECEIVED, peer="GT") == 1
    assert alerts.count_open(connection, DIRECTION_SENT, unit="UIF") == 1
    assert {each.id for each in alerts.overdue(connection, vault, START_US + DAY_US)} == {kept.id, own.id}
    assert alerts.find(connection, vault, own.id.exchange_id).id == own.id
    with pytest.raises(NotFoundError):
        alerts.find(connection, vault, secrets.token_bytes(16))
    with pytest.raises(NotFoundError):
        alerts.get(connection, vault, AlertId(DIRECTION_SENT, *kept.id[1:]))


def test_a_pair_is_looked_at_once_and_told_once(connection: Connection) -> None:
    pair = Pair(secrets.token_bytes(16), "GT", secrets.token_bytes(16), "analyst", "UIF", "")
    alert_pairs.put(connection, pair, START_US)
    alert_pairs.put(connection, pair, START_US + 1)
    assert alert_pairs.due(connection, START_US + 1, 10) == [pair]
    assert not alert_pairs.is_told(connection, "GT", pair.exchange_id)
    alert_pairs.settle(connection, pair, START_US + 2)
    assert alert_pairs.is_told(connection, "GT", pair.exchange_id)
    assert alert_pairs.waiting(connection, START_US + 10) == 0
    (told,) = alert_pairs.told(connection, unit="UIF")
    assert told.told_us == START_US + 2
