"""Columns as Parquet, read by a reader that shares no code with the writer."""

import stat
import sys
from pathlib import Path

import duckdb
import pytest

from node.cli.parquet import write_parquet
from node.errors import UsageError

LIKE = {"line": 0, "logged": "", "erased": False, "officer": ""}


def rows(count: int) -> list[dict[str, object]]:
    return [
        {
            "line": line,
            "logged": f"2026-09-21 00:00:{line % 60:02}",
            "erased": line % 2 == 1,
            "officer": "=Ñ\n" * (line % 3),
        }
        for line in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 10_000, 25_001])
def test_another_reader_finds_each_row_as_it_was(tmp_path: Path, count: int) -> None:
    path = tmp_path / "lines.parquet"
    assert write_parquet(path, iter(rows(count)), LIKE) == count
    table = duckdb.read_parquet(str(path))
    assert table.columns == list(LIKE)
    assert [str(kind) for kind in table.types] == ["BIGINT", "VARCHAR", "BOOLEAN", "VARCHAR"]
    assert table.fetchall() == [tuple(row.values()) for row in rows(count)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "lines.parquet"
    path.write_bytes(b"mine")
    with pytest.raises(UsageError):
        write_parquet(path, iter(rows(1)), LIKE)
    assert path.read_bytes() == b"mine"


def test_without_the_library_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arro3.core", None)
    with pytest.raises(UsageError, match=r"pip install 'enlace\[parquet\]'"):
        write_parquet(tmp_path / "lines.parquet", iter(rows(1)), LIKE)
    assert not (tmp_path / "lines.parquet").exists()
