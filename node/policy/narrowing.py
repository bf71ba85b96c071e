"""Less than an approval may let leave: what focal points choose of it, and what an emergency alone reaches.

Nothing here makes a decision wider: levels only go to WITHHOLD, obligations and retention stay whole.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from node import schema
from node.errors import PolicyError
from node.policy.decision import ENTRY, HIT, Decision
from node.policy.evaluate import EXISTENCE, REFERENCE, RELEASE, WITHHOLD, evaluate_layer, is_met, join
from node.policy.facts import Facts
from node.policy.rules import Rulebook
from node.policy.vocabulary import CATEGORIES_BY_KIND, Category, Obligation
from node.wire import codes_pb2, entry_pb2
from node.wire.exchange_pb2 import ReleasedEntry

_ALWAYS: Final = frozenset({EXISTENCE, REFERENCE})
_ASYLUM: Final = codes_pb2.DATA_CATEGORY_ASYLUM


def leaving(decision: Decision) -> frozenset[Category]:
    """Categories of which something leaves, but EXISTENCE and REFERENCE, which go with any."""
    return frozenset(category for category, level in decision.levels if level != WITHHOLD) - _ALWAYS


def narrowed(decision: Decision, kind: str, keep: Collection[Category]) -> Decision:
    """Withhold every category but those to keep; EXISTENCE and REFERENCE stay.

    Args:
        decision: An ENTRY or a HIT; a HIT stays as it is.
        kind: Of the entry, as in `Facts.kind`.
        keep: Categories that were chosen.

    Raises:
        PolicyError: nothing leaves by the decision, or nothing of an ENTRY's own kind is chosen.
    """
    if decision.outcome == HIT:
        return decision
    if decision.outcome != ENTRY:
        raise PolicyError("nothing of this entry may leave, whoever approves it")
    stays = frozenset(keep) | _ALWAYS
    levels = tuple((category, level if category in stays else WITHHOLD) for category, level in decision.levels)
    if all(level == WITHHOLD for category, level in levels if category in CATEGORIES_BY_KIND[kind]):
        raise PolicyError("nothing that is chosen may leave of this entry")
    return msgspec.structs.replace(
        decision, levels=levels, grants=tuple(each for each in decision.grants if each.category in stays)
    )


def for_emergency(decision: Decision, kind: str, release: Rulebook) -> Decision:
    """Keep only what a rule marked for emergencies grants, which one focal point may then let leave alone.

    `release` is the rulebook that the decision was made by; else as `narrowed`.

    Raises:
        PolicyError: no such rule grants anything of it.
    """
    marked = {rule.id for rule in release.rules if rule.emergency}
    granted = {each.category for each in decision.grants if each.rule in marked}
    if not granted:
        raise PolicyError("no rule marked for emergencies lets anything of this entry leave")
    return msgspec.structs.replace(narrowed(decision, kind, granted), approvals=1)


def forbidden(floor: Rulebook, facts: Facts, accepted: frozenset[Obligation]) -> tuple[Category, ...]:
    """Categories of this kind of entry that the floor keeps back, in ascending order, whatever a country's rules say.

    That is what it does not grant, or withholds, or draws a red line at that no approval lifts. The floor is in force.
    """
    layer = evaluate_layer(floor, facts, accepted)
    lines = [
        line
        for line in floor.red_lines
        if line.kind == "never_release" and line.at_most == WITHHOLD and is_met(line.when, facts, unknown=True)
    ]
    found = []
    for category in sorted(layer.limits):
        granted = min((level for level, _ in layer.grants.get(category, ())), default=WITHHOLD)
        kept = layer.denied or category == _ASYLUM or any(category in line.data for line in lines)
        if kept or join(layer.limits.get(category, RELEASE), granted) == WITHHOLD:
            found.append(category)
    return tuple(found)


# --- what is in a message --------------------------------------------------------------------------------------------

_COMMON: Final = {field.name: field for field in schema.COMMON_FIELDS}


def categories_in(released: ReleasedEntry) -> frozenset[Category]:
    """Categories of which a released entry says something, but REFERENCE: for whoever got it, to see how much it is."""
    return frozenset(_categories(released)) - _ALWAYS


def _categories(released: ReleasedEntry) -> Iterator[Category]:
    holder = released.WhichOneof("entity")
    for field, value in released.ListFields():
        if field.name == holder:
            yield from _within(value)
        elif field.name in _COMMON and not schema.is_internal(_COMMON[field.name]):
            yield schema.category_of(entry_pb2.Entry.DESCRIPTOR.fields_by_name[field.name])


def _within(message: Message) -> Iterator[Category]:
    for field, value in message.ListFields():
        if field.message_type is None or schema.is_value(field.message_type):
            yield schema.category_of(field)
        else:
            for each in _messages(field, value):
                yield from _within(each)


def _messages(field: FieldDescriptor, value: object) -> Iterable[Message]:
    return value if field.is_repeated else (value,)  # type: ignore[return-value]
