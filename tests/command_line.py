"""Officers at the command line, against two nodes that run as in production."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli.app import app
from node.errors import EnlaceError
from tests.world import ROLES, Place, World

INVENTED = Path(__file__).parents[1] / "node" / "cli" / "data" / "invented.json"
TELEPHONE = "+19565550143"  # MX holds it twice: of a suspect, and of a victim
QUESTION = ("--purpose", "investigate", "--crime", "trafficking", "--case", "C-1", "--instrument", "UNTOC")
START_S = 20


@dataclass
class Desk:
    """An officer of a country at the command line; `status` and `text` are those of the last command."""

    place: Place
    officer: str = "analyst"
    status: int = 0
    text: str = ""

    def run(self, *arguments: str, given: str | None = None, terminal: bool = False, wide: bool = False) -> str:
        known = [*arguments, "--home", str(self.place.home.path)]
        if arguments[0] == "verify-bundle":
            known = [*arguments]
        elif arguments[:2] not in {("ledger", "verify"), ("ledger", "checkpoint")} and "--tiles" not in arguments:
            known += ["--as", self.officer]
        environment = {"ENLACE_LANGUAGE": "en"}
        if terminal:
            environment["FORCE_COLOR"] = "1"
        if wide:
            environment["COLUMNS"] = "240"
        result = CliRunner().invoke(app, known, input=given, env=environment)
        if isinstance(result.exception, EnlaceError):
            raise result.exception
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.status, self.text = result.exit_code, result.stdout
        return self.text

    def json(self, *arguments: str, given: str | None = None) -> Any:  # noqa: ANN401 - whatever JSON says
        return json.loads(self.run(*arguments, "--json", given=given))

    def lines(self) -> list[dict[str, Any]]:
        """All lines of the ledger, as its auditor reads them."""
        listed = Desk(self.place, "auditor").json("ledger", "list", "--limit", "10000", "--unmask", "test")
        assert isinstance(listed, list)
        return listed

    def last(self, count: int) -> list[dict[str, Any]]:
        """The last lines but those that say that the auditor looked."""
        return [line for line in self.lines() if not line["private"].get("reason", "").startswith("LEDGER")][-count:]

    def last_reasons(self, count: int) -> list[tuple[str, str]]:
        """Kind and reason of the last lines."""
        return [
            (line["kind"].removeprefix("LEAF_KIND_"), line["private"].get("reason", "")) for line in self.last(count)
        ]


def start(place: Place) -> "subprocess.Popen[bytes]":
    for name in ROLES:
        holder, folder = place.officer(name), place.home.officer(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "certificate.pem").write_bytes(holder.chain_pem)
        (folder / "key.pem").write_bytes(holder.key_pem)
    command = [sys.executable, "-m", "node", "serve", "--home", str(place.home.path)]
    log = (place.home.path / "log").open("wb")
    with log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def wait_until_up(place: Place, process: "subprocess.Popen[bytes]") -> None:
    host, port = place.desk.split(":")
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, (place.home.path / "log").read_text()
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"{place.code} did not start")


@contextmanager
def running(folder: Path, **how: Any) -> Iterator[World]:  # noqa: ANN401 - as `World.make`
    """GT and MX, whose nodes run, and US, whose node does not; MX keeps the invented cases."""
    made = World.make(folder, **how)
    places = [made["GT"], made["MX"]]
    processes = [start(place) for place in places]
    try:
        for place, process in zip(places, processes, strict=True):
            wait_until_up(place, process)
        Desk(made["MX"]).run("import", str(INVENTED), "--format", "invented")
        yield made
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            assert process.wait(30) == 0


def new_case(desk: Desk, reference: str) -> str:
    opened = desk.json("case", "new", reference, "--title", "Invented", "--crime", "trafficking")
    case_id = opened["case"]["case_id"]
    assert isinstance(case_id, str)
    return case_id
