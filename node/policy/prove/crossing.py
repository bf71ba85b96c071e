"""Where rules let leave what a red line says never leaves, or never without approval."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import z3

from node.policy.prove import words
from node.policy.prove.model import EXISTENCE, crossing
from node.policy.prove.ranges import Range, solution
from node.policy.prove.search import Counterexample, Search, is_true, most_telling
from node.policy.prove.variables import ACCEPTED
from node.policy.rules import Layer, RedLine, Rule
from node.policy.vocabulary import OBLIGATIONS, Category, Outcome


def find_crossing(search: Search, line: RedLine) -> Counterexample | None:
    """Look for a situation in which data of the line leaves; None: there is none.

    Raises:
        ProverError: the solver gave up, or it and the evaluator disagree.
    """
    model = search.model
    base = search.met(line.when)
    if line.kind == "never_without_approval":
        base = z3.And(base, z3.Not(model.held))
    crosses = {category: model.crosses(category, line.at_most) for category in sorted(line.data)}
    claim = z3.And(base, search.any_of(crosses.values()))
    if solution(search.solver, claim) is None:
        return None
    found = search.plainest(claim)
    category = most_telling([each for each, claim in crosses.items() if is_true(found, claim)])
    level, claim = _least_strict(search, base, category, line.at_most)
    found = search.plainest(claim)
    facts, accepted = search.variables.situation_of(found)
    search.replay.verify_crossing(line, category, level, facts, accepted)

    rules = {layer: _granting(search, layer, category, level, found) for layer in model.books}
    widening = search.widening(model)
    box = widening.box(
        z3.And(claim, *[model.grants(layer, rule, category, level) for layer, rule in rules.items()]), found
    )
    for sample in widening.samples(box):
        search.replay.verify_crossing(line, category, level, *search.variables.situation_of(sample))
    others = [each for each in crosses if each != category and widening.is_throughout(crosses[each], box)]
    named = {layer: rule.id for layer, rule in rules.items() if layer in search.given}
    verb = "could be approved to" if is_true(found, model.held) else "would"
    how = " without anybody's approval" if line.kind == "never_without_approval" else ""
    asked, received = words.asking(_told(box[0], rules.values()), search.variables), _receive(category, others, level)
    return Counterexample(
        sentence=f"{asked} {verb} {received}{how}{_by(named)}",
        facts=facts,
        retold=None,
        accepted=accepted,
        box=box,
        categories=(category, *others),
        rules=tuple(named.values()),
    )


def _least_strict(search: Search, base: z3.BoolRef, category: Category, at_most: Outcome) -> tuple[Outcome, z3.BoolRef]:
    """The least strict level at which the category leaves, at once rather than by approval; and that it does."""
    for level in crossing(at_most):
        for held in (z3.Not(search.model.held), search.model.held):
            claim = z3.And(base, held, search.model.leaves(category, level))
            if solution(search.solver, claim) is not None:
                return level, claim
    raise AssertionError("what crosses leaves at some level")


def _granting(search: Search, layer: Layer, category: Category, level: Outcome, found: z3.ModelRef) -> Rule:
    """The first rule that by itself lets the category leave so, where its layer does."""
    allows = [rule for rule in search.model.books[layer].rules if rule.effect == "allow"]
    return next(rule for rule in allows if is_true(found, search.model.grants(layer, rule, category, level)))


def _told(ranges: Mapping[str, Range], rules: Iterable[Rule]) -> dict[str, Range]:
    """Ranges without what goes without saying: that the recipient accepted what the granting rules ask of it."""
    told = dict(ranges)
    if ACCEPTED in told:
        asked = {OBLIGATIONS[each] for rule in rules for each in rule.obligations}
        accepted = msgspec.structs.replace(
            told.pop(ACCEPTED), has=tuple(group for group in ranges[ACCEPTED].has if asked.isdisjoint(group))
        )
        if accepted.has or accepted.lacks:
            told[ACCEPTED] = accepted
    return told


def _receive(category: Category, others: Sequence[Category], level: Outcome) -> str:
    if category == EXISTENCE:
        return "learn that the entry exists"
    return f"receive {words.data([category], level)}{words.beside(others)}"


def _by(rules: Mapping[Layer, str]) -> str:
    if len(rules) > 1:
        return f", by rule {rules['release']} within {rules['floor']} of the floor"
    if "floor" in rules:
        return f", by rule {rules['floor']} of the floor where a country's rules allow it"
    return f", by rule {rules['release']} where the floor allows it"
