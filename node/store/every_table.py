"""All tables of the main database: those of every module that has any, once this is imported."""

import node.store.alert_tables
import node.store.attachment_tables
import node.store.duty_tables
import node.store.erasures
import node.store.evidence
import node.store.findings
import node.store.institution
import node.store.lines
import node.store.mail_tables
import node.store.receipts
import node.store.received_tables
import node.store.request_tables
import node.store.safeguard_tables
import node.store.share_tables
import node.store.subject_tables
import node.store.suspensions
import node.store.tiles
import node.store.watch_tables
import node.store.witnessing  # noqa: F401 their tables register themselves
from node.store.tables import metadata

__all__ = ["metadata"]
