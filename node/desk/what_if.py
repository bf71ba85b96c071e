"""A query that nobody puts, and the facts that it would be decided on."""

from bisect import bisect_right
from collections.abc import Sequence
from difflib import get_close_matches

import msgspec

from node.errors import UsageError
from node.federation.standing import Standing
from node.policy.derive import derive_facts, derive_request
from node.policy.facts import UNKNOWN_AGE, Facts
from node.policy.vocabulary import AGE_BOUNDS, DIMENSIONS, UNKNOWN
from node.wire.codes_pb2 import UnitType, Urgency
from node.wire.directory_pb2 import Instrument
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Asker, Query
from node.wire.explaining_pb2 import Fact, WhatIf


def query_of(asked: WhatIf, entry: Entry, in_force: Sequence[Instrument]) -> Query:
    """Return the query.

    What it leaves open is filled in: the record's own crimes, police intelligence, no haste, and the first instrument
    in force.
    """
    return Query(
        purpose=asked.purpose,
        crimes=asked.crimes or entry.crimes,
        urgency=asked.urgency or Urgency.URGENCY_ROUTINE,
        ground=asked.ground,
        instrument=asked.instrument or (in_force[0].id if in_force else ""),
        asker=Asker(unit_type=asked.unit_type or UnitType.UNIT_TYPE_POLICE_INTELLIGENCE),
    )


def facts_of(asked: WhatIf, query: Query, entry: Entry, standing: Standing, now_us: int) -> Facts:
    """Return the facts: what is known of query and entry, but for those that were given instead.

    Without an entry, all that is not given is UNKNOWN.

    Raises:
        UsageError: a fact was given that is not in the vocabulary; the text says what is.
    """
    peer = asked.recipient
    in_force = standing.instruments_with(peer, now_us)
    request = derive_request(
        recipient=peer,
        query=query,
        instruments=[each.kind for each in in_force if each.id == query.instrument],
        paired=standing.trust.is_paired(peer),
        reciprocity=standing.reciprocity_of(peer),
        emergency=standing.is_emergency(peer, now_us),
    )
    given = dict(_given(each) for each in asked.facts)
    return msgspec.structs.replace(derive_facts(request, entry, now_us), **given)


def _given(fact: Fact) -> tuple[str, str | int | frozenset[str]]:
    name, values = fact.dimension, list(fact.values)
    dimension = DIMENSIONS.get(name)
    if dimension is None or name == "recipient":
        near = get_close_matches(name, [each for each in DIMENSIONS if each != "recipient"])
        raise UsageError(f"fact: there is none of this name{f'; did you mean {near[0]}?' if near else ''}")
    if not dimension.values:
        return name, _age(values)
    if not set(values) <= set(dimension.values) or (len(values) != 1 and not dimension.many):
        raise UsageError(f"fact: {name} is {'some' if dimension.many else 'one'} of {', '.join(dimension.values)}")
    return name, frozenset(values) if dimension.many else values[0]


def _age(values: Sequence[str]) -> int:
    """Read a record's age in days as its class."""
    if list(values) == [UNKNOWN]:
        return UNKNOWN_AGE
    if len(values) != 1 or not values[0].isascii() or not values[0].isdecimal():
        raise UsageError(f"fact: record_age is a number of days, or {UNKNOWN}")
    return AGE_BOUNDS[bisect_right(AGE_BOUNDS, int(values[0])) - 1]
