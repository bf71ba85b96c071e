"""`enlace ledger prove`, and `enlace verify-bundle`, which needs no node."""

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from node.cli.client import desk
from node.cli.directory_files import create, read
from node.cli.home import home_of
from node.cli.ledger_keys import cosigners, keys_of, read_history
from node.cli.output import HomeOption, JsonOption, OfficerOption, show, time_text
from node.cli.words import word
from node.errors import IdentityError, LedgerError, SignatureError
from node.ledger.bundle import OpenedBundle, open_bundle
from node.ledger.rfc6962 import leaf_hash
from node.wire.bundle_pb2 import ProveLineRequest
from node.wire.codes_pb2 import Purpose
from node.wire.ledger_pb2 import Direction, LeafKind

DirectoriesOption: TypeAlias = Annotated[
    list[Path], typer.Option("--directory", help="A signed directory; may be repeated, for keys that were replaced.")
]
RootOption: TypeAlias = Annotated[Path, typer.Option("--root", help="The stewards' root that you trust.")]

FOUND: Final = (LedgerError, SignatureError, IdentityError)
"""What says that a proof is wrong, rather than that the command was used wrongly."""


def prove(
    line: Annotated[int, typer.Argument(min=0, help="Of the ledger, counted from 0.")],
    *,
    officer: OfficerOption,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write; must not exist. Else line-LINE.bundle.")
    ] = None,
    why: Annotated[
        str,
        typer.Option(
            "--open", metavar="REASON", help="Include officer, case and rulebook digests, and say why; a line keeps it."
        ),
    ] = "",
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="One of this ledger; else the last cosigned one, or a new one.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a proof bundle of a line, as an auditor; that you did is a line too."""
    request = ProveLineRequest(index=line, unmask=why, checkpoint=read(checkpoint) if checkpoint else b"")
    with desk(home_of(home), officer) as stub:
        bundle = stub.ProveLine(request).bundle
    path = out or Path(f"line-{line}.bundle")
    create(path, bundle)
    show({"line": line, "bytes": len(bundle), "opened": bool(why), "file": str(path)}, as_json)


def verify_bundle(
    file: Annotated[Path, typer.Argument(help="A proof bundle.")],
    *,
    directory: DirectoriesOption,
    root: RootOption,
    as_json: JsonOption = False,
) -> None:
    """Check a proof bundle offline, with nothing but the directory's keys; exit status 1 says what is wrong."""
    keys = keys_of(read_history(root, directory))
    try:
        opened = open_bundle(read(file), keys)
    except FOUND as error:
        show({"verified": False, "finding": str(error)}, as_json)
        raise typer.Exit(1) from None
    show({"verified": True, **_facts(opened)}, as_json)


def _facts(opened: OpenedBundle) -> dict[str, object]:
    shared, checkpoint, private = opened.shared, opened.checkpoint, opened.private
    facts: dict[str, object] = {
        "ledger": checkpoint.checkpoint.origin,
        "line": opened.index,
        "of_lines": checkpoint.checkpoint.size,
        "what": f"{word(LeafKind.DESCRIPTOR, shared.kind)}, {word(Direction.DESCRIPTOR, shared.direction)}",
        "logged": time_text(opened.leaf.logged_us),
        "peer": shared.peer,
        "exchange": shared.exchange_id,
        "leaf_hash": leaf_hash(opened.leaf.SerializeToString()),
        "signed_by_peer": bool(shared.counterpart_statement),
        "cosigned_by": cosigners(checkpoint),
    }
    if private is None:
        return {**facts, "private_part": "not opened"}
    return {
        **facts,
        "officer": private.officer,
        "unit": private.unit,
        "case": private.case_reference,
        "purpose": word(Purpose.DESCRIPTOR, private.purpose),
        "reason": private.reason,
        "floor_rulebook": private.floor_sha256,
        "release_rulebook": private.release_sha256,
        "outbound_rulebook": private.outbound_sha256,
    }
