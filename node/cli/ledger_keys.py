"""Keys of ledgers, from directories that follow from a pinned root: for statements, checkpoints and cosignatures."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from node.cli.directory_files import read
from node.errors import (
    DirectoryMalformedError,
    EnlaceError,
    ProofError,
    SignatureError,
    UnknownMemberError,
    UsageError,
)
from node.federation.envelope import STATEMENT_TYPE
from node.federation.receipts import verify_receipt
from node.identity.directory import TrustedDirectory
from node.identity.keys import verify_signature
from node.ledger.bundle import Keys, StatementVerifier
from node.ledger.checkpoint import SignedCheckpoint, origin_of
from node.ledger.epoch import split_origin
from node.ledger.note import COSIGNATURE_V1, ED25519, VerifierKey
from node.store.derived_rows import ReceiptVerifier
from node.store.receipts import Promise
from node.wire.directory_pb2 import Directory, NodeKey, SignedDirectory
from node.wire.envelope_pb2 import Statement
from node.wire.witness_pb2 import GetInclusionResponse

_CLOCK_WINDOW_US: Final = 300_000_000
"""The widest window that a node's configuration allows between a message and its own clock."""


def read_history(root: Path, files: Sequence[Path]) -> list[TrustedDirectory]:
    """Return the directories in these files, the newest first, each verified from the pinned root on.

    Raises:
        UsageError: a file can't be read, or there is none.
        DirectoryError: one is not signed by the stewards of that root, or contradicts another.
    """
    if not files:
        raise UsageError("name a directory with --directory: its keys are what is verified with")
    return history(read(root), sorted({read(path) for path in files}, key=_version))


def history(root: bytes, accepted: Iterable[bytes]) -> list[TrustedDirectory]:
    """Return all directories that were in force, the newest first.

    Raises:
        DirectoryError: one is not what a node can have accepted after those before it.
    """
    directory, found = TrustedDirectory.pinned(root), list[TrustedDirectory]()
    for signed in accepted:
        directory = directory.updated(signed, _read(signed).issued_us)
        found.insert(0, directory)
    return found


def keys_of(directories: Sequence[TrustedDirectory]) -> Keys:
    """Return the keys that these directories name; one that was replaced has signed what it signed."""
    witnesses: dict[VerifierKey, list[tuple[int, int]]] = {}
    logs: dict[str, dict[VerifierKey, None]] = {}
    for country, node, origin, key in node_keys(directories):
        logs.setdefault(f"{country}/{node}", {})[VerifierKey(origin, ED25519, key.public_key)] = None
        cosigning = VerifierKey(origin, COSIGNATURE_V1, key.public_key)
        witnesses.setdefault(cosigning, []).append((key.valid_from_us, key.valid_until_us))
    return Keys(
        logs=lambda node: tuple(logs.get(node, ())),
        witnesses=witnesses,
        verify_statement=statement_verifier(directories),
    )


def cosigners(signed: SignedCheckpoint) -> list[str]:
    """Return the witnesses that cosigned; those of the ledger's own country don't count."""
    own = split_origin(signed.checkpoint.origin)[0].rpartition("/")[0] + "/"
    return [each.key.name for each in signed.cosignatures if not each.key.name.startswith(own)]


def statement_verifier(directories: Sequence[TrustedDirectory]) -> StatementVerifier:
    """Return what checks statements under all these directories: each with the key that was valid at its time."""

    def verify_statement(statement: bytes, key_id: bytes, signature: bytes) -> None:
        try:
            parsed = Statement.FromString(statement)
        except DecodeError:
            raise SignatureError("the statement is not one") from None
        # A node takes a statement by its own clock, which the sender's may be ahead of or behind.
        times = (parsed.time_us, parsed.time_us - _CLOCK_WINDOW_US, parsed.time_us + _CLOCK_WINDOW_US)
        for each, at_us in product(directories, times):
            with suppress(SignatureError, UnknownMemberError):
                key = each.signing_key(parsed.sender, parsed.node, key_id, at_us)
                break
        else:
            raise UnknownMemberError("no directory names this key for that node and time")
        verify_signature(key, STATEMENT_TYPE, statement, signature)

    return verify_statement


def receipt_verifier(directories: Sequence[TrustedDirectory]) -> ReceiptVerifier:
    """Return what checks proofs of promises under any of these directories, of which there must be one."""

    def verify(promise: Promise, inclusion: bytes) -> None:
        try:
            response = GetInclusionResponse.FromString(inclusion)
        except DecodeError:
            raise ProofError("it is no message of the contract") from None
        for each in directories[:-1]:
            with suppress(EnlaceError):
                verify_receipt(each, promise, response)
                return
        verify_receipt(directories[-1], promise, response)

    return verify


def node_keys(directories: Iterable[TrustedDirectory]) -> Iterable[tuple[str, str, str, NodeKey]]:
    """Yield every signing key that these directories name: country, node, name of its ledger, key."""
    for directory in directories:
        for record in directory.members():
            for node in record.nodes:
                origin = origin_of(directory.federation, record.country, node.name)
                for key in node.signing_keys:
                    yield record.country, node.name, origin, key


def _version(signed: bytes) -> int:
    return _read(signed).version


def _read(signed: bytes) -> Directory:
    """Read what a directory says of itself; whether it may be believed is checked next."""
    try:
        return Directory.FromString(SignedDirectory.FromString(signed).directory)
    except DecodeError:
        raise DirectoryMalformedError("what should be a directory is none") from None
