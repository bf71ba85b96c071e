"""What differs between two decisions, and how it is counted and told."""

import pytest

from node.desk.differences import (
    FEWER_APPROVE,
    LESS_LEAVES,
    MORE_APPROVE,
    MORE_LEAVES,
    NEWLY_HELD,
    NEWLY_LEAVES,
    NO_LONGER_HELD,
    NO_LONGER_LEAVES,
    OTHER_APPROVAL,
    OTHER_HOLD,
    OTHER_OBLIGATIONS,
    Tally,
    change_between,
)
from node.policy.decision import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, PENDING, Decision, EntryOutcome
from node.policy.evaluate import EXISTENCE, GENERALISE, MASK, PSEUDONYMISE, RELEASE, WITHHOLD
from node.policy.vocabulary import Outcome
from node.wire.codes_pb2 import DATA_CATEGORY_TELECOM, OBLIGATION_NO_ONWARD


def decision(
    outcome: EntryOutcome = ENTRY,
    telecom: Outcome = RELEASE,
    *,
    retention: int = 0,
    obliged: bool = False,
    approvals: int = 0,
) -> Decision:
    existence = WITHHOLD if outcome in {INVISIBLE, HELD_SILENTLY} else RELEASE
    levels = tuple(sorted([(DATA_CATEGORY_TELECOM, telecom), (EXISTENCE, existence)]))
    return Decision(outcome, levels, (), (), (OBLIGATION_NO_ONWARD,) if obliged else (), retention, (), approvals)


HIDDEN = decision(INVISIBLE, WITHHOLD)


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        (HIDDEN, decision(), (NEWLY_LEAVES,)),
        (decision(), HIDDEN, (NO_LONGER_LEAVES,)),
        (HIDDEN, decision(HIT, WITHHOLD), (NEWLY_LEAVES,)),
        (decision(HIT, WITHHOLD), decision(), (MORE_LEAVES,)),
        (decision(), decision(telecom=MASK), (LESS_LEAVES,)),
        (decision(telecom=MASK), decision(telecom=GENERALISE), (MORE_LEAVES,)),
        (decision(telecom=GENERALISE), decision(telecom=PSEUDONYMISE), (MORE_LEAVES, LESS_LEAVES)),
        (decision(), decision(PENDING), (NO_LONGER_LEAVES, NEWLY_HELD)),
        (decision(PENDING), decision(), (NEWLY_LEAVES, NO_LONGER_HELD)),
        (HIDDEN, decision(HELD_SILENTLY, WITHHOLD), (NEWLY_HELD,)),
        (decision(HELD_SILENTLY, WITHHOLD), HIDDEN, (NO_LONGER_HELD,)),
        (decision(PENDING, MASK), decision(PENDING, RELEASE), (OTHER_APPROVAL,)),
        (decision(PENDING), decision(HELD_SILENTLY, WITHHOLD), (OTHER_HOLD,)),
        (decision(PENDING, approvals=2), decision(PENDING, approvals=1), (FEWER_APPROVE,)),
        (decision(PENDING, approvals=1), decision(PENDING, approvals=2), (MORE_APPROVE,)),
        (decision(retention=30), decision(retention=60), (OTHER_OBLIGATIONS,)),
        (decision(), decision(obliged=True), (OTHER_OBLIGATIONS,)),
    ],
)
def test_each_kind_of_change_is_told_from_the_others(old: Decision, new: Decision, kinds: tuple[str, ...]) -> None:
    change = change_between(old, new)
    assert change is not None
    assert (change.before, change.after, change.kinds) == (old.outcome, new.outcome, kinds)


@pytest.mark.parametrize("same", [decision(), HIDDEN, decision(PENDING), decision(HIT, WITHHOLD)])
def test_where_nothing_differs_there_is_no_change(same: Decision) -> None:
    assert change_between(same, same) is None


def test_levels_are_counted_once_for_a_record_with_all_purposes() -> None:
    change = change_between(HIDDEN, decision())
    assert change is not None
    tally = Tally("records")
    tally.add("MX", [("DISRUPT", change), ("INVESTIGATE", change)])
    tally.add("MX", [("PREVENT", change)])
    assert list(tally.lines(["MX", "US"])) == [
        "MX: records newly leaving: 2",
        "MX: EXISTENCE, withheld before, release then: 2, for DISRUPT, INVESTIGATE, PREVENT",
        "MX: TELECOM, withheld before, release then: 2, for DISRUPT, INVESTIGATE, PREVENT",
        "US: nothing changes",
    ]
