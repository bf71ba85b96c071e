"""What the steps of a rulebook's life leave in the ledger, also those that were refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from node.desk.officers import private_of_officer
from node.errors import MalformedError, NotFoundError, PolicyError, SignatureError, UsageError
from node.federation.enacting import Enacting, reason_of
from node.federation.lines import local_line
from node.policy.rules import Rulebook
from node.store.lines import Line
from node.store.officers import Officer
from node.store.rulebooks import Proposal
from node.store.writer import Priority
from node.wire.ledger_pb2 import LeafKind, LeafPrivate

_REFUSED: Final = (PolicyError, UsageError, NotFoundError, MalformedError, SignatureError)

log = structlog.get_logger()


def private_of_step(what: str, book: Rulebook | Proposal, officer: Officer) -> LeafPrivate:
    """Return the private part of a step's line: who took it, with which rulebook."""
    reason = reason_of(what, book.layer, book.name, book.version)
    return private_of_officer(officer, subject=book.sha256, reason=reason)


def line_of_step(enacting: Enacting, what: str, book: Rulebook | Proposal, officer: Officer) -> Line:
    """Return the line of a step that changes nothing of what is in force."""
    private = private_of_step(what, book, officer)
    return local_line(LeafKind.LEAF_KIND_RULEBOOK, private, enacting.standing.signer, enacting.clock())


async def log_read(enacting: Enacting, officer: Officer, reason: str, digest: bytes = b"") -> None:
    """Return when the look at rulebooks is durably logged: only then may anything be shown."""
    private = private_of_officer(officer, subject=digest, reason=reason)
    line = local_line(LeafKind.LEAF_KIND_READ, private, enacting.standing.signer, enacting.clock())
    await enacting.writer.append(line, Priority.DESK)


@asynccontextmanager
async def refusing(enacting: Enacting, what: str, digest: bytes, officer: Officer) -> AsyncIterator[None]:
    """Log that a step was refused, before the officer hears of it; what is in force stays."""
    try:
        yield
    except _REFUSED as error:
        log.warning("rulebook_refused", step=what, reason=str(error).partition("\n")[0])
        private = private_of_officer(officer, subject=digest, reason=f"REFUSED {what} {type(error).__name__}")
        line = local_line(LeafKind.LEAF_KIND_RULEBOOK, private, enacting.standing.signer, enacting.clock())
        await enacting.writer.append(line, Priority.DESK)
        raise
