"""Two versions of a rulebook as z3 expressions over one situation, and what can differ between them."""

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Final, TypeAlias

import z3

from node.policy.diff_ranges import APPROVALS, HOLD, KINDS, RETENTION, WHATEVER, WITHHELD, Change, Kind, Pair
from node.policy.diff_shared import Shared, shared_by
from node.policy.prove.model import EXISTENCE, LEVELS, REFERENCE, Model, is_at_most
from node.policy.prove.variables import Variables, conjunctions_of
from node.policy.rules import RedLine, Rule, Rulebook
from node.policy.vocabulary import (
    CATEGORIES_BY_KIND,
    CATEGORY_NUMBERS,
    OBLIGATION_NUMBERS,
    OUTCOME_NUMBERS,
    Category,
    Obligation,
    Outcome,
)
from node.schema import COMMON_CATEGORIES
from node.wire import codes_pb2

_RELEASE, _GENERALISE, _PSEUDONYMISE, _MASK = LEVELS
_WITHHOLD: Final = codes_pb2.OUTCOME_WITHHOLD
_KINDS: Final = {
    category: [kind for kind, own in CATEGORIES_BY_KIND.items() if category in own]
    for category in CATEGORY_NUMBERS.values()
}
HIDDEN_IN_A_HIT: Final = COMMON_CATEGORIES - {EXISTENCE, REFERENCE}
"""Categories that every kind of entry has, and of which nothing is told where the rest does not leave."""


class Version:
    """What leaves in one situation under two rulebooks, with red lines enforced as at run time.

    Attributes:
        model: What the rules alone say.
        told: Something may leave, at once or once approved.
        hit: Nothing of the entry's own leaves, nor could be approved, so nothing common to all kinds is told either.
        crossed: For each category, whether a red line has to step in.
    """

    def __init__(self, floor: Rulebook | None, release: Rulebook | None, variables: Variables) -> None:
        """Tell both rulebooks; None stands for one that grants everything."""
        self.model: Final = Model(floor, release, variables)
        self._books: Final = [book for book in (floor, release) if book]
        self._variables: Final = variables
        self.crossed: Final = {category: self._crossed(category) for category in CATEGORY_NUMBERS.values()}
        self.told: Final = z3.And(self.model.leaves(EXISTENCE), *self._kept(EXISTENCE, _MASK))
        self._at_most: Final = {
            (category, level): self._variables.all_of(
                [self.told, self.model.leaves(category, level), *self._kept(category, level)]
            )
            for category in CATEGORY_NUMBERS.values()
            for level in LEVELS
        }
        self.hit: Final = self._hit()
        for category in HIDDEN_IN_A_HIT:  # as rules alone do, but red lines may make a hit of an entry
            for level in LEVELS:
                self._at_most[category, level] = z3.And(z3.Not(self.hit), self._at_most[category, level])

    def _lines(self, category: Category) -> Iterator[tuple[RedLine, z3.BoolRef]]:
        """Red lines about a category, and where they have to be kept."""
        for line in chain.from_iterable(book.red_lines for book in self._books):
            if category in line.data and line.kind in {"never_release", "never_without_approval"}:
                met = self.model.met(line.when, unknown=True)
                yield line, met if line.kind == "never_release" else z3.And(met, z3.Not(self.model.held))

    def _crossed(self, category: Category) -> z3.BoolRef:
        lines = self._lines(category)
        return self._variables.any_of(z3.And(met, self.model.crosses(category, line.at_most)) for line, met in lines)

    def _kept(self, category: Category, level: Outcome) -> Iterator[z3.BoolRef]:
        """What red lines leave of a level: they cap at what they permit."""
        yield from (z3.Not(met) for line, met in self._lines(category) if not is_at_most(line.at_most, level))

    def _hit(self) -> z3.BoolRef:
        shown = []
        for kind, own in CATEGORIES_BY_KIND.items():
            leaving = self._variables.any_of(self._at_most[category, _MASK] for category in sorted(own))
            shown.append(z3.And(self._variables.has("kind", kind), leaving))
        return z3.And(self.told, z3.Not(z3.Or(*shown)))

    def at_most(self, category: Category, level: Outcome) -> z3.BoolRef:
        """Whether a category may leave at a level at most as strict."""
        return self._at_most[category, level]

    def is_at(self, category: Category, level: Outcome) -> z3.BoolRef:
        """Whether a category has exactly this level."""
        at = {each: self._at_most[category, each] for each in LEVELS}
        return {
            _RELEASE: at[_RELEASE],
            _GENERALISE: z3.And(at[_GENERALISE], z3.Not(at[_RELEASE])),
            _PSEUDONYMISE: z3.And(at[_PSEUDONYMISE], z3.Not(at[_RELEASE])),
            _MASK: z3.And(at[_MASK], z3.Not(at[_GENERALISE]), z3.Not(at[_PSEUDONYMISE])),
            _WITHHOLD: z3.Not(at[_MASK]),
        }[level]

    def asks_two(self) -> z3.BoolRef:
        """Whether a hold fires that two focal points must lift."""
        return self.is_any_firing([rule for book in self._books for rule in book.rules if rule.approvals > 1])

    def is_any_firing(self, rules: Collection[Rule]) -> z3.BoolRef:
        """Whether one of these rules of the version fires."""
        return self._variables.any_of(map(self.model.fires, rules))

    def restricts(self, own: Shared, category: Category) -> z3.BoolRef:
        """Whether one of these rules and red lines of the version keeps a category from leaving whole."""
        lines = [line for line in own.red_lines if line.data & {category, EXISTENCE} and line.kind != "structural"]
        found = [self.model.met(line.when, unknown=True) for line in lines]
        for rule in own.rules:
            if rule.effect == "deny" or (rule.effect == "limit" and rule.data.keys() & {category, EXISTENCE}):
                found.append(self.model.fires(rule))
            elif rule.effect != "allow" and rule.obligations:
                found.append(z3.And(self.model.fires(rule), z3.Not(self._variables.accepts(rule.obligations))))
        return self._variables.any_of(found)

    def owes(self, obligation: Obligation) -> z3.BoolRef:
        """Whether an obligation goes with whatever leaves."""
        return self.is_any_firing(
            [rule for book in self._books for rule in book.rules if obligation in rule.obligations]
        )

    def deletes_within(self, days: int) -> z3.BoolRef:
        """Whether whatever leaves must be deleted after so many days, or sooner."""
        return self.is_any_firing([r for book in self._books for r in book.rules if 0 < r.retention_days <= days])

    def deletes_after(self, days: int, all_days: Collection[int]) -> z3.BoolRef:
        """Whether it must be deleted after exactly so many days; 0: never."""
        sooner = [each for each in all_days if not days or each < days]
        kept = [z3.Not(self.deletes_within(each)) for each in sooner]
        return self._variables.all_of([*kept, self.deletes_within(days)] if days else kept)

    def forbids(self, forbidding: Shared, category: Category | None) -> z3.BoolRef:
        """See `diff_shared.is_forbidden`."""
        categories = {EXISTENCE} if category is None else {EXISTENCE, category}
        found = []
        for rule in forbidding.rules:
            withholds = rule.effect == "deny" or any(rule.data.get(each) == _WITHHOLD for each in categories)
            unaccepted = z3.Not(self._variables.accepts(rule.obligations))
            found.append(self.model.fires(rule) if withholds else z3.And(self.model.fires(rule), unaccepted))
        found += [self.model.met(line.when, unknown=True) for line in forbidding.red_lines]
        return self._variables.any_of(found)


def _approves_alone(one: Version, other: Version) -> z3.BoolRef:
    """Whether two focal points must approve in one version, and one alone in the other."""
    return z3.And(one.asks_two(), other.model.held, z3.Not(other.asks_two()))


Topic: TypeAlias = tuple[Kind, str]
"""One thing that may differ in one direction: a kind of change, and its subject."""


class Versions:
    """Both versions over the same situation.

    Attributes:
        topics: All that may differ, and where it does; what widens first.

    Where both share their floor, changes are told within it: as what the release rulebooks say wherever the floor
    lets something leave. Otherwise every box would repeat the floor's conditions.
    """

    def __init__(self, old: Pair, new: Pair) -> None:
        """Tell two pairs of rulebooks."""
        self.variables: Final = Variables([*old, *new])
        self.old: Final = Version(*old, self.variables)
        self.new: Final = Version(*new, self.variables)
        self.has_floor: Final = old[0] is new[0]
        self._floor: Final = Version(old[0], None, self.variables) if self.has_floor else None
        self._alone: Final = (
            (Version(None, old[1], self.variables), Version(None, new[1], self.variables))
            if self.has_floor
            else (self.old, self.new)
        )
        self.shared: Final = shared_by(old, new)
        conditions = (each for book in (*old, *new) for parts in conjunctions_of(book) for each in parts)
        named = [(each.dimension, each.values) for each in conditions]
        named += [("kind", frozenset(_KINDS[category])) for category in CATEGORY_NUMBERS.values()]
        self._named: Final = sorted(set(named), key=lambda each: (each[0], sorted(each[1])))
        self._went: Final = self.shared.missing_from(old)
        self._came: Final = self.shared.missing_from(new)
        self._days: Final = sorted({rule.retention_days for book in (*old, *new) for rule in book.rules} - {0})
        self._both_told: Final = z3.And(self.old.told, self.new.told)
        # Where no rule decides nothing differs, and what can't be needs no comparing.
        self.compared: Final = z3.And(
            self.old.model.well_formed, z3.Not(self.old.model.refused), z3.Not(self.old.model.silent)
        )
        self.topics: Final = self._told()

    def naming(self, dimension: str, word: str) -> tuple[bool, ...]:
        """Which of all conditions on a dimension name a word."""
        return tuple(word in words for name, words in self._named if name == dimension)

    def _told(self) -> dict[Topic, z3.BoolRef]:
        found: dict[Topic, z3.BoolRef] = {}
        # That an entry exists follows from all else, and is told last.
        for word, category in sorted(CATEGORY_NUMBERS.items(), key=lambda each: each[1] in {EXISTENCE, REFERENCE}):
            released = self.is_laxer(category, self.new, self.old)
            found["newly released", word] = released
            found["newly withheld", word] = z3.And(self.is_laxer(category, self.old, self.new), z3.Not(released))
        found["no longer held", HOLD] = z3.And(self.old.model.held, z3.Not(self.new.model.held))
        found["newly held", HOLD] = z3.And(self.new.model.held, z3.Not(self.old.model.held))
        found["one approves", APPROVALS] = _approves_alone(self.old, self.new)
        found["two approve", APPROVALS] = _approves_alone(self.new, self.old)
        for word, obligation in OBLIGATION_NUMBERS.items():
            if word != RETENTION:
                before, after = self.old.owes(obligation), self.new.owes(obligation)
                found["obligations lost", word] = z3.And(self._both_told, before, z3.Not(after))
                found["obligations gained", word] = z3.And(self._both_told, after, z3.Not(before))
        found["kept longer", RETENTION] = self._deletes_sooner(self.old, self.new)
        found["deleted sooner", RETENTION] = self._deletes_sooner(self.new, self.old)
        return {topic: found[topic] for topic in sorted(found, key=lambda topic: KINDS.index(topic[0]))}

    def stricter(self) -> Iterator[z3.BoolRef]:
        """Where a category is stricter, also where it is looser in another way (to generalise from pseudonymise)."""
        for category in CATEGORY_NUMBERS.values():
            yield self.is_laxer(category, self.old, self.new)

    def claim(self, change: Change) -> tuple[z3.BoolRef, z3.BoolRef]:
        """Where a change may be spoken of at all, and whether it is so there.

        It may where the kind of entry has what changes, where nothing that both versions share forbids it or makes it
        void, and, within the floor, where the floor lets it leave and no red line has to step in.
        """
        old, new = self._alone if change.within_floor else (self.old, self.new)
        if change.subject == HOLD:
            first, second = (old, new) if change.kind == "newly held" else (new, old)
            takes_place = z3.And(second.model.held, z3.Not(first.model.held))
            return z3.Not(self.old.is_any_firing(self.shared.holds)), takes_place
        if change.subject == APPROVALS:
            one, other = (new, old) if change.kind == "two approve" else (old, new)
            # Where the floor asks for two, it is all the same what a rulebook asks for.
            asked = [self._floor.asks_two()] if change.within_floor and self._floor else []
            return z3.Not(self.variables.any_of(asked)), _approves_alone(one, other)
        category = CATEGORY_NUMBERS.get(change.subject)
        where = [z3.Not(self.old.forbids(self.shared.forbidding(category), category))]
        if change.within_floor:
            where += self._within_floor(category or EXISTENCE)
        if category:
            where.append(self.new.model.is_of_kind(category))
            if change.within_floor and category in HIDDEN_IN_A_HIT:
                where.append(self._beside_the_rest(change, category))
            if WHATEVER in {change.before, change.after}:
                return z3.And(*where), self._restriction(change, category, old, new)
            return z3.And(*where), self._level_change(change, category, old, new)
        where.append(self._both_told)
        if change.subject == RETENTION:
            before, after = int(change.before), int(change.after)
            least = min(before or after, after or before)
            where.append(
                z3.Not(self.old.is_any_firing([r for r in self.shared.rules if 0 < r.retention_days <= least]))
            )
            takes_place = z3.And(old.deletes_after(before, self._days), new.deletes_after(after, self._days))
            return z3.And(*where), takes_place
        obligation = OBLIGATION_NUMBERS[change.subject]
        if change.within_floor and self._floor:
            where.append(z3.Not(self._floor.owes(obligation)))
        first, second = (old, new) if change.kind == "obligations gained" else (new, old)
        return z3.And(*where), z3.And(second.owes(obligation), z3.Not(first.owes(obligation)))

    def _within_floor(self, category: Category) -> Iterator[z3.BoolRef]:
        """Where the floor lets a category leave, and no red line has to step in: what is proved never needs it."""
        assert self._floor is not None
        # What the floor alone would tell of a hit says nothing of both together.
        yield self._floor.model.leaves(EXISTENCE if category in HIDDEN_IN_A_HIT else category)
        for crossed in (self.old.crossed, self.new.crossed):
            yield from (z3.Not(crossed[each]) for each in sorted({category, EXISTENCE}))

    def _beside_the_rest(self, change: Change, category: Category) -> z3.BoolRef:
        """Where a category that is not the entry's own changes by itself; or else because the rest does."""
        old, new = self.old, self.new
        own = self.variables.has("kind", *_KINDS[category])
        if not change.follows:
            hits = [each.hit for each in (old, new, *self._alone)]
            return z3.Or(own, z3.Not(z3.Or(*hits)))
        hit, other = (new, old) if change.after == WITHHELD else (old, new)
        return z3.And(z3.Not(own), hit.hit, other.told, z3.Not(other.hit))

    def is_laxer(self, category: Category, one: Version, other: Version) -> z3.BoolRef:
        """Whether a category's level in one version is not at least as strict as in the other."""
        return z3.Or(*[z3.And(one.at_most(category, g), z3.Not(other.at_most(category, g))) for g in LEVELS])

    def _level_change(self, change: Change, category: Category, old: Version, new: Version) -> z3.BoolRef:
        parts = []
        for version, level in ((old, change.before), (new, change.after)):
            if not (change.follows and level == WITHHELD):
                parts.append(version.is_at(category, OUTCOME_NUMBERS[level]))
        if change.after != WITHHELD:
            held = new.model.held if change.on_approval else z3.Not(new.model.held)
            parts.append(z3.Or(held, self.old.is_any_firing(self.shared.holds)))
        return z3.And(*parts)

    def _restriction(self, change: Change, category: Category, old: Version, new: Version) -> z3.BoolRef:
        """Whether a restriction that came or went applies, and sets the level wherever something differs."""
        version, own, level = (
            (self.new, self._came, change.after) if change.before == WHATEVER else (self.old, self._went, change.before)
        )
        alone = new if change.before == WHATEVER else old
        differs = self.topics[change.kind, change.subject]
        parts = [z3.Implies(differs, alone.is_at(category, OUTCOME_NUMBERS[level]))]
        if change.before == WHATEVER and level != WITHHELD:
            held = new.model.held if change.on_approval else z3.Not(new.model.held)
            parts.append(z3.Implies(differs, z3.Or(held, self.old.is_any_firing(self.shared.holds))))
        return z3.And(version.restricts(own, category), *parts)

    def _deletes_sooner(self, one: Version, other: Version) -> z3.BoolRef:
        sooner = [z3.And(one.deletes_within(d), z3.Not(other.deletes_within(d))) for d in self._days]
        return z3.And(self._both_told, self.variables.any_of(sooner))
