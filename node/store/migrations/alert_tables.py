"""The tables of the first schema that hold alerts; the others are in `versions/v0001_first.py`."""

import sqlalchemy as sa
from alembic import op


def alerts() -> None:
    """Make the tables of alerts, of what they find, and of who works on the same."""
    op.create_table(
        "alerts",
        sa.Column("direction", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("set_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("officer", sa.String(64), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("matches", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("direction", "peer", "exchange_id", name="pk_alerts"),
    )
    op.create_index("ix_alerts_state", "alerts", ["direction", "state", "until_us"])
    op.create_table(
        "alert_tokens",
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("direction", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("token", "direction", "peer", "exchange_id", name="pk_alert_tokens"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_alert_tokens_alert", "alert_tokens", ["direction", "peer", "exchange_id"])
    _finds()
    _pairs()


def _finds() -> None:
    op.create_table(
        "alert_finds",
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("found_us", sa.BigInteger()),
        sa.Column("rules_sha256", sa.LargeBinary()),
        sa.Column("told_sha256", sa.LargeBinary()),
        sa.Column("told_us", sa.BigInteger()),
        sa.Column("forbidden", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "exchange_id", "entry_id", name="pk_alert_finds"),
    )
    op.create_index("ix_alert_finds_found", "alert_finds", ["found_us"])
    op.create_index("ix_alert_finds_entry", "alert_finds", ["entry_id"])


def _pairs() -> None:
    op.create_table(
        "alert_pairs",
        sa.Column("own_exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("officer", sa.String(64), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("other_unit", sa.String(64), nullable=False),
        sa.Column("found_us", sa.BigInteger()),
        sa.Column("told_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("own_exchange_id", "country", "exchange_id", name="pk_alert_pairs"),
    )
    op.create_index("ix_alert_pairs_found", "alert_pairs", ["found_us"])
