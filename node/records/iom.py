"""The CSV that IOM's Missing Migrants Project publishes (https://missingmigrants.iom.int, licence CC BY 4.0).

Two layouts are read: that of the incidents of 2014 to 2020, and that of 2026.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final, TypeAlias

from node.records.countries import country_named_in
from node.records.csvrows import BrokenRow, Row
from node.records.incidents import PublishedIncident, Told, coordinates_of, count_of, day_interval, incident_cases
from node.records.names import fold
from node.wire import codes_pb2
from node.wire.entry_pb2 import Incident

Cause: TypeAlias = codes_pb2.CauseOfDeath.ValueType

_COUNTS: Final = {
    "dead": "Number Dead",
    "missing": "Minimum Estimated Number of Missing",
    "survivors": "Number of Survivors",
    "females": "Number of Females",
    "males": "Number of Males",
    "children": "Number of Children",
}
_COMMON: Final = frozenset(
    {*_COUNTS.values(), "Cause of Death", "Information Source", "Source Quality", "UNSD Geographical Grouping"}
)
# Meaning to the column's name, in each layout.
_OLD: Final = {
    "id": "Web ID",
    "date": "Reported Date",
    "place": "Location Description",
    "coordinates": "Location Coordinates",
    "route": "Migration Route",
    "region": "Region of Incident",
}
_NEW: Final = {
    "id": "Incident ID",
    "date": "Incident Date",
    "place": "Location of death",
    "coordinates": "Coordinates",
    "route": "Migration route",
    "region": "Region",
}

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_MONTH: Final = re.compile(r"^(\d{1,2})-([A-Za-z]{3})-(\d{2})$", re.ASCII)  # "3-Jan-20", in the old layout
_MONTH_DAY: Final = re.compile(r"^(?:[A-Za-z]{3}, )?(\d{2})/(\d{2})/(\d{4})(?: - \d{2}:\d{2})?$", re.ASCII)
_CENTURY: Final = 2000

# IOM groups what happened at this border by the side it happened on.
_BORDER: Final = "US-Mexico Border"
_SIDES: Final = {"Northern America": "US", "Central America": "MX"}

# Words of the old layout's hundred causes, and the classes of the new one. What fits none is UNKNOWN; a suicide too,
# since no class names it.
_CAUSES: Final[dict[Cause, re.Pattern[str]]] = {
    codes_pb2.CAUSE_OF_DEATH_DROWNING: re.compile("drown"),
    codes_pb2.CAUSE_OF_DEATH_TRANSPORT: re.compile(
        r"vehicle +accident|hazardous transport|\b(?:train|truck|car|railway|stowaway|boat motor)\b|(?:by|from) vehicle"
    ),
    codes_pb2.CAUSE_OF_DEATH_ENVIRONMENT: re.compile(
        "hyperthermia|hypothermia|dehydration|exposure|environmental|heat stroke|malnutrition"
    ),
    codes_pb2.CAUSE_OF_DEATH_SICKNESS: re.compile(
        "sickness|cardiac|heart attack|pneumonia|infection|organ failure|coronary|cancer|respiratory|pulmonary|"
        "digestive|seizure|hypoglycemia"
    ),
    codes_pb2.CAUSE_OF_DEATH_VIOLENCE: re.compile("violence|shot|murder|stabbed|physical abuse|tortured|rape|landmine"),
    codes_pb2.CAUSE_OF_DEATH_ACCIDENT: re.compile(
        r"accidental death|\(non-vehicle\)|electrocution$|canyon|border (?:wall|fence)|fall from boat|envenomation"
    ),
}
_NOT_TOLD: Final = re.compile(r"unknown(?: \((?!violence)[^)]*\))?")


def parse_iom(lines: Iterable[bytes], *, unit: str, now_us: int) -> Iterator[PublishedIncident | BrokenRow]:
    """Read the CSV that IOM publishes, row by row; memory stays flat.

    Args:
        lines: Of the file, opened for bytes.
        unit: That will own the cases.
        now_us: Time of recording, UTC microseconds; reviews are due five years later.

    Raises:
        ImportFileError: the file has neither layout; the text names the columns that are missing.
    """
    layouts = (_COMMON.union(_OLD.values()), _COMMON.union(_NEW.values()))
    return incident_cases(lines, layouts, _told, unit=unit, now_us=now_us)


def cause_of(text: str) -> Cause:
    """Class of a cause of death as IOM writes it; MIXED where it names several, UNKNOWN where it names none."""
    told = _NOT_TOLD.sub("", fold(text)).strip(" ,")
    if told == "mixed":
        return codes_pb2.CAUSE_OF_DEATH_MIXED
    found = [cause for cause, words in _CAUSES.items() if words.search(told)]
    if len(found) > 1:
        return codes_pb2.CAUSE_OF_DEATH_MIXED
    return found[0] if found else codes_pb2.CAUSE_OF_DEATH_UNKNOWN


def _told(row: Row) -> Told:
    columns = _OLD if _OLD["id"] in row.values else _NEW
    value = {meaning: row.values[column] for meaning, column in columns.items()}
    country = country_named_in(value["place"])
    if not country and value["region"] == _BORDER:
        country = _SIDES.get(row.values["UNSD Geographical Grouping"], "")
    cause = row.values["Cause of Death"]
    return Told(
        incident=Incident(
            reference=value["id"],
            when=day_interval(_day(value["date"])),
            country=country,
            coordinates=coordinates_of(*_latitude_longitude(value["coordinates"])),
            cause=cause_of(cause),
            description=cause,
            source_quality=count_of(row.values["Source Quality"], "source quality"),
            **{field: count_of(row.values[column], column.lower()) for field, column in _COUNTS.items()},
        ),
        place=value["place"],
        route=value["route"],
        source=row.values["Information Source"],
    )


def _day(text: str) -> date | None:
    old, new = _DAY_MONTH.match(text), _MONTH_DAY.match(text)
    try:
        if old:
            return date(_CENTURY + int(old[3]), _MONTHS.index(old[2].lower()) + 1, int(old[1]))
        if new:
            return date(int(new[3]), int(new[1]), int(new[2]))
    except ValueError:  # no such day or month
        return None
    return None


def _latitude_longitude(text: str) -> tuple[str, str]:
    latitude, _, longitude = text.partition(",")
    return latitude.strip(), longitude.strip()
