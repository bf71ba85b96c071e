"""Counts what is asked against quotas, in memory: a query must not wait for a database to be counted.

`node.store.quotas` says how well the counts survive a crash, and how well several processes share them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from node.policy.quotas import HOUR_US, HOURS, Quota, floor_of, reached
from node.store.quotas import Key
from node.wire.quota_pb2 import QuotaReached

_WHOLE: Final = 50_000
"""Keys after which those of past hours are let go: a peer names its officers, but is counted as one."""


@dataclass(slots=True)
class _Window:
    """What was counted of one key in its last hour, and in that hour's day; some of it is not written down yet."""

    hour: int
    in_hour: int
    in_day: int
    quota: Quota
    unsaved: int = 0
    refused: int = 0  # in this hour


@dataclass(slots=True)
class Quotas:
    """Counts; for the loop's thread alone."""

    _windows: dict[Key, _Window] = field(default_factory=dict)
    _left: dict[tuple[int, Key], int] = field(default_factory=dict)  # of hours that have ended, not written down
    _raised: Mapping[Key, Quota] = field(default_factory=dict)

    def spend(self, key: Key, now_us: int, count: int = 1) -> QuotaReached | None:
        """Count what was asked, or return which quota of the key is used up: then nothing is counted."""
        hour, window = now_us // HOUR_US, self._windows.get(key)
        if window is None or window.hour != hour:
            window = self._turned(key, window, hour)
        quota = window.quota
        if window.in_hour >= quota.per_hour or window.in_day >= quota.per_day:
            window.refused += 1
            return reached(key[2], quota, window.in_hour, window.in_day, hour)
        window.in_hour += count
        window.in_day += count
        window.unsaved += count
        return None

    def charge(self, key: Key, now_us: int, count: int) -> None:
        """Count something whether or not there is room for it."""
        window = self._windows.get(key)
        if window is None or window.hour != now_us // HOUR_US:
            window = self._turned(key, window, now_us // HOUR_US)
        window.in_hour += count
        window.in_day += count
        window.unsaved += count

    def is_flooded(self, key: Key) -> bool:
        """Tell whether so much was refused in this hour that no more of it is even to be read."""
        window = self._windows.get(key)
        return window is not None and window.refused > window.quota.per_hour

    def take(self) -> dict[tuple[int, Key], int]:
        """Return what is not written down, by hour and key; from now on it is taken to be."""
        taken, self._left = self._left, {}
        for key, window in self._windows.items():
            if window.unsaved:
                taken[window.hour, key] = taken.get((window.hour, key), 0) + window.unsaved
                window.unsaved = 0
        return taken

    def give_back(self, taken: Mapping[tuple[int, Key], int]) -> None:
        """Take back what `take` returned, which could not be written down."""
        for at, count in taken.items():
            self._left[at] = self._left.get(at, 0) + count

    def follow(self, counted: Mapping[Key, tuple[int, int]], raised: Mapping[Key, Quota], now_us: int) -> None:
        """Take over what is written down of this hour and day, and what is raised."""
        hour = now_us // HOUR_US
        self._raised = raised
        for key, (in_hour, in_day) in counted.items():
            window = self._windows.get(key)
            if window is None or window.hour != hour:
                window = self._turned(key, window, hour)
            pending = window.unsaved
            kept = self._left.get((hour, key), 0)
            window.in_hour, window.in_day = in_hour + pending + kept, in_day + pending + kept
        for key, window in self._windows.items():
            window.quota = raised.get(key) or floor_of(key[0], key[2])
        if len(self._windows) > _WHOLE:
            self._windows = {key: each for key, each in self._windows.items() if each.hour == hour or each.unsaved}

    def _turned(self, key: Key, window: _Window | None, hour: int) -> _Window:
        in_day = 0
        if window is not None:
            if window.unsaved:
                at = window.hour, key
                self._left[at] = self._left.get(at, 0) + window.unsaved
            if window.hour // HOURS == hour // HOURS:
                in_day = window.in_day
        quota = self._raised.get(key) or floor_of(key[0], key[2])
        made = self._windows[key] = _Window(hour, 0, in_day, quota)
        return made
