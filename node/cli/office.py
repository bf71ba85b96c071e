"""The auditing institution's own folder: its keys, its charter, and its log of what its auditors read.

root.pem               the institution's own key, which its country's record names; kept offline
encryption-N.pem       what copies are encrypted to, since charter N; older ones go on opening what they opened
readings.pem           signs what the log of readings commits to
charter.bin            the last charter, to be brought to the node
federation             its name
readings.bin           the log: each line preceded by its length (4 bytes, big-endian); the institution alone opens it
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from nacl.signing import SigningKey

from node.cli.directory_files import PRIVATE, create, new_key, private_key, public_path, read, read_public_key, replace
from node.errors import ForbiddenError, UsageError
from node.identity.institution import (
    READING_TYPE,
    auditors_of,
    open_sealed,
    parse_charter,
    seal_to,
    sign_charter,
    verified_charter,
)
from node.identity.keys import public_key, sign, verify_signature
from node.ledger.checkpoint import Checkpoint, format_checkpoint
from node.ledger.note import note_signer, sign_note
from node.ledger.readings import build_reading, log_root, open_reading, readings_origin, sealing_info
from node.wire.institution_pb2 import (
    Charter,
    InstitutionAuditor,
    KeptReading,
    Reading,
    Release,
    ReleasedReading,
    SignedCharter,
    SignedReading,
)

OfficeOption = Annotated[Path, typer.Option("--office", help="The institution's own folder.")]
OfficePassphrase = Annotated[
    Path | None, typer.Option("--office-passphrase-file", help="Where the passphrase of the institution's keys is.")
]
_LENGTH: Final = 4


@dataclass(frozen=True, slots=True)
class Office:
    """One institution's folder, and the file with the passphrase of its keys, if they have one."""

    path: Path
    passphrase_file: Path | None = None

    # --- keys and charter ---------------------------------------------------------------------------------------------

    @property
    def federation(self) -> str:
        """The federation's name."""
        return read(self.path / "federation").decode().strip()

    def found(self, country: str, federation: str, now_us: int) -> Charter:
        """Make the keys and a first charter, without auditors.

        Raises:
            UsageError: the folder is not empty, or can't be written.
        """
        if self.path.exists() and any(self.path.iterdir()):
            raise UsageError(f"{self.path} is not empty: an institution's keys are made in a new folder")
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        create(self.path / "federation", federation.encode())
        new_key(self.path / "root.pem", self.passphrase_file)
        readings = new_key(self.path / "readings.pem", self.passphrase_file)
        charter = Charter(country=country, readings_key=readings)
        return self.succeed(charter, now_us, new_encryption_key=True)

    def succeed(self, charter: Charter, now_us: int, *, new_encryption_key: bool = False) -> Charter:
        """Sign a charter as the one that follows the last."""
        charter.number, charter.time_us = charter.number + 1, now_us
        if new_encryption_key:
            charter.encryption_key = self._new_encryption_key(charter.number)
        signed = sign_charter(charter, private_key(self.path / "root.pem", self.passphrase_file))
        replace(self.path / "charter.bin", signed.SerializeToString())
        return charter

    def charter(self) -> Charter:
        """Return the last charter, which the institution's own key has signed.

        Raises:
            UsageError: there is none.
            SignatureError, MalformedError: it is not what that key has signed.
        """
        data = read(self.path / "charter.bin")
        country = parse_charter(SignedCharter.FromString(data).charter).country
        return verified_charter(data, country, read_public_key(public_path(self.path / "root.pem")))

    def private_keys(self) -> list[bytes]:
        """Return the keys that open copies and readings, the newest first."""
        found = sorted(self.path.glob("encryption-*.pem"), key=lambda path: -int(path.stem.rpartition("-")[2]))
        return [self._read_encryption_key(path) for path in found]

    def _new_encryption_key(self, number: int) -> bytes:
        key = X25519PrivateKey.generate()
        secret = read(self.passphrase_file).rstrip(b"\r\n") if self.passphrase_file is not None else b""
        encryption: KeySerializationEncryption = BestAvailableEncryption(secret) if secret else NoEncryption()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        create(self.path / f"encryption-{number}.pem", pem, PRIVATE)
        return key.public_key().public_bytes_raw()

    def _read_encryption_key(self, path: Path) -> bytes:
        secret = read(self.passphrase_file).rstrip(b"\r\n") if self.passphrase_file is not None else None
        try:
            key = load_pem_private_key(read(path), secret)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path}: no key in PEM, or its passphrase is wrong or missing") from error
        if not isinstance(key, X25519PrivateKey):
            raise UsageError(f"{path}: not an X25519 key")
        return key.private_bytes_raw()

    # --- the log of readings ------------------------------------------------------------------------------------------

    def log(self, reading: Reading, key: bytes) -> int:
        """Write a line about what an auditor is about to read, durably, and return its index.

        Raises:
            ForbiddenError: the charter names no such auditor with this key (32 bytes).
            UsageError: the log can't be written.
        """
        charter = self.charter()
        if auditors_of(charter).get(reading.auditor) != public_key(key):
            raise ForbiddenError(f"the institution's charter names no auditor {reading.auditor} with this key")
        data = reading.SerializeToString()
        signed = SignedReading(reading=data, signature=sign(key, READING_TYPE, data))
        leaf, opening = build_reading(secrets.token_bytes(32), signed)
        kept = KeptReading(leaf=leaf, sealed=seal_to(charter.encryption_key, sealing_info(leaf), opening))
        line = kept.SerializeToString()
        with (self.path / "readings.bin").open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            whole = list(_lines(file.read()))
            # What a crash has left half written was never followed by a reading.
            file.truncate(sum(_LENGTH + len(each) for each in whole))
            file.write(len(line).to_bytes(_LENGTH, "big") + line)
            file.flush()
            os.fsync(file.fileno())
        return len(whole)

    def readings(self) -> list[KeptReading]:
        """Return all lines of the log."""
        path = self.path / "readings.bin"
        return [KeptReading.FromString(line) for line in _lines(read(path) if path.exists() else b"")]

    def opened(self, kept: Sequence[KeptReading]) -> list[Reading]:
        """Return what lines of the log hide.

        Raises:
            DecryptionError, LedgerBrokenError, ProofError: one was altered.
        """
        keys = self.private_keys()
        return [open_reading(each.leaf, open_sealed(keys, sealing_info(each.leaf), each.sealed))[0] for each in kept]

    def commitment(self, kept: Sequence[KeptReading]) -> bytes:
        """Return a signed note of what the log commits to: to be brought to the node, which learns no more from it."""
        charter, tree = self.charter(), log_root(each.leaf for each in kept)
        origin = readings_origin(self.federation, charter.country)
        key = SigningKey(private_key(self.path / "readings.pem", self.passphrase_file))
        signer = note_signer(origin, charter.readings_key, lambda text: key.sign(text).signature)
        return sign_note(format_checkpoint(Checkpoint(origin, tree.size, tree.root)), signer)

    def release(self, until: int) -> Release:
        """Return all lines of the log, the first `until` of them opened."""
        kept, keys = self.readings(), self.private_keys()
        lines = [
            ReleasedReading(
                leaf=each.leaf,
                opening=open_sealed(keys, sealing_info(each.leaf), each.sealed) if place < until else b"",
            )
            for place, each in enumerate(kept)
        ]
        return Release(checkpoint=self.commitment(kept), lines=lines)


def verify_reading(signed: SignedReading, charters: Sequence[Charter]) -> None:
    """Check that an auditor of some charter has signed a reading.

    Raises:
        SignatureError: they have not.
        ForbiddenError: no charter names such an auditor.
    """
    name = Reading.FromString(signed.reading).auditor
    for charter in charters:
        key = auditors_of(charter).get(name)
        if key is not None:
            verify_signature(key, READING_TYPE, signed.reading, signed.signature)
            return
    raise ForbiddenError(f"no charter names an auditor {name}")


def enrolled(charter: Charter, name: str, key: bytes | None) -> None:
    """Change a charter: name an auditor with this public key (32 bytes), or, without one, no more."""
    kept = [each for each in charter.auditors if each.name != name]
    if key is None and len(kept) == len(charter.auditors):
        raise UsageError(f"the charter names no auditor {name}")
    if key is not None:
        kept.append(InstitutionAuditor(name=name, public_key=key))
    del charter.auditors[:]
    charter.auditors.extend(kept)


def fingerprint(charter: Charter) -> str:
    """Return what people compare by voice: SHA-256 of a charter's keys."""
    return sha256(charter.encryption_key + charter.readings_key).hexdigest()


def _lines(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + _LENGTH <= len(data):
        end = at + _LENGTH + int.from_bytes(data[at : at + _LENGTH], "big")
        if end > len(data):
            return
        yield data[at + _LENGTH : end]
        at = end
