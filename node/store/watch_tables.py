"""Tables of what is counted and watched for: quotas, silent alarms, numbers asked near each other, decoys.

Nothing in the clear tells of whom or what was asked: an alarm is sealed, a decoy is an entry like any other, and of
numbers asked there are keyed digests, for a day.
"""

from sqlalchemy import BigInteger, Column, LargeBinary, SmallInteger, String, Table, UniqueConstraint

from node.store.bound import bound, unbound
from node.store.tables import COUNTRY, PSEUDONYM, metadata

quota_counts = Table(
    "quota_counts",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # UTC, since 1970
    Column("scope", SmallInteger, primary_key=True, autoincrement=False),  # QuotaScope
    Column("who", String(64), primary_key=True),
    Column("what", String(32), primary_key=True),
    Column("count", BigInteger, nullable=False),
    info=unbound("it follows from the lines, and is kept for two days; whoever lowers it lets more be asked, in lines"),
)

quota_raises = Table(
    "quota_raises",
    metadata,
    Column("scope", SmallInteger, primary_key=True, autoincrement=False),
    Column("who", String(64), primary_key=True),
    Column("what", String(32), primary_key=True),
    Column("per_hour", BigInteger, nullable=False),
    Column("per_day", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("raised_by", PSEUDONYM, nullable=False),
    info=bound("the raised quota"),
)

alarms = Table(
    "alarms",
    metadata,
    Column("alarm_id", LargeBinary, primary_key=True),
    Column("tag", LargeBinary, nullable=False),  # of what raised it, by the node: it is raised once
    Column("raised_us", BigInteger, nullable=False),
    Column("exchange_id", LargeBinary, nullable=False, index=True),
    Column("peer", COUNTRY, nullable=False),  # empty: an officer of this country
    Column("sealed", LargeBinary, nullable=False),  # Alarm
    Column("closed_us", BigInteger),
    UniqueConstraint("tag"),
    info=unbound(
        "a line for each that is raised would let a peer count them in the size of the ledger; it follows from the"
        " lines of the answers, is sealed, and that it was closed is a line"
    ),
)

guesses = Table(
    "guesses",
    metadata,
    Column("run", LargeBinary, primary_key=True),  # who asked and the numbers' beginning, as a keyed digest
    Column("seen", LargeBinary, nullable=False),  # four bytes of a keyed digest of each number
    Column("at_us", BigInteger, nullable=False, index=True),
    info=unbound("it helps to find guesses across restarts and processes for a day, and grants nothing"),
)

decoys = Table(
    "decoys",
    metadata,
    Column("decoy_id", LargeBinary, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),  # Decoy: whoever reads the database can't tell which entry it is
    info=bound("the decoy"),
)

swept = Table(
    "swept",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),  # 1
    Column("size", BigInteger, nullable=False),
    info=unbound("it says up to which line the selectors of no-hits are erased; those left beyond show beside lines"),
)

swept_later = Table(
    "swept_later",
    metadata,
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    info=unbound("it names no-hits whose selectors are still needed; those that stay for too long show beside lines"),
)
"""Lines of no-hits that a hold or an alarm still waits on."""
