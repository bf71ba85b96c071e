"""Answering a peer's query: verify, find, decide, redact, log, and only then answer.

What the rules make invisible is indistinguishable from no-hit: the same content, padded to the same size, leaving at
the same tick. Silence is denial: an error on the way is a refusal with a line, never half an answer.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TypeAlias

import msgspec
import structlog
from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from node.errors import MalformedError, MisdirectedError
from node.federation import metrics
from node.federation.envelope import Opened, Sealed, new_salt, open_envelope, seal
from node.federation.finding import Finding
from node.federation.holding import Holding
from node.federation.lines import ANSWER_BODY, QUERY_BODY, line_of, private_of
from node.federation.standing import Standing
from node.federation.ticks import Ticks
from node.federation.watching import Watching
from node.identity.certificates import Peer
from node.policy.decide import ENTRY, HELD_SILENTLY, HIT, INVISIBLE, PENDING, Decision
from node.policy.derive import derive_facts, derive_request
from node.policy.facts import encode_facts
from node.policy.outbound import verify_query
from node.policy.quotas import error_of, what_of
from node.policy.redact import hit_only, redact
from node.policy.vocabulary import NEVER_LAWFUL, PURPOSES
from node.store import life
from node.store.lines import Line, replay_key
from node.store.requests import due_us
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.codes_pb2 import (
    UNIT_TYPE_IMMIGRATION,
    URGENCY_LIFE,
    DataCategory,
    Outcome,
)
from node.wire.entry_pb2 import Entry
from node.wire.envelope_pb2 import STATEMENT_TYPE_ANSWER, STATEMENT_TYPE_QUERY, Statement
from node.wire.exchange_pb2 import Answer, Body, Hit, Query, QueryRequest, QueryResponse
from node.wire.ledger_pb2 import ENTRY_OUTCOME_NEXT_PAGE, Decisions, Direction, EntryDecision
from node.wire.quota_pb2 import QUOTA_SCOPE_PEER, QuotaReached

log = structlog.get_logger()

Pseudonym: TypeAlias = Callable[[DataCategory.ValueType, str], str]

PAGE_ENTRIES = 10
# What a selector finds beyond these is not told, and beyond those not looked at: it is no lead. The first bound is on
# what the recipient sees, since one that hidden entries used up would tell of them.
VISIBLE_ENTRIES = 64
CONSIDERED_ENTRIES = 1_024
VISIBLE = frozenset({ENTRY, HIT, PENDING})


@dataclass(frozen=True, slots=True)
class Judged:
    """An entry that matched, what was decided on it, and the facts it was decided on."""

    entry: Entry
    decision: Decision
    facts: bytes
    handle: bytes  # what this recipient knows the entry by

    @property
    def is_visible(self) -> bool:
        """Whether the recipient sees anything of it."""
        return self.decision.outcome in VISIBLE


@dataclass(slots=True)
class Answering:
    """Answers queries of peers."""

    standing: Standing
    finding: Finding
    vault: Vault
    writer: Writer
    holding: Holding
    clock: Callable[[], int]
    window_us: int
    watching: Watching
    ticks: Ticks = field(init=False)

    def __post_init__(self) -> None:
        """Start with nobody waiting."""
        self.ticks = Ticks(self.writer)

    async def answer(self, data: bytes, peer: Peer) -> bytes:
        """Answer a serialised QueryRequest of an identified peer with a serialised QueryResponse.

        Raises:
            EnvelopeError, IdentityError, LedgerError, StoreError: nothing leaves.
        """
        arrived = asyncio.get_running_loop().time()
        await self.ticks.begin(arrived)
        # What has begun together gives way between its steps, so that each is done for all of them in a row.
        now_us = self.clock()
        opened = self._opened(data, peer, now_us)
        self.standing.trust.verify_paired(peer.country)
        query = opened.body.query
        verify_query(query)
        told = self._counted(query, peer.country, now_us)
        refusal = "QUOTA" if told else self._refusal(query, peer.country, now_us)
        await asyncio.sleep(0)
        found = () if refusal else await self._found(query, peer.country, now_us)
        await asyncio.sleep(0)
        judged = self._judged(found, query, peer.country, now_us)
        await asyncio.sleep(0)
        page = _page(judged, query.page)
        body = Body(salt=new_salt())
        self._write_answer(
            body.answer, peer.country, query, page=page, judged=judged, now_us=now_us, refused=bool(refusal)
        )
        if told is not None:
            body.answer.quota.CopyFrom(told)
        await asyncio.sleep(0)
        sealed = seal(
            self.standing.signer,
            statement_type=STATEMENT_TYPE_ANSWER,
            exchange_id=opened.statement.exchange_id,
            recipient=peer.country,
            body=body,
            now_us=now_us,
            directory_version=self.standing.trust.directory.version,
            answered=opened,
        )
        await asyncio.sleep(0)
        response = QueryResponse(envelope=sealed.envelope).SerializeToString()
        left = self._log(opened, sealed, judged, page, refusal, decided_us=now_us, arrived=arrived)
        metrics.ANSWER_SECONDS.observe(asyncio.get_running_loop().time() - arrived)
        await left
        metrics.ANSWERS.labels(peer.country).inc()
        return response

    def _opened(self, data: bytes, peer: Peer, now_us: int) -> Opened:
        try:
            envelope = QueryRequest.FromString(data).envelope
        except DecodeError:
            raise MalformedError("the request is not a message of the contract") from None
        opened = open_envelope(
            envelope,
            expected=STATEMENT_TYPE_QUERY,
            sender=peer.country,
            recipient=self.standing.country,
            public_key=self.standing.trust.directory.signing_key,
            now_us=now_us,
            window_us=self.window_us,
        )
        if opened.statement.node != peer.name:
            raise MisdirectedError("the statement is by another node than the one on the connection")
        if not opened.body.HasField("query"):
            raise MalformedError("the body holds no query")
        return opened

    def _counted(self, query: Query, peer: str, now_us: int) -> QuotaReached | None:
        """Count a query against the peer's quota, or return which is used up: it depends on what the peer asks alone.

        Raises:
            QuotaError: so much was refused already that not even the refusals are to fill the disk.
        """
        key = (QUOTA_SCOPE_PEER, peer, what_of(query.purpose, query.urgency))
        told = self.watching.quotas.spend(key, now_us)
        if told is not None and self.watching.quotas.is_flooded(key):
            raise error_of(told)
        return told

    def _refusal(self, query: Query, peer: str, now_us: int) -> str:
        """Return why the query is refused as a whole, for the private part; empty when it is not.

        Only what follows from the query itself may refuse it: a refusal that depended on the records would tell.
        """
        if PURPOSES.get(query.purpose) in NEVER_LAWFUL or query.asker.unit_type == UNIT_TYPE_IMMIGRATION:
            return "PURPOSE"
        if query.instrument not in {each.id for each in self.standing.instruments_with(peer, now_us)}:
            return "NO_INSTRUMENT"
        return ""

    async def _found(self, query: Query, peer: str, now_us: int) -> list[Entry]:
        return await self.finding.find(query.selectors, peer, now_us=now_us, limit=CONSIDERED_ENTRIES)

    def _judged(self, found: Sequence[Entry], query: Query, peer: str, now_us: int) -> list[Judged]:
        if not found:
            return []
        policy = self.standing.policy_for(peer, now_us)
        kinds = [each.kind for each in self.standing.instruments_with(peer, now_us) if each.id == query.instrument]
        request = derive_request(
            recipient=peer,
            query=query,
            instruments=kinds,
            paired=True,
            reciprocity=self.standing.reciprocity_of(peer),
            emergency=self.standing.is_emergency(peer, now_us),
        )
        judged, decoys = [], self.watching.decoys
        for entry in found:
            facts = derive_facts(request, entry, now_us)
            decision = policy.decide(facts, now_us)
            if entry.entry_id in decoys:  # it matches like any other, is decided on like any other, and never leaves
                decision = msgspec.structs.replace(decision, outcome=INVISIBLE)
            if decision.red_lines_crossed:
                # The rules would have crossed it, and the line held: somebody has to look at the rules.
                metrics.RED_LINES.inc()
                log.error("red_line_held", peer=peer, red_lines=decision.red_lines_crossed)
            judged.append(Judged(entry, decision, encode_facts(facts), self.vault.handle_for(peer, entry.entry_id)))
        judged.sort(key=lambda each: each.handle)  # random to the recipient
        return judged

    def _write_answer(
        self,
        answer: Answer,
        peer: str,
        query: Query,
        *,
        page: Sequence[Judged],
        judged: Sequence[Judged],
        now_us: int,
        refused: bool,
    ) -> None:
        visible = min(VISIBLE_ENTRIES, sum([each.is_visible for each in judged]))
        answer.SetInParent()  # also where nothing is told
        answer.refused, answer.truncated = refused, visible > (query.page + 1) * PAGE_ENTRIES
        if query.urgency == URGENCY_LIFE:
            answer.acknowledge_by_us = now_us + life.WITHIN_US
        handles = {each.entry.entry_id: each.handle for each in page if each.decision.outcome == ENTRY}
        pseudonym = partial(self.vault.pseudonym, peer)
        for each in page:
            hit = answer.hits.add()
            if each.decision.outcome == PENDING:
                # The handle is the ticket: it is random to the recipient, and the same where the same is asked again.
                hit.pending.ticket, hit.pending.due_us = each.handle, due_us(query.urgency, now_us)
            else:
                _write_hit(hit, each, query, pseudonym, handles)

    def _log(
        self,
        opened: Opened,
        sealed: Sealed,
        judged: Sequence[Judged],
        page: Sequence[Judged],
        refusal: str,
        *,
        decided_us: int,
        arrived: float,
    ) -> Awaitable[object]:
        """Hand the answer's line over to be logged; returns what is done when the answer may leave."""
        statement, query, now_us = opened.statement, opened.body.query, self.clock()
        private = private_of(query)
        private.reason = refusal
        policy = self.standing.policy_for(statement.sender, decided_us)
        private.floor_sha256 = policy.floor.sha256 if policy.floor else b""
        private.release_sha256 = policy.release.sha256 if policy.release else b""
        decisions, outcomes = _decisions(judged, page)
        private.released, private.hits = outcomes[ENTRY], outcomes[HIT]
        private.held = outcomes[PENDING] + outcomes[HELD_SILENTLY]
        private.invisible = outcomes[INVISIBLE]
        line = line_of(
            sealed.shared,
            private,
            exchange_id=statement.exchange_id,
            now_us=now_us,
            decisions=decisions,
            replay_key=replay_key(statement),
            sent=sealed,
            bodies=((QUERY_BODY, opened.body_bytes), (ANSWER_BODY, sealed.body)),
        )
        # An answer waits for its line alone: if it waited for its holds too, a peer would see by the clock that
        # something is held. What a crash loses of them is made again from the lines' decisions.
        hold = partial(
            self.holding.hold,
            statement.exchange_id,
            peer=statement.sender,
            query=query,
            decisions=decisions,
            at_us=decided_us,  # as the peer is told
        )
        if query.urgency == URGENCY_LIFE:
            return self._log_life(line, statement, hold, arrived)
        return self.ticks.leave(line, arrived, hold)

    async def _log_life(self, line: Line, statement: Statement, hold: Callable[[], object], arrived: float) -> None:
        """Log the answer to a LIFE query with what it makes people do, and wait for its tick."""
        expected = self.writer.submit(_expecting(statement, self.clock()), [line], Priority.ANSWER)
        await asyncio.wrap_future(expected)
        hold()
        await self.ticks.wait(arrived)


def _expecting(statement: Statement, now_us: int) -> Callable[[Connection], None]:
    """Return the change that notes that a human is to read this LIFE query; that it is one, the asker knows."""

    def change(connection: Connection) -> None:
        life.expect(
            connection,
            exchange_id=statement.exchange_id,
            peer=statement.sender,
            direction=Direction.DIRECTION_RECEIVED,
            due_us=now_us + life.WITHIN_US,
        )

    return change


def _write_hit(
    hit: Hit,
    judged: Judged,
    query: Query,
    pseudonym: Callable[[DataCategory.ValueType, str], str],
    handles: Mapping[bytes, bytes],
) -> None:
    """Write what leaves of an entry into a hit of the answer; `handles` are of the entries that leave with it."""
    if judged.decision.outcome != ENTRY:
        hit_only(judged.decision, into=hit.hit, handle=judged.handle)
        return
    released = hit.entry
    redact(
        judged.entry,
        judged.decision,
        into=released,
        purpose=query.purpose,
        handle=judged.handle,
        pseudonym=pseudonym,
    )
    for link in judged.entry.links:
        to_handle = handles.get(link.to_entry_id)
        if to_handle is not None:
            released.links.add(kind=link.kind, to_handle=to_handle)


def _page(judged: Sequence[Judged], page: int) -> Sequence[Judged]:
    visible = [each for each in judged if each.is_visible][:VISIBLE_ENTRIES]
    return visible[page * PAGE_ENTRIES : (page + 1) * PAGE_ENTRIES]


def _decisions(judged: Sequence[Judged], page: Sequence[Judged]) -> tuple[Decisions, Counter[int]]:
    """Return what the ledger keeps of every entry that matched, also of those that stayed invisible."""
    decisions, outcomes = Decisions(), Counter[int]()
    on_page = {each.handle for each in page}
    for each in judged:
        outcome = each.decision.outcome
        if each.is_visible and each.handle not in on_page:
            outcome = ENTRY_OUTCOME_NEXT_PAGE
        outcomes[outcome] += 1
        made = decisions.entries.add()
        made.CopyFrom(decided(each.decision))
        made.entry_id, made.revision, made.outcome = each.entry.entry_id, each.entry.revision, outcome
        made.facts, made.handle = each.facts, each.handle
    return decisions, outcomes


@lru_cache(maxsize=4_096)
def decided(decision: Decision) -> EntryDecision:
    """Return what the ledger keeps of a decision."""
    return EntryDecision(
        rules=decision.fired,
        released=decision.bits(Outcome.OUTCOME_RELEASE),
        generalised=decision.bits(Outcome.OUTCOME_GENERALISE),
        pseudonymised=decision.bits(Outcome.OUTCOME_PSEUDONYMISE),
        masked=decision.bits(Outcome.OUTCOME_MASK),
        withheld=decision.bits(Outcome.OUTCOME_WITHHOLD),
    )
