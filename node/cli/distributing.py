"""`enlace directory import` and `enlace pki push`: bringing a node what stewards and its authority made."""

import time
from pathlib import Path
from typing import Annotated

import typer

from node.cli.client import desk
from node.cli.directory_files import private_key, read
from node.cli.home import Home, database_at, home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, show
from node.cli.pki_folder import Folder
from node.config import load_config
from node.errors import UnansweredError
from node.federation.copying import begin_copies
from node.federation.envelope import Signer
from node.federation.lines import local_line
from node.identity.directory import TrustedDirectory
from node.identity.keys import key_id, public_key
from node.store import directories
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.vault import Vault, read_key_file
from node.store.writer import Writer
from node.wire.desk_pb2 import ImportDirectoryRequest, PeerOutcome, StoreRevocationsRequest
from node.wire.ledger_pb2 import LeafKind, LeafPrivate


def import_directory(
    file: Annotated[Path, typer.Argument(help="The signed directory.")],
    *,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a newer directory in force: in the running node, or in its store while it is down."""
    node, data = home_of(home), read(file)
    try:
        with desk(node, officer) as stub:
            version = stub.ImportDirectory(ImportDirectoryRequest(signed_directory=data)).version
        where = "running node"
    except UnansweredError:
        version, where = accept_directory(node, data), "store"
    show({"directory_version": version, "accepted_by": where}, as_json)


def accept_directory(home: Home, data: bytes) -> int:
    """Verify and keep a directory in the store of a node that is down, with a ledger line, and return its version.

    Raises:
        DirectoryError: it is not a successor of what is held.
        StoreLockedError: the node is running.
    """
    config = load_config(home.config)
    private = private_key(config.trust.signing_key, None)
    signer = Signer(config.country, config.name, key_id(public_key(private)), private)
    with (
        Database.open(database_at(config.store.database)) as database,
        KeyStore.open(config.store.keystore) as keystore,
    ):
        with database.reading() as connection:
            held = TrustedDirectory.restored(read(config.trust.root), directories.accepted(connection))
        now_us = time.time_ns() // 1_000
        successor = held.updated(data, now_us)
        if successor.version > held.version:
            line = local_line(
                LeafKind.LEAF_KIND_DIRECTORY,
                LeafPrivate(reason=f"VERSION {successor.version}", subject=successor.digest),
                signer,
                now_us,
            )
            vault = Vault(keystore, read_key_file(config.store.key_encryption_key))
            with Writer(database.engine, vault, f"{config.country}/{config.name}") as writer:
                with database.reading() as connection:
                    begin_copies(connection, writer, held, signer, now_us)
                writer.submit(
                    lambda connection: directories.put_directory(connection, successor, now_us), [line]
                ).result()
    return successor.version


def push(
    *,
    officer: OfficerOption,
    crl: Annotated[Path | None, typer.Option("--crl", help="The revocation list; else the home's own.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put this country's revocation list in force in its node, and bring it to every peer."""
    node = home_of(home)
    with desk(node, officer) as stub:
        response = stub.StoreRevocations(StoreRevocationsRequest(crl=read(crl or Folder(node.path).crl)))
    outcomes = {each.peer: PeerOutcome.Name(each.outcome).removeprefix("PEER_OUTCOME_") for each in response.pushed}
    show({peer: "has it" if outcome == "ANSWERED" else outcome.lower() for peer, outcome in outcomes.items()}, as_json)
    if any(outcome != "ANSWERED" for outcome in outcomes.values()):
        raise typer.Exit(1)
