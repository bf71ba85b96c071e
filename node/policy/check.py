"""What is wrong with the text of a rulebook, all at once, and what its author may want to know.

Mistakes that make a text unreadable come from reading it (`node.policy.rulebook`). Those here are of texts that can be
read: law that no rule rests on, a digest that is no text's, a rule that does nothing. Warnings stop nobody.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Final, Literal, NamedTuple

from node.errors import RulebookError
from node.policy.countries import AMERICAS
from node.policy.evaluate import EXISTENCE, REFERENCE
from node.policy.rulebook import Reading, read_rulebook
from node.policy.rules import Place, RedLine, Rule, Rulebook
from node.policy.vocabulary import CATEGORIES, NEVER_LAWFUL, UNKNOWN

Weight = Literal["mistake", "warning"]

# What the node refuses before any rule (`node.policy.reference.structural_refusals`).
_REFUSED: Final[Mapping[str, frozenset[str]]] = {
    "purpose": NEVER_LAWFUL | {UNKNOWN},
    "unit_type": frozenset({"IMMIGRATION", UNKNOWN}),
    "paired": frozenset({"NO"}),
}
_NO_DIGEST: Final = frozenset({"0" * 64, sha256(b"").hexdigest()})


class Remark(NamedTuple):
    """One thing that the author of a rulebook should know, and where.

    Attributes:
        weight: A mistake is to be mended before anybody approves the rulebook; a warning may be meant.
    """

    place: Place
    weight: Weight
    sentence: str


def check_rulebook(text: bytes, floor: Rulebook | None) -> list[Remark]:
    """Find all that is wrong with a rulebook, in the order of its text.

    Args:
        text: Of a rulebook of any layer.
        floor: That a release rulebook is to stand beside; None: whatever a floor may say.

    Raises:
        ProverError: the solver gave up on whether a rule can fire.
    """
    try:
        reading = read_rulebook(text)
    except RulebookError as error:
        return [Remark(Place(line, column), "mistake", sentence) for line, column, sentence in error.mistakes]
    remarks = [Remark(place, "mistake", sentence) for place, sentence in reading.mistakes.found]
    remarks += _citations(reading)
    remarks += _titles(reading.book)
    if reading.illustration:
        sentence = "an illustration is usable in a demonstration federation only, until counsel has reviewed it"
        remarks.append(Remark(reading.illustration, "warning", sentence))
    if not reading.mistakes.found:
        remarks += _idle(reading.book, floor)
        if floor and reading.book.layer == "release":
            remarks += _shut(reading.book, floor)
    return sorted(remarks)


def _citations(reading: Reading) -> Iterator[Remark]:
    book = reading.book
    used = {law for each in _all(book) for law in map(str.strip, each.law.split(";"))}
    for law, place in reading.cited.items():
        if law not in used:
            yield Remark(place, "mistake", f"no rule and no red line rests on {law}; leave it out, or cite it")
    for citation in {each.law: each for rule in book.rules for each in rule.citations}.values():
        if citation.text_sha256 in {*_NO_DIGEST, sha256(citation.law.encode()).hexdigest()}:
            sentence = f"text_sha256 of {citation.law} is the digest of no provision; hash the text that was compared"
            yield Remark(reading.cited[citation.law], "mistake", sentence)


def _titles(book: Rulebook) -> Iterator[Remark]:
    # The floor is read by all members, in whichever language they speak.
    spoken = AMERICAS[book.country].languages if book.country in AMERICAS else ()
    wanted = spoken if book.country else ("es", "fr", "pt")
    for each in _all(book):
        missing = [language for language in wanted if language not in each.titles]
        if each.titles and missing:
            whose = f"a language of {book.country}" if book.country else "a language of members"
            yield Remark(each.place, "warning", f"the title of {each.id} is not in {' and '.join(missing)}, {whose}")


def _all(book: Rulebook) -> list[Rule | RedLine]:
    return [*book.rules, *book.red_lines]


# --- rules that do nothing -------------------------------------------------------------------------------------------


def _idle(book: Rulebook, floor: Rulebook | None) -> Iterator[Remark]:
    # The solver is large, and nobody who only reads rulebooks needs it.
    from node.policy.prove.idle import idle_rules, never_firing  # noqa: PLC0415

    if book.layer == "outbound":
        found = never_firing(book)
        silent = {idle.rule for idle in found}
        for rule in book.rules:
            if rule.id not in silent and _is_refused(rule):
                yield Remark(rule.place, "mistake", f"{rule.id} fires only where the node itself refuses; leave it out")
    else:
        found = idle_rules(book, None) if book.layer == "floor" else idle_rules(floor, book)
    for idle in found:
        if idle.layer != book.layer:
            continue
        if idle.why == "never fires":
            yield Remark(idle.place, "mistake", f"{idle.rule} can never fire: {_because(idle.because)}")
        elif idle.why == "fires only where the node itself refuses":
            yield Remark(idle.place, "mistake", f"{idle.rule} {idle.why}; leave it out")
        else:
            yield Remark(idle.place, "warning", f"{idle.rule} {idle.why}")


def _because(conditions: tuple[str, ...]) -> str:
    names = [each for each in conditions if each != "unless"]
    if "unless" in conditions:
        return f"its exceptions leave nothing of its condition on {' and '.join(names)}" if names else "its exceptions"
    if len(names) == 1:
        return f"nothing meets its condition on {names[0]}"
    return f"its conditions on {' and '.join(names)} are never met together"


def _is_refused(rule: Rule) -> bool:
    refused = [(each, _REFUSED[each.dimension]) for each in rule.when if each.dimension in _REFUSED]
    return any(not condition.negated and condition.values <= values for condition, values in refused)


def _shut(book: Rulebook, floor: Rulebook) -> Iterator[Remark]:
    """Grants of what the floor never grants, whatever the conditions."""
    open_ = {category for rule in floor.rules if rule.effect == "allow" for category in rule.data}
    for rule in book.rules:
        # EXISTENCE and REFERENCE go with any grant.
        shut = [CATEGORIES[each] for each in sorted(rule.data.keys() - open_ - {EXISTENCE, REFERENCE})]
        if rule.effect == "allow" and shut:
            sentence = f"{rule.id} grants {', '.join(shut)}, which {floor.name} never lets leave"
            yield Remark(rule.place, "warning", sentence)
