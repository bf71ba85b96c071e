"""`enlace freeze`: views that stay as they were, until a focal point decides how they end."""

from typing import Annotated, Literal

import typer

from node.cli.client import desk
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, show, show_rows, time_text
from node.cli.words import id_text, parse_country, parse_id, parse_interval, word
from node.wire.safeguard_pb2 import DecideFreezeRequest, Freeze, FreezeState, ListFreezesRequest

app = typer.Typer(
    help="Decide how long a peer sees an entry as it was, that may be the state somebody is protected from.",
    no_args_is_help=True,
)

_US_PER_DAY = 86_400_000_000


@app.command("list")
def list_freezes(*, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what peers see as it was, those first that wait for your decision."""
    with desk(home_of(home), officer) as stub:
        found = stub.ListFreezes(ListFreezesRequest()).freezes
    show_rows([_facts(each) for each in found], as_json, empty="No view is frozen.", only_json=("made", "decided"))


@app.command("decide")
def decide(
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="The entry's id, as `enlace freeze list` shows it.")],
    peer: Annotated[str, typer.Argument(metavar="PEER", help="That sees it as it was.")],
    end: Annotated[
        Literal["freeze", "expiry"],
        typer.Argument(metavar="freeze|expiry", help="It goes on, or ends at its review date as any entry would."),
    ],
    *,
    reason: Annotated[str, typer.Option("--reason", help="At most 40 bytes, never about a person; it is logged.")],
    until: Annotated[
        str | None, typer.Option("--until", help="Of a freeze: the day of its next review, at most five years ahead.")
    ] = None,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide how a view ends. Nothing that the peer could notice happens now, whichever you choose."""
    request = DecideFreezeRequest(
        entry_id=parse_id(entry),
        peer=parse_country(peer),
        state=FreezeState.Value(f"FREEZE_STATE_{end.upper()}"),
        until_us=parse_interval(until).first_day * _US_PER_DAY if until else 0,
        reason=reason,
    )
    with desk(home_of(home), officer) as stub:
        show(_facts(stub.DecideFreeze(request).freeze), as_json)


def _facts(freeze: Freeze) -> dict[str, object]:
    return {
        "entry": id_text(freeze.entry_id),
        "peer": freeze.peer,
        "state": word(FreezeState.DESCRIPTOR, freeze.state),
        "until": time_text(freeze.until_us),
        "by": freeze.decided_by,
        "revision": freeze.revision,
        "made": time_text(freeze.made_us),
        "decided": time_text(freeze.decided_us),
    }
