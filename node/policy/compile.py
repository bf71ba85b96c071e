"""Two rulebooks compiled to tables, for decisions in microseconds.

What is decided depends on the facts only through the boxes they are in (`node.policy.masks`): the `when` of each rule,
each of its exceptions, each red line, the few conditions that no rulebook can lift, the kind of entry. So one bit set
stands for all that matters of a situation, and decisions are remembered by it.

Levels are numbers in which each bit takes something away, so that the join of two is their OR, and of two results the
one that comes first in the published order is the lesser number.

`node.policy.reference` says what must come out; tests hold both against each other.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import Final, NamedTuple, TypeAlias

from node.policy.compile_check import verify_masks
from node.policy.decision import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, PENDING, Decision, Grant
from node.policy.facts import Facts
from node.policy.masks import Box, Masks
from node.policy.rules import Condition, Rule, Rulebook
from node.policy.vocabulary import CATEGORIES_BY_KIND, NEVER_LAWFUL, NOT_APPLICABLE, Category, Obligation, Outcome
from node.schema import COMMON_CATEGORIES
from node.wire import codes_pb2

_EXISTENCE: Final = codes_pb2.DATA_CATEGORY_EXISTENCE
_REFERENCE: Final = codes_pb2.DATA_CATEGORY_REFERENCE
_ASYLUM: Final = codes_pb2.DATA_CATEGORY_ASYLUM

Level: TypeAlias = int
_NOTHING: Final[Level] = 0b111
_LEVELS: Final[dict[Outcome, Level]] = {
    codes_pb2.OUTCOME_RELEASE: 0b000,
    codes_pb2.OUTCOME_GENERALISE: 0b001,
    codes_pb2.OUTCOME_PSEUDONYMISE: 0b010,
    codes_pb2.OUTCOME_MASK: 0b011,
    codes_pb2.OUTCOME_WITHHOLD: _NOTHING,
}
_OUTCOMES: Final[dict[Level, Outcome]] = {level: outcome for outcome, level in _LEVELS.items()}

Weights: TypeAlias = tuple[tuple[int, Level], ...]
"""Bit sets of rules, each with the level that its rules grant, or cap at."""

# What no rulebook can lift. UNKNOWN admits nobody; it counts as exposed, and as the origin.
_ADMITTED: Final = Box(
    (
        Condition("paired", frozenset({"YES"})),
        Condition("unit_type", frozenset({"IMMIGRATION"}), negated=True),
        Condition("purpose", NEVER_LAWFUL, negated=True),
        Condition("kind", frozenset(CATEGORIES_BY_KIND)),
    ),
    unknown=False,
)
_EXPOSED: Final = Box(
    (
        Condition("exposure", frozenset({"NONE", NOT_APPLICABLE}), negated=True),
        Condition("recipient_is_origin", frozenset({"IS_ORIGIN"})),
    ),
    unknown=True,
)


class _Line(NamedTuple):
    """A red line on what leaves."""

    bit: int
    id: str
    at_most: Level
    data: frozenset[Category]
    unless_held: bool


class _Row(NamedTuple):
    """What bears on one category of one kind of entry: the caps of both layers, and the grants of each."""

    category: Category
    caps: Weights
    floor: Weights
    release: Weights


class _Plan(NamedTuple):
    """What there is to decide on for one kind of entry.

    Attributes:
        categories: In ascending order.
        own: Those of the fields of this kind.
        rows: Of the categories that both layers have a grant for; the others are withheld in any situation.
    """

    categories: tuple[Category, ...]
    own: frozenset[Category]
    rows: tuple[_Row, ...]
    withheld: tuple[tuple[Category, Outcome], ...]


class Compiled:
    """A floor and a release rulebook, whoever asks."""

    def __init__(self, floor: Rulebook, release: Rulebook) -> None:
        """Compile and check two rulebooks; whether they are in force, the caller has checked.

        Raises:
            RulebookError: the tables do not say what the reference evaluator says.
        """
        self.rules: Final = (*floor.rules, *release.rules)
        boxes = [Box(rule.when, unknown=rule.effect != "allow") for rule in self.rules]
        self.exceptions: Final = []
        for number, rule in enumerate(self.rules):
            for exception in rule.unless:
                self.exceptions.append((1 << len(boxes), 1 << number))
                boxes.append(Box(exception, unknown=rule.effect == "allow"))
        self.lines: Final = []
        for line in (*floor.red_lines, *release.red_lines):
            if line.kind in {"never_release", "never_without_approval"}:
                unless_held = line.kind == "never_without_approval"
                at_most = _LEVELS[line.at_most]
                self.lines.append(_Line(1 << len(boxes), line.id, at_most, line.data, unless_held))
                boxes.append(Box(line.when, unknown=True))
        self.admitted: Final = 1 << len(boxes)
        self.exposed: Final = 2 << len(boxes)
        boxes += [_ADMITTED, _EXPOSED]
        kinds = {1 << number: kind for number, kind in enumerate(CATEGORIES_BY_KIND, len(boxes))}
        boxes += [Box((Condition("kind", frozenset({kind})),), unknown=False) for kind in kinds.values()]
        self.kinds: Final = sum(kinds)
        self.masks: Final = Masks(boxes)
        verify_masks(self.masks)
        weights = (_weights(floor.rules, 0), _weights(release.rules, len(floor.rules)))
        self.plans: Final = {bit: _plan(kind, weights) for bit, kind in kinds.items()}
        self.plans[0] = _plan("", weights)  # of a kind that this node does not know
        self.by_bit: Final = {1 << number: rule for number, rule in enumerate(self.rules)}

    def rules_where(self, mask: int) -> Iterator[Rule]:
        """Yield the rules of a bit set, floor first."""
        while mask:
            lowest = mask & -mask
            mask ^= lowest
            yield self.by_bit[lowest]

    def firing(self, boxes: int) -> int:
        """Return the rules whose conditions hold and whose exceptions do not, as a bit set."""
        firing = boxes & ((1 << len(self.rules)) - 1)
        for exception, rule in self.exceptions:
            if boxes & exception:
                firing &= ~rule
        return firing


class _Pair:
    """Two rulebooks as a key: these very values, which need no comparing."""

    __slots__ = ("floor", "release")

    def __init__(self, floor: Rulebook, release: Rulebook) -> None:
        self.floor: Final = floor
        self.release: Final = release

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pair) and self.floor is other.floor and self.release is other.release

    def __hash__(self) -> int:
        return hash((id(self.floor), id(self.release)))


def compiled(floor: Rulebook, release: Rulebook) -> Compiled:
    """Compile two rulebooks, or take what was compiled of them before; the latest pairs are kept.

    Raises:
        RulebookError: as `Compiled` does.
    """
    return _compiled(_Pair(floor, release))


@lru_cache(maxsize=8)  # what is in force, and what is rehearsed beside it; some 100 kB each
def _compiled(pair: _Pair) -> Compiled:
    return Compiled(pair.floor, pair.release)


def _bits(numbers: Iterable[int]) -> int:
    return sum(1 << number for number in numbers)


class _Weights(NamedTuple):
    """What the rules of a layer weigh, as bit sets of rules by category and level, and what each of them names."""

    caps: dict[Category, dict[Level, int]]
    grants: dict[Category, dict[Level, int]]
    naming: dict[Category, int]  # `allow` rules that name the category


def _weights(rules: tuple[Rule, ...], first: int) -> _Weights:
    caps: dict[Category, dict[Level, int]] = {}
    grants: dict[Category, dict[Level, int]] = {}
    naming: dict[Category, int] = {}
    for number, rule in enumerate(rules, first):
        allows = rule.effect == "allow"
        weights = grants if allows else caps
        for category, outcome in rule.data.items():
            level = _LEVELS[outcome]
            levels = weights.setdefault(category, {})
            levels[level] = levels.get(level, 0) | 1 << number
            if allows:
                naming[category] = naming.get(category, 0) | 1 << number
    return _Weights(caps, grants, naming)


def _plan(kind: str, layers: tuple[_Weights, _Weights]) -> _Plan:
    own = CATEGORIES_BY_KIND.get(kind, frozenset())
    categories = tuple(sorted(own | COMMON_CATEGORIES | {_EXISTENCE}))
    rows = []
    for category in categories:
        floor, release = (_grants_of(category, own, layer) for layer in layers)
        if floor and release and category != _ASYLUM:  # which goes to no peer, whatever the rules say
            caps = tuple((mask, level) for layer in layers for level, mask in layer.caps.get(category, {}).items())
            rows.append(_Row(category, caps, floor, release))
    withheld = tuple((category, codes_pb2.OUTCOME_WITHHOLD) for category in categories)
    return _Plan(categories, own, tuple(rows), withheld)


def _grants_of(category: Category, own: frozenset[Category], layer: _Weights) -> Weights:
    """Grants of a category, where an entry has these categories of its own.

    A grant of any of these tells that there is such an entry, and of when it is.
    """
    grants = dict(layer.grants.get(category, {}))
    if category in {_EXISTENCE, _REFERENCE}:
        for each in own | {_EXISTENCE, _REFERENCE}:
            grants[0] = grants.get(0, 0) | layer.naming.get(each, 0)
        if not grants[0]:
            del grants[0]
    return tuple((mask, level) for level, mask in grants.items())


class Bound:
    """A compiled pair of rulebooks, bound to what one recipient has accepted."""

    def __init__(self, compiled: Compiled, accepted: frozenset[Obligation], remembered: int) -> None:
        """Find which rules the acceptance silences or turns into denials; remember so many decisions."""
        numbered = list(enumerate(compiled.rules))
        unaccepted = _bits(number for number, rule in numbered if not rule.obligations <= accepted)
        allows = _bits(number for number, rule in numbered if rule.effect == "allow")
        self._compiled: Final = compiled
        self._silenced: Final = unaccepted & allows
        self._denying: Final = unaccepted & ~allows | _bits(n for n, rule in numbered if rule.effect == "deny")
        self._holding: Final = _bits(number for number, rule in numbered if rule.effect == "hold")
        self._twice: Final = _bits(number for number, rule in numbered if rule.approvals > 1)
        self._remembered: Final = lru_cache(maxsize=remembered)(self._decide)
        self._remembered_approved: Final = lru_cache(maxsize=remembered)(partial(self._decide, approved=True))

    def decide(self, facts: Facts) -> Decision:
        """Decide on a situation, both rulebooks being in force.

        Raises:
            PolicyError: a fact is no word of the vocabulary.
        """
        return self._remembered(self._compiled.masks.containing(facts))

    def decide_approved(self, facts: Facts) -> Decision:
        """Decide what leaves once focal points approve it, as `node.policy.reference.decide_approved` does.

        Raises:
            PolicyError: a fact is no word of the vocabulary.
        """
        return self._remembered_approved(self._compiled.masks.containing(facts))

    def _decide(self, boxes: int, *, approved: bool = False) -> Decision:
        compiled = self._compiled
        plan = compiled.plans[boxes & compiled.kinds]
        if not boxes & compiled.admitted:
            return Decision(INVISIBLE, plan.withheld, (), (), (), 0, (), int(approved))
        fired = compiled.firing(boxes) & ~self._silenced
        rules = list(compiled.rules_where(fired))
        ids = tuple([rule.id for rule in rules])
        exposed = bool(boxes & compiled.exposed)
        held = exposed or bool(fired & self._holding)
        asked = 2 if fired & self._twice else int(held or approved)
        levels = dict.fromkeys(plan.categories, _NOTHING)
        granting = {} if (exposed and not approved) or fired & self._denying else _weigh(plan, fired, levels)
        crossed = self._cross(boxes, levels, held=held) if granting else ()
        held = held and not approved

        if levels[_EXISTENCE] == _NOTHING:
            return Decision(HELD_SILENTLY if held else INVISIBLE, plan.withheld, (), ids, (), 0, crossed, asked)
        outcome = ENTRY if any(levels[category] != _NOTHING for category in plan.own) else HIT
        if outcome == HIT:
            levels = {each: level if each in {_EXISTENCE, _REFERENCE} else _NOTHING for each, level in levels.items()}
        if held:
            return Decision(PENDING, _in_words(levels), (), ids, (), 0, crossed, asked)
        return Decision(
            outcome,
            _in_words(levels),
            self._grants(outcome, levels, granting),
            ids,
            tuple(sorted(frozenset().union(*[rule.obligations for rule in rules]))),
            min([rule.retention_days for rule in rules if rule.retention_days], default=0),
            crossed,
            asked,
        )

    def _cross(self, boxes: int, levels: dict[Category, Level], *, held: bool) -> tuple[str, ...]:
        """Cap what would cross a red line at what it permits, and tell which lines."""
        crossed = []
        for line in self._compiled.lines:
            if not boxes & line.bit or (held and line.unless_held):
                continue
            over = [each for each in levels if each in line.data and levels[each] | line.at_most != levels[each]]
            if over:
                crossed.append(line.id)
                levels.update({each: levels[each] | line.at_most for each in over})
        return tuple(crossed)

    def _grants(self, outcome: int, levels: dict[Category, Level], granting: dict[Category, int]) -> tuple[Grant, ...]:
        """Who granted what leaves; of a hit, who granted that it is told of."""
        found: dict[Grant, None] = {}
        for category, level in levels.items():
            if level == _NOTHING or (category == _EXISTENCE) != (outcome == HIT) or category == _REFERENCE:
                continue
            for rule in self._compiled.rules_where(granting[category]):
                found[Grant(rule.id, rule.law, category, _OUTCOMES[level])] = None
        return tuple(found)


def _weigh(plan: _Plan, fired: int, levels: dict[Category, Level]) -> dict[Category, int]:
    """Write the levels that both layers leave into `levels`, and return who granted them as bit sets of rules.

    Empty, with nothing written, where the existence of the entry itself is withheld.
    """
    found: dict[Category, Level] = {}
    granting: dict[Category, int] = {}
    for row in plan.rows:
        level, granted = _level(row, fired)
        if level != _NOTHING:
            found[row.category], granting[row.category] = level, granted
    if _EXISTENCE not in found:
        return {}
    levels.update(found)
    return granting


def _level(row: _Row, fired: int) -> tuple[Level, int]:
    """The level that both layers leave, and the rules that give it: of what both grant, capped, the first."""
    release = [(found, level) for mask, level in row.release if (found := fired & mask)]
    best, granting = _NOTHING, 0
    if not release:
        return best, granting
    cap = 0
    for mask, level in row.caps:
        if fired & mask:
            cap |= level
    for mask, below in row.floor:
        found = fired & mask
        if not found:
            continue
        for also_found, above in release:
            level = cap | below | above
            if level <= best:
                granting = found | also_found | (granting if level == best else 0)
                best = level
    return best, granting


def _in_words(levels: dict[Category, Level]) -> tuple[tuple[Category, Outcome], ...]:
    return tuple([(category, _OUTCOMES[level]) for category, level in levels.items()])
