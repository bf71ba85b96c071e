"""Mail from here: written together with the change that causes it, in one transaction with its ledger line.

No log, no disclosure: the line is durable before the mail can leave (`node.federation.delivering`).
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from node.federation.mail_kinds import MailKind, NotUnderstoodKind, Post, SentMail, WithdrawnKind
from node.federation.standing import Standing
from node.store import mail as store
from node.store.lines import Line
from node.store.mail import LONGEST_REASON, OutboxRow
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.correspondence_pb2 import MAIL_STATE_NOT_UNDERSTOOD, MailState
from node.wire.exchange_pb2 import Body
from node.wire.mail_pb2 import Mail

T = TypeVar("T")


@dataclass(slots=True)
class Mailroom:
    """Where mail is written; `kinds` are all that this version knows but the two that belong to mail itself."""

    standing: Standing
    vault: Vault
    writer: Writer
    kinds: Sequence[MailKind]
    clock: Callable[[], int]
    by_field: Mapping[str, MailKind] = field(init=False)
    overtaking: frozenset[str] = field(init=False)  # fields of kinds that do
    waiting: set[str] = field(default_factory=set)  # peers for whom there may be mail that is due
    hurried: set[str] = field(default_factory=set)  # peers that are to be tried now, though they did not answer lately
    bell: asyncio.Event = field(default_factory=asyncio.Event)  # rung with both
    _stamped_us: int = 0

    def __post_init__(self) -> None:
        """Find the kinds by their fields."""
        every = (*self.kinds, NotUnderstoodKind(self._not_understood), WithdrawnKind())
        self.by_field = {kind.field: kind for kind in every}
        self.overtaking = frozenset(kind.field for kind in every if kind.overtakes)

    async def post(self, change: Callable[[Post], T], priority: Priority = Priority.DESK) -> T:
        """Make a change that sends mail or logs lines through the `Post` it is given, and return what it returns.

        It is run as one of `Writer.submit`: all is committed, or nothing.

        Raises:
            EnlaceError: what the change raises; or LedgerError: it could not be written.
        """
        return await self.submit(change, priority)

    def submit(self, change: Callable[[Post], T], priority: Priority) -> "asyncio.Future[T]":
        """Hand a change over, as `post` does; changes of one priority are made in the order in which they came."""

        def run(connection: Connection, lines: list[Line]) -> tuple[T, Collection[str], Collection[str]]:
            post = Post(connection, self.clock(), self._stamp, self.standing, self.vault, self.overtaking, lines)
            return change(post), post.peers, post.hurried

        return asyncio.ensure_future(self._ringing(asyncio.wrap_future(self.writer.submit_logging(run, priority))))

    def _stamp(self) -> int:
        """Return the time, a microsecond behind the last one at least: two mails are told apart by it."""
        self._stamped_us = max(self.clock(), self._stamped_us + 1)
        return self._stamped_us

    async def _ringing(self, made: "asyncio.Future[tuple[T, Collection[str], Collection[str]]]") -> T:
        result, peers, hurried = await made
        if peers:
            self.ring(peers, hurried)
        return result

    def ring(self, peers: Collection[str], hurried: Collection[str] = ()) -> None:
        """Have mail to these peers delivered; to those hurried, also where they did not answer lately."""
        self.waiting.update(peers)
        self.hurried.update(hurried)
        self.bell.set()

    def settle(
        self,
        post: Post,
        sent: SentMail,
        state: MailState.ValueType,
        reason: str = "",
        **columns: Any,  # noqa: ANN401 - as SQLAlchemy takes them
    ) -> None:
        """Note what became of a mail of this country, with other columns of the outbox, and let its kind follow."""
        values = {"state": state, "changed_us": post.now_us, "reason": reason[:LONGEST_REASON]}
        store.change_sent(post.connection, sent.row.mail_id, **values, **columns)
        kind = self.by_field.get(sent.row.kind)
        if kind is not None:
            kind.settled(post, sent, state)

    def _not_understood(self, post: Post, row: OutboxRow) -> None:
        self.settle(post, SentMail(row, self.mail_of(row)), MAIL_STATE_NOT_UNDERSTOOD)

    def mail_of(self, row: OutboxRow) -> Mail:
        """Return what a mail of this country says, also where it was withdrawn.

        Raises:
            KeyErasedError, DecryptionError: it can't be read any more.
        """
        envelope = store.open_envelope(self.vault, row.mail_id, row.withdrawn or row.sealed)
        return Mail.FromString(Body.FromString(envelope.body).mail)
