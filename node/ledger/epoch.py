"""Epochs: how a ledger that lost lines goes on, without anybody taking the loss for a second history, or not seeing it.

A restored backup can't be told from a rewritten past: both have fewer or other lines than witnesses have seen signed.
So the ledger confesses it. The tree goes on over the lines that are there, under an origin of its own, and the line
that opens the epoch says what was signed of lines that are gone, checkpoint by checkpoint. A witness takes the epoch up
only if what it has seen itself is in that line or extends to the new tree. The old checkpoints stay signed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from node.errors import LedgerBrokenError, NoteError
from node.ledger.checkpoint import Checkpoint, parse_checkpoint
from node.ledger.leaf import parse_leaf, parse_shared
from node.ledger.rfc6962 import leaf_hash, verify_inclusion
from node.wire.fence_pb2 import Fence, Restored
from node.wire.ledger_pb2 import LEAF_KIND_FENCED, LeafShared

FIRST: Final = 1
"""The epoch of a ledger that has lost nothing; its origin is the ledger's plain name."""

LONGEST: Final = 32_768
"""Bytes of a Fence: a tile holds lines of at most 65,535 bytes (C2SP tlog-tiles)."""

_EPOCH: Final = re.compile(r"(?P<name>.+)/epoch-(?P<epoch>[2-9]|[1-9][0-9]{1,8})")
_COUNTRY: Final = re.compile("[A-Z]{2}")


def epoch_origin(name: str, epoch: int) -> str:
    """Return the origin of a ledger's checkpoints in an epoch; `name` is that of `node.ledger.checkpoint.origin_of`."""
    return name if epoch == FIRST else f"{name}/epoch-{epoch}"


def split_origin(origin: str) -> tuple[str, int]:
    """Return the ledger's name, and the epoch, from 1."""
    found = _EPOCH.fullmatch(origin)
    return (found["name"], int(found["epoch"])) if found else (origin, FIRST)


def note_checkpoint(note: bytes) -> Checkpoint:
    """Return what a signed note says; whose signature it bears is for the caller to verify, before or after.

    Raises:
        NoteError: it is no checkpoint.
    """
    return parse_checkpoint(note.rpartition(b"\n\n")[0] + b"\n")


@dataclass(frozen=True, slots=True)
class Confession:
    """What the line that opens an epoch says; `heads` are those in `fence`, read and in the same order."""

    fence: Fence
    heads: tuple[Checkpoint, ...]

    @property
    def lost(self) -> int:
        """How many lines were lost at least; those that nobody has seen signed can't be counted."""
        return max(head.size for head in self.heads) - self.fence.kept


def parse_fence(data: bytes, name: str | None = None) -> Confession:
    """Read a Fence; the signatures of its checkpoints are for the caller to verify.

    Args:
        data: Serialised.
        name: Of the ledger that it must be of; None where its checkpoints say so.

    Raises:
        LedgerBrokenError: it is none, or its parts contradict each other.
    """
    try:
        fence = Fence.FromString(data)
    except DecodeError:
        raise LedgerBrokenError("the bytes are not a confession of lost lines") from None
    if len(data) > LONGEST or len(UnknownFieldSet(fence)) or fence.epoch <= FIRST or not fence.heads:
        raise LedgerBrokenError("a confession of lost lines names no later epoch, or nothing that was lost")
    countries = [*fence.unasked, *(each for head in fence.heads for each in head.witnesses)]
    if not all(_COUNTRY.fullmatch(each) for each in countries):
        raise LedgerBrokenError("a confession of lost lines names what is no country")
    try:
        heads = tuple(note_checkpoint(each.checkpoint) for each in fence.heads)
    except NoteError as error:
        raise LedgerBrokenError(f"a confession of lost lines holds no checkpoint: {error}") from error
    for head in heads:
        ledger, epoch = split_origin(head.origin)
        if ledger != (name or split_origin(heads[0].origin)[0]) or epoch >= fence.epoch or head.size <= fence.kept:
            raise LedgerBrokenError("a confession of lost lines holds a checkpoint that is none of lines lost before")
    return Confession(fence, heads)


def confessed(shared: LeafShared) -> Confession | None:
    """Return what a line of this ledger confesses, if it opens an epoch.

    Raises:
        LedgerBrokenError: it says that it does, and what it confesses is malformed.
    """
    if shared.kind != LEAF_KIND_FENCED:
        return None
    if sha256(shared.fence).digest() != shared.body_sha256:
        raise LedgerBrokenError("the line that opens an epoch names another confession")
    found = parse_fence(shared.fence)
    if not split_origin(found.heads[0].origin)[0].endswith("/" + shared.node):
        raise LedgerBrokenError("the line that opens an epoch confesses for another ledger")
    return found


def verify_restored(restored: Restored, checkpoint: Checkpoint) -> Confession:
    """Check that a checkpoint's tree holds the line that opens its epoch, and return what it confesses.

    1. The line is a strict leaf of this ledger, and opens the epoch that the checkpoint's origin states.
    2. It is in the tree of the checkpoint, whose signature the caller has verified.

    Raises:
        LedgerError: it does not follow.
    """
    shared = parse_shared(parse_leaf(restored.leaf).shared)
    found = confessed(shared)
    name, epoch = split_origin(checkpoint.origin)
    if found is None or found.fence.epoch != epoch or split_origin(found.heads[0].origin)[0] != name:
        raise LedgerBrokenError(f"the line is not the one that opens epoch {epoch} of {name}")
    verify_inclusion(
        index=restored.index,
        size=checkpoint.size,
        leaf_hash=leaf_hash(restored.leaf),
        proof=restored.proof,
        root=checkpoint.root,
    )
    return found


def name_gap(found: Confession, line: int) -> str:
    """Say in a sentence what a line confesses; `line` is its index."""
    most = max(found.heads, key=lambda each: each.size)
    names = sorted({each for head in found.fence.heads for each in head.witnesses})
    unasked = f"; not asked: {', '.join(found.fence.unasked)}" if found.fence.unasked else ""
    return (
        f"line {line} opens epoch {found.fence.epoch} after a restore: of the {most.size} lines that "
        f"{', '.join(names)} saw signed, at most the first {found.fence.kept} are here, "
        f"and at least {found.lost} are lost{unasked}"
    )


def newest(origins: Iterable[str], name: str, before: int) -> str | None:
    """Return which of these origins is of this ledger's latest epoch before another; None where none is."""
    split = [(epoch, origin) for origin in origins for ledger, epoch in [split_origin(origin)] if ledger == name]
    return max((each for each in split if each[0] < before), default=(0, None))[1]
