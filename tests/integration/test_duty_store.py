"""The roster and the pages as both databases keep them."""

import pytest
from sqlalchemy import Connection

from node.store import duty, pages
from node.store.duty_tables import contacts
from node.store.officers import Officer, put_officer
from node.store.pages import Rung, What
from node.store.vault import Vault
from node.wire.codes_pb2 import UNIT_TYPE_POLICE_INTELLIGENCE, URGENCY_LIFE
from node.wire.desk_pb2 import OFFICER_ROLE_FOCAL_POINT
from node.wire.duty_pb2 import PAGE_KIND_FACTS, PAGE_KIND_LIFE, ContactOf
from tests.conftest import START_US

HOUR_US = 3_600_000_000


def turn(connection: Connection, begin: int, end: int, *names: str, at_us: int = START_US) -> None:
    duty.put_turn(connection, START_US + begin * HOUR_US, START_US + end * HOUR_US, names, by="focal", now_us=at_us)


def hours(connection: Connection, since: int = 0) -> list[tuple[str, int, int]]:
    found = duty.timeline(connection, START_US + since * HOUR_US)
    assert all(each.until_us > each.from_us for each in found)
    return [
        (" ".join(each.officers), (each.from_us - START_US) // HOUR_US, (each.until_us - START_US) // HOUR_US)
        for each in found
    ]


def test_what_was_set_last_counts_though_the_clock_stood_still(connection: Connection) -> None:
    turn(connection, 0, 8, "ana", "bea")
    turn(connection, 2, 4, "carla")
    turn(connection, 3, 6, "dora")
    assert hours(connection) == [("ana bea", 0, 2), ("carla", 2, 3), ("dora", 3, 6), ("ana bea", 6, 8)]
    turn(connection, 1, 7, "ana", at_us=START_US - HOUR_US)  # the clock was set back
    assert hours(connection, 5) == [("ana", 5, 7), ("ana bea", 7, 8)]
    on_duty = duty.on_duty(connection, START_US)
    assert on_duty is not None
    assert list(on_duty.officers) == ["ana", "bea"]
    assert duty.on_duty(connection, START_US + 8 * HOUR_US) is None


@pytest.mark.parametrize("at", range(-1, 10))
def test_the_timeline_says_what_counts_at_each_time(connection: Connection, at: int) -> None:
    for begin, end, name in ((0, 8, "a"), (5, 6, "b"), (1, 3, "c"), (2, 9, "d"), (7, 8, "e")):
        turn(connection, begin, end, name)
    found = duty.on_duty(connection, START_US + at * HOUR_US)
    listed = [names for names, begin, end in hours(connection, -2) if begin <= at < end]
    assert listed == ([" ".join(found.officers)] if found is not None else [])


def test_where_somebody_is_on_call_nobody_else_acts_alone(connection: Connection) -> None:
    assert duty.may_act_alone(connection, "carla", START_US)
    turn(connection, 0, 1, "ana", "bea")
    assert [duty.may_act_alone(connection, name, START_US) for name in ("ana", "bea", "carla")] == [True, True, False]
    assert duty.may_act_alone(connection, "carla", START_US + HOUR_US)


def test_only_active_officers_of_the_role_are_called(connection: Connection) -> None:
    role = frozenset({OFFICER_ROLE_FOCAL_POINT})
    for name, is_active in (("ana", True), ("bea", False)):
        officer = Officer(name, f"spiffe://{name}", "U", UNIT_TYPE_POLICE_INTELLIGENCE, role, is_active)
        put_officer(connection, officer, START_US)
    assert list(duty.active(connection, OFFICER_ROLE_FOCAL_POINT)) == ["ana"]


def test_how_somebody_is_reached_is_readable_with_the_vault_alone(connection: Connection, vault: Vault) -> None:
    contact = ContactOf(officer="ana", email="ana@unit.example", telephone="+502 2411 9911")
    assert duty.put_contact(connection, vault, contact) is None
    assert duty.get_contacts(connection, vault, ["ana", "bea"]) == {"ana": contact}
    key_id = duty.put_contact(connection, vault, ContactOf(officer="ana", email="other@unit.example"))
    assert key_id is not None
    vault.erase_keys([key_id], START_US)
    assert duty.get_contacts(connection, vault, ["ana"])["ana"].email == "other@unit.example"
    connection.execute(contacts.update().values(officer="bea"))  # moved to another by SQL: it opens nothing
    assert duty.get_contacts(connection, vault, ["bea"]) == {}


def life(number: int) -> What:
    return What(PAGE_KIND_LIFE, "MX", bytes([number]) * 16, URGENCY_LIFE, START_US, START_US + HOUR_US)


def told(connection: Connection, page: pages.OpenPage, *names: str, rung: int = 0) -> int:
    later = START_US + HOUR_US
    return pages.tell(connection, page, rung=rung, turn_id=None, recipients=names, now_us=START_US, next_us=later)


def test_each_is_told_once_of_a_step_and_nothing_is_sent_once_it_is_taken(connection: Connection) -> None:
    page = pages.open_page(connection, life(1), START_US)
    assert (len(page.ticket), page.ticket.isdigit(), page.step) == (10, True, 0)
    assert told(connection, page, "ana", pages.WEBHOOK) == 1
    (first, second) = pages.due(connection, START_US)
    assert {first.recipient, second.recipient} == {"ana", pages.WEBHOOK}
    assert pages.claim(connection, first, START_US + 1)
    assert not pages.claim(connection, first, START_US + 1), "who comes second finds it taken up"
    pages.failed(connection, first, "x" * 300)
    assert pages.count_failing(connection) == 1
    again = next(each for each in pages.due(connection, START_US + 1) if each.recipient == first.recipient)
    assert again.attempts == 1
    pages.sent(connection, again)
    assert pages.count_failing(connection) == 0
    assert pages.close(connection, page.ticket, START_US + 2)
    assert not pages.close(connection, page.ticket, START_US + 2)
    assert pages.due(connection, START_US + HOUR_US) == []


def test_what_waits_again_has_the_same_ticket_and_the_next_step(connection: Connection) -> None:
    page = pages.open_page(connection, life(1), START_US)
    told(connection, page, "ana")
    pages.close(connection, page.ticket, START_US)
    again = pages.open_page(connection, life(1), START_US + 5)
    assert (again.ticket, again.step, again.rung) == (page.ticket, 1, -1)
    assert told(connection, again, "ana", rung=Rung.FOCAL_POINTS) == 2
    (listed,) = pages.list_pages(connection, closed=False)
    assert (listed.told, list(listed.officers), listed.closed_us) == ("all focal points", ["ana"], 0)


def test_only_facts_to_determine_are_taken_at_the_page(connection: Connection) -> None:
    fact = life(1)._replace(kind=PAGE_KIND_FACTS)
    page, other = (pages.open_page(connection, each, START_US) for each in (fact, life(1)))
    assert pages.take_facts(connection, fact.subject, "US", START_US) is None
    assert pages.take_facts(connection, fact.subject, "MX", START_US) == page.ticket
    assert pages.take_facts(connection, fact.subject, "MX", START_US) is None
    assert [each.ticket for each in pages.open_pages(connection)] == [other.ticket]


def test_a_page_is_forgotten_a_year_after_it_was_closed(connection: Connection) -> None:
    for number in (1, 2):
        page = pages.open_page(connection, life(number), START_US)
        told(connection, page, "ana")
        pages.close(connection, page.ticket, START_US + number)
    assert not pages.outdated(connection, START_US + pages.KEPT_US)
    assert pages.outdated(connection, START_US + pages.KEPT_US + 1)
    assert pages.forget(connection, START_US + pages.KEPT_US + 1) == 1
    assert len(pages.list_pages(connection, closed=True)) == 1
