"""A federation is founded, changed and checked with the commands, on files alone."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli.directory import app
from node.errors import (
    DirectoryExpiredError,
    DirectoryMalformedError,
    DirectoryRollbackError,
    DirectorySignatureError,
    EnlaceError,
    UsageError,
)
from tests.pki import FEDERATION, country

INSTRUMENTS = """\
- id: UNTOC
  kind: TREATY
  title: United Nations Convention against Transnational Organized Crime
  parties: [GT, MX]
  valid_from: "2003-09-29T00:00:00Z"
  valid_until: 2099-01-01
  crimes: [TRAFFICKING, KIDNAPPING]
"""


def run(*words: object) -> dict[str, Any]:
    """Run a command and return what it prints as JSON; what it raises is raised."""
    result = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


def describe(folder: Path, code: str, number: int = 1, port: int = 7443) -> Path:
    name = f"{code.lower()}-1"
    folder.joinpath(f"{code}-ca.pem").write_bytes(country(code).roots_pem)
    if not folder.joinpath(f"{code}-node").exists():
        run("new-steward", "--out", folder / f"{code}-node")
    path = folder / f"{code}.yaml"
    path.write_text(
        f"""\
country: {code}
number: {number}
duty_telephone: "+502 2411 9911"
accepted: [NO_ONWARD, RETENTION]
protocols: [1]
treaties: [UNTOC]
ca_certificates: [{code}-ca.pem]
nodes:
- name: {name}
  endpoint: {name}.example:{port}
  server_name: {name}.example
  signing_keys:
  - {{public_key: {code}-node.pub, valid_from: "2026-01-01T00:00:00Z", valid_until: "2027-01-01T00:00:00Z"}}
""",
        encoding="utf-8",
    )
    return path


def record(folder: Path, code: str, number: int = 1, port: int = 7443) -> Path:
    key = folder / f"{code}-root"
    if not key.exists():
        run("new-member-key", "--out", key)
    out = folder / f"{code}-{number}.member"
    description = describe(folder, code, number, port)
    run("member-record", description, "--root", folder / "root", "--key", key, "--out", out)
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A root with three stewards of whom two sign, two members, and a directory that nobody has signed."""
    for name in ("ana", "bea", "caro", "dora"):
        run("new-steward", "--out", tmp_path / name)
    stewards = [f"--steward={name}={tmp_path / name}.pub" for name in ("ana", "bea", "caro")]
    run("init-root", "--federation", FEDERATION, "--threshold", 2, *stewards, "--out", tmp_path / "root")
    tmp_path.joinpath("floor.yaml").write_text("rulebook: FLOOR\n", encoding="utf-8")
    tmp_path.joinpath("instruments.yaml").write_text(INSTRUMENTS, encoding="utf-8")
    members = [f"--member={record(tmp_path, code)}" for code in ("GT", "MX")]
    floor, instruments = tmp_path / "floor.yaml", tmp_path / "instruments.yaml"
    compose(tmp_path, "first", *members, "--floor", floor, "--instruments", instruments, "--demonstration")
    return tmp_path


def compose(folder: Path, name: str, *options: object) -> dict[str, Any]:
    return run("compose", "--root", folder / "root", "--out", folder / name, *options)


def sign(folder: Path, name: str, *stewards: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for steward in stewards:
        facts = run("sign", folder / name, "--root", folder / "root", "--key", folder / steward)
    return facts


def verify(folder: Path, name: str, *options: object) -> dict[str, Any]:
    return run("verify", folder / name, "--root", folder / "root", *options)


def test_private_keys_are_readable_by_their_owner_alone(folder: Path) -> None:
    for name in ("ana", "GT-root"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
        assert b"PRIVATE" not in (folder / f"{name}.pub").read_bytes()


def test_a_key_under_a_passphrase_signs_only_with_it(folder: Path) -> None:
    word = folder / "word"
    word.write_text("correct horse\n", encoding="utf-8")
    locked = run("new-steward", "--out", folder / "locked", "--passphrase-file", word)
    assert (folder / "locked").read_bytes().startswith(b"-----BEGIN ENCRYPTED")
    stewards = [f"--steward=eva={folder / 'locked.pub'}", f"--steward=ana={folder / 'ana.pub'}"]
    run("rotate-root", "--root", folder / "root", *stewards, "--threshold", 2, "--out", folder / "next")
    signing = ("sign-root", folder / "next", "--root", folder / "root", "--key", folder / "locked")
    with pytest.raises(UsageError, match="passphrase"):
        run(*signing)
    facts = run(*signing, "--passphrase-file", word)
    assert facts["stewards"]["eva"] == locked["public_key"]
    assert (facts["signed_by_new"], facts["missing_of_new"], facts["missing_of_old"]) == (["eva"], 1, 2)


def test_a_directory_is_composed_signed_shown_and_verified(folder: Path) -> None:
    assert run("show", folder / "first", "--root", folder / "root")["missing_signatures"] == 2
    with pytest.raises(DirectorySignatureError):
        verify(folder, "first")
    assert sign(folder, "first", "ana")["missing_signatures"] == 1
    facts = sign(folder, "first", "caro")
    assert (facts["signed_by"], facts["missing_signatures"]) == (["ana", "caro"], 0)
    shown = run("show", folder / "first", "--root", folder / "root")
    assert [each["country"] for each in shown["members"]] == ["GT", "MX"]
    assert shown["members"][0]["accepted"] == ["NO_ONWARD", "RETENTION"]
    assert shown["instruments"][0]["valid_until"] == "2099-01-01T00:00:00Z"
    assert shown["demonstration"] is True
    verified = verify(folder, "first")
    assert (verified["version"], verified["members"], verified["sha256"]) == (1, ["GT", "MX"], shown["sha256"])
    with pytest.raises(DirectoryExpiredError):
        verify(folder, "first", "--at", "2099-01-01")


def test_people_read_it_as_a_table(folder: Path) -> None:
    result = CliRunner().invoke(app, ["show", str(folder / "first"), "--root", str(folder / "root")])
    assert result.exit_code == 0
    assert "missing signatures" in result.stdout
    assert "UNTOC" in result.stdout


def test_the_next_directory_keeps_what_is_not_changed(folder: Path) -> None:
    sign(folder, "first", "ana", "bea")
    newer = record(folder, "MX", 2, port=8443)
    facts = compose(folder, "second", "--previous", folder / "first", "--member", newer)
    assert facts["version"] == 2
    assert facts["members"][1]["nodes"] == ["mx-1 mx-1.example:8443"]
    assert facts["instruments"][0]["id"] == "UNTOC"
    sign(folder, "second", "bea", "caro")
    assert verify(folder, "second", "--previous", folder / "first")["changed_root_keys"] == []
    with pytest.raises(DirectoryRollbackError):
        verify(folder, "first", "--previous", folder / "second")
    left = compose(folder, "third", "--previous", folder / "second", "--without", "MX", "--instruments", empty(folder))
    assert [each["country"] for each in left["members"]] == ["GT"]


def empty(folder: Path) -> Path:
    path = folder / "none.yaml"
    path.write_text("[]\n", encoding="utf-8")
    return path


def test_a_root_rotates_with_the_commands(folder: Path) -> None:
    sign(folder, "first", "ana", "bea")
    pinned = ("--root", folder / "root", "--previous", folder / "first")
    stewards = [f"--steward={name}={folder / name}.pub" for name in ("caro", "dora")]
    run("rotate-root", *pinned, "--threshold", 2, *stewards, "--out", folder / "next")
    facts = {}
    for name in ("ana", "caro", "dora"):
        facts = run("sign-root", folder / "next", *pinned, "--key", folder / name)
    assert (facts["root_version"], facts["missing_of_old"], facts["missing_of_new"]) == (2, 0, 0)
    compose(folder, "second", "--previous", folder / "first", "--rotation", folder / "next")
    with pytest.raises(UsageError, match="not the key of a steward"):
        sign(folder, "second", "ana")
    sign(folder, "second", "caro", "dora")
    assert verify(folder, "second", "--previous", folder / "first")["version"] == 2
    with pytest.raises(UsageError, match="not the key of a steward"):
        run("sign-root", folder / "next", *pinned, "--key", folder / "GT-root")


# --- wrong use --------------------------------------------------------------------------------------------------------

DESCRIPTIONS = {
    "an unknown key": ("protocols: [1]", "protocol: [1]", UsageError, "protocol"),
    "a key twice": ("protocols: [1]", "number: 1", UsageError, "duplicate"),
    "no YAML": ("protocols: [1]", "protocols: [1", UsageError, "GT.yaml"),
    "an unknown obligation": ("NO_ONWARD", "NO_MERCY", UsageError, "NO_MERCY"),
    "a time that is none": ("2026-01-01T00:00:00Z", "soon", UsageError, "valid_from: soon is not a time"),
    "a list that is none": ("[GT-ca.pem]", "GT-ca.pem", UsageError, "expected a list"),
    "a missing file": ("[GT-ca.pem]", "[GT.pem]", UsageError, "No such file"),
    "a file of another kind": ("[GT-ca.pem]", "[GT-node.pub]", UsageError, "not a certificate"),
    "a key of another kind": ("public_key: GT-node.pub", "public_key: GT-ca.pem", UsageError, "not a public key"),
    "a value beyond the contract": ("gt-1.example:7443", "gt-1.example", DirectoryMalformedError, "host:port"),
}


@pytest.mark.parametrize(("old", "new", "error", "reason"), DESCRIPTIONS.values(), ids=DESCRIPTIONS.keys())
def test_a_description_is_refused(folder: Path, old: str, new: str, error: type[EnlaceError], reason: str) -> None:
    path = folder / "GT.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    out = folder / "refused"
    with pytest.raises(error, match=reason):
        run("member-record", path, "--root", folder / "root", "--key", folder / "GT-root", "--out", out)
    assert not out.exists()


def test_nothing_is_written_over(folder: Path) -> None:
    before = (folder / "ana").read_bytes()
    with pytest.raises(UsageError, match="exists"):
        run("new-steward", "--out", folder / "ana")
    assert (folder / "ana").read_bytes() == before


def test_what_nodes_would_refuse_is_not_composed_or_signed(folder: Path) -> None:
    sign(folder, "first", "ana", "bea")
    with pytest.raises(DirectoryMalformedError, match="MX is not a member"):
        compose(folder, "second", "--previous", folder / "first", "--without", "MX")
    with pytest.raises(UsageError, match="BR is not a member"):
        compose(folder, "second", "--previous", folder / "first", "--without", "BR")
    with pytest.raises(UsageError, match="--floor"):
        compose(folder, "second", "--member", folder / "GT-1.member")
    assert not (folder / "second").exists()
    damaged = (folder / "first").read_bytes().replace(b"7443", b"7444", 1)
    folder.joinpath("damaged").write_bytes(damaged)
    with pytest.raises(DirectorySignatureError, match="GT"):
        sign(folder, "damaged", "caro")
    with pytest.raises(UsageError, match="NAME=FILE"):
        run("init-root", "--federation", FEDERATION, "--threshold", 2, "--steward", "ana", "--out", folder / "second")


def test_show_says_what_is_wrong_with_a_signature(folder: Path) -> None:
    sign(folder, "first", "ana", "bea")
    data = (folder / "first").read_bytes()
    (folder / "first").write_bytes(data.replace(b"rulebook: FLOOR", b"rulebook: FLOUR"))
    assert "does not verify" in run("show", folder / "first", "--root", folder / "root")["finding"]


def test_the_quorum_of_witnesses_stays_until_another_is_given(folder: Path) -> None:
    sign(folder, "first", "ana", "bea")
    before = ("--previous", folder / "first")
    second = compose(folder, "second", *before, "--witness-quorum", 1)
    assert second["witness_quorum"] == 1
    sign(folder, "second", "ana", "bea")
    assert compose(folder, "third", "--previous", folder / "second")["witness_quorum"] == 1
