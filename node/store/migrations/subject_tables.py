"""Tables of the first schema for persons' requests about their own data."""

import sqlalchemy as sa
from alembic import op


def petitions() -> None:
    """Make the tables of petitions and erasures."""
    op.create_table(
        "petitions",
        sa.Column("petition_id", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("petition_id", name="pk_petitions"),
    )
    op.create_index("ix_petitions_due_us", "petitions", ["due_us"])
    op.create_table(
        "erasures",
        sa.Column("erasure_id", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("proposed_by", sa.String(64), nullable=False),
        sa.Column("proposed_us", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.String(64)),
        sa.Column("decided_us", sa.BigInteger()),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("erasure_id", name="pk_erasures"),
    )
    op.create_index("ix_erasures_entry_id", "erasures", ["entry_id"])
