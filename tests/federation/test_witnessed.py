"""What an auditor is told of witnesses at the command line: a quorum, false cosignatures, a rewritten history."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli.app import app
from node.cli.ledger_witness import examine_witnesses
from node.cli.serving import running
from node.errors import DirectoryMalformedError
from node.identity.directory import TrustedDirectory, sign_directory
from node.wire.directory_pb2 import Directory, SignedDirectory
from tests.command_line import Desk
from tests.federation.test_witnessing import ONE, OTHER, note_of, submit
from tests.world import DAY_US, Place, World, now_us


@pytest.fixture
def witnessed(tmp_path: Path) -> World:
    """GT has a checkpoint that MX cosigned, and one of later."""
    world = World.make(tmp_path, ("GT", "MX", "US"))

    async def live() -> None:
        async with running(world["GT"].config) as gt, running(world["MX"].config):
            assert await gt.witnessing.publish() == {"MX"}
            await gt.distribution.store_revocations("GT", world["GT"].ca.crl(1))
            assert await gt.witnessing.publish() == {"MX"}

    asyncio.run(live())
    return world


def altered(place: Place, *statements: str) -> None:
    with closing(sqlite3.connect(place.home.data / "enlace.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_every_checkpoint_and_cosignature_is_verified_and_listed(witnessed: World) -> None:
    gt = Desk(witnessed["GT"])
    assert gt.json("ledger", "verify")["verified"] is True
    home = str(witnessed["GT"].home.path)
    listed = CliRunner().invoke(app, ["ledger", "witnesses", "--home", home, "--json"])
    rows = json.loads(listed.stdout)
    assert len(rows) >= 2
    assert all(row["cosigned by"].startswith("MX ") and row["witnessed"] for row in rows)
    assert rows[0]["lines"] > rows[-1]["lines"]


NEWEST = "(SELECT max(size) FROM checkpoints)"
TRACES: dict[str, tuple[str, str]] = {
    "a cosignature that is another's": (
        (
            f"UPDATE cosignatures SET line = (SELECT min(line) FROM cosignatures c WHERE c.size < {NEWEST})"
            f" WHERE size = {NEWEST}"
        ),
        "the cosignature of MX under the checkpoint of",
    ),
    "a cosignature given to another country": (
        f"UPDATE cosignatures SET country = 'US' WHERE size = {NEWEST}",
        "the cosignature of US under the checkpoint of",
    ),
    "a node's own signature altered": (
        "UPDATE checkpoints SET note = CAST(replace(CAST(note AS TEXT), 'GT/gt-1', 'GT/gt-2') AS BLOB)",
        "is not signed by a key of this node",
    ),
    "a checkpoint under another size": (
        "UPDATE checkpoints SET size = size + 1000",
        "counts",
    ),
}


@pytest.mark.parametrize("name", TRACES)
def test_what_was_altered_by_sql_is_named(witnessed: World, name: str) -> None:
    statement, says = TRACES[name]
    altered(witnessed["GT"], statement)
    gt = Desk(witnessed["GT"])
    found = gt.json("ledger", "verify")
    assert gt.status == 1
    assert any(says in finding for finding in found["findings"])


def test_a_checkpoint_of_another_history_is_named(witnessed: World) -> None:
    """The node's own key has signed it, and only the lines tell that it is not theirs."""
    place = witnessed["GT"]
    with closing(sqlite3.connect(place.home.data / "enlace.db")) as connection:
        for size, hashes in ((2, ONE), (9_000, [ONE[0]] * 9_000)):
            values = (size, note_of(place, size, hashes), now_us())
            connection.execute("INSERT OR REPLACE INTO checkpoints (size, note, signed_us) VALUES (?, ?, ?)", values)
        connection.commit()
    gt = Desk(place)
    found = " ".join(gt.json("ledger", "verify")["findings"])
    assert gt.status == 1
    assert "the checkpoint of 2 lines has another root than those lines" in found
    assert "the checkpoint of 9000 lines counts more than" in found


def states(place: Place, world: World, at_us: int) -> list[tuple[str, str]]:
    directory = TrustedDirectory.restored(world.root, [world.directory])
    found = examine_witnesses(place.config, directory, at_us)
    return [(each.what, each.state) for each in found if (each.what, each.state) != ("findings", "green")]


def test_doctor_tells_the_age_of_what_was_witnessed(witnessed: World) -> None:
    gt, now = witnessed["GT"], now_us()
    assert states(gt, witnessed, now) == [("witnesses", "green")]
    assert states(gt, witnessed, now + 2 * DAY_US) == [("witnesses", "yellow")]
    assert states(gt, witnessed, now + 8 * DAY_US) == [("witnesses", "red")]
    assert states(witnessed["US"], witnessed, now) == [("witnesses", "yellow")]


def with_quorum(world: World, quorum: int) -> bytes:
    """Return the next directory, with this quorum."""
    signed = SignedDirectory.FromString(world.directory_of(2))
    inner = Directory.FromString(signed.directory)
    inner.witness_quorum = quorum
    again = SignedDirectory(directory=inner.SerializeToString(), roots=signed.roots)
    for name in ("ana", "bea"):
        again = sign_directory(again, world.stewards[name])
    return again.SerializeToString()


def test_a_quorum_of_two_countries_is_not_met_by_one(witnessed: World) -> None:
    gt = witnessed["GT"]
    directory = TrustedDirectory.restored(witnessed.root, [witnessed.directory, with_quorum(witnessed, 2)])
    finding, _ = examine_witnesses(gt.config, directory, now_us())
    assert finding.state == "yellow"
    assert "2 other countries" in finding.says


def test_no_quorum_asks_for_more_than_there_are(witnessed: World) -> None:
    held = TrustedDirectory.restored(witnessed.root, [witnessed.directory])
    with pytest.raises(DirectoryMalformedError, match="quorum of witnesses"):
        held.updated(with_quorum(witnessed, 3), now_us())


def test_doctor_names_a_ledger_with_two_histories(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX", "US"))

    async def attack() -> None:
        async with running(world["MX"].config) as mx, running(world["US"].config):
            await submit(world, 6, 0, ONE, to="MX")
            await submit(world, 6, 0, OTHER, to="US")
            await mx.witnessing.comparing.compare()

    asyncio.run(attack())
    for code in ("MX", "US"):
        found = states(world[code], world, now_us())
        assert ("ledger enlace.example/GT/gt-1", "red") in found
        assert ("findings", "yellow") in found
    assert Desk(world["MX"]).json("ledger", "verify")["verified"] is True
