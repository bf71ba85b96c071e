"""The ledger's share of a search: CPU time of the threads that work for it, while they do.

Counted are building and encrypting lines and their openings, hashing, and the writer's transactions with lines in them:
statements, commit, and the release of who waits. Not counted are what such a transaction changes in other tables, and
those without a line, since a node without a ledger would write these too; nor the statement's signature, which belongs
to the answer. The counting itself takes a microsecond or two.
"""

import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from node.federation.answering import Answering
from node.federation.ticks import Ticks
from node.store.append import Appender
from node.store.writer import Writer

P = ParamSpec("P")
T = TypeVar("T")


class Share:
    """CPU seconds that the ledger has taken in this process since `install`, on the event loop and in the writer."""

    def __init__(self) -> None:
        """Nothing is counted before `install`."""
        self.on_loop = self.in_writer = 0.0
        self._changes = 0.0  # of the batch under way
        self._has_lines = False

    def install(self) -> None:
        """Count what runs in these from now on; they do not wait for the loop."""
        for owner, name, counted in (
            (Answering, "_log", self._loop),
            (Ticks, "_log", self._loop),
            (Writer, "_write", self._batch),
            (Appender, "append", self._lines),
            (Writer, "_perform", self._change),
        ):
            setattr(owner, name, counted(getattr(owner, name)))

    @property
    def seconds(self) -> float:
        """Return the sum."""
        return self.on_loop + self.in_writer

    def _loop(self, function: Callable[P, T]) -> Callable[P, T]:
        def add(seconds: float) -> None:
            self.on_loop += seconds

        return _timed(function, add)

    def _batch(self, function: Callable[P, T]) -> Callable[P, T]:
        def add(seconds: float) -> None:
            if self._has_lines:
                self.in_writer += seconds - self._changes
            self._changes, self._has_lines = 0.0, False

        return _timed(function, add)

    def _lines(self, function: Callable[P, T]) -> Callable[P, T]:
        def add(_: float) -> None:
            self._has_lines = True

        return _timed(function, add)

    def _change(self, function: Callable[P, T]) -> Callable[P, T]:
        def add(seconds: float) -> None:
            self._changes += seconds

        return _timed(function, add)


def _timed(function: Callable[P, T], add: Callable[[float], None]) -> Callable[P, T]:
    @wraps(function)
    def timed(*args: P.args, **kwargs: P.kwargs) -> T:
        before = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            add(time.thread_time() - before)

    return timed
