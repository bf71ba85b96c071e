"""Asking sixteen peers at once: when the first answer is there, when the last, and what a stalled peer costs."""

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import grpc

from node.cli.serving import running
from node.federation.envelope import Signer, new_salt, open_envelope, seal
from node.identity.keys import key_id, public_key
from node.wire.desk_pb2 import PeerOutcome
from node.wire.envelope_pb2 import StatementType
from node.wire.exchange_pb2 import Answer, Body, QueryRequest, QueryResponse
from tests.peer_simulator import telephone_query
from tests.world import World, now_us

# The seventeen states of the Mexico City declaration.
STATES = ("AR", "BR", "BZ", "CA", "CO", "CR", "DO", "EC", "GT", "HN", "JM", "MX", "NI", "PA", "PE", "SV", "US")
ASKER = "GT"
FASTEST_S, SLOWEST_S = 0.010, 0.160
DEADLINE_S = 1.0


@dataclass(frozen=True)
class Peer:
    """What a simulated peer needs: plain bytes, since it runs in another process."""

    code: str
    address: str
    chain: bytes
    key: bytes
    signing_key: bytes
    delay_s: float | None  # None: it never answers


@dataclass(frozen=True)
class FanOut:
    """Milliseconds from asking: until the first answer, until the last, and how long the fastest and slowest took."""

    first_ms: float
    last_ms: float
    fastest_ms: float
    slowest_ms: float
    late: int


async def _serve(peers: list[Peer], roots: bytes, asker_key: bytes, ready: Event) -> None:
    servers = []
    for peer in peers:
        server = grpc.aio.server()
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Query": grpc.unary_unary_rpc_method_handler(_answering(peer, asker_key))
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("enlace.v1.Exchange", methods),))
        credentials = grpc.ssl_server_credentials([(peer.key, peer.chain)], roots, require_client_auth=True)
        server.add_secure_port(peer.address, credentials)
        await server.start()
        servers.append(server)
    ready.set()
    await asyncio.Event().wait()


def _answering(peer: Peer, asker_key: bytes) -> Callable[[bytes, object], Awaitable[bytes]]:
    signer = Signer(peer.code, f"{peer.code.lower()}-1", key_id(public_key(peer.signing_key)), peer.signing_key)

    async def answer(data: bytes, _: object) -> bytes:
        if peer.delay_s is None:
            await asyncio.sleep(3_600)
            return b""
        arrived = time.perf_counter()
        opened = open_envelope(
            QueryRequest.FromString(data).envelope,
            expected=StatementType.STATEMENT_TYPE_QUERY,
            sender=ASKER,
            recipient=peer.code,
            public_key=lambda *_: asker_key,
            now_us=now_us(),
            window_us=60_000_000,
        )
        sealed = seal(
            signer,
            statement_type=StatementType.STATEMENT_TYPE_ANSWER,
            exchange_id=opened.statement.exchange_id,
            recipient=ASKER,
            body=Body(salt=new_salt(), answer=Answer()),
            now_us=now_us(),
            directory_version=1,
            answered=opened,
        )
        await asyncio.sleep(peer.delay_s - (time.perf_counter() - arrived))
        return QueryResponse(envelope=sealed.envelope).SerializeToString()

    return answer


def _run(peers: list[Peer], roots: bytes, asker_key: bytes, ready: Event) -> None:
    asyncio.run(_serve(peers, roots, asker_key, ready))


def measure(folder: Path, *, stalled: bool, rounds: int = 7) -> FanOut:
    """Ask sixteen peers whose delays are spread evenly, one of them stalled where asked; return the median round."""
    world = World.make(folder, STATES)
    others = [code for code in STATES if code != ASKER]
    step = (SLOWEST_S - FASTEST_S) / (len(others) - 1)
    peers = [
        Peer(
            code,
            world[code].peer,
            world[code].node.chain_pem,
            world[code].node.key_pem,
            world[code].signing_key,
            None if stalled and number == len(others) // 2 else FASTEST_S + number * step,
        )
        for number, code in enumerate(others)
    ]
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    asker_key = public_key(world[ASKER].signing_key)
    process = context.Process(target=_run, args=(peers, world[ASKER].ca.roots_pem, asker_key, ready), daemon=True)
    process.start()
    ready.wait(30)
    try:
        return asyncio.run(_asked(world, others, rounds))
    finally:
        process.terminate()
        process.join()


async def _asked(world: World, others: list[str], rounds: int) -> FanOut:
    found = []
    async with running(world[ASKER].config) as parts:
        for _ in range(rounds + 1):
            started, at, late = time.perf_counter(), [], 0
            async for response in parts.asking.ask(telephone_query(), others, DEADLINE_S):
                if response.outcome == PeerOutcome.PEER_OUTCOME_ANSWERED:
                    at.append((time.perf_counter() - started) * 1e3)
                late += response.outcome == PeerOutcome.PEER_OUTCOME_LATE
            found.append(FanOut(at[0], at[-1], FASTEST_S * 1e3, SLOWEST_S * 1e3, late))
    # The first round also connects.
    return sorted(found[1:], key=lambda each: each.last_ms)[rounds // 2]
