"""Delivering mail: at least once, in order of each exchange, for as long as it takes.

Each peer has a queue and a pace of its own, so that one that is down costs the others nothing. Everything goes with the
writer's lowest priority, behind answers and people. What counts is what is durable: a crash between any two steps
leaves mail that is sent again, and who has it already answers with the receipt that it gave.
"""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, Final, NamedTuple

import grpc
import structlog
from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from node.errors import EnlaceError, MalformedError, MisdirectedError, NotFoundError, StoreError
from node.federation import metrics
from node.federation.channels import DELIVER_MAIL, Channels
from node.federation.envelope import Opened, Sealed, open_envelope
from node.federation.lines import line_of, shared_of_received
from node.federation.mail_intake import BATCH, LONGEST_WAY_US
from node.federation.mail_kinds import Post, SentMail, named
from node.federation.mailroom import Mailroom
from node.store import mail as store
from node.store.database import Database
from node.store.mail import OutboxRow
from node.store.vault import key_id_of
from node.store.writer import Priority
from node.wire.correspondence_pb2 import (
    MAIL_STATE_BLOCKED,
    MAIL_STATE_DEAD,
    MAIL_STATE_DELIVERED,
    MAIL_STATE_QUEUED,
    MAIL_STATE_WITHDRAWN,
)
from node.wire.delivery_pb2 import DeliverMailRequest, DeliverMailResponse, Delivery
from node.wire.envelope_pb2 import STATEMENT_TYPE_MAIL_RECEIPT, Envelope
from node.wire.exchange_pb2 import Body
from node.wire.ledger_pb2 import LeafKind, LeafPrivate
from node.wire.mail_pb2 import Mail

log = structlog.get_logger()

CALL_S: Final = 30.0
BATCH_BYTES: Final = 200_000
FIRST_PAUSE_US: Final = 1_000_000
LONGEST_PAUSE_US: Final = 3_600_000_000
STUMBLES: Final = 8
"""Calls in a row in which a peer fails by a fault of its own, before all mail to it waits."""
LOOK_S: Final = 60.0
"""How often the outbox itself is looked at, whatever is remembered of it."""


class Leaving(NamedTuple):
    """A mail that is about to leave, as it was signed."""

    row: OutboxRow
    envelope: Envelope
    mail: Mail


@dataclass(slots=True)
class Pace:
    """How a peer is doing: calls that failed in a row, when it is tried again, how many mails it gets at once."""

    failures: int = 0
    next_us: int = 0
    batch: int = BATCH
    due_us: int = 0  # when the next mail to it is due; 0: none waits


@dataclass(slots=True)
class Delivering:
    """Delivers what is in the outbox."""

    mailroom: Mailroom
    database: Database
    channels: Channels
    window_us: int
    paces: dict[str, Pace] = field(default_factory=dict)
    _under_way: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _looked: float = float("-inf")

    async def look(self, timeout_s: float = 0.0) -> None:
        """Deliver to whom it is time to, after waiting so long for new mail; to be called again and again."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.mailroom.bell.wait(), timeout_s)
        self.mailroom.bell.clear()
        now = asyncio.get_running_loop().time()
        if now - self._looked >= LOOK_S:
            self._looked = now
            self.mailroom.waiting.update(await self.database.read(store.waiting_peers))
        now_us, waiting = self.mailroom.clock(), self.mailroom.waiting
        hurried, self.mailroom.hurried = self.mailroom.hurried, set()
        waiting.update(peer for peer, pace in self.paces.items() if 0 < pace.due_us <= now_us)
        for peer in sorted(waiting):
            if peer not in self._under_way and (peer in hurried or now_us >= self._pace(peer).next_us):
                task = asyncio.create_task(self._drain(peer))
                self._under_way[peer] = task
                task.add_done_callback(partial(self._ended, peer))

    async def settled(self) -> None:
        """Wait until everything that is being delivered was, or can't be now."""
        while self._under_way:
            await asyncio.wait(self._under_way.values())
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """Give up what is under way: it is in the outbox still."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _pace(self, peer: str) -> Pace:
        return self.paces.setdefault(peer, Pace())

    def _ended(self, peer: str, task: asyncio.Task[None]) -> None:
        self._under_way.pop(peer, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("mail_failed", peer=peer, exc_info=task.exception())
            self._put_off(peer)

    def _put_off(self, peer: str) -> None:
        pace, now_us = self._pace(peer), self.mailroom.clock()
        if now_us >= pace.next_us:  # else it was tried ahead of its time, which makes it no slower
            pace.failures += 1
            pace.next_us = now_us + pause_us(pace.failures)

    # --- one peer ----------------------------------------------------------------------------------------------------

    async def _drain(self, peer: str) -> None:
        """Deliver batch after batch, until nothing is due or the peer does not answer."""
        pace = self._pace(peer)
        while True:
            self.mailroom.waiting.discard(peer)
            pace.due_us = 0
            now_us = self.mailroom.clock()
            try:
                self.mailroom.standing.verify_not_fenced()
                self.mailroom.standing.trust.directory.verify_in_force(now_us)
                self.mailroom.standing.trust.verify_paired(peer)
                batch = await self._leaving(peer, now_us, pace.batch)
                if not batch:
                    pace.due_us = await self.database.read(store.next_due_us, peer)
                    return
                deliveries = await self._called(peer, batch)
                await self._settle(batch, deliveries)
            except EnlaceError as error:
                log.warning("mail_not_delivered", peer=peer, reason=str(error))
                self._put_off(peer)
                self.mailroom.waiting.add(peer)
                return
            except grpc.aio.AioRpcError as error:
                log.info("mail_not_delivered", peer=peer, status=error.code().name)
                await self._failed(peer, batch, error.code())
                self.mailroom.waiting.add(peer)
                if pace.next_us > now_us:
                    return
            else:
                pace.failures, pace.next_us, pace.batch = 0, 0, min(BATCH, pace.batch * 2)

    async def _failed(self, peer: str, batch: Sequence[Leaving], code: grpc.StatusCode) -> None:
        """Go slower; and where the peer stumbles over one mail, find it and let the others pass."""
        pace = self._pace(peer)
        if code is not grpc.StatusCode.INTERNAL or pace.failures >= STUMBLES:
            self._put_off(peer)
            return
        pace.failures, pace.batch = pace.failures + 1, 1
        if len(batch) == 1:
            await self.mailroom.post(partial(_put_off, row=batch[0].row, reason="the peer failed"), Priority.BACKGROUND)

    async def _leaving(self, peer: str, now_us: int, limit: int) -> list[Leaving]:
        """Return what leaves now, once it was checked that it still may; what may not is withdrawn, and leaves so."""
        due, forbidden = await self.database.read(self._checked, peer, now_us, limit)
        for each, error in forbidden:
            withdraw = partial(self._withdraw, each=each, reason=type(error).__name__)
            await self.mailroom.post(withdraw, Priority.BACKGROUND)
            log.warning("mail_withdrawn", peer=peer, kind=each.row.kind, reason=str(error))
        if forbidden:
            due, forbidden = await self.database.read(self._checked, peer, now_us, limit)
            withheld = {each.row.mail_id for each, _ in forbidden}
            due = [each for each in due if each.row.mail_id not in withheld]
        return due

    def _checked(
        self, connection: Connection, peer: str, now_us: int, limit: int
    ) -> tuple[list[Leaving], list[tuple[Leaving, EnlaceError]]]:
        rows = store.due(connection, peer, now_us, limit)
        self.mailroom.vault.load_keys(key_id_of(row.sealed) for row in rows)
        leaving, forbidden, size = list[Leaving](), list[tuple[Leaving, EnlaceError]](), 0
        for row in rows:
            try:
                envelope = store.open_envelope(self.mailroom.vault, row.mail_id, row.sealed)
            except StoreError as error:  # it was erased or altered, so it can't leave
                forbidden.append((Leaving(row, Envelope(), Mail()), error))
                continue
            each = Leaving(row, envelope, Mail.FromString(Body.FromString(envelope.body).mail))
            size += envelope.ByteSize()
            if leaving and size > BATCH_BYTES:
                break
            kind = self.mailroom.by_field.get(row.kind)
            try:
                if kind is not None and row.withdrawn is None:
                    kind.recheck(connection, SentMail(row, each.mail), now_us)
            except EnlaceError as error:
                forbidden.append((each, error))
            else:
                leaving.append(each)
        return leaving, forbidden

    def _withdraw(self, post: Post, *, each: Leaving, reason: str) -> None:
        """Put an empty mail in the place of one that may not leave; the line says so."""
        row = store.find_sent(post.connection, each.row.mail_id)
        if row.state != MAIL_STATE_QUEUED or row.withdrawn is not None:
            return
        mail = Mail()
        mail.withdrawn.SetInParent()
        sealed = post.sealed(row.mail_id, f"withdrawn {row.kind}", mail, LeafPrivate(reason=reason))
        changed = {"withdrawn": row.sealed, "reason": f"withdrawn: {reason}", "changed_us": post.now_us}
        store.change_sent(post.connection, row.mail_id, **changed, **sealed._asdict())
        kind = self.mailroom.by_field.get(row.kind)
        if kind is not None and each.mail.WhichOneof("content"):
            kind.settled(post, SentMail(row, each.mail), MAIL_STATE_WITHDRAWN)

    async def _called(self, peer: str, batch: Sequence[Leaving]) -> Sequence[Delivery]:
        request = DeliverMailRequest(envelopes=[each.envelope for each in batch]).SerializeToString()
        data = await self.channels.call(self.mailroom.standing.trust, peer, DELIVER_MAIL, request, CALL_S)
        try:
            deliveries = list(DeliverMailResponse.FromString(data).deliveries)
        except DecodeError:
            raise MalformedError("what became of the mail is not a message of the contract") from None
        if len(deliveries) != len(batch):
            raise MalformedError("the peer does not say of each mail what became of it")
        return deliveries

    # --- what became of it -------------------------------------------------------------------------------------------

    async def _settle(self, batch: Sequence[Leaving], deliveries: Sequence[Delivery]) -> None:
        made = []
        for each, delivery in zip(batch, deliveries, strict=True):
            made.append(self.mailroom.submit(self._change(each, delivery), Priority.BACKGROUND))
            await asyncio.sleep(0)  # queries go first
            outcome = delivery.WhichOneof("outcome") or "nothing"
            metrics.MAIL_SENT.labels(each.row.peer, outcome).inc()
        await asyncio.gather(*made)

    def _change(self, each: Leaving, delivery: Delivery) -> "partial[None]":
        """Return what is to be done in the outbox."""
        outcome, row = delivery.WhichOneof("outcome"), each.row
        if outcome == "receipt":
            try:
                opened, is_withdrawn = self._opened(each, delivery.receipt)
            except EnlaceError as error:
                log.error("false_receipt", peer=row.peer, reason=str(error))  # noqa: TRY400 - its text says all
                return partial(_put_off, row=row, reason=f"the receipt does not hold: {error}")
            return partial(self._received, each=each, opened=opened, is_withdrawn=is_withdrawn)
        if outcome == "waiting_for" and 0 < delivery.waiting_for < row.number:
            return partial(_send_again, row=row, first=delivery.waiting_for)
        if outcome == "refused":
            return partial(self._refused, each=each, reason=delivery.refused)
        if outcome == "taken":
            return partial(self._renumber, row=row, mail=each.mail, free=delivery.taken)
        return partial(_put_off, row=row, reason=delivery.later or "the peer does not say what became of it")

    def _opened(self, each: Leaving, receipt: Envelope) -> tuple[Opened, bool]:
        """Verify a receipt, and tell whether it is for an empty mail, and not for the one whose place that took.

        Raises:
            EnvelopeError, IdentityError: it does not hold.
        """
        row = each.row
        try:
            return self._opened_for(each.envelope, receipt, row), row.withdrawn is not None
        except MisdirectedError:
            if row.withdrawn is None:
                raise
        kept = store.open_envelope(self.mailroom.vault, row.mail_id, row.withdrawn)
        return self._opened_for(kept, receipt, row), False

    def _opened_for(self, sent: Envelope, receipt: Envelope, row: OutboxRow) -> Opened:
        standing = self.mailroom.standing
        opened = open_envelope(
            receipt,
            expected=STATEMENT_TYPE_MAIL_RECEIPT,
            sender=row.peer,
            recipient=standing.country,
            public_key=standing.trust.directory.signing_key,
            now_us=self.mailroom.clock(),
            window_us=self.window_us,
            age_us=LONGEST_WAY_US,
            answers=Sealed(sent, sent.statement, sent.leaf_shared, sent.body),
        )
        if opened.statement.exchange_id != row.exchange_id or opened.statement.mail_number != row.number:
            raise MalformedError("the receipt is for another mail")
        return opened

    def _received(self, post: Post, *, each: Leaving, opened: Opened, is_withdrawn: bool) -> None:
        digest, held = sha256(opened.statement_bytes).digest(), store.find_sent(post.connection, each.row.mail_id)
        columns: dict[str, Any] = {"receipt_sha256": digest}
        if held.receipt_sha256 != digest:  # else another process of this node was quicker, or it came before
            shared = shared_of_received(LeafKind.LEAF_KIND_MAIL_RECEIPT, opened, self.mailroom.standing.signer)
            private = named(LeafPrivate(), held.kind)
            post.log(line_of(shared, private, exchange_id=held.exchange_id, now_us=post.now_us))
        if is_withdrawn and held.state == MAIL_STATE_QUEUED:  # its kind has followed when it was withdrawn
            columns |= {"state": MAIL_STATE_WITHDRAWN, "changed_us": post.now_us}
        elif held.state == MAIL_STATE_QUEUED:
            if held.withdrawn is not None:  # it had left before; what took its place did not arrive
                columns["sent_us"] = held.queued_us
            self.mailroom.settle(post, SentMail(held, each.mail), MAIL_STATE_DELIVERED, **columns)
            return
        store.change_sent(post.connection, held.mail_id, **columns)

    def _refused(self, post: Post, *, each: Leaving, reason: str) -> None:
        held = store.find_sent(post.connection, each.row.mail_id)
        if held.state == MAIL_STATE_QUEUED:
            self.mailroom.settle(post, SentMail(held, each.mail), MAIL_STATE_DEAD, f"refused: {reason}")

    def _renumber(self, post: Post, *, row: OutboxRow, mail: Mail, free: int) -> None:
        """Send a mail under a new number: this country used its own before it was restored from a backup.

        Its first line, with what was decided, stays; the new one names it.
        """
        held = store.find_sent(post.connection, row.mail_id)
        if held.state != MAIL_STATE_QUEUED or held.sealed != row.sealed:
            return
        store.skip_numbers(post.connection, row.peer, row.exchange_id, free)
        mail_id = row.mail_id._replace(number=store.take_number(post.connection, row.peer, row.exchange_id))
        was = LeafPrivate(reason=f"WAS NUMBER {row.number}")
        sealed = post.sealed(mail_id, row.kind if row.withdrawn is None else "withdrawn", mail, was)
        changed = {"number": mail_id.number, "queued_us": sealed.sent_us, "withdrawn": None}
        store.change_sent(post.connection, row.mail_id, **changed, **sealed._asdict())


def pause_us(failures: int) -> int:
    """Return how long to wait after so many failures in a row: a second, doubled each time up to an hour, less a bit.

    The bit is random, up to a half, so that what failed together does not come back together.
    """
    longest = min(LONGEST_PAUSE_US, FIRST_PAUSE_US << min(failures - 1, 32))
    return int(longest * random.uniform(0.5, 1.0))  # noqa: S311 - keeps no secret


def _put_off(post: Post, *, row: OutboxRow, reason: str) -> None:
    attempts = row.attempts + 1
    store.change_sent(
        post.connection,
        row.mail_id,
        attempts=attempts,
        next_us=post.now_us + pause_us(attempts),
        reason=reason[: store.LONGEST_REASON],
    )


def _send_again(post: Post, *, row: OutboxRow, first: int) -> None:
    """Send what the peer lacks, from a mail on: it was restored from a backup, or mail came in another order."""
    lacking = row.mail_id._replace(number=first)
    try:
        missing = store.find_sent(post.connection, lacking)
    except NotFoundError:
        reason = f"the peer waits for mail {first}, which is not here"
        store.change_sent(post.connection, row.mail_id, state=MAIL_STATE_DEAD, reason=reason, changed_us=post.now_us)
        return
    if missing.state in (MAIL_STATE_DEAD, MAIL_STATE_BLOCKED):
        store.block_behind(post.connection, lacking, post.now_us)
    elif missing.state != MAIL_STATE_QUEUED:
        store.requeue(post.connection, lacking, row.number, post.now_us)
    if row.attempts or missing.state == MAIL_STATE_QUEUED:
        _put_off(post, row=row, reason=f"the peer waits for mail {first}")
    else:
        store.change_sent(post.connection, row.mail_id, attempts=1)
