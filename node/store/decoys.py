"""Decoys: entries that no real case holds. Which they are, is sealed: they look like any other to who reads SQL."""

from sqlalchemy import Connection, insert, select

from node.store.columns import as_bytes
from node.store.vault import Vault
from node.store.watch_tables import decoys
from node.wire.alarm_pb2 import Decoy


def plant(connection: Connection, vault: Vault, decoy: Decoy) -> bytes:
    """Note that an entry is a decoy, and return what it is noted under."""
    decoy_id = vault.tag("decoy", decoy.entry_id)[:16]
    sealed = vault.seal_alone(_context(decoy_id), decoy.SerializeToString())
    connection.execute(insert(decoys).values(decoy_id=decoy_id, sealed=sealed))
    return decoy_id


def listed(connection: Connection, vault: Vault) -> list[Decoy]:
    """Return all decoys, the newest first.

    Raises:
        KeyErasedError, DecryptionError: one was altered.
    """
    rows = connection.execute(select(decoys)).all()
    found = [Decoy.FromString(vault.open_alone(_context(as_bytes(row.decoy_id)), as_bytes(row.sealed))) for row in rows]
    return sorted(found, key=lambda each: (-each.planted_us, each.entry_id))


def entry_ids(connection: Connection, vault: Vault) -> frozenset[bytes]:
    """Return the ids of the entries that are decoys."""
    return frozenset(each.entry_id for each in listed(connection, vault))


def _context(decoy_id: bytes) -> bytes:
    return b"enlace/v1/decoy\0" + decoy_id
