"""Tables of alerts: those that this country set at peers, those of peers that stand here, and what these have found.

In the clear are ids, countries, states, times and keyed tokens; what is looked for, and why, is sealed.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, SmallInteger, String, Table

from node.store.bound import bound, unbound
from node.store.tables import COUNTRY, PSEUDONYM, metadata

alerts = Table(
    "alerts",
    metadata,
    Column("direction", SmallInteger, primary_key=True),
    Column("peer", COUNTRY, primary_key=True),
    Column("exchange_id", LargeBinary, primary_key=True),
    Column("state", String(12), nullable=False),  # as in `node.workflow.alerts`
    Column("set_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    Column("officer", PSEUDONYM, nullable=False),
    Column("unit", String(64), nullable=False),
    Column("matches", BigInteger, nullable=False),
    Column("sealed", LargeBinary),  # AlertDetail; NULL once it stands no more
    Index("ix_alerts_state", "direction", "state", "until_us"),
    info=bound("the alert", beside=("matches",)),
)

alert_tokens = Table(
    "alert_tokens",
    metadata,
    Column("token", LargeBinary, primary_key=True),
    Column("direction", SmallInteger, primary_key=True),
    Column("peer", COUNTRY, primary_key=True),
    Column("exchange_id", LargeBinary, primary_key=True),
    Index("ix_alert_tokens_alert", "direction", "peer", "exchange_id"),
    sqlite_with_rowid=False,
    info=unbound("they follow from what is sealed in the alert, which says what it looks for"),
)
"""Keyed as those of entries are, so that an entry's own tokens tell which alerts it is found by."""

alert_finds = Table(
    "alert_finds",
    metadata,
    Column("peer", COUNTRY, primary_key=True),
    Column("exchange_id", LargeBinary, primary_key=True),
    Column("entry_id", LargeBinary, primary_key=True),
    Column("found_us", BigInteger),  # NULL: it was looked at since
    Column("rules_sha256", LargeBinary),  # by which it was decided on last
    Column("told_sha256", LargeBinary),  # of the Hit that the peer has; NULL: it was told nothing
    Column("told_us", BigInteger),
    Column("forbidden", Boolean, nullable=False),  # was told, and the rules would not let it leave any more
    Index("ix_alert_finds_found", "found_us"),
    Index("ix_alert_finds_entry", "entry_id"),
    info=unbound("what is told of an entry is a line with its decision; what was deleted here is found by it again"),
)
"""No key of entries: these are deleted at dates of their own."""

alert_pairs = Table(
    "alert_pairs",
    metadata,
    Column("own_exchange_id", LargeBinary, primary_key=True),  # of the alert or query whose unit is told
    Column("country", COUNTRY, primary_key=True),  # who works on the same: a peer, or another unit of this country
    Column("exchange_id", LargeBinary, primary_key=True),  # of their alert
    Column("officer", PSEUDONYM, nullable=False),
    Column("unit", String(64), nullable=False),
    Column("other_unit", String(64), nullable=False),
    Column("found_us", BigInteger),  # NULL: it was looked at since
    Column("told_us", BigInteger),  # NULL: the unit was told nothing
    Index("ix_alert_pairs_found", "found_us"),
    info=unbound("that somebody was told is a line; a row that was deleted is found again with the next alert"),
)
