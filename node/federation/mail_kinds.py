"""Kinds of mail: what is done with each, by whoever sends and by whoever receives.

One object for each field of `Mail.content`. All that it does in `apply` and `settled` is in the one transaction that
also writes the ledger line of the mail or of its receipt, on the writer's thread: a few milliseconds at most.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection

from node.errors import MalformedError, NotFoundError, TooLargeError, UsageError
from node.federation.envelope import new_salt, seal
from node.federation.lines import line_of
from node.federation.standing import Standing
from node.store import mail as store
from node.store.lines import Line
from node.store.mail import MailId, OutboxRow
from node.store.vault import Vault
from node.wire.correspondence_pb2 import MAIL_STATE_QUEUED, MailState
from node.wire.envelope_pb2 import STATEMENT_TYPE_MAIL
from node.wire.exchange_pb2 import Body
from node.wire.ledger_pb2 import Decisions, LeafPrivate
from node.wire.mail_pb2 import Mail

LARGEST_BODY = 3 * 65_536
"""Bytes of a padded body that still fit a message between nodes."""


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """A mail to be sent.

    Attributes:
        peer: ISO 3166-1 alpha-2.
        exchange_id: 16 bytes; of the exchange that it belongs to, random where it begins one.
        mail: With its content set.
        private: Of its ledger line; its `reason` is set to the kind, with what stands there behind it.
        decisions: What was decided on each entry that it tells anything of.
    """

    peer: str
    exchange_id: bytes
    mail: Mail
    private: LeafPrivate
    decisions: Decisions | None = None


@dataclass(slots=True)
class ReceivedMail:
    """A verified mail of a peer, in order unless its kind overtakes.

    Attributes:
        mail_id: Peer, exchange id, number.
        mail: Its content.
        sent_us: The time in its statement, UTC microseconds; up to 400 days ago.
        statement_sha256: SHA-256 of its statement, by which others can name it.
        private: Of the ledger line of its receipt: `apply` may fill it in; `reason` is set as in `OutgoingMail`.
        decisions: Likewise.
    """

    mail_id: MailId
    mail: Mail
    sent_us: int
    statement_sha256: bytes
    private: LeafPrivate
    decisions: Decisions | None = None


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail of this country, as it was signed."""

    row: OutboxRow
    mail: Mail


class SealedMail(NamedTuple):
    """A signed mail: the time in its statement, the size of its body, and the envelope, encrypted."""

    sent_us: int
    size: int
    sealed: bytes


@dataclass(slots=True)
class Post:
    """One transaction under way: what a change may do besides changing the database. Valid until the change returns."""

    connection: Connection
    now_us: int
    stamp: Callable[[], int]  # a time that no other mail of this node has, UTC microseconds
    standing: Standing
    vault: Vault
    overtaking: Collection[str]  # kinds
    lines: list[Line]
    peers: set[str] = field(default_factory=set)  # to whom mail is sent
    hurried: set[str] = field(default_factory=set)  # to whom mail is sent that overtakes

    def log(self, line: Line) -> None:
        """Log a line with the change; it has no replay key."""
        self.lines.append(line)

    def send(self, outgoing: OutgoingMail) -> MailId:
        """Queue a mail with its ledger line, and return its id; it leaves once the transaction is committed.

        Raises:
            UnknownMemberError: the peer is not in the directory.
            UsageError: the mail has no content.
            TooLargeError: it does not fit a message between nodes.
        """
        kind = outgoing.mail.WhichOneof("content")
        if kind is None:
            raise UsageError("a mail without content can't be sent")
        self.standing.trust.directory.member(outgoing.peer)
        number = store.take_number(self.connection, outgoing.peer, outgoing.exchange_id)
        mail_id = MailId(outgoing.peer, outgoing.exchange_id, number)
        sealed = self.sealed(mail_id, kind, outgoing.mail, outgoing.private, outgoing.decisions)
        store.enqueue(
            self.connection,
            OutboxRow(
                *mail_id,
                kind=kind,
                overtakes=kind in self.overtaking,
                state=MAIL_STATE_QUEUED,
                queued_us=sealed.sent_us,
                changed_us=self.now_us,
                attempts=0,
                next_us=self.now_us,
                reason="",
                withdrawn=None,
                receipt_sha256=None,
                **sealed._asdict(),
            ),
        )
        self.peers.add(outgoing.peer)
        if kind in self.overtaking:
            self.hurried.add(outgoing.peer)
        return mail_id

    def sealed(
        self, mail_id: MailId, kind: str, mail: Mail, private: LeafPrivate, decisions: Decisions | None = None
    ) -> SealedMail:
        """Sign a mail, log its line, and return what the outbox keeps of it."""
        sent_us = self.stamp()
        sealed = seal(
            self.standing.signer,
            statement_type=STATEMENT_TYPE_MAIL,
            exchange_id=mail_id.exchange_id,
            recipient=mail_id.peer,
            body=Body(salt=new_salt(), mail=mail.SerializeToString()),
            now_us=sent_us,
            directory_version=self.standing.trust.directory.version,
            mail_number=mail_id.number,
        )
        if len(sealed.body) > LARGEST_BODY:
            raise TooLargeError(f"a mail of {len(sealed.body)} bytes does not fit a message between nodes")
        self.log(
            line_of(
                sealed.shared,
                named(private, kind),
                exchange_id=mail_id.exchange_id,
                now_us=self.now_us,
                decisions=decisions,
                sent=sealed,
            )
        )
        return SealedMail(sent_us, len(sealed.body), store.seal_envelope(self.vault, mail_id, sealed.envelope))


class MailKind(ABC):
    """What is done with mail of one kind."""

    field: str
    """Name of its field in `Mail.content`."""

    overtakes: bool = False
    """It leaves at once, and is applied at once though mail before it is missing."""

    @abstractmethod
    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check the content of a peer's mail as such, before anything is looked up.

        Raises:
            EnvelopeError: it is not of the contract; it is refused for good.
        """

    @abstractmethod
    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Do what a peer's mail is for. What is logged or sent through `post` is committed with its receipt.

        Raises:
            EnlaceError: it is refused for good, and the peer is told `public`; but OverloadedError, StoreError,
                LedgerError and DirectoryError make the peer try again. Nothing of it is kept then but a ledger line.
        """

    def recheck(self, connection: Connection, sent: SentMail, now_us: int) -> None:  # noqa: B027 - most need nothing
        """Check, just before each time that a mail leaves, that it still may; on a connection that only reads.

        Raises:
            EnlaceError: it does not leave: an empty one takes its number, and `settled` is called with WITHDRAWN.
        """

    def settled(self, post: Post, sent: SentMail, state: MailState.ValueType) -> None:  # noqa: B027 - likewise
        """Follow what became of a mail: DELIVERED, NOT_UNDERSTOOD, DEAD or WITHDRAWN.

        One that is DEAD may be tried again, and one that was WITHDRAWN may turn out DELIVERED: it had left already, and
        its receipt was lost.
        """


def named(private: LeafPrivate, kind: str) -> LeafPrivate:
    """Return the private part of a line about a mail of this kind."""
    made = LeafPrivate()
    made.CopyFrom(private)
    made.reason = f"{kind.upper()} {private.reason}".rstrip()
    return made


@dataclass(slots=True)
class NotUnderstoodKind(MailKind):
    """The peer has kept a mail of ours, and can't read it yet."""

    settle: Callable[[Post, OutboxRow], None]
    field = "not_understood"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that it names a mail."""
        del peer, now_us
        if not 0 < mail.not_understood.number < 1 << 63:
            raise MalformedError("what was not understood has no number")

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Note it on the mail.

        Raises:
            NotFoundError: this country sent none of that number.
        """
        told = received.mail.not_understood
        row = store.find_sent(post.connection, received.mail_id._replace(number=told.number))
        if row.kind in (self.field, WithdrawnKind.field):
            raise NotFoundError("a mail that every version understands was not")
        self.settle(post, row)


class WithdrawnKind(MailKind):
    """A number whose mail does not come."""

    field = "withdrawn"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Take it as it is: it says nothing."""

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Do nothing."""
