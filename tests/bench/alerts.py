"""Recording an entry while nobody's alerts stand, and while ten thousand do: what each costs in the node's writer."""

import secrets
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from sqlalchemy import Connection

from node.records.lookup import selector_tokens
from node.store import alerts
from node.store.cases import Cases
from node.store.database import Database
from node.store.entries import Entries
from node.store.ids import new_id
from node.store.keystore import KeyStore
from node.store.vault import Vault, read_key_file
from node.store.writer import Writer
from node.wire.alert_pb2 import Alert
from node.wire.alerting_pb2 import AlertDetail, AlertItem
from node.wire.codes_pb2 import LOOKUP_KIND_TELEPHONE
from node.wire.entry_pb2 import Case, Entry
from node.wire.exchange_pb2 import Query, Selector
from node.wire.ledger_pb2 import DIRECTION_RECEIVED
from tests.bench.search import entries as invented
from tests.bench.search import telephone
from tests.world import DAY_US, World, now_us

IN_A_BATCH = 50


@dataclass(frozen=True)
class Recorded:
    """Microseconds by entry, medians: one by one, each durable with its line; and of many in one transaction."""

    alone_us: float
    alone_with_us: float
    batched_us: float
    batched_with_us: float


@dataclass
class Place:
    """A country's database, open for writing."""

    writer: Writer
    vault: Vault
    entries: Entries
    case: Case

    def record(self, new: list[Entry]) -> float:
        """Write entries in one durable transaction, and return the seconds that it took."""
        for each in new:
            each.case_id = self.case.case_id
        started = time.perf_counter()
        self.writer.submit(partial(self.entries.insert, new=new, now_us=now_us())).result()
        return time.perf_counter() - started


def measure(folder: Path, standing: int, rounds: int = 400) -> Recorded:
    """Record entries at two countries in turn, at one of which so many alerts stand, none of which finds them."""
    world = World.make(folder, ("GT", "MX"))
    with _open(world, "GT") as without, _open(world, "MX") as loaded:
        for start in range(0, standing, 500):
            number = min(500, standing - start)
            loaded.writer.submit(partial(_set, vault=loaded.vault, start=start, number=number)).result()
        new = (entry for number in count() for _, found in invented(500, seed=number) for entry in found)
        alone: dict[bool, list[float]] = {False: [], True: []}
        batched: dict[bool, list[float]] = {False: [], True: []}
        for number in range(rounds):
            # In turn, and in the other order each time: what else the machine does falls on both alike.
            for place, with_alerts in ((without, False), (loaded, True))[:: 1 if number % 2 else -1]:
                alone[with_alerts].append(place.record([_fresh(next(new))]))
                if number % 8 == 0:
                    batch = [_fresh(next(new)) for _ in range(IN_A_BATCH)]
                    batched[with_alerts].append(place.record(batch) / IN_A_BATCH)
    found = [statistics.median(times) * 1e6 for times in (alone[False], alone[True], batched[False], batched[True])]
    return Recorded(*found)


@contextmanager
def _open(world: World, code: str) -> Iterator[Place]:
    config = world[code].config
    with Database.open(config.store.database) as database, KeyStore.open(config.store.keystore) as keys:
        vault = Vault(keys, read_key_file(config.store.key_encryption_key))
        case = Case(case_id=new_id(), unit="UNIT-1", reference="B-1", review_us=now_us() + 365 * DAY_US, open=True)
        vault.ensure_keys([case.case_id])
        with Writer(database.engine, vault, f"{code}/{code.lower()}-1") as writer:
            writer.submit(lambda connection: Cases(vault).put(connection, case, now_us())).result()
            yield Place(writer, vault, Entries(database, vault, vault.lookup_keys()), case)


def _fresh(entry: Entry) -> Entry:
    new = Entry()
    new.CopyFrom(entry)
    new.ClearField("entry_id")
    return new


def _set(connection: Connection, vault: Vault, start: int, number: int) -> None:
    for each in range(start, start + number):
        selector = Selector(kind=LOOKUP_KIND_TELEPHONE, value=telephone(90_000_000 + each))
        item = AlertItem(
            direction=DIRECTION_RECEIVED,
            peer="GT",
            exchange_id=secrets.token_bytes(16),
            state="standing",
            set_us=now_us(),
            until_us=now_us() + DAY_US,
            officer="analyst",
            unit="UNIT-1",
        )
        tokens = selector_tokens(selector, vault.lookup_keys(), "GT")
        alerts.put(connection, vault, AlertDetail(item=item, alert=Alert(query=Query(selectors=[selector]))), tokens)
