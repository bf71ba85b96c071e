"""`enlace search`: one question to all peers, and the answers as they arrive."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Annotated, Final

import typer
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from node.cli.answers import hit_lines, notes_of, state_of, style_of
from node.cli.client import desk
from node.cli.home import Home, home_of
from node.cli.output import HomeOption, JsonOption, LanguageOption, OfficerOption, console
from node.cli.question import Question, Typed, build_question, request_form, selector_texts
from node.cli.reading import STANDARD_INPUT, message_dict
from node.cli.words import id_text, parse_country, parse_word
from node.config import Config, load_config
from node.errors import UsageError
from node.records.labels import Language
from node.wire.codes_pb2 import Role
from node.wire.desk_pb2 import PeerOutcome, SearchRequest, SearchResponse

_LONGEST_DEADLINE_S: Final = 60
_CAUTION: Final = (
    '"Nothing releasable now" does not mean that nothing is there: ask again with more grounds, or on the telephone.'
)

Values = Annotated[
    list[str],
    typer.Argument(help='What you look for; "-" reads lines from standard input, so that no shell keeps them.'),
]


def search(
    values: Values,
    *,
    purpose: Annotated[str, typer.Option("--purpose", help="investigate, victim-id, protect-life …")],
    case: Annotated[str, typer.Option("--case", help="Your case's reference.")],
    instrument: Annotated[str, typer.Option("--instrument", help="The treaty or agreement, as in the directory.")],
    officer: OfficerOption,
    language: LanguageOption,
    crime: Annotated[list[str] | None, typer.Option("--crime", help="trafficking, kidnapping …; repeatable.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="telephone, plate, name …; else told by its form.")] = None,
    peer: Annotated[list[str] | None, typer.Option("--peer", help="Whom to ask; else all that are paired.")] = None,
    about: Annotated[
        list[str] | None,
        typer.Option("--about", help="Whom it is about, as you know: victim, missing, official-suspect …; stays here."),
    ] = None,
    urgency: Annotated[str, typer.Option("--urgency", help="life, urgent, priority or routine.")] = "routine",
    reason: Annotated[str, typer.Option("--reason", help="Why it is urgent.")] = "",
    offence: Annotated[str | None, typer.Option("--offence", help="For which a person is named.")] = None,
    when: Annotated[str | None, typer.Option("--when", help="2025, 2025-03, 2025-03-14 or 2025-03..2025-05.")] = None,
    place: Annotated[str | None, typer.Option("--place", help="'GT:Tecún Umán'.")] = None,
    basis: Annotated[str, typer.Option("--basis", help="The facts for which a person is named.")] = "",
    birth_year: Annotated[int, typer.Option("--birth-year", help="Of a person named.")] = 0,
    deadline: Annotated[float, typer.Option("--deadline", min=0.1, max=_LONGEST_DEADLINE_S, help="Seconds.")] = 5.0,
    page: Annotated[int, typer.Option("--page", min=1, help="Of an answer with more than ten entries.")] = 1,
    print_request: Annotated[
        bool, typer.Option("--print-request", help="Also the question on paper, for telephone or fax.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask peers; exit status 0 if one of them answered, 1 if none did."""
    if print_request and as_json:
        raise UsageError("--print-request is for people, --json for programs: choose one")
    node = home_of(home)
    config = load_config(node.config)
    typed = Typed(
        values=read_values(values),
        kind=kind,
        birth_year=birth_year,
        purpose=purpose,
        crimes=crime or (),
        case=case,
        instrument=instrument,
        urgency=urgency,
        reason=reason,
        offence=offence,
        when=when,
        place=place,
        basis=basis,
        page=page,
    )
    question = build_question(typed, config.country)
    peers = sorted({parse_country(each) for each in peer or ()})
    roles = [parse_word(Role.DESCRIPTOR, each) for each in about or ()]
    request = SearchRequest(
        query=question.query,
        peers=peers,
        deadline_ms=round(deadline * 1_000),
        about=roles,  # type: ignore[arg-type]
    )
    answered = _asked(node, officer, request)
    responses = _as_json(answered) if as_json else _as_text(answered, question, peers, language)
    if print_request:
        _print_forms(question, responses, officer, config, language)
    if not any(each.outcome == PeerOutcome.PEER_OUTCOME_ANSWERED for each in responses):
        raise typer.Exit(1)


def read_values(values: Sequence[str]) -> list[str]:
    """Return what was typed, with the lines of standard input where "-" stands."""
    if STANDARD_INPUT not in values:
        return list(values)
    lines = [line.strip() for line in sys.stdin if line.strip()]
    return [each for value in values for each in (lines if value == STANDARD_INPUT else [value])]


def _asked(home: Home, officer: str, request: SearchRequest) -> Iterator[SearchResponse]:
    with desk(home, officer) as stub:
        yield from stub.Search(request)


def _as_json(answered: Iterator[SearchResponse]) -> list[SearchResponse]:
    """Print a line of JSON for each response, as it arrives."""
    responses = []
    for response in answered:
        typer.echo(json.dumps(message_dict(response), ensure_ascii=False))
        responses.append(response)
    return responses


def _as_text(
    answered: Iterator[SearchResponse], question: Question, peers: Sequence[str], language: Language
) -> list[SearchResponse]:
    out = console()
    for text in selector_texts(question):
        out.print(text, soft_wrap=True)
    responses: list[SearchResponse] = []
    with _live(out, responses, peers) as live:
        for response in answered:
            responses.append(response)
            if live is None:
                out.print(_row_text(response), soft_wrap=True)
            else:
                live.update(_table(responses, peers))
    if not responses:
        out.print("Nobody was asked: no pairing is in force. See `enlace pairing list`.", soft_wrap=True)
    _print_hits(out, responses, language)
    return responses


@contextmanager
def _live(out: Console, responses: list[SearchResponse], peers: Sequence[str]) -> Iterator[Live | None]:
    """Yield a table that follows the answers on a terminal, and nothing where output goes elsewhere."""
    live = Live(_table(responses, peers), console=out, refresh_per_second=10) if out.is_terminal else None
    with live or nullcontext():
        yield live


def _row_text(response: SearchResponse) -> str:
    notes = notes_of(response)
    took = f"{response.elapsed_us / 1_000:.0f} ms" if response.elapsed_us else ""
    return "  ".join(part for part in (response.peer, state_of(response), notes, took) if part)


def _table(responses: Sequence[SearchResponse], peers: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("peer")
    table.add_column("answer", overflow="fold")
    table.add_column("", overflow="fold")
    table.add_column("ms", justify="right")
    for response in responses:
        table.add_row(
            response.peer,
            Text(state_of(response), style=style_of(response)),
            Text(notes_of(response)),
            f"{response.elapsed_us / 1_000:.0f}" if response.elapsed_us else "",
        )
    seen = {response.peer for response in responses}
    for peer in peers:
        if peer not in seen:
            table.add_row(peer, "asked …", "", "")
    return table


def _print_hits(out: Console, responses: Sequence[SearchResponse], language: Language) -> None:
    for response in responses:
        for hit in response.answer.hits:
            out.print()
            for line in hit_lines(response.peer, hit, language):
                out.print(line, soft_wrap=True)
            # To keep it, `enlace received keep`; to ask for more, `enlace request send`.
            out.print(f"  exchange     {id_text(response.exchange_id)}", soft_wrap=True)
    silent = [each for each in responses if each.outcome == PeerOutcome.PEER_OUTCOME_ANSWERED and not each.answer.hits]
    if silent:
        out.print()
        out.print(_CAUTION, soft_wrap=True)


def _print_forms(
    question: Question, responses: Sequence[SearchResponse], officer: str, config: Config, language: Language
) -> None:
    out, node = console(), f"{config.country}/{config.name}"
    for response in responses:
        out.print()
        for line in request_form(question, response, officer=officer, node=node, language=language):
            out.print(line, soft_wrap=True)
