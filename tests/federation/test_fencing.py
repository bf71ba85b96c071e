"""A restored backup: the node lets nothing out until an epoch confesses what was lost, and nobody is fooled by one."""

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import grpc
import pytest
from sqlalchemy import URL, make_url
from typer.testing import CliRunner

from node.cli.app import app
from node.cli.examining import Finding
from node.cli.ledger_witness import examine_witnesses
from node.cli.parts import Parts
from node.cli.serving import running
from node.errors import UnansweredError, UsageError
from node.federation.channels import SUBMIT_CHECKPOINT
from node.federation.lines import local_line
from node.identity.directory import TrustedDirectory
from node.ledger.checkpoint import open_checkpoint
from node.ledger.epoch import confessed
from node.ledger.note import parse_verifier_key
from node.ledger.reconcile import reconcile
from node.store.epochs import epoch_of, is_fenced
from node.store.evidence import list_split_views
from node.store.findings import list_findings
from node.store.witnessing import LINKED_WITHIN_US, own_checkpoints
from node.wire.desk_pb2 import PeerOutcome
from node.wire.fence_pb2 import Fence
from node.wire.ledger_pb2 import LeafKind, LeafPrivate
from node.wire.reconcile_pb2 import DISCREPANCY_KIND_ONLY_THERE
from node.wire.witness_pb2 import SubmitCheckpointRequest
from tests.command_line import Desk
from tests.conftest import postgres_database
from tests.federation.support import Book, private_of, rejected, told
from tests.federation.test_witnessing import call, submit
from tests.peer_simulator import channel_to, request, sealed_query, send, telephone_query
from tests.world import DAY_US, Place, World, now_us


def backed_up(place: Place, to: Path) -> None:
    """As the runbook says: SQLite's own online copy, of the node's database as it is."""
    with (
        closing(sqlite3.connect(place.home.data / "enlace.db")) as source,
        closing(sqlite3.connect(to)) as target,
    ):
        source.backup(target)


def restored(place: Place, copy: Path) -> None:
    for name in ("enlace.db", "enlace.db-wal", "enlace.db-shm"):
        (place.home.data / name).unlink(missing_ok=True)
    shutil.copyfile(copy, place.home.data / "enlace.db")


async def ask(parts: Parts, peer: str = "MX") -> "PeerOutcome.ValueType":
    (answer,) = [each async for each in parts.asking.ask(telephone_query(), [peer], 10)]
    return answer.outcome


async def grown(parts: Parts, lines: int = 3) -> None:
    for _ in range(lines):
        private = LeafPrivate(officer="auditor", reason="TEST")
        await parts.writer.append(local_line(LeafKind.LEAF_KIND_READ, private, parts.standing.signer, now_us()))


async def findings(parts: Parts) -> set[tuple[str, str]]:
    return {(each.kind, each.peer) for each in await parts.database.read(list_findings)}


async def go_on(parts: Parts, without: tuple[str, ...] = ()) -> int:
    """An administrator proposes, an auditor confirms; returns the line."""
    fencing = parts.witnessing.fencing
    private, confirming = LeafPrivate(officer="administrator"), LeafPrivate(officer="auditor")
    fence = await fencing.propose(private, "disk failed", without)
    _, line = await fencing.open(confirming, sha256(fence.SerializeToString()).digest())
    return line


async def lose(world: World, copy: Path) -> None:
    """GT is backed up, goes on, is witnessed, and is restored."""
    async with running(world["GT"].config) as gt, running(world["MX"].config), running(world["US"].config):
        assert await gt.witnessing.publish() == {"MX", "US"}
        backed_up(world["GT"], copy)
        await grown(gt)
        assert await gt.witnessing.publish() == {"MX", "US"}
        assert await ask(gt) == PeerOutcome.PEER_OUTCOME_ANSWERED
    restored(world["GT"], copy)


async def test_a_restored_node_lets_nothing_out(tmp_path: Path) -> None:
    world, copy = World.make(tmp_path / "world", ("GT", "MX", "US")), tmp_path / "backup.db"
    await lose(world, copy)
    async with running(world["MX"].config), running(world["US"].config), running(world["GT"].config) as gt:
        assert gt.standing.fenced  # from the start on
        assert await gt.database.read(is_fenced)
        assert await findings(gt) == {("ROLLED_BACK", "MX"), ("ROLLED_BACK", "US")}

        # Peers get nothing, and the refusal is a line as all are.
        before = Book(world["GT"], world).size
        async with channel_to(world["GT"], world["MX"].node) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await send(channel, request(sealed_query(world["MX"], "GT", telephone_query())))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        (line,) = Book(world["GT"], world).lines(before, kinds=[LeafKind.LEAF_KIND_REJECTED], peer="MX")
        assert told(line) == rejected("FencedError", "MX")
        assert await ask(gt) == PeerOutcome.PEER_OUTCOME_NOT_ASKED
        with pytest.raises(grpc.aio.AioRpcError):  # nor does it vouch for others: it has forgotten what it saw
            await call(world, "MX", "GT", SUBMIT_CHECKPOINT, SubmitCheckpointRequest().SerializeToString())
        signed = len(await gt.database.read(own_checkpoints))
        assert await gt.witnessing.publish() == frozenset()
        assert len(await gt.database.read(own_checkpoints)) == signed


async def test_it_goes_on_once_its_epoch_confesses(tmp_path: Path) -> None:
    world, copy = World.make(tmp_path / "world", ("GT", "MX", "US")), tmp_path / "backup.db"
    await lose(world, copy)
    async with running(world["MX"].config), running(world["GT"].config) as gt:
        assert gt.standing.fenced
    async with running(world["GT"].config) as gt:
        assert gt.standing.fenced  # a restart forgets nothing, though nobody is there to ask
    async with running(world["MX"].config) as mx, running(world["US"].config) as us, running(world["GT"].config) as gt:
        fence, index = await confessed_by_two(gt)
        (head,) = fence.heads
        assert list(head.witnesses) == ["MX", "US"]
        opening = Book(world["GT"], world).lines(index)[0]
        found = confessed(opening.shared)
        assert found is not None
        assert found.fence == fence
        assert found.lost >= 3
        assert private_of(opening).officer == "auditor"

        assert await gt.witnessing.publish() == {"MX", "US"}
        newest = (await gt.database.read(own_checkpoints))[-1]
        assert newest.note.startswith(b"enlace.example/GT/gt-1/epoch-2\n")
        await grown(gt, 1)
        assert await gt.witnessing.publish() == {"MX", "US"}  # and it goes on as ever
        assert await ask(gt) == PeerOutcome.PEER_OUTCOME_ANSWERED
        for parts, code in ((mx, "MX"), (us, "US")):
            await parts.witnessing.comparing.compare()
            assert ("RESTORED", "GT") in await findings(parts)
            assert await parts.database.read(list_split_views) == []
            (line,) = Book(world[code], world).lines(kinds=[LeafKind.LEAF_KIND_RESTORED])
            assert line.shared.peer == "GT"


async def test_what_was_exchanged_in_the_gap_is_only_there(tmp_path: Path) -> None:
    world, copy = World.make(tmp_path / "world", ("GT", "MX", "US")), tmp_path / "backup.db"
    await lose(world, copy)
    async with running(world["MX"].config), running(world["US"].config), running(world["GT"].config) as gt:
        await go_on(gt)
        reconciling, period = gt.exchange.reconciling, {"since_us": now_us() - DAY_US, "until_us": now_us()}
        here = await reconciling.logged_here("MX", **period)
        there = await reconciling.logged_there("MX", LeafPrivate(officer="auditor"), **period)
        assert [each.kind for each in reconcile(here, there).discrepancies] == [DISCREPANCY_KIND_ONLY_THERE]


async def confessed_by_two(gt: Parts) -> tuple[Fence, int]:
    fencing = gt.witnessing.fencing
    fence = await fencing.propose(LeafPrivate(officer="administrator"), "disk failed", ())
    digest = sha256(fence.SerializeToString()).digest()
    with pytest.raises(UsageError, match="who proposed"):
        await fencing.open(LeafPrivate(officer="administrator"), digest)
    with pytest.raises(UsageError, match="no such epoch"):
        await fencing.open(LeafPrivate(officer="auditor"), bytes(32))
    _, index = await fencing.open(LeafPrivate(officer="auditor"), digest)
    assert not gt.standing.fenced
    return fence, index


async def test_a_member_that_nobody_shows_the_epoch_learns_of_it_from_others(tmp_path: Path) -> None:
    world, copy = World.make(tmp_path / "world", ("GT", "MX", "US")), tmp_path / "backup.db"
    await lose(world, copy)
    async with running(world["GT"].config) as gt, running(world["MX"].config) as mx:
        with pytest.raises(UnansweredError, match="US"):
            await go_on(gt)
        await go_on(gt, without=("US",))  # which has seen what MX has
        assert await gt.witnessing.publish() == {"MX"}
        async with running(world["US"].config) as us:
            await us.witnessing.comparing.compare()
            assert await findings(us) == {("RESTORED", "GT")}
            assert await mx.database.read(list_split_views) == []
            assert await gt.witnessing.publish() == {"MX", "US"}


async def test_what_one_witness_alone_saw_must_be_confessed_to_it(tmp_path: Path) -> None:
    """US has seen more than MX, and is not asked: it takes no epoch up that is silent on it, and the node learns it."""
    world, copy = World.make(tmp_path / "world", ("GT", "MX", "US")), tmp_path / "backup.db"
    async with running(world["GT"].config) as gt, running(world["US"].config):
        async with running(world["MX"].config):
            assert await gt.witnessing.publish() == {"MX", "US"}
            backed_up(world["GT"], copy)
            await grown(gt)
            assert await gt.witnessing.publish() == {"MX", "US"}
        await grown(gt)
        assert await gt.witnessing.publish() == {"US"}
    restored(world["GT"], copy)
    async with running(world["MX"].config) as mx, running(world["GT"].config) as gt:
        await go_on(gt, without=("US",))
        assert await gt.witnessing.publish() == {"MX"}
        async with running(world["US"].config) as us:
            assert "US" not in await gt.witnessing.publish()
            assert gt.standing.fenced  # again: more was lost than it had said
            await go_on(gt)
            assert await gt.database.read(epoch_of) == 3
            assert await gt.witnessing.publish() == {"MX", "US"}
            for parts in (mx, us):
                await parts.witnessing.comparing.compare()
                assert await parts.database.read(list_split_views) == []
                assert ("RESTORED", "GT") in await findings(parts)


async def test_who_goes_on_in_the_old_epoch_with_others_is_found_out(tmp_path: Path) -> None:
    """A dishonest restore: one history for MX, and the new epoch, which is silent on it, for US."""
    world, copy = World.make(tmp_path / "world", ("GT", "MX", "US")), tmp_path / "backup.db"
    await lose(world, copy)
    kept = tmp_path / "kept.db"
    async with running(world["GT"].config) as gt, running(world["MX"].config), running(world["US"].config):
        await go_on(gt)
        backed_up(world["GT"], kept)
        await grown(gt, 2)
        assert await gt.witnessing.publish() == {"MX", "US"}
    # The same database once more, under the same key, with a copy that has not forgotten the old epoch alone.
    restored(world["GT"], kept)
    with closing(sqlite3.connect(world["GT"].home.data / "enlace.db")) as connection:
        connection.execute("DELETE FROM lost_heads")
        connection.execute("UPDATE ledger_epochs SET opened_us = NULL")
        connection.commit()
    async with running(world["MX"].config) as mx, running(world["GT"].config) as gt:
        assert gt.standing.fenced  # the witness knows an epoch that the database denies
        gt.standing.fenced = False
        with gt.database.engine.begin() as connection:  # a node that has been rewritten not to care
            connection.exec_driver_sql("DELETE FROM lost_heads")
        gt.witnessing.fencing._asked.update({"MX", "US"})
        own = await gt.witnessing._signed()
        assert own is not None
        sent = SubmitCheckpointRequest(checkpoint=own.note, old_size=0).SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(world, "GT", "MX", SUBMIT_CHECKPOINT, sent)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        (view,) = await mx.database.read(list_split_views)
        assert not view.proved
        assert ("UNCONFESSED_LOSS", "GT") in await findings(mx)


async def test_a_ledger_that_is_never_there_to_be_judged_is_a_finding(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX", "US"))
    async with running(world["MX"].config) as mx, running(world["US"].config):
        assert (await submit(world, 4, 0, to="MX")).cosignature
        assert (await submit(world, 6, 0, to="US")).cosignature
        comparing = mx.witnessing.comparing
        await comparing.compare()  # GT is not there
        assert await findings(mx) == set()
        comparing.clock = lambda: now_us() + LINKED_WITHIN_US
        await comparing.compare()
        await comparing.compare()
        assert await findings(mx) == {("NOT_LINKED", "GT")}
        assert await mx.database.read(list_split_views) == []


async def test_a_restored_postgresql_is_fenced_too(tmp_path: Path, postgres_server: URL) -> None:
    with postgres_database(postgres_server) as url:
        world = World.make(tmp_path, ("GT", "MX"), databases={"GT": url})
        place = world["GT"]
        async with running(place.config) as gt, running(world["MX"].config):
            assert await gt.witnessing.publish() == {"MX"}
        with postgres_database(postgres_server, template=str(make_url(url).database)) as copy:
            async with running(place.config) as gt, running(world["MX"].config):
                await grown(gt)
                assert await gt.witnessing.publish() == {"MX"}
            place.database = copy
            place.configure()
            async with running(world["MX"].config) as mx, running(place.config) as gt:
                assert gt.standing.fenced
                await go_on(gt)
                assert await gt.witnessing.publish() == {"MX"}
                assert await ask(gt) == PeerOutcome.PEER_OUTCOME_ANSWERED
                assert await findings(mx) == {("RESTORED", "GT")}


def test_an_auditor_is_told_of_the_gap_by_every_command(tmp_path: Path) -> None:
    world, copy = World.make(tmp_path / "world", ("GT", "MX", "US")), tmp_path / "backup.db"
    asyncio.run(lose(world, copy))
    gt_desk = Desk(world["GT"])

    async def restart(*, confess: bool) -> int:
        async with running(world["GT"].config) as gt, running(world["MX"].config), running(world["US"].config):
            line = await go_on(gt) if confess else -1
            await gt.witnessing.publish()
            return line

    asyncio.run(restart(confess=False))
    with pytest.raises(UsageError, match="lines of the ledger are lost"):
        gt_desk.run("ledger", "checkpoint")
    (red,) = [each for each in examined(world, "GT") if each.what == "ledger"]
    assert red.state == "red"
    assert "nothing leaves" in red.says
    line = asyncio.run(restart(confess=True))
    assert [each.state for each in examined(world, "GT") if each.what == "ledger"] == ["hint"]
    verified = gt_desk.json("ledger", "verify")
    assert verified["verified"] is True, verified
    assert f"line {line} opens epoch 2 after a restore" in verified["restores"][0]

    folder = tmp_path / "export"
    gt_desk.json("ledger", "export", "--tiles", str(folder))
    (tmp_path / "root").write_bytes(world.root)
    (tmp_path / "directory").write_bytes(world.directory)
    trusted = ("--root", str(tmp_path / "root"), "--directory", str(tmp_path / "directory"))
    exported = gt_desk.json("ledger", "verify", "--from-export", str(folder), *trusted)
    assert exported["ledger"] == "enlace.example/GT/gt-1/epoch-2"
    assert "opens epoch 2" in exported["restores"][0]
    listed = CliRunner().invoke(app, ["ledger", "keys", *trusted, "--epoch", "2", "--json"])
    log, *_ = [parse_verifier_key(each["key"]) for each in json.loads(listed.stdout) if each["signs"] == "checkpoints"]
    assert log.name == exported["ledger"]
    assert open_checkpoint((folder / "checkpoint").read_bytes(), log=log).checkpoint.size == exported["lines"]

    # Who cuts the confession out of what is kept of it is named.
    with closing(sqlite3.connect(world["GT"].home.data / "enlace.db")) as connection:
        connection.execute("DELETE FROM ledger_epochs")
        connection.commit()
    found = gt_desk.json("ledger", "verify")
    assert gt_desk.status == 1
    assert "the epochs that are kept are not those that lines open" in " ".join(found["findings"])


def examined(world: World, code: str) -> list[Finding]:
    directory = TrustedDirectory.restored(world.root, [world.directory])
    return list(examine_witnesses(world[code].config, directory, now_us()))
