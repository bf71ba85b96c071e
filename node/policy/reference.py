"""The decision on one entry, word by word after the published semantics: two rulebooks, facts, and what is accepted.

This evaluator works on plain sets and is slow. Compiler and prover are checked against it, and decisions of the past
replayed through it; it shares nothing with either but the rules and the numbers of the wire.

1. A rule fires when all conditions of `when` hold and none of the conjunctions of `unless` does.
2. UNKNOWN never helps release: in the `when` of an `allow` it fails, in that of a restriction or red line it holds, and
   inside `unless` the reverse.
3. Limits on a category join, those of both layers. Both layers must grant: each level f that some `allow` of the floor
   grants, with each level g that one of the release rulebook grants, gives join(limits, f, g); the first of these in
   the order release, generalise, pseudonymise, mask, withhold is the result. No grant in a layer means withhold. (Were
   each layer to choose its own first, an `allow` more could release less: a floor that pseudonymises joins with
   pseudonymise to the same, but with a generalise that is allowed besides, and comes first, to mask.)
4. A grant above withhold, of any category that this kind of entry can hold, grants EXISTENCE and REFERENCE with it.
5. An `allow` with an obligation that was not accepted does not fire; a `limit`, `hold` or `attach` that fires with one
   denies.
6. A denial, or EXISTENCE withheld, withholds all. Then red lines cap what would cross them at the level that they
   permit, and report it; one that asks for approval is not crossed where a `hold` fired.
7. With EXISTENCE withheld the entry is INVISIBLE, or HELD_SILENTLY where a `hold` fired. Else, with nothing of its own
   kind it is a HIT, of which EXISTENCE and REFERENCE alone are told; else an ENTRY. Where a `hold` fired it is PENDING
   instead: an approval may let leave what would have left without the hold, and no more. It takes as many focal points
   as the strictest `hold` that fired asks for.
8. Before any rule: no valid rulebook, no pairing, an unlawful purpose or an immigration unit make it INVISIBLE. After
   all rules: what concerns a subject exposed to persecution is HELD_SILENTLY from the state of origin. That is a hold
   too, which one focal point may lift where no rule asks for two.
"""

from typing import Final, NamedTuple

from node.policy.decision import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, PENDING, Decision, Grant
from node.policy.evaluate import (
    EXISTENCE,
    REFERENCE,
    WITHHOLD,
    LayerResult,
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
from node.wire import codes_pb2

_ASYLUM: Final = codes_pb2.DATA_CATEGORY_ASYLUM
# The other kinds of red lines compare situations, or are no function of one: proofs and tests hold those.
_ON_LEAVING: Final = ("never_release", "never_without_approval")
_UNLESS_HELD: Final = ("never_release",)


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
    if floor is None or release is None or refusals(floor, release, facts, now_us):
        return Decision(INVISIBLE, _withheld(facts), (), (), (), 0, ())
    return _decide(floor, release, facts, accepted, approved=False)


def decide_approved(
    floor: Rulebook | None,
    release: Rulebook | None,
    facts: Facts,
    accepted: frozenset[Obligation],
    now_us: int,
) -> Decision:
    """Decide what leaves of one entry once focal points approve it: ENTRY or HIT at the most, else INVISIBLE.

    Nothing that is held is in it beyond what the rules would have let leave had no `hold` fired; what a denial, a limit
    or a red line keeps back, no approval lets leave. The arguments are those of `decide`.
    """
    if floor is None or release is None or refusals(floor, release, facts, now_us):
        return Decision(INVISIBLE, _withheld(facts), (), (), (), 0, (), 1)
    return _decide(floor, release, facts, accepted, approved=True)


def refusals(floor: Rulebook | None, release: Rulebook | None, facts: Facts, now_us: int) -> list[str]:
    """What no rulebook can permit, whatever it says, in words for `node.policy.explain`: checked before any rule."""
    found = []
    if facts.paired != "YES":
        found.append("no-pairing")
    if facts.unit_type in {"IMMIGRATION", UNKNOWN}:
        found.append("unit-type")
    if facts.purpose in NEVER_LAWFUL or facts.purpose == UNKNOWN:
        found.append("purpose")
    if facts.kind not in CATEGORIES_BY_KIND:
        found.append("kind")
    if floor is None or floor.layer != "floor" or not floor.is_valid_at(now_us):
        found.append("no-floor")
    if release is None or release.layer != "release" or not release.is_valid_at(now_us):
        found.append("no-release-rulebook")
    return found


def is_held_silently(facts: Facts) -> bool:
    """Whether a state of origin asks about somebody whose work or views may expose them to persecution by it.

    UNKNOWN counts as exposed and as the origin. Things that such a person uses or owns have the same facts.
    """
    return facts.exposure not in {"NONE", NOT_APPLICABLE} and facts.recipient_is_origin in {"IS_ORIGIN", UNKNOWN}


class Weighed(NamedTuple):
    """What both rulebooks say together.

    Attributes:
        layers: Floor and release.
        levels: For each category of this kind of entry, red lines applied.
        crossed: Red lines that the rules would have crossed, each with the categories that it withholds.
        held: A rule of either lets a focal point decide.
    """

    layers: tuple[LayerResult, LayerResult]
    levels: dict[Category, Outcome]
    crossed: list[tuple[RedLine, list[Category]]]
    held: bool


def weigh(
    floor: Rulebook, release: Rulebook, facts: Facts, accepted: frozenset[Obligation], *, approved: bool = False
) -> Weighed:
    """Join the layers, then let red lines withhold what would cross them; both rulebooks are in force.

    `approved` tells that a focal point lifts what is held in silence.
    """
    layers = (evaluate_layer(floor, facts, accepted), evaluate_layer(release, facts, accepted))
    exposed = is_held_silently(facts)
    held = any(layer.held for layer in layers) or (approved and exposed)
    levels = dict.fromkeys(layers[0].limits, WITHHOLD)
    for category in layers[0].grants.keys() & layers[1].grants.keys():
        levels[category] = _first(category, layers)
    if _ASYLUM in levels:
        levels[_ASYLUM] = WITHHOLD  # to no peer: 8 CFR 208.6 covers third parties generally
    denied = any(layer.denied for layer in layers) or (exposed and not approved)
    if denied or levels[EXISTENCE] == WITHHOLD:
        levels = dict.fromkeys(levels, WITHHOLD)
    crossed = []
    for line in (*floor.red_lines, *release.red_lines):
        if line.kind not in (_UNLESS_HELD if held else _ON_LEAVING) or not is_met(line.when, facts, unknown=True):
            continue
        over = [each for each in levels.keys() & line.data if join(levels[each], line.at_most) != levels[each]]
        if over:
            crossed.append((line, over))
            levels.update({each: join(levels[each], line.at_most) for each in over})
    return Weighed(layers, levels, crossed, held)


def _first(category: Category, layers: tuple[LayerResult, LayerResult]) -> Outcome:
    """The first of what both layers grant of a category, capped; who granted it is noted in the layers."""
    limit = join(layers[0].limits[category], layers[1].limits[category])
    results = [
        (join(limit, join(below, above)), (floor_rule, release_rule))
        for below, floor_rule in layers[0].grants[category]
        for above, release_rule in layers[1].grants[category]
    ]
    best = min(level for level, _ in results)
    if best != WITHHOLD:
        first = [rule for level, rules in results if level == best for rule in rules]
        for layer in layers:
            layer.granting[category] = [rule for rule in layer.fired if any(rule is each for each in first)]
    return best


def _decide(
    floor: Rulebook, release: Rulebook, facts: Facts, accepted: frozenset[Obligation], *, approved: bool
) -> Decision:
    layers, levels, lines, held = weigh(floor, release, facts, accepted, approved=approved)
    crossed = tuple(line.id for line, _ in lines)
    fired = tuple(rule.id for layer in layers for rule in layer.fired)
    asked = max((rule.approvals for layer in layers for rule in layer.fired), default=0)
    if approved:
        asked, held = max(asked, 1), False
    elif held or is_held_silently(facts):
        asked, held = max(asked, 1), True
    if levels[EXISTENCE] == WITHHOLD:
        return Decision(HELD_SILENTLY if held else INVISIBLE, _withheld(facts), (), fired, (), 0, crossed, asked)

    own = CATEGORIES_BY_KIND[facts.kind]
    outcome = ENTRY if any(levels[category] != WITHHOLD for category in own) else HIT
    if outcome == HIT:
        levels = {each: level if each in {EXISTENCE, REFERENCE} else WITHHOLD for each, level in levels.items()}
    if held:
        return Decision(PENDING, tuple(sorted(levels.items())), (), fired, (), 0, crossed, asked)
    told = {EXISTENCE} if outcome == HIT else levels.keys() - {EXISTENCE, REFERENCE}
    return Decision(
        outcome,
        tuple(sorted(levels.items())),
        _granted(layers, {category: levels[category] for category in told if levels[category] != WITHHOLD}),
        fired,
        tuple(sorted(frozenset().union(*(layer.obligations for layer in layers)))),
        min((layer.retention_days for layer in layers if layer.retention_days), default=0),
        crossed,
        asked,
    )


def _granted(layers: tuple[LayerResult, LayerResult], levels: dict[Category, Outcome]) -> tuple[Grant, ...]:
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
