"""Why an entry leaves, or does not, for the operator of this node alone."""

from collections.abc import Collection
from typing import Final

import msgspec

from node.policy.evaluate import EXISTENCE, RELEASE, WITHHOLD, LayerResult, categories_of, grants_of
from node.policy.facts import Facts
from node.policy.reference import is_held_silently, refusals, weigh
from node.policy.rules import Layer, Rule, Rulebook
from node.policy.vocabulary import Category, Obligation, Outcome
from node.wire import codes_pb2

_ASYLUM: Final = codes_pb2.DATA_CATEGORY_ASYLUM
_REFUSALS: Final = {
    "no-pairing": ("two focal points have not signed the pairing with this country", ""),
    "unit-type": ("nothing leaves for immigration enforcement", "1951 Convention art. 33"),
    "purpose": ("this purpose is never lawful here", "1951 Convention art. 33"),
    "kind": ("this node does not know this kind of entry", ""),
    "no-floor": ("no multilateral floor is in force", ""),
    "no-release-rulebook": ("no release rulebook is in force", ""),
}


class Reason(msgspec.Struct, frozen=True):
    """For the operator: what kept a category from leaving whole, and under which law. Never leaves the country.

    Attributes:
        layer: Of the rulebook; empty where the node itself forbids.
        rule: Its id; empty where the reason is that no rule grants.
        category: EXISTENCE where the whole entry is denied.
        outcome: The cap that the rule sets.
    """

    layer: str
    rule: str
    title: str
    law: str
    category: Category
    outcome: Outcome


def reasons(
    floor: Rulebook | None,
    release: Rulebook | None,
    facts: Facts,
    accepted: frozenset[Obligation],
    now_us: int,
) -> tuple[Reason, ...]:
    """Say what kept anything of an entry from leaving whole; the arguments are those of `reference.decide`."""
    refused = refusals(floor, release, facts, now_us)
    if floor is None or release is None or refused:
        return tuple(Reason("", each, *_REFUSALS[each], EXISTENCE, WITHHOLD) for each in refused)
    weighed = weigh(floor, release, facts, accepted)
    why = []
    for book, layer in zip((floor, release), weighed.layers, strict=True):
        why += _of_layer(book, layer, facts.kind, accepted)
    if _ASYLUM in weighed.levels:
        why.append(Reason("", "asylum", "data on asylum goes to no peer", "8 CFR 208.6", _ASYLUM, WITHHOLD))
    for line, over in weighed.crossed:
        why += [Reason("", line.id, line.titles["en"], line.law, each, WITHHOLD) for each in sorted(over)]
    if is_held_silently(facts):
        title = "the state of origin asks about somebody exposed to it"
        why.append(Reason("", "silent-hold", title, "", EXISTENCE, WITHHOLD))
    return tuple(why)


def _of_layer(book: Rulebook, layer: LayerResult, kind: str, accepted: frozenset[Obligation]) -> list[Reason]:
    categories = categories_of(kind)
    why = [_unaccepted(book.layer, rule, rule.obligations - accepted) for rule in layer.unaccepted]
    for rule in layer.fired:
        if rule.effect != "allow":
            why += _restriction(book.layer, rule, categories)
    return why + _ungranted(book, categories - grants_of(layer.fired, kind).keys())


def _restriction(layer: Layer, rule: Rule, categories: frozenset[Category]) -> list[Reason]:
    if rule.effect == "deny":
        return [Reason(layer, rule.id, rule.titles["en"], rule.law, EXISTENCE, WITHHOLD)]
    if rule.effect == "hold":
        return [Reason(layer, rule.id, f"{rule.titles['en']}: a focal point decides", rule.law, EXISTENCE, RELEASE)]
    return [
        Reason(layer, rule.id, rule.titles["en"], rule.law, category, rule.data[category])
        for category in sorted(categories & rule.data.keys())
    ]


def _unaccepted(layer: Layer, rule: Rule, missing: frozenset[Obligation]) -> Reason:
    names = ", ".join(codes_pb2.Obligation.Name(each).removeprefix("OBLIGATION_") for each in sorted(missing))
    title = f"{rule.titles['en']}: the recipient has not accepted {names}"
    return Reason(layer, rule.id, title, rule.law, EXISTENCE, WITHHOLD)


def _ungranted(book: Rulebook, categories: Collection[Category]) -> list[Reason]:
    title = f"no rule of {book.name} grants it"
    return [Reason(book.layer, "", title, "", category, WITHHOLD) for category in sorted(categories)]
