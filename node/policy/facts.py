"""What is known of a request and of an entry when it is decided whether anything leaves.

Each fact comes from a small function of its own; `derive` calls them all. What is not recorded is UNKNOWN, which never
helps release; what can't be asked of this kind of entry is NOT_APPLICABLE. The strictest subject along "uses" and
"owns" links counts: the store writes its protection into the entry (`inherited`, `inherited_roles`) in the same
transaction.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from node.errors import PolicyError
from node.policy import vocabulary
from node.policy.vocabulary import AGE_BOUNDS, COUNTRIES, DIMENSIONS, NOT_APPLICABLE, UNKNOWN
from node.wire import codes_pb2, entry_pb2

PROTECTED_ROLES: Final = frozenset(
    {UNKNOWN, "VICTIM", "PRESUMED_VICTIM", "SMUGGLED_MIGRANT", "WITNESS", "COMPLAINANT", "MISSING"}
)
"""Roles that protect: they never leave, and things inherit them."""

VICTIM_ROLES: Final = frozenset({"VICTIM", "PRESUMED_VICTIM"})

UNKNOWN_AGE: Final = -1
"""`Facts.record_age` of a record without a believable date."""

_ADULT_YEARS: Final = 18  # CRC art. 1
_EPOCH: Final = date(1970, 1, 1)
_FIRST_DAY: Final = (date.min - _EPOCH).days
_US_PER_DAY: Final = 86_400_000_000
_LAST_TIME_ZONE_US: Final = 12 * 3_600_000_000  # where a day begins last, UTC-12

_EMPTY: Final[frozenset[str]] = frozenset()
_NONE: Final = frozenset({NOT_APPLICABLE})
_UNKNOWN_SET: Final = frozenset({UNKNOWN})
# Legal persons and groups may be suspects, but have no age, no asylum and no origin.
_LEGAL_PERSONS: Final = frozenset({"ORGANISATION", "GROUP"})


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, cache_hash=True):
    """One situation to decide on; fields are the dimensions of `node.policy.vocabulary`, in their order.

    All values are words of the vocabulary. `record_age` is the lower bound, in days, of the record's class of age
    (`AGE_BOUNDS`), or `UNKNOWN_AGE`.
    """

    recipient: str
    paired: str
    unit_type: str
    purpose: str
    crime: frozenset[str]
    urgency: str
    ground: str
    instrument: frozenset[str]
    reciprocity: str
    emergency: str
    kind: str
    record_crime: frozenset[str]
    handling: str
    caveat: frozenset[str]
    record_age: int
    role: frozenset[str]
    victim: str
    minor: str
    asylum: str
    witness: str
    exposure: str
    stateless: str
    recipient_is_origin: str
    torture_risk: str
    death_penalty: str
    torture_derived: str
    assurance: str
    consent: str


@lru_cache(maxsize=4096)
def encode_facts(facts: Facts) -> bytes:
    """Serialise facts for replay: MessagePack, a map by field name. Equal facts are equal bytes."""
    return _ENCODER.encode(facts)


def parse_facts(data: bytes) -> Facts:
    """Read facts back.

    Raises:
        PolicyError: the bytes are not facts, or hold a word that is not in this node's vocabulary.
    """
    try:
        facts = _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise PolicyError(f"these bytes are not facts: {error}") from error
    for name, dimension in DIMENSIONS.items():
        value = getattr(facts, name)
        if isinstance(value, int):
            known = value == UNKNOWN_AGE or value in AGE_BOUNDS
        else:
            known = (value if dimension.many else {value}) <= _KNOWN[name]
        if not known:
            raise PolicyError(f"the facts' {name} is not in the vocabulary of this node")
    return facts


_KNOWN: Final = {name: frozenset(dimension.values) for name, dimension in DIMENSIONS.items()}
_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(Facts)


# --- whose protection counts -----------------------------------------------------------------------------------------


def subjects_of(entry: entry_pb2.Entry, kind: str) -> tuple[entry_pb2.Protection, ...]:
    """Protections that bear on an entry; none where it is not about a person and inherits from none.

    A person always has one, though nothing be recorded in it. So has a thing that states a role: whoever wrote it knew
    of a subject.
    """
    found = []
    if kind in {"PERSON", UNKNOWN} or entry.HasField("protection"):
        found.append(entry.protection)
    if entry.HasField("inherited"):
        found.append(entry.inherited)
    if not found and (entry.inherited_roles or (entry.roles and kind not in _LEGAL_PERSONS)):
        found.append(entry.protection)
    return tuple(found)


def strictest(values: Sequence[str], *, harmless: str) -> str:
    """Join what is recorded of several subjects.

    Values that differ and are not harmless join to UNKNOWN, which every restriction takes for the worst.
    """
    if len(values) == 1:
        return values[0]
    distinct = set(values)
    if not distinct:
        return NOT_APPLICABLE
    if len(distinct) > 1:
        distinct.discard(harmless)
    return distinct.pop() if len(distinct) == 1 else UNKNOWN


def recorded_fact(
    subjects: Iterable[entry_pb2.Protection], field: str, words: Mapping[int, str], *, harmless: str
) -> str:
    """Join the codes of one field over all subjects, in words."""
    return strictest([words.get(getattr(each, field), UNKNOWN) for each in subjects], harmless=harmless)


def words_of(numbers: Collection[int], words: Mapping[int, str]) -> frozenset[str]:
    """Codes in words; what this node does not know is UNKNOWN."""
    return frozenset([words.get(number, UNKNOWN) for number in numbers]) if numbers else _EMPTY


# --- one fact each ---------------------------------------------------------------------------------------------------


def role_fact(entry: entry_pb2.Entry, kind: str) -> frozenset[str]:
    """Roles of the subject and of those that use or own the thing; a subject recorded as a victim is one."""
    roles = words_of([*entry.roles, *entry.inherited_roles], vocabulary.ROLES)
    if codes_pb2.TRI_YES in {entry.protection.victim, entry.inherited.victim} and roles.isdisjoint(VICTIM_ROLES):
        roles |= {"VICTIM"}
    return roles or (_UNKNOWN_SET if kind in {"PERSON", UNKNOWN} else _NONE)


def victim_fact(subjects: Iterable[entry_pb2.Protection], roles: frozenset[str]) -> str:
    """YES as soon as a role or a record says so; NO only where it is recorded."""
    if not roles.isdisjoint(VICTIM_ROLES):
        return "YES"
    return recorded_fact(subjects, "victim", vocabulary.TRIS, harmless="NO")


def age_fact(recorded_us: int, now_us: int) -> int:
    """Class of the record's age: the greatest bound of `AGE_BOUNDS` that it has reached, in whole days."""
    if not 0 < recorded_us <= now_us:
        return UNKNOWN_AGE
    return AGE_BOUNDS[bisect_right(AGE_BOUNDS, (now_us - recorded_us) // _US_PER_DAY) - 1]


def minor_fact(subjects: Collection[entry_pb2.Protection], born: str | None) -> str:
    """Whether the subject is a child now (CRC art. 1).

    A recorded birth decides over an assessment.

    Args:
        subjects: See `subjects_of`; the entry's own comes first.
        born: What `age_of_birth` says of the recorded birth of the person that the entry is; None without one.
    """
    found = [_AGE_WORDS.get(each.age, UNKNOWN) for each in subjects]
    if born is not None and found:
        found[0] = born
    return strictest(found, harmless="IS_ADULT")


_AGE_WORDS: Final = {codes_pb2.AGE_CLASS_MINOR: "IS_MINOR", codes_pb2.AGE_CLASS_ADULT: "IS_ADULT"}


def age_of_birth(birth: entry_pb2.DateInterval, now_us: int) -> str:
    """IS_MINOR, IS_ADULT, or UNKNOWN where the interval straddles 18 or is no interval.

    A birthday counts from when its day has begun in every time zone.
    """
    first, last = birth.first_day, birth.last_day
    today = (now_us - _LAST_TIME_ZONE_US) // _US_PER_DAY
    if not _FIRST_DAY <= first <= last <= today:
        return UNKNOWN
    latest = _latest_adult_birth(today)
    if latest is None:
        return UNKNOWN
    if last <= latest:
        return "IS_ADULT"
    return "IS_MINOR" if first > latest else UNKNOWN


@lru_cache(maxsize=16)
def _latest_adult_birth(today: int) -> int | None:
    """The last day, since the epoch, on which somebody who is an adult today may be born; None off the calendar."""
    try:
        day = _EPOCH + timedelta(days=today)
        year = day.year - _ADULT_YEARS
        # Born on 29 February: of age on 1 March of a year without one. So on 29 February nobody comes of age whose
        # year of birth had none.
        is_leap_day = (day.month, day.day) == (2, 29)
        return ((date(year, 2, 28) if is_leap_day else day.replace(year=year)) - _EPOCH).days
    except (OverflowError, ValueError):
        return None


def origin_fact(subjects: Collection[entry_pb2.Protection], nationalities: Collection[str], recipient: str) -> str:
    """Whether the recipient is a state of origin: of birth, nationality, habitual residence, or feared.

    NOT_ORIGIN needs origins recorded as complete, each a country that this node knows.
    """
    if not subjects:
        return NOT_APPLICABLE
    named = [*nationalities]
    told = True
    for each in subjects:
        named += each.origins
        told = told and each.origins_complete and bool(each.origins)
    if recipient in named:
        return "IS_ORIGIN"
    return "NOT_ORIGIN" if told and COUNTRIES.issuperset(named) else UNKNOWN


def risk_fact(recipients: Sequence[Collection[str]], recipient: str) -> str:
    """AT_RISK where any subject risks it with this recipient.

    Else NOT_RECORDED, a word of its own: the record lists risks and can't say that there is none.
    """
    if not recipients:
        return NOT_APPLICABLE
    return "AT_RISK" if any(recipient in each for each in recipients) else "NOT_RECORDED"


def consent_fact(
    subjects: Collection[entry_pb2.Protection], recipient: str, purpose: str, minor: str, now_us: int
) -> str:
    """Whether every subject's consent is on record, by the originator, for this recipient and purpose, and not revoked.

    Void for children, and for whoever may be one. What the asker says of consent is `ground`, never this.
    """
    if not subjects:
        return NOT_APPLICABLE
    given = minor == "IS_ADULT" and all(
        any(
            consent.recipient == recipient
            and vocabulary.PURPOSES.get(consent.purpose) == purpose != UNKNOWN
            and _is_in_force(consent, now_us)
            for consent in each.consents
        )
        for each in subjects
    )
    return "RECORDED_BY_ORIGINATOR" if given else "NOT_RECORDED"


def assurance_fact(subjects: Collection[entry_pb2.Protection], recipient: str, now_us: int) -> str:
    """Whether the recipient's assurance against the death penalty is on record for every subject, and not revoked."""
    if not subjects:
        return NOT_APPLICABLE
    given = all(
        any(each.recipient == recipient and _is_in_force(each, now_us) for each in subject.assurances)
        for subject in subjects
    )
    return "GIVEN" if given else "NOT_GIVEN"


def _is_in_force(given: entry_pb2.Consent | entry_pb2.Assurance, now_us: int) -> bool:
    return 0 < given.given_us <= now_us and given.revoked_us == 0
