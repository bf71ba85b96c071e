"""From the text of a rulebook to a `Rulebook`, or to the list of all its mistakes.

Whatever this node would not enforce to the letter is a mistake: no key, effect or word is ever read over.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple, cast

from node.policy import rule_text
from node.policy.rules import LAYERS, Layer, Place, RedLine, Rule, Rulebook
from node.policy.typed_tree import Fields
from node.policy.vocabulary import COUNTRIES, vocabulary_digest
from node.policy.yaml_tree import Mistakes, parse_tree

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}")
_MAX_VERSION: Final = 1_000_000
_REQUIRED: Final = ("rulebook", "version", "layer", "valid_from", "valid_until", "rules")
_OPTIONAL: Final = ("country", "vocabulary", "illustration", "citations", "red_lines")


class Reading(NamedTuple):
    """A rulebook as far as it could be read.

    Attributes:
        book: Of no use where there are mistakes, but for its citations and titles.
        cited: Places of the citations of the register, by their `law`.
        illustration: Where the rulebook says that it is one; None where it does not.
    """

    book: Rulebook
    mistakes: Mistakes
    cited: Mapping[str, Place]
    illustration: Place | None


def parse_rulebook(text: bytes, *, demonstration: bool = False) -> Rulebook:
    """Read a rulebook.

    Args:
        text: YAML 1.2, UTF-8, at most 1 MiB.
        demonstration: The directory in force says that its federation exchanges invented data alone. Only then may an
            illustration, which no national counsel has reviewed, be used.

    Raises:
        RulebookError: it has mistakes; the text lists each as `line:column: sentence`.
    """
    reading = read_rulebook(text)
    if reading.illustration and not demonstration:
        sentence = "an illustration is usable in a demonstration federation only"
        reading.mistakes.add(reading.illustration, sentence)
    reading.mistakes.verify_none()
    return reading.book


def read_rulebook(text: bytes) -> Reading:
    """Read a rulebook with all its mistakes, for who wants to say more of it.

    Raises:
        RulebookError: it is not YAML, or none that is read here, so that there is nothing to say of rules.
    """
    mistakes = Mistakes()
    fields = Fields(parse_tree(text), mistakes, "the rulebook", required=_REQUIRED, optional=_OPTIONAL)
    layer = cast("Layer", fields.word("layer", LAYERS) or "release")
    illustration = fields.flag("illustration")
    _note_vocabulary(fields, illustration=illustration)
    register, cited = rule_text.read_citations(fields)
    book = Rulebook(
        name=fields.pattern("rulebook", _NAME, "a name has letters, digits, dots and hyphens, at most 48"),
        version=fields.integer("version", 1, _MAX_VERSION),
        layer=layer,
        country=_country(fields, layer),
        valid_from_us=fields.time_us("valid_from"),
        valid_until_us=fields.time_us("valid_until"),
        illustration=illustration,
        vocabulary=fields.text("vocabulary"),
        rules=_rules(fields, layer, register),
        red_lines=_red_lines(fields, layer, register),
        sha256=sha256(text).digest(),
    )
    if book.valid_from_us and book.valid_until_us and book.valid_from_us >= book.valid_until_us:
        mistakes.add(fields.place_of("valid_until"), "valid_until must be later than valid_from")
    return Reading(book, mistakes, cited, fields.place_of("illustration") if illustration else None)


def _note_vocabulary(fields: Fields, *, illustration: bool) -> None:
    """A rulebook approved under other meanings of its words is not the rulebook that was approved."""
    stated = fields.text("vocabulary")
    if stated and stated != vocabulary_digest():
        sentence = f"written for another vocabulary; review it, then state {vocabulary_digest()}"
        fields.mistakes.add(fields.place_of("vocabulary"), sentence)
    if "vocabulary" not in fields and not illustration:
        fields.mistakes.add(fields.place, f"the rulebook must have 'vocabulary'; today's is {vocabulary_digest()}")


def _country(fields: Fields, layer: Layer) -> str:
    if layer == "floor":
        if "country" in fields:
            fields.mistakes.add(fields.place_of("country"), "the floor belongs to no country")
        return ""
    if "country" not in fields:
        fields.mistakes.add(fields.place, f"a rulebook of layer {layer} must have 'country'")
    return fields.word("country", COUNTRIES)


def _rules(fields: Fields, layer: Layer, register: rule_text.Register) -> tuple[Rule, ...]:
    seen: set[str] = set()
    found = []
    for tree in fields.items("rules"):
        rule = rule_text.read_rule(tree, fields.mistakes, layer, register)
        if rule.id and rule.id in seen:
            fields.mistakes.add(tree.place, f"the id {rule.id} is used twice")
        seen.add(rule.id)
        found.append(rule)
    return tuple(found)


def _red_lines(fields: Fields, layer: Layer, register: rule_text.Register) -> tuple[RedLine, ...]:
    seen: set[str] = set()
    found = []
    if layer == "outbound" and "red_lines" in fields:
        fields.mistakes.add(fields.place_of("red_lines"), "an outbound rulebook has no red lines; write deny")
        return ()
    for tree in fields.items("red_lines"):
        line = rule_text.read_red_line(tree, fields.mistakes, register)
        if line.id and line.id in seen:
            fields.mistakes.add(tree.place, f"the id {line.id} is used twice")
        seen.add(line.id)
        found.append(line)
    return tuple(found)
