"""Checkpoints: what a ledger commits to, and its witnesses with it (C2SP tlog-checkpoint, https://c2sp.org/tlog-checkpoint).

A checkpoint is a signed note whose text names the ledger, its size and the root of its tree. Two checkpoints of one
ledger with no consistency proof between them, both signed by its key, prove that it was rewritten.
"""

import base64
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from node.errors import NoteError
from node.ledger.note import (
    COSIGNATURE_V1,
    ED25519,
    MICROSECONDS,
    Signature,
    Signer,
    VerifierKey,
    cosigned_message,
    open_note,
    parse_base64,
)
from node.ledger.rfc6962 import EMPTY_ROOT, HASH_SIZE

LARGEST_SIZE: Final = (1 << 63) - 1
"""Most leaves in a ledger: C2SP tlog-witness takes at most 63 hashes of proof, and a database's integer has 63 bits."""

_LINES: Final = 3
_TIME_BYTES: Final = 8

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")  # [0-9], since \d also takes the digits of other scripts
_FEDERATION: Final = re.compile(r"[a-z0-9]+(-+[a-z0-9]+)*(\.[a-z0-9]+(-+[a-z0-9]+)*)*")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a ledger at one size.

    Attributes:
        origin: Which ledger; see `origin_of`.
        size: Number of leaves.
        root: Of the tree, 32 bytes.
        extensions: Further lines of the text. C2SP advises against them, since no monitor can audit them: this node
            writes none, and keeps what others wrote.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or any(not line for line in self.extensions):
            raise NoteError("a line of a checkpoint is empty")
        if any("\n" in line for line in (self.origin, *self.extensions)):
            raise NoteError("a line of a checkpoint holds a line break")
        if not 0 <= self.size <= LARGEST_SIZE:
            raise NoteError(f"checkpoint of {self.origin}: no ledger has {self.size} lines")
        if len(self.root) != HASH_SIZE:
            raise NoteError(f"checkpoint of {self.origin}: the root is not {HASH_SIZE} bytes long")
        # Any other root would be a promise about leaves that are there and can't be seen (C2SP tlog-witness).
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise NoteError(f"checkpoint of {self.origin}: the root is not that of the empty tree")


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that its ledger signed, and who of the known witnesses cosigned it.

    Attributes:
        checkpoint: What the text says.
        text: As signed; a witness signs these bytes, never a text that it has written anew.
        cosignatures: One per known witness that cosigned, none twice.
    """

    checkpoint: Checkpoint
    text: bytes
    cosignatures: tuple[Signature, ...]


def origin_of(federation: str, country: str, node: str) -> str:
    """Name of a node's ledger, such as `enlace.example/GT/gt-1`; also the name of the ledger's key.

    Args:
        federation: A domain name in lower case.
        country: ISO 3166-1 alpha-2, upper case.
        node: Of that country; letters, digits, and `.`, `_`, `-` after the first.

    Raises:
        NoteError: a part is not of its form. A slash in one of them would let a country name its ledger as another's.
    """
    parts = ((_FEDERATION, federation), (_COUNTRY, country), (_NODE, node))
    if not all(form.fullmatch(part) for form, part in parts):
        raise NoteError("a ledger's name is made of a domain, a country's two capital letters and a node's name")
    return f"{federation}/{country}/{node}"


def format_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Write the text of a checkpoint, for `node.ledger.note.sign_note`.

    Whoever signs it has committed the leaves first. If a checkpoint is sent and a crash then loses its last leaves, the
    restarted ledger is a second, inconsistent one: to every witness the node has rewritten its past.
    """
    root = base64.b64encode(checkpoint.root).decode()
    lines = (checkpoint.origin, str(checkpoint.size), root, *checkpoint.extensions)
    return "".join(f"{line}\n" for line in lines).encode()


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Read the text of a checkpoint, without signatures; `format_checkpoint` gives the same bytes again.

    The text proves nothing by itself: `open_checkpoint` reads a signed one.

    Raises:
        NoteError: not UTF-8; fewer than three lines; an empty line; a size that is not decimal, has a leading zero or
            is above `LARGEST_SIZE`; a root that is not canonical base64 of 32 bytes, or of no ledger of that size.
    """
    try:
        *lines, end = text.decode().split("\n")
    except UnicodeDecodeError as error:
        raise NoteError("the checkpoint is not UTF-8") from error
    if len(lines) < _LINES or end:
        raise NoteError("a checkpoint has at least three lines, each with its line break")
    origin, size, root, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise NoteError("the size in the checkpoint is not a decimal number without leading zeros")
    return Checkpoint(origin, int(size), parse_base64(root), tuple(extensions))


def open_checkpoint(data: bytes, *, log: VerifierKey, witnesses: Iterable[VerifierKey] = ()) -> SignedCheckpoint:
    """Verify a signed checkpoint, and return it with the cosignatures by known witnesses.

    A witness's cosignature joins a checkpoint by being appended to it as a line; one that came by itself is verified by
    appending it to the checkpoint held. It says that its witness found this ledger consistent with all that it saw
    before. Whether enough witnesses say so is for the caller to judge, and never a reason to hold back an answer.

    Args:
        data: The signed note.
        log: The ledger's own key, of type `ED25519`; its name is its origin.
        witnesses: Keys of type `COSIGNATURE_V1`. A witness's plain signature would say nothing of what it checked.

    Raises:
        NoteError: a key of the wrong type; not a signed note or not a checkpoint; not signed by `log`, whoever else
            signed it; it names another ledger than `log` is the key of; or a signature by a known key is false.
    """
    cosigners = tuple(witnesses)
    if log.kind != ED25519 or any(key.kind != COSIGNATURE_V1 for key in cosigners):
        raise NoteError("a ledger signs with a key of type 0x01, a witness with one of type 0x04")
    note = open_note(data, (log, *cosigners))
    # One known signature is enough for a note. Not here, or any witness could invent a ledger's checkpoint by itself.
    if all(signature.key != log for signature in note.signatures):
        raise NoteError(f"the checkpoint is not signed by {log.name}")
    checkpoint = parse_checkpoint(note.text)
    # Else one country could sign, with its own good key, what passes for the ledger of another.
    if checkpoint.origin != log.name:
        raise NoteError(f"{log.name} signed a checkpoint of another ledger")
    return SignedCheckpoint(checkpoint, note.text, tuple(s for s in note.signatures if s.key.kind == COSIGNATURE_V1))


def cosigner(name: str, public_key: bytes, sign: Callable[[bytes], bytes], *, now_us: int) -> Signer:
    """A witness's signer at one moment, for `node.ledger.note.signature_line` with the text of an opened checkpoint.

    Its signature says that this witness has seen no larger tree of that ledger, and none that this one contradicts. So
    before it signs, the witness opens the checkpoint, verifies its consistency with the last one that it cosigned, and
    keeps it durably, comparing and replacing in one transaction. Otherwise a second call could put an older size back,
    and the witness would vouch for both branches of a forked ledger (C2SP tlog-witness, add-checkpoint).

    Args:
        name: Of the witness.
        public_key: 32 bytes; used by this witness only, for cosignatures only.
        sign: Ed25519 with the private key that belongs to `public_key`; returns 64 bytes.
        now_us: Time of the cosignature; it is written in whole seconds.

    Raises:
        NoteError: name or public key can't be those of a verifier key. When it signs: the text is not a checkpoint, or
            the time is out of range.
    """
    time_s = now_us // MICROSECONDS

    def sign_checkpoint(text: bytes) -> bytes:
        parse_checkpoint(text)
        message = cosigned_message(text, time_s)
        return time_s.to_bytes(_TIME_BYTES, "big") + sign(message)

    return Signer(name, VerifierKey(name, COSIGNATURE_V1, public_key).key_id, sign_checkpoint)
