"""Which attachments an entry lists, own or disclosed, and how one more is."""

from collections.abc import Iterator
from typing import TypeAlias

from google.protobuf.message import Message

from node.errors import RecordError
from node.wire.attachment_pb2 import AttachmentItem
from node.wire.entry_pb2 import Entry, Photo, Scan
from node.wire.exchange_pb2 import ReleasedEntry

Listed: TypeAlias = Photo | Scan


def listed_in(entry: Entry | ReleasedEntry) -> list[Listed]:
    """Return what an entry lists."""
    return [*entry.person.photos, *entry.document.scans]


def find_listed(entry: Entry | ReleasedEntry, sha256: bytes) -> Listed | None:
    """Return what an entry lists under a digest, if it lists it whole: a part of it gives no right to the contents."""
    for each in listed_in(entry):
        if each.sha256 == sha256 and each.sha256 and each.size and each.media_type:
            return each
    return None


def add_listed(entry: Entry, item: AttachmentItem) -> None:
    """List one more, once.

    Raises:
        RecordError: the entry is of a kind that has none.
    """
    if find_listed(entry, item.sha256) is not None:
        return
    match entry.WhichOneof("entity"):
        case "person":
            entry.person.photos.add(sha256=item.sha256, size=item.size, media_type=item.media_type)
        case "document":
            entry.document.scans.add(sha256=item.sha256, size=item.size, media_type=item.media_type)
        case _:
            raise RecordError("entry: pictures are attached to a person or a document")


def released_within(message: Message) -> Iterator[ReleasedEntry]:
    """Yield the disclosed entries that a message of any kind holds, at any depth."""
    if isinstance(message, ReleasedEntry):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else (value,):
                yield from released_within(each)
