"""What this country may do with another country's entry: every copy is used as its terms say, wherever it is.

The terms are the originator's: obligations, handling code, caveats and retention came with the entry, and this country
has signed that it honours them. What is not known never widens a use.
"""

from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from node.errors import DeniedError
from node.policy.vocabulary import NEVER_LAWFUL
from node.wire import codes_pb2
from node.wire.exchange_pb2 import ReleasedEntry
from node.wire.received_pb2 import ReceivedEntry

UNDATED_DAYS: Final = 30
"""For which a copy is kept that is to be deleted by a date, where its terms name none."""

_DAY_US: Final = 86_400_000_000
_MOST_DAYS: Final = 100 * 366  # so that no peer's number of days leaves the range of a time

_UNLAWFUL: Final = frozenset({0, *(codes_pb2.Purpose.Value(f"PURPOSE_{name}") for name in NEVER_LAWFUL)})
_SEARCHES: Final = frozenset(
    {
        codes_pb2.PURPOSE_MISSING_SEARCH,
        codes_pb2.PURPOSE_VICTIM_ID,
        codes_pb2.PURPOSE_REMAINS_ID,
        codes_pb2.PURPOSE_PROTECT_LIFE,
    }
)
_POLICE: Final = frozenset({codes_pb2.UNIT_TYPE_POLICE_INTELLIGENCE, codes_pb2.UNIT_TYPE_INVESTIGATION})


class Use(NamedTuple):
    """For what somebody reads or searches, and of what unit they are: numbers of the contract, and a unit's name."""

    purpose: int
    unit_type: int
    unit: str


def verify_use(received: ReceivedEntry, use: Use) -> None:
    """Check that an entry's terms allow a use.

    Raises:
        DeniedError: they don't; the text names the term.
    """
    against = next(_against(received, use), None)
    if against is not None:
        raise DeniedError(f"the entry's terms rule this use out: {against}")


def is_usable(received: ReceivedEntry, use: Use) -> bool:
    """Tell the same, for searches, from which an entry is left out in silence."""
    return next(_against(received, use), None) is None


def is_listed(received: ReceivedEntry, use: Use) -> bool:
    """Tell whether a unit may know that the entry is here: its terms allow that unit some use."""
    return next(_against_unit(received, use), None) is None


def _against(received: ReceivedEntry, use: Use) -> Iterator[str]:
    entry, purpose = received.entry, use.purpose
    obligations = frozenset(entry.terms.obligations)
    if purpose not in codes_pb2.Purpose.values() or purpose in _UNLAWFUL:
        # Immigration enforcement is among them, so NO_IMMIGRATION_USE holds whether an entry says it or not.
        yield "the purpose is not lawful here"
    yield from _against_unit(received, use)
    if codes_pb2.OBLIGATION_SEARCH_ONLY in obligations and purpose not in _SEARCHES:
        yield "SEARCH_ONLY"
    if purpose == codes_pb2.PURPOSE_EVIDENCE_MLA:
        if codes_pb2.OBLIGATION_NOT_EVIDENCE in obligations:
            yield "NOT_EVIDENCE"
        if entry.handling == codes_pb2.HANDLING_CODE_H1:
            yield "H1"


def _against_unit(received: ReceivedEntry, use: Use) -> Iterator[str]:
    obligations, caveats = frozenset(received.entry.terms.obligations), frozenset(received.entry.caveats)
    no_immigration = (
        codes_pb2.OBLIGATION_NO_IMMIGRATION_USE in obligations or codes_pb2.CAVEAT_NO_IMMIGRATION_USE in caveats
    )
    # A unit of no known type may be one of immigration.
    if no_immigration and (use.unit_type not in _UNIT_TYPES or use.unit_type == codes_pb2.UNIT_TYPE_IMMIGRATION):
        yield "NO_IMMIGRATION_USE"
    police_only = codes_pb2.OBLIGATION_POLICE_ONLY in obligations or codes_pb2.CAVEAT_POLICE_ONLY in caveats
    if police_only and use.unit_type not in _POLICE:
        yield "POLICE_ONLY"
    if codes_pb2.CAVEAT_NAMED_RECIPIENT in caveats and received.unit not in {"", use.unit}:
        yield "NAMED_RECIPIENT"


_UNIT_TYPES: Final = frozenset(codes_pb2.UnitType.values()) - {codes_pb2.UNIT_TYPE_UNKNOWN}


def delete_at(entry: ReleasedEntry, disclosed_us: int) -> int:
    """Return when an entry's terms demand that it is deleted: UTC microseconds, or 0 where they demand nothing.

    The days count from the disclosure, not from when somebody read or kept it.
    """
    days = entry.terms.retention_days
    demanded = codes_pb2.OBLIGATION_RETENTION in entry.terms.obligations or codes_pb2.CAVEAT_DELETE_BY in entry.caveats
    if not days and demanded:
        days = UNDATED_DAYS
    return disclosed_us + min(days, _MOST_DAYS) * _DAY_US if days else 0


def verify_onward(received: ReceivedEntry, *, recipient: str, consented_to: Collection[str], now_us: int) -> None:
    """Check that another country's entry may go on to a third: never without the originator's consent.

    Args:
        received: As it is kept here.
        recipient: ISO 3166-1 alpha-2.
        consented_to: Whom the originator has named in a signed consent for this entry; the signature was verified, and
            the consent is in force now.
        now_us: UTC microseconds.

    Raises:
        DeniedError: it may not; the text says why.
    """
    if now_us >= received.review_us or (received.delete_us and now_us >= received.delete_us):
        raise DeniedError("the entry is past its date, and is being deleted")
    if recipient in {received.peer, received.originator}:
        raise DeniedError("the entry comes from there")
    if recipient not in consented_to:
        raise DeniedError(f"{received.originator} has not consented that {recipient} gets its entry")
