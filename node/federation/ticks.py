"""Ticks: answers leave at instants that their arrival alone decides, so that work done does not show as time.

An answer leaves at the first multiple of 50 ms that is at least 50 ms after its query arrived, or, where the work took
longer, at the next one. All that leave at one instant share one timer. With 5 ms, a peer that asked sixteen times at
once made the difference of a few hidden records sixteen times as long, and saw it; the tick has to be longer than the
work of all calls that a peer may have under way.

Between the ticks, work too has its time. Queries that arrive within 10 ms are worked on together, each step for all
of them before the next step, which takes a sixth less time than one query after the other; never while answers leave,
since these would be delayed by it. Their lines come together, and are written in one transaction.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from node.store.lines import Line
from node.store.writer import Writer

TICK_S = 0.05
BEGINNINGS = 5
"""Work begins at each fifth of a tick but the first, in which answers leave and their askers' next queries come."""
AFTER_S = 0.015
"""Seconds behind the tick: all that leaves at it has left, and the next one is far enough."""


@dataclass(slots=True, eq=False)
class _Leaving:
    """Answers that were made together and leave at one tick; `outcomes` of their lines, once durable or refused."""

    lines: list[Line] = field(default_factory=list)
    after: list[Callable[[], object]] = field(default_factory=list)
    futures: "list[asyncio.Future[int]]" = field(default_factory=list)
    outcomes: list[int | BaseException] | None = None
    is_due: bool = False


class Ticks:
    """Logs answers and lets them go, at multiples of `TICK_S` of the event loop's clock."""

    def __init__(self, writer: Writer) -> None:
        """Start with nobody waiting."""
        self._writer = writer
        self._leaving: dict[int, _Leaving] = {}  # by tick, made since the loop last went round
        self._waiting: dict[float, list[asyncio.Future[None]]] = {}

    async def begin(self, arrived: float) -> None:
        """Wait for the work to begin on what arrived then, by the clock of the running loop (`loop.time()`).

        Who then gives way (`asyncio.sleep(0)`) between its steps has company in each.
        """
        fifth = math.ceil(arrived * BEGINNINGS / TICK_S)
        await self._until((fifth if fifth % BEGINNINGS else fifth + 1) * TICK_S / BEGINNINGS)

    def leave(self, line: Line, arrived: float, after: Callable[[], object]) -> "asyncio.Future[int]":
        """Log the answer to what arrived then, by the clock of the running loop (`loop.time()`).

        `after` is called once the answer has left, if it has, so that its work does not show as time either.

        Returns:
            A future of the line's index, done at the tick at which the answer may leave, the line being durable. It
            fails as that of `Writer.append`.
        """
        loop = asyncio.get_running_loop()
        tick = math.ceil(arrived / TICK_S) + 1
        leaving = self._leaving.get(tick)
        if leaving is None:
            leaving = self._leaving[tick] = _Leaving()
            loop.call_soon(self._log, tick)  # behind the last step of all that began with this one
            loop.call_at(max(tick, math.ceil(loop.time() / TICK_S)) * TICK_S, self._release, leaving)
        future: asyncio.Future[int] = loop.create_future()
        leaving.lines.append(line)
        leaving.after.append(after)
        leaving.futures.append(future)
        return future

    async def wait(self, arrived: float) -> None:
        """Wait for the tick of what arrived then, and is logged already."""
        now = asyncio.get_running_loop().time()
        await self._until(max(math.ceil(arrived / TICK_S) + 1, math.ceil(now / TICK_S)) * TICK_S)

    def _until(self, instant: float) -> "asyncio.Future[None]":
        """Return what is done at that instant; all that wait for one share a timer."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(instant)
        if waiting is None:
            waiting = self._waiting[instant] = []
            loop.call_at(instant, self._wake, instant)
        future: asyncio.Future[None] = loop.create_future()
        waiting.append(future)
        return future

    def _wake(self, instant: float) -> None:
        for future in self._waiting.pop(instant):
            if not future.done():  # the caller may have gone
                future.set_result(None)

    def _log(self, tick: int) -> None:
        leaving = self._leaving.pop(tick)
        logged = self._writer.append_all(leaving.lines)
        logged.add_done_callback(lambda done: self._logged(leaving, done))

    def _logged(self, leaving: _Leaving, done: "asyncio.Future[list[int | BaseException]]") -> None:
        error = done.exception()
        leaving.outcomes = [error] * len(leaving.lines) if error is not None else done.result()
        if leaving.is_due:  # the commit took longer: the next tick is theirs
            loop = asyncio.get_running_loop()
            loop.call_at(math.ceil(loop.time() / TICK_S) * TICK_S, self._release, leaving)

    @staticmethod
    def _release(leaving: _Leaving) -> None:
        leaving.is_due = True
        if leaving.outcomes is None:
            return
        caused = []
        for future, outcome, after in zip(leaving.futures, leaving.outcomes, leaving.after, strict=True):
            if isinstance(outcome, int):
                caused.append(after)
            if future.done():  # the caller has gone
                continue
            if isinstance(outcome, int):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)
        asyncio.get_running_loop().call_later(AFTER_S, _call, caused)


def _call(functions: Iterable[Callable[[], object]]) -> None:
    for function in functions:
        function()
