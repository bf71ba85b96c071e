"""Exports: a tree in files that anybody verifies with the directory's keys, and columns for an auditor's statistics."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from node.errors import EnlaceError, UsageError
from node.ledger.tiles import format_bundle, parse_bundle
from tests.command_line import QUESTION, TELEPHONE, Desk, running
from tests.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with running(folder) as made:
        (folder / "directory.bin").write_bytes(made.directory)
        (folder / "root.bin").write_bytes(made.root)
        Desk(made["GT"]).run("search", TELEPHONE, *QUESTION, "--peer", "MX")
        yield made


@pytest.fixture
def auditor(world: World) -> Desk:
    return Desk(world["GT"], "auditor")


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "gt"
    made = Desk(world["GT"]).json("ledger", "export", "--tiles", str(folder))
    assert made["lines"] > 0
    return folder


def verified(auditor: Desk, folder: Path) -> Any:  # noqa: ANN401 - whatever JSON says
    trusted = auditor.place.home.path.parent
    keys = ("--directory", str(trusted / "directory.bin"), "--root", str(trusted / "root.bin"))
    return auditor.json("ledger", "verify", "--from-export", str(folder), *keys)


def test_an_export_is_verified_without_the_node(auditor: Desk, whole: Path) -> None:
    found = verified(auditor, whole)
    assert (auditor.status, found["verified"], found["signatures"] > 0) == (0, True, True)
    size = found["lines"]
    assert (whole / "checkpoint").read_text().split("\n")[:2] == [found["ledger"], str(size)]
    assert (whole / f"tile/0/000.p/{size}").stat().st_size == 32 * size
    assert len(parse_bundle((whole / f"tile/entries/000.p/{size}").read_bytes())) == size
    with pytest.raises(UsageError, match="not empty"):
        auditor.run("ledger", "export", "--tiles", str(whole))


def test_what_was_done_to_an_export_is_named(auditor: Desk, world: World, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (bundle,) = (folder / "tile" / "entries").glob("000.p/*")
    leaves = parse_bundle(bundle.read_bytes())
    bundle.write_bytes(format_bundle(leaves[:2] + leaves[3:]))
    (folder / "tile" / "entries" / "001").write_bytes(b"more")
    found = verified(auditor, folder)
    assert (auditor.status, found["verified"]) == (1, False)
    assert found["findings"][0] == "line 2 is missing"
    assert found["findings"][-1].startswith("tile/entries/001 is surplus")
    (folder / "checkpoint").write_text(Desk(world["MX"]).run("ledger", "checkpoint"))
    assert verified(auditor, folder)["verified"] is False
    (folder / "checkpoint").write_text("nothing")
    assert verified(auditor, folder)["verified"] is False
    with pytest.raises(UsageError, match="--from-export needs"):
        auditor.run("ledger", "verify", "--from-export", str(whole))
    with pytest.raises(UsageError, match="No such file"):
        verified(auditor, tmp_path / "nowhere")


def test_columns_for_statistics(auditor: Desk, tmp_path: Path) -> None:
    made = auditor.json("ledger", "export", "--csv", str(tmp_path / "ledger.csv"))
    with (tmp_path / "ledger.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == made["lines"]
    asked = next(row for row in rows if row["kind"] == "asked")
    assert (asked["peer"], asked["purpose"], asked["case"], asked["erased"]) == ("MX", "investigate", "C-1", "False")
    assert TELEPHONE.removeprefix("+") not in (tmp_path / "ledger.csv").read_text()
    auditor.run("ledger", "export", "--jsonl", str(tmp_path / "ledger.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert [line["line"] for line in lines] == list(range(len(lines)))
    assert lines[int(asked["line"])]["released"] == int(asked["released"])
    assert (tmp_path / "ledger.csv").stat().st_mode & 0o077 == 0
    auditor.run("ledger", "export", "--parquet", str(tmp_path / "ledger.parquet"))
    parquet = duckdb.read_parquet(str(tmp_path / "ledger.parquet"))
    assert parquet.columns == list(rows[0])
    names = ("line", "kind", "peer", "exchange", "released")  # officers are masked anew by each reading
    found = parquet.project(", ".join(names)).fetchall()
    assert found[: len(lines)] == [tuple(line[name] for name in names) for line in lines]


def test_columns_are_an_auditors(auditor: Desk, tmp_path: Path) -> None:
    with pytest.raises(EnlaceError, match="role"):
        Desk(auditor.place).run("ledger", "export", "--csv", str(tmp_path / "a.csv"))
    for options in ((), ("--csv", str(tmp_path / "a"), "--jsonl", str(tmp_path / "b"))):
        with pytest.raises(UsageError, match="choose one"):
            auditor.run("ledger", "export", *options)
