"""Rulebooks are judged within the floor of a node's own directory."""

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli.app import app
from node.errors import UsageError
from tests.world import RULEBOOKS, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path, ("GT", "MX"))


def test_the_floor_is_that_of_the_directory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENLACE_HOME", str(world["GT"].home.path))
    result = CliRunner().invoke(app, ["policy", "prove", str(RULEBOOKS / "gt.yaml"), "--json"])
    assert result.exit_code == 0
    digest = hashlib.sha256((RULEBOOKS / "floor.yaml").read_bytes()).hexdigest()
    assert json.loads(result.stdout)["floor"] == {"name": "FLOOR", "version": 1, "sha256": digest}


def test_a_home_whose_store_can_not_be_read_is_named(world: World) -> None:
    home = world["GT"].home
    for path in home.data.iterdir():
        path.unlink()
    words = ["policy", "check", str(RULEBOOKS / "gt.yaml"), "--home", str(home.path)]
    with pytest.raises(UsageError, match=r"database|key store"):
        CliRunner().invoke(app, words, catch_exceptions=False)
