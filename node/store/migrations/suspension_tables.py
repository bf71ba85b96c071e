"""The table of suspended peers, of the first schema."""

import sqlalchemy as sa
from alembic import op


def suspensions() -> None:
    """Make it."""
    op.create_table(
        "suspensions",
        sa.Column("suspension_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.Column("lifting", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("suspension_sha256", name="pk_suspensions"),
    )
