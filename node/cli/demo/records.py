"""What the countries of the demonstration know: public incidents, and invented cases."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from node.cli.client import desk
from node.cli.demo.federation import Country
from node.errors import ImportFileError
from node.records.csvrows import BrokenRow
from node.records.incidents import PublishedIncident, parse_incidents
from node.records.invented import parse_invented
from node.records.iom import parse_iom
from node.wire.desk_pb2 import ImportRequest
from node.wire.entry_pb2 import Case, Entry

SHARED_DATA: Final = "ENLACE_SHARED_DATA"
"""Names a folder in which IOM's whole file may lie at hand."""

IOM_FILE: Final = "case-data/iom-missing-migrants-americas-2014-2020.csv"


@dataclass(frozen=True, slots=True)
class Invented:
    """The invented cases by country, and the telephone number that the tour asks about."""

    telephone: str
    cases: Mapping[str, Sequence[tuple[Case, Sequence[Entry]]]]

    def unit(self, country: str) -> str:
        """Return the unit that owns a country's cases."""
        return self.cases[country][0][0].unit

    def entry(self, country: str, entry_id: bytes) -> Entry:
        """Return an entry as it was invented."""
        return next(entry for _, entries in self.cases[country] for entry in entries if entry.entry_id == entry_id)


def read_invented() -> Invented:
    """Return what is in node/cli/data/invented.json."""
    data = (files("node.cli") / "data" / "invented.json").read_bytes()
    cases: dict[str, list[tuple[Case, Sequence[Entry]]]] = {}
    for each in parse_invented(data, now_us=time.time_ns() // 1_000):
        cases.setdefault(each.country, []).append((each.case, each.entries))
    return Invented(telephone=json.loads(data)["telephone_of_the_tour"], cases=cases)


def read_incidents(countries: Iterable[str]) -> tuple[dict[str, list[tuple[Case, Sequence[Entry]]]], str]:
    """Return public incidents by the country where each happened, and which file they are from."""
    now_us = time.time_ns() // 1_000
    path = Path(os.environ[SHARED_DATA]) / IOM_FILE if SHARED_DATA in os.environ else None
    if path is not None and not path.is_file():
        path = None
    found: dict[str, list[tuple[Case, Sequence[Entry]]]] = {country: [] for country in countries}
    for each in _read(path, now_us):
        if isinstance(each, PublishedIncident) and each.country in found:
            found[each.country].append((each.case, each.entries))
    return found, "the table that comes along" if path is None else "IOM's own file, 2014 to 2020"


def _read(path: Path | None, now_us: int) -> Iterator[PublishedIncident | BrokenRow]:
    if path is not None:
        with path.open("rb") as lines:
            yield from parse_iom(lines, unit="Missing persons (demo)", now_us=now_us)
        return
    with (files("node.cli") / "data" / "incidents.csv").open("rb") as lines:
        yield from parse_incidents(lines, unit="Missing persons (demo)", now_us=now_us)


def import_into(country: Country, cases: Iterable[tuple[Case, Iterable[Entry]]]) -> None:
    """Import cases with their entries into a running node.

    Raises:
        ImportFileError: the node did not take one of them.
    """
    requests = (ImportRequest(case=case, entries=entries) for case, entries in cases)
    with desk(country.home, "analyst") as stub:
        for response in stub.Import(requests):
            for problem in response.problems:
                raise ImportFileError(f"case {problem.message} was not taken by {country.name}: {problem.reason}")
