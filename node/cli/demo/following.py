"""The tour's second act: what follows a hit. Guatemala asks for more, Mexico decides, and a deadline passes."""

from typing import Final

from node.cli.demo import ledgers
from node.cli.demo.processes import enlace
from node.cli.demo.telling import category_name, field_name, quoted, released_rows, terms_text
from node.cli.demo.tour import CASE, INSTRUMENT, Tour, hits_of, require
from node.cli.output import time_text
from node.cli.queue import DIGITS_READ
from node.cli.request import left_text
from node.cli.words import word
from node.config import load_config
from node.policy.narrowing import categories_in
from node.wire.codes_pb2 import Crime, DataCategory, Purpose, Urgency
from node.wire.deciding_pb2 import (
    GetRequestRequest,
    ListQueueRequest,
    ListRequestsRequest,
    PrepareReleaseRequest,
    PrepareReleaseResponse,
    RequestItem,
    SendRequestRequest,
)
from node.wire.exchange_pb2 import ReleasedEntry
from node.wire.received_pb2 import GetReceivedRequest, ListReceivedRequest, ReceivedSource
from node.wire.request_pb2 import FollowUpRequest
from node.workflow.requests import ASKING, DECIDING, Actor, Event, State

FOCAL: Final = "focal-1"
SHORT: Final = 8  # digits of an id, as commands take them
_WANTED: Final = (
    DataCategory.DATA_CATEGORY_IDENTITY,
    DataCategory.DATA_CATEGORY_NATIONALITY,
    DataCategory.DATA_CATEGORY_LOCATION,
    DataCategory.DATA_CATEGORY_CRIMINAL_RECORD,
)
_GRANTED: Final = (DataCategory.DATA_CATEGORY_IDENTITY, DataCategory.DATA_CATEGORY_NATIONALITY)
_WHY: Final = "The man recruits here too. A judge decides tomorrow on a search, and asks who he is."
_URGENT: Final = "A judge decides tomorrow morning."
_WORDS: Final = "Who he is, yes. Where he is stays with us: we have people near him."
_US_PER_HOUR: Final = 3_600_000_000


def ask_for_more(tour: Tour) -> None:
    """A follow-up request, as the unit writes it."""
    tour.teller.heading("Guatemala asks Mexico for more")
    tour.teller.say(
        "A query finds; police work is what follows. The analyst asks Mexico for more about the man whose entry came "
        "redacted, in the exchange of her query:"
    )
    item = _ask(tour, "MX", [_person(tour).handle], _WANTED, Urgency.URGENCY_URGENT)
    require(item.due_us - item.at_us == 8 * _US_PER_HOUR, "an urgent request is due in eight hours")
    tour.teller.table(
        ("", "Guatemala asks"),
        [
            ("for", ", ".join(map(category_name, _WANTED))),
            ("why", _WHY),
            ("urgency", f"{word(Urgency.DESCRIPTOR, item.urgency)}: {_URGENT}"),
            ("due", f"{time_text(item.due_us)}, {left_text(item.due_us, item.at_us)}"),
            ("state", item.state),
        ],
    )
    tour.teller.command("enlace request send MX EXCHANGE HANDLE --data identity … --why …")


def decide(tour: Tour) -> None:
    """What the focal point sees, and grants of it."""
    tour.teller.heading("Mexico's focal point decides")
    item = tour.asked["MX"]
    with tour.corresponding("MX", FOCAL) as stub:
        waiting = tour.wait_for(
            "the request waits in Mexico's queue",
            lambda: [each for each in stub.ListQueue(ListQueueRequest()).items if each.request_id == item.request_id],
        )[0]
        require((waiting.peer, waiting.due_us) == ("GT", item.due_us), "both sides go by the same due time")
        asked = PrepareReleaseRequest(request_id=item.request_id, peer="GT", language="en")
        most = stub.PrepareRelease(asked)
        asked.categories.extend(sorted(_GRANTED))
        asked.words = _WORDS
        chosen = stub.PrepareRelease(asked)
    _tell_choice(tour, waiting, most, chosen)
    digest = chosen.answer_sha256.hex()[:DIGITS_READ]
    tour.teller.say(
        f"She lets who he is leave, and not where. That makes a message with the digest [bold]{digest}…[/bold]. She "
        "signs that very message with her own key; the node lets nothing else leave, and nothing if it changes:"
    )
    short, home = item.request_id.hex()[:SHORT], tour.countries["MX"].home
    data = [part for each in _GRANTED for part in ("--data", word(DataCategory.DESCRIPTOR, each))]
    key = str(home.focal / f"{FOCAL}.pem")
    tour.teller.command(f"enlace grant {short} --data identity … --message {digest} --key KEY")
    words = ("grant", short, *data, "--words", _WORDS, "--message", digest, "--key", key)
    granted = enlace(*words, "--home", str(home.path), "--as", FOCAL)
    require(granted["state"] == State.PARTLY_GRANTED, "Mexico's focal point has granted a part")
    tour.teller.done(
        "Granted in part. What leaves is a line in Mexico's ledger first, with what was decided on each entry."
    )


def _tell_choice(
    tour: Tour, waiting: RequestItem, most: PrepareReleaseResponse, chosen: PrepareReleaseResponse
) -> None:
    left = left_text(waiting.due_us, waiting.at_us)
    tour.teller.say(
        f"It stands in the queue of Mexico's focal points: [bold]{word(Urgency.DESCRIPTOR, waiting.urgency)}[/bold], "
        f"due {left}, asked by “{quoted(waiting.unit)}”. Before she decides, she sees what would leave and what the "
        "floor forbids, whoever approves:"
    )
    (entry,), (kept) = most.entries, chosen.entries[0]
    rows = []
    for each in _WANTED:
        leaves, forbidden = each in entry.categories, each in entry.forbidden
        require(leaves != forbidden, f"{category_name(each)} would leave, or the floor forbids it")
        may = "may leave, by Mexico's rules" if leaves else "the floor forbids it"
        rows.append((category_name(each), may, "leaves" if each in kept.categories else "stays"))
    require(sorted(kept.categories) == sorted(_GRANTED), "what is chosen leaves, and nothing else")
    require([row[1] for row in rows].count("the floor forbids it") == 1, "the floor forbids the criminal record")
    tour.teller.table(("Guatemala asks for", "", "her choice"), rows)


def receive(tour: Tour) -> None:
    """What came, and on what terms it is kept."""
    tour.teller.heading("What Guatemala gets, and owes for it")
    item = tour.asked["MX"]
    with tour.corresponding("GT", "analyst") as stub:
        tour.wait_for(
            "the answer is in Guatemala's inbox",
            lambda: [
                each
                for each in stub.ListRequests(ListRequestsRequest()).items
                if each.request_id == item.request_id and each.state == State.PARTLY_GRANTED
            ],
        )
        answer = stub.GetRequest(GetRequestRequest(request_id=item.request_id, peer="MX")).detail.answer
        require(len(answer.hits) == 1, "one entry is granted")
        entry = answer.hits[0].entry
        require(categories_in(entry) <= set(_GRANTED), "no more came than was granted")
        require(answer.words == _WORDS, "Mexico's words came")
        rows = list(released_rows(entry))
        require({row[2] for row in rows} == set(map(category_name, _GRANTED)), "what was granted came")
        tour.teller.table(("", "Guatemala sees", "category", "outcome", "by rule"), rows)
        tour.teller.say(f"Mexico adds: “{quoted(answer.words)}”")
        kept = [
            each.received
            for each in stub.ListReceived(ListReceivedRequest(limit=500)).received
            if each.received.exchange_id == item.exchange_id
            and each.received.source == ReceivedSource.RECEIVED_SOURCE_GRANT
        ]
        require(len(kept) == 1, "what was granted is kept apart from own records")
        looked = GetReceivedRequest(
            received_id=kept[0].received_id, purpose=Purpose.PURPOSE_INVESTIGATE, case_reference=CASE
        )
        received = stub.GetReceived(looked).received.received
    require(received.originator == "MX" and received.entry.terms.obligations, "it came with obligations")
    tour.teller.say("It lies apart from Guatemala's own records, with its terms, as `enlace received show` has it:")
    tour.teller.table(
        ("", ""),
        [
            ("originator", received.originator),
            ("takes upon itself", terms_text(received.entry.terms)),
            ("delete by", f"{time_text(received.delete_us)}; nothing but Mexico's consent moves that"),
            ("kept until", time_text(received.review_us)),
        ],
    )
    never = field_name(received.entry.person.DESCRIPTOR.fields_by_name["criminal_record"])
    tour.teller.done(
        f"No {never} came, and not where he is. The answer to the query had his name too: by a request the rules let "
        "nothing more leave. New is that a human has read why, decided, and signed."
    )


def let_pass(tour: Tour) -> None:
    """A request that nobody decides on, and what the clock does with it."""
    tour.teller.heading("Nobody decides, and a deadline passes")
    handles = [hit.hit.handle for hit in hits_of(tour, "US", "hit")]
    item = _ask(tour, "US", handles, (), Urgency.URGENCY_ROUTINE)
    with tour.corresponding("US", FOCAL) as stub:
        tour.wait_for(
            "the request waits in the queue of the United States",
            lambda: [each for each in stub.ListQueue(ListQueueRequest()).items if each.request_id == item.request_id],
        )
    tour.teller.say(
        f"Guatemala asks the United States about their {len(handles)} hits too, as a routine. It waits there, due "
        f"{left_text(item.due_us, item.at_us)}. No tour lasts that long and nothing moves a node's clock. So this one "
        "asks both databases what the nodes ask them every second, once as of a moment before the due time and "
        "once as of that time:"
    )
    rows = []
    for code, machine in (("GT", ASKING), ("US", DECIDING)):
        config = load_config(tour.countries[code].home.config)
        before, then = (ledgers.overdue(config, at_us) for at_us in (item.due_us - 1, item.due_us))
        require(item.request_id not in before, f"{code} waits until the due time")
        require(item.request_id in then, f"{code} ends it at the due time")
        (row,) = [each for each in machine.rows if each.event == Event.EXPIRE and State.ASKED in each.states]
        to = machine.after(State.ASKED, Event.EXPIRE, Actor.CLOCK)
        rows.append((tour.countries[code].name, State.ASKED, "in time", f"{to}: {row.note}"))
    tour.teller.table(("", "now", "a moment before", "at the due time"), rows)
    tour.teller.done(
        "Silence is refusal. It is a line in both ledgers then, and in `enlace request numbers` the United States "
        "count as late; three quarters of the time over, all focal points there are told."
    )


def _person(tour: Tour) -> ReleasedEntry:
    return next(hit.entry for hit in hits_of(tour, "MX", "entry") if hit.entry.HasField("person"))


def _ask(
    tour: Tour,
    peer: str,
    handles: list[bytes],
    categories: tuple[DataCategory.ValueType, ...],
    urgency: Urgency.ValueType,
) -> RequestItem:
    request = FollowUpRequest(
        handles=handles,
        categories=categories,
        why=_WHY,
        purpose=Purpose.PURPOSE_INVESTIGATE,
        crimes=[Crime.CRIME_TRAFFICKING],
        urgency=urgency,
        urgency_reason=_URGENT if urgency == Urgency.URGENCY_URGENT else "",
        case_reference=CASE,
        instrument=INSTRUMENT,
    )
    asked = SendRequestRequest(peer=peer, exchange_id=tour.answers[peer].exchange_id, request=request)
    with tour.corresponding("GT", "analyst") as stub:
        item = stub.SendRequest(asked).item
    require(item.state == State.ASKED, f"Guatemala has asked {peer}")
    tour.asked[peer] = item
    return item
