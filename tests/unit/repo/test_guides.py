"""Every `enlace` command in a guide is one that exists, and every rulebook in one is read without a mistake."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from node.policy.rulebook import parse_rulebook

ROOT = Path(__file__).resolve().parents[3]
GUIDES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("certs/**/*.md")]


def commands(guide: Path) -> list[str]:
    """Command lines in the guide's blocks and between its backticks, continued lines joined."""
    text = guide.read_text("utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`(enlace [^`\n]+)`", text)
    return sorted({line for line in [*lines, *inline] if line.startswith("enlace ")})


def mistakes(line: str) -> list[str]:
    """What in a command line the command doesn't know."""
    from node.cli.app import app

    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    while words and (named := getattr(command, "commands", {}).get(words[0])) is not None:
        command, words = named, words[1:]
    if hasattr(command, "commands") and words and not words[0].startswith("-"):
        return [f"no command {words[0]!r}"]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return [word for word in words if word.startswith("--") and word.split("=")[0] not in known]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.relative_to(ROOT)))
def test_the_commands_of_a_guide_exist(guide: Path) -> None:
    wrong = {line: found for line in commands(guide) if (found := mistakes(line))}
    assert wrong == {}


def test_the_rulebook_of_the_guide_is_valid() -> None:
    guide = ROOT.joinpath("docs/guides/focal-point.md").read_text("utf-8")
    (text,) = re.findall(r"^```yaml\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    rulebook = parse_rulebook(text.encode(), demonstration=True)
    assert [rule.effect for rule in rulebook.rules] == ["allow", "allow", "limit", "hold", "attach"]
    assert [line.id for line in rulebook.red_lines] == ["R1"]
