"""`enlace ledger export`: the tree as static files that need no node, or the readable columns for statistics."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Connection

from node.cli.checkpoints import signed_checkpoint
from node.cli.client import desk
from node.cli.directory_files import create, read
from node.cli.home import database_at, home_of
from node.cli.ledger_keys import cosigners, keys_of, read_history
from node.cli.ledger_replica import export_replica
from node.cli.output import HomeOption, JsonOption, UnmaskOption, show, time_text
from node.cli.parquet import write_parquet
from node.cli.words import word
from node.config import Config, load_config
from node.errors import LedgerBrokenError, NoteError, UsageError
from node.ledger.epoch import name_gap
from node.ledger.exported import CHECKPOINT, ExportCheck, open_exported_checkpoint
from node.ledger.exported import Progress as Told
from node.ledger.rfc6962 import Frontier, leaf_hash
from node.ledger.tiles import Tile, Tiler, format_bundle, tiles_at, tiles_of
from node.store.database import Database
from node.store.ledger_rows import LedgerRows
from node.store.lines import Head
from node.store.listing import read_head
from node.wire.codes_pb2 import Purpose, UnitType, Urgency
from node.wire.desk_pb2 import GetStatusRequest, ListLedgerRequest, ListLedgerResponse
from node.wire.ledger_pb2 import Direction, LeafKind

_NAMED: Final = 20  # findings that are shown


def export(
    *,
    tiles: Annotated[
        Path | None, typer.Option("--tiles", help="A new folder for static files as C2SP tlog-tiles has them.")
    ] = None,
    as_csv: Annotated[Path | None, typer.Option("--csv", help="A new file for the readable columns.")] = None,
    as_lines: Annotated[Path | None, typer.Option("--jsonl", help="The same, as a JSON object a line.")] = None,
    as_parquet: Annotated[
        Path | None, typer.Option("--parquet", help="The same, as Apache Parquet; needs enlace[parquet].")
    ] = None,
    replica: Annotated[
        Path | None,
        typer.Option("--replica", help="A folder for the auditing institution; adds what is new."),
    ] = None,
    officer: Annotated[
        str | None, typer.Option("--as", envvar="ENLACE_OFFICER", help="Which auditor you are, for the columns.")
    ] = None,
    unmask: UnmaskOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export the ledger: its leaves and tree, which hold nothing readable, or what its auditor can read.

    --tiles reads the database alone, also while the node runs, and signs a checkpoint; `ledger verify --from-export`
    and other tools of that family check it. The columns come through the desk, so that reading them is a line; what was
    erased is empty, and no value of a record is among them. --replica writes what the auditing institution reads with
    `enlace institution`: the tree up to a cosigned checkpoint, and copies that nobody else can open.
    """
    if sum(each is not None for each in (tiles, as_csv, as_lines, as_parquet, replica)) != 1:
        raise UsageError("choose one of --tiles, --csv, --jsonl, --parquet and --replica")
    if replica is not None:
        config = load_config(home_of(home).config)
        with (
            Database.open_read_only(database_at(config.store.database)) as opened,
            opened.reading() as connection,
            told("exporting", quiet=as_json) as tell,
        ):
            checkpoint = export_replica(replica, connection, tell)
        show({"lines": checkpoint.size, "root": checkpoint.root, "folder": str(replica)}, as_json)
        return
    if tiles is not None:
        head = _export_tiles(tiles, load_config(home_of(home).config), quiet=as_json)
        show({"lines": head.size, "root": head.root, "folder": str(tiles)}, as_json)
        return
    file = as_csv or as_lines or as_parquet
    if officer is None or file is None:
        raise UsageError("say with --as which auditor you are: reading the ledger is a line of it")
    with desk(home_of(home), officer) as stub:
        total = stub.GetStatus(GetStatusRequest()).ledger_size
        with told("exporting", quiet=as_json) as tell:
            rows = _counted(iter(stub.ListLedger(ListLedgerRequest(limit=total, unmask=unmask))), total, tell)
            if as_parquet is not None:
                count = write_parquet(file, rows, _columns(ListLedgerResponse()))
            else:
                count = _write_columns(file, rows, as_csv=as_csv is not None)
    show({"lines": count, "file": str(file)}, as_json)


def verify_export(folder: Path, directories: list[Path], root: Path | None, *, as_json: bool) -> None:
    """Verify an export with nothing but the directory's keys; exit status 1 names what is wrong, by line.

    Raises:
        UsageError: no root or directory is named, or there is no export.
    """
    if root is None:
        raise UsageError("--from-export needs --root and --directory, whose keys it is verified with")
    keys = keys_of(read_history(root, directories))
    try:
        signed = open_exported_checkpoint(read(folder / CHECKPOINT), keys)
        check = ExportCheck(lambda path: _file(folder / path), keys, signed)
        with told("verifying", quiet=as_json) as tell:
            check.run(tell)
        check.whole.extend(_surplus(folder, signed.checkpoint.size))
        check.require_whole()
    except (LedgerBrokenError, NoteError) as error:
        found = str(error).split("; ")
        more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
        show({"verified": False, "findings": found[:_NAMED] + more}, as_json)
        raise typer.Exit(1) from None
    facts: dict[str, object] = {
        "verified": True,
        "ledger": signed.checkpoint.origin,
        "lines": signed.checkpoint.size,
        "root": signed.checkpoint.root,
        "signatures": check.signatures,
        "cosigned_by": cosigners(signed),
    }
    if check.restores:
        gaps = [name_gap(found, line) for line, found in check.restores]
        facts["restores"] = gaps if as_json else "; ".join(gaps)
    show(facts, as_json)


def _surplus(folder: Path, size: int) -> list[str]:
    expected = {path for tile in tiles_of(size) for path in ((tile.path, tile.entries_path)[: 1 + (tile.level == 0)])}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return [
        f"{path} is surplus: the checkpoint counts no such lines" for path in sorted(there - expected - {CHECKPOINT})
    ]


@contextmanager
def told(what: str, *, quiet: bool) -> Iterator[Told | None]:
    """Yield what shows progress: on a terminal, a bar on standard error."""
    err = Console(stderr=True)
    if quiet or not err.is_terminal:
        yield None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("lines"), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


# --- tiles -----------------------------------------------------------------------------------------------------------


def _export_tiles(folder: Path, config: Config, *, quiet: bool) -> Head:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty; an export is made in a folder of its own")
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error
    with Database.open_read_only(database_at(config.store.database)) as database, database.reading() as connection:
        head = read_head(connection)
        with told("exporting", quiet=quiet) as tell:
            frontier = _write_tiles(folder, connection, head.size, tell)
        note = signed_checkpoint(connection, config, head)
    if frontier.root != head.root:
        raise LedgerBrokenError("the tree over the lines is not the one in the head: see `enlace ledger verify`")
    # Last: a folder with a checkpoint is whole.
    create(folder / CHECKPOINT, note)
    return head


def _write_tiles(folder: Path, connection: Connection, size: int, tell: Told | None) -> Frontier:
    rows, tiler, frontier = LedgerRows(connection), Tiler(), Frontier()
    for tile in tiles_at(0, 0, size):
        leaves = _leaves(rows, tile)
        hashes = [leaf_hash(leaf) for leaf in leaves]
        frontier = frontier.appended(hashes)
        _put(folder / tile.entries_path, format_bundle(leaves))
        for made, data in tiler.add(hashes):
            _put(folder / made.path, data)
        if tell is not None:
            tell(tile.start + tile.width, size)
    for made, data in tiler.end():
        _put(folder / made.path, data)
    return frontier


def _leaves(rows: LedgerRows, tile: Tile) -> list[bytes]:
    leaves = []
    for place, row in enumerate(rows.lines(tile.start, tile.start + tile.width)):
        if isinstance(row, int) or row.idx != tile.start + place:
            break
        leaves.append(row.leaf)
    if len(leaves) != tile.width:
        index = tile.start + len(leaves)
        raise LedgerBrokenError(f"line {index} is missing or can't be read: see `enlace ledger verify`")
    return leaves


def _put(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path.parent}: {error.strerror}") from error
    create(path, data)


def _file(path: Path) -> bytes | None:
    return read(path) if path.exists() else None


# --- columns ---------------------------------------------------------------------------------------------------------


def _counted(lines: Iterator[ListLedgerResponse], total: int, tell: Told | None) -> Iterator[dict[str, object]]:
    for line in lines:
        if tell is not None and line.index % 100 == 0:
            tell(line.index, total)
        yield _columns(line)


def _columns(line: ListLedgerResponse) -> dict[str, object]:
    """What an auditor can read of a line, but for what was decided on single entries."""
    private = line.private
    return {
        "line": line.index,
        "logged": time_text(line.logged_us),
        "time": time_text(line.time_us),
        "kind": word(LeafKind.DESCRIPTOR, line.kind),
        "direction": word(Direction.DESCRIPTOR, line.direction),
        "peer": line.peer,
        "exchange": line.exchange_id.hex(),
        "erased": not line.HasField("private"),
        "officer": private.officer,
        "unit": private.unit,
        "unit_type": word(UnitType.DESCRIPTOR, private.unit_type) if private.unit_type else "",
        "purpose": word(Purpose.DESCRIPTOR, private.purpose) if private.purpose else "",
        "instrument": private.instrument,
        "case": private.case_reference,
        "urgency": word(Urgency.DESCRIPTOR, private.urgency) if private.urgency else "",
        "reason": private.reason,
        "released": private.released,
        "hits": private.hits,
        "held": private.held,
        "invisible": private.invisible,
        "floor_rulebook": private.floor_sha256.hex(),
        "release_rulebook": private.release_sha256.hex(),
        "outbound_rulebook": private.outbound_sha256.hex(),
    }


def _write_columns(path: Path, rows: Iterator[dict[str, object]], *, as_csv: bool) -> int:
    """Write to a new file that only its owner reads, row by row."""
    create(path, b"", 0o600)
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        names = list(_columns(ListLedgerResponse()))
        table = csv.DictWriter(file, names)
        if as_csv:
            table.writeheader()
        for row in rows:
            count += 1
            if as_csv:
                table.writerow({name: _cell(value) for name, value in row.items()})
            else:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return count


def _cell(value: object) -> object:
    """Keep a text that a spreadsheet would run as a formula a text (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
