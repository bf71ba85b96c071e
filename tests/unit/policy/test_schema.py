from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor

from node.errors import PolicyError
from node.policy import schema
from node.wire import codes_pb2, entry_pb2, exchange_pb2, options_pb2

STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
LABELLED = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
REPEATED = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED


def test_every_field_of_a_record_can_be_redacted() -> None:
    schema.verify_schema()


def test_kinds_are_those_of_the_code_list() -> None:
    names = {name for name, number in codes_pb2.EntityKind.items() if number}
    assert {f"ENTITY_KIND_{kind}" for kind in schema.CATEGORIES_BY_KIND} == names


def record(
    *,
    category: int = 0,
    generalise: int = 0,
    free_text: bool = False,
    internal: bool = False,
    entity: int = 1,
    value: str = "",
) -> Descriptor:
    """A record whose only entity has one field, with these options: a text, or a `value` message."""
    pool = descriptor_pool.DescriptorPool()
    for module in (descriptor_pb2, codes_pb2, options_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="t.proto", package="t", syntax="proto3", dependency=["node/wire/options.proto"]
    )
    holder = file.message_type.add(name="Record")
    holder.oneof_decl.add(name="entity")
    holder.field.add(name="thing", number=30, type="TYPE_MESSAGE", label=LABELLED, type_name=".t.Thing", oneof_index=0)
    thing = file.message_type.add(name="Thing")
    field = thing.field.add(name="what", number=1, type=STRING, label=LABELLED)
    message_options: Any = thing.options.Extensions
    message_options[options_pb2.entity] = entity
    field_options: Any = field.options.Extensions
    for option, setting in (
        (options_pb2.category, category),
        (options_pb2.generalise, generalise),
        (options_pb2.free_text, free_text),
        (options_pb2.internal, internal),
    ):
        if setting:
            field_options[option] = setting
    if value:
        part = file.message_type.add(name="Part")
        part_options: Any = part.options.Extensions
        part_options[options_pb2.value] = True
        part.field.add(name="x", number=1, type=STRING, label=REPEATED if value == "holds a list" else LABELLED)
        field.type, field.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, ".t.Part"
        field.label = REPEATED if value == "in a list" else LABELLED
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindMessageTypeByName("t.Record")


@pytest.mark.parametrize("sound", [record(category=15), record(internal=True), record(category=15, value="one")])
def test_a_sound_record_passes(sound: Descriptor) -> None:
    schema.verify_schema(sound, sound)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (record(), "t.Thing.what: states no data category"),
        (record(category=codes_pb2.DATA_CATEGORY_EXISTENCE), "t.Thing.what: states no data category"),
        (record(category=15, generalise=options_pb2.GENERALISER_YEAR), "its generaliser does not fit its type"),
        (record(category=15, generalise=options_pb2.GENERALISER_ORDER), "its generaliser does not fit its type"),
        (record(category=15, generalise=options_pb2.GENERALISER_SAME, free_text=True), "free text is a string"),
        (record(category=15, value="in a list"), "values come singly, other messages in lists"),
        (record(category=15, value="holds a list"), "a part of a value is a single number or text"),
        (record(category=15, entity=0), "its message must state an entity kind of its own"),
    ],
)
def test_a_field_that_can_not_be_redacted_fails_the_build(bad: Descriptor, sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        schema.verify_schema(bad, bad)


def test_what_leaves_must_have_the_fields_of_the_record() -> None:
    with pytest.raises(PolicyError, match=r"Entry\.person: has no equal field number 30 in enlace\.v1\.HitOnly"):
        schema.verify_schema(entry_pb2.Entry.DESCRIPTOR, exchange_pb2.HitOnly.DESCRIPTOR)
