"""Files that stewards and members work on: keys, descriptions in YAML, and the signed documents.

A description is what people read and correct; the signed document is made from it and never edited.
"""

import base64
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from google.protobuf.json_format import ParseDict, ParseError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from node.errors import UsageError
from node.identity.keys import generate_private_key, parse_private_key, private_key_pem, public_key
from node.identity.stewards import M
from node.wire.directory_pb2 import Instrument, MemberRecord

PRIVATE: Final = 0o600
READABLE: Final = 0o644


def read(path: Path) -> bytes:
    """Return what is in a file.

    Raises:
        UsageError: it can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def create(path: Path, data: bytes, mode: int = READABLE) -> None:
    """Write a new file, never over an existing one: it may be the only copy of a key.

    Raises:
        UsageError: it exists, or can't be written.
    """
    try:
        # The mode holds from the first moment on; a chmod afterwards would leave a gap.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def replace(path: Path, data: bytes) -> None:
    """Put a new version in a file's place; a crash leaves the old one whole.

    Raises:
        UsageError: it can't be written.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def new_key(path: Path, passphrase_file: Path | None) -> bytes:
    """Write a new private key to `path` (PKCS #8 PEM, mode 0600) and its public one beside it; return the latter.

    Raises:
        UsageError: a file exists or can't be written.
    """
    private = generate_private_key()
    create(path, private_key_pem(private, _passphrase(passphrase_file)), PRIVATE)
    public = public_key(private)
    pem = Ed25519PublicKey.from_public_bytes(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    create(public_path(path), pem)
    return public


def public_path(path: Path) -> Path:
    """Return where the public key of a private key's file is written."""
    return path.with_name(f"{path.name}.pub")


def private_key(path: Path, passphrase_file: Path | None) -> bytes:
    """Return the private key (32 bytes) in a file.

    Raises:
        UsageError: it can't be read, is no Ed25519 key, or the passphrase is wrong.
    """
    data = read(path)
    try:
        return parse_private_key(data, _passphrase(passphrase_file))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _passphrase(path: Path | None) -> bytes | None:
    return read(path).rstrip(b"\r\n") if path is not None else None


def read_public_key(path: Path) -> bytes:
    """Return the Ed25519 public key (32 bytes) in a PEM file.

    Raises:
        UsageError: there is none in it.
    """
    try:
        key = load_pem_public_key(read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path}: not a public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path}: not an Ed25519 key")
    return key.public_bytes_raw()


def read_record(path: Path) -> MemberRecord:
    """Return a member's record from its description.

    The keys are the fields of MemberRecord, but: `ca_certificates`, `public_key` and the institution's `root_key` name
    PEM files beside the description, times are written as RFC 3339 in `valid_from` and `valid_until`, obligations
    without their prefix.

    Raises:
        UsageError: a key is unknown, or a value is not of its kind.
    """
    document = _mapping(_yaml(path), path)
    folder = path.parent
    _convert(document, "accepted", lambda codes: [f"OBLIGATION_{code}" for code in _list(codes, path)])
    _convert(
        document, "ca_certificates", lambda names: _certificates(folder / str(name) for name in _list(names, path))
    )
    if "audit" in document:
        _convert(
            _mapping(document["audit"], path), "root_key", lambda name: _base64(read_public_key(folder / str(name)))
        )
    for node in _list(document.get("nodes", []), path):
        for key in _list(_mapping(node, path).get("signing_keys", []), path):
            _convert(_mapping(key, path), "public_key", lambda name: _base64(read_public_key(folder / str(name))))
            _convert_times(key, path)
    return _message(MemberRecord, document, path)


def read_instruments(path: Path) -> list[Instrument]:
    """Return the instruments in a description: a list whose keys are the fields of Instrument.

    Times are written as in a member's description, `kind` and `crimes` without their prefix.

    Raises:
        UsageError: a key is unknown, or a value is not of its kind.
    """
    instruments = []
    for item in _list(_yaml(path), path):
        document = _mapping(item, path)
        _convert(document, "kind", lambda kind: f"INSTRUMENT_KIND_{kind}")
        _convert(document, "crimes", lambda codes: [f"CRIME_{code}" for code in _list(codes, path)])
        _convert_times(document, path)
        instruments.append(_message(Instrument, document, path))
    return instruments


def parse_time(text: str) -> int:
    """Return a time written as RFC 3339, or as a date (midnight UTC), in microseconds.

    Raises:
        UsageError: it is not so written.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text} is not a time: write it as 2026-03-01T00:00:00Z") from error
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _certificates(paths: Iterable[Path]) -> list[str]:
    found = []
    for path in paths:
        try:
            certificates = x509.load_pem_x509_certificates(read(path))
        except ValueError as error:
            raise UsageError(f"{path}: not a certificate in PEM") from error
        found += [_base64(certificate.public_bytes(Encoding.DER)) for certificate in certificates]
    return found


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# Any: what YAML holds is known only once ParseDict has taken it.
def _yaml(path: Path) -> Any:  # noqa: ANN401
    try:
        return YAML(typ="safe", pure=True).load(read(path))
    except (YAMLError, ValueError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error


def _mapping(value: object, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{path}: expected keys and values, got {value!r}")
    return value


def _list(value: object, path: Path) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"{path}: expected a list, got {value!r}")
    return value


def _convert(document: dict[str, Any], key: str, conversion: Callable[[Any], object]) -> None:
    if key in document:
        document[key] = conversion(document[key])


def _convert_times(document: dict[str, Any], path: Path) -> None:
    for key in ("valid_from", "valid_until"):
        if key in document:
            try:
                # Protobuf's JSON writes 64-bit integers as text. YAML may have read an unquoted time as one already.
                document[f"{key}_us"] = str(parse_time(str(document.pop(key))))
            except UsageError as error:
                raise UsageError(f"{path}: {key}: {error}") from error


def _message(kind: type[M], document: dict[str, Any], path: Path) -> M:
    try:
        return ParseDict(document, kind())
    except ParseError as error:
        raise UsageError(f"{path}: {error}") from error
