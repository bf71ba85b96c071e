"""`enlace suspension`: stop all exchange with a peer at once, and begin it again."""

import time
from pathlib import Path
from typing import Annotated

import typer

from node.cli.client import desk_channel
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
from node.identity.suspensions import sign_lifting, sign_suspension
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.suspension_pb2 import (
    Lifting,
    LiftSuspensionRequest,
    ListSuspensionsRequest,
    SignedLifting,
    SignedSuspension,
    SuspendPeerRequest,
    Suspension,
    SuspensionState,
)

app = typer.Typer(help="Stop all exchange with a peer at once, and begin it again.", no_args_is_help=True)

Key = Annotated[Path, typer.Option("--key", help="Your key as a focal point.")]
Reason = Annotated[str, typer.Option("--reason", help="At most 40 bytes, never about a person; it is logged.")]
Named = Annotated[
    str, typer.Argument(metavar="SUSPENSION", help="Its digest, or first digits, as `enlace suspension list` shows.")
]


@app.command("impose")
def impose(
    peer: Annotated[str, typer.Argument(help="ISO 3166-1 alpha-2.")],
    *,
    key: Key,
    reason: Reason,
    officer: OfficerOption,
    passphrase_file: KeyPassphraseFile = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Suspend a peer at once, for 24 hours; a second focal point makes it last (`enlace suspension sign`).

    It is neither answered nor asked, and what is queued for it waits, recalls too.
    """
    node, private = home_of(home), private_key(key, passphrase_file)
    said = Suspension(
        country=load_config(node.config).country,
        peer=parse_country(peer),
        time_us=time.time_ns() // 1_000,
        reason=reason,
    )
    signed = sign_suspension(SignedSuspension(suspension=said.SerializeToString()), private)
    with desk_channel(node, officer) as channel:
        stub = CorrespondenceStub(channel)
        request = SuspendPeerRequest(signed_suspension=signed.SerializeToString())
        _show(stub.SuspendPeer(request).suspension, as_json)


@app.command("sign")
def sign(
    suspension: Named,
    *,
    key: Key,
    officer: OfficerOption,
    passphrase_file: KeyPassphraseFile = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign a suspension as the second focal point: it lasts until two lift it."""
    private = private_key(key, passphrase_file)
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        held = SignedSuspension.FromString(_named(stub, suspension).signed_suspension)
        request = SuspendPeerRequest(signed_suspension=sign_suspension(held, private).SerializeToString())
        _show(stub.SuspendPeer(request).suspension, as_json)


@app.command("lift")
def lift(
    suspension: Named,
    *,
    key: Key,
    reason: Annotated[str, typer.Option("--reason", help="Of the first to sign; at most 40 bytes; it is logged.")] = "",
    officer: OfficerOption,
    passphrase_file: KeyPassphraseFile = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign that a suspension is lifted; it is once two focal points have."""
    private = private_key(key, passphrase_file)
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        state = _named(stub, suspension)
        if state.signed_lifting:
            held = SignedLifting.FromString(state.signed_lifting)
        else:
            now_us = time.time_ns() // 1_000
            said = Lifting(suspension_sha256=state.suspension_sha256, time_us=now_us, reason=reason)
            held = SignedLifting(lifting=said.SerializeToString())
        request = LiftSuspensionRequest(signed_lifting=sign_lifting(held, private).SerializeToString())
        _show(stub.LiftSuspension(request).suspension, as_json)


@app.command("list")
def list_suspensions(
    *, officer: OfficerOption, unmask: UnmaskOption = "", home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Show all suspensions, the newest first."""
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        found = stub.ListSuspensions(ListSuspensionsRequest(unmask=unmask)).suspensions
    rows = [_row(each) for each in found]
    show_rows(rows, as_json, empty="No peer was ever suspended.", only_json=("lifting_signed_by",))


def _show(state: SuspensionState, as_json: bool) -> None:
    show(_row(state), as_json)


def _row(state: SuspensionState) -> dict[str, object]:
    return {
        "suspension": state.suspension_sha256,
        "peer": state.peer,
        "state": _state_text(state),
        "from": time_text(state.time_us),
        "signed_by": ", ".join(state.signed_by),
        "reason": state.reason,
        "lifting_signed_by": ", ".join(state.lifting_signed_by),
    }


def _state_text(state: SuspensionState) -> str:
    if state.lifted_us:
        return f"lifted {time_text(state.lifted_us)}"
    if not state.in_force:
        return f"ended {time_text(state.until_us)}"
    until = (
        f"until {time_text(state.until_us)}, unless a second focal point signs" if state.until_us else "until lifted"
    )
    waits = "; its lifting waits for a second signature" if state.lifting_signed_by else ""
    return f"in force {until}{waits}"


def _named(stub: CorrespondenceStub, typed: str) -> SuspensionState:
    digits = typed.strip().lower()
    listed = stub.ListSuspensions(ListSuspensionsRequest()).suspensions
    found = [each for each in listed if digits and each.suspension_sha256.hex().startswith(digits)]
    if len(found) != 1:
        what = "no suspension has" if not found else "more than one suspension has"
        raise UsageError(f"{what} a digest that begins with {typed}: see `enlace suspension list`")
    return found[0]
