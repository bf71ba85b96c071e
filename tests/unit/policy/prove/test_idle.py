"""Rules that do nothing are named, and why."""

import pytest

from node.policy.prove.idle import idle_rules, never_firing
from tests.unit.policy.situations import OPEN, book, rule

FLOOR = book(OPEN, layer="floor")


@pytest.mark.parametrize(
    ("keys", "because"),
    [
        ({"when": "{minor: [IS_MINOR], consent: [RECORDED_BY_ORIGINATOR]}"}, ("minor", "consent")),
        ({"when": "{minor: [IS_MINOR], role: [SUSPECT]}", "unless": "[{minor: [IS_MINOR]}]"}, ("minor", "unless")),
        ({"when": "{victim: ['YES'], role: {not: [VICTIM, PRESUMED_VICTIM]}}"}, ("victim", "role")),
        ({"when": "{kind: [PERSON], torture_risk: [NOT_APPLICABLE], crime: [ROBBERY]}"}, ("kind", "torture_risk")),
    ],
)
def test_conditions_that_are_never_met_together(keys: dict[str, str], because: tuple[str, ...]) -> None:
    allow = rule(id="X-2", effect="allow", data="{IDENTITY: release}", **keys)
    (idle,) = idle_rules(FLOOR, book(OPEN.replace("OPEN", "X-1") + allow, layer="release"))[:1]
    assert (idle.layer, idle.rule, idle.why, idle.because) == ("release", "X-2", "never fires", because)
    assert idle.place.line > 10
    assert never_firing(book(allow)) == tuple(
        each for each in idle_rules(None, book(allow)) if each.why == "never fires"
    )


def test_unknown_may_make_a_restriction_fire_that_no_known_value_does() -> None:
    deny = rule(effect="deny", when="{minor: [IS_MINOR], asylum: [NOT_APPLICABLE]}")
    assert never_firing(book(deny)) == ()


@pytest.mark.parametrize("when", ["{purpose: [POLITICAL]}", "{unit_type: [IMMIGRATION]}", "{paired: ['NO']}"])
def test_what_the_node_refuses_anyway(when: str) -> None:
    (idle,) = idle_rules(FLOOR, book(OPEN + rule(effect="deny", when=when)))
    assert idle.why == "fires only where the node itself refuses"


def test_a_grant_that_others_make_anyway() -> None:
    narrow = rule(id="X-2", effect="allow", when="{purpose: [TREND]}", data="{TELECOM: generalise}")
    (idle,) = idle_rules(FLOOR, book(OPEN + narrow))
    assert (idle.rule, idle.why) == ("X-2", "lets nothing leave that would not leave without it")
    assert idle_rules(FLOOR, book(narrow)) == ()


def test_a_grant_that_the_floor_never_lets_through() -> None:
    floor = book(rule(effect="allow", when="{paired: ['YES']}", data="{TELECOM: mask}"), layer="floor")
    allow = rule(id="X-2", effect="allow", when="{kind: [PERSON]}", data="{IDENTITY: release}")
    # The floor's own grant does nothing either beside it.
    assert [(each.layer, each.rule) for each in idle_rules(floor, book(allow))] == [
        ("floor", "X-1"),
        ("release", "X-2"),
    ]
    assert idle_rules(None, book(allow)) == ()


def test_a_grant_under_a_limit_that_always_holds() -> None:
    allow = rule(id="X-2", effect="allow", when="{kind: [TELECOM]}", data="{LOCATION: release}")
    limit = rule(id="X-3", when="{paired: ['YES']}", data="{LOCATION: withhold}")
    other = rule(id="X-1", effect="allow", when="{paired: ['YES']}", data="{TELECOM: release}")
    assert [each.rule for each in idle_rules(FLOOR, book(other + allow + limit))] == ["X-2"]


def test_outbound_rulebooks_can_be_asked_too() -> None:
    rules = rule(effect="allow", when="{purpose: [TREND]}", data="{TELECOM: release}")
    assert never_firing(book(rules, layer="outbound")) == ()
