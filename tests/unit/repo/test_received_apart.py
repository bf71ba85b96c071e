"""Entries of other countries answer no peer: by structure, whatever anybody writes in the modules that do answer."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.store.entry_rows import find_statement
from node.store.received_tables import received, received_lookups

ROOT = Path(__file__).parents[3]
ANSWERING = (
    "node.federation.answering",
    "node.federation.finding",
    "node.federation.holding",
    "node.policy.decide",
    "node.policy.redact",
    "node.store.entries",
    "node.store.frozen",
    "node.store.freezes",
)
APART = {"node.store.received", "node.store.received_rows", "node.store.received_tables", "node.store.withdrawals"}


def path_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)


def imported(module: str) -> Iterator[str]:
    path = path_of(module)
    assert path is not None, module
    for found in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(found, ast.Import):
            yield from (each.name for each in found.names)
        elif isinstance(found, ast.ImportFrom) and found.module:
            yield found.module
            yield from (f"{found.module}.{each.name}" for each in found.names)


def reached(module: str) -> set[str]:
    """All modules of the node that a module imports, at whatever remove, and inside functions too."""
    seen, left = set[str](), [module]
    while left:
        for each in imported(left.pop()):
            if each.startswith("node.") and each not in seen and path_of(each) is not None:
                seen.add(each)
                left.append(each)
    return seen


@pytest.mark.parametrize("module", ANSWERING)
def test_what_answers_peers_does_not_reach_what_was_received(module: str) -> None:
    assert not reached(module) & APART


def test_the_walk_sees_imports() -> None:
    assert APART - {"node.store.received"} <= reached("node.store.received")
    assert "node.store.received" in reached("node.federation.asking")  # the other way, the same walk finds it


@pytest.mark.parametrize("size", [1, 4])
def test_the_statement_that_finds_own_entries_names_no_other_table(size: int) -> None:
    text = str(find_statement(size))
    assert "lookups" in text
    for table in (received, received_lookups):
        assert table.name not in text
