"""`enlace pairing`: two focal points of this country agree to deal with a peer (SAFEGUARDS 9).

Both sign the same bytes, so what the first one signed lies in a file for the second: pairings/PEER.bin in the home,
beside pairings/PEER.txt, the report that both are to read, whose SHA-256 is signed with it.
"""

import hashlib
import time
from pathlib import Path
from typing import Annotated

import typer

from node.cli.client import desk
from node.cli.directory_files import private_key, read, replace
from node.cli.home import Home, home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, show, show_rows
from node.config import load_config
from node.errors import UsageError
from node.identity.approvals import build_pairing, parse_pairing, sign_pairing
from node.wire.approval_pb2 import SignedPairing
from node.wire.desk_pb2 import ListPairingsRequest, PairingState, SignPairingRequest

app = typer.Typer(help="Sign pairings with peers, and see how they stand.", no_args_is_help=True)


@app.command("sign")
def sign(
    peer: Annotated[str, typer.Argument(help="ISO 3166-1 alpha-2.")],
    *,
    key: Annotated[Path, typer.Option("--key", help="Your own focal point's key.")],
    officer: OfficerOption,
    report: Annotated[
        Path | None, typer.Option("--report", help="The rehearsal that both signers have read; else one is written.")
    ] = None,
    passphrase_file: Annotated[Path | None, typer.Option("--passphrase-file", help="Of your key.")] = None,
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
        digest = hashlib.sha256(_report(node, state, report)).digest()
        signed = sign_pairing(_pending(node, state, digest), private)
        response = stub.SignPairing(SignPairingRequest(signed_pairing=signed.SerializeToString()))
    replace(_place(node, state.peer, "bin"), signed.SerializeToString())
    show(
        {
            "peer": state.peer,
            "root_key_sha256": hashlib.sha256(state.root_key).hexdigest(),
            "report": str(report or _place(node, state.peer, "txt")),
            "in_force": response.in_force,
            "next": "done"
            if response.in_force
            else f"a second focal point signs the same, after comparing the digest by voice with {state.peer}",
        },
        as_json,
    )


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


def _pending(home: Home, state: PairingState, digest: bytes) -> SignedPairing:
    """Return what the first focal point has signed, if it is still about the same; else a pairing to begin with."""
    country, place = load_config(home.config).country, _place(home, state.peer, "bin")
    if place.is_file():
        signed = SignedPairing.FromString(read(place))
        pairing = parse_pairing(signed.pairing)
        same = (pairing.country, pairing.peer_root_key, pairing.rehearsal_sha256) == (country, state.root_key, digest)
        if same:
            return signed
    return build_pairing(
        country=country,
        peer=state.peer,
        peer_root_key=state.root_key,
        time_us=time.time_ns() // 1_000,
        rehearsal_sha256=digest,
    )


def _report(home: Home, state: PairingState, report: Path | None) -> bytes:
    """Return what the signers read: their rehearsal, or at least which key and which rules they sign for."""
    if report is not None:
        return read(report)
    config = load_config(home.config)
    rules = {"release": config.rulebooks.release, "outbound": config.rulebooks.outbound}
    lines = [
        f"Pairing of {config.country} with {state.peer}",
        f"root key of {state.peer}, SHA-256: {hashlib.sha256(state.root_key).hexdigest()}",
        *(f"{layer} rulebook, SHA-256: {hashlib.sha256(read(path)).hexdigest()}" for layer, path in rules.items()),
        "No rehearsal was made: nothing shows what these rules would let go.",
    ]
    text = ("\n".join(lines) + "\n").encode()
    replace(_place(home, state.peer, "txt"), text)
    return text
