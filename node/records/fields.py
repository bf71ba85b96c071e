"""What a record's descriptors say about its fields: category, lookup kind, generaliser, free text.

Computed once, from the custom options of `proto/node/wire/entry.proto`. Indexing, forms and exports read this; nothing
else in this package knows a field's name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from node.errors import RecordError
from node.wire import codes_pb2, entry_pb2, options_pb2

EntityKind: TypeAlias = codes_pb2.EntityKind.ValueType
Category: TypeAlias = codes_pb2.DataCategory.ValueType
LookupKind: TypeAlias = codes_pb2.LookupKind.ValueType
Generaliser: TypeAlias = options_pb2.Generaliser.ValueType

ENTITY_ONEOF: Final = "entity"
# A searchable field of this message is searched by the text in its field `full`.
_NAME_MESSAGE: Final = entry_pb2.PersonName.DESCRIPTOR


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an entity.

    Attributes:
        descriptor: Of the field; its `name` is the attribute that holds the value.
        category: Decides who may see it.
        lookup: By which kind of key it is found; LOOKUP_KIND_UNKNOWN where it can't be searched.
        generaliser: How it becomes coarser; GENERALISER_UNKNOWN where it can't.
        free_text: It leaves only when a person marked it reviewed.
        internal: It never leaves the country.
    """

    descriptor: FieldDescriptor
    category: Category
    lookup: LookupKind
    generaliser: Generaliser
    free_text: bool
    internal: bool

    @property
    def name(self) -> str:
        """The field's name in its message."""
        return self.descriptor.name


def _field(descriptor: FieldDescriptor) -> Field:
    options = descriptor.GetOptions().Extensions
    return Field(
        descriptor=descriptor,
        category=options[options_pb2.category],
        lookup=options[options_pb2.lookup],
        generaliser=options[options_pb2.generalise],
        free_text=options[options_pb2.free_text],
        internal=options[options_pb2.internal],
    )


def _message(holder: FieldDescriptor) -> Descriptor:
    assert holder.message_type is not None  # the oneof holds messages alone
    return holder.message_type


def _kind(message: Descriptor) -> EntityKind:
    return message.GetOptions().Extensions[options_pb2.entity]


_HOLDERS: Final = tuple(entry_pb2.Entry.DESCRIPTOR.oneofs_by_name[ENTITY_ONEOF].fields)

KIND_BY_HOLDER: Final[Mapping[str, EntityKind]] = MappingProxyType(
    {holder.name: _kind(_message(holder)) for holder in _HOLDERS}
)
"""Name of the field of Entry that holds the entity ("telecom") to its kind."""

FIELDS: Final[Mapping[EntityKind, tuple[Field, ...]]] = MappingProxyType(
    {_kind(_message(holder)): tuple(_field(part) for part in _message(holder).fields) for holder in _HOLDERS}
)
"""Fields of each kind of entity, in the order of the contract."""

COMMON_FIELDS: Final = tuple(
    _field(part) for part in entry_pb2.Entry.DESCRIPTOR.fields if part.containing_oneof is None
)
"""Fields that every entry has, whatever its kind."""

SEARCHABLE: Final[Mapping[EntityKind, tuple[Field, ...]]] = MappingProxyType(
    {kind: tuple(each for each in fields if each.lookup) for kind, fields in FIELDS.items()}
)
"""Fields of each kind by which an entry is found."""

_CATEGORIES: Final = {kind: frozenset(each.category for each in fields) for kind, fields in FIELDS.items()}


def kind_of(entry: entry_pb2.Entry) -> EntityKind:
    """Kind of the entity that an entry holds.

    Raises:
        RecordError: It holds none.
    """
    holder = entry.WhichOneof(ENTITY_ONEOF)
    if holder is None:
        raise RecordError("entity: the entry holds none")
    return KIND_BY_HOLDER[holder]


def entity_of(entry: entry_pb2.Entry) -> Message:
    """The entity that an entry holds; what is written to it is written to the entry.

    Raises:
        RecordError: It holds none.
    """
    holder = entry.WhichOneof(ENTITY_ONEOF)
    if holder is None:
        raise RecordError("entity: the entry holds none")
    entity: Message = getattr(entry, holder)
    return entity


def categories_of(kind: EntityKind) -> frozenset[Category]:
    """Data categories of the fields of a kind of entity.

    Raises:
        RecordError: There is no such kind.
    """
    if kind not in _CATEGORIES:
        raise RecordError("entity: this node does not know the kind")
    return _CATEGORIES[kind]


def values_of(entity: Message, field: Field) -> Iterator[str]:
    """The texts of a searchable field that are filled in; of a person's names, the full ones."""
    value = getattr(entity, field.name)
    for each in value if field.descriptor.is_repeated else (value,):
        text = each.full if field.descriptor.message_type is _NAME_MESSAGE else each
        if text:
            yield text


def verify_schema(record: Descriptor = entry_pb2.Entry.DESCRIPTOR) -> None:
    """Check that every field of a record says who may see it, and that what can be searched is text.

    Args:
        record: The message of a record, with its entities in the oneof `entity`.

    Raises:
        RecordError: A field has neither a category nor the mark `internal`, nor sits in a value message; a searchable
            field is no text; or a message of the oneof states no kind of its own. The text names the field.
    """
    kinds: set[int] = set()
    for descriptor in record.fields:
        holds_entity = descriptor.containing_oneof is not None and descriptor.containing_oneof.name == ENTITY_ONEOF
        if not holds_entity:
            _verify_field(descriptor)
            continue
        kind = _kind(_message(descriptor))
        if kind in kinds or not kind:
            raise RecordError(f"{descriptor.full_name}: its message states no entity kind of its own")
        kinds.add(kind)
        for part in _message(descriptor).fields:
            _verify_field(part)


def _verify_field(descriptor: FieldDescriptor) -> None:
    field, message = _field(descriptor), descriptor.message_type
    if field.internal:
        return
    if field.category in {codes_pb2.DATA_CATEGORY_UNKNOWN, codes_pb2.DATA_CATEGORY_EXISTENCE}:
        raise RecordError(f"{descriptor.full_name}: states no data category")
    is_text = descriptor.cpp_type == FieldDescriptor.CPPTYPE_STRING and descriptor.type != FieldDescriptor.TYPE_BYTES
    if field.lookup and not (is_text or message is _NAME_MESSAGE):
        raise RecordError(f"{descriptor.full_name}: is searchable and no text")
    if message is None or message.GetOptions().Extensions[options_pb2.value]:
        return
    for part in message.fields:
        _verify_field(part)
