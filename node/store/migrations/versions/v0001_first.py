"""The first schema."""

import sqlalchemy as sa
from alembic import op

from node.store.migrations.alert_tables import alerts
from node.store.migrations.attachment_tables import attachments
from node.store.migrations.audit_tables import findings, witnesses
from node.store.migrations.duty_tables import duty
from node.store.migrations.institution_tables import institution
from node.store.migrations.mail_tables import mail
from node.store.migrations.received_tables import received
from node.store.migrations.request_tables import requests
from node.store.migrations.share_tables import shares
from node.store.migrations.state_tables import states
from node.store.migrations.subject_tables import petitions
from node.store.migrations.suspension_tables import suspensions
from node.store.migrations.watch_tables import watching

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables."""
    _records()
    _beside_records()
    _people()
    _federation()
    _exchanges()
    _policy()
    _ledger()
    _safeguards()
    findings()
    witnesses()
    institution()
    petitions()
    states()
    mail()
    received()
    requests()
    shares()
    attachments()
    suspensions()
    watching()
    duty()
    alerts()


def _records() -> None:
    op.create_table(
        "cases",
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("review_us", sa.BigInteger(), nullable=False),
        sa.Column("written_us", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("case_id", name="pk_cases"),
    )
    op.create_index("ix_cases_review_us", "cases", ["review_us"])
    op.create_table(
        "case_revisions",
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("written_us", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_case_revisions_case_id"),
        sa.PrimaryKeyConstraint("case_id", "revision", name="pk_case_revisions"),
    )
    op.create_table(
        "entries",
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("review_us", sa.BigInteger(), nullable=False),
        sa.Column("written_us", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_entries_case_id"),
        sa.PrimaryKeyConstraint("entry_id", name="pk_entries"),
    )
    op.create_index("ix_entries_case_id", "entries", ["case_id"])
    op.create_index("ix_entries_review_us", "entries", ["review_us"])
    op.create_table(
        "entry_revisions",
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("written_us", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.entry_id"], name="fk_entry_revisions_entry_id"),
        sa.PrimaryKeyConstraint("entry_id", "revision", name="pk_entry_revisions"),
    )


def _beside_records() -> None:
    op.create_table(
        "lookups",
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.entry_id"], name="fk_lookups_entry_id"),
        sa.PrimaryKeyConstraint("token", "entry_id", name="pk_lookups"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_lookups_entry_id", "lookups", ["entry_id"])
    op.create_table(
        "bonds",
        sa.Column("subject_id", sa.LargeBinary(), nullable=False),
        sa.Column("thing_id", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["subject_id"], ["entries.entry_id"], name="fk_bonds_subject_id"),
        sa.ForeignKeyConstraint(["thing_id"], ["entries.entry_id"], name="fk_bonds_thing_id"),
        sa.PrimaryKeyConstraint("subject_id", "thing_id", name="pk_bonds"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_bonds_thing_id", "bonds", ["thing_id"])
    op.create_table(
        "pending_changes",
        sa.Column("change_id", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("base_revision", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("proposed_by", sa.String(64), nullable=False),
        sa.Column("proposed_us", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.String(64)),
        sa.Column("decided_us", sa.BigInteger()),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_reason", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "state <> 2 OR (decided_by IS NOT NULL AND decided_by <> proposed_by)", name="second_officer"
        ),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.entry_id"], name="fk_pending_changes_entry_id"),
        sa.PrimaryKeyConstraint("change_id", name="pk_pending_changes"),
    )
    op.create_index("ix_pending_changes_entry_id", "pending_changes", ["entry_id"])


def _people() -> None:
    op.create_table(
        "officers",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("identity", sa.String(255), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("unit_type", sa.SmallInteger(), nullable=False),
        sa.Column("roles", sa.SmallInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("enrolled_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_officers"),
        sa.UniqueConstraint("identity", name="uq_officers_identity"),
    )
    op.create_table(
        "focal_points",
        sa.Column("place", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("enrolment", sa.LargeBinary(), nullable=False),
        sa.Column("enrolled_us", sa.BigInteger(), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("place", name="pk_focal_points"),
        sa.UniqueConstraint("name", name="uq_focal_points_name"),
        sa.UniqueConstraint("public_key", name="uq_focal_points_public_key"),
    )


def _federation() -> None:
    op.create_table(
        "pairings",
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("time_us", sa.BigInteger(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=True),
        sa.Column("stored_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("begun", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("peer", name="pk_pairings"),
    )
    op.create_table(
        "directories",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.Column("accepted_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_directories"),
    )
    op.create_table(
        "revocations",
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("issuer", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.String(16), nullable=False),
        sa.Column("crl", sa.LargeBinary(), nullable=False),
        sa.Column("stored_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("country", "issuer", name="pk_revocations"),
    )


def _exchanges() -> None:
    op.create_table(
        "life_queries",
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("direction", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_us", sa.BigInteger()),
        sa.Column("acknowledged_by", sa.String(64)),
        sa.Column("telephone", sa.String(32)),
        sa.Column("examined", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("exchange_id", "peer", "direction", name="pk_life_queries"),
    )
    op.create_index("ix_life_queries_due_us", "life_queries", ["due_us"])


def _policy() -> None:
    op.create_table(
        "rulebooks",
        sa.Column("layer", sa.String(16), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("valid_from_us", sa.BigInteger(), nullable=False),
        sa.Column("valid_until_us", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("stored_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("layer", "sha256", name="pk_rulebooks"),
        sa.UniqueConstraint("layer", "name", "version", name="uq_rulebooks_layer_name_version"),
    )
    op.create_table(
        "rulebook_proposals",
        sa.Column("layer", sa.String(16), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("proposed_us", sa.BigInteger(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("rehearsal", sa.LargeBinary(), nullable=False),
        sa.Column("approval", sa.LargeBinary(), nullable=False),
        sa.Column("removal", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["layer", "sha256"], ["rulebooks.layer", "rulebooks.sha256"], name="fk_rulebook_proposals_layer_sha256"
        ),
        sa.PrimaryKeyConstraint("layer", "sha256", name="pk_rulebook_proposals"),
        sa.UniqueConstraint("layer", "sha256", "author", name="uq_rulebook_proposals_layer_sha256_author"),
    )
    op.create_table(
        "rulebook_signatures",
        sa.Column("layer", sa.String(16), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("document", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.LargeBinary(), nullable=False),
        sa.Column("focal_point", sa.String(64), nullable=False),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("signed_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("focal_point <> author", name="not_the_author"),
        sa.ForeignKeyConstraint(
            ["layer", "sha256", "author"],
            ["rulebook_proposals.layer", "rulebook_proposals.sha256", "rulebook_proposals.author"],
            name="fk_rulebook_signatures_layer_sha256_author",
        ),
        sa.PrimaryKeyConstraint("layer", "sha256", "document", "key_id", name="pk_rulebook_signatures"),
        sa.UniqueConstraint(
            "layer",
            "sha256",
            "document",
            "focal_point",
            name="uq_rulebook_signatures_layer_sha256_document_focal_point",
        ),
    )
    op.create_table(
        "rulebook_steps",
        sa.Column("layer", sa.String(16), nullable=False),
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.LargeBinary(), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("layer", "place", name="pk_rulebook_steps"),
    )


def _ledger() -> None:
    op.create_table(
        "ledger_head",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("link", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name="one_head"),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_head"),
    )
    op.create_table(
        "ledger_lines",
        sa.Column("idx", _INDEX, autoincrement=False, nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("link", sa.LargeBinary(), nullable=False),
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("replay_key", sa.LargeBinary()),
        sa.Column("statement", sa.LargeBinary()),
        sa.Column("key_id", sa.LargeBinary()),
        sa.Column("signature", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("idx", name="pk_ledger_lines"),
        sa.UniqueConstraint("exchange_id", "replay_key", name="uq_ledger_lines_exchange_id_replay_key"),
    )
    op.create_table(
        "ledger_openings",
        sa.Column("idx", _INDEX, autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("idx", name="pk_ledger_openings"),
    )
    op.create_table(
        "ledger_bodies",
        sa.Column("idx", _INDEX, autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("idx", name="pk_ledger_bodies"),
    )
    op.create_table(
        "ledger_tiles",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("idx", _INDEX, autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "idx", name="pk_ledger_tiles"),
    )


def _safeguards() -> None:
    op.create_table(
        "followed",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_followed"),
    )
    op.create_table(
        "disclosures",
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", "peer", name="pk_disclosures"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "freezes",
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.String(64)),
        sa.Column("decided_us", sa.BigInteger()),
        sa.Column("line", sa.LargeBinary()),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.entry_id"], name="fk_freezes_entry_id"),
        sa.PrimaryKeyConstraint("entry_id", "peer", name="pk_freezes"),
    )
    op.create_table(
        "determinations",
        sa.Column("exchange_id", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("closed_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("exchange_id", "peer", "entry_id", name="pk_determinations"),
    )
    op.create_table(
        "emergencies",
        sa.Column("emergency_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.String(2), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("declared_by", sa.String(64), nullable=False),
        sa.Column("declared_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger()),
        sa.Column("review", sa.LargeBinary()),
        sa.Column("reviewed_by", sa.String(64)),
        sa.Column("overdue", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("emergency_sha256", name="pk_emergencies"),
    )
    op.create_index("ix_emergencies_until_us", "emergencies", ["until_us"])
    for table, word in (("asked_days", False), ("reciprocity", True)):
        op.create_table(
            table,
            sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("peer", sa.String(2), nullable=False),
            *([sa.Column("word", sa.String(8), nullable=False)] if word else []),
            sa.Column("asked", sa.BigInteger(), nullable=False),
            sa.Column("answered", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("day", "peer", name=f"pk_{table}"),
        )
