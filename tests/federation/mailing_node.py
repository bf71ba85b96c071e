"""A node that knows the kinds of mail for tests, and writes some: to be killed at any moment.

Arguments: the folder of the node, how many mails it has to have written in all (0: none), and to which country.
"""

import asyncio
import sys
from pathlib import Path

import node.main  # noqa: F401 -- before grpc, as the command imports it
from node.cli.home import Home
from node.cli.parts import Parts
from node.cli.serving import running
from node.config import load_config
from node.logs import configure_logs
from node.wire.ledger_pb2 import DIRECTION_SENT
from tests.federation.mail_support import OVERTAKING, Noted, install, mail_here, sent, written

EXCHANGES = [bytes([number]) * 16 for number in range(1, 5)]


async def write(parts: Parts, count: int, peer: str) -> None:
    """Write mails until there are so many, in turn in each exchange, from where a kill has left off."""
    for number in range(len(mail_here(parts, DIRECTION_SENT)), count):
        exchange_id = EXCHANGES[number % len(EXCHANGES)]
        await sent(parts, written(peer, f"{number}", exchange_id=exchange_id, overtakes=number % 7 == 0))


async def main(folder: str, count: str, peer: str) -> None:
    config = load_config(Home(Path(folder)).config)
    configure_logs(config.log_level)
    async with running(config) as parts:
        install(parts, Noted(), Noted(field=OVERTAKING, overtakes=True))
        await write(parts, int(count), peer)
        await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(*sys.argv[1:]))
