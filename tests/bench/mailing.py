"""Mail between two nodes on this machine: how many a second, and what an outage's backlog costs who searches."""

import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from node.federation.channels import QUERY
from tests.bench import search
from tests.bench.unlimited import unlimited
from tests.peer_simulator import request, sealed_query, telephone_query
from tests.world import Place, World

ENTRIES = 10_000
SEARCHES = 600
CALLERS = 4


@dataclass(frozen=True)
class Sustained:
    """Mails a second from end to end, both boxes durable, and CPU of each by mail, in µs."""

    per_second: float
    sender_us: float
    receiver_us: float


@dataclass(frozen=True)
class Drained:
    """A backlog drained at so many mails a second; median time of a search in ms, idle and meanwhile."""

    per_second: float
    idle_ms: float
    meanwhile_ms: float


class MailNode:
    """A node in a process of its own; see `tests.bench.mail_node`."""

    def __init__(self, place: Place, peer: str) -> None:
        """Start it."""
        arguments = [sys.executable, "-m", "tests.bench.mail_node", str(place.home.config), peer]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()

    def tell(self, command: str) -> dict[str, float]:
        """Give a command, and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, float]:
        out: IO[str] | None = self.process.stdout
        assert out is not None
        figures: dict[str, float] = json.loads(out.readline())
        return figures

    def stop(self) -> None:
        """Let it drain and end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)


@contextmanager
def mail_node(place: Place, peer: str) -> Iterator[MailNode]:
    """Run a node while the block runs."""
    running = MailNode(place, peer)
    try:
        yield running
    finally:
        running.stop()


def sustained(folder: Path, mails: int) -> Sustained:
    """Write mails in one node until all have been received by the other, and its receipts by the first."""
    world = World.make(folder, ("GT", "MX"))
    with mail_node(world["MX"], "GT") as mx, mail_node(world["GT"], "MX") as gt:
        gt.tell(f"write {mails // 10}")  # connections, statements
        before = gt.tell("wait"), mx.tell("figures")
        started = time.perf_counter()
        gt.tell(f"write {mails}")
        after = gt.tell("wait"), mx.tell("figures")
        taken = time.perf_counter() - started
    sender, receiver = (second["cpu"] - first["cpu"] for first, second in zip(before, after, strict=True))
    return Sustained(mails / taken, sender / mails * 1e6, receiver / mails * 1e6)


def drained(folder: Path, mails: int) -> Drained:
    """Queue mails while the peer is down; once both are up, a third country searches there until it has them all."""
    world = World.make(folder, ("GT", "MX", "US"))
    world["MX"].write_many(search.entries(ENTRIES))
    unlimited(world["MX"], ["US"])
    with mail_node(world["GT"], "MX") as gt:
        gt.tell(f"write {mails}")
    with mail_node(world["MX"], "GT"):
        idle_ms = statistics.median(_searched(world, "US"))
        started, ended = time.perf_counter(), list[float]()
        with mail_node(world["GT"], "MX") as gt:

            def wait() -> None:
                gt.tell("wait")
                ended.append(time.perf_counter())

            waiting = threading.Thread(target=wait)
            waiting.start()
            meanwhile = list[float]()
            while waiting.is_alive():
                meanwhile += _searched(world, "US")
            waiting.join()
    return Drained(mails / (ended[0] - started), idle_ms, statistics.median(meanwhile))


def _searched(world: World, client: str) -> list[float]:
    """Search in Mexico from another process, and return what each took, in ms."""
    chance, place = random.Random(11), world["MX"]
    numbers = search.count_numbers(ENTRIES)
    queries = [
        request(sealed_query(world[client], "MX", telephone_query(search.telephone(chance.randrange(numbers)))))
        for _ in range(SEARCHES)
    ]
    path = place.home.path / "requests.bin"
    path.write_bytes(b"".join(len(each).to_bytes(4) + each for each in queries))
    plan = {
        "roots": place.ca.roots_pem.decode(),
        "key": world[client].node.key_pem.decode(),
        "chain": world[client].node.chain_pem.decode(),
        "server_name": place.server_name,
        "address": place.peer,
        "method": QUERY,
        "requests": str(path),
        "callers": CALLERS,
    }
    command = [sys.executable, "-m", "tests.bench.load"]
    done = subprocess.run(command, input=json.dumps(plan), capture_output=True, text=True, check=True)
    return [taken * 1e3 for taken in json.loads(done.stdout)["taken"]]
