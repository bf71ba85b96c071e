"""How the tour speaks: sentences, and tables of what a peer sees."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule as Line
from rich.status import Status
from rich.table import Table
from rich.text import Text

from node.cli.answers import value_text
from node.cli.output import printable
from node.cli.words import word
from node.schema import FIELDS, KIND_BY_HOLDER, category_of
from node.wire.codes_pb2 import DataCategory, Obligation, Outcome
from node.wire.exchange_pb2 import Grant, ReleasedEntry, Terms

WIDEST: Final = 110
_PROMISES: Final = {
    Obligation.OBLIGATION_NO_ONWARD: "not to pass it on",
    Obligation.OBLIGATION_NOT_EVIDENCE: "not to use it in court",
    Obligation.OBLIGATION_NO_IMMIGRATION_USE: "not to use it for immigration enforcement",
}
OUTCOME_STYLES: Final = {"release": "green", "generalise": "yellow", "pseudonymise": "magenta", "mask": "magenta"}


class Teller:
    """Tells the tour to whoever watches."""

    def __init__(self) -> None:
        """Take the terminal as it is, but no wider than can be read."""
        self.console = Console(highlight=False, emoji=False)
        self.console.width = min(self.console.width, WIDEST)
        self._steps = 0

    def act(self, title: str) -> None:
        """Begin an act, whose steps follow."""
        self.console.print()
        self.console.print(Line(Text(f" {title} ", style="bold"), characters="═", style="cyan"))

    def heading(self, title: str) -> None:
        """Begin a step."""
        self._steps += 1
        self.end(f"{self._steps}  {title}")

    def end(self, title: str) -> None:
        """Begin what comes after the steps."""
        self.console.print()
        self.console.print(Line(Text(f" {title} ", style="bold"), align="left", style="cyan"))

    def say(self, sentence: str) -> None:
        """Say something; `sentence` is markup, and what it quotes has been made harmless with `quoted`."""
        self.console.print(sentence)

    def done(self, sentence: str) -> None:
        """Say what was found to be so; `sentence` as in `say`."""
        self._marked("[green]✓[/green]", sentence)

    def refused(self, sentence: str) -> None:
        """Say what was found to be wrong; `sentence` as in `say`."""
        self._marked("[red]✗[/red]", sentence)

    def aside(self, sentence: str) -> None:
        """Say something to a table; `sentence` as in `say`."""
        self.console.print(Padding(f"[dim]{sentence}[/dim]", (0, 0, 0, 2)))

    def _marked(self, mark: str, sentence: str) -> None:
        row = Table.grid(padding=(0, 1, 0, 0))
        row.add_row(mark, sentence)
        self.console.print(row)

    def command(self, line: str) -> None:
        """Show the command that does what was just told."""
        self.console.print(Text(f"$ {line}", style="bold cyan"), soft_wrap=True)

    def commands(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Show commands to try, each under what it does; long ones are left whole, to be copied."""
        for what, line in pairs:
            self.console.print(Text(what, style="dim"))
            self.command(line)

    def waiting(self, sentence: str) -> Status:
        """Show that something is under way."""
        return self.console.status(sentence)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], title: str = "") -> None:
        """Show rows."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=title or None, title_justify="left")
        table.show_header = any(columns)
        table.title_style = "bold"
        for column in columns:
            table.add_column(Text(column, style="dim"), overflow="fold")
        for row in rows:
            table.add_row(*[Text(printable(cell)) if isinstance(cell, str) else cell for cell in row])
        self.console.print(Padding(table, (0, 0, 0, 2)))


def quoted(text: str) -> str:
    """Return text that is neither markup nor moves the cursor."""
    return printable(text).replace("[", r"\[")


def released_rows(entry: ReleasedEntry) -> Iterator[tuple[str, str, str, Text, str]]:
    """Yield each value that left: field, what is seen, category, outcome, and the rules that grant it."""
    holder = entry.WhichOneof("entity")
    if holder is None:
        return
    entity = getattr(entry, holder)
    grants = _by_category(entry.grants)
    for field in FIELDS[KIND_BY_HOLDER[holder]]:
        value = value_text(entity, field, "en")
        granted = grants.get(category_of(field))
        if value and granted:
            outcome = word(Outcome.DESCRIPTOR, granted[0].outcome)
            rules = " ".join(each.rule for each in granted)
            styled = Text(outcome, style=OUTCOME_STYLES.get(outcome, ""))
            yield field_name(field), value, category_name(category_of(field)), styled, rules


def laws_of(grants: Iterable[Grant]) -> str:
    """Return the laws that grants rest on, each with its rules."""
    laws: dict[str, dict[str, None]] = {}
    for grant in grants:
        laws.setdefault(grant.law, {})[grant.rule] = None
    return " · ".join(f"{', '.join(rules)}: {law}" for law, rules in laws.items())


def terms_text(terms: Terms) -> str:
    """Return what the recipient takes upon itself."""
    others = [each for each in terms.obligations if each != Obligation.OBLIGATION_RETENTION]
    told = [_PROMISES.get(each, word(Obligation.DESCRIPTOR, each)) for each in others]
    if terms.retention_days:
        told.append(f"to delete it after {terms.retention_days} days")
    return ", ".join(told)


def field_name(field: FieldDescriptor) -> str:
    """Return a field's name as people read it."""
    return field.name.removesuffix("_us").replace("_", " ")


def category_name(category: int) -> str:
    """Return a data category's name."""
    return DataCategory.Name(DataCategory.ValueType(category)).removeprefix("DATA_CATEGORY_")


def held_fields(entity: Any, holder: str) -> list[FieldDescriptor]:  # noqa: ANN401 -- a message of any kind of entity
    """Return the fields of an entity that hold something."""
    return [field for field in FIELDS[KIND_BY_HOLDER[holder]] if value_text(entity, field, "en")]


def _by_category(grants: Iterable[Grant]) -> Mapping[int, list[Grant]]:
    found: dict[int, list[Grant]] = {}
    for grant in grants:
        found.setdefault(grant.category, []).append(grant)
    return found
