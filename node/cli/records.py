"""Own records as people read them: every field that is filled, protective facts with who established them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from node.cli.answers import field_label, kind_text, value_text
from node.cli.output import printable, time_text
from node.cli.words import all_named, id_text, named
from node.records.labels import Language
from node.schema import COMMON_FIELDS, FIELDS, KIND_BY_HOLDER
from node.wire.codes_pb2 import Crime, LinkKind
from node.wire.entry_pb2 import Assertion, Case, Entry, Protection

if TYPE_CHECKING:
    from google.protobuf.message import Message

# Fields of an entry that are shown in a way of their own.
_GIVEN: Final = {"consents": "consent to", "assurances": "assurance of"}
_APART: Final = frozenset(
    {"entry_id", "case_id", "revision", "originator", "protection", "inherited", "links", "invented"}
)


def case_lines(case: Case, language: Language) -> Iterator[str]:
    """Yield the lines that show a case, codes in a language."""
    yield f"case      {id_text(case.case_id)}"
    yield f"reference {printable(case.reference)}"
    yield f"title     {printable(case.title)}"
    yield f"crimes    {all_named(Crime.DESCRIPTOR, case.crimes, language)}"
    yield f"unit      {printable(case.unit)}"
    yield f"state     {'open' if case.open else 'closed'} since {time_text(case.opened_us)}"
    yield f"review    {time_text(case.review_us)}"


def entry_lines(entry: Entry, language: Language) -> Iterator[str]:
    """Yield the lines that show an own entry, codes in a language."""
    holder = entry.WhichOneof("entity") or ""
    invented = ", invented" if entry.invented else ""
    yield f"{kind_text(holder, language)}{invented}  {id_text(entry.entry_id)}  revision {entry.revision}"
    for name, text in entry_facts(entry, language):
        yield f"  {name}: {text}"


def entry_facts(entry: Entry, language: Language) -> Iterator[tuple[str, str]]:
    """Yield each field of an own entry that holds something: its name, and what it holds."""
    holder = entry.WhichOneof("entity")
    if holder:
        entity: Message = getattr(entry, holder)
        for field in FIELDS[KIND_BY_HOLDER[holder]]:
            if text := value_text(entity, field, language):
                yield f"  {field_label(field.name)}", text
    for field in COMMON_FIELDS:
        if field.name not in _APART and (text := value_text(entry, field, language)):
            yield field_label(field.name), text
    for link in entry.links:
        yield named(LinkKind.DESCRIPTOR, link.kind, language), id_text(link.to_entry_id)
    if entry.HasField("protection"):
        yield from _protection_facts("protection", entry.protection, language)
    if entry.HasField("inherited"):
        yield from _protection_facts("inherited", entry.inherited, language)


def _protection_facts(what: str, protection: Protection, language: Language) -> Iterator[tuple[str, str]]:
    for field, value in protection.ListFields():
        if field.message_type is Assertion.DESCRIPTOR:
            yield f"{what}, {field_label(field.name)}", _assertion(value)
        elif field.name in _GIVEN:
            for each in value:
                state = f"revoked {time_text(each.revoked_us)}" if each.revoked_us else "in force"
                yield f"{what}, {_GIVEN[field.name]} {each.recipient}", f"{state}, recorded by {_assertion(each.by)}"
        else:
            yield f"{what}, {field_label(field.name)}", value_text(protection, field, language)


def _assertion(assertion: Assertion) -> str:
    basis = f": {printable(assertion.basis)}" if assertion.basis else ""
    return f"{printable(assertion.officer)}, {time_text(assertion.at_us)}{basis}"
