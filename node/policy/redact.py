"""What leaves of an entry: a new message, built field by field from an allow-list.

Copying an entry and clearing what must stay would carry along whatever this node does not know: fields of a newer
schema survive in protobuf messages, at any depth. Here nothing is copied but single values of known fields, each by an
operation that the decision's levels chose. What no operation names stays at home.

Operations are computed once for each kind of entry and vector of levels, from the descriptors.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from node.errors import PolicyError
from node.policy import schema
from node.policy.decide import ENTRY, HIT, Decision
from node.policy.field_copy import Operation, Pseudonym, message_operation, operations_of
from node.policy.vocabulary import Category, Outcome, Purpose, tier
from node.wire import codes_pb2, entry_pb2, exchange_pb2

_REMEMBERED: Final = 4096  # plans; a few hundred bytes each


def redact(
    entry: entry_pb2.Entry, decision: Decision, *, purpose: Purpose, handle: bytes, pseudonym: Pseudonym
) -> exchange_pb2.ReleasedEntry:
    """Build what leaves of an entry.

    Links are left to the caller, who alone knows which other entries the same answer releases.

    Args:
        entry: As its owner keeps it.
        decision: Made on this entry; its outcome is ENTRY.
        purpose: Of the query.
        handle: 16 random bytes for this entry and this recipient.
        pseudonym: See `Pseudonym`.

    Raises:
        PolicyError: The decision does not release the entry.
    """
    holder = entry.WhichOneof("entity")
    if decision.outcome != ENTRY or holder is None:
        raise PolicyError("this decision releases no entry")
    plan = _plan(holder, decision, purpose, entry.text_reviewed)
    released = exchange_pb2.ReleasedEntry.FromString(plan.header)
    released.handle = handle
    for operation in plan.operations:
        operation(entry, released, pseudonym)
    return released


def hit_only(decision: Decision, *, handle: bytes) -> exchange_pb2.HitOnly:
    """Build what leaves where only the existence of an entry is told.

    Raises:
        PolicyError: The decision does not tell it, or tells more.
    """
    if decision.outcome != HIT:
        raise PolicyError("this decision is no hit")
    return exchange_pb2.HitOnly(handle=handle, terms=_terms(decision), grants=_grants(decision))


# --- what every recipient is told ------------------------------------------------------------------------------------

# Tier of harm up to which data are part of an ordinary answer, by purpose; what lies above is asked for separately.
_ORDINARY_TIER: Final = {
    codes_pb2.PURPOSE_PREVENT: 1,
    codes_pb2.PURPOSE_TREND: 1,
    codes_pb2.PURPOSE_DISRUPT: 2,
    codes_pb2.PURPOSE_INVESTIGATE: 3,
    codes_pb2.PURPOSE_VICTIM_ID: 3,
    codes_pb2.PURPOSE_MISSING_SEARCH: 3,
    codes_pb2.PURPOSE_REMAINS_ID: 3,
    codes_pb2.PURPOSE_PROTECT_LIFE: 3,
    codes_pb2.PURPOSE_EVIDENCE_MLA: 3,
}
_NAMED_UP_TO: Final = 4  # tier 5 is never named: that there is such data at all is what it protects


def withheld_categories(kind: str, purpose: Purpose) -> tuple[Category, ...]:
    """Categories that an ordinary answer about this kind of entry leaves out for this purpose, in ascending order.

    Static: neither what is recorded, nor what the rules decided, changes it, so that it tells nothing of either.

    Args:
        kind: A word of the vocabulary, as in `Facts.kind`.
        purpose: Of the query.
    """
    ordinary = _ORDINARY_TIER.get(purpose, 0)
    return tuple(each for each in sorted(schema.CATEGORIES_BY_KIND[kind]) if ordinary < tier(each) <= _NAMED_UP_TO)


def _terms(decision: Decision) -> exchange_pb2.Terms:
    return exchange_pb2.Terms(obligations=decision.obligations, retention_days=decision.retention_days)


def _grants(decision: Decision) -> list[exchange_pb2.Grant]:
    return [
        exchange_pb2.Grant(rule=each.rule, law=each.law, category=each.category, outcome=each.outcome)
        for each in decision.grants
    ]


# --- plans -----------------------------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    header: bytes  # a ReleasedEntry with terms, grants and what is withheld
    operations: tuple[Operation, ...]


@lru_cache(maxsize=_REMEMBERED)
def _plan(holder: str, decision: Decision, purpose: Purpose, reviewed: bool) -> _Plan:  # noqa: FBT001 -- a cache's key
    header = exchange_pb2.ReleasedEntry(
        terms=_terms(decision),
        grants=_grants(decision),
        withheld=withheld_categories(schema.KIND_BY_FIELD[holder], purpose),
    )
    return _Plan(header.SerializeToString(), _operations(holder, decision.levels, reviewed))


@lru_cache(maxsize=_REMEMBERED)
def _operations(
    holder: str,
    levels: tuple[tuple[Category, Outcome], ...],
    reviewed: bool,  # noqa: FBT001 -- a cache's key
) -> tuple[Operation, ...]:
    by_category = dict(levels)
    record = entry_pb2.Entry.DESCRIPTOR
    common = operations_of(schema.common_fields(record), by_category, reviewed=reviewed)
    entity = schema.message_of(record.fields_by_name[holder])
    return (*common, message_operation(holder, operations_of(entity.fields, by_category, reviewed=reviewed)))
