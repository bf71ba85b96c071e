"""The ledger's share of a search: CPU time of the threads that work for it, while they do.

Counted are building and encrypting lines and their openings, hashing, the writer's transactions with their commits, and
the release of who waits. Not counted are the statement's signature, which an answer without a ledger has too, and the
microsecond that the counting itself takes.
"""

import time
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from node.federation.answering import Answering
from node.federation.ticks import Ticks
from node.store.writer import Writer

P = ParamSpec("P")
T = TypeVar("T")

_PARTS: Final[tuple[tuple[str, type, str], ...]] = (
    ("building", Answering, "_log"),
    ("handing over", Ticks, "_log"),
    ("writing", Writer, "_write"),
)


class Share:
    """CPU seconds that the ledger has taken in this process since `install`."""

    def __init__(self) -> None:
        """Nothing is counted before `install`."""
        self._used = dict.fromkeys((part for part, _, _ in _PARTS), 0.0)  # by one thread each, so without a lock

    def install(self) -> None:
        """Count what runs in these from now on; they neither wait for the loop nor call each other."""
        for part, owner, method in _PARTS:
            setattr(owner, method, self._counted(part, getattr(owner, method)))

    @property
    def seconds(self) -> float:
        """Return the sum."""
        return sum(self._used.values())

    def _counted(self, part: str, function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def counted(*args: P.args, **kwargs: P.kwargs) -> T:
            before = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._used[part] += time.thread_time() - before

        return counted
