"""`enlace policy check` and `prove` on files alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli.app import app
from node.errors import EnlaceError, RulebookError, UsageError

FOLDER = Path(__file__).parents[3] / "node/policy/rulebooks"


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENLACE_HOME", raising=False)


def run(*arguments: object, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["policy", *map(str, arguments)], env={"ENLACE_LANGUAGE": "en", **environment})
    if isinstance(result.exception, EnlaceError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def run_json(*arguments: object) -> tuple[int, Any]:
    status, text = run(*arguments, "--json")
    return status, json.loads(text)


def changed(tmp_path: Path, name: str, *changes: tuple[str, str]) -> Path:
    """A shipped rulebook with other words in it."""
    text = (FOLDER / f"{name}.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / f"{name}.yaml"
    path.write_text(text)
    return path


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_of_a_shipped_rulebook_warns_and_is_done() -> None:
    status, text = run("check", FOLDER / "gt.yaml")
    assert status == 0
    assert text.endswith("1 warning\n")


def test_check_names_every_mistake_with_its_place(tmp_path: Path) -> None:
    path = changed(
        tmp_path, "us", ("role: [ASSOCIATE", "role: [ASOCIATE"), ("retention_days: 1825", "retention_days: 0")
    )
    status, text = run("check", path)
    assert status == 1
    lines = path.read_text().splitlines()
    row = next(number for number, line in enumerate(lines, 1) if "ASOCIATE" in line)
    assert f"{path}:{row}:17: mistake: 'ASOCIATE' is no value of role; did you mean ASSOCIATE?\n" in text
    assert text.endswith("2 mistakes, 1 warning\n")
    status, rows = run_json("check", path)
    assert status == 1
    assert [each["weight"] for each in rows] == ["warning", "mistake", "mistake"]
    assert (rows[1]["line"], rows[1]["column"]) == (row, 17)


def test_check_compares_grants_with_the_floor_that_is_named(tmp_path: Path) -> None:
    floor = changed(tmp_path, "floor", ("    VEHICLE: release\n", ""))
    _, rows = run_json("check", FOLDER / "gt.yaml", "--floor", floor)
    assert "GT-04 grants VEHICLE, which FLOOR never lets leave" in [each["sentence"] for each in rows]


def test_what_a_terminal_would_obey_is_not_printed(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2Jb.yaml"
    path.write_text("a: 1\n")
    _, text = run("check", path)
    assert "\x1b" not in text


# --- prove -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["floor", "gt"])
def test_prove_of_a_shipped_rulebook(name: str) -> None:
    status, found = run_json("prove", FOLDER / f"{name}.yaml")
    assert status == 0
    assert found["kept"] is True
    assert (found["release"] is None) == (name == "floor")
    assert len(found["sha256"]) == 64
    assert {each["verdict"] for each in found["red_lines"]} == {"proved", "structural"}
    status, text = run("prove", FOLDER / f"{name}.yaml")
    assert "✓ R-1 " in text
    assert text.splitlines()[-1].endswith("held by tests.")


NEVERMIND = "  effect: attach\n  when: {torture_risk: [AT_RISK]}\n  obligations: {flags: [NO_ONWARD]}"


def test_a_red_line_that_does_not_hold_comes_with_a_situation_in_words(tmp_path: Path) -> None:
    floor = changed(tmp_path, "floor", ("  effect: deny\n  when: {torture_risk: [AT_RISK]}", NEVERMIND))
    status, found = run_json("prove", FOLDER / "mx.yaml", "--floor", floor)
    assert status == 1
    (violated,) = (each for each in found["red_lines"] if each["verdict"] == "violated")
    assert violated["id"] == "R-5"
    assert "risks torture there" in violated["counterexample"]
    assert violated["facts"]["torture_risk"] == "AT_RISK"
    assert violated["rules"]
    status, text = run("prove", FOLDER / "mx.yaml", "--floor", floor)
    assert status == 1
    assert "✗ R-5 " in text
    assert violated["counterexample"] in text
    assert ", 1 violated." in text


def test_a_red_line_about_no_situation_is_named(tmp_path: Path) -> None:
    line = """red_lines:
- id: V
  title: t
  law: YCJA s. 118
  kind: never_release
  data: [DNA]
  when: {kind: [PERSON], torture_risk: [NOT_APPLICABLE]} # a person is always somebody
"""
    path = tmp_path / "ca.yaml"
    path.write_text((FOLDER / "ca.yaml").read_text() + line)
    status, text = run("prove", path)
    assert status == 0
    assert "? V " in text
    assert "1 about no situation" in text


def test_titles_are_in_the_officers_language() -> None:
    _, text = run("prove", FOLDER / "floor.yaml", ENLACE_LANGUAGE="es")
    assert "Un niño jamás es identificado" in text


# --- diff ------------------------------------------------------------------------------------------------------------


def test_diff_tells_what_newly_leaves_and_what_no_longer_waits(tmp_path: Path) -> None:
    newer = changed(tmp_path, "gt", ("LOCATION: generalise\n  obligations", "LOCATION: release\n  obligations"))
    status, found = run_json("diff", FOLDER / "gt.yaml", newer)
    assert status == 0
    assert found["verdict"] == "widens only"
    assert found["floor"]["rulebook"] == "FLOOR"
    assert found["ranges"]
    status, text = run("diff", newer, FOLDER / "gt.yaml")
    assert status == 0
    assert "narrows only" in text.splitlines()[0]
    assert "Newly withheld" in text


def test_diff_of_two_floors_names_the_red_line_that_is_gone(tmp_path: Path) -> None:
    text = (FOLDER / "floor.yaml").read_text()
    start = text.index("- id: R-9\n")
    newer = tmp_path / "floor.yaml"
    newer.write_text(text[:start] + text[text.index("- id: R-9a\n") :])
    status, found = run_json("diff", FOLDER / "floor.yaml", newer)
    assert status == 0
    assert (found["verdict"], found["red_lines"]["removed"]) == ("same", ["R-9"])


# --- wrong use -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("check", "nowhere.yaml"), "nowhere.yaml: No such file"),
        (("prove", FOLDER), "Is a directory"),
        (("prove", FOLDER / "gt-outbound.yaml"), "an outbound one has none"),
        (("prove", FOLDER / "gt.yaml", "--floor", FOLDER / "mx.yaml"), "mx.yaml is of layer release, not a floor"),
        (("diff", FOLDER / "gt.yaml", FOLDER / "floor.yaml"), "compare two release rulebooks, or two floors"),
        (("diff", FOLDER / "gt-outbound.yaml", FOLDER / "mx-outbound.yaml"), "compare two release rulebooks"),
        (("prove", FOLDER / "gt.yaml", "--home", "/nowhere"), "there is no node in /nowhere"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(arguments: tuple[object, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        run(*arguments)


def test_what_can_not_be_read_is_not_proved(tmp_path: Path) -> None:
    path = changed(tmp_path, "us", ("role: [ASSOCIATE", "role: [ASOCIATE"))
    with pytest.raises(RulebookError, match=r"us\.yaml:[0-9]+:17: 'ASOCIATE' is no value of role"):
        run("prove", path)


def test_a_file_without_end_is_refused() -> None:
    status, rows = run_json("check", "/dev/zero")
    assert status == 1
    assert "at most 1,048,576 bytes" in rows[0]["sentence"]
