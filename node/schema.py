"""What the wire contract's descriptors say of a record's fields: category, look-up kind, generaliser, free text.

Everything here is read once from the custom options of `proto/node/wire/entry.proto`. Redaction, indexing, the policy
vocabulary and what is shown to people follow it; nobody else reads the options.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from node.errors import SchemaError
from node.wire import codes_pb2, entry_pb2, exchange_pb2, options_pb2

EntityKind: TypeAlias = codes_pb2.EntityKind.ValueType
Category: TypeAlias = codes_pb2.DataCategory.ValueType
LookupKind: TypeAlias = codes_pb2.LookupKind.ValueType
Generaliser: TypeAlias = options_pb2.Generaliser.ValueType

ENTITY_ONEOF: Final = "entity"

_ENTRY: Final = entry_pb2.Entry.DESCRIPTOR
_NO_CATEGORY: Final = frozenset({codes_pb2.DATA_CATEGORY_UNKNOWN, codes_pb2.DATA_CATEGORY_EXISTENCE})
_INTEGERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)


# --- of one field or message -----------------------------------------------------------------------------------------


def category_of(field: FieldDescriptor) -> Category:
    """Data category of a field, DATA_CATEGORY_UNKNOWN where it states none."""
    return field.GetOptions().Extensions[options_pb2.category]


def lookup_of(field: FieldDescriptor) -> LookupKind:
    """By which kind of key a field is found, LOOKUP_KIND_UNKNOWN where it can't be searched."""
    return field.GetOptions().Extensions[options_pb2.lookup]


def generaliser_of(field: FieldDescriptor) -> Generaliser:
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


def message_of(field: FieldDescriptor) -> Descriptor:
    """The message type of a field that holds messages."""
    assert field.message_type is not None
    return field.message_type


# --- of records ------------------------------------------------------------------------------------------------------


def entity_fields(record: Descriptor) -> Iterator[FieldDescriptor]:
    """The fields of a record that hold its entity, in the order of the contract."""
    return iter(record.oneofs_by_name[ENTITY_ONEOF].fields)


def common_fields(record: Descriptor) -> Iterator[FieldDescriptor]:
    """The other fields of a record, which every kind has, internal ones included."""
    for field in record.fields:
        if field.containing_oneof is None or field.containing_oneof.name != ENTITY_ONEOF:
            yield field


def _kind(holder: FieldDescriptor) -> EntityKind:
    return message_of(holder).GetOptions().Extensions[options_pb2.entity]


def _categories(fields: tuple[FieldDescriptor, ...]) -> frozenset[Category]:
    return frozenset(category_of(field) for field in fields if not is_internal(field))


KIND_BY_HOLDER: Final[Mapping[str, EntityKind]] = MappingProxyType(
    {holder.name: _kind(holder) for holder in entity_fields(_ENTRY)}
)
"""Name of the field of `Entry` that holds the entity ("telecom") to its kind."""

FIELDS: Final[Mapping[EntityKind, tuple[FieldDescriptor, ...]]] = MappingProxyType(
    {_kind(holder): tuple(message_of(holder).fields) for holder in entity_fields(_ENTRY)}
)
"""Fields of each kind of entity, in the order of the contract."""

COMMON_FIELDS: Final = tuple(common_fields(_ENTRY))
"""Fields that every entry has, whatever its kind, internal ones included."""

CATEGORIES: Final[Mapping[EntityKind, frozenset[Category]]] = MappingProxyType(
    {kind: _categories(fields) for kind, fields in FIELDS.items()}
)
"""Data categories of the fields of each kind that may leave."""

COMMON_CATEGORIES: Final = _categories(COMMON_FIELDS)
"""Data categories of the fields that every entry has and that may leave."""


# --- whether it says enough ------------------------------------------------------------------------------------------


def verify_schema(record: Descriptor = _ENTRY, released: Descriptor = exchange_pb2.ReleasedEntry.DESCRIPTOR) -> None:
    """Check that every field of a record can be redacted and searched, and has its counterpart in what leaves.

    Args:
        record: The record as its owner keeps it, with its entities in the oneof `entity`.
        released: The message that leaves; fields of equal number have equal name and type.

    Raises:
        SchemaError: a field has no category, a kind is missing or occurs twice, or an option does not fit its field;
            the text names every such field.
    """
    mistakes: list[str] = []
    for field in common_fields(record):
        mistakes += _field_mistakes(field)
        if not is_internal(field):
            mistakes += _counterpart_mistakes(field, released)
    kinds: set[EntityKind] = {codes_pb2.ENTITY_KIND_UNKNOWN}
    for holder in entity_fields(record):
        if _kind(holder) in kinds:
            mistakes.append(f"{holder.full_name}: its message must state an entity kind of its own")
        kinds.add(_kind(holder))
        mistakes += _counterpart_mistakes(holder, released)
        for field in message_of(holder).fields:
            mistakes += _field_mistakes(field)
    if mistakes:
        raise SchemaError("the record's schema can't be redacted: " + "; ".join(mistakes))


def _field_mistakes(field: FieldDescriptor) -> Iterator[str]:
    if is_internal(field):
        return
    is_text, message = field.type == FieldDescriptor.TYPE_STRING, field.message_type
    if category_of(field) in _NO_CATEGORY:
        yield f"{field.full_name}: states no data category"
    if is_free_text(field) and (generaliser_of(field) or not is_text):
        yield f"{field.full_name}: free text is a string without a generaliser"
    if not _generaliser_fits(field):
        yield f"{field.full_name}: its generaliser does not fit its type"
    if lookup_of(field) and not (is_text or message is entry_pb2.PersonName.DESCRIPTOR):
        yield f"{field.full_name}: only a text or a person's name can be searched"
    if message is not None:
        yield from _message_mistakes(field, message)


def _message_mistakes(field: FieldDescriptor, message: Descriptor) -> Iterator[str]:
    if field.is_repeated == is_value(message):
        yield f"{field.full_name}: values come singly, other messages in lists"
    for part in message.fields:
        if not is_value(message):
            yield from _field_mistakes(part)
        elif part.message_type or part.enum_type or part.is_repeated:
            yield f"{part.full_name}: a part of a value is a single number or text"


def _generaliser_fits(field: FieldDescriptor) -> bool:
    message = field.message_type
    fits: dict[int, bool] = {
        options_pb2.GENERALISER_UNKNOWN: True,
        options_pb2.GENERALISER_SAME: message is None,
        options_pb2.GENERALISER_YEAR: message is entry_pb2.DateInterval.DESCRIPTOR,
        options_pb2.GENERALISER_DEGREE: message is entry_pb2.Coordinates.DESCRIPTOR,
        options_pb2.GENERALISER_MONTH: field.cpp_type == FieldDescriptor.CPPTYPE_INT64,
        options_pb2.GENERALISER_PREFIX: field.type == FieldDescriptor.TYPE_STRING,
        options_pb2.GENERALISER_ORDER: field.cpp_type in _INTEGERS,
    }
    return fits.get(generaliser_of(field), False)


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
