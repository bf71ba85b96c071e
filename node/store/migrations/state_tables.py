"""The table of the first schema that binds other tables to the ledger; the others are in `versions/v0001_first.py`."""

import sqlalchemy as sa
from alembic import op

_INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def states() -> None:
    """Make the table of what was changed with which line."""
    op.create_table(
        "ledger_states",
        sa.Column("idx", _INDEX, autoincrement=False, nullable=False),
        sa.Column("states", sa.LargeBinary(), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("idx", name="pk_ledger_states"),
    )
