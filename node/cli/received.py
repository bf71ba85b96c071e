"""`enlace received`: entries of other countries, what may be done with them and for how long; and legal holds."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import typer

from node.cli.answers import released_lines
from node.cli.client import desk_channel
from node.cli.guessing import guess_kind
from node.cli.home import home_of
from node.cli.output import (
    HomeOption,
    JsonOption,
    LanguageOption,
    OfficerOption,
    console,
    printable,
    show,
    show_rows,
    time_text,
)
from node.cli.reading import message_dict
from node.cli.words import all_named, id_text, parse_id, parse_interval, parse_word, word
from node.config import load_config
from node.errors import UsageError
from node.records.labels import Language
from node.wire import received_pb2 as wire
from node.wire.codes_pb2 import Caveat, LookupKind, Obligation, Purpose
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.exchange_pb2 import Selector
from node.wire.received_pb2 import ReceivedEntry, ReceivedSource, ShownReceived

app = typer.Typer(
    help="Use entries of other countries as their terms allow, and decide for how long they are kept.",
    no_args_is_help=True,
)

_US_PER_DAY: Final = 86_400_000_000

ReceivedId = Annotated[str, typer.Argument(metavar="RECEIVED", help="Its id, from `enlace received list`.")]
Subject = Annotated[str, typer.Argument(metavar="RECORD", help="Id of a case, an entry or a received entry.")]
PurposeOption = Annotated[str, typer.Option("--purpose", help="investigate, victim-id, protect-life …")]
UntilOption = Annotated[str, typer.Option("--until", help="The day on which it is due again: 2027-03-14.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="At most 40 bytes, never about a person; it is logged.")]


def parse_until(text: str) -> int:
    """Return the beginning of a day, UTC microseconds.

    Raises:
        UsageError: it is not a day.
    """
    return parse_interval(text).first_day * _US_PER_DAY


@app.command("list")
def list_received(
    *,
    case: Annotated[str | None, typer.Option("--case", help="Only those that this case, by its id, has.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="At most so many.")] = 100,
    after: Annotated[str | None, typer.Option("--after", help="The id of the last one of the list before.")] = None,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is here of other countries, with its terms and dates, without what it says."""
    request = wire.ListReceivedRequest(
        case_id=parse_id(case) if case else b"", after=parse_id(after) if after else b"", limit=limit
    )
    with desk_channel(home_of(home), officer) as channel:
        found = CorrespondenceStub(channel).ListReceived(request).received
    rows: list[dict[str, object]] = [
        {
            "received": each.received.received_id,
            "from": each.received.originator,
            "kind": each.received.entry.WhichOneof("entity") or "",
            "case": each.case_reference or "none yet",
            "terms": _terms(each.received, language),
            "until": time_text(each.received.review_us)[:10],
            "held": "held" if each.held else "",
            "source": word(ReceivedSource.DESCRIPTOR, each.received.source),
        }
        for each in found
    ]
    show_rows(rows, as_json, empty="Nothing of other countries is here.", only_json=("source",))


@app.command("show")
def show_received(
    received: ReceivedId,
    *,
    purpose: PurposeOption,
    case: Annotated[str, typer.Option("--case", help="Your case's reference; else that of the case it is with.")] = "",
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one, for a purpose that its terms allow; that you looked is logged."""
    request = wire.GetReceivedRequest(received_id=parse_id(received), purpose=_purpose(purpose), case_reference=case)
    with desk_channel(home_of(home), officer) as channel:
        found = CorrespondenceStub(channel).GetReceived(request).received
    _show([found], language, as_json)


@app.command("find")
def find(
    values: Annotated[list[str], typer.Argument(help="Telephone, plate, name …")],
    *,
    purpose: PurposeOption,
    case: Annotated[str, typer.Option("--case", help="Your case's reference.")],
    kind: Annotated[str | None, typer.Option("--kind", help="telephone, plate, name …; else told by its form.")] = None,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search what is here of other countries; what its terms rule out for this purpose is not found."""
    node = home_of(home)
    country = load_config(node.config).country
    told = parse_word(LookupKind.DESCRIPTOR, kind) if kind else 0
    request = wire.FindReceivedRequest(purpose=_purpose(purpose), case_reference=case)
    for value in values:
        known = told or guess_kind(value, country)
        if not known:
            raise UsageError("a value's form does not tell what it is: say --kind")
        request.selectors.append(Selector(kind=known, value=value))  # type: ignore[arg-type]
    with desk_channel(node, officer) as channel:
        found = CorrespondenceStub(channel).FindReceived(request).received
    _show(found, language, as_json)


@app.command("keep")
def keep(
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="Its id here; with --exchange, its handle.")],
    *,
    case: Annotated[str, typer.Option("--case", help="Your case's id.")],
    exchange: Annotated[
        str | None, typer.Option("--exchange", help="Of the answer that has it, as `enlace search` shows it.")
    ] = None,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep an entry of an answer with your case, or put one that is here already with it."""
    request = wire.KeepReceivedRequest(case_id=parse_id(case))
    if exchange:
        request.exchange_id, request.handle = parse_id(exchange), parse_id(entry)
    else:
        request.received_id = parse_id(entry)
    with desk_channel(home_of(home), officer) as channel:
        kept = CorrespondenceStub(channel).KeepReceived(request).received
    _show([kept], language, as_json)


@app.command("review")
def review(
    received: ReceivedId,
    *,
    until: UntilOption,
    reason: ReasonOption,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide until when it is kept; never longer than its originator allows."""
    request = wire.ReviewReceivedRequest(received_id=parse_id(received), until_us=parse_until(until), reason=reason)
    with desk_channel(home_of(home), officer) as channel:
        kept = CorrespondenceStub(channel).ReviewReceived(request).received
    _show([kept], language, as_json)


@app.command("bar")
def bar(
    received: ReceivedId,
    *,
    basis: Annotated[str, typer.Option("--basis", help="Why you believe so, in at most 40 bytes; it is logged.")],
    officer: OfficerOption,
    home: HomeOption = None,
) -> None:
    """Take what was got by torture out of every use, for good."""
    with desk_channel(home_of(home), officer) as channel:
        CorrespondenceStub(channel).BarReceived(wire.BarReceivedRequest(received_id=parse_id(received), basis=basis))
    console().print("It is of no use any more, in any of its copies, and the same can't come here again.")


@app.command("hold")
def hold(
    record: Subject,
    *,
    law: Annotated[str, typer.Option("--law", help="By which it is held, in at most 56 bytes.")],
    until: Annotated[str, typer.Option("--until", help="The day on which the hold ends; at most five years ahead.")],
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a record from being deleted. What is past its date, or was recalled, is of no use for that."""
    request = wire.PlaceLegalHoldRequest(subject=parse_id(record), law=law, until_us=parse_until(until))
    with desk_channel(home_of(home), officer) as channel:
        show(_hold_facts(CorrespondenceStub(channel).PlaceLegalHold(request).hold), as_json)


@app.command("release-hold")
def release_hold(
    record: Subject,
    *,
    reason: ReasonOption,
    officer: OfficerOption,
    home: HomeOption = None,
) -> None:
    """End a legal hold: what is past its date is deleted at once."""
    request = wire.ReleaseLegalHoldRequest(subject=parse_id(record), reason=reason)
    with desk_channel(home_of(home), officer) as channel:
        CorrespondenceStub(channel).ReleaseLegalHold(request)
    console().print("The hold has ended.")


@app.command("holds")
def holds(*, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show legal holds on received entries, cases and entries, the earliest ending first."""
    with desk_channel(home_of(home), officer) as channel:
        found = CorrespondenceStub(channel).ListLegalHolds(wire.ListLegalHoldsRequest()).holds
    show_rows([_hold_facts(each) for each in found], as_json, empty="Nothing is held.")


def _hold_facts(hold: wire.LegalHold) -> dict[str, object]:
    return {
        "record": id_text(hold.subject),
        "law": hold.law,
        "until": time_text(hold.until_us),
        "by": hold.placed_by,
        "placed": time_text(hold.placed_us),
    }


def _purpose(text: str) -> Purpose.ValueType:
    return parse_word(Purpose.DESCRIPTOR, text)  # type: ignore[return-value]


def _terms(received: ReceivedEntry, language: Language) -> str:
    """What binds whoever uses it: shown wherever it is listed."""
    entry = received.entry
    obligations = all_named(Obligation.DESCRIPTOR, entry.terms.obligations, language)
    parts = [obligations, all_named(Caveat.DESCRIPTOR, entry.caveats, language), entry.handling_text]
    return "; ".join(part for part in parts if part)


def _show(found: Sequence[ShownReceived], language: Language, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([message_dict(each) for each in found], ensure_ascii=False))
        return
    out = console()
    if not found:
        out.print("Nothing of other countries that may be used so is here.")
    for each in found:
        for line in _lines(each, language):
            out.print(line, soft_wrap=True)
        out.print()


def _lines(each: ShownReceived, language: Language) -> Iterator[str]:
    received = each.received
    yield from released_lines(received.originator, received.entry, language)
    if received.peer != received.originator:
        yield f"  sent by      {received.peer}"
    yield f"  received     {id_text(received.received_id)}, {time_text(received.received_us)}"
    yield f"  kept with    {printable(each.case_reference) or 'no case yet'}"
    if received.delete_us:
        yield f"  delete by    {time_text(received.delete_us)}: nothing but {received.originator}'s consent moves that"
    yield f"  kept until   {time_text(received.review_us)}{', held by law' if each.held else ''}"
    yield f"  exchange     {id_text(received.exchange_id)}"
