"""The tables of the duty roster and of whom the node called, of the first schema."""

import sqlalchemy as sa
from alembic import op


def duty() -> None:
    """Make them."""
    op.create_table(
        "duty_turns",
        sa.Column("turn_id", sa.LargeBinary(), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("officers", sa.String(255), nullable=False),
        sa.Column("set_by", sa.String(64), nullable=False),
        sa.Column("set_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("turn_id", name="pk_duty_turns"),
    )
    op.create_index("ix_duty_turns_until_us", "duty_turns", ["until_us"])
    op.create_table(
        "contacts",
        sa.Column("officer", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("officer", name="pk_contacts"),
    )
    op.create_table(
        "pages",
        sa.Column("ticket", sa.String(10), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("urgency", sa.SmallInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("turn_id", sa.LargeBinary()),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("rung", sa.SmallInteger(), nullable=False),
        sa.Column("told_us", sa.BigInteger(), nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=False),
        sa.Column("closed_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("ticket", name="pk_pages"),
    )
    op.create_index("uq_pages_what", "pages", ["kind", "peer", "subject"], unique=True)
    op.create_table(
        "notifications",
        sa.Column("ticket", sa.String(10), nullable=False),
        sa.Column("step", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("recipient", sa.String(64), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("ticket", "step", "recipient", name="pk_notifications"),
    )
    op.create_index("ix_notifications_state", "notifications", ["state", "next_us"])
