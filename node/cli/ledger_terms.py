"""What `enlace ledger verify` needs beside the tree: the key store, where it may be read, and what grounds rest on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, select

from node.config import Config
from node.errors import StoreError
from node.identity.approvals import enrolled
from node.identity.directory import TrustedDirectory
from node.store import focal_points
from node.store.columns import as_bytes
from node.store.covering import Terms
from node.store.keystore import KeyStore
from node.store.tables import focal_points as enrolments
from node.store.vault import Vault, read_key_file


@contextmanager
def opened_vault(config: Config) -> Iterator[Vault | None]:
    """Open the vault; None to whoever may not read the key-encryption key, as an auditor with a copy."""
    try:
        key = read_key_file(config.store.key_encryption_key)
    except StoreError:
        yield None
        return
    with KeyStore.open(config.store.keystore) as keystore:
        yield Vault(keystore, key)


def terms_of(connection: Connection, config: Config, history: Sequence[TrustedDirectory], vault: Vault | None) -> Terms:
    """Return the shortest periods of any directory, and the country's focal points.

    Raises:
        MalformedError, SignatureError: the chain of focal points is broken, or not this node's.
    """
    records = [record for directory in history for record in directory.members() if record.country == config.country]
    audits = [record.audit for record in records if record.HasField("audit")]
    return Terms(
        retention_days=min((each.retention_days for each in audits if each.retention_days), default=0),
        period_days=min((each.period_days for each in audits), default=0),
        focal_keys=focal_points.keys(connection, vault) if vault is not None else _believed(connection),
    )


def _believed(connection: Connection) -> list[bytes]:
    """Return the focal points' keys whose chain holds; without the vault, nobody knows that the node wrote it."""
    query = select(enrolments.c.enrolment).order_by(enrolments.c.place)
    chain = [as_bytes(each) for each in connection.execute(query).scalars()]
    return list(enrolled(chain).values()) if chain else []
