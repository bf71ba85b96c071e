"""A search, against a bare mutual-TLS echo of the same sizes in the same process: server CPU per request."""

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from node.federation.channels import QUERY
from node.wire.codes_pb2 import (
    AgeClass,
    AsylumState,
    Crime,
    Exposure,
    HandlingCode,
    InformationGrade,
    Role,
    SourceGrade,
    Tri,
)
from node.wire.entry_pb2 import Case, Entry, Protection, Telecom
from tests.bench.unlimited import unlimited
from tests.peer_simulator import request, sealed_query, telephone_query
from tests.world import DAY_US, Place, World, free_ports, now_us

CALLERS = 16
MOST_HITS = 10
ECHO = "/bench.Bench/Echo"
PACED = "/bench.Bench/Paced"


@dataclass(frozen=True)
class Measured:
    """One load: server CPU by request in µs, the median time in ms, requests a second, mean size of an answer.

    Of the CPU, the ledger took `ledger_us` (`tests.bench.share`).
    """

    cpu_us: float
    ledger_us: float
    median_ms: float
    per_second: float
    answer_bytes: int


def entries(count: int, seed: int = 7) -> Iterator[tuple[Case, list[Entry]]]:
    """Yield cases with 1 to 10 entries each, all of one case found by one telephone number, up to so many entries."""
    chance, written, number = random.Random(seed), 0, 0
    while written < count:
        hits = min(chance.randint(1, MOST_HITS), count - written)
        at_us = now_us()
        case = Case(
            unit="UNIT-1",
            title="Invented",
            reference=f"B-{number}",
            crimes=[Crime.CRIME_TRAFFICKING],
            review_us=at_us + 365 * DAY_US,
            opened_us=at_us,
            open=True,
        )
        yield case, [_entry(number, place) for place in range(hits)]
        written, number = written + hits, number + 1


def _entry(number: int, place: int) -> Entry:
    protection = Protection(
        victim=Tri.TRI_NO,
        age=AgeClass.AGE_CLASS_ADULT,
        asylum=AsylumState.ASYLUM_STATE_NONE,
        witness_protection=Tri.TRI_NO,
        stateless=Tri.TRI_NO,
        exposure=Exposure.EXPOSURE_NONE,
        origins=["MX"],
        origins_complete=True,
        torture_derived=Tri.TRI_NO,
    )
    for name in ("victim_by", "age_by", "asylum_by", "witness_by", "exposure_by", "origins_by", "torture_derived_by"):
        assertion = getattr(protection, name)
        assertion.officer, assertion.at_us, assertion.basis = f"officer-{number % 97}", now_us(), "interview"
    return Entry(
        originator="MX",
        unit="UNIT-1",
        review_us=now_us() + 365 * DAY_US,
        recorded_us=now_us() - (number % 700) * DAY_US,
        roles=[Role.ROLE_SUSPECT],
        crimes=[Crime.CRIME_TRAFFICKING],
        handling=HandlingCode.HANDLING_CODE_H0,
        source_grade=SourceGrade.SOURCE_GRADE_B,
        information_grade=InformationGrade.INFORMATION_GRADE_3,
        protection=protection,
        source="invented",
        invented=True,
        telecom=Telecom(
            telephone=telephone(number),
            holder_name=f"Invented Holder {number} {place}",
            carrier_country="MX",
            platform="voice",
            communications="not reviewed",
        ),
    )


def telephone(number: int) -> str:
    """Return an invented number in international form."""
    return f"+5255{number:08d}"


class Server:
    """The measured process; see `tests.bench.server`."""

    def __init__(self, place: Place, client: Place) -> None:
        """Start it over the place's node; `client` is who calls."""
        self.place, self.client = place, client
        self.echo = f"127.0.0.1:{free_ports(1)[0]}"
        arguments = [sys.executable, "-m", "tests.bench.server", str(place.home.config), self.echo]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()

    def _line(self) -> dict[str, float]:
        out: IO[str] | None = self.process.stdout
        assert out is not None
        figures: dict[str, float] = json.loads(out.readline())
        return figures

    def figures(self) -> dict[str, float]:
        """Return CPU seconds of the server so far, and of the ledger in it, and resident bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._line()

    def load(self, address: str, method: str, requests: list[bytes]) -> Measured:
        """Send the requests from another process, and measure this one."""
        path = self.place.home.path / "requests.bin"
        path.write_bytes(b"".join(len(each).to_bytes(4) + each for each in requests))
        plan = {
            "roots": self.place.ca.roots_pem.decode(),
            "key": self.client.node.key_pem.decode(),
            "chain": self.client.node.chain_pem.decode(),
            "server_name": self.place.server_name,
            "address": address,
            "method": method,
            "requests": str(path),
            "callers": CALLERS,
        }
        before, started = self.figures(), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.load"],
            input=json.dumps(plan),
            capture_output=True,
            text=True,
            check=True,
        )
        taken, after = time.perf_counter() - started, self.figures()
        report = json.loads(done.stdout)
        return Measured(
            cpu_us=(after["cpu"] - before["cpu"]) / len(requests) * 1e6,
            ledger_us=(after["ledger"] - before["ledger"]) / len(requests) * 1e6,
            median_ms=statistics.median(report["taken"]) * 1e3,
            per_second=len(requests) / taken,
            answer_bytes=report["answer_bytes"],
        )

    def stop(self) -> None:
        """Let it drain and end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)


@contextmanager
def server(world: World, code: str, client: str) -> Iterator[Server]:
    """Run the measured process while the block runs."""
    running = Server(world[code], world[client])
    try:
        yield running
    finally:
        running.stop()


def measure(running: Server, numbers: int, requests: int, rounds: int = 3) -> tuple[Measured, Measured, Measured]:
    """Measure searches and echoes in turn; return the round with the median ratio: search, echo, echo at ticks."""
    chance, found = random.Random(11), []
    for _ in range(rounds):
        queries = [
            request(
                sealed_query(running.client, running.place.code, telephone_query(telephone(chance.randrange(numbers))))
            )
            for _ in range(requests)
        ]
        search = running.load(running.place.peer, QUERY, queries)
        # The first echo sets the size of every later reply.
        running.load(running.echo, ECHO, [bytes(search.answer_bytes)])
        echo = running.load(running.echo, ECHO, queries)
        found.append((search, echo, running.load(running.echo, PACED, queries)))
    found.sort(key=lambda each: each[0].cpu_us / each[1].cpu_us)
    return found[rounds // 2]


def idle_memory(running: Server) -> float:
    """Return resident megabytes of the server as it stands."""
    return running.figures()["memory"] / 1e6


def cores() -> int:
    """Return how many processors there are."""
    return psutil.cpu_count() or 1


def count_numbers(count: int) -> int:
    """Return how many telephone numbers `entries` spreads so many entries over."""
    chance, written, number = random.Random(7), 0, 0
    while written < count:
        written, number = written + chance.randint(1, MOST_HITS), number + 1
    return number


def prepared(folder: Path, count: int) -> World:
    """Lay out two countries, of which MX holds so many entries."""
    world = World.make(folder, ("GT", "MX"))
    world["MX"].write_many(entries(count))
    unlimited(world["MX"], ["GT"])
    return world
