"""`enlace focal-point`: who signs for the country, each with a key of their own."""

import time
from pathlib import Path
from typing import Annotated

import typer

from node.cli.client import desk
from node.cli.directory_files import new_key, private_key, read_public_key
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, KeyPassphraseFile, OfficerOption, show
from node.errors import UsageError
from node.identity.approvals import countersign
from node.wire.approval_pb2 import FocalEnrolment
from node.wire.desk_pb2 import EnrolFocalPointRequest

app = typer.Typer(help="Enrol those who sign pairings with peers.", no_args_is_help=True)


@app.callback()
def focal_point() -> None:
    """Enrol those who sign pairings with peers."""


@app.command("enrol")
def enrol(
    name: Annotated[str, typer.Argument(help="The new focal point's pseudonym; never a name.")],
    *,
    vouching: Annotated[Path, typer.Option("--countersign", help="The key of a focal point who is there already.")],
    officer: OfficerOption,
    passphrase_file: KeyPassphraseFile = None,
    key_out: Annotated[
        Path | None, typer.Option("--key-out", help="Where to put the new focal point's key; must not exist.")
    ] = None,
    key_passphrase_file: Annotated[
        Path | None, typer.Option("--key-passphrase-file", help="Where the new key's passphrase is written.")
    ] = None,
    public: Annotated[
        Path | None, typer.Option("--public-key", help="The public key, where the focal point has made one.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol one more focal point, vouched for by one who is there; it may sign from now on.

    A key that was made stays where the node refuses, or does not answer: enrol it then with --public-key.
    """
    node, private = home_of(home), private_key(vouching, passphrase_file)
    enrolled = _public_key(key_out, key_passphrase_file, public)
    enrolment = FocalEnrolment(name=name, public_key=enrolled, time_us=time.time_ns() // 1_000)
    signed = countersign(enrolment, private).SerializeToString()
    with desk(node, officer) as stub:
        kept = stub.EnrolFocalPoint(EnrolFocalPointRequest(signed_enrolment=signed)).name
    facts = {
        "focal_point": kept,
        "public_key": enrolled.hex(),
        "next": f"hand {key_out} over in person" if key_out else None,
    }
    show({name: value for name, value in facts.items() if value}, as_json)


def _public_key(key_out: Path | None, key_passphrase_file: Path | None, public: Path | None) -> bytes:
    if key_out is not None and public is None:
        return new_key(key_out, key_passphrase_file)
    if public is not None and key_out is None:
        return read_public_key(public)
    raise UsageError("give either --key-out, to make the key here, or --public-key, of a key made elsewhere")
