"""Rulebooks: their texts, what was proved and rehearsed of them, and who signed.

Whether one is approved is not read from here, where SQL could write it, but from the signatures over its very bytes:
`verified`. When it comes into force is in `node.store.rulebook_steps`. Texts are kept for ever, since past decisions
are replayed under theirs.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from node.errors import ApprovalError, EnlaceError, NotFoundError
from node.identity.rulebook_approvals import (
    approval_signers,
    parse_signed_approval,
    parse_signed_removal,
    removal_signers,
    verify_approved,
)
from node.policy.rules import Layer, Rulebook
from node.policy.vocabulary import vocabulary_digest
from node.store.columns import as_bytes
from node.store.tables import rulebook_proposals, rulebook_signatures, rulebooks
from node.wire.approval_pb2 import FocalSignature
from node.wire.rulebook_pb2 import SignedRedLineRemoval, SignedRulebookApproval

_APPROVAL: Final = 1
_REMOVAL: Final = 2


class Proposal(NamedTuple):
    """A rulebook that somebody proposed, as the database has it: nothing here is verified.

    `signed_approval` and `signed_removal` (empty where no red line goes) hold the signatures so far.
    """

    layer: Layer
    sha256: bytes
    name: str
    version: int
    author: str
    proposed_us: int
    valid_from_us: int
    valid_until_us: int
    text: bytes
    proof: str
    rehearsal: str
    signed_approval: bytes
    signed_removal: bytes


def keep(connection: Connection, book: Rulebook, text: bytes, now_us: int) -> None:
    """Keep the text of a rulebook for as long as decisions under it may be replayed.

    Raises:
        ApprovalError: another text was kept under the same name and version.
    """
    held = rulebooks.c
    same = (held.layer == book.layer, held.name == book.name, held.version == book.version)
    found = connection.execute(select(held.sha256).where(*same)).scalar_one_or_none()
    if found == book.sha256:
        return
    if found is not None:
        raise ApprovalError(f"{book.name} {book.version} has another text already: give this one a new version")
    connection.execute(
        insert(rulebooks).values(
            layer=book.layer,
            sha256=book.sha256,
            name=book.name,
            version=book.version,
            valid_from_us=book.valid_from_us,
            valid_until_us=book.valid_until_us,
            content=text,
            stored_us=now_us,
        )
    )


def newest(connection: Connection, layer: Layer, name: str) -> bytes | None:
    """Return the SHA-256 of the rulebook of this name that has the highest version of those kept."""
    held = rulebooks.c
    query = select(held.sha256).where(held.layer == layer, held.name == name).order_by(held.version.desc()).limit(1)
    digest: bytes | None = connection.execute(query).scalar_one_or_none()
    return digest


def keep_floor(connection: Connection, book: Rulebook, text: bytes, now_us: int) -> None:
    """Keep the text of a floor that came with a directory.

    Raises:
        ApprovalError: a floor of this name and a higher version was in force, or of the same one with another text.
    """
    held = rulebooks.c
    newer = (held.layer == book.layer, held.name == book.name, held.version > book.version)
    if connection.execute(select(held.sha256).where(*newer).limit(1)).first() is not None:
        raise ApprovalError(f"{book.name} {book.version} is older than the one that was in force")
    keep(connection, book, text, now_us)


def propose(
    connection: Connection, book: Rulebook, text: bytes, *, approval: bytes, removal: bytes, proof: str, rehearsal: str
) -> None:
    """Keep a rulebook with its reports and what is to be signed; proposed again, the signatures on it start anew.

    `approval` is a RulebookApproval, `removal` a RedLineRemoval or empty. That it was never scheduled is for the caller
    to see.

    Raises:
        ApprovalError: another text was proposed under the same name and version, or this one by somebody else.
    """
    _, said = parse_signed_approval(SignedRulebookApproval(approval=approval).SerializeToString())
    keep(connection, book, text, said.time_us)
    which = {"layer": book.layer, "sha256": book.sha256}
    before = select(rulebook_proposals.c.author).where(rulebook_proposals.c.sha256 == book.sha256)
    author = connection.execute(before).scalar_one_or_none()
    if author not in {None, said.author}:  # else the author could sign what somebody else brought once more
        raise ApprovalError(f"{author} has proposed it and stays its author: only {author} proposes it again")
    for table in (rulebook_signatures, rulebook_proposals):
        connection.execute(delete(table).where(table.c.layer == book.layer, table.c.sha256 == book.sha256))
    reports = {"proof": proof.encode(), "rehearsal": rehearsal.encode()}
    documents = {"approval": approval, "removal": removal}
    row = {"author": said.author, "proposed_us": said.time_us, **which, **reports, **documents}
    connection.execute(insert(rulebook_proposals).values(row))


def sign(
    connection: Connection,
    layer: Layer,
    digest: bytes,
    *,
    approval: Mapping[str, FocalSignature],
    removal: Mapping[str, FocalSignature],
    now_us: int,
) -> None:
    """Keep signatures by focal point, which the caller has verified; one that is there already stays.

    Raises:
        NotFoundError: no such rulebook was proposed.
        ApprovalError: the author is among those who signed.
    """
    author = found(connection, digest).author
    for document, signatures in ((_APPROVAL, approval), (_REMOVAL, removal)):
        which = (rulebook_signatures.c.layer == layer, rulebook_signatures.c.sha256 == digest)
        query = select(rulebook_signatures.c.focal_point).where(*which, rulebook_signatures.c.document == document)
        known = set(connection.execute(query).scalars())
        rows = [
            {
                "layer": layer,
                "sha256": digest,
                "document": document,
                "key_id": each.key_id,
                "focal_point": name,
                "author": author,
                "signature": each.signature,
                "signed_us": now_us,
            }
            for name, each in sorted(signatures.items())
            if name not in known
        ]
        try:
            if rows:
                connection.execute(insert(rulebook_signatures), rows)
        except IntegrityError as error:
            raise ApprovalError("nobody signs twice, nor what they have proposed") from error


def found(connection: Connection, digest: bytes) -> Proposal:
    """Return the proposal with this SHA-256 of its text.

    Raises:
        NotFoundError: there is none.
    """
    proposals = _proposals(connection, digest)
    if not proposals:
        raise NotFoundError("no rulebook of this digest was proposed here: see `enlace policy history`")
    return proposals[0]


def listed(connection: Connection) -> list[Proposal]:
    """Return all proposals, the newest last."""
    return _proposals(connection, None)


def verified(connection: Connection, digest: bytes, focal: Mapping[str, bytes], country: str) -> Proposal:
    """Return a proposal that is approved: by signatures, over the bytes that are here now.

    Args:
        connection: Of the database.
        digest: SHA-256 of its text.
        focal: Public keys of the focal points by name, from `focal_points.by_name`.
        country: Whose rulebook it must be.

    Raises:
        ApprovalError: it is not; the text says why.
    """
    try:
        proposal = found(connection, digest)
    except NotFoundError as error:
        raise ApprovalError("its text or its approval is missing") from error
    verify_approved(proposal.signed_approval, proposal.signed_removal, focal)
    _, said = parse_signed_approval(proposal.signed_approval)
    if (said.country, said.layer) != (country, proposal.layer):
        raise ApprovalError(f"it was approved for {said.country}, layer {said.layer}")
    digests = [sha256(each).digest() for each in (proposal.text, proposal.proof.encode(), proposal.rehearsal.encode())]
    if digests != [said.rules_sha256, said.proof_sha256, said.rehearsal_sha256] or digest != said.rules_sha256:
        raise ApprovalError("its text, proofs or rehearsal are not those that were approved")
    if said.vocabulary != vocabulary_digest():
        raise ApprovalError("it was approved under other meanings of its words: propose it again as a new version")
    return proposal


def by_digest(connection: Connection, layer: Layer, digest: bytes) -> bytes:
    """Return the text of a rulebook that was proposed or in force once, by the SHA-256 that ledger lines name.

    Raises:
        NotFoundError: none of this digest is kept.
    """
    query = select(rulebooks.c.content).where(rulebooks.c.layer == layer, rulebooks.c.sha256 == digest)
    content = as_bytes(connection.execute(query).scalar_one_or_none())
    if sha256(content).digest() != digest:
        raise NotFoundError("no rulebook of this digest is kept here, or its text was altered")
    return content


def signers(proposal: Proposal, focal: Mapping[str, bytes]) -> tuple[Sequence[str], Sequence[str]]:
    """Return who signed the approval, and who that red lines go: focal points whose signatures are true."""
    try:
        signed = sorted(approval_signers(proposal.signed_approval, focal))
        gone = sorted(removal_signers(proposal.signed_removal, focal)) if proposal.signed_removal else []
    except EnlaceError:
        return [], []
    return signed, gone


def removed(proposal: Proposal) -> tuple[bytes, Sequence[str]]:
    """Return which rulebook's red lines the proposal says it removes (SHA-256), and their ids; nothing where none."""
    if not proposal.signed_removal:
        return b"", []
    _, removal = parse_signed_removal(proposal.signed_removal)
    return removal.replaces_sha256, list(removal.red_lines)


def _proposals(connection: Connection, digest: bytes | None) -> list[Proposal]:
    text, proposal = rulebooks.c, rulebook_proposals.c
    query = select(rulebooks, rulebook_proposals).join(
        rulebooks, (text.layer == proposal.layer) & (text.sha256 == proposal.sha256)
    )
    signatures = select(rulebook_signatures).order_by(rulebook_signatures.c.signed_us, rulebook_signatures.c.key_id)
    if digest is not None:
        query = query.where(proposal.sha256 == digest)
        signatures = signatures.where(rulebook_signatures.c.sha256 == digest)
    made: dict[tuple[bytes, int], list[FocalSignature]] = {}
    for each in connection.execute(signatures):
        signature = FocalSignature(key_id=as_bytes(each.key_id), signature=as_bytes(each.signature))
        made.setdefault((each.sha256, each.document), []).append(signature)
    proposals = []
    for row in connection.execute(query.order_by(proposal.proposed_us, proposal.sha256)).mappings():
        which = row[text.sha256]
        approval, removal = as_bytes(row[proposal.approval]), as_bytes(row[proposal.removal])
        signed = SignedRulebookApproval(approval=approval, signatures=made.get((which, _APPROVAL)))
        gone = SignedRedLineRemoval(removal=removal, signatures=made.get((which, _REMOVAL)))
        proposals.append(
            Proposal(
                layer=row[text.layer],
                sha256=which,
                name=row[text.name],
                version=row[text.version],
                author=str(row[proposal.author]),
                proposed_us=row[proposal.proposed_us],
                valid_from_us=row[text.valid_from_us],
                valid_until_us=row[text.valid_until_us],
                text=as_bytes(row[text.content]),
                proof=as_bytes(row[proposal.proof]).decode(errors="replace"),
                rehearsal=as_bytes(row[proposal.rehearsal]).decode(errors="replace"),
                signed_approval=signed.SerializeToString(),
                signed_removal=gone.SerializeToString() if removal else b"",
            )
        )
    return proposals
