"""Answering a peer's query: verify, find, decide, redact, log, and only then answer.

What the rules make invisible is indistinguishable from no-hit: the same content, padded to the same size, leaving at
the same tick. Silence is denial: an error on the way is a refusal with a line, never half an answer.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from node.errors import MalformedError
from node.federation.envelope import Opened, Sealed, Signer, new_salt, open_envelope, seal
from node.federation.lines import ANSWER_BODY, QUERY_BODY, line_of, private_of
from node.federation.standing import Standing
from node.identity.certificates import Peer
from node.policy.decide import Decision
from node.policy.facts import derive_facts, encode_facts
from node.policy.query import verify_query
from node.policy.redact import redact, withheld_categories
from node.records.lookup import selector_tokens
from node.store.entries import FoundEntry
from node.store.writer import Writer
from node.wire.codes_pb2 import Urgency
from node.wire.envelope_pb2 import StatementType
from node.wire.exchange_pb2 import Answer, Body, Grant, Hit, HitOnly, Query, QueryRequest, QueryResponse, Terms
from node.wire.ledger_pb2 import Decisions, EntryDecision, EntryOutcome, LeafPrivate

log = structlog.get_logger()

PAGE_ENTRIES = 10
# More matches than this are not considered, nor told: a selector that finds so many is no lead.
CONSIDERED_ENTRIES = 64
TICK_S = 0.005
ACKNOWLEDGE_WITHIN_US = 15 * 60 * 1_000_000


@dataclass(frozen=True, slots=True)
class Judged:
    """An entry that matched, what was decided on it, and the facts it was decided on."""

    found: FoundEntry
    decision: Decision
    facts: bytes
    handle: bytes  # what this recipient knows the entry by


@dataclass(slots=True)
class Answering:
    """Answers queries of peers."""

    standing: Standing
    records: Records
    writer: Writer
    clock: Callable[[], int]
    window_us: int

    async def answer(self, data: bytes, peer: Peer) -> bytes:
        """Answer a serialised QueryRequest of an identified peer with a serialised QueryResponse.

        Raises:
            EnvelopeError, IdentityError, LedgerError, StoreError: nothing leaves.
        """
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        now_us = self.clock()
        opened = self._opened(data, peer, now_us)
        self.standing.trust.verify_paired(peer.country)
        query = opened.body.query
        verify_query(query)
        found = await self.records.find(query.selectors, peer.country)
        judged = self._judged(found, query, peer.country, now_us)
        sealed, line_parts = self._sealed(opened, judged, now_us)
        await self._logged(...)
        await _until_tick(loop, arrived)
        return QueryResponse(envelope=sealed.envelope).SerializeToString()
