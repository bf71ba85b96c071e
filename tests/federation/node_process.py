"""A node as a process of its own, started as its administrator starts it; what it wrote is kept for the tests."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.world import Place

REPOSITORY = Path(__file__).parents[2]
START_S = 30.0


@dataclass
class NodeProcess:
    """A running node; `said` is all of its standard output and error so far."""

    place: Place
    process: subprocess.Popen[bytes]
    said: list[bytes] = field(default_factory=list)

    @property
    def log(self) -> str:
        return b"".join(self.said).decode()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = 15.0) -> int:
        return self.process.wait(timeout_s)


@contextmanager
def node_process(place: Place, arguments: Sequence[str] = ()) -> Iterator[NodeProcess]:
    """Run `python -m node serve`, or Python with other arguments, until the block ends."""
    command = arguments or ("-m", "node", "serve", "--home", str(place.home.path))
    # Its output goes through a pipe and not to a file, so that a full disk does not stop its mouth as well.
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    node = NodeProcess(place, process)
    listener = threading.Thread(target=_listen, args=(node,), daemon=True)
    listener.start()
    try:
        _wait_until_it_serves(node)
        yield node
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        listener.join()
        if process.stdout is not None:
            process.stdout.close()


def _listen(node: NodeProcess) -> None:
    stream = node.process.stdout
    assert stream is not None
    while data := os.read(stream.fileno(), 65_536):
        node.said.append(data)


def _wait_until_it_serves(node: NodeProcess) -> None:
    deadline = time.monotonic() + START_S
    while '"serving"' not in node.log:
        if node.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the node does not serve: {node.log}")
        time.sleep(0.02)


def shake_hands(place: Place, address: str, pem: Path, version: ssl.TLSVersion) -> str:
    """Connect with the certificate and key in `pem` and this version of TLS alone, and return the version spoken.

    Raises:
        ssl.SSLError: there is none in common.
    """
    context = ssl.create_default_context(cadata=place.ca.roots_pem.decode())
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=place.server_name) as secure,
    ):
        return secure.version() or ""
