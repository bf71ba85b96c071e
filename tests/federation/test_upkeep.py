"""What a node notices by itself while it serves: its files, and what another process of it has stored."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import URL

from node.cli.parts import Parts
from node.cli.serving import running
from node.config import Listen
from node.federation.channels import PUSH_REVOCATIONS
from node.wire.desk_pb2 import EndPairingRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.exchange_pb2 import PushRevocationsRequest
from tests.conftest import postgres_database
from tests.peer_simulator import channel_to, request, sealed_query, send, telephone_query
from tests.pki import node_certificate
from tests.world import World, free_ports, write_identity


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(150):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come to pass within 15 seconds")


async def test_a_certificate_that_was_away_for_a_while_is_taken_up_when_it_is_renewed(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX"))
    place = world["MX"]
    async with running(place.config) as parts:
        file = place.home.tls / "node.pem"
        file.rename(file.with_suffix(".away"))
        await asyncio.sleep(2.5)
        assert parts.upkeep is not None
        assert not parts.upkeep.done()
        file.with_suffix(".away").rename(file)
        place.node = node_certificate(place.ca, place.name, dns_names=(place.server_name,))
        write_identity(place)

        await until(lambda: parts.channels.own.chain == place.node.chain_pem)


async def test_what_one_process_stores_counts_in_the_other(postgres_server: URL, tmp_path: Path) -> None:
    with postgres_database(postgres_server) as url:
        world = World.make(tmp_path, ("GT", "MX", "US"), databases={"MX": url})
        config = world["MX"].config
        other = msgspec.structs.replace(config, listen=Listen(*(f"127.0.0.1:{port}" for port in free_ports(3))))
        async with running(config) as one, running(other) as two:
            await revocation_counts(world, two)
            await directory_counts(world, one, two)
            await ended_pairing_counts(world, two)


async def revocation_counts(world: World, two: Parts) -> None:
    gt = world["GT"]
    async with channel_to(world["MX"], gt.node) as channel:
        crl = gt.ca.crl(1, [gt.node.serial])
        # GT's own list takes GT's own certificate back: the last call that this connection may make.
        await send(channel, PushRevocationsRequest(crl=crl).SerializeToString(), PUSH_REVOCATIONS)

    await until(lambda: gt.node.serial in two.standing.trust.revoked.get("GT", frozenset()))


async def directory_counts(world: World, one: Parts, two: Parts) -> None:
    signed = world.compose()
    await one.distribution.accept_directory(signed)

    await until(lambda: two.standing.trust.directory.signed == signed)


async def ended_pairing_counts(world: World, two: Parts) -> None:
    assert two.standing.trust.is_paired("US")
    async with world["MX"].desk_channel("focal") as channel:
        await DeskStub(channel).EndPairing(EndPairingRequest(peer="US", reason="a test"))

    await until(lambda: not two.standing.trust.is_paired("US"))


async def test_a_query_is_answered_by_either_process_and_never_twice(postgres_server: URL, tmp_path: Path) -> None:
    with postgres_database(postgres_server) as url:
        world = World.make(tmp_path, ("GT", "MX"), databases={"MX": url})
        config, place = world["MX"].config, world["MX"]
        listen = Listen(*(f"127.0.0.1:{port}" for port in free_ports(3)))
        async with running(config), running(msgspec.structs.replace(config, listen=listen)):
            query = request(sealed_query(world["GT"], "MX", telephone_query()))
            async with channel_to(place, world["GT"].node) as channel:
                await send(channel, query)
            place.peer = listen.peer
            async with channel_to(place, world["GT"].node) as channel:
                with pytest.raises(Exception, match="already received"):
                    await send(channel, query)
                await send(channel, request(sealed_query(world["GT"], "MX", telephone_query())))
