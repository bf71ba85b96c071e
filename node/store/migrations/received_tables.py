"""Tables of the first schema of what peers disclosed; the others are in `versions/v0001_first.py`."""

import sqlalchemy as sa
from alembic import op


def received() -> None:
    """Make the tables of received entries, of what was taken back, of legal holds and of keys to be erased."""
    op.create_table(
        "received",
        sa.Column("received_id", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("handle", sa.LargeBinary(), nullable=False),
        sa.Column("case_id", sa.LargeBinary()),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("disclosed_us", sa.BigInteger(), nullable=False),
        sa.Column("review_us", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("received_id", name="pk_received"),
        sa.UniqueConstraint("peer", "handle", "exchange_id", name="uq_received_peer_handle_exchange_id"),
    )
    for column in ("exchange_id", "case_id", "review_us"):
        op.create_index(f"ix_received_{column}", "received", [column])
    op.create_table(
        "received_lookups",
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("received_id", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["received_id"], ["received.received_id"], name="fk_received_lookups_received_id"),
        sa.PrimaryKeyConstraint("token", "received_id", name="pk_received_lookups"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_received_lookups_received_id", "received_lookups", ["received_id"])
    op.create_table(
        "answer_bodies",
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("handle", sa.LargeBinary(), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("disclosed_us", sa.BigInteger(), nullable=False),
        sa.Column("delete_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "handle", "exchange_id", name="pk_answer_bodies"),
    )
    op.create_index("ix_answer_bodies_delete_us", "answer_bodies", ["delete_us"])
    op.create_index("ix_answer_bodies_exchange_id", "answer_bodies", ["exchange_id"])
    _endings()


def _endings() -> None:
    op.create_table(
        "withdrawals",
        sa.Column("deletion_id", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("handle", sa.LargeBinary(), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("recalled_us", sa.BigInteger(), nullable=False),
        sa.Column("ground", sa.SmallInteger(), nullable=False),
        sa.Column("withdrawn_us", sa.BigInteger(), nullable=False),
        sa.Column("deleted_us", sa.BigInteger()),
        sa.Column("copies", sa.BigInteger(), nullable=False),
        sa.Column("places", sa.String(255), nullable=False),
        sa.Column("told", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("deletion_id", name="pk_withdrawals"),
        sa.UniqueConstraint("peer", "handle", "exchange_id", name="uq_withdrawals_peer_handle_exchange_id"),
    )
    op.create_table(
        "legal_holds",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("law", sa.String(120), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("placed_by", sa.String(64), nullable=False),
        sa.Column("placed_us", sa.BigInteger(), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_legal_holds"),
    )
    op.create_table(
        "key_erasures",
        sa.Column("key_id", sa.LargeBinary(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_key_erasures"),
    )
