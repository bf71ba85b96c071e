"""The rulebooks that ship are proved, and what is proved depends on their rules."""

from pathlib import Path

import msgspec
import pytest

from node.policy.check import check_rulebook
from node.policy.evaluate import RELEASE
from node.policy.prove.idle import idle_rules
from node.policy.prove.proof import prove
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Rule, Rulebook
from node.policy.vocabulary import CATEGORY_NUMBERS

FOLDER = Path(__file__).parents[3] / "node/policy/rulebooks"
FILES = sorted(FOLDER.glob("*.yaml"))
COUNTRIES = ("gt", "mx", "us", "ca", "br")


def load(name: str) -> Rulebook:
    return parse_rulebook((FOLDER / f"{name}.yaml").read_bytes(), demonstration=True)


@pytest.mark.parametrize("country", ["", *COUNTRIES])
def test_every_red_line_is_proved_and_none_says_nothing(country: str) -> None:
    proof = prove(load("floor"), load(country) if country else None)
    assert proof.is_kept()
    assert {each.verdict for each in proof.verdicts} == {"proved", "structural"}
    refused = [each.line for each in proof.verdicts if any("itself refuses" in remark for remark in each.remarks)]
    assert not refused


@pytest.mark.parametrize("country", ["", *COUNTRIES])
def test_every_rule_does_something(country: str) -> None:
    assert idle_rules(load("floor"), load(country) if country else None) == ()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_check_finds_no_mistake_and_warns_of_the_illustration_alone(file: Path) -> None:
    (remark,) = check_rulebook(file.read_bytes(), load("floor"))
    assert (remark.weight, "demonstration federation only" in remark.sentence) == ("warning", True)


# Which rule of the floor keeps which red line: without the one, the other is crossed.
KEEPS = {
    "F-23": "R-1",
    "F-24": "R-9",
    "F-25": "R-5",
    "F-26": "R-5a",
    "F-27": "R-6",
    "F-28": "R-4a",
    "F-29": "R-4c",
    "F-30": "R-2",
    "F-31": "R-3",
    "F-32": "R-9b",
    "F-33": "R-7a",
    "F-34": "R-15",
    "F-35": "R-3a",
    "F-36": "R-7",
    "F-39": "R-6a",
    "F-40": "R-4",
    "F-41": "R-4b",
    "F-42": "R-4d",
    "F-43": "R-2a",
    "F-44": "R-3b",
}


@pytest.mark.parametrize(("rule", "line"), KEEPS.items())
def test_without_its_rule_a_red_line_breaks(rule: str, line: str) -> None:
    floor = load("floor")
    weaker = msgspec.structs.replace(floor, rules=tuple(each for each in floor.rules if each.id != rule))
    violated = [each for each in prove(weaker, None).verdicts if each.verdict == "violated"]
    assert [each.line for each in violated] == [line]
    assert violated[0].counterexample is not None
    assert violated[0].counterexample.sentence


# What the allows of the floor themselves leave out, and no other rule: widened, they cross the line.
@pytest.mark.parametrize(
    ("asked", "lines"),
    [("record_crime", {"R-18"}), ("purpose", {"R-17"}), ("data", {"R-8", "R-9a", "R-16"})],
)
def test_a_wider_allow_breaks_red_lines(asked: str, lines: set[str]) -> None:
    floor = load("floor")
    rules = tuple(_widened(rule, asked) if rule.id == "F-10" else rule for rule in floor.rules)
    verdicts = prove(msgspec.structs.replace(floor, rules=rules), None).verdicts
    assert lines <= {each.line for each in verdicts if each.verdict == "violated"}


def _widened(rule: Rule, asked: str) -> Rule:
    if asked == "data":
        return msgspec.structs.replace(rule, data=dict.fromkeys(CATEGORY_NUMBERS.values(), RELEASE))
    return msgspec.structs.replace(rule, when=tuple(each for each in rule.when if each.dimension != asked))


@pytest.mark.parametrize("asserted", ["purpose: [PROTECT_LIFE]", "urgency: [LIFE]", "ground: [CONSENT]"])
def test_a_limit_that_asks_what_the_asker_says_breaks_red_lines(asserted: str) -> None:
    text = (FOLDER / "ca.yaml").read_text()
    limit = """- id: CA-99
  title: {en: t, fr: t}
  law: YCJA s. 118
  effect: limit
  when: {role: [VICTIM], %s}
  data: {IDENTITY: withhold}
"""
    book = parse_rulebook((text + limit % asserted).encode(), demonstration=True)
    violated = {each.line for each in prove(load("floor"), book).verdicts if each.verdict == "violated"}
    assert violated == {"R-14", "R-14a"}


# --- what is said of them --------------------------------------------------------------------------------------------


def test_the_page_of_red_lines_is_the_floors() -> None:
    page = (FOLDER.parents[2] / "docs/red-lines.md").read_text()
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in page.splitlines() if row.startswith("| R-")]
    lines = load("floor").red_lines
    assert [row[:4] for row in rows] == [[x.id, x.titles["en"], x.law, x.kind.replace("_", " ")] for x in lines]
    kept = {row[0]: row[4] for row in rows}
    assert all(kept[line].startswith(f"{rule} ") for rule, line in KEEPS.items())
    assert all(x.test.rpartition("/")[2] in kept[x.id] for x in lines if x.test)


def test_the_guides_rulebook_is_sound_and_keeps_every_red_line() -> None:
    guide = (FOLDER.parents[2] / "docs/guides/focal-point.md").read_text()
    text = guide.partition("```yaml\n")[2].partition("```")[0].encode()
    remarks = check_rulebook(text, load("floor"))
    assert [each.weight for each in remarks] == ["warning"]  # of the illustration
    assert prove(load("floor"), parse_rulebook(text, demonstration=True)).is_kept()
