"""Words that people type and read: code lists without their prefixes, dates known in part, places, ids."""

import calendar
import re
from collections.abc import Iterable
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Final
from uuid import UUID

from google.protobuf.descriptor import EnumDescriptor

from node.errors import UsageError
from node.records.labels import Language, label
from node.records.validate import COUNTRIES
from node.wire import codes_pb2
from node.wire.entry_pb2 import Coordinates, DateInterval

_EPOCH: Final = date(1970, 1, 1)
_UNKNOWN: Final = "UNKNOWN"
_DATE: Final = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", re.ASCII)
_DECEMBER: Final = 12
_DEGREE: Final = 1_000_000
_ID_BYTES: Final = 16

# --- code lists ------------------------------------------------------------------------------------------------------


def prefix_of(enum: EnumDescriptor) -> str:
    """Return what each name of a code list begins with, "PURPOSE_"."""
    return enum.values_by_number[0].name.removesuffix(_UNKNOWN)


def parse_word(enum: EnumDescriptor, text: str) -> int:
    """Return the number of a word, in any case, with blanks or hyphens, with or without its prefix.

    Raises:
        UsageError: the list has no such word, or it is UNKNOWN; the text names those that come near, or all.
    """
    prefix = prefix_of(enum)
    name = re.sub(r"[\s-]+", "_", text.strip()).upper().removeprefix(prefix)
    value = enum.values_by_name.get(prefix + name)
    if value is not None and value.number:
        return value.number
    allowed = [each.name.removeprefix(prefix).lower() for each in enum.values if each.number]
    near = get_close_matches(name.lower(), allowed)
    hint = f"did you mean {' or '.join(near)}?" if near else f"one of {', '.join(allowed)}"
    raise UsageError(f"{text!r} is no {prefix.lower().replace('_', ' ').strip()}: {hint}")


def word(enum: EnumDescriptor, number: int) -> str:
    """Return the word for a number: "trafficking"; a number that this node does not know is unknown, and shown."""
    value = enum.values_by_number.get(number)
    if value is None:
        return f"unknown ({number})"
    return value.name.removeprefix(prefix_of(enum)).lower().replace("_", " ")


def named(enum: EnumDescriptor, number: int, language: Language) -> str:
    """Return what a code is called in a language: "Trata de personas"; the word where the house has no name for it."""
    if enum.file is not codes_pb2.DESCRIPTOR:
        return word(enum, number)
    text = label(enum.name, number, language)
    return text if number in enum.values_by_number else f"{text} ({number})"


def all_named(enum: EnumDescriptor, numbers: Iterable[int], language: Language) -> str:
    """Return what codes are called, joined by semicolons, since there are commas in some names."""
    return "; ".join(named(enum, number, language) for number in numbers)


def words(enum: EnumDescriptor, numbers: Iterable[int]) -> str:
    """Return the words for numbers, joined by commas."""
    return ", ".join(word(enum, number) for number in numbers)


# --- values ----------------------------------------------------------------------------------------------------------


def parse_interval(text: str) -> DateInterval:
    """Read a date known to the day, the month or the year, "2025-03", or from one to another, "2025-03..2025-05-12".

    Raises:
        UsageError: it is none.
    """
    first, dots, last = text.strip().partition("..")
    begin, end = _days(first)[0], _days(last if dots else first)[1]
    if begin > end:
        raise UsageError(f"{text!r}: the first date is after the last")
    return DateInterval(first_day=begin, last_day=end)


def _days(text: str) -> tuple[int, int]:
    found = _DATE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no date: write 2025, 2025-03, 2025-03-14 or 2025-03..2025-05")
    year, month, day = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    try:
        first = date(year, month or 1, day or 1)
        last_month = month or _DECEMBER
        last = date(year, last_month, day or calendar.monthrange(year, last_month)[1])
    except ValueError:
        raise UsageError(f"{text!r} is no date of the calendar") from None
    return (first - _EPOCH).days, (last - _EPOCH).days


def interval_text(interval: DateInterval) -> str:
    """Return a date as briefly as it is known: a year, a month, a day, or from one day to another."""
    try:
        first = _EPOCH + timedelta(days=interval.first_day)
        last = _EPOCH + timedelta(days=interval.last_day)
    except OverflowError:
        return "outside the calendar"
    if first == last:
        return first.isoformat()
    if first.day == 1 and (last + timedelta(days=1)).day == 1:
        if (first.year, first.month) == (last.year, last.month):
            return f"{first:%Y-%m}"
        if (first.month, last.month) == (1, _DECEMBER):
            return str(first.year) if first.year == last.year else f"{first.year}..{last.year}"
    return f"{first.isoformat()}..{last.isoformat()}"


def coordinates_text(at: Coordinates) -> str:
    """Return a place as degrees of latitude and longitude, north and east."""
    return f"{at.latitude_e6 / _DEGREE:g}, {at.longitude_e6 / _DEGREE:g}"


def parse_place(text: str) -> tuple[str, str]:
    """Read "GT:Tecún Umán": country (ISO 3166-1 alpha-2) and place.

    Raises:
        UsageError: the country is no code, or the place is missing.
    """
    code, _, place = text.partition(":")
    country = parse_country(code)
    if not place.strip():
        raise UsageError(f"{text!r}: write country and place, as in 'GT:Tecún Umán'")
    return country, place.strip()


def parse_country(text: str) -> str:
    """Read a country's code in any case.

    Raises:
        UsageError: it is no code of ISO 3166-1 alpha-2.
    """
    code = text.strip().upper()
    if code not in COUNTRIES:
        raise UsageError(f"{text!r} is no country's code of ISO 3166-1, as GT or MX")
    return code


# --- ids -------------------------------------------------------------------------------------------------------------


def id_text(record_id: bytes) -> str:
    """Return an id (16 bytes) as a UUID; other bytes, which are digests, keys and contents, as hexadecimal."""
    return str(UUID(bytes=record_id)) if len(record_id) == _ID_BYTES else record_id.hex()


def parse_id(text: str) -> bytes:
    """Read an id (16 bytes): a UUID, with hyphens or without.

    Raises:
        UsageError: it is none.
    """
    try:
        return UUID(text.strip()).bytes
    except ValueError:
        raise UsageError(f"{text!r} is no id: copy it whole from where it was listed") from None
