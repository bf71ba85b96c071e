"""Situations and rulebooks that the tests of policy share."""

import re
from typing import Any, Final

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from node.policy.facts import UNKNOWN_AGE, Facts
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Rulebook
from node.policy.vocabulary import AGE_BOUNDS, DIMENSIONS, OBLIGATION_NUMBERS, Dimension, Obligation
from node.wire import codes_pb2, entry_pb2, exchange_pb2

NOW_US: Final = 1_795_000_000_000_000  # November 2026
DAY_US: Final = 86_400_000_000
ACCEPTED: Final[frozenset[Obligation]] = frozenset(OBLIGATION_NUMBERS.values())

HEAD: Final = """\
rulebook: TEST
version: 1
layer: {layer}
{country}illustration: true
valid_from: "2026-01-01T00:00:00Z"
valid_until: "2027-01-01T00:00:00Z"
"""
VERIFIED: Final = f"status: verified, verifier: counsel, date: '2026-01-01', text_sha256: '{'0' * 64}'"
OPEN: Final = """\
- {id: OPEN, title: t, law: l, effect: allow, when: {paired: ['YES']}, data: {EVERYTHING: release}}
"""


def book(rules: str, layer: str = "release", red_lines: str = "") -> Rulebook:
    """A rulebook from the YAML of its rules."""
    head = HEAD.format(layer=layer, country="" if layer == "floor" else "country: MX\n")
    lines = f"red_lines:\n{red_lines}" if red_lines else ""
    return parse_rulebook((head + cited(rules + lines) + "rules:\n" + rules + lines).encode(), demonstration=True)


def cited(text: str) -> str:
    """The citations of all laws that rules and red lines rest on; all verified but `u`."""
    found = re.findall(r"law: (?:'([^']*)'|([^,}\n]*))", text)
    laws = {law.strip() for each in found for law in "".join(each).split(";")}
    rows = [f"- {{law: '{law}', {'status: unverified' if law == 'u' else VERIFIED}}}\n" for law in sorted(laws)]
    return "citations:\n" + "".join(rows)


def rule(**keys: str) -> str:
    """One rule on one line; what is not named is filled in."""
    filled = {"id": "X-1", "title": "t", "law": "l", "effect": "limit", **keys}
    return "- {" + ", ".join(f"{key}: {value}" for key, value in filled.items()) + "}\n"


SUSPECT_PHONE: Final = Facts(
    recipient="GT",
    paired="YES",
    unit_type="POLICE_INTELLIGENCE",
    purpose="INVESTIGATE",
    crime=frozenset({"TRAFFICKING"}),
    urgency="ROUTINE",
    ground="UNKNOWN",
    instrument=frozenset({"TREATY"}),
    reciprocity="UNKNOWN",
    emergency="NOT_DECLARED",
    kind="TELECOM",
    record_crime=frozenset({"TRAFFICKING"}),
    handling="H0",
    caveat=frozenset(),
    record_age=30,
    role=frozenset({"SUSPECT"}),
    victim="NO",
    minor="IS_ADULT",
    asylum="NONE",
    witness="NO",
    exposure="NONE",
    stateless="NO",
    recipient_is_origin="NOT_ORIGIN",
    torture_risk="NOT_RECORDED",
    death_penalty="NOT_RECORDED",
    torture_derived="NO",
    assurance="NOT_GIVEN",
    consent="NOT_RECORDED",
)


def but(facts: Facts = SUSPECT_PHONE, **changed: object) -> Facts:
    """The same situation but for some facts."""
    return msgspec.structs.replace(facts, **changed)


def values_of(dimension: Dimension) -> st.SearchStrategy[Any]:
    """Every value that a fact may have."""
    if not dimension.values:
        return st.sampled_from((UNKNOWN_AGE, *AGE_BOUNDS))
    if dimension.name == "recipient":
        return st.sampled_from(("GT", "US", "MX", "UNKNOWN"))
    if dimension.many:
        return st.frozensets(st.sampled_from(dimension.values), max_size=3)
    return st.sampled_from(dimension.values)


def any_facts() -> st.SearchStrategy[Facts]:
    """Any situation, sensible or not; most of them near one that releases something."""
    return st.fixed_dictionaries({}, optional={name: values_of(each) for name, each in DIMENSIONS.items()}).map(
        lambda changed: but(**changed)
    )


def assessed(**changed: object) -> entry_pb2.Protection:
    """A protection in which everything is recorded and harmless."""
    harmless: dict[str, Any] = {
        "victim": codes_pb2.TRI_NO,
        "age": codes_pb2.AGE_CLASS_ADULT,
        "asylum": codes_pb2.ASYLUM_STATE_NONE,
        "witness_protection": codes_pb2.TRI_NO,
        "stateless": codes_pb2.TRI_NO,
        "exposure": codes_pb2.EXPOSURE_NONE,
        "origins": ["MX"],
        "origins_complete": True,
        "torture_derived": codes_pb2.TRI_NO,
    }
    harmless.update(changed)
    return entry_pb2.Protection(**harmless)


def phone(**changed: object) -> entry_pb2.Entry:
    """A suspect's telephone, in an invented case."""
    keys: dict[str, Any] = {
        "recorded_us": NOW_US - 40 * DAY_US,
        "roles": [codes_pb2.ROLE_SUSPECT],
        "crimes": [codes_pb2.CRIME_TRAFFICKING],
        "handling": codes_pb2.HANDLING_CODE_H0,
        "inherited": assessed(),
        "telecom": entry_pb2.Telecom(
            telephone="+525500000000",
            holder_name="Invented Holder",
            last_cell=entry_pb2.Coordinates(latitude_e6=19_432_600, longitude_e6=-99_133_200),
        ),
    }
    keys.update(changed)
    return entry_pb2.Entry(**keys)


def question(**changed: object) -> exchange_pb2.Query:
    """An analyst's query about a telephone in a trafficking case."""
    keys: dict[str, Any] = {
        "selectors": [exchange_pb2.Selector(kind=codes_pb2.LOOKUP_KIND_TELEPHONE, value="+525500000000")],
        "purpose": codes_pb2.PURPOSE_INVESTIGATE,
        "crimes": [codes_pb2.CRIME_TRAFFICKING],
        "urgency": codes_pb2.URGENCY_ROUTINE,
        "asker": exchange_pb2.Asker(officer="p-17", unit="DIGICRI", unit_type=codes_pb2.UNIT_TYPE_POLICE_INTELLIGENCE),
        "case_reference": "GT-2026-1",
        "instrument": "UNTOC",
    }
    keys.update(changed)
    return exchange_pb2.Query(**keys)


def plant(message: Message, token: bytes) -> None:
    """Put unknown wire fields with this token into a message, at every depth."""
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in value if field.is_repeated else [value]:
                plant(part, token)
    key = (15_000 << 3) | 2  # length-delimited
    varint = bytes([key & 0x7F | 0x80, key >> 7 & 0x7F | 0x80, key >> 14])
    message.MergeFromString(varint + bytes([len(token)]) + token)
