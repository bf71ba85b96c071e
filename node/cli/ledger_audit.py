"""`enlace ledger trace`: what an auditor asks of the ledger beyond its single lines."""

import json
from collections.abc import Iterator
from typing import Annotated, TypeAlias

import typer

from node.cli.client import desk
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, LanguageOption, OfficerOption, printable, say, time_text
from node.cli.reading import message_dict
from node.cli.words import all_named, id_text, named, parse_id, word
from node.records.labels import Language
from node.wire.audit_pb2 import TracedLine, TraceEntryRequest, TraceEntryResponse
from node.wire.codes_pb2 import DataCategory, Obligation, Purpose
from node.wire.ledger_pb2 import ENTRY_OUTCOME_PENDING, EntryOutcome
from node.wire.safeguard_pb2 import Freeze, FreezeState

UnmaskOption: TypeAlias = Annotated[
    str,
    typer.Option("--unmask", metavar="REASON", help="Show officers' names, and say why; a ledger line keeps it."),
]


def trace(
    entry: Annotated[str, typer.Argument(help="Id of an own entry, also of one that was erased.")],
    *,
    officer: OfficerOption,
    language: LanguageOption,
    unmask: UnmaskOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List everyone who got any part of an entry, under which rules and obligations; that you looked is a line too."""
    whole = TraceEntryResponse()
    with desk(home_of(home), officer) as stub:
        for response in stub.TraceEntry(TraceEntryRequest(entry_id=parse_id(entry), unmask=unmask)):
            whole.MergeFrom(response)
    if as_json:
        typer.echo(json.dumps(message_dict(whole), ensure_ascii=False))
    else:
        say(map(printable, _told(whole, language)))


def _told(whole: TraceEntryResponse, language: Language) -> Iterator[str]:
    peers = sorted({line.peer for line in whole.lines})
    if peers:
        yield f"{', '.join(peers)} got something of this entry, in {len(whole.lines)} of {whole.answers} answers."
    else:
        yield f"Nobody got anything of this entry in any of the {whole.answers - whole.unreadable_total} answers read."
    for line in whole.lines:
        yield ""
        yield from _line(line, language)
    for freeze in whole.freezes:
        yield ""
        yield _frozen(freeze)
    if whole.unreadable_total:
        yield ""
        first = ", ".join(str(each) for each in whole.unreadable[:20])
        more = " …" if whole.unreadable_total > len(whole.unreadable[:20]) else ""
        yield (
            f"{whole.unreadable_total} answers can't be told, since what opens them was erased or altered: "
            f"lines {first}{more}. `enlace ledger verify` names what was altered."
        )


def _line(line: TracedLine, language: Language) -> Iterator[str]:
    who = " ".join(part for part in (line.officer, line.unit) if part)
    yield (
        f"Line {line.index}: {line.peer}, {time_text(line.logged_us)}, exchange {id_text(line.exchange_id)}: "
        f"{word(EntryOutcome.DESCRIPTOR, line.outcome).upper()}, revision {line.revision}"
    )
    yield f"  asked by {who}: {named(Purpose.DESCRIPTOR, line.purpose, language)}"
    could = "an approval could let leave " if line.outcome == ENTRY_OUTCOME_PENDING else ""
    for name in ("released", "generalised", "pseudonymised", "masked"):
        categories = getattr(line, name)
        if categories:
            yield f"  {could}{name}: {all_named(DataCategory.DESCRIPTOR, categories, language)}"
    yield f"  rules: {', '.join(line.rules) or 'none'} ({', '.join(line.rulebooks)})"
    if line.obligations:
        yield f"  obligations: {all_named(Obligation.DESCRIPTOR, line.obligations, language)}"
    if line.retention_days:
        yield f"  to be deleted after {line.retention_days} days"
    if line.remark:
        yield f"  {line.remark}"


def _frozen(freeze: Freeze) -> str:
    by = f" by {freeze.decided_by}" if freeze.decided_by else ""
    return (
        f"{freeze.peer} was kept at revision {freeze.revision} on {time_text(freeze.made_us)}, until "
        f"{time_text(freeze.until_us)}: {word(FreezeState.DESCRIPTOR, freeze.state)}{by}"
    )
