"""`enlace policy rehearse`: what would newly leave, and what no longer, if a rulebook were in force."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from node.cli.client import desk
from node.cli.directory_files import read
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, show_rows
from node.cli.reading import message_dict
from node.cli.words import id_text, word
from node.wire.codes_pb2 import DataCategory, Outcome, Purpose
from node.wire.explaining_pb2 import ChangedEntry, RehearseRulebookRequest, RehearseRulebookResponse
from node.wire.ledger_pb2 import EntryOutcome


def rehearse(
    file: Annotated[Path, typer.Argument(help="The rulebook that would be in force.")],
    *,
    officer: OfficerOption,
    entries: Annotated[
        bool, typer.Option("--entries", help="Also name single entries that are treated otherwise.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide again on this node's records and past answers under a rulebook, and count what changes.

    The report says nothing of a single record, and its digest is what approvals name.
    """
    request = RehearseRulebookRequest(content=read(file), entries=entries)
    with desk(home_of(home), officer) as stub, _told(as_json) as bar:
        whole = _followed(stub.RehearseRulebook(request), bar)
    if as_json:
        document = {
            "report": whole.report,
            "sha256": whole.sha256.hex(),
            "changed": [message_dict(each) for each in whole.changed],
            "changed_total": whole.changed_total,
        }
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    typer.echo(whole.report, nl=False)
    typer.echo(f"\nSHA-256 of this report: {whole.sha256.hex()}")
    if entries:
        typer.echo()
        show_rows([_row(each) for each in whole.changed], as_json=False, empty="No single entry is treated otherwise.")
        if whole.changed_total > len(whole.changed):
            typer.echo(f"and {whole.changed_total - len(whole.changed):,} more")


@contextmanager
def _told(as_json: bool) -> Iterator[Progress | None]:
    """Yield a bar on standard error, where that is a terminal."""
    err = Console(stderr=True)
    if as_json or not err.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        yield bar


def _followed(responses: Iterable[RehearseRulebookResponse], bar: Progress | None) -> RehearseRulebookResponse:
    """Return report and entries, once they are there; until then the bar follows."""
    whole, tasks = RehearseRulebookResponse(), {}
    for response in responses:
        if not response.stage:
            whole.MergeFrom(response)
        elif bar is not None:
            if response.stage not in tasks:
                tasks[response.stage] = bar.add_task(response.stage, total=None)
            bar.update(tasks[response.stage], completed=response.done, total=response.total)
    return whole


def _row(entry: ChangedEntry) -> dict[str, object]:
    outcomes = [word(EntryOutcome.DESCRIPTOR, each) for each in (entry.before, entry.after)]
    levels = [
        f"{word(DataCategory.DESCRIPTOR, each.category).upper()}: "
        f"{word(Outcome.DESCRIPTOR, each.before)} → {word(Outcome.DESCRIPTOR, each.after)}"
        for each in entry.categories
    ]
    return {
        "entry": id_text(entry.entry_id),
        "exchange": id_text(entry.exchange_id) or "(as it is)",
        "peer": entry.peer,
        "purpose": word(Purpose.DESCRIPTOR, entry.purpose),
        "outcome": outcomes[0] if outcomes[0] == outcomes[1] else " → ".join(outcomes),
        "categories": "; ".join(levels),
    }
