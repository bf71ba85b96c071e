"""Tables of the first schema that auditors look after; the others are in `versions/v0001_first.py`."""

import sqlalchemy as sa
from alembic import op

_INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


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


def witnesses() -> None:
    """Make the tables of what witnesses saw and signed."""
    op.create_table(
        "witnessed",
        sa.Column("origin", sa.String(255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("origin", name="pk_witnessed"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("size", _INDEX, autoincrement=False, nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("signed_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_checkpoints"),
    )
    op.create_table(
        "cosignatures",
        sa.Column("size", _INDEX, autoincrement=False, nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.Column("time_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size", "country", name="pk_cosignatures"),
    )
    op.create_table(
        "split_views",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("origin", sa.String(255), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("proved", sa.Boolean(), nullable=False),
        sa.Column("first", sa.LargeBinary(), nullable=False),
        sa.Column("second", sa.LargeBinary(), nullable=False),
        sa.Column("found_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_split_views"),
    )
    op.create_table(
        "promises",
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("leaf_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("asked_us", sa.BigInteger(), nullable=False),
        sa.Column("inclusion", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("exchange_id", "peer", name="pk_promises"),
    )
    op.create_index("ix_promises_line", "promises", ["line"])
    op.create_index("ix_promises_state", "promises", ["state", "asked_us"])
    op.create_table(
        "unlinked",
        sa.Column("origin", sa.String(255), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("origin", name="pk_unlinked"),
    )
    _epochs()


def _epochs() -> None:
    op.create_table(
        "lost_heads",
        sa.Column("origin", sa.String(255), nullable=False),
        sa.Column("size", _INDEX, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("witness", sa.String(2), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("kept", sa.BigInteger(), nullable=False),
        sa.Column("told_us", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer()),
        sa.PrimaryKeyConstraint("origin", "size", "root", "witness", name="pk_lost_heads"),
    )
    op.create_table(
        "ledger_epochs",
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fence", sa.LargeBinary(), nullable=False),
        sa.Column("proposer", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("proposed_us", sa.BigInteger(), nullable=False),
        sa.Column("opened_us", sa.BigInteger()),
        sa.Column("exchange_id", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("epoch", name="pk_ledger_epochs"),
    )
    op.create_table(
        "restored_ledgers",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("restored", sa.LargeBinary(), nullable=False),
        sa.Column("found_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_restored_ledgers"),
    )
