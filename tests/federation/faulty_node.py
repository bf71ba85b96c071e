"""A node with a bug: looking records up fails with an error that quotes what it was asked for and what it found.

Argument: the folder of the node.
"""

import sys
from pathlib import Path

import node.main  # noqa: F401 -- before grpc, as the command imports it
from node.cli.home import Home
from node.cli.serving import serve
from node.config import load_config
from node.federation.finding import Finding
from node.logs import configure_logs
from node.wire.entry_pb2 import Entry


class SurpriseError(Exception):
    """Nobody foresaw this."""


find = Finding.find


async def failing(self: Finding, *arguments: object, **more: object) -> list[Entry]:
    found: list[Entry] = await find(self, *arguments, **more)  # type: ignore[arg-type]
    if not found:
        return found
    try:
        raise KeyError(str(arguments[0]))
    except KeyError as error:
        raise SurpriseError(f"{arguments[0]} led to {found}") from error


def main(folder: str) -> None:
    import uvloop

    Finding.find = failing  # type: ignore[method-assign]
    config = load_config(Home(Path(folder)).config)
    configure_logs(config.log_level)
    uvloop.run(serve(config))


if __name__ == "__main__":
    main(*sys.argv[1:])
