"""How much may be asked in an hour and in a day: the floor, which is published and holds for every country.

Calendar hours and days, UTC, so that when a quota renews follows from the clock alone. Queries that are urgent for a
life have a quota of their own, of whatever purpose they are: no others use it up.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from node.errors import DayQuotaError, QuotaError
from node.policy.vocabulary import PURPOSES
from node.wire.codes_pb2 import URGENCY_LIFE
from node.wire.quota_pb2 import (
    QUOTA_SCOPE_OFFICER,
    QUOTA_SCOPE_PEER,
    QUOTA_SCOPE_UNIT,
    QuotaReached,
    QuotaScope,
)

HOUR_US: Final = 3_600_000_000
HOURS: Final = 24
LIFE: Final = "LIFE"
GUESSES_COST: Final = 50
"""Queries that a run of guesses counts as, besides itself."""


class Quota(NamedTuple):
    """How much of something may be asked in an hour, and in a day."""

    per_hour: int
    per_day: int


_QUERIES: Final[Mapping[int, Quota]] = MappingProxyType(
    {
        QUOTA_SCOPE_PEER: Quota(2_000, 20_000),
        QUOTA_SCOPE_UNIT: Quota(1_000, 8_000),
        QUOTA_SCOPE_OFFICER: Quota(400, 3_000),
    }
)
MAIL: Final[Mapping[str, Quota]] = MappingProxyType(
    {"follow_up_request": Quota(500, 3_000), "share": Quota(1_000, 10_000), "alert": Quota(500, 3_000)}
)
"""What a peer may send of each kind of mail that makes this country work; other kinds answer, and have none."""

WHATS: Final = frozenset({LIFE, *PURPOSES.values(), *MAIL})
"""All that a quota may be of."""


def what_of(purpose: int, urgency: int) -> str:
    """Return which quota a query counts against."""
    return LIFE if urgency == URGENCY_LIFE else PURPOSES.get(purpose, "UNKNOWN")


def floor_of(scope: int, what: str) -> Quota:
    """Return the quota that nobody has raised."""
    return MAIL.get(what) or _QUERIES[scope]


def reached(what: str, quota: Quota, in_hour: int, in_day: int, hour: int) -> QuotaReached | None:
    """Return which of the two is used up in an hour (since 1970), the one that lasts longer first; None: neither is."""
    if in_day >= quota.per_day:
        renews = (hour // HOURS + 1) * HOURS
        return QuotaReached(what=what, hours=HOURS, limit=quota.per_day, renews_us=renews * HOUR_US)
    if in_hour >= quota.per_hour:
        return QuotaReached(what=what, hours=1, limit=quota.per_hour, renews_us=(hour + 1) * HOUR_US)
    return None


def words_of(told: QuotaReached) -> str:
    """Say in a sentence which quota is used up and when it renews."""
    hour = told.renews_us // HOUR_US % HOURS
    period = "an hour" if told.hours == 1 else "a day"
    return f"the quota of {told.limit} {told.what} {period} is used up: it renews at {hour:02}:00 UTC"


def error_of(told: QuotaReached, whose: str = "") -> QuotaError:
    """Return the error: in full for this country, and for a peer which of its two quotas it is."""
    return (QuotaError if told.hours == 1 else DayQuotaError)(f"{whose}{words_of(told)}")


def scope_word(scope: QuotaScope.ValueType) -> str:
    """Return a scope as a word: "peer"."""
    return QuotaScope.Name(scope).removeprefix("QUOTA_SCOPE_").lower()
