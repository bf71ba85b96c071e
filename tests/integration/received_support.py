"""Entries of other countries, invented, and what looks after their dates."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from node.federation.envelope import Signer
from node.federation.purging import Purging
from node.identity.keys import generate_private_key
from node.ledger.leaf import parse_private
from node.policy.received_use import Use
from node.store.database import Database
from node.store.entries import Entries
from node.store.frozen import Frozen
from node.store.listing import list_lines
from node.store.received import ReceivedEntries
from node.store.vault import Vault
from node.store.withdrawals import Deletion
from node.store.writer import Writer
from node.wire.codes_pb2 import (
    DATA_CATEGORY_TELECOM,
    LOOKUP_KIND_TELEPHONE,
    OUTCOME_RELEASE,
    PURPOSE_INVESTIGATE,
    UNIT_TYPE_POLICE_INTELLIGENCE,
)
from node.wire.entry_pb2 import Telecom
from node.wire.exchange_pb2 import Grant, ReleasedEntry, Selector, Terms
from node.wire.ledger_pb2 import LeafKind
from node.wire.received_pb2 import RECEIVED_SOURCE_SHARE, ReceivedEntry
from tests.conftest import START_US, Clock

T = TypeVar("T")

DAY_US = 86_400_000_000
NUMBER = "+12025550143"
SELECTOR = Selector(kind=LOOKUP_KIND_TELEPHONE, value=NUMBER)
USE = Use(PURPOSE_INVESTIGATE, UNIT_TYPE_POLICE_INTELLIGENCE, "UIF")
EXCHANGE, HANDLE = b"x" * 16, b"h" * 16
DELETED = LeafKind.LEAF_KIND_DELETED


def released(days: int = 0, handle: bytes = HANDLE, **fields: object) -> ReleasedEntry:
    made = ReleasedEntry(
        handle=handle,
        terms=Terms(retention_days=days),
        telecom=Telecom(telephone=NUMBER),
        grants=[Grant(rule="MX-1", law="UNTOC art. 27", category=DATA_CATEGORY_TELECOM, outcome=OUTCOME_RELEASE)],
    )
    made.MergeFrom(ReleasedEntry(**fields))  # type: ignore[arg-type]
    return made


def arrived(
    entry: ReleasedEntry | None = None, *, exchange_id: bytes = EXCHANGE, disclosed_us: int = START_US, peer: str = "MX"
) -> ReceivedEntry:
    return ReceivedEntry(
        peer=peer,
        originator=peer,
        exchange_id=exchange_id,
        disclosed_us=disclosed_us,
        source=RECEIVED_SOURCE_SHARE,
        entry=entry or released(),
    )


@dataclass
class Keeper:
    """A node's store and what deletes in it, on one clock."""

    database: Database
    vault: Vault
    writer: Writer
    clock: Clock
    received: ReceivedEntries = field(init=False)
    entries: Entries = field(init=False)
    purging: Purging = field(init=False)

    def __post_init__(self) -> None:
        frozen = Frozen(self.vault, self.vault.lookup_keys())
        self.received = ReceivedEntries(self.vault)
        self.entries = Entries(self.database, self.vault, self.vault.lookup_keys(), frozen)
        signer = Signer("GT", "gt-1", b"k" * 8, generate_private_key())
        self.purging = Purging(
            signer, self.database, self.vault, self.writer, self.entries, frozen, self.received, self.clock
        )

    def change(self, function: Callable[[Connection], T]) -> T:
        return self.writer.submit(function).result()

    def read(self, function: Callable[[Connection], T]) -> T:
        with self.database.reading() as connection:
            return function(connection)

    def put(self, new: ReceivedEntry) -> ReceivedEntry | None:
        return self.change(lambda connection: self.received.put(connection, new, self.clock()))

    def kept(self, new: ReceivedEntry | None = None) -> ReceivedEntry:
        stored = self.put(new or arrived())
        assert stored is not None
        return stored

    def found(self, use: Use = USE) -> list[ReceivedEntry]:
        return self.read(
            lambda connection: self.received.find(connection, [SELECTOR], "GT", use, now_us=self.clock(), limit=10)
        )

    def listed(self, use: Use = USE) -> list[ReceivedEntry]:
        return self.read(lambda connection: self.received.list_after(connection, b"", 100, use, self.clock()))

    def withdraw(self, handle: bytes = HANDLE, exchange_id: bytes = EXCHANGE, recalled_us: int = 0) -> Deletion:
        return self.change(
            lambda connection: self.received.withdraw(
                connection,
                peer="MX",
                exchange_id=exchange_id,
                handle=handle,
                recalled_us=recalled_us or self.clock(),
                now_us=self.clock(),
            )
        )

    def deleted(self) -> list[tuple[str, bytes]]:
        """What lines say was deleted: what, and its id."""
        with self.database.reading() as connection:
            lines = list_lines(connection, 0, 10_000, kinds=[DELETED], vault=self.vault)
        privates = [parse_private(line.opening.private) for line in lines if line.opening]
        return [(private.reason, private.subject) for private in privates]
