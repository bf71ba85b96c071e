"""What commands print: JSON for programs, tables and sentences for people; and the options that most of them have."""

import json
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.cli.words import id_text
from node.records.labels import LANGUAGES, Language

HomeOption = Annotated[Path | None, typer.Option("--home", help="The node's folder; else $ENLACE_HOME.")]
OfficerOption = Annotated[
    str, typer.Option("--as", envvar="ENLACE_OFFICER", help="Which officer you are; their certificate is used.")
]
UnmaskOption = Annotated[
    str, typer.Option("--unmask", metavar="REASON", help="Show officers' names, and say why; a ledger line keeps it.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeyPassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="Where the key's passphrase is written, if it has one.")
]


def _spoken_here() -> Language:
    """Return the language of the terminal's locale, as in LANG=es_GT.UTF-8; English where it is none of the house's."""
    spoken = os.environ.get("LANG", "")[:2].lower()
    return next((language for language in LANGUAGES if language == spoken), "en")


LanguageOption = Annotated[
    Language,
    typer.Option(
        "--language",
        envvar="ENLACE_LANGUAGE",
        default_factory=_spoken_here,
        show_default=False,
        help="Of codes on the screen; else that of $LANG.",
    ),
]

Value: TypeAlias = object
"""What JSON can say, bytes (an id is shown as a UUID, a digest as hexadecimal), or a list of them."""

DIGITS: Final = 8
"""First digits of an id that a table has no room for; commands take them for the whole."""

STYLES: Final = {"green": "green", "yellow": "yellow", "red": "bold red"}
"""How a finding looks."""


def console() -> Console:
    """Return where people read; what is printed is never taken for markup."""
    return Console(highlight=False, markup=False, emoji=False)


def show(facts: Mapping[str, Value], as_json: bool) -> None:
    """Print one thing: JSON, or a line for each fact."""
    if as_json:
        typer.echo(json.dumps(_jsonable(facts), ensure_ascii=False))
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        rows = value if isinstance(value, list) and value else [value]
        for place, row in enumerate(rows):
            table.add_row(name.replace("_", " ") if place == 0 else "", printable(row))
    console().print(table)


def show_rows(
    rows: Sequence[Mapping[str, Value]],
    as_json: bool,
    *,
    empty: str,
    only_json: Container[str] = (),
    styles: Mapping[str, str] = STYLES,
) -> None:
    """Print many things of a kind: a JSON list, or a table.

    Args:
        rows: All with the same names. Bytes are shown to people by their first digits, which commands accept.
        as_json: Print JSON.
        empty: The sentence where there are none.
        only_json: Names that a table has no room for.
        styles: A cell whose text is one of its keys is shown in that style.
    """
    if as_json:
        typer.echo(json.dumps([_jsonable(row) for row in rows], ensure_ascii=False))
        return
    if not rows:
        console().print(empty)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    names = [name for name in rows[0] if name not in only_json]
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        values = [row[name] for name in names]
        texts = [id_text(value)[:DIGITS] if isinstance(value, bytes) else printable(value) for value in values]
        table.add_row(*[Text(text, style=styles.get(text, "")) for text in texts])
    console().print(table)


def say(sentences: Iterable[str]) -> None:
    """Print sentences for people, each on lines of its own."""
    out = console()
    for sentence in sentences:
        out.print(sentence)


def time_text(time_us: int) -> str:
    """Return a time (UTC microseconds) as RFC 3339 to the second; nothing for 0, which stands for never."""
    if not time_us:
        return ""
    # A peer may have written any time, and so may who drafted a document.
    try:
        return f"{datetime.fromtimestamp(time_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return "outside the calendar"


def printable(value: Value) -> str:
    """Return a value as text without control characters, which could rewrite the screen."""
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, bytes):
        text = id_text(value)
    elif isinstance(value, Mapping):
        text = "; ".join(f"{str(name).replace('_', ' ')} {printable(each)}" for name, each in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(printable(each) for each in value)
    else:
        text = "" if value is None else str(value)
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _jsonable(value: Value) -> Value:
    if isinstance(value, bytes):
        return id_text(value)
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _jsonable(each) for name, each in value.items()}
    return value
