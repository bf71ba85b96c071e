"""Ranges of situations in plain words, for people who write rules."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from node.policy.facts import UNKNOWN_AGE
from node.policy.prove.ranges import Range
from node.policy.prove.variables import ACCEPTED, Value, Variables
from node.policy.vocabulary import AGE_BOUNDS, CATEGORIES, NOT_APPLICABLE, OUTCOMES, UNKNOWN, Category, Outcome, tier

Ranges = Mapping[str, Range]

_UNITS: Final = {
    "POLICE_INTELLIGENCE": "police intelligence",
    "INVESTIGATION": "an investigator",
    "PROSECUTOR": "a prosecutor",
    "CENTRAL_AUTHORITY": "a central authority",
    "MISSING_PERSONS": "a unit for missing persons",
    "FORENSIC": "a forensic unit",
    "OVERSIGHT": "an oversight body",
}
_KINDS: Final = {
    "PERSON": "a person",
    "ORGANISATION": "an organisation",
    "GROUP": "a group",
    "VEHICLE": "a vehicle",
    "VESSEL": "a vessel",
    "DOCUMENT": "a document",
    "TELECOM": "a telephone",
    "ACCOUNT": "a bank account",
    "PLACE": "a place",
    "INCIDENT": "an incident",
    "ROUTE": "a route",
    "MODUS_OPERANDI": "a method",
}
# What is said of a subject, after "who" or "whose subject".
_SUBJECTS: Final[Mapping[str, Mapping[Value, str]]] = {
    "minor": {"IS_MINOR": "is a minor", "IS_ADULT": "is an adult", UNKNOWN: "is of unknown age"},
    "victim": {"YES": "is a victim", "NO": "is no victim", UNKNOWN: "may be a victim"},
    "asylum": {
        "NONE": "never claimed asylum",
        "CLAIMED": "claims asylum",
        "RECOGNISED": "was granted asylum",
        "REFUSED": "was refused asylum",
        "PAST": "had asylum",
        UNKNOWN: "may have claimed asylum",
    },
    "witness": {
        "YES": "is a protected witness",
        "NO": "is no protected witness",
        UNKNOWN: "may be a protected witness",
    },
    "recipient_is_origin": {
        "IS_ORIGIN": "comes from there",
        "NOT_ORIGIN": "does not come from there",
        UNKNOWN: "may come from there",
    },
    "exposure": {
        "NONE": "is not exposed to persecution",
        "EXILE": "is an exile",
        "JOURNALIST": "is a journalist",
        "DEFENDER": "is a defender of human rights",
        "OPPOSITION": "is of the opposition",
        UNKNOWN: "may be exposed to persecution",
    },
    "torture_risk": {"AT_RISK": "risks torture there", "NOT_RECORDED": "has no recorded risk of torture there"},
    "death_penalty": {
        "AT_RISK": "risks the death penalty there",
        "NOT_RECORDED": "has no recorded risk of the death penalty there",
    },
    "assurance": {
        "GIVEN": "is assured against the death penalty",
        "NOT_GIVEN": "is not assured against the death penalty",
    },
    "torture_derived": {
        "YES": "is told of by information got by torture",
        "NO": "is told of by information not got by torture",
        UNKNOWN: "may be told of by information got by torture",
    },
    "stateless": {"YES": "is stateless", "NO": "is not stateless", UNKNOWN: "may be stateless"},
    "consent": {
        "RECORDED_BY_ORIGINATOR": "gave consent that is on record",
        "NOT_RECORDED": "gave no consent that is on record",
    },
}
_LEVELS: Final = {"RELEASE": "", "GENERALISE": " generalised", "PSEUDONYMISE": " under a pseudonym", "MASK": " masked"}
_MOST_NAMED: Final = 4


def asking(ranges: Ranges, variables: Variables) -> str:
    """Who asks for what: "A prosecutor in JM asking with purpose TREND about a person who is a minor"."""
    parts = [f"{_unit(ranges)} {_country(ranges, variables)} asking", *_request(ranges)]
    return f"{' '.join(parts)} about {_entry(ranges)}"


def saying(ranges: Ranges) -> str:
    """What the asker asserts: "unit type PROSECUTOR and purpose TREND"."""
    parts = [_listed(each, name.replace("_", " ")) for name, each in ranges.items()]
    return " and ".join(parts) or "anything else"


def data(categories: Sequence[Category], level: Outcome) -> str:
    """Categories and the level at which they leave: "IDENTITY and TELECOM masked"."""
    return _joined([CATEGORIES[each] for each in categories], "and") + _LEVELS[OUTCOMES[level]]


def beside(others: Sequence[Category]) -> str:
    """What else crosses the line: " (and TELECOM, EVENT and 3 more)"; that it exists goes without saying."""
    words = [CATEGORIES[each] for each in others if tier(each)]
    if len(words) > _MOST_NAMED:
        words = [*words[: _MOST_NAMED - 1], f"{len(words) - _MOST_NAMED + 1} more"]
    return f" (and {_joined(words, 'and')})" if words else ""


# --- the request -----------------------------------------------------------------------------------------------------


def _unit(ranges: Ranges) -> str:
    units = ranges.get("unit_type")
    if units is None:
        return "Any unit"
    if len(units.excluded) < len(units.values):
        return f"Any unit but {_joined([_unit_words(each) for each in units.excluded], 'and')}"
    words = _joined([_unit_words(each) for each in units.values], "or")
    return words[0].upper() + words[1:]


def _unit_words(unit: Value) -> str:
    return _UNITS.get(str(unit), str(unit))


def _country(ranges: Ranges, variables: Variables) -> str:
    countries = ranges.get("recipient")
    if countries is None:
        return "in any country"
    names = {variables.other: "one that no rule names", UNKNOWN: "one that is not known"}
    if variables.other in countries.values and countries.excluded:
        return f"in any country but {_joined([names.get(str(v), str(v)) for v in countries.excluded], 'and')}"
    return f"in {_joined([names.get(str(each), str(each)) for each in countries.values], 'or')}"


def _request(ranges: Ranges) -> Iterable[str]:
    titles = {
        "purpose": "with purpose",
        "crime": "on",
        "instrument": "under an instrument of kind",
        "urgency": "with urgency",
        "ground": "on ground",
        "reciprocity": "with reciprocity",
        "paired": "paired",
    }
    for name, title in titles.items():
        if name in ranges:
            yield _listed(ranges[name], title)
    if "emergency" in ranges:
        yield "in a declared emergency" if "DECLARED" in ranges["emergency"].values else "without a declared emergency"
    if ACCEPTED in ranges:
        yield f"having accepted {_set_words(ranges[ACCEPTED])}"


# --- the entry -------------------------------------------------------------------------------------------------------


def _entry(ranges: Ranges) -> str:
    parts = [_kind(ranges)]
    titles = {"record_crime": "recorded for", "handling": "of handling code", "caveat": "with caveat"}
    parts += [_listed(ranges[name], title) for name, title in titles.items() if name in ranges]
    if "record_age" in ranges:
        parts.append(_age(ranges["record_age"]))
    clauses = list(_subject(ranges))
    if not clauses:
        return " ".join(parts)
    whose = "whose subject"
    if "kind" in ranges and ranges["kind"].values == ("PERSON",):
        whose = "who"
    elif any(NOT_APPLICABLE in ranges[name].values for name in _SUBJECTS if name in ranges):
        whose = "whose subject, if it has one,"
    return f"{' '.join(parts)} {whose} {' and '.join(clauses)}"


def _kind(ranges: Ranges) -> str:
    kinds = ranges.get("kind")
    if kinds is None:
        return "any entry"
    if len(kinds.excluded) < len(kinds.values):
        return f"any entry but {_joined([_KINDS.get(str(each), str(each)) for each in kinds.excluded], 'and')}"
    return _joined([_KINDS.get(str(each), str(each)) for each in kinds.values], "or")


def _subject(ranges: Ranges) -> Iterable[str]:
    for name, words in _SUBJECTS.items():
        values = _unknown_last(ranges[name].values) if name in ranges else []
        if values:
            yield _joined([words[value] for value in values if value in words] or ["is nobody"], "or")
    if "role" in ranges:
        roles = ranges["role"]
        if roles.has:
            groups = [["nothing" if each == NOT_APPLICABLE else each for each in group] for group in roles.has]
            yield f"is recorded as {' and as '.join([_named(group) for group in groups])}"
        lacks = [str(each) for each in roles.lacks if each not in {UNKNOWN, NOT_APPLICABLE}]
        if lacks:
            yield f"is not recorded as {_joined(lacks, 'or')}"
        elif not roles.has:
            yield "has roles that are known"


def _age(ages: Range) -> str:
    """Classes of a record's age as days, the longest runs in one."""
    parts = []
    for is_in, run in groupby(
        zip(AGE_BOUNDS, (*AGE_BOUNDS[1:], None), strict=True), lambda each: each[0] in ages.values
    ):
        classes = list(run)
        first, end = classes[0][0], classes[-1][1]
        if is_in:
            parts.append(f"at least {first} days old" if end is None else f"{first} to {end - 1} days old")
    if UNKNOWN_AGE in ages.values:
        parts.append("of unknown date")
    return _joined(parts, "or")


# --- lists -----------------------------------------------------------------------------------------------------------


def _listed(narrow: Range, title: str) -> str:
    if narrow.has or narrow.lacks:
        return f"{title} {_set_words(narrow)}"
    if len(narrow.excluded) < len(narrow.values):
        return f"{title} any but {_joined(map(str, narrow.excluded), 'and')}"
    return f"{title} {_named(narrow.values)}"


def _set_words(narrow: Range) -> str:
    has = " and ".join([_named(group) for group in narrow.has])
    lacks = [str(each) for each in narrow.lacks if each != UNKNOWN]
    if not lacks:
        # What is known leaves UNKNOWN out, which goes without saying.
        return has or "none that is UNKNOWN"
    without = f"not {_joined(lacks, 'or')}"
    return f"{has} but {without}" if has else without


def _named(values: Sequence[Value]) -> str:
    """Values of which one will do; of many, some."""
    words = list(map(str, _unknown_last(values)))
    if len(words) > _MOST_NAMED + 1:
        words = [*words[:_MOST_NAMED], f"{len(words) - _MOST_NAMED} more"]
    return _joined(words, "or")


def _unknown_last(values: Sequence[Value]) -> list[Value]:
    return sorted(values, key=lambda value: value == UNKNOWN)


def _joined(words: Iterable[str], last: str) -> str:
    found = list(words)
    return f" {last} ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)
