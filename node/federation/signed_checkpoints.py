"""Checkpoints and cosignatures, verified under the keys that a directory names."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from node.errors import NoteError
from node.identity.directory import TrustedDirectory
from node.ledger.checkpoint import SignedCheckpoint, open_checkpoint, origin_of
from node.ledger.epoch import split_origin
from node.ledger.note import COSIGNATURE_V1, ED25519, VerifierKey


def log_keys(directory: TrustedDirectory, country: str, origin: str) -> Iterator[VerifierKey]:
    """Yield the keys, of whatever time, that a directory names for a country's ledger of this origin, in any epoch."""
    name, _ = split_origin(origin)
    for node in directory.member(country).nodes:
        if origin_of(directory.federation, country, node.name) == name:
            for key in node.signing_keys:
                yield VerifierKey(origin, ED25519, key.public_key)


def witness_keys(directory: TrustedDirectory, country: str) -> Iterator[VerifierKey]:
    """Yield the keys, of whatever time, with which a country's nodes cosign."""
    for node in directory.member(country).nodes:
        for key in node.signing_keys:
            yield VerifierKey(origin_of(directory.federation, country, node.name), COSIGNATURE_V1, key.public_key)


def quorum_of(directory: TrustedDirectory) -> int:
    """Return how many countries other than a ledger's own must cosign its checkpoint for it to be witnessed."""
    return max(1, directory.witness_quorum)


def opened_of(
    directory: TrustedDirectory, country: str, note: bytes, witnesses: Sequence[VerifierKey] = ()
) -> SignedCheckpoint:
    """Return a checkpoint of one of a country's ledgers, verified under the keys that the directory names.

    Raises:
        NoteError: it is none, of another ledger, or signed by no such key.
        UnknownMemberError: the country is not in the directory.
    """
    origin = note.split(b"\n", 1)[0].decode(errors="replace")
    for key in log_keys(directory, country, origin):
        with suppress(NoteError):
            return open_checkpoint(note, log=key, witnesses=witnesses)
    raise NoteError(f"it is no checkpoint of {country} that is signed by a key in the directory")


def country_of(note: bytes) -> str:
    """Return the country that a checkpoint names, if it does; whether it is its own is for `opened_of` to say."""
    name, _ = split_origin(note.split(b"\n", 1)[0].decode(errors="replace"))
    parts = name.split("/")
    return parts[1] if len(parts) == 3 else ""  # noqa: PLR2004 federation, country, node
