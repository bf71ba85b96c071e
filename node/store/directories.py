"""Directories that were accepted, and countries' revocation lists. Neither ever goes back."""

from collections.abc import Mapping

from cryptography import x509
from sqlalchemy import Connection, exists, insert, literal, select, update

from node.errors import DirectoryRollbackError
from node.identity.directory import TrustedDirectory
from node.identity.revocation import RevocationList
from node.store.tables import directories, revocations


def put_directory(connection: Connection, directory: TrustedDirectory, now_us: int) -> None:
    """Keep a directory that was accepted.

    Raises:
        DirectoryRollbackError: one of this version, or of a higher one, is held.
    """
    row = select(
        literal(directory.version), literal(directory.expires_us), literal(directory.signed), literal(now_us)
    ).where(~exists(select(directories.c.version).where(directories.c.version >= directory.version)))
    columns = ["version", "expires_us", "signed", "accepted_us"]
    written = insert(directories).from_select(columns, row).returning(directories.c.version)
    if connection.execute(written).first() is None:
        raise DirectoryRollbackError(f"a directory of version {directory.version} or higher is held")


def accepted(connection: Connection) -> list[bytes]:
    """Return all directories that were accepted (SignedDirectory), oldest first."""
    return list(connection.execute(select(directories.c.signed).order_by(directories.c.version)).scalars())


def put_crl(connection: Connection, listed: RevocationList, crl: bytes, now_us: int) -> None:
    """Keep a country's revocation list (DER), which was verified as `listed`.

    Raises:
        DirectoryRollbackError: the number is lower than the one held, or the same for another list.
    """
    number, held = f"{listed.number:016x}", revocations.c
    values = {"number": number, "crl": crl, "stored_us": now_us}
    changed = connection.execute(
        update(revocations)
        .where(held.country == listed.country, (held.number < number) | ((held.number == number) & (held.crl == crl)))
        .values(values)
    )
    if changed.rowcount:
        return
    if connection.execute(select(held.country).where(held.country == listed.country)).first() is not None:
        raise DirectoryRollbackError(f"the revocation list {listed.number} of {listed.country} is not newer than ours")
    connection.execute(insert(revocations).values(country=listed.country, **values))


def revoked(connection: Connection) -> Mapping[str, frozenset[int]]:
    """Return the serial numbers that each country took back; the lists were verified when they came."""
    rows = connection.execute(select(revocations.c.country, revocations.c.crl))
    return {row.country: frozenset(each.serial_number for each in x509.load_der_x509_crl(row.crl)) for row in rows}


def crl(connection: Connection, country: str) -> bytes | None:
    """Return a country's newest revocation list (DER)."""
    return connection.execute(select(revocations.c.crl).where(revocations.c.country == country)).scalar_one_or_none()
