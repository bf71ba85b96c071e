"""Auditing at the desk: lines of the ledger with what opens them. That they were read is a line itself."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from nacl.signing import SigningKey
from sqlalchemy import Connection

from node.desk.masking import Names, Reading
from node.errors import NoteError, NotFoundError, UsageError
from node.federation.fencing import current
from node.federation.standing import Standing
from node.ledger.bundle import FORMAT, open_checkpoint_of
from node.ledger.checkpoint import Checkpoint, format_checkpoint, origin_of
from node.ledger.leaf import parse_private, unpad, verify_opening
from node.ledger.note import ED25519, VerifierKey, note_signer, sign_note
from node.ledger.rfc6962 import leaf_hash
from node.store.database import Database
from node.store.listing import ListedLine, list_lines
from node.store.officers import Officer
from node.store.tiles import prove_inclusion
from node.store.usage import lines_at
from node.store.vault import Vault
from node.store.witnessing import own_checkpoints
from node.store.writer import Writer
from node.wire.bundle_pb2 import ProofBundle, ProveLineRequest
from node.wire.desk_pb2 import ListLedgerRequest, ListLedgerResponse
from node.wire.ledger_pb2 import Decisions, LeafKind

DEFAULT_LINES: Final = 100
MOST_SINGLE: Final = 1_000
_PAGE: Final = 200
_MOST_NAMED: Final = 20  # characters: a reason for unmasking has to fit behind them
_COUNTRY: Final = re.compile("[A-Z]{2}")


@dataclass(slots=True)
class Auditing:
    """Serves auditors."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    clock: Callable[[], int]

    async def list_ledger(self, request: ListLedgerRequest, officer: Officer) -> AsyncIterator[ListLedgerResponse]:
        """Yield lines from `start` on, up to `limit` of those that concern the peer, or of all; or single ones.

        Raises:
            UsageError: the peer is no country's code, too many single lines, or no reason for unmasking.
            NotFoundError: there is no such single line.
            LedgerError: a line is damaged, or does not fit what opens it; `enlace ledger verify` names all such lines.
        """
        if request.peer and not _COUNTRY.fullmatch(request.peer):
            raise UsageError("peer: is no country's code of two capital letters")
        if len(request.lines) > MOST_SINGLE:
            raise UsageError(f"lines: at most {MOST_SINGLE:,}")
        single = sorted(set(request.lines))
        reason = f"LINES {_which(single)}" if single else f"LEDGER {request.start} {request.peer}".rstrip()
        reading = Reading(self.standing, self.writer, self.clock)
        names = await reading.begin(officer, reason, unmask=request.unmask)
        if single:
            for line in await self.database.read(lines_at, self.vault, single):
                yield _shown(line, names)
            return
        start, left = request.start, request.limit or DEFAULT_LINES
        while left:
            count = min(left, _PAGE)
            lines = await self.database.read(list_lines, start, count, peer=request.peer or None, vault=self.vault)
            for line in lines:
                yield _shown(line, names)
            if len(lines) < count:
                return
            start, left = lines[-1].index + 1, left - count

    async def prove_line(self, request: ProveLineRequest, officer: Officer) -> bytes:
        """Return a proof bundle of a line; that it was made is a line first.

        Raises:
            NotFoundError: there is no such line, or its opening was erased and is asked for.
            UsageError: the checkpoint given is none of this ledger, or counts too few lines; or what is
                given as reason for unmasking is none.
            LedgerError: the ledger is damaged; `enlace ledger verify` says where.
        """
        reading = Reading(self.standing, self.writer, self.clock)
        await reading.begin(officer, f"PROVE {request.index}", unmask=request.unmask)
        return await self.database.read(self._bundle, request)

    def _bundle(self, connection: Connection, request: ProveLineRequest) -> bytes:
        found = list_lines(connection, request.index, 1, vault=self.vault if request.unmask else None)
        if not found or found[0].index != request.index:
            raise NotFoundError(f"there is no line {request.index}")
        line = found[0]
        if request.unmask and line.opening is None:
            raise NotFoundError(f"what opens line {request.index} was erased")
        note, checkpoint = self._checkpoint(connection, request)
        if request.index >= checkpoint.size:
            raise UsageError(
                f"the checkpoint counts {checkpoint.size} lines, so line {request.index} is not among them"
            )
        leaf = line.leaf.SerializeToString()  # the bytes that were read: `parse_leaf` takes no other encoding
        size, root = checkpoint.size, checkpoint.root
        hashed = leaf_hash(leaf)
        proof = prove_inclusion(connection, index=request.index, leaf_hash=hashed, size=size, root=root)
        return ProofBundle(
            format=FORMAT,
            node=line.shared.node,
            index=request.index,
            leaf=leaf,
            proof=proof,
            checkpoint=note,
            statement=line.statement,
            key_id=line.key_id,
            signature=line.signature,
            salt=line.opening.salt if line.opening else b"",
            private=line.opening.private if line.opening else b"",
        ).SerializeToString()

    def _checkpoint(self, connection: Connection, request: ProveLineRequest) -> tuple[bytes, Checkpoint]:
        """Return the checkpoint given, the last one with this line that was cosigned, or a new one."""
        signer, directory = self.standing.signer, self.standing.trust.directory
        origin = origin_of(directory.federation, signer.country, signer.node)
        own = [node for node in directory.member(signer.country).nodes if node.name == signer.node]
        keys = [VerifierKey(origin, ED25519, key.public_key) for node in own for key in node.signing_keys]
        if request.checkpoint:
            try:
                return request.checkpoint, open_checkpoint_of(request.checkpoint, keys, {}).checkpoint
            except NoteError as error:
                raise UsageError(f"the checkpoint given is none of this ledger: {error}") from error
        for kept in reversed(own_checkpoints(connection, request.index + 1)):
            with suppress(NoteError):  # signed by a key that was replaced: verifiers may not have that directory
                if not kept.lines:
                    continue
                note = kept.note + b"".join(line for _, line, _ in kept.lines)
                return note, open_checkpoint_of(note, keys, {}).checkpoint
        checkpoint = current(connection, origin)
        if checkpoint is None:
            raise UsageError("lines of the ledger are lost, so nothing is signed: see `enlace ledger fence`")
        key = SigningKey(signer.private_key)
        by = note_signer(checkpoint.origin, key.verify_key.encode(), lambda text: key.sign(text).signature)
        return sign_note(format_checkpoint(checkpoint), by), checkpoint


def _which(lines: Sequence[int]) -> str:
    """Name single lines for the line that says they were read; of many, how many and between which."""
    text = ",".join(map(str, lines))
    return text if len(text) <= _MOST_NAMED else f"{len(lines)} OF {lines[0]}-{lines[-1]}"


def _shown(line: ListedLine, names: Names) -> ListLedgerResponse:
    shared = line.shared
    response = ListLedgerResponse(
        index=line.index,
        kind=shared.kind,
        direction=shared.direction,
        peer=shared.peer,
        time_us=shared.time_us,
        logged_us=line.leaf.logged_us,
        exchange_id=shared.exchange_id,
    )
    if line.opening is not None:
        verify_opening(line.leaf, line.opening)
        private = parse_private(line.opening.private)
        private.officer = names(private.officer)
        if shared.kind == LeafKind.LEAF_KIND_ENROLMENT:  # whose subject is an officer
            private.subject = names(private.subject.decode(errors="replace")).encode()
        response.private.CopyFrom(private)
        if line.opening.decisions:
            response.decisions.extend(Decisions.FromString(unpad(line.opening.decisions)).entries)
    return response
