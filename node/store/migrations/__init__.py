"""Migrations: a numbered chain, applied by the process that opens the database for writing.

A released migration is never edited. Each is written out, without the tables of `node.store.tables`, which go on
changing; a test compares what the chain makes with those tables, on both databases.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

FOLDER: Final = Path(__file__).parent
KNOWN: Final = tuple(sorted(path.name[1:5] for path in FOLDER.glob("versions/v[0-9]*_*.py")))
"""Revisions that this code knows, oldest first: the four digits in the name of each file."""
HEAD: Final = KNOWN[-1]

_LOCK: Final = 0x656E6C616365  # of PostgreSQL, for the time of a migration: "enlace"


def current_revision(connection: Connection) -> str | None:
    """Return the revision that the database has, or None where it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def upgrade(connection: Connection) -> None:
    """Bring the database to `HEAD` within the connection's transaction: all of it, or nothing."""
    # Imported here, because only the first start of a new version needs it, and it costs an idle node megabytes.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if current_revision(connection) == HEAD:
            return  # another process was quicker
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
