"""Rows of a CSV file that may be damaged: each broken row is told by its line, and the good ones around it are kept."""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from node.errors import ImportFileError

_MOST_LINES: Final = 40
"""Lines that one row may take, by line breaks inside quotes. A quote that is never closed would swallow all that
follows; after this many lines it is given up, and reading goes on behind its first line."""
_MOST_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that could not be read.

    Attributes:
        line: On which it begins, from 1.
        reason: Names the column, never its value.
    """

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row as its file has it.

    Attributes:
        line: On which it begins, from 1.
        values: Column to text, without surrounding blanks.
    """

    line: int
    values: dict[str, str]


def parse_rows(lines: Iterable[bytes], layouts: Iterable[frozenset[str]]) -> Iterator[Row | BrokenRow]:
    """Read rows one by one (RFC 4180, UTF-8 with or without a byte order mark); memory stays flat.

    Args:
        lines: With or without their ends, as a binary file gives them.
        layouts: Sets of columns; the header must have all of one of them, in any order, and may have more.

    Raises:
        ImportFileError: there is no header, or it has none of the layouts; the text names the columns that are missing.
    """
    records = _records(lines)
    first = next(records, None)
    if first is None:
        raise ImportFileError("the file is empty")
    header = _fields(first[1])
    if isinstance(header, str):
        raise ImportFileError(f"line {first[0]}: the header {header}")
    missing = min((sorted(layout.difference(header)) for layout in layouts), key=len)
    if missing:
        raise ImportFileError(f"the file has no column named {', '.join(missing)}")
    for line, record in records:
        found = _fields(record) if record else "has a quotation mark that is never closed"
        if isinstance(found, str):
            yield BrokenRow(line, found)
        elif len(found) != len(header):
            yield BrokenRow(line, f"has {len(found)} columns instead of {len(header)}")
        else:
            yield Row(line, dict(zip(header, found, strict=True)))


def _fields(record: bytes) -> list[str] | str:
    """The fields of one record, or what is wrong with it."""
    try:
        text = record.decode("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8"
    try:
        [fields] = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        return "has misplaced quotation marks"
    return [field.strip() for field in fields]


def _records(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines joined to records by their quotation marks; an empty record where they do not close."""
    pending: deque[tuple[int, bytes]] = deque()  # lines to be read again after a quote that never closes
    source = enumerate(lines, start=1)
    while True:
        kept: list[tuple[int, bytes]] = []
        quotes = size = 0
        while True:
            numbered = pending.popleft() if pending else next(source, None)
            if numbered is None:
                break
            line = numbered[1].removeprefix(b"\xef\xbb\xbf") if numbered[0] == 1 else numbered[1]
            kept.append((numbered[0], line))
            quotes += line.count(b'"')
            size += len(line)
            if quotes % 2 == 0 or len(kept) == _MOST_LINES or size > _MOST_BYTES:
                break
        if not kept:
            return
        if quotes % 2:
            yield kept[0][0], b""
            pending.extendleft(reversed(kept[1:]))
        elif record := b"\n".join(line.rstrip(b"\r\n") for _, line in kept).strip():
            yield kept[0][0], record
