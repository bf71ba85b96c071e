"""Keyed tokens under which entries are found, so that the index tells nothing to who reads the database.

A token is one byte of key epoch, one byte of normaliser version and 16 bytes of HMAC-SHA-256 over the lookup kind and
the canonical form. RFC 2104 §5 allows truncation to half the hash and not less.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from node.errors import RecordError
from node.records.normalise import NORMALISER_VERSION, normalise
from node.schema import ENTITY_ONEOF, FIELDS, KIND_BY_HOLDER, EntityKind, LookupKind, lookup_of
from node.wire import codes_pb2, entry_pb2, exchange_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

TOKEN_SIZE: Final = 18
KEY_SIZE: Final = 32
"""Bytes of a lookup key: RFC 2104 §3 advises at least the size of the hash."""

SEARCHABLE: Final["Mapping[EntityKind, tuple[tuple[FieldDescriptor, LookupKind], ...]]"] = MappingProxyType(
    {
        kind: tuple((searchable, lookup) for searchable in fields if (lookup := lookup_of(searchable)))
        for kind, fields in FIELDS.items()
    }
)
"""Fields of each kind by which an entry is found, each with what it is found by."""

_MAC_SIZE: Final = 16
_LAST_EPOCH: Final = 255
_BLOCK: Final = 64
_INNER: Final = bytes(each ^ 0x36 for each in range(256))
_OUTER: Final = bytes(each ^ 0x5C for each in range(256))

# A birth known no better than this is as good as unknown: the person is found under any year.
_MOST_BIRTH_YEARS: Final = 10
_EPOCH_DAY: Final = date(1970, 1, 1)
_UNKNOWN: Final = "?"


@dataclass(frozen=True, slots=True)
class LookupKey:
    """A secret of this node that turns canonical forms into tokens.

    Attributes:
        epoch: Number of the key, 0 to 255; the first byte of its tokens.
        key: 32 random bytes.

    Raises:
        RecordError: the epoch or the length of the key is another.
    """

    epoch: int
    key: bytes = field(repr=False)
    # HMAC with both pads already hashed: two copies and two short updates a token, half the time of the hmac module.
    _inner: "hashlib._Hash" = field(init=False, repr=False, compare=False)
    _outer: "hashlib._Hash" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.epoch <= _LAST_EPOCH:
            raise RecordError("lookup key: an epoch is 0 to 255")
        if len(self.key) != KEY_SIZE:
            raise RecordError(f"lookup key: has {KEY_SIZE} bytes")
        padded = self.key.ljust(_BLOCK, b"\0")
        object.__setattr__(self, "_inner", hashlib.sha256(padded.translate(_INNER)))
        object.__setattr__(self, "_outer", hashlib.sha256(padded.translate(_OUTER)))

    def token(self, kind: int, form: str) -> bytes:
        """Token of one canonical form: 18 bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(b"%c%b" % (kind, form.encode("utf-8", "surrogatepass")))
        outer.update(inner.digest())
        return bytes((self.epoch, NORMALISER_VERSION)) + outer.digest()[:_MAC_SIZE]


def entry_tokens(entry: entry_pb2.Entry, keys: Sequence[LookupKey]) -> set[bytes]:
    """Tokens under which an entry is found, of every searchable field and every key.

    National telephone numbers are read as those of the originator's country.

    Raises:
        RecordError: the entry holds no entity, or a searchable value can't be normalised; the text names the field.
    """
    holder = entry.WhichOneof(ENTITY_ONEOF)
    if holder is None:
        raise RecordError("entity: the entry holds none")
    entity, found = getattr(entry, holder), set()
    for searchable, lookup in SEARCHABLE[KIND_BY_HOLDER[holder]]:
        for form in _entry_forms(entity, searchable, lookup, entry.originator):
            for key in keys:
                found.add(key.token(lookup, form))
    return found


def selector_tokens(selector: exchange_pb2.Selector, keys: Sequence[LookupKey], region: str) -> list[bytes]:
    """Tokens that an entry may have if the selector finds it, of every key, without repetition.

    Args:
        selector: As asked.
        keys: Every key whose tokens are still stored.
        region: ISO 3166-1 alpha-2, of the asker: what a national telephone number means where it was typed.

    Raises:
        RecordError: the selector is empty, of no known kind, or can't be such a value; the text never quotes it.
    """
    if not selector.value:
        raise RecordError("value: the selector is empty")
    forms = dict.fromkeys(_selector_forms(selector, region))
    return [key.token(selector.kind, form) for key in keys for form in forms]


# --- what narrows ----------------------------------------------------------------------------------------------------
#
# A name may be asked with a year of birth, a plate with its country. An entry is kept under its bare form, which a
# selector without either finds, and under the form with what is known of it, or with "?" where nothing is. A selector
# with a year finds that year and "?". So a record without a birth is never lost, and one with another birth never hit.
#
# A name is kept in full ("=") and in shorter forms ("<"). A selector finds a full name that equals it or one of its
# shorter forms, and a shorter form that equals it in full, but never shorter by shorter: Juan Perez Lopez and Juan
# Perez Ruiz are two people, though both may be called Juan Perez.


def _entry_forms(entity: "Message", searchable: "FieldDescriptor", lookup: LookupKind, region: str) -> Iterator[str]:
    for value in _texts(entity, searchable):
        try:
            forms = normalise(lookup, value, region=region)
        except RecordError as error:
            raise RecordError(f"{searchable.full_name}: {error}") from None
        if lookup == codes_pb2.LOOKUP_KIND_NAME:
            details = ["", *(f"|{year}" for year in _birth_years(entity))]
            for index, form in enumerate(forms):
                yield from (f"{'<' if index else '='}{form}{detail}" for detail in details)
        elif lookup == codes_pb2.LOOKUP_KIND_PLATE:
            stated, _, plate = forms[0].rpartition(":")
            country = stated or getattr(entity, "plate_country", "") or _UNKNOWN
            yield from (plate, f"{country}:{plate}")
        else:
            yield from forms


def _texts(entity: "Message", searchable: "FieldDescriptor") -> Iterator[str]:
    """The texts of a searchable field that are filled in; of a person's names, the full ones."""
    value = getattr(entity, searchable.name)
    for each in value if searchable.is_repeated else (value,):
        text = each.full if searchable.message_type is entry_pb2.PersonName.DESCRIPTOR else each
        if text:
            yield text


def _selector_forms(selector: exchange_pb2.Selector, region: str) -> Iterator[str]:
    forms = normalise(selector.kind, selector.value, region=region)
    if selector.kind == codes_pb2.LOOKUP_KIND_NAME:
        details = (f"|{selector.birth_year}", f"|{_UNKNOWN}") if selector.birth_year else ("",)
        for detail in details:
            yield f"={forms[0]}{detail}"
            yield f"<{forms[0]}{detail}"
            yield from (f"={form}{detail}" for form in forms[1:])
    elif selector.kind == codes_pb2.LOOKUP_KIND_PLATE and ":" in forms[0]:
        yield from (forms[0], _UNKNOWN + forms[0][2:])
    else:
        yield from forms


def _birth_years(entity: "Message") -> Sequence[int | str]:
    """Years in which the person named may be born; "?" where that is not known."""
    if not isinstance(entity, entry_pb2.Person) or not entity.HasField("birth"):
        return (_UNKNOWN,)
    try:
        first = _EPOCH_DAY + timedelta(days=entity.birth.first_day)
        last = _EPOCH_DAY + timedelta(days=entity.birth.last_day)
    except OverflowError:  # outside the calendar
        return (_UNKNOWN,)
    years = range(first.year, last.year + 1)
    return years if 0 < len(years) <= _MOST_BIRTH_YEARS else (_UNKNOWN,)
