"""What stands out in the use of a ledger, and samples that nobody can choose."""

from collections.abc import Iterable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import LedgerError
from node.ledger.usage import (
    DAY_US,
    FAR_LEAST,
    HOUR_US,
    MANY_LEAST,
    NIGHT_LEAST,
    PAST_LEAST,
    WITHOUT_CASE_LEAST,
    Asked,
    Past,
    Search,
    Unusual,
    draw,
    searches,
    unusual,
)
from node.wire.audit_pb2 import (
    UNUSUAL_KIND_FAR_ABOVE_UNIT,
    UNUSUAL_KIND_NIGHT_BURST,
    UNUSUAL_KIND_ONE_BY_MANY,
    UNUSUAL_KIND_WITHOUT_CASE,
)

NOON = 20_000 * DAY_US + 12 * HOUR_US
MINUTE_US = 60_000_000
NOTHING: dict[int, frozenset[bytes]] = {}


def asked(line: int, at_us: int = NOON, officer: str = "a", peer: str = "MX", *, case: bool = True) -> Asked:
    return Asked(line, at_us, officer, "UNIT-1", 1, case, peer)


def search(line: int, at_us: int = NOON, officer: str = "a", unit: str = "UNIT-1", *, case: bool = True) -> Search:
    return Search(line, at_us, officer, unit, 1, case, ("MX",))


def past(per_day: int, days: int = PAST_LEAST, offset_us: int = 0) -> Past:
    made = [search(0, NOON - (day + 1) * DAY_US, f"o{day % 4}") for day in range(days) for _ in range(per_day)]
    return Past(made, offset_us)


def found(period: Iterable[Search], before: Past | None = None, offset_us: int = 0) -> list[Unusual]:
    return unusual(list(period), before or past(0), NOTHING, offset_us)


# --- searches --------------------------------------------------------------------------------------------------------


def test_questions_of_one_search_are_one() -> None:
    lines = [asked(3, peer="MX"), asked(4, NOON + 5, peer="US"), asked(5, NOON + 9, peer="CR")]
    (one,) = searches(lines)
    assert (one.line, one.at_us, one.peers) == (3, NOON, ("MX", "US", "CR"))


@pytest.mark.parametrize(
    "other",
    [
        asked(4, peer="MX"),  # the same peer again
        asked(5, peer="US"),  # another line came between
        asked(4, officer="b", peer="US"),
        asked(4, peer="US", case=False),
        asked(4, NOON + 1_000_000, peer="US"),  # later
    ],
)
def test_what_differs_is_another_search(other: Asked) -> None:
    assert [each.line for each in searches([asked(3), other])] == [3, other.line]


def test_no_question_is_no_search() -> None:
    assert list(searches([])) == []


# --- what stands out -------------------------------------------------------------------------------------------------


def test_an_officer_far_above_the_units_past_comes_up_by_the_busiest_day() -> None:
    quiet, busy = [search(n) for n in range(4)], [search(9 + n, NOON + DAY_US + n) for n in range(24)]
    (one,) = found(quiet + busy, past(4))
    assert (one.kind, one.median, one.usual, one.score) == (UNUSUAL_KIND_FAR_ABOVE_UNIT, 4, 12, 200)
    assert (one.officers, list(one.searches)) == (["a"], busy)


@pytest.mark.parametrize(
    ("count", "before"),
    [
        (11, past(4)),  # less than three times
        (FAR_LEAST - 1, past(1)),  # few
        (500, past(4, PAST_LEAST - 1)),  # nothing to compare with
    ],
)
def test_others_do_not(count: int, before: Past) -> None:
    assert found([search(n) for n in range(count)], before) == []


def test_a_single_busy_colleague_in_the_past_makes_nothing_usual() -> None:
    made = [search(0, NOON - day * DAY_US, f"o{day % 5}") for day in range(1, 40)]
    made += [search(0, NOON - DAY_US, "busy")] * 10_000
    assert Past(made, 0).median_of("UNIT-1") == 1
    assert Past(made, 0).median_of("UNIT-2") is None


def test_searches_without_a_case_come_up_together() -> None:
    made = [search(n, NOON + n * DAY_US, case=False) for n in range(WITHOUT_CASE_LEAST)]
    (one,) = found([*made, search(99)])
    assert (one.kind, one.score, list(one.searches)) == (UNUSUAL_KIND_WITHOUT_CASE, 100, made)
    assert found(made[:-1]) == []


def at(hour: float) -> int:
    return 20_000 * DAY_US + int(hour * HOUR_US)


@pytest.mark.parametrize(("hour", "offset", "night"), [(22, 0, 1), (29.9, 0, 1), (21.9, 0, 0), (30, 0, 0), (28, -6, 1)])
def test_a_burst_counts_at_night_by_the_clock_on_the_wall(hour: float, offset: int, night: int) -> None:
    made = [search(n, at(hour) + n) for n in range(NIGHT_LEAST)]
    assert len(found(made, offset_us=offset * HOUR_US)) == night


def test_a_burst_is_the_busiest_hour_of_a_night_also_over_midnight() -> None:
    early = [search(n, at(22) + n) for n in range(NIGHT_LEAST)]
    late = [search(50 + n, at(23.6) + n * 10 * MINUTE_US) for n in range(6)]  # until 00:26
    (one,) = found(early + late)
    assert (one.kind, one.score, list(one.searches)) == (UNUSUAL_KIND_NIGHT_BURST, 120, late)
    spread = [search(n, at(22) + n * 16 * MINUTE_US) for n in range(20)]
    assert found(spread) == []


def test_one_thing_searched_by_many_comes_up_once_whatever_forms_it_has() -> None:
    made = [search(n, officer=name) for n, name in enumerate("abcda")]
    targets = {each.line: frozenset({b"form", b"other form"}) for each in made}
    (one,) = unusual(made, past(0), targets, 0)
    assert (one.kind, one.officers, one.score) == (UNUSUAL_KIND_ONE_BY_MANY, ["a", "b", "c", "d"], 133)
    assert len(one.searches) == 5
    two = {line: found for line, found in targets.items() if made[line].officer in "ab"}
    assert len("ab") < MANY_LEAST
    assert unusual(made, past(0), two, 0) == []


def test_what_stands_out_most_comes_first() -> None:
    night = [search(n, at(23) + n) for n in range(NIGHT_LEAST)]
    loose = [search(50 + n, NOON, "b", case=False) for n in range(2 * WITHOUT_CASE_LEAST)]
    assert [each.score for each in found(night + loose)] == [200, 100]


# --- samples ---------------------------------------------------------------------------------------------------------

SEED, LEAF = bytes(range(32)), bytes(range(32, 64))


@given(size=st.integers(0, 5_000), count=st.integers(1, 200))
def test_a_sample_has_so_many_lines_of_those_there_are_each_once(size: int, count: int) -> None:
    drawn = draw(SEED, LEAF, size, count)
    assert len(drawn) == min(size, count)
    assert drawn == sorted(set(drawn))
    assert all(0 <= each < size for each in drawn)
    assert draw(SEED, LEAF, size, count) == drawn


def test_the_first_line_drawn_is_as_the_contract_says() -> None:
    number = int.from_bytes(sha256(b"enlace/v1/sample\0" + SEED + LEAF + bytes(8)).digest(), "big")
    assert draw(SEED, LEAF, 1_000_000, 1) == [number % 1_000_000]


def test_both_sides_have_their_part() -> None:
    whole = draw(SEED, LEAF, 1_000_000, 20)
    assert draw(SEED, SEED, 1_000_000, 20) != whole
    assert draw(LEAF, LEAF, 1_000_000, 20) != whole


def test_no_line_is_favoured() -> None:
    counts = [0] * 10
    for n in range(2_000):
        for each in draw(sha256(n.to_bytes(4, "big")).digest(), LEAF, 10, 3):
            counts[each] += 1
    assert all(500 < count < 700 for count in counts)  # 600 expected, deviation 20


@pytest.mark.parametrize(("seed", "leaf"), [(SEED[:-1], LEAF), (SEED, LEAF + b"x")])
def test_another_length_is_refused(seed: bytes, leaf: bytes) -> None:
    with pytest.raises(LedgerError):
        draw(seed, leaf, 10, 3)
