"""`enlace mail`: what leaves, what came, and where each stands."""

from typing import Annotated, Final

import typer
from google.protobuf import text_format

from node.cli.client import desk_channel
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, say, show, show_rows, time_text
from node.cli.words import id_text, parse_country, parse_id, word
from node.wire.correspondence_pb2 import (
    GetMailRequest,
    ListMailRequest,
    MailItem,
    MailQueue,
    MailState,
    RetryMailRequest,
)
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT
from node.wire.mail_pb2 import Mail

app = typer.Typer(help="Look after mail: what waits for a peer, what was given up, what came.", no_args_is_help=True)

PeerArgument = Annotated[str, typer.Argument(metavar="PEER", help="The other country.")]
_STATES: Final = ", ".join(word(MailState.DESCRIPTOR, each) for each in MailState.values() if each)


@app.command("list")
def list_mail(
    *,
    peer: Annotated[str | None, typer.Option("--peer", help="To or from this country alone.")] = None,
    state: Annotated[str | None, typer.Option("--state", help=f"Only what stands so: {_STATES}.")] = None,
    exchange: Annotated[str | None, typer.Option("--exchange", help="Only of this exchange.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="At most so many, the newest.")] = 100,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show mail without its contents, the newest first, and what waits for each peer."""
    request = ListMailRequest(
        peer=parse_country(peer) if peer else "",
        state=_state(state) if state else MailState.MAIL_STATE_UNKNOWN,
        exchange_id=parse_id(exchange) if exchange else b"",
        limit=limit,
    )
    with desk_channel(home_of(home), officer) as channel:
        found = CorrespondenceStub(channel).ListMail(request)
    rows = [_facts(each) for each in found.items]
    show_rows(rows, as_json, empty="No mail is like that.", only_json=("written", "bytes"))
    if not as_json:
        say(_queue_text(queue) for queue in found.queues)


@app.command("show")
def show_mail(
    peer: PeerArgument,
    exchange: Annotated[str, typer.Argument(metavar="EXCHANGE", help="As `enlace mail list` shows it.")],
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="Of the mail, in its exchange.")],
    *,
    received: Annotated[bool, typer.Option("--received", help="One that came; else one of this country.")] = False,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one mail: to a focal point with what it says, which is a ledger line."""
    request = GetMailRequest(
        direction=DIRECTION_RECEIVED if received else DIRECTION_SENT,
        peer=parse_country(peer),
        exchange_id=parse_id(exchange),
        number=number,
    )
    with desk_channel(home_of(home), officer) as channel:
        found = CorrespondenceStub(channel).GetMail(request)
    says = text_format.MessageToString(Mail.FromString(found.mail), print_unknown_fields=True) if found.mail else ""
    show(_facts(found.item) | {"says": says.strip()}, as_json)


@app.command("retry")
def retry(
    peer: PeerArgument,
    exchange: Annotated[str | None, typer.Argument(metavar="[EXCHANGE]", help="Only of this exchange.")] = None,
    number: Annotated[int, typer.Argument(metavar="[NUMBER]", min=0, help="Only this one.")] = 0,
    *,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send dead mail again, with what is blocked behind it; the line says that you did."""
    request = RetryMailRequest(
        peer=parse_country(peer), exchange_id=parse_id(exchange) if exchange else b"", number=number
    )
    with desk_channel(home_of(home), officer) as channel:
        show({"queued again": CorrespondenceStub(channel).RetryMail(request).queued}, as_json)


def _state(text: str) -> MailState.ValueType:
    names = {word(MailState.DESCRIPTOR, each): each for each in MailState.values() if each}
    found = names.get(text.lower().replace("-", " ").replace("_", " "))
    if found is None:
        raise typer.BadParameter(f"is none of {_STATES}", param_hint="--state")
    return found


def _facts(item: MailItem) -> dict[str, object]:
    return {
        "way": "to" if item.direction == DIRECTION_SENT else "from",
        "peer": item.peer,
        "exchange": id_text(item.exchange_id),
        "number": item.number,
        "kind": item.kind or "UNKNOWN",
        "state": word(MailState.DESCRIPTOR, item.state),
        "since": time_text(item.changed_us),
        "attempts": item.attempts,
        "reason": item.reason,
        "written": time_text(item.time_us),
        "bytes": item.bytes,
    }


def _queue_text(queue: MailQueue) -> str:
    said = [f"{queue.queued} wait since {time_text(queue.oldest_us)}"] if queue.queued else []
    said += [f"{queue.dead} are dead: `enlace mail retry {queue.peer}`"] if queue.dead else []
    said += [f"{queue.blocked} wait behind those"] if queue.blocked else []
    return f"{queue.peer}: {', '.join(said)}"
