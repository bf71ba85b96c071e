"""A line proved by its auditor, and checked by somebody who has nothing but the directory and its root."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.errors import EnlaceError, ForbiddenError, UsageError
from node.wire.bundle_pb2 import ProofBundle
from tests.command_line import QUESTION, TELEPHONE, Desk, running
from tests.world import DAY_US, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with running(folder) as made:
        (folder / "directory.bin").write_bytes(made.directory)
        (folder / "root.bin").write_bytes(made.root)
        Desk(made["GT"]).run("search", TELEPHONE, *QUESTION, "--peer", "MX")
        yield made


@pytest.fixture
def auditor(world: World) -> Desk:
    return Desk(world["GT"], "auditor")


@pytest.fixture
def trusted(auditor: Desk) -> tuple[str, ...]:
    folder = auditor.place.home.path.parent
    root, directory = folder / "root.bin", folder / "directory.bin"
    assert root.exists()
    return ("--directory", str(directory), "--root", str(root))


def answered(auditor: Desk) -> int:
    return next(int(line["index"]) for line in auditor.lines() if line["kind"] == "LEAF_KIND_ANSWERED")


def test_an_answer_is_proved_and_the_proof_needs_no_node(
    auditor: Desk, trusted: tuple[str, ...], tmp_path: Path
) -> None:
    line, file = answered(auditor), tmp_path / "bundle"
    made = auditor.json("ledger", "prove", str(line), "-o", str(file))
    assert (made["line"], made["opened"], made["bytes"]) == (line, False, file.stat().st_size)
    found = auditor.json("verify-bundle", str(file), *trusted)
    assert auditor.status == 0
    assert (found["verified"], found["line"], found["peer"]) == (True, line, "MX")
    assert (found["signed_by_peer"], found["private_part"]) == (True, "not opened")
    assert found["ledger"].endswith("/GT/gt-1")
    (read,) = [each for each in auditor.lines() if each["private"].get("reason") == f"PROVE {line}"]
    assert read["kind"] == "LEAF_KIND_READ"
    with pytest.raises(UsageError, match="File exists"):
        auditor.run("ledger", "prove", str(line), "-o", str(file))


def test_the_last_cosigned_checkpoint_is_taken(auditor: Desk, trusted: tuple[str, ...], tmp_path: Path) -> None:
    deadline = time.monotonic() + 30
    for number in itertools.count():
        file = tmp_path / f"bundle-{number}"
        auditor.run("ledger", "prove", "0", "-o", str(file))
        found = auditor.json("verify-bundle", str(file), *trusted)
        assert found["verified"]
        if found["cosigned_by"]:
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert [name.split("/")[1] for name in found["cosigned_by"]] == ["MX"]


def test_opened_it_names_officer_and_rulebooks(auditor: Desk, trusted: tuple[str, ...], tmp_path: Path) -> None:
    asked = next(int(line["index"]) for line in auditor.lines() if line["kind"] == "LEAF_KIND_ASKED")
    auditor.run("ledger", "prove", str(asked), "-o", str(tmp_path / "bundle"), "--open", "FILE 12")
    found = auditor.json("verify-bundle", str(tmp_path / "bundle"), *trusted)
    assert (found["officer"], found["case"], found["purpose"]) == ("analyst", "C-1", "investigate")
    assert len(found["outbound_rulebook"]) == 64
    assert f"PROVE {asked} UNMASK FILE 12" in [each["private"].get("reason") for each in auditor.lines()]
    with pytest.raises(UsageError, match="unmask"):
        auditor.run("ledger", "prove", str(asked), "-o", str(tmp_path / "none"), "--open", " ")


def test_a_checkpoint_kept_elsewhere_is_proved_against(
    auditor: Desk, world: World, trusted: tuple[str, ...], tmp_path: Path
) -> None:
    line, kept = answered(auditor), tmp_path / "checkpoint"
    size = auditor.json("ledger", "checkpoint", "--out", str(kept))["lines"]
    auditor.run("ledger", "prove", str(line), "-o", str(tmp_path / "bundle"), "--checkpoint", str(kept))
    assert auditor.json("verify-bundle", str(tmp_path / "bundle"), *trusted)["of_lines"] == size
    with pytest.raises(UsageError, match=f"counts {size} lines"):
        auditor.run("ledger", "prove", str(size), "-o", str(tmp_path / "none"), "--checkpoint", str(kept))
    Desk(world["MX"]).json("ledger", "checkpoint", "--out", str(tmp_path / "other"))
    with pytest.raises(UsageError, match="none of this ledger"):
        auditor.run("ledger", "prove", "0", "-o", str(tmp_path / "none"), "--checkpoint", str(tmp_path / "other"))
    with pytest.raises(UsageError, match="there is no line"):
        auditor.run("ledger", "prove", "100000", "-o", str(tmp_path / "none"))
    with pytest.raises(ForbiddenError):
        Desk(auditor.place).run("ledger", "prove", "0", "-o", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_what_is_altered_is_a_sentence_and_status_1(
    auditor: Desk, world: World, trusted: tuple[str, ...], tmp_path: Path
) -> None:
    path, line = tmp_path / "bundle", answered(auditor)
    auditor.run("ledger", "prove", str(line), "-o", str(path))
    whole = path.read_bytes()

    def finding(**alter: object) -> str:
        made = ProofBundle.FromString(whole)
        made.MergeFrom(ProofBundle(**alter))  # type: ignore[arg-type]
        path.write_bytes(made.SerializeToString())
        found = auditor.json("verify-bundle", str(path), *trusted)
        assert (auditor.status, found["verified"]) == (1, False)
        assert isinstance(found["finding"], str)
        return found["finding"]

    assert "another root" in finding(index=line ^ 1)  # its sibling, whose proof is as long
    assert "surplus" in finding(proof=[bytes(32)])
    assert "not a leaf" in finding(leaf=b"\xff")
    other = Desk(world["MX"]).json("ledger", "checkpoint")["note"].encode()
    assert "no signature by a known key" in finding(checkpoint=other)
    assert "does not open" not in auditor.run("verify-bundle", str(path), *trusted)


def test_a_key_outside_its_validity_proves_nothing(auditor: Desk, world: World, tmp_path: Path) -> None:
    """A directory whose keys began after the exchange does not vouch for it."""
    kept = ("--checkpoint", str(tmp_path / "checkpoint"))  # without cosignatures, which would fail first
    auditor.run("ledger", "checkpoint", "--out", kept[1])
    auditor.run("ledger", "prove", str(answered(auditor)), "-o", str(tmp_path / "bundle"), *kept)
    for place in world.places.values():
        place.since_us += 10 * DAY_US
    try:
        signed = world.directory_of(world.version + 1)
    finally:
        for place in world.places.values():
            place.since_us -= 10 * DAY_US
    (tmp_path / "directory").write_bytes(signed)
    (tmp_path / "root").write_bytes(world.root)
    trusted = ("--directory", str(tmp_path / "directory"), "--root", str(tmp_path / "root"))
    found = auditor.json("verify-bundle", str(tmp_path / "bundle"), *trusted)
    assert (auditor.status, found["finding"]) == (1, "no directory names this key for that node and time")


def test_a_directory_of_other_stewards_is_not_believed(auditor: Desk, trusted: tuple[str, ...], tmp_path: Path) -> None:
    auditor.run("ledger", "prove", "0", "-o", str(tmp_path / "bundle"))
    other = World.make(tmp_path / "other", ("GT", "MX"))
    (tmp_path / "root").write_bytes(other.root)
    with pytest.raises(EnlaceError):
        auditor.run("verify-bundle", str(tmp_path / "bundle"), *trusted[:2], "--root", str(tmp_path / "root"))
