"""What a peer hears when an entry that it got is corrected or taken back.

Every correction and every recall is made here, and here alone, from the handle and from what the rules release now.
Nothing else comes in, so nothing that led to it can get out: who can't tell a person's request from a unit's own
correction by the bytes, learns of no request.
"""

from node.errors import UsageError
from node.store.ids import ID_BYTES
from node.wire.exchange_pb2 import ReleasedEntry
from node.wire.notice_pb2 import EntryRecall, EntryUpdate


def recall_of(handle: bytes) -> EntryRecall:
    """Return the message that takes an entry back; `handle` (16 bytes) is what the recipient knows it by.

    Raises:
        UsageError: it is no handle.
    """
    if len(handle) != ID_BYTES:
        raise UsageError(f"handle: has {ID_BYTES} bytes")
    return EntryRecall(handle=handle)


def update_of(released: ReleasedEntry) -> EntryUpdate:
    """Return the message that corrects an entry, as it was decided and redacted for this recipient.

    Raises:
        UsageError: it has no handle.
    """
    recall_of(released.handle)
    return EntryUpdate(entry=released)
