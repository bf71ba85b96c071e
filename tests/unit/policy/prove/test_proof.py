"""Verdicts against the evaluator, on any rulebooks; and what is signed of them."""

import ast
import itertools
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from node.errors import ProverError, UsageError
from node.policy import prove as prover
from node.policy.evaluate import RELEASE, categories_of, is_met
from node.policy.facts import Facts
from node.policy.prove.proof import Proof, prove
from node.policy.prove.ranges import new_solver, solution
from node.policy.prove.replay import Replay
from node.policy.prove.search import Counterexample
from node.policy.prove.variables import Variables
from node.policy.reference import decide, is_held_silently, refusals
from node.policy.rules import RedLine
from node.policy.vocabulary import DIMENSIONS, OBLIGATION_NUMBERS, vocabulary_digest
from tests.unit.policy.books import FROM_US, book_of, red_lines, rulebooks, rules, situations
from tests.unit.policy.situations import ACCEPTED, OPEN, SUSPECT_PHONE, book, but, rule

VARIABLES = Variables([])
SOLVER = new_solver(VARIABLES)
SOLVER.add(VARIABLES.well_formed())


def is_well_formed(facts: Facts) -> bool:
    pins = [variable == value for variable, value in VARIABLES.pinned(facts, OBLIGATION_NUMBERS.values())]
    return solution(SOLVER, *pins) is not None


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_what_the_evaluator_sees_crossed_is_never_proved(data: st.DataObject) -> None:
    floor, release = data.draw(rulebooks("floor", most=5)), data.draw(rulebooks("release", most=5))
    proof = prove(floor, release)  # also replays each counterexample, at many places
    verdicts = {each.line: each.verdict for each in proof.verdicts}
    for _ in range(8):
        facts = data.draw(situations(floor, release))
        if not is_well_formed(facts):
            continue
        for line in (*floor.red_lines, *release.red_lines):
            one, other = (
                msgspec.structs.replace(book, red_lines=(line,) if line in book.red_lines else ())
                for book in (floor, release)
            )
            if verdicts[line.id] == "vacuous":
                assert not is_met(line.when, facts, unknown=True)
            # Crossed before a silent hold is crossed in the evaluator's eyes, but nothing leaves.
            elif decide(one, other, facts, ACCEPTED, FROM_US).red_lines_crossed and not is_held_silently(facts):
                assert verdicts[line.id] == "violated"


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_two_tellings_that_differ_in_their_limits_are_never_proved(data: st.DataObject) -> None:
    limits = data.draw(st.lists(rules("floor", ("limit", "hold")), min_size=1, max_size=4))
    line = msgspec.structs.replace(data.draw(red_lines()), kind="never_lifted_by_assertion")
    floor = book_of([msgspec.structs.replace(each, id=f"F{n}") for n, each in enumerate(limits)], "floor", [line])
    release = book_of([data.draw(rules("release", ("allow",)))])
    (verdict,) = prove(floor, release).verdicts
    replay = Replay(floor, release)
    asserted = [each for each in DIMENSIONS.values() if each.asserted]
    start = data.draw(situations(floor))
    assume(is_well_formed(start))
    tellings = [start]
    for dimension in asserted:
        values = [frozenset({each}) if dimension.many else each for each in dimension.values]
        tellings += [but(start, **{dimension.name: value}) for value in values]
    met = [
        each
        for each in tellings
        if is_met(line.when, each, unknown=True)
        and not is_held_silently(each)
        and not refusals(floor, release, each, FROM_US)
        and is_well_formed(each)
    ]
    for one, other in itertools.pairwise(met):
        differing = [
            each for each in line.data & categories_of(one.kind) if replay.limit(each, one) != replay.limit(each, other)
        ]
        if differing and not (replay.is_held(one) and replay.is_held(other)):
            assert verdict.verdict == "violated"


# --- what is signed --------------------------------------------------------------------------------------------------

LINES = (
    "- {id: R1, title: t, law: l, kind: never_release, data: [IDENTITY], when: {minor: [IS_MINOR]}}\n"
    "- {id: R2, title: t, law: l, kind: structural, test: 'tests/a.py::test_b'}\n"
    "- {id: R3, title: t, law: l, kind: never_without_approval, data: [HEALTH], when: {handling: [H3]}}\n"
    "- {id: R4, title: t, law: l, kind: never_release, data: [EVERYTHING],\n"
    "   when: {minor: [IS_MINOR], consent: [RECORDED_BY_ORIGINATOR]}}\n"
)
ALLOW = rule(id="GT-02", effect="allow", when="{paired: ['YES']}", data="{IDENTITY: release}")


def test_the_text_is_of_both_rulebooks_and_says_each_verdict() -> None:
    floor, release = book(OPEN, layer="floor"), book(ALLOW, red_lines=LINES)
    proof = prove(floor, release)
    assert proof.text().decode() == (
        "enlace red lines v1\n"
        f"vocabulary {vocabulary_digest()}\n"
        f"floor TEST version 1 sha256:{floor.sha256.hex()}\n"
        f"release TEST version 1 sha256:{release.sha256.hex()}\n"
        "release R1 never_release violated\n"
        "release R2 structural structural tests/a.py::test_b\n"
        "release R3 never_without_approval proved\n"
        "release R4 never_release vacuous\n"
    )
    assert not proof.is_kept()
    assert len(proof.sha256()) == 32
    assert prove(floor, release).text() == proof.text()
    assert prove(floor, book(ALLOW, red_lines=LINES.replace("R3", "R5"))).sha256() != proof.sha256()


def test_a_layer_that_may_say_anything_is_named_so() -> None:
    lines = prove(book(OPEN, layer="floor", red_lines=LINES), None).text().decode().splitlines()
    assert lines[3] == "release any"
    assert prove(None, book(ALLOW)).text().decode().splitlines()[2] == "floor any"


def test_a_rulebook_in_the_wrong_place_is_refused() -> None:
    release = book(ALLOW, red_lines=LINES)
    for floor, other in ((release, None), (None, book(OPEN, layer="floor"))):
        with pytest.raises(UsageError, match="floor and a release"):
            prove(floor, other)


# --- prover and evaluator --------------------------------------------------------------------------------------------


def crossed(proof: Proof) -> tuple[RedLine, Counterexample]:
    assert proof.release
    found = proof.verdicts[0].counterexample
    assert found is not None
    return proof.release.red_lines[0], found


def test_a_counterexample_that_the_evaluator_does_not_share_is_not_shown() -> None:
    """As where the model is built from one rulebook, and the evaluator decides by another."""
    floor, release = book(OPEN, layer="floor"), book(ALLOW, red_lines=LINES)
    line, found = crossed(prove(floor, release))
    category = found.categories[0]
    Replay(floor, release).verify_crossing(line, category, RELEASE, found.facts, found.accepted)
    guarded = book(ALLOW + rule(effect="deny", when="{minor: [IS_MINOR]}"))
    with pytest.raises(ProverError, match="prover and evaluator disagree"):
        Replay(floor, guarded).verify_crossing(line, category, RELEASE, found.facts, found.accepted)
    with pytest.raises(ProverError, match="prover and evaluator disagree"):
        Replay(floor, release).verify_crossing(line, category, RELEASE, but(found.facts, paired="NO"), found.accepted)


def test_a_lifting_that_the_evaluator_does_not_share_is_not_shown() -> None:
    line = msgspec.structs.replace(book(ALLOW, red_lines=LINES).red_lines[0], kind="never_lifted_by_assertion")
    with pytest.raises(ProverError, match="prover and evaluator disagree"):
        Replay(book(OPEN, layer="floor"), book(ALLOW)).verify_lifting(
            line, min(line.data), SUSPECT_PHONE, but(purpose="TREND")
        )


@pytest.mark.parametrize("module", ["model", "variables"])
def test_the_model_is_built_from_the_rulebook_alone(module: str) -> None:
    """Prover and evaluators share words and numbers, and no line that says what a rule means."""
    tree = ast.parse((Path(prover.__file__).parent / f"{module}.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {each for each in imported if each and each.startswith("node.")} <= {
        "node.policy.facts",
        "node.policy.prove.anything",
        "node.policy.prove.variables",
        "node.policy.rules",
        "node.policy.vocabulary",
        "node.schema",
        "node.wire",
    }


def test_a_node_that_serves_loads_no_solver() -> None:
    code = "import sys, node.main, node.cli.serving; assert 'z3' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
