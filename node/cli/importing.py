"""`enlace import`: files of cases into the running node; what is broken is told by line, and the rest is kept."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from node.cli.client import desk
from node.cli.home import Home, home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, console, printable, show
from node.cli.reading import parse_message
from node.config import load_config
from node.errors import EnlaceError, UsageError
from node.records.csvrows import BrokenRow
from node.records.incidents import PublishedIncident, parse_incidents
from node.records.invented import parse_invented
from node.records.iom import parse_iom
from node.wire.desk_pb2 import ImportRequest

_SHOWN_PROBLEMS: Final = 50
_REPORT_BYTES: Final = 65_536
# The node fills in the officer's own unit; the parsers want some unit to check the case with.
_ANY_UNIT: Final = "-"


class Format(StrEnum):
    """What a file holds."""

    IOM = "iom"  # the CSV of IOM's Missing Migrants Project
    INCIDENTS = "incidents"  # this project's table of incidents
    INVENTED = "invented"  # invented cases for demonstration
    ENTRIES = "entries"  # a line of JSON for each case: {"case": {…}, "entries": [{…}]}


class _Place(NamedTuple):
    """Where in a file: the number of a line or of a case, from 1."""

    number: int
    of: str

    def __str__(self) -> str:
        return f"{self.of} {self.number}"


class _Found(NamedTuple):
    """A case found in a file, and where."""

    place: _Place
    country: str
    request: ImportRequest


class _Problem(NamedTuple):
    place: _Place
    reason: str


@dataclass(slots=True)
class _Outcome:
    """How far an import is, and what went wrong; filled in while the file is read and sent."""

    cases: int = 0
    entries: int = 0
    elsewhere: int = 0  # cases of other countries
    nowhere: list[_Place] = field(default_factory=list)  # whose file does not tell the country, so nobody can keep them
    problems: list[_Problem] = field(default_factory=list)
    places: list[_Place] = field(default_factory=list)  # of what was sent, by its ordinal


def import_file(
    file: Annotated[Path, typer.Argument(help="The cases, in the format that --format names.")],
    *,
    format_: Annotated[Format, typer.Option("--format", help="What the file holds.")],
    officer: OfficerOption,
    atomic: Annotated[bool, typer.Option("--atomic", help="Keep everything or nothing.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import this country's cases with their entries; exit status 1 if something was broken."""
    node = home_of(home)
    own = load_config(node.config).country
    outcome, started = _Outcome(), time.perf_counter()
    with _opened(file) as source, _progress(file, source, quiet=as_json) as lines:
        found = _own(_cases(format_, source, lines, own), own, outcome)
        if atomic:
            whole = list(found)
            if not outcome.problems:
                _send(node, officer, whole, outcome, atomic=True)
        else:
            _send(node, officer, found, outcome, atomic=False)
    outcome.problems.sort()
    _show(outcome, time.perf_counter() - started, atomic=atomic, as_json=as_json)
    if outcome.problems:
        raise typer.Exit(1)


# --- reading ---------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    try:
        source = file.open("rb")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    with source:
        yield source


def _cases(format_: Format, source: BinaryIO, lines: Iterable[bytes], own: str) -> Iterator[_Found | _Problem]:
    now_us = time.time_ns() // 1_000
    if format_ is Format.INVENTED:
        for number, each in enumerate(parse_invented(source.read(), now_us=now_us), 1):
            request = ImportRequest(case=each.case, entries=each.entries)
            yield _Found(_Place(number, "case"), each.country, request)
    elif format_ is Format.ENTRIES:
        yield from _json_lines(lines, own)
    else:
        parse = parse_iom if format_ is Format.IOM else parse_incidents
        for row in parse(lines, unit=_ANY_UNIT, now_us=now_us):
            yield _Problem(_Place(row.line, "line"), row.reason) if isinstance(row, BrokenRow) else _incident(row)


def _incident(row: PublishedIncident) -> _Found:
    request = ImportRequest(case=row.case, entries=row.entries)
    request.case.unit = ""
    for entry in request.entries:
        entry.unit = ""
    return _Found(_Place(row.line, "line"), row.country, request)


def _json_lines(lines: Iterable[bytes], own: str) -> Iterator[_Found | _Problem]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            request = parse_message(line.decode(), ImportRequest())
        except UnicodeDecodeError:
            yield _Problem(_Place(number, "line"), "is not UTF-8")
        except UsageError as error:
            yield _Problem(_Place(number, "line"), str(error))
        else:
            request.atomic = False  # the option's to say, not the file's
            yield _Found(_Place(number, "line"), own, request)


def _own(found: Iterable[_Found | _Problem], own: str, outcome: _Outcome) -> Iterator[_Found]:
    for each in found:
        if isinstance(each, _Problem):
            outcome.problems.append(each)
        elif not each.country:
            outcome.nowhere.append(each.place)
        elif each.country != own:
            outcome.elsewhere += 1
        else:
            yield each


# --- sending ---------------------------------------------------------------------------------------------------------


def _send(home: Home, officer: str, found: Iterable[_Found], outcome: _Outcome, *, atomic: bool) -> None:
    """Send cases, and take down what the node says of them."""
    failed: list[EnlaceError] = []

    def requests() -> Iterator[ImportRequest]:
        # grpc reads this on a thread of its own and swallows what it raises.
        try:
            for each in found:
                outcome.places.append(each.place)
                each.request.atomic = atomic
                yield each.request
        except EnlaceError as error:
            failed.append(error)
            raise

    with desk(home, officer) as stub:
        try:
            for response in stub.Import(requests()):
                outcome.cases, outcome.entries = response.cases, response.entries
                outcome.problems += [
                    _Problem(outcome.places[problem.message], problem.reason) for problem in response.problems
                ]
        finally:
            if failed:
                raise failed[0]


@contextmanager
def _progress(file: Path, source: BinaryIO, *, quiet: bool) -> Iterator[Iterable[bytes]]:
    """Yield the file's lines; on a terminal, with a bar on standard error that shows how much of it is read."""
    err = Console(stderr=True)
    if quiet or not err.is_terminal:
        yield source
        return
    with Progress(TextColumn("importing"), BarColumn(), TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("", total=file.stat().st_size)

        def lines() -> Iterator[bytes]:
            unseen = 0
            for line in source:
                unseen += len(line)
                if unseen > _REPORT_BYTES:
                    bar.advance(task, unseen)
                    unseen = 0
                yield line

        yield lines()


# --- telling ---------------------------------------------------------------------------------------------------------


def _show(outcome: _Outcome, seconds: float, *, atomic: bool, as_json: bool) -> None:
    facts: dict[str, object] = {
        "cases": outcome.cases,
        "entries": outcome.entries,
        "of_other_countries": outcome.elsewhere,
        "of_no_country_told": len(outcome.nowhere),
        "broken": len(outcome.problems),
    }
    if as_json:
        document = {
            **facts,
            "problems": [{"place": str(each.place), "reason": each.reason} for each in outcome.problems],
            "no_country_told": [str(each) for each in outcome.nowhere],
            "seconds": round(seconds, 2),
        }
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    out = console()
    for problem in outcome.problems[:_SHOWN_PROBLEMS]:
        out.print(f"{problem.place}: {printable(problem.reason)}", soft_wrap=True)
    if len(outcome.problems) > _SHOWN_PROBLEMS:
        out.print(f"and {len(outcome.problems) - _SHOWN_PROBLEMS} more; --json names them all")
    if outcome.problems and atomic:
        out.print("Nothing was kept.")
    show({**facts, "seconds": round(seconds, 1)}, as_json=False)
