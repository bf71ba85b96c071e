"""How an entry lies in its row, in whichever revision."""

from enum import IntEnum
from typing import Final

from sqlalchemy import BigInteger, LargeBinary, Select, bindparam, select

from node.store.tables import entries, lookups

FIND_SIZES: Final = (1, 4, 16, 64, 256)
"""Parameters of the statement that finds; a few fixed numbers, so that each is compiled and prepared once. A list in
between repeats its last token."""

ROW: Final = (entries.c.entry_id, entries.c.case_id, entries.c.revision, entries.c.sealed)


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


def find_statement(size: int) -> Select[bytes, bytes, int, bytes]:
    """Return the statement that finds what has any of so many tokens, may be found, and is within its review date."""
    tokens = [bindparam(f"token_{number}", type_=LargeBinary) for number in range(size)]
    if size == 1:  # a token leads to an entry once, in the order of ids: nothing to sort or to sift
        query = select(*ROW).join(lookups, lookups.c.entry_id == entries.c.entry_id)
        query, order = query.where(lookups.c.token == tokens[0]), lookups.c.entry_id
    else:
        matching = select(lookups.c.entry_id).where(lookups.c.token.in_(tokens))
        query, order = select(*ROW).where(entries.c.entry_id.in_(matching)), entries.c.entry_id
    found = entries.c.state == EntryState.ACTIVE.value, entries.c.review_us > bindparam("now_us", type_=BigInteger)
    return query.where(*found).order_by(order).limit(bindparam("limit", type_=BigInteger))
