"""`enlace emergency`: for hours, rules count that the approved rulebook marks for emergencies."""

import time
from pathlib import Path
from typing import Annotated

import typer

from node.cli.client import desk
from node.cli.directory_files import private_key
from node.cli.home import home_of
from node.cli.output import (
    HomeOption,
    JsonOption,
    KeyPassphraseFile,
    OfficerOption,
    UnmaskOption,
    show,
    show_rows,
    time_text,
)
from node.cli.words import parse_country
from node.config import load_config
from node.errors import UsageError
from node.identity.emergencies import HOUR_US, sign_emergency, sign_review
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.safeguard_pb2 import (
    DeclareEmergencyRequest,
    Emergency,
    EmergencyReview,
    EmergencyState,
    EndEmergencyRequest,
    ListEmergenciesRequest,
    ReviewEmergencyRequest,
)

app = typer.Typer(
    help="Declare an emergency towards a peer, end it, and review what another declared.", no_args_is_help=True
)

Peer = Annotated[str, typer.Argument(help="ISO 3166-1 alpha-2.")]
Key = Annotated[Path, typer.Option("--key", help="Your key as a focal point.")]
Reason = Annotated[str, typer.Option("--reason", help="At most 40 bytes, never about a person; it is logged.")]


@app.command("declare")
def declare(
    peer: Peer,
    *,
    key: Key,
    reason: Reason,
    hours: Annotated[int, typer.Option("--hours", min=1, max=24, help="How long, at most.")] = 24,
    officer: OfficerOption,
    passphrase_file: KeyPassphraseFile = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the rules count that are marked for emergencies, towards one peer; another focal point reviews it.

    Every limit, denial and red line binds as before. Without such a rule nothing changes.
    """
    node, private, now_us = home_of(home), private_key(key, passphrase_file), time.time_ns() // 1_000
    country, towards = load_config(node.config).country, parse_country(peer)
    if towards == country:
        raise UsageError(f"{country} is this country itself: name the peer that is to be told more")
    emergency = Emergency(
        country=country,
        peer=towards,
        time_us=now_us,
        until_us=now_us + hours * HOUR_US,
        reason=reason,
    )
    signed = sign_emergency(emergency, private).SerializeToString()
    with desk(node, officer) as stub:
        response = stub.DeclareEmergency(DeclareEmergencyRequest(signed_emergency=signed))
    show(
        {
            "emergency": response.emergency_sha256.hex(),
            "peer": emergency.peer,
            "until": time_text(emergency.until_us),
            "next": "another focal point reviews it within 24 hours: `enlace emergency review`",
        },
        as_json,
    )


@app.command("end")
def end(
    peer: Peer,
    *,
    reason: Reason,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the emergency towards a peer at once."""
    country = parse_country(peer)
    with desk(home_of(home), officer) as stub:
        stub.EndEmergency(EndEmergencyRequest(peer=country, reason=reason))
    show({"peer": country, "in_force": False}, as_json)


@app.command("review")
def review(
    emergency: Annotated[
        str, typer.Argument(metavar="EMERGENCY", help="Its digest, or first digits, as `enlace emergency list` shows.")
    ],
    *,
    uphold: Annotated[bool, typer.Option("--uphold/--reject", help="It was right, or ends at once.")],
    key: Key,
    reason: Reason,
    officer: OfficerOption,
    passphrase_file: KeyPassphraseFile = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say of an emergency that another focal point declared whether it was right."""
    private = private_key(key, passphrase_file)
    with desk(home_of(home), officer) as stub:
        digest = _named(stub, emergency)
        said = EmergencyReview(emergency_sha256=digest, time_us=time.time_ns() // 1_000, upheld=uphold, reason=reason)
        signed = sign_review(said, private).SerializeToString()
        stub.ReviewEmergency(ReviewEmergencyRequest(signed_review=signed))
    show({"emergency": digest.hex(), "upheld": uphold}, as_json)


@app.command("list")
def list_emergencies(
    *, officer: OfficerOption, unmask: UnmaskOption = "", home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Show all emergencies, the newest first."""
    with desk(home_of(home), officer) as stub:
        found = stub.ListEmergencies(ListEmergenciesRequest(unmask=unmask)).emergencies
    now_us = time.time_ns() // 1_000
    rows = [
        {
            "emergency": each.emergency_sha256,
            "peer": each.peer,
            "from": time_text(each.time_us),
            "until": time_text(each.ended_us or each.until_us),
            "by": each.declared_by,
            "reason": each.reason,
            "review": _review_text(each, now_us),
            "reviewed_by": each.reviewed_by,
        }
        for each in found
    ]
    show_rows(rows, as_json, empty="No emergency was ever declared.", only_json=("reviewed_by",))


def _review_text(state: EmergencyState, now_us: int) -> str:
    if state.reviewed_by:
        return "upheld" if state.upheld else "not upheld"
    return "overdue" if state.review_due_us <= now_us else f"due {time_text(state.review_due_us)}"


def _named(stub: DeskStub, typed: str) -> bytes:
    digits = typed.strip().lower()
    listed = stub.ListEmergencies(ListEmergenciesRequest()).emergencies
    found = {each.emergency_sha256 for each in listed if digits and each.emergency_sha256.hex().startswith(digits)}
    if len(found) != 1:
        what = "no emergency has" if not found else "more than one emergency has"
        raise UsageError(f"{what} a digest that begins with {typed}: see `enlace emergency list`")
    return found.pop()
