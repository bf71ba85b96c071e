"""Finds what differs between two versions, as boxes that are as large as they can be.

A solver finds one situation that differs and lies in no box yet; the reference evaluator replays it. Then what holds of
it is given up, dimension by dimension, as long as the solver proves that the same change takes place throughout. No
clock is read: what bounds the work is the number of questions to the solver, so that the result is always the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from node.errors import ProverError
from node.policy.diff_causes import Cause, rules_behind
from node.policy.diff_model import HIDDEN_IN_A_HIT, Topic, Versions
from node.policy.diff_ranges import (
    KINDS,
    NARROWING,
    WHATEVER,
    WIDENING,
    WITHHELD,
    Change,
    Kind,
    Pair,
    Range,
    Situation,
    changes_between,
    outcomes_in,
)
from node.policy.diff_shared import rule_meaning
from node.policy.diff_space import Atom, Space
from node.policy.evaluate import WITHHOLD, LayerResult, is_firing
from node.policy.prove.anything import anything
from node.policy.vocabulary import CATEGORY_NUMBERS, OUTCOMES, Category, Outcome


class Box(msgspec.Struct, frozen=True):
    """Situations in all of which the same changes take place.

    Attributes:
        where: In the order of the vocabulary; what is not named may be anything.
        changes: Of one kind, those of categories in the order of the vocabulary.
        causes: Of each change, in the same order.
        example: One of the situations.
    """

    kind: Kind
    where: tuple[Range, ...]
    changes: tuple[Change, ...]
    causes: tuple[tuple[Cause, ...], ...]
    example: Situation

    def has(self, situation: Situation) -> bool:
        """Whether a situation lies in the box."""
        return all(each.has(situation.words(each.dimension)) for each in self.where)


class Found(NamedTuple):
    """What a search found.

    Attributes:
        unfinished: Kinds of changes that also take place outside the boxes, because the search was stopped.
        widens: Somewhere more may leave, or with less care, whatever the boxes show.
        narrows: Somewhere less may leave, or with more care.
    """

    boxes: tuple[Box, ...]
    unfinished: tuple[Kind, ...]
    widens: bool
    narrows: bool


class _Draft(NamedTuple):
    """A box as it is found."""

    kind: Kind
    atoms: list[Atom]
    changes: list[Change]
    example: Situation


class Search:
    """The search for all that differs between two versions."""

    def __init__(self, old: Pair, new: Pair, *, most_boxes: int, most_questions: int) -> None:
        """Bind both versions and the bounds of the work."""
        self._pairs: Final = (old, new)
        self._versions: Final = Versions(old, new)
        self._space: Final = Space(self._versions)
        self._most_boxes: Final = most_boxes
        self._most_questions: Final = most_questions

    @property
    def questions(self) -> int:
        """How often the solver was asked."""
        return self._space.questions

    def run(self) -> Found:
        """Find the boxes, what widens first.

        Raises:
            ProverError: the solver gave up, or it and the evaluator disagree.
        """
        topics = self._versions.topics
        different = [
            kind for kind in KINDS if self._space.is_any(topics[topic] for topic in topics if topic[0] == kind)
        ]
        drafts: list[_Draft] = []
        unfinished = different
        # What differs in one way must not leave another untold: each kind has a share of what is left, and what it
        # does not need is for those that did not come to an end.
        for _ in range(2):
            shares, unfinished = unfinished, []
            for place, kind in enumerate(shares):
                share = len(shares) - place
                boxes = len(drafts) + -((len(drafts) - self._most_boxes) // share)
                questions = self.questions + (self._most_questions - self.questions) // share
                if not all(self._exhaust(topic, drafts, boxes, questions) for topic in topics if topic[0] == kind):
                    unfinished.append(kind)
        drafts.sort(key=lambda draft: KINDS.index(draft.kind))
        return Found(
            boxes=tuple(self._box(each) for each in self._pruned(drafts)),
            unfinished=tuple(unfinished),
            widens=any(kind in WIDENING for kind in different),
            narrows=any(kind in NARROWING for kind in different) or self._space.is_any(self._versions.stricter()),
        )

    def _exhaust(self, topic: Topic, drafts: list[_Draft], most_boxes: int, most_questions: int) -> bool:
        """Add boxes until they cover a topic; False where the search stops before."""
        while example := self._space.find(topic):
            if len(drafts) >= most_boxes or self.questions >= most_questions:
                return False
            drafts.append(self._draft(topic, example))
        return True

    def _draft(self, topic: Topic, example: Situation) -> _Draft:
        """The largest box around a situation, and all that changes throughout."""
        space = self._space
        changes = self._changes(topic, example)
        first = next((each for each in changes if each.subject == topic[1] and space.is_spoken_of(each, example)), None)
        if first is None:
            raise ProverError(f"prover and evaluator disagree on whether {topic[1]} is {topic[0]} for {example}")
        atoms = space.enlarged(example, first)
        found = {first.subject: first}
        for each in space.throughout([*changes, *_alike(first, changes)], atoms):
            found.setdefault(each.subject, each)
        for each in found.values():
            space.cover(each, atoms)
        return _Draft(topic[0], atoms, list(found.values()), example)

    def _pruned(self, drafts: list[_Draft]) -> list[_Draft]:
        """Without what is told of a box but takes place in others alike."""
        for draft in drafts:
            for change in list(draft.changes):
                others = [
                    (each, other.atoms)
                    for other in drafts
                    for each in other.changes
                    if other is not draft and (each.kind, each.subject) == (change.kind, change.subject)
                ]
                if others and not self._space.is_left(change, draft.atoms, others):
                    draft.changes.remove(change)
        return [draft for draft in drafts if draft.changes]

    def _box(self, draft: _Draft) -> Box:
        order = list(CATEGORY_NUMBERS)
        told = sorted(draft.changes, key=lambda each: order.index(each.subject) if each.subject in order else 0)
        return Box(
            kind=draft.kind,
            where=self._space.ranges(self._space.trimmed(draft.atoms, told)),
            changes=tuple(told),
            causes=tuple(tuple(self._causes(each, draft.example, draft.atoms)) for each in told),
            example=draft.example,
        )

    def _causes(self, change: Change, example: Situation, atoms: Sequence[Atom]) -> Iterator[Cause]:
        """The rules that bring a change about in the example, those first that do so throughout the box."""
        old, new = self._layers_in(example)
        found = []
        for says, rule, is_new in rules_behind(change, old, new):
            version = self._versions.new if is_new else self._versions.old
            throughout = self._space.is_firing_throughout(version.model.fires(rule), change, atoms)
            found.append(Cause(says, rule.id, rule.law, throughout))
        yield from sorted(found, key=lambda each: not each.throughout)

    def _changes(self, topic: Topic, example: Situation) -> list[Change]:
        """What changes in a situation, in all the ways in which it may be told; what tells most of the rules first."""
        real = self._changes_under(self._pairs, example)
        layers = self._layers_in(example)
        found: list[Change] = []
        if self._versions.has_floor:
            alone = [(anything("floor"), release) for _, release in self._pairs]
            told = self._changes_under(alone, example)
            found += [
                msgspec.structs.replace(each, kind=real[name].kind, within_floor=True)
                for name, each in told.items()
                if name in real
            ]
            levels = [outcomes_in(example, pair).levels for pair in alone]
            found += [each for change in real.values() for each in _following(change, *levels)]
        found = [each for each in (*found, *real.values()) if each.kind == topic[0]]
        return [told for each in found for told in (*_loosely(each, *layers), each)]

    def _layers_in(self, example: Situation) -> list[LayerResult]:
        """What the old and the new rulebook say, alone."""
        place = 1 if self._versions.has_floor else 0
        return [outcomes_in(example, pair).layers[place] for pair in self._pairs]

    def _changes_under(self, pairs: Sequence[Pair], example: Situation) -> dict[str, Change]:
        old, new = (outcomes_in(example, pair) for pair in pairs)
        found = changes_between(old, new, example.facts.kind)
        if any(is_firing(rule, example.facts) for rule in self._versions.shared.holds):
            # Where both versions wait for a focal point alike, waiting is no part of the change.
            found = {name: msgspec.structs.replace(each, on_approval=False) for name, each in found.items()}
        return found


def _alike(first: Change, changes: Sequence[Change]) -> list[Change]:
    """The same change of categories that this kind of entry does not have."""
    if first.subject not in CATEGORY_NUMBERS:
        return []
    seen = {each.subject for each in changes}
    return [msgspec.structs.replace(first, subject=word) for word in CATEGORY_NUMBERS if word not in seen]


def _following(change: Change, old: Mapping[Category, Outcome], new: Mapping[Category, Outcome]) -> Iterator[Change]:
    """A change told as one that the rest of the entry brings about, with the levels that the release rulebooks give."""
    category = CATEGORY_NUMBERS.get(change.subject)
    if category not in HIDDEN_IN_A_HIT:
        return
    told = msgspec.structs.replace(change, within_floor=True, follows=True)
    if change.after == WITHHELD and old.get(category, WITHHOLD) != WITHHOLD:
        yield msgspec.structs.replace(told, before=OUTCOMES[old[category]].lower())
    if change.before == WITHHELD and new.get(category, WITHHOLD) != WITHHOLD:
        yield msgspec.structs.replace(told, after=OUTCOMES[new[category]].lower())


def _loosely(change: Change, old: LayerResult, new: LayerResult) -> Iterator[Change]:
    """The change as that of a restriction which came or went: whatever it keeps back, and not level by level."""
    if change.subject not in CATEGORY_NUMBERS or change.follows:
        return
    rules = [rule for _, rule, _ in rules_behind(change, old, new)]
    if change.kind == "newly withheld" and (not rules or any(rule.effect != "allow" for rule in rules)):
        yield msgspec.structs.replace(change, before=WHATEVER)
    granted = {rule_meaning(rule) for rule in old.fired}
    if change.kind == "newly released" and all(
        rule.effect != "allow" or rule_meaning(rule) in granted for rule in rules
    ):
        yield msgspec.structs.replace(change, after=WHATEVER, on_approval=False)
