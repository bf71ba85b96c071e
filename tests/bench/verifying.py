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
from itertools import count
from pathlib import Path

from sqlalchemy import insert, update

from node.federation.envelope import Opened, Sealed, Signer, seal
from node.identity.keys import key_id, public_key
from node.ledger.chain import link_of
from node.ledger.leaf import build_leaf, build_opening
from node.ledger.rfc6962 import leaf_hash
from node.store.append import found_ledger
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.lines import ledger_head, ledger_lines, ledger_openings, opening_context, replay_key
from node.store.listing import read_head
from node.store.vault import Vault, read_key_file
from node.wire.envelope_pb2 import Statement, StatementType
from node.wire.exchange_pb2 import Body
from node.wire.ledger_pb2 import Decisions, EntryDecision, LeafPrivate
from tests.world import Place, World, now_us

_BATCH = 20_000


_DECIDED = [EntryDecision(entry_id=bytes(16), rules=["MX-04"], facts=bytes(120)) for _ in range(3)]

_Answer = tuple[bytes, bytes, Sealed]
"""An exchange's id, the replay key of its question, and what MX sent in it."""


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
    place, answers = world["MX"], (_answer(world) for _ in count())  # each is answered once
    for size in sizes:
        _grown(place, answers, size)
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


def _grown(place: Place, answers: Iterator[_Answer], size: int) -> None:
    """Write lines in the shape of those that a node writes, but many in one transaction."""
    store = place.config.store
    with Database.open(store.database) as database, KeyStore.open(store.keystore) as keystore:
        vault = Vault(keystore, read_key_file(store.key_encryption_key))
        while _written(database, vault, answers, size) < size:
            pass


def _written(database: Database, vault: Vault, answers: Iterator[_Answer], size: int) -> int:
    with database.engine.begin() as connection:
        found_ledger(connection)
        head = read_head(connection)
        link, rows, openings, hashes = head.link, [], [], []
        for index in range(head.size, min(head.size + _BATCH, size)):
            exchange_id, replayed, answer = next(answers)
            decisions = Decisions(salt=secrets.token_bytes(16), entries=_DECIDED)
            opening, commitment = build_opening(secrets.token_bytes(32), LeafPrivate(officer="analyst"), decisions)
            leaf = build_leaf(answer.shared, now_us(), commitment)
            hashed = leaf_hash(leaf)
            link = link_of(link, hashed)
            signed = answer.statement, answer.envelope.key_id, answer.envelope.signature
            rows.append((index, leaf, hashed, link, exchange_id, replayed, *signed))
            openings.append((index, vault.seal_alone(opening_context(hashed), opening)))
            hashes.append(hashed)
        frontier = head.frontier.appended(hashes)
        for table, values in ((ledger_lines, rows), (ledger_openings, openings)):
            names = [column.name for column in table.columns]
            connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in values])
        kept = {"size": frontier.size, "root": frontier.root, "frontier": frontier.to_bytes(), "link": link}
        connection.execute(update(ledger_head).values(kept))
    return frontier.size


def _answer(world: World) -> _Answer:
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
    replayed = replay_key(query.statement)
    return exchange_id, replayed, _sealed(world["MX"], "GT", StatementType.STATEMENT_TYPE_ANSWER, exchange_id, query)


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
