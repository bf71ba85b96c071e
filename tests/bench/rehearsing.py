"""Replaying past decisions under another rulebook."""

import asyncio
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from node.cli.serving import running
from node.config import Config
from node.ledger.leaf import build_leaf, build_opening
from node.policy.derive import derive_facts, derive_request
from node.policy.facts import encode_facts
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.lines import Line
from node.store.vault import Vault, read_key_file
from node.store.writer import Writer
from node.wire.codes_pb2 import InstrumentKind, Purpose
from node.wire.ledger_pb2 import (
    ENTRY_OUTCOME_ENTRY,
    Decisions,
    Direction,
    EntryDecision,
    LeafKind,
    LeafPrivate,
    LeafShared,
)
from tests.bench.search import entries
from tests.federation.support import altered
from tests.peer_simulator import telephone_query
from tests.world import RULEBOOKS, World, now_us

PER_ANSWER = 2


@dataclass(frozen=True)
class Replayed:
    """How long it took, what changes, and by how much a timer of the event loop was late meanwhile at the most."""

    seconds: float
    changed: int
    late_ms: float


def _decisions(number: int) -> Iterator[Decisions]:
    """Decisions of answers about invented telephones, on some hundred different situations."""
    at_us = now_us()
    entry = next(entries(1))[1][0]
    facts = []
    for purpose in Purpose.values()[1:11]:
        query = telephone_query(purpose=purpose)
        for recorded in range(9):
            request = derive_request(
                recipient="GT", query=query, instruments=[InstrumentKind.INSTRUMENT_KIND_TREATY], paired=True
            )
            changed = altered(entry, recorded_us=at_us - recorded * 100 * 86_400_000_000)
            facts.append(encode_facts(derive_facts(request, changed, at_us)))
    for answer in range(0, number, PER_ANSWER):
        yield Decisions(
            salt=secrets.token_bytes(16),
            entries=[
                EntryDecision(
                    entry_id=secrets.token_bytes(16),
                    revision=1,
                    outcome=ENTRY_OUTCOME_ENTRY,
                    rules=["F-10", "F-11", "MX-10", "MX-11"],
                    released=1 << 20,
                    facts=facts[(answer + part) % len(facts)],
                    handle=secrets.token_bytes(16),
                )
                for part in range(PER_ANSWER)
            ],
        )


def _line(decisions: Decisions) -> Line:
    exchange_id = secrets.token_bytes(16)
    shared = LeafShared(
        kind=LeafKind.LEAF_KIND_ANSWERED,
        direction=Direction.DIRECTION_SENT,
        time_us=now_us(),
        exchange_id=exchange_id,
        node="MX/mx-1",
        peer="GT",
        body_sha256=secrets.token_bytes(32),
    ).SerializeToString()
    opening, commitment = build_opening(secrets.token_bytes(32), LeafPrivate(officer="analyst"), decisions)
    return Line(build_leaf(shared, now_us(), commitment), opening, exchange_id, replay_key=b"GT1" + exchange_id)


def measure(folder: Path, number: int = 100_000) -> Replayed:
    """Fill a ledger with so many decisions, and replay them under a rulebook that lets telephones leave less."""
    place = World.make(folder, ("GT", "MX"))["MX"]
    config = place.config
    with Database.open(config.store.database) as database, KeyStore.open(config.store.keystore) as keys:
        vault = Vault(keys, read_key_file(config.store.key_encryption_key))
        with Writer(database.engine, vault) as writer:
            asyncio.run(_appended(writer, number))
    changed = re.sub(r"TELECOM: release", "TELECOM: pseudonymise", (RULEBOOKS / "mx.yaml").read_text())
    return asyncio.run(_replayed(config, re.sub(r"^version: .*$", "version: 99", changed, flags=re.MULTILINE).encode()))


async def _appended(writer: Writer, number: int) -> None:
    waiting = [writer.submit(lambda _: None, [_line(each)]) for each in _decisions(number)]
    for future in waiting:
        await asyncio.wrap_future(future)


async def _replayed(config: Config, content: bytes) -> Replayed:
    async with running(config) as parts:
        late: list[float] = [0.0]
        watching = asyncio.create_task(_watch(late))
        started = time.perf_counter()
        report = await parts.desk.replaying.rehearse_rulebook(content)
        seconds = time.perf_counter() - started
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    return Replayed(seconds, report.changed_total, max(late) * 1_000)


async def _watch(late: list[float]) -> None:
    """Note by how many seconds a timer of 2 ms was late, each time."""
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(0.002)
        late.append(loop.time() - before - 0.002)
