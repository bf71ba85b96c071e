"""What the wire contract's descriptors say about the fields of a record.

Everything here is computed once from `proto/node/wire/entry.proto`: which message is which entity kind, which data
categories a kind has, and whether every field says enough about itself to be redacted.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from node.errors import PolicyError
from node.policy.vocabulary import ENTITY_KINDS, Category
from node.wire import codes_pb2, entry_pb2, exchange_pb2, options_pb2

ENTITY_ONEOF: Final = "entity"

_INTEGERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)


def category_of(field: FieldDescriptor) -> Category:
    """Data category of a field, DATA_CATEGORY_UNKNOWN where it states none."""
    return field.GetOptions().Extensions[options_pb2.category]


def generaliser_of(field: FieldDescriptor) -> "options_pb2.Generaliser.ValueType":
    """How a field becomes coarser, GENERALISER_UNKNOWN where it can't."""
    return field.GetOptions().Extensions[options_pb2.generalise]


def is_free_text(field: FieldDescriptor) -> bool:
    """Whether a person must have reviewed the field before it leaves."""
    return field.GetOptions().Extensions[options_pb2.free_text]


def is_internal(field: FieldDescriptor) -> bool:
    """Whether the field never leaves the country."""
    return field.GetOptions().Extensions[options_pb2.internal]


def is_value(message: Descriptor) -> bool:
    """Whether a message is one value, whose parts follow the field that holds it."""
    return message.GetOptions().Extensions[options_pb2.value]


def entity_fields(message: Descriptor) -> Iterator[FieldDescriptor]:
    """The fields of a record that hold its entity."""
    return iter(message.oneofs_by_name[ENTITY_ONEOF].fields)


def common_fields(message: Descriptor) -> Iterator[FieldDescriptor]:
    """The fields of a record that every kind has and that may leave."""
    for field in message.fields:
        if field.containing_oneof is None and not is_internal(field):
            yield field


def message_of(field: FieldDescriptor) -> Descriptor:
    """The message type of a field that holds messages."""
    assert field.message_type is not None
    return field.message_type


def _kind_name(field: FieldDescriptor) -> str:
    return ENTITY_KINDS[message_of(field).GetOptions().Extensions[options_pb2.entity]]


KIND_BY_FIELD: Final[Mapping[str, str]] = MappingProxyType(
    {field.name: _kind_name(field) for field in entity_fields(entry_pb2.Entry.DESCRIPTOR)}
)
"""Name of the field that holds an entity ("telecom") to the name of its kind ("TELECOM")."""

CATEGORIES_BY_KIND: Final[Mapping[str, frozenset[Category]]] = MappingProxyType(
    {
        _kind_name(field): frozenset(category_of(part) for part in message_of(field).fields if not is_internal(part))
        for field in entity_fields(entry_pb2.Entry.DESCRIPTOR)
    }
)
"""Data categories of the fields of each kind of entity."""

COMMON_CATEGORIES: Final = frozenset(category_of(field) for field in common_fields(entry_pb2.Entry.DESCRIPTOR))
"""Data categories of the fields that every entry has, whatever its kind."""


def verify_schema(
    record: Descriptor = entry_pb2.Entry.DESCRIPTOR, released: Descriptor = exchange_pb2.ReleasedEntry.DESCRIPTOR
) -> None:
    """Check that every field of a record can be redacted, and has its counterpart in what leaves.

    Args:
        record: The record as its owner keeps it.
        released: The message that leaves; fields of equal number have equal name and type.

    Raises:
        PolicyError: A field has no category, a kind is unknown or occurs twice, or a generaliser does not fit.
    """
    mistakes: list[str] = []
    for field in common_fields(record):
        mistakes += _field_mistakes(field)
        mistakes += _counterpart_mistakes(field, released)
    kinds: set[str] = set()
    for holder in entity_fields(record):
        kind = _kind_name(holder)
        if kind in kinds or kind == ENTITY_KINDS[0]:
            mistakes.append(f"{holder.full_name}: its message must state an entity kind of its own")
        kinds.add(kind)
        mistakes += _counterpart_mistakes(holder, released)
        for field in message_of(holder).fields:
            mistakes += _field_mistakes(field)
    if mistakes:
        raise PolicyError("the record's schema can't be redacted: " + "; ".join(mistakes))


def _field_mistakes(field: FieldDescriptor) -> Iterator[str]:
    if is_internal(field):
        return
    category = category_of(field)
    if category in {codes_pb2.DATA_CATEGORY_UNKNOWN, codes_pb2.DATA_CATEGORY_EXISTENCE}:
        yield f"{field.full_name}: states no data category"
    if is_free_text(field) and (field.cpp_type != FieldDescriptor.CPPTYPE_STRING or generaliser_of(field)):
        yield f"{field.full_name}: free text is a string without a generaliser"
    if not _generaliser_fits(field):
        yield f"{field.full_name}: its generaliser does not fit its type"
    if field.message_type is not None and field.is_repeated == is_value(field.message_type):
        yield f"{field.full_name}: values come singly, other messages in lists"
    if field.message_type is None:
        return
    for part in field.message_type.fields:
        if not is_value(field.message_type):
            yield from _field_mistakes(part)
        elif part.message_type or part.enum_type or part.is_repeated:
            yield f"{part.full_name}: a part of a value is a single number or text"


def _generaliser_fits(field: FieldDescriptor) -> bool:
    generaliser, message = generaliser_of(field), field.message_type
    fits: dict[int, bool] = {
        options_pb2.GENERALISER_UNKNOWN: True,
        options_pb2.GENERALISER_SAME: message is None,
        options_pb2.GENERALISER_YEAR: message is not None and message.name == "DateInterval",
        options_pb2.GENERALISER_DEGREE: message is not None and message.name == "Coordinates",
        options_pb2.GENERALISER_MONTH: field.cpp_type == FieldDescriptor.CPPTYPE_INT64,
        options_pb2.GENERALISER_PREFIX: field.cpp_type == FieldDescriptor.CPPTYPE_STRING,
        options_pb2.GENERALISER_ORDER: field.cpp_type in _INTEGERS,
    }
    return fits.get(generaliser, False)


def _counterpart_mistakes(field: FieldDescriptor, released: Descriptor) -> Iterator[str]:
    other = released.fields_by_number.get(field.number)
    if other is None or (other.name, other.type, other.message_type, other.enum_type, other.is_repeated) != (
        field.name,
        field.type,
        field.message_type,
        field.enum_type,
        field.is_repeated,
    ):
        yield f"{field.full_name}: has no equal field number {field.number} in {released.full_name}"
