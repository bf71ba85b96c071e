"""`enlace ledger`: verifying the exchange log without trusting the node, and reading it as an auditor."""

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from node.cli.checkpoints import opened_checkpoint, signed_checkpoint
from node.cli.client import desk
from node.cli.directory_files import create, read
from node.cli.home import HOME_VARIABLE, database_at, home_of
from node.cli.ledger_erase import erase
from node.cli.ledger_export import export, told, verify_export
from node.cli.ledger_keys import history, receipt_verifier, statement_verifier
from node.cli.ledger_prove import prove
from node.cli.ledger_terms import opened_vault, terms_of
from node.cli.ledger_witness import verify_witnessed
from node.cli.output import (
    HomeOption,
    JsonOption,
    LanguageOption,
    OfficerOption,
    UnmaskOption,
    show,
    show_rows,
    time_text,
)
from node.cli.reading import message_dict
from node.cli.words import id_text, named, parse_country, word
from node.config import Config, load_config
from node.errors import (
    LedgerBrokenError,
    MalformedError,
    NoteError,
    SignatureError,
    UsageError,
)
from node.ledger.epoch import name_gap
from node.records.labels import Language
from node.store import directories
from node.store.database import Database
from node.store.epochs import restores_of
from node.store.ledger import Progress as Told
from node.store.ledger import Report, verify_ledger
from node.store.listing import read_head
from node.wire.codes_pb2 import Purpose
from node.wire.desk_pb2 import ListLedgerRequest, ListLedgerResponse
from node.wire.ledger_pb2 import Direction, LeafKind

app = typer.Typer(help="Verify the exchange log, and read it.", no_args_is_help=True)
app.command("prove")(prove)
app.command("export")(export)
app.command("erase")(erase)


@app.command("verify")
def verify(
    *,
    database: Annotated[
        str | None,
        typer.Option("--database", help="A SQLite file, as a copy, or a URL; else the node's own."),
    ] = None,
    since: Annotated[
        Path | None, typer.Option("--since", help="A checkpoint kept elsewhere, which the ledger must still extend.")
    ] = None,
    exported: Annotated[
        Path | None, typer.Option("--from-export", help="A folder of `ledger export --tiles`: needs no node at all.")
    ] = None,
    directory: Annotated[
        list[Path] | None, typer.Option("--directory", help="With --from-export: a signed directory; repeatable.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", help="With --from-export: the stewards' root that you trust.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute the whole ledger from the database itself; exit status 1 names what is wrong, by line.

    What the lines say of other tables is compared with what is in them: what SQL wrote, altered or took away is named.
    With a home, the signatures in it are checked too, against the directories that follow from the pinned root. Who
    rewrites all lines and all that is kept about them is found out by --since alone, and by peers' ledgers. What opens
    a line must open it, and may be missing only where an erasure says so on a ground; so may the institution's copies.
    """
    if exported is not None:
        verify_export(exported, directory or [], root, as_json=as_json)
        return
    config = None
    if home is not None or HOME_VARIABLE in os.environ or not database:
        config = load_config(home_of(home).config)
    if since is not None and config is None:
        raise UsageError("--since needs --home, whose pinned root says which keys are the node's")
    kept, place = read(since) if since is not None else None, database or (config.store.database if config else "")
    started = time.perf_counter()
    with Database.open_read_only(database_at(place)) as opened, opened.reading() as connection:
        try:
            with told("verifying", quiet=as_json) as tell:
                report = _verified(connection, config, kept, tell)
                gaps = [name_gap(found, line) for line, found in restores_of(connection)]
        except (LedgerBrokenError, NoteError) as error:
            show({"verified": False, "findings": str(error).split("; ")}, as_json)
            raise typer.Exit(1) from None
    seconds = time.perf_counter() - started
    _show_whole(report, gaps, signed=config is not None, seconds=seconds, as_json=as_json)


def _verified(connection: Connection, config: Config | None, kept: bytes | None, told: Told | None) -> Report:
    if config is None:
        return verify_ledger(connection, progress=told)
    in_force = history(read(config.trust.root), directories.accepted(connection))
    since = opened_checkpoint(kept, config, in_force) if kept is not None else None
    with opened_vault(config) as vault:
        try:
            terms = terms_of(connection, config, in_force, vault)
        except (MalformedError, SignatureError) as error:
            raise LedgerBrokenError(f"the focal points can't be believed: {error}") from error
        report = verify_ledger(
            connection,
            vault=vault,
            verify_statement=statement_verifier(in_force),
            verify_receipt=receipt_verifier(in_force) if in_force else None,
            progress=told,
            since=since,
            terms=terms,
        )
    if report.unknown_keys:
        raise LedgerBrokenError(f"{report.unknown_keys} signatures are by keys that no directory names")
    verify_witnessed(connection, config, in_force, size=report.size, root=report.root)
    return report


@app.command("checkpoint")
def checkpoint(
    *,
    out: Annotated[Path | None, typer.Option("--out", help="The file to write; must not exist.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a signed checkpoint, to be kept where nobody of the node can reach it; `verify --since` compares it.

    It is a C2SP signed note: name, size and root of the ledger, and a plain Ed25519 signature (type 0x01) by the node's
    signing key. A note's text can't be confused with the statements that the same key signs, since these are encoded
    as DSSE says. The database is only read, also while the node runs.
    """
    config = load_config(home_of(home).config)
    with Database.open_read_only(database_at(config.store.database)) as opened, opened.reading() as connection:
        head = read_head(connection)
        note = signed_checkpoint(connection, config, head)
    if out is not None:
        create(out, note)
    elif not as_json:
        typer.echo(note, nl=False)
        return
    show({"lines": head.size, "root": head.root, "file": str(out) if out else None, "note": note.decode()}, as_json)


def _show_whole(report: Report, gaps: list[str], *, signed: bool, seconds: float, as_json: bool) -> None:
    facts: dict[str, object] = {"verified": True, "lines": report.size, "root": report.root}
    facts["rows"] = report.rows  # of other tables, that are as lines say
    facts["openings"] = report.openings or "not opened: they need --home, and its key-encryption key"
    facts["erased"] = report.erased
    if report.dim:
        facts["unknown"] = f"{report.dim} rows follow from openings that can't be read: nothing is said of them"
    if signed:
        facts["signatures"] = report.signatures
    else:
        facts["signatures"] = "not looked at: they need --home, with the pinned root"
    if gaps:
        facts["restores"] = gaps if as_json else "; ".join(gaps)
    show({**facts, "seconds": round(seconds, 2)}, as_json)


# --- reading ---------------------------------------------------------------------------------------------------------


@app.command("list")
def list_ledger(
    *,
    officer: OfficerOption,
    language: LanguageOption,
    start: Annotated[int, typer.Option("--start", min=0, help="The first line, from 0.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many lines.")] = 100,
    peer: Annotated[str | None, typer.Option("--peer", help="Only lines that concern this country.")] = None,
    unmask: UnmaskOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List lines, newest last, as an auditor; that you looked is a line too, and officers' names are masked."""
    request = ListLedgerRequest(start=start, limit=limit, peer=parse_country(peer) if peer else "", unmask=unmask)
    with desk(home_of(home), officer) as stub:
        lines = list(stub.ListLedger(request))
    if as_json:
        typer.echo(json.dumps([line_document(line) for line in lines], ensure_ascii=False))
        return
    show_rows([line_row(line, language) for line in lines], as_json=False, empty="There is no such line.")


def line_document(line: ListLedgerResponse) -> dict[str, Any]:
    """Return a line as JSON has it."""
    document = message_dict(line)
    if line.private.subject:
        document["private"]["subject"] = _subject(line.private.subject)
    return document


def line_row(line: ListLedgerResponse, language: Language) -> dict[str, object]:
    """Return a line as a table has it."""
    private = line.private
    who = " ".join(part for part in (private.officer, private.unit) if part)
    return {
        "line": line.index,
        "logged": time_text(line.logged_us),
        "what": f"{word(LeafKind.DESCRIPTOR, line.kind)}, {word(Direction.DESCRIPTOR, line.direction)}",
        "peer": line.peer,
        "who": who if line.HasField("private") else "(erased)",
        "about": _about(line, language),
    }


def _about(line: ListLedgerResponse, language: Language) -> str:
    private = line.private
    counts = (
        (private.released, "released"),
        (private.hits, "hit only"),
        (private.held, "held"),
        (private.invisible, "invisible"),
    )
    parts = [f"{count} {what}" for count, what in counts if count]
    if private.purpose:
        parts.append(named(Purpose.DESCRIPTOR, private.purpose, language))
    if private.case_reference:
        parts.append(f"case {private.case_reference}")
    if private.reason:
        parts.append(private.reason)
    if private.subject:
        parts.append(_subject(private.subject))
    return ", ".join(parts)


def _subject(subject: bytes) -> str:
    """An id, or the pseudonym of an officer."""
    try:
        text = subject.decode()
    except UnicodeDecodeError:
        return id_text(subject)
    return text if text.isprintable() else id_text(subject)
