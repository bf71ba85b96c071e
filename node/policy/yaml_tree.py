"""YAML 1.2 of a rulebook, read into plain nodes that remember where they stand.

Only what a lawyer needs: mappings, lists and scalars. Anchors, aliases, tags, other versions of YAML and several
documents in one file are refused, since each lets a text mean something else than it shows; so are characters that
nobody sees, or that editors show in another place or on another line than they count. Nothing is ever constructed from
the text but strings.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
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

MAX_NODES: Final = 20_000
"""Limit of words, lists and mappings together. The floor, with titles in four languages, has about 1,500; reading so
many takes about a second."""

MAX_LINE: Final = 2_000
"""Limit of characters in a line. The scanner needs quadratic time for some that are longer."""

_SHOWN: Final = 100  # mistakes listed at once, and with a suggestion
_LONGEST_WORD: Final = 64  # that a suggestion is looked for

# What is not printed as it counts: controls but the line feed, a carriage return that ends no line by itself, line ends
# that only some programs take for one, marks that turn the direction of writing, and what has no width ("Trojan
# Source", CVE-2021-42574; YAML 1.2.2 §5.1 and §5.4).
_UNFIT: Final = re.compile(
    "[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff]|\r(?!\n)"
)
_TOO_LONG: Final = re.compile(f"[^\n]{{{MAX_LINE}}}[^\n]+")
_UNFIT_NAMES: Final = {
    "\t": "a tab; use spaces",
    "\r": "a carriage return without a line feed; editors do not agree on where the line ends",
    "\x00": "a NUL character; this is no text",
    "\ufeff": "a byte order mark; save the file as UTF-8 without one",
}

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

    def suggestion(self, word: str, known: Collection[str]) -> str:
        """A clause that names the known word nearest to a misspelt one; empty where none is near.

        Of a text that is full of mistakes only the first are worth the search.
        """
        if len(self.found) >= _SHOWN or len(word) > _LONGEST_WORD:
            return ""
        by_folded = {each.casefold(): each for each in known}
        near = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
        return f"; did you mean {by_folded[near[0]]}?" if near else ""

    def verify_none(self) -> None:
        """Check that nothing was noted.

        Raises:
            RulebookError: something was; a line for each, in the order of the text.
        """
        if not self.found:
            return
        in_order = sorted(self.found)
        lines = [f"{place.line}:{place.column}: {sentence}" for place, sentence in in_order[:_SHOWN]]
        if len(in_order) > _SHOWN:
            lines.append(f"and {len(in_order) - _SHOWN} more")
        raise RulebookError("\n".join(lines), [(*place, sentence) for place, sentence in in_order])


def parse_tree(text: bytes) -> Tree:
    """Read one YAML document.

    Raises:
        RulebookError: it is too large, not UTF-8, not YAML, or uses what is refused here.
    """
    if len(text) > MAX_BYTES:
        raise _refusal(Place(1, 1), f"a rulebook has at most {MAX_BYTES:,} bytes")
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise _refusal(Place(line, 1), "the text is not UTF-8") from error
    _verify_characters(decoded)
    try:
        return _document(_checked(YAML(typ="safe", pure=True).parse(decoded)))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        raise _refusal(place, f"this is not YAML: {error.problem}{_hint(error.problem or '')}") from error
    except YAMLError as error:
        raise _refusal(Place(1, 1), f"this is not YAML: {str(error).splitlines()[0]}") from error


def _verify_characters(text: str) -> None:
    """Check that the text is what it looks like, before anything is made of it."""
    mistakes = Mistakes()
    for found in islice(_TOO_LONG.finditer(text), _SHOWN):
        mistakes.add(_place_in(text, found.start() + MAX_LINE), f"a line has at most {MAX_LINE:,} characters; break it")
    for found in islice(_UNFIT.finditer(text), _SHOWN):
        character = found.group()
        name = _UNFIT_NAMES.get(character, f"the character U+{ord(character):04X}, which can't be seen; delete it")
        mistakes.add(_place_in(text, found.start()), name)
    mistakes.verify_none()


def _place_in(text: str, offset: int) -> Place:
    return Place(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def _hint(problem: str) -> str:
    """What the author of an unreadable text most often forgot."""
    if "mapping values are not allowed" in problem:
        return "; put a text with a colon in quotes, and keys in one column"
    if "expected ',' or" in problem or "while parsing a flow" in problem:
        return "; a bracket is open, or a comma is missing"
    if "scanning a quoted scalar" in problem or "found unexpected end of stream" in problem:
        return "; a quotation mark is open"
    if "expected <block end>" in problem or "did not find expected" in problem:
        return "; the indentation does not fit the lines above"
    return ""


def _place(event: Event) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def _refusal(place: Place, sentence: str) -> RulebookError:
    return RulebookError(f"{place.line}:{place.column}: {sentence}", [(*place, sentence)])


def _refuse(event: Event, sentence: str) -> None:
    raise _refusal(_place(event), sentence)


def _checked(events: Iterator[Event]) -> Iterator[Event]:
    """The events of nodes, once each is known to be harmless."""
    documents = nodes = 0
    for event in events:
        if isinstance(event, NodeEvent):
            nodes += 1
            if nodes > MAX_NODES:
                _refuse(event, f"a rulebook has at most {MAX_NODES:,} words and lists")
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
        raise _refusal(Place(1, 1), "the file is empty")
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
