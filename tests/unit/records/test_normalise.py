import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import RecordError
from node.records.names import fold, organisation_form, person_forms
from node.records.normalise import LONGEST_VALUE, normalise
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

KINDS = [kind for kind in codes_pb2.LookupKind.values() if kind]
REGIONS = ["GT", "MX", "US", "AR", "BR", "CO", "JM"]


@pytest.mark.parametrize(
    ("typed", "region", "e164"),
    [
        ("+12025550147", "GT", "+12025550147"),
        ("+1 (202) 555-0147", "GT", "+12025550147"),
        ("202.555.0147", "US", "+12025550147"),
        ("1-202-555-0147 ext. 7", "US", "+12025550147"),
        ("tel:+1-202-555-0147", "MX", "+12025550147"),
        ("5555 0142", "GT", "+50255550142"),
        ("00502 5555-0142", "MX", "+50255550142"),
        ("011 502 5555 0142", "US", "+50255550142"),
        ("00502 5555 0142", "US", "+50255550142"),
        ("+50205550142", "MX", "+50205550142"),  # no such range is assigned; it is searched all the same
        ("+520005550142", "US", "+520005550142"),
        ("+52 000 555 0142", "US", "+520005550142"),
        ("+52 55 1234 5678", "GT", "+525512345678"),
        ("+52 1 55 1234 5678", "GT", "+525512345678"),
        ("+5215512345678", "GT", "+525512345678"),
        ("044 55 1234 5678", "MX", "+525512345678"),
        ("01 55 1234 5678", "MX", "+525512345678"),
        ("55 1234 5678", "MX", "+525512345678"),
        ("+54 9 11 2345-6789", "GT", "+541123456789"),
        ("+541123456789", "GT", "+541123456789"),
        ("011 15-2345-6789", "AR", "+541123456789"),
        ("(11) 91234-5678", "BR", "+5511912345678"),
        ("0 21 11 91234-5678", "BR", "+5511912345678"),
        ("1-876-555-0123", "JM", "+18765550123"),
        ("\uff0b\uff11 202 555 0147", "GT", "+12025550147"),
    ],
)
def test_telephones_meet_in_e164(typed: str, region: str, e164: str) -> None:
    assert normalise(LOOKUP_KIND_TELEPHONE, typed, region=region) == (e164,)


@pytest.mark.parametrize(
    ("typed", "region"),
    [
        ("110", "MX"),
        ("+52110", "MX"),
        ("", "GT"),
        ("no number", "US"),
        ("+", "US"),
        ("5555 0142", "ZZ"),
        ("+9991234567890", "US"),
    ],
)
def test_what_is_no_telephone_is_refused(typed: str, region: str) -> None:
    with pytest.raises(RecordError, match=r"^telephone"):
        normalise(LOOKUP_KIND_TELEPHONE, typed, region=region)


@pytest.mark.parametrize(
    ("kind", "typed", "form"),
    [
        (LOOKUP_KIND_PLATE, "p-123 abc", "P123ABC"),
        (LOOKUP_KIND_PLATE, " MX:abc-12-34", "MX:ABC1234"),
        (LOOKUP_KIND_PLATE, "mx / abc1234", "MX:ABC1234"),
        (LOOKUP_KIND_VIN, "1hg-cm82633a004352", "1HGCM82633A004352"),
        (LOOKUP_KIND_VIN, "IHGCM82633AOO4352", "1HGCM82633A004352"),
        (LOOKUP_KIND_DOCUMENT_NUMBER, "2547 12345 0101", "2547123450101"),
        (LOOKUP_KIND_DOCUMENT_NUMBER, "g-0012345<<", "G0012345"),
        (LOOKUP_KIND_DOCUMENT_NUMBER, "pemj800101hdfrrn09", "PEMJ800101HDFRRN09"),
        (LOOKUP_KIND_BANK_ACCOUNT, "GT82 TRAJ 0102 0000 0012 1002 9690", "TRAJ01020000001210029690"),
        (LOOKUP_KIND_BANK_ACCOUNT, "gt99-traj-0102-0000-0012-1002-9690", "TRAJ01020000001210029690"),
        (LOOKUP_KIND_BANK_ACCOUNT, "TRAJ01020000001210029690", "TRAJ01020000001210029690"),
        (LOOKUP_KIND_BANK_ACCOUNT, "XX82 TRAJ 0102 0000 0012 1002 9690", "XX82TRAJ01020000001210029690"),
        (LOOKUP_KIND_BANK_ACCOUNT, "032 180 00011835971 9", "032180000118359719"),
        (LOOKUP_KIND_BANK_ACCOUNT, "032 180 00011835971 0", "032180000118359710"),
        (LOOKUP_KIND_IMEI, "49-015420-323751-8", "49015420323751"),
        (LOOKUP_KIND_IMEI, "49015420323751", "49015420323751"),
        (LOOKUP_KIND_IMEI, "4901542032375100", "49015420323751"),
        (LOOKUP_KIND_EMAIL, " Ana.Uno+x@Example.COM ", "ana.uno@example.com"),
        (LOOKUP_KIND_EMAIL, "mailto:a.n.a@GoogleMail.com", "ana@gmail.com"),
        (LOOKUP_KIND_ONLINE_ACCOUNT, "@El_Guia.502", "el_guia.502"),
        (LOOKUP_KIND_ONLINE_ACCOUNT, "https://www.instagram.com/El_Guia.502/?hl=es", "el_guia.502"),
        (LOOKUP_KIND_ONLINE_ACCOUNT, "facebook.com/profile.php?id=1000123", "1000123"),
        (LOOKUP_KIND_ONLINE_ACCOUNT, "tiktok.com/@el_guia.502", "el_guia.502"),
        (LOOKUP_KIND_VESSEL, "IMO 9074729", "9074729"),
        (LOOKUP_KIND_VESSEL, "9074729", "9074729"),
        (LOOKUP_KIND_VESSEL, "MMSI: 345123456", "345123456"),
        (LOOKUP_KIND_VESSEL, "xa-abc", "XAABC"),
        (LOOKUP_KIND_ORGANISATION_NAME, "Transportes L\u00f3pez, S.A. de C.V.", "transportes lopez"),
        (LOOKUP_KIND_ORGANISATION_NAME, "TRANSPORTES LOPEZ", "transportes lopez"),
        (LOOKUP_KIND_ORGANISATION_NAME, "Los Invented's", "inventeds"),
        (LOOKUP_KIND_CASE_REFERENCE, "2026.MMP0006", "2026MMP0006"),
        (LOOKUP_KIND_CASE_REFERENCE, "52776", "52776"),
    ],
)
def test_what_is_typed_in_two_ways_meets(kind: LookupKind, typed: str, form: str) -> None:
    assert normalise(kind, typed, region="GT") == (form,)


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        (LOOKUP_KIND_PLATE, "-"),
        (LOOKUP_KIND_PLATE, "MX:-"),
        (LOOKUP_KIND_VIN, "1HGCM82633A0043521"),
        (LOOKUP_KIND_DOCUMENT_NUMBER, "a1"),
        (LOOKUP_KIND_BANK_ACCOUNT, "1234"),
        (LOOKUP_KIND_IMEI, "4901542032375"),
        (LOOKUP_KIND_IMEI, "4901542032375X"),
        (LOOKUP_KIND_EMAIL, "ana.example.com"),
        (LOOKUP_KIND_EMAIL, "@example.com"),
        (LOOKUP_KIND_ONLINE_ACCOUNT, "@"),
        (LOOKUP_KIND_ONLINE_ACCOUNT, "https://example.com"),
        (LOOKUP_KIND_ONLINE_ACCOUNT, "https://[1"),
        (LOOKUP_KIND_VESSEL, "A"),
        (LOOKUP_KIND_NAME, " --- "),
        (LOOKUP_KIND_NAME, "Ana " * 40),
        (LOOKUP_KIND_NAME, "a" * 201),
        (LOOKUP_KIND_ORGANISATION_NAME, "..."),
        *((kind, "9" * (LONGEST_VALUE + 1)) for kind in KINDS),
        (codes_pb2.LOOKUP_KIND_UNKNOWN, "typed"),
        (99, "typed"),
    ],
)
def test_a_refusal_never_quotes_the_value(kind: LookupKind, typed: str) -> None:
    with pytest.raises(RecordError) as refused:
        normalise(kind, typed, region="GT")
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert f"{typed} " not in f"{refused.value} "


SAME_PERSON = [
    "MAR\u00cdA de la Cruz P\u00e9rez",
    "maria cruz perez",
    "perez maria cruz",
    "Cruz P\u00e9rez, Mar\u00eda",
    "Mari\u0301a  CRUZ-P\u00c9REZ",
]


@pytest.mark.parametrize("typed", SAME_PERSON)
def test_spellings_of_one_name_meet(typed: str) -> None:
    assert normalise(LOOKUP_KIND_NAME, typed, region="GT")[0] == "cruz maria perez"


@pytest.mark.parametrize(
    ("typed", "forms"),
    [
        ("Juan P\u00e9rez", {"juan perez"}),
        ("El G\u00fcero", {"guero"}),
        ("De La", {"de la"}),
        ("Sinead O\u2019Connor", {"oconnor sinead"}),
        ("Juan P\u00e9rez L\u00f3pez", {"juan lopez perez", "juan perez", "juan lopez"}),
        (
            "Juan Carlos P\u00e9rez L\u00f3pez",
            {"carlos juan lopez perez", "carlos juan perez", "juan perez", "juan lopez", "juan lopez perez"},
        ),
        ("San Juan, Ana", {"ana juan san", "ana san", "ana juan"}),
    ],
)
def test_forms_of_a_name(typed: str, forms: set[str]) -> None:
    assert set(person_forms(typed)) == forms


def test_a_year_of_birth_becomes_part_of_each_form() -> None:
    assert normalise(LOOKUP_KIND_NAME, "Juan P\u00e9rez", region="GT", birth_year=1990) == ("juan perez|1990",)


def test_an_organisation_named_by_its_legal_form_alone_keeps_it() -> None:
    assert organisation_form("La Cia.") == "la cia"


@given(kind=st.sampled_from(KINDS), typed=st.text(max_size=60), region=st.sampled_from(REGIONS))
def test_any_text_is_refused_or_has_a_stable_form(kind: LookupKind, typed: str, region: str) -> None:
    try:
        form = normalise(kind, typed, region=region)[0]
    except RecordError:
        return
    assert normalise(kind, form, region="GT")[0] == form


@given(
    typed=st.from_regex(r"\+?[0-9]{1,3}[ ()./-]{0,2}[0-9]{0,4}[ -]?[0-9]{3,8}(?: x[0-9]{1,3})?", fullmatch=True),
    region=st.sampled_from(REGIONS),
)
def test_any_digits_are_refused_or_have_a_stable_form(typed: str, region: str) -> None:
    try:
        form = normalise(LOOKUP_KIND_TELEPHONE, typed, region=region)[0]
    except RecordError:
        return
    assert form[0] == "+"
    assert form[1:].isdecimal()
    assert normalise(LOOKUP_KIND_TELEPHONE, form, region="MX")[0] == form


@given(
    number=st.one_of(
        st.from_regex(r"\+1[2-9][0-9]{9}", fullmatch=True),
        st.from_regex(r"\+50[2-6][0-9]{8}", fullmatch=True),
        st.from_regex(r"\+52[02-9][0-9]{9}", fullmatch=True),
    )
)
def test_the_quick_way_and_the_long_way_agree(number: str) -> None:
    spaced = f"{number[:4]} {number[4:]}"
    assert normalise(LOOKUP_KIND_TELEPHONE, spaced, region="BR") == normalise(
        LOOKUP_KIND_TELEPHONE, number, region="BR"
    )


@given(st.text(max_size=40))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)
