"""`enlace ledger verify` of a large ledger, as an auditor runs it: seconds, and the most memory that it took."""

import os
import pty
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TypedDict

from sqlalchemy import insert, update

from node.federation.envelope import Opened, Sealed, Signer, seal
from node.identity.keys import key_id, public_key
from node.ledger.chain import link_of
from node.ledger.leaf import build_leaf
from node.ledger.rfc6962 import leaf_hash
from node.store.append import found_ledger
from node.store.database import Database
from node.store.lines import EMPTY_HEAD, Head, ledger_head, ledger_lines
from node.wire.envelope_pb2 import Statement, StatementType
from node.wire.exchange_pb2 import Body
from tests.world import Place, World, now_us

_BATCH = 20_000
_EXCHANGES = 2_000  # signed anew; lines differ in time and commitment, and share these between them


class _Row(TypedDict):
    """Columns of a line, but for its place."""

    leaf: bytes
    leaf_hash: bytes
    exchange_id: bytes
    statement: bytes
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Verified:
    """One run of the command."""

    lines: int
    signatures: int  # 0: it was not given the node's home, so it had no keys
    seconds: float
    cpu_seconds: float
    peak_mb: float
    bar: bool  # whether a bar was seen on the terminal


def measure(folder: Path, sizes: tuple[int, ...]) -> Iterator[tuple[Verified, Verified]]:
    """Verify a ledger as it grows to each of these sizes: from its leaves alone, and with all signatures."""
    world = World.make(folder, ("GT", "MX"))
    place, lines, head = world["MX"], _lines(world), EMPTY_HEAD
    for size in sizes:
        head = _grown(place, lines, head, size)
        path = place.home.data / "enlace.db"
        yield _run(size, "--database", str(path)), _run(size, "--home", str(place.home.path))


def _run(size: int, *options: str) -> Verified:
    """Run the command with a terminal as its standard error, where it draws its bar."""
    terminal, standard_error = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "ENLACE_HOME"} | {"TERM": "xterm"}
    with tempfile.TemporaryFile("w+") as out:
        command = [sys.executable, "-c", "from node.main import main; main()", "ledger", "verify", *options]
        process = subprocess.Popen(command, stdout=out, stderr=standard_error, env=environment)
        os.close(standard_error)
        drawn: list[bytes] = []
        reader = threading.Thread(target=_drain, args=(terminal, drawn))
        reader.start()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        reader.join()
        os.close(terminal)
        out.seek(0)
        told = out.read()
    shown = b"".join(drawn).decode(errors="replace")
    assert process.returncode == 0, told + shown
    facts = {words[0]: words[1] for words in map(str.split, told.splitlines()) if len(words) > 1}
    assert facts["lines"] == str(size), told
    signatures = facts["signatures"]
    return Verified(
        lines=size,
        signatures=int(signatures) if signatures.isdigit() else 0,
        seconds=float(facts["seconds"]),
        cpu_seconds=used.ru_utime + used.ru_stime,
        peak_mb=used.ru_maxrss / 1024,
        bar=f"/{size}" in shown,
    )


def _drain(terminal: int, drawn: list[bytes]) -> None:
    try:
        while data := os.read(terminal, 65_536):
            drawn.append(data)
    except OSError:  # how Linux says that the other side has closed
        return


def _grown(place: Place, lines: Iterator[_Row], head: Head, size: int) -> Head:
    """Write lines in the shape of those that a node writes, but many in one transaction."""
    frontier, link = head.frontier, head.link
    with Database.open(place.config.store.database) as database:
        while frontier.size < size:
            rows, hashes = [], []
            for index in range(frontier.size, min(frontier.size + _BATCH, size)):
                row = next(lines)
                link = link_of(link, row["leaf_hash"])
                rows.append({**row, "idx": index, "link": link})
                hashes.append(row["leaf_hash"])
            frontier = frontier.appended(hashes)
            with database.engine.begin() as connection:
                found_ledger(connection)
                connection.execute(insert(ledger_lines), rows)
                kept = {"size": frontier.size, "root": frontier.root, "frontier": frontier.to_bytes(), "link": link}
                connection.execute(update(ledger_head).values(kept))
    return Head(frontier, frontier.root, link)


def _lines(world: World) -> Iterator[_Row]:
    """Yield answers of MX to GT without end."""
    for exchange_id, sealed in cycle([_answer(world) for _ in range(_EXCHANGES)]):
        leaf = build_leaf(sealed.shared, now_us(), secrets.token_bytes(32))
        yield _Row(
            leaf=leaf,
            leaf_hash=leaf_hash(leaf),
            exchange_id=exchange_id,
            statement=sealed.statement,
            key_id=sealed.envelope.key_id,
            signature=sealed.envelope.signature,
        )


def _answer(world: World) -> tuple[bytes, Sealed]:
    exchange_id = secrets.token_bytes(16)
    asked = _sealed(world["GT"], "MX", StatementType.STATEMENT_TYPE_QUERY, exchange_id, None)
    query = Opened(
        statement=Statement.FromString(asked.statement),
        statement_bytes=asked.statement,
        key_id=asked.envelope.key_id,
        signature=asked.envelope.signature,
        body=Body(),
        body_bytes=asked.body,
    )
    return exchange_id, _sealed(world["MX"], "GT", StatementType.STATEMENT_TYPE_ANSWER, exchange_id, query)


def _sealed(
    place: Place, recipient: str, kind: StatementType.ValueType, exchange_id: bytes, answered: Opened | None
) -> Sealed:
    public = public_key(place.signing_key)
    return seal(
        Signer(place.code, place.name, key_id(public), place.signing_key),
        statement_type=kind,
        exchange_id=exchange_id,
        recipient=recipient,
        body=Body(salt=secrets.token_bytes(32)),
        now_us=now_us(),
        directory_version=1,
        answered=answered,
    )
