"""What leaves of an entry: a message built field by field from an allow-list.

Copying an entry and clearing what must stay would carry along whatever this node does not know: fields of a newer
schema survive in protobuf messages, at any depth. Here nothing of an entry is copied but single values of known fields,
each by a statement that the decision's levels chose. What no statement names stays at home.

What is told beside the entry follows from the decision. It is made once, as a message that this node built from rules
alone, and copied whole: nothing of any record is in it.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from node import schema
from node.errors import PolicyError
from node.policy.decide import ENTRY, HIT, Decision
from node.policy.field_copy import Copier, Copying, Pseudonym
from node.policy.vocabulary import CATEGORIES_BY_KIND, KIND_BY_FIELD, Category, Outcome, Purpose, tier
from node.wire import codes_pb2, entry_pb2, exchange_pb2

_REMEMBERED: Final = 4096  # plans; a few hundred bytes each


def redact(
    entry: entry_pb2.Entry,
    decision: Decision,
    *,
    into: exchange_pb2.ReleasedEntry,
    purpose: Purpose,
    handle: bytes,
    pseudonym: Pseudonym,
) -> None:
    """Write what leaves of an entry.

    Links are left to the caller, who alone knows which other entries the same answer releases.

    Args:
        entry: As its owner keeps it.
        decision: Made on this entry; its outcome is ENTRY.
        into: Where to write; whatever it held is gone.
        purpose: Of the query.
        handle: 16 random bytes for this entry and this recipient.
        pseudonym: See `Pseudonym`.

    Raises:
        PolicyError: the decision does not release the entry; nothing is written.
    """
    holder = entry.WhichOneof("entity")
    if decision.outcome != ENTRY or holder is None:
        raise PolicyError("this decision releases no entry")
    plan = _plan(holder, decision, purpose, entry.text_reviewed)
    into.CopyFrom(plan.told)
    into.handle = handle
    plan.copy(entry, into, pseudonym)


def hit_only(decision: Decision, *, into: exchange_pb2.HitOnly, handle: bytes) -> None:
    """Write what leaves where only the existence of an entry is told.

    Raises:
        PolicyError: the decision does not tell it, or tells more; nothing is written.
    """
    if decision.outcome != HIT:
        raise PolicyError("this decision is no hit")
    into.CopyFrom(_told_of_hit(decision))
    into.handle = handle


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
    return tuple(each for each in sorted(CATEGORIES_BY_KIND[kind]) if ordinary < tier(each) <= _NAMED_UP_TO)


def _terms(decision: Decision) -> exchange_pb2.Terms:
    return exchange_pb2.Terms(obligations=decision.obligations, retention_days=decision.retention_days)


def _grants(decision: Decision) -> list[exchange_pb2.Grant]:
    return [
        exchange_pb2.Grant(rule=each.rule, law=each.law, category=each.category, outcome=each.outcome)
        for each in decision.grants
    ]


# --- plans -----------------------------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    told: exchange_pb2.ReleasedEntry  # terms, grants and what is withheld; never changed
    copy: Copier


@lru_cache(maxsize=_REMEMBERED)
def _plan(holder: str, decision: Decision, purpose: Purpose, reviewed: bool) -> _Plan:  # noqa: FBT001 -- a cache's key
    told = exchange_pb2.ReleasedEntry(
        terms=_terms(decision),
        grants=_grants(decision),
        withheld=withheld_categories(KIND_BY_FIELD[holder], purpose),
    )
    return _Plan(told, _copier(holder, decision.levels, reviewed))


@lru_cache(maxsize=_REMEMBERED)
def _told_of_hit(decision: Decision) -> exchange_pb2.HitOnly:
    return exchange_pb2.HitOnly(terms=_terms(decision), grants=_grants(decision))


@lru_cache(maxsize=_REMEMBERED)
def _copier(
    holder: str,
    levels: tuple[tuple[Category, Outcome], ...],
    reviewed: bool,  # noqa: FBT001 -- a cache's key
) -> Copier:
    return copying_of(holder, dict(levels), reviewed=reviewed).compile()


def copying_of(holder: str, levels: Mapping[Category, Outcome], *, reviewed: bool) -> Copying:
    """What carries an entry of one kind into what leaves.

    Args:
        holder: Field of the entity ("telecom").
        levels: By category; what is not in it is withheld.
        reviewed: A person found the record's free text fit to leave.
    """
    copying = Copying(levels, reviewed=reviewed)
    copying.add_fields(schema.COMMON_FIELDS)
    copying.add_entity(entry_pb2.Entry.DESCRIPTOR.fields_by_name[holder])
    return copying
