"""Directories that were accepted, and countries' revocation lists. Neither ever goes back."""

from collections.abc import Mapping

from cryptography import x509
from sqlalchemy import Connection, insert, select, update

from node.errors import DirectoryRollbackError
from node.identity.directory import TrustedDirectory
from node.identity.revocation import RevocationList
from node.store.tables import directories, revocations


def put_directory(connection: Connection, directory: TrustedDirectory, now_us: int) -> None:
    """Keep a directory that was accepted.

    Raises:
        DirectoryRollbackError: one of this version, or of a higher one, is held.
    """
    held = select(directories.c.version).where(directories.c.version >= directory.version).limit(1)
    if connection.execute(held).first() is not None:
        raise DirectoryRollbackError(f"a directory of version {directory.version} or higher is held")
    row = {"version": directory.version, "expires_us": directory.expires_us, "signed": directory.signed}
    connection.execute(insert(directories).values({**row, "accepted_us": now_us}))


def accepted(connection: Connection) -> list[bytes]:
    """Return all directories that were accepted (SignedDirectory), oldest first."""
    return list(connection.execute(select(directories.c.signed).order_by(directories.c.version)).scalars())


def put_crl(connection: Connection, listed: RevocationList, crl: bytes, now_us: int) -> frozenset[int]:
    """Keep a revocation list (DER), verified as `listed`, and return all serial numbers that its country took back.

    Lists are kept by issuer: who stole one authority's key can't put another's list out of use by a high number.

    Raises:
        DirectoryRollbackError: the number is lower than the one held, or the same for another list.
    """
    number, held = f"{listed.number:016x}", revocations.c
    values = {"number": number, "crl": crl, "stored_us": now_us}
    same = (held.country == listed.country, held.issuer == listed.issuer)
    newer = (held.number < number) | ((held.number == number) & (held.crl == crl))
    if not connection.execute(update(revocations).where(*same, newer).values(values)).rowcount:
        if connection.execute(select(held.country).where(*same)).first() is not None:
            raise DirectoryRollbackError(f"the revocation list {listed.number} of {listed.country} is not newer")
        connection.execute(insert(revocations).values(country=listed.country, issuer=listed.issuer, **values))
    return revoked(connection)[listed.country]


def revoked(connection: Connection) -> Mapping[str, frozenset[int]]:
    """Return the serial numbers that each country took back, by whichever of its authorities.

    The lists were verified when they came.
    """
    found: dict[str, frozenset[int]] = {}
    for row in connection.execute(select(revocations.c.country, revocations.c.crl)):
        serials = frozenset(each.serial_number for each in x509.load_der_x509_crl(row.crl))
        found[row.country] = found.get(row.country, frozenset()) | serials
    return found


def crls(connection: Connection) -> list[tuple[str, bytes]]:
    """Return the newest revocation list (DER) of each authority, with its country."""
    query = select(revocations.c.country, revocations.c.crl).order_by(revocations.c.country, revocations.c.issuer)
    return [(row.country, row.crl) for row in connection.execute(query)]
