"""`enlace entry`: what is known in a case."""

import json
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from node.cli.client import desk, desk_channel
from node.cli.home import home_of
from node.cli.output import (
    HomeOption,
    JsonOption,
    LanguageOption,
    OfficerOption,
    console,
    printable,
    say,
    show,
    time_text,
)
from node.cli.reading import message_dict, parse_message, read_text
from node.cli.received import ReasonOption, UntilOption, parse_until
from node.cli.records import entry_facts, entry_lines
from node.cli.words import id_text, parse_id
from node.errors import UsageError
from node.records.labels import Language
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.desk_pb2 import (
    DecideChangeRequest,
    GetEntryRequest,
    ListChangesRequest,
    PutEntryRequest,
    PutEntryResponse,
)
from node.wire.entry_pb2 import Entry
from node.wire.received_pb2 import ReviewEntryRequest

app = typer.Typer(help="Record what is known in a case, and read it.", no_args_is_help=True)

File = Annotated[str, typer.Argument(metavar="FILE", help='JSON of an entry; "-" for standard input.')]
EntryId = Annotated[str, typer.Argument(metavar="ENTRY", help="The entry's id.")]
ChangeId = Annotated[str, typer.Argument(metavar="CHANGE", help="The change's id, from `enlace entry changes`.")]


@app.command("add")
def add(
    file: File,
    *,
    officer: OfficerOption,
    language: LanguageOption,
    case: Annotated[str | None, typer.Option("--case", help="The case's id, where the file names none.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a new entry."""
    entry = parse_message(read_text(file), Entry())
    if entry.entry_id:
        raise UsageError("a new entry has no entry_id; `enlace entry edit` changes one that is here")
    if case:
        entry.case_id = parse_id(case)
    if not entry.case_id:
        raise UsageError("say in which case: --case, or case_id in the file")
    with desk(home_of(home), officer) as stub:
        kept = stub.PutEntry(PutEntryRequest(entry=entry)).entry
    _show(kept, language, as_json)


@app.command("show")
def show_entry(
    entry: EntryId,
    *,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an entry; that you looked is logged."""
    with desk(home_of(home), officer) as stub:
        found = stub.GetEntry(GetEntryRequest(entry_id=parse_id(entry))).entry
    _show(found, language, as_json)


@app.command("edit")
def edit(
    file: File,
    *,
    officer: OfficerOption,
    language: LanguageOption,
    reason: Annotated[str, typer.Option("--reason", help="Needed where protection gets weaker.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change an entry: the whole of it, as `enlace entry show --json` gave it, with your changes."""
    entry = parse_message(read_text(file), Entry())
    if not entry.entry_id:
        raise UsageError("the file has no entry_id; `enlace entry add` records a new entry")
    with desk(home_of(home), officer) as stub:
        response = stub.PutEntry(PutEntryRequest(entry=entry, reason=reason))
    if as_json:
        typer.echo(json.dumps(message_dict(response), ensure_ascii=False))
        return
    if response.pending_change:
        say(_pending_sentences(response))
    else:
        _show(response.entry, language, as_json=False)


def _pending_sentences(response: PutEntryResponse) -> list[str]:
    change = id_text(response.pending_change)
    return [
        f"This weakens protection: {', '.join(response.weakened)}.",
        "The entry stands as it was until a second officer decides:",
        f"  enlace entry confirm {change}",
        f"  enlace entry decline {change}",
    ]


@app.command("review")
def review(
    entry: EntryId,
    *,
    until: UntilOption,
    reason: ReasonOption,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide until when an entry is kept; of somebody protected, longer only with a second officer."""
    request = ReviewEntryRequest(entry_id=parse_id(entry), until_us=parse_until(until), reason=reason)
    with desk_channel(home_of(home), officer) as channel:
        kept = CorrespondenceStub(channel).ReviewEntry(request)
    change = id_text(kept.pending_change) if kept.pending_change else ""
    show({"entry": entry, "review": time_text(kept.review_us), "waits_for_a_second_officer": change}, as_json)


@app.command("changes")
def changes(
    *, officer: OfficerOption, language: LanguageOption, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """List changes that wait for a second officer, each beside the entry as it stands; that you looked is logged."""
    with desk(home_of(home), officer) as stub:
        waiting = stub.ListChanges(ListChangesRequest()).changes
        stand = [stub.GetEntry(GetEntryRequest(entry_id=change.entry_id)).entry for change in waiting]
    if as_json:
        document = [
            {**message_dict(change), "stands": message_dict(entry)}
            for change, entry in zip(waiting, stand, strict=True)
        ]
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    out = console()
    if not waiting:
        out.print("No change waits for a second officer.")
    for change, entry in zip(waiting, stand, strict=True):
        out.print(f"change      {id_text(change.change_id)}", soft_wrap=True)
        out.print(f"  entry     {id_text(change.entry_id)}", soft_wrap=True)
        out.print(f"  weakens   {', '.join(change.weakened)}", soft_wrap=True)
        out.print(f"  reason    {printable(change.reason)}", soft_wrap=True)
        out.print(f"  proposed  by {printable(change.proposed_by)}, {time_text(change.proposed_us)}", soft_wrap=True)
        out.print(_beside(entry, change.proposed, language))


def _beside(stands: Entry, proposed: Entry, language: Language) -> Table:
    """Return a table of two states of an entry; what differs is marked, and stands out."""
    now, then = (_by_name(entry, language) for entry in (stands, proposed))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "", "stands", "proposed"):
        table.add_column(heading, overflow="fold")
    for name in dict.fromkeys((*now, *then)):
        differs = now.get(name) != then.get(name)
        table.add_row("≠" if differs else "", name, now.get(name), then.get(name), style="bold" if differs else "")
    return table


def _by_name(entry: Entry, language: Language) -> dict[str, str]:
    facts: dict[str, str] = {}
    for name, text in entry_facts(entry, language):
        facts[name] = f"{facts[name]}\n{text}" if name in facts else text
    return facts


@app.command("confirm")
def confirm(
    change: ChangeId,
    *,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Confirm a change that another officer proposed: from now on the entry is less protected."""
    with desk(home_of(home), officer) as stub:
        decided = stub.DecideChange(DecideChangeRequest(change_id=parse_id(change), confirm=True)).entry
    _show(decided, language, as_json)


@app.command("decline")
def decline(
    change: ChangeId,
    *,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decline a change, or take your own back: the entry stays as it is."""
    with desk(home_of(home), officer) as stub:
        decided = stub.DecideChange(DecideChangeRequest(change_id=parse_id(change), confirm=False)).entry
    _show(decided, language, as_json)


def _show(entry: Entry, language: Language, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(message_dict(entry), ensure_ascii=False))
        return
    out = console()
    for line in entry_lines(entry, language):
        out.print(line, soft_wrap=True)
