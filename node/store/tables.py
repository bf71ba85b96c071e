"""Tables of the main database; those of the ledger are in `node.store.lines`, others in `node.store.safeguard_tables`.

In the clear are ids, states, units, dates and lookup tokens, and nothing that policy decides on: whoever can write SQL
can neither read nor turn a protective fact (it is inside `sealed`, see `node.store.vault`).
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)

from node.store.bound import bound

metadata = MetaData(
    # Named, so that a migration can drop what another one made, on both databases.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

COUNTRY: Final = String(2)
PSEUDONYM: Final = String(64)

cases = Table(
    "cases",
    metadata,
    Column("case_id", LargeBinary, primary_key=True),  # also names its data key
    Column("revision", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("unit", String(64), nullable=False),
    Column("review_us", BigInteger, nullable=False, index=True),
    Column("written_us", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    info=bound("the case"),
)

case_revisions = Table(
    "case_revisions",
    metadata,
    Column("case_id", LargeBinary, ForeignKey("cases.case_id"), primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("written_us", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    info=bound("the past revision of the case"),
)
"""Superseded revisions, byte for byte as they were."""

entries = Table(
    "entries",
    metadata,
    Column("entry_id", LargeBinary, primary_key=True),
    Column("case_id", LargeBinary, ForeignKey("cases.case_id"), nullable=False, index=True),
    Column("revision", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("unit", String(64), nullable=False),
    Column("review_us", BigInteger, nullable=False, index=True),
    Column("written_us", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    info=bound("the entry"),
)

entry_revisions = Table(
    "entry_revisions",
    metadata,
    Column("entry_id", LargeBinary, ForeignKey("entries.entry_id"), primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("case_id", LargeBinary, nullable=False),
    Column("written_us", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    info=bound("the past revision of the entry"),
)
"""Superseded revisions, byte for byte as they were: a past decision must stay explainable.

The same bytes, sealed anew as superseded: what lies here does not open as a current entry, nor the other way round.
"""

lookups = Table(
    "lookups",
    metadata,
    Column("token", LargeBinary, primary_key=True),
    Column("entry_id", LargeBinary, ForeignKey("entries.entry_id"), primary_key=True),
    Index("ix_lookups_entry_id", "entry_id"),
    sqlite_with_rowid=False,  # the key is the whole row, so a table beside its index would double it
    info=bound("what finds the entry", "entry_id"),
)

bonds = Table(
    "bonds",
    metadata,
    Column("subject_id", LargeBinary, ForeignKey("entries.entry_id"), primary_key=True),
    Column("thing_id", LargeBinary, ForeignKey("entries.entry_id"), primary_key=True),
    Index("ix_bonds_thing_id", "thing_id"),
    sqlite_with_rowid=False,
    info=bound("what inherits from the entry", "subject_id"),
)
"""Which entries inherit protection from which: links that inherit, ids alone, turned around to be found."""

pending_changes = Table(
    "pending_changes",
    metadata,
    Column("change_id", LargeBinary, primary_key=True),
    Column("entry_id", LargeBinary, ForeignKey("entries.entry_id"), nullable=False, index=True),
    Column("case_id", LargeBinary, nullable=False),
    Column("base_revision", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("proposed_by", PSEUDONYM, nullable=False),
    Column("proposed_us", BigInteger, nullable=False),
    Column("decided_by", PSEUDONYM),
    Column("decided_us", BigInteger),
    Column("sealed", LargeBinary, nullable=False),  # the proposed Entry
    Column("sealed_reason", LargeBinary, nullable=False),
    CheckConstraint("state <> 2 OR (decided_by IS NOT NULL AND decided_by <> proposed_by)", name="second_officer"),
    info=bound("the change that waits for a second officer"),
)
"""Changes that would weaken protection, until a second officer has decided."""

officers = Table(
    "officers",
    metadata,
    Column("name", PSEUDONYM, primary_key=True),
    Column("identity", String(255), nullable=False, unique=True),  # SPIFFE id in the client certificate
    Column("unit", String(64), nullable=False),
    Column("unit_type", SmallInteger, nullable=False),
    Column("roles", SmallInteger, nullable=False),  # bit n: OfficerRole number n
    Column("active", Boolean, nullable=False),
    Column("enrolled_us", BigInteger, nullable=False),
    info=bound("the officer"),
)

focal_points = Table(
    "focal_points",
    metadata,
    Column("place", SmallInteger, primary_key=True, autoincrement=False),  # in the chain of countersignatures, from 0
    Column("name", PSEUDONYM, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False, unique=True),
    Column("enrolment", LargeBinary, nullable=False),  # SignedFocalEnrolment, as it came
    Column("enrolled_us", BigInteger, nullable=False),
    Column("tag", LargeBinary, nullable=False),  # of place and enrolment, by the node
    info=bound("the focal point at place"),
)

pairings = Table(
    "pairings",
    metadata,
    Column("peer", COUNTRY, primary_key=True),
    # Of the pairing that two focal points signed last, whether it was ended or not; 0 and NULL before the first.
    Column("time_us", BigInteger, nullable=False),
    Column("signed", LargeBinary),  # SignedPairing
    Column("stored_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),  # from then on it counts no more; only a later pairing does
    Column("begun", LargeBinary),  # SignedPairing that waits for its second signature
    info=bound("the pairing with"),
)

directories = Table(
    "directories",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("signed", LargeBinary, nullable=False),  # SignedDirectory, as it came
    Column("accepted_us", BigInteger, nullable=False),
    info=bound("the directory of version"),
)
"""Every directory that was in force: each was verified against those before it, and is again after a restart."""

revocations = Table(
    "revocations",
    metadata,
    Column("country", COUNTRY, primary_key=True),
    Column("issuer", LargeBinary, primary_key=True),  # SHA-256 of the authority's key
    Column("number", String(16), nullable=False),  # hexadecimal: 64 bits without a sign don't fit a BIGINT
    Column("crl", LargeBinary, nullable=False),  # DER, as it came
    Column("stored_us", BigInteger, nullable=False),
    info=bound("the revocation list of"),
)

holds = Table(
    "holds",
    metadata,
    Column("exchange_id", LargeBinary, primary_key=True),
    Column("peer", COUNTRY, primary_key=True),  # an asker chooses its exchange ids, so two may choose the same
    Column("entry_id", LargeBinary, ForeignKey("entries.entry_id"), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False, index=True),
    Column("silent", Boolean, nullable=False),
    Column("state", SmallInteger, nullable=False),
    info=bound("the held answer"),
)

life_queries = Table(
    "life_queries",
    metadata,
    Column("exchange_id", LargeBinary, primary_key=True),
    Column("peer", COUNTRY, primary_key=True),
    Column("direction", SmallInteger, primary_key=True, autoincrement=False),
    Column("due_us", BigInteger, nullable=False, index=True),
    Column("acknowledged_us", BigInteger),
    Column("acknowledged_by", PSEUDONYM),
    Column("telephone", String(32)),
    Column("examined", Boolean, nullable=False),  # of one received: whether UNKNOWN alone kept something from it
    info=bound("the LIFE query"),
)

rulebooks = Table(
    "rulebooks",
    metadata,
    Column("layer", String(16), primary_key=True),
    Column("sha256", LargeBinary, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("valid_from_us", BigInteger, nullable=False),
    Column("valid_until_us", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("stored_us", BigInteger, nullable=False),
    UniqueConstraint("layer", "name", "version"),
    info=bound("the rulebook"),
)
"""The text of every rulebook that was proposed or in force, floors too: past decisions are replayed under theirs."""

rulebook_proposals = Table(
    "rulebook_proposals",
    metadata,
    Column("layer", String(16), primary_key=True),
    Column("sha256", LargeBinary, primary_key=True),
    Column("author", PSEUDONYM, nullable=False),
    Column("proposed_us", BigInteger, nullable=False),
    Column("proof", LargeBinary, nullable=False),  # reports for people, UTF-8
    Column("rehearsal", LargeBinary, nullable=False),
    Column("approval", LargeBinary, nullable=False),  # RulebookApproval
    Column("removal", LargeBinary, nullable=False),  # RedLineRemoval, or empty
    ForeignKeyConstraint(["layer", "sha256"], ["rulebooks.layer", "rulebooks.sha256"]),
    UniqueConstraint("layer", "sha256", "author"),
    info=bound("the proposed rulebook"),
)

rulebook_signatures = Table(
    "rulebook_signatures",
    metadata,
    Column("layer", String(16), primary_key=True),
    Column("sha256", LargeBinary, primary_key=True),
    Column("document", SmallInteger, primary_key=True, autoincrement=False),  # 1: approval, 2: removal of red lines
    Column("key_id", LargeBinary, primary_key=True),
    Column("focal_point", PSEUDONYM, nullable=False),
    Column("author", PSEUDONYM, nullable=False),  # of the rulebook, so that the database itself keeps the two apart
    Column("signature", LargeBinary, nullable=False),
    Column("signed_us", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["layer", "sha256", "author"],
        ["rulebook_proposals.layer", "rulebook_proposals.sha256", "rulebook_proposals.author"],
    ),
    UniqueConstraint("layer", "sha256", "document", "focal_point"),
    CheckConstraint("focal_point <> author", name="not_the_author"),
    info=bound("the signature on the rulebook"),
)

rulebook_steps = Table(
    "rulebook_steps",
    metadata,
    Column("layer", String(16), primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("step", LargeBinary, nullable=False),  # RulebookStep
    Column("tag", LargeBinary, nullable=False),  # see `node.store.rulebook_steps`
    info=bound("the step of the rulebook"),
)
