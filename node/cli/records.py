"""Own records as people read them: every field that is filled, protective facts with who established them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from node.cli.answers import label, value_text
from node.cli.output import printable, time_text
from node.cli.words import id_text, word, words
from node.schema import COMMON_FIELDS, FIELDS, KIND_BY_HOLDER
from node.wire.codes_pb2 import Crime, LinkKind
from node.wire.entry_pb2 import Assertion, Case, Entry, Protection

if TYPE_CHECKING:
    from google.protobuf.message import Message

# Fields of an entry that are shown in a way of their own.
_APART: Final = frozenset(
    {"entry_id", "case_id", "revision", "originator", "protection", "inherited", "links", "invented"}
)


def case_lines(case: Case) -> Iterator[str]:
    """Yield the lines that show a case."""
    yield f"case      {id_text(case.case_id)}"
    yield f"reference {printable(case.reference)}"
    yield f"title     {printable(case.title)}"
    yield f"crimes    {words(Crime.DESCRIPTOR, case.crimes)}"
    yield f"unit      {printable(case.unit)}"
    yield f"state     {'open' if case.open else 'closed'} since {time_text(case.opened_us)}"
    yield f"review    {time_text(case.review_us)}"


def entry_lines(entry: Entry) -> Iterator[str]:
    """Yield the lines that show an own entry."""
    holder = entry.WhichOneof("entity")
    invented = ", invented" if entry.invented else ""
    kind = holder.replace("_", " ") if holder else "of a kind that this node does not know"
    yield f"{kind}{invented}  {id_text(entry.entry_id)}  revision {entry.revision}"
    if holder:
        entity: Message = getattr(entry, holder)
        for field in FIELDS[KIND_BY_HOLDER[holder]]:
            if text := value_text(entity, field):
                yield f"    {label(field.name)}: {text}"
    for field in COMMON_FIELDS:
        if field.name not in _APART and (text := value_text(entry, field)):
            yield f"  {label(field.name)}: {text}"
    for link in entry.links:
        yield f"  {word(LinkKind.DESCRIPTOR, link.kind)}: {id_text(link.to_entry_id)}"
    if entry.HasField("protection"):
        yield from _protection_lines("protection", entry.protection)
    if entry.HasField("inherited"):
        yield from _protection_lines("inherited", entry.inherited)


def _protection_lines(what: str, protection: Protection) -> Iterator[str]:
    for field, value in protection.ListFields():
        if field.message_type is Assertion.DESCRIPTOR:
            yield f"  {what}, {label(field.name)}: {_assertion(value)}"
        elif field.name == "consents":
            for consent in value:
                state = f"revoked {time_text(consent.revoked_us)}" if consent.revoked_us else "in force"
                yield f"  {what}, consent to {consent.recipient}: {state}, recorded by {_assertion(consent.by)}"
        else:
            yield f"  {what}, {label(field.name)}: {value_text(protection, field)}"


def _assertion(assertion: Assertion) -> str:
    basis = f": {printable(assertion.basis)}" if assertion.basis else ""
    return f"{printable(assertion.officer)}, {time_text(assertion.at_us)}{basis}"
