"""Checkpoints of this node's own ledger: signed for an auditor to keep elsewhere, and opened again to hold it to them.

The signature is that of C2SP signed notes, plain Ed25519 (type 0x01), with the key that signs the node's statements.
Neither can pass for the other: a statement is signed in DSSE's encoding, which begins with "DSSEv1 ", and the text of a
checkpoint begins with the federation's name, whose letters are small.
"""

from collections.abc import Iterable
from contextlib import suppress

from nacl.signing import SigningKey
from sqlalchemy import Connection

from node.cli.directory_files import private_key
from node.config import Config
from node.errors import NoteError, UsageError
from node.identity.directory import TrustedDirectory
from node.ledger.checkpoint import Checkpoint, format_checkpoint, open_checkpoint, origin_of
from node.ledger.epoch import epoch_origin, split_origin
from node.ledger.note import ED25519, VerifierKey, note_signer, sign_note
from node.store.epochs import epoch_of, is_fenced
from node.store.lines import Head


def signed_checkpoint(connection: Connection, config: Config, head: Head) -> bytes:
    """Return a signed note that says what the ledger commits to, in its epoch.

    Raises:
        UsageError: the node's signing key can't be read; or lines are lost, so that what is there, signed under the
            name of what witnesses saw, would be a second history.
    """
    if is_fenced(connection):
        raise UsageError("lines of the ledger are lost: nothing is signed before `enlace ledger fence` confesses it")
    origin = epoch_origin(origin_of(config.federation, config.country, config.name), epoch_of(connection))
    key = SigningKey(private_key(config.trust.signing_key, None))
    signer = note_signer(origin, key.verify_key.encode(), lambda text: key.sign(text).signature)
    return sign_note(format_checkpoint(Checkpoint(origin, head.size, head.root)), signer)


def opened_checkpoint(data: bytes, config: Config, history: Iterable[TrustedDirectory]) -> Checkpoint:
    """Return what a checkpoint of this node says, signed by any key that a directory has named as this node's.

    Raises:
        NoteError: it is no checkpoint, of another ledger, or signed by no such key.
    """
    epoch = split_origin(data.split(b"\n", 1)[0].decode(errors="replace"))[1]
    origin = epoch_origin(origin_of(config.federation, config.country, config.name), epoch)
    keys = {
        key.public_key
        for directory in history
        for record in directory.members()
        for node in record.nodes
        if (record.country, node.name) == (config.country, config.name)
        for key in node.signing_keys
    }
    for key in keys:
        with suppress(NoteError):
            return open_checkpoint(data, log=VerifierKey(origin, ED25519, key)).checkpoint
    raise NoteError(f"it is no checkpoint of {origin} that is signed by a key of this node in the directories")
