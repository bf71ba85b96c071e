"""Requests of this country's units: asking a peer for more, seeing how that stands, answering back."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from node.desk.officers import private_of_officer
from node.errors import DeniedError, ForbiddenError, NotFoundError, UsageError
from node.federation.lines import local_line
from node.federation.mail_kinds import OutgoingMail, Post
from node.federation.mailroom import Mailroom
from node.federation.request_steps import log_step, new_detail, private_of_request
from node.policy.follow_up import query_of, verify_narrower, verify_request, verify_words
from node.policy.outbound import decide_outbound
from node.policy.received_use import Use
from node.store import requests
from node.store.database import Database
from node.store.listing import list_lines
from node.store.officers import Officer
from node.store.received import ReceivedEntries
from node.store.requests import Kept, RequestId
from node.wire.deciding_pb2 import RequestCount, RequestDetail, RequestItem, SendRequestRequest
from node.wire.desk_pb2 import OfficerRole
from node.wire.exchange_pb2 import Asker, Hit
from node.wire.ledger_pb2 import DIRECTION_SENT, Direction, LeafKind
from node.wire.mail_pb2 import Mail
from node.wire.request_pb2 import FollowUpRequest, RequestReply
from node.workflow.requests import ANSWERED, ASKING, OPEN, Actor, Event, State

MOST_LISTED = 1_000
RECENT_US = 7 * 86_400 * 1_000_000
"""How long an answer stays in the inbox of the unit that asked."""


@dataclass(slots=True)
class Requests:
    """Serves units, and whoever looks at requests."""

    mailroom: Mailroom
    database: Database
    received: ReceivedEntries
    clock: Callable[[], int]

    async def send(self, asked: SendRequestRequest, officer: Officer) -> RequestItem:
        """Ask a peer for more; the request is logged before it leaves.

        Raises:
            MalformedError: it is not complete; the text names the field.
            NotFoundError: nothing was asked of this peer in such an exchange.
            DeniedError, NotPairedError: this country's own rules forbid it; a line says so.
            WorkflowError: the request whose place it takes can't be asked again.
        """
        standing, now_us = self.mailroom.standing, self.clock()
        request = FollowUpRequest()
        request.CopyFrom(asked.request)
        request.request_id, request.asked_us = secrets.token_bytes(16), now_us
        request.asker.CopyFrom(Asker(officer=officer.name, unit=officer.unit, unit_type=officer.unit_type))
        verify_request(request)
        standing.trust.verify_paired(asked.peer)
        await self._verify_outbound(request, asked.peer, now_us)
        exchange_id = asked.exchange_id
        return await self.mailroom.post(
            partial(self._send, request=request, peer=asked.peer, exchange_id=exchange_id, officer=officer)
        )

    async def _verify_outbound(self, request: FollowUpRequest, peer: str, now_us: int) -> None:
        standing = self.mailroom.standing
        try:
            decide_outbound(
                standing.rulebook("outbound", now_us),
                query_of(request),
                recipient=peer,
                instruments=[
                    each.kind for each in standing.instruments_with(peer, now_us) if each.id == request.instrument
                ],
                paired=True,
                now_us=now_us,
            )
        except DeniedError as error:
            private = private_of_request(request)
            private.reason = type(error).__name__
            line = local_line(LeafKind.LEAF_KIND_DENIED, private, standing.signer, now_us)
            await self.mailroom.writer.append(line)
            raise

    def _send(
        self, post: Post, *, request: FollowUpRequest, peer: str, exchange_id: bytes, officer: Officer
    ) -> RequestItem:
        kinds = (LeafKind.LEAF_KIND_ASKED, LeafKind.LEAF_KIND_MAIL, LeafKind.LEAF_KIND_MAIL_RECEIPT)
        if not list_lines(post.connection, 0, 1, exchange_id=exchange_id, kinds=kinds, peer=peer):
            raise NotFoundError(f"nothing was exchanged with {peer or 'that peer'} under this id")
        if request.narrows:
            self._narrow(post, request, peer, exchange_id, officer)
        detail = new_detail(exchange_id, peer, request, sent=True)
        requests.put(post.connection, post.vault, detail)
        post.send(OutgoingMail(peer, exchange_id, Mail(follow_up_request=request), private_of_request(request)))
        return detail.item

    def _narrow(self, post: Post, request: FollowUpRequest, peer: str, exchange_id: bytes, officer: Officer) -> None:
        old = requests.get(post.connection, post.vault, RequestId(DIRECTION_SENT, peer, request.narrows))
        if old.item.exchange_id != exchange_id:
            raise UsageError("exchange: is not that of the request to be asked again")
        verify_narrower(request, old.detail.request)
        state = ASKING.after(old.item.state, Event.NARROW, Actor.UNIT)
        if state != old.item.state:
            requests.change(post.connection, post.vault, old, post.now_us, state=state)
            log_step(post, old, "SUPERSEDED", private_of_officer(officer))

    async def reply(self, request_id: bytes, words: str, officer: Officer) -> None:
        """Say something to an answer.

        Raises:
            UsageError, MalformedError: it says nothing, or too much.
            WorkflowError: it was not answered yet.
        """
        if not words.strip():
            raise UsageError("words: say something")
        verify_words("words", words)
        await self.mailroom.post(partial(self._reply, request_id=request_id, words=words, officer=officer))

    def _reply(self, post: Post, *, request_id: bytes, words: str, officer: Officer) -> None:
        kept = requests.find(post.connection, post.vault, request_id, "", DIRECTION_SENT)
        ASKING.after(kept.item.state, Event.ANSWER_BACK, Actor.UNIT)
        kept.detail.replies.append(words)
        requests.change(post.connection, post.vault, kept, post.now_us)
        mail = Mail(request_reply=RequestReply(request_id=request_id, words=words))
        post.send(OutgoingMail(kept.id.peer, kept.item.exchange_id, mail, private_of_officer(officer)))

    # --- looking -----------------------------------------------------------------------------------------------------

    async def list_requests(
        self, direction: Direction.ValueType, *, open_only: bool, emergency_only: bool, limit: int, officer: Officer
    ) -> list[RequestItem]:
        """Return requests without contents; a unit sees those that this country sent."""
        if officer.roles <= {OfficerRole.OFFICER_ROLE_UNIT, OfficerRole.OFFICER_ROLE_SUPERVISOR}:
            direction = DIRECTION_SENT
        listing = partial(
            requests.list_items,
            direction=direction or None,
            states=OPEN if open_only else (),
            emergency=emergency_only,
            limit=min(limit or 100, MOST_LISTED),
        )
        found = await self.database.read(listing)
        await self._read(officer, b"", "REQUESTS")
        return found

    async def get(self, request_id: bytes, peer: str, officer: Officer) -> RequestDetail:
        """Return a request that this country sent, with what was granted, as far as its terms allow this officer.

        Raises:
            NotFoundError: there is none.
            ForbiddenError: it is a peer's, which focal points decide on.
        """
        kept = await self.database.read(requests.find, self.mailroom.vault, request_id, peer)
        if kept.id.direction != DIRECTION_SENT:
            raise ForbiddenError("a peer's request is for focal points to decide on")
        await self._read(officer, kept.item.exchange_id, "REQUEST")
        await self.database.read(self._fill, kept, officer)
        return kept.detail

    def _fill(self, connection: Connection, kept: Kept, officer: Officer) -> None:
        """Put what was released into an answer, from where it is kept until its date."""
        hits = list(kept.detail.answer.hits)
        del kept.detail.answer.hits[:]
        use = Use(kept.detail.request.purpose, officer.unit_type, officer.unit)
        for hit in hits:
            copy = self.received.by_handle(
                connection, kept.id.peer, kept.item.exchange_id, hit.hit.handle, self.clock()
            )
            if copy is None:
                kept.detail.answer.hits.append(hit)
                continue
            shown = self.received.get(connection, copy.received_id, use, self.clock())
            kept.detail.answer.hits.append(Hit(entry=shown.entry))

    async def inbox(self, officer: Officer) -> list[RequestItem]:
        """Return what concerns this officer, the earliest due first.

        A focal point has the queue; a unit what it waits for, and what came to it in the last week.
        """
        items = []
        if OfficerRole.OFFICER_ROLE_FOCAL_POINT in officer.roles:
            items += await self.database.read(requests.waiting)
        if officer.roles & {OfficerRole.OFFICER_ROLE_UNIT, OfficerRole.OFFICER_ROLE_SUPERVISOR}:
            own = partial(requests.list_items, direction=DIRECTION_SENT, unit=officer.unit)
            since_us = self.clock() - RECENT_US
            recent = await self.database.read(partial(own, states=(*ANSWERED, State.EXPIRED)))
            items += await self.database.read(partial(own, states=OPEN))
            items += [each for each in recent if each.changed_us >= since_us]
        await self._read(officer, b"", "INBOX")
        return sorted(items, key=lambda each: (each.due_us, each.request_id))

    async def count(self, since_us: int, until_us: int, officer: Officer) -> list[RequestCount]:
        """Count requests of both directions by peer: asked, granted, refused and why, late."""
        await self._read(officer, b"", "REQUEST_NUMBERS")
        return await self.database.read(requests.count, since_us, until_us or self.clock())

    async def _read(self, officer: Officer, subject: bytes, reason: str) -> None:
        """Return when the look is durably logged: only then may anything be shown."""
        private = private_of_officer(officer, subject=subject, reason=reason)
        line = local_line(LeafKind.LEAF_KIND_READ, private, self.mailroom.standing.signer, self.clock())
        await self.mailroom.writer.append(line)
