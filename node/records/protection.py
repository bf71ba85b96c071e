"""Protective facts: which one is stricter, and which things inherit them.

UNKNOWN never helps release, so it is stricter than what establishes that there is nothing to protect.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from node.wire import codes_pb2
from node.wire.entry_pb2 import Assertion, Assurance, Consent, Entry, Protection

LinkKind: TypeAlias = codes_pb2.LinkKind.ValueType
Role: TypeAlias = codes_pb2.Role.ValueType

_Key = TypeVar("_Key", str, tuple[str, codes_pb2.Purpose.ValueType])
_Given = TypeVar("_Given", Consent, Assurance)

if TYPE_CHECKING:
    from node.wire.entry_pb2 import DateInterval

INHERITING: Final = frozenset({codes_pb2.LINK_KIND_USES, codes_pb2.LINK_KIND_OWNS})
"""Links along which protection goes, from who uses or owns to what is used or owned. No other does: the telephone that
threatened a witness must not be hidden with the witness."""

PROTECTED_ROLES: Final[frozenset[Role]] = frozenset(
    {
        codes_pb2.ROLE_UNKNOWN,
        codes_pb2.ROLE_VICTIM,
        codes_pb2.ROLE_PRESUMED_VICTIM,
        codes_pb2.ROLE_SMUGGLED_MIGRANT,
        codes_pb2.ROLE_WITNESS,
        codes_pb2.ROLE_COMPLAINANT,
        codes_pb2.ROLE_MISSING,
    }
)
"""Roles that protect their bearer, and what the bearer uses or owns. UNKNOWN does: it never helps release."""

UNKNOWN_RANK: Final = 1
"""Rank of a value that `RANKS` does not name, as of a newer contract."""
_TRI: Final[Mapping[int, int]] = {codes_pb2.TRI_NO: 0, codes_pb2.TRI_YES: 2}
RANKS: Final = MappingProxyType[str, Mapping[int, int]](
    {
        "victim": _TRI,
        "age": {codes_pb2.AGE_CLASS_ADULT: 0, codes_pb2.AGE_CLASS_MINOR: 2},
        "asylum": {
            codes_pb2.ASYLUM_STATE_NONE: 0,
            codes_pb2.ASYLUM_STATE_PAST: 2,
            codes_pb2.ASYLUM_STATE_REFUSED: 2,
            codes_pb2.ASYLUM_STATE_CLAIMED: 3,
            codes_pb2.ASYLUM_STATE_RECOGNISED: 3,
        },
        "witness_protection": _TRI,
        "stateless": _TRI,
        "exposure": {
            codes_pb2.EXPOSURE_NONE: 0,
            codes_pb2.EXPOSURE_EXILE: 2,
            codes_pb2.EXPOSURE_JOURNALIST: 2,
            codes_pb2.EXPOSURE_DEFENDER: 2,
            codes_pb2.EXPOSURE_OPPOSITION: 2,
        },
        "torture_derived": _TRI,
    }
)
"""For each fact how much every value protects; 0 where there is nothing to protect."""

_ASSERTED_BY: Final = MappingProxyType(
    {
        "victim": "victim_by",
        "age": "age_by",
        "asylum": "asylum_by",
        "witness_protection": "witness_by",
        "exposure": "exposure_by",
        "torture_derived": "torture_derived_by",
    }
)
RISKS: Final = ("torture_risk", "death_penalty_risk")
"""Lists of recipients where the subject risks something."""

_ADULT_YEARS: Final = 18  # CRC art. 1
_EPOCH: Final = date(1970, 1, 1)
_US_PER_DAY: Final = 86_400_000_000
_NEVER: Final = 2**31  # days; later than any birth of the contract, which has 32 bits
_ALWAYS: Final = -_NEVER


# --- joining ---------------------------------------------------------------------------------------------------------


def strictest(*protections: Protection) -> Protection:
    """Join what is recorded of several subjects, or of one subject at several times, so that nothing gets weaker.

    Of each fact what protects wins: one victim or one child among several suffices. Where a fact has several values
    that protect, as the states of asylum, different ones join to UNKNOWN: none is true of all, a rule may restrict any
    of them, and every restriction takes UNKNOWN for the worst. Lists unite; origins are complete, and a consent is
    given, and an assurance, where all say so.
    """
    joined = Protection()
    for field, ranks in RANKS.items():
        values = {getattr(each, field) for each in protections}
        value = _strictest_value(values, ranks)
        setattr(joined, field, value)
        by = _ASSERTED_BY.get(field)
        if by and (asserted := _assertion(protections, field, value, by)):
            getattr(joined, by).CopyFrom(asserted)
    for field in (*RISKS, "origins"):
        getattr(joined, field).extend(sorted({country for each in protections for country in getattr(each, field)}))
    joined.origins_complete = bool(protections) and all(each.origins_complete for each in protections)
    if asserted := _assertion(protections, "origins_complete", joined.origins_complete, "origins_by"):
        joined.origins_by.CopyFrom(asserted)
    joined.consents.extend(_common_consents(protections))
    joined.assurances.extend(_common_assurances(protections))
    return joined


def _strictest_value(values: set[int], ranks: Mapping[int, int]) -> int:
    kept = {value for value in values if ranks.get(value) != 0} or values
    if len(kept) == 1:
        value = kept.pop()
        return value if value in ranks else 0
    yes = [value for value, rank in ranks.items() if rank > UNKNOWN_RANK]
    return yes[0] if len(yes) == 1 and yes[0] in kept else 0


def _assertion(protections: Iterable[Protection], field: str, value: int, by: str) -> Assertion | None:
    """Who recorded the value that won."""
    for each in protections:
        if getattr(each, field) == value and each.HasField(by):  # type: ignore[arg-type]
            asserted: Assertion = getattr(each, by)
            return asserted
    return None


def _common_consents(protections: tuple[Protection, ...]) -> list[Consent]:
    """Consents in force that every subject gave, for the same recipient and purpose; the last to give it counts."""
    return _common(
        [{(each.recipient, each.purpose): each for each in one.consents if not each.revoked_us} for one in protections]
    )


def _common_assurances(protections: tuple[Protection, ...]) -> list[Assurance]:
    """Assurances in force for every subject, by the same recipient; the last to be given counts."""
    return _common([{each.recipient: each for each in one.assurances if not each.revoked_us} for one in protections])


def _common(given: list[dict[_Key, _Given]]) -> list[_Given]:
    if not given:
        return []
    common = set(given[0]).intersection(*given[1:])
    return [max((each[key] for each in given), key=lambda one: one.given_us) for key in sorted(common)]


# --- inheriting ------------------------------------------------------------------------------------------------------


def subject_protection(entry: Entry) -> Protection | None:
    """All that protects the subject of an entry, as those it uses or owns inherit it.

    The age is that which follows from the recorded birth on the day of recording: who was of age then still is, and who
    was not stays protected until the record is renewed. Nationalities are origins. What the entry itself inherited goes
    on with it, so that a company's lorry is protected with the person who owns the company.

    Returns:
        None where the entry is not about a person, records no protection and inherits none.
    """
    found = [entry.inherited] if entry.HasField("inherited") else []
    if entry.HasField("person") or entry.HasField("protection"):
        own = Protection()
        own.CopyFrom(entry.protection)
        own.age = _age_when_recorded(entry)
        own.origins.extend(sorted(set(entry.person.nationalities).difference(own.origins)))
        found.append(own)
    if not found and (entry.inherited_roles or PROTECTED_ROLES.intersection(entry.roles)):
        found.append(Protection())  # somebody is protected here, and nothing is known of them
    return strictest(*found) if found else None


def inherited_protection(linked: Iterable[tuple[LinkKind, Entry]]) -> Protection | None:
    """Protection that a thing inherits from those that use or own it.

    Links point from who uses to what is used: the entry of a person carries a link USES to the entry of a telephone. So
    for the telephone, `linked` has the entries whose links point to it, each with that link's kind.

    Returns:
        None where nobody with anything to inherit uses or owns it; the entry's `inherited` then stays unset.
    """
    found = [subject_protection(entry) for kind, entry in linked if kind in INHERITING]
    protections = [each for each in found if each is not None]
    return strictest(*protections) if protections else None


def inherited_roles(linked: Iterable[tuple[LinkKind, Entry]]) -> list[Role]:
    """Protected roles of those that use or own a thing, sorted; `linked` as for `inherited_protection`.

    A person without any role passes UNKNOWN on.
    """
    roles: set[Role] = set()
    for kind, entry in linked:
        if kind not in INHERITING:
            continue
        roles.update(role for role in entry.roles if role in PROTECTED_ROLES or role not in codes_pb2.Role.values())
        roles.update(entry.inherited_roles)
        if entry.protection.victim == codes_pb2.TRI_YES:
            roles.add(codes_pb2.ROLE_VICTIM)
        if entry.HasField("person") and not entry.roles:
            roles.add(codes_pb2.ROLE_UNKNOWN)
    return sorted(roles)


# --- age -------------------------------------------------------------------------------------------------------------


def coming_of_age(entry: Entry) -> tuple[int, int]:
    """Days since 1970 from which the subject may be, and from which it is, of age.

    A recorded birth decides over an assessment. An interval that is none tells nothing.
    """
    if entry.HasField("person") and entry.person.HasField("birth"):
        days = _birthdays(entry.person.birth)
        return days or (_ALWAYS, _NEVER)
    if entry.protection.age == codes_pb2.AGE_CLASS_ADULT:
        return _ALWAYS, _ALWAYS
    if entry.protection.age == codes_pb2.AGE_CLASS_MINOR:
        return _NEVER, _NEVER
    return _ALWAYS, _NEVER


def _birthdays(birth: "DateInterval") -> tuple[int, int] | None:
    if birth.first_day > birth.last_day:
        return None
    try:
        return _birthday(birth.first_day), _birthday(birth.last_day)
    except (OverflowError, ValueError):  # outside the calendar
        return None


def _birthday(day: int) -> int:
    born = date.fromordinal(day + _EPOCH.toordinal())
    try:
        of_age = born.replace(year=born.year + _ADULT_YEARS)
    except ValueError:  # 29 February, in a year without one
        of_age = date(born.year + _ADULT_YEARS, 3, 1)
    return of_age.toordinal() - _EPOCH.toordinal()


def _age_when_recorded(entry: Entry) -> codes_pb2.AgeClass.ValueType:
    may_be, surely = coming_of_age(entry)
    # A day earlier, so that the birthday has begun in every time zone.
    day = entry.recorded_us // _US_PER_DAY - 1
    if day >= surely:
        return codes_pb2.AGE_CLASS_ADULT
    return codes_pb2.AGE_CLASS_MINOR if day < may_be else codes_pb2.AGE_CLASS_UNKNOWN


def is_adult_when_recorded(entry: Entry) -> bool:
    """Tell whether the subject was of age on the day of recording, and so ever since."""
    return _age_when_recorded(entry) == codes_pb2.AGE_CLASS_ADULT
