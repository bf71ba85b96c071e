"""What the codes of the contract are called, in the languages of the house."""

from typing import Final, Literal, TypeAlias, get_args

from google.protobuf.descriptor import EnumDescriptor

from node.errors import RecordError
from node.records.languages import en, es, fr, pt
from node.wire import codes_pb2

Language: TypeAlias = Literal["en", "es", "pt", "fr"]

LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
"""ISO 639-1 codes of the languages that every code has a label in."""

_LABELS: Final[dict[str, dict[str, dict[str, str]]]] = {
    "en": en.LABELS,
    "es": es.LABELS,
    "pt": pt.LABELS,
    "fr": fr.LABELS,
}
_UNKNOWN: Final = {"en": en.UNKNOWN, "es": es.UNKNOWN, "pt": pt.UNKNOWN, "fr": fr.UNKNOWN}
_ENUMS: Final[dict[str, EnumDescriptor]] = dict(codes_pb2.DESCRIPTOR.enum_types_by_name)


def short_name(enum: EnumDescriptor, number: int) -> str:
    """Name of a value without its list's prefix, "UNKNOWN" for one that this node does not know."""
    value = enum.values_by_number.get(number, enum.values_by_number[0])
    return value.name.removeprefix(enum.values_by_number[0].name.removesuffix("UNKNOWN"))


def label(enum: str, number: int, language: Language) -> str:
    """What a value of a code list is called.

    Args:
        enum: Name of the list in `codes.proto`, as "Crime".
        number: Of the value; one that this node does not know is called as UNKNOWN is.
        language: One of `LANGUAGES`.

    Raises:
        RecordError: there is no such list or language.
    """
    if enum not in _ENUMS or language not in _LABELS:
        raise RecordError("label: no such code list or language")
    return _LABELS[language][enum].get(short_name(_ENUMS[enum], number), _UNKNOWN[language])
