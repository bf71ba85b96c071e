"""The tour: a question, what comes back, and what stays invisible. Each step checks that what it tells is so."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from rich.text import Text

from node.cli.client import desk, desk_channel
from node.cli.demo.federation import Country, floor_rules
from node.cli.demo.processes import Running
from node.cli.demo.records import Invented
from node.cli.demo.telling import Teller, field_name, held_fields, laws_of, quoted, released_rows, terms_text
from node.errors import EnlaceError
from node.policy.evaluate import is_met
from node.policy.facts import Facts, parse_facts
from node.wire.codes_pb2 import Crime, LinkKind, LookupKind, Purpose, Urgency
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.deciding_pb2 import RequestItem
from node.wire.desk_pb2 import (
    GetStatusRequest,
    GetStatusResponse,
    ListLedgerRequest,
    ListLedgerResponse,
    PeerOutcome,
    SearchRequest,
    SearchResponse,
)
from node.wire.exchange_pb2 import Grant, Hit, PersonBasis, Query, Selector
from node.wire.ledger_pb2 import EntryDecision, EntryOutcome, LeafKind

NOBODYS_NUMBER: Final = "+1 956 555 0198"  # reserved for fiction, and in no record of the tour
NOTHING: Final = "Nothing releasable now"
CASE: Final = "INVENTED-GT-02"
INSTRUMENT: Final = "UNTOC"
MOST_LINES: Final = 10_000
WAIT_S: Final = 60.0  # for what another node does behind the command's back; on a busy machine it takes a second or two
LOOK_S: Final = 0.2
_TITLES: Final = {"telecom": "Mexico: the telephone", "person": "Mexico: the person who uses it"}
_Seen = TypeVar("_Seen")
_SILENT: Final = frozenset({EntryOutcome.ENTRY_OUTCOME_HELD_SILENTLY, EntryOutcome.ENTRY_OUTCOME_INVISIBLE})


class TourError(EnlaceError):
    """A step of the tour did not do what it says."""


def require(condition: object, sentence: str) -> None:
    """Stop the tour where it would tell something that is not so.

    Raises:
        TourError: the condition is false; `sentence` says what was expected.
    """
    if not condition:
        raise TourError(f"the tour stops, because this is not so: {sentence}")


@dataclass(slots=True)
class Tour:
    """What the steps share."""

    teller: Teller
    countries: Mapping[str, Country]
    invented: Invented
    nodes: Sequence[Running]
    answers: dict[str, SearchResponse] = field(default_factory=dict)
    asked: dict[str, RequestItem] = field(default_factory=dict)  # by peer: what Guatemala followed up
    shared: dict[str, bytes] = field(default_factory=dict)  # by peer: the exchange in which Mexico told it unasked

    def verify_alive(self) -> None:
        """Check that all nodes still run."""
        for node in self.nodes:
            node.verify_alive()

    def search(
        self, kind: LookupKind.ValueType, value: str, basis: PersonBasis | None = None
    ) -> Iterator[SearchResponse]:
        """Ask all peers as Guatemala's analyst, and yield the answers as they come."""
        query = Query(
            selectors=[Selector(kind=kind, value=value)],
            purpose=Purpose.PURPOSE_INVESTIGATE,
            crimes=[Crime.CRIME_TRAFFICKING],
            urgency=Urgency.URGENCY_ROUTINE,
            case_reference=CASE,
            instrument=INSTRUMENT,
            person_basis=basis,
        )
        with desk(self.countries["GT"].home, "analyst") as stub:
            yield from stub.Search(SearchRequest(query=query))

    @contextmanager
    def corresponding(self, country: str, officer: str) -> Iterator[CorrespondenceStub]:
        """Open a country's desk for what follows a query, as an officer."""
        with desk_channel(self.countries[country].home, officer) as channel:
            yield CorrespondenceStub(channel)

    def wait_for(self, sentence: str, look: Callable[[], _Seen]) -> _Seen:
        """Look again and again until something is seen, and return it; `sentence` says what is waited for.

        Raises:
            TourError: it does not come to pass within a minute.
            NodeDiedError: a node ended meanwhile.
        """
        deadline = time.monotonic() + WAIT_S
        while not (seen := look()):
            require(time.monotonic() < deadline, sentence)
            self.verify_alive()
            time.sleep(LOOK_S)
        return seen

    def status(self, country: str) -> GetStatusResponse:
        """Ask a node how it is."""
        with desk(self.countries[country].home, "administrator") as stub:
            return stub.GetStatus(GetStatusRequest())

    def ledger(self, country: str, peer: str = "") -> list[ListLedgerResponse]:
        """Read a country's own ledger, as its auditor."""
        with desk(self.countries[country].home, "auditor") as stub:
            return list(stub.ListLedger(ListLedgerRequest(limit=MOST_LINES, peer=peer)))


# --- 1 ---------------------------------------------------------------------------------------------------------------


def ask(tour: Tour) -> None:
    """A question to all peers at once."""
    number = tour.invented.telephone
    tour.teller.heading("Guatemala asks its peers about a telephone")
    tour.teller.say(
        f"An analyst in Guatemala investigates trafficking and asks about [bold]{quoted(number)}[/bold]. Her country's "
        "own rules let the question go; it is logged, signed, and sent to both peers at once:"
    )
    rows = []
    for response in tour.search(LookupKind.LOOKUP_KIND_TELEPHONE, number):
        tour.answers[response.peer] = response
        rows.append((response.peer, _told(response), f"{response.elapsed_us / 1_000:.0f} ms"))
    tour.teller.table(("peer", "answer", "after"), rows)
    require(set(tour.answers) == {"MX", "US"}, "both peers answer")
    for response in tour.answers.values():
        require(response.outcome == PeerOutcome.PEER_OUTCOME_ANSWERED, f"{response.peer} answers: {response.detail}")
    require(hits_of(tour, "MX", "entry"), "Mexico returns an entry")
    require(
        hits_of(tour, "US", "hit") and not hits_of(tour, "US", "entry"), "the United States return a hit and no entry"
    )


def _told(response: SearchResponse) -> str:
    hits = response.answer.hits
    if response.outcome != PeerOutcome.PEER_OUTCOME_ANSWERED:
        return response.detail
    entries = sum(hit.WhichOneof("kind") == "entry" for hit in hits)
    only = len(hits) - entries
    parts = [f"{entries} redacted {_plural('entry', 'entries', entries)}"] if entries else []
    parts += [f"{only} {_plural('hit', 'hits', only)}: something is held, ask for it"] if only else []
    return ", ".join(parts) or NOTHING


def _plural(one: str, more: str, count: int) -> str:
    return one if count == 1 else more


def hits_of(tour: Tour, peer: str, kind: str) -> list[Hit]:
    """Return the hits of a peer's answer that are of a kind: `entry`, `hit` or `pending`."""
    return [hit for hit in tour.answers[peer].answer.hits if hit.WhichOneof("kind") == kind]


# --- 2 ---------------------------------------------------------------------------------------------------------------


def read_answers(tour: Tour) -> None:
    """What Mexico's rules let go, value by value, and what the United States only hint at."""
    tour.teller.heading("What Mexico lets go, and what the United States only hint at")
    tour.teller.say("Mexico keeps the record; its rules decide on each value, for this country and this purpose.")
    grants: list[Grant] = []
    hits = sorted(hits_of(tour, "MX", "entry"), key=lambda hit: hit.entry.HasField("person"))
    kinds = [hit.entry.WhichOneof("entity") or "" for hit in hits]
    require(kinds == list(_TITLES), "Mexico returns a telephone and a person")
    links = [(link.kind, link.to_handle) for link in hits[1].entry.links]
    require((LinkKind.LINK_KIND_USES, hits[0].entry.handle) in links, "the person uses the telephone")
    for holder, hit in zip(kinds, hits, strict=True):
        tour.teller.say("")
        rows = list(released_rows(hit.entry))
        require(rows, f"the {holder} shows a value")
        grants += hit.entry.grants
        tour.teller.table(("", "Guatemala sees", "category", "outcome", "by rule"), rows, title=_TITLES[holder])
        kept = _kept_back(tour, hit)
        require(kept, f"Mexico keeps something of the {holder} back")
        tour.teller.aside(f"stays in Mexico (this tour tells, the answer does not): {', '.join(kept)}")
    terms = hits_of(tour, "MX", "entry")[0].entry.terms
    require(terms.obligations, "what leaves carries obligations")
    tour.teller.say("")
    tour.teller.say(f"[bold]Guatemala takes upon itself[/bold]: {terms_text(terms)}.")
    tour.teller.say(f"[bold]The law behind it[/bold]: {quoted(laws_of(grants))}.")
    hinted = hits_of(tour, "US", "hit")
    tour.teller.say(
        f"[bold]United States[/bold]: {len(hinted)} hits, without any value. {quoted(laws_of(hinted[0].hit.grants))}. "
        "Guatemala can ask for more, with a reason."
    )


def _kept_back(tour: Tour, hit: Hit) -> list[str]:
    """Name the fields that Mexico has filled in and that did not leave; none of their texts may be in the answer."""
    decision = next(each for each in _decisions(tour, "MX") if each.handle == hit.entry.handle)
    holder = hit.entry.WhichOneof("entity") or ""
    own = getattr(tour.invented.entry("MX", decision.entry_id), holder)
    seen = {name for name, *_ in released_rows(hit.entry)}
    kept = [each for each in held_fields(own, holder) if field_name(each) not in seen]
    answer = tour.answers["MX"].answer.SerializeToString()
    for each in kept:
        value = getattr(own, each.name)
        for text in value if each.is_repeated else [value]:
            asked = text == tour.invented.telephone  # which Guatemala knew before
            leaked = isinstance(text, str) and not asked and text.encode() in answer
            require(not leaked, f"{each.name} stays in Mexico")
    return [field_name(each) for each in kept]


def _decisions(tour: Tour, country: str) -> list[EntryDecision]:
    """Return what a country decided on the tour's question, from its own ledger."""
    return _decided(tour, country, tour.answers[country].exchange_id)


def _decided(tour: Tour, country: str, exchange: bytes) -> list[EntryDecision]:
    lines = [line for line in tour.ledger(country, "GT") if line.exchange_id == exchange]
    require(len(lines) == 1, f"{country} has logged the exchange in one line")
    return list(lines[0].decisions)


# --- 3 ---------------------------------------------------------------------------------------------------------------


def reveal(tour: Tour) -> None:
    """What stayed invisible: told by the demonstration, from Mexico's own ledger."""
    tour.teller.heading("What stays invisible")
    silent = [each for each in _decisions(tour, "MX") if each.outcome in _SILENT]
    require(silent, "Mexico holds something that it does not tell")
    facts = [parse_facts(each.facts) for each in silent]
    child = next((each for each in facts if each.kind == "PERSON"), None)
    if child is None:
        raise TourError("the tour stops: no person stays invisible")
    require(
        (child.minor, child.asylum, child.recipient_is_origin) == ("IS_MINOR", "CLAIMED", "IS_ORIGIN"),
        "a child who fled",
    )
    tour.teller.say(
        "The same telephone belongs to a girl from Guatemala, a victim of trafficking, who has asked Mexico for "
        "asylum. Guatemala is the state that she fled. The answer says nothing of it; this tour reads it in "
        "[bold]Mexico's[/bold] ledger, as Mexico's auditor:"
    )
    rules = {**floor_rules(), **tour.countries["MX"].rules()}
    fired = [rules[rule] for rule in silent[facts.index(child)].rules if rules[rule].effect == "deny"]
    known = [rule for rule in fired if is_met(rule.when, child, unknown=False)]
    require(known, "a rule withholds the child")
    tour.teller.table(("rule", "withholds", "law"), [(rule.id, rule.titles["en"], rule.law) for rule in known])
    others = len(fired) - len(known)
    tour.teller.aside(f"and {others} more, because something was not established: what is unknown protects")
    _indistinguishable(tour, child)


def _indistinguishable(tour: Tour, child: Facts) -> None:
    require(child.victim == "YES", "the child is a victim")
    number = _document_of_the_child(tour)
    tour.teller.say(
        "Guatemala now asks for the girl's identity document, which Mexico holds, and for a telephone that nobody has:"
    )
    rows = []
    for what, kind, value, is_held in (
        ("her document", LookupKind.LOOKUP_KIND_DOCUMENT_NUMBER, number, True),
        ("nobody's telephone", LookupKind.LOOKUP_KIND_TELEPHONE, NOBODYS_NUMBER, False),
    ):
        found = {response.peer: response for response in tour.search(kind, value)}
        require(found["MX"].outcome == PeerOutcome.PEER_OUTCOME_ANSWERED, "Mexico answers")
        require(not found["MX"].answer.ByteSize(), f"Mexico's answer about {what} is empty")
        decided = _decided(tour, "MX", found["MX"].exchange_id)
        require(bool(decided) == is_held, f"Mexico holds {'something' if is_held else 'nothing'} about {what}")
        rows.append((what, value, Text(_told(found["MX"]), style="bold")))
    tour.teller.table(("Guatemala asks for", "", "Mexico answers"), rows)
    tour.teller.done(
        f"The two answers are the same. “{NOTHING}” never means that nothing exists. Mexico's focal point sees what "
        "was held, with `enlace holds`."
    )


def _document_of_the_child(tour: Tour) -> str:
    silent = [each.entry_id for each in _decisions(tour, "MX") if each.outcome in _SILENT]
    for entry_id in silent:
        entry = tour.invented.entry("MX", entry_id)
        if entry.person.document_numbers:
            return entry.person.document_numbers[0]
    raise TourError("the tour stops: the child of the invented cases has no document")


# --- refusals --------------------------------------------------------------------------------------------------------


def name_without_basis(tour: Tour) -> None:
    """A query that names a person and does not say why."""
    tour.teller.heading("A person is named without a reason")
    before = tour.status("GT").ledger_size
    tour.teller.say(
        "A client (not `enlace search`, which would not) sends a name without an offence, a date, a place or a ground "
        "for suspicion. The node itself says:"
    )
    try:
        list(tour.search(LookupKind.LOOKUP_KIND_NAME, "Rogelio Inventado Ficticio"))
    except EnlaceError as error:
        tour.teller.refused(quoted(str(error)))
    else:
        raise TourError("the tour stops: a query that names a person without a basis was asked")
    lines = [line for line in tour.ledger("GT") if line.index >= before and line.kind == LeafKind.LEAF_KIND_DENIED]
    require(len(lines) == 1, "the refusal is a line in Guatemala's ledger")
    tour.teller.done(f"Nothing left Guatemala. That it was tried stands in its ledger, line {lines[0].index}.")
