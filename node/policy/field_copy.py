"""Functions that carry single fields of a record into the message that leaves, written for one vector of levels.

Which fields leave, and how, follows from descriptors and levels alone, and recurs in every entry of a kind. So it is
settled once, in the text of a Python function with one statement or two for each field that may leave; an interpreter
of operations pays a call for each field and entry, which is half the cost of an answer. The text is made of names of
fields, numbers of categories and names of constants, and of nothing that anybody recorded, asked or wrote in a rule.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from keyword import iskeyword
from typing import Final, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from node import schema
from node.errors import PolicyError
from node.policy.evaluate import GENERALISE, MASK, PSEUDONYMISE, WITHHOLD, join
from node.policy.facts import PROTECTED_ROLES
from node.policy.generalise import GENERALISERS
from node.policy.treatment import ROLES_FIELD, treatment_of
from node.policy.vocabulary import ROLES, Category, Outcome
from node.wire import options_pb2

MASKED: Final = "***"
"""What stands for a masked text, whatever its length."""

Pseudonym: TypeAlias = Callable[[Category, str], str]
"""From category and value to a pseudonym, keyed per recipient, so that two recipients can't join what they hold."""

Copier: TypeAlias = Callable[[Message, Message, Pseudonym], None]
"""Reads fields of the first message and writes what may leave of them to the second."""

_RELEASABLE_ROLES: Final = frozenset(number for number, name in ROLES.items() if name not in PROTECTED_ROLES)
_INDENT: Final = "    "


class Copying:
    """The text of a copier and the constants that it names, while it is written.

    Args:
        levels: By category; what is not in it is withheld.
        reviewed: A person found the record's free text fit to leave.
    """

    def __init__(self, levels: Mapping[Category, Outcome], *, reviewed: bool) -> None:
        self._levels = levels
        self._reviewed = reviewed
        self._lines: list[str] = []
        self.constants: dict[str, object] = {"MASKED": MASKED}

    @property
    def source(self) -> str:
        """The function's text."""
        return "\n".join(["def copy(s0, t0, pseudonym):", *(self._lines or [_INDENT + "pass"]), ""])

    def add_fields(self, fields: Iterable[FieldDescriptor]) -> None:
        """Write what carries those fields of the record that may leave."""
        self._lines += _indented(self._fields(fields, self._levels, 0))

    def add_entity(self, holder: FieldDescriptor) -> None:
        """Write what builds the entity in a field, set even where nothing of it leaves."""
        fields = schema.message_of(holder).fields
        self._lines += _indented(_part(holder, self._fields(fields, self._levels, 1), 0))

    def compile(self) -> Copier:
        """Make the function."""
        names: dict[str, object] = {"__builtins__": {"dict": dict}, **self.constants}
        exec(compile(self.source, "<fields that may leave>", "exec"), names)  # noqa: S102 -- see the module: no data
        copier: Copier = names["copy"]  # type: ignore[assignment]
        return copier

    def _fields(
        self, fields: Iterable[FieldDescriptor], levels: Mapping[Category, Outcome], depth: int
    ) -> Iterator[str]:
        for field in fields:
            if schema.is_internal(field):
                continue
            treatment = treatment_of(field, levels.get(schema.category_of(field), WITHHOLD))
            if treatment != WITHHOLD and (self._reviewed or not schema.is_free_text(field)):
                yield from self._field(field, treatment, levels, depth)

    def _field(
        self, field: FieldDescriptor, treatment: Outcome, levels: Mapping[Category, Outcome], depth: int
    ) -> Iterator[str]:
        message = field.message_type
        if message is None:
            build = self._list if field.is_repeated else self._scalar
            yield from build(field, treatment, depth)
        elif not schema.is_value(message):
            # A part of a record leaves at most at the level of the field that holds it.
            capped = {category: join(level, treatment) for category, level in levels.items()}
            yield from _list_of_parts(field, treatment, self._fields(message.fields, capped, depth + 1), depth)
        elif treatment == GENERALISE:
            name, coarser = _name(field), self._generaliser(field)
            yield f"if s{depth}.HasField('{name}') and (v := {coarser}(s{depth}.{name})) is not None:"
            yield f"{_INDENT}t{depth}.{name}.CopyFrom(v)"
        else:
            parts = (line for part in message.fields for line in _assignment(part, depth + 1))
            yield from _part(field, parts, depth)

    def _scalar(self, field: FieldDescriptor, treatment: Outcome, depth: int) -> Iterator[str]:
        name = _name(field)
        if treatment == MASK:
            yield f"if s{depth}.{name}:"
            yield f"{_INDENT}t{depth}.{name} = MASKED"
        elif treatment == PSEUDONYMISE:
            yield f"if v := s{depth}.{name}:"
            yield f"{_INDENT}t{depth}.{name} = pseudonym({schema.category_of(field):d}, v)"
        elif field.enum_type is not None:
            yield f"if (v := s{depth}.{name}) in {self._known(field)}:"
            yield f"{_INDENT}t{depth}.{name} = v"
        elif _is_coarsened(field, treatment):
            yield f"if (v := s{depth}.{name}) and (v := {self._generaliser(field)}(v)) is not None:"
            yield f"{_INDENT}t{depth}.{name} = v"
        else:
            yield from _assignment(field, depth)

    def _list(self, field: FieldDescriptor, treatment: Outcome, depth: int) -> Iterator[str]:
        name = _name(field)
        if field.enum_type is not None:
            known = self._known(field)
            yield f"if v := s{depth}.{name}[:]:"
            yield f"{_INDENT}t{depth}.{name}.extend(v if {known}.issuperset(v) else [c for c in v if c in {known}])"
            return
        # Each once: how many telephones share a calling code, or lie behind a mask, is told by no outcome.
        if treatment == MASK:
            what = "append(MASKED)"
        elif treatment == PSEUDONYMISE:
            what = f"extend(dict.fromkeys([pseudonym({schema.category_of(field):d}, c) for c in v]))"
        elif _is_coarsened(field, treatment):
            coarser = self._generaliser(field)
            what = f"extend(dict.fromkeys([g for c in v if (g := {coarser}(c)) is not None]))"
        else:
            what = "extend(v)"
        yield f"if v := s{depth}.{name}:"
        yield f"{_INDENT}t{depth}.{name}.{what}"

    def _known(self, field: FieldDescriptor) -> str:
        """Name the codes that may leave: a number in nobody's list could carry anything, and zero is not sent."""
        assert field.enum_type is not None
        known = frozenset(field.enum_type.values_by_number) - {0}
        return self._constant(_RELEASABLE_ROLES if field.name == ROLES_FIELD else known)

    def _generaliser(self, field: FieldDescriptor) -> str:
        return self._constant(GENERALISERS[schema.generaliser_of(field)])

    def _constant(self, value: object) -> str:
        name = f"K{len(self.constants)}"
        self.constants[name] = value
        return name


def _is_coarsened(field: FieldDescriptor, treatment: Outcome) -> bool:
    return treatment == GENERALISE and schema.generaliser_of(field) != options_pb2.GENERALISER_SAME


def _name(field: FieldDescriptor) -> str:
    if not field.name.isidentifier() or iskeyword(field.name):
        raise PolicyError(f"{field.full_name}: no name of a field in Python")
    return field.name


def _indented(lines: Iterable[str]) -> list[str]:
    return [_INDENT + line for line in lines]


def _assignment(field: FieldDescriptor, depth: int) -> Iterator[str]:
    name = _name(field)
    yield f"if v := s{depth}.{name}:"
    yield f"{_INDENT}t{depth}.{name} = v"


def _part(field: FieldDescriptor, lines: Iterable[str], depth: int) -> Iterator[str]:
    """Write what builds the message in a field, set even where nothing of it leaves."""
    name, inner = _name(field), depth + 1
    yield f"if s{depth}.HasField('{name}'):"
    yield f"{_INDENT}s{inner} = s{depth}.{name}"
    yield f"{_INDENT}t{inner} = t{depth}.{name}"
    yield f"{_INDENT}t{inner}.SetInParent()"
    yield from _indented(lines)


def _list_of_parts(field: FieldDescriptor, treatment: Outcome, lines: Iterable[str], depth: int) -> Iterator[str]:
    """Write what builds a list of messages, without those of which nothing leaves."""
    name, inner = _name(field), depth + 1
    yield f"if v{inner} := s{depth}.{name}:"
    yield f"{_INDENT}l{inner} = t{depth}.{name}"
    yield f"{_INDENT}for s{inner} in v{inner}:"
    yield f"{_INDENT * 2}t{inner} = l{inner}.add()"
    yield from _indented(_indented(lines))
    yield f"{_INDENT * 2}if not t{inner}.ByteSize():"
    yield f"{_INDENT * 3}del l{inner}[-1]"
    if treatment == MASK:  # how many there are is not told
        yield f"{_INDENT * 2}else:"
        yield f"{_INDENT * 3}break"
