"""Finds runs of guesses: numbers near each other, asked by one asker within a day, one by one or many at once.

Memory is bounded: what was asked longest ago is let go. A run that has begun is written down as keyed digests
(`node.store.guesses`), so that neither a restart nor several processes hide it; of a number that stands alone nothing
is written, so a guess or two may be missed where a node restarts.
"""

import hmac
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from node.errors import RecordError
from node.records.normalise import normalise
from node.store.guesses import DIGEST, MOST_SEEN, WINDOW_US
from node.wire import codes_pb2
from node.wire.exchange_pb2 import Query
from node.wire.quota_pb2 import QUOTA_SCOPE_OFFICER, QUOTA_SCOPE_PEER, QUOTA_SCOPE_UNIT, QuotaScope

KINDS: Final = frozenset(
    {
        codes_pb2.LOOKUP_KIND_TELEPHONE,
        codes_pb2.LOOKUP_KIND_PLATE,
        codes_pb2.LOOKUP_KIND_DOCUMENT_NUMBER,
        codes_pb2.LOOKUP_KIND_BANK_ACCOUNT,
        codes_pb2.LOOKUP_KIND_IMEI,
        codes_pb2.LOOKUP_KIND_VIN,
    }
)
NEAR: Final = 100
"""Numbers within so many of each other may be guesses."""

ENOUGH: Final[Mapping[QuotaScope.ValueType, int]] = MappingProxyType(
    {QUOTA_SCOPE_OFFICER: 5, QUOTA_SCOPE_UNIT: 8, QUOTA_SCOPE_PEER: 12}
)
"""How many numbers near each other, of one asker, are a run."""

MOST_RUNS: Final = 40_000
"""Beginnings of numbers that are remembered, at some 400 bytes each."""

_STRETCHES: Final = 4
"""Stretches of numbers in which runs of a day are told as one."""

_NUMBER: Final = re.compile(r"^(.*?)(\d{2,})(\D*)$", re.DOTALL)


class Asker(NamedTuple):
    """Who asked, as far as one count goes: a peer, or a unit or officer, of a peer or (peer empty) of this country."""

    scope: QuotaScope.ValueType
    peer: str
    who: str


class Run(NamedTuple):
    """Numbers near each other that one asker asked: keyed digests."""

    asker: Asker
    run: bytes
    about: bytes  # the same for whoever else of the same country asks on
    numbers: frozenset[bytes]


class Place(NamedTuple):
    """Where numbers lie that are near each other: what stands around them, and a stretch of a hundred."""

    asker: Asker
    kind: int
    frame: str
    stretch: int


@dataclass(slots=True)
class _Near:
    at_us: int
    numbers: set[int]


@dataclass(slots=True)
class Guessing:
    """Remembers what was asked."""

    key: bytes = field(repr=False)
    _near: OrderedDict[Place, _Near] = field(default_factory=OrderedDict)

    def remember(self, query: Query, peer: str, country: str, at_us: int) -> set[Place]:
        """Remember what a query asks, and return the places in which a run of two numbers or more has grown by it.

        Args:
            query: As asked.
            peer: ISO 3166-1 alpha-2 of who asked; empty for an officer of this country.
            country: Likewise, of whoever typed it: what a national number means.
            at_us: UTC microseconds.
        """
        grown = set[Place]()
        for kind, frame, number in _numbers(query, country):
            for asker in askers(query, peer):
                # Each number lies in two stretches that overlap by half, so that no border between two hides a run.
                for stretch in (number // NEAR * 2, (number + NEAR // 2) // NEAR * 2 + 1):
                    place = Place(asker, kind, frame, stretch)
                    if self._grows(place, number, at_us):
                        grown.add(place)
        return grown

    def length(self, place: Place) -> int:
        """Return how many numbers were asked there in this process."""
        near = self._near.get(place)
        return 0 if near is None else len(near.numbers)

    def run(self, place: Place) -> Run:
        """Return the run at a place, under keyed digests."""
        near, asker = self._near.get(place) or _Near(0, set()), place.asker
        numbers = frozenset(self._digest("number", number)[:DIGEST] for number in near.numbers)
        day = near.at_us // WINDOW_US
        about = self._digest("about", asker.peer, place.kind, place.frame, place.stretch // _STRETCHES, day)
        return Run(asker, self._digest("run", *asker, *place[1:]), about, numbers)

    def _grows(self, place: Place, number: int, at_us: int) -> bool:
        near = self._near.get(place)
        if near is None or near.at_us <= at_us - WINDOW_US:
            near = self._near[place] = _Near(at_us, set())
        near.at_us = at_us
        self._near.move_to_end(place)
        if len(self._near) > MOST_RUNS:
            self._near.popitem(last=False)
        numbers = near.numbers
        if number in numbers or len(numbers) >= MOST_SEEN:
            return False
        numbers.add(number)
        return len(numbers) > 1

    def _digest(self, *parts: object) -> bytes:
        return hmac.digest(self.key, "\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), "sha256")


def askers(query: Query, peer: str) -> list[Asker]:
    """Return whom a query counts for, the narrowest first."""
    asked = query.asker
    found = [Asker(QUOTA_SCOPE_OFFICER, peer, asked.officer), Asker(QUOTA_SCOPE_UNIT, peer, asked.unit)]
    return [*found, Asker(QUOTA_SCOPE_PEER, peer, peer)] if peer else found


def _numbers(query: Query, country: str) -> Iterator[tuple[int, str, int]]:
    """Yield kind, what stands around it, and the number, of each selector that has one."""
    for selector in query.selectors:
        if selector.kind not in KINDS:
            continue
        try:
            form = normalise(selector.kind, selector.value, region=country)[0]
        except RecordError:
            continue
        found = _NUMBER.match(form)
        if found is not None:
            before, digits, behind = found.groups()
            yield selector.kind, f"{before}|{len(digits)}|{behind}", int(digits)
