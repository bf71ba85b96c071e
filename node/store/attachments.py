"""Attachments as they are kept: chunks of 1 MiB, sealed under a key of each attachment's own.

A chunk is bound to its attachment, its number and whether it is the last one, so that none can be cut off, swapped or
repeated (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015). Erasing the key erases the whole,
from backups too (`node.store.keystore`).
"""

import os
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, delete, exists, insert, select, tuple_, update

from node.errors import DecryptionError, KeyErasedError, NotFoundError, UsageError
from node.store.attachment_tables import attachment_chunks, attachments
from node.store.received_rows import queue_keys
from node.store.received_tables import received
from node.store.tables import entries
from node.store.vault import KEY_ID_BYTES, Vault
from node.store.withdrawals import Copy
from node.wire.attachment_pb2 import AttachmentItem

CHUNK: Final = 1_048_576
"""Bytes of a chunk before it is sealed; the last one may be shorter."""
UPLOAD_US: Final = 7 * 86_400_000_000
"""For how long an upload that broke off is kept."""
_SWEPT: Final = 4  # chunks deleted at once: a few milliseconds
_MOST: Final = 100


class Place(IntEnum):
    """What an attachment is here."""

    UPLOAD = 1  # a file as it comes in, not cleaned
    CLEANING = 2  # the clean copy, while it is made
    OWN = 3  # of an own entry
    RECEIVED = 4  # of a received entry, whole or not


class Stored(NamedTuple):
    """An attachment, and how many chunks of it are here; `item` has the digest, and the size of the whole."""

    attachment_id: bytes
    owner: bytes
    place: Place
    chunks: int
    item: AttachmentItem

    @property
    def stored(self) -> int:
        """Bytes that are here."""
        return min(self.chunks * CHUNK, self.item.size)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here."""
        return self.stored == self.item.size


def count_of(size: int) -> int:
    """Return how many chunks so many bytes fill."""
    return -(-size // CHUNK)


class Attachments:
    """Reads and writes attachments, in transactions of the caller."""

    def __init__(self, vault: Vault) -> None:
        """Take what seals."""
        self._vault = vault

    def new_key(self) -> bytes:
        """Return the id of a new attachment, whose key is durable; not to be called on the writer's thread."""
        attachment_id = os.urandom(KEY_ID_BYTES)
        self._vault.ensure_keys((attachment_id,))
        return attachment_id

    def seal(self, attachment_id: bytes, number: int, data: bytes, *, last: bool) -> bytes:
        """Encrypt a chunk for its place; on any thread."""
        return self._vault.seal(attachment_id, _context(attachment_id, number, last=last), data)

    def put(self, connection: Connection, new: Stored, now_us: int) -> None:
        """Begin an attachment of which nothing is here."""
        connection.execute(
            insert(attachments).values(
                attachment_id=new.attachment_id,
                owner=new.owner,
                place=new.place,
                chunks=0,
                made_us=now_us,
                sealed=self._sealed(new.attachment_id, new.owner, new.place, new.item),
            )
        )

    def add(self, connection: Connection, attachment_id: bytes, number: int, sealed: bytes) -> None:
        """Write the next chunk.

        Raises:
            UsageError: it is not the next one: somebody else brings the same.
            NotFoundError: the attachment is gone.
        """
        held = attachments.c
        query = select(held.chunks).where(held.attachment_id == attachment_id)
        there = connection.execute(query).scalar_one_or_none()
        if there is None:
            raise NotFoundError("the attachment is gone")
        if there != number:
            raise UsageError("the attachment is being written by another call: begin again where that ends")
        connection.execute(insert(attachment_chunks).values(attachment_id=attachment_id, number=number, sealed=sealed))
        this = update(attachments).where(held.attachment_id == attachment_id)
        connection.execute(this.values(chunks=number + 1))

    def finish(self, connection: Connection, stored: Stored, item: AttachmentItem) -> None:
        """Make the clean copy, now whole, an attachment of its entry."""
        sealed = self._sealed(stored.attachment_id, stored.owner, Place.OWN, item)
        this = update(attachments).where(attachments.c.attachment_id == stored.attachment_id)
        if connection.execute(this.values(place=Place.OWN, sealed=sealed)).rowcount != 1:
            raise NotFoundError("the attachment is gone")

    def get(self, connection: Connection, attachment_id: bytes) -> Stored:
        """Return an attachment.

        Raises:
            NotFoundError: there is none that can be read.
        """
        row = connection.execute(select(attachments).where(attachments.c.attachment_id == attachment_id)).one_or_none()
        found = self._opened(row) if row is not None else None
        if found is None:
            raise NotFoundError("there is no such attachment")
        return found

    def of_owner(self, connection: Connection, owner: bytes, place: Place) -> list[Stored]:
        """Return what is here of an entry, of one kind; what can't be read is passed over."""
        query = select(attachments).where(attachments.c.owner == owner, attachments.c.place == place)
        return [found for row in connection.execute(query).all() if (found := self._opened(row)) is not None]

    def find(self, connection: Connection, owner: bytes, place: Place, sha256: bytes) -> Stored | None:
        """Return the attachment of an entry that has a digest, the one of which most is here."""
        found = [each for each in self.of_owner(connection, owner, place) if each.item.sha256 == sha256]
        return max(found, key=lambda each: each.chunks, default=None)

    def chunk(self, connection: Connection, stored: Stored, number: int) -> bytes:
        """Return the bytes of a chunk.

        Raises:
            NotFoundError: it is not here.
            KeyErasedError, DecryptionError: it was erased or altered.
        """
        held = attachment_chunks.c
        query = select(held.sealed).where(held.attachment_id == stored.attachment_id, held.number == number)
        sealed = connection.execute(query).scalar_one_or_none()
        if sealed is None:
            raise NotFoundError("a part of the attachment is gone")
        last = number + 1 == count_of(stored.item.size)
        return self._vault.open(stored.attachment_id, _context(stored.attachment_id, number, last=last), sealed)

    # --- ending ------------------------------------------------------------------------------------------------------

    def forget(self, connection: Connection, attachment_ids: Iterable[bytes], now_us: int) -> None:
        """Delete attachments and have their keys erased; chunks, which open no more, go when there is time."""
        ids = list(attachment_ids)
        connection.execute(delete(attachments).where(attachments.c.attachment_id.in_(ids)))
        queue_keys(connection, ids, now_us)

    def of_nothing(self, connection: Connection, now_us: int) -> list[bytes]:
        """Return attachments whose entry is gone, and uploads that were given up."""
        held = attachments.c
        own = exists().where(entries.c.entry_id == held.owner)
        theirs = exists().where(received.c.received_id == held.owner)
        late = held.place.in_((Place.UPLOAD, Place.CLEANING)) & (held.made_us <= now_us - UPLOAD_US)
        query = select(held.attachment_id).where(late | (~own & ~theirs)).limit(_MOST)
        return list(connection.execute(query).scalars())

    def sweep(self, connection: Connection) -> bool:
        """Delete some chunks whose attachment is gone; tell whether there were any."""
        held = attachment_chunks.c
        kept = exists().where(attachments.c.attachment_id == held.attachment_id)
        found = connection.execute(select(held.attachment_id, held.number).where(~kept).limit(_SWEPT)).all()
        if found:
            key = tuple_(held.attachment_id, held.number)
            connection.execute(delete(attachment_chunks).where(key.in_([tuple(row) for row in found])))
        return bool(found)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _sealed(self, attachment_id: bytes, owner: bytes, place: Place, item: AttachmentItem) -> bytes:
        return self._vault.seal(attachment_id, _item_context(attachment_id, owner, place), item.SerializeToString())

    def _opened(self, row: Row[*tuple[Any, ...]]) -> Stored | None:
        context = _item_context(row.attachment_id, row.owner, row.place)
        try:
            item = AttachmentItem.FromString(self._vault.open(row.attachment_id, context, row.sealed))
        except (KeyErasedError, DecryptionError):
            return None
        return Stored(row.attachment_id, row.owner, Place(row.place), row.chunks, item)


class ReceivedAttachments:
    """What lies beside a received entry of its attachments, and goes with it (`node.federation.purging`)."""

    place = "ATTACHMENT"

    def forget(self, connection: Connection, copy: Copy, now_us: int) -> list[bytes] | None:
        """Delete what was fetched, and return the ids of the keys; None where nothing was."""
        del now_us
        query = select(attachments.c.attachment_id).where(attachments.c.owner == copy.received_id)
        ids = list(connection.execute(query).scalars())
        connection.execute(delete(attachments).where(attachments.c.attachment_id.in_(ids)))
        return ids or None


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Yield data in pieces of at most so many bytes."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


def _context(attachment_id: bytes, number: int, *, last: bool) -> bytes:
    return b"enlace/v1/attachment-chunk\0" + attachment_id + number.to_bytes(4, "big") + bytes([last])


def _item_context(attachment_id: bytes, owner: bytes, place: int) -> bytes:
    return b"enlace/v1/attachment\0" + attachment_id + bytes([place]) + owner
