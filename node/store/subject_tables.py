"""Tables of petitions (persons' requests about their own data) and of entries that were erased.

In the clear are ids, states and dates alone: neither who asked, nor their file's number, nor what they asked for. Ids
of entries have no foreign keys, since entries are deleted at their dates.
"""

from sqlalchemy import BigInteger, Column, LargeBinary, SmallInteger, Table

from node.store.bound import bound
from node.store.tables import PSEUDONYM, metadata

petitions = Table(
    "petitions",
    metadata,
    Column("petition_id", LargeBinary, primary_key=True),  # also names its data key
    Column("revision", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),  # PetitionState
    Column("due_us", BigInteger, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),  # Petition
    info=bound("the person's request"),
)

erasures = Table(
    "erasures",
    metadata,
    Column("erasure_id", LargeBinary, primary_key=True),
    Column("entry_id", LargeBinary, nullable=False, index=True),
    Column("case_id", LargeBinary, nullable=False),
    Column("state", SmallInteger, nullable=False),  # ErasureState
    Column("proposed_by", PSEUDONYM, nullable=False),
    Column("proposed_us", BigInteger, nullable=False),
    Column("decided_by", PSEUDONYM),
    Column("decided_us", BigInteger),
    Column("sealed", LargeBinary, nullable=False),  # EntryErasure, under a key of its own
    info=bound("the erasure of an entry"),
)
