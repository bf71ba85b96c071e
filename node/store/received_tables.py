"""Tables of what peers disclosed, of what was taken back, of legal holds, and of keys that are to be erased.

In the clear are ids, countries, states and times, as everywhere. Nothing here is looked at to answer a peer.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)

from node.store.bound import bound, unbound
from node.store.tables import COUNTRY, PSEUDONYM, metadata

received = Table(
    "received",
    metadata,
    Column("received_id", LargeBinary, primary_key=True),
    Column("peer", COUNTRY, nullable=False),
    Column("exchange_id", LargeBinary, nullable=False, index=True),
    Column("handle", LargeBinary, nullable=False),
    Column("case_id", LargeBinary, index=True),  # own case; NULL: none yet
    Column("state", SmallInteger, nullable=False),
    Column("disclosed_us", BigInteger, nullable=False),
    Column("review_us", BigInteger, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),  # ReceivedEntry, under a key of its own
    UniqueConstraint("peer", "handle", "exchange_id"),
    info=bound("the received entry"),
)
"""Entries of other countries, each under a key of its own: what one exchange brought does not end on one day."""

received_lookups = Table(
    "received_lookups",
    metadata,
    Column("token", LargeBinary, primary_key=True),
    Column("received_id", LargeBinary, ForeignKey("received.received_id"), primary_key=True),
    Index("ix_received_lookups_received_id", "received_id"),
    sqlite_with_rowid=False,
    info=bound("what finds the received entry", "received_id"),
)
"""Tokens of other keys than those of own entries, so that no peer's question ever makes one."""

answer_bodies = Table(
    "answer_bodies",
    metadata,
    Column("peer", COUNTRY, primary_key=True),
    Column("handle", LargeBinary, primary_key=True),
    Column("exchange_id", LargeBinary, primary_key=True),
    Column("disclosed_us", BigInteger, nullable=False),
    Column("delete_us", BigInteger, nullable=False, index=True),
    Index("ix_answer_bodies_exchange_id", "exchange_id"),
    info=unbound("a row that is gone keeps a sealed answer beside its line too long, and shows it to nobody"),
)
"""Which entries lie in the answers that are kept beside ledger lines, and until when."""

withdrawals = Table(
    "withdrawals",
    metadata,
    Column("deletion_id", LargeBinary, primary_key=True),
    Column("peer", COUNTRY, nullable=False),
    Column("handle", LargeBinary, nullable=False),  # empty: all of the exchange
    Column("exchange_id", LargeBinary, nullable=False),
    Column("recalled_us", BigInteger, nullable=False),
    Column("ground", SmallInteger, nullable=False),
    Column("withdrawn_us", BigInteger, nullable=False),
    Column("deleted_us", BigInteger),
    Column("copies", BigInteger, nullable=False),
    Column("places", String(255), nullable=False),
    Column("told", SmallInteger, nullable=False),  # 0: nothing, 1: that it is held, 2: that it is deleted
    UniqueConstraint("peer", "handle", "exchange_id"),
    info=bound("what a peer took back"),
)
"""What was taken back; kept for ever, so that no late copy brings it here again."""

legal_holds = Table(
    "legal_holds",
    metadata,
    Column("subject", LargeBinary, primary_key=True),  # id of a case, an entry or a received entry
    Column("law", String(120), nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("placed_by", PSEUDONYM, nullable=False),
    Column("placed_us", BigInteger, nullable=False),
    Column("tag", LargeBinary, nullable=False),  # of the others, by the node
    info=bound("the legal hold on"),
)

key_erasures = Table(
    "key_erasures",
    metadata,
    Column("key_id", LargeBinary, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    info=unbound("its records are gone, each with a line; a key that stays opens nothing that is here"),
)
"""Keys whose records are gone already; a row leaves when its key has left the key store."""
