"""`enlace duty`: who is on call when, how they are reached, and whom the node called."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer

from node.cli.client import desk_channel
from node.cli.home import Home, home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, UnmaskOption, show, show_rows, time_text
from node.cli.words import id_text, parse_id, word
from node.config import load_config
from node.errors import UsageError
from node.wire.codes_pb2 import Urgency
from node.wire.duty_pb2 import (
    ContactOf,
    ListPagesRequest,
    ListTurnsRequest,
    PageKind,
    SetContactRequest,
    SetTurnRequest,
    ShowDutyRequest,
    SwapTurnRequest,
    Turn,
)
from node.wire.duty_pb2_grpc import DutyStub

app = typer.Typer(help="Who is on call when, and how they are reached.", no_args_is_help=True)

_LOCAL: Final = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2})?")
_DO: Final = {
    PageKind.PAGE_KIND_LIFE: "enlace life ack",
    PageKind.PAGE_KIND_FACTS: "enlace life facts",
    PageKind.PAGE_KIND_REQUEST: "enlace queue take",
}

TurnArgument = Annotated[str, typer.Argument(metavar="TURN", help="Its id, as `enlace duty list` shows it.")]


@app.command("now")
def now(
    *, officer: OfficerOption, unmask: UnmaskOption = "", home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Show who is on duty now and how they are reached, then the deputies in their order."""
    node = home_of(home)
    with desk_channel(node, officer) as channel:
        shown = DutyStub(channel).ShowDuty(ShowDutyRequest(unmask=unmask))
    reached = {each.officer: each for each in shown.contacts}
    rows = [
        {
            "officer": name,
            "as": f"deputy {place}" if place else "on duty",
            "until": _local(shown.turn.until_us, _zone(node)),
            "telephone": reached.get(name, ContactOf()).telephone,
            "email": reached.get(name, ContactOf()).email,
        }
        for place, name in enumerate(shown.turn.officers)
    ]
    show_rows(rows, as_json, empty="Nobody is on call: `enlace duty set`.")


@app.command("list")
def list_turns(
    *, officer: OfficerOption, unmask: UnmaskOption = "", home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Show who is on call from now on, one turn after the other."""
    node = home_of(home)
    with desk_channel(node, officer) as channel:
        turns = DutyStub(channel).ListTurns(ListTurnsRequest(unmask=unmask)).turns
    rows = [_row(turn, _zone(node)) for turn in turns]
    show_rows(
        rows, as_json, empty="Nobody is on call: `enlace duty set`.", only_json=("set_by", "from_utc", "until_utc")
    )


@app.command("set")
def set_turn(
    begin: Annotated[
        str, typer.Argument(metavar="FROM", help="In your country's time: 2026-11-23, or 2026-11-23T08:00.")
    ],
    end: Annotated[str, typer.Argument(metavar="UNTIL", help="Likewise.")],
    officers: Annotated[list[str], typer.Argument(help="Who is on duty, then their deputies in order: focal points.")],
    *,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put people on call from one time to another, instead of whoever was."""
    node = home_of(home)
    zone = _zone(node)
    request = SetTurnRequest(from_us=parse_local(begin, zone), until_us=parse_local(end, zone), officers=officers)
    with desk_channel(node, officer) as channel:
        turn = DutyStub(channel).SetTurn(request).turn
    show(_row(turn, zone), as_json)


@app.command("swap")
def swap(
    turn: TurnArgument,
    away: Annotated[str, typer.Argument(metavar="OFFICER", help="Who can't.")],
    stand_in: Annotated[str, typer.Argument(metavar="STAND-IN", help="Who does instead; a deputy changes places.")],
    *,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let somebody stand in for another, from now until the turn ends."""
    node = home_of(home)
    request = SwapTurnRequest(turn_id=parse_id(turn), officer=away, stand_in=stand_in)
    with desk_channel(node, officer) as channel:
        changed = DutyStub(channel).SwapTurn(request).turn
    show(_row(changed, _zone(node)), as_json)


@app.command("contact")
def set_contact(
    name: Annotated[str, typer.Argument(help="Yourself; or, for a supervisor, any focal point or supervisor.")],
    *,
    email: Annotated[str, typer.Option("--email", help="Of the office, not a private one.")] = "",
    telephone: Annotated[str, typer.Option("--telephone", help="As +502 2411 9911.")] = "",
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how an officer is reached, instead of what was known; with neither option, forget it. No peer sees it."""
    contact = ContactOf(officer=name, email=email, telephone=telephone)
    with desk_channel(home_of(home), officer) as channel:
        DutyStub(channel).SetContact(SetContactRequest(contact=contact))
    show({"officer": name, "email": email, "telephone": telephone}, as_json)


@app.command("pages")
def list_pages(
    *,
    closed: Annotated[
        bool, typer.Option("--closed", help="Those too that somebody took, or that wait no more.")
    ] = False,
    officer: OfficerOption,
    unmask: UnmaskOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show whom the node called for what: which ticket is what, who was told last, and what takes it."""
    with desk_channel(home_of(home), officer) as channel:
        pages = DutyStub(channel).ListPages(ListPagesRequest(closed=closed, unmask=unmask)).pages
    rows = [
        {
            "ticket": page.ticket,
            "urgency": word(Urgency.DESCRIPTOR, page.urgency),
            "due": time_text(page.due_us),
            "peer": page.peer,
            "take": f"{_DO[page.kind]} {page.subject.hex()[:12]}"
            if page.kind != PageKind.PAGE_KIND_FACTS
            else _DO[page.kind],
            "told": page.told,
            "at": time_text(page.told_us),
            "failing": page.failing,
            "officers": list(page.officers),
            "closed": time_text(page.closed_us),
            "subject": page.subject,
        }
        for page in pages
    ]
    hidden = ("officers", "subject") if closed else ("officers", "subject", "closed")
    show_rows(rows, as_json, empty="The node has called nobody for anything that waits.", only_json=hidden)


def parse_local(text: str, zone: ZoneInfo) -> int:
    """Read a time of a country, "2026-11-23T08:00", or a day, which begins at midnight there: UTC microseconds.

    Raises:
        UsageError: it is none, or the clocks there jump over it.
    """
    shape = f"{text!r}: write 2026-11-23T08:00, or 2026-11-23, in the time of {zone.key}"
    if not _LOCAL.fullmatch(text.strip()):
        raise UsageError(shape)
    try:
        naive = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(shape) from None
    at = naive.replace(tzinfo=zone).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) != naive:
        raise UsageError(f"{text!r}: the clocks of {zone.key} jump over this time")
    return int(at.timestamp()) * 1_000_000


def _row(turn: Turn, zone: ZoneInfo) -> dict[str, object]:
    return {
        "turn": id_text(turn.turn_id),
        "from": _local(turn.from_us, zone),
        "until": _local(turn.until_us, zone),
        "on_duty": turn.officers[0] if turn.officers else "",
        "deputies": ", ".join(turn.officers[1:]),
        "set_by": turn.set_by,
        "from_utc": time_text(turn.from_us),
        "until_utc": time_text(turn.until_us),
    }


def _local(time_us: int, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(time_us // 1_000_000, zone):%Y-%m-%d %H:%M %Z}" if time_us else ""


def _zone(node: Home) -> ZoneInfo:
    return ZoneInfo(load_config(node.config).duty.timezone)
