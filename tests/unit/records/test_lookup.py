import hmac
from datetime import date

import pytest

from node.errors import RecordError
from node.records.lookup import KEY_SIZE, SEARCHABLE, TOKEN_SIZE, LookupKey, entry_tokens, selector_tokens
from node.records.normalise import NORMALISER_VERSION
from node.schema import LookupKind
from node.wire import codes_pb2
from node.wire.codes_pb2 import (
    LOOKUP_KIND_BANK_ACCOUNT,
    LOOKUP_KIND_CASE_REFERENCE,
    LOOKUP_KIND_DOCUMENT_NUMBER,
    LOOKUP_KIND_EMAIL,
    LOOKUP_KIND_IMEI,
    LOOKUP_KIND_NAME,
    LOOKUP_KIND_ONLINE_ACCOUNT,
    LOOKUP_KIND_ORGANISATION_NAME,
    LOOKUP_KIND_PLATE,
    LOOKUP_KIND_TELEPHONE,
    LOOKUP_KIND_VESSEL,
    LOOKUP_KIND_VIN,
)
from node.wire.entry_pb2 import (
    Account,
    CriminalGroup,
    DateInterval,
    Document,
    Entry,
    Incident,
    Organisation,
    Person,
    PersonName,
    Telecom,
    Vehicle,
    Vessel,
)
from node.wire.exchange_pb2 import Selector

KEY = LookupKey(7, bytes(range(KEY_SIZE)))
OTHER = LookupKey(8, bytes(KEY_SIZE))


def is_found(entry: Entry, kind: LookupKind, value: str, *, year: int = 0, region: str = "GT") -> bool:
    asked = selector_tokens(Selector(kind=kind, value=value, birth_year=year), [KEY], region)
    return not entry_tokens(entry, [KEY]).isdisjoint(asked)


def person(name: str, birth: tuple[date, date] | None = None) -> Entry:
    interval = None
    if birth:
        first, last = ((day - date(1970, 1, 1)).days for day in birth)
        interval = DateInterval(first_day=first, last_day=last)
    return Entry(originator="MX", person=Person(names=[PersonName(full=name)], birth=interval))


def in_year(first: int, last: int | None = None) -> tuple[date, date]:
    return date(first, 1, 1), date(last or first, 12, 31)


def test_a_token_is_epoch_version_and_half_of_an_hmac() -> None:
    [token] = selector_tokens(Selector(kind=LOOKUP_KIND_TELEPHONE, value="+12025550147"), [KEY], "GT")
    mac = hmac.digest(KEY.key, bytes([LOOKUP_KIND_TELEPHONE]) + b"+12025550147", "sha256")
    assert token == bytes([7, NORMALISER_VERSION]) + mac[:16]
    assert len(token) == TOKEN_SIZE


@pytest.mark.parametrize(("epoch", "key"), [(-1, bytes(32)), (256, bytes(32)), (1, bytes(31)), (1, b"")])
def test_a_weak_or_unnumbered_key_is_refused(epoch: int, key: bytes) -> None:
    with pytest.raises(RecordError, match="lookup key"):
        LookupKey(epoch, key)


def test_a_key_is_never_shown() -> None:
    assert KEY.key.hex() not in repr(KEY)
    assert repr(KEY.key) not in repr(KEY)
    assert LookupKey(7, KEY.key) == KEY != OTHER


def test_every_live_epoch_is_tried() -> None:
    selector = Selector(kind=LOOKUP_KIND_PLATE, value="P123ABC")
    tokens = selector_tokens(selector, [KEY, OTHER], "GT")
    assert [token[0] for token in tokens] == [7, 8]
    entry = Entry(vehicle=Vehicle(plate="P-123 ABC", plate_country="GT"))
    assert entry_tokens(entry, [OTHER]).intersection(tokens)
    assert entry_tokens(entry, [KEY]).isdisjoint(entry_tokens(entry, [OTHER]))


def test_equal_text_of_two_kinds_does_not_meet() -> None:
    assert not is_found(Entry(vehicle=Vehicle(plate="A1234567")), LOOKUP_KIND_DOCUMENT_NUMBER, "A1234567")


TELECOM = Entry(
    originator="GT",
    telecom=Telecom(
        telephone="0555 0142", imei="490154203237518", online_account="@El_Guia", email="El.Guia@example.org"
    ),
)


@pytest.mark.parametrize(
    ("entry", "kind", "value"),
    [
        (TELECOM, LOOKUP_KIND_TELEPHONE, "+502 0555-0142"),
        (TELECOM, LOOKUP_KIND_IMEI, "49015420323751"),
        (TELECOM, LOOKUP_KIND_ONLINE_ACCOUNT, "instagram.com/el_guia"),
        (TELECOM, LOOKUP_KIND_EMAIL, "el.guia@EXAMPLE.org"),
        (Entry(person=Person(telephones=["+12025550147"])), LOOKUP_KIND_TELEPHONE, "+1 202 555 0147"),
        (Entry(person=Person(emails=["a@example.org"])), LOOKUP_KIND_EMAIL, "A@example.org"),
        (Entry(person=Person(document_numbers=["G-1234"])), LOOKUP_KIND_DOCUMENT_NUMBER, "g1234"),
        (Entry(document=Document(number="G 1234")), LOOKUP_KIND_DOCUMENT_NUMBER, "G1234"),
        (Entry(organisation=Organisation(name="Viajes Uno, S.A.")), LOOKUP_KIND_ORGANISATION_NAME, "viajes uno"),
        (Entry(organisation=Organisation(registration="123-456")), LOOKUP_KIND_DOCUMENT_NUMBER, "123456"),
        (Entry(group=CriminalGroup(name="Los Inventados")), LOOKUP_KIND_ORGANISATION_NAME, "INVENTADOS"),
        (Entry(vehicle=Vehicle(vin="1HGCM82633A004352")), LOOKUP_KIND_VIN, "1hgcm82633a0o4352"),
        (Entry(vessel=Vessel(identifier="IMO 9074729")), LOOKUP_KIND_VESSEL, "9074729"),
        (Entry(account=Account(number="032180000118359719")), LOOKUP_KIND_BANK_ACCOUNT, "032 180 00011835971 9"),
        (Entry(incident=Incident(reference="52776")), LOOKUP_KIND_CASE_REFERENCE, "52776"),
    ],
)
def test_every_searchable_field_is_found(entry: Entry, kind: LookupKind, value: str) -> None:
    assert is_found(entry, kind, value)
    assert not is_found(entry, kind, value.translate(str.maketrans("1234567aiI", "2345671eoO")))


def test_the_table_above_has_every_searchable_field() -> None:
    assert sum(len(fields) for fields in SEARCHABLE.values()) == 17


def test_every_lookup_kind_finds_something() -> None:
    used = {lookup for fields in SEARCHABLE.values() for _, lookup in fields}
    assert used == set(codes_pb2.LookupKind.values()) - {0}


def test_a_person_is_found_by_any_alias() -> None:
    entry = Entry(person=Person(names=[PersonName(full="Juan Uno"), PersonName(full="El Flaco", alias=True)]))
    assert is_found(entry, LOOKUP_KIND_NAME, "flaco")


@pytest.mark.parametrize(
    ("kept", "asked", "found"),
    [
        ("MAR\u00cdA de la Cruz P\u00e9rez", "perez maria cruz", True),
        ("Juan Carlos P\u00e9rez L\u00f3pez", "Juan P\u00e9rez", True),
        ("Juan Carlos P\u00e9rez L\u00f3pez", "juan lopez", True),
        ("Juan P\u00e9rez", "Juan Carlos P\u00e9rez L\u00f3pez", True),
        ("Juan P\u00e9rez L\u00f3pez", "Juan Carlos P\u00e9rez L\u00f3pez", True),
        ("Juan Carlos P\u00e9rez L\u00f3pez", "Juan Carlos P\u00e9rez Ruiz", False),
        ("Juan P\u00e9rez L\u00f3pez", "Juan P\u00e9rez Ruiz", False),
        ("Juan Carlos P\u00e9rez L\u00f3pez", "Carlos L\u00f3pez", False),
    ],
)
def test_fuller_and_shorter_names(kept: str, asked: str, found: bool) -> None:  # noqa: FBT001
    assert is_found(person(kept), LOOKUP_KIND_NAME, asked) is found


@pytest.mark.parametrize(
    ("birth", "year", "found"),
    [
        (None, 0, True),
        (None, 1990, True),  # not known: may be the one asked for
        (in_year(1990), 0, True),
        (in_year(1990), 1990, True),
        (in_year(1990), 1991, False),
        (in_year(1989, 1991), 1991, True),
        (in_year(1950, 1999), 1901, True),  # as good as unknown
        (in_year(1991, 1989), 2001, True),  # no interval at all
    ],
)
def test_a_year_of_birth_narrows(birth: tuple[date, date] | None, year: int, found: bool) -> None:  # noqa: FBT001
    assert is_found(person("Ana Uno Dos", birth), LOOKUP_KIND_NAME, "ana uno", year=year) is found


def test_a_birth_outside_the_calendar_is_unknown() -> None:
    entry = person("Ana Uno")
    entry.person.birth.last_day = 2**31 - 1
    assert is_found(entry, LOOKUP_KIND_NAME, "ana uno", year=1990)


@pytest.mark.parametrize(
    ("plate", "country", "asked", "found"),
    [
        ("ABC-123", "MX", "abc123", True),
        ("ABC-123", "MX", "MX:ABC123", True),
        ("ABC-123", "MX", "US:ABC123", False),
        ("ABC-123", "", "US:ABC123", True),  # not known: may be the one asked for
        ("US/ABC-123", "", "US:ABC123", True),
        ("US/ABC-123", "", "MX:ABC123", False),
    ],
)
def test_a_country_narrows_a_plate(plate: str, country: str, asked: str, found: bool) -> None:  # noqa: FBT001
    entry = Entry(vehicle=Vehicle(plate=plate, plate_country=country))
    assert is_found(entry, LOOKUP_KIND_PLATE, asked) is found


def test_what_can_not_be_normalised_is_named_by_its_field_alone() -> None:
    entry = Entry(originator="GT", telecom=Telecom(imei="1234567890"))
    with pytest.raises(RecordError, match=r"Telecom\.imei") as refused:
        entry_tokens(entry, [KEY])
    assert "1234567890" not in str(refused.value)


@pytest.mark.parametrize(
    "selector",
    [Selector(), Selector(kind=LOOKUP_KIND_PLATE), Selector(value="A123"), Selector(kind=99, value="A123")],  # type: ignore[arg-type]
)
def test_an_empty_or_unknown_selector_is_refused(selector: Selector) -> None:
    with pytest.raises(RecordError):
        selector_tokens(selector, [KEY], "GT")


def test_an_entry_with_nothing_to_search_has_no_tokens() -> None:
    assert entry_tokens(Entry(telecom=Telecom(platform="voice")), [KEY]) == set()
    assert codes_pb2.ENTITY_KIND_PLACE in SEARCHABLE


def test_what_is_empty_is_not_searched() -> None:
    assert entry_tokens(Entry(person=Person(names=[PersonName()], telephones=[""])), [KEY]) == set()


def test_an_entry_without_an_entity_is_refused() -> None:
    with pytest.raises(RecordError, match="entity"):
        entry_tokens(Entry(), [KEY])
