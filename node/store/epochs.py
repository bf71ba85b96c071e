"""Lines that this ledger lost, the epochs in which it went on, and what other ledgers confessed.

That lines were lost is kept in the database, so that no restart forgets it: until an epoch confesses all of it, nothing
leaves. What the rows say of an epoch counts only as far as the lines do: `enlace ledger verify` compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, String, Table, func, insert, select, update

from node.errors import LedgerBrokenError
from node.ledger.checkpoint import Checkpoint
from node.ledger.epoch import FIRST, Confession, confessed, note_checkpoint, split_origin
from node.ledger.leaf import parse_leaf, parse_shared
from node.ledger.witness import Seen
from node.store.bound import unbound
from node.store.lines import ledger_lines
from node.store.tables import COUNTRY, PSEUDONYM, metadata
from node.wire.fence_pb2 import Fence, LostHead, Restored

EPOCH_KEY: Final = b"epoch"
"""Replay key of the line that opens an epoch: its exchange id follows from what it confesses."""

lost_heads = Table(
    "lost_heads",
    metadata,
    Column("origin", String(255), primary_key=True),
    Column("size", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("root", LargeBinary, primary_key=True),
    Column("witness", COUNTRY, primary_key=True),
    Column("note", LargeBinary, nullable=False),
    Column("kept", BigInteger, nullable=False),  # lines there were here when it was told
    Column("told_us", BigInteger, nullable=False),
    Column("epoch", Integer),  # that confesses it
    info=unbound("each is signed by this node, and its witness tells of it again"),
)
"""Checkpoints of this node that a witness holds and that the lines do not extend."""

ledger_epochs = Table(
    "ledger_epochs",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("fence", LargeBinary, nullable=False),  # as it is, or is to be, in the line
    Column("proposer", PSEUDONYM, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("proposed_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger),
    Column("exchange_id", LargeBinary),  # of the line that opens it
    info=unbound("what was opened is a line, which `ledger verify` holds it against"),
)

restored_ledgers = Table(
    "restored_ledgers",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("country", COUNTRY, nullable=False),
    Column("restored", LargeBinary, nullable=False),  # Restored, as it was verified
    Column("found_us", BigInteger, nullable=False),
    info=unbound("each is signed by its ledger and proved; that it came is a line"),
)
"""Of each other ledger that was restored, what it confessed last."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A checkpoint whose lines are not all here any more; `epoch` is 0 until one confesses it."""

    seen: Seen
    witness: str
    kept: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """How the ledger is to go on, as an administrator has proposed it."""

    fence: bytes
    proposer: str
    reason: str
    proposed_us: int


@dataclass(frozen=True, slots=True)
class KnownRestore:
    """What another ledger confessed last, with the checkpoint it was shown with."""

    restored: bytes
    seen: Seen
    confession: Confession

    @property
    def epoch(self) -> int:
        """The epoch that it began."""
        return self.confession.fence.epoch


# --- of this ledger --------------------------------------------------------------------------------------------------


def note_lost(connection: Connection, witness: str, seen: Seen, kept: int, now_us: int) -> bool:
    """Keep what a witness holds and the lines do not extend; return whether it is news."""
    held, head = lost_heads.c, seen.checkpoint
    same = (held.origin == head.origin, held.size == head.size, held.root == head.root, held.witness == witness)
    if connection.execute(select(held.size).where(*same)).first() is not None:
        return False
    values = {"origin": head.origin, "size": head.size, "root": head.root, "witness": witness, "note": seen.note}
    # What an epoch has confessed is not lost again when one more witness tells of it.
    confessing = select(func.max(held.epoch)).where(*same[:3])
    epoch = connection.execute(confessing).scalar_one_or_none()
    connection.execute(insert(lost_heads).values(**values, kept=kept, told_us=now_us, epoch=epoch))
    return epoch is None


def list_lost(connection: Connection) -> list[Lost]:
    """Return all that was lost, by origin, size and witness."""
    held = lost_heads.c
    rows = connection.execute(select(lost_heads).order_by(held.origin, held.size, held.root, held.witness))
    return [
        Lost(Seen(Checkpoint(row.origin, row.size, row.root), row.note), row.witness, row.kept, row.epoch or 0)
        for row in rows
    ]


def is_fenced(connection: Connection) -> bool:
    """Tell whether lines were lost that no epoch confesses: then nothing leaves, and no checkpoint is signed."""
    return (
        connection.execute(select(lost_heads.c.size).where(lost_heads.c.epoch.is_(None)).limit(1)).first() is not None
    )


def epoch_of(connection: Connection) -> int:
    """Return the epoch that this ledger is in."""
    query = select(func.max(ledger_epochs.c.epoch)).where(ledger_epochs.c.opened_us.is_not(None))
    return int(connection.execute(query).scalar_one_or_none() or FIRST)


def build_fence(connection: Connection, unasked: Sequence[str]) -> Fence:
    """Return what is to be confessed: all checkpoints that any witness has told of, also those of earlier losses.

    A witness that has missed an epoch finds what it has seen in the next one too.
    """
    lost = list_lost(connection)
    epochs = [epoch_of(connection), *(split_origin(each.seen.checkpoint.origin)[1] for each in lost)]
    kept = min(min(each.kept, each.seen.checkpoint.size - 1) for each in lost)
    fence = Fence(epoch=max(epochs) + 1, kept=kept, unasked=sorted(unasked))
    heads: dict[bytes, LostHead] = {}
    for each in lost:
        head = heads.setdefault(each.seen.note, LostHead(checkpoint=each.seen.note))
        head.witnesses.append(each.witness)
    fence.heads.extend(heads.values())
    return fence


def propose_epoch(connection: Connection, fence: Fence, *, proposer: str, reason: str, now_us: int) -> bytes:
    """Keep a proposal in place of an earlier one, and return the serialised Fence."""
    held, data = ledger_epochs.c, fence.SerializeToString()
    connection.execute(ledger_epochs.delete().where(held.opened_us.is_(None)))
    values = {"epoch": fence.epoch, "fence": data, "proposer": proposer, "reason": reason, "proposed_us": now_us}
    connection.execute(insert(ledger_epochs).values(**values))
    return data


def proposal(connection: Connection) -> Proposal | None:
    """Return the proposal that waits to be confirmed."""
    row = connection.execute(select(ledger_epochs).where(ledger_epochs.c.opened_us.is_(None))).one_or_none()
    return None if row is None else Proposal(row.fence, row.proposer, row.reason, row.proposed_us)


def open_epoch(connection: Connection, fence: bytes, exchange_id: bytes, now_us: int) -> bool:
    """Open the epoch with this line, which the same transaction writes; False where what is lost has changed since."""
    parsed = Fence.FromString(fence)
    if build_fence(connection, parsed.unasked).SerializeToString() != fence:
        return False
    held = ledger_epochs.c
    waiting = (held.epoch == parsed.epoch, held.fence == fence, held.opened_us.is_(None))
    values = {"opened_us": now_us, "exchange_id": exchange_id}
    if connection.execute(update(ledger_epochs).where(*waiting).values(values)).rowcount != 1:
        return False
    connection.execute(update(lost_heads).where(lost_heads.c.epoch.is_(None)).values(epoch=parsed.epoch))
    return True


def opening_line(connection: Connection, epoch: int) -> tuple[int, bytes] | None:
    """Return index and leaf of the line that opens an epoch; None for the first one."""
    line = ledger_lines.c
    joined = ledger_lines.join(ledger_epochs, ledger_epochs.c.exchange_id == line.exchange_id)
    query = select(line.idx, line.leaf).select_from(joined).where(ledger_epochs.c.epoch == epoch).order_by(line.idx)
    row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else (row.idx, row.leaf)


def opened_epochs(connection: Connection) -> list[tuple[int, bytes]]:
    """Return all epochs that were opened, in order, with what is kept of their confession."""
    held = ledger_epochs.c
    query = select(held.epoch, held.fence).where(held.opened_us.is_not(None)).order_by(held.epoch)
    return [(row.epoch, row.fence) for row in connection.execute(query)]


def restores_of(connection: Connection) -> list[tuple[int, Confession]]:
    """Return the lines of this ledger that open an epoch, with what each confesses.

    Raises:
        LedgerBrokenError: one is malformed, or what is kept of epochs is not what the lines say.
    """
    line = ledger_lines.c
    query = select(line.idx, line.leaf).where(line.replay_key == EPOCH_KEY).order_by(line.idx)
    found = []
    for row in connection.execute(query):
        confession = confessed(parse_shared(parse_leaf(row.leaf).shared))
        if confession is None:
            raise LedgerBrokenError(f"line {row.idx} is marked as one that opens an epoch, and opens none")
        found.append((row.idx, confession))
    said = [(each.fence.epoch, each.fence.SerializeToString()) for _, each in found]
    if opened_epochs(connection) != said:
        raise LedgerBrokenError("the epochs that are kept are not those that lines open")
    return found


# --- of others -------------------------------------------------------------------------------------------------------


def last_restore(connection: Connection, name: str) -> KnownRestore | None:
    """Return what another ledger confessed last."""
    row = connection.execute(select(restored_ledgers).where(restored_ledgers.c.name == name)).one_or_none()
    return None if row is None else _known(row.restored)


def list_restores(connection: Connection) -> list[bytes]:
    """Return what other ledgers confessed, serialised Restored, by name."""
    query = select(restored_ledgers.c.restored).order_by(restored_ledgers.c.name)
    return list(connection.execute(query).scalars())


def keep_restore(connection: Connection, country: str, restored: Restored, found: Confession, now_us: int) -> bool:
    """Keep a confession that was verified, unless one of as late an epoch is kept; return whether it is news."""
    held = restored_ledgers.c
    name = split_origin(found.heads[0].origin)[0]
    known = connection.execute(select(held.epoch).where(held.name == name)).scalar_one_or_none()
    if known is not None and known >= found.fence.epoch:
        return False
    if known is not None:
        connection.execute(restored_ledgers.delete().where(held.name == name))
    data = restored.SerializeToString()
    values = {"name": name, "epoch": found.fence.epoch, "country": country, "restored": data, "found_us": now_us}
    connection.execute(insert(restored_ledgers).values(**values))
    return True


def _known(data: bytes) -> KnownRestore:
    restored = Restored.FromString(data)
    confession = confessed(parse_shared(parse_leaf(restored.leaf).shared))
    if confession is None:
        raise LedgerBrokenError("what is kept of another ledger's confession was altered")
    return KnownRestore(data, Seen(note_checkpoint(restored.checkpoint), restored.checkpoint), confession)
