"""What kind of value somebody typed, told by its form alone; told aloud, and never where two kinds look alike."""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

import phonenumbers
from stdnum import iban, imei, imo, luhn

from node.wire import codes_pb2
from node.wire.codes_pb2 import LookupKind

Kind: TypeAlias = LookupKind.ValueType

_EMAIL: Final = re.compile(r"[^\s@]+@[^\s@]+\.[A-Za-z]{2,}")
_ONLINE: Final = re.compile(r"@[\w.-]{2,}|https?://\S+", re.IGNORECASE)
_INTERNATIONAL: Final = re.compile(r"(?:\+|00)[\d\s().-]{7,}", re.ASCII)
_LOCAL: Final = re.compile(r"\(?\d[\d\s().-]{6,}", re.ASCII)
_PUBLISHED: Final = re.compile(r"\d{4}\.MMP\d+", re.IGNORECASE | re.ASCII)
_STATED_PLATE: Final = re.compile(r"[A-Za-z]{2}\s*[:/]\s*[\w -]{2,12}")
_VESSEL: Final = re.compile(r"(?:IMO\s*\d{7}|MMSI\s*\d{9})", re.IGNORECASE | re.ASCII)
_VIN: Final = re.compile(r"(?=.*\d)(?=.*[A-Z])[A-HJ-NPR-Z0-9]{17}", re.IGNORECASE | re.ASCII)  # ISO 3779
_PLATE: Final = re.compile(r"(?=.*\d)(?=.*[A-Z])[A-Z0-9][A-Z0-9 -]*", re.IGNORECASE | re.ASCII)
_DOCUMENT: Final = re.compile(r"[A-Z]{1,4}[ -]?\d{6,12}[A-Z0-9]?", re.IGNORECASE | re.ASCII)
_WORDS: Final = re.compile(r"[^\W\d_][\w.'\u2019-]*(?:[ ,]+[^\W\d_][\w.'\u2019-]*)+")
_LEGAL_FORM: Final = re.compile(
    r"\b(?:S\.?\s?A\.?(?:\s?de\s?C\.?\s?V\.?)?|S\.? de R\.?\s?L\.?|Ltda?\.?|LLC|Inc\.?|Corp\.?|Cía\.?|S\.?R\.?L\.?)$",
    re.IGNORECASE,
)
_MOST_DIGITS: Final = 15  # E.164 §6.1
_PLATE_LENGTHS: Final = range(4, 8)
_CARD_LENGTHS: Final = range(16, 21)  # cards, the CLABE of Mexico (18), accounts of Central America (20)


def guess_kind(value: str, region: str) -> Kind:
    """Return what kind of value this is; LOOKUP_KIND_UNKNOWN where its form does not tell.

    Args:
        value: As typed.
        region: ISO 3166-1 alpha-2; decides whether digits alone may be a telephone number.
    """
    text = value.strip()
    for kind, is_one in _FORMS:
        if is_one(text):
            return kind
    return codes_pb2.LOOKUP_KIND_TELEPHONE if _is_local(text, region) else codes_pb2.LOOKUP_KIND_UNKNOWN


def _compact(text: str) -> str:
    return re.sub(r"[\s.-]", "", text)


def _is_telephone(text: str) -> bool:
    digits = sum(each.isdigit() for each in text.removeprefix("00"))
    return _INTERNATIONAL.fullmatch(text) is not None and digits <= _MOST_DIGITS


def _is_local(text: str, region: str) -> bool:
    if not _LOCAL.fullmatch(text):
        return False
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(text, region))
    except phonenumbers.NumberParseException:
        return False


def _is_vessel(text: str) -> bool:
    return _VESSEL.fullmatch(text) is not None or (text.upper().startswith("IMO") and bool(imo.is_valid(text)))


def _is_account(text: str) -> bool:
    digits = _compact(text)
    return bool(iban.is_valid(text)) or (digits.isascii() and digits.isdigit() and len(digits) in _CARD_LENGTHS)


def _is_imei(text: str) -> bool:
    digits = _compact(text)
    return digits.isascii() and digits.isdigit() and bool(imei.is_valid(digits)) and bool(luhn.is_valid(digits))


def _is_plate(text: str) -> bool:
    plain = _PLATE.fullmatch(text) is not None and len(_compact(text)) in _PLATE_LENGTHS
    return plain or _STATED_PLATE.fullmatch(text) is not None


def _is_organisation(text: str) -> bool:
    return _WORDS.match(text) is not None and _LEGAL_FORM.search(text) is not None


def _matching(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


# The more particular before the more general: an IMEI is digits too.
_FORMS: Final[tuple[tuple[Kind, Callable[[str], bool]], ...]] = (
    (codes_pb2.LOOKUP_KIND_EMAIL, _matching(_EMAIL)),
    (codes_pb2.LOOKUP_KIND_ONLINE_ACCOUNT, _matching(_ONLINE)),
    (codes_pb2.LOOKUP_KIND_TELEPHONE, _is_telephone),
    (codes_pb2.LOOKUP_KIND_CASE_REFERENCE, _matching(_PUBLISHED)),
    (codes_pb2.LOOKUP_KIND_VESSEL, _is_vessel),
    (codes_pb2.LOOKUP_KIND_IMEI, _is_imei),
    (codes_pb2.LOOKUP_KIND_VIN, _matching(_VIN)),
    (codes_pb2.LOOKUP_KIND_BANK_ACCOUNT, _is_account),
    (codes_pb2.LOOKUP_KIND_PLATE, _is_plate),
    (codes_pb2.LOOKUP_KIND_DOCUMENT_NUMBER, _matching(_DOCUMENT)),
    (codes_pb2.LOOKUP_KIND_ORGANISATION_NAME, _is_organisation),
    (codes_pb2.LOOKUP_KIND_NAME, _matching(_WORDS)),
)
