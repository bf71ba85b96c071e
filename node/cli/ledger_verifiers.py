"""`enlace ledger keys`: the keys of ledgers and witnesses, as other tools of the C2SP family take them."""

from typing import Annotated

import typer

from node.cli.ledger_keys import node_keys, read_history
from node.cli.ledger_prove import DirectoriesOption, RootOption
from node.cli.output import JsonOption, show_rows
from node.ledger.epoch import FIRST, epoch_origin
from node.ledger.note import COSIGNATURE_V1, ED25519, VerifierKey


def verifier_keys(
    *,
    directory: DirectoriesOption,
    root: RootOption,
    epoch: Annotated[int, typer.Option("--epoch", min=FIRST, help="Of a ledger that was restored.")] = FIRST,
    as_json: JsonOption = False,
) -> None:
    """Print verifier keys (https://c2sp.org/signed-note) of all ledgers and witnesses that directories name."""
    found: dict[str, dict[str, object]] = {}
    for _, _, name, key in node_keys(read_history(root, directory)):
        log = VerifierKey(epoch_origin(name, epoch), ED25519, key.public_key)
        witness = VerifierKey(name, COSIGNATURE_V1, key.public_key)
        found[str(log)] = {"signs": "checkpoints", "key": str(log)}
        found[str(witness)] = {"signs": "cosignatures", "key": str(witness)}
    show_rows([found[each] for each in sorted(found)], as_json, empty="The directories name no key.")
