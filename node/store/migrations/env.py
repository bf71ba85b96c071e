"""What Alembic runs; the connection and its transaction are the caller's."""

from alembic import context
from sqlalchemy import Connection

from node.store.every_table import metadata

connection: Connection = context.config.attributes["connection"]
# A transaction of its own would commit the caller's, so none is begun here.
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
