"""Typed reading of a YAML tree: each getter notes what is wrong and goes on, so that all mistakes come at once."""

import re
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final

from node.policy.countries import code_of
from node.policy.rules import Place
from node.policy.yaml_tree import Mapping, Mistakes, Scalar, Sequence, Tree

_INTEGER: Final = re.compile(r"[0-9]{1,9}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_US_PER_SECOND: Final = 1_000_000
_LONGEST_QUOTED: Final = 48  # characters of a word that a sentence repeats
_FEW: Final = 8  # words that a sentence can list


class Fields:
    """The keys of one mapping, each read at most once.

    A key that is unknown, doubled or missing is noted when the mapping is opened.
    """

    def __init__(
        self,
        tree: Tree,
        mistakes: Mistakes,
        what: str,
        *,
        required: Collection[str] = (),
        optional: Collection[str] = (),
    ) -> None:
        """Open a mapping; `what` names it in sentences."""
        self.place: Final = tree.place
        self.mistakes: Final = mistakes
        self._values: dict[str, Tree] = {}
        if not isinstance(tree, Mapping):
            mistakes.add(tree.place, f"{what} must be a mapping of keys to values")
            return
        known = (*required, *optional)
        for key, value in pairs_of(tree, mistakes):
            if known and key.text not in known:
                near = mistakes.suggestion(key.text, known)
                mistakes.add(key.place, f"unknown key {_quoted(key.text)} in {what}{near}")
            else:
                self._values[key.text] = value
        for name in required:
            if name not in self._values:
                mistakes.add(tree.place, f"{what} must have {name!r}")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def place_of(self, name: str) -> Place:
        """Where a value stands, or the mapping where it is missing."""
        return self._values[name].place if name in self._values else self.place

    def tree(self, name: str) -> Tree | None:
        """A value as it stands; None where it is missing."""
        return self._values.get(name)

    def items(self, name: str) -> tuple[Tree, ...]:
        """A list; empty where it is missing."""
        tree = self._values.get(name)
        return () if tree is None else items_of(tree, self.mistakes, name)

    def text(self, name: str) -> str:
        """A text that says something; empty where it is missing."""
        tree = self._values.get(name)
        return "" if tree is None else text_of(tree, self.mistakes, name)

    def word(self, name: str, known: Collection[str]) -> str:
        """One of the words known; empty where it is missing or unknown."""
        tree = self._values.get(name)
        return "" if tree is None else word_of(tree, self.mistakes, name, known)

    def pattern(self, name: str, pattern: "re.Pattern[str]", sentence: str) -> str:
        """A text of a certain form, which `sentence` describes."""
        text = self.text(name)
        if text and pattern.fullmatch(text) is None:
            self.mistakes.add(self.place_of(name), f"{name}: {sentence}")
            return ""
        return text

    def integer(self, name: str, least: int, most: int) -> int:
        """A whole number within bounds; 0 where it is missing."""
        tree = self._values.get(name)
        return 0 if tree is None else integer_of(tree, self.mistakes, name, least, most)

    def flag(self, name: str) -> bool:
        """True or false; false where it is missing."""
        tree = self._values.get(name)
        if tree is None:
            return False
        if isinstance(tree, Scalar) and not tree.quoted and tree.text in {"true", "false"}:
            return tree.text == "true"
        self.mistakes.add(tree.place, f"{name} is true or false")
        return False

    def time_us(self, name: str) -> int:
        """A UTC time such as "2026-03-01T00:00:00Z", in microseconds since the epoch; 0 where it is missing."""
        text = self.pattern(name, _TIME, 'write a UTC time in quotes, as "2026-03-01T00:00:00Z"')
        if not text:
            return 0
        try:
            return int(datetime.fromisoformat(text).timestamp()) * _US_PER_SECOND
        except ValueError:
            self.mistakes.add(self.place_of(name), f"{name}: there is no such time")
            return 0


def pairs_of(tree: Mapping, mistakes: Mistakes) -> Iterator[tuple[Scalar, Tree]]:
    """Keys and values of a mapping whose keys are words, each once."""
    seen: dict[str, Place] = {}
    for key, value in tree.pairs:
        if not isinstance(key, Scalar):
            mistakes.add(key.place, "a key must be a word")
        elif key.text in seen:
            first = seen[key.text]
            sentence = f"the key {_quoted(key.text)} occurs twice; the first is at {first.line}:{first.column}"
            mistakes.add(key.place, sentence)
        else:
            seen[key.text] = key.place
            yield key, value


def items_of(tree: Tree, mistakes: Mistakes, name: str) -> tuple[Tree, ...]:
    """Items of a list that is not empty."""
    if not isinstance(tree, Sequence):
        mistakes.add(tree.place, f"{name} must be a list, in [ ]")
        return ()
    if not tree.items:
        mistakes.add(tree.place, f"{name} must not be empty; leave it out instead")
    return tree.items


def text_of(tree: Tree, mistakes: Mistakes, name: str) -> str:
    """A string that says something."""
    if not isinstance(tree, Scalar) or not tree.is_text:
        mistakes.add(tree.place, f"{name} must be a text; put it in quotes")
        return ""
    if not tree.text.strip():
        mistakes.add(tree.place, f"{name} must not be empty")
    return tree.text.strip()


def word_of(tree: Tree, mistakes: Mistakes, name: str, known: Collection[str]) -> str:
    """One of the words known."""
    text = text_of(tree, mistakes, name)
    if text and text not in known:
        mistakes.add(tree.place, f"{_quoted(text)} is no value of {name}{_hint(text, mistakes, name, known)}")
        return ""
    return text


def words_of(tree: Tree, mistakes: Mistakes, name: str, known: Collection[str]) -> list[tuple[Place, str]]:
    """A list of words known, each once, with their places."""
    found: list[tuple[Place, str]] = []
    for item in items_of(tree, mistakes, name):
        word = word_of(item, mistakes, name, known)
        if word and word in (each for _, each in found):
            mistakes.add(item.place, f"{word} occurs twice in {name}")
        elif word:
            found.append((item.place, word))
    return found


def integer_of(tree: Tree, mistakes: Mistakes, name: str, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    if isinstance(tree, Scalar) and not tree.quoted and _INTEGER.fullmatch(tree.text):
        number = int(tree.text)
        if least <= number <= most:
            return number
    mistakes.add(tree.place, f"{name} must be a whole number from {least} to {most}")
    return least


def _quoted(text: str) -> str:
    """A word of the text, shortened where it is none."""
    return repr(text if len(text) <= _LONGEST_QUOTED else f"{text[:_LONGEST_QUOTED]}…")


def _hint(text: str, mistakes: Mistakes, name: str, known: Collection[str]) -> str:
    """What to write instead of a word that is not known: the nearest, all where they are few, or their form."""
    if name in {"country", "recipient"}:
        # Codes of two letters are too near to each other to be guessed at.
        code = text.upper() if text.upper() in known else code_of(text)
        return f"; did you mean {code}?" if code else "; countries are written as two letters (ISO 3166-1), as GT"
    if near := mistakes.suggestion(text, known):
        return near
    return f"; it is one of {', '.join(sorted(known))}" if len(known) <= _FEW else ""
