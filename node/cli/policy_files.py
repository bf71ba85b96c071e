"""`enlace policy check`, `prove` and `diff`: what can be said of a rulebook from its text, before it is approved."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from node.cli.examining import examine_store
from node.cli.home import HOME_VARIABLE, home_of
from node.cli.output import HomeOption, JsonOption, LanguageOption, console, printable
from node.config import load_config
from node.errors import RulebookError, UsageError
from node.policy.check import Remark, Weight, check_rulebook
from node.policy.rulebook import parse_rulebook
from node.policy.rules import RedLine, Rulebook
from node.policy.vocabulary import CATEGORIES
from node.policy.yaml_tree import MAX_BYTES
from node.records.labels import Language

if TYPE_CHECKING:
    from node.policy.prove.proof import Verdict

RulebookFile = Annotated[Path, typer.Argument(help="A rulebook, of any layer.")]
FloorOption = Annotated[
    Path | None,
    typer.Option("--floor", help="The multilateral floor; else that of the home's directory, else the one shipped."),
]

_STYLES: Final[Mapping[Weight, str]] = {"mistake": "bold red", "warning": "yellow"}
_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "proved": ("✓", "green"),
    "structural": ("✓", "cyan"),
    "vacuous": ("?", "yellow"),
    "violated": ("✗", "bold red"),
}


# --- check -----------------------------------------------------------------------------------------------------------


def check(
    file: RulebookFile, *, floor: FloorOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Name every mistake of a rulebook at once, with line, column and what to write instead; exit status 1 if any.

    Warnings, as of a title that is missing in a language of the country, may be meant.
    """
    text = read_rulebook_file(file)
    remarks = check_rulebook(text, floor_of(floor, home))
    if as_json:
        rows = [{"line": each.place.line, "column": each.place.column, **_said(each)} for each in remarks]
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        _show_remarks(file, remarks)
    if any(each.weight == "mistake" for each in remarks):
        raise typer.Exit(1)


def _said(remark: Remark) -> Mapping[str, str]:
    return {"weight": remark.weight, "sentence": remark.sentence}


def _show_remarks(file: Path, remarks: Sequence[Remark]) -> None:
    out = console()
    for each in remarks:
        # One line each, as compilers write them, so that editors jump there.
        line = Text(f"{printable(str(file))}:{each.place.line}:{each.place.column}: ", style="dim")
        line.append(each.weight, style=_STYLES[each.weight])
        out.print(line.append(f": {printable(each.sentence)}", style="default"), soft_wrap=True)
    weights = Counter(each.weight for each in remarks)
    told = [_counted(weights[weight], weight) for weight in _STYLES if weights[weight]]
    out.print(", ".join(told) if told else "Nothing is wrong with it.")


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


# --- prove -----------------------------------------------------------------------------------------------------------


def prove(
    file: RulebookFile,
    *,
    language: LanguageOption,
    floor: FloorOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that each red line holds in every situation, or tell one in which it does not; exit status 1 if any.

    A release rulebook is proved together with the floor, a floor for every release rulebook that there can be.
    """
    # The solver is large; no other command needs it.
    from node.policy.prove.proof import prove as prove_books  # noqa: PLC0415

    book = read_book(file)
    release = book if book.layer != "floor" else None
    proof = prove_books(floor_of(floor, home) if release else book, release)
    lines = {(each.layer, line.id): line for each in (proof.floor, proof.release) if each for line in each.red_lines}
    rows = [{**_line(lines[each.layer, each.line], language), **_verdict(each)} for each in proof.verdicts]
    if as_json:
        document = {
            "floor": _named(proof.floor),
            "release": _named(proof.release),
            "vocabulary": proof.vocabulary,
            "sha256": proof.sha256().hex(),
            "kept": proof.is_kept(),
            "red_lines": rows,
        }
        typer.echo(json.dumps(document, ensure_ascii=False))
    else:
        _show_proof(proof.floor, proof.release, rows)
    if not proof.is_kept():
        raise typer.Exit(1)


def _line(line: RedLine, language: Language) -> dict[str, Any]:
    title = line.titles.get(language, line.titles["en"])
    return {"id": line.id, "title": title, "law": line.law}


def _verdict(verdict: "Verdict") -> dict[str, Any]:
    row: dict[str, Any] = {"layer": verdict.layer, "kind": verdict.kind, "verdict": verdict.verdict}
    if verdict.test:
        row["test"] = verdict.test
    if verdict.remarks:
        row["remarks"] = list(verdict.remarks)
    if verdict.counterexample is not None:
        found = verdict.counterexample
        row["counterexample"] = found.sentence
        row["rules"] = list(found.rules)
        row["categories"] = [CATEGORIES[each] for each in found.categories]
        row["facts"] = msgspec.to_builtins(found.facts, order="deterministic")
        if found.retold is not None:
            row["retold"] = msgspec.to_builtins(found.retold, order="deterministic")
    return row


def _named(book: Rulebook | None) -> dict[str, Any] | None:
    return {"name": book.name, "version": book.version, "sha256": book.sha256.hex()} if book else None


def _show_proof(floor: Rulebook | None, release: Rulebook | None, rows: Sequence[Mapping[str, Any]]) -> None:
    out = console()
    books = [f"{book.name} {book.version}" for book in (release, floor) if book]
    out.print(f"{' within '.join(books)}{'' if release else ', with whatever a country may write'}")
    for row in rows:
        mark, style = _MARKS[row["verdict"]]
        kind = row["kind"].replace("_", " ")
        line = Text(f"{mark} ", style=style).append(f"{row['id']:<6} {printable(row['title'])}", style="default")
        out.print(line.append(f"  ({kind}: {printable(row['law'])})", style="dim"), soft_wrap=True)
        for sentence in _because(row):
            out.print(Text(f"         {printable(sentence)}", style="default"), soft_wrap=True)
    verdicts = Counter(row["verdict"] for row in rows)
    told = {"proved": "proved", "structural": "held by tests", "vacuous": "about no situation", "violated": "violated"}
    counts = ", ".join(f"{verdicts[each]} {words}" for each, words in told.items() if verdicts[each])
    out.print(f"{_counted(len(rows), 'red line')}: {counts}." if rows else "It has no red line.")


def _because(row: Mapping[str, Any]) -> Iterator[str]:
    if row["verdict"] == "violated":
        yield row["counterexample"]
    elif row["verdict"] == "vacuous":
        yield "nothing meets its conditions, so it says nothing; write what was meant"
    elif row["verdict"] == "structural":
        yield f"held by {row['test']}"
    yield from row.get("remarks", ())


# --- diff ------------------------------------------------------------------------------------------------------------


def diff(
    old: Annotated[Path, typer.Argument(help="The version to compare with.")],
    new: Annotated[Path, typer.Argument(help="The version to be judged, of the same layer.")],
    *,
    floor: FloorOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell in which situations more leaves than before, or less, or waits for a focal point, and on which terms.

    Outcomes are compared, never texts: of two release rulebooks within the floor, or of two floors. A red line that is
    gone or changed is named; it needs an approval of its own.
    """
    from node.policy.diff import diff as compare  # noqa: PLC0415 -- likewise

    before, after = read_book(old), read_book(new)
    within = floor_of(floor, home) if before.layer != "floor" or floor is not None else None
    with _waiting("Comparing every situation …"):
        difference = compare(before, after, floor=within)
    if as_json:
        typer.echo(json.dumps(difference.to_json(), ensure_ascii=False))
    else:
        for line in difference.text.splitlines():
            console().print(printable(line), soft_wrap=True)


@contextmanager
def _waiting(sentence: str) -> Iterator[None]:
    """Show on standard error that something is under way, where that is a terminal."""
    err = Console(stderr=True)
    with err.status(sentence) if err.is_terminal else nullcontext():
        yield


# --- files -----------------------------------------------------------------------------------------------------------


def read_rulebook_file(path: Path) -> bytes:
    """Return what is in a file, as far as a rulebook may be long.

    Raises:
        UsageError: it can't be read.
    """
    try:
        with path.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def read_book(path: Path) -> Rulebook:
    """Read a rulebook; illustrations too, since nothing is put in force.

    Raises:
        UsageError: it can't be read.
        RulebookError: it has mistakes.
    """
    return _parsed(read_rulebook_file(path), str(path))


def floor_of(option: Path | None, home: Path | None) -> Rulebook:
    """Return the floor that was named; else that of a home's directory, where there is a home; else the shipped one.

    Raises:
        UsageError: what was named can't be read or is no floor, or the home has no directory yet.
        RulebookError: it has mistakes.
    """
    if option is not None:
        floor, where = read_book(option), str(option)
    elif home is not None or HOME_VARIABLE in os.environ:
        floor, where = _floor_of_directory(home), "the directory's floor"
    else:
        text = (files("node.policy") / "rulebooks" / "floor.yaml").read_bytes()
        floor, where = _parsed(text, "the shipped floor"), "the shipped floor"
    if floor.layer != "floor":
        raise UsageError(f"{where} is of layer {floor.layer}, not a floor")
    return floor


def _floor_of_directory(home: Path | None) -> Rulebook:
    node = home_of(home)
    held, findings = examine_store(load_config(node.config), time.time_ns() // 1_000)
    if held is None:
        raise UsageError("; ".join(f"{each.what}: {each.says}" for each in findings if each.state == "red"))
    if not held.directory.version:
        raise UsageError(f"{node.path} has no directory yet, and so no floor: give --floor")
    return _parsed(held.directory.floor_rulebook, "the directory's floor")


def _parsed(text: bytes, where: str) -> Rulebook:
    try:
        return parse_rulebook(text, demonstration=True)
    except RulebookError as error:
        lines = "\n".join(f"{where}:{line}" for line in str(error).splitlines())
        raise RulebookError(lines, error.mistakes) from error
