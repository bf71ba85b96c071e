"""`enlace ledger subject report`: all that is held of a person, as text or JSON, for review and not for handing out."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from node.cli.client import desk_channel
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, LanguageOption, OfficerOption, UnmaskOption, printable, time_text
from node.cli.reading import message_dict
from node.cli.words import all_named, id_text, named, parse_id, parse_interval, word
from node.errors import UsageError
from node.records.labels import Language
from node.wire.codes_pb2 import DataCategory, LinkKind, LookupKind, Obligation, Purpose
from node.wire.ledger_pb2 import EntryOutcome
from node.wire.subject_pb2 import (
    ReportItem,
    ReportItemKind,
    ReportPetitionRequest,
    ReportPetitionResponse,
    ReportSummary,
    Telling,
)
from node.wire.subject_pb2_grpc import SubjectsStub

_DAY_US: Final = 86_400_000_000
_HEAD: Final = (
    "FOR REVIEW BY THE COMPETENT OFFICER. NOT TO BE HANDED OUT AS IT IS.",
    "It names third persons, peers and officers. What the person is told is decided item by item; an item on which",
    "nobody has decided is not told. No peer is asked or told anything because of this report.",
)


def report(
    petition: Annotated[
        str, typer.Argument(metavar="PETITION", help="Its id, as `enlace ledger subject list` shows it.")
    ],
    *,
    officer: OfficerOption,
    language: LanguageOption,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it there; the file must not exist.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="First day of exchanges, UTC; else all.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Last day of exchanges, UTC; else now.")] = None,
    unmask: UnmaskOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report all that is held of the person and was sent about them, for you to review; that you looked is logged.

    Own entries, those linked to them, possible duplicates, queries by peers and by this country, what was released to
    whom under which rules, what came from peers, and what waits. It reads the whole ledger.
    """
    request = ReportPetitionRequest(
        petition_id=parse_id(petition),
        since_us=parse_interval(since).first_day * _DAY_US if since else 0,
        until_us=(parse_interval(until).last_day + 1) * _DAY_US if until else 0,
        unmask=unmask,
    )
    if out is not None and out.exists():
        raise UsageError(f"{out} exists")
    with desk_channel(home_of(home), officer) as channel, _bar(as_json) as bar:
        items, summary = _followed(SubjectsStub(channel).ReportPetition(request), bar)
    if as_json:
        document = {
            "notice": " ".join(_HEAD),
            "items": [message_dict(each) for each in items],
            "summary": message_dict(summary),
        }
        text = json.dumps(document, ensure_ascii=False)
    else:
        text = "\n".join(printable(line) for line in _told(items, summary, language))
    if out is None:
        typer.echo(text)
        return
    _write(out, f"{text}\n")
    typer.echo(f"{len(items)} items are in {out}, which only you can read.")


def _write(out: Path, text: str) -> None:
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}") from error


@contextmanager
def _bar(as_json: bool) -> Iterator[Progress | None]:
    """Yield a bar on standard error, where that is a terminal."""
    err = Console(stderr=True)
    if as_json or not err.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        yield bar


def _followed(
    responses: Iterable[ReportPetitionResponse], bar: Progress | None
) -> tuple[list[ReportItem], ReportSummary]:
    items, summary, task = list[ReportItem](), ReportSummary(), None
    for response in responses:
        if response.HasField("item"):
            items.append(response.item)
        elif response.HasField("summary"):
            summary = response.summary
        elif bar is not None:
            if task is None:
                task = bar.add_task("ledger lines", total=response.progress.total)
            bar.update(task, completed=response.progress.done, total=response.progress.total)
    return items, summary


# --- as text ---------------------------------------------------------------------------------------------------------


def _told(items: list[ReportItem], summary: ReportSummary, language: Language) -> Iterator[str]:
    yield from _HEAD
    yield ""
    yield f"Made {time_text(summary.made_us)} by {summary.officer}."
    for kind in ReportItemKind.values():
        of_kind = [item for item in items if item.kind == kind]
        if of_kind:
            yield ""
            yield f"{word(ReportItemKind.DESCRIPTOR, kind).upper()} ({len(of_kind)})"
        for item in of_kind:
            yield ""
            yield from _item(item, language)
    yield ""
    yield (
        f"Looked at: {summary.lines} ledger lines, the text of {summary.queries} queries, {summary.answers} answers. "
        f"Erased or altered, so that they can't be told: {summary.unreadable_queries} queries, "
        f"{summary.unreadable_answers} answers, {summary.erased_entries} entries."
    )
    yield (
        "Copies of other countries' entries are found by the person's selectors; those are left out whose terms rule "
        "out that your unit reads them."
    )


def _item(item: ReportItem, language: Language) -> Iterator[str]:
    yield f"[{item.reference}] {time_text(item.at_us)} {item.peer}".rstrip()
    if item.mark.reference:
        words = f": {item.mark.words}" if item.mark.words else ""
        yield f"  decided by {item.mark.officer}: {word(Telling.DESCRIPTOR, item.mark.telling)}{words}"
    else:
        yield f"  not decided, so not told; suggested: {word(Telling.DESCRIPTOR, item.suggested)}"
    if item.remark:
        yield f"  {item.remark}"
    if item.case_reference:
        yield f"  case {item.case_reference}"
    if item.officer or item.unit:
        yield f"  by {item.officer} {item.unit}: {named(Purpose.DESCRIPTOR, item.purpose, language)}"
    if item.links:
        yield f"  link: {all_named(LinkKind.DESCRIPTOR, item.links, language)}"
    for selector in item.matched:
        year = f", born {selector.birth_year}" if selector.birth_year else ""
        yield f"  asked for {named(LookupKind.DESCRIPTOR, selector.kind, language)}: {selector.value}{year}"
    if item.HasField("released"):
        yield from _released(item, language)
    for message in (item.entry, item.received, item.freeze):
        yield from (f"  {name}: {value}" for name, value in _flat(message_dict(message)))


def _released(item: ReportItem, language: Language) -> Iterator[str]:
    line = item.released
    yield f"  entry {id_text(item.entry_id)}, revision {line.revision}: {word(EntryOutcome.DESCRIPTOR, line.outcome)}"
    for name in ("released", "generalised", "pseudonymised", "masked"):
        if categories := getattr(line, name):
            yield f"  {name}: {all_named(DataCategory.DESCRIPTOR, categories, language)}"
    yield f"  rules: {', '.join(line.rules) or 'none'} ({', '.join(line.rulebooks)})"
    if line.obligations:
        yield f"  obligations: {all_named(Obligation.DESCRIPTOR, line.obligations, language)}"
    if line.retention_days:
        yield f"  to be deleted after {line.retention_days} days"


def _flat(document: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield each value with its path."""
    for name, value in document.items():
        path = f"{before}{name}"
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                yield from _flat(each, f"{path}.")
            else:
                yield path, str(each)
