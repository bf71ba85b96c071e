"""The institution's log of its auditors' readings: lines that only it can open, in a tree that it can't take back from.

The node is given what the log commits to, from time to time: a size and a root, signed. When the institution releases
lines later, every line there was is in the release, opened or not, and must lead to those roots.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from google.protobuf.message import DecodeError

from node.errors import LedgerBrokenError, LedgerError, ProofError
from node.ledger.checkpoint import Checkpoint, open_checkpoint, origin_of
from node.ledger.leaf import pad, unpad
from node.ledger.note import VerifierKey
from node.ledger.rfc6962 import Frontier, leaf_hash
from node.wire.institution_pb2 import Reading, ReadingLeaf, ReadingOpening, Release, SignedReading

FORMAT: Final = 1
SALT_SIZE: Final = 32
_DOMAIN: Final = b"enlace/v1/reading\x00"
_LOG: Final = "READINGS"  # in capitals: no node of the directory bears such a name


def readings_origin(federation: str, country: str) -> str:
    """Name the log of readings of a country's institution, and the key that signs what it commits to."""
    return origin_of(federation, country, _LOG)


def sealing_info(leaf: bytes) -> bytes:
    """Return what an opening is encrypted for at the institution: its own line, and no other."""
    return _DOMAIN + sha256(leaf).digest()


def build_reading(salt: bytes, signed: SignedReading) -> tuple[bytes, bytes]:
    """Build a line of the log, and what opens it: ReadingLeaf and ReadingOpening, serialised.

    Raises:
        LedgerError: the salt is not 32 bytes.
    """
    if len(salt) != SALT_SIZE:
        raise LedgerError("a reading is sealed with 32 bytes of salt")
    padded = pad(signed.SerializeToString())
    leaf = ReadingLeaf(format=FORMAT, sealed_sha256=sha256(_DOMAIN + salt + padded).digest())
    return leaf.SerializeToString(), ReadingOpening(salt=salt, padded=padded).SerializeToString()


def open_reading(leaf: bytes, opening: bytes) -> tuple[Reading, SignedReading]:
    """Return what a line of the log hides, and as it was signed; by whom is for the caller to verify.

    Raises:
        LedgerBrokenError: the bytes are no such line or opening.
        ProofError: the opening is not this line's.
    """
    try:
        parsed, opened = ReadingLeaf.FromString(leaf), ReadingOpening.FromString(opening)
        signed = SignedReading.FromString(unpad(opened.padded))
        reading = Reading.FromString(signed.reading)
    except DecodeError:
        raise LedgerBrokenError("what should be a reading is none") from None
    if parsed.format != FORMAT or len(opened.salt) != SALT_SIZE:
        raise LedgerBrokenError("a reading of a format that this version does not know")
    if sha256(_DOMAIN + opened.salt + opened.padded).digest() != parsed.sealed_sha256:
        raise ProofError("a reading is not what its line commits to")
    return reading, signed


def log_root(leaves: Iterable[bytes]) -> Frontier:
    """Return the tree over the lines of a log."""
    return Frontier().appended(leaf_hash(leaf) for leaf in leaves)


def open_release(data: bytes, log: VerifierKey) -> tuple[Release, Checkpoint]:
    """Return a release whose lines are those that its checkpoint signs.

    Raises:
        LedgerBrokenError: the bytes are none.
        NoteError: its checkpoint is not signed by the institution's readings key.
        ProofError: a line was altered, dropped or added.
    """
    try:
        release = Release.FromString(data)
    except DecodeError:
        raise LedgerBrokenError("what should be a release is none") from None
    checkpoint = open_checkpoint(release.checkpoint, log=log).checkpoint
    tree = log_root(line.leaf for line in release.lines)
    if (tree.size, tree.root) != (checkpoint.size, checkpoint.root):
        raise ProofError("the lines of the release are not those that its checkpoint signs")
    return release, checkpoint


def verify_commitments(release: Release, commitments: Sequence[Checkpoint]) -> None:
    """Check that a release holds every line that the institution ever committed to, in its place.

    Raises:
        ProofError: the text names the commitments that it does not lead to.
    """
    by_size = {each.size: each for each in commitments}
    faults, tree = [], Frontier()
    for place, line in enumerate(release.lines, start=1):
        tree = tree.appended([leaf_hash(line.leaf)])
        committed = by_size.pop(place, None)
        if committed is not None and committed.root != tree.root:
            faults.append(f"the first {place} readings are not those that were committed to")
    faults += [f"{size} readings were committed to, and {tree.size} are there" for size in sorted(by_size) if size]
    if faults:
        raise ProofError("; ".join(faults))
