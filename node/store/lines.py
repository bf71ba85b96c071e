"""What the ledger is made of: lines, a head, and the tables that keep them.

A table holds what must survive, and nothing twice, with one exception: the hashes beside each leaf. The root in the
head tells *that* a line was damaged, never which; the hashes name it (see `node.ledger.chain`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    UniqueConstraint,
)

from node.errors import LedgerBrokenError
from node.ledger.chain import FIRST_LINK
from node.ledger.leaf import pad, unpad
from node.ledger.rfc6962 import EMPTY_ROOT, HASH_SIZE, Frontier
from node.store.bound import unbound
from node.store.tables import metadata
from node.store.vault import Vault
from node.wire.envelope_pb2 import Statement


@dataclass(frozen=True, slots=True)
class Line:
    """A line to be logged.

    Attributes:
        leaf: The bytes that enter the tree (`node.ledger.leaf.build_leaf`).
        opening: Serialised Opening of that leaf. It is stored encrypted.
        exchange_id: 16 bytes; of a local line, random ones.
        replay_key: Who has used this exchange id, and how. A second line with the same id and key is refused.
        statement: As sent, of the message that this line lets out; empty where none leaves.
        key_id: 8 bytes: the key that signed the statement.
        signature: 64 bytes.
        bodies: Messages to keep beside the line, encrypted: a short name, and the bytes.
        states: What was changed with it (`node.ledger.states.build_states`); the leaf has its digest.
    """

    leaf: bytes
    opening: bytes
    exchange_id: bytes
    replay_key: bytes | None = None
    statement: bytes = b""
    key_id: bytes = b""
    signature: bytes = b""
    bodies: tuple[tuple[str, bytes], ...] = ()
    states: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """What the database says of the whole ledger; `root` is 32 bytes, `link` that of the last line."""

    frontier: Frontier
    root: bytes
    link: bytes

    @property
    def size(self) -> int:
        """Number of lines."""
        return self.frontier.size


EMPTY_HEAD: Final = Head(Frontier(), EMPTY_ROOT, FIRST_LINK)


def parse_head(size: int, root: bytes, frontier: bytes, link: bytes) -> Head:
    """Read a row of `ledger_head`.

    Raises:
        LedgerBrokenError: Its columns contradict each other.
    """
    parsed = Frontier.from_bytes(frontier)
    if parsed.size != size or parsed.root != root or len(link) != HASH_SIZE:
        raise LedgerBrokenError("the head of the ledger contradicts itself: size, root and frontier do not fit")
    return Head(parsed, root, link)


def replay_key(statement: Statement) -> bytes:
    """Name a peer's message in the replay memory: an exchange id serves one message of a kind, once."""
    return statement.sender.encode() + bytes([statement.type]) + statement.exchange_id


def opening_context(leaf_hash: bytes) -> bytes:
    """What an opening is sealed for: its own leaf, and no other."""
    return b"ledger opening\x00" + leaf_hash


def bodies_context(leaf_hash: bytes) -> bytes:
    """What the kept messages are sealed for: likewise."""
    return b"ledger bodies\x00" + leaf_hash


def states_tag(vault: Vault, leaf_hash: bytes) -> bytes:
    """Tag a line that says what was changed: who appends one with SQL, computing its tree anew, can't."""
    return vault.tag("row-states", leaf_hash)


def pack_bodies(bodies: Iterable[tuple[str, bytes]]) -> bytes:
    """Serialise messages to be kept, without the zeros that they end in: they were padded for the wire.

    What they are kept as has a multiple of 512 bytes, as openings have, so that sizes tell no more of them.
    """
    return pad(msgspec.msgpack.encode({name: (len(data), data.rstrip(b"\0")) for name, data in bodies}))


def unpack_bodies(packed: bytes) -> dict[str, bytes]:
    """Return messages that were kept, by name.

    Raises:
        LedgerBrokenError: They were not packed so.
    """
    try:
        bodies = msgspec.msgpack.decode(unpad(packed), type=dict[str, tuple[int, bytes]])
    except msgspec.MsgspecError as error:
        raise LedgerBrokenError("the messages kept beside a line can't be read") from error
    return {name: data.ljust(size, b"\0") for name, (size, data) in bodies.items()}


# SQLite makes a key its row number only when its type is called INTEGER; any other name costs a second index.
_INDEX = BigInteger().with_variant(Integer, "sqlite")

ledger_head = Table(
    "ledger_head",
    metadata,
    Column("id", SmallInteger, CheckConstraint("id = 1", name="one_head"), primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("link", LargeBinary, nullable=False),  # of the last line
    info=unbound("the tree over the lines is computed anew, and it and its frontier are compared"),
)
"""One row: the tree as it stands. Locking it is what makes one ledger of several processes."""

ledger_lines = Table(
    "ledger_lines",
    metadata,
    Column("idx", _INDEX, primary_key=True, autoincrement=False),  # from 0, without gaps
    Column("leaf", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("link", LargeBinary, nullable=False),  # to the line before: see node.ledger.chain
    Column("exchange_id", LargeBinary, nullable=False),
    Column("replay_key", LargeBinary),
    # The statement of the message that this line lets out, as it is sent. That of the counterpart is in the leaf.
    Column("statement", LargeBinary),
    Column("key_id", LargeBinary),
    Column("signature", LargeBinary),
    # The replay memory; it also finds the lines of an exchange. Exchange ids are random, so each further index would
    # cost every line a page of its own to write.
    UniqueConstraint("exchange_id", "replay_key"),
    info=unbound("it is the ledger: the tree, the links and the signatures name what was altered"),
)

ledger_openings = Table(
    "ledger_openings",
    metadata,
    Column("idx", _INDEX, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),  # Opening, under a key of its own, so that it can be erased alone
    info=unbound("the leaf commits to each: `ledger verify` asks for it or for a line that tells of its erasure"),
)
"""Apart from the lines, so that a scan of the tree does not read them and a copy of the tree can go without."""

ledger_bodies = Table(
    "ledger_bodies",
    metadata,
    Column("idx", _INDEX, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),  # `pack_bodies`, under a key of its own
    info=unbound("the statement in the line has the digest of each message, and each is sealed for its line"),
)

ledger_states = Table(
    "ledger_states",
    metadata,
    Column("idx", _INDEX, primary_key=True, autoincrement=False),
    Column("states", LargeBinary, nullable=False),  # RowStates, whose digest is in the leaf
    Column("tag", LargeBinary, nullable=False),  # by the node, of the leaf's hash: no line appended by SQL has one
    info=unbound("the leaf holds the digest of each, so `ledger verify` names one that was altered or is gone"),
)
"""What was changed in the database with which line: ids and digests, see `node.store.touched`."""
