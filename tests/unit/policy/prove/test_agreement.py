"""The prover's model and the reference evaluator, written apart, say the same of any rulebooks and situation."""

from typing import Any

import msgspec
import z3
from hypothesis import given, settings
from hypothesis import strategies as st

from node.policy.evaluate import is_firing, join
from node.policy.facts import Facts
from node.policy.prove.model import LEVELS, Model, build_model
from node.policy.prove.ranges import new_solver
from node.policy.reference import decide
from node.policy.rules import Rulebook
from node.policy.vocabulary import CATEGORY_NUMBERS, OBLIGATION_NUMBERS, OBLIGATIONS, Obligation
from node.wire import ledger_pb2
from tests.unit.policy.books import FROM_US, acceptances, rulebooks, situations
from tests.unit.policy.situations import but

OUTCOMES = [each for each in ledger_pb2.EntryOutcome.values() if each not in {0, ledger_pb2.ENTRY_OUTCOME_NEXT_PAGE}]
TOLD = {ledger_pb2.ENTRY_OUTCOME_ENTRY, ledger_pb2.ENTRY_OUTCOME_HIT}


class Answers:
    """What a model says of single situations: every expression named, so that one solution answers all of them."""

    def __init__(self, model: Model) -> None:
        self.variables = model.variables
        self.solver = new_solver(self.variables)
        self.named: dict[Any, z3.BoolRef] = {}
        for category in CATEGORY_NUMBERS.values():
            for level in LEVELS:
                self.name(("leaves", category, level), model.leaves(category, level))
        for outcome in OUTCOMES:
            self.name(("outcome", outcome), model.outcome(outcome))
        for book in (model.floor, model.release):
            for each in book.rules:
                self.name(("fires", book.layer, each.id), model.fires(each))
        for obligation in OBLIGATION_NUMBERS.values():
            self.name(("owes", obligation), model.owes(obligation))
        for days in (30, 90, 365):
            self.name(("retains", days), model.retains(days))
        self.name("held", model.held)
        self.name("denied", model.denied)

    def name(self, key: object, claim: z3.BoolRef) -> None:
        self.named[key] = z3.Bool(str(key), self.variables.context)
        self.solver.add(self.named[key] == claim)

    def of(self, facts: Facts, accepted: frozenset[Obligation]) -> set[Any]:
        """Keys of what is true."""
        pins = [
            variable if z3.is_true(value) else z3.Not(variable)
            for variable, value in self.variables.pinned(facts, accepted)
        ]
        assert self.solver.check(*pins) == z3.sat
        found = self.solver.model()
        return {key for key, name in self.named.items() if z3.is_true(found[name])}


def bare(book: Rulebook) -> Rulebook:
    return msgspec.structs.replace(book, red_lines=())


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rulebook, Rulebook, list[tuple[Facts, frozenset[Obligation]]]]:
    floor, release = draw(rulebooks("floor", most=6)), draw(rulebooks("release", most=6))
    several = st.lists(st.tuples(situations(floor, release), acceptances()), min_size=5, max_size=5)
    return floor, release, draw(several)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_model_and_evaluator_agree(case: tuple[Rulebook, Rulebook, list[tuple[Facts, frozenset[Obligation]]]]) -> None:
    floor, release, asked = case
    answers = Answers(build_model(floor, release))
    for facts, accepted in asked:
        said = answers.of(facts, accepted)
        decision = decide(bare(floor), bare(release), facts, accepted, FROM_US)
        assert [each for each in OUTCOMES if ("outcome", each) in said] == [decision.outcome]
        for category in CATEGORY_NUMBERS.values():
            level = decision.level(category)
            at_most = {g for g in LEVELS if ("leaves", category, g) in said}
            assert at_most == {g for g in LEVELS if join(level, g) == g}, category
        for book in (floor, release):
            for rule in book.rules:
                fires = is_firing(rule, facts) and (rule.effect != "allow" or rule.obligations <= accepted)
                assert (("fires", book.layer, rule.id) in said) == fires
        if decision.outcome in TOLD:
            assert [OBLIGATIONS[each] for each in OBLIGATION_NUMBERS.values() if ("owes", each) in said] == [
                OBLIGATIONS[each] for each in decision.obligations
            ]
            kept = [days for days in (30, 90, 365) if ("retains", days) in said]
            assert (kept[0] if kept else 0) == decision.retention_days
        else:
            assert not any(isinstance(key, tuple) and key[0] in {"owes", "retains"} for key in said)


@settings(max_examples=20, deadline=None)
@given(rulebooks("release", most=6), st.data())
def test_a_layer_that_is_not_there_caps_nothing(release: Rulebook, data: st.DataObject) -> None:
    facts, accepted = data.draw(situations(release)), data.draw(acceptances())
    model = build_model(None, release)
    decision = decide(model.floor, bare(release), facts, accepted, FROM_US)
    said = Answers(model).of(facts, accepted)
    assert ("outcome", decision.outcome) in said


def test_a_situation_that_the_solver_found_is_the_one_that_is_pinned() -> None:
    model = build_model(None, None)
    solver = new_solver(model.variables)
    solver.add(model.well_formed)
    assert solver.check() == z3.sat
    found = solver.model()
    facts, accepted = model.variables.situation_of(found)
    for variable, value in model.variables.pinned(facts, accepted):
        assert z3.is_true(found.eval(variable, model_completion=True)) == z3.is_true(value)


def test_a_country_that_no_rule_names_stands_for_all_of_them() -> None:
    variables = build_model(None, None).variables
    for country in ("GT", "JM"):
        present = variables.present(but(recipient=country), frozenset())
        assert {value for name, value in present if name == "recipient"} & {*variables.values["recipient"]} == {
            variables.other
        }
