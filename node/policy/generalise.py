"""How single values become coarser. None means: nothing is left to tell."""

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Final

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from node.wire import entry_pb2, options_pb2

_EPOCH: Final = date(1970, 1, 1).toordinal()
_US_PER_DAY: Final = 86_400_000_000
_DEGREE: Final = 1_000_000  # millionths of a degree
_MAX_LATITUDE: Final = 90
_MAX_LONGITUDE: Final = 180
_NOT_DIGIT: Final = re.compile(r"[^0-9]")
_LONGEST_CALLING_CODE: Final = 3  # ITU-T E.164


def to_years(value: entry_pb2.DateInterval) -> entry_pb2.DateInterval | None:
    """Widen an interval to the whole years that it touches."""
    try:
        first, last = date.fromordinal(value.first_day + _EPOCH), date.fromordinal(value.last_day + _EPOCH)
    except (OverflowError, ValueError):
        return None
    return entry_pb2.DateInterval(
        first_day=date(first.year, 1, 1).toordinal() - _EPOCH, last_day=date(last.year, 12, 31).toordinal() - _EPOCH
    )


def to_degrees(value: entry_pb2.Coordinates) -> entry_pb2.Coordinates | None:
    """Round to the nearest whole degrees (about 111 km); None outside the globe."""
    latitude, longitude = round(value.latitude_e6 / _DEGREE), round(value.longitude_e6 / _DEGREE)
    if abs(latitude) > _MAX_LATITUDE or abs(longitude) > _MAX_LONGITUDE:
        return None
    return entry_pb2.Coordinates(latitude_e6=latitude * _DEGREE, longitude_e6=longitude * _DEGREE)


def to_month(time_us: int) -> int | None:
    """The first instant of a time's month, UTC microseconds."""
    return _month_of(time_us // _US_PER_DAY)


@lru_cache(maxsize=4096)  # days of some ten years
def _month_of(day: int) -> int | None:
    try:
        first = date.fromordinal(day + _EPOCH).replace(day=1)
    except ValueError:
        return None
    return (first.toordinal() - _EPOCH) * _US_PER_DAY


def to_calling_code(telephone: str) -> str | None:
    """The country calling code of an international number ("+502 …" to "+502"); None for any other text."""
    if not telephone.startswith("+"):
        return None
    digits = telephone[1 : 1 + _LONGEST_CALLING_CODE]
    if not (digits.isascii() and digits.isdigit()):  # as people write it, with spaces and signs
        digits = _NOT_DIGIT.sub("", telephone)
    # Calling codes are free of prefixes: at most one of the three can be one.
    for length in range(1, min(_LONGEST_CALLING_CODE, len(digits)) + 1):
        if int(digits[:length]) in COUNTRY_CODE_TO_REGION_CODE and digits[0] != "0":
            return "+" + digits[:length]
    return None


def to_order(number: int) -> int:
    """The power of ten at or below a number; 0 stays 0."""
    return 10 ** (len(str(number)) - 1) if number > 0 else 0


GENERALISERS: Final[dict[int, Callable[..., object]]] = {
    options_pb2.GENERALISER_YEAR: to_years,
    options_pb2.GENERALISER_MONTH: to_month,
    options_pb2.GENERALISER_DEGREE: to_degrees,
    options_pb2.GENERALISER_PREFIX: to_calling_code,
    options_pb2.GENERALISER_ORDER: to_order,
}
"""By the field option `generalise`; what is the SAME needs none."""
