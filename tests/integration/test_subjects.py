"""All that is held of a person: own entries whatever their state, queries by whoever, and erasing one for good."""

import asyncio
import os
import tracemalloc

import pytest
from sqlalchemy import delete, insert, select

from node.errors import KeyErasedError, NotFoundError, UsageError
from node.records.lookup import LookupKey
from node.store import erasing
from node.store.cases import Cases
from node.store.database import Database
from node.store.entries import Entries
from node.store.freezes import Mark, read_mark
from node.store.frozen import Frozen
from node.store.ids import new_id
from node.store.lines import ledger_bodies
from node.store.received_tables import key_erasures
from node.store.subject_tables import erasures
from node.store.subjects import Looked, Targets, held, queries, selectors_of
from node.store.tables import pending_changes
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.codes_pb2 import LINK_KIND_ASSOCIATE_OF, LOOKUP_KIND_NAME, LOOKUP_KIND_TELEPHONE
from node.wire.entry_pb2 import Case, Entry, Link, Person, PersonName, Telecom
from node.wire.exchange_pb2 import Body, Query, Selector
from node.wire.ledger_pb2 import LEAF_KIND_ANSWERED, LEAF_KIND_ASKED, LEAF_KIND_READ
from node.wire.subject_pb2 import ENTRY_ERASURE_STATE_DONE, EntryErasure
from tests.conftest import START_US
from tests.ledger_lines import new_line

NUMBER = "+50255550143"
LATER = START_US + 365 * 86_400_000_000


def name(full: str, year: int = 0) -> Selector:
    return Selector(kind=LOOKUP_KIND_NAME, value=full, birth_year=year)


def phone(value: str) -> Selector:
    return Selector(kind=LOOKUP_KIND_TELEPHONE, value=value)


def body(*selectors: Selector) -> tuple[tuple[str, bytes], ...]:
    return (("query", Body(salt=bytes(32), query=Query(selectors=selectors)).SerializeToString()),)


def entry(case: Case, value: str = NUMBER) -> Entry:
    return Entry(
        case_id=case.case_id,
        entry_id=new_id(),
        originator="GT",
        unit="UIF",
        review_us=LATER,
        telecom=Telecom(telephone=value),
    )


def person(case: Case, *full: str, links: tuple[Link, ...] = ()) -> Entry:
    return Entry(
        case_id=case.case_id,
        entry_id=new_id(),
        originator="GT",
        unit="UIF",
        review_us=LATER,
        person=Person(names=[PersonName(full=each) for each in full], telephones=[NUMBER]),
        links=links,
    )


# --- queries ---------------------------------------------------------------------------------------------------------


def targets(*selectors: Selector) -> Targets:
    return Targets(selectors, LookupKey(0, os.urandom(32)), "GT")


@pytest.mark.parametrize(
    ("selector", "of_person", "matches"),
    [
        (phone("+502 5555 0143"), phone("5555 0143"), True),
        (phone("5555-0143"), phone("+50255550143"), False),  # typed in Mexico, it is a Mexican number
        (phone("+50255550144"), phone(NUMBER), False),
        (name("María López"), name("Maria Lopez"), True),
        (name("Maria Lopez Ruiz"), name("Maria Lopez"), True),  # may be the same, and is for a person to see
        (name("Maria Lopez", 1990), name("Maria Lopez"), True),
        (name("Maria Lopez"), name("Maria Lopez", 1990), True),
        (name("Maria Lopez", 1990), name("Maria Lopez", 1991), False),
        (name("Juan Perez"), name("Maria Lopez"), False),
        (Selector(kind=LOOKUP_KIND_TELEPHONE, value="?"), phone(NUMBER), False),
    ],
)
def test_what_was_asked_is_compared_as_it_was_meant(selector: Selector, of_person: Selector, *, matches: bool) -> None:
    found = targets(of_person).matched(Query(selectors=[selector]), "MX")
    assert found == ([selector] if matches else [])


def looked(database: Database, vault: Vault, wanted: Targets, stop: int = 10_000, until_us: int = 2**62) -> Looked:
    with database.reading() as connection:
        return queries(connection, vault, wanted, (0, stop), (0, until_us), body="query", country="GT")


def written(database: Database, vault: Vault, *lines: object) -> None:
    async def append() -> None:
        await writer.append_all(lines)  # type: ignore[arg-type]

    with Writer(database.engine, vault) as writer:
        asyncio.run(append())


def test_queries_of_both_sides_are_looked_through_and_erased_ones_counted(database: Database, vault: Vault) -> None:
    written(
        database,
        vault,
        new_line(kind=LEAF_KIND_ASKED, bodies=body(phone("5555 0143"))),
        new_line(kind=LEAF_KIND_ANSWERED, bodies=body(name("Nobody Else"), phone(NUMBER))),
        new_line(kind=LEAF_KIND_ANSWERED, bodies=body(name("Nobody Else"))),
        new_line(kind=LEAF_KIND_ANSWERED, bodies=body(phone(NUMBER))),
        new_line(kind=LEAF_KIND_READ),
    )
    with database.engine.begin() as connection:
        connection.execute(delete(ledger_bodies).where(ledger_bodies.c.idx == 3))
    found = looked(database, vault, targets(phone(NUMBER)))
    assert [(each.line, [one.value for one in each.matched]) for each in found.found] == [
        (0, ["5555 0143"]),
        (1, [NUMBER]),
    ]
    assert all(each.private is not None for each in found.found)
    assert (found.read, found.unreadable) == (3, 1)
    assert looked(database, vault, targets(phone(NUMBER)), until_us=5) == Looked([], 0, 0)


def test_memory_stays_flat_however_many_queries_there_are(database: Database, vault: Vault) -> None:
    if not database.is_sqlite:
        return  # the driver's memory is not Python's, and the code is the same
    written(database, vault, *[new_line(bodies=body(name("Nobody Else", 1990))) for _ in range(600)])
    wanted = targets(phone(NUMBER))
    looked(database, vault, wanted)
    tracemalloc.start()
    try:
        looked(database, vault, wanted, 200)
        few = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        for start in range(0, 600, 200):
            with database.reading() as connection:
                queries(connection, vault, wanted, (start, start + 200), (0, 2**62), body="query", country="GT")
        many = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert many < few * 1.5


# --- own entries -----------------------------------------------------------------------------------------------------


@pytest.fixture
def other(database: Database, cases: Cases) -> Case:
    with database.engine.begin() as connection:
        return cases.put(connection, Case(reference="X-2", unit="UIF", review_us=LATER, open=False), START_US)


def test_entries_are_held_whatever_their_state_with_links_and_possible_duplicates(
    database: Database, vault: Vault, entries: Entries, case: Case, other: Case
) -> None:
    expired = entry(case)
    expired.review_us = START_US + 1
    them = person(case, "Maria Lopez")
    friend = person(case, "Juan Perez", links=(Link(kind=LINK_KIND_ASSOCIATE_OF, to_entry_id=them.entry_id),))
    friend.person.ClearField("telephones")
    double = person(other, "M. Lopez")
    with database.engine.begin() as connection:
        entries.insert(connection, [expired, them, friend, double], START_US)
        entries.recall(connection, expired.entry_id)
    with database.reading() as connection:
        found = held(
            connection, entries, vault.lookup_keys(), selectors=[name("Maria Lopez")], entry_ids=[], region="GT"
        )
    assert list(found.own) == [them.entry_id]
    assert {key: kinds for key, (_, kinds) in found.linked.items()} == {friend.entry_id: (LINK_KIND_ASSOCIATE_OF,)}
    assert set(found.duplicates) == {expired.entry_id, double.entry_id}  # by the telephone that they share
    assert not found.erased
    assert {each.value for each in selectors_of(them)} == {"Maria Lopez", NUMBER}
    vault.erase_keys([other.case_id], START_US)
    with database.reading() as connection:
        again = held(connection, entries, vault.lookup_keys(), selectors=[phone(NUMBER)], entry_ids=[], region="GT")
    assert (set(again.own), again.erased) == ({expired.entry_id, them.entry_id}, {double.entry_id})


# --- erasing ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def frozen(vault: Vault) -> Frozen:
    return Frozen(vault, vault.lookup_keys())


def test_an_entry_is_erased_and_its_case_moves_to_another_key(
    database: Database, vault: Vault, entries: Entries, case: Case, frozen: Frozen
) -> None:
    gone, stays, moved = entry(case), entry(case, "+50255550144"), new_id()
    with database.engine.begin() as connection:
        entries.insert(connection, [gone, stays], START_US)
        kept = entries.get(connection, stays.entry_id)
        again = entries.update(connection, kept, kept, START_US)
    vault.ensure_keys((moved,))
    with database.engine.begin() as connection:
        old = erasing.erase(connection, vault, frozen, gone.entry_id, new_case_id=moved, now_us=START_US)
    assert old == case.case_id
    vault.erase_keys([old], START_US)
    with database.reading() as connection:
        with pytest.raises(NotFoundError):
            entries.get(connection, gone.entry_id)
        with pytest.raises(NotFoundError):
            entries.revision(connection, gone.entry_id, 1)
        now = entries.get(connection, stays.entry_id)
        assert (now.case_id, now.revision) == (moved, again.revision + 1)
        for revision in (1, 2):
            past = entries.revision(connection, stays.entry_id, revision)
            assert (past.telecom.telephone, past.revision) == ("+50255550144", revision)
        assert Cases(vault).get(connection, moved).reference == case.reference
        assert connection.execute(select(key_erasures.c.key_id)).scalars().all() == [old]
    with pytest.raises(KeyErasedError):
        vault.seal(old, b"", b"")


def test_a_change_that_waits_and_an_entry_that_is_not_there_stop_it(
    database: Database, vault: Vault, entries: Entries, case: Case, frozen: Frozen
) -> None:
    with database.engine.begin() as connection:
        (one,) = entries.insert(connection, [entry(case)], START_US)
        waits = {"change_id": new_id(), "entry_id": one.entry_id, "case_id": case.case_id, "base_revision": 1}
        waits |= {"state": 1, "proposed_by": "a", "proposed_us": START_US, "sealed": b"", "sealed_reason": b""}
        connection.execute(insert(pending_changes).values(waits))
    with database.engine.begin() as connection:
        with pytest.raises(UsageError, match="wait for a second officer"):
            erasing.erase(connection, vault, frozen, one.entry_id, new_case_id=new_id(), now_us=START_US)
        with pytest.raises(NotFoundError):
            erasing.erase(connection, vault, frozen, new_id(), new_case_id=new_id(), now_us=START_US)


def test_other_processes_notice_that_views_were_sealed_anew(database: Database, vault: Vault, case: Case) -> None:
    with database.reading() as connection:
        before = read_mark(connection)
    done = EntryErasure(
        erasure_id=new_id(), entry_id=new_id(), state=ENTRY_ERASURE_STATE_DONE, proposed_by="a", decided_us=START_US
    )
    with database.engine.begin() as connection:
        erasing.put(connection, vault, done, case.case_id)
    with database.reading() as connection:
        assert read_mark(connection) == Mark(*before[:-1], START_US)
        assert erasing.list_erasures(connection, vault) == [done]
        assert not erasing.waiting(connection, [done.entry_id])
        assert connection.execute(select(erasures.c.case_id)).scalar() == case.case_id
