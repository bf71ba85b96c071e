"""Signed notes: a text with the signatures of those who stand behind it (C2SP signed-note, https://c2sp.org/signed-note).

Two kinds of signature: a log's own over the text (type 0x01), and a witness's over the text and a time (type 0x04,
https://c2sp.org/tlog-cosignature). Whatever a note says counts for nothing until `open_note` has returned it.
"""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from node.errors import NoteError

ED25519: Final = 0x01
"""Type of an Ed25519 signature over the text of a note."""

COSIGNATURE_V1: Final = 0x04
"""Type of an Ed25519 signature over a time and the text of a checkpoint."""

MAX_SIGNATURES: Final = 100
"""Most signature lines in a note: what golang.org/x/mod/sumdb/note takes; the specification wants at least 16."""

MAX_NOTE_BYTES: Final = 1 << 19
"""Longest note read: a hundred of the longest signatures assigned (3.3 kB in base64) and a text."""

LATEST_TIME_S: Final = (1 << 63) - 1
"""Latest time of a cosignature, in seconds since the epoch (C2SP tlog-cosignature)."""

MICROSECONDS: Final = 1_000_000
"""In a second."""

_COSIGNATURE_HEADER: Final = b"cosignature/v1\n"
_DASH: Final = "\N{EM DASH} "
_KEY_ID_BYTES: Final = 4
_PUBLIC_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_TIME_BYTES: Final = 8
_FIRST_PRINTABLE: Final = 0x20


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name, for one type of signature.

    Attributes:
        name: Of a log its origin, of a witness its own; no spaces, no plus sign.
        kind: `ED25519` or `COSIGNATURE_V1`. A log key never verifies a cosignature, nor the other way round.
        public_key: 32 bytes (RFC 8032).
    """

    name: str
    kind: int
    public_key: bytes

    def __post_init__(self) -> None:
        _require_key_name(self.name)
        if self.kind not in {ED25519, COSIGNATURE_V1}:
            raise NoteError(f"verifier key {self.name}: signature type {self.kind:#04x} is not used here")
        if len(self.public_key) != _PUBLIC_KEY_BYTES:
            raise NoteError(f"verifier key {self.name}: {len(self.public_key)} bytes are no Ed25519 public key")

    @property
    def key_id(self) -> bytes:
        """First 4 bytes of SHA-256 over name, newline, type and public key.

        It only says which key to try. A second key with the same id is easily made, and gains nothing.
        """
        material = self.name.encode() + b"\n" + bytes([self.kind]) + self.public_key
        return sha256(material).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        """The key as C2SP signed-note writes it, which `parse_verifier_key` reads."""
        material = base64.b64encode(bytes([self.kind]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"


@dataclass(frozen=True, slots=True)
class Signer:
    """What signs a note: `note_signer` makes a log's, `node.ledger.checkpoint.cosigner` a witness's.

    Attributes:
        name: Of the key.
        key_id: 4 bytes, as of the `VerifierKey`.
        sign: From the text of a note to what follows the key id in its signature line.
    """

    name: str
    key_id: bytes
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was verified.

    Attributes:
        key: Whose it is.
        time_us: Of a cosignature when the witness says it was made, in whole seconds; of a log's signature None. The
            signature holds any time up to `LATEST_TIME_S`: compare it with the clock before believing it.
    """

    key: VerifierKey
    time_us: int | None


@dataclass(frozen=True, slots=True)
class Note:
    """A note with at least one verified signature.

    Attributes:
        text: As received, with its final newline.
        signatures: One for each known key that signed, in the order of the note. Since no key is in it twice, counting
            them counts keys, and a witness can't make up a quorum by repeating itself.
    """

    text: bytes
    signatures: tuple[Signature, ...]


def parse_verifier_key(text: str) -> VerifierKey:
    """Read a verifier key: name, key id in hexadecimal, and type with public key in base64, joined by plus signs.

    Raises:
        NoteError: not of that form, of a type or length not used here, or the id is not that of the key: a mistyped
            name or key must fail here, not as a log that seems never to have signed anything.
    """
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    material = parse_base64(encoded)
    if not material:
        raise NoteError("a verifier key has the form <name>+<key id>+<base64 of type and key>")
    key = VerifierKey(name, material[0], material[1:])
    if key_id != key.key_id.hex():
        raise NoteError(f"verifier key {name}: its id is {key.key_id.hex()}, not what is written in it")
    return key


def open_note(data: bytes, keys: Iterable[VerifierKey]) -> Note:
    """Verify a note, and return its text with those of its signatures that are by `keys`.

    Signatures by other keys are ignored, also where name or id (not both) is that of a known one: so can a log change
    keys, and pass on cosignatures by witnesses that this node has never heard of. A false signature by a known key
    condemns the whole note, even beside a good one: somebody altered it.

    Beware: any one of `keys` is enough. Where a certain key must have signed, look for it in the result; for
    checkpoints `node.ledger.checkpoint.open_checkpoint` does.

    Args:
        data: The note: UTF-8, text, empty line, signature lines.
        keys: Whose signatures count.

    Raises:
        NoteError: not a note; a signature by a known key is false; none is by a known key; or two different `keys` have
            the same name and id.
    """
    text, lines = _split(data)
    known = _by_name_and_id(keys)
    verified: dict[VerifierKey, Signature] = {}
    for line in lines:
        name, key_id, signature = _parse_line(line)
        key = known.get((name, key_id))
        if key is None:
            continue
        # Verified before it is dropped as a repetition: C2SP wants every signature by a known key to be good.
        verified.setdefault(key, Signature(key, _verify(key, text, signature)))
    if not verified:
        raise NoteError("the note has no signature by a known key")
    return Note(text, tuple(verified.values()))


def sign_note(text: bytes, signer: Signer) -> bytes:
    """Make a note of a text and one signature; appending further signature lines to it adds those.

    Args:
        text: UTF-8 without control characters, ending in a newline.
        signer: Who signs.

    Raises:
        NoteError: the text can't be that of a note.
    """
    return text + b"\n" + signature_line(text, signer)


def signature_line(text: bytes, signer: Signer) -> bytes:
    """Sign the text of a note, and return only the line to append to it, with its newline.

    Raises:
        NoteError: the text can't be that of a note, or the signer's name or key id not that of a key.
    """
    _require_plain(text)
    if not text.endswith(b"\n"):
        raise NoteError("the text of a note ends in a newline")
    _require_key_name(signer.name)
    if len(signer.key_id) != _KEY_ID_BYTES:
        raise NoteError(f"signer {signer.name}: a key id has {_KEY_ID_BYTES} bytes")
    encoded = base64.b64encode(signer.key_id + signer.sign(text)).decode()
    return f"{_DASH}{signer.name} {encoded}\n".encode()


def note_signer(name: str, public_key: bytes, sign: Callable[[bytes], bytes]) -> Signer:
    """A signer of type `ED25519`.

    It refuses a text that starts like a cosignature's message. If the same key pair also cosigned (it should not), such
    a text would be a forged cosignature: this node would vouch for another country's ledger that it never checked.

    Args:
        name: Of the key; a log's is its origin.
        public_key: 32 bytes.
        sign: Ed25519 with the private key that belongs to `public_key`; returns 64 bytes.

    Raises:
        NoteError: name or public key can't be those of a verifier key.
    """

    def sign_text(text: bytes) -> bytes:
        if text.startswith(_COSIGNATURE_HEADER):
            raise NoteError("a note that starts like a cosignature is not signed")
        return sign(text)

    return Signer(name, VerifierKey(name, ED25519, public_key).key_id, sign_text)


def cosigned_message(text: bytes, time_s: int) -> bytes:
    """What a witness signs: a header, the time, and the whole text of the checkpoint (C2SP tlog-cosignature).

    The header keeps a cosignature apart from every other use of Ed25519. It does not hold the witness's name: two
    witnesses that shared a key would be one.

    Args:
        text: Of the checkpoint, with its final newline.
        time_s: Seconds since the epoch.

    Raises:
        NoteError: the time is before the epoch or after `LATEST_TIME_S`.
    """
    if not 0 <= time_s <= LATEST_TIME_S:
        raise NoteError(f"a cosignature can't have the time {time_s}")
    return _COSIGNATURE_HEADER + f"time {time_s}\n".encode() + text


def _verify(key: VerifierKey, text: bytes, signature: bytes) -> int | None:
    """Verify one signature; return its time in microseconds if it is a cosignature."""
    time_us, message = None, text
    if key.kind == COSIGNATURE_V1:
        time_s, signature = int.from_bytes(signature[:_TIME_BYTES], "big"), signature[_TIME_BYTES:]
        time_us, message = time_s * MICROSECONDS, cosigned_message(text, time_s)
    if len(signature) != _SIGNATURE_BYTES:
        raise NoteError(f"the signature by {key.name} has the wrong length")
    try:
        VerifyKey(key.public_key).verify(message, signature)
    except BadSignatureError as error:
        raise NoteError(f"the signature by {key.name} does not verify") from error
    return time_us


def _by_name_and_id(keys: Iterable[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        # Ids are short enough to collide on purpose. Taking the last one would let whoever gets a key of its choice
        # listed under a log's name stand in for that log.
        if known.setdefault((key.name, key.key_id), key) != key:
            raise NoteError(f"two different keys are listed as {key.name}+{key.key_id.hex()}")
    return known


def _split(data: bytes) -> tuple[bytes, list[str]]:
    """Part a note at its last empty line into text and signature lines; the text itself may hold empty lines."""
    if len(data) > MAX_NOTE_BYTES:
        raise NoteError(f"the note is longer than {MAX_NOTE_BYTES} bytes")
    _require_plain(data)
    head, separator, tail = data.rpartition(b"\n\n")
    if not separator or not tail.endswith(b"\n"):
        raise NoteError("the note has no signature lines after an empty line")
    # Only "\n" ends a line here: str.splitlines would also take U+0085 and U+2028, which a text may hold.
    lines = tail.decode().removesuffix("\n").split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has more than {MAX_SIGNATURES} signatures")
    return head + b"\n", lines


def _parse_line(line: str) -> tuple[str, bytes, bytes]:
    """Part a signature line into key name, key id and signature."""
    if not line.startswith(_DASH):
        raise NoteError("a signature line starts with an em dash and a space")
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    _require_key_name(name)
    blob = parse_base64(encoded)
    if len(blob) <= _KEY_ID_BYTES:
        raise NoteError(f"the signature by {name} is empty")
    return name, blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:]


def _require_plain(data: bytes) -> None:
    """Only UTF-8 without control characters below U+0020 but for newlines: nothing that a terminal would act on."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise NoteError("the note is not UTF-8") from error
    if any(byte < _FIRST_PRINTABLE and byte != ord("\n") for byte in set(data)):
        raise NoteError("the note has a control character")


def _require_key_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() or ord(char) < _FIRST_PRINTABLE for char in name):
        raise NoteError("a key's name is empty, or has a space, a plus sign or a control character")


def parse_base64(encoded: str) -> bytes:
    """Decode base64 (RFC 4648 §4) in its one canonical form, with padding, and zeros for the bits left over.

    With a second spelling of the same bytes, a note could be altered without a signature noticing.
    """
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise NoteError("a key, hash or signature is not base64") from error
    if base64.b64encode(decoded).decode() != encoded:
        raise NoteError("a key, hash or signature is not in canonical base64")
    return decoded
