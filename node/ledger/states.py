"""Binding what the database holds to the lines of the ledger, so that a row that SQL wrote, altered or took away shows.

Whoever changes rows logs a line. The line's leaf holds the SHA-256 of a list (RowStates in ledger.proto), which is kept
beside it and says of everything that was changed what it is from then on: a digest, or nothing where it was taken away.
What the lines say last of each thing is compared with what is there. A thing is a row, or the rows that share a key.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from hashlib import sha256
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from node.errors import LedgerBrokenError
from node.wire.ledger_pb2 import Leaf, RowState, RowStates, TableStates

Value: TypeAlias = int | float | str | bytes | None
"""Of a column. Databases that know no boolean keep 0 and 1, so those are the same here."""

SALT_SIZE: Final = 16
"""Bytes before a list, so that its digest, which anybody may see, tells nothing of what few values could be guessed."""

_HASH_SIZE: Final = 32
# Separate these hashes from every other of the contract.
_ROWS: Final = b"enlace/v1/row-state\x00"
_LIST: Final = b"enlace/v1/row-states\x00"
_encode = msgspec.msgpack.Encoder().encode


class State(NamedTuple):
    """What a thing is: its table, its key (`key_of`), and the digest of its rows, empty where there are none."""

    table: str
    key: bytes
    sha256: bytes


class Told(NamedTuple):
    """What the line of this index says that a thing is from then on."""

    table: str
    key: bytes
    sha256: bytes
    line: int


class Fault(Enum):
    """How a thing differs from what the lines say."""

    ALTERED = "altered"
    MISSING = "missing"
    UNTOLD = "untold"  # no line says that it was ever written
    RETURNED = "returned"  # a line says that it was taken away


class Difference(NamedTuple):
    """A thing that is not what the lines say, and the last line that speaks of it; -1 where none does."""

    fault: Fault
    table: str
    key: bytes
    line: int


def key_of(values: Iterable[Value]) -> bytes:
    """Encode what names a thing within its table: the values of its key columns, in their order, as MessagePack."""
    return _encode(list(values))


def parse_key(key: bytes) -> list[Value]:
    """Return the values of the key columns.

    Raises:
        LedgerBrokenError: It is not a key.
    """
    try:
        values = msgspec.msgpack.decode(key)
    except msgspec.MsgspecError as error:
        raise LedgerBrokenError("the key of a row can't be read") from error
    if not isinstance(values, list):
        raise LedgerBrokenError("the key of a row is not one")
    return values


class StateDigest:
    """Digests all rows of one thing of a table; made once for many, since what it prepares costs more than a digest.

    Names without a value are left out, so that a column which a later version adds changes no digest; the order of
    columns and rows does not matter.
    """

    __slots__ = ("_order", "_table")

    def __init__(self, table: str, names: Sequence[str]) -> None:
        """Begin with the table's name, and those of its columns, in the order in which rows have their values."""
        self._table = table
        self._order = sorted((name, place) for place, name in enumerate(names))

    def of(self, rows: Iterable[Sequence[Value]]) -> bytes:
        """Return 32 bytes, or none where there is no row; true and false are 1 and 0."""
        encoded = []
        for row in rows:
            parts: list[Value] = []
            for name, place in self._order:
                value = row[place]
                if value is not None:
                    parts += (name, +value if value.__class__ is bool else value)
            encoded.append(_encode(parts))
        if len(encoded) > 1:
            encoded.sort()
        return sha256(_ROWS + _encode((self._table, encoded))).digest() if encoded else b""


def build_states(salt: bytes, states: Iterable[State]) -> bytes:
    """Serialise what was changed, things of one table together; `salt` is 16 random bytes."""
    tables = {table: list(those) for table, those in groupby(sorted(states), key=lambda each: each.table)}
    return RowStates(
        salt=salt,
        tables=[
            TableStates(table=table, rows=[RowState(key=each.key, sha256=each.sha256) for each in those])
            for table, those in tables.items()
        ],
    ).SerializeToString(deterministic=True)


def bind(leaf: bytes, states: bytes) -> bytes:
    """Return a leaf that commits to what was changed, besides all that it says already."""
    bound = Leaf.FromString(leaf)
    bound.states_sha256 = states_sha256(states)
    return bound.SerializeToString()


def states_sha256(states: bytes) -> bytes:
    """Digest a list as `Leaf.states_sha256` has it."""
    return sha256(_LIST + states).digest()


def parse_states(data: bytes) -> list[State]:
    """Read a list of what was changed.

    Raises:
        LedgerBrokenError: It is damaged, or has unknown fields or fields of a wrong length.
    """
    try:
        states = RowStates.FromString(data)
    except DecodeError:
        raise LedgerBrokenError("what a line says that was changed can't be read") from None
    odd = any(len(row.sha256) not in (0, _HASH_SIZE) for table in states.tables for row in table.rows)
    if odd or len(UnknownFieldSet(states)) or len(states.salt) != SALT_SIZE:
        raise LedgerBrokenError("what a line says that was changed has fields that the format does not know")
    return [State(table.table, row.key, row.sha256) for table in states.tables for row in table.rows]


def compare(told: Iterable[Told], found: Iterable[State]) -> Iterator[Difference]:
    """Find what is not as the lines say, reading each side once.

    Args:
        told: In order of table, key and line; of several lines on one thing, the last counts.
        found: What is there, in order of table and key.
    """
    last = _last(told)
    said = next(last, None)
    for state in found:
        while said is not None and said[:2] < state[:2]:
            yield from _missing(said)
            said = next(last, None)
        if said is None or said[:2] != state[:2]:
            yield Difference(Fault.UNTOLD, state.table, state.key, -1)
            continue
        if said.sha256 != state.sha256:
            fault = Fault.ALTERED if said.sha256 else Fault.RETURNED
            yield Difference(fault, state.table, state.key, said.line)
        said = next(last, None)
    while said is not None:
        yield from _missing(said)
        said = next(last, None)


def _last(told: Iterable[Told]) -> Iterator[Told]:
    for _, those in groupby(told, key=lambda each: each[:2]):
        *_, last = those
        yield last


def _missing(said: Told) -> Iterator[Difference]:
    if said.sha256:
        yield Difference(Fault.MISSING, said.table, said.key, said.line)


def words_of(difference: Difference, what: str) -> str:
    """Say to an officer how a thing differs; `what` names it: "the officer ana-1"."""
    line = difference.line
    match difference.fault:
        case Fault.ALTERED:
            return f"{what} was changed behind the ledger's back: it is not what line {line} says"
        case Fault.MISSING:
            return f"{what} was taken away behind the ledger's back: line {line} says that it is there"
        case Fault.RETURNED:
            return f"{what} was put back behind the ledger's back: line {line} says that it was taken away"
        case Fault.UNTOLD:
            return f"{what} was put there behind the ledger's back: no line says so"
