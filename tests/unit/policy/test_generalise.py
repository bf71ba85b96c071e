from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.policy import generalise
from node.wire import entry_pb2


@pytest.mark.parametrize(
    ("first", "last", "widened"),
    [
        (19_723, 19_723, (19_723, 20_088)),  # 2024-01-01, a leap year
        (20_088, 20_089, (19_723, 20_453)),  # over New Year
        (-1, -1, (-365, -1)),  # 1969-12-31
        (-719_162, 2_932_896, (-719_162, 2_932_896)),  # all of the calendar
    ],
)
def test_dates_become_years(first: int, last: int, widened: tuple[int, int]) -> None:
    coarse = generalise.to_years(entry_pb2.DateInterval(first_day=first, last_day=last))
    assert coarse is not None
    assert (coarse.first_day, coarse.last_day) == widened


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_become_the_first_instant_of_their_month(time: datetime) -> None:
    epoch, microsecond = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    first = time.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert generalise.to_month((time - epoch) // microsecond) == (first - epoch) // microsecond


def test_values_outside_the_calendar_or_the_globe_become_nothing() -> None:
    for day in (2**31 - 1, -(2**31), 2_932_897, -719_163):
        assert generalise.to_years(entry_pb2.DateInterval(first_day=day)) is None
        assert generalise.to_years(entry_pb2.DateInterval(last_day=day)) is None
    for time_us in (2**63 - 1, -(2**63)):
        assert generalise.to_month(time_us) is None
    for degrees in (91_000_000, -91_000_000):
        assert generalise.to_degrees(entry_pb2.Coordinates(latitude_e6=degrees)) is None
    for degrees in (181_000_000, -181_000_000):
        assert generalise.to_degrees(entry_pb2.Coordinates(longitude_e6=degrees)) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_poles_and_the_date_line_are_on_the_globe(sign: int) -> None:
    corner = entry_pb2.Coordinates(latitude_e6=sign * 90_000_000, longitude_e6=sign * 180_000_000)
    assert generalise.to_degrees(corner) == corner


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("+502 5555-0001", "+502"),
        ("+1 (555) 0100", "+1"),
        ("+525500000000", "+52"),
        ("+52", "+52"),
        ("+1", "+1"),
        ("+5 2", "+52"),
        ("+999123", None),
        ("+0502", None),
        ("+01 555", None),
        ("+007123", None),
        ("15025550001", None),
        ("+", None),
        ("50255550001", None),
        ("me@example.org", None),
        ("+٥٠٢", None),
    ],
)
def test_telephones_become_calling_codes(text: str, code: str | None) -> None:
    assert generalise.to_calling_code(text) == code


@pytest.mark.parametrize(("number", "order"), [(0, 0), (1, 1), (9, 1), (10, 10), (4_711, 1_000), (10**18, 10**18)])
def test_numbers_become_powers_of_ten(number: int, order: int) -> None:
    assert generalise.to_order(number) == order
