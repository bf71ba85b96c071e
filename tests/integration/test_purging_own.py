"""Own records: whatever is reviewed, held and released, an entry stays until its date, and a case until it is empty."""

import asyncio
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from node.store.cases import Cases
from node.store.database import Database
from node.store.retention import place_hold, release_hold
from node.store.tables import cases, entries, lookups
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.entry_pb2 import Case, Entry, Telecom
from tests.conftest import Clock
from tests.integration.received_support import DAY_US, Keeper

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.just("review_entry"), st.integers(1, 90)),
        st.tuples(st.just("review_case"), st.integers(1, 90)),
        st.tuples(st.just("hold_entry"), st.integers(1, 60)),
        st.tuples(st.just("hold_case"), st.integers(1, 60)),
        st.tuples(st.just("release"), st.just(0)),
        st.tuples(st.just("purge"), st.just(0)),
    ),
    max_size=20,
)


class Model:
    """One case with one entry, and until when each stays by what was decided."""

    def __init__(self, keeper: Keeper, runner: asyncio.Runner) -> None:
        self.keeper, self.runner, self.clock = keeper, runner, keeper.clock
        now_us = keeper.clock()
        case = Case(reference="GT-1", unit="UIF", review_us=now_us + 30 * DAY_US, open=True)
        self.case = keeper.change(lambda connection: Cases(keeper.vault).put(connection, case, now_us))
        entry = Entry(case_id=self.case.case_id, originator="GT", unit="UIF", review_us=now_us + 20 * DAY_US)
        entry.telecom.CopyFrom(Telecom(telephone="+12025550143"))
        self.entry = keeper.change(lambda connection: keeper.entries.insert(connection, [entry], now_us))[0]
        self.held = {self.case.case_id: 0, self.entry.entry_id: 0}
        self.there = self.case_there = True

    def wait(self, days: int) -> None:
        self.clock.advance(days=days)

    def review_entry(self, days: int) -> None:
        if self.there and self.entry.review_us > self.clock():
            new = Entry()
            new.CopyFrom(self.entry)
            new.review_us = self.clock() + days * DAY_US
            update = self.keeper.entries.update
            self.entry = self.keeper.change(lambda connection: update(connection, self.entry, new, self.clock()))

    def review_case(self, days: int) -> None:
        if self.case_there and self.case.review_us > self.clock():
            new = Case()
            new.CopyFrom(self.case)
            new.review_us = self.clock() + days * DAY_US
            put = Cases(self.keeper.vault).put
            self.case = self.keeper.change(lambda connection: put(connection, new, self.clock()))

    def hold_entry(self, days: int) -> None:
        self._hold(self.entry.entry_id, days)

    def hold_case(self, days: int) -> None:
        self._hold(self.case.case_id, days)

    def _hold(self, subject: bytes, days: int) -> None:
        until_us = self.held[subject] = self.clock() + days * DAY_US
        self.keeper.change(
            lambda connection: place_hold(
                connection,
                self.keeper.vault,
                subject,
                law="CPP art. 150",
                until_us=until_us,
                officer="ana",
                now_us=self.clock(),
            )
        )

    def release(self, _: int) -> None:
        for subject, until_us in self.held.items():
            if until_us > self.clock():
                self.keeper.change(partial(release_hold, subject=subject, now_us=self.clock()))
                self.held[subject] = 0

    def purge(self, _: int) -> None:
        self.runner.run(self.keeper.purging.look())
        now_us, case_held = self.clock(), self.held[self.case.case_id]
        held = max(self.held[self.entry.entry_id], case_held) > now_us
        self.there = self.there and (self.entry.review_us > now_us or held)
        self.case_there = self.case_there and (self.there or self.case.review_us > now_us or case_held > now_us)
        with self.keeper.database.reading() as connection:
            counts = [
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (entries, lookups, cases)
            ]
        assert (counts[0], bool(counts[1]), counts[2]) == (self.there, self.there, self.case_there)


@given(EVENTS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_outlives_its_date_without_a_recorded_decision(
    database: Database, vault: Vault, clock: Clock, events: list[tuple[str, int]]
) -> None:
    clock.now_us += 10_000 * DAY_US  # past all that the example before has left
    with Writer(database.engine, vault) as writer, asyncio.Runner() as runner:
        keeper = Keeper(database, vault, writer, clock)
        for _ in range(2):
            runner.run(keeper.purging.look())
        model = Model(keeper, runner)
        for name, number in [*events, ("purge", 0), ("wait", 200), ("purge", 0)]:
            getattr(model, name)(number)
        assert not model.there
        assert not model.case_there
