"""How an entry lies in its row, in whichever revision."""

from enum import IntEnum


class EntryState(IntEnum):
    """Whether an entry is found."""

    ACTIVE = 1
    RECALLED = 2


def entry_context(entry_id: bytes, case_id: bytes, revision: int) -> bytes:
    """Return what a revision is sealed for while it is the current one: its own place, and no other."""
    return b"enlace/v1/entry\0" + entry_id + case_id + revision.to_bytes(8, "big")


def superseded_context(entry_id: bytes, case_id: bytes, revision: int) -> bytes:
    """Return what a revision is sealed for once another has followed, so that SQL can't make it current again."""
    return b"enlace/v1/superseded-entry\0" + entry_id + case_id + revision.to_bytes(8, "big")
