"""Reconciling with a peer: telling it what was logged of the exchanges with it, and asking it the same.

Both are exchanges like any other, signed and logged on both sides; the lines of reconciling itself are not compared.
A peer is told nothing that it did not have: see `node.ledger.reconcile`.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from sqlalchemy import Connection

from node.errors import (
    EnvelopeError,
    IdentityError,
    MalformedError,
    MisdirectedError,
    OverloadedError,
    UnansweredError,
    UsageError,
)
from node.federation.channels import RECONCILE, Channels
from node.federation.envelope import Opened, Sealed, new_salt, open_envelope, seal
from node.federation.lines import line_of, shared_of_event, shared_of_received
from node.federation.standing import Standing
from node.identity.certificates import Peer
from node.ledger.reconcile import PAGE, Key, Logged, key_of, verify_page, verify_query
from node.store.commitments import is_anybody_elses, logged_with
from node.store.database import Database
from node.store.lines import replay_key
from node.store.mail_commitments import mail_logged_with
from node.store.writer import Priority, Writer
from node.wire.envelope_pb2 import (
    STATEMENT_TYPE_RECONCILE_ANSWER,
    STATEMENT_TYPE_RECONCILE_QUERY,
    Envelope,
    StatementType,
)
from node.wire.exchange_pb2 import Body
from node.wire.ledger_pb2 import LeafKind, LeafPrivate
from node.wire.reconcile_pb2 import (
    Commitment,
    ReconcileAnswer,
    ReconcileQuery,
    ReconcileRequest,
    ReconcileResponse,
)

MOST: Final = 100_000
"""Exchanges of one reconciliation, on either side."""

CALL_S: Final = 30.0

# Answers leave this long after their questions came, or twice, and so on: how long it took to look through the ledger
# tells how much this country exchanges with others. It also bounds how often a peer can make this node look.
_STEP_S: Final = 0.25

log = structlog.get_logger()

M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class Reconciling:
    """Answers peers that reconcile, and asks them."""

    standing: Standing
    channels: Channels
    database: Database
    writer: Writer
    clock: Callable[[], int]
    window_us: int
    _answering: set[str] = field(default_factory=set)  # peers: one call at a time for each

    # --- as a server ---

    async def answer(self, data: bytes, peer: Peer) -> bytes:
        """Answer a serialised ReconcileRequest of an identified peer with a serialised ReconcileResponse.

        Raises:
            EnvelopeError, IdentityError, LedgerError, StoreError, OverloadedError: nothing leaves.
        """
        opened = self._opened_query(data, peer)
        self.standing.trust.verify_paired(peer.country)
        verify_query(opened.body.reconcile_query, self.clock() + self.window_us)
        if peer.country in self._answering:
            raise OverloadedError(f"{peer.country} reconciles already")
        self._answering.add(peer.country)
        began = asyncio.get_running_loop().time()
        try:
            answer = await self._answered(opened)
            passed = asyncio.get_running_loop().time() - began
            await asyncio.sleep(_STEP_S - passed % _STEP_S)
        finally:
            self._answering.discard(peer.country)
        return answer

    async def _answered(self, opened: Opened) -> bytes:
        query, peer = opened.body.reconcile_query, opened.statement.sender
        logged = await self.database.read(
            _all_logged,
            peer,
            since_us=query.since_us,
            until_us=query.until_us,
            after=(query.after_us, query.after_exchange_id),
            limit=PAGE + 1,
        )
        answer = ReconcileAnswer(commitments=[each.commitment for each in logged[:PAGE]], more=len(logged) > PAGE)
        sealed = self._sealed(
            STATEMENT_TYPE_RECONCILE_ANSWER,
            Body(reconcile_answer=answer),
            exchange_id=opened.statement.exchange_id,
            peer=peer,
            answered=opened,
        )
        line = line_of(
            sealed.shared,
            LeafPrivate(reason=f"{len(answer.commitments)} COMMITMENTS"),
            exchange_id=opened.statement.exchange_id,
            now_us=self.clock(),
            sent=sealed,
            replay_key=replay_key(opened.statement),
        )
        await self.writer.append(line)
        return ReconcileResponse(envelope=sealed.envelope).SerializeToString()

    def _opened_query(self, data: bytes, peer: Peer) -> Opened:
        envelope = _parsed(ReconcileRequest(), data).envelope
        opened = self._opened(envelope, peer.country, STATEMENT_TYPE_RECONCILE_QUERY)
        if opened.statement.node != peer.name:
            raise MisdirectedError("the statement is by another node than the one on the connection")
        if not opened.body.HasField("reconcile_query"):
            raise MalformedError("the body asks for nothing to be reconciled")
        return opened

    # --- as this node ---

    async def logged_here(self, peer: str, *, since_us: int, until_us: int) -> list[Logged]:
        """Return what this ledger says of the exchanges with the peer that began in the period.

        Raises:
            UsageError: there are too many for one reconciliation.
            LedgerError: a line is damaged.
        """
        logged = await self.database.read(_all_logged, peer, since_us=since_us, until_us=until_us, limit=MOST + 1)
        if len(logged) > MOST:
            raise UsageError(f"there are more than {MOST} exchanges with {peer} in this time: choose a shorter one")
        return logged

    async def logged_there(self, peer: str, private: LeafPrivate, *, since_us: int, until_us: int) -> list[Commitment]:
        """Ask the peer, page by page, what it has logged; `private` says which officer asks.

        Raises:
            FencedError: lines of this ledger are lost, so nothing leaves.
            UnansweredError: the peer was not reached, or refused.
            EnvelopeError: what it answers is not what the contract allows. A line says so in both cases.
            UsageError: it names too many exchanges for one reconciliation.
        """
        self.standing.verify_not_fenced()
        self.standing.trust.directory.verify_in_force(self.clock())
        self.standing.trust.verify_paired(peer)
        told, more, after = list[Commitment](), True, (0, b"")
        while more:
            query = ReconcileQuery(since_us=since_us, until_us=until_us, after_us=after[0], after_exchange_id=after[1])
            answer = await self._page(peer, query, private)
            told.extend(answer.commitments)
            if len(told) > MOST:
                raise UsageError(f"{peer} names more than {MOST} exchanges in this time: choose a shorter one")
            more, after = answer.more, _last(told)
        return told

    async def _page(self, peer: str, query: ReconcileQuery, private: LeafPrivate) -> ReconcileAnswer:
        exchange_id = secrets.token_bytes(16)
        body = Body(reconcile_query=query)
        sealed = self._sealed(STATEMENT_TYPE_RECONCILE_QUERY, body, exchange_id=exchange_id, peer=peer)
        asked = line_of(sealed.shared, private, exchange_id=exchange_id, now_us=self.clock(), sent=sealed)
        await self.writer.append(asked, Priority.DESK)
        try:
            opened = await self._asked(peer, query, sealed, exchange_id)
        except (UnansweredError, EnvelopeError, IdentityError) as error:
            log.warning("peer_did_not_reconcile", peer=peer, reason=str(error))
            await self._log_unanswered(peer, sealed, exchange_id, private, type(error).__name__)
            raise
        shared = shared_of_received(LeafKind.LEAF_KIND_RECONCILE_ANSWERED, opened, self.standing.signer)
        line = line_of(shared, private, exchange_id=exchange_id, now_us=self.clock())
        await self.writer.append(line, Priority.DESK)
        return opened.body.reconcile_answer

    async def _asked(self, peer: str, query: ReconcileQuery, sealed: Sealed, exchange_id: bytes) -> Opened:
        request = ReconcileRequest(envelope=sealed.envelope).SerializeToString()
        try:
            data = await self.channels.call(self.standing.trust, peer, RECONCILE, request, CALL_S)
        except grpc.aio.AioRpcError as error:
            raise UnansweredError(f"{peer} did not answer: the call ended with {error.code().name}") from None
        envelope = _parsed(ReconcileResponse(), data).envelope
        opened = self._opened(envelope, peer, STATEMENT_TYPE_RECONCILE_ANSWER, answers=sealed)
        if opened.statement.exchange_id != exchange_id or not opened.body.HasField("reconcile_answer"):
            raise MalformedError("the answer is to another question")
        answer = opened.body.reconcile_answer
        verify_page(query, answer.commitments, more=answer.more)
        ids = {each.exchange_id for each in answer.commitments}
        if await self.database.read(is_anybody_elses, peer, ids):
            raise MisdirectedError(f"{peer} names an exchange that was not with it")
        return opened

    async def _log_unanswered(
        self, peer: str, sealed: Sealed, exchange_id: bytes, private: LeafPrivate, reason: str
    ) -> None:
        now_us, told = self.clock(), LeafPrivate()
        told.CopyFrom(private)
        told.reason = reason
        shared = shared_of_event(
            LeafKind.LEAF_KIND_UNANSWERED,
            self.standing.signer,
            now_us,
            exchange_id=exchange_id,
            peer=peer,
            body=sealed.body,
        )
        await self.writer.append(line_of(shared, told, exchange_id=exchange_id, now_us=now_us), Priority.DESK)

    def _sealed(
        self,
        statement_type: StatementType.ValueType,
        body: Body,
        *,
        exchange_id: bytes,
        peer: str,
        answered: Opened | None = None,
    ) -> Sealed:
        body.salt = new_salt()
        return seal(
            self.standing.signer,
            statement_type=statement_type,
            exchange_id=exchange_id,
            recipient=peer,
            body=body,
            now_us=self.clock(),
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


def _all_logged(
    connection: Connection, peer: str, *, since_us: int, until_us: int, after: Key = (0, b""), limit: int
) -> list[Logged]:
    """Return what is logged of questions and of mail, in one order; see both."""
    found = [
        *logged_with(connection, peer, since_us=since_us, until_us=until_us, after=after, limit=limit),
        *mail_logged_with(connection, peer, since_us=since_us, until_us=until_us, after=after, limit=limit),
    ]
    return sorted(found, key=lambda each: each.key)[:limit]


def _parsed(message: M, data: bytes) -> M:
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise MalformedError("the bytes are not a message of the contract") from None
    return message


def _last(commitments: Sequence[Commitment]) -> Key:
    return key_of(commitments[-1]) if commitments else (0, b"")
