"""What a case or an entry must be before it is kept. Errors name the field, never its value.

Strict on the way in only: what is stored already is read whatever it holds, and an unknown code in it is UNKNOWN.
"""

import re
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import phonenumbers
from google.protobuf.descriptor import FieldDescriptor

from node.errors import RecordError
from node.records.attached import listed_in
from node.records.attachment import LARGEST, SHA256_BYTES
from node.schema import ENTITY_ONEOF, is_free_text
from node.wire import codes_pb2
from node.wire.entry_pb2 import Case, Coordinates, DateInterval, Entry, Protection

if TYPE_CHECKING:
    from google.protobuf.message import Message

Role: TypeAlias = codes_pb2.Role.ValueType
Crime: TypeAlias = codes_pb2.Crime.ValueType

LONGEST_TEXT: Final = 512
"""Characters of a string field."""
LONGEST_FREE_TEXT: Final = 20_000
LARGEST_ENTRY: Final = 4 * 1024 * 1024
"""Bytes of a whole serialised entry."""
MOST_ITEMS: Final = 64
"""Items of a repeated field."""
MOST_LINKS: Final = 1024
MOST_ATTACHMENTS: Final = 16
"""Of one entry: the list is part of every answer."""
LONGEST_REVIEW_US: Final = (5 * 365 + 2) * 86_400_000_000
"""Five years, with as many leap days as may fall in them: the longest review period of 28 CFR 23.20(h)."""

ID_SIZE: Final = 16
LARGEST_BIOMETRICS: Final = 256 * 1024
"""Bytes of photograph, fingerprints and DNA profile together. Sealing, sending and recording grow with them: what takes
much longer than no answer would tell a peer that something is held, though the answer be a no-hit."""
_LARGEST_BYTES: Final = {"photo": LARGEST_BIOMETRICS, "fingerprints": LARGEST_BIOMETRICS, "dna_profile": 64 * 1024}
_FREE_TEXT_FIELDS: Final = frozenset({"basis", "title"})  # outside entities, where no option says so
_CLOCK_SLACK_US: Final = 60_000_000
_US_PER_DAY: Final = 86_400_000_000

# The regions of phonenumbers that are no code of ISO 3166-1 (Ascension, Tristan da Cunha, Kosovo), and the codes that
# it lacks since nobody has a telephone there.
COUNTRIES: Final = frozenset(phonenumbers.SUPPORTED_REGIONS) - {"AC", "TA", "XK"} | {
    *("AQ", "BV", "GS", "HM", "PN", "TF", "UM"),
}
"""Assigned codes of ISO 3166-1 alpha-2 (249)."""

COUNTRY_FIELDS: Final = frozenset(
    {
        "carrier_country",
        "countries",
        "country",
        "death_penalty_risk",
        "flag_state",
        "last_seen_country",
        "nationalities",
        "originator",
        "origins",
        "plate_country",
        "recipient",
        "torture_risk",
    }
)
"""Names of the string fields that hold a country's code, in every message of a record."""

# Escape sequences could rewrite an operator's terminal, and overrides of direction make a name read as another.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_CONTROL_IN_FREE_TEXT: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

# 1850-01-01 to 2150-12-31: outside of it a date is a slip of the keyboard.
_FIRST_DAY: Final = -43_829
_LAST_DAY: Final = 66_108
_MOST_LATITUDE_E6: Final = 90_000_000
_MOST_LONGITUDE_E6: Final = 180_000_000
_BEST_QUALITY: Final = 5  # IOM's scale

_NEEDS_SUSPICION: Final = frozenset({codes_pb2.ROLE_SUSPECT, codes_pb2.ROLE_OFFICIAL_SUSPECT})
_INCRIMINATED: Final = _NEEDS_SUSPICION | {codes_pb2.ROLE_ACCUSED, codes_pb2.ROLE_CONVICTED}
# What a person does by the mere fact of being smuggled: Smuggling Protocol art. 5, and its art. 6(1)(b) excludes the
# migrant's own document.
_BEING_SMUGGLED: Final = frozenset(
    {
        codes_pb2.CRIME_UNKNOWN,
        codes_pb2.CRIME_SMUGGLING,
        codes_pb2.CRIME_SMUGGLING_AGGRAVATED,
        codes_pb2.CRIME_DOCUMENT_FRAUD,
    }
)
# What unlocks data is recorded with who and when. What protects needs nobody's signature: a missing one must never cost
# a victim their protection.
_UNLOCKING: Final = (
    ("victim", codes_pb2.TRI_NO, "victim_by"),
    ("age", codes_pb2.AGE_CLASS_ADULT, "age_by"),
    ("asylum", codes_pb2.ASYLUM_STATE_NONE, "asylum_by"),
    ("witness_protection", codes_pb2.TRI_NO, "witness_by"),
    ("exposure", codes_pb2.EXPOSURE_NONE, "exposure_by"),
    ("origins_complete", True, "origins_by"),
    ("torture_derived", codes_pb2.TRI_NO, "torture_derived_by"),
)


def verify_case(case: Case, *, now_us: int) -> None:
    """Check that a case can be kept.

    Args:
        case: With its id.
        now_us: UTC microseconds.

    Raises:
        RecordError: it can't; the text names the field.
    """
    _require(len(case.case_id) == ID_SIZE, "case_id", f"has {ID_SIZE} bytes")
    for field in ("reference", "title", "unit"):
        _require(bool(getattr(case, field).strip()), field, "is missing")
    _require(bool(case.crimes), "crimes", "is missing")
    _verify_times(case.opened_us, "opened_us", case.review_us, now_us)
    _verify_parts(case, "")


def verify_entry(entry: Entry, *, now_us: int) -> None:
    """Check that an entry can be kept. Whether its searchable values can be searched, `entry_tokens` tells.

    Args:
        entry: With its ids, as it would be stored.
        now_us: UTC microseconds.

    Raises:
        RecordError: it can't; the text names the field.
    """
    _require(len(entry.entry_id) == ID_SIZE, "entry_id", f"has {ID_SIZE} bytes")
    _require(len(entry.case_id) == ID_SIZE, "case_id", f"has {ID_SIZE} bytes")
    _require(bool(entry.originator), "originator", "is missing")
    _require(bool(entry.unit.strip()), "unit", "is missing")
    _require(entry.WhichOneof(ENTITY_ONEOF) is not None, "entity", "is missing")
    _require(entry.ByteSize() <= LARGEST_ENTRY, "entity", "is too large")
    _verify_times(entry.recorded_us, "recorded_us", entry.review_us, now_us)
    _verify_parts(entry, "")
    _verify_roles(entry)
    _verify_protection(entry.protection)
    _verify_links(entry)
    needs_words = entry.handling == codes_pb2.HANDLING_CODE_H3
    _require(
        bool(entry.handling_text.strip()) == needs_words, "handling_text", "goes with handling code H3, and only so"
    )
    verify_attachments(entry)
    biometrics = sum(len(getattr(entry.person, field)) for field in _LARGEST_BYTES)
    what = f"has with prints and dna_profile more than {LARGEST_BIOMETRICS} bytes: an answer's time would tell"
    _require(biometrics <= LARGEST_BIOMETRICS, "person.photo", what)
    birth = entry.person.birth
    _require(birth.last_day <= now_us // _US_PER_DAY + 1, "person.birth", "lies in the future")
    _require(entry.incident.source_quality <= _BEST_QUALITY, "incident.source_quality", f"is 1 to {_BEST_QUALITY}")


def _require(condition: bool, field: str, what: str) -> None:  # noqa: FBT001
    if not condition:
        raise RecordError(f"{field}: {what}")


def _verify_times(begun_us: int, begun: str, review_us: int, now_us: int) -> None:
    _require(0 < begun_us <= now_us + _CLOCK_SLACK_US, begun, "is missing or lies in the future")
    _require(review_us > begun_us, "review_us", f"is missing or not after {begun}")
    _require(review_us <= now_us + LONGEST_REVIEW_US, "review_us", "is more than five years ahead")


def _verify_roles(entry: Entry) -> None:
    roles = set(entry.roles)
    _require(len(roles) == len(entry.roles), "roles", "names one twice")
    crimes = set(entry.crimes)
    if roles & _NEEDS_SUSPICION:
        # Reasonable suspicion, documented (28 CFR 23.20(c)): of which conduct, from whom, and how far it is believed.
        _require(bool(crimes - {codes_pb2.CRIME_UNKNOWN}), "crimes", "a suspect is suspected of some")
        _require(bool(entry.source.strip()), "source", "a suspect needs the basis of the suspicion")
        _require(bool(entry.source_grade), "source_grade", "a suspect needs a graded source")
        _require(bool(entry.information_grade), "information_grade", "a suspect needs graded information")
    if codes_pb2.ROLE_SMUGGLED_MIGRANT in roles and roles & _INCRIMINATED:
        _require(
            bool(crimes - _BEING_SMUGGLED), "crimes", "having been smuggled is no offence (Smuggling Protocol art. 5)"
        )


def _verify_protection(protection: Protection) -> None:
    for field, value, by in _UNLOCKING:
        if getattr(protection, field) == value:
            assertion = getattr(protection, by)
            known = bool(assertion.officer.strip()) and assertion.at_us > 0
            _require(known, f"protection.{by}", "says who found that there is nothing to protect, and when")
    _require(
        bool(protection.origins) or not protection.origins_complete, "protection.origins", "are complete and missing"
    )
    for consent in protection.consents:
        _require(bool(consent.recipient), "protection.consents.recipient", "is missing")
        _require(bool(consent.purpose), "protection.consents.purpose", "is missing")
        _require(consent.given_us > 0, "protection.consents.given_us", "is missing")
        known = bool(consent.by.officer.strip()) and consent.by.at_us > 0
        _require(known, "protection.consents.by", "says who recorded the consent, and when")
    for assurance in protection.assurances:
        _require(bool(assurance.recipient), "protection.assurances.recipient", "is missing")
        _require(bool(assurance.reference.strip()), "protection.assurances.reference", "names the document")
        _require(assurance.given_us > 0, "protection.assurances.given_us", "is missing")
        known = bool(assurance.by.officer.strip()) and assurance.by.at_us > 0
        _require(known, "protection.assurances.by", "says who recorded the assurance, and when")


def verify_attachments(entry: Entry) -> None:
    """Check what an entry lists of attachments.

    Raises:
        RecordError: they are too many, or not listed whole.
    """
    listed = listed_in(entry)
    _require(len(listed) <= MOST_ATTACHMENTS, "attachments", f"are more than {MOST_ATTACHMENTS}")
    for each in listed:
        fits = len(each.sha256) == SHA256_BYTES and 0 < each.size <= LARGEST and bool(each.media_type)
        _require(fits, "attachments", "are listed by digest, size and kind; `enlace attachment add` does so")


def _verify_links(entry: Entry) -> None:
    for link in entry.links:
        _require(bool(link.kind), "links.kind", "is missing")
        _require(len(link.to_entry_id) == ID_SIZE, "links.to_entry_id", f"has {ID_SIZE} bytes")
        _require(link.to_entry_id != entry.entry_id, "links.to_entry_id", "leads to the entry itself")


# --- every field, by its type ----------------------------------------------------------------------------------------


def _verify_parts(message: "Message", prefix: str) -> None:
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        items = value if field.is_repeated else (value,)
        _require(len(items) <= (MOST_LINKS if field.name == "links" else MOST_ITEMS), path, "has too many items")
        for item in items:
            if field.type == FieldDescriptor.TYPE_ENUM:
                assert field.enum_type is not None
                _require(item in field.enum_type.values_by_number, path, "is a code that this node does not know")
            elif field.type == FieldDescriptor.TYPE_STRING:
                _verify_text(field, item, path)
            elif field.type == FieldDescriptor.TYPE_BYTES:
                largest = SHA256_BYTES if field.name == "sha256" else _LARGEST_BYTES.get(field.name, ID_SIZE)
                _require(len(item) <= largest, path, f"has more than {largest} bytes")
            elif field.type == FieldDescriptor.TYPE_MESSAGE:
                _verify_value(item, path)
                _verify_parts(item, f"{path}.")


def _verify_text(field: FieldDescriptor, text: str, path: str) -> None:
    if field.name in COUNTRY_FIELDS:
        _require(text in COUNTRIES, path, "is no code of ISO 3166-1 alpha-2")
        return
    free = is_free_text(field) or field.name in _FREE_TEXT_FIELDS
    longest = LONGEST_FREE_TEXT if free else LONGEST_TEXT
    _require(len(text) <= longest, path, f"has more than {longest} characters")
    unfit = _CONTROL_IN_FREE_TEXT if free else _CONTROL
    _require(unfit.search(text) is None, path, "has control characters")


def _verify_value(message: "Message", path: str) -> None:
    if message.DESCRIPTOR is DateInterval.DESCRIPTOR:
        interval = cast("DateInterval", message)
        inside = _FIRST_DAY <= interval.first_day <= interval.last_day <= _LAST_DAY
        _require(inside, path, "is no interval of days between 1850 and 2150")
    elif message.DESCRIPTOR is Coordinates.DESCRIPTOR:
        at = cast("Coordinates", message)
        inside = abs(at.latitude_e6) <= _MOST_LATITUDE_E6 and abs(at.longitude_e6) <= _MOST_LONGITUDE_E6
        _require(inside, path, "is no place on earth")
