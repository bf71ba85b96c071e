from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor

from node.errors import RecordError
from node.records.fields import (
    COMMON_FIELDS,
    FIELDS,
    SEARCHABLE,
    categories_of,
    entity_of,
    kind_of,
    values_of,
    verify_schema,
)
from node.wire import codes_pb2, entry_pb2, options_pb2


def test_the_contract_can_be_shared() -> None:
    verify_schema()


def test_every_kind_of_the_code_list_has_an_entity() -> None:
    assert set(FIELDS) == set(codes_pb2.EntityKind.values()) - {0}


def test_kind_and_entity_of_an_entry() -> None:
    entry = entry_pb2.Entry(telecom=entry_pb2.Telecom(telephone="+12025550147"))
    assert kind_of(entry) == codes_pb2.ENTITY_KIND_TELECOM
    entity_of(entry).platform = "voice"  # type: ignore[attr-defined]
    assert entry.telecom.platform == "voice"


@pytest.mark.parametrize("ask", [kind_of, entity_of])
def test_an_entry_without_entity_has_no_kind(ask: object) -> None:
    with pytest.raises(RecordError, match="entity"):
        ask(entry_pb2.Entry())  # type: ignore[operator]


def test_categories_follow_the_kind() -> None:
    assert codes_pb2.DATA_CATEGORY_ASYLUM in categories_of(codes_pb2.ENTITY_KIND_PERSON)
    assert categories_of(codes_pb2.ENTITY_KIND_MODUS_OPERANDI) == {codes_pb2.DATA_CATEGORY_MODUS_OPERANDI}
    with pytest.raises(RecordError):
        categories_of(codes_pb2.ENTITY_KIND_UNKNOWN)


def test_options_of_a_field_are_read() -> None:
    by_name = {field.name: field for field in FIELDS[codes_pb2.ENTITY_KIND_TELECOM]}
    telephone = by_name["telephone"]
    assert (telephone.category, telephone.lookup, telephone.generaliser) == (
        codes_pb2.DATA_CATEGORY_TELECOM,
        codes_pb2.LOOKUP_KIND_TELEPHONE,
        options_pb2.GENERALISER_PREFIX,
    )
    assert by_name["communications"].free_text
    assert not telephone.free_text
    assert {field.name for field in COMMON_FIELDS if field.internal} >= {"entry_id", "protection", "links"}


def test_every_lookup_kind_finds_something() -> None:
    used = {field.lookup for fields in SEARCHABLE.values() for field in fields}
    assert used == set(codes_pb2.LookupKind.values()) - {0}


def test_searchable_texts() -> None:
    person = entry_pb2.Person(
        names=[entry_pb2.PersonName(full="Ana Uno"), entry_pb2.PersonName(), entry_pb2.PersonName(full="La Dos")],
        telephones=["+50205550101", ""],
    )
    found = {field.name: list(values_of(person, field)) for field in SEARCHABLE[codes_pb2.ENTITY_KIND_PERSON]}
    assert found == {
        "names": ["Ana Uno", "La Dos"],
        "telephones": ["+50205550101"],
        "emails": [],
        "document_numbers": [],
    }


def schema(*, entity: int | None = 1, category: int | None = 21, lookup: int = 0, numeric: bool = False) -> Descriptor:
    """A record of one entity with one field, as somebody might write it by mistake."""
    file = descriptor_pb2.FileDescriptorProto(name="made.proto", package="made", syntax="proto3")
    file.dependency.append("node/wire/options.proto")
    thing: Any = file.message_type.add(name="Thing")
    if entity is not None:
        thing.options.Extensions[options_pb2.entity] = entity
    part = thing.field.add(
        name="part", number=1, label="LABEL_OPTIONAL", type="TYPE_UINT32" if numeric else "TYPE_STRING"
    )
    if category is not None:
        part.options.Extensions[options_pb2.category] = category
    if lookup:
        part.options.Extensions[options_pb2.lookup] = lookup
    record: Any = file.message_type.add(name="Record")
    record.oneof_decl.add(name="entity")
    record.field.add(
        name="thing", number=30, label="LABEL_OPTIONAL", type="TYPE_MESSAGE", type_name=".made.Thing", oneof_index=0
    )
    pool = descriptor_pool.DescriptorPool()
    own = descriptor_pb2.FileDescriptorProto()
    for name in ("google/protobuf/descriptor.proto", "node/wire/codes.proto", "node/wire/options.proto"):
        descriptor_pool.Default().FindFileByName(name).CopyToProto(own)
        pool.Add(own)
        own.Clear()
    pool.Add(file)
    return pool.FindMessageTypeByName("made.Record")


@pytest.mark.parametrize(
    ("mistake", "names"),
    [
        ({"category": None}, "made.Thing.part"),
        ({"category": codes_pb2.DATA_CATEGORY_EXISTENCE}, "made.Thing.part"),
        ({"lookup": codes_pb2.LOOKUP_KIND_PLATE, "numeric": True}, "made.Thing.part"),
        ({"entity": None}, "made.Record.thing"),
    ],
)
def test_a_field_that_says_too_little_is_named(mistake: dict[str, int], names: str) -> None:
    verify_schema(schema())
    with pytest.raises(RecordError, match=names):
        verify_schema(schema(**mistake))  # type: ignore[arg-type]
