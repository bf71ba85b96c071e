"""Which facts that nobody has recorded keep an entry from being seen, where nothing that is recorded does.

UNKNOWN never helps release. For a life that is a price: the owner is to determine such a fact while it still helps.
"""

from collections.abc import Iterator
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from node.policy.decide import ENTRY, HIT, PENDING, Policy
from node.policy.facts import UNKNOWN_AGE, VICTIM_ROLES, Facts
from node.policy.vocabulary import AGE_BOUNDS, DIMENSIONS, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

_Value: TypeAlias = str | int | frozenset[str]
_Changes: TypeAlias = dict[str, _Value]

HARMLESS: Final["Mapping[str, str | int]"] = MappingProxyType(
    {
        "record_age": AGE_BOUNDS[0],
        "handling": "H0",
        "victim": "NO",
        "minor": "IS_ADULT",
        "asylum": "NONE",
        "witness": "NO",
        "exposure": "NONE",
        "stateless": "NO",
        "recipient_is_origin": "NOT_ORIGIN",
        "torture_derived": "NO",
    }
)
"""What would be found, of a fact that is UNKNOWN, where there is nothing to protect."""

UNDETERMINED: Final = ("role", "record_crime")
"""What an entry is about has no harmless value, so each one counts that may be found."""

# An unknown caveat is one that this node does not understand: without it, those that it understands are left. An
# unknown kind of entry is refused before any rule, and no officer determines it.
_LEFT_OUT: Final = "caveat"
_VISIBLE: Final = frozenset({ENTRY, HIT, PENDING})


def blocked_by_unknown(policy: Policy, facts: Facts, now_us: int) -> frozenset[str]:
    """Dimensions of the entry and its subject whose UNKNOWN alone keeps it from being visible; empty where none does.

    They are a smallest set in this sense: with all of them found harmless, something would be visible; with one of them
    left UNKNOWN, nothing. There may be another such set, of other dimensions. As few as possible of those that say what
    the entry is about are in it. A consent that counts for an adult alone is not taken into account: facts don't tell
    that there is one.

    Args:
        policy: That answers the recipient.
        facts: The situation.
        now_us: UTC microseconds.
    """

    def is_visible(changes: _Changes) -> bool:
        # What is recorded as having this role is a victim: `node.policy.facts.victim_fact`.
        role = changes.get("role")
        victim = {"victim": "YES"} if isinstance(role, frozenset) and role & VICTIM_ROLES else {}
        return policy.decide(msgspec.structs.replace(facts, **{**changes, **victim}), now_us).outcome in _VISIBLE

    harmless = _harmless(facts)
    if is_visible({}):
        return frozenset()
    for found in _possible(facts):
        changes = {**harmless, **found}
        if not is_visible(changes):
            continue
        for name in tuple(changes):
            fewer = {other: value for other, value in changes.items() if other != name}
            if is_visible(fewer):
                changes = fewer
        return frozenset(changes)
    return frozenset()


def _harmless(facts: Facts) -> _Changes:
    """The harmless value of every fact that is UNKNOWN and has one."""
    found: _Changes = {
        name: value for name, value in HARMLESS.items() if getattr(facts, name) in {UNKNOWN, UNKNOWN_AGE}
    }
    if UNKNOWN in facts.caveat:
        found[_LEFT_OUT] = facts.caveat - {UNKNOWN}
    return found


def _possible(facts: Facts) -> Iterator[_Changes]:
    """Yield what may be found of the facts that have no harmless value, those first that leave most as it is."""
    choices: list[tuple[tuple[str, _Value | None], ...]] = []
    for name in UNDETERMINED:
        known: frozenset[str] = getattr(facts, name)
        options: list[_Value | None] = [None]
        if UNKNOWN in known:
            rest = known - {UNKNOWN}
            options += [rest] if rest else []
            options += [rest | {word} for word in DIMENSIONS[name].values if word in _words(name) - known]
        choices.append(tuple((name, option) for option in options))
    picked = [{name: value for name, value in pick if value is not None} for pick in product(*choices)]
    yield from sorted(picked, key=len)


def _words(name: str) -> frozenset[str]:
    return frozenset(DIMENSIONS[name].values) - {UNKNOWN, "NOT_APPLICABLE"}
