"""What Alembic runs; the connection and its transaction are the caller's."""

from alembic import context
from sqlalchemy import Connection

import node.store.erasures
import node.store.evidence
import node.store.findings
import node.store.institution
import node.store.lines
import node.store.mail_tables
import node.store.receipts
import node.store.received_tables
import node.store.safeguard_tables
import node.store.subject_tables
import node.store.tiles
import node.store.witnessing  # noqa: F401 their tables register themselves
from node.store.tables import metadata

connection: Connection = context.config.attributes["connection"]
# A transaction of its own would commit the caller's, so none is begun here.
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
