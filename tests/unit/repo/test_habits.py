"""Habits of the house that no linter holds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LONGEST = 400  # lines of a module
LONGEST_TEST = 600  # tables of cases read faster than code
# Folders of people and of workplaces; words are put together here so that this file does not find itself.
FOREIGN = re.compile(r"(?<![\w.~-])/(?:home|Users|root|work|tmp/bash)/[\w.-]+")
SECRET = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{16}")


def tracked(*patterns: str) -> list[Path]:
    """Files that git tracks or would track, narrowed to `patterns`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted({path for name in listed.split("\0") if name and (path := ROOT / name).is_file()})


def texts(*patterns: str) -> list[tuple[str, str]]:
    found = []
    for path in tracked(*patterns):
        data = path.read_bytes()
        if b"\0" not in data:
            found.append((str(path.relative_to(ROOT)), data.decode("utf-8")))
    return found


def test_no_module_is_longer_than_a_person_reads_at_once() -> None:
    modules = [path for path in tracked("*.py") if ROOT / "node/wire" not in path.parents]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in modules}
    limits = {name: LONGEST_TEST if name.startswith("tests/") else LONGEST for name in lengths}
    assert {name: lines for name, lines in lengths.items() if lines > limits[name]} == {}


def test_no_path_of_somebodys_machine_is_tracked() -> None:
    found = [f"{name}: {match[0]}" for name, text in texts() for match in FOREIGN.finditer(text)]
    assert found == []


def test_no_page_is_cited_that_the_repository_does_not_hold() -> None:
    # Who reads this tree can't open notes that lie elsewhere: the fact itself is said instead.
    cited = re.compile(r"SAFEGUARDS|DESIGN\.md|DESIGN §|LAW\.md|\b[Ss]pine\b")
    here = str(Path(__file__).relative_to(ROOT))
    found = [f"{name}: {match[0]}" for name, text in texts() if name != here for match in cited.finditer(text)]
    assert found == []


def test_no_private_key_is_tracked() -> None:
    assert [name for name, text in texts() if SECRET.search(text)] == []


def test_nothing_is_put_off_or_switched_off() -> None:
    words = re.compile(r"\b(?:TODO|FIXME|XXX|xfail|pytest\.skip|mark\.skip\w*|unittest\.mock)\b")
    here = str(Path(__file__).relative_to(ROOT))
    own = [(name, text) for name, text in texts("*.py", "*.proto", "*.toml", "*.yaml") if name != here]
    assert [f"{name}: {match[0]}" for name, text in own for match in words.finditer(text)] == []


def test_the_readme_names_both_commands_and_every_folder() -> None:
    readme = ROOT.joinpath("README.md").read_text("utf-8")
    packages = {f"{path.parent.name}/" for path in tracked(":(glob)node/*/__init__.py")}
    tops = {f"{path.relative_to(ROOT).parts[0]}/" for path in tracked() if len(path.relative_to(ROOT).parts) > 1}
    shown = {"make demo", "make test", *packages, *tops} - {".ci/"}
    assert {name for name in shown if name not in readme} == set()


@pytest.mark.parametrize("guide", [path.relative_to(ROOT) for path in tracked("*.md")], ids=str)
def test_links_between_pages_lead_somewhere(guide: Path) -> None:
    text = ROOT.joinpath(guide).read_text("utf-8")
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)
    assert [target for target in targets if not ROOT.joinpath(guide.parent, target).exists()] == []


def test_make_alone_lists_the_targets() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for target in ("help", "demo", "test", "check", "fmt", "lock", "bench", "proto"):
        assert f"make {target}" in listed


def test_the_generated_code_is_what_the_contract_makes() -> None:
    ran = subprocess.run(
        [sys.executable, "tools/generate.py", "--check"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
