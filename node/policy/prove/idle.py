"""Rules that do nothing: what can never be met, and grants that other rules make anyway."""

from collections.abc import Iterator
from typing import Literal

import msgspec
import z3

from node.policy.prove.model import EXISTENCE
from node.policy.prove.ranges import solution
from node.policy.prove.search import Search
from node.policy.rules import Layer, Place, Rule, Rulebook

Why = Literal[
    "never fires",
    "fires only where the node itself refuses",
    "lets nothing leave that would not leave without it",
]


class Idle(msgspec.Struct, frozen=True):
    """A rule that does nothing.

    Attributes:
        place: Where it stands in its text.
        because: Of one that never fires, the dimensions whose conditions can't all be met; "unless" among them where
            the exceptions leave nothing of the rest.
    """

    layer: Layer
    rule: str
    place: Place
    why: Why
    because: tuple[str, ...] = ()


def never_firing(book: Rulebook) -> tuple[Idle, ...]:
    """Rules of one rulebook, of any layer, whose conditions are met in no situation.

    Raises:
        ProverError: the solver gave up.
    """
    search = Search(None, book)
    return tuple(
        Idle(book.layer, rule.id, rule.place, "never fires", _conflict(search, rule))
        for rule in book.rules
        if not _can_be(search, search.model.applies(rule))
    )


def idle_rules(floor: Rulebook | None, release: Rulebook | None) -> tuple[Idle, ...]:
    """Rules of both rulebooks that do nothing; None stands for whatever that layer may say.

    Of what leaves without an `allow` only levels count: one that brings an obligation along may still be meant.

    Raises:
        ProverError: the solver gave up.
    """
    search = Search(floor, release)
    return tuple(idle for book in (floor, release) if book for idle in _idle(search, book))


def _idle(search: Search, book: Rulebook) -> Iterator[Idle]:
    model = search.model
    decided = z3.Not(z3.Or(model.refused, model.silent))
    for rule in book.rules:
        if not _can_be(search, model.applies(rule)):
            yield Idle(book.layer, rule.id, rule.place, "never fires", _conflict(search, rule))
        elif not _can_be(search, model.applies(rule), decided):
            yield Idle(book.layer, rule.id, rule.place, "fires only where the node itself refuses")
        elif rule.effect == "allow" and not _can_be(search, model.leaves(EXISTENCE), model.gains(book.layer, rule)):
            yield Idle(book.layer, rule.id, rule.place, "lets nothing leave that would not leave without it")


def _can_be(search: Search, *claims: z3.BoolRef) -> bool:
    return solution(search.solver, *claims) is not None


def _conflict(search: Search, rule: Rule) -> tuple[str, ...]:
    """The fewest conditions of a rule that can't all be met: leave out one after the other that is not needed."""
    restricts = rule.effect != "allow"
    met = search.model.met
    parts = [(each.dimension, met((each,), unknown=restricts)) for each in rule.when]
    parts += [("unless", z3.Not(met(exception, unknown=not restricts))) for exception in rule.unless]
    for part in list(parts):
        others = [each for each in parts if each is not part]
        if not _can_be(search, *[claim for _, claim in others]):
            parts = others
    return tuple(dict.fromkeys(name for name, _ in parts))
