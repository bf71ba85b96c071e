"""`enlace case`: dossiers of this country."""

import json
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich import box
from rich.table import Table

from node.cli.client import desk, desk_channel
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, LanguageOption, OfficerOption, console, printable, show, time_text
from node.cli.reading import message_dict
from node.cli.received import ReasonOption, UntilOption, parse_until
from node.cli.records import case_lines, entry_lines
from node.cli.words import id_text, parse_id, parse_interval, parse_word
from node.records.labels import Language
from node.wire.codes_pb2 import Crime
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.desk_pb2 import GetCaseRequest, ListCasesRequest, PutCaseRequest
from node.wire.entry_pb2 import Case, Entry
from node.wire.received_pb2 import ReviewCaseRequest

app = typer.Typer(help="Record cases, and read them.", no_args_is_help=True)

_US_PER_DAY: Final = 86_400_000_000


@app.command("new")
def new_case(
    reference: Annotated[str, typer.Argument(help="The national file number.")],
    *,
    title: Annotated[str, typer.Option("--title", help="For people of your own country.")],
    crimes: Annotated[list[str], typer.Option("--crime", help="trafficking, kidnapping …; repeatable.")],
    officer: OfficerOption,
    language: LanguageOption,
    unit: Annotated[str, typer.Option("--unit", help="That owns it; else your own.")] = "",
    review: Annotated[
        str | None, typer.Option("--review", help="The day on which it is reviewed; at most five years ahead.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a case, and print its id."""
    case = Case(
        reference=reference,
        title=title,
        crimes=[parse_word(Crime.DESCRIPTOR, each) for each in crimes],  # type: ignore[misc]
        unit=unit,
        review_us=parse_interval(review).first_day * _US_PER_DAY if review else 0,
        open=True,
    )
    with desk(home_of(home), officer) as stub:
        kept = stub.PutCase(PutCaseRequest(case=case)).case
    _show_case(kept, [], language, as_json)


@app.command("list")
def list_cases(
    *,
    officer: OfficerOption,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="At most so many.")] = 100,
    after: Annotated[str | None, typer.Option("--after", help="The id of the last case of the list before.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List cases, the oldest first."""
    request = ListCasesRequest(limit=limit, after=parse_id(after) if after else b"")
    with desk(home_of(home), officer) as stub:
        cases = stub.ListCases(request).cases
    if as_json:
        typer.echo(json.dumps([message_dict(case) for case in cases], ensure_ascii=False))
        return
    out = console()
    if not cases:
        out.print("There is no case.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("case", no_wrap=True)  # to be copied into the next command
    for heading in ("reference", "title", "state", "review"):
        table.add_column(heading, overflow="fold")
    for case in cases:
        state = "open" if case.open else "closed"
        facts = (id_text(case.case_id), case.reference, case.title, state, time_text(case.review_us)[:10])
        table.add_row(*map(printable, facts))
    out.print(table)


@app.command("show")
def show_case(
    case: Annotated[str, typer.Argument(help="The case's id.")],
    *,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a case with all its entries; that you looked is logged."""
    with desk(home_of(home), officer) as stub:
        found = stub.GetCase(GetCaseRequest(case_id=parse_id(case)))
    _show_case(found.case, found.entries, language, as_json)


@app.command("review")
def review(
    case: Annotated[str, typer.Argument(help="The case's id.")],
    *,
    until: UntilOption,
    reason: ReasonOption,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide until when a case is kept; what nobody decides on is deleted at its date."""
    request = ReviewCaseRequest(case_id=parse_id(case), until_us=parse_until(until), reason=reason)
    with desk_channel(home_of(home), officer) as channel:
        kept = CorrespondenceStub(channel).ReviewCase(request)
    show({"case": case, "review": time_text(kept.review_us)}, as_json)


def _show_case(case: Case, entries: Sequence[Entry], language: Language, as_json: bool) -> None:
    if as_json:
        document = {"case": message_dict(case), "entries": [message_dict(entry) for entry in entries]}
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    out = console()
    for line in case_lines(case, language):
        out.print(line, soft_wrap=True)
    for entry in entries:
        out.print()
        for line in entry_lines(entry, language):
            out.print(line, soft_wrap=True)
