"""The locks name versions and hashes, and nothing of the machine that made them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LOCKS = ["requirements.lock", "requirements-dev.lock"]
PIN = re.compile(r"^([a-z0-9._-]+(?:\[[a-z,]+\])?==\S+(?: ; [^\\]+?)?) \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")

EXTRAS = re.compile(r"\[[^]]*\]")  # what else of a package something else asks for


def pins(name: str) -> dict[str, str]:
    lines = ROOT.joinpath(name).read_text("utf-8").splitlines()
    found = [EXTRAS.sub("", match[1]) for line in lines if (match := PIN.match(line))]
    return {pin.split("==")[0]: pin for pin in found}


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_a_pin_or_a_hash(name: str) -> None:
    lines = ROOT.joinpath(name).read_text("utf-8").splitlines()
    odd = [line for line in lines if not PIN.match(line) and not HASH.match(line)]
    assert odd == []  # so neither an index, nor a link, nor an option


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash(name: str) -> None:
    lines = ROOT.joinpath(name).read_text("utf-8").splitlines()
    bare = [
        line for line, after in zip(lines, [*lines[1:], ""], strict=True) if PIN.match(line) and not HASH.match(after)
    ]
    assert bare == []


def test_development_runs_on_exactly_the_versions_that_are_shipped() -> None:
    shipped, development = pins("requirements.lock"), pins("requirements-dev.lock")
    assert shipped
    assert {name: development.get(name) for name in shipped} == shipped


def test_the_builder_of_the_wheel_is_in_the_runtime_lock() -> None:
    # `make demo` installs the project without build isolation, from this lock alone.
    assert "flit-core" in pins("requirements.lock")
