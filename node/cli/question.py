"""From what an officer types to a query: kinds of selectors, purpose and basis; and the same question on paper."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from node.cli.guessing import Kind, guess_kind
from node.cli.output import printable, time_text
from node.cli.words import all_named, id_text, interval_text, named, parse_interval, parse_place, parse_word, word
from node.errors import UsageError
from node.records.labels import Language
from node.wire import codes_pb2
from node.wire.codes_pb2 import Crime, Purpose, Urgency
from node.wire.codes_pb2 import LookupKind as LookupKinds
from node.wire.desk_pb2 import SearchResponse
from node.wire.exchange_pb2 import PersonBasis, Query, Selector

_NEEDS_REASON: Final = frozenset({codes_pb2.URGENCY_LIFE, codes_pb2.URGENCY_URGENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A question as typed; None and empty where nothing was."""

    values: Sequence[str]
    kind: str | None
    birth_year: int
    purpose: str
    crimes: Sequence[str]
    case: str
    instrument: str
    urgency: str
    reason: str
    offence: str | None
    when: str | None
    place: str | None
    basis: str
    page: int


@dataclass(frozen=True, slots=True)
class Question:
    """A query, and which of its selectors' kinds were guessed."""

    query: Query
    guessed: tuple[bool, ...]


def build_question(typed: Typed, country: str) -> Question:
    """Make a query, without the asker, whom the node adds.

    Raises:
        UsageError: a word is not in its list, a value's kind can't be told, or something is missing.
    """
    told = _kind(parse_word(LookupKinds.DESCRIPTOR, typed.kind)) if typed.kind else None
    kinds = [told or _guessed(place, value, country) for place, value in enumerate(typed.values, 1)]
    is_name = codes_pb2.LOOKUP_KIND_NAME in kinds
    if typed.birth_year and not is_name:
        raise UsageError("--birth-year goes with a name")
    urgency = parse_word(Urgency.DESCRIPTOR, typed.urgency)
    if urgency in _NEEDS_REASON and not typed.reason.strip():
        raise UsageError(f"--urgency {typed.urgency} needs --reason: what happens if the answer comes later")
    query = Query(
        purpose=parse_word(Purpose.DESCRIPTOR, typed.purpose),  # type: ignore[arg-type]
        crimes=[parse_word(Crime.DESCRIPTOR, crime) for crime in typed.crimes],  # type: ignore[misc]
        urgency=urgency,  # type: ignore[arg-type]
        urgency_reason=typed.reason,
        case_reference=typed.case,
        instrument=typed.instrument,
        page=typed.page - 1,
    )
    for kind, value in zip(kinds, typed.values, strict=True):
        year = typed.birth_year if kind == codes_pb2.LOOKUP_KIND_NAME else 0
        query.selectors.append(Selector(kind=kind, value=value, birth_year=year))
    if is_name or typed.offence or typed.when or typed.place or typed.basis:
        query.person_basis.CopyFrom(_basis(typed))
    return Question(query, tuple(told is None for _ in kinds))


def _kind(number: int) -> Kind:
    return number  # type: ignore[return-value]


def _guessed(place: int, value: str, country: str) -> Kind:
    kind = guess_kind(value, country)
    if not kind:
        kinds = ", ".join(word(LookupKinds.DESCRIPTOR, each) for each in LookupKinds.values() if each)
        raise UsageError(f"value {place}: its form does not tell what it is; say --kind, one of {kinds}")
    return kind


def _basis(typed: Typed) -> PersonBasis:
    """Against pretexts, who is named is named for something that happened."""
    missing = [
        option
        for option, value in (
            ("--offence", typed.offence),
            ("--when", typed.when),
            ("--place", typed.place),
            ("--basis", typed.basis),
        )
        if not value
    ]
    if missing or not (typed.offence and typed.when and typed.place):
        raise UsageError(f"to ask about a named person, say for what: {' '.join(missing)}")
    country, place = parse_place(typed.place)
    return PersonBasis(
        offence=parse_word(Crime.DESCRIPTOR, typed.offence),  # type: ignore[arg-type]
        when=parse_interval(typed.when),
        place_country=country,
        place=place,
        factual_basis=typed.basis,
    )


def selector_texts(question: Question) -> list[str]:
    """Return each selector with its kind, and whether that was guessed."""
    texts = []
    for selector, guessed in zip(question.query.selectors, question.guessed, strict=True):
        kind = word(LookupKinds.DESCRIPTOR, selector.kind)
        year = f", born {selector.birth_year}" if selector.birth_year else ""
        told = " (by its form; else say --kind)" if guessed else ""
        texts.append(f"{kind}: {printable(selector.value)}{year}{told}")
    return texts


def request_form(
    question: Question, response: SearchResponse, *, officer: str, node: str, language: Language
) -> Iterator[str]:
    """Yield the lines of the question on paper, to be read out on the telephone, or sent by fax, to one peer.

    Args:
        question: As asked.
        response: How asking this peer ended; its exchange id ties paper and ledger together.
        officer: Pseudonym.
        node: "GT/gt-1".
        language: Of codes.
    """
    query = question.query
    yield f"REQUEST FOR INFORMATION: {word(Urgency.DESCRIPTOR, query.urgency).upper()}"
    yield f"To            duty officer of {response.peer}, {response.duty_telephone or 'telephone: see the directory'}"
    yield f"From          {node}, officer {officer}"
    yield f"Exchange      {id_text(response.exchange_id) or 'not sent by the system'}"
    if response.acknowledge_by_us:
        yield f"To be read by {time_text(response.acknowledge_by_us)}"
    yield f"Purpose       {named(Purpose.DESCRIPTOR, query.purpose, language)}"
    yield f"Offences      {all_named(Crime.DESCRIPTOR, query.crimes, language) or 'none named'}"
    yield f"Instrument    {printable(query.instrument)}"
    yield f"Our case      {printable(query.case_reference)}"
    if query.urgency_reason:
        yield f"Why urgent    {printable(query.urgency_reason)}"
    for selector in query.selectors:
        kind = named(LookupKinds.DESCRIPTOR, selector.kind, language)
        year = f", born {selector.birth_year}" if selector.birth_year else ""
        yield f"Sought        {kind}: {printable(selector.value)}{year}"
    if query.HasField("person_basis"):
        basis = query.person_basis
        yield (
            f"Named for     {named(Crime.DESCRIPTOR, basis.offence, language)}, {interval_text(basis.when)}, "
            + printable(f"{basis.place}, {basis.place_country}")
        )
        yield f"Basis         {printable(basis.factual_basis)}"
    yield "Conditions    for preventing and combating crime only; never for immigration enforcement"
    yield "Read by       ______________________  at ____________ UTC  telephone ______________________"
    yield "Answer        [ ] by the system   [ ] by telephone   [ ] refused          signature ____________"
