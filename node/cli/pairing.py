"""`enlace pairing`: two focal points of this country agree to deal with a peer.

Both sign the same bytes, so what the first one signed lies in a file for the second: pairings/PEER.bin in the home,
until both have signed, beside pairings/PEER.txt, the report that both are to read, whose SHA-256 is signed with it.
"""

import hashlib
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.client import desk
from node.cli.directory_files import private_key, read, replace
from node.cli.home import Home, home_of
from node.cli.output import HomeOption, JsonOption, KeyPassphraseFile, OfficerOption, show, show_rows
from node.config import load_config
from node.errors import UsageError
from node.identity.approvals import build_pairing, parse_pairing, sign_pairing
from node.identity.directory import DAY_US
from node.wire.approval_pb2 import SignedPairing
from node.wire.desk_pb2 import (
    EndPairingRequest,
    ListPairingsRequest,
    PairingState,
    RehearsePairingRequest,
    SignPairingRequest,
)
from node.wire.desk_pb2_grpc import DeskStub

app = typer.Typer(help="Sign pairings with peers, and see how they stand.", no_args_is_help=True)

OLDEST_US: Final = 29 * DAY_US
"""Since when a pairing may wait for its second signature; the node takes it for a day longer."""

Peer = Annotated[str, typer.Argument(help="ISO 3166-1 alpha-2.")]


@app.command("rehearse")
def rehearse(
    peer: Peer,
    *,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what would leave to a peer, over the records as they are; both signers read this."""
    with desk(home_of(home), officer) as stub:
        rehearsed = stub.RehearsePairing(RehearsePairingRequest(peer=peer.upper()))
    if as_json:
        show({"peer": peer.upper(), "report": rehearsed.report, "sha256": rehearsed.sha256.hex()}, as_json)
    else:
        typer.echo(rehearsed.report, nl=False)


@app.command("sign")
def sign(
    peer: Peer,
    *,
    key: Annotated[Path, typer.Option("--key", help="Your own focal point's key.")],
    officer: OfficerOption,
    passphrase_file: KeyPassphraseFile = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign the pairing with a peer; in force once a second focal point has signed the same."""
    node = home_of(home)
    private = private_key(key, passphrase_file)
    with desk(node, officer) as stub:
        states = {state.peer: state for state in stub.ListPairings(ListPairingsRequest()).pairings}
        state = states.get(peer.upper())
        if state is None:
            raise UsageError(f"{peer.upper()} is not in the directory; members are {', '.join(sorted(states))}")
        signed = sign_pairing(_begun(node, state) or _beginning(node, state, stub), private)
        response = stub.SignPairing(SignPairingRequest(signed_pairing=signed.SerializeToString()))
    if response.in_force:
        _place(node, state.peer, "bin").unlink(missing_ok=True)  # the next signature begins a pairing that follows it
    else:
        replace(_place(node, state.peer, "bin"), signed.SerializeToString())
    show(
        {
            "peer": state.peer,
            "root_key_sha256": hashlib.sha256(state.root_key).hexdigest(),
            "report": str(_place(node, state.peer, "txt")),
            "in_force": response.in_force,
            "next": "done"
            if response.in_force
            else f"a second focal point reads the report, compares the key by voice with {state.peer}, and signs",
        },
        as_json,
    )


@app.command("end")
def end(
    peer: Peer,
    *,
    reason: Annotated[str, typer.Option("--reason", help="At most 40 bytes, never about a person; it is logged.")],
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the pairing with a peer at once; a later one needs a new rehearsal and two signatures."""
    node = home_of(home)
    with desk(node, officer) as stub:
        stub.EndPairing(EndPairingRequest(peer=peer.upper(), reason=reason))
    # A second signature on what was begun before would not be a new decision.
    _place(node, peer.upper(), "bin").unlink(missing_ok=True)
    show({"peer": peer.upper(), "in_force": False}, as_json)


@app.command("list")
def list_pairings(*, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show how it stands with every other member."""
    with desk(home_of(home), officer) as stub:
        states = stub.ListPairings(ListPairingsRequest()).pairings
    rows = [
        {
            "peer": state.peer,
            "signatures": state.signatures,
            "in_force": state.in_force,
            "root_key_sha256": hashlib.sha256(state.root_key).hexdigest(),
        }
        for state in states
    ]
    show_rows(rows, as_json, empty="There is no other member in the directory.")


def _place(home: Home, peer: str, suffix: str) -> Path:
    folder = home.path / "pairings"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{peer}.{suffix}"


def _begun(home: Home, state: PairingState) -> SignedPairing | None:
    """Return what one focal point has signed and no second one yet, if the node would still take it."""
    place = _place(home, state.peer, "bin")
    if not place.is_file():
        return None
    signed = SignedPairing.FromString(read(place))
    pairing = parse_pairing(signed.pairing)
    is_young = time.time_ns() // 1_000 - pairing.time_us < OLDEST_US
    return signed if is_young and pairing.peer_root_key == state.root_key else None


def _beginning(home: Home, state: PairingState, stub: DeskStub) -> SignedPairing:
    """Rehearse, keep the report for both signers, and return a pairing that nobody has signed."""
    rehearsed = stub.RehearsePairing(RehearsePairingRequest(peer=state.peer))
    replace(_place(home, state.peer, "txt"), rehearsed.report.encode())
    return build_pairing(
        country=load_config(home.config).country,
        peer=state.peer,
        peer_root_key=state.root_key,
        time_us=time.time_ns() // 1_000,
        rehearsal_sha256=rehearsed.sha256,
    )
