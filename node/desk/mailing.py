"""Mail at the desk: where each stands, and what to do with what was given up."""

import re
from dataclasses import dataclass
from functools import partial
from typing import Final

from node.desk.officers import private_of_officer
from node.errors import NotFoundError, UsageError
from node.federation.lines import local_line
from node.federation.mail_kinds import Post
from node.federation.mailroom import Mailroom
from node.store import mail as store
from node.store.database import Database
from node.store.mail import InboxRow, MailId, OutboxRow
from node.store.mail_listing import list_mail, queues, received_item, sent_item
from node.store.officers import Officer
from node.wire.correspondence_pb2 import (
    GetMailRequest,
    GetMailResponse,
    ListMailRequest,
    ListMailResponse,
    RetryMailRequest,
)
from node.wire.desk_pb2 import OFFICER_ROLE_FOCAL_POINT
from node.wire.ledger_pb2 import Direction, LeafKind

LISTED: Final = 1_000
_COUNTRY: Final = re.compile("[A-Z]{2}")
_EXCHANGE_ID_BYTES: Final = 16


@dataclass(slots=True)
class Mailing:
    """Serves whoever looks after mail."""

    mailroom: Mailroom
    database: Database

    async def list_mail(self, request: ListMailRequest, officer: Officer) -> ListMailResponse:
        """Return mail without contents, and what waits for each peer; that it was listed is a line.

        Raises:
            UsageError: the peer or the exchange id is none.
        """
        _verify_ids(request.peer, request.exchange_id)
        await self._note(officer, f"MAIL {request.peer}".rstrip(), request.exchange_id)
        items = await self.database.read(list_mail, request, min(request.limit or 100, LISTED))
        return ListMailResponse(items=items, queues=await self.database.read(queues))

    async def get_mail(self, request: GetMailRequest, officer: Officer) -> GetMailResponse:
        """Return one mail, with its content for a focal point alone; that it was read is a line.

        Raises:
            UsageError: the peer or the exchange id is none.
            NotFoundError: there is no such mail, or its content was erased.
        """
        _verify_ids(request.peer, request.exchange_id)
        mail_id = MailId(request.peer, request.exchange_id, request.number)
        row: OutboxRow | InboxRow | None
        if request.direction == Direction.DIRECTION_RECEIVED:
            row = await self.database.read(store.find_received, mail_id)
        else:
            row = await self.database.read(store.find_sent, mail_id)
        if row is None:
            raise NotFoundError("no such mail came")
        in_full = OFFICER_ROLE_FOCAL_POINT in officer.roles
        await self._note(
            officer, f"MAIL {row.peer} {row.number} {'CONTENT' if in_full else ''}".rstrip(), row.exchange_id
        )
        item = sent_item(row) if isinstance(row, OutboxRow) else received_item(row)
        if not in_full:
            return GetMailResponse(item=item)
        if isinstance(row, OutboxRow):
            return GetMailResponse(item=item, mail=self.mailroom.mail_of(row).SerializeToString())
        if row.sealed is None:
            return GetMailResponse(item=item)
        return GetMailResponse(item=item, mail=store.open_received(self.mailroom.vault, mail_id, row.sealed))

    async def retry(self, request: RetryMailRequest, officer: Officer) -> int:
        """Queue dead mail again, with what is blocked behind it, and return how much; the line says who did.

        Raises:
            UsageError: the peer or the exchange id is none, or a number stands alone.
            NotFoundError: nothing of it is dead.
        """
        _verify_ids(request.peer, request.exchange_id)
        if not request.peer or (request.number and not request.exchange_id):
            raise UsageError("say which peer, and of one mail its exchange and number")
        return await self.mailroom.post(partial(self._retry, request=request, officer=officer))

    def _retry(self, post: Post, *, request: RetryMailRequest, officer: Officer) -> int:
        queued = store.retry(post.connection, request.peer, request.exchange_id, request.number, post.now_us)
        private = private_of_officer(officer, subject=request.exchange_id, reason=f"RETRIED {queued}")
        signer = self.mailroom.standing.signer
        post.log(local_line(LeafKind.LEAF_KIND_MAIL, private, signer, post.now_us, peer=request.peer))
        post.peers.add(request.peer)
        post.hurried.add(request.peer)
        return queued

    async def _note(self, officer: Officer, reason: str, subject: bytes) -> None:
        private = private_of_officer(officer, subject=subject, reason=reason)
        line = local_line(LeafKind.LEAF_KIND_READ, private, self.mailroom.standing.signer, self.mailroom.clock())
        await self.mailroom.writer.append(line)


def _verify_ids(peer: str, exchange_id: bytes) -> None:
    if peer and not _COUNTRY.fullmatch(peer):
        raise UsageError("peer: is no country's code of two capital letters")
    if exchange_id and len(exchange_id) != _EXCHANGE_ID_BYTES:
        raise UsageError("exchange: is 32 hexadecimal digits")
