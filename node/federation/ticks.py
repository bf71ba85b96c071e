"""Ticks: answers leave at instants that their arrival alone decides, so that work done does not show as time.

An answer leaves at the first multiple of 50 ms that is at least 50 ms after its query arrived, or, where the work took
longer, at the next one. All that leave at one instant share one timer. With 5 ms, a peer that asked sixteen times at
once made the difference of a few hidden records sixteen times as long, and saw it; the tick has to be longer than the
work of all calls that a peer may have under way.
"""

import asyncio
import math

TICK_S = 0.05


class Ticks:
    """Releases waiting tasks at multiples of `TICK_S` of the event loop's clock."""

    def __init__(self) -> None:
        """Start with nobody waiting."""
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}

    async def wait(self, arrived: float) -> None:
        """Wait for the tick of what arrived then, by the clock of the running loop (`loop.time()`)."""
        loop = asyncio.get_running_loop()
        tick = math.ceil(arrived / TICK_S) + 1
        now = loop.time()
        if now > tick * TICK_S:
            tick = math.ceil(now / TICK_S)
        future: asyncio.Future[None] = loop.create_future()
        waiting = self._waiting.get(tick)
        if waiting is None:
            waiting = self._waiting[tick] = []
            loop.call_at(tick * TICK_S, self._release, tick)
        waiting.append(future)
        await future

    def _release(self, tick: int) -> None:
        for future in self._waiting.pop(tick):
            if not future.done():  # the caller may have gone
                future.set_result(None)
