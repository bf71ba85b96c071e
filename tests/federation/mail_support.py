"""Mail of two kinds for tests, one that overtakes: words are noted, refused, forbidden or answered as a test says."""

import secrets
from dataclasses import dataclass
from dataclasses import field as made

from sqlalchemy import Connection

from node.cli.parts import Parts
from node.errors import DeniedError, EnlaceError, MalformedError
from node.federation.mail_kinds import MailKind, OutgoingMail, Post, ReceivedMail, SentMail
from node.store.mail import MailId
from node.store.mail_listing import list_mail
from node.wire.correspondence_pb2 import ListMailRequest, MailItem, MailState
from node.wire.ledger_pb2 import Direction, LeafPrivate
from node.wire.mail_pb2 import Mail

ORDINARY, OVERTAKING = "request_reply", "request_answer"


@dataclass(eq=False)
class Noted(MailKind):
    """Does with a mail's words what a test says."""

    field: str = ORDINARY
    overtakes: bool = False
    applied: list[tuple[MailId, str]] = made(default_factory=list)
    states: list[tuple[str, MailState.ValueType]] = made(default_factory=list)
    refuse: dict[str, EnlaceError] = made(default_factory=dict)
    forbid: set[str] = made(default_factory=set)
    answer: dict[str, str] = made(default_factory=dict)

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        del peer, now_us
        if not words_of(mail):
            raise MalformedError("no words")

    def apply(self, post: Post, received: ReceivedMail) -> None:
        words, mail_id = words_of(received.mail), received.mail_id
        if words in self.answer:
            post.send(written(mail_id.peer, self.answer[words], exchange_id=mail_id.exchange_id))
        if words in self.refuse:
            raise self.refuse[words]
        self.applied.append((mail_id, words))

    def recheck(self, connection: Connection, sent: SentMail, now_us: int) -> None:
        del connection, now_us
        if words_of(sent.mail) in self.forbid:
            raise DeniedError("a rule forbids it by now")

    def settled(self, post: Post, sent: SentMail, state: MailState.ValueType) -> None:
        del post
        self.states.append((words_of(sent.mail), state))


def words_of(mail: Mail) -> str:
    return mail.request_answer.words or mail.request_reply.words


def written(peer: str, words: str, *, exchange_id: bytes = b"", overtakes: bool = False) -> OutgoingMail:
    mail = Mail()
    (mail.request_answer if overtakes else mail.request_reply).words = words
    return OutgoingMail(peer, exchange_id or secrets.token_bytes(16), mail, LeafPrivate(officer="analyst"))


def install(parts: Parts, *kinds: MailKind) -> None:
    """Have a node know these kinds of mail, and of the fields for tests no others."""
    mailroom = parts.correspondence.mailroom
    known = {name: kind for name, kind in mailroom.by_field.items() if name in {"not_understood", "withdrawn"}}
    mailroom.by_field = {**known, **{kind.field: kind for kind in kinds}}
    mailroom.overtaking = frozenset(kind.field for kind in kinds if kind.overtakes)


async def sent(parts: Parts, *mails: OutgoingMail) -> list[MailId]:
    """Queue mails in one transaction."""
    return await parts.correspondence.mailroom.post(lambda post: [post.send(each) for each in mails])


async def delivered(*nodes: Parts) -> None:
    """Let each node deliver what is due, and what that causes."""
    for _ in range(3):
        for parts in nodes:
            await parts.correspondence.delivering.look()
            await parts.correspondence.delivering.settled()


def mail_here(parts: Parts, direction: Direction.ValueType, **filters: object) -> list[MailItem]:
    """Return mail of one direction, by exchange and number."""
    with parts.database.reading() as connection:
        found = list_mail(connection, ListMailRequest(direction=direction, **filters), 10_000)  # type: ignore[arg-type]
    return sorted(found, key=lambda each: (each.exchange_id, each.number))
