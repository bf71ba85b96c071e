"""What all commands have in common: how they explain themselves, and how values look."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from node.cli.app import app
from node.cli.output import printable, show, show_rows, time_text


def commands(command: Any, name: str = "enlace") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 -- Typer's own Click
    children = getattr(command, "commands", {})
    if not children:
        yield name, command
    for child, each in children.items():
        yield from commands(each, f"{name} {child}")


COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_is_explained(name: str) -> None:
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_a_passphrase_file_is_explained_alike_everywhere() -> None:
    texts = {
        getattr(parameter, "help", "")
        for command in COMMANDS.values()
        for parameter in command.params
        if "--passphrase-file" in parameter.opts
    }
    assert sorted(texts) == [
        "Where the CA key's passphrase is written; else $ENLACE_CA_PASSPHRASE.",
        "Where the key's passphrase is written, if it has one.",
    ]


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "es_GT.UTF-8"}, "es"),
        ({"LANG": "pt_BR"}, "pt"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": ""}, "en"),
        ({"LANG": "es_GT.UTF-8", "ENLACE_LANGUAGE": "fr"}, "fr"),
    ],
)
def test_the_language_is_the_officers(
    environment: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENLACE_LANGUAGE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command = COMMANDS["enlace case show"]
    with command.make_context("show", ["1", "--as", "x"], resilient_parsing=False) as context:
        assert context.params["language"] == language


def test_a_language_that_the_house_does_not_speak_is_refused() -> None:
    result = CliRunner().invoke(app, ["case", "show", "1", "--as", "x", "--language", "de"])
    assert result.exit_code == 2


ID, DIGEST = bytes(range(16)), bytes(range(32))


def test_ids_and_digests_look_alike_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"id": ID, "digest": DIGEST, "many": {"of": [ID]}, "nothing": []}
    show(facts, as_json=True)
    uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert json.loads(capsys.readouterr().out) == {
        "id": uuid,
        "digest": DIGEST.hex(),
        "many": {"of": [uuid]},
        "nothing": [],
    }
    show(facts, as_json=False)
    printed = capsys.readouterr().out
    assert uuid in printed
    assert f"of {uuid}" in printed
    show_rows([{"id": ID}], as_json=False, empty="")
    assert uuid[:8] in capsys.readouterr().out


def test_no_value_rewrites_the_screen_or_breaks_the_calendar() -> None:
    assert "\x1b" not in printable({"a\x1b": "b\x1b[2J"})
    assert time_text(0) == ""
    assert time_text(2**62) == "outside the calendar"
