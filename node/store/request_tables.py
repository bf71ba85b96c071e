"""The table of requests: those that this country sent, and those that it is to decide on, held answers among them.

In the clear are ids, countries, states and times; what is asked, and why, is sealed.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, SmallInteger, String, Table

from node.store.bound import bound, unbound
from node.store.tables import COUNTRY, PSEUDONYM, metadata

requests = Table(
    "requests",
    metadata,
    Column("direction", SmallInteger, primary_key=True),
    Column("peer", COUNTRY, primary_key=True),
    Column("request_id", LargeBinary, primary_key=True),
    Column("exchange_id", LargeBinary, nullable=False),
    Column("origin", SmallInteger, nullable=False),
    Column("entry_id", LargeBinary),  # of what was held; of what a peer holds, its ticket
    Column("state", String(20), nullable=False),  # as in `node.workflow.requests`
    Column("urgency", SmallInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    Column("late", Boolean, nullable=False),  # nobody decided, or reviewed an emergency release, in time
    Column("officer", PSEUDONYM, nullable=False),
    Column("unit", String(64), nullable=False),
    Column("taken_by", PSEUDONYM),
    Column("refusal", SmallInteger, nullable=False),
    Column("emergency", Boolean, nullable=False),
    Column("reviewed_by", PSEUDONYM),
    Column("upheld", Boolean, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # RequestDetail, without entries of either country
    Index("ix_requests_state", "state", "due_us"),
    Index("ix_requests_entry_id", "entry_id"),
    info=bound("the request"),
)
"""No key of entries or exchanges: these are deleted at dates of their own."""

told_lines = Table(
    "told_lines",
    metadata,
    Column("entry_id", LargeBinary, primary_key=True),
    Column("peer", COUNTRY, primary_key=True),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
    info=unbound(
        "it follows from what opens the lines, and `ledger verify` makes it again as far as they can be opened"
    ),
)
"""Every line by which a peer learnt anything of an entry: who approves a release reads what was released before."""
