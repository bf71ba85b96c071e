"""How a ledger was used: searches counted, what stands out among them, and samples that nobody can choose.

What stands out is a reason to look, never a finding: each carries its counts and lines, so that an auditor judges.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from statistics import median
from typing import Final, NamedTuple

from node.errors import LedgerError
from node.wire.audit_pb2 import (
    UNUSUAL_KIND_FAR_ABOVE_UNIT,
    UNUSUAL_KIND_NIGHT_BURST,
    UNUSUAL_KIND_ONE_BY_MANY,
    UNUSUAL_KIND_WITHOUT_CASE,
    UnusualKind,
)

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US

# From which on something counts as unusual. Judged, not measured: low enough that a few cases a month come up.
FAR_TIMES: Final = 3
"""So many times the median of the unit's past, on one day …"""
FAR_LEAST: Final = 10
"""… and at least so many searches."""
PAST_LEAST: Final = 20
"""Days of officers in a unit's past below which nothing is compared with it."""
WITHOUT_CASE_LEAST: Final = 3
NIGHT_LEAST: Final = 5
"""Searches within one hour of a night."""
MANY_LEAST: Final = 3
"""Officers who searched for the same thing."""
NIGHT_BEGINS: Final = 22
NIGHT_ENDS: Final = 6
"""Hours of the clock on the wall."""

_ONE_SEARCH_US: Final = 1_000_000
_SEED_SIZE: Final = 32
_DRAW_DOMAIN: Final = b"enlace/v1/sample\x00"


class Asked(NamedTuple):
    """The line of one question to one peer; `case` says whether it names one."""

    line: int
    at_us: int
    officer: str
    unit: str
    purpose: int
    case: bool
    peer: str


class Search(NamedTuple):
    """One search of an officer, whoever was asked; `line` is the first of its questions'."""

    line: int
    at_us: int
    officer: str
    unit: str
    purpose: int
    case: bool
    peers: tuple[str, ...]


class Unusual(NamedTuple):
    """Something that stands out.

    Attributes:
        score: Hundredths of what makes it unusual.
        usual: From which number on it counts as unusual.
        median: Of the unit's past; 0 where it is not compared with.
        searches: By time.
    """

    kind: UnusualKind.ValueType
    score: int
    usual: int
    median: int
    searches: Sequence[Search]

    @property
    def officers(self) -> list[str]:
        """Who searched, each once."""
        return sorted({search.officer for search in self.searches})


def searches(asked: Iterable[Asked]) -> Iterator[Search]:
    """Join the questions of one search: they are logged together, by one officer, to peers that differ.

    `asked` is in the ledger's order.
    """
    held: Search | None = None
    last = -1
    for each in asked:
        if (
            held is not None
            and each.line == last + 1
            and (each.officer, each.unit, each.purpose, each.case) == held[2:6]
            and each.peer not in held.peers
            and each.at_us - held.at_us < _ONE_SEARCH_US
        ):
            held = held._replace(peers=(*held.peers, each.peer))
        else:
            if held is not None:
                yield held
            held = Search(*each[:6], (each.peer,))
        last = each.line
    if held is not None:
        yield held


class Past:
    """How much the officers of each unit searched on the days on which they did, before a period."""

    def __init__(self, before: Iterable[Search], offset_us: int) -> None:
        """Count; `offset_us` is what the clock on the wall is ahead of UTC."""
        days = Counter((each.unit, each.officer, _day(each.at_us, offset_us)) for each in before)
        self._by_unit: dict[str, list[int]] = defaultdict(list)
        for (unit, _, _), count in days.items():
            self._by_unit[unit].append(count)

    def median_of(self, unit: str) -> int | None:
        """Return an officer's searches on a usual day of the unit; None where there is too little to say."""
        counts = self._by_unit.get(unit, ())
        return int(median(counts)) if len(counts) >= PAST_LEAST else None


def unusual(
    period: Sequence[Search], past: Past, targets: Mapping[int, frozenset[bytes]], offset_us: int
) -> list[Unusual]:
    """Return what stands out, the highest score first.

    Args:
        period: In the ledger's order.
        past: Of what was before.
        targets: By a search's line, keyed digests of what was searched for. Equal digests mean the same thing.
        offset_us: What the clock on the wall is ahead of UTC.
    """
    found = [
        *_far_above(period, past, offset_us),
        *_without_case(period),
        *_night_bursts(period, offset_us),
        *_one_by_many(period, targets),
    ]
    return sorted(found, key=lambda each: (-each.score, each.kind, each.searches[0].line))


def _far_above(period: Iterable[Search], past: Past, offset_us: int) -> Iterator[Unusual]:
    days: dict[tuple[str, str], dict[int, list[Search]]] = defaultdict(lambda: defaultdict(list))
    for each in period:
        days[each.unit, each.officer][_day(each.at_us, offset_us)].append(each)
    for (unit, _), by_day in days.items():
        usual = past.median_of(unit)
        if usual is not None:
            busiest = max(by_day.values(), key=len)
            yield from _if_unusual(UNUSUAL_KIND_FAR_ABOVE_UNIT, busiest, max(FAR_LEAST, FAR_TIMES * usual), usual)


def _without_case(period: Iterable[Search]) -> Iterator[Unusual]:
    for made in _by_officer(each for each in period if not each.case):
        yield from _if_unusual(UNUSUAL_KIND_WITHOUT_CASE, made, WITHOUT_CASE_LEAST)


def _night_bursts(period: Iterable[Search], offset_us: int) -> Iterator[Unusual]:
    for made in _by_officer(each for each in period if _is_night(each.at_us, offset_us)):
        nights: dict[int, list[Search]] = defaultdict(list)
        for each in made:  # a night belongs to the day on which it begins
            nights[_day(each.at_us - NIGHT_ENDS * HOUR_US, offset_us)].append(each)
        for night in nights.values():
            yield from _if_unusual(UNUSUAL_KIND_NIGHT_BURST, _busiest_hour(night), NIGHT_LEAST)


def _one_by_many(period: Iterable[Search], targets: Mapping[int, frozenset[bytes]]) -> Iterator[Unusual]:
    by_target: dict[bytes, list[Search]] = defaultdict(list)
    for each in period:
        for target in targets.get(each.line, ()):
            by_target[target].append(each)
    # A name has several forms, so the same searches come up under several digests.
    for made in {tuple(each.line for each in group): group for group in by_target.values()}.values():
        officers = len({each.officer for each in made})
        if officers >= MANY_LEAST:
            yield Unusual(UNUSUAL_KIND_ONE_BY_MANY, 100 * officers // MANY_LEAST, MANY_LEAST, 0, made)


def _if_unusual(kind: UnusualKind.ValueType, made: Sequence[Search], usual: int, middle: int = 0) -> Iterator[Unusual]:
    if len(made) >= usual:
        yield Unusual(kind, 100 * len(made) // usual, usual, middle, made)


def _by_officer(period: Iterable[Search]) -> Iterable[list[Search]]:
    made: dict[str, list[Search]] = defaultdict(list)
    for each in period:
        made[each.officer].append(each)
    return made.values()


def _busiest_hour(made: Sequence[Search]) -> list[Search]:
    ordered, first, best = sorted(made, key=lambda each: each.at_us), 0, (0, 0)
    for last, each in enumerate(ordered):
        while each.at_us - ordered[first].at_us >= HOUR_US:
            first += 1
        best = max(best, (first, last + 1), key=lambda span: span[1] - span[0])
    return ordered[slice(*best)]


def _day(at_us: int, offset_us: int) -> int:
    return (at_us + offset_us) // DAY_US


def _is_night(at_us: int, offset_us: int) -> bool:
    hour = (at_us + offset_us) % DAY_US // HOUR_US
    return hour >= NIGHT_BEGINS or hour < NIGHT_ENDS


# --- samples ---------------------------------------------------------------------------------------------------------


def draw(seed: bytes, leaf_hash: bytes, size: int, count: int) -> list[int]:
    """Draw lines at random from the first `size` lines, as `SampleDrawn` in audit.proto says.

    The remainder of a 256-bit number favours no line by more than size / 2²⁵⁶.

    Args:
        seed: 32 bytes of the auditor, whose SHA-256 was logged before `leaf_hash` was known.
        leaf_hash: 32 bytes of the line that says so.
        size: Number of lines to draw from.
        count: Of lines; all where there are no more.

    Returns:
        Indexes, ascending.

    Raises:
        LedgerError: a seed or hash of another length.
    """
    if len(seed) != _SEED_SIZE or len(leaf_hash) != _SEED_SIZE:
        raise LedgerError("a sample is drawn from a seed and a leaf hash of 32 bytes each")
    if count >= size:
        return list(range(size))
    drawn: set[int] = set()
    step = 0
    while len(drawn) < count:
        digest = sha256(_DRAW_DOMAIN + seed + leaf_hash + step.to_bytes(8, "big")).digest()
        drawn.add(int.from_bytes(digest, "big") % size)
        step += 1
    return sorted(drawn)
