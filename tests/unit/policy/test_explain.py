from node.policy.evaluate import MASK
from node.policy.explain import reasons
from node.wire import codes_pb2
from tests.unit.policy.situations import ACCEPTED, NOW_US, OPEN, SUSPECT_PHONE, book, but, rule

IDENTITY = codes_pb2.DATA_CATEGORY_IDENTITY
FLOOR = book(OPEN, "floor")


def test_the_operator_is_told_rule_and_law_per_category() -> None:
    release = book(
        rule(id="A", effect="allow", when="{paired: ['YES']}", data="{TELECOM: release}")
        + rule(id="V", title="Victims", law="Decreto 9-2009 art. 2", when="{role: [SUSPECT]}", data="{IDENTITY: mask}")
    )
    why = reasons(FLOOR, release, SUSPECT_PHONE, ACCEPTED, NOW_US)
    assert [
        (reason.rule, reason.title, reason.law, reason.outcome)
        for reason in why
        if reason.category == IDENTITY and reason.rule
    ] == [("V", "Victims", "Decreto 9-2009 art. 2", MASK)]
    ungranted = {reason.category for reason in why if not reason.rule}
    assert codes_pb2.DATA_CATEGORY_COMMUNICATIONS in ungranted


def test_what_no_rule_can_permit_has_reasons_too() -> None:
    release = book(OPEN)
    assert reasons(None, release, SUSPECT_PHONE, ACCEPTED, NOW_US)
    assert reasons(FLOOR, None, SUSPECT_PHONE, ACCEPTED, NOW_US)
    assert reasons(FLOOR, FLOOR, SUSPECT_PHONE, ACCEPTED, NOW_US)
    for facts in (but(paired="NO"), but(unit_type="IMMIGRATION"), but(purpose="POLITICAL"), but(kind="UNKNOWN")):
        assert reasons(FLOOR, release, facts, ACCEPTED, NOW_US)
