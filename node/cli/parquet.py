"""Columns of the ledger as an Apache Parquet file, by a library that only this needs."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from node.cli.directory_files import create
from node.errors import UsageError

_BATCH: Final = 10_000
"""Rows of a group: what a reader skips or reads at once, and what is held in memory."""


def write_parquet(path: Path, rows: Iterator[Mapping[str, object]], like: Mapping[str, object]) -> int:
    """Write rows to a new file that only its owner reads, and return how many there were.

    Texts are strings of UTF-8, numbers are 64 bits with a sign; pages are compressed with Zstandard.

    Args:
        path: Of the file.
        rows: Each with the same columns, of the same types.
        like: One such row, which says which: texts, whole numbers, and true or false.

    Raises:
        UsageError: The library is not installed, or the file can't be made.
    """
    try:
        # A node does without it: 12 MB that only this command needs.
        from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema  # noqa: PLC0415
        from arro3.io import write_parquet as write  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("--parquet needs a library of its own: pip install 'enlace[parquet]'") from error
    kinds: dict[type, DataType] = {bool: DataType.bool(), int: DataType.int64(), str: DataType.string()}
    types = {name: kinds[type(value)] for name, value in like.items()}
    schema: Schema = Schema([Field(name, kind, nullable=False) for name, kind in types.items()])
    count = 0

    def batches() -> Iterator[RecordBatch]:
        nonlocal count
        while part := list(islice(rows, _BATCH)):
            count += len(part)
            columns = [Array([row[name] for row in part], type=kind) for name, kind in types.items()]
            yield RecordBatch.from_arrays(columns, schema=schema)

    create(path, b"", 0o600)
    with path.open("wb") as file:
        write(RecordBatchReader.from_batches(schema, batches()), file, compression="zstd(3)", max_row_group_size=_BATCH)
    return count
