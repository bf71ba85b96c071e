"""Mail from peers: verified, then received in one transaction with the line of its receipt and all that it causes.

Delivered again, a mail gets the receipt that it got. What is missing before it is asked for; what is refused for good
is refused by name, so that it does not hold up what follows.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Final

import structlog
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from node.errors import (
    ClockError,
    DirectoryError,
    EnlaceError,
    LedgerError,
    MalformedError,
    MisdirectedError,
    OverloadedError,
    StoreError,
)
from node.federation import metrics
from node.federation.envelope import Opened, new_salt, open_envelope, seal
from node.federation.lines import line_of, shared_of_event
from node.federation.mail_kinds import MailKind, OutgoingMail, Post, ReceivedMail, named
from node.federation.mailroom import Mailroom
from node.federation.patience import Patience
from node.federation.ticks import Ticks
from node.identity.certificates import Peer
from node.store import mail as store
from node.store.commitments import is_anybody_elses
from node.store.database import Database
from node.store.findings import raise_finding
from node.store.lines import Line
from node.store.mail import LONGEST_REASON, InboxRow, MailId
from node.store.mail_commitments import received_statement
from node.store.writer import Priority
from node.wire.correspondence_pb2 import MAIL_STATE_NOT_UNDERSTOOD, MAIL_STATE_RECEIVED, MAIL_STATE_REFUSED
from node.wire.delivery_pb2 import DeliverMailRequest, DeliverMailResponse, Delivery, MailReceipt
from node.wire.envelope_pb2 import STATEMENT_TYPE_MAIL, STATEMENT_TYPE_MAIL_RECEIPT, Envelope
from node.wire.exchange_pb2 import Body
from node.wire.ledger_pb2 import Decisions, Direction, LeafKind, LeafPrivate
from node.wire.mail_pb2 import Mail, NotUnderstood

log = structlog.get_logger()

BATCH: Final = 64
"""Mails of one call."""

LONGEST_WAY_US: Final = 400 * 86_400_000_000
"""How old a mail may be when it comes, or its receipt."""

# What says nothing of the mail itself: the peer tries again.
_FOR_NOW: Final = (OverloadedError, StoreError, LedgerError, DirectoryError)


@dataclass(slots=True)
class Intake:
    """Receives mail of peers."""

    mailroom: Mailroom
    database: Database
    ticks: Ticks
    window_us: int
    _turns: dict[str, asyncio.Lock] = field(default_factory=dict)  # by peer: one batch at a time
    _patience: dict[str, Patience] = field(default_factory=dict)

    async def receive(self, data: bytes, peer: Peer) -> bytes:
        """Take in a serialised DeliverMailRequest of an identified peer, and answer a serialised DeliverMailResponse.

        Raises:
            MalformedError, NotPairedError: nothing of it is looked at.
        """
        arrived = asyncio.get_running_loop().time()
        try:
            request = DeliverMailRequest.FromString(data)
        except DecodeError:
            raise MalformedError("the request is not a message of the contract") from None
        envelopes, heads = request.envelopes, request.heads
        if bool(envelopes) == bool(heads) or len(envelopes) > BATCH or len(heads) > store.HEADS:
            raise MalformedError(f"a batch has up to {BATCH} mails, or tells up to where up to {store.HEADS} came")
        self.mailroom.standing.trust.verify_paired(peer.country)
        async with self._turns.setdefault(peer.country, asyncio.Lock()):
            taken = []
            for envelope in envelopes:
                taken.append(self._taken(envelope, peer))
                await asyncio.sleep(0)  # queries go first
            deliveries = await asyncio.gather(*taken)
            lacking = await self.database.read(store.lacking, peer.country, heads) if heads else []
        await self.ticks.wait(arrived)  # how long each took tells nothing
        return DeliverMailResponse(deliveries=deliveries, lacking=lacking).SerializeToString()

    def hear(self, peer: str) -> None:
        """Have mail delivered to a peer that has just called, and so is up again."""
        if peer in self.mailroom.waiting:
            self.mailroom.ring([peer], [peer])

    async def reconsider(self) -> int:
        """Do what kept mail is for that an older version did not understand, and return how many; before serving."""
        understood = 0
        for row in await self.database.read(store.not_understood):
            mail = Mail.FromString(store.open_received(self.mailroom.vault, row.mail_id, row.sealed))
            kind = self.mailroom.by_field.get(mail.WhichOneof("content") or "")
            if kind is not None:
                change = partial(self._reconsider, row=row, mail=mail, kind=kind)
                understood += await self.mailroom.post(change, Priority.BACKGROUND)
        return understood

    def _reconsider(self, post: Post, *, row: InboxRow, mail: Mail, kind: MailKind) -> bool:
        statement = received_statement(post.connection, row.mail_id)
        received = ReceivedMail(row.mail_id, mail, row.sent_us, sha256(statement).digest(), LeafPrivate())
        refused = self._applied(post, kind, received)
        state, reason = (MAIL_STATE_REFUSED, str(refused)) if refused else (MAIL_STATE_RECEIVED, "")
        values = {"kind": kind.field, "state": state, "reason": reason[:LONGEST_REASON], "changed_us": post.now_us}
        store.change_received(post.connection, row.mail_id, **values)
        shared = shared_of_event(
            LeafKind.LEAF_KIND_MAIL,
            self.mailroom.standing.signer,
            post.now_us,
            exchange_id=row.exchange_id,
            peer=row.peer,
        )
        private = named(received.private, f"{'refused' if refused else 'understood'} {kind.field}")
        post.log(line_of(shared, private, exchange_id=row.exchange_id, now_us=post.now_us))
        return refused is None

    def _taken(self, envelope: Envelope, peer: Peer) -> "asyncio.Future[Delivery]":
        """Verify a mail and hand it to the writer; in the order of these calls they are written."""
        data = envelope.SerializeToString()
        try:
            opened, mail = self._opened(envelope, peer)
        except EnlaceError as error:
            return asyncio.ensure_future(self._refused(peer.country, data, error))
        written = self.mailroom.submit(partial(self._receive, opened=opened, mail=mail, data=data), Priority.BACKGROUND)
        return asyncio.ensure_future(self._written(peer.country, data, written))

    async def _written(self, peer: str, data: bytes, written: "asyncio.Future[Delivery]") -> Delivery:
        try:
            delivery = await written
        except EnlaceError as error:
            return await self._refused(peer, data, error)
        metrics.MAIL_RECEIVED.labels(peer, delivery.WhichOneof("outcome") or "").inc()
        return delivery

    def _opened(self, envelope: Envelope, peer: Peer) -> tuple[Opened, Mail]:
        standing = self.mailroom.standing
        opened = open_envelope(
            envelope,
            expected=STATEMENT_TYPE_MAIL,
            sender=peer.country,
            recipient=standing.country,
            public_key=standing.trust.directory.signing_key,
            now_us=self.mailroom.clock(),
            window_us=self.window_us,
            age_us=LONGEST_WAY_US,
        )
        if opened.statement.node != peer.name:
            raise MisdirectedError("the statement is by another node than the one on the connection")
        if not opened.body.HasField("mail"):
            raise MalformedError("the body holds no mail")
        try:
            mail = Mail.FromString(opened.body.mail)
        except DecodeError:
            raise MalformedError("the mail is not a message of the contract") from None
        if mail.WhichOneof("content") is None and not len(UnknownFieldSet(mail)):
            raise MalformedError("the mail says nothing")
        return opened, mail

    async def _refused(self, peer: str, data: bytes, error: EnlaceError) -> Delivery:
        """Log that a mail was refused before it was looked at, and say so."""
        if isinstance(error, _FOR_NOW):
            log.warning("mail_put_off", peer=peer, reason=str(error))
            return Delivery(later=error.public)
        patience = self._patience.setdefault(peer, Patience())
        if patience.spend(time.monotonic()):
            line = self._rejected(peer, secrets.token_bytes(16), data, type(error).__name__)
            await self.mailroom.writer.append(line, Priority.BACKGROUND)
        log.warning("mail_refused", peer=peer, reason=str(error))
        metrics.MAIL_RECEIVED.labels(peer, "refused").inc()
        # A clock that is ahead is overtaken by time.
        if isinstance(error, ClockError):
            return Delivery(later=error.public)
        return Delivery(refused=error.public)

    def _rejected(self, peer: str, exchange_id: bytes, data: bytes, reason: str) -> Line:
        now_us = self.mailroom.clock()
        shared = shared_of_event(
            LeafKind.LEAF_KIND_REJECTED,
            self.mailroom.standing.signer,
            now_us,
            exchange_id=exchange_id,
            peer=peer,
            direction=Direction.DIRECTION_RECEIVED,
            body=data,
        )
        return line_of(shared, LeafPrivate(reason=reason[:64]), exchange_id=exchange_id, now_us=now_us)

    # --- in the transaction ------------------------------------------------------------------------------------------

    def _receive(self, post: Post, *, opened: Opened, mail: Mail, data: bytes) -> Delivery:
        statement = opened.statement
        mail_id = MailId(statement.sender, statement.exchange_id, statement.mail_number)
        content = mail.WhichOneof("content") or ""
        kind = self.mailroom.by_field.get(content)
        placed = store.numbers(post.connection, mail_id.peer, mail_id.exchange_id)
        next_in = placed[1] if placed else 1
        # What is next in order can't have come, but it may have been refused.
        known = store.find_received(post.connection, mail_id) if placed else None
        if known is not None and known.state != MAIL_STATE_REFUSED:
            return self._again(post, known, opened, content, data)
        if known is None and mail_id.number > next_in and not (kind is not None and kind.overtakes):
            return Delivery(waiting_for=next_in)
        if placed is None and is_anybody_elses(post.connection, mail_id.peer, [mail_id.exchange_id]):
            raise MisdirectedError("the exchange is with another country")
        received = ReceivedMail(
            mail_id=mail_id,
            mail=mail,
            sent_us=statement.time_us,
            statement_sha256=sha256(opened.statement_bytes).digest(),
            private=LeafPrivate(),
        )
        row = InboxRow(
            *mail_id,
            kind=content if kind else "",
            state=MAIL_STATE_RECEIVED if kind else MAIL_STATE_NOT_UNDERSTOOD,
            sent_us=statement.time_us,
            changed_us=post.now_us,
            reason="",
            size=len(opened.body_bytes),
            body_sha256=statement.body_sha256,
            sealed=None,
            receipt=None,
        )
        refused = self._applied(post, kind, received)
        if refused is not None:
            row = row._replace(state=MAIL_STATE_REFUSED, reason=str(refused)[:LONGEST_REASON])
            reason = f"{content.upper()} {type(refused).__name__}"
            post.log(self._rejected(mail_id.peer, mail_id.exchange_id, data, reason))
            delivery = Delivery(refused=refused.public)
        else:
            receipt = self._receipt(post, opened, named(received.private, content or "unknown"), received.decisions)
            sealed = store.seal_received(self.mailroom.vault, mail_id, opened.body.mail)
            row = row._replace(sealed=sealed, receipt=store.pack_receipt(receipt))
            delivery = Delivery(receipt=receipt)
        store.keep(post.connection, row, anew=known is not None)
        if mail_id.number == next_in:
            store.advance(post.connection, mail_id.peer, mail_id.exchange_id, mail_id.number)
        elif placed is None:
            store.found_exchange(post.connection, mail_id.peer, mail_id.exchange_id)
        return delivery

    def _applied(self, post: Post, kind: MailKind | None, received: ReceivedMail) -> EnlaceError | None:
        """Do what a mail is for, or nothing; returns why it is refused for good."""
        mail_id, logged = received.mail_id, len(post.lines)
        savepoint = post.connection.begin_nested()
        try:
            if kind is not None:
                kind.check(received.mail, mail_id.peer, post.now_us)
                kind.apply(post, received)
            else:
                told = NotUnderstood(number=mail_id.number, field=_field_of(received.mail))
                answer = Mail(not_understood=told)
                post.send(OutgoingMail(mail_id.peer, mail_id.exchange_id, answer, LeafPrivate()))
        except _FOR_NOW:
            raise  # the writer rolls all of it back
        except EnlaceError as error:
            savepoint.rollback()
            del post.lines[logged:]
            log.warning("mail_refused", peer=mail_id.peer, kind=kind.field if kind else "", reason=str(error))
            return error
        savepoint.commit()
        return None

    def _again(self, post: Post, known: InboxRow, opened: Opened, content: str, data: bytes) -> Delivery:
        """Answer what came under a number that is used: the same mail, or another in its place."""
        same = known.body_sha256 == opened.statement.body_sha256
        if (same or content == "withdrawn") and known.receipt is not None:
            return Delivery(receipt=store.unpack_receipt(known.receipt))
        post.log(self._rejected(known.peer, known.exchange_id, data, "OTHER_CONTENT"))
        raise_finding(
            post.connection,
            kind="MAIL_TWICE",
            peer=known.peer,
            exchange_id=known.exchange_id,
            detail=f"{known.peer} sent two mails as number {known.number}; was it restored from a backup?",
            now_us=post.now_us,
        )
        return Delivery(taken=store.first_free(post.connection, known.peer, known.exchange_id))

    def _receipt(self, post: Post, opened: Opened, private: LeafPrivate, decisions: Decisions | None) -> Envelope:
        statement, standing = opened.statement, self.mailroom.standing
        body = Body(salt=new_salt())
        body.mail_receipt.CopyFrom(MailReceipt(exchange_id=statement.exchange_id, number=statement.mail_number))
        sealed = seal(
            standing.signer,
            statement_type=STATEMENT_TYPE_MAIL_RECEIPT,
            exchange_id=statement.exchange_id,
            recipient=statement.sender,
            body=body,
            now_us=post.now_us,
            directory_version=standing.trust.directory.version,
            answered=opened,
            mail_number=statement.mail_number,
        )
        line = line_of(
            sealed.shared,
            private,
            exchange_id=statement.exchange_id,
            now_us=post.now_us,
            decisions=decisions,
            sent=sealed,
        )
        post.log(line)
        return sealed.envelope


def _field_of(mail: Mail) -> int:
    """Return the number of the field that makes a mail one that is not understood here."""
    content = mail.WhichOneof("content")
    if content is not None:
        return Mail.DESCRIPTOR.fields_by_name[content].number
    return int(UnknownFieldSet(mail)[0].field_number)
