"""The invented cases of the demonstration (`node/cli/data/invented.json`), moved to the present."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from node.errors import ImportFileError
from node.records.validate import COUNTRIES, verify_case, verify_entry
from node.wire.entry_pb2 import Case, Entry

if TYPE_CHECKING:
    from google.protobuf.message import Message

_TIME_SUFFIX: Final = "_us"


@dataclass(frozen=True, slots=True)
class InventedCase:
    """A case that nobody lived, with its entries; `country` (ISO 3166-1 alpha-2) keeps it."""

    country: str
    case: Case
    entries: tuple[Entry, ...]


def parse_invented(data: bytes, *, now_us: int) -> Iterator[InventedCase]:
    """Read a file of invented cases.

    All times in it are moved by what has passed since its `as_of_us`, so that reviews are always ahead and the
    recorded always behind; births are not.

    Args:
        data: JSON (UTF-8) with `as_of_us` and, by country, cases and entries in protobuf's JSON form.
        now_us: UTC microseconds.

    Raises:
        ImportFileError: it is no such file, or an entry is not marked as invented.
        RecordError: a case or an entry can't be kept; the text names the field.
    """
    try:
        document = json.loads(data)
        passed_us = now_us - int(document["as_of_us"])
        for country, cases in document["countries"].items():
            for each in cases:
                case = json_format.ParseDict(each["case"], Case())
                entries = tuple(json_format.ParseDict(entry, Entry()) for entry in each["entries"])
                yield _moved(country, case, entries, passed_us, now_us)
    except (ValueError, KeyError, TypeError, AttributeError, json_format.ParseError):
        raise ImportFileError("the file is no file of invented cases") from None


def _moved(country: str, case: Case, entries: tuple[Entry, ...], passed_us: int, now_us: int) -> InventedCase:
    if country not in COUNTRIES or not all(entry.invented and entry.originator == country for entry in entries):
        raise ImportFileError("an entry is not marked as invented, or is another country's")
    for message in (case, *entries):
        _move(message, passed_us)
    verify_case(case, now_us=now_us)
    for entry in entries:
        verify_entry(entry, now_us=now_us)
    return InventedCase(country, case, entries)


def _move(message: "Message", passed_us: int) -> None:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in value if field.is_repeated else (value,):
                _move(part, passed_us)
        elif field.name.endswith(_TIME_SUFFIX):
            setattr(message, field.name, value + passed_us)
