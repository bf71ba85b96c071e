"""What came back, as people read it: a state for each peer, and every released entry field by field."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from node.cli.output import printable, time_text
from node.cli.words import coordinates_text, interval_text, word, words
from node.schema import FIELDS, KIND_BY_HOLDER, category_of
from node.wire.codes_pb2 import (
    OUTCOME_RELEASE,
    Caveat,
    Crime,
    DataCategory,
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
}
STYLES: Final = {
    PeerOutcome.PEER_OUTCOME_ANSWERED: "",
    PeerOutcome.PEER_OUTCOME_REFUSED: "yellow",
    PeerOutcome.PEER_OUTCOME_UNREACHABLE: "red",
    PeerOutcome.PEER_OUTCOME_LATE: "red",
    PeerOutcome.PEER_OUTCOME_INVALID: "bold red",
    PeerOutcome.PEER_OUTCOME_NOT_ASKED: "yellow",
}
_OUTCOME_WORDS: Final = {
    "release": "released",
    "generalise": "generalised",
    "pseudonymise": "pseudonymised",
    "mask": "masked",
    "withhold": "withheld",
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


def hit_lines(peer: str, hit: Hit) -> Iterator[str]:
    """Yield the lines that show one hit; what a peer wrote can't rewrite the screen."""
    if hit.HasField("entry"):
        yield from _entry_lines(peer, hit.entry)
    elif hit.HasField("hit"):
        yield from _hit_only_lines(peer, hit.hit)
    else:
        yield f"{peer}: held for the focal point; an answer is due by {time_text(hit.pending.due_us)}"
        yield f"  ticket       {hit.pending.ticket.hex()}"


def _hit_only_lines(peer: str, hit: HitOnly) -> Iterator[str]:
    yield f"{peer}: something is held; ask {peer} for it"
    yield f"  handle       {hit.handle.hex()}"
    yield from _terms_lines(hit.terms)
    yield from _grant_lines(hit.grants)


def _entry_lines(peer: str, entry: ReleasedEntry) -> Iterator[str]:
    holder = entry.WhichOneof("entity") or ""
    invented = ", invented" if entry.invented else ""
    yield f"{peer}: {holder.replace('_', ' ') or 'an entry of a kind that this node does not know'}{invented}"
    yield from _field_lines(entry, holder)
    yield f"  originator   {peer}"
    yield from _record_lines(entry)
    yield from _terms_lines(entry.terms)
    yield from _grant_lines(entry.grants)
    if entry.withheld:
        categories = words(DataCategory.DESCRIPTOR, entry.withheld)
        yield f"  withheld     {categories} (named for this kind and purpose, filled or not)"
    yield f"  handle       {entry.handle.hex()}"
    for link in entry.links:
        yield f"  {word(LinkKind.DESCRIPTOR, link.kind):<12} {link.to_handle.hex()}"


def _field_lines(entry: ReleasedEntry, holder: str) -> Iterator[str]:
    outcomes = {grant.category: grant.outcome for grant in entry.grants}
    if holder not in KIND_BY_HOLDER:
        return
    entity: Message = getattr(entry, holder)
    for field in FIELDS[KIND_BY_HOLDER[holder]]:
        shown = value_text(entity, field)
        if shown:
            outcome = outcomes.get(category_of(field), OUTCOME_RELEASE)
            how = _OUTCOME_WORDS.get(word(Outcome.DESCRIPTOR, outcome), "unknown")
            category = word(DataCategory.DESCRIPTOR, category_of(field))
            yield f"    {label(field.name)}: {shown}   [{category}, {how}]"


def _record_lines(entry: ReleasedEntry) -> Iterator[str]:
    facts = (
        ("roles", words(Role.DESCRIPTOR, entry.roles)),
        ("crimes", words(Crime.DESCRIPTOR, entry.crimes)),
        ("recorded", time_text(entry.recorded_us)),
        ("grading", _grading(entry)),
        ("handling", _handling(entry)),
        ("source", entry.source),
        ("attribution", entry.attribution),
    )
    for name, text in facts:
        if text:
            yield f"  {name:<12} {printable(text)}"


def _grading(entry: ReleasedEntry) -> str:
    """The 4x4 grading, "B3"; empty where neither half is told."""
    if not entry.source_grade and not entry.information_grade:
        return ""
    source = word(SourceGrade.DESCRIPTOR, entry.source_grade).upper() if entry.source_grade else "?"
    return source + (word(InformationGrade.DESCRIPTOR, entry.information_grade) if entry.information_grade else "?")


def _handling(entry: ReleasedEntry) -> str:
    code = word(HandlingCode.DESCRIPTOR, entry.handling).upper() if entry.handling else ""
    parts = [code, entry.handling_text, words(Caveat.DESCRIPTOR, entry.caveats)]
    return "; ".join(part for part in parts if part)


def _terms_lines(terms: Terms) -> Iterator[str]:
    if terms.obligations:
        yield f"  obligations  {words(Obligation.DESCRIPTOR, terms.obligations)}"
    if terms.retention_days:
        yield f"  delete after {terms.retention_days} days"


def _grant_lines(grants: Sequence[Grant]) -> Iterator[str]:
    """Yield each rule once, with the law that it rests on and all that it grants."""
    by_rule: dict[tuple[str, str], list[str]] = {}
    for grant in grants:
        category = word(DataCategory.DESCRIPTOR, grant.category)
        granted = by_rule.setdefault((grant.rule, grant.law), [])
        if category not in granted:
            granted.append(category)
    for (rule, law), categories in by_rule.items():
        yield f"  granted by   {printable(rule)}, {printable(law)}: {', '.join(categories)}"


# --- values ----------------------------------------------------------------------------------------------------------


def label(field: str) -> str:
    """Return the name of a field as people read it."""
    return field.removesuffix("_us").replace("_", " ")


def value_text(message: Message, descriptor: FieldDescriptor) -> str:
    """Return what a field holds as text for people; empty where it holds nothing."""
    value = getattr(message, descriptor.name)
    if descriptor.is_repeated:
        return ", ".join(_one(descriptor, each) for each in value)
    if descriptor.has_presence and not message.HasField(descriptor.name):
        return ""
    return _one(descriptor, value) if value else ""


def _one(descriptor: FieldDescriptor, value: Any) -> str:  # noqa: ANN401 - whatever a field holds
    shown = _SHOWN.get(type(value))
    if shown is not None:
        return shown(value)
    if descriptor.enum_type is not None:
        return word(descriptor.enum_type, value)
    return time_text(value) if descriptor.name.endswith("_us") else printable(value)


_SHOWN: Final[dict[type, Callable[[Any], str]]] = {
    DateInterval: interval_text,
    Coordinates: coordinates_text,
    PersonName: lambda name: printable(name.full) + (" (alias)" if name.alias else ""),
    bytes: lambda value: f"{len(value)} bytes",
}
