"""`enlace alarms` and `enlace decoy`: what tells of misuse, and whoever asked does not learn of."""

from typing import Annotated

import typer

from node.cli.client import desk_channel
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, show, show_rows, time_text
from node.cli.reading import parse_message, read_text
from node.cli.received import ReasonOption
from node.cli.words import id_text, parse_id, word
from node.wire.alarm_pb2 import (
    ALARM_KIND_GUESSES,
    Alarm,
    AlarmKind,
    CloseAlarmRequest,
    Decoy,
    ListAlarmsRequest,
    ListDecoysRequest,
    PlantDecoyRequest,
)
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.entry_pb2 import Entry

app = typer.Typer(help="Silent alarms: whoever asked does not learn of them.", no_args_is_help=True)
decoy_app = typer.Typer(help="Entries that no real case holds: who finds one raises an alarm.", no_args_is_help=True)


@app.command("list")
def list_alarms(
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that are closed too.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="At most so many.")] = 100,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show silent alarms, the newest first, as a focal point or auditor."""
    with desk_channel(home_of(home), officer) as channel:
        found = CorrespondenceStub(channel).ListAlarms(ListAlarmsRequest(all=every, limit=limit)).alarms
    show_rows(
        [_row(each) for each in found],
        as_json,
        empty="No alarm is open.",
        only_json=("exchange", "entry", "unit", "purpose"),
    )


@app.command("close")
def close(
    alarm: Annotated[str, typer.Argument(metavar="ALARM", help="Its id, from `enlace alarms list`.")],
    *,
    reason: ReasonOption,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close an alarm: somebody has looked, and why it is done with is a ledger line."""
    with desk_channel(home_of(home), officer) as channel:
        request = CloseAlarmRequest(alarm_id=parse_id(alarm), reason=reason)
        show(_row(CorrespondenceStub(channel).CloseAlarm(request).alarm), as_json)


@decoy_app.command("plant")
def plant(
    file: Annotated[str, typer.Argument(metavar="FILE", help='JSON of an invented entry; "-" for standard input.')],
    *,
    case: Annotated[str, typer.Option("--case", help="Reference of its new case; it is to look like any other.")],
    title: Annotated[str, typer.Option("--title", help="Of the new case.")],
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plant an invented entry in a case of its own, as a focal point; nobody else learns what it is."""
    request = PlantDecoyRequest(entry=parse_message(read_text(file), Entry()), case_reference=case, case_title=title)
    with desk_channel(home_of(home), officer) as channel:
        show(_decoy_row(CorrespondenceStub(channel).PlantDecoy(request).decoy), as_json)


@decoy_app.command("list")
def list_decoys(*, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show which entries are decoys, as a focal point."""
    with desk_channel(home_of(home), officer) as channel:
        found = CorrespondenceStub(channel).ListDecoys(ListDecoysRequest()).decoys
    show_rows([_decoy_row(each) for each in found], as_json, empty="No decoy is planted.")


def _row(alarm: Alarm) -> dict[str, object]:
    what = word(AlarmKind.DESCRIPTOR, alarm.kind)
    return {
        "alarm": id_text(alarm.alarm_id),
        "raised": time_text(alarm.raised_us),
        "what": f"{what}: {alarm.numbers} numbers" if alarm.kind == ALARM_KIND_GUESSES else what,
        "peer": alarm.peer or "own officer",
        "officer": alarm.officer,
        "unit": alarm.unit,
        "purpose": alarm.purpose,
        "exchange": alarm.exchange_id.hex(),
        "entry": id_text(alarm.entry_id) if alarm.entry_id else "",
        "closed": f"{time_text(alarm.closed_us)} {alarm.closed_by}: {alarm.reason}" if alarm.closed_us else "",
    }


def _decoy_row(decoy: Decoy) -> dict[str, object]:
    return {
        "entry": id_text(decoy.entry_id),
        "kind": decoy.kind,
        "case": id_text(decoy.case_id),
        "planted": time_text(decoy.planted_us),
        "by": decoy.planted_by,
    }
