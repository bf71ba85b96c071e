"""Mail as it is kept: numbered by exchange, sealed, with its state.

All of this runs in transactions that hold the ledger's head (`node.store.writer`), so that numbers have no gaps and
no two processes take the same one.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from node.errors import NotFoundError
from node.store.mail_tables import inbox, mail_exchanges, outbox
from node.store.vault import Vault, key_id_of
from node.wire.correspondence_pb2 import (
    MAIL_STATE_BLOCKED,
    MAIL_STATE_DEAD,
    MAIL_STATE_DELIVERED,
    MAIL_STATE_NOT_UNDERSTOOD,
    MAIL_STATE_QUEUED,
    MAIL_STATE_WITHDRAWN,
    MailState,
)
from node.wire.delivery_pb2 import MailHead
from node.wire.envelope_pb2 import Envelope

LONGEST_REASON: Final = 100
_SIZE_BYTES: Final = 4
_SETTLED: Final = (MAIL_STATE_DELIVERED, MAIL_STATE_NOT_UNDERSTOOD, MAIL_STATE_WITHDRAWN)
HEADS: Final = 500
"""Exchanges told of at once."""
_IDS: Final = 250  # of one statement
RECEIPT_BYTES: Final = 1_024  # of a receipt's body: it fits the smallest class


class MailId(NamedTuple):
    """What names a mail to or from this country."""

    peer: str
    exchange_id: bytes
    number: int


class OutboxRow(NamedTuple):
    """A mail that leaves, or left."""

    peer: str
    exchange_id: bytes
    number: int
    kind: str
    overtakes: bool
    state: MailState.ValueType
    queued_us: int
    sent_us: int
    changed_us: int
    attempts: int
    next_us: int
    reason: str
    size: int
    sealed: bytes
    withdrawn: bytes | None
    receipt_sha256: bytes | None

    @property
    def mail_id(self) -> MailId:
        """What names it."""
        return MailId(self.peer, self.exchange_id, self.number)


class InboxRow(NamedTuple):
    """A mail that came."""

    peer: str
    exchange_id: bytes
    number: int
    kind: str
    state: MailState.ValueType
    sent_us: int
    changed_us: int
    reason: str
    size: int
    body_sha256: bytes
    sealed: bytes | None
    receipt: bytes | None

    @property
    def mail_id(self) -> MailId:
        """What names it."""
        return MailId(self.peer, self.exchange_id, self.number)


# --- sealing ---------------------------------------------------------------------------------------------------------


def seal_envelope(vault: Vault, mail_id: MailId, envelope: Envelope) -> bytes:
    """Encrypt an envelope to be kept, without the zeros that its body ends in."""
    kept = Envelope()
    kept.CopyFrom(envelope)
    kept.body = envelope.body.rstrip(b"\0")
    data = len(envelope.body).to_bytes(_SIZE_BYTES, "big") + kept.SerializeToString()
    return vault.seal_alone(_context(b"outbox", mail_id), data)


def open_envelope(vault: Vault, mail_id: MailId, sealed: bytes) -> Envelope:
    """Return an envelope byte for byte as it was signed.

    Raises:
        KeyErasedError: it was erased.
        DecryptionError: it was altered or swapped.
    """
    data = vault.open_alone(_context(b"outbox", mail_id), sealed)
    envelope = Envelope.FromString(data[_SIZE_BYTES:])
    envelope.body = envelope.body.ljust(int.from_bytes(data[:_SIZE_BYTES], "big"), b"\0")
    return envelope


def seal_received(vault: Vault, mail_id: MailId, mail: bytes) -> bytes:
    """Encrypt a received Mail to be kept."""
    return vault.seal_alone(_context(b"inbox", mail_id), mail)


def open_received(vault: Vault, mail_id: MailId, sealed: bytes | None) -> bytes:
    """Return a received Mail.

    Raises:
        KeyErasedError, DecryptionError: it was erased, or altered or swapped.
        NotFoundError: it was erased, or refused.
    """
    if sealed is None:
        raise NotFoundError("the content of this mail is not kept")
    return vault.open_alone(_context(b"inbox", mail_id), sealed)


def pack_receipt(envelope: Envelope) -> bytes:
    """Serialise a receipt to be kept, without the zeros that its body ends in."""
    kept = Envelope()
    kept.CopyFrom(envelope)
    kept.body = envelope.body.rstrip(b"\0")
    return kept.SerializeToString()


def unpack_receipt(data: bytes) -> Envelope:
    """Return a receipt byte for byte as it was signed."""
    envelope = Envelope.FromString(data)
    envelope.body = envelope.body.ljust(RECEIPT_BYTES, b"\0")
    return envelope


def _context(box: bytes, mail_id: MailId) -> bytes:
    peer, exchange_id, number = mail_id
    return b"\0".join((b"mail", box, peer.encode(), exchange_id, str(number).encode()))


# --- numbers ---------------------------------------------------------------------------------------------------------


def numbers(connection: Connection, peer: str, exchange_id: bytes) -> tuple[int, int] | None:
    """Return the next numbers of an exchange, out and in; None where no mail was in it yet."""
    held = mail_exchanges.c
    query = select(held.next_out, held.next_in).where(held.peer == peer, held.exchange_id == exchange_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.next_out, row.next_in)


def take_number(connection: Connection, peer: str, exchange_id: bytes) -> int:
    """Return the number of the next mail to a peer in an exchange; it is taken."""
    held = mail_exchanges.c
    this = (held.peer == peer, held.exchange_id == exchange_id)
    changed = connection.execute(
        update(mail_exchanges).where(*this).values(next_out=held.next_out + 1).returning(held.next_out)
    ).scalar_one_or_none()
    if changed is not None:
        return int(changed) - 1
    connection.execute(insert(mail_exchanges), {"peer": peer, "exchange_id": exchange_id, "next_out": 2, "next_in": 1})
    return 1


def skip_numbers(connection: Connection, peer: str, exchange_id: bytes, free: int) -> None:
    """Take no number below this one any more: the peer has others under them, from before a backup was restored."""
    held = mail_exchanges.c
    this = (held.peer == peer, held.exchange_id == exchange_id, held.next_out < free)
    connection.execute(update(mail_exchanges).where(*this).values(next_out=free))


def advance(connection: Connection, peer: str, exchange_id: bytes, number: int) -> None:
    """Note that everything up to this mail of a peer came, and what overtook directly behind it."""
    came = inbox.c
    query = select(came.number).where(came.peer == peer, came.exchange_id == exchange_id, came.number > number)
    following = number + 1
    for later in connection.execute(query.order_by(came.number)).scalars():
        if later != following:
            break
        following += 1
    held = mail_exchanges.c
    this = (held.peer == peer, held.exchange_id == exchange_id)
    if connection.execute(update(mail_exchanges).where(*this).values(next_in=following)).rowcount == 0:
        _found(connection, peer, exchange_id, following)


def found_exchange(connection: Connection, peer: str, exchange_id: bytes) -> None:
    """Note an exchange in which a peer's mail came first, unless mail was sent in it meanwhile."""
    if numbers(connection, peer, exchange_id) is None:
        _found(connection, peer, exchange_id, 1)


def _found(connection: Connection, peer: str, exchange_id: bytes, next_in: int) -> None:
    row = {"peer": peer, "exchange_id": exchange_id, "next_out": 1, "next_in": next_in}
    connection.execute(insert(mail_exchanges), row)


# --- outbox ----------------------------------------------------------------------------------------------------------


def enqueue(connection: Connection, row: OutboxRow) -> None:
    """Keep a mail that is to leave."""
    connection.execute(insert(outbox), row._asdict())


def find_sent(connection: Connection, mail_id: MailId) -> OutboxRow:
    """Return a mail of this country.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = connection.execute(select(outbox).where(*_sent(mail_id))).one_or_none()
    if row is None:
        raise NotFoundError("this country sent no such mail")
    return OutboxRow(*row)


def change_sent(connection: Connection, mail_id: MailId, **values: object) -> None:
    """Change columns of a mail of this country."""
    connection.execute(update(outbox).where(*_sent(mail_id)).values(values))


def due(connection: Connection, peer: str, now_us: int, limit: int) -> list[OutboxRow]:
    """Return mail that may leave to a peer now: what overtakes first, then the oldest."""
    held = outbox.c
    query = select(outbox).where(held.state == MAIL_STATE_QUEUED, held.peer == peer, held.next_us <= now_us)
    overtaking = query.where(held.overtakes).order_by(held.queued_us, held.number).limit(limit)
    found = [OutboxRow(*row) for row in connection.execute(overtaking)]
    rest = query.where(held.overtakes.is_(False)).order_by(held.queued_us, held.number)
    return found + [OutboxRow(*row) for row in connection.execute(rest.limit(limit - len(found)))]


def next_due_us(connection: Connection, peer: str) -> int:
    """Return when mail may leave to a peer next; 0 where none waits."""
    held = outbox.c
    query = select(func.min(held.next_us)).where(held.state == MAIL_STATE_QUEUED, held.peer == peer)
    return int(connection.execute(query).scalar_one_or_none() or 0)


def waiting_peers(connection: Connection) -> list[str]:
    """Return the peers for whom mail waits."""
    held = outbox.c
    return list(connection.execute(select(held.peer).where(held.state == MAIL_STATE_QUEUED).distinct()).scalars())


def requeue(connection: Connection, first: MailId, before: int, now_us: int) -> None:
    """Send again what a peer had, and has no more: from a mail on, up to a number (exclusive)."""
    held = outbox.c
    this = (held.peer == first.peer, held.exchange_id == first.exchange_id)
    lacking = (held.number >= first.number, held.number < before, held.state.in_(_SETTLED))
    values: dict[str, object] = {"state": MAIL_STATE_QUEUED, "changed_us": now_us, "next_us": now_us}
    connection.execute(update(outbox).where(*this, *lacking).values(values))


def block_behind(connection: Connection, mail_id: MailId, now_us: int) -> None:
    """Let what is queued behind a dead mail wait for it, but for what overtakes."""
    held = outbox.c
    this = (held.peer == mail_id.peer, held.exchange_id == mail_id.exchange_id, held.number > mail_id.number)
    waits = (held.state == MAIL_STATE_QUEUED, held.overtakes.is_(False))
    reason = f"behind mail {mail_id.number}, which is dead"
    values: dict[str, object] = {"state": MAIL_STATE_BLOCKED, "reason": reason, "changed_us": now_us}
    connection.execute(update(outbox).where(*this, *waits).values(values))


def retry(connection: Connection, peer: str, exchange_id: bytes, number: int, now_us: int) -> int:
    """Queue again what is dead, and what is blocked behind it, and return how much; empty and 0: all of the peer.

    Raises:
        NotFoundError: nothing of it is dead.
    """
    held = outbox.c
    dead = [held.peer == peer, held.state == MAIL_STATE_DEAD]
    dead += [held.exchange_id == exchange_id] if exchange_id else []
    dead += [held.number == number] if number else []
    exchanges = set(connection.execute(select(held.exchange_id).where(*dead)).scalars())
    if not exchanges:
        raise NotFoundError("no such mail is dead: see `enlace mail list`")
    again: dict[str, object] = {"state": MAIL_STATE_QUEUED, "reason": "", "changed_us": now_us, "next_us": now_us}
    queued = connection.execute(update(outbox).where(*dead).values(again)).rowcount
    for each in exchanges:
        blocked = (held.peer == peer, held.exchange_id == each, held.state == MAIL_STATE_BLOCKED)
        queued += connection.execute(update(outbox).where(*blocked).values(again)).rowcount
    return queued


def heads(connection: Connection, peer: str, since_us: int, after: bytes) -> list[MailHead]:
    """Return up to where a peer has received mail that was written since a time, by exchange, behind that one."""
    held = outbox.c
    query = select(held.exchange_id, func.max(held.number).label("number")).where(held.peer == peer)
    query = query.where(held.sent_us >= since_us, held.exchange_id > after, held.state.in_(_SETTLED))
    query = query.group_by(held.exchange_id).order_by(held.exchange_id).limit(HEADS)
    return [MailHead(exchange_id=row.exchange_id, number=row.number) for row in connection.execute(query)]


# --- inbox -----------------------------------------------------------------------------------------------------------


def find_received(connection: Connection, mail_id: MailId) -> InboxRow | None:
    """Return a mail of a peer; None where none of this id came."""
    row = connection.execute(select(inbox).where(*_received(mail_id))).one_or_none()
    return None if row is None else InboxRow(*row)


def keep(connection: Connection, row: InboxRow, *, anew: bool) -> None:
    """Keep a mail that came; `anew`: one that was refused before."""
    if anew:
        this = MailId(row.peer, row.exchange_id, row.number)
        connection.execute(update(inbox).where(*_received(this)).values(row._asdict()))
    else:
        connection.execute(insert(inbox), row._asdict())


def change_received(connection: Connection, mail_id: MailId, **values: object) -> None:
    """Change columns of a mail of a peer."""
    connection.execute(update(inbox).where(*_received(mail_id)).values(values))


def not_understood(connection: Connection) -> list[InboxRow]:
    """Return the mails of peers that this node kept without knowing what they are, in the order of their exchanges."""
    came = inbox.c
    query = select(inbox).where(came.state == MAIL_STATE_NOT_UNDERSTOOD, came.sealed.is_not(None))
    ordered = query.order_by(came.peer, came.exchange_id, came.number)
    return [InboxRow(*row) for row in connection.execute(ordered)]


def first_free(connection: Connection, peer: str, exchange_id: bytes) -> int:
    """Return the first number behind all that a peer has used in an exchange."""
    came = inbox.c
    query = select(func.max(came.number)).where(came.peer == peer, came.exchange_id == exchange_id)
    return int(connection.execute(query).scalar_one_or_none() or 0) + 1


def lacking(connection: Connection, peer: str, told: Sequence[MailHead]) -> list[MailHead]:
    """Return the exchanges in which mail of a peer is missing here, of those told, with the first number missing."""
    held, found = mail_exchanges.c, dict[bytes, int]()
    ids = [head.exchange_id for head in told]
    for at in range(0, len(ids), _IDS):
        query = select(held.exchange_id, held.next_in).where(held.peer == peer)
        rows = connection.execute(query.where(held.exchange_id.in_(ids[at : at + _IDS])))
        found.update((row.exchange_id, row.next_in) for row in rows)
    placed = [(head, found.get(head.exchange_id, 1)) for head in told]
    return [
        MailHead(exchange_id=head.exchange_id, number=next_in) for head, next_in in placed if next_in <= head.number
    ]


def erase_received(connection: Connection, peer: str, exchange_id: bytes, numbers: Collection[int] = ()) -> list[bytes]:
    """Forget what received mail said, of an exchange or of these numbers in it.

    That it came, and its receipt, stay.

    Returns:
        Ids of the keys that sealed it; to be erased (`Vault.erase_keys`) once this is committed.
    """
    came = inbox.c
    this = [came.peer == peer, came.exchange_id == exchange_id, came.sealed.is_not(None)]
    this += [came.number.in_(numbers)] if numbers else []
    keys = [key_id_of(sealed) for sealed in connection.execute(select(came.sealed).where(*this)).scalars()]
    connection.execute(update(inbox).where(*this).values(sealed=None))
    return keys


def _sent(mail_id: MailId) -> tuple[ColumnElement[bool], ...]:
    held = outbox.c
    return held.peer == mail_id.peer, held.exchange_id == mail_id.exchange_id, held.number == mail_id.number


def _received(mail_id: MailId) -> tuple[ColumnElement[bool], ...]:
    held = inbox.c
    return held.peer == mail_id.peer, held.exchange_id == mail_id.exchange_id, held.number == mail_id.number
