"""The tables of the first schema that hold attachments; the others are in `versions/v0001_first.py`."""

import sqlalchemy as sa
from alembic import op


def attachments() -> None:
    """Make the tables of attachments and of their contents."""
    op.create_table(
        "attachments",
        sa.Column("attachment_id", sa.LargeBinary(), nullable=False),
        sa.Column("owner", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.SmallInteger(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("attachment_id", name="pk_attachments"),
    )
    op.create_index("ix_attachments_owner", "attachments", ["owner"])
    op.create_table(
        "attachment_chunks",
        sa.Column("attachment_id", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("attachment_id", "number", name="pk_attachment_chunks"),
    )
