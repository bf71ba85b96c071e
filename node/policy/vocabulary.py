"""The words that a rulebook may use, taken from the wire contract's code lists.

A rule speaks of *dimensions* (what is known of a request and of an entry) and of data categories. Each dimension's name
is the name of a field of `node.policy.facts.Facts`, so that a condition of a rule needs no translation.
"""

import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from node import schema
from node.wire import codes_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import EnumDescriptor

Category: TypeAlias = schema.Category
Outcome: TypeAlias = codes_pb2.Outcome.ValueType
Obligation: TypeAlias = codes_pb2.Obligation.ValueType
Purpose: TypeAlias = codes_pb2.Purpose.ValueType
InstrumentKind: TypeAlias = codes_pb2.InstrumentKind.ValueType

UNKNOWN: Final = "UNKNOWN"
"""Not recorded, or not understood by this node. Never helps release."""

NOT_APPLICABLE: Final = "NOT_APPLICABLE"
"""A fact about a subject, of an entry that is not about one and inherits from none."""

EVERYTHING: Final = "EVERYTHING"
"""In a rule's `data`: all categories, EXISTENCE and REFERENCE included."""

_ISO_3166_1: Final = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY "
    "BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK "
    "FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR "
    "IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK "
    "ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM "
    "PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF "
    "TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
)
COUNTRIES: Final = frozenset(_ISO_3166_1.split())
"""Assigned codes of ISO 3166-1 alpha-2 (249)."""

AGE_BOUNDS: Final = (0, 30, 90, 180, 365, 730, 1095, 1825, 3650)
"""Lower bounds, in days, of the classes of a record's age. A rule's `at_least` must be one of them, or the class would
not tell whether it holds."""

NEVER_LAWFUL: Final = frozenset({"IMMIGRATION_ENFORCEMENT", "ASYLUM_DECISION", "POLITICAL", "COMMERCIAL"})
"""Purposes that exist so that rules and refusals can name them; no query with one is ever sent or answered."""


def _names(enum: "EnumDescriptor") -> "Mapping[int, str]":
    """Numbers of an enumeration to names without its prefix, which is that of the zero value, `…_UNKNOWN`."""
    prefix = enum.values_by_number[0].name.removesuffix(UNKNOWN)
    return {value.number: value.name.removeprefix(prefix) for value in enum.values}


PURPOSES: Final = _names(codes_pb2.Purpose.DESCRIPTOR)
CRIMES: Final = _names(codes_pb2.Crime.DESCRIPTOR)
ROLES: Final = _names(codes_pb2.Role.DESCRIPTOR)
TRIS: Final = _names(codes_pb2.Tri.DESCRIPTOR)
ASYLUM_STATES: Final = _names(codes_pb2.AsylumState.DESCRIPTOR)
EXPOSURES: Final = _names(codes_pb2.Exposure.DESCRIPTOR)
CATEGORIES: Final = _names(codes_pb2.DataCategory.DESCRIPTOR)
OUTCOMES: Final = _names(codes_pb2.Outcome.DESCRIPTOR)
ENTITY_KINDS: Final = _names(codes_pb2.EntityKind.DESCRIPTOR)
INSTRUMENT_KINDS: Final = _names(codes_pb2.InstrumentKind.DESCRIPTOR)
GROUNDS: Final = _names(codes_pb2.Ground.DESCRIPTOR)
HANDLING_CODES: Final = _names(codes_pb2.HandlingCode.DESCRIPTOR)
CAVEATS: Final = _names(codes_pb2.Caveat.DESCRIPTOR)
OBLIGATIONS: Final = _names(codes_pb2.Obligation.DESCRIPTOR)
URGENCIES: Final = _names(codes_pb2.Urgency.DESCRIPTOR)
UNIT_TYPES: Final = _names(codes_pb2.UnitType.DESCRIPTOR)

KIND_BY_FIELD: Final["Mapping[str, str]"] = MappingProxyType(
    {holder: ENTITY_KINDS[kind] for holder, kind in schema.KIND_BY_HOLDER.items()}
)
"""Name of the field that holds an entity ("telecom") to the word for its kind ("TELECOM")."""

CATEGORIES_BY_KIND: Final["Mapping[str, frozenset[Category]]"] = MappingProxyType(
    {ENTITY_KINDS[kind]: categories for kind, categories in schema.CATEGORIES.items()}
)
"""Data categories of the fields of each kind of entity, by the word for it."""

# Words of a rulebook to the numbers of the wire, without the zero values, which nobody may name.
CATEGORY_NUMBERS: Final[dict[str, Category]] = {
    CATEGORIES[number]: number for number in codes_pb2.DataCategory.values() if number
}
OUTCOME_NUMBERS: Final[dict[str, Outcome]] = {
    OUTCOMES[number].lower(): number for number in codes_pb2.Outcome.values() if number
}
OBLIGATION_NUMBERS: Final[dict[str, Obligation]] = {
    OBLIGATIONS[number]: number for number in codes_pb2.Obligation.values() if number
}

_TIER_SIZE: Final = 10
_STRICTEST_TIER: Final = 5


def tier(category: Category) -> int:
    """Tier of harm of a data category: 1 (not personal) to 5 (blocked unless named), 0 for EXISTENCE and REFERENCE."""
    return category // _TIER_SIZE


TIER_5: Final[frozenset[Category]] = frozenset(
    number for number in CATEGORY_NUMBERS.values() if tier(number) == _STRICTEST_TIER
)
"""Categories that `EVERYTHING` in an `allow` does not grant: a rule must name them."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing that a condition may ask about.

    Attributes:
        name: In rulebooks, and of the field of `Facts`.
        values: All that a rulebook may name, UNKNOWN and NOT_APPLICABLE included where they occur. Empty: a number.
        many: The fact is a set of values; a list in a rule then asks whether any of them is in it.
        about: Whose fact it is: of the request, of the entry as a record, or of the subject the entry is about.
        asserted: The asker merely says so. Such a fact alone never lifts the limit on a protected person.
    """

    name: str
    values: tuple[str, ...]
    many: bool
    about: Literal["request", "entry", "subject"]
    asserted: bool


_TRI: Final = ("YES", "NO", UNKNOWN)
_PER_RECIPIENT: Final = ("AT_RISK", "NOT_RECORDED")


def _of(
    about: Literal["request", "entry", "subject"],
    name: str,
    values: "tuple[str, ...] | Mapping[int, str]",
    *,
    many: bool = False,
    asserted: bool = False,
) -> Dimension:
    words = values if isinstance(values, tuple) else tuple(values.values())
    if about == "subject":
        words = (*words, NOT_APPLICABLE)
    return Dimension(name, words, many, about, asserted)


DIMENSIONS: Final["Mapping[str, Dimension]"] = MappingProxyType(
    {
        dimension.name: dimension
        for dimension in (
            _of("request", "recipient", (*sorted(COUNTRIES), UNKNOWN)),
            _of("request", "paired", ("YES", "NO")),
            _of("request", "unit_type", UNIT_TYPES, asserted=True),
            _of("request", "purpose", PURPOSES, asserted=True),
            _of("request", "crime", CRIMES, many=True, asserted=True),
            _of("request", "urgency", URGENCIES, asserted=True),
            _of("request", "ground", GROUNDS, asserted=True),
            _of("request", "instrument", INSTRUMENT_KINDS, many=True),
            _of("request", "reciprocity", _TRI),
            _of("request", "emergency", ("DECLARED", "NOT_DECLARED")),
            _of("entry", "kind", ENTITY_KINDS),
            _of("entry", "record_crime", CRIMES, many=True),
            _of("entry", "handling", HANDLING_CODES),
            _of("entry", "caveat", CAVEATS, many=True),
            _of("entry", "record_age", ()),
            _of("subject", "role", ROLES, many=True),
            _of("subject", "victim", _TRI),
            _of("subject", "minor", ("IS_MINOR", "IS_ADULT", UNKNOWN)),
            _of("subject", "asylum", ASYLUM_STATES),
            _of("subject", "witness", _TRI),
            _of("subject", "exposure", EXPOSURES),
            _of("subject", "stateless", _TRI),
            _of("subject", "recipient_is_origin", ("IS_ORIGIN", "NOT_ORIGIN", UNKNOWN)),
            _of("subject", "torture_risk", _PER_RECIPIENT),
            _of("subject", "death_penalty", _PER_RECIPIENT),
            _of("subject", "torture_derived", _TRI),
            _of("subject", "assurance", ("GIVEN", "NOT_GIVEN")),
            _of("subject", "consent", ("RECORDED_BY_ORIGINATOR", "NOT_RECORDED")),
        )
    }
)
"""Every dimension by name, in the order of `Facts`."""


@cache
def vocabulary_digest() -> str:
    """Digest of every word a rulebook may use: "sha256:" and 64 hexadecimal digits.

    It covers canonical JSON (sorted keys, no spaces) of dimensions, categories, outcomes, obligations and age bounds. A
    rulebook states the digest that it was written for; another meaning of its words needs another approval.
    """
    words = {
        "dimensions": {
            name: {"values": sorted(each.values), "many": each.many, "about": each.about, "asserted": each.asserted}
            for name, each in DIMENSIONS.items()
        },
        "categories": CATEGORY_NUMBERS,
        "outcomes": OUTCOME_NUMBERS,
        "obligations": OBLIGATION_NUMBERS,
        "age_bounds": AGE_BOUNDS,
        "never_lawful": sorted(NEVER_LAWFUL),
    }
    text = json.dumps(words, sort_keys=True, separators=(",", ":"))
    return "sha256:" + sha256(text.encode()).hexdigest()
