"""Case data is read through the node alone, which logs it: no command opens what is encrypted by itself, but these."""

import ast
from collections.abc import Mapping
from pathlib import Path

CLI = Path(__file__).parents[3] / "node" / "cli"

# Modules that hold the keys, and why no record is read with them unlogged.
KEYS: Mapping[str, str] = {
    "serving.py": "the node itself, whose desk logs each reading",
    "corresponding.py": "a part of the node's composition",
    "founding.py": "makes a node, in which there is nothing yet",
    "distributing.py": "puts a directory in force while the node is down, with a line",
    "examining.py": "looks at focal points, rulebooks and keys for `enlace doctor`",
    "ledger_terms.py": "tells lines of the node from others, for `enlace ledger verify`, which prints no opening",
    "demo/ledgers.py": "the demonstration, whose records are invented",
}

# What gives out records, received entries, petitions, openings or kept messages.
READERS = {
    "node.store.cases",
    "node.store.changes",
    "node.store.decided",
    "node.store.entries",
    "node.store.erasing",
    "node.store.received",
    "node.store.subjects",
    "node.store.traces",
    "node.store.usage",
}
COMPOSED = {"serving.py", "corresponding.py"}


def modules() -> dict[str, ast.Module]:
    return {str(path.relative_to(CLI)): ast.parse(path.read_text("utf-8")) for path in sorted(CLI.rglob("*.py"))}


def opens_vault(tree: ast.Module) -> bool:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(isinstance(each, ast.Name) and each.id in {"Vault", "opened_vault"} for each in calls)


def imported(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return found


def test_the_keys_are_in_few_hands_each_for_a_reason() -> None:
    opening = {name for name, tree in modules().items() if opens_vault(tree)}
    # `enlace ledger verify` takes them from its terms.
    assert opening - {"ledger.py"} <= set(KEYS)
    assert all(KEYS.values())


def test_no_command_reads_records_but_through_the_node() -> None:
    reading = {name: found for name, tree in modules().items() if (found := imported(tree) & READERS)}
    assert set(reading) <= COMPOSED
