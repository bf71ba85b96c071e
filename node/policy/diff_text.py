"""A difference between two rulebooks in words, for people who know the words of rulebooks."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from node.policy.diff_causes import Cause
from node.policy.diff_ranges import (
    APPROVALS,
    HOLD,
    KINDS,
    RETENTION,
    WHATEVER,
    WITHHELD,
    Change,
    Kind,
    Range,
    possible_words,
)
from node.policy.prove.variables import ACCEPTED, SETS
from node.policy.vocabulary import AGE_BOUNDS, CATEGORY_NUMBERS, UNKNOWN

if TYPE_CHECKING:
    from node.policy.diff import Difference
    from node.policy.diff_search import Box
    from node.policy.rules import RedLine, Rulebook

_TITLES: Final[dict[Kind, str]] = {
    "newly released": "Newly released",
    "no longer held": "No longer held for a focal point",
    "one approves": "Approved by one focal point alone",
    "obligations lost": "Obligations lost",
    "kept longer": "Kept longer by the recipient",
    "newly withheld": "Newly withheld",
    "newly held": "Newly held for a focal point",
    "two approve": "Approved by two focal points",
    "obligations gained": "Obligations gained",
    "deleted sooner": "Deleted sooner by the recipient",
}
_VERDICTS: Final = {
    "same": "the same leaves in every situation",
    "narrows only": "narrows only",
    "widens only": "widens only",
    "both": "both widens and narrows",
}
# Before the words of a range; after "no" where none of them may hold.
_ASKS: Final = {
    "recipient": "asked by",
    "unit_type": "by a unit of type",
    "purpose": "for",
    "crime": "crime",
    "urgency": "urgency",
    "ground": "ground",
    "instrument": "instrument",
    "reciprocity": "reciprocity",
    "kind": "about a record of kind",
    "record_crime": "recorded for crime",
    "handling": "handling",
    "caveat": "caveat",
    "role": "role",
    ACCEPTED: "obligation accepted:",
}
_PHRASES: Final = {
    "emergency": {"DECLARED": "in a declared emergency", "NOT_DECLARED": "without a declared emergency"},
    "minor": {"IS_ADULT": "adult", "IS_MINOR": "minor", UNKNOWN: "age unknown", "NOT_APPLICABLE": "age not applicable"},
}
_LEVELS: Final = {
    "release": "whole",
    "generalise": "generalised",
    "pseudonymise": "pseudonymised",
    "mask": "masked",
    WITHHELD: "withheld",
}
_MOST_EXCLUDED: Final = 3


def render(difference: "Difference") -> str:
    """Tell a difference: verdict, red lines, then each range of situations with what changes in it."""
    under = f", within {_book(difference.floor)}" if difference.floor else ""
    lines = [f"{_book(difference.old)} -> {_book(difference.new)}{under}: {_VERDICTS[difference.verdict]}."]
    lines += _red_lines(difference)
    if difference.boxes and difference.exceptions:
        lines += ["", f"Nothing differs where both versions forbid it, by {_joined(difference.exceptions, 'or')}."]
    if any(change.within_floor for box in difference.boxes for change in box.changes):
        lines += ["Whatever a range says, no more leaves than the floor lets leave."]
    number = 0
    for kind, boxes in groupby(difference.boxes, key=lambda box: box.kind):
        lines += ["", _TITLES[kind]]
        for box in boxes:
            number += 1
            lines += _box(number, box)
    if difference.unfinished:
        kinds = _joined([f"'{_TITLES[kind]}'" for kind in KINDS if kind in difference.unfinished], "and")
        count = f"{number} {'range' if number == 1 else 'ranges'}"
        lines += ["", f"Stopped at {count}: there are more situations of {kinds}."]
    return "\n".join(lines) + "\n"


def _red_lines(difference: "Difference") -> Iterator[str]:
    lines = difference.red_lines
    for verb, found in (("Removes", lines.removed), ("Changes", lines.changed), ("Adds", lines.added)):
        for line in found:
            approval = "" if verb == "Adds" else ", which is an approval of its own"
            yield f"{verb} red line {line.id} ({_title(line)}){approval}."


def _title(line: "RedLine") -> str:
    return f"{line.titles['en']}; {line.law}"


def _book(book: "Rulebook") -> str:
    return f"{book.name} {book.version}"


def _box(number: int, box: "Box") -> Iterator[str]:
    yield f"{number}. {where(box.where)}:"
    told = zip(box.changes, box.causes, strict=True)
    for (phrase, by), group in groupby(told, key=lambda each: (_change(each[0]), _by(each[1]))):
        changes = [change for change, _ in group]
        subjects = [change.subject for change in changes if change.subject in CATEGORY_NUMBERS]
        data = f"{_joined(subjects, 'and')}: " if subjects else ""
        yield f"   {data}{phrase}{by}"


# --- changes ---------------------------------------------------------------------------------------------------------


def _change(change: Change) -> str:
    if change.subject == HOLD:
        held = "waits for a focal point" if change.after == "yes" else "no longer waits for a focal point"
        return f"what may leave {held}"
    if change.subject in {APPROVALS, RETENTION}:
        return _number_change(change)
    if change.subject not in CATEGORY_NUMBERS:
        return f"{change.subject} {'goes' if change.after == 'yes' else 'no longer goes'} with what leaves"
    if change.before == WHATEVER:
        return (
            "withheld (left before)" if change.after == WITHHELD else f"{_LEVELS[change.after]} (left with less care)"
        )
    before, after = _LEVELS[change.before], _LEVELS.get(change.after, "as other rules let it")
    if change.follows:
        rest = "now that other data does" if change.before == WITHHELD else "now that no other data leaves"
        after = f"{after}, {rest}"
    if change.after == WITHHELD:
        return f"withheld (was {before})" if not change.follows else f"{after} (was {before})"
    how = "may leave once approved" if change.on_approval else "leaves"
    return f"{how} {after} (was {before})"


def _number_change(change: Change) -> str:
    if change.subject == APPROVALS:
        return f"focal points who must approve: {change.after} (was: {change.before})"
    return f"deleted {_days(change.after)} (was: {_days(change.before)})"


def _days(days: str) -> str:
    return f"after {days} days" if days != "0" else "when the recipient's own law says"


def _by(causes: Sequence[Cause]) -> str:
    """The causes that hold throughout; where none does, those of the example."""
    throughout = [each for each in causes if each.throughout]
    parts = []
    for says, group in groupby(throughout or causes, key=lambda each: each.says):
        parts.append(f"{says} {_joined([f'{each.rule} ({each.law})' for each in group], 'and')}")
    if not parts:
        return ""
    return f", {'' if throughout else 'for instance '}{'; '.join(parts)}"


# --- ranges ----------------------------------------------------------------------------------------------------------


def where(ranges: Sequence[Range]) -> str:
    """Ranges in words: "for INVESTIGATE or DISRUPT, crime KIDNAPPING, role SUSPECT, adult"."""
    return ", ".join(part for each in ranges for part in _range(each)) or "in every situation"


def _range(each: Range) -> Iterator[str]:
    name = each.dimension
    if name in SETS:
        yield from _set(each)
    elif name == "record_age":
        yield _ages(each.any_of[0])
    elif name in _PHRASES:
        words = [phrase for word, phrase in _PHRASES[name].items() if word in each.any_of[0]]
        yield _joined(words, "or")
    else:
        yield f"{_ASKS.get(name, name.replace('_', ' '))} {_one_of(name, each.any_of[0])}"


def _one_of(name: str, words: frozenset[str]) -> str:
    excluded = [word for word in possible_words(name) if word not in words]
    if len(excluded) <= _MOST_EXCLUDED and len(excluded) < len(words):
        return f"any but {_joined(excluded, 'or')}"
    return _joined(_ordered(name, words), "or")


def _set(each: Range) -> Iterator[str]:
    title = _ASKS[each.dimension]
    if each.any_of:
        alternatives = [_joined(_ordered(each.dimension, words), "or") for words in each.any_of]
        yield f"{title} {' and '.join(f'({a})' if ' or ' in a and len(alternatives) > 1 else a for a in alternatives)}"
    absent = _ordered(each.dimension, each.none_of)
    if absent == [UNKNOWN]:
        yield "all of them known" if each.any_of else f"no {title} {UNKNOWN}"
    elif absent:
        yield f"{'none of them' if each.any_of else f'no {title}'} {_joined(absent, 'or')}"


def _ordered(name: str, words: Iterable[str]) -> list[str]:
    order = possible_words(name)
    return sorted(words, key=lambda word: (word == UNKNOWN, order.index(word) if word in order else 0))


def _ages(words: frozenset[str]) -> str:
    """Classes of age, each by its lower bound, as runs of days."""
    bounds = [bound for bound in AGE_BOUNDS if str(bound) in words]
    parts = []
    for bound in bounds:
        place = AGE_BOUNDS.index(bound)
        if place and AGE_BOUNDS[place - 1] in bounds:
            continue
        ends = [each for each in AGE_BOUNDS[place:] if each not in bounds]
        if not ends:
            parts.append(f"recorded at least {bound} days ago")
        else:
            parts.append(f"recorded {f'{bound} to {ends[0] - 1}' if bound else f'less than {ends[0]}'} days ago")
    if UNKNOWN in words:
        parts.append("recorded at an unknown time")
    return _joined(parts, "or")


def _joined(words: Iterable[str], last: str) -> str:
    found = list(words)
    return f" {last} ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)
