"""Tables of what was shown to whom, of views that stay as they were, of facts to determine, and of emergencies.

In the clear are ids, countries, times and counts, as everywhere: not what is protected, nor which fact is unknown.
"""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, LargeBinary, SmallInteger, String, Table

from node.store.bound import bound, unbound
from node.store.tables import COUNTRY, PSEUDONYM, metadata

followed = Table(
    "followed",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),  # 1
    Column("size", BigInteger, nullable=False),
    info=unbound("it says how far three tables tell of the lines, and `ledger verify` makes those again from as many"),
)
"""One row: of how many ledger lines `disclosures`, `told_lines` and `asked_days` tell."""

disclosures = Table(
    "disclosures",
    metadata,
    # The ledger tells of entries whatever became of them, so nothing is demanded of `entries` here.
    Column("entry_id", LargeBinary, primary_key=True),
    Column("peer", COUNTRY, primary_key=True),
    Column("revision", BigInteger, nullable=False),  # shown last
    Column("idx", BigInteger, nullable=False),  # of the line that says so
    sqlite_with_rowid=False,
    info=unbound(
        "it follows from what opens the lines, and `ledger verify` makes it again as far as they can be opened"
    ),
)
"""Which revision of an entry each peer saw last, made from the ledger's openings."""

freezes = Table(
    "freezes",
    metadata,
    Column("entry_id", LargeBinary, ForeignKey("entries.entry_id"), primary_key=True),
    Column("peer", COUNTRY, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    Column("decided_by", PSEUDONYM),
    Column("decided_us", BigInteger),
    Column("line", LargeBinary),  # exchange id of the ledger line that tells of it; NULL until there is one
    Column("tag", LargeBinary, nullable=False),  # of the first five, by the node
    info=bound("the frozen view of the entry"),
)

determinations = Table(
    "determinations",
    metadata,
    Column("exchange_id", LargeBinary, primary_key=True),
    Column("peer", COUNTRY, primary_key=True),
    Column("entry_id", LargeBinary, primary_key=True),
    Column("idx", BigInteger, nullable=False),  # of the line whose decision it was
    Column("revision", BigInteger, nullable=False),  # of the entry, when it was looked at last
    Column("at_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger),
    info=bound("what is to be determined of an entry"),
)
"""Entries that UNKNOWN alone kept from a LIFE query. Which facts, is worked out of what is encrypted."""

emergencies = Table(
    "emergencies",
    metadata,
    Column("emergency_sha256", LargeBinary, primary_key=True),
    Column("peer", COUNTRY, nullable=False),
    Column("signed", LargeBinary, nullable=False),  # SignedEmergency, as it came
    Column("until_us", BigInteger, nullable=False, index=True),
    Column("declared_by", PSEUDONYM, nullable=False),
    Column("declared_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    Column("review", LargeBinary),  # SignedEmergencyReview, as it came
    Column("reviewed_by", PSEUDONYM),
    Column("overdue", Boolean, nullable=False),  # a ledger line says that nobody reviewed it in time
    info=bound("the emergency"),
)

asked_days = Table(
    "asked_days",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False),  # UTC, since 1970
    Column("peer", COUNTRY, primary_key=True),
    Column("asked", BigInteger, nullable=False),
    Column("answered", BigInteger, nullable=False),
    info=unbound("it follows from the lines, and `ledger verify` counts them again"),
)
"""How many questions this country put to each peer, and how many were answered in time, from the ledger."""

reciprocity = Table(
    "reciprocity",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False),  # from whose midnight, UTC, it counts
    Column("peer", COUNTRY, primary_key=True),
    Column("word", String(8), nullable=False),  # YES, NO or UNKNOWN
    Column("asked", BigInteger, nullable=False),
    Column("answered", BigInteger, nullable=False),
    info=bound("the word on who answers"),
)
"""A snapshot for each day, kept for whoever asks why a past decision was as it was."""
