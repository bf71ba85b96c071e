"""`enlace request`: asking a peer for more than it answered, and seeing how that stands; `enlace inbox`."""

import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import typer

from node.cli.alert import ALERT_JSON, alert_rows
from node.cli.answers import hit_lines
from node.cli.client import desk_channel
from node.cli.home import home_of
from node.cli.output import (
    HomeOption,
    JsonOption,
    LanguageOption,
    OfficerOption,
    printable,
    say,
    show,
    show_rows,
    time_text,
)
from node.cli.share import flag_facts
from node.cli.words import parse_country, parse_id, parse_word, word
from node.errors import UsageError
from node.records.labels import Language
from node.wire.codes_pb2 import Crime, DataCategory, Purpose, Refusal, Urgency
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.deciding_pb2 import (
    CountRequestsRequest,
    GetRequestRequest,
    ListInboxRequest,
    ListRequestsRequest,
    ReplyToAnswerRequest,
    RequestDetail,
    RequestItem,
    RequestOrigin,
    SendRequestRequest,
)
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT
from node.wire.request_pb2 import FollowUpRequest
from node.wire.sharing_pb2 import ListFlagsRequest

app = typer.Typer(help="Ask a peer for more than it answered, and see how that stands.", no_args_is_help=True)

RequestArgument = Annotated[
    str, typer.Argument(metavar="REQUEST", help="Its id, or the first digits as lists show it.")
]
DataOption = Annotated[list[str] | None, typer.Option("--data", help="A category, as identity; once for each.")]
Why = Annotated[str, typer.Option("--why", help="Why it is needed; the peer's focal point reads it.")]
_DAY_US: Final = 86_400 * 1_000_000
_MINUTE_US: Final = 60_000_000
_HOUR_MINUTES: Final = 60
_ONLY_JSON: Final = ("exchange", "asked", "officer", "unit", "origin", "refusal")
_FLAGS: Final = 50
_FLAG_DAYS: Final = 7  # for which one shows
_DAY_HOURS: Final = 48  # from so many on, days are easier to read


@app.command("send")
def send(
    peer: Annotated[str, typer.Argument(help="ISO 3166-1 alpha-2.")],
    exchange: Annotated[str, typer.Argument(help="Of the search, as it was shown.")],
    handle: Annotated[list[str], typer.Argument(help="Of one entry or more, as shown.")],
    *,
    why: Why,
    data: DataOption = None,
    purpose: Annotated[str, typer.Option("--purpose", help="investigate, victim-id …")] = "investigate",
    crime: Annotated[list[str] | None, typer.Option("--crime", help="Once for each.")] = None,
    instrument: Annotated[str, typer.Option("--instrument", help="Id in the directory.")] = "UNTOC",
    urgency: Annotated[
        str, typer.Option("--urgency", help="life 2 h, urgent 8 h, priority 3 d, routine 7 d.")
    ] = "routine",
    reason: Annotated[str, typer.Option("--reason", help="Of the urgency, for life and urgent.")] = "",
    case: Annotated[str, typer.Option("--case", help="Your reference; opaque to the peer.")] = "",
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a peer for more of what it answered; no answer in time is a refusal."""
    request = FollowUpRequest(
        handles=[parse_id(each) for each in handle],
        categories=_categories(data),
        why=why,
        purpose=parse_word(Purpose.DESCRIPTOR, purpose),  # type: ignore[arg-type]
        crimes=[parse_word(Crime.DESCRIPTOR, each) for each in crime or ()],  # type: ignore[misc]
        urgency=parse_word(Urgency.DESCRIPTOR, urgency),  # type: ignore[arg-type]
        urgency_reason=reason,
        case_reference=case,
        instrument=instrument,
    )
    asked = SendRequestRequest(peer=parse_country(peer), exchange_id=parse_id(exchange), request=request)
    with desk_channel(home_of(home), officer) as channel:
        item = CorrespondenceStub(channel).SendRequest(asked).item
    show(_facts(item, _now_us()), as_json)


@app.command("again")
def again(
    request: RequestArgument,
    *,
    why: Why,
    data: DataOption = None,
    handle: Annotated[list[str] | None, typer.Option("--handle", help="Only of this entry; once for each.")] = None,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask again for less than an earlier request did; while that one waits, this takes its place."""
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        old = _detail(stub, request)
        new = FollowUpRequest()
        new.CopyFrom(old.request)
        new.narrows, new.why = old.item.request_id, why
        if data:
            new.ClearField("categories")
            new.categories.extend(_categories(data))
        if handle:
            del new.handles[:]
            new.handles.extend(parse_id(each) for each in handle)
        asked = SendRequestRequest(peer=old.item.peer, exchange_id=old.item.exchange_id, request=new)
        show(_facts(stub.SendRequest(asked).item, _now_us()), as_json)


@app.command("list")
def list_requests(
    *,
    waiting: Annotated[bool, typer.Option("--open", help="Only those that nobody has decided.")] = False,
    emergency: Annotated[bool, typer.Option("--emergency", help="Only what one focal point released alone.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many, at most.")] = 100,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show requests: a unit those that this country sent, a focal point and an auditor all."""
    with desk_channel(home_of(home), officer) as channel:
        request = ListRequestsRequest(open_only=waiting, emergency_only=emergency, limit=limit)
        items = CorrespondenceStub(channel).ListRequests(request).items
    show_items(items, as_json, empty="No request is like that.")


@app.command("show")
def show_request(
    request: RequestArgument,
    *,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one request with what was granted, and what you owe for it; that you looked is a ledger line."""
    with desk_channel(home_of(home), officer) as channel:
        detail = _detail(CorrespondenceStub(channel), request)
    show(_facts(detail.item, _now_us()) | asked_facts(detail), as_json)
    if not as_json:
        say(answer_lines(detail, language))


@app.command("reply")
def reply(
    request: RequestArgument,
    words: Annotated[str, typer.Argument(help="What the peer's focal point is to know.")],
    *,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer back: say something to the peer's answer."""
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        request_id = named(stub, request).request_id
        stub.ReplyToAnswer(ReplyToAnswerRequest(request_id=request_id, words=words))
    show({"request": request_id, "said": words}, as_json)


@app.command("numbers")
def numbers(
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=3_660, help="Asked in so many days.")] = 30,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was asked, answered, refused and left too long, by peer and in both directions."""
    since_us = _now_us() - days * _DAY_US
    with desk_channel(home_of(home), officer) as channel:
        counts = CorrespondenceStub(channel).CountRequests(CountRequestsRequest(since_us=since_us)).counts
    rows = [
        {
            "peer": each.peer,
            "who asked": "we" if each.direction == DIRECTION_SENT else "they",
            "asked": each.asked,
            "granted": each.granted,
            "in part": each.partly_granted,
            "refused": each.refused,
            "late": each.late,
            "open": each.open,
            "refused for": [f"{word(Refusal.DESCRIPTOR, why.refusal)} {why.count}" for why in each.reasons],
        }
        for each in counts
    ]
    show_rows(rows, as_json, empty="Nothing was asked in that time.")


def inbox(*, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what came for your unit, or waits for you as a focal point, the earliest due first."""
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        came = stub.ListInbox(ListInboxRequest())
        flags = stub.ListFlags(ListFlagsRequest(direction=DIRECTION_RECEIVED, limit=_FLAGS)).items
    rows = [_facts(each, _now_us()) for each in came.items]
    since_us = _now_us() - _FLAG_DAYS * _DAY_US
    flagged = [flag_facts(each) for each in flags if each.at_us >= since_us]
    if as_json:
        rows = [*rows, *alert_rows(came.alerts), *flagged]
    if rows or not (came.alerts or flagged):
        show_rows(rows, as_json, empty="Nothing waits for you.", only_json=_ONLY_JSON)
    if came.alerts and not as_json:
        show_rows(alert_rows(came.alerts), as_json, empty="", only_json=ALERT_JSON)
    if flagged and not as_json:
        show_rows(flagged, as_json, empty="")


# --- shown alike everywhere ------------------------------------------------------------------------------------------


def show_items(items: Iterable[RequestItem], as_json: bool, *, empty: str) -> None:
    """Print requests as a table, or as JSON."""
    now_us = _now_us()
    show_rows([_facts(each, now_us) for each in items], as_json, empty=empty, only_json=_ONLY_JSON)


def left_text(due_us: int, now_us: int) -> str:
    """Return how much time is left, as somebody reads it at night."""
    minutes = abs(due_us - now_us) // _MINUTE_US
    hours, minutes = divmod(minutes, _HOUR_MINUTES)
    text = f"{hours // 24} d {hours % 24} h" if hours >= _DAY_HOURS else f"{hours} h {minutes:02} min"
    return f"in {text}" if due_us > now_us else f"{text} ago"


def _facts(item: RequestItem, now_us: int) -> dict[str, object]:
    return {
        "request": item.request_id,
        "peer": item.peer,
        "asked by": "us" if item.direction == DIRECTION_SENT else "them",
        "state": ", ".join([item.state, *_remarks(item)]),
        "urgency": word(Urgency.DESCRIPTOR, item.urgency),
        "due": left_text(item.due_us, now_us),
        "due at": time_text(item.due_us),
        "taken by": item.taken_by,
        "silent": item.origin == RequestOrigin.REQUEST_ORIGIN_HELD_SILENTLY,
        "origin": word(RequestOrigin.DESCRIPTOR, item.origin),
        "exchange": item.exchange_id,
        "asked": time_text(item.at_us),
        "officer": item.officer,
        "unit": item.unit,
        "refusal": word(Refusal.DESCRIPTOR, item.refusal) if item.refusal else "",
    }


def _remarks(item: RequestItem) -> Iterator[str]:
    if item.emergency:
        upheld = "upheld" if item.upheld else "not upheld"
        yield f"in an emergency, {upheld if item.reviewed_by else 'to be reviewed'}"
    if item.late:
        yield "late"


def asked_facts(detail: RequestDetail) -> dict[str, object]:
    """Return what was asked, and why."""
    request = detail.request
    return {
        "why": printable(request.why) or "a query, whose answer was held",
        "data": [word(DataCategory.DESCRIPTOR, each) for each in request.categories] or "whatever the rules let leave",
        "purpose": word(Purpose.DESCRIPTOR, request.purpose),
        "crimes": [word(Crime.DESCRIPTOR, each) for each in request.crimes],
        "instrument": printable(request.instrument),
        "case": printable(request.case_reference),
        "because": printable(request.urgency_reason),
        "replies": [printable(each) for each in detail.replies],
    }


def answer_lines(detail: RequestDetail, language: Language) -> Iterator[str]:
    """Yield the lines that show an answer."""
    if detail.answer.words:
        yield f"{detail.item.peer} says: {printable(detail.answer.words)}"
    for hit in detail.answer.hits:
        yield ""
        yield from hit_lines(detail.item.peer, hit, language)


def named(stub: CorrespondenceStub, typed: str) -> RequestItem:
    """Return the request that an id, or its first digits, stand for.

    Raises:
        UsageError: there is none, or more than one.
    """
    digits = typed.strip().lower().replace("-", "")
    items = stub.ListRequests(ListRequestsRequest(limit=1_000)).items
    found = [each for each in items if digits and each.request_id.hex().startswith(digits)]
    if len(found) != 1:
        what = "no request has" if not found else "more than one request has"
        raise UsageError(f"{what} an id that begins with {typed}: see `enlace request list`")
    return found[0]


def _detail(stub: CorrespondenceStub, typed: str) -> RequestDetail:
    item = named(stub, typed)
    return stub.GetRequest(GetRequestRequest(request_id=item.request_id, peer=item.peer)).detail


def _categories(data: Iterable[str] | None) -> list[DataCategory.ValueType]:
    return [parse_word(DataCategory.DESCRIPTOR, each) for each in data or ()]  # type: ignore[misc]


def _now_us() -> int:
    return time.time_ns() // 1_000
