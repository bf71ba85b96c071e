"""`enlace policy explain`: why something left, or did not, or would, in sentences."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import typer

from node.cli.client import desk
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, LanguageOption, OfficerOption, printable, say, time_text
from node.cli.reading import message_dict
from node.cli.words import id_text, parse_country, parse_id, parse_word, word
from node.errors import UsageError
from node.policy.explain_text import fact_sentences, sentences
from node.wire.codes_pb2 import Crime, Ground, Purpose, UnitType, Urgency
from node.wire.explaining_pb2 import ExplainedEntry, ExplainRequest, ExplainResponse, Fact, WhatIf
from node.wire.ledger_pb2 import EntryOutcome


def explain(
    exchange: Annotated[str | None, typer.Argument(help="Of an answer that this node gave.")] = None,
    *,
    officer: OfficerOption,
    language: LanguageOption,
    entry: Annotated[str | None, typer.Option("--entry", help="Of this entry alone.")] = None,
    peer: Annotated[str | None, typer.Option("--peer", help="Who asked, or would ask.")] = None,
    what_if: Annotated[bool, typer.Option("--what-if", help="On a query that nobody puts.")] = False,
    purpose: Annotated[str | None, typer.Option("--purpose", help="Of that query: investigate, victim-id …")] = None,
    crime: Annotated[list[str] | None, typer.Option("--crime", help="Repeatable; else the record's own.")] = None,
    unit_type: Annotated[str, typer.Option("--unit-type", help="Who asks there.")] = "police-intelligence",
    urgency: Annotated[str, typer.Option("--urgency", help="life, urgent, priority or routine.")] = "routine",
    ground: Annotated[
        str | None, typer.Option("--ground", help="consent or vital-interest, as the asker says.")
    ] = None,
    instrument: Annotated[str, typer.Option("--instrument", help="As in the directory; else the first in force.")] = "",
    fact: Annotated[
        list[str] | None,
        typer.Option("--fact", help="Instead of what is known, or of an entry: role=SUSPECT,WITNESS; repeatable."),
    ] = None,
    facts: Annotated[bool, typer.Option("--facts", help="Also what was known.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain what was released, redacted, held or invisible in an answer, or would be: to focal points, auditors."""
    if what_if == bool(exchange):
        raise UsageError("name an exchange, or ask --what-if")
    request = ExplainRequest(language=language)
    if exchange is not None:
        request.exchange_id = parse_id(exchange)
        request.entry_id = parse_id(entry) if entry else b""
        request.peer = parse_country(peer) if peer else ""
    else:
        if not peer or not purpose:
            raise UsageError("--what-if needs --peer and --purpose")
        request.what_if.CopyFrom(
            WhatIf(
                recipient=parse_country(peer),
                purpose=parse_word(Purpose.DESCRIPTOR, purpose),  # type: ignore[arg-type]
                crimes=[parse_word(Crime.DESCRIPTOR, each) for each in crime or ()],  # type: ignore[misc]
                unit_type=parse_word(UnitType.DESCRIPTOR, unit_type),  # type: ignore[arg-type]
                urgency=parse_word(Urgency.DESCRIPTOR, urgency),  # type: ignore[arg-type]
                ground=parse_word(Ground.DESCRIPTOR, ground) if ground else None,  # type: ignore[arg-type]
                instrument=instrument,
                entry_id=parse_id(entry) if entry else b"",
                facts=_given(fact or ()),
            )
        )
    with desk(home_of(home), officer) as stub:
        response = _merged(stub.Explain(request))
    if as_json:
        typer.echo(json.dumps(message_dict(response), ensure_ascii=False))
    else:
        say(_told(response, facts))


def _given(texts: Sequence[str]) -> Iterator[Fact]:
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r}: write a fact as role=SUSPECT,WITNESS")
        words = [each.strip().upper() for each in values.split(",") if each.strip()]
        yield Fact(dimension=name.strip().lower().replace("-", "_"), values=words)


def _merged(responses: Iterable[ExplainResponse]) -> ExplainResponse:
    whole = ExplainResponse()
    for response in responses:
        whole.MergeFrom(response)
    return whole


def _told(response: ExplainResponse, facts: bool) -> Iterator[str]:
    if response.exchange_id:
        yield f"Exchange {id_text(response.exchange_id)}, answered to {response.peer} at {time_text(response.time_us)}."
    else:
        yield f"If {response.peer} asked now:"
    if response.remark:
        yield printable(response.remark)
    for entry in response.entries:
        yield ""
        yield _heading(entry)
        if entry.remark:
            yield printable(entry.remark)
        if entry.HasField("explanation"):
            yield from map(printable, sentences(entry.explanation))
            yield from map(printable, fact_sentences(entry.explanation.facts) if facts else ())


def _heading(entry: ExplainedEntry) -> str:
    what = f"Entry {id_text(entry.entry_id)}, revision {entry.revision}" if entry.entry_id else "What was given"
    outcome = entry.logged or entry.explanation.outcome
    return f"{what}: {word(EntryOutcome.DESCRIPTOR, outcome).upper()}"
