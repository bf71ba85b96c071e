"""From a query and an entry to the facts that are decided on.

What a query says is the same for all entries that match it, and derived once. What is read of an entry recurs from
entry to entry, once who asserted it and when are left aside; so facts are remembered by it. They are derived from what
was read alone, never from the entry beside it: nothing that is not part of the key can ever change them.
"""

from collections.abc import Collection
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from node.policy import vocabulary
from node.policy.facts import (
    Facts,
    age_fact,
    age_of_birth,
    assurance_fact,
    consent_fact,
    minor_fact,
    origin_fact,
    recorded_fact,
    risk_fact,
    role_fact,
    subjects_of,
    victim_fact,
    words_of,
)
from node.policy.vocabulary import COUNTRIES, UNKNOWN, InstrumentKind
from node.wire import entry_pb2, exchange_pb2

_REMEMBERED: Final = 4096  # facts, and requests; about a kilobyte each

_UNKNOWN_SET: Final = frozenset({UNKNOWN})


# --- of the query ----------------------------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True, cache_hash=True):
    """What is known of a request: the facts that all entries have in common.

    Attributes:
        country: That asks, as its certificate says; `recipient` is UNKNOWN where ISO 3166-1 does not have it.
    """

    country: str
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


def derive_request(
    *,
    recipient: str,
    query: exchange_pb2.Query,
    instruments: Collection[InstrumentKind],
    paired: bool,
    reciprocity: str = UNKNOWN,
    emergency: bool = False,
) -> Request:
    """Facts of a request.

    Args:
        recipient: Country that asks, as its certificate says (ISO 3166-1 alpha-2).
        query: As received and verified.
        instruments: Kinds of the instruments in force between the two countries when it is decided.
        paired: Two focal points of this country have signed the pairing with the recipient.
        reciprocity: YES where the recipient answers what this country asks, by the ledger; NO where it does not.
        emergency: A focal point of this country has declared an emergency towards the recipient.
    """
    return _request(
        recipient,
        tuple(instruments),
        paired,
        query.asker.unit_type,
        query.purpose,
        tuple(query.crimes[:]),
        query.urgency,
        query.ground,
        reciprocity,
        emergency,
    )


@lru_cache(maxsize=_REMEMBERED)
def _request(  # noqa: PLR0917 -- a cache's key
    recipient: str,
    instruments: tuple[int, ...],
    paired: bool,  # noqa: FBT001 -- likewise
    unit_type: int,
    purpose: int,
    crimes: tuple[int, ...],
    urgency: int,
    ground: int,
    reciprocity: str,
    emergency: bool,  # noqa: FBT001 -- likewise
) -> Request:
    return Request(
        country=recipient,
        recipient=recipient if recipient in COUNTRIES else UNKNOWN,
        paired="YES" if paired else "NO",
        unit_type=vocabulary.UNIT_TYPES.get(unit_type, UNKNOWN),
        purpose=vocabulary.PURPOSES.get(purpose, UNKNOWN),
        crime=words_of(crimes, vocabulary.CRIMES) or _UNKNOWN_SET,
        urgency=vocabulary.URGENCIES.get(urgency, UNKNOWN),
        ground=vocabulary.GROUNDS.get(ground, UNKNOWN),
        instrument=words_of(instruments, vocabulary.INSTRUMENT_KINDS) - _UNKNOWN_SET,
        reciprocity=reciprocity,
        emergency="DECLARED" if emergency else "NOT_DECLARED",
    )


# --- of the entry ----------------------------------------------------------------------------------------------------

PROTECTION_CODES: Final = (
    "victim",
    "age",
    "asylum",
    "witness_protection",
    "stateless",
    "exposure",
    "torture_derived",
    "origins_complete",
)
"""Fields of `Protection` that facts are derived from: single ones …"""

PROTECTION_LISTS: Final = ("origins", "torture_risk", "death_penalty_risk")
"""… and lists. With `consents` and `assurances`, whose times make them count or not, these are all but who asserted
them."""

_Codes: TypeAlias = tuple[Any, ...]  # numbers of an enumeration, of this contract's list or not
_Countries: TypeAlias = tuple[str, ...]
_Protection: TypeAlias = tuple[_Codes, _Countries, _Countries, _Countries]

_codes_of: Final = attrgetter(*PROTECTION_CODES)


def derive_facts(request: Request, entry: entry_pb2.Entry, now_us: int) -> Facts:
    """Facts of one entry, asked for by one query.

    Args:
        request: From `derive_request`.
        entry: As stored by its owner.
        now_us: Time of the decision, UTC microseconds.
    """
    record_age = age_fact(entry.recorded_us, now_us)
    holder = entry.WhichOneof("entity")
    born: str | None = None
    nationalities: _Countries = ()
    if holder == "person":
        born, nationalities = _of_person(entry.person, now_us)
    own = entry.protection if entry.HasField("protection") else None
    inherited = entry.inherited if entry.HasField("inherited") else None
    if any(each is not None and (each.consents or each.assurances) for each in (own, inherited)):
        return _derive(request, entry, record_age, born, now_us)  # too rare to be remembered
    read = (
        holder,
        nationalities,
        entry.handling,
        tuple(entry.crimes[:]),
        tuple(entry.caveats[:]),
        tuple(entry.roles[:]),
        tuple(entry.inherited_roles[:]),
        None if own is None else _of_protection(own),
        None if inherited is None else _of_protection(inherited),
    )
    return _remembered(request, record_age, born, read)


class _Read(NamedTuple):
    """What facts are derived from, of an entry without consents and assurances, but for what depends on the time."""

    holder: str | None  # the field of its entity
    nationalities: _Countries  # of a person
    handling: Any  # a number, of this contract's list or not
    crimes: _Codes
    caveats: _Codes
    roles: _Codes
    inherited_roles: _Codes
    own: _Protection | None
    inherited: _Protection | None


def _of_person(person: entry_pb2.Person, now_us: int) -> tuple[str | None, _Countries]:
    born = age_of_birth(person.birth, now_us) if person.HasField("birth") else None
    return born, tuple(person.nationalities[:])


def _of_protection(protection: entry_pb2.Protection) -> _Protection:
    return (
        _codes_of(protection),
        tuple(protection.origins[:]),
        tuple(protection.torture_risk[:]),
        tuple(protection.death_penalty_risk[:]),
    )


def _protection_of(read: _Protection | None) -> entry_pb2.Protection | None:
    if read is None:
        return None
    names = (*PROTECTION_CODES, *PROTECTION_LISTS)
    parts: dict[str, Any] = dict(zip(names, (*read[0], *read[1:]), strict=True))
    return entry_pb2.Protection(**parts)


@lru_cache(maxsize=_REMEMBERED)
def _remembered(request: Request, record_age: int, born: str | None, key: tuple[Any, ...]) -> Facts:
    """Derive facts from an entry that holds what was read (`_Read`), and nothing else."""
    read = _Read._make(key)
    entry = entry_pb2.Entry(
        handling=read.handling,
        crimes=read.crimes,
        caveats=read.caveats,
        roles=read.roles,
        inherited_roles=read.inherited_roles,
        protection=_protection_of(read.own),
        inherited=_protection_of(read.inherited),
    )
    if read.holder is not None:
        getattr(entry, read.holder).SetInParent()
    if read.nationalities:
        entry.person.nationalities.extend(read.nationalities)
    return _derive(request, entry, record_age, born, now_us=0)


def _derive(request: Request, entry: entry_pb2.Entry, record_age: int, born: str | None, now_us: int) -> Facts:
    """Derive facts; `now_us` tells which consents and assurances are in force."""
    holder = entry.WhichOneof("entity")
    kind = vocabulary.KIND_BY_FIELD[holder] if holder else UNKNOWN
    subjects = subjects_of(entry, kind)
    roles = role_fact(entry, kind)
    minor = minor_fact(subjects, born)
    # States of origin even where `origins` forgets them.
    nationalities = entry.person.nationalities if holder == "person" else ()
    return Facts(
        recipient=request.recipient,
        paired=request.paired,
        unit_type=request.unit_type,
        purpose=request.purpose,
        crime=request.crime,
        urgency=request.urgency,
        ground=request.ground,
        instrument=request.instrument,
        reciprocity=request.reciprocity,
        emergency=request.emergency,
        kind=kind,
        record_crime=words_of(entry.crimes, vocabulary.CRIMES) or _UNKNOWN_SET,
        handling=vocabulary.HANDLING_CODES.get(entry.handling, UNKNOWN),
        caveat=words_of(entry.caveats, vocabulary.CAVEATS),
        record_age=record_age,
        role=roles,
        victim=victim_fact(subjects, roles),
        minor=minor,
        asylum=recorded_fact(subjects, "asylum", vocabulary.ASYLUM_STATES, harmless="NONE"),
        witness=recorded_fact(subjects, "witness_protection", vocabulary.TRIS, harmless="NO"),
        exposure=recorded_fact(subjects, "exposure", vocabulary.EXPOSURES, harmless="NONE"),
        stateless=recorded_fact(subjects, "stateless", vocabulary.TRIS, harmless="NO"),
        recipient_is_origin=origin_fact(subjects, nationalities, request.country),
        torture_risk=risk_fact([each.torture_risk for each in subjects], request.country),
        death_penalty=risk_fact([each.death_penalty_risk for each in subjects], request.country),
        torture_derived=recorded_fact(subjects, "torture_derived", vocabulary.TRIS, harmless="NO"),
        assurance=assurance_fact(subjects, request.country, now_us),
        consent=consent_fact(subjects, request.country, request.purpose, minor, now_us),
    )
