from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from node.errors import DecryptionError, NotFoundError, RecordError, SecondOfficerError, UsageError
from node.store.changes import Changes, ChangeState
from node.store.entries import Entries
from node.store.tables import pending_changes
from node.wire.codes_pb2 import AsylumState, Caveat, HandlingCode, LinkKind, Role, Tri
from node.wire.entry_pb2 import Case, Entry, Link, Person, PersonName, Protection, Telecom
from tests.conftest import START_US

REVIEW_US = START_US + 365 * 86_400_000_000


@pytest.fixture
def victim(connection: Connection, changes: Changes, case: Case) -> Entry:
    entry = Entry(case_id=case.case_id, unit="UIF", review_us=REVIEW_US, protection=Protection(victim=Tri.TRI_YES))
    entry.person.CopyFrom(Person(names=[PersonName(full="Ana Invented")]))
    return changes.put(connection, entry, officer="one", reason="", now_us=START_US).entry


def weaker(entry: Entry) -> Entry:
    change = Entry()
    change.CopyFrom(entry)
    change.protection.victim = Tri.TRI_NO
    return change


def proposed(connection: Connection, changes: Changes, entry: Entry) -> bytes:
    done = changes.put(connection, weaker(entry), officer="one", reason="court found otherwise", now_us=START_US + 1)
    assert done.weakened == ["protection.victim"]
    assert done.entry == entry
    return done.pending_change


def test_a_change_that_weakens_nothing_is_made_at_once(
    connection: Connection, changes: Changes, entries: Entries, victim: Entry
) -> None:
    change = Entry()
    change.CopyFrom(victim)
    change.protection.asylum = AsylumState.ASYLUM_STATE_CLAIMED
    done = changes.put(connection, change, officer="one", reason="", now_us=START_US)
    assert not done.pending_change
    assert done.entry.revision == 2
    assert entries.get(connection, victim.entry_id) == done.entry
    assert changes.list_pending(connection) == []


def test_a_change_that_weakens_waits_and_the_entry_stays_as_strict_as_it_was(
    connection: Connection, changes: Changes, entries: Entries, victim: Entry
) -> None:
    change_id = proposed(connection, changes, victim)
    assert entries.get(connection, victim.entry_id) == victim
    (waiting,) = changes.list_pending(connection)
    assert (waiting.change_id, waiting.entry_id) == (change_id, victim.entry_id)
    assert (waiting.proposed_by, waiting.proposed_us) == ("one", START_US + 1)
    assert waiting.reason == "court found otherwise"
    assert waiting.weakened == ["protection.victim"]
    assert changes.proposed(connection, change_id).protection.victim == Tri.TRI_NO


def test_who_proposed_a_change_can_not_confirm_it(
    connection: Connection, changes: Changes, entries: Entries, victim: Entry
) -> None:
    change_id = proposed(connection, changes, victim)
    with pytest.raises(SecondOfficerError):
        changes.confirm(connection, change_id, officer="one", now_us=START_US)
    assert entries.get(connection, victim.entry_id) == victim
    assert len(changes.list_pending(connection)) == 1


def test_a_second_officer_confirms(connection: Connection, changes: Changes, entries: Entries, victim: Entry) -> None:
    change_id = proposed(connection, changes, victim)
    confirmed = changes.confirm(connection, change_id, officer="two", now_us=START_US + 2)
    assert confirmed.protection.victim == Tri.TRI_NO
    assert entries.get(connection, victim.entry_id) == confirmed
    assert entries.revision(connection, victim.entry_id, 1) == victim
    assert changes.list_pending(connection) == []
    for again in (changes.confirm, changes.decline):
        with pytest.raises(NotFoundError):
            again(connection, change_id, officer="two", now_us=START_US)


@pytest.mark.parametrize("officer", ["one", "two"])
def test_a_declined_change_changes_nothing(
    connection: Connection, changes: Changes, entries: Entries, victim: Entry, officer: str
) -> None:
    change_id = proposed(connection, changes, victim)
    assert changes.decline(connection, change_id, officer=officer, now_us=START_US) == victim
    assert entries.get(connection, victim.entry_id) == victim
    with pytest.raises(NotFoundError):
        changes.confirm(connection, change_id, officer="two", now_us=START_US)
    state = connection.execute(select(pending_changes.c.state, pending_changes.c.decided_by)).one()
    assert tuple(state) == (ChangeState.DECLINED, officer)


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_change_that_weakens_needs_a_reason(
    connection: Connection, changes: Changes, victim: Entry, reason: str
) -> None:
    with pytest.raises(UsageError, match="reason"):
        changes.put(connection, weaker(victim), officer="one", reason=reason, now_us=START_US)
    assert changes.list_pending(connection) == []


def test_a_change_of_an_entry_that_changed_since_is_not_made(
    connection: Connection, changes: Changes, entries: Entries, victim: Entry
) -> None:
    change_id = proposed(connection, changes, victim)
    stricter = Entry()
    stricter.CopyFrom(victim)
    stricter.protection.asylum = AsylumState.ASYLUM_STATE_CLAIMED
    now = changes.put(connection, stricter, officer="three", reason="", now_us=START_US).entry
    with pytest.raises(UsageError, match="anew"):
        changes.confirm(connection, change_id, officer="two", now_us=START_US)
    assert entries.get(connection, victim.entry_id) == now
    with pytest.raises(UsageError, match="read it again"):
        proposed(connection, changes, victim)


@pytest.mark.parametrize(
    ("had", "lost"),
    [
        ({"protection": Protection()}, "protection"),
        ({"roles": [Role.ROLE_SUSPECT]}, "roles"),
        ({"roles": [Role.ROLE_UNKNOWN]}, "roles"),
        ({"caveats": [Caveat.CAVEAT_NO_ORIGIN_STATE]}, "caveats"),
        ({"handling": HandlingCode.HANDLING_CODE_H3, "handling_text": "by hand only"}, "handling"),
    ],
)
def test_forgetting_whom_a_telephone_protects_waits(
    *, connection: Connection, changes: Changes, entries: Entries, case: Case, had: dict[str, Any], lost: str
) -> None:
    phone = Entry(case_id=case.case_id, unit="UIF", review_us=REVIEW_US, telecom=Telecom(telephone="+50255500001"))
    phone.MergeFrom(Entry(**({"handling": HandlingCode.HANDLING_CODE_H0} | had)))
    (phone,) = entries.insert(connection, [phone], START_US)
    change = Entry()
    change.CopyFrom(phone)
    for field in had:
        change.ClearField(field)  # type: ignore[arg-type]
    if lost == "handling":
        change.handling = HandlingCode.HANDLING_CODE_H2
    with pytest.raises(UsageError, match="reason"):
        changes.put(connection, change, officer="one", reason="", now_us=START_US)
    done = changes.put(connection, change, officer="one", reason="a slip", now_us=START_US)
    assert done.weakened == [lost]
    assert entries.get(connection, phone.entry_id) == phone
    assert changes.confirm(connection, done.pending_change, officer="two", now_us=START_US).revision == 2


def test_dropping_a_link_from_a_victim_waits_and_the_telephone_stays_protected(
    connection: Connection, changes: Changes, entries: Entries, victim: Entry
) -> None:
    phone = Entry(case_id=victim.case_id, unit="UIF", review_us=REVIEW_US, telecom=Telecom(telephone="+50255500001"))
    (phone,) = entries.insert(connection, [phone], START_US)
    linked = Entry()
    linked.CopyFrom(victim)
    linked.links.append(Link(kind=LinkKind.LINK_KIND_USES, to_entry_id=phone.entry_id))
    linked = changes.put(connection, linked, officer="one", reason="", now_us=START_US).entry
    unlinked = Entry()
    unlinked.CopyFrom(linked)
    del unlinked.links[:]
    done = changes.put(connection, unlinked, officer="one", reason="never hers", now_us=START_US)
    assert done.weakened == ["links"]
    assert entries.get(connection, phone.entry_id).inherited.victim == Tri.TRI_YES
    changes.confirm(connection, done.pending_change, officer="two", now_us=START_US)
    assert not entries.get(connection, phone.entry_id).HasField("inherited")


def test_a_change_to_nothing_and_one_into_another_case(connection: Connection, changes: Changes, victim: Entry) -> None:
    with pytest.raises(NotFoundError):
        changes.put(connection, Entry(entry_id=bytes(16)), officer="one", reason="", now_us=START_US)
    moved = Entry()
    moved.CopyFrom(victim)
    moved.case_id = bytes(16)
    with pytest.raises(RecordError, match="stays in its case"):
        changes.put(connection, moved, officer="one", reason="", now_us=START_US)
    moved.protection.victim = Tri.TRI_NO
    with pytest.raises(RecordError, match="stays in its case"):
        changes.put(connection, moved, officer="one", reason="why", now_us=START_US)


def test_one_officer_does_not_become_two_by_sql(
    connection: Connection, changes: Changes, entries: Entries, victim: Entry
) -> None:
    change_id = proposed(connection, changes, victim)
    connection.execute(update(pending_changes).values(proposed_by="somebody else"))
    with pytest.raises(DecryptionError):
        changes.confirm(connection, change_id, officer="one", now_us=START_US)
    assert entries.get(connection, victim.entry_id) == victim


def test_the_database_itself_refuses_one_officer_for_both(
    connection: Connection, changes: Changes, victim: Entry
) -> None:
    proposed(connection, changes, victim)
    savepoint = connection.begin_nested()
    with pytest.raises(IntegrityError):
        connection.execute(update(pending_changes).values(state=ChangeState.CONFIRMED, decided_by="one"))
    savepoint.rollback()
