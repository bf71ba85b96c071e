"""What came back, as people read it: a state for each peer, and every released entry field by field."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from node.cli.output import printable, time_text
from node.cli.words import all_named, coordinates_text, id_text, interval_text, named
from node.records.labels import Language
from node.schema import FIELDS, KIND_BY_HOLDER, category_of
from node.wire.codes_pb2 import (
    OUTCOME_RELEASE,
    Caveat,
    Crime,
    DataCategory,
    EntityKind,
    HandlingCode,
    InformationGrade,
    LinkKind,
    Obligation,
    Outcome,
    Role,
    SourceGrade,
)
from node.wire.desk_pb2 import PeerOutcome, SearchResponse
from node.wire.entry_pb2 import Coordinates, DateInterval, PersonName
from node.wire.exchange_pb2 import Grant, Hit, HitOnly, ReleasedEntry, Terms

NOTHING: Final = "nothing releasable now"
"""Never "no hit": that a peer releases nothing does not prove that nothing is there."""

_STATES: Final = {
    PeerOutcome.PEER_OUTCOME_REFUSED: "refused",
    PeerOutcome.PEER_OUTCOME_UNREACHABLE: "unreachable",
    PeerOutcome.PEER_OUTCOME_LATE: "late: no answer in time",
    PeerOutcome.PEER_OUTCOME_INVALID: "the answer did not verify, and was thrown away",
    PeerOutcome.PEER_OUTCOME_NOT_ASKED: "not asked",
    PeerOutcome.PEER_OUTCOME_NOT_LOGGED: "it answered, but could not be logged here, so it is not shown",
}
STYLES: Final = {
    PeerOutcome.PEER_OUTCOME_ANSWERED: "",
    PeerOutcome.PEER_OUTCOME_REFUSED: "yellow",
    PeerOutcome.PEER_OUTCOME_UNREACHABLE: "red",
    PeerOutcome.PEER_OUTCOME_LATE: "red",
    PeerOutcome.PEER_OUTCOME_INVALID: "bold red",
    PeerOutcome.PEER_OUTCOME_NOT_ASKED: "yellow",
    PeerOutcome.PEER_OUTCOME_NOT_LOGGED: "bold red",
}
_HIT: Final = "bold green"


def state_of(response: SearchResponse) -> str:
    """Return in a few words how asking this peer ended."""
    if response.outcome != PeerOutcome.PEER_OUTCOME_ANSWERED:
        return _STATES.get(response.outcome, "unknown")
    hits = response.answer.hits
    counts = (
        (sum(hit.HasField("entry") for hit in hits), "released"),
        (sum(hit.HasField("hit") for hit in hits), "hit only"),
        (sum(hit.HasField("pending") for hit in hits), "held"),
    )
    told = ", ".join(f"{count} {what}" for count, what in counts if count)
    return told or NOTHING


def style_of(response: SearchResponse) -> str:
    """Return the style of a peer's state; a hit stands out."""
    return _HIT if response.answer.hits else STYLES.get(response.outcome, "")


def notes_of(response: SearchResponse) -> str:
    """Return what else there is to know of a peer: why not, by when, at which telephone."""
    notes = [response.detail] if response.detail else []
    if response.answer.truncated:
        notes.append("more is releasable: see --page")
    if response.acknowledge_by_us:
        telephone = response.duty_telephone or "the telephone in the directory"
        notes.append(f"a human reads it by {time_text(response.acknowledge_by_us)}, else call {telephone}")
    return printable("; ".join(notes))


def hit_lines(peer: str, hit: Hit, language: Language) -> Iterator[str]:
    """Yield the lines that show one hit, codes in a language; what a peer wrote can't rewrite the screen."""
    if hit.HasField("entry"):
        yield from released_lines(peer, hit.entry, language)
    elif hit.HasField("hit"):
        yield from _hit_only_lines(peer, hit.hit, language)
    else:
        yield f"{peer}: held for the focal point; an answer is due by {time_text(hit.pending.due_us)}"
        yield f"  ticket       {id_text(hit.pending.ticket)}"


def _hit_only_lines(peer: str, hit: HitOnly, language: Language) -> Iterator[str]:
    yield f"{peer}: something is held; ask {peer} for it"
    yield f"  handle       {id_text(hit.handle)}"
    yield from _terms_lines(hit.terms, language)
    yield from _grant_lines(hit.grants, language)


def released_lines(peer: str, entry: ReleasedEntry, language: Language) -> Iterator[str]:
    """Yield the lines that show an entry as a peer released it, with its terms."""
    holder = entry.WhichOneof("entity") or ""
    yield f"{peer}: {kind_text(holder, language)}{', invented' if entry.invented else ''}"
    yield from _field_lines(entry, holder, language)
    yield f"  originator   {peer}"
    yield from _record_lines(entry, language)
    yield from _terms_lines(entry.terms, language)
    yield from _grant_lines(entry.grants, language)
    if entry.withheld:
        categories = all_named(DataCategory.DESCRIPTOR, entry.withheld, language)
        yield f"  withheld     {categories} (named for this kind and purpose, filled or not)"
    yield f"  handle       {id_text(entry.handle)}"
    for link in entry.links:
        yield f"  {named(LinkKind.DESCRIPTOR, link.kind, language):<12} {id_text(link.to_handle)}"


def _field_lines(entry: ReleasedEntry, holder: str, language: Language) -> Iterator[str]:
    outcomes = {grant.category: grant.outcome for grant in entry.grants}
    if holder not in KIND_BY_HOLDER:
        return
    entity: Message = getattr(entry, holder)
    for field in FIELDS[KIND_BY_HOLDER[holder]]:
        shown = value_text(entity, field, language)
        if shown:
            outcome = named(Outcome.DESCRIPTOR, outcomes.get(category_of(field), OUTCOME_RELEASE), language)
            category = named(DataCategory.DESCRIPTOR, category_of(field), language)
            yield f"    {field_label(field.name)}: {shown}   [{category}; {outcome}]"


def _record_lines(entry: ReleasedEntry, language: Language) -> Iterator[str]:
    facts = (
        ("roles", all_named(Role.DESCRIPTOR, entry.roles, language)),
        ("crimes", all_named(Crime.DESCRIPTOR, entry.crimes, language)),
        ("recorded", time_text(entry.recorded_us)),
        ("grading", _grading(entry, language)),
        ("handling", _handling(entry, language)),
        ("source", entry.source),
        ("attribution", entry.attribution),
    )
    for name, text in facts:
        if text:
            yield f"  {name:<12} {printable(text)}"


def _grading(entry: ReleasedEntry, language: Language) -> str:
    """The 4x4 grading; empty where neither half is told."""
    halves = ((SourceGrade, entry.source_grade), (InformationGrade, entry.information_grade))
    return "; ".join(named(enum.DESCRIPTOR, grade, language) for enum, grade in halves if grade)


def _handling(entry: ReleasedEntry, language: Language) -> str:
    code = named(HandlingCode.DESCRIPTOR, entry.handling, language) if entry.handling else ""
    parts = [code, entry.handling_text, all_named(Caveat.DESCRIPTOR, entry.caveats, language)]
    return "; ".join(part for part in parts if part)


def _terms_lines(terms: Terms, language: Language) -> Iterator[str]:
    if terms.obligations:
        yield f"  obligations  {all_named(Obligation.DESCRIPTOR, terms.obligations, language)}"
    if terms.retention_days:
        yield f"  delete after {terms.retention_days} days"


def _grant_lines(grants: Sequence[Grant], language: Language) -> Iterator[str]:
    """Yield each rule once, with the law that it rests on and all that it grants."""
    by_rule: dict[tuple[str, str], list[str]] = {}
    for grant in grants:
        category = named(DataCategory.DESCRIPTOR, grant.category, language)
        granted = by_rule.setdefault((grant.rule, grant.law), [])
        if category not in granted:
            granted.append(category)
    for (rule, law), categories in by_rule.items():
        yield f"  granted by   {printable(rule)}, {printable(law)}: {'; '.join(categories)}"


# --- values ----------------------------------------------------------------------------------------------------------


def kind_text(holder: str, language: Language) -> str:
    """Return what kind of entity a field of an entry holds: "person"."""
    if holder not in KIND_BY_HOLDER:
        return "an entry of a kind that this node does not know"
    return named(EntityKind.DESCRIPTOR, KIND_BY_HOLDER[holder], language)


def field_label(field: str) -> str:
    """Return the name of a field as people read it."""
    return field.removesuffix("_us").replace("_", " ")


def value_text(message: Message, descriptor: FieldDescriptor, language: Language) -> str:
    """Return what a field holds as text for people; empty where it holds nothing."""
    value = getattr(message, descriptor.name)
    if descriptor.is_repeated:
        if descriptor.enum_type is not None:
            return all_named(descriptor.enum_type, value, language)
        return ", ".join(_one(descriptor, each, language) for each in value)
    if descriptor.has_presence and not message.HasField(descriptor.name):
        return ""
    return _one(descriptor, value, language) if value else ""


def _one(descriptor: FieldDescriptor, value: Any, language: Language) -> str:  # noqa: ANN401 - whatever a field holds
    shown = _SHOWN.get(type(value))
    if shown is not None:
        return shown(value)
    if descriptor.enum_type is not None:
        return named(descriptor.enum_type, value, language)
    return time_text(value) if descriptor.name.endswith("_us") else printable(value)


_SHOWN: Final[dict[type, Callable[[Any], str]]] = {
    DateInterval: interval_text,
    Coordinates: coordinates_text,
    PersonName: lambda name: printable(name.full) + (" (alias)" if name.alias else ""),
    bytes: lambda value: f"{len(value)} bytes",
}
