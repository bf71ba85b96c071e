"""Mail outlasts a peer that is down for a week, a crash between any two steps, and a restored backup on either side."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from node.cli.parts import Parts
from node.cli.serving import running
from node.errors import NotFoundError
from node.federation.delivering import LONGEST_PAUSE_US, pause_us
from node.store.findings import list_findings
from node.wire.correspondence_pb2 import (
    MAIL_STATE_DEAD,
    MAIL_STATE_DELIVERED,
    MAIL_STATE_QUEUED,
    GetMailRequest,
    ListMailRequest,
    RetryMailRequest,
)
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT
from node.wire.mail_pb2 import Mail
from tests.conftest import Clock
from tests.federation.mail_support import OVERTAKING, Noted, delivered, install, mail_here, sent, words_of, written
from tests.federation.support import Book, private_of
from tests.world import Place, World, now_us


@asynccontextmanager
async def node(place: Place, kind: Noted, clock: Clock | None = None) -> AsyncIterator[Parts]:
    """Run a node with this kind of mail, and one that overtakes; its mailroom by this clock, if any."""
    async with running(place.config) as parts:
        install(parts, kind, Noted(field=OVERTAKING, overtakes=True, applied=kind.applied))
        if clock is not None:
            parts.correspondence.mailroom.clock = clock
        yield parts


@pytest.fixture
def two(tmp_path: Path) -> World:
    return World.make(tmp_path, ("GT", "MX"))


def copied(place: Place, to: Path) -> None:
    """Back a node's database up while it is down; its key store is kept apart, and is not restored."""
    shutil.copy(place.home.data / "enlace.db", to)


def restored(place: Place, backup: Path) -> None:
    for name in ("enlace.db-wal", "enlace.db-shm"):
        (place.home.data / name).unlink(missing_ok=True)
    shutil.copy(backup, place.home.data / "enlace.db")


def test_pauses_double_up_to_an_hour_and_differ() -> None:
    pauses = [pause_us(failures) for failures in range(1, 60)]
    assert 500_000 <= pauses[0] <= 1_000_000
    assert all(LONGEST_PAUSE_US // 2 <= each <= LONGEST_PAUSE_US for each in pauses[13:])
    assert len(set(pauses)) > 50


async def test_a_peer_that_is_down_for_a_week_gets_everything_in_order(two: World) -> None:
    clock, exchange_id, there = Clock(now_us()), secrets.token_bytes(16), Noted()
    async with node(two["GT"], Noted(), clock) as gt:
        delivering, attempts = gt.correspondence.delivering, 0
        for day in range(7):
            await sent(gt, written("MX", f"{day}", exchange_id=exchange_id))
            for _ in range(24):
                clock.advance(seconds=3_600)
                before = delivering.paces["MX"].failures if "MX" in delivering.paces else 0
                await delivering.look()
                await delivering.settled()
                attempts += delivering.paces["MX"].failures - before
        assert 7 * 24 <= attempts + 10 <= 8 * 24 * 2
        assert [each.state for each in mail_here(gt, DIRECTION_SENT)] == [MAIL_STATE_QUEUED] * 7
        async with node(two["MX"], there, clock):
            gt.channels.renew("MX")
            clock.advance(seconds=3_600)
            await delivered(gt)
        assert [words for _, words in there.applied] == [f"{day}" for day in range(7)]
        assert {each.state for each in mail_here(gt, DIRECTION_SENT)} == {MAIL_STATE_DELIVERED}
    # Each mail has the time at which it was written, not that at which it arrived.
    lines = Book(two["MX"], two).lines(exchange_id=exchange_id)
    assert lines[-1].shared.time_us - lines[0].shared.time_us < 86_400_000_000


async def test_trying_ahead_of_time_makes_no_peer_slower_and_one_that_calls_is_up(two: World) -> None:
    clock, there = Clock(now_us()), Noted()
    async with node(two["GT"], Noted(), clock) as gt:
        for number in range(30):
            await sent(gt, written("MX", f"{number}", overtakes=True))
            await gt.correspondence.delivering.look()
            await gt.correspondence.delivering.settled()
        assert gt.correspondence.delivering.paces["MX"].failures == 1
        async with node(two["MX"], there) as mx:
            gt.channels.renew("MX")
            for _ in range(100):
                await mx.correspondence.mailroom.post(lambda post: post.send(written("GT", "is up")))
                await delivered(mx)
                if len(there.applied) == 30:
                    break
                await asyncio.sleep(0.05)
    assert len(there.applied) == 30


async def test_a_peer_restored_from_a_backup_gets_again_what_it_lost(two: World, tmp_path: Path) -> None:
    exchange_id, backup, there = secrets.token_bytes(16), tmp_path / "backup.db", Noted()
    async with node(two["GT"], Noted()) as gt:
        async with node(two["MX"], there):
            await sent(gt, *(written("MX", f"{number}", exchange_id=exchange_id) for number in (1, 2)))
            await delivered(gt)
        copied(two["MX"], backup)
        async with node(two["MX"], there):
            gt.channels.renew("MX")
            await sent(gt, *(written("MX", f"{number}", exchange_id=exchange_id) for number in (3, 4, 5)))
            await reached(gt, exchange_id, 5)
        restored(two["MX"], backup)
        again = Noted()
        async with node(two["MX"], again) as mx:
            gt.channels.renew("MX")
            await sent(gt, written("MX", "6", exchange_id=exchange_id))
            await reached(gt, exchange_id, 6)
            assert [words for _, words in again.applied] == ["3", "4", "5", "6"]
            assert len(mail_here(mx, DIRECTION_RECEIVED, exchange_id=exchange_id)) == 6
    reasons = [private_of(line).reason for line in Book(two["GT"], two).lines(exchange_id=exchange_id)]
    assert reasons == ["REQUEST_REPLY"] * 15  # six written, and nine receipts


async def test_a_restored_peer_hears_of_mail_in_exchanges_in_which_nothing_comes_any_more(
    two: World, tmp_path: Path
) -> None:
    backup, there, exchanges = tmp_path / "backup.db", Noted(), [secrets.token_bytes(16) for _ in range(3)]
    async with node(two["GT"], Noted()) as gt:
        copied(two["MX"], backup)
        async with node(two["MX"], there):
            await sent(gt, *(written("MX", f"{exchange_id[0]}", exchange_id=exchange_id) for exchange_id in exchanges))
            for exchange_id in exchanges:
                await reached(gt, exchange_id, 1)
        restored(two["MX"], backup)
        again = Noted()
        async with node(two["MX"], again) as mx:
            gt.channels.renew("MX")
            for _ in range(100):
                gt.correspondence.heads._next_us.clear()
                await gt.correspondence.heads.look()
                await delivered(gt)
                if len(again.applied) == len(exchanges):
                    break
                await asyncio.sleep(0.05)
            assert sorted(mail_id.exchange_id for mail_id, _ in again.applied) == sorted(exchanges)
            assert len(mail_here(mx, DIRECTION_RECEIVED)) == len(exchanges)


async def test_a_sender_restored_from_a_backup_takes_new_numbers_and_the_peer_is_alarmed(
    two: World, tmp_path: Path
) -> None:
    exchange_id, backup, there = secrets.token_bytes(16), tmp_path / "backup.db", Noted()
    async with node(two["MX"], there) as mx:
        async with node(two["GT"], Noted()) as gt:
            await sent(gt, written("MX", "1", exchange_id=exchange_id))
            await reached(gt, exchange_id, 1)
        copied(two["GT"], backup)
        async with node(two["GT"], Noted()) as gt:
            await sent(gt, *(written("MX", words, exchange_id=exchange_id) for words in ("lost", "lost too")))
            await reached(gt, exchange_id, 3)
        restored(two["GT"], backup)
        async with node(two["GT"], Noted()) as gt:
            await sent(gt, *(written("MX", words, exchange_id=exchange_id) for words in ("new", "newer")))
            await reached(gt, exchange_id, 3)
            assert [each.number for each in mail_here(gt, DIRECTION_SENT)] == [1, 4, 5]
        assert [words for _, words in there.applied] == ["1", "lost", "lost too", "new", "newer"]
        with mx.database.reading() as connection:
            assert "MAIL_TWICE" in {each.kind for each in list_findings(connection)}


async def test_dead_mail_shows_and_is_sent_again_when_somebody_says_so(two: World) -> None:
    exchange_id, here, there = secrets.token_bytes(16), Noted(), Noted()
    there.refuse["no"] = NotFoundError("not yet")
    async with node(two["GT"], here) as gt, node(two["MX"], there):
        await sent(gt, *(written("MX", words, exchange_id=exchange_id) for words in ("no", "on")))
        await delivered(gt)
        async with two["GT"].desk_channel("administrator") as channel:
            desk = CorrespondenceStub(channel)
            listed = await desk.ListMail(ListMailRequest(state=MAIL_STATE_DEAD))
            assert [(each.number, each.reason) for each in listed.items] == [(1, "refused: not found")]
            assert [(each.peer, each.dead) for each in listed.queues] == [("MX", 1)]
            got = await desk.GetMail(GetMailRequest(peer="MX", exchange_id=exchange_id, number=1))
            assert (got.item.state, got.mail) == (MAIL_STATE_DEAD, b"")
            there.refuse.clear()
            assert (await desk.RetryMail(RetryMailRequest(peer="MX"))).queued == 1
        await reached(gt, exchange_id, 2)
        assert [words for _, words in there.applied] == ["on", "no"]
        async with two["GT"].desk_channel("focal") as channel:
            got = await CorrespondenceStub(channel).GetMail(
                GetMailRequest(peer="MX", exchange_id=exchange_id, number=1)
            )
            assert words_of(Mail.FromString(got.mail)) == "no"
    reasons = [private_of(line).reason for line in Book(two["GT"], two).lines()]
    assert {"RETRIED 1", "MAIL MX 1", "MAIL MX 1 CONTENT"} <= set(reasons)


async def reached(parts: Parts, exchange_id: bytes, count: int) -> None:
    """Deliver until so many mails of an exchange were received."""
    for _ in range(100):
        parts.correspondence.mailroom.ring(["MX"], ["MX"])
        await delivered(parts)
        found = mail_here(parts, DIRECTION_SENT, exchange_id=exchange_id)
        if [each.state for each in found].count(MAIL_STATE_DELIVERED) == count == len(found):
            return
        await asyncio.sleep(0.05)
    raise AssertionError([(each.number, each.state, each.reason) for each in found])
