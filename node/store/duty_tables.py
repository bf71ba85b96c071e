"""Tables of the duty roster, of how officers are reached, and of whom the node called.

In the clear are ids, pseudonyms, countries and times; how somebody is reached is sealed.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, SmallInteger, String, Table

from node.store.bound import bound, unbound
from node.store.tables import COUNTRY, PSEUDONYM, metadata

TICKET = String(10)

duty_turns = Table(
    "duty_turns",
    metadata,
    Column("turn_id", LargeBinary, primary_key=True),
    Column("from_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False, index=True),
    Column("officers", String(255), nullable=False),  # pseudonyms, which have no blanks, in their order
    Column("set_by", PSEUDONYM, nullable=False),
    Column("set_us", BigInteger, nullable=False),  # of any two turns, one was set later
    info=bound("the turn of duty"),
)

contacts = Table(
    "contacts",
    metadata,
    Column("officer", PSEUDONYM, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),  # ContactOf, under a key of its own
    info=bound("how to reach the officer"),
)

pages = Table(
    "pages",
    metadata,
    Column("ticket", TICKET, primary_key=True),
    Column("kind", SmallInteger, nullable=False),  # PageKind
    Column("peer", COUNTRY, nullable=False),
    Column("subject", LargeBinary, nullable=False),
    Column("urgency", SmallInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("turn_id", LargeBinary),  # the turn whose people were told last
    Column("step", SmallInteger, nullable=False),  # how often somebody was told
    Column("rung", SmallInteger, nullable=False),  # who was told last, see `node.store.pages`
    Column("told_us", BigInteger, nullable=False),
    Column("next_us", BigInteger, nullable=False),  # when the next are told
    Column("closed_us", BigInteger),
    Index("uq_pages_what", "kind", "peer", "subject", unique=True),
    info=bound("the page"),
)
"""One for each thing that waits, and the same one if it waits again."""

notifications = Table(
    "notifications",
    metadata,
    Column("ticket", TICKET, primary_key=True),
    Column("step", SmallInteger, primary_key=True, autoincrement=False),
    Column("recipient", PSEUDONYM, primary_key=True),  # an officer; empty: the webhook
    Column("state", SmallInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("next_us", BigInteger, nullable=False),  # not tried before
    Column("reason", String(100), nullable=False),  # why it was not sent so far
    Index("ix_notifications_state", "state", "next_us"),
    info=unbound("each call is a line; whoever was not told by it takes nothing, and the next ones are called"),
)
"""Written with the page's step, and kept until the page is forgotten: nobody is told twice of one step."""
