"""Tables of the first schema that auditors look after; the others are in `versions/v0001_first.py`."""

import sqlalchemy as sa
from alembic import op


def findings() -> None:
    """Make the table of what does not fit between ledgers."""
    op.create_table(
        "findings",
        sa.Column("finding_id", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("detail", sa.String(200), nullable=False),
        sa.Column("raised_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("note", sa.String(200)),
        sa.Column("changed_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("finding_id", name="pk_findings"),
        sa.UniqueConstraint("kind", "peer", "exchange_id", name="uq_findings_kind_peer_exchange_id"),
    )
