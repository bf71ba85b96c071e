"""Receipts: an answer promises a line in the ledger of who gave it, and within a day the asker has that proved.

The proof is against a checkpoint that the quorum of witnesses has cosigned, so the line can't be taken back any more
without all of them. It is asked for in the background; no answer waits for it.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc
import structlog
from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from node.errors import EnlaceError, LedgerError, MalformedError, NotFoundError, ProofError
from node.federation.channels import GET_INCLUSION, Channels
from node.federation.signed_checkpoints import opened_of, quorum_of, witness_keys
from node.federation.standing import Standing
from node.identity.certificates import Peer
from node.identity.directory import TrustedDirectory
from node.ledger.checkpoint import origin_of
from node.ledger.epoch import note_checkpoint, split_origin
from node.ledger.leaf import parse_leaf
from node.ledger.rfc6962 import leaf_hash, verify_inclusion
from node.store.database import Database
from node.store.lines import ledger_lines
from node.store.listing import list_lines
from node.store.receipts import Promise, keep_promises, next_line, promised, settle, waiting
from node.store.tiles import prove_inclusion
from node.store.witnessing import own_checkpoints
from node.store.writer import Priority, Writer
from node.wire.ledger_pb2 import Direction, LeafKind
from node.wire.witness_pb2 import GetInclusionRequest, GetInclusionResponse

log = structlog.get_logger()

EVERY_S: Final = 60.0
AT_ONCE: Final = 32  # proofs asked for in a round
CALL_S: Final = 5.0
EXCHANGE_ID_BYTES: Final = 16


def verify_receipt(directory: TrustedDirectory, promise: Promise, response: GetInclusionResponse) -> None:
    """Check that a promised line is in the ledger of who promised it.

    1. The leaf is one, and its shared part the one whose digest the answer's signed statement names.
    2. The checkpoint is signed by that node's ledger, and cosigned by the quorum of other countries.
    3. The leaf is in the tree of that checkpoint.

    Raises:
        LedgerError: it does not follow.
        UnknownMemberError: the country is not in the directory.
    """
    leaf = parse_leaf(response.leaf)
    if hashlib.sha256(leaf.shared).digest() != promise.leaf_sha256:
        raise ProofError("the line is not the one that was promised")
    witnesses = [
        key
        for record in directory.members()
        if record.country != promise.peer
        for key in witness_keys(directory, record.country)
    ]
    opened = opened_of(directory, promise.peer, response.checkpoint, witnesses)
    if split_origin(opened.checkpoint.origin)[0] != origin_of(directory.federation, promise.peer, promise.node):
        raise ProofError("the checkpoint is of another ledger than the promise")
    countries = {signature.key.name.split("/")[1] for signature in opened.cosignatures}
    if len(countries) < quorum_of(directory):
        raise ProofError(f"the checkpoint is cosigned by {len(countries)} countries of {quorum_of(directory)}")
    verify_inclusion(
        index=response.index,
        size=opened.checkpoint.size,
        leaf_hash=leaf_hash(response.leaf),
        proof=response.proof,
        root=opened.checkpoint.root,
    )


@dataclass(slots=True)
class Receipts:
    """Proves answers to who asked, and has those of peers proved."""

    standing: Standing
    channels: Channels
    database: Database
    writer: Writer
    clock: Callable[[], int]
    _next: int = -1  # line from which on promises are read
    _at: float = float("-inf")

    async def inclusion(self, data: bytes, peer: Peer) -> bytes:
        """Prove to a peer that this node's answer to it is in the ledger.

        Raises:
            MalformedError, NotFoundError: there is no such answer.
        """
        try:
            exchange_id = GetInclusionRequest.FromString(data).exchange_id
        except DecodeError:
            raise MalformedError("the message is not one of the contract") from None
        if len(exchange_id) != EXCHANGE_ID_BYTES:
            raise MalformedError("the exchange id is not 16 bytes")
        quorum = quorum_of(self.standing.trust.directory)
        response = await self.database.read(_included, exchange_id, peer.country, quorum)
        return response.SerializeToString()

    async def look(self) -> None:
        """Read new promises and ask for proofs when it is time; to be called every second or so."""
        now = asyncio.get_running_loop().time()
        if now - self._at >= EVERY_S:
            self._at = now
            await self.follow()

    async def follow(self) -> None:
        """Read the promises in new lines, and ask for the proofs of those that have waited longest."""
        if self._next < 0:
            self._next = await self.database.read(next_line)
        while True:
            found, after = await self.database.read(promised, self._next)
            if after == self._next:
                break
            if found:
                await asyncio.wrap_future(
                    self.writer.submit(
                        lambda connection, found=found: keep_promises(connection, found),  # type: ignore[misc]
                        priority=Priority.BACKGROUND,
                    )
                )
            self._next = after
        await asyncio.gather(*[self._ask(each) for each in await self.database.read(waiting, AT_ONCE)])

    async def _ask(self, promise: Promise) -> None:
        proved, fault = b"", ""
        request = GetInclusionRequest(exchange_id=promise.exchange_id).SerializeToString()
        try:
            data = await self.channels.call(self.standing.trust, promise.peer, GET_INCLUSION, request, CALL_S)
            response = GetInclusionResponse.FromString(data)
            if response.leaf:
                verify_receipt(self.standing.trust.directory, promise, response)
                proved = data
        except grpc.aio.AioRpcError as error:
            log.info("no_receipt", peer=promise.peer, status=error.code().name)
        except DecodeError:
            fault = "it is no message of the contract"
        except LedgerError as error:
            fault = str(error)
        except EnlaceError as error:  # no member any more: nobody to ask
            log.info("no_receipt", peer=promise.peer, reason=str(error))
        now_us = self.clock()
        if fault:
            log.error("false_receipt", peer=promise.peer, reason=fault)
        await asyncio.wrap_future(
            self.writer.submit(
                lambda connection: settle(connection, promise, proved, now_us, fault), priority=Priority.BACKGROUND
            )
        )


def _included(connection: Connection, exchange_id: bytes, peer: str, quorum: int) -> GetInclusionResponse:
    kinds = (LeafKind.LEAF_KIND_ANSWERED,)
    lines = list_lines(connection, exchange_id=exchange_id, kinds=kinds, peer=peer)
    line = next((each for each in lines if each.shared.direction == Direction.DIRECTION_SENT), None)
    if line is None:
        raise NotFoundError("there is no answer of this exchange")
    for each in own_checkpoints(connection, line.index + 1):
        if len(each.lines) >= quorum:
            text = note_checkpoint(each.note)
            leaf = connection.execute(
                ledger_lines.select().with_only_columns(ledger_lines.c.leaf).where(ledger_lines.c.idx == line.index)
            ).scalar_one()
            proof = prove_inclusion(
                connection, index=line.index, leaf_hash=line.leaf_hash, size=text.size, root=text.root
            )
            note = each.note + b"".join(line for _, line, _ in each.lines)
            return GetInclusionResponse(index=line.index, leaf=leaf, proof=proof, checkpoint=note)
    return GetInclusionResponse()
