"""How the tour speaks: sentences, and tables of what a peer sees."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule as Line
from rich.status import Status
from rich.table import Table
from rich.text import Text

from node.cli.output import printable
from node.records.fields import FIELDS, KIND_BY_HOLDER, Field
from node.wire.codes_pb2 import DataCategory, Obligation, Outcome
from node.wire.entry_pb2 import Coordinates, DateInterval, PersonName
from node.wire.exchange_pb2 import Grant, ReleasedEntry, Terms

WIDEST: Final = 110
OUTCOME_STYLES: Final = {"release": "green", "generalise": "yellow", "pseudonymise": "magenta", "mask": "magenta"}

_OUTCOMES: Final = {number: name.removeprefix("OUTCOME_").lower() for name, number in Outcome.items()}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Teller:
    """Tells the tour to whoever watches."""

    def __init__(self) -> None:
        """Take the terminal as it is, but no wider than can be read."""
        self.console = Console(highlight=False, emoji=False)
        self.console.width = min(self.console.width, WIDEST)
        self._steps = 0

    def heading(self, title: str) -> None:
        """Begin a step."""
        self._steps += 1
        self.console.print()
        self.console.print(Line(Text(f" {self._steps}  {title} ", style="bold"), align="left", style="cyan"))

    def say(self, sentence: str) -> None:
        """Say something; `sentence` is markup, and what it quotes has been made harmless with `quoted`."""
        self.console.print(sentence)

    def done(self, sentence: str) -> None:
        """Say what was found to be so."""
        self.console.print(Padding(f"[green]✓[/green] {sentence}", 0))

    def command(self, words: str) -> None:
        """Show the command that does what was just told."""
        self.console.print(Text(f"$ {words}", style="bold cyan"), soft_wrap=True)

    def commands(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Show commands to try, each under what it does; long ones are left whole, to be copied."""
        for what, words in pairs:
            self.console.print(Text(what, style="dim"))
            self.command(words)

    def waiting(self, sentence: str) -> Status:
        """Show that something is under way."""
        return self.console.status(sentence)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], title: str = "") -> None:
        """Show rows."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=title or None, title_justify="left")
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
        value = _shown(entity, field)
        if value and field.category in grants:
            outcome = _OUTCOMES[grants[field.category][0].outcome]
            rules = " ".join(each.rule for each in grants[field.category])
            styled = Text(outcome, style=OUTCOME_STYLES.get(outcome, ""))
            yield field.name.replace("_", " "), value, category_name(field.category), styled, rules


def laws_of(grants: Iterable[Grant]) -> str:
    """Return the laws that grants rest on, each with its rules."""
    laws: dict[str, dict[str, None]] = {}
    for grant in grants:
        laws.setdefault(grant.law, {})[grant.rule] = None
    return " · ".join(f"{', '.join(rules)}: {law}" for law, rules in laws.items())


def terms_text(terms: Terms) -> str:
    """Return what the recipient takes upon itself."""
    words = [Obligation.Name(each).removeprefix("OBLIGATION_").replace("_", " ").lower() for each in terms.obligations]
    if terms.retention_days:
        words = [each for each in words if each != "retention"] + [f"delete after {terms.retention_days} days"]
    return ", ".join(words)


def category_name(category: int) -> str:
    """Return a data category's name."""
    return DataCategory.Name(DataCategory.ValueType(category)).removeprefix("DATA_CATEGORY_")


def held_fields(entity: Any, holder: str) -> list[Field]:  # noqa: ANN401 -- a message of any kind of entity
    """Return the fields of an entity that hold something."""
    return [field for field in FIELDS[KIND_BY_HOLDER[holder]] if _shown(entity, field)]


def _by_category(grants: Iterable[Grant]) -> Mapping[int, list[Grant]]:
    found: dict[int, list[Grant]] = {}
    for grant in grants:
        found.setdefault(grant.category, []).append(grant)
    return found


def _shown(entity: Any, field: Field) -> str:  # noqa: ANN401 -- likewise
    descriptor = field.descriptor
    value = getattr(entity, field.name)
    if descriptor.is_repeated:
        return "; ".join(_text(each, descriptor) for each in value)
    if descriptor.message_type is not None and not entity.HasField(field.name):
        return ""
    return _text(value, descriptor) if value else ""


def _text(value: object, descriptor: FieldDescriptor) -> str:
    if isinstance(value, Coordinates):
        return f"about {value.latitude_e6 / 1e6:.4g}°, {value.longitude_e6 / 1e6:.4g}°"
    if isinstance(value, DateInterval):
        first, last = (_EPOCH + timedelta(days=day) for day in (value.first_day, value.last_day))
        return f"{first:%Y-%m-%d}" if first == last else f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    if isinstance(value, PersonName):
        return f"{value.full} (alias)" if value.alias else value.full
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if descriptor.enum_type is not None:
        name = descriptor.enum_type.values_by_number[int(str(value))].name
        return name.rpartition("_")[2].lower()
    if descriptor.name.endswith("_us"):
        return f"{datetime.fromtimestamp(int(str(value)) / 1e6, UTC):%Y-%m}"
    return printable(str(value))
