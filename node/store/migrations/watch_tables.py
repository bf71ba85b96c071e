"""The tables of quotas, silent alarms and decoys, of the first schema."""

import sqlalchemy as sa
from alembic import op


def watching() -> None:
    """Make them."""
    _quotas()
    op.create_table(
        "alarms",
        sa.Column("alarm_id", sa.LargeBinary(), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.Column("raised_us", sa.BigInteger(), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("closed_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("alarm_id", name="pk_alarms"),
        sa.UniqueConstraint("tag", name="uq_alarms_tag"),
    )
    op.create_index("ix_alarms_exchange_id", "alarms", ["exchange_id"])
    op.create_table(
        "guesses",
        sa.Column("run", sa.LargeBinary(), nullable=False),
        sa.Column("seen", sa.LargeBinary(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", name="pk_guesses"),
    )
    op.create_index("ix_guesses_at_us", "guesses", ["at_us"])
    op.create_table(
        "decoys",
        sa.Column("decoy_id", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("decoy_id", name="pk_decoys"),
    )
    op.create_table(
        "swept",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_swept"),
    )
    op.create_table(
        "swept_later",
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("idx", name="pk_swept_later"),
    )


def _quotas() -> None:
    op.create_table(
        "quota_counts",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("scope", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "scope", "who", "what", name="pk_quota_counts"),
    )
    op.create_table(
        "quota_raises",
        sa.Column("scope", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("per_hour", sa.BigInteger(), nullable=False),
        sa.Column("per_day", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("raised_by", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("scope", "who", "what", name="pk_quota_raises"),
    )
