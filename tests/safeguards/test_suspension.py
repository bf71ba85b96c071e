"""Focal points suspend a peer at once and locally: one for 24 hours, two until two lift it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from sqlalchemy import update

from node.cli.parts import Parts
from node.cli.serving import running
from node.identity.suspensions import ALONE_US, sign_lifting, sign_suspension
from node.store.suspensions import suspensions
from node.wire.correspondence_pb2 import MAIL_STATE_DELIVERED, MAIL_STATE_QUEUED
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.desk_pb2 import PeerOutcome
from node.wire.ledger_pb2 import DIRECTION_SENT
from node.wire.suspension_pb2 import (
    Lifting,
    LiftSuspensionRequest,
    ListSuspensionsRequest,
    SignedLifting,
    SignedSuspension,
    SuspendPeerRequest,
    Suspension,
    SuspensionState,
)
from tests.desk.support import Desks, Status, lines_since, refused, search
from tests.federation.mail_support import Noted, delivered, install, mail_here, sent, written
from tests.world import FOCAL, Place, World, now_us

if TYPE_CHECKING:
    from node.wire.correspondence_pb2_grpc import CorrespondenceAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def as_officer(place: Place, name: str) -> "AsyncIterator[CorrespondenceAsyncStub]":
    holder = place.officer(name)
    credentials = grpc.ssl_channel_credentials(place.ca.roots_pem, holder.key_pem, holder.chain_pem)
    options = [("grpc.ssl_target_name_override", place.server_name), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(place.desk, credentials, options=options) as channel:
        yield CorrespondenceStub(channel)


def of_mexico(**changes: object) -> Suspension:
    said: dict[str, object] = {"country": "GT", "peer": "MX", "time_us": now_us(), "reason": "a coup, invented"}
    return Suspension(**{**said, **changes})  # type: ignore[arg-type]


async def suspend(place: Place, name: str, said: Suspension, key: bytes | None = None) -> SuspensionState:
    signed = SignedSuspension(suspension=said.SerializeToString())
    signed = sign_suspension(signed, key or place.focal_keys[FOCAL.index(name)])
    async with as_officer(place, name) as stub:
        request = SuspendPeerRequest(signed_suspension=signed.SerializeToString())
        return (await stub.SuspendPeer(request)).suspension


async def lift(place: Place, name: str, digest: bytes, said: Lifting | None = None) -> SuspensionState:
    said = said or Lifting(suspension_sha256=digest, time_us=now_us(), reason="it is over")
    signed = sign_lifting(SignedLifting(lifting=said.SerializeToString()), place.focal_keys[FOCAL.index(name)])
    async with as_officer(place, name) as stub:
        request = LiftSuspensionRequest(signed_lifting=signed.SerializeToString())
        return (await stub.LiftSuspension(request)).suspension


async def outcome(desks: Desks, asker: str, asked: str) -> str:
    (response,) = await search(await desks(asker), None, asked)
    return PeerOutcome.Name(response.outcome).removeprefix("PEER_OUTCOME_")


@asynccontextmanager
async def pair(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[World, Desks, Parts, Parts]]:
    world = World.make(tmp_path_factory.mktemp("suspended"), ("GT", "MX"))
    desks = Desks(world)
    async with running(world["MX"].config) as mx, running(world["GT"].config) as gt, desks.stack:
        yield world, desks, gt, mx


async def test_one_focal_point_stops_queries_alerts_and_mail_at_once_and_two_begin_them_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with pair(tmp_path_factory) as (world, desks, gt, mx):
        kinds = Noted(), Noted()
        install(gt, kinds[0])
        install(mx, kinds[1])
        place, said = world["GT"], of_mexico()
        assert await outcome(desks, "GT", "MX") == "ANSWERED"
        before = desks.book("GT").size
        state = await suspend(place, FOCAL[0], said)
        assert (state.in_force, state.until_us) == (True, said.time_us + ALONE_US)
        assert lines_since(desks.book("GT"), before) == [("PAIRING", "", "SUSPENDED MX: a coup, invented")]

        # Neither asked nor answered; the peer hears no more than that it is not paired.
        assert await outcome(desks, "GT", "MX") == "NOT_ASKED"
        assert await outcome(desks, "MX", "GT") == "REFUSED"
        await sent(gt, written("MX", "a recall"))
        await sent(mx, written("GT", "something"))
        await delivered(gt, mx)
        assert kinds[0].applied == kinds[1].applied == []
        assert [each.state for each in mail_here(gt, DIRECTION_SENT)] == [MAIL_STATE_QUEUED]

        # No steward, and no new directory, begins it again.
        await gt.distribution.accept_directory(world.compose())
        assert await outcome(desks, "GT", "MX") == "NOT_ASKED"

        state = await suspend(place, FOCAL[1], said)
        assert (list(state.signed_by), state.until_us, state.in_force) == (list(FOCAL), 0, True)
        lifting = Lifting(suspension_sha256=state.suspension_sha256, time_us=now_us(), reason="it is over")
        state = await lift(place, FOCAL[0], b"", lifting)
        assert (state.in_force, state.lifted_us, list(state.lifting_signed_by)) == (True, 0, [FOCAL[0]])
        assert await outcome(desks, "MX", "GT") == "REFUSED"
        state = await lift(place, FOCAL[1], b"", lifting)
        assert (state.in_force, state.lifted_us) == (False, lifting.time_us)
        assert await outcome(desks, "GT", "MX") == await outcome(desks, "MX", "GT") == "ANSWERED"
        mx.correspondence.mailroom.ring(["GT"], hurried=["GT"])
        await delivered(gt, mx)
        assert [each.state for each in mail_here(gt, DIRECTION_SENT)] == [MAIL_STATE_DELIVERED]
        assert [words for _, words in kinds[1].applied] == ["a recall"]
        assert [words for _, words in kinds[0].applied] == ["something"]


async def test_what_one_focal_point_signed_ends_after_a_day(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with pair(tmp_path_factory) as (world, desks, gt, _):
        almost_over = of_mexico(time_us=now_us() - ALONE_US + 3_000_000)
        state = await suspend(world["GT"], FOCAL[0], almost_over)
        assert state.in_force
        gt.correspondence.suspending.clock = lambda: now_us() + 4_000_000
        await gt.correspondence.suspending.look()
        assert await outcome(desks, "GT", "MX") == "ANSWERED"
        async with as_officer(world["GT"], "auditor") as stub:
            (told,) = (await stub.ListSuspensions(ListSuspensionsRequest())).suspensions
            assert not told.in_force
            assert told.signed_by[0].startswith("masked-")
            (told,) = (await stub.ListSuspensions(ListSuspensionsRequest(unmask="review"))).suspensions
            assert list(told.signed_by) == [FOCAL[0]]


async def test_what_does_not_count_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with pair(tmp_path_factory) as (world, desks, gt, _):
        place = world["GT"]
        first, second = place.focal_keys
        words = "peer: is none of the other members, which are MX"
        for peer in ("GT", "BR"):
            said = of_mexico(country="GT" if peer != "GT" else "MX", peer=peer)
            await refused(suspend(place, FOCAL[0], said), Status.INVALID_ARGUMENT, words)
        for far in (-ALONE_US - 60_000_000, 600_000_000):
            await refused(
                suspend(place, FOCAL[0], of_mexico(time_us=now_us() + far)),
                Status.INVALID_ARGUMENT,
                "its time is not near this node's clock: sign another",
            )
        other = f"a signature of {FOCAL[1]} is brought by {FOCAL[1]} alone: sign in with their certificate"
        await refused(suspend(place, FOCAL[0], of_mexico(), second), Status.FAILED_PRECONDITION, other)
        stranger = "no focal point of this node has signed it who had not before"
        await refused(suspend(place, FOCAL[0], of_mexico(), bytes(range(32))), Status.FAILED_PRECONDITION, stranger)
        said = of_mexico()
        state = await suspend(place, FOCAL[0], said)
        await refused(suspend(place, FOCAL[0], said, first), Status.FAILED_PRECONDITION, stranger)
        await lift(place, FOCAL[0], state.suspension_sha256)
        await refused(
            lift(place, FOCAL[1], state.suspension_sha256),
            Status.INVALID_ARGUMENT,
            "another lifting of it waits for a second signature: sign that one",
        )
        await refused(lift(place, FOCAL[1], bytes(32)), Status.NOT_FOUND)
        async with as_officer(place, "analyst") as stub:
            await refused(stub.ListSuspensions(ListSuspensionsRequest()), Status.PERMISSION_DENIED)

        # A signature that is altered in the database does not count, and is no way to lift it in silence.
        with gt.database.engine.begin() as connection:
            connection.execute(update(suspensions).values(lifting=state.signed_suspension))
        await gt.correspondence.suspending.look()
        assert await outcome(desks, "GT", "MX") == "NOT_ASKED"
