"""What is kept of and for the auditing institution: charters, commitments, and copies of what opens ledger lines.

    key of an epoch (in this process, and wrapped for the institution) -> copies of what opens successive lines

Whoever erases what opens a line leaves the copy, and nobody at the node can open that. Each charter, epoch and
commitment is named by a ledger line, whose exchange id follows from its SHA-256: what is put there, replaced or deleted
by SQL shows in `enlace ledger verify`.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, Table, func, insert, select

from node.errors import DecryptionError, LedgerBrokenError, UsageError
from node.identity.institution import seal_to, verified_charter
from node.ledger.leaf import pad, unpad
from node.store.bound import unbound
from node.store.tables import metadata
from node.wire.directory_pb2 import Audit
from node.wire.institution_pb2 import Charter, CopyEpoch, SealedCopies

DAY_US: Final = 86_400_000_000
SETTLING_US: Final = 10_000_000
"""From when on after the first charter every line has a copy: by then each process of the node has seen it."""
MOST_COPIES: Final = 256
"""Lines of one row of copies."""
LINE_KEY: Final = b"institution"
"""Replay key of lines that name a charter, an epoch, a commitment or an erasure; there is one for each."""

_DOMAIN: Final = b"enlace/v1/copies\x00"
_KEY_BYTES: Final = 32
_EPOCH_ID_BYTES: Final = 16
_NONCE: Final = 12
_INDEX: Final = BigInteger().with_variant(Integer, "sqlite")

charters = Table(
    "institution_charters",
    metadata,
    Column("number", _INDEX, primary_key=True, autoincrement=False),
    Column("signed", LargeBinary, nullable=False),  # SignedCharter, as it came
    Column("stored_us", BigInteger, nullable=False),
    info=unbound("the institution signed each, and `ledger verify` asks for the line that has its digest"),
)

epochs = Table(
    "institution_epochs",
    metadata,
    Column("epoch_id", LargeBinary, primary_key=True),
    Column("epoch", LargeBinary, nullable=False),  # CopyEpoch
    Column("wrapped", LargeBinary),  # NULL: destroyed when its time was over
    Column("until_us", BigInteger, nullable=False),
    info=unbound("`ledger verify` asks for the line that has the digest of each, and for each that lines tell of"),
)

copies = Table(
    "institution_copies",
    metadata,
    Column("first", _INDEX, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Column("epoch_id", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    info=unbound("`ledger verify` asks for the copy of each line, and for the line that tells when copies end"),
)
"""Apart from the openings, and a row for each batch of the writer: a row for each line would double what it costs."""

commitments = Table(
    "institution_commitments",
    metadata,
    Column("size", _INDEX, primary_key=True, autoincrement=False),
    Column("note", LargeBinary, nullable=False),  # signed note over the institution's log of readings
    Column("stored_us", BigInteger, nullable=False),
    info=unbound("the institution signed each, and `ledger verify` asks for the line that has its digest"),
)


def line_id(digest: bytes) -> bytes:
    """Return the exchange id of the ledger line that names something by its SHA-256."""
    return sha256(b"enlace/v1/named-by-a-line\0" + digest).digest()[:16]


def due_us(at_us: int, days: int) -> int:
    """Return when a period of so many days is over that began on the day of `at_us`, which counts in full."""
    return (at_us // DAY_US + 1 + days) * DAY_US


# --- copies ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Epoch:
    """A key that copies are encrypted under for a while, and what tells of it."""

    record: CopyEpoch
    wrapped: bytes
    _cipher: AESGCM = field(repr=False)

    @property
    def is_end(self) -> bool:
        """Whether no copies are made from it on."""
        return not self.record.charter

    @property
    def data(self) -> bytes:
        """The bytes that the ledger line names."""
        return self.record.SerializeToString(deterministic=True)

    def seal(self, first: int, lines: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Encrypt copies for the lines from `first` on: of each the Opening, and the packed messages or nothing."""
        nonce = os.urandom(_NONCE)
        context = _context(self.record.epoch_id, first, len(lines))
        # Openings are padded, and most of them end in zeros: without these, a third of the bytes is left to be written.
        packed = [(len(opening), opening.rstrip(b"\0"), bodies) for opening, bodies in lines]
        return nonce + self._cipher.encrypt(nonce, pad(msgspec.msgpack.encode(packed)), context)


def new_epoch(charter: Charter, period_days: int, now_us: int) -> Epoch:
    """Make a key, and wrap it for the institution; nothing else keeps it when the process ends."""
    epoch_id, key = os.urandom(_EPOCH_ID_BYTES), os.urandom(_KEY_BYTES)
    wrapped = seal_to(charter.encryption_key, _DOMAIN + epoch_id, key)
    record = CopyEpoch(
        epoch_id=epoch_id,
        charter=charter.number,
        begun_us=now_us,
        until_us=due_us(now_us, period_days + 1),  # some lines of the next day are copied before it has its key
        wrapped_sha256=sha256(wrapped).digest(),
    )
    return Epoch(record, wrapped, AESGCM(key))


def end_of_copies(now_us: int) -> Epoch:
    """Return what says that no copies are made any more: the directory names no institution."""
    epoch_id = os.urandom(_EPOCH_ID_BYTES)
    record = CopyEpoch(epoch_id=epoch_id, begun_us=now_us, wrapped_sha256=sha256().digest())
    return Epoch(record, b"", AESGCM(os.urandom(_KEY_BYTES)))


def wrapping_info(epoch_id: bytes) -> bytes:
    """Return what an epoch's key is wrapped for (`node.identity.institution.seal_to`)."""
    return _DOMAIN + epoch_id


def open_copies(key: bytes, sealed: SealedCopies) -> list[tuple[bytes, bytes]]:
    """Decrypt copies with the epoch's key (32 bytes): of each line the Opening, and the packed messages or nothing.

    Raises:
        DecryptionError: they were altered, or belong to other lines or another epoch.
        LedgerBrokenError: they are not packed as the format wants.
    """
    context = _context(sealed.epoch_id, sealed.first, sealed.count)
    try:
        packed = AESGCM(key).decrypt(sealed.sealed[:_NONCE], sealed.sealed[_NONCE:], context)
        lines = msgspec.msgpack.decode(unpad(packed), type=list[tuple[int, bytes, bytes]])
    except (InvalidTag, ValueError) as error:
        raise DecryptionError("copies were altered, or belong elsewhere") from error
    if len(lines) != sealed.count:
        raise LedgerBrokenError("there are not as many copies as lines")
    return [(opening.ljust(size, b"\0"), bodies) for size, opening, bodies in lines]


def put_epoch(connection: Connection, epoch: Epoch) -> None:
    """Keep a new epoch with its wrapped key."""
    record = epoch.record
    row = {"epoch_id": record.epoch_id, "epoch": epoch.data, "wrapped": epoch.wrapped, "until_us": record.until_us}
    connection.execute(insert(epochs).values(row))


def last_epoch(connection: Connection) -> CopyEpoch | None:
    """Return the epoch that was begun last, by whichever process."""
    found = [CopyEpoch.FromString(data) for data in connection.execute(select(epochs.c.epoch)).scalars()]
    return max(found, key=lambda each: each.begun_us, default=None)


def copies_between(connection: Connection, start: int, stop: int) -> Iterator[SealedCopies]:
    """Yield the rows of copies that begin from line `start` to before `stop`, in order."""
    query = select(copies).where(copies.c.first >= start, copies.c.first < stop).order_by(copies.c.first)
    for first, count, epoch_id, sealed in connection.execute(query):
        yield SealedCopies(first=first, count=count, epoch_id=epoch_id, sealed=sealed)


def _context(epoch_id: bytes, first: int, count: int) -> bytes:
    return _DOMAIN + epoch_id + first.to_bytes(8, "big") + count.to_bytes(4, "big")


# --- what the institution signed -------------------------------------------------------------------------------------


def put_charter(connection: Connection, charter: Charter, signed: bytes, now_us: int) -> None:
    """Keep a charter that was verified.

    Raises:
        UsageError: its number is not higher than that of the last one.
    """
    last = connection.execute(select(func.max(charters.c.number))).scalar_one()
    if last is not None and charter.number <= last:
        raise UsageError(f"the charter has the number {charter.number}, and number {last} is in force")
    connection.execute(insert(charters).values(number=charter.number, signed=signed, stored_us=now_us))


def charter_in_force(connection: Connection, country: str, audit: Audit) -> Charter | None:
    """Return the last charter; None where the institution has not brought one.

    Raises:
        SignatureError, MalformedError: what is stored is not what the institution signed.
    """
    row = connection.execute(select(charters.c.signed).order_by(charters.c.number.desc()).limit(1)).scalar_one_or_none()
    return None if row is None else verified_charter(row, country, audit.root_key)


def list_charters(connection: Connection) -> list[bytes]:
    """Return all charters (SignedCharter) as they came, the oldest first; unverified."""
    return list(connection.execute(select(charters.c.signed).order_by(charters.c.number)).scalars())


def put_commitment(connection: Connection, size: int, note: bytes, now_us: int) -> None:
    """Keep what the institution's log of readings commits to, which was verified.

    Raises:
        UsageError: a commitment to as many readings, or more, is kept.
    """
    last = connection.execute(select(func.max(commitments.c.size))).scalar_one()
    if last is not None and size <= last:
        raise UsageError(f"a commitment to {last} readings is kept, and this one is to {size}")
    connection.execute(insert(commitments).values(size=size, note=note, stored_us=now_us))


def list_commitments(connection: Connection) -> list[bytes]:
    """Return all commitments, signed notes, the oldest first."""
    return list(connection.execute(select(commitments.c.note).order_by(commitments.c.size)).scalars())
