"""YAML 1.2 of a rulebook, read into plain nodes that remember where they stand.

Only what a lawyer needs: mappings, lists and scalars. Anchors, aliases, tags, other versions of YAML and several
documents in one file are refused, since each lets a text mean something else than it shows. Nothing is ever constructed
from the text but strings.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from node.errors import RulebookError
from node.policy.rules import Place

MAX_BYTES: Final = 1 << 20
"""Size limit of a rulebook: 1 MiB."""

MAX_DEPTH: Final = 10
"""Nesting limit. A complete rulebook needs seven levels."""

_SHOWN: Final = 100  # mistakes listed at once

# What YAML 1.2's core schema takes for something else than a string (§10.3.2).
_NOT_TEXT: Final = re.compile(
    r"|~|null|Null|NULL|true|True|TRUE|false|False|FALSE|0o[0-7]+|0x[0-9a-fA-F]+"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """One word, number or text; `quoted` ones are always text."""

    place: Place
    text: str
    quoted: bool

    @property
    def is_text(self) -> bool:
        """Whether YAML 1.2 reads it as a string."""
        return self.quoted or _NOT_TEXT.fullmatch(self.text) is None


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: "tuple[Tree, ...]"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in the order of the text, duplicates included."""

    place: Place
    pairs: "tuple[tuple[Tree, Tree], ...]"


Tree: TypeAlias = Scalar | Sequence | Mapping


@dataclass(slots=True)
class Mistakes:
    """All mistakes of one text, so that its author sees them at once."""

    found: list[tuple[Place, str]] = field(default_factory=list)

    def add(self, place: Place, sentence: str) -> None:
        """Note one."""
        self.found.append((place, sentence))

    def verify_none(self) -> None:
        """Check that nothing was noted.

        Raises:
            RulebookError: something was; a line for each, in the order of the text.
        """
        if not self.found:
            return
        lines = [f"{place.line}:{place.column}: {sentence}" for place, sentence in sorted(self.found)]
        if len(lines) > _SHOWN:
            lines[_SHOWN:] = [f"and {len(lines) - _SHOWN} more"]
        raise RulebookError("\n".join(lines))


def suggestion(word: str, known: Collection[str]) -> str:
    """A clause that names the known word nearest to a misspelt one; empty where none is near."""
    by_folded = {each.casefold(): each for each in known}
    near = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean {by_folded[near[0]]}?" if near else ""


def parse_tree(text: bytes) -> Tree:
    """Read one YAML document.

    Raises:
        RulebookError: it is too large, not UTF-8, not YAML, or uses what is refused here.
    """
    if len(text) > MAX_BYTES:
        raise RulebookError(f"1:1: a rulebook has at most {MAX_BYTES:,} bytes, this one has {len(text):,}")
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise RulebookError(f"{line}:1: the text is not UTF-8") from error
    try:
        return _document(_checked(YAML(typ="safe", pure=True).parse(decoded)))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        raise RulebookError(f"{place.line}:{place.column}: this is not YAML: {error.problem}") from error
    except YAMLError as error:
        raise RulebookError(f"1:1: this is not YAML: {str(error).splitlines()[0]}") from error


def _place(event: Event) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def _refuse(event: Event, sentence: str) -> None:
    place = _place(event)
    raise RulebookError(f"{place.line}:{place.column}: {sentence}")


def _checked(events: Iterator[Event]) -> Iterator[Event]:
    """The events of nodes, once each is known to be harmless."""
    documents = 0
    for event in events:
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                _refuse(event, "a file holds one rulebook")
            if event.version not in {None, (1, 2)} or event.tags:
                _refuse(event, "only YAML 1.2 without tags is read")
        if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor):
            _refuse(event, "anchors and aliases are not allowed; write it out")
        if isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent) and event.tag:
            _refuse(event, "tags are not allowed")
        if isinstance(event, NodeEvent | SequenceEndEvent | MappingEndEvent):
            yield event


def _document(events: Iterator[Event]) -> Tree:
    event = next(events, None)
    if event is None:
        raise RulebookError("1:1: the file is empty")
    tree = _node(event, events, 0)
    next(events, None)  # reads on to the end of the file, and refuses a second document
    return tree


def _node(event: Event, events: Iterator[Event], depth: int) -> Tree:
    place = _place(event)
    if isinstance(event, ScalarEvent):
        return Scalar(place, event.value, quoted=event.style is not None)
    if depth == MAX_DEPTH:
        _refuse(event, f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(event, SequenceStartEvent):
        items = []
        while not isinstance(child := next(events), SequenceEndEvent):
            items.append(_node(child, events, depth + 1))
        return Sequence(place, tuple(items))
    pairs = []
    while not isinstance(child := next(events), MappingEndEvent):
        key = _node(child, events, depth + 1)
        pairs.append((key, _node(next(events), events, depth + 1)))
    return Mapping(place, tuple(pairs))
