"""Verifying ledgers, and damaging a copy of one."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from node.config import Config
from node.errors import LedgerError
from node.federation.envelope import STATEMENT_TYPE
from node.identity.directory import TrustedDirectory
from node.identity.keys import verify_signature
from node.store import directories, requests
from node.store.database import Database
from node.store.engines import parse_url, sqlite_path
from node.store.keystore import KeyStore
from node.store.ledger import Report, verify_ledger
from node.store.lines import ledger_lines
from node.store.vault import Vault, read_key_file
from node.wire.envelope_pb2 import Statement


@dataclass(frozen=True, slots=True)
class Flip:
    """One byte of a copied ledger that is not what it was."""

    line: int
    place: int  # in the line's leaf
    before: int
    after: int


def verify(config: Config, database_url: str) -> Report:
    """Verify all of a ledger: lines, tree, signatures of both sides, and what opens each line.

    Raises:
        LedgerBrokenError: something is wrong; the text names the lines.
    """
    with (
        Database.open_read_only(database_url) as database,
        KeyStore.open(config.store.keystore) as keystore,
        database.reading() as connection,
    ):
        directory = TrustedDirectory.restored(config.trust.root.read_bytes(), directories.accepted(connection))

        def verify_statement(data: bytes, key_id: bytes, signature: bytes) -> None:
            statement = Statement.FromString(data)
            key = directory.signing_key(statement.sender, statement.node, key_id, statement.time_us)
            verify_signature(key, STATEMENT_TYPE, data, signature)

        vault = Vault(keystore, read_key_file(config.store.key_encryption_key))
        return verify_ledger(connection, vault=vault, verify_statement=verify_statement)


def overdue(config: Config, at_us: int) -> set[bytes]:
    """Return the ids of requests that a node's clock will end at an instant if nobody decides on them before.

    It is the question that the node asks its database every second, put with another time.
    """
    with (
        Database.open_read_only(config.store.database) as database,
        KeyStore.open(config.store.keystore) as keystore,
        database.reading() as connection,
    ):
        vault = Vault(keystore, read_key_file(config.store.key_encryption_key))
        return {kept.id.request_id for kept in requests.overdue(connection, vault, at_us)}


def copy(config: Config, place: Path) -> str:
    """Copy a node's database while it runs, and return the copy's URL."""
    source = sqlite_path(parse_url(config.store.database))
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as here, closing(sqlite3.connect(place)) as there:
        here.backup(there)
    return f"sqlite:///{place}"


def flip_byte(copied: Path, line: int) -> Flip:
    """Change one byte of a line, where it lies in the copy's file.

    Raises:
        LedgerError: the line is not there.
    """
    with Database.open_read_only(f"sqlite:///{copied}") as database, database.reading() as connection:
        leaf = connection.execute(select(ledger_lines.c.leaf).where(ledger_lines.c.idx == line)).scalar_one()
    data = bytearray(copied.read_bytes())
    start = data.find(leaf)
    if start < 0:
        raise LedgerError(f"line {line} does not lie in one piece in {copied}")
    place = len(leaf) // 2
    before = data[start + place]
    data[start + place] ^= 1
    copied.write_bytes(data)
    return Flip(line, place, before, data[start + place])
