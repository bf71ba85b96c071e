"""Pure modules read no clock, and neither open nor print anything: what their imports alone can't show."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONTRACTS = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
(PURE,) = (contract["source_modules"] for contract in CONTRACTS if contract["type"] == "forbidden")
CLOCKS = {"now", "utcnow", "today"}  # of datetime and date, which are used for arithmetic
BUILT_IN = {"open", "print", "input", "breakpoint"}


def modules(name: str) -> Iterator[Path]:
    path = ROOT.joinpath(*name.split("."))
    return path.rglob("*.py") if path.is_dir() else iter([path.with_suffix(".py")])


def impure(source: str) -> list[str]:
    """Each mention of a clock or of a built-in function that reads or writes, with its line."""
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Attribute) and node.attr in CLOCKS)
        or (isinstance(node, ast.Name) and node.id in BUILT_IN)
    ]


@pytest.mark.parametrize("module", [path for name in PURE for path in modules(name)], ids=lambda path: path.stem)
def test_a_pure_module_reads_no_clock_and_no_file(module: Path) -> None:
    assert impure(module.read_text("utf-8")) == []


def test_a_clock_is_found() -> None:
    source = "from datetime import datetime\nmade = datetime.now\nday = date.today()\nprint(day)\n"
    assert sorted(impure(source)) == ["2: datetime.now", "3: date.today", "4: print"]
