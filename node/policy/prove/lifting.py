"""Where what the asker merely asserts lifts a limit (a declared purpose unlocks victims)."""

from itertools import chain

import z3

from node.policy.prove import words
from node.policy.prove.model import LEVELS, Model, is_at_most
from node.policy.prove.ranges import solution
from node.policy.prove.search import Counterexample, Search, is_true, most_telling
from node.policy.prove.variables import ASSERTED
from node.policy.rules import RedLine, Rule
from node.policy.vocabulary import Category, Outcome


def find_lifting(search: Search, line: RedLine) -> Counterexample | None:
    """Look for two tellings of a situation whose limits on data of the line differ; None: there are none.

    The tellings differ in what the asker asserts alone. Nothing is lifted where the node itself lets nothing leave,
    whatever the rules say, nor where a focal point decides in both.

    Raises:
        ProverError: the solver gave up, or it and the evaluator disagree.
    """
    limited, lifted = search.model, search.retold
    base = z3.And(
        search.met(line.when, limited),
        search.met(line.when, lifted),
        z3.Not(z3.Or(limited.refused, lifted.refused, limited.silent)),
        z3.Not(z3.And(limited.held, lifted.held)),
    )
    # Which telling is called the limited one is free, so it is enough to look for a limit in the first alone.
    lifts = {category: search.any_of([_lifts(search, category, g) for g in LEVELS]) for category in sorted(line.data)}
    claim = z3.And(base, search.any_of(lifts.values()))
    if solution(search.solver, claim) is None:
        return None
    found = search.plainest(claim)
    category = most_telling([each for each, claim in lifts.items() if is_true(found, claim)])
    level = next(g for g in LEVELS if solution(search.solver, base, _lifts(search, category, g)) is not None)
    found = search.plainest(z3.And(base, _lifts(search, category, level)))
    rule = _limiting(limited, category, level, found)
    facts, accepted = search.variables.situation_of(found)
    retold, _ = lifted.variables.situation_of(found)
    search.replay.verify_lifting(line, category, facts, retold)

    widening = search.widening(limited, lifted)
    claim = z3.And(base, limited.is_of_kind(category), limited.fires(rule), lifted.limited(category, level))
    box = widening.box(claim, found)
    for sample in widening.samples(box):
        one, other = (model.variables.situation_of(sample)[0] for model in (limited, lifted))
        search.replay.verify_lifting(line, category, one, other)
    others = [each for each in lifts if each != category and widening.is_throughout(lifts[each], box)]
    recorded = {name: each for name, each in box[0].items() if name not in ASSERTED}
    asserted = {name: each for name, each in box[0].items() if name in ASSERTED}
    return Counterexample(
        sentence=f"{words.asking(recorded, search.variables)} would lift the limit of rule {rule.id} on "
        f"{words.data([category], LEVELS[0])}{words.beside(others)} by asserting {words.saying(box[1])} "
        f"instead of {words.saying(asserted)}",
        facts=facts,
        retold=retold,
        accepted=accepted,
        box=box,
        categories=(category, *others),
        rules=(rule.id,),
    )


def _lifts(search: Search, category: Category, level: Outcome) -> z3.BoolRef:
    """Whether limits keep a category stricter than a level in the first telling, and not in the other."""
    return z3.And(
        search.model.is_of_kind(category),
        z3.Not(search.model.limited(category, level)),
        search.retold.limited(category, level),
    )


def _limiting(model: Model, category: Category, level: Outcome, found: z3.ModelRef) -> Rule:
    """The first limit that keeps a category stricter than a level."""
    rules = chain(model.floor.rules, model.release.rules)
    over = (rule for rule in rules if category in rule.data and rule.effect == "limit")
    return next(r for r in over if not is_at_most(r.data[category], level) and is_true(found, model.fires(r)))
