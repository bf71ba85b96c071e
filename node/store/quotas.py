"""What was counted of each quota in the last two days, and what focal points raised.

Queries are counted in memory, where they are answered, and written down here once a second: a crash forgets that
second. Several processes of a node add to the same counts, so each knows what the others have answered but for two
such seconds. Mail is counted here at once, in the transaction that receives it.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from sqlalchemy import Connection, delete, func, insert, select, update

from node.policy.quotas import HOUR_US, HOURS, Quota, error_of, floor_of, reached
from node.store.watch_tables import quota_counts, quota_raises
from node.wire.quota_pb2 import QUOTA_SCOPE_PEER, QuotaScope, QuotaState

Key: TypeAlias = tuple[QuotaScope.ValueType, str, str]
"""Scope, who, what."""

_KEPT: Final = 2 * HOURS
LONGEST_RAISE_US: Final = 31 * HOURS * HOUR_US


def add(connection: Connection, counts: Mapping[tuple[int, Key], int]) -> None:
    """Add to counts, by hour (since 1970) and key, and forget those of before yesterday."""
    held = quota_counts.c
    for (hour, (scope, who, what)), count in counts.items():
        this = (held.hour == hour, held.scope == scope, held.who == who, held.what == what)
        added = update(quota_counts).where(*this).values(count=held["count"] + count)
        if connection.execute(added).rowcount == 0:
            row = {"hour": hour, "scope": scope, "who": who, "what": what, "count": count}
            connection.execute(insert(quota_counts).values(row))
    if counts:
        newest = max(hour for hour, _ in counts)
        connection.execute(delete(quota_counts).where(held.hour < newest - _KEPT))


def counted(connection: Connection, hour: int) -> dict[Key, tuple[int, int]]:
    """Return by key what was counted in this hour, and in its day up to it."""
    held = quota_counts.c
    query = select(held.hour, held.scope, held.who, held.what, held["count"])
    found: dict[Key, tuple[int, int]] = {}
    for row in connection.execute(query.where(held.hour >= hour // HOURS * HOURS, held.hour <= hour)):
        key, count = (QuotaScope.ValueType(row.scope), row.who, row.what), row[4]
        in_hour, in_day = found.get(key, (0, 0))
        found[key] = (in_hour + (count if row.hour == hour else 0), in_day + count)
    return found


def raised(connection: Connection, now_us: int) -> dict[Key, Quota]:
    """Return what is raised now."""
    return {
        (each.scope, each.who, each.what): Quota(each.per_hour, each.per_day) for each in _raises(connection, now_us)
    }


def raise_quota(connection: Connection, state: QuotaState) -> None:
    """Raise a quota until a time, in place of what it was raised to before."""
    held = quota_raises.c
    this = (held.scope == state.scope, held.who == state.who, held.what == state.what)
    values = {
        "per_hour": state.per_hour,
        "per_day": state.per_day,
        "until_us": state.raised_until_us,
        "reason": state.reason,
        "raised_by": state.raised_by,
    }
    if connection.execute(update(quota_raises).where(*this).values(values)).rowcount == 0:
        key = {"scope": state.scope, "who": state.who, "what": state.what}
        connection.execute(insert(quota_raises).values(key | values))


def states(connection: Connection, now_us: int) -> list[QuotaState]:
    """Return how each quota stands of which anything was counted today, or that is raised."""
    raises = {(each.scope, each.who, each.what): each for each in _raises(connection, now_us)}
    counts = counted(connection, now_us // HOUR_US)
    found = []
    for key in sorted(raises.keys() | counts.keys()):
        scope, who, what = key
        in_hour, in_day = counts.get(key, (0, 0))
        held = raises.get(key)
        quota = Quota(held.per_hour, held.per_day) if held else floor_of(scope, what)
        state = QuotaState(
            scope=QuotaScope.ValueType(scope),
            who=who,
            what=what,
            in_hour=in_hour,
            in_day=in_day,
            per_hour=quota.per_hour,
            per_day=quota.per_day,
        )
        if held is not None:
            state.raised_until_us, state.raised_by, state.reason = held.raised_until_us, held.raised_by, held.reason
        found.append(state)
    return found


def take_mail(connection: Connection, peer: str, kind: str, now_us: int) -> None:
    """Count a mail of a peer, in the transaction that receives it; for `apply` of kinds in `node.policy.quotas.MAIL`.

    Args:
        connection: To the main database, in that transaction: if it is rolled back, the mail does not count.
        peer: ISO 3166-1 alpha-2.
        kind: The kind's name, as in `node.policy.quotas.MAIL`.
        now_us: UTC microseconds of this node's clock.

    Raises:
        QuotaError: so much came of it already; the peer is told which quota, and when it renews.
    """
    hour, key = now_us // HOUR_US, (QUOTA_SCOPE_PEER, peer, kind)
    quota = raised(connection, now_us).get(key) or floor_of(QUOTA_SCOPE_PEER, kind)
    in_hour, in_day = _of(connection, key, hour), _of(connection, key, hour, since=hour // HOURS * HOURS)
    told = reached(kind, quota, in_hour, in_day, hour)
    if told is not None:
        raise error_of(told)
    add(connection, {(hour, key): 1})


def _of(connection: Connection, key: Key, hour: int, *, since: int | None = None) -> int:
    held = quota_counts.c
    scope, who, what = key
    this = (held.scope == scope, held.who == who, held.what == what)
    within = held.hour.between(hour if since is None else since, hour)
    total = connection.execute(select(func.sum(held["count"])).where(*this, within)).scalar_one()
    return int(total or 0)


def _raises(connection: Connection, now_us: int) -> Iterable[QuotaState]:
    for row in connection.execute(select(quota_raises).where(quota_raises.c.until_us > now_us)):
        yield QuotaState(
            scope=QuotaScope.ValueType(row.scope),
            who=row.who,
            what=row.what,
            per_hour=row.per_hour,
            per_day=row.per_day,
            raised_until_us=row.until_us,
            raised_by=row.raised_by,
            reason=row.reason,
        )
