"""The folder in which a country runs its certification authority.

ca/root.crt, root.key        the root; after the ceremony its key is taken away and kept offline
ca/issuing.crt, issuing.key  the authority below it that issues from day to day, where the country has one
ca/bundle.crt                what the country lists in the directory as its own: root and issuing authorities
ca/index.json                every certificate issued, and the number of the newest revocation list
ca/crl.der                   the newest revocation list
issued/KIND/NAME/            certificate.pem and key.pem, to be handed over
"""

import fcntl
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node.cli.directory_files import read
from node.errors import CertificateInvalidError, UsageError
from node.identity.authority import Authority, parse_key
from node.identity.certificates import parse_chain
from node.identity.spiffe import TrustDomain

PRIVATE: Final = 0o600
READABLE: Final = 0o644
FOLDER: Final = 0o700


Holding = Literal["node", "desk", "issuing"]


class Issued(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A certificate that was issued; serial numbers are hexadecimal, since JSON's numbers are too short for them."""

    serial: str
    kind: Holding
    name: str
    issued: datetime
    ends: datetime
    issuer: str  # the serial number of the authority
    dns_names: tuple[str, ...] = ()
    revoked: datetime | None = None

    @property
    def identity(self) -> str:
        """How commands name its holder: "node/gt-1", "desk/a7-42", "issuing/2026-11-24"."""
        return f"{self.kind}/{self.name}"

    def state(self, now: datetime) -> str:
        """Say whether it counts."""
        if self.revoked is not None:
            return "revoked"
        return "valid" if now < self.ends else "expired"


def entry(
    certificate: x509.Certificate,
    authority: Authority,
    kind: Holding,
    name: str,
    *,
    at: datetime,
    dns_names: tuple[str, ...] = (),
) -> Issued:
    """Return the index's line for a certificate that `authority` issued."""
    return Issued(
        serial=f"{certificate.serial_number:x}",
        kind=kind,
        name=name,
        issued=at,
        ends=certificate.not_valid_after_utc,
        issuer=f"{authority.certificate.serial_number:x}",
        dns_names=dns_names,
    )


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the authority has issued, and the number of its newest revocation list."""

    country: str
    federation: str
    crl_number: int = 0
    issued: tuple[Issued, ...] = ()

    @property
    def domain(self) -> TrustDomain:
        """The country."""
        return TrustDomain(self.country, self.federation)

    def of(self, identity: str) -> tuple[Issued, ...]:
        """Return what was issued to a holder, oldest first."""
        return tuple(each for each in self.issued if each.identity == identity)

    def adding(self, issued: Issued) -> "Index":
        """Return the index with one more certificate."""
        return msgspec.structs.replace(self, issued=(*self.issued, issued))

    def revoking(self, serials: Collection[str], at: datetime) -> "Index":
        """Return the index with these certificates taken back, and all that any of them issued."""
        issued = (
            msgspec.structs.replace(each, revoked=at)
            if each.revoked is None and (each.serial in serials or each.issuer in serials)
            else each
            for each in self.issued
        )
        return msgspec.structs.replace(self, issued=tuple(issued))

    def numbering(self) -> "Index":
        """Return the index with the next revocation list's number."""
        return msgspec.structs.replace(self, crl_number=self.crl_number + 1)


class Folder:
    """Paths of one country's authority, and the files in it."""

    def __init__(self, path: Path) -> None:
        """Take the folder that holds ca/ and issued/."""
        self.path = path
        self.authorities = path / "ca"
        self.root = self.authorities / "root.crt"
        self.issuing = self.authorities / "issuing.crt"
        self.bundle = self.authorities / "bundle.crt"
        self.crl = self.authorities / "crl.der"
        self._index = self.authorities / "index.json"

    def holder(self, identity: str) -> Path:
        """Return where certificate.pem and key.pem of "node/NAME" or "desk/NAME" are put."""
        return self.path / "issued" / identity

    def index(self) -> Index:
        """Return the index.

        Raises:
            UsageError: there is no authority here, or the index is damaged.
        """
        if not self._index.is_file():
            raise UsageError(f"there is no authority in {self.path}: make one with `enlace pki init-ca`")
        try:
            return msgspec.json.decode(read(self._index), type=Index)
        except msgspec.DecodeError as error:
            raise UsageError(f"{self._index} is damaged ({error}): restore it from the backup") from error

    def write_index(self, index: Index) -> None:
        """Replace the index; call it before what it lists leaves, so that nothing in use is ever missing from it."""
        write(self._index, msgspec.json.format(msgspec.json.encode(index)))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from issuing meanwhile.

        Raises:
            UsageError: another is at work.
        """
        self.authorities.mkdir(mode=FOLDER, parents=True, exist_ok=True)
        descriptor = os.open(self.authorities, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise UsageError(f"another command is at work in {self.path}: try again") from error
        finally:
            os.close(descriptor)

    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the root, then the issuing authorities that count, newest first."""
        try:
            return parse_chain(read(self.bundle))
        except CertificateInvalidError as error:
            raise UsageError(f"{self.bundle} is damaged: restore it from the backup") from error

    def key_files(self) -> tuple[Path, ...]:
        """Return the authorities' keys that lie here."""
        return tuple(path for path in map(_key_of, (self.root, self.issuing)) if path.is_file())

    def authority(self, passphrase: bytes, *, root: bool = False) -> Authority:
        """Return the authority that issues from day to day, or the root.

        Raises:
            UsageError: its key is not here, or the passphrase is wrong.
        """
        path = self.root if root or not self.issuing.is_file() else self.issuing
        if not _key_of(path).is_file():
            raise UsageError(f"{_key_of(path)} is not here: bring it from where it is kept")
        try:
            certificate = parse_chain(read(path))[0]
            key = parse_key(read(_key_of(path)), passphrase)
        except (CertificateInvalidError, UsageError) as error:
            raise UsageError(f"{_key_of(path)}: {error}") from error
        if key.public_key() != certificate.public_key():
            raise UsageError(f"{_key_of(path)} is not the key of {path}")
        return Authority(certificate, key, () if path == self.root else (certificate,))

    def write_authority(self, path: Path, certificate: bytes, key: bytes) -> None:
        """Put an authority's certificate and (encrypted) key in place, the key first."""
        write(_key_of(path), key, PRIVATE)
        write(path, certificate)

    def write_bundle(self, certificates: Iterable[x509.Certificate]) -> None:
        """Say which authorities the country lists as its own."""
        write(self.bundle, b"".join(each.public_bytes(Encoding.PEM) for each in certificates))

    def drop_issuing(self, serials: Collection[int]) -> None:
        """Put away issuing authorities that were taken back, so that the root issues until there is another."""
        self.write_bundle(each for each in self.certificates() if each.serial_number not in serials)
        if self.issuing.is_file() and parse_chain(read(self.issuing))[0].serial_number in serials:
            self.issuing.unlink()
            _key_of(self.issuing).unlink(missing_ok=True)


def _key_of(certificate: Path) -> Path:
    return certificate.with_suffix(".key")


def write(path: Path, data: bytes, mode: int = READABLE) -> None:
    """Put a file in place whole and durably, with its mode from the first moment on.

    Raises:
        UsageError: it can't be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=FOLDER, parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # or the name may be lost in a crash although the contents are not
        finally:
            os.close(folder)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def now() -> datetime:
    """Return the time, to the second, as certificates tell it."""
    return datetime.now(UTC).replace(microsecond=0)
