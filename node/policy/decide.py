"""The decision on one entry: two rulebooks, facts, and what the recipient has accepted.

This evaluator follows the published semantics word by word, on plain sets, so that a compiler and a prover can be
checked against it. `Policy` remembers decisions; it decides nothing by itself.

1. A rule fires when all conditions of `when` hold and none of the conjunctions of `unless` does.
2. UNKNOWN never helps release: in the `when` of an `allow` it fails, in that of a restriction or red line it holds, and
   inside `unless` the reverse.
3. Within a layer, limits on a category join; each level g that some `allow` grants gives join(limits, g), and the first
   of these in the order release, generalise, pseudonymise, mask, withhold is the result. No grant means withhold.
4. A grant above withhold, of any category that this kind of entry can hold, grants EXISTENCE and REFERENCE with it.
5. An `allow` with an obligation that was not accepted does not fire; a `limit`, `hold` or `attach` that fires with one
   denies.
6. The result is the join of both layers. A denial, or EXISTENCE withheld, withholds all. Then red lines withhold what
   would cross them, and report it; one that asks for approval is not crossed where a `hold` fired.
7. With EXISTENCE withheld the entry is INVISIBLE, or HELD_SILENTLY where a `hold` fired. Else it is PENDING where one
   fired; with nothing but EXISTENCE and REFERENCE it is a HIT; else an ENTRY.
8. Before any rule: no valid rulebook, no pairing, an unlawful purpose or an immigration unit make it INVISIBLE. After
   all rules: what concerns a subject exposed to persecution is HELD_SILENTLY from the state of origin.
"""

from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import msgspec

from node.policy.evaluate import (
    EXISTENCE,
    REFERENCE,
    WITHHOLD,
    LayerResult,
    Reason,
    evaluate_layer,
    is_met,
    join,
)
from node.policy.facts import Facts
from node.policy.rules import RedLine, Rulebook
from node.policy.vocabulary import (
    CATEGORIES_BY_KIND,
    NEVER_LAWFUL,
    NOT_APPLICABLE,
    UNKNOWN,
    Category,
    Obligation,
    Outcome,
)
from node.schema import COMMON_CATEGORIES
from node.wire import codes_pb2, ledger_pb2

EntryOutcome: TypeAlias = ledger_pb2.EntryOutcome.ValueType

ENTRY: Final = ledger_pb2.ENTRY_OUTCOME_ENTRY
HIT: Final = ledger_pb2.ENTRY_OUTCOME_HIT
PENDING: Final = ledger_pb2.ENTRY_OUTCOME_PENDING
HELD_SILENTLY: Final = ledger_pb2.ENTRY_OUTCOME_HELD_SILENTLY
INVISIBLE: Final = ledger_pb2.ENTRY_OUTCOME_INVISIBLE

_ASYLUM: Final = codes_pb2.DATA_CATEGORY_ASYLUM
# The other kinds of red lines compare situations, or are no function of one: proofs and tests hold those.
_ON_LEAVING: Final = ("never_release", "never_without_approval")
_UNLESS_HELD: Final = ("never_release",)


class Grant(msgspec.Struct, frozen=True):
    """A rule that let a category leave at its level; this is what the recipient is told."""

    rule: str
    law: str
    category: Category
    outcome: Outcome


class Decision(msgspec.Struct, frozen=True, cache_hash=True):
    """What leaves of one entry.

    Attributes:
        outcome: ENTRY, HIT, PENDING, HELD_SILENTLY or INVISIBLE; the last two look like a no-hit outside.
        levels: Category and its level, for each category of this kind of entry, in ascending order. Of a PENDING what
            an approval may let leave at the most: until then, nothing does.
        grants: Of an ENTRY for each category that leaves but EXISTENCE and REFERENCE; of a HIT for EXISTENCE.
        fired: Ids of the rules that fired, floor first, also where nothing leaves.
        obligations: That go with what leaves, in ascending order; empty where nothing does.
        retention_days: The recipient deletes after as many days; 0 where no rule says so.
        red_lines_crossed: Ids of red lines that the rules would have crossed. Not empty means: raise an alarm.
        why: For the operator of this node alone.
    """

    outcome: EntryOutcome
    levels: tuple[tuple[Category, Outcome], ...]
    grants: tuple[Grant, ...]
    fired: tuple[str, ...]
    obligations: tuple[Obligation, ...]
    retention_days: int
    red_lines_crossed: tuple[str, ...]
    why: tuple[Reason, ...]

    def level(self, category: Category) -> Outcome:
        """Level of a category; WITHHOLD for one that this kind of entry does not have."""
        return dict(self.levels).get(category, WITHHOLD)

    def bits(self, outcome: Outcome) -> int:
        """Categories with this level as a bit set: bit n for category number n, as the ledger keeps them."""
        return sum(1 << category for category, level in self.levels if level == outcome)


def decide(
    floor: Rulebook | None,
    release: Rulebook | None,
    facts: Facts,
    accepted: frozenset[Obligation],
    now_us: int,
) -> Decision:
    """Decide what leaves of one entry.

    Args:
        floor: The multilateral floor of the directory; None where there is none.
        release: The originator's own rulebook; None where there is none.
        facts: From `derive_facts`, or from a ledger for replay.
        accepted: Obligations that the recipient has declared to honour.
        now_us: Time of the decision, UTC microseconds, by the answering node's clock.
    """
    refusals = structural_refusals(facts)
    if floor is None or floor.layer != "floor" or not floor.is_valid_at(now_us):
        refusals.append(_forbidden("no-floor", "no multilateral floor is in force", ""))
    elif release is None or release.layer != "release" or not release.is_valid_at(now_us):
        refusals.append(_forbidden("no-release-rulebook", "no release rulebook is in force", ""))
    elif not refusals:
        return _decide(floor, release, facts, accepted)
    return Decision(INVISIBLE, _withheld(facts), (), (), (), 0, (), tuple(refusals))


class Policy:
    """The rulebooks that answer one recipient, with a bounded memory of decisions.

    A new rulebook or acceptance is a new `Policy`; nothing here is ever invalidated.
    """

    def __init__(
        self,
        floor: Rulebook | None,
        release: Rulebook | None,
        accepted: frozenset[Obligation],
        remembered: int = 4096,
    ) -> None:
        """Bind two rulebooks and what the recipient accepted; remember so many decisions, the latest used."""
        self.floor: Final = floor
        self.release: Final = release
        self.accepted: Final = accepted
        # Within both validities a decision depends on the facts alone, so one time stands for all of them.
        self._valid_from_us = max(book.valid_from_us for book in (floor, release)) if floor and release else 0
        self._valid_until_us = min(book.valid_until_us for book in (floor, release)) if floor and release else 0
        self._remember = lru_cache(maxsize=remembered)(self._decide_in_force)

    def decide(self, facts: Facts, now_us: int) -> Decision:
        """Decide as `decide` does, from memory where the same facts were decided on before."""
        if self._valid_from_us <= now_us < self._valid_until_us:
            return self._remember(facts)
        return decide(self.floor, self.release, facts, self.accepted, now_us)

    def _decide_in_force(self, facts: Facts) -> Decision:
        return decide(self.floor, self.release, facts, self.accepted, self._valid_from_us)


def structural_refusals(facts: Facts) -> list[Reason]:
    """What no rulebook can permit, whatever it says: checked before any rule."""
    found = []
    if facts.paired != "YES":
        found.append(_forbidden("no-pairing", "two focal points have not signed the pairing with this country", ""))
    if facts.unit_type in {"IMMIGRATION", UNKNOWN}:
        found.append(_forbidden("unit-type", "nothing leaves for immigration enforcement", "1951 Convention art. 33"))
    if facts.purpose in NEVER_LAWFUL or facts.purpose == UNKNOWN:
        found.append(_forbidden("purpose", "this purpose is never lawful here", "1951 Convention art. 33"))
    if facts.kind not in CATEGORIES_BY_KIND:
        found.append(_forbidden("kind", "this node does not know this kind of entry", ""))
    return found


def is_held_silently(facts: Facts) -> bool:
    """Whether a state of origin asks about somebody whose work or views may expose them to persecution by it.

    UNKNOWN counts as exposed and as the origin. Things that such a person uses or owns have the same facts.
    """
    return facts.exposure not in {"NONE", NOT_APPLICABLE} and facts.recipient_is_origin in {"IS_ORIGIN", UNKNOWN}


class _Combined(NamedTuple):
    levels: dict[Category, Outcome]
    crossed: list[str]
    why: list[Reason]


def _decide(floor: Rulebook, release: Rulebook, facts: Facts, accepted: frozenset[Obligation]) -> Decision:
    layers = [evaluate_layer(book, facts, accepted) for book in (floor, release)]
    held = any(layer.held for layer in layers)
    levels, crossed, why = _combine(layers, [*floor.red_lines, *release.red_lines], facts, held=held)
    fired = tuple(rule for layer in layers for rule in layer.fired)
    if is_held_silently(facts):
        why.append(_forbidden("silent-hold", "the state of origin asks about somebody exposed to it", ""))
        return Decision(HELD_SILENTLY, _withheld(facts), (), fired, (), 0, tuple(crossed), tuple(why))
    if levels[EXISTENCE] == WITHHOLD:
        unseen = HELD_SILENTLY if held else INVISIBLE
        return Decision(unseen, _withheld(facts), (), fired, (), 0, tuple(crossed), tuple(why))
    if held:
        return Decision(PENDING, tuple(sorted(levels.items())), (), fired, (), 0, tuple(crossed), tuple(why))

    own = CATEGORIES_BY_KIND[facts.kind]
    outcome = ENTRY if any(levels[category] != WITHHOLD for category in own) else HIT
    if outcome == HIT:
        levels = {each: level if each in {EXISTENCE, REFERENCE} else WITHHOLD for each, level in levels.items()}
    told = {EXISTENCE} if outcome == HIT else levels.keys() - {EXISTENCE, REFERENCE}
    return Decision(
        outcome,
        tuple(sorted(levels.items())),
        _granted(layers, {category: levels[category] for category in told if levels[category] != WITHHOLD}),
        fired,
        tuple(sorted(frozenset().union(*(layer.obligations for layer in layers)))),
        min((layer.retention_days for layer in layers if layer.retention_days), default=0),
        tuple(crossed),
        tuple(why),
    )


def _combine(layers: list[LayerResult], red_lines: list[RedLine], facts: Facts, *, held: bool) -> _Combined:
    """Join the layers, then let red lines withhold what would cross them."""
    levels = {category: join(layers[0].levels[category], layers[1].levels[category]) for category in layers[0].levels}
    why = [reason for layer in layers for reason in layer.reasons]
    if _ASYLUM in levels:
        levels[_ASYLUM] = WITHHOLD
        why.append(Reason("", "asylum", "data on asylum goes to no peer", "8 CFR 208.6", _ASYLUM, WITHHOLD))
    if any(layer.denied for layer in layers) or levels[EXISTENCE] == WITHHOLD:
        levels = dict.fromkeys(levels, WITHHOLD)
    crossed = []
    for line in red_lines:
        if line.kind not in (_UNLESS_HELD if held else _ON_LEAVING) or not is_met(line.when, facts, unknown=True):
            continue
        over = [each for each in levels.keys() & line.data if join(levels[each], line.at_most) != levels[each]]
        if over:
            crossed.append(line.id)
            levels.update(dict.fromkeys(over, WITHHOLD))
            why += [Reason("", line.id, line.titles["en"], line.law, each, WITHHOLD) for each in sorted(over)]
    return _Combined(levels, crossed, why)


def _granted(layers: list[LayerResult], levels: dict[Category, Outcome]) -> tuple[Grant, ...]:
    found = [
        Grant(rule.id, rule.law, category, level)
        for category, level in sorted(levels.items())
        for layer in layers
        for rule in layer.granting[category]
    ]
    return tuple(dict.fromkeys(found))


def _withheld(facts: Facts) -> tuple[tuple[Category, Outcome], ...]:
    own = CATEGORIES_BY_KIND.get(facts.kind, frozenset())
    return tuple((category, WITHHOLD) for category in sorted(own | COMMON_CATEGORIES | {EXISTENCE}))


def _forbidden(rule: str, title: str, law: str) -> Reason:
    return Reason("", rule, title, law, EXISTENCE, WITHHOLD)
