"""Receipts: what an answer promised is proved against a cosigned checkpoint, or becomes a finding."""

import secrets
from pathlib import Path

import grpc
import pytest
from sqlalchemy import select

from node.cli.parts import Parts
from node.cli.serving import running
from node.errors import LedgerError
from node.federation.channels import GET_INCLUSION
from node.federation.receipts import verify_receipt
from node.store.findings import list_findings
from node.store.receipts import OVERDUE, PROVED, WAITING, WITHIN_US, promises, settle, waiting
from node.wire.desk_pb2 import PeerOutcome
from node.wire.witness_pb2 import GetInclusionRequest, GetInclusionResponse
from tests.federation.support import altered
from tests.federation.test_witnessing import ONE, call, note_of
from tests.peer_simulator import telephone_query
from tests.world import World, now_us


async def ask(gt: Parts) -> None:
    (answer,) = [each async for each in gt.asking.ask(telephone_query(), ["MX"], 10)]
    assert answer.outcome == PeerOutcome.PEER_OUTCOME_ANSWERED


async def state(parts: Parts) -> list[int]:
    return list(await parts.database.read(lambda connection: connection.execute(select(promises.c.state)).scalars()))


async def test_an_answer_is_proved_once_its_ledger_is_witnessed(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX"))
    async with running(world["GT"].config) as gt, running(world["MX"].config) as mx:
        await mx.witnessing.publish()
        await ask(gt)
        await gt.receipts.follow()
        assert await state(gt) == [WAITING]  # the checkpoint that is cosigned does not count the line yet
        (promise,) = await gt.database.read(waiting, 9)

        assert await mx.witnessing.publish() == {"GT"}
        await gt.receipts.follow()
        await gt.receipts.follow()
        assert await state(gt) == [PROVED]
        assert await gt.database.read(list_findings) == []

        held = await gt.database.read(lambda connection: connection.execute(select(promises.c.inclusion)).scalar_one())
        response, directory = GetInclusionResponse.FromString(held), gt.standing.trust.directory
        verify_receipt(directory, promise, response)
        own_only = response.checkpoint[: response.checkpoint.rindex("\N{EM DASH} ".encode())]
        for wrong in (
            {"index": response.index + 1},
            {"leaf": response.leaf + b"\x00"},
            {"leaf": b""},
            {"proof": [*response.proof, bytes(32)]},
            {"proof": response.proof[:-1]},
            {"proof": [bytes(31)]},
            {"checkpoint": own_only},  # nobody else stands behind it
            {"checkpoint": note_of(world["MX"], 9, ONE)},
            {"checkpoint": note_of(world["GT"], 9, ONE)},
            {"checkpoint": b""},
        ):
            with pytest.raises(LedgerError):
                verify_receipt(directory, promise, altered(response, **wrong))
        with pytest.raises(LedgerError, match="promised"):
            verify_receipt(directory, promise._replace(leaf_sha256=bytes(32)), response)


async def test_what_is_not_proved_in_time_is_a_finding(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX"))
    async with running(world["GT"].config) as gt:
        async with running(world["MX"].config):
            await ask(gt)
        await gt.receipts.follow()  # the peer is down
        assert await state(gt) == [WAITING]
        gt.receipts.clock = lambda: now_us() + WITHIN_US
        await gt.receipts.follow()
        await gt.receipts.follow()
        assert await state(gt) == [OVERDUE]
        (finding,) = await gt.database.read(list_findings)
        assert (finding.kind, finding.peer) == ("NO_RECEIPT", "MX")


async def test_a_proof_that_does_not_hold_is_a_finding_at_once(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX"))
    async with running(world["GT"].config) as gt, running(world["MX"].config) as mx:
        await ask(gt)
        await gt.receipts.follow()
        (promise,) = await gt.database.read(waiting, 9)
        with gt.database.engine.begin() as connection:
            settle(connection, promise, b"", now_us(), "the line is not the one that was promised")
        assert await state(gt) == [WAITING]  # a right one may still come
        (finding,) = await gt.database.read(list_findings)
        assert finding.kind == "FALSE_RECEIPT"
        await mx.witnessing.publish()
        await gt.receipts.follow()
        assert await state(gt) == [PROVED]


async def test_only_who_asked_gets_the_proof(fresh: World) -> None:
    async with running(fresh["GT"].config) as gt, running(fresh["MX"].config) as mx:
        await ask(gt)
        await gt.receipts.follow()
        (promise,) = await gt.database.read(waiting, 9)
        await mx.witnessing.publish()
        requests = (("US", promise.exchange_id), ("GT", secrets.token_bytes(16)))
        for who, exchange_id in requests:
            request = GetInclusionRequest(exchange_id=exchange_id).SerializeToString()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(fresh, who, "MX", GET_INCLUSION, request)
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(fresh, "GT", "MX", GET_INCLUSION, GetInclusionRequest(exchange_id=b"1").SerializeToString())
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
