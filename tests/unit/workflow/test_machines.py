"""Every machine, every event in every state by everybody: what the table says happens, and nothing else."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from node.errors import WorkflowError
from node.workflow import requests
from node.workflow.machine import Machine, Row
from tools.draw_workflows import machines

ROOT = Path(__file__).resolve().parents[3]
ALL = list(machines())


def expected(machine: Machine, state: str, event: str, actor: str) -> str | None:
    found = [row for row in machine.rows if state in row.states and event == row.event and actor in row.actors]
    assert len(found) <= 1
    return (found[0].to or state) if found else None


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.title)
def test_every_event_in_every_state_by_everybody(machine: Machine) -> None:
    for state, event, actor in itertools.product(machine.states, machine.events, machine.actors):
        to = expected(machine, state, event, actor)
        assert (event in machine.allowed(state, actor)) == (to is not None)
        if to is None:
            with pytest.raises(WorkflowError, match=f"a {machine.name} that is {state} can't be {event}"):
                machine.after(state, event, actor)
        else:
            assert machine.after(state, event, actor) == to


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.title)
def test_every_state_is_reached_and_every_one_leads_to_an_end(machine: Machine) -> None:
    def reached(start: str) -> set[str]:
        found, new = set[str](), {start}
        while new:
            found |= new
            steps = itertools.product(new, machine.events, machine.actors)
            new = {to for step in steps if (to := expected(machine, *step))} - found
        return found

    assert reached(machine.start) == set(machine.states)
    ends = {state for state in machine.states if machine.is_final(state)}
    assert all(reached(state) & ends for state in machine.states if ends)


def test_what_nobody_may_do_names_what_may_be_done() -> None:
    with pytest.raises(WorkflowError, match=r"a second focal point may .*granted or granted in part or refused"):
        requests.DECIDING.after(requests.State.SIGNED, requests.Event.PUT_BACK, requests.Actor.SECOND)
    with pytest.raises(WorkflowError, match="the clock can do nothing about it"):
        requests.DECIDING.after(requests.State.REFUSED, requests.Event.EXPIRE, requests.Actor.CLOCK)


def test_only_another_focal_point_completes_what_one_has_signed() -> None:
    for event in (requests.Event.GRANT, requests.Event.GRANT_PART):
        for actor in requests.Actor:
            may = event in requests.DECIDING.allowed(requests.State.SIGNED, actor)
            assert may == (actor == requests.Actor.SECOND)


def test_nothing_brings_back_what_was_refused_or_has_expired() -> None:
    for state in (requests.State.REFUSED, requests.State.EXPIRED, requests.State.SUPERSEDED):
        assert requests.DECIDING.is_final(state)


@pytest.mark.parametrize(
    ("rows", "mistake"),
    [
        ((Row(("a",), "go", ("me",), "b"), Row(("a",), "go", ("you", "me"), "a")), "go by me leads from a to two"),
        ((Row(("a", "c"), "go", ("me",), "b"),), "nothing leads to c"),
    ],
)
def test_a_table_that_contradicts_itself_is_found_at_once(rows: tuple[Row, ...], mistake: str) -> None:
    with pytest.raises(ValueError, match=mistake):
        Machine("thing", "A thing", start="a", rows=rows)


def test_the_page_is_what_the_tables_say() -> None:
    command = [sys.executable, "-m", "tools.draw_workflows", "--check"]
    ran = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
