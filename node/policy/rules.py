"""A rulebook as it was read: what lawyers wrote, in the numbers of the wire. All values are immutable."""

from typing import Final, Literal, NamedTuple

import msgspec

from node.policy.vocabulary import Category, Obligation, Outcome

Layer = Literal["floor", "release", "outbound"]
Effect = Literal["allow", "limit", "hold", "deny", "attach"]
RedLineKind = Literal["never_release", "never_without_approval", "never_lifted_by_assertion", "structural"]

LAYERS: Final[tuple[Layer, ...]] = ("floor", "release", "outbound")
EFFECTS: Final[tuple[Effect, ...]] = ("allow", "limit", "hold", "deny", "attach")
RED_LINE_KINDS: Final[tuple[RedLineKind, ...]] = (
    "never_release",
    "never_without_approval",
    "never_lifted_by_assertion",
    "structural",
)


class Condition(msgspec.Struct, frozen=True):
    """One question about one dimension.

    Attributes:
        dimension: Its name.
        values: Any of these, or none of these where `negated`. Empty where `at_least` is set.
        negated: Written `{not: […]}`.
        at_least: Lower bound, inclusive, of a number; None for words.
    """

    dimension: str
    values: frozenset[str] = frozenset()
    negated: bool = False
    at_least: int | None = None


Conjunction = tuple[Condition, ...]
"""All of them; an empty one always holds."""


class Citation(msgspec.Struct, frozen=True):
    """A provision of law, and whether somebody compared what rests on it with its text."""

    law: str
    verified: bool
    verifier: str = ""
    date: str = ""  # ISO 8601, of the comparison
    text_sha256: str = ""  # of the text compared with, hexadecimal


class Place(NamedTuple):
    """Where something stands in a text, from 1."""

    line: int
    column: int


class Rule(msgspec.Struct, frozen=True):
    """One rule.

    Attributes:
        id: Unique in its rulebook; peers see it where the rule grants.
        titles: Language (ISO 639-1) to title; English is always there.
        law: What it rests on, in words; peers see it where the rule grants.
        effect: `allow` grants the levels in `data`, `limit` caps them, `deny` withholds everything, `hold` lets a focal
            point decide, `attach` adds obligations alone.
        emergency: An `allow` that fires only while a focal point of this country has declared an emergency; the
            condition on `emergency` is then the last of `when`.
        when: The rule fires when all hold …
        unless: … and none of these does.
        data: Category to level, EVERYTHING already spelt out.
        obligations: What the recipient must have accepted. RETENTION is among them where `retention_days` is set.
        retention_days: 0 where the rule sets none.
        approvals: Of a `hold`: how many focal points must approve what it keeps, 1 or 2. Of others 0.
    """

    id: str
    titles: dict[str, str]
    law: str
    effect: Effect
    emergency: bool
    when: Conjunction
    unless: tuple[Conjunction, ...]
    data: dict[Category, Outcome]
    obligations: frozenset[Obligation]
    retention_days: int
    citations: tuple[Citation, ...]
    place: Place
    approvals: int = 0


class RedLine(msgspec.Struct, frozen=True):
    """What must never happen, whatever the rules say.

    Attributes:
        kind: `never_release`: no category of `data` leaves at a level below `at_most` when `when` holds.
            `never_without_approval`: none does unless a focal point decides on it. `never_lifted_by_assertion`: where
            `when` holds, how far limits cap the categories of `data` does not depend on what the asker merely asserts,
            unless a focal point decides. `structural`: no function of facts; `test` names the test that holds it.
        at_most: The least strict level that does not cross the line, WITHHOLD unless written.
    """

    id: str
    titles: dict[str, str]
    law: str
    kind: RedLineKind
    when: Conjunction
    data: frozenset[Category]
    at_most: Outcome
    test: str
    place: Place


class Rulebook(msgspec.Struct, frozen=True):
    """A whole rulebook.

    Attributes:
        country: ISO 3166-1 alpha-2; empty for the floor.
        valid_from_us: UTC microseconds, inclusive.
        valid_until_us: Exclusive.
        illustration: Not reviewed by national counsel: for demonstration alone.
        vocabulary: Digest of the words that it was written for, as it states it; empty where it does not.
        sha256: Of the bytes that were read.
    """

    name: str
    version: int
    layer: Layer
    country: str
    valid_from_us: int
    valid_until_us: int
    illustration: bool
    vocabulary: str
    rules: tuple[Rule, ...]
    red_lines: tuple[RedLine, ...]
    sha256: bytes

    def is_valid_at(self, now_us: int) -> bool:
        """Whether the rulebook is in force at a time (UTC microseconds); its validity is half-open."""
        return self.valid_from_us <= now_us < self.valid_until_us
