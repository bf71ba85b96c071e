"""Mail about what was told before: that it is otherwise, or taken back, and that what was taken back is deleted."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.errors import DeniedError, MalformedError, MisdirectedError, NotFoundError
from node.federation.mail_kinds import MailKind, Post, ReceivedMail, SentMail
from node.federation.proposing import log_recall, propose_recalls
from node.federation.purging import MailBodies
from node.federation.recalling import send_receipt
from node.federation.redeciding import Redeciding, told_last
from node.federation.request_steps import shown_in
from node.federation.sharing import take_back
from node.store import disclosures, recalls
from node.store.ids import ID_BYTES
from node.store.listing import list_lines
from node.store.recalls import CHASE_US, RecallId
from node.store.received import ReceivedEntries
from node.store.received_rows import queue_keys
from node.store.withdrawals import WITHIN_US, Copy
from node.wire.correspondence_pb2 import MAIL_STATE_DELIVERED, MAIL_STATE_WITHDRAWN, MailState
from node.wire.ledger_pb2 import LeafKind, LeafPrivate
from node.wire.mail_pb2 import Mail
from node.wire.received_pb2 import RECEIVED_SOURCE_ANSWER, ReceivedEntry
from node.wire.share_pb2 import DeletionReceipt
from node.workflow.recalls import RECALLING, Actor, Event

_PEERS_KINDS: Final = (LeafKind.LEAF_KIND_ANSWERED, LeafKind.LEAF_KIND_ASKED, LeafKind.LEAF_KIND_MAIL_RECEIPT)
_MAX_PLACES: Final = 16
_MAX_PLACE: Final = 32  # characters
_MAX_LAW: Final = 200
_LONGEST_HOLD_US: Final = 100 * 366 * 86_400_000_000


def _verify_handle(handle: bytes) -> None:
    if len(handle) != ID_BYTES:
        raise MalformedError(f"handle: has {ID_BYTES} bytes")


def _verify_peers(post: Post, kept: ReceivedEntries, received: ReceivedMail, handle: bytes) -> None:
    """Check that an entry may be the peer's own, and that something was exchanged with it under this id.

    Of a mail that overtook those before it, nothing may be here yet.

    Raises:
        MisdirectedError: the entry is another country's, or this country's own.
        NotFoundError: nothing was told in this exchange.
    """
    mail_id, connection = received.mail_id, post.connection
    own = post.vault.resolve_handle(mail_id.peer, handle)
    is_own = bool(disclosures.lines_to(connection, mail_id.peer, [own]))
    told = handle in shown_in(connection, post.vault, mail_id.exchange_id, mail_id.peer)
    if is_own or told or kept.is_anybody_elses(connection, mail_id.peer, handle):
        raise MisdirectedError("the entry is not the peer's")
    lines = list_lines(connection, 0, 1, exchange_id=mail_id.exchange_id, kinds=_PEERS_KINDS, peer=mail_id.peer)
    if not lines and mail_id.number == 1:
        raise NotFoundError("nothing was told in this exchange")


@dataclass(slots=True)
class EntryRecallKind(MailKind):
    """A peer takes an entry back."""

    received: ReceivedEntries
    field = "entry_recall"
    overtakes = True

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that it names an entry."""
        del peer, now_us
        _verify_handle(mail.entry_recall.handle)

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Take what the peer told of the entry out of every use at once, and answer with a receipt once it is deleted.

        Raises:
            MisdirectedError: the entry is another country's, or this country's own.
            NotFoundError: nothing was told in this exchange.
        """
        mail_id, handle = received.mail_id, received.mail.entry_recall.handle
        _verify_peers(post, self.received, received, handle)
        deletion = self.received.withdraw(
            post.connection,
            peer=mail_id.peer,
            exchange_id=mail_id.exchange_id,
            handle=handle,
            recalled_us=received.sent_us,
            now_us=post.now_us,
        )
        received.private.subject = deletion.deletion_id
        take_back(post, self.received, mail_id.peer, mail_id.exchange_id)
        if deletion.deleted_us or deletion.held_law:  # else once it is deleted; asked again, it is told again
            send_receipt(post, deletion.deletion_id)

    def settled(self, post: Post, sent: SentMail, state: MailState.ValueType) -> None:
        """Note that the peer has it."""
        key = RecallId(sent.row.peer, sent.row.exchange_id, sent.mail.entry_recall.handle)
        item = recalls.find(post.connection, post.vault, key)
        if state != MAIL_STATE_DELIVERED or item is None:
            return
        if Event.DELIVER in RECALLING.allowed(item.state, Actor.PEER):
            item.state = RECALLING.after(item.state, Event.DELIVER, Actor.PEER)
            item.changed_us = post.now_us
            recalls.put(post.connection, post.vault, item)
        recalls.note_delivered(post.connection, key)


@dataclass(slots=True)
class DeletionReceiptKind(MailKind):
    """A peer says what became of what this country took back."""

    field = "deletion_receipt"
    overtakes = True

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that the receipt is of the contract, and says either that it is deleted or by which law it is not."""
        del peer
        receipt = mail.deletion_receipt
        _verify_handle(receipt.handle)
        if len(receipt.places) > _MAX_PLACES or not all(map(_is_place, receipt.places)):
            raise MalformedError("places: names in capitals")
        if len(receipt.held_law) > _MAX_LAW or not receipt.held_law.isprintable():
            raise MalformedError(f"held_law: text of at most {_MAX_LAW} characters")
        if bool(receipt.deleted_us) == bool(receipt.held_law) or receipt.withdrawn_us <= 0:
            raise MalformedError("a receipt says when it was deleted, or by which law it is held")
        if receipt.deleted_us < 0 or not 0 <= receipt.held_until_us <= now_us + _LONGEST_HOLD_US:
            raise MalformedError("a time of the receipt is out of range")

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Keep it with the recall.

        Raises:
            NotFoundError: this country recalled no such entry there.
            WorkflowError: it was only proposed, and never sent.
        """
        receipt, mail_id = received.mail.deletion_receipt, received.mail_id
        key = RecallId(mail_id.peer, mail_id.exchange_id, receipt.handle)
        item = recalls.find(post.connection, post.vault, key)
        if item is None:
            raise NotFoundError("a receipt for what was never taken back")
        event = Event.TELL_DELETED if receipt.deleted_us else Event.TELL_HELD
        item.state = RECALLING.after(item.state, event, Actor.PEER)
        item.changed_us, item.due_us = post.now_us, _due_us(receipt)
        item.receipt.CopyFrom(receipt)
        recalls.put(post.connection, post.vault, item)
        received.private.subject, received.private.reason = item.entry_id, str(event).upper()


def _due_us(receipt: DeletionReceipt) -> int:
    """When the next receipt is to be here: what is held is deleted once the hold has ended."""
    return 0 if receipt.deleted_us else receipt.held_until_us + WITHIN_US + CHASE_US


def _is_place(text: str) -> bool:
    return 0 < len(text) <= _MAX_PLACE and text.isascii() and text.replace("_", "").isupper()


@dataclass(slots=True)
class EntryUpdateKind(MailKind):
    """A peer says how an entry is by now."""

    redeciding: Redeciding
    received: ReceivedEntries
    field = "entry_update"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that it is about an entry, and says something."""
        del peer, now_us
        entry = mail.entry_update.entry
        _verify_handle(entry.handle)
        if entry.WhichOneof("entity") is None:
            raise MalformedError("entry: says nothing of what it is about")

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Put it in the place of what the peer told before, wherever that is kept; what was taken back stays so.

        Raises:
            MisdirectedError: the entry is another country's.
            NotFoundError: nothing was told in this exchange.
        """
        mail_id, entry = received.mail_id, received.mail.entry_update.entry
        _verify_peers(post, self.received, received, entry.handle)
        received.private.released = 1
        copies = self.received.copies_of(post.connection, mail_id.peer, entry.handle, post.now_us)
        if mail_id.exchange_id not in {each.exchange_id for each in copies}:
            # Of an answer nothing may be kept but the answer itself: whoever keeps it later, keeps this.
            new = ReceivedEntry(peer=mail_id.peer, originator=mail_id.peer, exchange_id=mail_id.exchange_id)
            new.source = RECEIVED_SOURCE_ANSWER
            copies.append(new)
        for copy in copies:
            if copy.received_id:
                _forget_mail(post, copy)
            copy.entry.CopyFrom(entry)
            copy.disclosed_us = received.sent_us
            self.received.put(post.connection, copy, post.now_us)

    def recheck(self, connection: Connection, sent: SentMail, now_us: int) -> None:
        """Check that the rules still let it leave as it is.

        Raises:
            DeniedError: they do not, or the entry has changed again.
        """
        releasing, told = self.redeciding.releasing, sent.mail.entry_update
        entry_id = releasing.vault.resolve_handle(sent.row.peer, told.entry.handle)
        peer, exchange_id = sent.row.peer, sent.row.exchange_id
        lines = told_last(connection, releasing, entry_id, peer=peer, exchange_id=exchange_id)
        if not lines:
            raise DeniedError("nothing of it was told in this exchange")
        again = self.redeciding.corrected(connection, lines[0], now_us).update
        if again.SerializeToString(deterministic=True) != told.SerializeToString(deterministic=True):
            raise DeniedError("the entry or the rules have changed since")

    def settled(self, post: Post, sent: SentMail, state: MailState.ValueType) -> None:
        """List for recall what could not be corrected."""
        if state == MAIL_STATE_WITHDRAWN:
            handle = sent.mail.entry_update.entry.handle
            why = "its correction may not leave as it was made"
            propose_recalls(post, sent.row.peer, sent.row.exchange_id, [handle], why)
            entry_id = post.vault.resolve_handle(sent.row.peer, handle)
            log_recall(post, entry_id, f"NOT_CORRECTED {sent.row.peer}", LeafPrivate())


def _forget_mail(post: Post, copy: ReceivedEntry) -> None:
    """Forget the mail that brought the older version: it would outlive the copy."""
    this = Copy(copy.received_id, copy.peer, copy.exchange_id, copy.entry.handle, copy.disclosed_us)
    keys = MailBodies().forget(post.connection, this, post.now_us)
    if keys:
        queue_keys(post.connection, keys, post.now_us)
