"""What a witness decides on a checkpoint that it is shown: C2SP tlog-witness, https://c2sp.org/tlog-witness.

A witness keeps of each ledger the last checkpoint that it cosigned, and cosigns only what extends it. What it decides
here counts only once it is stored, in one transaction with the reading of what it had seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256
from typing import Final

from node.errors import MalformedError, ProofError
from node.ledger.checkpoint import Checkpoint
from node.ledger.epoch import Confession
from node.ledger.rfc6962 import HASH_SIZE, verify_consistency

MOST_HASHES: Final = 63
"""In a consistency proof (C2SP tlog-witness)."""


class Verdict(Enum):
    """What becomes of a checkpoint.

    Attributes:
        COSIGN: It extends what was seen, and is stored before the cosignature leaves.
        STALE: The ledger does not know what was seen, and is told (status 409 in C2SP).
        UNPROVED: The proof does not link it to what was seen (status 422).
        SPLIT: It has the size of what was seen and another root, so the ledger has signed two histories.
        UNCONFESSED: It is of an epoch whose first line is silent on what was seen, or of one that had ended.
    """

    COSIGN = auto()
    STALE = auto()
    UNPROVED = auto()
    SPLIT = auto()
    UNCONFESSED = auto()


@dataclass(frozen=True, slots=True)
class Seen:
    """The last checkpoint of a ledger that a witness has seen; `note` as its ledger signed it."""

    checkpoint: Checkpoint
    note: bytes


def judge(seen: Checkpoint | None, shown: Checkpoint, old_size: int, proof: Sequence[bytes]) -> Verdict:
    """Decide on a checkpoint whose signature by its ledger was verified.

    Args:
        seen: The last one of this ledger; None before the first.
        shown: The one to be cosigned.
        old_size: Of the checkpoint that the proof starts from; 0 with no proof for the first.
        proof: Consistency proof, 32 bytes each.

    Raises:
        MalformedError: the old size is larger than the new one, or the proof is none that any tree gives.
    """
    if old_size > shown.size or len(proof) > MOST_HASHES or any(len(each) != HASH_SIZE for each in proof):
        raise MalformedError("the consistency proof is none of a growing ledger")
    if seen is None:
        if proof:
            raise MalformedError("there is nothing that a consistency proof could start from")
        return Verdict.STALE if old_size else Verdict.COSIGN
    if seen.size == shown.size and seen.root != shown.root:
        return Verdict.SPLIT  # whatever is said of the old size: both are signed
    if old_size != seen.size:
        return Verdict.STALE
    if seen.size == 0:
        return Verdict.COSIGN  # everything extends the empty ledger
    try:
        verify_consistency(
            old_size=seen.size, new_size=shown.size, proof=proof, old_root=seen.root, new_root=shown.root
        )
    except ProofError:
        return Verdict.UNPROVED
    return Verdict.COSIGN


def judge_restored(
    seen: Checkpoint | None,
    confession: Confession,
    shown: Checkpoint,
    old_size: int,
    proof: Sequence[bytes],
) -> Verdict:
    """Decide on the first checkpoint that is shown of a later epoch, whose first line was verified.

    Args:
        seen: The last one of the latest earlier epoch that was seen; None where none was.
        confession: What the first line says.
        shown: The one to be cosigned.
        old_size: Of the earlier checkpoint that the proof starts from; 0 with no proof where it was lost.
        proof: Consistency proof, 32 bytes each.

    Raises:
        MalformedError: as `judge`.
    """
    if seen is None or seen in confession.heads or seen.size == 0:
        return Verdict.COSIGN
    # What it does not confess as lost must still be there: nobody restores away what a witness can't be told of.
    before = Checkpoint(shown.origin, seen.size, seen.root)
    verdict = judge(before, shown, old_size, proof)
    return Verdict.UNCONFESSED if verdict in (Verdict.SPLIT, Verdict.UNPROVED) else verdict


def is_split(one: Checkpoint, other: Checkpoint) -> bool:
    """Tell whether two checkpoints prove by themselves that their ledger signed two histories."""
    return one.origin == other.origin and one.size == other.size and one.root != other.root


def split_digest(one: Checkpoint, other: Checkpoint) -> bytes:
    """Name two histories of one ledger, whoever found them and in whatever order: 32 bytes."""
    states = (each.origin.encode() + b"\x00" + each.size.to_bytes(8, "big") + each.root for each in (one, other))
    return sha256(b"".join(sorted(states))).digest()
