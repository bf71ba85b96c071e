"""`enlace life` and `enlace holds`: what waits for a human."""

from collections import Counter
from typing import Annotated

import typer

from node.cli.client import desk
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, show, show_rows, time_text
from node.cli.words import id_text
from node.errors import UsageError
from node.wire.desk_pb2 import AcknowledgeLifeRequest, LifeNotice, ListHoldsRequest, ListLifeRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.ledger_pb2 import Direction
from node.wire.safeguard_pb2 import ListDeterminationsRequest

app = typer.Typer(help="LIFE queries, which a human must read within 15 minutes.", no_args_is_help=True)


@app.command("list")
def list_life(*, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show LIFE queries, those of peers that we must acknowledge and our own, the earliest due first."""
    with desk(home_of(home), officer) as stub:
        notices = stub.ListLife(ListLifeRequest()).notices
        asked = Counter(
            each.exchange_id for each in stub.ListDeterminations(ListDeterminationsRequest()).determinations
        )
    rows = [
        {
            "exchange": notice.exchange_id,
            "peer": notice.peer,
            "we": "must acknowledge" if _is_ours_to_read(notice) else "wait",
            "due": time_text(notice.due_us),
            "acknowledged": time_text(notice.acknowledged_us),
            "by": notice.acknowledged_by,
            "telephone": notice.telephone,
            "to_determine": asked[notice.exchange_id],
        }
        for notice in notices
    ]
    show_rows(rows, as_json, empty="No LIFE query has come or gone.", only_json=("acknowledged",))


@app.command("facts")
def list_facts(*, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show facts that nobody has recorded, and that alone kept an entry from a LIFE query: determine them now."""
    with desk(home_of(home), officer) as stub:
        found = stub.ListDeterminations(ListDeterminationsRequest(take=True)).determinations
    rows = [
        {
            "due": time_text(each.due_us),
            "peer": each.peer,
            "entry": id_text(each.entry_id),
            "determine": ", ".join(each.facts),
            "exchange": each.exchange_id,
            "asked": time_text(each.at_us),
        }
        for each in found
    ]
    show_rows(rows, as_json, empty="No fact waits to be determined for a life.", only_json=("asked",))


@app.command("ack")
def acknowledge(
    exchange: Annotated[
        str, typer.Argument(help="The exchange id, or its first digits, as `enlace life list` shows it.")
    ],
    *,
    telephone: Annotated[str, typer.Option("--telephone", help="Where the peer reaches you now.")],
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell the peer that you have read its LIFE query."""
    with desk(home_of(home), officer) as stub:
        exchange_id = _named(stub, exchange)
        response = stub.AcknowledgeLife(AcknowledgeLifeRequest(exchange_id=exchange_id, telephone=telephone))
    show({"exchange": exchange_id, "acknowledged": time_text(response.acknowledged_us)}, as_json)


def holds(*, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show entries that wait for a focal point; of a silent one the peer saw "nothing releasable now"."""
    with desk(home_of(home), officer) as stub:
        waiting = stub.ListHolds(ListHoldsRequest()).holds
    rows = [
        {
            "peer": hold.peer,
            "due": time_text(hold.due_us),
            "silent": hold.silent,
            "entry": id_text(hold.entry_id),
            "asked": time_text(hold.at_us),
            "exchange": hold.exchange_id,
        }
        for hold in waiting
    ]
    show_rows(rows, as_json, empty="Nothing waits for a focal point.", only_json=("asked", "exchange"))


def _is_ours_to_read(notice: LifeNotice) -> bool:
    return notice.direction == Direction.DIRECTION_RECEIVED


def _named(stub: DeskStub, typed: str) -> bytes:
    digits = typed.strip().lower().replace("-", "")
    notices = stub.ListLife(ListLifeRequest()).notices
    ours = {each.exchange_id for each in notices if _is_ours_to_read(each)}
    found = {each for each in ours if digits and each.hex().startswith(digits)}
    if len(found) != 1:
        what = "no LIFE query of a peer has" if not found else "more than one LIFE query has"
        raise UsageError(f"{what} an exchange id that begins with {typed}: see `enlace life list`")
    return found.pop()
