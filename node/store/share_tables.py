"""The tables of shares, of recalls and of flags: ids, countries, states and times in the clear, the rest sealed."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, SmallInteger, String, Table

from node.store.bound import bound
from node.store.tables import COUNTRY, PSEUDONYM, metadata

shares = Table(
    "shares",
    metadata,
    Column("direction", SmallInteger, primary_key=True),
    Column("peer", COUNTRY, primary_key=True),
    Column("share_id", LargeBinary, primary_key=True),
    Column("exchange_id", LargeBinary, nullable=False),
    Column("state", String(20), nullable=False),  # as in `node.workflow.shares`
    Column("at_us", BigInteger, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    Column("officer", PSEUDONYM, nullable=False),
    Column("unit", String(64), nullable=False),
    Column("entries", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # ShareDetail
    Index("ix_shares_exchange_id", "exchange_id"),
    Index("ix_shares_at_us", "at_us"),
    info=bound("the share"),
)

recalls = Table(
    "recalls",
    metadata,
    Column("peer", COUNTRY, primary_key=True),
    Column("exchange_id", LargeBinary, primary_key=True),
    Column("handle", LargeBinary, primary_key=True),
    Column("entry_id", LargeBinary, nullable=False),
    Column("state", String(20), nullable=False),  # as in `node.workflow.recalls`
    Column("at_us", BigInteger, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),  # of the receipt; 0: it was not sent
    Column("sent_us", BigInteger, nullable=False),  # last
    Column("delivered", Boolean, nullable=False),  # since it was sent last
    Column("chased", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # RecallItem
    Index("ix_recalls_state", "state", "due_us"),
    info=bound("the recall"),
)
"""What this country takes back, by what the peer knows it by; no key of entries, which may be gone by then."""

flags = Table(
    "flags",
    metadata,
    Column("direction", SmallInteger, primary_key=True),
    Column("peer", COUNTRY, primary_key=True),
    Column("flag_id", LargeBinary, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # FlagItem
    Index("ix_flags_at_us", "at_us"),
    info=bound("the flag"),
)

examined = Table(
    "examined",
    metadata,
    Column("peer", COUNTRY, primary_key=True),
    Column("rules_sha256", LargeBinary, nullable=False),  # of floor, release rulebook and what the peer accepted
    Column("after", LargeBinary, nullable=False),  # entry up to which disclosures were looked at under these
    Column("done", Boolean, nullable=False),
    info=bound("how far disclosures were examined again"),
)
