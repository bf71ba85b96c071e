"""Operations that carry one field of a record into the message that leaves."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from node.policy import schema
from node.policy.evaluate import GENERALISE, MASK, PSEUDONYMISE, WITHHOLD, join
from node.policy.facts import PROTECTED_ROLES
from node.policy.generalise import GENERALISERS
from node.policy.treatment import ROLES_FIELD, treatment_of
from node.policy.vocabulary import ROLES, Category, Outcome
from node.wire import options_pb2

MASKED: Final = "***"
"""What stands for a masked text, whatever its length."""

Pseudonym: TypeAlias = Callable[[Category, str], str]
"""From category and value to a pseudonym, keyed per recipient, so that two recipients can't join what they hold."""

Operation: TypeAlias = Callable[[Message, Message, Pseudonym], None]
"""Reads one field of the first message and writes it to the second."""

_Transformation: TypeAlias = Callable[[Any, Pseudonym], Any]
"""From a value to what leaves of it; None for nothing."""

_RELEASABLE_ROLES: Final = frozenset(number for number, name in ROLES.items() if name not in PROTECTED_ROLES)


def operations_of(
    fields: Iterable[FieldDescriptor], levels: Mapping[Category, Outcome], *, reviewed: bool
) -> tuple[Operation, ...]:
    """Operations for those fields of one message that may leave.

    Args:
        fields: Of one message type, each with a category.
        levels: By category; what is not in it is withheld.
        reviewed: A person found the record's free text fit to leave.
    """
    found = []
    for field in fields:
        if schema.is_internal(field):
            continue
        treatment = treatment_of(field, levels.get(schema.category_of(field), WITHHOLD))
        if treatment != WITHHOLD and (reviewed or not schema.is_free_text(field)):
            found.append(_operation(field, treatment, levels, reviewed=reviewed))
    return tuple(found)


def message_operation(name: str, parts: Iterable[Operation]) -> Operation:
    """An operation that builds the message in a field from its parts, and sets it even where nothing of it leaves."""
    operations = tuple(parts)

    def build(source: Message, target: Message, pseudonym: Pseudonym) -> None:
        if source.HasField(name):
            from_part, to_part = getattr(source, name), getattr(target, name)
            to_part.SetInParent()
            for operation in operations:
                operation(from_part, to_part, pseudonym)

    return build


def _operation(
    field: FieldDescriptor, treatment: Outcome, levels: Mapping[Category, Outcome], *, reviewed: bool
) -> Operation:
    message = field.message_type
    if field.enum_type is not None and field.is_repeated:
        known = frozenset(field.enum_type.values_by_number) - {0}
        return _codes_operation(field.name, _RELEASABLE_ROLES if field.name == ROLES_FIELD else known)
    if message is None:
        build = _list_operation if field.is_repeated else _scalar_operation
        return build(field.name, _transformation(field, treatment))
    if schema.is_value(message):
        if treatment == GENERALISE:
            return _generalised_message(field.name, GENERALISERS[schema.generaliser_of(field)])
        return message_operation(field.name, [_scalar_operation(part.name, None) for part in message.fields])
    # A part of a record leaves at most at the level of the field that holds it.
    capped = {category: join(level, treatment) for category, level in levels.items()}
    return _list_of_messages(field.name, operations_of(message.fields, capped, reviewed=reviewed), treatment)


def _transformation(field: FieldDescriptor, treatment: Outcome) -> _Transformation | None:
    """None where the value leaves as it stands."""
    category = schema.category_of(field)
    if treatment == MASK:
        return lambda _value, _pseudonym: MASKED
    if treatment == PSEUDONYMISE:
        return lambda value, pseudonym: pseudonym(category, value)
    if field.enum_type is not None:
        # A number that is in nobody's list could carry anything; it reads as UNKNOWN, which is not sent.
        known = frozenset(field.enum_type.values_by_number) - {0}
        return lambda value, _pseudonym: value if value in known else None
    if treatment == GENERALISE and schema.generaliser_of(field) != options_pb2.GENERALISER_SAME:
        generalise = GENERALISERS[schema.generaliser_of(field)]
        return lambda value, _pseudonym: generalise(value)
    return None


def _scalar_operation(name: str, transformation: _Transformation | None) -> Operation:
    def copy(source: Message, target: Message, _pseudonym: Pseudonym) -> None:
        value = getattr(source, name)
        if value:
            setattr(target, name, value)

    def transform(source: Message, target: Message, pseudonym: Pseudonym) -> None:
        assert transformation is not None
        value = getattr(source, name)
        if value and (changed := transformation(value, pseudonym)) is not None:
            setattr(target, name, changed)

    return copy if transformation is None else transform


def _list_operation(name: str, transformation: _Transformation | None) -> Operation:
    def copy(source: Message, target: Message, _pseudonym: Pseudonym) -> None:
        values = getattr(source, name)
        if values:
            getattr(target, name).extend(values)

    def transform(source: Message, target: Message, pseudonym: Pseudonym) -> None:
        assert transformation is not None
        values = getattr(source, name)
        if values:
            changed = [transformation(value, pseudonym) for value in values]
            # Each once: how many telephones share a calling code, or lie behind a mask, is told by no outcome.
            getattr(target, name).extend(dict.fromkeys(each for each in changed if each is not None))

    return copy if transformation is None else transform


def _codes_operation(name: str, releasable: frozenset[int]) -> Operation:
    def build(source: Message, target: Message, _pseudonym: Pseudonym) -> None:
        codes = getattr(source, name)
        if codes:
            getattr(target, name).extend([code for code in codes if code in releasable])

    return build


def _generalised_message(name: str, generalise: Callable[..., object]) -> Operation:
    def build(source: Message, target: Message, _pseudonym: Pseudonym) -> None:
        if source.HasField(name) and (changed := generalise(getattr(source, name))) is not None:
            getattr(target, name).CopyFrom(changed)

    return build


def _list_of_messages(name: str, parts: tuple[Operation, ...], treatment: Outcome) -> Operation:
    def build(source: Message, target: Message, pseudonym: Pseudonym) -> None:
        built = getattr(target, name)
        for each in getattr(source, name):
            new = type(each)()
            for operation in parts:
                operation(each, new, pseudonym)
            if new.ByteSize():
                built.append(new)
                if treatment == MASK:  # how many there are is not told
                    return

    return build
