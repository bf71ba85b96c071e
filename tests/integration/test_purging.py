"""What is past its date goes, with a line and its key; nothing but a decision extends, nothing but a hold stops."""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, func, insert, select, update

from node.errors import KeyErasedError, NotFoundError, RecordError
from node.records.lookup import selector_tokens
from node.store import withdrawals
from node.store.cases import Cases
from node.store.database import Database
from node.store.lines import ledger_bodies
from node.store.mail import MailId, seal_received
from node.store.mail_tables import inbox
from node.store.purge import due_answers
from node.store.received_tables import answer_bodies, key_erasures, legal_holds, received, received_lookups
from node.store.retention import place_hold, release_hold
from node.store.safeguard_tables import disclosures, freezes
from node.store.tables import bonds, case_revisions, cases, entries, entry_revisions, lookups
from node.store.vault import Vault, key_id_of
from node.store.writer import Writer
from node.wire.codes_pb2 import LINK_KIND_USES, LOOKUP_KIND_TELEPHONE, ROLE_VICTIM, TRI_YES
from node.wire.entry_pb2 import Case, Entry, Link, Person, PersonName, Telecom
from node.wire.exchange_pb2 import Selector
from tests.conftest import START_US, Clock
from tests.integration.received_support import DAY_US, EXCHANGE, HANDLE, Keeper, arrived, released

OWN = (cases, case_revisions, entries, entry_revisions, lookups, bonds)


@pytest.fixture
def keeper(database: Database, vault: Vault, clock: Clock) -> Iterator[Keeper]:
    with Writer(database.engine, vault) as writer:
        yield Keeper(database, vault, writer, clock)


def rows(keeper: Keeper, *tables: Table) -> list[int]:
    with keeper.database.reading() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]


def put_case(keeper: Keeper, days: int) -> Case:
    case = Case(reference="GT-1", unit="UIF", review_us=keeper.clock() + days * DAY_US, open=True)
    return keeper.change(lambda connection: Cases(keeper.vault).put(connection, case, keeper.clock()))


def put_entry(keeper: Keeper, case: Case, days: int, number: str = "+12025550143") -> Entry:
    entry = Entry(
        case_id=case.case_id,
        originator="GT",
        unit="UIF",
        review_us=keeper.clock() + days * DAY_US,
        telecom=Telecom(telephone=number),
    )
    return keeper.change(lambda connection: keeper.entries.insert(connection, [entry], keeper.clock()))[0]


def hold(keeper: Keeper, subject: bytes, days: int) -> None:
    until_us = keeper.clock() + days * DAY_US
    keeper.change(
        lambda connection: place_hold(
            connection,
            keeper.vault,
            subject,
            law="CPP art. 150",
            until_us=until_us,
            officer="ana",
            now_us=keeper.clock(),
        )
    )


async def test_a_received_entry_ends_at_its_originators_date_with_its_key(keeper: Keeper, clock: Clock) -> None:
    kept = keeper.kept(arrived(released(30)))
    key_id = key_id_of(keeper.read(lambda connection: connection.execute(select(received.c.sealed)).scalar_one()))
    clock.advance(days=29.9)
    await keeper.purging.look()
    assert keeper.listed() == [kept]
    clock.advance(days=0.1)
    assert keeper.listed() == keeper.found() == []  # of no use from the instant on, whenever it is deleted
    await keeper.purging.look()
    assert rows(keeper, received, received_lookups, key_erasures) == [0, 0, 0]
    assert keeper.deleted() == [("RECEIVED", kept.received_id)]
    with pytest.raises(KeyErasedError):
        keeper.vault.seal(key_id, b"", b"")
    await keeper.purging.look()
    assert len(keeper.deleted()) == 1


async def test_a_recalled_entry_is_deleted_and_a_receipt_can_say_so(keeper: Keeper, clock: Clock) -> None:
    keeper.kept()
    deletion = keeper.withdraw()
    clock.advance(seconds=1)
    await keeper.purging.look()
    (done,) = keeper.read(lambda connection: withdrawals.untold(connection, clock()))
    assert done.deletion_id == deletion.deletion_id
    assert done.deleted_us == clock()
    assert done.deleted_us < deletion.due_us
    assert done.backups_until_us == clock() + 30 * DAY_US
    assert keeper.put(arrived()) is None


async def test_a_held_copy_is_of_no_use_and_goes_when_the_hold_ends(keeper: Keeper, clock: Clock) -> None:
    kept = keeper.kept(arrived(released(30)))
    hold(keeper, kept.received_id, 100)
    assert len(keeper.listed()) == 1  # a hold takes nothing out of use before its date
    clock.advance(days=31)
    await keeper.purging.look()
    assert rows(keeper, received) == [1]
    assert keeper.listed() == keeper.found() == []
    clock.advance(days=69)
    await keeper.purging.look()
    assert rows(keeper, received, legal_holds) == [0, 0]


async def test_a_recalled_copy_under_a_hold_gets_a_second_receipt_when_it_goes(keeper: Keeper, clock: Clock) -> None:
    kept = keeper.kept()
    hold(keeper, kept.received_id, 100)
    deletion = keeper.withdraw()
    await keeper.purging.look()
    assert rows(keeper, received) == [1]
    keeper.change(lambda connection: withdrawals.tell(connection, deletion.deletion_id))
    keeper.change(lambda connection: release_hold(connection, kept.received_id, clock()))
    await keeper.purging.look()
    (done,) = keeper.read(lambda connection: withdrawals.untold(connection, clock()))
    assert (done.deleted_us, done.held_law) == (clock(), "")
    keeper.change(lambda connection: withdrawals.tell(connection, deletion.deletion_id))
    assert keeper.read(lambda connection: withdrawals.untold(connection, clock())) == []


async def test_a_hold_that_sql_wrote_or_changed_holds_nothing(keeper: Keeper, clock: Clock) -> None:
    one, other = keeper.kept(arrived(released(30))), keeper.kept(arrived(released(30, b"o" * 16)))
    hold(keeper, one.received_id, 40)
    with keeper.database.engine.begin() as connection:
        connection.execute(update(legal_holds).values(until_us=START_US + 1_000 * DAY_US))
        forged = {"law": "none", "placed_by": "eve", "placed_us": START_US, "tag": b"t" * 32}
        far_us = START_US + 900 * DAY_US
        connection.execute(insert(legal_holds).values(subject=other.received_id, until_us=far_us, **forged))
    clock.advance(days=31)
    await keeper.purging.look()
    assert rows(keeper, received, legal_holds) == [0, 0]


async def test_a_date_that_sql_moved_changes_nothing_for_long(keeper: Keeper) -> None:
    keeper.kept(arrived(released(30)))
    case = put_case(keeper, 100)
    entry = put_entry(keeper, case, 100)
    with keeper.database.engine.begin() as connection:
        connection.execute(update(received).values(review_us=START_US - 1))
        connection.execute(update(entries).values(review_us=START_US - 1))
    await keeper.purging.look()  # nobody deletes by SQL what is not due
    assert rows(keeper, received, entries) == [1, 1]
    assert keeper.deleted() == []
    assert (
        keeper.read(lambda connection: connection.execute(select(entries.c.review_us)).scalar_one()) == entry.review_us
    )


async def test_own_records_end_with_all_that_hangs_on_them(keeper: Keeper, clock: Clock) -> None:
    case = put_case(keeper, 20)
    phone = put_entry(keeper, case, 10)
    victim = Entry(
        case_id=case.case_id,
        originator="GT",
        unit="UIF",
        review_us=START_US + 20 * DAY_US,
        person=Person(names=[PersonName(full="Invented Name")]),
        roles=[ROLE_VICTIM],
        links=[Link(kind=LINK_KIND_USES, to_entry_id=phone.entry_id)],
    )
    person = keeper.change(lambda connection: keeper.entries.insert(connection, [victim], START_US))[0]
    clock.advance(days=10)
    await keeper.purging.look()
    assert keeper.deleted() == [("ENTRY", phone.entry_id)]
    assert rows(keeper, entries, bonds, entry_revisions) == [1, 0, 0]
    # Its link leads nowhere now, and keeps nobody from changing the entry.
    changed = Entry()
    changed.CopyFrom(person)
    changed.person.names.add(full="Another Name")
    stored = keeper.change(lambda connection: keeper.entries.update(connection, person, changed, clock()))
    assert not stored.links
    clock.advance(days=10)
    await keeper.purging.look()
    assert rows(keeper, *OWN) == [0] * len(OWN)
    assert keeper.deleted()[1:] == [("ENTRY", person.entry_id), ("CASE", case.case_id)]
    with pytest.raises(KeyErasedError):
        keeper.vault.seal(case.case_id, b"", b"")


async def test_a_case_stays_while_anything_in_it_is_within_its_date_or_held(keeper: Keeper, clock: Clock) -> None:
    case = put_case(keeper, 10)
    entry = put_entry(keeper, case, 20)
    hold(keeper, case.case_id, 30)
    for days, left in ((15, 1), (10, 1), (6, 0)):
        clock.advance(days=days)
        await keeper.purging.look()
        assert rows(keeper, cases, entries) == [left, left]
    assert {what for what, _ in keeper.deleted()} == {"ENTRY", "CASE"}
    assert entry.entry_id


async def test_what_a_peer_goes_on_seeing_stays_until_that_view_ends(keeper: Keeper, clock: Clock) -> None:
    entry = put_entry(keeper, put_case(keeper, 10), 10)
    view = {"entry_id": entry.entry_id, "peer": "MX", "revision": 1, "state": 1, "made_us": START_US}
    with keeper.database.engine.begin() as connection:
        connection.execute(insert(freezes).values(**view, until_us=START_US + 15 * DAY_US, tag=b""))
    clock.advance(days=11)
    await keeper.purging.look()
    assert rows(keeper, entries, cases) == [1, 1]
    clock.advance(days=4)
    await keeper.purging.look()
    assert rows(keeper, entries, cases, freezes) == [0, 0, 0]


async def test_to_the_state_of_origin_it_ends_as_any_entry_does(keeper: Keeper, clock: Clock) -> None:
    """The one was protected after MX had seen it, and ends earlier here; the other never was."""
    case = put_case(keeper, 30)
    protected, ordinary = put_entry(keeper, case, 10, "+12025550143"), put_entry(keeper, case, 10, "+12025550144")
    seen = {"peer": "MX", "revision": 1, "idx": 0}
    with keeper.database.engine.begin() as connection:
        connection.execute(insert(disclosures), [{"entry_id": each.entry_id, **seen} for each in (protected, ordinary)])
    changed = Entry()
    changed.CopyFrom(protected)
    changed.protection.witness_protection = TRI_YES
    changed.review_us = START_US + 5 * DAY_US
    keeper.change(lambda connection: keeper.entries.update(connection, protected, changed, START_US))

    def sees(entry: Entry) -> list[tuple[bytes, int]]:
        selector = Selector(kind=LOOKUP_KIND_TELEPHONE, value=entry.telecom.telephone)
        tokens = selector_tokens(selector, keeper.vault.lookup_keys(), "MX")
        with keeper.database.reading() as connection, closing(connection.connection.cursor()) as cursor:
            found = keeper.entries.find(cursor, tokens, clock(), 10)
        shown = keeper.purging.frozen.view("MX", found, tokens, clock(), 10)
        return [(each.entry_id, each.revision) for each in shown]

    for days, there in ((0, True), (4, True), (2, True), (3.999, True), (0.001, False), (1, False)):
        clock.advance(days=days)
        for _ in range(2):
            assert sees(protected) == ([(protected.entry_id, 1)] if there else [])
            assert sees(ordinary) == ([(ordinary.entry_id, 1)] if there else [])
            await keeper.purging.look()
    assert rows(keeper, entries, entry_revisions, freezes) == [0, 0, 0]


async def test_an_answer_beside_its_line_ends_with_the_first_entry_in_it(keeper: Keeper, clock: Clock) -> None:
    answer = [released(30), released(0, b"o" * 16)]
    keeper.change(
        lambda connection: keeper.received.note_answer(
            connection, answer, peer="MX", exchange_id=EXCHANGE, disclosed_us=START_US
        )
    )
    clock.advance(days=30)
    assert keeper.read(lambda connection: due_answers(connection, clock(), 10)) == [("MX", EXCHANGE)]
    await keeper.purging.look()
    assert rows(keeper, answer_bodies, ledger_bodies) == [0, 0]
    assert keeper.deleted() == [("ANSWER", EXCHANGE)]


async def test_a_recall_takes_the_answer_with_it(keeper: Keeper, clock: Clock) -> None:
    keeper.change(
        lambda connection: keeper.received.note_answer(
            connection, [released()], peer="MX", exchange_id=b"q" * 16, disclosed_us=START_US
        )
    )
    deletion = keeper.withdraw()  # of a share of the same entry
    assert (deletion.copies, deletion.places) == (1, ("ANSWER_BODY",))
    await keeper.purging.look()
    assert rows(keeper, answer_bodies) == [0]
    (done,) = keeper.read(lambda connection: withdrawals.untold(connection, clock()))
    assert done.deleted_us == clock()


@pytest.mark.parametrize("first", ["mail", "recall"])
async def test_the_mail_that_brought_it_is_forgotten_with_it(keeper: Keeper, clock: Clock, first: str) -> None:
    mail_id = MailId("MX", EXCHANGE, 2)
    values = {"kind": "share", "state": 7, "changed_us": START_US, "reason": "", "size": 9, "body_sha256": b"s" * 32}
    sealed = seal_received(keeper.vault, mail_id, b"what the mail said")

    def came(connection: Connection) -> None:
        for number, sent_us in ((1, START_US - 1), (2, START_US)):
            row = {"peer": "MX", "exchange_id": EXCHANGE, "number": number, "sent_us": sent_us, "sealed": sealed}
            connection.execute(insert(inbox).values(**row, **values))
        keeper.received.put(connection, arrived(), START_US)

    steps = (keeper.withdraw, lambda: keeper.change(came))
    for step in steps if first == "recall" else reversed(steps):  # a recall overtakes
        step()
    assert keeper.listed() == []
    await keeper.purging.look()
    kept = keeper.read(lambda connection: connection.execute(select(inbox.c.number, inbox.c.sealed)).all())
    assert {row.number: row.sealed for row in kept} == {1: sealed, 2: None}
    with pytest.raises(KeyErasedError):
        keeper.vault.seal(key_id_of(sealed), b"", b"")
    (done,) = keeper.read(lambda connection: withdrawals.untold(connection, clock()))
    assert ("MAIL_BODY" in done.places) == (first == "mail")
    assert rows(keeper, received, key_erasures) == [0, 0]


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.just("put"), st.integers(0, 2)),
        st.tuples(st.just("extend"), st.integers(1, 120)),
        st.tuples(st.just("review"), st.integers(1, 120)),
        st.tuples(st.just("hold"), st.integers(1, 60)),
        st.tuples(st.just("release"), st.just(0)),
        st.tuples(st.just("recall"), st.just(0)),
        st.tuples(st.just("purge"), st.just(0)),
    ),
    max_size=25,
)


@given(EVENTS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_outlives_its_date_without_a_recorded_decision(
    database: Database, vault: Vault, clock: Clock, events: list[tuple[str, int]]
) -> None:
    clock.now_us += 10_000 * DAY_US  # past all that the example before has left
    with Writer(database.engine, vault) as writer, asyncio.Runner() as runner:
        keeper = Keeper(database, vault, writer, clock)
        runner.run(keeper.purging.look())
        clock.advance(days=1)
        Model(keeper, runner).run(events)


class Model:
    """One entry of a peer, and by when it must be gone by what was decided."""

    def __init__(self, keeper: Keeper, runner: asyncio.Runner) -> None:
        self.keeper, self.runner, self.clock = keeper, runner, keeper.clock
        self.exchange_id = keeper.clock().to_bytes(16, "big")
        self.received_id = b""
        self.disclosed_us = self.delete_us = self.end_us = self.held_us = 0
        self.recalled = False

    @property
    def alive(self) -> bool:
        return bool(self.received_id) and not self.recalled and self.clock() < self.end_us

    def run(self, events: list[tuple[str, int]]) -> None:
        for name, number in events:
            getattr(self, name)(number)
            keeper = self.keeper
            seen = [each.received_id for each in keeper.listed()]
            assert seen == ([self.received_id] if self.alive else [])
            assert [each.received_id for each in keeper.found()] == seen

    def wait(self, days: int) -> None:
        self.clock.advance(days=days)

    def put(self, weeks: int) -> None:
        days = weeks * 30
        new = arrived(released(days), exchange_id=self.exchange_id, disclosed_us=self.clock())
        kept = self.keeper.put(new)
        if self.recalled:
            assert kept is None
            return
        assert kept is not None
        if not self.received_id or self.disclosed_us < self.clock():
            self.disclosed_us = self.clock()
            self.delete_us = self.clock() + days * DAY_US if days else 0
            self.end_us = min(self.delete_us or 2**62, self.clock() + 90 * DAY_US)
        self.received_id = kept.received_id

    def extend(self, days: int) -> None:
        until_us = self.clock() + days * DAY_US
        moved = self.keeper.change(
            lambda connection: self.keeper.received.extend(
                connection,
                peer="MX",
                exchange_id=self.exchange_id,
                handle=HANDLE,
                delete_us=until_us,
                now_us=self.clock(),
            )
        )
        assert moved == self.alive
        if moved:
            at_end = self.end_us == self.delete_us
            self.delete_us = until_us
            self.end_us = min(until_us, self.clock() + 90 * DAY_US if at_end else self.end_us)

    def review(self, days: int) -> None:
        until_us = self.clock() + days * DAY_US
        allowed = self.alive and (not self.delete_us or until_us <= self.delete_us)
        try:
            self.keeper.change(
                lambda connection: self.keeper.received.review(connection, self.received_id, until_us, self.clock())
            )
        except (NotFoundError, RecordError):
            assert not allowed
        else:
            assert allowed
            self.end_us = until_us

    def hold(self, days: int) -> None:
        if self.received_id:
            hold(self.keeper, self.received_id, days)
            self.held_us = self.clock() + days * DAY_US

    def release(self, _: int) -> None:
        if self.received_id and self.held_us > self.clock():
            self.keeper.change(lambda connection: release_hold(connection, self.received_id, self.clock()))
            self.held_us = 0

    def recall(self, _: int) -> None:
        self.keeper.withdraw(exchange_id=self.exchange_id)
        self.recalled = True

    def purge(self, _: int) -> None:
        self.runner.run(self.keeper.purging.look())
        kept = bool(self.received_id) and (self.alive or self.held_us > self.clock())
        there = rows(self.keeper, received) == [1]
        assert there == kept
        assert rows(self.keeper, key_erasures) == [0]
        if not there:
            self.received_id = b""
            self.held_us = 0
