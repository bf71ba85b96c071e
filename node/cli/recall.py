"""`enlace recall`: taking back what peers were told, and seeing what they say became of it."""

from typing import Annotated

import typer

from node.cli.client import desk_channel
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, printable, say, show, show_rows, time_text
from node.cli.share import EntriesArgument, ReasonOption, not_sent
from node.cli.words import parse_country, parse_id
from node.errors import UsageError
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.sharing_pb2 import (
    DecideRecallRequest,
    ListRecallsRequest,
    RecallItem,
    SendNoticesRequest,
    SendRecallRequest,
    UpdateItem,
)

app = typer.Typer(help="Take back what peers were told, and follow it to its receipt.", no_args_is_help=True)

_PROVES = "A receipt proves that the peer says so, not that it is so."


@app.command("send")
def send(
    entry: EntriesArgument,
    *,
    reason: ReasonOption,
    peer: Annotated[list[str] | None, typer.Option("--peer", help="Once for each; none: all that were told.")] = None,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take entries back from all who were told of them, by answer, by grant or unasked."""
    request = SendRecallRequest(
        entry_ids=[parse_id(each) for each in entry], peers=[parse_country(each) for each in peer or ()], reason=reason
    )
    with desk_channel(home_of(home), officer) as channel:
        response = CorrespondenceStub(channel).SendRecall(request)
    rows = [_sent(each) for each in response.items]
    show_rows([*rows, *map(not_sent, response.not_sent)], as_json, empty="No peer was told of this.")


@app.command("list")
def list_recalls(
    *,
    missing: Annotated[bool, typer.Option("--missing", help="Only those whose receipt is missing.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many, at most.")] = 100,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show recalls with what the peers say became of the copies, the newest first."""
    with desk_channel(home_of(home), officer) as channel:
        items = CorrespondenceStub(channel).ListRecalls(ListRecallsRequest(missing=missing, limit=limit)).items
    show_rows([_facts(each) for each in items], as_json, empty="Nothing was taken back.", only_json=_ONLY_JSON)
    if items and not as_json:
        say([_PROVES])


@app.command("proposed")
def proposed(*, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what the rules in force would not let leave any more, and peers were told; a focal point decides on it."""
    with desk_channel(home_of(home), officer) as channel:
        items = CorrespondenceStub(channel).ListRecalls(ListRecallsRequest(proposed=True, limit=1_000)).items
    show_rows([_facts(each) for each in items], as_json, empty="Nothing is proposed.", only_json=_ONLY_JSON)


@app.command("decide")
def decide(
    peer: Annotated[str, typer.Argument(metavar="PEER", help="ISO 3166-1 alpha-2.")],
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="As `enlace recall proposed` shows it.")],
    *,
    reason: ReasonOption,
    stands: Annotated[bool, typer.Option("--stands", help="Leave with the peer what it was told.")] = False,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a recall that is proposed, or let stand what the peer was told."""
    country, entry_id = parse_country(peer), parse_id(entry)
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        items = stub.ListRecalls(ListRecallsRequest(proposed=True, limit=1_000)).items
        found = [each for each in items if (each.peer, each.entry_id) == (country, entry_id)]
        if not found:
            raise UsageError(f"no recall of it at {country} is proposed: see `enlace recall proposed`")
        for each in found:
            request = DecideRecallRequest(
                peer=country, exchange_id=each.exchange_id, handle=each.handle, send=not stands, reason=reason
            )
            item = stub.DecideRecall(request).item
    show(_facts(item), as_json)


@app.command("notices")
def notices(
    petition: Annotated[str, typer.Argument(metavar="PETITION", help="As `enlace ledger subject list` shows it.")],
    *,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send what a person's request leads to, as corrections and recalls that say nothing of it."""
    with desk_channel(home_of(home), officer) as channel:
        response = CorrespondenceStub(channel).SendNotices(SendNoticesRequest(petition_id=parse_id(petition)))
    rows = [*map(_sent, response.recalls), *map(_sent, response.updates)]
    show_rows([*rows, *map(not_sent, response.not_sent)], as_json, empty="No peer was told of this.")


def _sent(each: RecallItem | UpdateItem) -> dict[str, object]:
    return {"peer": each.peer, "entry": each.entry_id, "exchange": each.exchange_id, "sent": True, "why": ""}


_ONLY_JSON = ("handle", "withdrawn", "backups until", "officer")


def _facts(item: RecallItem) -> dict[str, object]:
    receipt = item.receipt
    if receipt.deleted_us:
        says = f"deleted {time_text(receipt.deleted_us)}: {', '.join(receipt.places) or 'nothing was there'}"
    elif receipt.held_law:
        says = f"held by {printable(receipt.held_law)} until {time_text(receipt.held_until_us)}"
    else:
        says = ""
    return {
        "peer": item.peer,
        "entry": item.entry_id,
        "state": item.state,
        "reason": printable(item.reason),
        "since": time_text(item.at_us),
        "receipt due": time_text(item.due_us) if item.due_us and not receipt.deleted_us else "",
        "the peer says": says,
        "exchange": item.exchange_id,
        "handle": item.handle,
        "withdrawn": time_text(receipt.withdrawn_us) if receipt.withdrawn_us else "",
        "backups until": time_text(receipt.backups_until_us) if receipt.backups_until_us else "",
        "officer": item.officer,
    }
