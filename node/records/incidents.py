"""Published incidents as cases, and the table of them that comes with this project.

An incident is kept by the country where it happened. Its entries are the incident, its place and its route.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Final

from node.errors import RecordError
from node.records.csvrows import BrokenRow, Row, parse_rows
from node.records.validate import verify_case, verify_entry
from node.wire import codes_pb2
from node.wire.entry_pb2 import Case, Coordinates, DateInterval, Entry, Incident, Place, Route

ATTRIBUTION: Final = "IOM Missing Migrants Project, missingmigrants.iom.int, CC BY 4.0"

_COLUMNS: Final = (
    *("iom_id", "date", "country", "place", "latitude", "longitude", "cause", "quality"),
    *("dead", "missing", "survivors", "females", "males", "children"),
)
_NUMBER: Final = re.compile(r"^-?\d{1,3}(?:\.\d{1,20})?$", re.ASCII)
_COUNT: Final = re.compile(r"^\d{1,6}$", re.ASCII)
_EPOCH: Final = date(1970, 1, 1)
_US_PER_DAY: Final = 86_400_000_000
_MS_PER_DAY: Final = 86_400_000
_REVIEW_US: Final = 5 * 365 * _US_PER_DAY

# IOM's source quality (1 one media source, 2 uncorroborated, 3 several media, 4 an organisation with direct knowledge,
# 5 officials or several organisations) as the second half of the 4x4 grading.
_INFORMATION: Final = {
    1: codes_pb2.INFORMATION_GRADE_4,
    2: codes_pb2.INFORMATION_GRADE_4,
    3: codes_pb2.INFORMATION_GRADE_3,
    4: codes_pb2.INFORMATION_GRADE_2,
    5: codes_pb2.INFORMATION_GRADE_2,
}


@dataclass(frozen=True, slots=True)
class PublishedIncident:
    """One row, as a case with its entries.

    Attributes:
        line: On which the row begins, from 1.
        country: Where it happened (ISO 3166-1 alpha-2), the originator of its entries. "" where the row does not tell;
            nobody can keep such a case, and it is to be reported.
        case: To be kept by that country.
        entries: The incident first, then its place and its route where they are told. Ids follow from the published
            one, so that a row imported twice is one case.
    """

    line: int
    country: str
    case: Case
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What a row tells of an incident and can't be said in one entry; empty texts where it tells nothing."""

    incident: Incident
    place: str
    route: str
    source: str


def parse_incidents(lines: Iterable[bytes], *, unit: str, now_us: int) -> Iterator[PublishedIncident | BrokenRow]:
    """Read this project's table of incidents (`node/cli/data/incidents.csv`), row by row.

    Args:
        lines: Of the file, opened for bytes.
        unit: That will own the cases.
        now_us: Time of recording, UTC microseconds; reviews are due five years later.

    Raises:
        ImportFileError: the file has other columns; the text names those that are missing.
    """
    return incident_cases(lines, (frozenset(_COLUMNS),), _told, unit=unit, now_us=now_us)


def incident_cases(
    lines: Iterable[bytes],
    layouts: Iterable[frozenset[str]],
    read: Callable[[Row], Told],
    *,
    unit: str,
    now_us: int,
) -> Iterator[PublishedIncident | BrokenRow]:
    """Make the case of every row of a table of incidents, or tell why it can't be made.

    Args:
        lines: Of the file, opened for bytes.
        layouts: See `parse_rows`.
        read: What a row tells; it raises RecordError where a column has no such value.
        unit: That will own the cases.
        now_us: Time of recording, UTC microseconds.

    Raises:
        ImportFileError: the file has none of the layouts; the text names the columns that are missing.
    """
    for row in parse_rows(lines, layouts):
        if isinstance(row, BrokenRow):
            yield row
            continue
        try:
            yield _case(row.line, read(row), unit, now_us)
        except RecordError as error:
            yield BrokenRow(row.line, str(error))


def _case(line: int, told: Told, unit: str, now_us: int) -> PublishedIncident:
    """Make the case of one incident, with ids that follow from the published one."""
    incident = told.incident
    if not incident.reference:
        raise RecordError("incident id: is missing")
    if incident.when.first_day > now_us // _US_PER_DAY:
        raise RecordError("date: lies in the future")
    case = Case(
        case_id=_inner_id(incident, "case"),
        reference=f"IOM {incident.reference}",
        title=f"Missing Migrants Project, incident {incident.reference}",
        crimes=[codes_pb2.CRIME_UNKNOWN],  # what happened is told, not whether it was a crime
        unit=unit,
        opened_us=now_us,
        review_us=now_us + _REVIEW_US,
    )
    entries = [_entry(case, told, "incident")]
    entries[0].incident.CopyFrom(incident)
    if told.place:
        place = Place(name=told.place, country=incident.country, coordinates=incident.coordinates)
        _linked(entries, _entry(case, told, "place"), codes_pb2.LINK_KIND_LOCATED_AT).place.CopyFrom(place)
    if told.route:
        route = Route(name=told.route, countries=[incident.country] if incident.country else [])
        _linked(entries, _entry(case, told, "route"), codes_pb2.LINK_KIND_INVOLVED_IN).route.CopyFrom(route)
    if incident.country:
        verify_case(case, now_us=now_us)
        for entry in entries:
            verify_entry(entry, now_us=now_us)
    return PublishedIncident(line, incident.country, case, tuple(entries))


def _entry(case: Case, told: Told, part: str) -> Entry:
    return Entry(
        entry_id=_inner_id(told.incident, part),
        case_id=case.case_id,
        revision=1,
        originator=told.incident.country,
        unit=case.unit,
        recorded_us=case.opened_us,
        review_us=case.review_us,
        handling=codes_pb2.HANDLING_CODE_H0,
        source_grade=codes_pb2.SOURCE_GRADE_B,
        information_grade=_INFORMATION.get(told.incident.source_quality, codes_pb2.INFORMATION_GRADE_4),
        source=told.source,
        attribution=ATTRIBUTION,
    )


def _linked(entries: list[Entry], entry: Entry, kind: codes_pb2.LinkKind.ValueType) -> Entry:
    entries[0].links.add(kind=kind, to_entry_id=entry.entry_id)
    entries.append(entry)
    return entry


def _inner_id(incident: Incident, part: str) -> bytes:
    """UUIDv7 (RFC 9562 §5.7): the time is the incident's day, the random bits are a digest of the published id."""
    time = (incident.when.first_day * _MS_PER_DAY).to_bytes(6, "big")
    digest = bytearray(sha256(f"IOM Missing Migrants Project/{incident.reference}/{part}".encode()).digest()[:10])
    digest[0] = 0x70 | digest[0] & 0x0F
    digest[2] = 0x80 | digest[2] & 0x3F
    return time + digest


# --- values of columns -----------------------------------------------------------------------------------------------


def day_interval(day: date | None) -> DateInterval:
    """One day as an interval.

    Raises:
        RecordError: it could not be read, or is before 1970, when nobody published incidents.
    """
    if day is None or day < _EPOCH:
        raise RecordError("date: is none of the layout")
    days = (day - _EPOCH).days
    return DateInterval(first_day=days, last_day=days)


def count_of(text: str, column: str) -> int:
    """A number of people, 0 where the column is empty.

    Raises:
        RecordError: it is no number; the text names the column.
    """
    if not text:
        return 0
    if not _COUNT.match(text):
        raise RecordError(f"{column}: is no count")
    return int(text)


def coordinates_of(latitude: str, longitude: str) -> Coordinates | None:
    """A place in decimal degrees, None where both are empty.

    Raises:
        RecordError: either is no number, or the place is not on earth.
    """
    if not latitude and not longitude:
        return None
    if not _NUMBER.match(latitude) or not _NUMBER.match(longitude):
        raise RecordError("coordinates: are no latitude and longitude")
    north, east = float(latitude), float(longitude)
    if not (-90 <= north <= 90 and -180 <= east <= 180):  # noqa: PLR2004
        raise RecordError("coordinates: are no place on earth")
    return Coordinates(latitude_e6=round(north * 1e6), longitude_e6=round(east * 1e6))


def _told(row: Row) -> Told:
    value = row.values
    causes = codes_pb2.CauseOfDeath.DESCRIPTOR.values_by_name
    cause = causes.get(f"CAUSE_OF_DEATH_{value['cause']}")
    if cause is None:
        raise RecordError("cause: is no code of the list")
    try:
        day = date.fromisoformat(value["date"])
    except ValueError:
        day = None
    return Told(
        incident=Incident(
            reference=value["iom_id"],
            when=day_interval(day),
            country=value["country"],
            coordinates=coordinates_of(value["latitude"], value["longitude"]),
            cause=cause.number,  # type: ignore[arg-type]
            source_quality=count_of(value["quality"], "quality"),
            dead=count_of(value["dead"], "dead"),
            missing=count_of(value["missing"], "missing"),
            survivors=count_of(value["survivors"], "survivors"),
            females=count_of(value["females"], "females"),
            males=count_of(value["males"], "males"),
            children=count_of(value["children"], "children"),
        ),
        place=value["place"],
        route="",
        source="",
    )
