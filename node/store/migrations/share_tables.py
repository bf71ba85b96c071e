"""The tables of the first schema that hold shares, recalls and flags; the others are in `versions/v0001_first.py`."""

import sqlalchemy as sa
from alembic import op


def shares() -> None:
    """Make the tables of shares, recalls, flags, and of how far disclosures were examined again."""
    op.create_table(
        "shares",
        sa.Column("direction", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("share_id", sa.LargeBinary(), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("officer", sa.String(64), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("direction", "peer", "share_id", name="pk_shares"),
    )
    op.create_index("ix_shares_exchange_id", "shares", ["exchange_id"])
    op.create_index("ix_shares_at_us", "shares", ["at_us"])
    op.create_table(
        "recalls",
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("handle", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("sent_us", sa.BigInteger(), nullable=False),
        sa.Column("delivered", sa.Boolean(), nullable=False),
        sa.Column("chased", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "exchange_id", "handle", name="pk_recalls"),
    )
    op.create_index("ix_recalls_state", "recalls", ["state", "due_us"])
    op.create_table(
        "flags",
        sa.Column("direction", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("flag_id", sa.LargeBinary(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("direction", "peer", "flag_id", name="pk_flags"),
    )
    op.create_index("ix_flags_at_us", "flags", ["at_us"])
    op.create_table(
        "examined",
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("rules_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("after", sa.LargeBinary(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("peer", name="pk_examined"),
    )
