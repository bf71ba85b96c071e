"""Deletes what is past its date: own records, other countries' entries, and the answers that brought them.

Each deletion commits with its ledger line, and the keys go right after. Nothing extends a date but a recorded decision
(`node.desk.reviewing`, `node.desk.received`), and nothing stops a deletion but a legal hold.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, Protocol

from sqlalchemy import Connection, select

from node.errors import NotFoundError
from node.federation import metrics
from node.federation.envelope import Signer
from node.federation.lines import line_of, local_line, shared_of_event
from node.store import mail, purge, retention, withdrawals
from node.store.database import Database
from node.store.entries import Entries
from node.store.frozen import Frozen
from node.store.lines import Line
from node.store.mail_tables import inbox
from node.store.received import ReceivedEntries
from node.store.received_rows import queue_keys
from node.store.vault import Vault
from node.store.withdrawals import Copy
from node.store.writer import Priority, Writer
from node.wire.ledger_pb2 import LeafKind, LeafPrivate

MOST: Final = 100
"""Records of a kind that one round deletes, so that a day on which many are due starves nothing."""


class Beside(Protocol):
    """What lies beside a received entry and goes with it; `place` is what a deletion receipt calls it."""

    place: str

    def forget(self, connection: Connection, copy: Copy, now_us: int) -> Sequence[bytes] | None:
        """Delete it, and return the ids of the keys that sealed it; None where there was nothing."""


class MailBodies:
    """The mail that brought a copy: what it said is forgotten, that it came is not."""

    place = "MAIL_BODY"

    def forget(self, connection: Connection, copy: Copy, now_us: int) -> Sequence[bytes] | None:
        """Forget what the mail said that was signed at the time of the disclosure."""
        del now_us
        came = inbox.c
        this = (came.peer == copy.peer, came.exchange_id == copy.exchange_id, came.sent_us == copy.disclosed_us)
        numbers = connection.execute(select(came.number).where(*this, came.sealed.is_not(None))).scalars().all()
        return mail.erase_received(connection, copy.peer, copy.exchange_id, numbers) if numbers else None


class NotDueError(NotFoundError):
    """A record is not due any more: it was decided otherwise, or another process was quicker."""


class _Due(NamedTuple):
    """What is past its date and not held, at most `MOST` of a kind."""

    copies: list[Copy]
    answers: list[tuple[str, bytes]]
    entries: list[bytes]

    @property
    def number(self) -> int:
        return len(self.copies) + len(self.answers) + len(self.entries)


@dataclass(slots=True)
class Purging:
    """Looks for what is due; one per process, several may share a database."""

    signer: Signer
    database: Database
    vault: Vault
    writer: Writer
    entries: Entries
    frozen: Frozen
    received: ReceivedEntries
    clock: Callable[[], int]
    beside: list[Beside] = field(default_factory=lambda: [MailBodies()])

    async def look(self) -> None:
        """Delete what is due, at most `MOST` of a kind, and the keys of what is gone; to be called again and again."""
        now_us = self.clock()
        await self._look_to_holds(now_us)
        due = await self.database.read(self._due, now_us)
        for copy in due.copies:
            set_right = partial(self.received.set_right, received_id=copy.received_id)
            await self._delete(partial(self._forget_copy, copy, now_us), self._line_of_copy(copy), set_right)
        for peer, exchange_id in due.answers:
            line = self._line_of(LeafPrivate(subject=exchange_id, reason="ANSWER"), exchange_id, peer)
            await self._delete(partial(self._forget_answer, peer, exchange_id, now_us), line)
        for entry_id in due.entries:
            set_right = partial(purge.set_right, kept=self.entries, entry_id=entry_id)
            line = self._local_line(entry_id, "ENTRY")
            await self._delete(partial(self._forget_entry, entry_id, now_us), line, set_right)
        for case_id in await self.database.read(purge.due_cases, now_us, MOST):  # those too that are empty only now
            await self._delete(partial(self._forget_case, case_id, now_us), self._local_line(case_id, "CASE"))
        await self._erase_keys()
        if settled := await self.database.read(withdrawals.settled):
            await self._write(partial(withdrawals.settle, deletion_ids=settled, now_us=self.clock()))
        metrics.OVERDUE.set((await self.database.read(self._due, now_us)).number if due.number else 0)

    def _due(self, connection: Connection, now_us: int) -> _Due:
        return _Due(
            self.received.due(connection, now_us, purge.held_copies(now_us), MOST),
            purge.due_answers(connection, now_us, MOST),
            purge.due_entries(connection, now_us, MOST),
        )

    async def _look_to_holds(self, now_us: int) -> None:
        """Drop holds that this node did not place, and those that have ended, before anything is held by them."""
        if await self.database.read(retention.to_drop, self.vault, now_us):
            await self._write(partial(retention.drop, vault=self.vault, now_us=now_us))

    async def _erase_keys(self) -> None:
        while keys := await self.database.read(purge.keys_to_erase):
            await asyncio.to_thread(self.vault.erase_keys, keys, self.clock())
            await self._write(partial(purge.erased, key_ids=keys))

    async def _delete(
        self,
        forget: Callable[[Connection], None],
        line: Line,
        set_right: Callable[[Connection], None] | None = None,
    ) -> None:
        try:
            await asyncio.wrap_future(self.writer.submit(forget, [line], Priority.BACKGROUND))
        except NotDueError:
            if set_right is not None:  # else it would be looked at for ever
                await self._write(set_right)

    async def _write(self, change: Callable[[Connection], object]) -> None:
        await asyncio.wrap_future(self.writer.submit(change, (), Priority.BACKGROUND))

    # --- what goes ---------------------------------------------------------------------------------------------------

    def _forget_copy(self, copy: Copy, now_us: int, connection: Connection) -> None:
        if not self.received.is_due(connection, copy.received_id, now_us, purge.held_copies(now_us)):
            raise NotDueError("the received entry is not due")
        for each in self.beside:
            keys = each.forget(connection, copy, now_us)
            if keys is not None:
                queue_keys(connection, keys, now_us)
                withdrawals.add_place(connection, copy, each.place)
        self.received.forget(connection, copy.received_id, now_us)

    def _forget_answer(self, peer: str, exchange_id: bytes, now_us: int, connection: Connection) -> None:
        if not purge.forget_answer(connection, peer, exchange_id, now_us):
            raise NotDueError("the answer is gone")

    def _forget_entry(self, entry_id: bytes, now_us: int, connection: Connection) -> None:
        if not purge.forget_entry(connection, self.entries, entry_id, now_us):
            raise NotDueError("the entry is not due")
        self.frozen.load(connection)

    def _forget_case(self, case_id: bytes, now_us: int, connection: Connection) -> None:
        if not purge.forget_case(connection, case_id, now_us):
            raise NotDueError("the case is not due")

    # --- lines -------------------------------------------------------------------------------------------------------

    def _line_of_copy(self, copy: Copy) -> Line:
        return self._line_of(LeafPrivate(subject=copy.received_id, reason="RECEIVED"), copy.exchange_id, copy.peer)

    def _line_of(self, private: LeafPrivate, exchange_id: bytes, peer: str) -> Line:
        """Make a line in the exchange that brought what is deleted."""
        now_us = self.clock()
        kind = LeafKind.LEAF_KIND_DELETED
        shared = shared_of_event(kind, self.signer, now_us, exchange_id=exchange_id, peer=peer)
        return line_of(shared, private, exchange_id=exchange_id, now_us=now_us)

    def _local_line(self, subject: bytes, reason: str) -> Line:
        private = LeafPrivate(subject=subject, reason=reason)
        return local_line(LeafKind.LEAF_KIND_DELETED, private, self.signer, self.clock())
