"""What a difference says, case by case."""

import json

import msgspec
import pytest

from node.errors import UsageError
from node.policy.diff import Difference, diff
from node.policy.diff_ranges import Range, Situation
from node.policy.diff_text import where
from node.policy.rules import Rulebook
from tests.unit.policy.situations import ACCEPTED, OPEN, SUSPECT_PHONE, book, but, rule

FLOOR = book(OPEN, "floor")
GRANT = rule(
    id="G-1",
    effect="allow",
    law="UNTOC art. 27(1)",
    when="{purpose: [INVESTIGATE, DISRUPT], crime: [TRAFFICKING], role: [SUSPECT]}",
    data="{TELECOM: release, IDENTITY: pseudonymise}",
)
MORE = rule(
    id="G-2",
    effect="allow",
    law="UNTOC art. 27(1)",
    when="{recipient: [GT, US], purpose: [INVESTIGATE], crime: [KIDNAPPING], role: [SUSPECT], minor: [IS_ADULT]}",
    data="{TELECOM: release, LOCATION: generalise}",
)
VICTIMS = rule(id="L-1", when="{victim: ['YES']}", data="{IDENTITY: withhold}")
WITNESSES = rule(id="L-2", when="{role: [WITNESS]}", data="{TELECOM: pseudonymise}")
HOLD = rule(id="H-1", effect="hold", when="{handling: [H2, H3]}")
TWICE = rule(id="H-1", effect="hold", approvals="2", when="{handling: [H2, H3]}")
DENY = rule(id="D-1", effect="deny", when="{handling: [H3]}")
DUTY = rule(id="A-1", effect="attach", when="{purpose: [DISRUPT]}", obligations="{flags: [NO_ONWARD]}")
LINE = "- {id: R-1, title: t, law: l, kind: never_release, data: [IDENTITY], when: {victim: ['YES']}}\n"
OTHER_LINE = "- {id: R-1, title: t, law: l, kind: never_release, data: [IDENTITY, PHOTO], when: {victim: ['YES']}}\n"
NEXT_LINE = "- {id: R-2, title: t, law: l, kind: never_release, data: [IDENTITY], when: {victim: ['YES']}}\n"


def compared(old: str, new: str, *, old_lines: str = "", new_lines: str = "") -> Difference:
    return diff(book(old, red_lines=old_lines), book(new, red_lines=new_lines), floor=FLOOR)


OWING = GRANT[:-2] + ", obligations: {flags: [NO_ONWARD]}}\n"
OWING_MORE = GRANT[:-2] + ", obligations: {flags: [NO_ONWARD, NOT_EVIDENCE]}}\n"
LONG = GRANT[:-2] + ", obligations: {retention_days: 180}}\n"
SHORT = GRANT[:-2] + ", obligations: {retention_days: 90}}\n"


@pytest.mark.parametrize(
    ("old", "new", "verdict", "kinds"),
    [
        (GRANT, GRANT, "same", set()),
        (GRANT, GRANT + MORE, "widens only", {"newly released"}),
        (GRANT + MORE, GRANT, "narrows only", {"newly withheld"}),
        (GRANT, GRANT + WITNESSES, "narrows only", {"newly withheld"}),
        (GRANT + WITNESSES, GRANT, "widens only", {"newly released"}),
        (GRANT, GRANT + DENY, "narrows only", {"newly withheld"}),
        (GRANT, GRANT + HOLD, "narrows only", {"newly held"}),
        (GRANT + HOLD, GRANT, "widens only", {"no longer held"}),
        (GRANT + HOLD, GRANT + TWICE, "narrows only", {"two approve"}),
        (GRANT + TWICE, GRANT + HOLD, "widens only", {"one approves"}),
        (GRANT + TWICE, GRANT, "widens only", {"no longer held"}),
        (GRANT + HOLD, GRANT + DENY, "both", {"newly withheld", "no longer held"}),
        (GRANT, GRANT + DUTY, "narrows only", {"obligations gained", "newly withheld"}),
        (GRANT + DUTY, GRANT, "widens only", {"obligations lost", "newly released"}),
        (OWING, OWING_MORE, "narrows only", {"obligations gained", "newly withheld"}),
        (OWING_MORE, OWING, "widens only", {"obligations lost", "newly released"}),
        (LONG, SHORT, "narrows only", {"deleted sooner"}),
        (SHORT, LONG, "widens only", {"kept longer"}),
        (GRANT + MORE, GRANT + WITNESSES, "narrows only", {"newly withheld"}),
        (
            GRANT + WITNESSES,
            GRANT + MORE + WITNESSES.replace("pseudonymise", "mask"),
            "both",
            {"newly released", "newly withheld"},
        ),
        # Neither of these levels is as strict as the other.
        (GRANT.replace("pseudonymise", "generalise"), GRANT, "both", {"newly released"}),
    ],
)
def test_each_change_has_its_verdict(old: str, new: str, verdict: str, kinds: set[str]) -> None:
    difference = compared(old, new)
    assert difference.verdict == verdict
    assert {box.kind for box in difference.boxes} == kinds
    assert not difference.unfinished
    assert difference.widens == (verdict in {"widens only", "both"})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(GRANT + MORE + WITNESSES, WITNESSES + MORE + GRANT, id="another order"),
        pytest.param(GRANT + DENY, GRANT.replace("G-1", "G-9") + DENY.replace("law: l", "law: m"), id="other names"),
        pytest.param(GRANT, GRANT + GRANT.replace("G-1", "G-9").replace("INVESTIGATE, ", ""), id="a grant made anyway"),
        pytest.param(
            GRANT,
            GRANT.replace("INVESTIGATE, DISRUPT", "INVESTIGATE")
            + GRANT.replace("G-1", "G-9").replace("INVESTIGATE, DISRUPT", "DISRUPT"),
            id="one rule as two",
        ),
        pytest.param(GRANT + DENY, GRANT + DENY + WITNESSES.replace("role: [WITNESS]", "handling: [H3]"), id="denied"),
        pytest.param(GRANT, GRANT + rule(id="X", effect="deny", when="{paired: ['NO']}"), id="refused before any rule"),
    ],
)
def test_outcomes_are_compared_and_not_texts(old: str, new: str) -> None:
    difference = compared(old, new)
    assert (difference.verdict, difference.boxes) == ("same", ())
    assert difference.text == "TEST 1 -> TEST 1, within TEST 1: the same leaves in every situation.\n"


def test_what_the_floor_forbids_is_no_difference() -> None:
    closed = book(OPEN + rule(id="F-1", effect="deny", when="{crime: [KIDNAPPING]}"), "floor")
    assert diff(book(GRANT), book(GRANT + MORE), floor=closed).verdict == "same"


def test_a_difference_reads_as_sentences() -> None:
    more = MORE.replace(", LOCATION: generalise", "")
    tortured = [each.replace("G-1", "G-3").replace("TRAFFICKING", "TORTURE") for each in (LONG, SHORT)]
    old, new = GRANT + DENY + tortured[0], GRANT + DENY + tortured[1] + DUTY + HOLD
    assert compared(old, new, old_lines=LINE).text == (
        """\
TEST 1 -> TEST 1, within TEST 1: both widens and narrows.
Removes red line R-1 (t; l), which is an approval of its own.

Nothing differs where both versions forbid it, by D-1.
Whatever a range says, no more leaves than the floor lets leave.

Newly released
1. victim YES or UNKNOWN:
   IDENTITY: leaves as other rules let it (was withheld), for instance granted by G-1 (UNTOC art. 27(1))

Newly withheld
2. for DISRUPT, no obligation accepted: NO_ONWARD:
   EXISTENCE, REFERENCE, TELECOM and IDENTITY: withheld (left before), by the unaccepted obligations of A-1 (l)

Newly held for a focal point
3. handling any but H0 or H1:
   what may leave waits for a focal point, held by H-1 (l)

Obligations gained
4. for DISRUPT:
   NO_ONWARD goes with what leaves, set by A-1 (l)

Deleted sooner by the recipient
5. crime TORTURE, obligation accepted: RETENTION:
   deleted after 90 days (was: after 180 days), set by G-3 (UNTOC art. 27(1)); no longer set by G-3 (UNTOC art. 27(1))
"""
    )
    assert compared(GRANT + DENY, GRANT + DENY + more).text == (
        """\
TEST 1 -> TEST 1, within TEST 1: widens only.

Nothing differs where both versions forbid it, by D-1.
Whatever a range says, no more leaves than the floor lets leave.

Newly released
1. asked by GT or US, for INVESTIGATE, crime KIDNAPPING, none of them TRAFFICKING or UNKNOWN, \
about a record of kind TELECOM, role SUSPECT, all of them known, adult:
   EXISTENCE, REFERENCE and TELECOM: leaves whole (was withheld), granted by G-2 (UNTOC art. 27(1))
"""
    )


def test_a_box_holds_what_its_ranges_say() -> None:
    box = next(each for each in compared(GRANT, GRANT + MORE).boxes if "TELECOM" in {c.subject for c in each.changes})
    kidnapper = but(SUSPECT_PHONE, crime=frozenset({"KIDNAPPING"}), recipient="US")
    assert box.has(Situation(kidnapper, ACCEPTED))
    assert not box.has(Situation(but(kidnapper, recipient="MX"), ACCEPTED))
    assert not box.has(Situation(but(kidnapper, crime=frozenset({"KIDNAPPING", "UNKNOWN"})), ACCEPTED))
    assert [cause.rule for causes in box.causes for cause in causes] == ["G-2"] * len(box.changes)


@pytest.mark.parametrize(
    ("old", "new", "removed", "added", "changed"),
    [
        (LINE, LINE, [], [], []),
        (LINE, "", ["R-1"], [], []),
        ("", LINE, [], ["R-1"], []),
        (LINE, OTHER_LINE, [], [], ["R-1"]),
        (LINE, NEXT_LINE, [], [], []),
        (LINE, LINE.replace("title: t", "title: u"), [], [], []),
    ],
)
def test_red_lines_are_told_apart_from_rules(
    old: str, new: str, removed: list[str], added: list[str], changed: list[str]
) -> None:
    difference = compared(GRANT + VICTIMS, GRANT + VICTIMS, old_lines=old, new_lines=new)
    lines = difference.red_lines
    assert [[line.id for line in each] for each in (lines.removed, lines.added, lines.changed)] == [
        removed,
        added,
        changed,
    ]
    assert difference.verdict == "same"  # the rules keep the line anyway
    assert ("which is an approval of its own" in difference.text) == bool(removed or changed)


def test_a_red_line_that_had_to_step_in_widens_when_it_goes() -> None:
    old, new = book(GRANT, red_lines=LINE), book(GRANT)
    assert diff(old, new, floor=FLOOR).verdict == "widens only"


def test_what_every_entry_has_follows_what_it_has_of_its_own() -> None:
    """Of a mere hit nothing is told, so whose car it is leaves only where something of the car does."""
    owner = rule(id="O", effect="allow", when="{kind: [VEHICLE]}", data="{IDENTITY: release, EXISTENCE: release}")
    car = rule(id="C", effect="allow", when="{kind: [VEHICLE], purpose: [DISRUPT]}", data="{VEHICLE: release}")
    (box,) = compared(owner, owner + car).boxes
    assert {(each.subject, each.before, each.after, each.follows) for each in box.changes} == {
        ("VEHICLE", "withhold", "release", False),
        ("IDENTITY", "withhold", "release", True),
    }
    gone = compared(owner + car, owner)
    assert gone.verdict == "narrows only"
    assert "IDENTITY: withheld, now that no other data leaves (was whole)" in gone.text


def test_floors_are_compared_alone() -> None:
    old = book(GRANT, "floor")
    new = book(GRANT + WITNESSES, "floor")
    difference = diff(old, new, floor=None)
    assert difference.verdict == "narrows only"
    assert not any(change.within_floor for box in difference.boxes for change in box.changes)
    assert "within" not in difference.text


def test_release_rulebooks_are_compared_under_any_floor() -> None:
    assert diff(book(GRANT), book(GRANT + MORE), floor=None).verdict == "widens only"


def test_versions_that_are_never_in_force_together_are_compared() -> None:
    later = msgspec.structs.replace(book(GRANT + MORE), valid_from_us=1 << 60, valid_until_us=1 << 61)
    assert diff(book(GRANT), later, floor=FLOOR).verdict == "widens only"


@pytest.mark.parametrize(
    ("old", "new", "floor"),
    [
        (book(GRANT), FLOOR, FLOOR),
        (FLOOR, FLOOR, FLOOR),
        (book(GRANT), book(GRANT), book(GRANT)),
        (
            *[book(rule(id="O", effect="allow", when="{purpose: [TREND]}", data="{TELECOM: release}"), "outbound")] * 2,
            None,
        ),
    ],
)
def test_what_can_not_be_compared_is_refused(old: Rulebook, new: Rulebook, floor: Rulebook | None) -> None:
    with pytest.raises(UsageError, match=r"^(compare two|a floor is)"):
        diff(old, new, floor=floor)


def test_a_search_that_is_stopped_says_so() -> None:
    difference = diff(book(GRANT), book(GRANT + MORE + HOLD), floor=FLOOR, most_boxes=1)
    assert len(difference.boxes) == 1
    assert difference.unfinished == ("newly released", "newly held")
    assert difference.verdict == "both"
    assert difference.text.endswith(
        "Stopped at 1 range: there are more situations of 'Newly released' and 'Newly held for a focal point'.\n"
    )
    assert diff(book(GRANT), book(GRANT + MORE), floor=FLOOR, most_questions=1).unfinished == ("newly released",)


def test_a_difference_is_the_same_twice_and_is_json() -> None:
    one, other = (compared(GRANT + WITNESSES, GRANT + MORE + HOLD) for _ in range(2))
    assert one.text == other.text
    tree = one.to_json()
    assert json.dumps(tree) == json.dumps(other.to_json())
    assert tree["verdict"] == "both"
    assert {each["kind"] for each in tree["ranges"]} == {box.kind for box in one.boxes}
    first = tree["ranges"][0]["changes"][0]
    assert first["by"][0]["rule"]


@pytest.mark.parametrize(
    ("each", "words"),
    [
        (Range("recipient", (frozenset({"US", "GT"}),)), "asked by GT or US"),
        (Range("urgency", (frozenset({"ROUTINE", "UNKNOWN", "URGENT", "PRIORITY"}),)), "urgency any but LIFE"),
        (Range("crime", (frozenset({"KIDNAPPING"}),), frozenset({"UNKNOWN"})), "crime KIDNAPPING, all of them known"),
        (Range("crime", (), frozenset({"ROBBERY", "TORTURE"})), "no crime TORTURE or ROBBERY"),
        (
            Range("role", (frozenset({"SUSPECT", "ACCUSED"}), frozenset({"VICTIM"})), frozenset({"WITNESS"})),
            "role (SUSPECT or ACCUSED) and VICTIM, none of them WITNESS",
        ),
        (Range("minor", (frozenset({"IS_ADULT", "UNKNOWN"}),)), "adult or age unknown"),
        (Range("emergency", (frozenset({"DECLARED"}),)), "in a declared emergency"),
        (Range("victim", (frozenset({"NO", "NOT_APPLICABLE"}),)), "victim NO or NOT_APPLICABLE"),
        (Range("record_age", (frozenset({"0", "30"}),)), "recorded less than 90 days ago"),
        (Range("record_age", (frozenset({"30", "90"}),)), "recorded 30 to 179 days ago"),
        (
            Range("record_age", (frozenset({"0", "1825", "3650", "UNKNOWN"}),)),
            "recorded less than 30 days ago, recorded at least 1825 days ago or recorded at an unknown time",
        ),
    ],
)
def test_ranges_in_words(each: Range, words: str) -> None:
    assert where([each]) == words


def test_no_range_is_every_situation() -> None:
    assert where([]) == "in every situation"
