"""What differs between two versions of a rulebook: outcomes, never texts."""

from typing import Any, Final, Literal

import msgspec

from node.errors import UsageError
from node.policy import diff_text
from node.policy.diff_ranges import Kind
from node.policy.diff_search import Box, Search
from node.policy.diff_shared import red_line_meaning, shared_by
from node.policy.prove.anything import anything
from node.policy.rules import RedLine, Rulebook

Verdict = Literal["same", "narrows only", "widens only", "both"]

MOST_BOXES: Final = 200
MOST_QUESTIONS: Final = 4_500
"""Bounds of the search, so that two rulebooks of 100 rules take some seconds; see `Difference.unfinished`."""

_ALWAYS: Final = 1 << 62  # UTC microseconds, far off


class RedLines(msgspec.Struct, frozen=True):
    """Red lines that are not in both versions alike, by id; each removed or changed one is an approval of its own."""

    removed: tuple[RedLine, ...]
    added: tuple[RedLine, ...]
    changed: tuple[RedLine, ...]


class Difference(msgspec.Struct, frozen=True):
    """All that differs in outcome, both versions taken as in force.

    Every box is exact: its changes take place in all of its situations, except where `exceptions` forbid what changes,
    or what it says of itself excepts (`Change`). The boxes cover all that differs, unless `unfinished` names a kind.
    What the node refuses or holds in silence, whatever rulebooks say, never differs and is left out of all ranges.

    Attributes:
        floor: Under which two release rulebooks were compared; None for two floors, or for whatever a floor says.
        verdict: Of all situations, whether or not the search was stopped.
        unfinished: Kinds of changes that also take place outside the boxes.
        exceptions: Ids of rules and red lines that both versions share, and that forbid data or the whole entry.
    """

    old: Rulebook
    new: Rulebook
    floor: Rulebook | None
    verdict: Verdict
    red_lines: RedLines
    boxes: tuple[Box, ...]
    unfinished: tuple[Kind, ...]
    exceptions: tuple[str, ...]

    @property
    def widens(self) -> bool:
        """Whether more may leave anywhere, or with less care."""
        return self.verdict in {"widens only", "both"}

    @property
    def text(self) -> str:
        """The difference in words, for people; the same for the same rulebooks."""
        return diff_text.render(self)

    def to_json(self) -> dict[str, Any]:
        """The difference as a tree of strings, numbers and lists."""
        return {
            "old": _named(self.old),
            "new": _named(self.new),
            "floor": _named(self.floor) if self.floor else None,
            "verdict": self.verdict,
            "red_lines": {
                name: [line.id for line in getattr(self.red_lines, name)] for name in ("removed", "added", "changed")
            },
            "exceptions": list(self.exceptions),
            "ranges": [_tree(box) for box in self.boxes],
            "unfinished": list(self.unfinished),
        }


def diff(
    old: Rulebook,
    new: Rulebook,
    *,
    floor: Rulebook | None,
    most_boxes: int = MOST_BOXES,
    most_questions: int = MOST_QUESTIONS,
) -> Difference:
    """Compare two versions of a release rulebook under one floor, or two floors with no release rulebook.

    Args:
        old: The version to compare with.
        new: The version to be judged.
        floor: Of both release rulebooks; None stands for whatever a floor may say. None for two floors.
        most_boxes: The search stops after so many boxes.
        most_questions: And after about so many questions to the solver. What it costs is bounded by this, not by a
            clock, so that the result is always the same.

    Raises:
        UsageError: these rulebooks can't be compared.
        ProverError: the solver gave up, or it and the evaluator disagree.
    """
    if old.layer != new.layer or old.layer == "outbound":
        raise UsageError("compare two release rulebooks, or two floors")
    if floor and (old.layer == "floor" or floor.layer != "floor"):
        raise UsageError("a floor is what two release rulebooks are compared under")
    if old.layer == "floor":
        beside = anything("release")
        before, after = (_in_force(old), beside), (_in_force(new), beside)
    else:
        beneath = _in_force(floor) if floor else anything("floor")
        before, after = (beneath, _in_force(old)), (beneath, _in_force(new))
    found = Search(before, after, most_boxes=most_boxes, most_questions=most_questions).run()
    shared = shared_by(before, after)
    return Difference(
        old=old,
        new=new,
        floor=floor,
        verdict=_verdict(widens=found.widens, narrows=found.narrows),
        red_lines=_red_lines(old, new),
        boxes=found.boxes,
        unfinished=found.unfinished,
        exceptions=shared.exceptions,
    )


def _in_force(book: Rulebook) -> Rulebook:
    return msgspec.structs.replace(book, valid_from_us=0, valid_until_us=_ALWAYS)


def _verdict(*, widens: bool, narrows: bool) -> Verdict:
    if widens:
        return "both" if narrows else "widens only"
    return "narrows only" if narrows else "same"


def _red_lines(old: Rulebook, new: Rulebook) -> RedLines:
    """Compare by what lines forbid; one that only has another name is the same line."""
    before, after = ({red_line_meaning(line) for line in book.red_lines} for book in (old, new))
    gone = [line for line in old.red_lines if red_line_meaning(line) not in after]
    come = [line for line in new.red_lines if red_line_meaning(line) not in before]
    changed = {line.id for line in gone} & {line.id for line in come}
    return RedLines(
        removed=tuple(line for line in gone if line.id not in changed),
        added=tuple(line for line in come if line.id not in changed),
        changed=tuple(line for line in come if line.id in changed),
    )


# --- as a tree -------------------------------------------------------------------------------------------------------


def _named(book: Rulebook) -> dict[str, Any]:
    return {"rulebook": book.name, "version": book.version, "sha256": book.sha256.hex()}


def _tree(box: Box) -> dict[str, Any]:
    facts, accepted = box.example
    example = {name: _plain(getattr(facts, name)) for name in facts.__struct_fields__}
    return {
        "kind": box.kind,
        "where": [
            {
                "dimension": each.dimension,
                "any_of": [sorted(words) for words in each.any_of],
                "none_of": sorted(each.none_of),
            }
            for each in box.where
        ],
        "changes": [
            {**msgspec.structs.asdict(change), "by": [msgspec.structs.asdict(cause) for cause in causes]}
            for change, causes in zip(box.changes, box.causes, strict=True)
        ],
        "example": {**example, "accepted": sorted(box.example.words("accepted") if accepted else ())},
    }


def _plain(value: str | int | frozenset[str]) -> str | int | list[str]:
    return sorted(value) if isinstance(value, frozenset) else value
