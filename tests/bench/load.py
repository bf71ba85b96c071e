"""The load generator: a process of its own that sends prepared requests to a server and reports how long each took."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc


async def run(plan: dict[str, object]) -> dict[str, object]:
    """Send each request once, from so many callers at a time; return seconds by request and the mean answer's size."""
    credentials = grpc.ssl_channel_credentials(
        str(plan["roots"]).encode(), str(plan["key"]).encode(), str(plan["chain"]).encode()
    )
    options = [("grpc.ssl_target_name_override", plan["server_name"]), ("grpc.use_local_subchannel_pool", 1)]
    requests = _requests(Path(str(plan["requests"])))
    taken: list[float] = []
    received = 0
    async with grpc.aio.secure_channel(str(plan["address"]), credentials, options=options) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(str(plan["method"]))

        async def caller() -> None:
            nonlocal received
            for request in requests:
                started = time.perf_counter()
                answer = await call(request, timeout=30)
                received += len(answer)
                taken.append(time.perf_counter() - started)

        await asyncio.gather(*[caller() for _ in range(int(str(plan["callers"])))])
    return {"taken": taken, "answer_bytes": received // max(1, len(taken))}


def _requests(path: Path) -> Iterator[bytes]:
    data, at = path.read_bytes(), 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.loads(sys.stdin.read())))))
