"""Importing through the desk of a running node: entries a second, and how much memory it takes."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node.wire.desk_pb2 import ImportRequest
from node.wire.desk_pb2_grpc import DeskStub
from tests.bench.search import Server, entries, server
from tests.world import World


@dataclass(frozen=True)
class Imported:
    """Entries a second by the clock, server CPU by entry in µs, and resident megabytes at the half and at the end."""

    per_second: float
    cpu_us: float
    half_mb: float
    end_mb: float


def measure(folder: Path, count: int) -> Imported:
    """Import so many entries, in cases of 1 to 10, into an empty node of MX."""
    world = World.make(folder, ("GT", "MX"))
    with server(world, "MX", "GT") as running:
        return asyncio.run(_imported(world, running, count))


async def _imported(world: World, running: Server, count: int) -> Imported:
    half = 0.0

    def requests() -> Iterator[ImportRequest]:
        nonlocal half
        sent = 0
        for case, found in entries(count):
            sent += len(found)
            if not half and sent > count // 2:
                half = running.figures()["memory"]
            yield ImportRequest(case=case, entries=found)

    before, started = running.figures(), time.perf_counter()
    async with world["MX"].desk_channel("analyst") as channel:
        kept = 0
        async for response in DeskStub(channel).Import(requests()):
            kept = response.entries
            assert not response.problems, response.problems[0]
    taken, after = time.perf_counter() - started, running.figures()
    assert kept == count, f"{kept} of {count} entries were kept"
    return Imported(count / taken, (after["cpu"] - before["cpu"]) / count * 1e6, half / 1e6, after["memory"] / 1e6)
