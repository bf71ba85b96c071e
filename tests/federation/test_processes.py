"""Nodes as processes: what a kill, a full disk, a SIGTERM and an old client do to them, and what they say of it."""

import asyncio
import resource
import secrets
import ssl
import time
from pathlib import Path

import grpc
import pytest

from node.cli.serving import running
from node.errors import LedgerError
from node.wire.desk_pb2 import PeerOutcome, SearchRequest, SearchResponse
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.envelope_pb2 import Statement
from node.wire.exchange_pb2 import QueryRequest, QueryResponse
from node.wire.ledger_pb2 import LeafKind
from tests.federation.node_process import node_process, shake_hands
from tests.federation.support import NOBODYS, SEEN, Book, refused, rejected, still_answers, told
from tests.peer_simulator import (
    channel_to,
    hostile_server,
    opened_answer,
    opened_query,
    request,
    sealed_answer,
    sealed_query,
    send,
    telephone_query,
)
from tests.world import World

Status = grpc.StatusCode


# --- TLS -------------------------------------------------------------------------------------------------------------


async def test_a_client_of_tls_1_2_is_refused_on_every_port(fresh: World, tmp_path: Path) -> None:
    mx, gt = fresh["MX"], fresh["GT"]
    pems = {"peer": gt.node, "desk": mx.officer("analyst")}
    for name, holder in pems.items():
        (tmp_path / name).write_bytes(holder.key_pem + holder.chain_pem)
    with node_process(mx):
        for name, address in (("peer", mx.peer), ("desk", mx.desk)):
            spoken = await asyncio.to_thread(shake_hands, mx, address, tmp_path / name, ssl.TLSVersion.TLSv1_3)
            assert spoken == "TLSv1.3"
            with pytest.raises(ssl.SSLError):
                await asyncio.to_thread(shake_hands, mx, address, tmp_path / name, ssl.TLSVersion.TLSv1_2)
        await still_answers(fresh)


async def test_there_is_no_plain_text_port(fresh: World) -> None:
    mx = fresh["MX"]
    with node_process(mx):
        for address in (mx.peer, mx.desk):
            async with grpc.aio.insecure_channel(address) as channel:
                with pytest.raises(grpc.aio.AioRpcError):
                    await send(channel, request(sealed_query(fresh["GT"], "MX", telephone_query())))
        await still_answers(fresh)


# --- kill -9 ---------------------------------------------------------------------------------------------------------

CALLERS = 16


async def test_what_left_before_a_kill_is_in_the_ledger_after_it(fresh: World) -> None:
    mx, gt = fresh["MX"], fresh["GT"]
    verified: list[tuple[bytes, bytes, bytes]] = []  # question, answer's statement and signature
    enough = asyncio.Event()

    async def caller(channel: grpc.aio.Channel) -> None:
        while True:
            sealed = sealed_query(gt, "MX", telephone_query(secrets.choice([SEEN, NOBODYS])))
            try:
                data = await send(channel, request(sealed))
            except grpc.aio.AioRpcError:
                return
            opened = opened_answer(fresh, "MX", "GT", sealed, data)
            verified.append((request(sealed), opened.statement_bytes, opened.signature))
            if len(verified) >= 300:
                enough.set()

    with node_process(mx) as node:
        async with channel_to(mx, gt.node) as channel, asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(caller(channel))
            await asyncio.wait_for(enough.wait(), 30)
            node.kill()
    async with running(mx.config), channel_to(mx, gt.node) as channel:
        book = Book(mx, fresh)
        report = book.verify()
        lines = {line.shared.exchange_id: line for line in book.lines(kinds={LeafKind.LEAF_KIND_ANSWERED})}
        assert len(verified) >= 300
        assert report.openings == report.size >= len(verified)
        for question, statement, signature in verified:
            line = lines[Statement.FromString(statement).exchange_id]
            assert (line.statement, line.signature) == (statement, signature)
            assert line.shared.counterpart_statement == QueryRequest.FromString(question).envelope.statement
        call = send(channel, verified[-1][0])
        await refused(fresh, call, Status.ALREADY_EXISTS, rejected("ReplayError"))
        await still_answers(fresh)


# --- a full disk -----------------------------------------------------------------------------------------------------


async def test_with_a_full_disk_nothing_leaves_and_with_room_again_it_works_again(fresh: World) -> None:
    mx, gt = fresh["MX"], fresh["GT"]
    with node_process(mx) as node:
        async with channel_to(mx, gt.node) as channel:
            for _ in range(5):
                await still_answers(fresh)
            book = Book(mx, fresh)
            size = book.size
            usual = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (4_096, usual[1]))
            unlogged = sealed_query(gt, "MX", telephone_query())
            for data in (request(unlogged), b"\xff"):  # an answer that can't be logged, and a refusal that can't
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await send(channel, data)
                assert (caught.value.code(), caught.value.details()) == (Status.UNAVAILABLE, LedgerError.public)
            assert book.size == size
            resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, usual)
            # What was not answered was not used up either.
            opened_answer(fresh, "MX", "GT", unlogged, await send(channel, request(unlogged)))
            await still_answers(fresh)
            book.verify()


async def test_with_a_full_disk_nothing_is_asked(fresh: World) -> None:
    gt = fresh["GT"]

    async def never(data: bytes) -> bytes:
        return data

    async with hostile_server(fresh, "MX", never) as calls:
        with node_process(gt) as node:
            book = Book(gt, fresh)
            size = book.size
            usual = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (4_096, usual[1]))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await searched(fresh)
            assert caught.value.code() is Status.UNAVAILABLE
            resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, usual)
            assert calls.requests == []
            assert book.size == size
            book.verify()


async def searched(world: World, deadline_ms: int = 3_000) -> list[SearchResponse]:
    async with world["GT"].desk_channel() as channel:
        search = SearchRequest(query=telephone_query(), peers=["MX"], deadline_ms=deadline_ms)
        return [each async for each in DeskStub(channel).Search(search)]


# --- SIGTERM ---------------------------------------------------------------------------------------------------------


async def test_a_search_under_way_is_finished_before_the_node_stops(fresh: World) -> None:
    came = asyncio.Event()

    async def slowly(data: bytes) -> bytes:
        came.set()
        await asyncio.sleep(1.0)
        opened = opened_query(fresh, "GT", "MX", data)
        return QueryResponse(envelope=sealed_answer(fresh["MX"], opened).envelope).SerializeToString()

    async with hostile_server(fresh, "MX", slowly):
        with node_process(fresh["GT"]) as node:
            search = asyncio.create_task(searched(fresh))
            await came.wait()
            node.terminate()
            (response,) = await search
            assert response.outcome == PeerOutcome.PEER_OUTCOME_ANSWERED
            assert await asyncio.to_thread(node.wait) == 0
            assert '"draining"' in node.log
            assert '"stopped"' in node.log
    book = Book(fresh["GT"], fresh)
    assert [told(line)[0] for line in book.lines(peer="MX")] == ["ASKED", "ANSWERED"]
    book.verify()


async def test_calls_of_peers_under_way_are_answered_before_the_node_stops(fresh: World) -> None:
    mx, gt = fresh["MX"], fresh["GT"]
    with node_process(mx) as node:
        async with channel_to(mx, gt.node) as channel:
            await send(channel, request(sealed_query(gt, "MX", telephone_query())))  # the connection stands
            sealed = [sealed_query(gt, "MX", telephone_query()) for _ in range(24)]
            calls = [asyncio.create_task(send(channel, request(each))) for each in sealed]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            node.terminate()
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert await asyncio.to_thread(node.wait) == 0
    # Those that it had begun on were answered, each with its line; of the others there is none, and they were told so.
    lines = {line.shared.exchange_id for line in Book(mx, fresh).lines(kinds={LeafKind.LEAF_KIND_ANSWERED})}
    for each, end in zip(sealed, ended, strict=True):
        exchange_id = Statement.FromString(each.statement).exchange_id
        if isinstance(end, bytes):
            opened_answer(fresh, "MX", "GT", each, end)
            assert exchange_id in lines
        else:
            assert isinstance(end, grpc.aio.AioRpcError)
            assert end.code() in (Status.UNAVAILABLE, Status.CANCELLED)
            assert exchange_id not in lines
    assert any(isinstance(end, bytes) for end in ended)
    Book(mx, fresh).verify()


async def test_an_idle_node_stops_at_once(fresh: World) -> None:
    with node_process(fresh["MX"]) as node:
        await still_answers(fresh)
        started = time.perf_counter()
        node.terminate()
        assert await asyncio.to_thread(node.wait) == 0
        assert time.perf_counter() - started < 4
