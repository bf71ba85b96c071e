"""Tables of the first schema that hold mail; the others are in `versions/v0001_first.py`."""

import sqlalchemy as sa
from alembic import op


def mail() -> None:
    """Make the tables of mail."""
    op.create_table(
        "mail_exchanges",
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("next_out", sa.BigInteger(), nullable=False),
        sa.Column("next_in", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "exchange_id", name="pk_mail_exchanges"),
    )
    op.create_table(
        "outbox",
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("overtakes", sa.Boolean(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("queued_us", sa.BigInteger(), nullable=False),
        sa.Column("sent_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(100), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("withdrawn", sa.LargeBinary()),
        sa.Column("receipt_sha256", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("peer", "exchange_id", "number", name="pk_outbox"),
    )
    op.create_index("ix_outbox_state", "outbox", ["state", "peer", "overtakes", "queued_us"])
    op.create_index("ix_outbox_sent", "outbox", ["peer", "sent_us"])
    op.create_table(
        "inbox",
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("sent_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(100), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("body_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("receipt", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("peer", "exchange_id", "number", name="pk_inbox"),
    )
    op.create_index("ix_inbox_sent", "inbox", ["peer", "sent_us"])
