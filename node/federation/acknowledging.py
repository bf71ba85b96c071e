"""A LIFE query is read by a human within 15 minutes, and the asker knows that it was.

The acknowledgement is an exchange of its own, started by the country that was asked. It says that a person has read the
query and how to reach them; it says nothing of what is held.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from node.errors import MalformedError, MisdirectedError, UnansweredError
from node.federation.channels import ACKNOWLEDGE, Channels
from node.federation.envelope import Opened, Sealed, new_salt, open_envelope, seal
from node.federation.lines import line_of, shared_of_received
from node.federation.standing import Standing
from node.identity.certificates import Peer
from node.store import life
from node.store.lines import Line, replay_key
from node.store.writer import Writer
from node.wire.envelope_pb2 import Envelope, StatementType
from node.wire.exchange_pb2 import Acknowledgement, AcknowledgeRequest, AcknowledgeResponse, Body, Receipt
from node.wire.ledger_pb2 import Direction, LeafKind, LeafPrivate

CALL_S = 5.0
LONGEST_OFFICER = 32  # as in a ledger line
LONGEST_TELEPHONE = 32


@dataclass(slots=True)
class Acknowledging:
    """Sends and receives acknowledgements of LIFE queries."""

    standing: Standing
    channels: Channels
    writer: Writer
    clock: Callable[[], int]
    window_us: int

    async def send(self, peer: str, query_id: bytes, private: LeafPrivate, telephone: str) -> int:
        """Tell the peer that `private.officer` has read its LIFE query, and return when (UTC microseconds).

        Raises:
            NotFoundError: there is no such query from this peer.
            FencedError: lines of the ledger are lost.
            UnansweredError: the peer can't be reached; the line of the attempt stays, and it can be sent again.
        """
        self.standing.verify_not_fenced()
        now_us, exchange_id = self.clock(), secrets.token_bytes(16)
        private.subject = query_id
        acknowledgement = Acknowledgement(exchange_id=query_id, officer=private.officer, telephone=telephone)
        sealed = self._sealed(
            StatementType.STATEMENT_TYPE_ACKNOWLEDGEMENT,
            Body(acknowledgement=acknowledgement),
            exchange_id=exchange_id,
            peer=peer,
            now_us=now_us,
        )
        line = line_of(sealed.shared, private, exchange_id=exchange_id, now_us=now_us, sent=sealed)
        await self._log(line, acknowledgement, peer, Direction.DIRECTION_RECEIVED, now_us)
        request = AcknowledgeRequest(envelope=sealed.envelope).SerializeToString()
        try:
            data = await self.channels.call(self.standing.trust, peer, ACKNOWLEDGE, request, CALL_S)
        except grpc.aio.AioRpcError as error:
            raise UnansweredError(f"{peer} was not reached ({error.code().name}): call its duty telephone") from None
        try:
            envelope = AcknowledgeResponse.FromString(data).envelope
        except DecodeError:
            raise MalformedError("the receipt is not a message of the contract") from None
        receipt = self._opened(envelope, peer, StatementType.STATEMENT_TYPE_RECEIPT, answers=sealed)
        shared = shared_of_received(LeafKind.LEAF_KIND_RECEIVED, receipt, self.standing.signer)
        await self.writer.append(line_of(shared, private, exchange_id=exchange_id, now_us=self.clock()))
        return now_us

    async def receive(self, data: bytes, peer: Peer) -> bytes:
        """Note that the peer's officer has read our LIFE query, and answer a serialised AcknowledgeResponse.

        Raises:
            EnvelopeError, NotPairedError: the message is not accepted.
            NotFoundError: no such query of ours waits for this peer.
        """
        try:
            envelope = AcknowledgeRequest.FromString(data).envelope
        except DecodeError:
            raise MalformedError("the request is not a message of the contract") from None
        now_us = self.clock()
        opened = self._opened(envelope, peer.country, StatementType.STATEMENT_TYPE_ACKNOWLEDGEMENT)
        if opened.statement.node != peer.name:
            raise MisdirectedError("the statement is by another node than the one on the connection")
        self.standing.trust.verify_paired(peer.country)
        acknowledgement = opened.body.acknowledgement
        if len(acknowledgement.officer) > LONGEST_OFFICER or len(acknowledgement.telephone) > LONGEST_TELEPHONE:
            raise MalformedError("the acknowledgement's officer or telephone is too long")
        exchange_id = opened.statement.exchange_id
        sealed = self._sealed(
            StatementType.STATEMENT_TYPE_RECEIPT,
            Body(receipt=Receipt(exchange_id=exchange_id)),
            exchange_id=exchange_id,
            peer=peer.country,
            now_us=now_us,
            answered=opened,
        )
        line = line_of(
            sealed.shared,
            LeafPrivate(subject=acknowledgement.exchange_id),
            exchange_id=exchange_id,
            now_us=now_us,
            sent=sealed,
            replay_key=replay_key(opened.statement),
        )
        await self._log(line, acknowledgement, peer.country, Direction.DIRECTION_SENT, now_us)
        return AcknowledgeResponse(envelope=sealed.envelope).SerializeToString()

    def _sealed(
        self,
        statement_type: StatementType.ValueType,
        body: Body,
        *,
        exchange_id: bytes,
        peer: str,
        now_us: int,
        answered: Opened | None = None,
    ) -> Sealed:
        body.salt = new_salt()
        return seal(
            self.standing.signer,
            statement_type=statement_type,
            exchange_id=exchange_id,
            recipient=peer,
            body=body,
            now_us=now_us,
            directory_version=self.standing.trust.directory.version,
            answered=answered,
        )

    def _opened(
        self, envelope: Envelope, peer: str, expected: StatementType.ValueType, answers: Sealed | None = None
    ) -> Opened:
        return open_envelope(
            envelope,
            expected=expected,
            sender=peer,
            recipient=self.standing.country,
            public_key=self.standing.trust.directory.signing_key,
            now_us=self.clock(),
            window_us=self.window_us,
            answers=answers,
        )

    async def _log(
        self,
        line: Line,
        acknowledgement: Acknowledgement,
        peer: str,
        direction: Direction.ValueType,
        now_us: int,
    ) -> None:
        """Log the message and mark the LIFE query acknowledged in one transaction; `direction` is the query's."""

        def change(connection: Connection) -> None:
            life.acknowledge(
                connection,
                acknowledgement.exchange_id,
                peer,
                direction,
                officer=acknowledgement.officer,
                telephone=acknowledgement.telephone,
                now_us=now_us,
            )

        await asyncio.wrap_future(self.writer.submit(change, [line]))
