"""`enlace doctor`: what is well with a node, what is not, and what to do."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.client import desk
from node.cli.examining import Finding, Stored, examine_files, examine_store, examine_trust
from node.cli.examining_institution import examine_institution
from node.cli.examining_safeguards import examine_safeguards
from node.cli.home import Home, home_of
from node.cli.ledger_witness import examine_witnesses
from node.cli.output import STYLES, HomeOption, JsonOption, show_rows
from node.config import Config, load_config
from node.errors import EnlaceError, UnansweredError
from node.identity.directory import DAY_US
from node.wire.desk_pb2 import GetStatusRequest, GetStatusResponse

CONNECT_S: Final = 2.0
BACKUP_YELLOW_DAYS: Final = 2
BACKUP_RED_DAYS: Final = 7
BACKUP_OLDEST_DAYS: Final = 30
"""Erasing a key counts only once the last backup that holds it is gone."""

DIM: Final = {**STYLES, "hint": "dim"}


def doctor(
    *,
    home: HomeOption = None,
    officer: Annotated[
        str | None,
        typer.Option("--as", envvar="ENLACE_OFFICER", help="Who asks the running node; else the first in the home."),
    ] = None,
    backups: Annotated[
        Path | None,
        typer.Option("--keystore-backups", help="Folder with the key store's backups, to look at their age."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check keys, clock, certificates, directory, rulebooks, peers, database and disk; exit status 1 if any is red."""
    node = home_of(home)
    findings = list(examine(node, officer, backups))
    rows = [{"state": each.state, "what": each.what, "finding": each.says} for each in findings]
    show_rows(rows, as_json, empty="", styles=DIM)
    if any(each.state == "red" for each in findings):
        raise typer.Exit(1)


def examine(home: Home, officer: str | None, backups: Path | None) -> Iterator[Finding]:
    """Look at everything; the node may run or not."""
    config, now_us = load_config(home.config), time.time_ns() // 1_000
    yield from examine_files(home, config, now_us)
    held, findings = examine_store(config, now_us)
    yield from findings
    if held is not None:
        yield from examine_trust(config, held, now_us)
        yield from examine_safeguards(config, now_us)
        yield from examine_institution(config, held.directory, now_us)
        yield from examine_witnesses(config, held.directory, now_us)
    name = officer or _any_officer(home)
    if name is None:
        yield Finding("node", "hint", "not asked: no officer's certificate lies here; see --as")
    status, node = _ask(home, name) if name else (None, None)
    if node is not None:
        yield node
    if status is not None:
        yield from _peers_of_node(status)
    elif held is not None:
        yield from _peers_from_here(config, held)
    yield _backups(backups, now_us)


def _any_officer(home: Home) -> str | None:
    found = sorted(path.parent.name for path in (home.path / "officers").glob("*/certificate.pem"))
    return found[0] if found else None


def _ask(home: Home, officer: str) -> tuple[GetStatusResponse | None, Finding]:
    try:
        with desk(home, officer) as stub:
            status = stub.GetStatus(GetStatusRequest(probe_peers=True))
    except UnansweredError:
        return None, Finding("node", "yellow", f"is not running: `enlace serve --home {home.path}`")
    except EnlaceError as error:
        return None, Finding("node", "yellow", f"runs, and did not tell {officer} how it is: {error}")
    says = f"{status.node} runs on {status.database}; its ledger has {status.ledger_size} lines"
    return status, Finding("node", "green", says)


def _peers_of_node(status: GetStatusResponse) -> Iterator[Finding]:
    for peer in status.peers:
        if peer.reachable:
            yield Finding(f"peer {peer.peer}", "green", "answers")
        else:
            yield Finding(f"peer {peer.peer}", "red", f"does not answer ({peer.detail}): telephone its duty officer")
    for book in status.rulebooks:
        if not book.in_force:
            says = f"the running node has none in force, and so denies everything: {book.detail}"
            yield Finding(f"{book.layer} rulebook", "red", says)


def _peers_from_here(config: Config, held: Stored) -> Iterator[Finding]:
    """Knock at the peers' doors; who is behind them is for the node to verify."""
    for record in held.directory.members():
        if record.country == config.country:
            continue
        endpoint = record.nodes[0].endpoint
        host, _, port = endpoint.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S):
                yield Finding(f"peer {record.country}", "green", f"{endpoint} takes connections")
        except OSError as error:
            reason = error.strerror or "no answer"
            yield Finding(f"peer {record.country}", "red", f"{endpoint} does not take connections: {reason}")


def _backups(folder: Path | None, now_us: int) -> Finding:
    what = "key store's backups"
    if folder is None:
        return Finding(what, "hint", "not looked at: give --keystore-backups FOLDER; keep them 30 days at most")
    ages = sorted((now_us - path.stat().st_mtime_ns // 1_000) / DAY_US for path in folder.glob("*") if path.is_file())
    if not ages:
        return Finding(what, "red", f"there are none in {folder}")
    says = f"the newest is {ages[0]:.0f} days old, the oldest {ages[-1]:.0f}"
    if ages[-1] > BACKUP_OLDEST_DAYS:
        return Finding(what, "red", f"{says}: delete those over {BACKUP_OLDEST_DAYS}, which undo erasure")
    if ages[0] > BACKUP_RED_DAYS:
        return Finding(what, "red", says)
    return Finding(what, "yellow" if ages[0] > BACKUP_YELLOW_DAYS else "green", says)
