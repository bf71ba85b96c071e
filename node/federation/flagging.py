"""Flags by mail: an entry of the recipient's is wrong, about the same person, or not for the sender's law.

A flag tells of a record too: that the sender holds one of the same person leaves only as far as its rules let the
recipient know of that record, decided and redacted like an answer.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.errors import DeniedError, MalformedError, NotFoundError
from node.federation.mail_kinds import MailKind, OutgoingMail, Post, ReceivedMail, SentMail
from node.federation.releasing import Composed, Releasing, verify_composed
from node.federation.request_steps import shown_in
from node.federation.sharing import Sharer, composed_share, kept_share
from node.policy.follow_up import verify_answer
from node.policy.vocabulary import CATEGORIES
from node.store import shares
from node.store.ids import ID_BYTES
from node.store.received import ReceivedEntries
from node.wire.exchange_pb2 import Hit, HitOnly
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, LeafPrivate
from node.wire.mail_pb2 import Mail
from node.wire.received_pb2 import RECEIVED_SOURCE_SHARE, ReceivedEntry
from node.wire.request_pb2 import REQUEST_OUTCOME_GRANTED, RequestAnswer
from node.wire.share_pb2 import FLAG_KIND_SAME_PERSON, Flag, FlagKind
from node.wire.sharing_pb2 import FlagItem

NOTHING_SAID: Final = "the rules let the peer know nothing of this entry: nothing is said"


def composed_basis(releasing: Releasing, connection: Connection, item: FlagItem, now_us: int) -> Composed:
    """Return what leaves of the own entry that a flag rests on, as `FlagItem.draft` names it.

    Raises:
        DeniedError: nothing may, or focal points decide on it first.
    """
    ids = item.exchange_id, item.flag.flag_id
    sharer = Sharer(item.officer, item.officer)  # of whom nothing leaves here
    kept = kept_share(releasing.vault, item.draft, item.peer, ids=ids, sharer=sharer, at_us=item.at_us)
    composed, held = composed_share(releasing, connection, kept, "", now_us)
    if held:
        raise DeniedError("a rule has focal points decide what the peer hears of it: share it instead")
    if composed.answer is None:
        raise DeniedError(NOTHING_SAID)
    return composed


def send_flag(post: Post, releasing: Releasing, item: FlagItem, private: LeafPrivate) -> FlagItem:
    """Queue a flag and write it down.

    Raises:
        DeniedError: the rules do not let the peer know of the entry that it rests on.
    """
    decisions = None
    if item.HasField("draft"):
        composed = composed_basis(releasing, post.connection, item, post.now_us)
        item.flag.basis.CopyFrom(verify_composed(composed).hits[0])
        private.purpose, private.instrument = item.draft.purpose, item.draft.instrument
        private.case_reference = item.draft.case_reference
        private.floor_sha256, private.release_sha256 = composed.floor_sha256, composed.release_sha256
        private.released = int(item.flag.basis.HasField("entry"))
        private.hits = 1 - private.released
        decisions = composed.decisions()
    private.reason = FlagKind.Name(item.flag.kind).removeprefix("FLAG_KIND_")
    post.send(OutgoingMail(item.peer, item.exchange_id, Mail(flag=item.flag), private, decisions))
    shares.put_flag(post.connection, post.vault, _without_entry(item))
    return item


def _without_entry(item: FlagItem) -> FlagItem:
    """Return a flag as it is kept: what it released of an entry lies elsewhere, with its date of deletion."""
    kept = FlagItem()
    kept.CopyFrom(item)
    if item.flag.basis.HasField("entry"):
        kept.flag.basis.CopyFrom(Hit(hit=HitOnly(handle=item.flag.basis.entry.handle)))
    return kept


@dataclass(slots=True)
class FlagMailKind(MailKind):
    """A peer says something of an entry of this country's."""

    releasing: Releasing
    received: ReceivedEntries
    field = "flag"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that the flag is of the contract."""
        del peer, now_us
        flag = mail.flag
        if len(flag.flag_id) != ID_BYTES or len(flag.handle) != ID_BYTES:
            raise MalformedError(f"flag_id, handle: have {ID_BYTES} bytes")
        if not flag.kind or flag.kind not in FlagKind.values():
            raise MalformedError("kind: is wrong, same person or incompatible")
        if not _are_known(flag.categories):
            raise MalformedError("categories: each once, of this contract's list")
        if flag.HasField("basis") != (flag.kind == FLAG_KIND_SAME_PERSON):
            raise MalformedError("basis: goes with the same person, and with nothing else")
        if flag.HasField("basis"):
            outcome = REQUEST_OUTCOME_GRANTED
            verify_answer(RequestAnswer(request_id=flag.flag_id, outcome=outcome, hits=[flag.basis]))

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Show it to this country's desks; what it tells of the peer's own entry is kept like a share.

        Raises:
            NotFoundError: this country told the peer of no such entry in this exchange.
        """
        flag, mail_id = received.mail.flag, received.mail_id
        if flag.handle not in shown_in(post.connection, post.vault, mail_id.exchange_id, mail_id.peer):
            raise NotFoundError("a flag on what was not told in this exchange")
        if flag.basis.HasField("entry"):
            new = ReceivedEntry(
                peer=mail_id.peer,
                originator=mail_id.peer,
                exchange_id=mail_id.exchange_id,
                disclosed_us=received.sent_us,
                source=RECEIVED_SOURCE_SHARE,
                entry=flag.basis.entry,
            )
            self.received.put(post.connection, new, post.now_us)
        item = FlagItem(
            direction=DIRECTION_RECEIVED,
            peer=mail_id.peer,
            exchange_id=mail_id.exchange_id,
            entry_id=post.vault.resolve_handle(mail_id.peer, flag.handle),
            flag=flag,
            at_us=post.now_us,
        )
        shares.put_flag(post.connection, post.vault, _without_entry(item))
        received.private.subject = item.entry_id
        received.private.reason = FlagKind.Name(flag.kind).removeprefix("FLAG_KIND_")

    def recheck(self, connection: Connection, sent: SentMail, now_us: int) -> None:
        """Check that the rules still let the peer know of the entry that the flag rests on.

        Raises:
            DeniedError: they do not, or the entry has changed.
        """
        flag = sent.mail.flag
        if not flag.HasField("basis"):
            return
        item = shares.find_flag(connection, self.releasing.vault, DIRECTION_SENT, sent.row.peer, flag.flag_id)
        composed = composed_basis(self.releasing, connection, item, now_us)
        if verify_composed(composed).hits[0] != flag.basis:
            raise DeniedError("the entry or the rules have changed since")


def verify_flag(flag: Flag, *, rests: bool) -> None:
    """Check what an officer says, before anything is looked up; `rests` on an own entry.

    Raises:
        MalformedError: it is not complete.
    """
    if not flag.kind or flag.kind not in FlagKind.values():
        raise MalformedError("kind: is wrong, same_person or incompatible")
    if not _are_known(flag.categories):
        raise MalformedError("categories: each once, of this contract's list")
    if rests != (flag.kind == FLAG_KIND_SAME_PERSON):
        raise MalformedError("entry: of the same person, name your own entry; with other flags, none")


def _are_known(categories: Collection[int]) -> bool:
    return len(set(categories)) == len(categories) and all(each and each in CATEGORIES for each in categories)
