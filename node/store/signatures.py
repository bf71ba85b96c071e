"""Verifying the signatures of many lines at once.

A line of an answer has two, and they take nine tenths of the time of a verification. libsodium lets go of the
interpreter's lock while it computes, so threads keep all processors busy.
"""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from types import TracebackType
from typing import Final, NamedTuple, Self

from node.errors import IdentityError, SignatureError
from node.ledger.bundle import StatementVerifier

_AT_ONCE: Final = 125
"""Signatures to one thread, some 5 ms: enough that handing them over costs nothing."""


class Signed(NamedTuple):
    """A statement that is in or beside a line, and what is said to sign it."""

    line: int
    statement: bytes
    key_id: bytes
    signature: bytes


class Signatures:
    """Verifies the signatures of one page of lines while the next is read; memory is that of two pages.

    Attributes:
        hold: How many are right.
        unknown: How many are by keys that are not known, so that nothing is proved by them.
        found: What is wrong, by line.
    """

    def __init__(self, verify: StatementVerifier) -> None:
        """Start the threads; `verify` is called in several at once."""
        self.hold = self.unknown = 0
        self.found: Final[dict[int, str]] = {}
        self._verify = verify
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="signatures")
        self._underway: list[Future[_Seen]] = []

    def verify(self, page: Sequence[Signed]) -> None:
        """Begin with these, and wait for those before."""
        before = self._underway
        self._underway = [
            self._threads.submit(_seen, self._verify, page[at : at + _AT_ONCE]) for at in range(0, len(page), _AT_ONCE)
        ]
        self._count(before)

    def finish(self) -> None:
        """Wait for the last."""
        self._count(self._underway)
        self._underway = []

    def _count(self, done: list["Future[_Seen]"]) -> None:
        seen = [each.result() for each in done]
        self.hold += sum(each.hold for each in seen)
        self.unknown += sum(each.unknown for each in seen)
        for line, text in chain.from_iterable(each.found for each in seen):
            self.found.setdefault(line, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)


class _Seen(NamedTuple):
    hold: int
    unknown: int
    found: list[tuple[int, str]]


def _seen(verify: StatementVerifier, signed: Sequence[Signed]) -> _Seen:
    unknown, found = 0, list[tuple[int, str]]()
    for line, statement, key_id, signature in signed:
        try:
            verify(statement, key_id, signature)
        except SignatureError as error:
            found.append((line, f"line {line} is damaged: {error}"))
        except IdentityError:
            unknown += 1
    return _Seen(len(signed) - unknown - len(found), unknown, found)
