"""The ledger from the command line: read by its auditor, verified from its file, held to a checkpoint."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from node.errors import EnlaceError, UsageError
from node.ledger.chain import FIRST_LINK, link_of
from node.ledger.rfc6962 import Frontier, leaf_hash
from tests.command_line import QUESTION, TELEPHONE, Desk, new_case, running
from tests.pki import FEDERATION
from tests.world import Place, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def gt(world: World) -> Desk:
    return Desk(world["GT"])


def test_the_ledger_is_verified_from_its_file_while_the_node_runs(gt: Desk, world: World) -> None:
    gt.run("search", TELEPHONE, *QUESTION, "--peer", "MX")
    for place in (world["GT"], world["MX"]):
        verified = Desk(place).json("ledger", "verify")
        assert verified["verified"] is True
        assert verified["signatures"] > 0
        assert len(verified["root"]) == 64
    assert gt.json("ledger", "verify")["lines"] == gt.json("ledger", "verify")["lines"]


@contextmanager
def copied(place: Place, path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(place.home.data / "enlace.db")) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
        yield target
        target.commit()


def test_signatures_by_keys_that_no_directory_names_are_a_finding(gt: Desk, tmp_path: Path) -> None:
    gt.run("search", TELEPHONE, *QUESTION, "--peer", "MX")
    with copied(gt.place, tmp_path / "copy.db") as copy:
        copy.execute("DELETE FROM directories")
    found = gt.json("ledger", "verify", "--database", str(tmp_path / "copy.db"))
    assert gt.status == 1
    assert found["findings"] == [
        "the directory of version 1 was taken away behind the ledger's back: line 0 says that it is there"
    ]


def test_a_byte_changed_in_a_copy_is_found_and_its_line_named(gt: Desk, tmp_path: Path) -> None:
    with copied(gt.place, tmp_path / "copy.db") as copy:
        leaf = bytearray(copy.execute("SELECT leaf FROM ledger_lines WHERE idx = 3").fetchone()[0])
        leaf[-1] ^= 1
        copy.execute("UPDATE ledger_lines SET leaf = ? WHERE idx = 3", (bytes(leaf),))
    found = gt.json("ledger", "verify", "--database", str(tmp_path / "copy.db"))
    assert gt.status == 1
    assert found["verified"] is False
    assert "line 3" in found["findings"][0]
    assert "line 3" in gt.run("ledger", "verify", "--database", str(tmp_path / "copy.db"))


def rewritten(copy: sqlite3.Connection, lines: int) -> None:
    """Let a ledger end after so many lines, and fix all that the database says of it: what an administrator can do."""
    for table in ("ledger_lines", "ledger_openings", "ledger_bodies"):
        copy.execute(f"DELETE FROM {table} WHERE idx >= ?", (lines,))
    copy.execute("UPDATE followed SET size = min(size, ?)", (lines,))
    kept = copy.execute("SELECT leaf_hash, link FROM ledger_lines ORDER BY idx").fetchall()
    frontier = Frontier().appended(leaf_hash for leaf_hash, _ in kept)
    copy.execute(
        "UPDATE ledger_head SET size = ?, root = ?, frontier = ?, link = ?",
        (frontier.size, frontier.root, frontier.to_bytes(), kept[-1][1]),
    )


def relined(copy: sqlite3.Connection, index: int) -> None:
    """Put another leaf in a line's place, with its hash, and the links of all after it; forget what peers cosigned."""
    for table in ("cosignatures", "checkpoints"):
        copy.execute(f"DELETE FROM {table}")
    other = copy.execute("SELECT leaf FROM ledger_lines WHERE idx = ?", (index - 1,)).fetchone()[0]
    exchange = copy.execute("SELECT exchange_id FROM ledger_lines WHERE idx = ?", (index - 1,)).fetchone()[0]
    opening = copy.execute("SELECT sealed FROM ledger_openings WHERE idx = ?", (index - 1,)).fetchone()[0]
    copy.execute("UPDATE ledger_openings SET sealed = ? WHERE idx = ?", (opening, index))
    values = (other, leaf_hash(other), exchange, b"again", index)
    copy.execute(
        "UPDATE ledger_lines SET leaf = ?, leaf_hash = ?, exchange_id = ?, replay_key = ? WHERE idx = ?", values
    )
    link = FIRST_LINK
    for line, hashed in copy.execute("SELECT idx, leaf_hash FROM ledger_lines ORDER BY idx").fetchall():
        link = link_of(link, hashed)
        copy.execute("UPDATE ledger_lines SET link = ? WHERE idx = ?", (link, line))
    rewritten(copy, copy.execute("SELECT count(*) FROM ledger_lines").fetchone()[0])


def test_history_that_was_rewritten_whole_is_found_by_a_checkpoint_kept_elsewhere(gt: Desk, tmp_path: Path) -> None:
    new_case(gt, "K-1")
    Desk(gt.place, "auditor").json("ledger", "list")  # a reading, so that the last line speaks of no row
    kept, copied_to = tmp_path / "checkpoint", str(tmp_path / "copy.db")
    made = gt.json("ledger", "checkpoint", "--out", str(kept))
    assert kept.read_text() == made["note"]
    assert made["note"].startswith(f"{FEDERATION}/GT/gt-1\n{made['lines']}\n")
    since = ("--database", copied_to, "--since", str(kept))
    with copied(gt.place, tmp_path / "cut.db") as copy:
        rewritten(copy, made["lines"] - 1)
    new_case(gt, "K-2")
    with copied(gt.place, tmp_path / "copy.db"):
        pass
    whole = gt.json("ledger", "verify", *since)
    assert (whole["verified"], whole["lines"] > made["lines"]) == (True, True)

    cut = ("--database", str(tmp_path / "cut.db"))
    assert gt.json("ledger", "verify", *cut)["lines"] == made["lines"] - 1
    found = gt.json("ledger", "verify", *cut, "--since", str(kept))
    assert (gt.status, found["verified"]) == (1, False)
    (finding,) = found["findings"]
    assert f"counts {made['lines']} lines, and it has {made['lines'] - 1}" in finding


def test_one_line_rewritten_with_all_that_hangs_on_it_is_found_likewise(gt: Desk, tmp_path: Path) -> None:
    new_case(gt, "K-3")
    for _ in range(2):
        Desk(gt.place, "auditor").json("ledger", "list")
    kept, copied_to = tmp_path / "checkpoint", str(tmp_path / "copy.db")
    lines = gt.json("ledger", "checkpoint", "--out", str(kept))["lines"]
    new_case(gt, "K-4")
    with copied(gt.place, tmp_path / "copy.db") as copy:
        relined(copy, lines - 1)
    assert gt.json("ledger", "verify", "--database", copied_to)["verified"]
    found = gt.json("ledger", "verify", "--database", copied_to, "--since", str(kept))
    assert gt.status == 1
    assert found["findings"] == [
        f"history was rewritten: the first {lines} lines are not those of the checkpoint",
    ]


def test_only_the_nodes_own_checkpoint_is_believed(gt: Desk, world: World, tmp_path: Path) -> None:
    note = gt.run("ledger", "checkpoint")
    for name, text in (
        ("peer", Desk(world["MX"]).run("ledger", "checkpoint")),
        ("altered", note.replace("\n", "\n1", 1)),
        ("nothing", "nothing"),
    ):
        path = tmp_path / name
        path.write_text(text)
        found = gt.json("ledger", "verify", "--since", str(path))
        assert gt.status == 1
        assert "no checkpoint of" in found["findings"][0]
    (tmp_path / "note").write_text(note)
    assert gt.json("ledger", "verify", "--since", str(tmp_path / "note"))["verified"]
    with pytest.raises(UsageError, match="No such file"):
        gt.run("ledger", "verify", "--since", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="File exists"):
        gt.run("ledger", "checkpoint", "--out", str(tmp_path / "note"))


def test_a_directory_that_was_swapped_does_not_verify_anything(gt: Desk, world: World, tmp_path: Path) -> None:
    """Who rewrites a ledger with keys of their own needs a directory that names them; the pinned root refuses it."""
    other = World.make(tmp_path / "other", ("GT", "MX"))
    shutil.copy(other["GT"].home.trust / "root.bin", tmp_path / "root.bin")
    pinned = world["MX"].home.trust / "root.bin"
    kept = pinned.read_bytes()
    pinned.write_bytes((tmp_path / "root.bin").read_bytes())
    try:
        with pytest.raises(EnlaceError):
            Desk(world["MX"]).run("ledger", "verify")
    finally:
        pinned.write_bytes(kept)
    assert gt.status == 0


def test_what_is_no_database_is_refused(gt: Desk, tmp_path: Path) -> None:
    for nowhere in (str(tmp_path / "nothing"), f"sqlite:///{tmp_path / 'nothing'}", "mysql://x/y"):
        with pytest.raises(UsageError):
            gt.run("ledger", "verify", "--database", nowhere)
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "text").write_text("not a database")
    with pytest.raises(EnlaceError):
        gt.run("ledger", "verify", "--database", str(tmp_path / "text"))


def test_the_auditor_reads_lines_and_that_is_a_line(gt: Desk) -> None:
    gt.run("search", TELEPHONE, *QUESTION, "--peer", "MX")
    auditor = Desk(gt.place, "auditor")
    lines = auditor.json("ledger", "list", "--peer", "MX", "--limit", "10000")
    assert {line["peer"] for line in lines} == {"MX"}
    assert lines[-1]["private"]["released"] == 2
    assert "released" in auditor.run("ledger", "list", "--start", lines[-1]["index"])
    last = gt.lines()[-1]
    assert (last["kind"], last["private"]["officer"]) == ("LEAF_KIND_READ", "auditor")
    with pytest.raises(EnlaceError, match="role"):
        gt.run("ledger", "list")
    assert gt.last_reasons(1) == [("DENIED", "ROLE")]
