"""Taking back and correcting what peers were told; whoever asks for it, these functions alone send it.

A recall goes to everybody who learnt of the entry, by the ledger's lines. It overtakes whatever else is under way, and
so does its receipt. A receipt proves what the peer asserts, not that the copies are gone.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from node.errors import DeniedError, UnknownMemberError
from node.federation import metrics
from node.federation.freezing import Freezing
from node.federation.lines import local_line
from node.federation.mail_kinds import OutgoingMail, Post
from node.federation.mailroom import Mailroom
from node.federation.noticing import recall_of
from node.federation.proposing import log_recall
from node.federation.redeciding import Redeciding, told_last
from node.store import recalls, shares, withdrawals
from node.store.database import Database
from node.store.freezes import may_be_origin
from node.store.recalls import RecallId, due_us
from node.store.traces import Given
from node.store.withdrawals import Deletion, DeletionGround
from node.store.writer import Priority
from node.wire.ledger_pb2 import LeafKind, LeafPrivate
from node.wire.mail_pb2 import Mail
from node.wire.share_pb2 import DeletionReceipt
from node.wire.sharing_pb2 import NotSent, RecallItem, UpdateItem
from node.workflow.recalls import RECALLING, Actor, Event, State

log = structlog.get_logger()

T = TypeVar("T")

MOST_UNTOLD = 1_000


@dataclass(slots=True)
class Recalling:
    """Sends recalls, corrections and receipts, and chases receipts that are missing."""

    mailroom: Mailroom
    database: Database
    redeciding: Redeciding
    freezing: Freezing

    # --- who got it --------------------------------------------------------------------------------------------------

    async def told(
        self, entry_id: bytes, peers: Collection[str], *, focal_point: bool
    ) -> tuple[list[Given], list[NotSent]]:
        """Return by which lines peers learnt of an entry last, and of whom a unit may not decide.

        Whether a state of origin sees something no more, is for a focal point to decide: it may tell where somebody is.

        Args:
            entry_id: Own, also one that is deleted.
            peers: Of interest; all where it is empty.
            focal_point: A focal point asks, and names peers.
        """
        await self.freezing.catch_up()
        return await self.database.read(self._told, entry_id, frozenset(peers), focal_point)

    def _told(
        self,
        connection: Connection,
        entry_id: bytes,
        peers: frozenset[str],
        focal_point: bool,  # noqa: FBT001 - as `Database.read` hands it on
    ) -> tuple[list[Given], list[NotSent]]:
        found: list[Given] = []
        kept_back: list[NotSent] = []
        for given in told_last(connection, self.redeciding.releasing, entry_id):
            peer = given.shared.peer
            if peers and peer not in peers:
                continue
            entry, frozen = self.redeciding.seen(connection, given, self.mailroom.clock())
            # Of what is gone, nobody can say that the peer is not one.
            origin = entry is None or may_be_origin(entry, peer)
            if frozen:
                why = "it goes on seeing the entry as it was, until a focal point decides how long (enlace freeze)"
            elif origin and not (focal_point and peers):
                why = "it may be a state of origin: a focal point decides, and names it"
            else:
                found.append(given)
                continue
            kept_back.append(NotSent(peer=peer, entry_id=entry_id, why=why))
        return found, kept_back

    # --- sending -----------------------------------------------------------------------------------------------------

    async def recall(self, given: Given, reason: str, private: LeafPrivate, actor: Actor) -> RecallItem:
        """Take back what a line tells; the reason stays here.

        Raises:
            UnknownMemberError: the peer is not in the directory any more.
            WorkflowError: it can't be recalled as it stands.
        """
        key = RecallId(given.shared.peer, given.shared.exchange_id, given.decided.handle)
        send = partial(self._recall, key=key, entry_id=given.decided.entry_id, reason=reason, private=private)
        return await self.mailroom.post(partial(send, actor=actor))

    async def recall_again(self, key: RecallId, reason: str, private: LeafPrivate, actor: Actor) -> RecallItem:
        """Send a recall that is written down: one that was proposed.

        Raises:
            NotFoundError: there is none.
            UnknownMemberError, WorkflowError: as `recall`.
        """
        item = await self.database.read(recalls.get, self.mailroom.vault, key)
        send = partial(self._recall, key=key, entry_id=item.entry_id, reason=reason, private=private)
        return await self.mailroom.post(partial(send, actor=actor))

    def _recall(
        self, post: Post, *, key: RecallId, entry_id: bytes, reason: str, private: LeafPrivate, actor: Actor
    ) -> RecallItem:
        old = recalls.find(post.connection, post.vault, key)
        state = RECALLING.after(old.state if old is not None else RECALLING.start, Event.SEND, actor)
        item = RecallItem(
            peer=key.peer,
            exchange_id=key.exchange_id,
            handle=key.handle,
            entry_id=entry_id,
            state=state,
            at_us=post.now_us,
            changed_us=post.now_us,
            due_us=due_us(post.now_us),
            reason=reason,
            officer=private.officer,
        )
        recalls.put(post.connection, post.vault, item)
        self._send(post, key, entry_id, private)
        return item

    def _send(self, post: Post, key: RecallId, entry_id: bytes, private: LeafPrivate) -> None:
        made = LeafPrivate()
        made.CopyFrom(private)
        made.subject, made.reason = entry_id, ""
        post.send(OutgoingMail(key.peer, key.exchange_id, Mail(entry_recall=recall_of(key.handle)), made))
        recalls.note_sent(post.connection, key, post.now_us)

    async def update(self, given: Given, private: LeafPrivate) -> UpdateItem:
        """Send an entry as it is now, as the rules let it leave, to who learnt of it by a line.

        Raises:
            DeniedError: nothing is sent; the text says why.
            UnknownMemberError: the peer is not in the directory any more.
        """
        return await self.mailroom.post(partial(self._update, given=given, private=private))

    def _update(self, post: Post, *, given: Given, private: LeafPrivate) -> UpdateItem:
        corrected = self.redeciding.corrected(post.connection, given, post.now_us)
        peer, exchange_id = given.shared.peer, given.shared.exchange_id
        policy = post.standing.policy_for(peer, post.now_us)
        made = LeafPrivate()
        made.CopyFrom(private)
        made.subject, made.reason, made.released = given.decided.entry_id, "", 1
        made.purpose, made.instrument = given.private.purpose, given.private.instrument
        made.floor_sha256 = policy.floor.sha256 if policy.floor else b""
        made.release_sha256 = policy.release.sha256 if policy.release else b""
        post.send(OutgoingMail(peer, exchange_id, Mail(entry_update=corrected.update), made, corrected.decisions))
        handle, entry_id = given.decided.handle, given.decided.entry_id
        return UpdateItem(peer=peer, exchange_id=exchange_id, handle=handle, entry_id=entry_id)

    async def each(
        self, told: Sequence[Given], send: Callable[[Given], Awaitable[T]], not_sent: list[NotSent]
    ) -> list[T]:
        """Send to each of those told, and note to whom nothing could be sent and why."""
        found = []
        for given in told:
            try:
                found.append(await send(given))
            except (DeniedError, UnknownMemberError) as error:
                not_sent.append(NotSent(peer=given.shared.peer, entry_id=given.decided.entry_id, why=str(error)))
        return found

    async def let_stand(self, key: RecallId, reason: str, private: LeafPrivate) -> RecallItem:
        """Leave with the peer what a recall was proposed for.

        Raises:
            NotFoundError: there is none.
            WorkflowError: it is not proposed.
        """
        return await self.mailroom.post(partial(self._let_stand, key=key, reason=reason, private=private))

    def _let_stand(self, post: Post, *, key: RecallId, reason: str, private: LeafPrivate) -> RecallItem:
        item = recalls.get(post.connection, post.vault, key)
        item.state = RECALLING.after(item.state, Event.LET_STAND, Actor.FOCAL_POINT)
        item.changed_us, item.reason, item.officer = post.now_us, reason, private.officer
        recalls.put(post.connection, post.vault, item)
        log_recall(post, item.entry_id, f"STANDS {key.peer}", private)
        return item

    # --- by the clock ------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Send receipts of what is deleted or held here, and chase those that are missing; to be called again."""
        now_us, vault = self.mailroom.clock(), self.mailroom.vault
        for deletion in await self.database.read(withdrawals.untold, now_us, MOST_UNTOLD):
            if deletion.peer in self.mailroom.standing.trust.pairings:  # of others nobody receives anything
                await self._post(partial(send_receipt, deletion_id=deletion.deletion_id))
        for item in await self.database.read(recalls.late, vault, now_us):
            await self._post(partial(self._miss, key=_key(item)))
        for item in await self.database.read(recalls.to_chase, vault, now_us):
            if item.peer in self.mailroom.standing.trust.pairings:
                await self._post(partial(self._chase, key=_key(item)))
        await self._purge(now_us)
        for state, number in (await self.database.read(recalls.count)).items():
            metrics.RECALLS.labels(state).set(number)

    async def _purge(self, now_us: int) -> None:
        """Delete what was done long ago; the keys first, so that a crash leaves nothing that can be read."""
        old = await self.database.read(shares.outdated, now_us)
        if old:
            self.mailroom.vault.erase_keys([key for *_, key in old], now_us)
            await self._post(partial(_forget, old=old))

    async def _post(self, change: Callable[[Post], None]) -> None:
        await self.mailroom.post(change, Priority.BACKGROUND)

    def _miss(self, post: Post, *, key: RecallId) -> None:
        item = recalls.get(post.connection, post.vault, key)
        if item.due_us > post.now_us or Event.MISS not in RECALLING.allowed(item.state, Actor.CLOCK):
            return  # a receipt came meanwhile
        item.state, item.changed_us = RECALLING.after(item.state, Event.MISS, Actor.CLOCK), post.now_us
        recalls.put(post.connection, post.vault, item)
        log_recall(post, item.entry_id, f"RECEIPT_MISSING {key.peer}")
        log.warning("deletion_receipt_missing", peer=key.peer)

    def _chase(self, post: Post, *, key: RecallId) -> None:
        item = recalls.get(post.connection, post.vault, key)
        if item.state != State.OVERDUE:
            return
        item.state = RECALLING.after(item.state, Event.CHASE, Actor.CLOCK)
        item.changed_us, item.chased = post.now_us, item.chased + 1
        recalls.put(post.connection, post.vault, item)
        self._send(post, key, item.entry_id, LeafPrivate())


def _forget(post: Post, *, old: Sequence[shares.Outdated]) -> None:
    shares.forget(post.connection, old)
    private = LeafPrivate(reason=f"SHARES {len(old)}")
    post.log(local_line(LeafKind.LEAF_KIND_DELETED, private, post.standing.signer, post.now_us))


def send_receipt(post: Post, deletion_id: bytes) -> None:
    """Tell who took something back what became of it here, as far as nobody has told yet."""
    deletion = withdrawals.get(post.connection, deletion_id, post.now_us)
    withdrawals.tell(post.connection, deletion_id)
    if deletion.ground != DeletionGround.RECALL or not deletion.handle:
        return  # nobody waits for a receipt
    private = LeafPrivate(subject=deletion_id, reason="DELETED" if deletion.deleted_us else "HELD")
    mail = Mail(deletion_receipt=receipt_of(deletion))
    post.send(OutgoingMail(deletion.peer, deletion.exchange_id, mail, private))


def receipt_of(deletion: Deletion) -> DeletionReceipt:
    """Return what is said of a deletion: where the copies were, and nothing of what this country did with them."""
    deleted = bool(deletion.deleted_us)
    return DeletionReceipt(
        handle=deletion.handle,
        copies=deletion.copies,
        places=deletion.places,
        withdrawn_us=deletion.withdrawn_us,
        deleted_us=deletion.deleted_us,
        backups_until_us=deletion.backups_until_us,
        held_law="" if deleted else deletion.held_law,
        held_until_us=0 if deleted else deletion.held_until_us,
    )


def _key(item: RecallItem) -> RecallId:
    return RecallId(item.peer, item.exchange_id, item.handle)
