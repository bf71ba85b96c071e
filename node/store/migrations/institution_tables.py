"""Tables of the first schema that are kept of and for the auditing institution."""

import sqlalchemy as sa
from alembic import op

_INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def institution() -> None:
    """Make the tables of charters, copies, commitments and erasures."""
    op.create_table(
        "institution_charters",
        sa.Column("number", _INDEX, autoincrement=False, nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.Column("stored_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_institution_charters"),
    )
    op.create_table(
        "institution_epochs",
        sa.Column("epoch_id", sa.LargeBinary(), nullable=False),
        sa.Column("epoch", sa.LargeBinary(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary()),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("epoch_id", name="pk_institution_epochs"),
    )
    op.create_table(
        "institution_copies",
        sa.Column("first", _INDEX, autoincrement=False, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("epoch_id", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("first", name="pk_institution_copies"),
    )
    op.create_table(
        "institution_commitments",
        sa.Column("size", _INDEX, autoincrement=False, nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("stored_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_institution_commitments"),
    )
    op.create_table(
        "opening_erasures",
        sa.Column("erasure_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.Column("logged_us", sa.BigInteger(), nullable=False),
        sa.Column("done_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("erasure_sha256", name="pk_opening_erasures"),
    )
