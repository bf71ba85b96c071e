"""`enlace ledger export --replica`: what the auditing institution takes home, to read without the node.

It is the tree as static files, what left with its lines, and the institution's copies of what opens them; nobody else
can read those. It ends in a checkpoint that witnesses have cosigned. A second export into the same folder adds what is
new.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from node.cli.directory_files import create, read, replace
from node.errors import LedgerBrokenError, UsageError
from node.ledger.checkpoint import Checkpoint, parse_checkpoint
from node.ledger.exported import CHECKPOINT
from node.ledger.exported import Progress as Told
from node.ledger.tiles import format_bundle, tiles_of
from node.store import directories
from node.store.erasures import list_erasures
from node.store.institution import copies_between, epochs, list_charters
from node.store.ledger_rows import LedgerRows
from node.store.lines import ledger_lines
from node.store.tables import focal_points
from node.store.tiles import read_tile
from node.store.witnessing import own_checkpoints
from node.wire.institution_pb2 import (
    KeptEpoch,
    ReplicaCopies,
    ReplicaRecords,
    ReplicaStatements,
    SealedCopies,
    SentStatement,
)

RECORDS: Final = "records"
_CHUNK: Final = 4 << 20  # bytes of copies in a file, or a little more
_ROWS: Final = 2_000


def export_replica(folder: Path, connection: Connection, tell: Told | None) -> Checkpoint:
    """Write or continue a replica, and return the checkpoint that it ends in.

    Raises:
        UsageError: no checkpoint was cosigned yet, or the folder holds another ledger, or a longer one.
        LedgerBrokenError: a line is missing: `enlace ledger verify` says which.
    """
    cosigned = [each for each in own_checkpoints(connection) if each.lines]
    if not cosigned:
        raise UsageError("no checkpoint of this ledger is cosigned by a witness yet: `enlace ledger witnesses`")
    note = cosigned[-1].note + b"".join(line for _, line, _ in cosigned[-1].lines)
    checkpoint = parse_checkpoint(note.partition(b"\n\n")[0] + b"\n")
    before = _before(folder)
    if before is not None and (before.origin != checkpoint.origin or before.size > checkpoint.size):
        raise UsageError(f"{folder} holds {before.size} lines of {before.origin}: this ledger does not continue it")
    for name in ("copies", "statements"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write_tree(folder, connection, checkpoint.size, tell)
    _write_statements(folder / "statements", connection, checkpoint.size)
    _write_copies(folder / "copies", connection, checkpoint.size)
    replace(folder / RECORDS, _records(connection).SerializeToString())
    # Last: until then, the folder holds what the checkpoint before it signs.
    replace(folder / CHECKPOINT, note)
    _drop_partial(folder, checkpoint.size)
    return checkpoint


def files_of(folder: Path) -> list[tuple[int, int, Path]]:
    """Return the files of a part of a replica, by the first and last line that they are about."""
    found = []
    for path in folder.glob("*-*"):
        first, _, last = path.name.partition("-")
        if first.isdecimal() and last.isdecimal():
            found.append((int(first), int(last), path))
    return sorted(found)


def _before(folder: Path) -> Checkpoint | None:
    path = folder / CHECKPOINT
    if not path.exists():
        if folder.exists() and any(folder.iterdir()) and not (folder / "copies").exists():
            raise UsageError(f"{folder} is not empty, and no replica")
        return None
    return parse_checkpoint(read(path).partition(b"\n\n")[0] + b"\n")


def _write_tree(folder: Path, connection: Connection, size: int, tell: Told | None) -> None:
    rows = LedgerRows(connection)
    for tile in tiles_of(size):
        for path, entries in ((tile.path, False), (tile.entries_path, True))[: 1 + (tile.level == 0)]:
            if (folder / path).exists():
                continue
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            data = _entries(rows, tile.start, tile.width) if entries else read_tile(connection, tile)
            create(folder / path, data)
        if tell is not None and tile.level == 0:
            tell(tile.start + tile.width, size)


def _entries(rows: LedgerRows, start: int, width: int) -> bytes:
    found = [row for row in rows.lines(start, start + width) if not isinstance(row, int)]
    if [row.idx for row in found] != list(range(start, start + width)):
        raise LedgerBrokenError(f"of the lines {start} to {start + width - 1}, one is missing or can't be read")
    return format_bundle([row.leaf for row in found])


def _drop_partial(folder: Path, size: int) -> None:
    """Delete what a larger tree has made superfluous: tiles that were not full yet."""
    kept = {path for tile in tiles_of(size) for path in (tile.path, tile.entries_path)}
    for path in (folder / "tile").rglob("*.p/*"):
        if path.relative_to(folder).as_posix() not in kept:
            path.unlink()
            with suppress(OSError):  # there is another one in it
                path.parent.rmdir()


def _write_statements(folder: Path, connection: Connection, size: int) -> None:
    start = max((last + 1 for _, last, _ in files_of(folder)), default=0)
    line = ledger_lines.c
    for first in range(start, size, _ROWS):
        stop = min(first + _ROWS, size)
        query = select(line.idx, line.statement, line.key_id, line.signature).where(
            line.idx >= first, line.idx < stop, line.statement.is_not(None)
        )
        found = [
            SentStatement(index=row.idx, statement=row.statement, key_id=row.key_id, signature=row.signature)
            for row in connection.execute(query.order_by(line.idx))
        ]
        create(folder / f"{first}-{stop - 1}", ReplicaStatements(statements=found).SerializeToString())


def _write_copies(folder: Path, connection: Connection, size: int) -> None:
    start = max((last + 1 for _, last, _ in files_of(folder)), default=0)
    for part in _parts(copies_between(connection, start, size)):
        name = f"{part[0].first}-{part[-1].first + part[-1].count - 1}"
        create(folder / name, ReplicaCopies(copies=part).SerializeToString())


def _parts(rows: Iterator[SealedCopies]) -> Iterator[Sequence[SealedCopies]]:
    part, size = list[SealedCopies](), 0
    for row in rows:
        part.append(row)
        size += len(row.sealed)
        if size >= _CHUNK:
            yield part
            part, size = [], 0
    if part:
        yield part


def _records(connection: Connection) -> ReplicaRecords:
    enrolments = select(focal_points.c.enrolment).order_by(focal_points.c.place)
    return ReplicaRecords(
        directories=directories.accepted(connection),
        charters=list_charters(connection),
        epochs=[KeptEpoch(epoch=row.epoch, wrapped=row.wrapped or b"") for row in connection.execute(select(epochs))],
        erasures=list_erasures(connection),
        focal_points=connection.execute(enrolments).scalars(),
    )
