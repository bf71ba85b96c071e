"""Proof bundles: one line with all that proves it (proto/node/wire/bundle.proto), opened offline.

A bundle is worth what its keys are worth. They come from a directory that whoever opens it trusts, never from the
bundle; so a node that lies, a courier that alters, and a country that takes back what it signed all fail here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from node.errors import LedgerBrokenError, NoteError, ProofError
from node.ledger.checkpoint import SignedCheckpoint, open_checkpoint
from node.ledger.epoch import epoch_origin, split_origin
from node.ledger.leaf import parse_leaf, parse_private, parse_shared, private_commitment
from node.ledger.note import MICROSECONDS, Signature, VerifierKey, open_note
from node.ledger.rfc6962 import leaf_hash, verify_inclusion
from node.wire.bundle_pb2 import ProofBundle
from node.wire.envelope_pb2 import Statement
from node.wire.ledger_pb2 import DIRECTION_SENT, Leaf, LeafPrivate, LeafShared

FORMAT: Final = 1

LONGEST: Final = 1 << 20
"""Bytes of the longest bundle read: a leaf, a statement and a private part, and the longest note."""

Windows = Sequence[tuple[int, int]]
"""When a key is valid: half-open, UTC microseconds."""

StatementVerifier = Callable[[bytes, bytes, bytes], None]
"""Checks a statement, its key id and its signature. Raises SignatureError, or IdentityError where no key is known."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What a directory says of keys, as a bundle's checks need it.

    Attributes:
        logs: Keys that sign checkpoints of a node's ledger, by its name as in a leaf; several where they were replaced.
        witnesses: Keys that cosign, with when they are valid.
        verify_statement: With the key that is valid at the statement's time.
    """

    logs: Callable[[str], Sequence[VerifierKey]]
    witnesses: Mapping[VerifierKey, Windows]
    verify_statement: StatementVerifier


@dataclass(frozen=True, slots=True)
class OpenedBundle:
    """A line that is proved; `private` is None where the bundle does not open it."""

    index: int
    leaf: Leaf
    shared: LeafShared
    private: LeafPrivate | None
    checkpoint: SignedCheckpoint


def parse_bundle(data: bytes) -> ProofBundle:
    """Read the bytes of a bundle; what it says is not checked yet.

    Raises:
        LedgerBrokenError: not a bundle of format 1, too long, or with unknown fields.
    """
    if len(data) > LONGEST:
        raise LedgerBrokenError(f"the proof bundle is longer than {LONGEST} bytes")
    try:
        bundle = ProofBundle.FromString(data)
    except DecodeError:
        raise LedgerBrokenError("the bytes are not a proof bundle") from None
    if len(UnknownFieldSet(bundle)) or bundle.format != FORMAT:
        raise LedgerBrokenError(
            f"it is no proof bundle of format {FORMAT}, or has fields that the format does not know"
        )
    return bundle


def open_bundle(data: bytes, keys: Keys) -> OpenedBundle:
    """Verify a bundle, and return what it proves.

    1. The leaf is read strictly, and is of the ledger that the bundle names.
    2. The checkpoint is signed by that ledger's key, and each cosignature by a known witness is good.
    3. The leaf is at its index in the tree of that checkpoint.
    4. The statement that left with the line is signed by that node, and names the line.
    5. The counterpart's statement is signed by the peer that the line names, in this exchange.
    6. What opens the line is what it commits to.

    Raises:
        LedgerBrokenError: the bundle or its leaf is malformed, or its parts don't belong together.
        NoteError: the checkpoint is of another ledger, not signed by it, or falsely cosigned.
        ProofError: the line is not in that tree, or the private part is another one.
        SignatureError: a statement's signature does not verify.
        IdentityError: a statement's key is in no directory for that node and time.
    """
    bundle = parse_bundle(data)
    leaf = parse_leaf(bundle.leaf)
    shared = parse_shared(leaf.shared)
    if shared.node != bundle.node:
        raise LedgerBrokenError(f"the bundle is of {bundle.node}, and its line of {shared.node}")
    checkpoint = open_checkpoint_of(bundle.checkpoint, keys.logs(bundle.node), keys.witnesses)
    verify_inclusion(
        index=bundle.index,
        size=checkpoint.checkpoint.size,
        leaf_hash=leaf_hash(bundle.leaf),
        proof=bundle.proof,
        root=checkpoint.checkpoint.root,
    )
    _verify_own(bundle, leaf.shared, shared, keys)
    _verify_counterpart(shared, keys)
    return OpenedBundle(bundle.index, leaf, shared, _opened(bundle, leaf), checkpoint)


def open_checkpoint_of(
    data: bytes, logs: Sequence[VerifierKey], witnesses: Mapping[VerifierKey, Windows]
) -> SignedCheckpoint:
    """Verify a checkpoint that one of a ledger's keys signed, as `node.ledger.checkpoint.open_checkpoint`.

    A checkpoint says nothing of when it was made, so any key counts that the ledger ever had. A cosignature has a time,
    at which its key must be valid.

    Args:
        data: The signed note.
        logs: Keys of one ledger, all of its name; the checkpoint may be of any of its epochs.
        witnesses: Keys that may cosign, with when they are valid.

    Raises:
        NoteError: as `open_checkpoint`; or a known witness cosigned with a key that was not valid then.
    """
    if not logs:
        raise NoteError("no directory names a key of this ledger")
    # What the text says only chooses among the names under which this ledger signs.
    _, epoch = split_origin(data.split(b"\n", 1)[0].decode(errors="replace"))
    logs = [VerifierKey(epoch_origin(each.name, epoch), each.kind, each.public_key) for each in logs]
    signed = [each.key for each in open_note(data, (*logs, *witnesses)).signatures if each.key in set(logs)]
    if not signed:
        raise NoteError(f"the checkpoint is not signed by {logs[0].name}")
    opened = open_checkpoint(data, log=signed[0], witnesses=witnesses)
    for cosignature in opened.cosignatures:
        if not _is_valid(cosignature, witnesses[cosignature.key]):
            raise NoteError(f"{cosignature.key.name} cosigned with a key that was not valid then")
    return opened


def _is_valid(cosignature: Signature, windows: Windows) -> bool:
    time_us = cosignature.time_us or 0
    # Cosignatures tell whole seconds: one made in the second in which a key began is good.
    return any(start < time_us + MICROSECONDS and time_us < stop for start, stop in windows)


def _verify_own(bundle: ProofBundle, shared_bytes: bytes, shared: LeafShared, keys: Keys) -> None:
    if not bundle.statement:
        if shared.direction == DIRECTION_SENT:
            raise LedgerBrokenError("the statement that left with the line is missing")
        if bundle.key_id or bundle.signature:
            raise LedgerBrokenError("there is a signature, and no statement")
        return
    statement = _parse_statement(bundle.statement)
    if statement.leaf_sha256 != sha256(shared_bytes).digest():
        raise LedgerBrokenError("the statement that left was signed for another line")
    if f"{statement.sender}/{statement.node}" != bundle.node:
        raise LedgerBrokenError(f"the statement that left is not by {bundle.node}")
    keys.verify_statement(bundle.statement, bundle.key_id, bundle.signature)


def _verify_counterpart(shared: LeafShared, keys: Keys) -> None:
    if not shared.counterpart_statement:
        return
    statement = _parse_statement(shared.counterpart_statement)
    if statement.sender != shared.peer or statement.exchange_id != shared.exchange_id:
        raise LedgerBrokenError("the counterpart's statement is by another country, or of another exchange")
    keys.verify_statement(shared.counterpart_statement, shared.counterpart_key_id, shared.counterpart_signature)


def _parse_statement(data: bytes) -> Statement:
    try:
        return Statement.FromString(data)
    except DecodeError:
        raise LedgerBrokenError("a statement in the bundle is not one") from None


def _opened(bundle: ProofBundle, leaf: Leaf) -> LeafPrivate | None:
    if not bundle.salt and not bundle.private:
        return None
    private = parse_private(bundle.private)
    if private_commitment(bundle.salt, bundle.private) != leaf.private_sha256:
        raise ProofError("what the bundle opens is not what the line commits to")
    return private
