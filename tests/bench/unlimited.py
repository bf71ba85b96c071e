"""Who measures asks more in a minute than a country does in a day: quotas are raised, as a focal point would."""

from collections.abc import Iterable
from itertools import product

from sqlalchemy import Connection

from node.policy.vocabulary import PURPOSES
from node.store.quotas import raise_quota
from node.wire.quota_pb2 import QUOTA_SCOPE_OFFICER, QUOTA_SCOPE_PEER, QUOTA_SCOPE_UNIT, QuotaScope, QuotaState
from tests.world import DAY_US, Place, now_us

_MUCH = 10_000_000


def unlimited(place: Place, peers: Iterable[str]) -> None:
    """Raise the quotas of these peers, and of the analyst and their unit, at a node that is down."""
    own = ((QUOTA_SCOPE_UNIT, "UNIT-1"), (QUOTA_SCOPE_OFFICER, "analyst"))
    whose: list[tuple[QuotaScope.ValueType, str]] = [*own, *((QUOTA_SCOPE_PEER, peer) for peer in peers)]

    def change(connection: Connection) -> None:
        for (scope, who), what in product(whose, ("LIFE", *PURPOSES.values())):
            state = QuotaState(
                scope=scope,
                who=who,
                what=what,
                per_hour=_MUCH,
                per_day=_MUCH,
                raised_until_us=now_us() + DAY_US,
                reason="bench",
                raised_by="focal",
            )
            raise_quota(connection, state)

    place.change(change)
