"""`enlace alert`: a search that stands at peers until a date, what it found, and who works on the same."""

import time
from collections.abc import Iterable
from typing import Annotated, Final

import typer

from node.cli.answers import hit_lines
from node.cli.client import desk_channel
from node.cli.home import home_of
from node.cli.output import (
    HomeOption,
    JsonOption,
    LanguageOption,
    OfficerOption,
    printable,
    say,
    show,
    show_rows,
    time_text,
)
from node.cli.question import Typed, build_question, selector_texts
from node.cli.reading import message_dict
from node.cli.search import Values, read_values
from node.cli.words import id_text, parse_country, word
from node.config import load_config
from node.errors import UsageError
from node.policy.alerts import MOST_DAYS
from node.wire.alert_pb2 import Alert
from node.wire.alerting_pb2 import (
    AlertDetail,
    AlertItem,
    EndAlertRequest,
    GetAlertRequest,
    ListAlertsRequest,
    SetAlertRequest,
    WhomToCall,
)
from node.wire.codes_pb2 import Crime, LookupKind, Purpose
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.ledger_pb2 import DIRECTION_SENT

app = typer.Typer(help="Have peers tell of what they record later.", no_args_is_help=True)

AlertArgument = Annotated[str, typer.Argument(metavar="ALERT", help="Its id, or the first digits as lists show it.")]
_DAY_US: Final = 86_400 * 1_000_000


@app.command("set")
def set_alert(
    values: Values,
    *,
    peer: Annotated[list[str], typer.Option("--peer", help="Where it is to stand; once for each.")],
    purpose: Annotated[str, typer.Option("--purpose", help="investigate, victim-id …")],
    case: Annotated[str, typer.Option("--case", help="Your case's reference; opaque to the peer.")],
    instrument: Annotated[str, typer.Option("--instrument", help="The treaty or agreement, as in the directory.")],
    officer: OfficerOption,
    days: Annotated[int, typer.Option("--days", min=1, help=f"After which it ends; at most {MOST_DAYS}.")] = 90,
    crime: Annotated[list[str] | None, typer.Option("--crime", help="trafficking, kidnapping …; repeatable.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="telephone, plate, name …; else told by its form.")] = None,
    urgency: Annotated[str, typer.Option("--urgency", help="urgent, priority or routine.")] = "routine",
    reason: Annotated[str, typer.Option("--reason", help="Why it is urgent.")] = "",
    offence: Annotated[str | None, typer.Option("--offence", help="For which a person is named.")] = None,
    when: Annotated[str | None, typer.Option("--when", help="2025, 2025-03, 2025-03-14 or 2025-03..2025-05.")] = None,
    place: Annotated[str | None, typer.Option("--place", help="'GT:Tecún Umán'.")] = None,
    basis: Annotated[str, typer.Option("--basis", help="The facts for which a person is named.")] = "",
    birth_year: Annotated[int, typer.Option("--birth-year", help="Of a person named.")] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Nobody else is told that you work on this, and you not who does.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set an alert at peers: what they record or change later, and may release, comes by itself."""
    place_of = home_of(home)
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
        page=1,
    )
    question = build_question(typed, load_config(place_of.config).country)
    alert = Alert(query=question.query, until_us=_now_us() + days * _DAY_US, deconflict=not quiet)
    asked = SetAlertRequest(alert=alert, peers=[parse_country(each) for each in peer])
    with desk_channel(place_of, officer) as channel:
        done = CorrespondenceStub(channel).SetAlert(asked).set
    if not as_json:
        say(selector_texts(question))
    rows = [_facts(each.item) if each.HasField("item") else {"peer": each.peer, "state": each.detail} for each in done]
    show_rows(rows, as_json, empty="No peer was named.", only_json=ALERT_JSON)
    if not any(each.HasField("item") for each in done):
        raise typer.Exit(1)


@app.command("list")
def list_alerts(
    *,
    standing: Annotated[bool, typer.Option("--standing", help="Only those that have not ended.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many, at most.")] = 100,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show alerts: a unit those that this country set, a focal point and an auditor all."""
    with desk_channel(home_of(home), officer) as channel:
        request = ListAlertsRequest(standing_only=standing, limit=limit)
        items = CorrespondenceStub(channel).ListAlerts(request).items
    show_rows(alert_rows(items), as_json, empty="No alert is like that.", only_json=ALERT_JSON)


@app.command("show")
def show_alert(
    alert: AlertArgument,
    *,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one alert with what it found, or, of a peer's, what it was told; that you looked is a ledger line."""
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        detail = stub.GetAlert(GetAlertRequest(exchange_id=_named(stub, alert).exchange_id)).detail
    facts = _facts(detail.item) | _asked_facts(detail)
    if as_json:
        found, told = (list(map(message_dict, each)) for each in (detail.found, detail.told))
        show({**facts, "found": found, "told": told}, as_json)
    else:
        show(facts, as_json)
        for hit in detail.found:
            say(["", *hit_lines(detail.item.peer, hit, language)])
        say(
            f"told of {id_text(each.entry_id)} on {time_text(each.told_us)}"
            + (": by the rules as they are now it would not be; think of recalling it" if each.forbidden else "")
            for each in detail.told
        )


@app.command("end")
def end(
    alert: AlertArgument,
    *,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End an alert before its date; a focal point may end a peer's."""
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        item = stub.EndAlert(EndAlertRequest(exchange_id=_named(stub, alert).exchange_id)).item
    show(_facts(item), as_json)


# --- shown alike everywhere ------------------------------------------------------------------------------------------

ALERT_JSON: Final = ("officer", "unit", "set", "changed")


def alert_rows(items: Iterable[AlertItem]) -> list[dict[str, object]]:
    """Return alerts as rows of a table, or of JSON."""
    return [_facts(each) for each in items]


def _facts(item: AlertItem) -> dict[str, object]:
    return {
        "alert": item.exchange_id,
        "peer": item.peer,
        "set by": "us" if item.direction == DIRECTION_SENT else "them",
        "state": item.state,
        "until": time_text(item.until_us) if item.until_us else "",
        "matches": item.matches,
        "call": [_call_text(each) for each in item.call],
        "officer": item.officer,
        "unit": item.unit,
        "set": time_text(item.set_us) if item.set_us else "",
        "changed": time_text(item.changed_us),
    }


def _call_text(call: WhomToCall) -> str:
    """Say who works on the same, and whom to call about it."""
    if call.unit:
        return f"unit {printable(call.unit)} works on the same"
    return f"{call.country} works on the same: its focal point on duty, {printable(call.telephone)}"


def _asked_facts(detail: AlertDetail) -> dict[str, object]:
    query = detail.alert.query
    if not query.selectors:
        return {"looks for": "erased when it ended"}
    return {
        "looks for": [
            f"{word(LookupKind.DESCRIPTOR, each.kind)}: {printable(each.value)}"
            + (f", born {each.birth_year}" if each.birth_year else "")
            for each in query.selectors
        ],
        "purpose": word(Purpose.DESCRIPTOR, query.purpose),
        "crimes": [word(Crime.DESCRIPTOR, each) for each in query.crimes],
        "instrument": printable(query.instrument),
        "case": printable(query.case_reference),
        "tells who works on the same": detail.alert.deconflict,
    }


def _named(stub: CorrespondenceStub, typed: str) -> AlertItem:
    """Return the alert that an id, or its first digits, stand for."""
    digits = typed.strip().lower().replace("-", "")
    items = stub.ListAlerts(ListAlertsRequest(limit=1_000)).items
    found = [each for each in items if digits and each.exchange_id.hex().startswith(digits)]
    if len(found) != 1:
        what = "no alert has" if not found else "more than one alert has"
        raise UsageError(f"{what} an id that begins with {typed}: see `enlace alert list`")
    return found[0]


def _now_us() -> int:
    return time.time_ns() // 1_000
