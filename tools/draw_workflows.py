"""Draws docs/workflows.md from the tables of node/workflow. With --check it tells whether the page is fresh."""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import node.workflow
from node.workflow.machine import Machine

PAGE = Path(__file__).resolve().parent.parent / "docs" / "workflows.md"
HEAD = """# Workflows

Drawn from the tables in `node/workflow` by `make workflows`; what a table does not have can't be done. Each side of an
exchange keeps its own.
"""


def machines() -> Iterator[Machine]:
    """All machines of the package, module by module, in the order in which they are written."""
    for module in sorted(each.name for each in pkgutil.iter_modules(node.workflow.__path__)):
        found = vars(importlib.import_module(f"node.workflow.{module}")).values()
        yield from (value for value in found if isinstance(value, Machine))


def drawn(machine: Machine) -> str:
    """A diagram of a machine, and its table."""
    ids = {state: state.replace(" ", "_").replace("-", "_") for state in machine.states}
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in machine.rows:
        for state in row.states:
            if row.to and row.to != state:
                arrows.setdefault((state, row.to), []).append(f"{row.event}, by {' or '.join(row.actors)}")
    lines = ["stateDiagram-v2", f"  [*] --> {ids[machine.start]}"]
    lines += [f'  state "{state}" as {ids[state]}' for state in machine.states if state != ids[state]]
    lines += [f"  {ids[state]} --> {ids[to]}: {'; '.join(causes)}" for (state, to), causes in arrows.items()]
    lines += [f"  {ids[state]} --> [*]" for state in machine.states if machine.is_final(state)]
    table = ["| it is | it is then | by | and becomes | |", "|---|---|---|---|---|"]
    for row in machine.rows:
        cells = (", ".join(row.states), row.event, " or ".join(row.actors), row.to or "as it was", row.note)
        table.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join([f"## {machine.title}", "", "```mermaid", *lines, "```", "", *table, ""])


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *map(drawn, machines())])


def main() -> None:
    """Write the page, or compare it."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page():
        sys.exit("docs/workflows.md is not what node/workflow says; run tools/draw_workflows.py")


if __name__ == "__main__":
    main()
