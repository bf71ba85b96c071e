"""The tour's second act, continued: Mexico tells its peers unasked, and takes back what it told."""

import time
from typing import Final

from rich.text import Text

from node.cli.demo.telling import quoted
from node.cli.demo.tour import CASE, INSTRUMENT, Tour, require
from node.cli.output import time_text
from node.cli.words import word
from node.wire.codes_pb2 import Crime, DataCategory, LookupKind, Purpose, UnitType
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.deciding_pb2 import WouldLeave
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Selector
from node.wire.received_pb2 import FindReceivedRequest, ListReceivedRequest
from node.wire.request_pb2 import RequestAnswer
from node.wire.sharing_pb2 import (
    ListRecallsRequest,
    PreviewShareRequest,
    RecallItem,
    SendRecallRequest,
    SendShareRequest,
    ShareDraft,
    SharePreview,
)
from node.workflow.recalls import State

PEERS: Final = ("GT", "US")
SHARED_CASE: Final = "INVENTED-MX-03"
REASON: Final = "the plate was misread"
_KINDS: Final = {"route": "the route", "vehicle": "the lorry"}


def tell_unasked(tour: Tour) -> None:
    """A share, seen beforehand as each peer would get it."""
    tour.teller.heading("Mexico tells its peers, unasked")
    tour.teller.say(
        "Mexico's unit would tell both peers of a lorry on its road and of the route that it took. First it sees what "
        "each would get, exactly:"
    )
    own = {"route": _own(tour, "route"), "vehicle": _own(tour, "vehicle")}
    draft = ShareDraft(
        entry_ids=[each.entry_id for each in own.values()],
        peers=PEERS,
        purpose=Purpose.PURPOSE_INVESTIGATE,
        crimes=[Crime.CRIME_SMUGGLING_AGGRAVATED],
        instrument=INSTRUMENT,
        unit_type=UnitType.UNIT_TYPE_POLICE_INTELLIGENCE,
        case_reference=SHARED_CASE,
        words="Seen on this route; for your own work.",
    )
    with tour.corresponding("MX", "analyst") as stub:
        previews = {each.peer: each for each in stub.PreviewShare(PreviewShareRequest(draft=draft)).previews}
        _tell_previews(tour, own, previews)
        seen = [previews[peer].answer_sha256 for peer in PEERS]
        require(len(set(seen)) == len(PEERS), "each peer would get something else")
        items = stub.SendShare(SendShareRequest(draft=draft, answer_sha256=seen)).items
    tour.shared.update((each.peer, each.exchange_id) for each in items)
    require(set(tour.shared) == set(PEERS), "both were told")
    tour.teller.command("enlace share preview ROUTE LORRY; enlace share send ROUTE LORRY")
    _verify_came(tour, "GT", {"route", "vehicle"}, own["vehicle"])
    _verify_came(tour, "US", {"route"}, own["vehicle"])
    tour.teller.done(
        "Each peer has what its preview showed, by digest, and nothing else. Guatemala finds the lorry by its plate, "
        f"{quoted(own['vehicle'].vehicle.plate)}, with `enlace received find`."
    )


def _tell_previews(tour: Tour, own: dict[str, Entry], previews: dict[str, SharePreview]) -> None:
    rows: list[tuple[str | Text, ...]] = []
    for peer in PEERS:
        preview = previews[peer]
        require(preview.answer and not preview.held, f"{peer} would get something at once: {preview.nothing}")
        would = {each.entry_id: each for each in preview.entries}
        leaves = {kind: would[entry.entry_id] for kind, entry in own.items()}
        hits = RequestAnswer.FromString(preview.answer).hits
        require(len(hits) == sum(bool(each.categories) for each in leaves.values()), "what is shown is what leaves")
        rows.append((tour.countries[peer].name, *map(_told, leaves.values()), f"{preview.answer_sha256.hex()[:16]}…"))
    tour.teller.table(("would get", *_KINDS.values(), "digest"), rows)
    kept_back = next(each for each in previews["US"].entries if each.entry_id == own["vehicle"].entry_id)
    denials = [f"{each.rule}, {each.title} ({each.law})" for each in kept_back.explanation.denials]
    require(denials, "a rule keeps the lorry from the United States")
    tour.teller.aside(f"the lorry's driver is accused, and the United States get nothing of it: {quoted(denials[0])}")


def _verify_came(tour: Tour, peer: str, kinds: set[str], lorry: Entry) -> None:
    with tour.corresponding(peer, "analyst") as stub:
        came = tour.wait_for(f"what Mexico tells is at {peer}", lambda: _kinds(stub, tour.shared[peer]))
        require(came == kinds, f"{peer} has what the preview showed")
        require(_found(stub, lorry) == ("vehicle" in kinds), f"the lorry is to be found at {peer} as the preview said")


def _told(would: WouldLeave) -> Text:
    names = ", ".join(word(DataCategory.DESCRIPTOR, each) for each in would.categories)
    return Text(names or "nothing", style="green" if names else "red")


def take_back(tour: Tour) -> None:
    """A recall, out of use at once, and its receipt."""
    tour.teller.heading("Mexico takes the lorry back")
    lorry = _own(tour, "vehicle")
    request = SendRecallRequest(entry_ids=[lorry.entry_id], reason=REASON)
    with tour.corresponding("MX", "analyst") as mexico, tour.corresponding("GT", "analyst") as guatemala:
        tour.teller.say(f"Mexico's unit finds that {REASON}, and takes back what it told, from whoever was told:")
        started = time.monotonic()
        sent = mexico.SendRecall(request)
        require([each.peer for each in sent.items] == ["GT"], "the recall goes to Guatemala, which alone was told")
        tour.teller.command(f'enlace recall send LORRY --reason "{REASON}"')
        tour.wait_for("the lorry is out of use in Guatemala", lambda: not _found(guatemala, lorry))
        seconds = time.monotonic() - started
        require(_kinds(guatemala, tour.shared["GT"]) == {"route"}, "the route stays")
        after = "Less than a second" if seconds < 1 else f"{seconds:.0f} s"
        tour.teller.done(
            f"{after} later, Guatemala's analyst finds it no more, by plate or in a list. The route stays."
        )
        recalls = tour.wait_for("the receipt comes back", lambda: _deleted(mexico, lorry))
    receipt = recalls[0].receipt
    require(receipt.copies and receipt.withdrawn_us, "the receipt says what was deleted")
    tour.teller.say("A deletion receipt comes back, signed by Guatemala's node, as `enlace recall list` has it:")
    tour.teller.table(
        ("", "Guatemala says"),
        [
            ("out of use since", time_text(receipt.withdrawn_us)),
            ("deleted, keys and all", time_text(receipt.deleted_us)),
            ("copies", f"{receipt.copies}, in {', '.join(receipt.places)}"),
            ("backups of keys until", time_text(receipt.backups_until_us)),
        ],
    )
    tour.teller.say(
        "[bold]What that proves[/bold]: that Guatemala says so, signed and in both ledgers. It does not prove the "
        "erasure: no message can. Mexico's auditor can hold Guatemala to its word, and the same entry can't come back."
    )


def _own(tour: Tour, kind: str) -> Entry:
    """Return Mexico's invented route, or the vehicle of the case of a lorry."""
    cases = tour.invented.cases["MX"]
    return next(
        entry
        for case, entries in cases
        for entry in entries
        if entry.WhichOneof("entity") == kind and (kind == "route" or case.reference == SHARED_CASE)
    )


def _kinds(stub: CorrespondenceStub, exchange: bytes) -> set[str]:
    """Return which kinds of entries an officer's country keeps of an exchange."""
    kept = [each.received for each in stub.ListReceived(ListReceivedRequest(limit=500)).received]
    return {each.entry.WhichOneof("entity") or "" for each in kept if each.exchange_id == exchange}


def _found(stub: CorrespondenceStub, lorry: Entry) -> bool:
    selector = Selector(kind=LookupKind.LOOKUP_KIND_PLATE, value=lorry.vehicle.plate)
    find = FindReceivedRequest(selectors=[selector], purpose=Purpose.PURPOSE_INVESTIGATE, case_reference=CASE)
    return bool(stub.FindReceived(find).received)


def _deleted(stub: CorrespondenceStub, lorry: Entry) -> list[RecallItem]:
    return [
        each
        for each in stub.ListRecalls(ListRecallsRequest()).items
        if each.entry_id == lorry.entry_id and each.state == State.DELETED and each.receipt.deleted_us
    ]
