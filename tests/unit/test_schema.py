from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor

from node import schema
from node.errors import SchemaError
from node.wire import codes_pb2, entry_pb2, exchange_pb2, options_pb2

SINGLE = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
REPEATED = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE


def test_every_field_of_a_record_can_be_redacted() -> None:
    schema.verify_schema()


def test_kinds_are_those_of_the_code_list() -> None:
    kinds = set(codes_pb2.EntityKind.values()) - {codes_pb2.ENTITY_KIND_UNKNOWN}
    assert set(schema.FIELDS) == set(schema.CATEGORIES) == set(schema.KIND_BY_HOLDER.values()) == kinds
    assert schema.KIND_BY_HOLDER["telecom"] == codes_pb2.ENTITY_KIND_TELECOM


def test_categories_follow_the_kind() -> None:
    assert codes_pb2.DATA_CATEGORY_ASYLUM in schema.CATEGORIES[codes_pb2.ENTITY_KIND_PERSON]
    assert schema.CATEGORIES[codes_pb2.ENTITY_KIND_MODUS_OPERANDI] == {codes_pb2.DATA_CATEGORY_MODUS_OPERANDI}


def test_options_of_a_field_are_read() -> None:
    by_name = {field.name: field for field in schema.FIELDS[codes_pb2.ENTITY_KIND_TELECOM]}
    telephone = by_name["telephone"]
    assert schema.category_of(telephone) == codes_pb2.DATA_CATEGORY_TELECOM
    assert schema.lookup_of(telephone) == codes_pb2.LOOKUP_KIND_TELEPHONE
    assert schema.generaliser_of(telephone) == options_pb2.GENERALISER_PREFIX
    assert schema.is_free_text(by_name["communications"])
    assert not schema.is_free_text(telephone)


def test_common_fields_are_all_but_the_entities() -> None:
    names = {field.name for field in schema.COMMON_FIELDS}
    assert names | set(schema.KIND_BY_HOLDER) == set(entry_pb2.Entry.DESCRIPTOR.fields_by_name)
    assert names.isdisjoint(schema.KIND_BY_HOLDER)
    assert {field.name for field in schema.COMMON_FIELDS if schema.is_internal(field)} >= {"entry_id", "links"}
    assert codes_pb2.DATA_CATEGORY_UNKNOWN not in schema.COMMON_CATEGORIES


def record(
    *,
    kind: str = "TYPE_STRING",
    entities: tuple[int, ...] = (1,),
    value: str = "",
    beside: str = "",
    **options: int,
) -> Descriptor:
    """A record as somebody might write it by mistake.

    Its entities have one field each, with these options: of type `kind`, or a `value` message. `beside` is the oneof of
    another field without options.
    """
    pool = descriptor_pool.DescriptorPool()
    for module in (descriptor_pb2, codes_pb2, options_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="t.proto", package="t", syntax="proto3", dependency=["node/wire/options.proto"]
    )
    holder = file.message_type.add(name="Record")
    holder.oneof_decl.add(name="entity")
    for index, entity in enumerate(entities):
        name = f"Thing{index or ''}"
        holder.field.add(
            name=name.lower(), number=30 + index, type=MESSAGE, label=SINGLE, type_name=f".t.{name}", oneof_index=0
        )
        thing: Any = file.message_type.add(name=name)
        thing.options.Extensions[options_pb2.entity] = entity
        field = thing.field.add(name="what", number=1, type=kind, label=SINGLE)
        for option, setting in options.items():
            field.options.Extensions[getattr(options_pb2, option)] = setting
        if value:
            field.type, field.type_name = MESSAGE, ".t.Part"
            field.label = REPEATED if value == "in a list" else SINGLE
    if value:
        part: Any = file.message_type.add(name="Part")
        part.options.Extensions[options_pb2.value] = True
        part.field.add(name="x", number=1, type="TYPE_STRING", label=REPEATED if value == "holds a list" else SINGLE)
    if beside:
        holder.oneof_decl.add(name=beside)
        holder.field.add(name="more", number=2, type="TYPE_STRING", label=SINGLE, oneof_index=1)
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindMessageTypeByName("t.Record")


SOUND = [
    record(category=15),
    record(internal=True),
    record(category=15, value="one"),
    record(category=15, lookup=codes_pb2.LOOKUP_KIND_PLATE),
    record(category=15, entities=(1, 2)),
    record(category=15, kind="TYPE_UINT32", generalise=options_pb2.GENERALISER_ORDER),
]


@pytest.mark.parametrize("sound", SOUND)
def test_a_sound_record_passes(sound: Descriptor) -> None:
    schema.verify_schema(sound, sound)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (record(), "t.Thing.what: states no data category"),
        (record(category=codes_pb2.DATA_CATEGORY_EXISTENCE), "t.Thing.what: states no data category"),
        (record(category=15, beside="other"), "t.Record.more: states no data category"),
        (record(category=15, generalise=options_pb2.GENERALISER_YEAR), "its generaliser does not fit its type"),
        (record(category=15, generalise=options_pb2.GENERALISER_ORDER), "its generaliser does not fit its type"),
        (
            record(category=15, kind="TYPE_BYTES", generalise=options_pb2.GENERALISER_PREFIX),
            "its generaliser does not fit its type",
        ),
        (record(category=15, generalise=options_pb2.GENERALISER_SAME, free_text=True), "free text is a string"),
        (record(category=15, kind="TYPE_BYTES", free_text=True), "free text is a string"),
        (
            record(category=15, kind="TYPE_UINT32", lookup=codes_pb2.LOOKUP_KIND_PLATE),
            "t.Thing.what: only a text or a person's name can be searched",
        ),
        (record(category=15, kind="TYPE_BYTES", lookup=codes_pb2.LOOKUP_KIND_IMEI), "can be searched"),
        (record(category=15, value="one", lookup=codes_pb2.LOOKUP_KIND_NAME), "can be searched"),
        (record(category=15, value="in a list"), "values come singly, other messages in lists"),
        (record(category=15, value="holds a list"), "a part of a value is a single number or text"),
        (record(category=15, entities=(0,)), "t.Record.thing: its message must state an entity kind of its own"),
        (record(category=15, entities=(1, 1)), "t.Record.thing1: its message must state an entity kind of its own"),
    ],
)
def test_a_field_that_says_too_little_is_named(bad: Descriptor, sentence: str) -> None:
    with pytest.raises(SchemaError, match=sentence):
        schema.verify_schema(bad, bad)


def test_what_leaves_must_have_the_fields_of_the_record() -> None:
    with pytest.raises(SchemaError, match=r"Entry\.person: has no equal field number 30 in enlace\.v1\.HitOnly"):
        schema.verify_schema(entry_pb2.Entry.DESCRIPTOR, exchange_pb2.HitOnly.DESCRIPTOR)
