"""Ticks: answers leave at instants that their arrival alone decides, so that work done does not show as time.

An answer leaves at the first multiple of 50 ms that is at least 50 ms after its query arrived, or, where the work took
longer, at the next one. All that leave at one instant share one timer. With 5 ms, a peer that asked sixteen times at
once made the difference of a few hidden records sixteen times as long, and saw it; the tick has to be longer than the
work of all calls that a peer may have under way.

Their lines are written together too, 20 ms before they leave: one transaction, whatever came when.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from node.store.lines import Line
from node.store.writer import Writer

TICK_S = 0.05
LOGGED_BEFORE_S = 0.02
"""Seconds before the tick: the work of a burst is done by then, and a commit takes a few milliseconds."""
AFTER_S = 0.01
"""Seconds behind the tick: all that leaves at it has left, and the next one is far enough."""


@dataclass(slots=True, eq=False)
class _Leaving:
    """Answers that leave at one tick; `outcomes` are those of their lines, once these are durable or refused."""

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
        self._leaving: dict[int, _Leaving] = {}
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}

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
            # Where the work took longer, both are in the past and run at once.
            loop.call_at(tick * TICK_S - LOGGED_BEFORE_S, self._log, tick)
            loop.call_at(tick * TICK_S, self._release, leaving)
        future: asyncio.Future[int] = loop.create_future()
        leaving.lines.append(line)
        leaving.after.append(after)
        leaving.futures.append(future)
        return future

    async def wait(self, arrived: float) -> None:
        """Wait for the tick of what arrived then, and is logged already."""
        loop = asyncio.get_running_loop()
        tick = max(math.ceil(arrived / TICK_S) + 1, math.ceil(loop.time() / TICK_S))
        waiting = self._waiting.get(tick)
        if waiting is None:
            waiting = self._waiting[tick] = []
            loop.call_at(tick * TICK_S, self._wake, tick)
        future: asyncio.Future[None] = loop.create_future()
        waiting.append(future)
        await future

    def _wake(self, tick: int) -> None:
        for future in self._waiting.pop(tick):
            if not future.done():  # the caller may have gone
                future.set_result(None)

    def _log(self, tick: int) -> None:
        leaving = self._leaving.pop(tick)  # who comes later, since the work took long, goes with others
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
