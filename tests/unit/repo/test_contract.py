"""Habits of the wire contract that buf doesn't hold."""

import importlib
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parents[3]
PROTOS = sorted(ROOT.joinpath("proto/node/wire").glob("*.proto"))


def descriptor(proto: Path) -> FileDescriptor:
    file = importlib.import_module(f"node.wire.{proto.stem}_pb2").DESCRIPTOR
    assert isinstance(file, FileDescriptor)
    return file


def messages(within: FileDescriptor | Descriptor) -> list[Descriptor]:
    own = within.message_types_by_name if isinstance(within, FileDescriptor) else within.nested_types_by_name
    return [found for message in own.values() for found in [message, *messages(message)]]


def enums(file: FileDescriptor) -> list[EnumDescriptor]:
    nested = [enum for message in messages(file) for enum in message.enum_types_by_name.values()]
    return [*file.enum_types_by_name.values(), *nested]


@pytest.mark.parametrize("proto", PROTOS, ids=lambda proto: proto.stem)
def test_the_package_is_versioned(proto: Path) -> None:
    assert descriptor(proto).package == "enlace.v1"


@pytest.mark.parametrize("proto", PROTOS, ids=lambda proto: proto.stem)
def test_the_zero_of_every_code_list_is_unknown(proto: Path) -> None:
    # What a newer peer sends and this node can't read becomes zero, and must never read as a permission.
    zeros = {enum.name: enum.values_by_number[0].name for enum in enums(descriptor(proto))}
    assert {name: zero for name, zero in zeros.items() if not zero.endswith("_UNKNOWN")} == {}


@pytest.mark.parametrize("proto", PROTOS, ids=lambda proto: proto.stem)
def test_no_field_is_a_map(proto: Path) -> None:
    # A map has no order, so two writers of one record would give different bytes, and different digests.
    maps = [
        field.full_name
        for message in messages(descriptor(proto))
        for field in message.fields
        if field.message_type is not None and field.message_type.GetOptions().map_entry
    ]
    assert maps == []


def test_the_baseline_is_an_image_of_this_contract() -> None:
    baseline = FileDescriptorSet.FromString(ROOT.joinpath("proto/enlace.binpb").read_bytes())
    own = [file for file in baseline.file if file.name.startswith("node/wire/")]
    assert {file.package for file in own} == {"enlace.v1"}
    assert {name.name for file in own for name in file.service} >= {"Exchange", "Desk"}
