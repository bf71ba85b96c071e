import json
import re
from collections import Counter
from pathlib import Path

import phonenumbers
import pytest

from node.errors import ImportFileError, RecordError
from node.records.incidents import PublishedIncident, parse_incidents
from node.records.invented import InventedCase, parse_invented
from node.records.lookup import LookupKey, entry_tokens, selector_tokens
from node.records.protection import inherited_protection
from node.schema import KIND_BY_HOLDER
from node.wire import codes_pb2 as codes
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Selector

DATA = Path(__file__).resolve().parents[3] / "node/cli/data"
INVENTED = DATA.joinpath("invented.json").read_bytes()
NOW_US = 1_900_000_000_000_000  # years after the file was written
KEY = LookupKey(1, bytes(32))
TOUR = "+19565550143"


def cases() -> list[InventedCase]:
    return list(parse_invented(INVENTED, now_us=NOW_US))


def entries(country: str = "") -> list[Entry]:
    return [entry for case in cases() for entry in case.entries if country in {"", case.country}]


def test_the_table_of_incidents_is_whole() -> None:
    with DATA.joinpath("incidents.csv").open("rb") as lines:
        rows = list(parse_incidents(lines, unit="UIP", now_us=NOW_US))
    found = [row for row in rows if isinstance(row, PublishedIncident)]
    countries = Counter(row.country for row in found)
    assert len(found) == len(rows) == 152
    assert countries["GT"] == 10
    assert min(countries["MX"], countries["US"]) > 50
    assert len({row.case.case_id for row in found}) == 152
    assert not any(entry.invented for row in found for entry in row.entries)


def test_coordinates_are_rounded() -> None:
    [header, *lines] = DATA.joinpath("incidents.csv").read_text("utf-8").splitlines()
    columns = [line.split(",") for line in lines]
    assert {len(row) for row in columns} == {len(header.split(","))}
    assert all(re.fullmatch(r"-?\d+\.\d{3}", value) for row in columns for value in row[3:5])


def test_every_role_kind_and_flag_is_shown_and_marked_as_invented() -> None:
    found = entries()
    people = [entry for entry in found if entry.HasField("person")]
    assert {role for entry in found for role in entry.roles} == set(codes.Role.values()) - {0}
    assert {KIND_BY_HOLDER[entry.WhichOneof("entity") or ""] for entry in found} == set(codes.EntityKind.values()) - {0}
    protections = [entry.protection for entry in people]
    assert any(each.victim == codes.TRI_YES for each in protections)
    assert any(each.age == codes.AGE_CLASS_MINOR for each in protections)
    assert {each.asylum for each in protections} == set(codes.AsylumState.values())
    assert any(each.witness_protection == codes.TRI_YES for each in protections)
    assert any(each.stateless == codes.TRI_YES for each in protections)
    assert any(each.torture_risk for each in protections)
    assert any(each.death_penalty_risk for each in protections)
    assert all(entry.invented for entry in found)
    named = re.compile("Inventad|Invented")
    assert all(named.search(name.full) for entry in people for name in entry.person.names)


def test_every_entry_of_it_can_be_indexed() -> None:
    assert sum(len(entry_tokens(entry, [KEY])) for entry in entries()) > 100


RESERVED = {"US": r"\+1[2-9]\d\d55501\d\d", "MX": r"\+5200055501\d\d", "GT": r"\+502055501\d\d"}


def test_telephones_belong_to_nobody() -> None:
    text = INVENTED.decode()
    numbers = set(re.findall(r"\+\d{6,}", text))
    assert len(numbers) > 10
    for number in numbers:
        assert any(re.fullmatch(pattern, number) for pattern in RESERVED.values())
        if not number.startswith("+1"):
            assert not phonenumbers.is_valid_number(phonenumbers.parse(number))


def found_by(country: str, value: str) -> list[Entry]:
    asked = selector_tokens(Selector(kind=codes.LOOKUP_KIND_TELEPHONE, value=value), [KEY], "GT")
    return [entry for entry in entries(country) if not entry_tokens(entry, [KEY]).isdisjoint(asked)]


def test_the_tour_finds_one_telephone_in_three_cases() -> None:
    assert json.loads(INVENTED)["telephone_of_the_tour"] == TOUR
    in_mexico = [entry for entry in found_by("MX", "+1 (956) 555-0143") if entry.HasField("telecom")]
    in_the_us = [entry for entry in found_by("US", TOUR) if entry.HasField("telecom")]
    assert len({entry.case_id for entry in in_mexico}) == 2
    assert [list(entry.caveats) for entry in in_the_us] == [[codes.CAVEAT_CONTACT_BEFORE_ACTION]]
    assert found_by("GT", TOUR) == []


def test_the_telephone_the_child_uses_inherits_and_that_of_the_suspect_does_not() -> None:
    users = {
        link.to_entry_id: inherited_protection([(link.kind, entry)])
        for entry in entries("MX")
        for link in entry.links
        if link.kind == codes.LINK_KIND_USES
    }
    telephones = [entry for entry in found_by("MX", TOUR) if entry.HasField("telecom")]
    inherited = [users[entry.entry_id] for entry in telephones]
    [suspect] = [each for each in inherited if each and each.victim == codes.TRI_NO]
    [child] = [each for each in inherited if each and each.victim == codes.TRI_YES]
    assert (suspect.age, suspect.asylum, suspect.origins_complete) == (
        codes.AGE_CLASS_ADULT,
        codes.ASYLUM_STATE_NONE,
        True,
    )
    assert (child.age, child.asylum, list(child.origins)) == (
        codes.AGE_CLASS_MINOR,
        codes.ASYLUM_STATE_CLAIMED,
        ["GT"],
    )


def test_reviews_are_ahead_whenever_it_is_loaded() -> None:
    for now_us in (1_700_000_000_000_000, NOW_US):
        loaded = list(parse_invented(INVENTED, now_us=now_us))
        assert all(case.case.opened_us < now_us < case.case.review_us for case in loaded)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\xff", b"[]", b"{}", b'{"as_of_us": "x"}', b'{"as_of_us": "1", "countries": {"GT": [{}]}}'),
        INVENTED.replace(b'"invented": true,\n      "person"', b'"person"', 1),
        INVENTED.replace(b'"ROLE_VICTIM"', b'"ROLE_X"', 1),
        INVENTED.replace(b'"GT": [', b'"XX": [', 1),
    ],
)
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(ImportFileError):
        list(parse_invented(data, now_us=NOW_US))


def test_an_entry_that_can_not_be_kept_is_refused() -> None:
    with pytest.raises(RecordError, match=r"^source: "):
        list(parse_invented(INVENTED.replace(b'"invented informant"', b'""'), now_us=NOW_US))
