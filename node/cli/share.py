"""`enlace share`: telling peers unasked, seeing beforehand what each would get; `enlace flag` and `enlace update`."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from node.cli.answers import hit_lines
from node.cli.client import desk_channel
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, LanguageOption, OfficerOption, say, show, show_rows, time_text
from node.cli.words import id_text, parse_country, parse_id, parse_word, word, words
from node.errors import UsageError
from node.records.labels import Language
from node.wire.codes_pb2 import Crime, DataCategory, Purpose, UnitType
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, EntryOutcome
from node.wire.request_pb2 import RequestAnswer
from node.wire.share_pb2 import FlagKind
from node.wire.sharing_pb2 import (
    FlagItem,
    ListFlagsRequest,
    ListSharesRequest,
    NotSent,
    PreviewShareRequest,
    SendFlagRequest,
    SendShareRequest,
    SendUpdateRequest,
    ShareDraft,
    ShareItem,
    SharePreview,
)

app = typer.Typer(help="Tell peers of own entries unasked, as far as the rules let you.", no_args_is_help=True)
flags = typer.Typer(help="Say of a peer's entry that it is wrong, of the same person, or not for our law.")

EntriesArgument = Annotated[list[str], typer.Argument(metavar="ENTRY", help="Id of an own entry; up to 16.")]
PeersOption = Annotated[list[str] | None, typer.Option("--peer", help="Once for each; none: all that are paired.")]
DataOption = Annotated[list[str] | None, typer.Option("--data", help="Only this category, as identity; once for each.")]
PurposeOption = Annotated[str, typer.Option("--purpose", help="investigate, victim-id …")]
CrimeOption = Annotated[list[str] | None, typer.Option("--crime", help="Once for each.")]
InstrumentOption = Annotated[str, typer.Option("--instrument", help="Id in the directory.")]
UnitOption = Annotated[str, typer.Option("--for", help="Units of the peer that it is for: police_intelligence …")]
CaseOption = Annotated[str, typer.Option("--case", help="Your reference; opaque to the peer.")]
WordsOption = Annotated[str, typer.Option("--words", help="What its recipients are to know.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="At most 40 bytes, never about a person; it stays here.")]
_SENDER = {DIRECTION_SENT: "us", DIRECTION_RECEIVED: "them"}


@app.command("preview")
def preview(
    entry: EntriesArgument,
    *,
    peer: PeersOption = None,
    data: DataOption = None,
    purpose: PurposeOption = "investigate",
    crime: CrimeOption = None,
    instrument: InstrumentOption = "UNTOC",
    unit: UnitOption = "police_intelligence",
    case: CaseOption = "",
    words_to: WordsOption = "",
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each peer would get of entries, exactly, and why others would get nothing."""
    wanted = _draft(entry, peer, data, purpose, crime, instrument, unit, case, words_to)
    with desk_channel(home_of(home), officer) as channel:
        previews = _previews(CorrespondenceStub(channel), wanted, language)
    _show(previews, language, as_json)


@app.command("send")
def send(
    entry: EntriesArgument,
    *,
    peer: PeersOption = None,
    data: DataOption = None,
    purpose: PurposeOption = "investigate",
    crime: CrimeOption = None,
    instrument: InstrumentOption = "UNTOC",
    unit: UnitOption = "police_intelligence",
    case: CaseOption = "",
    words_to: WordsOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask once it is shown.")] = False,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each peer would get, and share that very thing; what a rule holds waits for a focal point."""
    wanted = _draft(entry, peer, data, purpose, crime, instrument, unit, case, words_to)
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        previews = _previews(stub, wanted, language)
        get = [each for each in previews if each.answer]
        if not as_json:
            _show(previews, language, as_json)
        if not get:
            raise UsageError("nobody would get anything: nothing is sent")
        if not yes:
            typer.confirm(f"Share this with {', '.join(each.peer for each in get)}?", abort=True, err=True)
        del wanted.peers[:]
        wanted.peers.extend(each.peer for each in get)
        digests = [each.answer_sha256 for each in get]
        items = stub.SendShare(SendShareRequest(draft=wanted, answer_sha256=digests)).items
    show_rows([_facts(each) for each in items], as_json, empty="Nothing was sent.")


@app.command("list")
def list_shares(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many, at most.")] = 100,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was shared, by this country and with it, the newest first."""
    with desk_channel(home_of(home), officer) as channel:
        items = CorrespondenceStub(channel).ListShares(ListSharesRequest(limit=limit)).items
    show_rows([_facts(each) for each in items], as_json, empty="Nothing was shared.")


def update(
    entry: EntriesArgument,
    *,
    reason: ReasonOption,
    peer: Annotated[list[str] | None, typer.Option("--peer", help="Once for each; none: all that were told.")] = None,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send entries as they are now to all who were told of them, as far as the rules let it leave."""
    request = SendUpdateRequest(
        entry_ids=[parse_id(each) for each in entry], peers=[parse_country(each) for each in peer or ()], reason=reason
    )
    with desk_channel(home_of(home), officer) as channel:
        response = CorrespondenceStub(channel).SendUpdate(request)
    rows = [
        {"peer": each.peer, "entry": each.entry_id, "exchange": each.exchange_id, "sent": True, "why": ""}
        for each in response.items
    ]
    show_rows([*rows, *map(not_sent, response.not_sent)], as_json, empty="No peer was told of this.")


def not_sent(each: NotSent) -> dict[str, object]:
    """Return a row on a peer to whom nothing was sent."""
    return {"peer": each.peer, "entry": each.entry_id, "exchange": b"", "sent": False, "why": each.why}


# --- flags -----------------------------------------------------------------------------------------------------------


@flags.command("send")
def flag(
    received: Annotated[str, typer.Argument(metavar="RECEIVED", help="Its id, from `enlace received list`.")],
    kind: Annotated[str, typer.Argument(metavar="KIND", help="wrong, same_person or incompatible.")],
    *,
    data: DataOption = None,
    entry: Annotated[str, typer.Option("--entry", help="Own entry of the same person.")] = "",
    purpose: PurposeOption = "investigate",
    crime: CrimeOption = None,
    instrument: InstrumentOption = "UNTOC",
    unit: UnitOption = "police_intelligence",
    case: CaseOption = "",
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Flag a peer's entry; what you hold of the same person leaves only as far as the rules let the peer know."""
    request = SendFlagRequest(
        received_id=parse_id(received),
        kind=parse_word(FlagKind.DESCRIPTOR, kind),  # type: ignore[arg-type]
        categories=_categories(data),
        entry_id=parse_id(entry) if entry else b"",
        purpose=parse_word(Purpose.DESCRIPTOR, purpose),  # type: ignore[arg-type]
        crimes=_crimes(crime),
        instrument=instrument,
        unit_type=parse_word(UnitType.DESCRIPTOR, unit),  # type: ignore[arg-type]
        case_reference=case,
    )
    with desk_channel(home_of(home), officer) as channel:
        item = CorrespondenceStub(channel).SendFlag(request).item
    show(flag_facts(item), as_json)


@flags.command("list")
def list_flags(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many, at most.")] = 100,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show flags of both directions, the newest first."""
    with desk_channel(home_of(home), officer) as channel:
        items = CorrespondenceStub(channel).ListFlags(ListFlagsRequest(limit=limit)).items
    show_rows([flag_facts(each) for each in items], as_json, empty="Nothing was flagged.")


def flag_facts(item: FlagItem) -> dict[str, object]:
    """Return a row on a flag."""
    basis = item.flag.basis
    held = basis.entry.handle if basis.HasField("entry") else basis.hit.handle
    return {
        "peer": item.peer,
        "flagged by": _SENDER.get(item.direction, ""),
        "kind": word(FlagKind.DESCRIPTOR, item.flag.kind),
        "data": words(DataCategory.DESCRIPTOR, item.flag.categories) or "the whole",
        "at": time_text(item.at_us),
        "entry": item.entry_id,
        "exchange": item.exchange_id,
        "same as": held,
    }


# --- inside ----------------------------------------------------------------------------------------------------------


def _draft(  # noqa: PLR0917 - the options of two commands
    entries: Iterable[str],
    peers: Iterable[str] | None,
    data: Iterable[str] | None,
    purpose: str,
    crimes: Iterable[str] | None,
    instrument: str,
    unit: str,
    case: str,
    words_to: str,
) -> ShareDraft:
    return ShareDraft(
        entry_ids=[parse_id(each) for each in entries],
        peers=[parse_country(each) for each in peers or ()],
        categories=_categories(data),
        purpose=parse_word(Purpose.DESCRIPTOR, purpose),  # type: ignore[arg-type]
        crimes=_crimes(crimes),
        instrument=instrument,
        unit_type=parse_word(UnitType.DESCRIPTOR, unit),  # type: ignore[arg-type]
        case_reference=case,
        words=words_to,
    )


def _categories(data: Iterable[str] | None) -> list[DataCategory.ValueType]:
    return [parse_word(DataCategory.DESCRIPTOR, each) for each in data or ()]  # type: ignore[misc]


def _crimes(crimes: Iterable[str] | None) -> list[Crime.ValueType]:
    return [parse_word(Crime.DESCRIPTOR, each) for each in crimes or ()]  # type: ignore[misc]


def _previews(stub: CorrespondenceStub, wanted: ShareDraft, language: Language) -> list[SharePreview]:
    return list(stub.PreviewShare(PreviewShareRequest(draft=wanted, language=language)).previews)


def _show(previews: Iterable[SharePreview], language: Language, as_json: bool) -> None:
    found = list(previews)
    rows = [
        {
            "peer": each.peer,
            "would get": f"{len(RequestAnswer.FromString(each.answer).hits)} of {len(each.entries)}",
            "first": f"{each.approvals} focal points sign" if each.held else "",
            "why nothing": each.nothing,
            "answer_sha256": each.answer_sha256,
            "entries": [
                f"{id_text(entry.entry_id)} {word(EntryOutcome.DESCRIPTOR, entry.outcome)}" for entry in each.entries
            ],
        }
        for each in found
    ]
    show_rows(rows, as_json, empty="No peer is paired.", only_json=("answer_sha256", "entries"))
    if not as_json:
        say(_lines(found, language))


def _lines(previews: Iterable[SharePreview], language: Language) -> Iterator[str]:
    for each in previews:
        for hit in RequestAnswer.FromString(each.answer).hits:
            yield ""
            yield f"{each.peer} would get:"
            yield from hit_lines(each.peer, hit, language)


def _facts(item: ShareItem) -> dict[str, object]:
    return {
        "share": item.share_id,
        "peer": item.peer,
        "shared by": _SENDER.get(item.direction, ""),
        "state": item.state,
        "entries": item.entries,
        "at": time_text(item.at_us),
        "exchange": item.exchange_id,
        "officer": item.officer,
    }
