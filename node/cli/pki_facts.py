"""What an authority has issued, as people and programs read it."""

import json
from collections.abc import Mapping
from datetime import datetime

import typer
from rich.console import Console
from rich.table import Table

from node.cli.pki_folder import Folder, Issued


def issued_facts(issued: Issued, at: datetime) -> dict[str, object]:
    """Return what the index says of a certificate."""
    return {
        "identity": issued.identity,
        "serial": issued.serial,
        "state": issued.state(at),
        "ends": _text(issued.ends),
        "dns_names": list(issued.dns_names),
    }


def list_facts(folder: Folder) -> dict[str, object]:
    """Return where the newest revocation list lies, and its number."""
    return {"crl": str(folder.crl), "crl_number": folder.index().crl_number}


def overview(folder: Folder, at: datetime) -> dict[str, object]:
    """Return what the authority is and what it has issued."""
    index, (root, *issuing) = folder.index(), folder.certificates()
    return {
        "country": index.country,
        "trust_domain": index.domain.uri,
        "authorities": str(folder.bundle),
        "root_ends": _text(root.not_valid_after_utc),
        "issuing_ends": _text(issuing[0].not_valid_after_utc) if issuing else None,
        "keys_here": [str(path) for path in folder.key_files()],
        **list_facts(folder),
        "issued": [issued_facts(each, at) for each in index.issued],
    }


def say(facts: Mapping[str, object], as_json: bool) -> None:
    """Print facts, for programs or for people."""
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    console = Console(highlight=False, markup=False)
    for name, value in facts.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            table = Table()
            for heading in value[0]:
                table.add_column(heading.replace("_", " "), overflow="fold")
            for row in value:
                table.add_row(*(", ".join(cell) if isinstance(cell, list) else str(cell) for cell in row.values()))
            console.print(table)
        elif value:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            console.print(f"{name.replace('_', ' ')}: {text}", soft_wrap=True)


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
