"""Any rulebooks, as values and as text, and the situations that their rules are about.

Whatever is made here the parser would accept (`test_compile.py` holds that), so that a law found broken is no artefact.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from node.policy.facts import UNKNOWN_AGE, Facts
from node.policy.rules import (
    Citation,
    Condition,
    Conjunction,
    Effect,
    Layer,
    Place,
    RedLine,
    RedLineKind,
    Rule,
    Rulebook,
)
from node.policy.vocabulary import (
    AGE_BOUNDS,
    CATEGORIES,
    CATEGORY_NUMBERS,
    DIMENSIONS,
    EVERYTHING,
    NOT_APPLICABLE,
    OBLIGATION_NUMBERS,
    OBLIGATIONS,
    OUTCOME_NUMBERS,
    TIER_5,
    UNKNOWN,
    Category,
    Obligation,
    Outcome,
)
from node.wire import codes_pb2
from tests.unit.policy.situations import SUSPECT_PHONE, but

LAW: Final = "an invented law"
FROM_US: Final = 1_767_225_600_000_000  # 2026
UNTIL_US: Final = 1_798_761_600_000_000  # 2027
EFFECTS: Final[tuple[Effect, ...]] = ("allow", "limit", "hold", "deny", "attach")
RECIPIENTS: Final = ("GT", "US", "MX")

_CITATION: Final = Citation(LAW, verified=True, verifier="counsel", date="2026-01-01", text_sha256="0" * 64)
PLACE: Final = Place(1, 1)
_DECLARED: Final = Condition("emergency", frozenset({"DECLARED"}))
_EXISTENCE: Final = codes_pb2.DATA_CATEGORY_EXISTENCE
_RELEASE: Final = codes_pb2.OUTCOME_RELEASE
_WITHHOLD: Final = codes_pb2.OUTCOME_WITHHOLD
_RETENTION: Final = codes_pb2.OBLIGATION_RETENTION
_EVERYTHING: Final = tuple(CATEGORY_NUMBERS.values())
_GRANTABLE: Final = tuple(each for each in _EVERYTHING if each != codes_pb2.DATA_CATEGORY_ASYLUM)
# What a telephone, the situation that most others are near, can hold; so that rules meet.
_FAVOURITES: Final[tuple[Category, ...]] = (
    codes_pb2.DATA_CATEGORY_TELECOM,
    codes_pb2.DATA_CATEGORY_IDENTITY,
    codes_pb2.DATA_CATEGORY_LOCATION,
    _EXISTENCE,
    codes_pb2.DATA_CATEGORY_REFERENCE,
)
_ASKABLE: Final = tuple(name for name in DIMENSIONS if name != "emergency")


# --- conditions ------------------------------------------------------------------------------------------------------


def words_of(name: str) -> tuple[str, ...]:
    """Words of a dimension; of the recipients a few."""
    return (*RECIPIENTS, UNKNOWN) if name == "recipient" else DIMENSIONS[name].values


@st.composite
def conditions(draw: st.DrawFn, name: str, *, may_name_unknown: bool) -> Condition:
    """Any condition on a dimension; every other one holds for a suspect's telephone."""
    if not DIMENSIONS[name].values:
        return Condition(name, at_least=draw(st.sampled_from(AGE_BOUNDS)))
    negated = draw(st.booleans())
    words = [word for word in words_of(name) if word != UNKNOWN or (may_name_unknown and not negated)]
    values = draw(st.sets(st.sampled_from(words), min_size=1, max_size=4))
    usual = getattr(SUSPECT_PHONE, name)
    near = usual if isinstance(usual, frozenset) else {usual}
    if draw(st.booleans()):
        values = (values - near if negated else values | near) - (set() if may_name_unknown else {UNKNOWN})
    return Condition(name, frozenset(values) or frozenset({words[0]}), negated)


@st.composite
def conjunctions(
    draw: st.DrawFn, names: Sequence[str] = _ASKABLE, *, may_name_unknown: bool, least: int = 1, most: int = 3
) -> Conjunction:
    """A few conditions, each on another dimension."""
    found = draw(st.lists(st.sampled_from(names), min_size=least, max_size=most, unique=True))
    return tuple([draw(conditions(name, may_name_unknown=may_name_unknown)) for name in found])


# --- rules and red lines ---------------------------------------------------------------------------------------------


@st.composite
def rules(draw: st.DrawFn, layer: Layer = "release", effects: Sequence[Effect] = EFFECTS, name: str = "X") -> Rule:
    """Any rule that the parser would accept."""
    effect = draw(st.sampled_from(effects))
    restricts = effect != "allow"
    emergency = not restricts and layer == "release" and draw(st.integers(0, 5)) == 0
    when = draw(conjunctions(may_name_unknown=restricts, least=0 if restricts else 1))
    # What the asker says never lifts the protection of a person.
    protects = restricts and any(DIMENSIONS[each.dimension].about == "subject" for each in when)
    recorded = [each for each in _ASKABLE if not protects or DIMENSIONS[each].about != "request"]
    unless = draw(st.lists(conjunctions(recorded, may_name_unknown=not restricts), max_size=2))
    obligations, days = draw(_obligations(effect))
    return Rule(
        id=name,
        titles={"en": "an invented rule"},
        law=LAW,
        effect=effect,
        emergency=emergency,
        when=(*when, _DECLARED) if emergency else when,
        unless=tuple(unless),
        data=draw(_data(effect)),
        obligations=obligations,
        retention_days=days,
        citations=(_CITATION,),
        place=PLACE,
        approvals=draw(st.sampled_from((1, 2))) if effect == "hold" else 0,
    )


@st.composite
def _obligations(draw: st.DrawFn, effect: Effect) -> tuple[frozenset[Obligation], int]:
    if effect == "deny" or (effect != "attach" and draw(st.booleans())):
        return frozenset(), 0
    flags = [each for each in OBLIGATION_NUMBERS.values() if each != _RETENTION]
    found = draw(st.frozensets(st.sampled_from(flags), min_size=1, max_size=2))
    days = draw(st.sampled_from((0, 0, 30, 90, 365)))
    return (found | {_RETENTION}, days) if days else (found, 0)


@st.composite
def _data(draw: st.DrawFn, effect: Effect) -> dict[Category, Outcome]:
    if effect not in {"allow", "limit"}:
        return {}
    excluded = _WITHHOLD if effect == "allow" else _RELEASE
    levels = st.sampled_from([each for each in OUTCOME_NUMBERS.values() if each != excluded])
    if draw(st.integers(0, 4)) == 0:
        level = draw(levels)
        return {each: level for each in _EVERYTHING if effect != "allow" or each not in TIER_5}
    categories = st.sampled_from(_FAVOURITES) | st.sampled_from(_GRANTABLE if effect == "allow" else _EVERYTHING)
    found = draw(st.dictionaries(categories, levels, min_size=1, max_size=4))
    if _EXISTENCE in found:
        found[_EXISTENCE] = _RELEASE if effect == "allow" else _WITHHOLD
    return found


@st.composite
def red_lines(draw: st.DrawFn, name: str = "R") -> RedLine:
    """Any red line on what leaves."""
    kinds: tuple[RedLineKind, ...] = ("never_release", "never_without_approval")
    data = st.just(_EVERYTHING) | st.lists(st.sampled_from(_FAVOURITES) | st.sampled_from(_EVERYTHING), min_size=1)
    at_most = draw(st.sampled_from([each for each in OUTCOME_NUMBERS.values() if each != _RELEASE]))
    named = draw(data)
    return RedLine(
        id=name,
        titles={"en": "an invented red line"},
        law=LAW,
        kind=draw(st.sampled_from(kinds)),
        when=draw(conjunctions(may_name_unknown=True)),
        data=frozenset(named),
        at_most=_WITHHOLD if _EXISTENCE in named else at_most,
        test="",
        place=PLACE,
    )


def without(book: Rulebook, level: Outcome, instead: Outcome) -> Rulebook:
    """The same rulebook, but no rule grants or caps at a level."""
    return msgspec.structs.replace(
        book,
        rules=tuple(
            msgspec.structs.replace(
                each, data={category: instead if old == level else old for category, old in each.data.items()}
            )
            for each in book.rules
        ),
    )


def book_of(rules: Sequence[Rule], layer: Layer = "release", lines: Sequence[RedLine] = ()) -> Rulebook:
    """A rulebook with these rules and red lines, in force in 2026."""
    return Rulebook(
        name=f"INVENTED-{layer}",
        version=1,
        layer=layer,
        country="" if layer == "floor" else "MX",
        valid_from_us=FROM_US,
        valid_until_us=UNTIL_US,
        illustration=True,
        vocabulary="",
        rules=tuple(rules),
        red_lines=tuple(lines),
        sha256=b"\x00" * 32,
    )


@st.composite
def rulebooks(
    draw: st.DrawFn, layer: Layer = "release", *, effects: Sequence[Effect] = EFFECTS, most: int = 12, lines: int = 3
) -> Rulebook:
    """Any rulebook of 1 to `most` rules and up to `lines` red lines, half of whose rules allow."""
    initial = layer[0].upper()
    found = [
        draw(rules(layer, ("allow",) if "allow" in effects and draw(st.booleans()) else effects, f"{initial}{number}"))
        for number in range(draw(st.integers(1, most)))
    ]
    crossing = [draw(red_lines(f"{initial}R{number}")) for number in range(draw(st.integers(0, lines)))]
    return book_of(found, layer, crossing)


def acceptances() -> st.SearchStrategy[frozenset[Obligation]]:
    """What a recipient may have accepted; mostly all of it."""
    everything = frozenset(OBLIGATION_NUMBERS.values())
    return st.just(everything) | st.frozensets(st.sampled_from(sorted(everything)))


# --- situations ------------------------------------------------------------------------------------------------------


def facts_of(name: str) -> st.SearchStrategy[Any]:
    """Any value that a fact may have, sensible beside others or not."""
    dimension = DIMENSIONS[name]
    if not dimension.values:
        return st.sampled_from((UNKNOWN_AGE, *AGE_BOUNDS))
    if dimension.many:
        return st.frozensets(st.sampled_from(dimension.values), max_size=3)
    return st.sampled_from(words_of(name))


@st.composite
def situations(draw: st.DrawFn, *books: Rulebook) -> Facts:
    """A situation near a suspect's telephone, in which one of the rules may fire, or hardly misses."""
    changed: dict[str, Any] = {}
    boxes = [rule.when for book in books for rule in book.rules] + [
        line.when for book in books for line in book.red_lines
    ]
    exceptions = [each for book in books for rule in book.rules for each in rule.unless]
    if draw(st.booleans()):
        for condition in draw(st.sampled_from(boxes or [()])):
            changed[condition.dimension] = draw(_meeting(condition))
    asked = [condition for box in boxes + exceptions for condition in box]
    if asked:
        for condition in draw(st.lists(st.sampled_from(asked), max_size=3)):
            changed[condition.dimension] = draw(facts_of(condition.dimension) | _meeting(condition))
    for name in draw(st.lists(st.sampled_from(tuple(DIMENSIONS)), max_size=4)):
        changed[name] = draw(facts_of(name))
    return but(**changed)


def _meeting(condition: Condition) -> st.SearchStrategy[Any]:
    """Values that meet a condition, or UNKNOWN where there is such a word."""
    if condition.at_least is not None:
        return st.sampled_from([UNKNOWN_AGE, *(each for each in AGE_BOUNDS if each >= condition.at_least)])
    words = words_of(condition.dimension)
    meeting = [each for each in words if (each in condition.values) != condition.negated] or [words[-1]]
    if UNKNOWN in words:
        meeting.append(UNKNOWN)
    if DIMENSIONS[condition.dimension].many:
        return st.frozensets(st.sampled_from(meeting), min_size=1, max_size=2)
    return st.sampled_from(meeting)


def forgotten(facts: Facts, name: str) -> Facts:
    """The same situation, but one fact is not known; the same where such a fact can't be unknown."""
    dimension = DIMENSIONS[name]
    if not dimension.values:
        return but(facts, **{name: UNKNOWN_AGE})
    if UNKNOWN not in dimension.values:
        return facts
    value = getattr(facts, name)
    return but(facts, **{name: (value - {NOT_APPLICABLE}) | {UNKNOWN} if dimension.many else UNKNOWN})


# --- as text ---------------------------------------------------------------------------------------------------------


def text_of(book: Rulebook) -> bytes:
    """A rulebook as YAML, in the flow style that JSON shares."""
    tree: dict[str, Any] = {
        "rulebook": book.name,
        "version": book.version,
        "layer": book.layer,
        **({"country": book.country} if book.country else {}),
        "illustration": book.illustration,
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_until": "2027-01-01T00:00:00Z",
        "citations": [
            {"law": LAW, "status": "verified", "verifier": "counsel", "date": "2026-01-01", "text_sha256": "0" * 64}
        ],
        "rules": [_rule_tree(each) for each in book.rules],
    }
    if book.red_lines:
        tree["red_lines"] = [_red_line_tree(each) for each in book.red_lines]
    return json.dumps(tree, indent=1).encode()


def _rule_tree(rule: Rule) -> dict[str, Any]:
    tree: dict[str, Any] = {"id": rule.id, "title": rule.titles["en"], "law": rule.law, "effect": rule.effect}
    if rule.emergency:
        tree["emergency"] = True
    if rule.approvals > 1:
        tree["approvals"] = rule.approvals
    if asked := _conjunction_tree([each for each in rule.when if each != _DECLARED]):
        tree["when"] = asked
    if rule.unless:
        tree["unless"] = [_conjunction_tree(each) for each in rule.unless]
    if rule.data:
        tree["data"] = {word: _outcome(rule.data[category]) for word, category in _named(rule.data)}
    if rule.obligations:
        tree["obligations"] = {"flags": [OBLIGATIONS[each] for each in sorted(rule.obligations - {_RETENTION})]}
    if rule.retention_days:
        tree["obligations"]["retention_days"] = rule.retention_days
    return tree


def _red_line_tree(line: RedLine) -> dict[str, Any]:
    return {
        "id": line.id,
        "title": line.titles["en"],
        "law": line.law,
        "kind": line.kind,
        "when": _conjunction_tree(line.when),
        "data": [word for word, _ in _named(line.data)],
        "at_most": _outcome(line.at_most),
    }


def _named(data: Collection[Category]) -> list[tuple[str, Category]]:
    if set(data) >= set(_EVERYTHING) - TIER_5:
        return [(EVERYTHING, _EVERYTHING[0])]
    return [(CATEGORIES[each], each) for each in sorted(data)]


def _conjunction_tree(conjunction: Sequence[Condition]) -> dict[str, Any]:
    return {each.dimension: _condition_tree(each) for each in conjunction}


def _condition_tree(condition: Condition) -> object:
    if condition.at_least is not None:
        return {"at_least": condition.at_least}
    words = sorted(condition.values)
    return {"not": words} if condition.negated else words


def _outcome(level: Outcome) -> str:
    return codes_pb2.Outcome.Name(level).removeprefix("OUTCOME_").lower()
