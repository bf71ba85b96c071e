"""Approved rulebooks, written straight into a store: signatures are real, reports say that nothing was proved."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256

from sqlalchemy import Connection

from node.identity.rulebook_approvals import approval_signers, parse_signed_approval, sign_approval
from node.policy.red_lines import red_lines_digest
from node.policy.rulebook import read_rulebook
from node.policy.rules import Rulebook
from node.policy.vocabulary import vocabulary_digest
from node.store import rulebook_steps, rulebooks
from node.store.rulebook_steps import SCHEDULED
from node.store.vault import Vault
from node.wire.rulebook_pb2 import RulebookApproval, RulebookStep

PROOF = "Not proved: of a test.\n"
REHEARSAL = "Not rehearsed: of a test.\n"
AUTHOR = "counsel"


@lru_cache
def read(text: bytes) -> Rulebook:
    return read_rulebook(text).book  # also one in words that no node of today reads


def approval_of(text: bytes, time_us: int, floor: bytes = b"", **changes: object) -> RulebookApproval:
    """What is signed of a rulebook; `floor` is the text of the one that it was proved with."""
    book = read(text)
    above = read(floor) if floor and book.layer == "release" else None
    said: dict[str, object] = {
        "country": book.country,
        "layer": book.layer,
        "name": book.name,
        "version": book.version,
        "rules_sha256": book.sha256,
        "vocabulary": vocabulary_digest(),
        "floor_sha256": above.sha256 if above else b"",
        "red_lines_sha256": red_lines_digest([*(above.red_lines if above else ()), *book.red_lines]),
        "proof_sha256": sha256(PROOF.encode()).digest(),
        "rehearsal_sha256": sha256(REHEARSAL.encode()).digest(),
        "author": AUTHOR,
        "time_us": time_us,
    }
    return RulebookApproval(**{**said, **changes})  # type: ignore[arg-type]


def propose(connection: Connection, text: bytes, approval: RulebookApproval, removal: bytes = b"") -> None:
    data = approval.SerializeToString()
    rulebooks.propose(connection, read(text), text, approval=data, removal=removal, proof=PROOF, rehearsal=REHEARSAL)


def sign(connection: Connection, text: bytes, focal: Mapping[str, bytes], keys: Iterable[bytes], time_us: int) -> None:
    """Sign with private keys of focal points; `focal` are the public keys by name."""
    book = read(text)
    signed, _ = parse_signed_approval(rulebooks.found(connection, book.sha256).signed_approval)
    for key in keys:
        signed = sign_approval(signed, key)
    found = approval_signers(signed.SerializeToString(), focal)
    rulebooks.sign(connection, book.layer, book.sha256, approval=found, removal={}, now_us=time_us)


def schedule(connection: Connection, vault: Vault, text: bytes, activates_us: int, time_us: int) -> None:
    book = read(text)
    past = rulebook_steps.history(connection, vault, book.layer)
    step = RulebookStep(
        layer=book.layer,
        kind=SCHEDULED,
        rules_sha256=book.sha256,
        time_us=time_us,
        activates_us=activates_us,
        officer=AUTHOR,
    )
    rulebook_steps.append(connection, vault, past, step)


def enact(
    connection: Connection,
    vault: Vault,
    text: bytes,
    *,
    focal: Mapping[str, bytes],
    keys: Iterable[bytes],
    floor: bytes,
    at_us: int,
) -> None:
    """Have a rulebook approved, and in force since `at_us`; `keys` are the private keys of those who sign."""
    propose(connection, text, approval_of(text, at_us, floor))
    sign(connection, text, focal, keys, at_us)
    schedule(connection, vault, text, at_us, at_us)
