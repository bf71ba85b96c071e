"""The measured process: one country's node, and a bare mutual-TLS echo beside it, so that both share all else.

Reads lines from standard input and answers each with the CPU time that this process has used so far, in seconds, and
its resident memory in bytes, and of the CPU time what the ledger took.
"""

import os

os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-CHACHA20-POLY1305"

import asyncio
import gc
import json
import sys
import time
from pathlib import Path

import grpc
import psutil
import uvloop

from node.cli.serving import running
from node.config import load_config
from node.logs import configure_logs
from tests.bench.share import Share


async def serve(config_path: Path, echo_address: str) -> None:
    """Serve both until standard input ends."""
    config, ledger = load_config(config_path), Share()
    ledger.install()
    async with running(config) as parts:
        reply = b""

        async def echo(request: bytes, _: object) -> bytes:
            nonlocal reply
            # The first request sets what every later one is answered with, so that both directions have real sizes.
            if not reply:
                reply = request
            return reply

        server = grpc.aio.server()

        async def paced(request: bytes, context: object) -> bytes:
            # The load of answers comes in bursts, since they leave at ticks; a burst costs more for each than a stream.
            arrived = asyncio.get_running_loop().time()
            found = await echo(request, context)
            await parts.exchange.answering.ticks.wait(arrived)
            return found

        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Echo": grpc.unary_unary_rpc_method_handler(echo),
            "Paced": grpc.unary_unary_rpc_method_handler(paced),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Bench", methods),))
        server.add_secure_port(echo_address, parts.peer_tls.credentials())
        await server.start()
        gc.collect()
        gc.freeze()  # as `serve` does
        process = psutil.Process()
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        print(json.dumps({"ready": True}), flush=True)
        while await reader.readline():
            figures = {"cpu": time.process_time(), "memory": process.memory_info().rss, "ledger": ledger.seconds}
            print(json.dumps(figures), flush=True)
        await server.stop(None)


if __name__ == "__main__":
    configure_logs("error")
    uvloop.run(serve(Path(sys.argv[1]), sys.argv[2]))
