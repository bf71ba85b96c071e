"""The nodes of the demonstration: a process each, started, watched and stopped."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.cli.client import desk
from node.cli.demo.federation import ADMINISTRATOR, Country
from node.errors import EnlaceError
from node.wire.desk_pb2 import GetStatusRequest

START_S: Final = 30.0
STOP_S: Final = 12.0
COMMAND_S: Final = 60.0
TAIL: Final = 3  # lines of a dead node's log that are shown


class CommandError(EnlaceError):
    """A command of the tour failed; the text says what it said."""


class NodeDiedError(EnlaceError):
    """A node of the demonstration ended, or did not start; the text shows the end of its log."""


@dataclass(frozen=True, slots=True)
class Running:
    """A node's process, and where it logs."""

    country: Country
    process: "subprocess.Popen[bytes]"
    log: Path

    def verify_alive(self) -> None:
        """Check that the node still runs.

        Raises:
            NodeDiedError: it does not.
        """
        status = self.process.poll()
        if status is not None:
            raise NodeDiedError(f"the node of {self.country.name} ended with status {status}: {self._tail()}")

    def wait_until_up(self) -> None:
        """Wait until the node answers at its desk.

        Raises:
            NodeDiedError: it ended, or took longer than 30 s.
        """
        deadline = time.monotonic() + START_S
        while True:
            self.verify_alive()
            try:
                with desk(self.country.home, ADMINISTRATOR) as stub:
                    stub.GetStatus(GetStatusRequest())
            except EnlaceError as error:
                if time.monotonic() > deadline:
                    text = f"the node of {self.country.name} did not come up ({error}): {self._tail()}"
                    raise NodeDiedError(text) from None
                time.sleep(0.1)
            else:
                return

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL:]
        return " | ".join(lines) or "its log is empty"


@contextmanager
def running(countries: Sequence[Country]) -> Iterator[list[Running]]:
    """Run a node for each country while the block runs; all are stopped at its end, whatever ends it."""
    nodes: list[Running] = []
    try:
        # One by one, so that those that run are stopped when the next can't be started.
        for country in countries:
            nodes.append(_started(country))  # noqa: PERF401
        yield nodes
    finally:
        for node in nodes:
            node.process.terminate()
        for node in nodes:
            try:
                node.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                node.process.kill()
                node.process.wait()


def enlace(*words: str) -> Any:  # noqa: ANN401 -- JSON
    """Run a command as people do, in a process of its own, and return what it prints with `--json`.

    Raises:
        CommandError: it did not end with 0.
    """
    command = [sys.executable, "-m", "node", *words, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_S)  # noqa: S603
    if result.returncode:
        raise CommandError(f"`enlace {' '.join(words[:2])}` failed: {result.stderr.strip()}")
    return json.loads(result.stdout)


def _started(country: Country) -> Running:
    log = country.home.path / "node.log"
    command = [sys.executable, "-m", "node", "serve", "--home", str(country.home.path)]
    with log.open("wb") as out:
        # A session of its own: Ctrl-C reaches the tour, which lets the nodes end their calls.
        process = subprocess.Popen(  # noqa: S603 -- this program itself
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ}, start_new_session=True
        )
    return Running(country, process, log)
