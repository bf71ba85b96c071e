"""What `enlace doctor` tells of the auditing institution: whether copies are kept for it, and erasures not yet done."""

from collections.abc import Iterator
from typing import Final

from node.cli.examining import Finding
from node.cli.output import time_text
from node.config import Config
from node.errors import MalformedError, SignatureError
from node.federation.copying import audit_of
from node.identity.directory import DAY_US, TrustedDirectory
from node.store import erasures, institution
from node.store.database import Database

_WHAT: Final = "institution"
_OLDEST_US: Final = 2 * DAY_US
"""Age of the key of copies from which the node can't have run, or looked after it: each day has its own."""


def examine_institution(config: Config, directory: TrustedDirectory, now_us: int) -> Iterator[Finding]:
    """Look at charter, copies and erasures, read-only; the database is one that can be read."""
    audit = audit_of(directory, config.country)
    with Database.open_read_only(config.store.database) as database, database.reading() as connection:
        undone, last = erasures.undone(connection), institution.last_epoch(connection)
        try:
            charter = institution.charter_in_force(connection, config.country, audit) if audit is not None else None
        except (SignatureError, MalformedError) as error:
            yield Finding(_WHAT, "red", f"the charter is not what it has signed, so no copies are kept: {error}")
            return
    if undone:
        yield Finding("erasures", "yellow", f"{len(undone)} were logged and are not done: does the node run?")
    if audit is None:
        yield Finding(_WHAT, "hint", "the directory names none that audits this country, so no copies are kept")
    elif charter is None:
        says = f"{audit.institution} has brought no charter, so no copies are kept for it: `enlace institution bring`"
        yield Finding(_WHAT, "yellow", says)
    elif last is None or last.begun_us + _OLDEST_US < now_us:
        yield Finding(_WHAT, "yellow", "today's key of copies was not begun: does the node run?")
    else:
        under = f"under charter {charter.number}, with a key of {time_text(last.begun_us)}"
        yield Finding(_WHAT, "green", f"copies are kept for {audit.institution} {under}")
