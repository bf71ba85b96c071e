"""From the text of one rule or red line to its value, noting every mistake."""

import re
from collections.abc import Collection, Mapping
from datetime import date
from hashlib import sha256
from typing import Final, TypeAlias, cast

from node.policy import yaml_tree
from node.policy.rules import (
    EFFECTS,
    RED_LINE_KINDS,
    Citation,
    Condition,
    Conjunction,
    Effect,
    Layer,
    Place,
    RedLine,
    RedLineKind,
    Rule,
)
from node.policy.typed_tree import Fields, integer_of, pairs_of, text_of, word_of, words_of
from node.policy.vocabulary import (
    AGE_BOUNDS,
    CATEGORY_NUMBERS,
    DIMENSIONS,
    EVERYTHING,
    OBLIGATION_NUMBERS,
    OUTCOME_NUMBERS,
    TIER_5,
    UNKNOWN,
    Category,
    Dimension,
    Obligation,
    Outcome,
)
from node.policy.yaml_tree import Mistakes, Scalar, Sequence, Tree
from node.wire import codes_pb2

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_DATE: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_TEST: Final = re.compile(r"tests/[\w/]+\.py::\w+")
_LANGUAGES: Final = ("en", "es", "pt", "fr")
_MAX_DAYS: Final = 36_500
_MOST_APPROVALS: Final = 2

_OWN_QUERY: Final[tuple[Effect, ...]] = ("allow", "limit", "deny")
_DECLARED: Final = Condition("emergency", frozenset({"DECLARED"}))

# What a red line of each kind must have; both kinds that speak of leaving may say from which level on.
_RED_LINE_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "never_release": ("when", "data"),
    "never_without_approval": ("when", "data"),
    "never_lifted_by_assertion": ("when", "data"),
    "structural": ("test",),
}
_ABOUT_THE_WHOLE: Final = {
    "deny": "a deny withholds everything",
    "hold": "a hold keeps the whole entry until a focal point decides",
    "attach": "an attach adds obligations, whatever leaves",
}
_LEAVING: Final = ("never_release", "never_without_approval")

Register: TypeAlias = Mapping[str, Citation]
"""The citations of a rulebook by their `law`."""

_RELEASE: Final = codes_pb2.OUTCOME_RELEASE
_WITHHOLD: Final = codes_pb2.OUTCOME_WITHHOLD
_EXISTENCE: Final = codes_pb2.DATA_CATEGORY_EXISTENCE
_ASYLUM: Final = codes_pb2.DATA_CATEGORY_ASYLUM
_RETENTION: Final = codes_pb2.OBLIGATION_RETENTION


def read_rule(tree: Tree, mistakes: Mistakes, layer: Layer, register: Register) -> Rule:
    """Read one rule of a rulebook of this layer; what is wrong in it is noted, and the value then of no use."""
    fields = Fields(
        tree,
        mistakes,
        "a rule",
        required=("id", "title", "law", "effect"),
        optional=("emergency", "approvals", "when", "unless", "data", "obligations"),
    )
    effect = cast("Effect", fields.word("effect", _OWN_QUERY if layer == "outbound" else EFFECTS) or "deny")
    restricts = effect != "allow"
    law = fields.text("law")
    citations = _cited(law, fields, register)
    for each in citations:
        if effect == "allow" and not each.verified:
            sentence = f"an allow must rest on verified law; on {each.law} a rule may hold, limit or deny"
            mistakes.add(fields.place_of("law"), sentence)
    when = _conjunction(fields.tree("when"), mistakes, layer, unknown_may_be_named=restricts)
    if effect == "allow" and not when:
        mistakes.add(fields.place_of("when"), "an allow must say when")
    unless = [
        (each.place, _conjunction(each, mistakes, layer, unknown_may_be_named=not restricts))
        for each in fields.items("unless")
    ]
    if restricts and any(DIMENSIONS[each.dimension].about == "subject" for each in when):
        for place, exception in unless:
            asked = [DIMENSIONS[each.dimension] for each in exception]
            # Nor does it together with something that is true of most records, such as what kind of thing it is of.
            if any(each.asserted for each in asked) or all(each.about == "request" for each in asked):
                mistakes.add(place, "what the asker says never lifts the protection of a person; name what is recorded")
    obligations, days = _obligations(fields)
    if obligations and (layer == "outbound" or effect == "deny"):
        mistakes.add(fields.place_of("obligations"), "obligations go with data that leaves an answer; here is none")
    if effect == "attach" and not obligations:
        mistakes.add(fields.place, "an attach must have 'obligations'")
    emergency = fields.flag("emergency")
    if emergency and (layer != "release" or restricts):
        mistakes.add(fields.place_of("emergency"), "only an allow of a country's release rulebook is for emergencies")
    return Rule(
        id=fields.pattern("id", _ID, "an id has letters, digits, dots and hyphens, at most 32"),
        titles=_titles(fields),
        law=law,
        effect=effect,
        emergency=emergency,
        when=(*when, _DECLARED) if emergency else when,
        unless=tuple(exception for _, exception in unless),
        data=_data(fields, effect, layer, has_obligations=bool(obligations)),
        obligations=obligations,
        retention_days=days,
        citations=citations,
        place=fields.place,
        approvals=_approvals(fields, effect),
    )


def _approvals(fields: Fields, effect: Effect) -> int:
    if effect == "hold":
        return fields.integer("approvals", 1, _MOST_APPROVALS) or 1
    if "approvals" in fields:
        fields.mistakes.add(fields.place_of("approvals"), "only a hold waits for approvals")
    return 0


def read_red_line(tree: Tree, mistakes: Mistakes, register: Register) -> RedLine:
    """Read one red line."""
    fields = Fields(
        tree,
        mistakes,
        "a red line",
        required=("id", "title", "law", "kind"),
        optional=("when", "data", "at_most", "test"),
    )
    kind = cast("RedLineKind", fields.word("kind", RED_LINE_KINDS))
    needed = _RED_LINE_KEYS.get(kind, ())
    law = fields.text("law")
    _cited(law, fields, register)
    for name in needed:
        if name not in fields:
            mistakes.add(fields.place, f"a red line of kind {kind} must have {name!r}")
    for name in ("when", "data", "at_most", "test"):
        if kind and name in fields and name not in (*needed, *(("at_most",) if kind in _LEAVING else ())):
            mistakes.add(fields.place_of(name), f"a red line of kind {kind} has no {name!r}")
    named = fields.tree("data")
    words = words_of(named, mistakes, "data", (*CATEGORY_NUMBERS, EVERYTHING)) if named else []
    at_most = fields.word("at_most", [word for word in OUTCOME_NUMBERS if word != "release"])
    data = frozenset(category for _, word in words for category in _spelt_out(word))
    if at_most not in {"", "withhold"} and _EXISTENCE in data:
        mistakes.add(fields.place_of("at_most"), "EXISTENCE is told or not: it needs a red line without at_most")
    return RedLine(
        id=fields.pattern("id", _ID, "an id has letters, digits, dots and hyphens, at most 32"),
        titles=_titles(fields),
        law=law,
        kind=kind,
        when=_conjunction(fields.tree("when"), mistakes, "floor", unknown_may_be_named=True),
        data=data,
        at_most=OUTCOME_NUMBERS[at_most] if at_most else _WITHHOLD,
        test=fields.pattern("test", _TEST, "name the test as tests/path/file.py::test_name"),
        place=fields.place,
    )


def _titles(fields: Fields) -> dict[str, str]:
    """A title in English, or one in each of several languages."""
    tree = fields.tree("title")
    if not isinstance(tree, yaml_tree.Mapping):
        return {"en": fields.text("title")}
    titles = {}
    for key, value in pairs_of(tree, fields.mistakes):
        language = word_of(key, fields.mistakes, "language", _LANGUAGES)
        titles[language] = text_of(value, fields.mistakes, "title")
    if "en" not in titles:
        fields.mistakes.add(tree.place, "a title must also be in English, as 'en'")
    return titles


# --- law -------------------------------------------------------------------------------------------------------------


def read_citations(fields: Fields) -> tuple[Register, Mapping[str, Place]]:
    """Read the citations of a rulebook, and where each stands."""
    register: dict[str, Citation] = {}
    places: dict[str, Place] = {}
    for tree in fields.items("citations"):
        citation = _citation(tree, fields.mistakes)
        if citation.law in register:
            fields.mistakes.add(tree.place, f"{citation.law} is cited twice")
        elif citation.law:
            register[citation.law] = citation
            places[citation.law] = tree.place
    return register, places


def _citation(tree: Tree, mistakes: Mistakes) -> Citation:
    inner = Fields(
        tree,
        mistakes,
        "a citation",
        required=("law", "status"),
        optional=("verifier", "date", "text", "text_sha256"),
    )
    citation = Citation(
        law=inner.text("law"),
        verified=inner.word("status", ("verified", "unverified")) == "verified",
        verifier=inner.text("verifier"),
        date=inner.pattern("date", _DATE, 'write the date in quotes, as "2026-03-01"'),
        text_sha256=inner.pattern("text_sha256", _SHA256, "64 lower-case hexadecimal digits"),
    )
    if ";" in citation.law:
        mistakes.add(inner.place_of("law"), "one citation is one provision; a rule lists several with semicolons")
    if citation.date and not _is_day(citation.date):
        mistakes.add(inner.place_of("date"), "date: there is no such day")
    if citation.verified:
        for name in ("verifier", "date", "text_sha256"):
            if name not in inner:
                mistakes.add(inner.place, f"a verified citation must have {name!r}")
    digest = sha256(inner.text("text").encode()).hexdigest()
    if "text" in inner and citation.text_sha256 and citation.text_sha256 != digest:
        mistakes.add(inner.place_of("text_sha256"), f"the digest of this text is {digest}")
    return citation


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _cited(law: str, fields: Fields, register: Register) -> tuple[Citation, ...]:
    """The citations that `law` names, in its order."""
    found = []
    for each in map(str.strip, law.split(";")) if law else ():
        if each in register:
            found.append(register[each])
        elif not each:  # a semicolon alone is no law to rest on
            fields.mistakes.add(fields.place_of("law"), "a citation is missing beside a semicolon")
        else:
            sentence = f"{each!r} is not among the rulebook's citations{fields.mistakes.suggestion(each, register)}"
            fields.mistakes.add(fields.place_of("law"), sentence)
    return tuple(found)


# --- conditions ------------------------------------------------------------------------------------------------------


def _conjunction(tree: Tree | None, mistakes: Mistakes, layer: Layer, *, unknown_may_be_named: bool) -> Conjunction:
    if tree is None:
        return ()
    if not isinstance(tree, yaml_tree.Mapping) or not tree.pairs:
        mistakes.add(tree.place, "conditions are a mapping of dimensions to values, and not empty")
        return ()
    known = [each.name for each in DIMENSIONS.values() if layer != "outbound" or each.about == "request"]
    known.remove(_DECLARED.dimension)
    found = []
    for key, value in pairs_of(tree, mistakes):
        if key.text == _DECLARED.dimension:
            mistakes.add(key.place, "write `emergency: true` on the rule")
        elif key.text in DIMENSIONS and key.text not in known:
            mistakes.add(key.place, f"{key.text} is not known of an own query, so an outbound rule can't ask for it")
        elif word_of(key, mistakes, "dimensions", known):
            found.append(_condition(DIMENSIONS[key.text], value, mistakes, unknown_may_be_named=unknown_may_be_named))
    return tuple(found)


def _condition(dimension: Dimension, tree: Tree, mistakes: Mistakes, *, unknown_may_be_named: bool) -> Condition:
    if not dimension.values:
        return _bound(dimension, tree, mistakes)
    negated = isinstance(tree, yaml_tree.Mapping)
    if isinstance(tree, yaml_tree.Mapping):
        inner = Fields(tree, mistakes, f"the condition on {dimension.name}", required=("not",))
        tree = inner.tree("not") or Sequence(tree.place, ())
    found = words_of(tree, mistakes, dimension.name, dimension.values)
    for place, word in found:
        if word == UNKNOWN and (negated or not unknown_may_be_named):
            mistakes.add(place, f"{UNKNOWN} never helps release, so it can't be named here; it already counts as worst")
    return Condition(dimension.name, frozenset(word for _, word in found), negated)


def _bound(dimension: Dimension, tree: Tree, mistakes: Mistakes) -> Condition:
    inner = Fields(tree, mistakes, f"the condition on {dimension.name}", required=("at_least",))
    value = inner.tree("at_least")
    number = integer_of(value, mistakes, "at_least", 0, _MAX_DAYS) if value else 0
    if number not in AGE_BOUNDS:
        bounds = ", ".join(map(str, AGE_BOUNDS))
        mistakes.add(inner.place_of("at_least"), f"{dimension.name} is known in classes; use one of {bounds}")
    return Condition(dimension.name, at_least=number)


# --- data and obligations --------------------------------------------------------------------------------------------


def _spelt_out(word: str, *, but: Collection[Category] = ()) -> list[Category]:
    if word != EVERYTHING:
        return [CATEGORY_NUMBERS[word]]
    return [category for category in CATEGORY_NUMBERS.values() if category not in but]


def _data(fields: Fields, effect: Effect, layer: Layer, *, has_obligations: bool) -> dict[Category, Outcome]:
    tree, mistakes = fields.tree("data"), fields.mistakes
    if effect in _ABOUT_THE_WHOLE:
        if tree is not None:
            mistakes.add(tree.place, f"{_ABOUT_THE_WHOLE[effect]}; to withhold some data, write limit")
        return {}
    if tree is None:
        if effect == "allow" or not has_obligations:
            mistakes.add(fields.place, f"an {effect} must have 'data'" if effect == "allow" else "this limits nothing")
        return {}
    if not isinstance(tree, yaml_tree.Mapping) or not tree.pairs:
        mistakes.add(tree.place, "data is a mapping of categories to outcomes, and not empty")
        return {}
    found: dict[Category, Outcome] = {}
    for key, value in pairs_of(tree, mistakes):
        word = word_of(key, mistakes, "data", (*CATEGORY_NUMBERS, EVERYTHING))
        outcome = word_of(value, mistakes, "outcomes", tuple(OUTCOME_NUMBERS))
        if not word or not outcome:
            continue
        level = OUTCOME_NUMBERS[outcome]
        _note_level(key, level, effect, layer, mistakes)
        # Tier 5 is blocked unless an allow names it; ASYLUM goes to no peer at all.
        for category in _spelt_out(word, but=TIER_5 if effect == "allow" else ()):
            if category in found:
                mistakes.add(key.place, f"{EVERYTHING} and another category overlap; write two rules")
                break
            found[category] = level
    return found


def _note_level(key: Scalar, level: Outcome, effect: Effect, layer: Layer, mistakes: Mistakes) -> None:
    if effect == "allow" and level == _WITHHOLD:
        mistakes.add(key.place, "an allow can't withhold; leave the category out, or write limit")
    if effect == "limit" and level == _RELEASE:
        mistakes.add(key.place, "a limit to release limits nothing")
    if effect == "allow" and key.text == codes_pb2.DataCategory.Name(_ASYLUM).removeprefix("DATA_CATEGORY_"):
        mistakes.add(key.place, "data on asylum goes to no peer")
    if CATEGORY_NUMBERS.get(key.text) == _EXISTENCE and level not in {_RELEASE, _WITHHOLD}:
        mistakes.add(key.place, "EXISTENCE is told or not: release or withhold")
    if layer == "outbound" and level not in {_RELEASE, _WITHHOLD}:
        mistakes.add(key.place, "a selector leaves or does not: release or withhold")


def _obligations(fields: Fields) -> tuple[frozenset[Obligation], int]:
    tree = fields.tree("obligations")
    if tree is None:
        return frozenset(), 0
    inner = Fields(tree, fields.mistakes, "obligations", optional=("retention_days", "flags"))
    days = inner.integer("retention_days", 1, _MAX_DAYS)
    flags = inner.tree("flags")
    known = [word for word, number in OBLIGATION_NUMBERS.items() if number != _RETENTION]
    words = words_of(flags, fields.mistakes, "flags", known) if flags else []
    found = {OBLIGATION_NUMBERS[word] for _, word in words}
    return frozenset(found | {_RETENTION} if days else found), days
