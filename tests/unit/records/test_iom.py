import os
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from node.errors import ImportFileError
from node.records.csvrows import BrokenRow
from node.records.incidents import ATTRIBUTION, PublishedIncident, parse_incidents
from node.records.iom import cause_of, parse_iom
from node.records.lookup import LookupKey, entry_tokens, selector_tokens
from node.wire import codes_pb2
from node.wire.exchange_pb2 import Selector

NOW_US = 1_795_500_000_000_000  # 2026-11-24
EPOCH = date(1970, 1, 1)
OLD = (
    "Web ID,Region of Incident,Reported Date,Reported Year,Reported Month,Number Dead,"
    "Minimum Estimated Number of Missing,Total Dead and Missing,Number of Survivors,Number of Females,Number of Males,"
    "Number of Children,Cause of Death,Location Description,Information Source,Location Coordinates,latitude,longitude,"
    "Migration Route,URL,UNSD Geographical Grouping,Source Quality"
)
NEW = (
    '"Main ID","Incident ID",Region,"Incident Date",Year,"Reported Month","Number Dead",'
    '"Minimum Estimated Number of Missing","Number of Survivors","Number of Females","Number of Males",'
    '"Number of Children","Region of Origin","Cause of Death","Country of Origin","Location of death",'
    '"Information Source",Coordinates,"Migration route",URL,"UNSD Geographical Grouping","Source Quality"'
)
# Made up, in the shape of what is published.
OLD_ROW = (
    '90001,Central America,3-Jan-20,2020,Jan,2,1,3,4,1,1,0,Presumed drowning,"River, Nowhere, Tabasco, Mexico",'
    'A paper,"18.100000000000, -92.900000000000",18.1,-92.9,Central America to US,http://example.org,Central America,3'
)
NEW_ROW = (
    '2026.MMP9,2026.MMP90001,"Central America","Sun, 01/04/2026 - 12:00",2026,January,1,0,,,1,,Unknown,'
    '"Sickness / lack of access to adequate healthcare",Unknown,"Shelter, Nowhere, Zacapa, Guatemala","A paper",'
    '"14.97, -89.53",,http://example.org,"Central America",5'
)
TABLE = "iom_id,date,country,place,latitude,longitude,cause,dead,missing,survivors,females,males,children,quality"
TABLE_ROW = "90003,2019-05-06,GT,Nowhere,14.971,-89.532,TRANSPORT,1,,3,,1,,4"


def published(*lines: str) -> list[PublishedIncident | BrokenRow]:
    return list(parse_iom((f"{line}\n".encode() for line in lines), unit="UIP", now_us=NOW_US))


def one(*lines: str) -> PublishedIncident:
    [found] = published(*lines)
    assert isinstance(found, PublishedIncident)
    return found


def test_a_row_of_the_old_layout() -> None:
    found = one(OLD, OLD_ROW)
    incident, place, route = found.entries
    day = (date(2020, 1, 3) - EPOCH).days
    assert (found.line, found.country) == (2, "MX")
    assert (incident.incident.when.first_day, incident.incident.when.last_day) == (day, day)
    assert incident.incident.reference == "90001"
    assert incident.incident.cause == codes_pb2.CAUSE_OF_DEATH_DROWNING
    counts = incident.incident
    assert (counts.dead, counts.missing, counts.survivors, counts.females, counts.males, counts.children) == (
        *(2, 1, 4, 1, 1, 0),
    )
    assert incident.incident.coordinates.latitude_e6 == 18_100_000
    assert incident.incident.coordinates.longitude_e6 == -92_900_000
    assert incident.incident.source_quality == 3
    assert place.place.country == "MX"
    assert route.route.name == "Central America to US"
    assert {entry.attribution for entry in found.entries} == {ATTRIBUTION}
    assert {entry.originator for entry in found.entries} == {"MX"}
    assert {entry.case_id for entry in found.entries} == {found.case.case_id}
    assert [link.to_entry_id for link in incident.links] == [place.entry_id, route.entry_id]
    assert not any(entry.invented or entry.text_reviewed for entry in found.entries)


def test_a_row_of_the_new_layout() -> None:
    found = one(NEW, NEW_ROW)
    incident, place = found.entries
    assert found.country == "GT"
    assert incident.incident.when.first_day == (date(2026, 1, 4) - EPOCH).days
    assert incident.incident.cause == codes_pb2.CAUSE_OF_DEATH_SICKNESS
    assert incident.information_grade == codes_pb2.INFORMATION_GRADE_2
    assert place.place.name == "Shelter, Nowhere, Zacapa, Guatemala"


def test_the_incident_is_found_by_its_published_id() -> None:
    key = LookupKey(1, bytes(32))
    asked = selector_tokens(Selector(kind=codes_pb2.LOOKUP_KIND_CASE_REFERENCE, value="2026.mmp90001"), [key], "GT")
    assert not entry_tokens(one(NEW, NEW_ROW).entries[0], [key]).isdisjoint(asked)


def test_the_same_row_is_the_same_case_and_ids_are_uuids_of_version_7() -> None:
    first, again, other = one(OLD, OLD_ROW), one(OLD, OLD_ROW), one(OLD, OLD_ROW.replace("90001", "90002"))
    ids = [first.case.case_id, *(entry.entry_id for entry in first.entries)]
    assert ids == [again.case.case_id, *(entry.entry_id for entry in again.entries)]
    assert not {other.case.case_id, *(entry.entry_id for entry in other.entries)} & set(ids)
    assert len(set(ids)) == len(ids)
    assert all(each[6] >> 4 == 7 and each[8] >> 6 == 2 for each in ids)


@pytest.mark.parametrize(
    ("region", "grouping", "country"),
    [
        ("US-Mexico Border", "Northern America", "US"),
        ("US-Mexico Border", "Central America", "MX"),
        ("US-Mexico Border", "Uncategorized", ""),
        ("Central America", "Central America", ""),
    ],
)
def test_a_place_without_country_is_told_by_iom_grouping_or_not_at_all(
    region: str, grouping: str, country: str
) -> None:
    row = OLD_ROW.replace(",Central America,3-Jan", f",{region},3-Jan").replace(",Central America,3", f",{grouping},3")
    found = one(OLD, row.replace("River, Nowhere, Tabasco, Mexico", "Unspecified location in the river"))
    assert found.country == country
    assert found.entries[0].originator == country


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("90001", ""), "incident id: is missing"),
        (("3-Jan-20", "3-Foo-20"), "date: "),
        (("3-Jan-20", "31-Feb-20"), "date: "),
        (("3-Jan-20", ""), "date: "),
        (("3-Jan-20", "3-Jan-40"), "date: lies in the future"),
        ((",2,1,3,4", ",two,1,3,4"), "number dead: is no count"),
        ((",2,1,3,4", ",2,-5,3,4"), "minimum estimated number of missing: is no count"),
        ((",2,1,3,4", ",2,1,3,4.5"), "number of survivors: is no count"),
        (("18.100000000000, -92", "north, -92"), "coordinates: "),
        (("18.100000000000, -92.900000000000", "98.1, -92.9"), "coordinates: "),
        (("18.100000000000, -92.900000000000", "18.1"), "coordinates: "),
        (("18.100000000000, -92.900000000000", "18.1, -192.9"), "coordinates: "),
        (("Nowhere", "Now\x1bhere"), "place.name: "),
        (("Nowhere", "N" * 600), "place.name: "),
        ((",Central America,3", ",Central America,6"), "incident.source_quality: "),
    ],
)
def test_a_row_that_can_not_be_kept_is_told_without_its_values(change: tuple[str, str], reason: str) -> None:
    broken, good = published(OLD, OLD_ROW.replace(*change), OLD_ROW)
    assert isinstance(broken, BrokenRow)
    assert broken.line == 2
    assert broken.reason.startswith(reason)
    assert not any(value in broken.reason for value in ("Foo", "two", "-5", "north", "98.1", "Nowhere", "NNN"))
    assert isinstance(good, PublishedIncident)


def test_a_row_without_coordinates_is_kept() -> None:
    found = one(OLD, OLD_ROW.replace("18.100000000000, -92.900000000000", ""))
    assert not found.entries[0].incident.HasField("coordinates")


def test_a_damaged_line_is_told_and_the_next_is_kept() -> None:
    broken, good = published(OLD, "90001,short", OLD_ROW)
    assert broken == BrokenRow(2, "has 2 columns instead of 22")
    assert isinstance(good, PublishedIncident)


def test_a_file_of_neither_layout_is_refused() -> None:
    with pytest.raises(ImportFileError, match="Location"):
        published(OLD.replace("Location Description", "Where"), OLD_ROW)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Drowning", codes_pb2.CAUSE_OF_DEATH_DROWNING),
        ("Vehicle  accident", codes_pb2.CAUSE_OF_DEATH_TRANSPORT),
        ("Vehicle accident / death linked to hazardous transport", codes_pb2.CAUSE_OF_DEATH_TRANSPORT),
        ("Fall from train", codes_pb2.CAUSE_OF_DEATH_TRANSPORT),
        (
            "Harsh environmental conditions / lack of adequate shelter, food, water",
            codes_pb2.CAUSE_OF_DEATH_ENVIRONMENT,
        ),
        ("Presumed hyperthermia/dehydration", codes_pb2.CAUSE_OF_DEATH_ENVIRONMENT),
        ("Cardiac arrest", codes_pb2.CAUSE_OF_DEATH_SICKNESS),
        ("Tortured, Murdered", codes_pb2.CAUSE_OF_DEATH_VIOLENCE),
        ("Unknown (violence)", codes_pb2.CAUSE_OF_DEATH_VIOLENCE),
        ("Accident (non-vehicle)", codes_pb2.CAUSE_OF_DEATH_ACCIDENT),
        ("Accidental death", codes_pb2.CAUSE_OF_DEATH_ACCIDENT),
        ("Electrocution on railway", codes_pb2.CAUSE_OF_DEATH_TRANSPORT),
        ("Mixed", codes_pb2.CAUSE_OF_DEATH_MIXED),
        ("Shot, Fall from train", codes_pb2.CAUSE_OF_DEATH_MIXED),
        ("Mixed or unknown", codes_pb2.CAUSE_OF_DEATH_UNKNOWN),
        ("Unknown (found dead next to train tracks)", codes_pb2.CAUSE_OF_DEATH_UNKNOWN),
        ("Unknown (skeletal remains)", codes_pb2.CAUSE_OF_DEATH_UNKNOWN),
        ("Suicide", codes_pb2.CAUSE_OF_DEATH_UNKNOWN),
        ("", codes_pb2.CAUSE_OF_DEATH_UNKNOWN),
    ],
)
def test_causes_by_class(text: str, cause: int) -> None:
    assert cause_of(text) == cause


# --- this project's table --------------------------------------------------------------------------------------------


def tabled(*lines: str) -> list[PublishedIncident | BrokenRow]:
    return list(parse_incidents((f"{line}\n".encode() for line in lines), unit="UIP", now_us=NOW_US))


def test_a_row_of_the_table() -> None:
    [found] = tabled(TABLE, TABLE_ROW)
    assert isinstance(found, PublishedIncident)
    incident, place = found.entries
    assert (found.country, incident.incident.reference, incident.incident.survivors) == ("GT", "90003", 3)
    assert incident.incident.cause == codes_pb2.CAUSE_OF_DEATH_TRANSPORT
    assert place.place.name == "Nowhere"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("TRANSPORT", "BOREDOM"), "cause: "),
        (("2019-05-06", "2019-13-06"), "date: "),
        (("2019-05-06", "1960-05-06"), "date: "),
        ((",GT,", ",GX,"), "originator: "),
        ((",4", ",good"), "quality: "),
    ],
)
def test_a_row_of_the_table_that_can_not_be_kept(change: tuple[str, str], reason: str) -> None:
    [broken] = tabled(TABLE, TABLE_ROW.replace(*change))
    assert isinstance(broken, BrokenRow)
    assert broken.reason.startswith(reason)


def test_a_damaged_line_of_the_table_is_told() -> None:
    assert tabled(TABLE, "90003,short") == [BrokenRow(2, "has 2 columns instead of 14")]


def test_a_table_with_other_columns_is_refused() -> None:
    with pytest.raises(ImportFileError, match="cause"):
        tabled(TABLE.replace("cause", "why"), TABLE_ROW)


# --- whole files, where they lie at hand -----------------------------------------------------------------------------

FOLDER = Path(os.environ.get("ENLACE_SHARED_DATA", "/nonexistent"), "case-data")
AMERICAS = FOLDER / "iom-missing-migrants-americas-2014-2020.csv"
WORLD = FOLDER / "iom-missing-migrants-global-2026.csv"


def rows_of(path: Path) -> list[PublishedIncident | BrokenRow]:
    with path.open("rb") as lines:
        return list(parse_iom(lines, unit="UIP", now_us=NOW_US))


if AMERICAS.exists():

    def test_every_incident_of_the_americas_parses() -> None:
        rows = rows_of(AMERICAS)
        countries = Counter(row.country if isinstance(row, PublishedIncident) else "broken" for row in rows)
        assert len(rows) == 2138
        assert countries["broken"] == 0
        assert countries[""] <= 15
        assert countries["GT"] == 10


if WORLD.exists():

    def test_the_new_layout_parses_but_for_negative_counts() -> None:
        rows = rows_of(WORLD)
        broken = [row.reason for row in rows if isinstance(row, BrokenRow)]
        assert len(rows) == 238
        assert broken == ["number of survivors: is no count", "minimum estimated number of missing: is no count"]
