"""Tables of the first schema that hold requests; the others are in `versions/v0001_first.py`."""

import sqlalchemy as sa
from alembic import op


def requests() -> None:
    """Make the tables of held answers, of requests, and of what was told before."""
    op.create_table(
        "holds",
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("silent", sa.Boolean(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.entry_id"], name="fk_holds_entry_id"),
        sa.PrimaryKeyConstraint("exchange_id", "peer", "entry_id", name="pk_holds"),
    )
    op.create_index("ix_holds_due_us", "holds", ["due_us"])
    op.create_table(
        "requests",
        sa.Column("direction", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("origin", sa.SmallInteger(), nullable=False),
        sa.Column("entry_id", sa.LargeBinary()),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("urgency", sa.SmallInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("officer", sa.String(64), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("taken_by", sa.String(64)),
        sa.Column("refusal", sa.SmallInteger(), nullable=False),
        sa.Column("emergency", sa.Boolean(), nullable=False),
        sa.Column("reviewed_by", sa.String(64)),
        sa.Column("upheld", sa.Boolean(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("direction", "peer", "request_id", name="pk_requests"),
    )
    op.create_index("ix_requests_state", "requests", ["state", "due_us"])
    op.create_index("ix_requests_entry_id", "requests", ["entry_id"])
    op.create_table(
        "told_lines",
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("entry_id", "peer", "idx", name="pk_told_lines"),
        sqlite_with_rowid=False,
    )
