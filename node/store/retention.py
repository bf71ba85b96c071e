"""Legal holds: what keeps a record from being deleted at its date, by which law, until when, and who said so.

Each bears a tag under a secret that is not in the database (see `Vault.tag`): a row that SQL wrote or changed holds
nothing.
"""

import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import Connection, Row, delete, insert, select

from node.errors import NotFoundError, UsageError
from node.store.received_tables import legal_holds
from node.wire.received_pb2 import LegalHold

if TYPE_CHECKING:
    from node.store.vault import Vault

log = structlog.get_logger()

MOST_LAW_BYTES: Final = 56
"""It stands in the ledger line too, which has 64 for what was done."""
LONGEST_HOLD_US: Final = 5 * 365 * 86_400_000_000
"""A hold ends after five years at the latest, unless it is placed anew."""


def place_hold(
    connection: Connection, vault: "Vault", subject: bytes, *, law: str, until_us: int, officer: str, now_us: int
) -> LegalHold:
    """Hold a case, an entry or a received entry; the same again replaces what is said of law and end.

    Raises:
        UsageError: the law is missing or too long, or the end is not ahead, or more than five years.
    """
    if not law.strip() or not law.isprintable() or len(law.encode()) > MOST_LAW_BYTES:
        raise UsageError(f"law: name the law in up to {MOST_LAW_BYTES} bytes")
    if not now_us < until_us <= now_us + LONGEST_HOLD_US:
        raise UsageError("until: is ahead, and five years at most")
    hold = LegalHold(subject=subject, law=law, until_us=until_us, placed_by=officer, placed_us=now_us)
    connection.execute(delete(legal_holds).where(legal_holds.c.subject == subject))
    connection.execute(
        insert(legal_holds).values(
            subject=subject, law=law, until_us=until_us, placed_by=officer, placed_us=now_us, tag=_tag(vault, hold)
        )
    )
    return hold


def release_hold(connection: Connection, subject: bytes, now_us: int) -> None:
    """End a hold: what is past its date is deleted from now on.

    Raises:
        NotFoundError: nothing is held.
    """
    this = (legal_holds.c.subject == subject, legal_holds.c.until_us > now_us)
    if connection.execute(delete(legal_holds).where(*this)).rowcount == 0:
        raise NotFoundError("there is no legal hold on this record")


def list_holds(connection: Connection, vault: "Vault", now_us: int) -> list[LegalHold]:
    """Return the holds in force, the earliest ending first."""
    held = legal_holds.c
    query = select(legal_holds).where(held.until_us > now_us).order_by(held.until_us, held.subject)
    return [_hold(row) for row in connection.execute(query) if _is_own(vault, row)]


def holds_on(connection: Connection, subjects: Iterable[bytes], now_us: int) -> dict[bytes, LegalHold]:
    """Return the holds in force on records, by the record's id."""
    wanted = tuple(subjects)
    if not wanted:
        return {}
    held = legal_holds.c
    query = select(legal_holds).where(held.subject.in_(wanted), held.until_us > now_us)
    return {row.subject: _hold(row) for row in connection.execute(query)}


def to_drop(connection: Connection, vault: "Vault", now_us: int) -> list[bytes]:
    """Return the subjects of holds that have ended, or that this node did not place as they stand."""
    found = []
    for row in connection.execute(select(legal_holds)).all():
        if not _is_own(vault, row):
            log.error("legal_hold_altered")
            found.append(row.subject)
        elif row.until_us <= now_us:
            found.append(row.subject)
    return found


def drop(connection: Connection, vault: "Vault", now_us: int) -> None:
    """Delete those holds."""
    wanted = to_drop(connection, vault, now_us)
    connection.execute(delete(legal_holds).where(legal_holds.c.subject.in_(wanted)))


def _hold(row: Row[*tuple[Any, ...]]) -> LegalHold:
    return LegalHold(
        subject=row.subject,
        law=row.law,
        until_us=row.until_us,
        placed_by=row.placed_by,
        placed_us=row.placed_us,
    )


def _is_own(vault: "Vault", row: Row[*tuple[Any, ...]]) -> bool:
    return hmac.compare_digest(bytes(row.tag), _tag(vault, _hold(row)))


def _tag(vault: "Vault", hold: LegalHold) -> bytes:
    said = [hold.subject.hex(), str(hold.until_us), str(hold.placed_us), hold.placed_by, hold.law]
    return vault.tag("legal-hold", " ".join(said).encode())
