"""A state machine that is data: which event takes which state where, and who may cause it.

A workflow is a table. Nothing beside the table decides what may happen next; the drawing in the documentation and the
tests, which try every event in every state, are made from the table too.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from node.errors import WorkflowError


class Row(NamedTuple):
    """In one of these states, this event, caused by one of these actors, leads to that state; empty: it stays."""

    states: Sequence[str]
    event: str
    actors: Sequence[str]
    to: str
    note: str = ""  # for people


class Machine:
    """One workflow, as one side of it sees it."""

    def __init__(self, name: str, title: str, *, start: str, rows: Iterable[Row]) -> None:
        """Read the table; states, events and actors are those that it names, in its order.

        Raises:
            ValueError: one event of one actor leads from one state to two, or nothing leads to a state: a mistake in
                the table, found when the module is imported.
        """
        self.name = name
        self.title = title
        self.start = start
        self.rows = tuple(rows)
        self._after: dict[tuple[str, str, str], str] = {}
        states = {start: None}
        for row in self.rows:
            for state in row.states:
                states.setdefault(state)
                for actor in row.actors:
                    if (state, row.event, actor) in self._after:
                        raise ValueError(f"{name}: {row.event} by {actor} leads from {state} to two states")
                    self._after[state, row.event, actor] = row.to or state
            if row.to:
                states.setdefault(row.to)
        self.states = tuple(states)
        self.events = tuple(dict.fromkeys(row.event for row in self.rows))
        self.actors = tuple(dict.fromkeys(actor for row in self.rows for actor in row.actors))
        unreached = set(self.states) - {start} - {row.to for row in self.rows}
        if unreached:
            raise ValueError(f"{name}: nothing leads to {', '.join(sorted(unreached))}")

    def after(self, state: str, event: str, actor: str) -> str:
        """Return the state that an event leads to.

        Raises:
            WorkflowError: the table has no such row; the text says what this actor may do instead.
        """
        to = self._after.get((state, event, actor))
        if to is None:
            others = self.allowed(state, actor)
            instead = f"{actor} may {' or '.join(others)}" if others else f"{actor} can do nothing about it"
            raise WorkflowError(f"a {self.name} that is {state} can't be {event}: {instead}")
        return to

    def allowed(self, state: str, actor: str) -> tuple[str, ...]:
        """Return the events that an actor may cause in a state, in the order of the table."""
        return tuple(event for event in self.events if (state, event, actor) in self._after)

    def is_final(self, state: str) -> bool:
        """Tell whether nothing leads from a state to another."""
        return all(to == state for (before, _, _), to in self._after.items() if before == state)
