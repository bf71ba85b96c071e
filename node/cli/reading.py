"""Records as JSON: protobuf's own form but for bytes, and read a little more kindly than it is written.

Ids are UUIDs, as on the screen; other bytes are hexadecimal. Code words may be typed without their prefix and in any
case, and dates as "2025-03". What is unknown is an error: a misspelt field would otherwise be lost in silence.
"""

import base64
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from node.cli.words import id_text, parse_interval, parse_word
from node.errors import UsageError
from node.wire.entry_pb2 import DateInterval

M = TypeVar("M", bound=Message)

STANDARD_INPUT: Final = "-"
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LARGEST: Final = 16 * 1_048_576


def read_text(name: str) -> str:
    """Read a file of text (UTF-8, at most 16 MiB), or standard input where it is named "-".

    Raises:
        UsageError: there is none, or it is too large or no text.
    """
    try:
        data = sys.stdin.buffer.read(_LARGEST + 1) if name == STANDARD_INPUT else Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise UsageError(f"{name} is larger than {_LARGEST // 1_048_576} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not UTF-8") from None


def parse_message(text: str, message: M) -> M:
    """Read a message from JSON into the one given, which is returned.

    Raises:
        UsageError: it is no JSON, or no such message; the text says where.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(f"no JSON: {error}") from None
    if not isinstance(document, dict):
        raise UsageError("no JSON object")
    try:
        return ParseDict(_spelled_out(message.DESCRIPTOR, document), message)  # type: ignore[arg-type]
    except ParseError as error:
        raise UsageError(str(error)) from None


def message_dict(message: Message) -> dict[str, Any]:
    """Return a message as this module reads it: in protobuf's JSON form, with the contract's names, and no base64."""
    document = MessageToDict(message, preserving_proto_field_name=True)
    return _without_base64(message.DESCRIPTOR, document)  # type: ignore[arg-type]


def _without_base64(descriptor: Descriptor, document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _shown(descriptor.fields_by_name[name], value) for name, value in document.items()}


def _shown(field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401 - whatever JSON has
    if isinstance(value, list):
        return [_shown(field, each) for each in value]
    if field.message_type is not None and isinstance(value, dict):
        return _without_base64(field.message_type, value)
    return id_text(base64.b64decode(value)) if field.type == FieldDescriptor.TYPE_BYTES else value


def _spelled_out(descriptor: Descriptor, document: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    return {
        name: _values(fields[name], value) if name in fields else value  # the unknown is left for protobuf to refuse
        for name, value in document.items()
    }


def _values(field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401 - whatever JSON has
    if field.is_repeated and isinstance(value, list):
        return [_value(field, each) for each in value]
    return _value(field, value)


def _value(field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401 - whatever JSON has
    message, enum = field.message_type, field.enum_type
    if message is not None and isinstance(value, dict):
        return _spelled_out(message, value)
    if message is DateInterval.DESCRIPTOR and isinstance(value, str):
        return message_dict(parse_interval(value))
    if enum is not None and isinstance(value, str) and value not in enum.values_by_name:
        return parse_word(enum, value)
    if field.type == FieldDescriptor.TYPE_BYTES and isinstance(value, str):
        return _base64(field, value)
    return value


def _base64(field: FieldDescriptor, text: str) -> str:
    """Return bytes as protobuf wants them; it would itself take hexadecimal for base64, and make other bytes of it."""
    try:
        data = UUID(text).bytes if _UUID.fullmatch(text) else bytes.fromhex(text)
    except ValueError:
        raise UsageError(f"{field.name}: is neither a UUID nor hexadecimal") from None
    return base64.b64encode(data).decode()
