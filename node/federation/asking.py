"""Asking: one question to many peers at once, under one deadline.

Own rules, then a durable line, then the signed question, and of what comes back only what verifies. A peer that is
down, slow, wrong or refusing shows as such; the rest is still there. A question is itself information: it is logged and
judged by this country's outbound rules before it leaves.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import grpc
import structlog
from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from node.errors import (
    DeniedError,
    EnlaceError,
    FencedError,
    LedgerError,
    MalformedError,
    UnansweredError,
)
from node.federation import metrics
from node.federation.channels import QUERY, Channels
from node.federation.envelope import Opened, Sealed, new_salt, open_envelope, seal
from node.federation.lines import ANSWER_BODY, QUERY_BODY, line_of, private_of, shared_of_event, shared_of_received
from node.federation.request_steps import put_pending
from node.federation.standing import Standing
from node.federation.watching import Watching
from node.policy.outbound import decide_outbound, verify_query
from node.policy.quotas import WHATS, error_of, scope_word, words_of
from node.store import life
from node.store.received import ReceivedEntries
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.codes_pb2 import Urgency
from node.wire.desk_pb2 import PeerOutcome, SearchResponse
from node.wire.envelope_pb2 import StatementType
from node.wire.exchange_pb2 import Answer, Body, Query, QueryRequest, QueryResponse
from node.wire.ledger_pb2 import Decisions, Direction, LeafKind, LeafPrivate
from node.wire.quota_pb2 import QUOTA_SCOPE_OFFICER, QUOTA_SCOPE_UNIT

log = structlog.get_logger()


OUTCOMES = {
    grpc.StatusCode.UNAVAILABLE: PeerOutcome.PEER_OUTCOME_UNREACHABLE,
    grpc.StatusCode.CANCELLED: PeerOutcome.PEER_OUTCOME_UNREACHABLE,  # a server that is about to stop
    grpc.StatusCode.DEADLINE_EXCEEDED: PeerOutcome.PEER_OUTCOME_LATE,
}


class NoAnswerError(UnansweredError):
    """The call to the peer ended without an answer; `outcome` says how that shows."""

    def __init__(self, outcome: PeerOutcome.ValueType, code: grpc.StatusCode) -> None:
        """Take how it shows, and the status of the call; a peer's own words are never passed on."""
        super().__init__(f"the call ended with {code.name}")
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Question:
    """One question to one peer, sealed and ready to be logged."""

    peer: str
    sealed: Sealed
    exchange_id: bytes
    private: LeafPrivate  # of its line
    asked_us: int
    duty_telephone: str  # as it was when asking: the peer may leave the directory meanwhile


@dataclass(slots=True)
class Asking:
    """Asks peers and logs how each exchange ended, also when nobody waits for the answers any more."""

    standing: Standing
    channels: Channels
    writer: Writer
    clock: Callable[[], int]
    window_us: int
    received: ReceivedEntries
    vault: Vault
    watching: Watching
    noted: Callable[[Query, Mapping[str, bytes]], Awaitable[None]] | None = None  # told of each query that left
    _under_way: set[asyncio.Task[SearchResponse]] = field(default_factory=set)
    _noting: set[asyncio.Task[None]] = field(default_factory=set)

    async def ask(self, query: Query, peers: Sequence[str], deadline_s: float) -> AsyncIterator[SearchResponse]:
        """Ask the peers and yield a response for each, in the order in which they come.

        Raises:
            MalformedError: the query is not one that may be asked; a line says so.
            QuotaError: the officer or the unit has asked too much; likewise.
        """
        started = time.perf_counter()
        try:
            verify_query(query)
            self._count(query)
        except EnlaceError as error:
            await self._deny(query, "", error)
            raise
        questions: list[Question] = []
        for peer in peers:
            now_us = self.clock()  # of the decision, and of the question
            refused = await self._refused(query, peer, now_us)
            if refused is not None:
                yield refused
            else:
                questions.append(self._question(query, peer, now_us))
        # No log, no disclosure: all lines are durable before the first question leaves.
        await self._log_asked(query, questions)
        if questions:
            self.watching.note(questions[0].exchange_id, "", query, Decisions(), questions[0].asked_us)
        tasks = [asyncio.create_task(self._one(query, question, deadline_s, started)) for question in questions]
        for task in tasks:
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        self._note(query, {each.peer: each.exchange_id for each in questions})
        for done in asyncio.as_completed(tasks):
            yield await done

    async def drained(self) -> None:
        """Wait until every exchange under way has ended and is logged."""
        await asyncio.gather(*self._under_way, *self._noting)

    def _note(self, query: Query, exchanges: Mapping[str, bytes]) -> None:
        """Have it looked at who else works on this; nobody waits for it."""
        if self.noted is not None and exchanges:
            task = asyncio.ensure_future(self._noted_safely(self.noted(query, exchanges)))
            self._noting.add(task)
            task.add_done_callback(self._noting.discard)

    async def _noted_safely(self, noting: Awaitable[None]) -> None:
        try:
            await noting
        except EnlaceError:
            log.exception("question_not_noted")

    def _count(self, query: Query) -> None:
        """Count a question, to however many peers, for the officer and the unit."""
        asker, now_us = query.asker, self.clock()
        for scope, who in ((QUOTA_SCOPE_OFFICER, asker.officer), (QUOTA_SCOPE_UNIT, asker.unit)):
            told = self.watching.spend(scope, who, query, now_us)
            if told is not None:
                raise error_of(told, f"{scope_word(scope)} {who}: ")

    def is_allowed(self, query: Query, peer: str) -> bool:
        """Tell whether this country's own rules let the query go to a peer now; nothing is asked or logged."""
        try:
            self._verify_allowed(query, peer, self.clock())
        except EnlaceError:
            return False
        return True

    def _verify_allowed(self, query: Query, peer: str, now_us: int) -> None:
        self.standing.verify_not_fenced()
        self.standing.trust.directory.verify_in_force(now_us)
        self.standing.trust.verify_paired(peer)
        decide_outbound(
            self.standing.rulebook("outbound", now_us),
            query,
            recipient=peer,
            instruments=[each.kind for each in self.standing.instruments_with(peer, now_us)],
            paired=True,
            now_us=now_us,
        )

    async def _refused(self, query: Query, peer: str, now_us: int) -> SearchResponse | None:
        try:
            self._verify_allowed(query, peer, now_us)
        except EnlaceError as error:
            await self._deny(query, peer, error)
            return SearchResponse(
                peer=peer, outcome=PeerOutcome.PEER_OUTCOME_NOT_ASKED, detail=_sentence(error), answer=Answer()
            )
        return None

    async def _deny(self, query: Query, peer: str, error: EnlaceError) -> None:
        now_us = self.clock()
        private = private_of(query)
        private.reason = type(error).__name__
        exchange_id = secrets.token_bytes(16)
        shared = shared_of_event(
            LeafKind.LEAF_KIND_DENIED, self.standing.signer, now_us, exchange_id=exchange_id, peer=peer
        )
        await self.writer.append(line_of(shared, private, exchange_id=exchange_id, now_us=now_us))

    def _question(self, query: Query, peer: str, now_us: int) -> Question:
        exchange_id, book = secrets.token_bytes(16), self.standing.rulebook("outbound", now_us)
        sealed = seal(
            self.standing.signer,
            statement_type=StatementType.STATEMENT_TYPE_QUERY,
            exchange_id=exchange_id,
            recipient=peer,
            body=Body(salt=new_salt(), query=query),
            now_us=now_us,
            directory_version=self.standing.trust.directory.version,
        )
        telephone = self.standing.trust.directory.member(peer).duty_telephone
        private = private_of(query)
        private.outbound_sha256 = book.sha256 if book else b""
        return Question(peer, sealed, exchange_id, private, asked_us=now_us, duty_telephone=telephone)

    async def _log_asked(self, query: Query, questions: Sequence[Question]) -> None:
        """Log all questions in one transaction, and what a LIFE query waits for."""
        lines = [
            line_of(
                each.sealed.shared,
                each.private,
                exchange_id=each.exchange_id,
                now_us=self.clock(),
                sent=each.sealed,
                bodies=((QUERY_BODY, each.sealed.body),),
            )
            for each in questions
        ]

        def expect(connection: Connection) -> None:
            for each in questions if query.urgency == Urgency.URGENCY_LIFE else ():
                life.expect(
                    connection,
                    exchange_id=each.exchange_id,
                    peer=each.peer,
                    direction=Direction.DIRECTION_SENT,
                    due_us=each.asked_us + life.WITHIN_US,
                )

        if lines:
            await asyncio.wrap_future(self.writer.submit(expect, lines, Priority.DESK))

    async def _one(self, query: Query, question: Question, deadline_s: float, started: float) -> SearchResponse:
        response = SearchResponse(peer=question.peer, exchange_id=question.exchange_id)
        try:
            opened = await self._answer(question, deadline_s - (time.perf_counter() - started))
            # Only what is durably logged is shown.
            response.ledger_index = await self._log_answered(query, question, opened)
        except LedgerError as error:
            response.outcome, response.detail = PeerOutcome.PEER_OUTCOME_NOT_LOGGED, error.public
            log.exception("answer_not_logged", peer=question.peer, reason=str(error))
        except EnlaceError as error:
            response.outcome = error.outcome if isinstance(error, NoAnswerError) else PeerOutcome.PEER_OUTCOME_INVALID
            response.detail = _sentence(error)
            log.warning("peer_did_not_answer", peer=question.peer, reason=str(error))
            response.ledger_index = await self._log_unanswered(query, question, response.outcome)
        else:
            response.answer.CopyFrom(opened.body.answer)
            response.outcome = PeerOutcome.PEER_OUTCOME_ANSWERED
            if response.answer.refused:
                response.outcome, response.detail = PeerOutcome.PEER_OUTCOME_REFUSED, _refusal(response.answer)
        if query.urgency == Urgency.URGENCY_LIFE:
            response.duty_telephone = question.duty_telephone
            response.acknowledge_by_us = question.asked_us + life.WITHIN_US
        metrics.ASKED.labels(question.peer, PeerOutcome.Name(response.outcome)).inc()
        response.elapsed_us = int((time.perf_counter() - started) * 1_000_000)
        return response

    async def _answer(self, question: Question, timeout_s: float) -> Opened:
        request = QueryRequest(envelope=question.sealed.envelope).SerializeToString()
        try:
            data = await self.channels.call(self.standing.trust, question.peer, QUERY, request, timeout_s)
        except grpc.aio.AioRpcError as error:
            raise NoAnswerError(OUTCOMES.get(error.code(), PeerOutcome.PEER_OUTCOME_REFUSED), error.code()) from None
        try:
            envelope = QueryResponse.FromString(data).envelope
        except DecodeError:
            raise MalformedError("the answer is not a message of the contract") from None
        opened = open_envelope(
            envelope,
            expected=StatementType.STATEMENT_TYPE_ANSWER,
            sender=question.peer,
            recipient=self.standing.country,
            public_key=self.standing.trust.directory.signing_key,
            now_us=self.clock(),
            window_us=self.window_us,
            answers=question.sealed,
        )
        if opened.statement.exchange_id != question.exchange_id or not opened.body.HasField("answer"):
            raise MalformedError("the answer is to another query")
        return opened

    async def _log_answered(self, query: Query, question: Question, opened: Opened) -> int:
        answer = opened.body.answer
        private = private_of(query)
        private.released = sum(hit.HasField("entry") for hit in answer.hits)
        private.hits = sum(hit.HasField("hit") for hit in answer.hits)
        private.held = sum(hit.HasField("pending") for hit in answer.hits)
        # Handed in first, so that no answer is ever kept of which it is not known until when.
        noted = self._noted(question, opened) if private.released else None
        logged = self.writer.append(
            line_of(
                shared_of_received(LeafKind.LEAF_KIND_ANSWERED, opened, self.standing.signer),
                private,
                exchange_id=question.exchange_id,
                now_us=self.clock(),
                bodies=((ANSWER_BODY, opened.body_bytes),),
            ),
            Priority.DESK,  # an officer waits
        )
        if noted is not None:
            await noted
        index = await logged
        if private.held:
            # What a crash loses of it is read from the line again when the peer answers.
            noting = partial(put_pending, vault=self.vault, peer=question.peer, exchange_id=question.exchange_id)
            await asyncio.wrap_future(self.writer.submit(noting, (), Priority.DESK))
        return index

    def _noted(self, question: Question, opened: Opened) -> "asyncio.Future[None]":
        note = partial(
            self.received.note_answer,
            entries=[hit.entry for hit in opened.body.answer.hits if hit.HasField("entry")],
            peer=question.peer,
            exchange_id=question.exchange_id,
            disclosed_us=opened.statement.time_us,
        )
        return asyncio.wrap_future(self.writer.submit(note, (), Priority.DESK))

    async def _log_unanswered(self, query: Query, question: Question, outcome: PeerOutcome.ValueType) -> int:
        now_us = self.clock()
        private = private_of(query)
        private.reason = PeerOutcome.Name(outcome)
        shared = shared_of_event(
            LeafKind.LEAF_KIND_UNANSWERED,
            self.standing.signer,
            now_us,
            exchange_id=question.exchange_id,
            peer=question.peer,
            body=question.sealed.body,
        )
        return await self.writer.append(line_of(shared, private, exchange_id=question.exchange_id, now_us=now_us))


def _refusal(answer: Answer) -> str:
    """Say why a peer refuses, in this node's own words."""
    told = answer.quota
    if not answer.HasField("quota") or told.what not in WHATS:
        return "the peer refuses this request"
    return f"the peer refuses this request: {words_of(told)}"


def _sentence(error: EnlaceError) -> str:
    return str(error) if isinstance(error, DeniedError | NoAnswerError | FencedError) else error.public
