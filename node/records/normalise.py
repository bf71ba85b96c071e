"""Canonical forms of selectors and field values: what is typed in two offices in two ways must meet.

A form is never shown. Changing what this module answers for any value means raising `NORMALISER_VERSION`, since keys
made before no longer fit.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlsplit

import phonenumbers
from stdnum import iban, imei, imo
from stdnum.exceptions import ValidationError

from node.errors import RecordError
from node.records.names import fold, organisation_form, person_forms
from node.schema import LookupKind
from node.wire import codes_pb2

NORMALISER_VERSION: Final = 1
"""One byte of every lookup token."""

LONGEST_VALUE: Final = 512
"""Characters of a selector or a searchable value; longer ones are refused before any work is spent on them."""

# E.164 §6.1: at most 15 digits. Below 7 are short codes, which mean something else in each network.
_TELEPHONE_DIGITS: Final = range(7, 16)

# Calling codes without a trunk prefix, and the length of all their subscribers' numbers with the code: there a leading
# "+" and digits are E.164 already. Everything else goes through the metadata of phonenumbers.
_PLAIN_CODES: Final = {"1": 11, "502": 11, "503": 11, "504": 11, "505": 11, "506": 11, "52": 12}
_PLAIN_LENGTHS: Final = frozenset(_PLAIN_CODES.values())

# Mexico's trunk and mobile prefixes, out of use since August 2019 (Federal Telecommunications Institute), still stand
# in older records. Argentina's mobile 9 is dialled from abroad only; numbers are unique without it.
_MEXICAN_TRUNK: Final = re.compile(r"^\s*\(?0(?:1|44|45)\)?(?=(?:\D*\d){10}\D*$)")
_OLD_MOBILE: Final = re.compile(r"^\+(?:52(?=1\d{10}$)|54(?=9\d{10}$))")

_PLATE_COUNTRY: Final = re.compile(r"^\s*([A-Za-z]{2})\s*[:/]\s*(.+)$", re.DOTALL)
_URL: Final = re.compile(r"^(?:https?://|(?:[\w-]+\.)+[a-z]{2,24}/)", re.IGNORECASE)
_IBAN: Final = re.compile(r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$")  # ISO 13616-1 §5
_VIN_MISREAD: Final = str.maketrans("IOQ", "100")  # ISO 3779 uses none of these three letters
_SUB_ADDRESS_IGNORES_DOTS: Final = frozenset({"gmail.com", "googlemail.com"})


def normalise(kind: LookupKind, value: str, *, region: str, birth_year: int = 0) -> tuple[str, ...]:
    """Canonical forms under which a selector or a field value is found.

    The first form says all that the value says; of a name, more may follow, which say less
    (`node.records.names.person_forms`). Normalising the first form again gives it back.

    Args:
        kind: What the value is.
        value: As typed.
        region: ISO 3166-1 alpha-2, of the country whose officer typed it; decides what a national telephone number is.
        birth_year: Of the person named, 0 where it does not matter; it becomes part of each form.

    Raises:
        RecordError: it can't be such a value. The text names the kind, never the value.
    """
    if len(value) > LONGEST_VALUE:
        raise RecordError(f"{_word(kind)}: longer than {LONGEST_VALUE} characters")
    if kind == codes_pb2.LOOKUP_KIND_NAME:
        forms = person_forms(value)
        return tuple(f"{form}|{birth_year}" for form in forms) if birth_year else forms
    if kind == codes_pb2.LOOKUP_KIND_TELEPHONE:
        return (_telephone(value, region),)
    rule = _RULES.get(kind)
    if rule is None:
        raise RecordError("kind: this node can't search by it")
    form = rule(value)
    if form is None:
        raise RecordError(f"{_word(kind)}: not of the form or length of one")
    return (form,)


def _word(kind: LookupKind) -> str:
    names = codes_pb2.LookupKind.DESCRIPTOR.values_by_number
    return names[kind].name.removeprefix("LOOKUP_KIND_").lower().replace("_", " ") if kind in names else "value"


def _telephone(value: str, region: str) -> str:
    if len(value) in _PLAIN_TEXT_LENGTHS and value[0] == "+" and value[1:].isascii() and value[1:].isdigit():
        for size in (1, 2, 3):
            if _PLAIN_CODES.get(value[1 : 1 + size]) == len(value) - 1:
                return value
    number = _parsed_telephone(value, region)
    # A false number may begin with what its country's plan takes for a trunk prefix, once or several times.
    while (again := _parsed_telephone(number, region)) != number:
        number = again
    if len(number) - 1 not in _TELEPHONE_DIGITS:
        raise RecordError("telephone: not of the length of one")
    return number


_PLAIN_TEXT_LENGTHS: Final = frozenset(length + 1 for length in _PLAIN_LENGTHS)


def _parsed_telephone(value: str, region: str) -> str:
    """E.164 of a number as typed; a valid number range is not asked for, since false numbers are searched too."""
    typed = _MEXICAN_TRUNK.sub("", value) if region == "MX" else value
    try:
        parsed = phonenumbers.parse(typed, region)
        if not phonenumbers.is_possible_number(parsed) and typed.lstrip().startswith("00"):
            # The international prefix of most of the world, typed where another one is in use.
            parsed = phonenumbers.parse("+" + typed.lstrip()[2:], region)
    except phonenumbers.NumberParseException:
        raise RecordError("telephone: not a number, or neither a country code nor a country is known") from None
    number = f"+{parsed.country_code}{phonenumbers.national_significant_number(parsed)}"
    old = _OLD_MOBILE.match(number)
    return number[: old.end()] + number[old.end() + 1 :] if old else number


def _alphanumeric(text: str) -> str:
    """Upper-case letters and digits alone, digits of every script in ASCII."""
    kept = []
    for each in fold(text):
        if each.isalnum():
            digit = unicodedata.decimal(each, None)
            kept.append(each if digit is None else str(digit))
    return "".join(kept).upper()


def _sized(text: str, shortest: int, longest: int) -> str | None:
    return text if shortest <= len(text) <= longest else None


def _plate(value: str) -> str | None:
    """`ABC123`, or `MX:ABC123` where the country is written before a colon or a slash."""
    stated = _PLATE_COUNTRY.match(value)
    if stated is None:
        return _sized(_alphanumeric(value), 2, 12)
    plate = _sized(_alphanumeric(stated[2]), 2, 12)
    return plate and f"{stated[1].upper()}:{plate}"


def _vin(value: str) -> str | None:
    """ISO 3779 has 17 characters; chassis numbers before 1981 have fewer."""
    return _sized(_alphanumeric(value).translate(_VIN_MISREAD), 5, 17)


def _document_number(value: str) -> str | None:
    return _sized(_alphanumeric(value), 3, 40)


def _bank_account(value: str) -> str | None:
    """IBAN, CLABE, card or account number. Check digits are not asked for: criminals mistype too.

    An IBAN without its country and check digits is the account number inside the country, and meets it.
    """
    compact = _alphanumeric(iban.compact(value))
    if _IBAN.match(compact):
        try:
            repaired = compact[:2] + iban.calc_check_digits(compact) + compact[4:]
            return iban.validate(repaired, check_country=False)[4:]
        except ValidationError:
            pass  # an account number that only looks like one
    return _sized(compact, 5, 64)


def _imei(value: str) -> str | None:
    """The 14 digits that name the device, without check digit (15) or software version (16); 3GPP TS 23.003 §6.2."""
    digits = _alphanumeric(imei.compact(value))
    return digits[:14] if digits.isdecimal() and 14 <= len(digits) <= 16 else None  # noqa: PLR2004


def _vessel(value: str) -> str | None:
    """IMO number, MMSI, hull or tail number, without the words IMO and MMSI before digits."""
    compact = _alphanumeric(imo.compact(value))
    for word, digits in (("IMO", 7), ("MMSI", 9)):
        number = compact.removeprefix(word)
        if len(number) == digits and number.isdecimal():
            return number
    return _sized(compact, 3, 20)


def _email(value: str) -> str | None:
    """Mailbox and domain without case, sub-address ("+shop") and, where the provider ignores them, dots."""
    text = "".join(fold(value).split()).removeprefix("mailto:").rstrip(".")
    mailbox, at, domain = text.rpartition("@")
    mailbox = mailbox.partition("+")[0] or mailbox
    if domain in _SUB_ADDRESS_IGNORES_DOTS:
        mailbox, domain = mailbox.replace(".", "") or mailbox, "gmail.com"
    return f"{mailbox}@{domain}" if at and mailbox and "." in domain else None


def _online_account(value: str) -> str | None:
    """The handle without case and leading @; of a profile's address, the handle or number in it."""
    text = "".join(fold(value).split()).lstrip("@")
    if _URL.match(text):
        try:
            parts = urlsplit(text if "://" in text else f"https://{text}")
        except ValueError:  # an unfinished IPv6 address
            return None
        segments = [segment for segment in parts.path.split("/") if segment]
        number = parse_qs(parts.query).get("id", [""])[0]
        text = number if number.isdecimal() else "".join(segments[-1:]).lstrip("@")
    return _sized(text, 2, 128)


def _organisation_name(value: str) -> str | None:
    return organisation_form(value)


_RULES: Final[dict[int, Callable[[str], str | None]]] = {
    codes_pb2.LOOKUP_KIND_ONLINE_ACCOUNT: _online_account,
    codes_pb2.LOOKUP_KIND_EMAIL: _email,
    codes_pb2.LOOKUP_KIND_PLATE: _plate,
    codes_pb2.LOOKUP_KIND_VIN: _vin,
    codes_pb2.LOOKUP_KIND_DOCUMENT_NUMBER: _document_number,
    codes_pb2.LOOKUP_KIND_BANK_ACCOUNT: _bank_account,
    codes_pb2.LOOKUP_KIND_ORGANISATION_NAME: _organisation_name,
    codes_pb2.LOOKUP_KIND_VESSEL: _vessel,
    codes_pb2.LOOKUP_KIND_IMEI: _imei,
    codes_pb2.LOOKUP_KIND_CASE_REFERENCE: _document_number,
}
