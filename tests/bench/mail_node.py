"""A node that writes and receives mail as it is told: commands on standard input, one answer in JSON for each.

write COUNT    queues so many mails to the other country, and answers once they are durable
wait           answers once none is queued any more
figures        answers with the CPU time used so far, in seconds, and how many mails were delivered
"""

import asyncio
import gc
import json
import sys
import time
from pathlib import Path

import uvloop
from sqlalchemy import Connection, func, select

from node.cli.parts import Parts
from node.cli.serving import running
from node.config import load_config
from node.logs import configure_logs
from node.store.mail_tables import outbox
from node.wire.correspondence_pb2 import MAIL_STATE_DELIVERED, MAIL_STATE_QUEUED
from tests.federation.mail_support import Noted, install, sent, written

AT_ONCE = 8  # mails of one transaction
OF_EXCHANGE = 5
WRITERS = 4


def counted(connection: Connection, state: int) -> int:
    query = select(func.count()).select_from(outbox).where(outbox.c.state == state)
    return int(connection.execute(query).scalar_one())


async def write(parts: Parts, peer: str, count: int) -> None:
    """Write mails, a few at once, as people and workflows would."""
    batches = iter(range(0, count, AT_ONCE))

    async def writer() -> None:
        for at in batches:
            mails = [written(peer, f"Invented words {at}")]
            for number in range(at + 1, min(at + AT_ONCE, count)):
                follows = mails[-1].exchange_id if number % OF_EXCHANGE else b""
                mails.append(written(peer, f"Invented words {number}", exchange_id=follows))
            await sent(parts, *mails)

    await asyncio.gather(*[writer() for _ in range(WRITERS)])


async def drained(parts: Parts) -> None:
    while await parts.database.read(counted, MAIL_STATE_QUEUED):  # noqa: ASYNC110 - what counts is what is durable
        await asyncio.sleep(0.05)


async def serve(config_path: str, peer: str) -> None:
    """Serve until standard input ends."""
    async with running(load_config(Path(config_path))) as parts:
        install(parts, Noted(applied=_Nothing(), states=_Nothing()))
        gc.collect()
        gc.freeze()
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        print(json.dumps({"ready": True}), flush=True)
        while line := (await reader.readline()).decode().split():
            if line[0] == "write":
                await write(parts, peer, int(line[1]))
            elif line[0] == "wait":
                await drained(parts)
            done = await parts.database.read(counted, MAIL_STATE_DELIVERED)
            print(json.dumps({"cpu": time.process_time(), "delivered": done}), flush=True)


class _Nothing(list):  # type: ignore[type-arg]
    """Notes nothing, so that memory does not grow with the mail."""

    def append(self, _: object) -> None:
        """Forget it."""


if __name__ == "__main__":
    configure_logs("error")
    uvloop.run(serve(sys.argv[1], sys.argv[2]))
