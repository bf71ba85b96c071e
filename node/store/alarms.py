"""Silent alarms: what a query told of whoever asked, sealed, until a focal point or an auditor closes it."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, Row, func, insert, select, update

from node.errors import NotFoundError, UsageError
from node.store.columns import as_bytes
from node.store.ids import new_id
from node.store.vault import Vault, key_id_of
from node.store.watch_tables import alarms
from node.wire.alarm_pb2 import Alarm

LISTED: Final = 1_000

_PURPOSE: Final = "alarm"


def raise_alarm(connection: Connection, vault: Vault, alarm: Alarm, about: bytes, now_us: int) -> bool:
    """Keep an alarm, unless it was raised before, in whatever state that is; return whether it is new.

    Args:
        connection: To the main database, in a transaction that may write.
        vault: Seals it.
        alarm: All but its id and its times.
        about: What it is raised about, once: it is named by a keyed digest alone.
        now_us: UTC microseconds.
    """
    tag = vault.tag(_PURPOSE, bytes((alarm.kind,)) + alarm.peer.encode() + b"\0" + about)
    if connection.execute(select(alarms.c.alarm_id).where(alarms.c.tag == tag)).first() is not None:
        return False
    kept = Alarm()
    kept.CopyFrom(alarm)
    kept.alarm_id, kept.raised_us = new_id(now_us), now_us
    values = {
        "alarm_id": kept.alarm_id,
        "tag": tag,
        "raised_us": now_us,
        "exchange_id": kept.exchange_id,
        "peer": kept.peer,
        "sealed": vault.seal_alone(_context(kept.alarm_id), kept.SerializeToString()),
    }
    connection.execute(insert(alarms).values(values))
    return True


def listed(connection: Connection, vault: Vault, *, closed: bool, limit: int) -> list[Alarm]:
    """Return alarms, the newest first: those that are open, or all.

    Raises:
        KeyErasedError, DecryptionError: one was altered.
    """
    query = select(alarms).order_by(alarms.c.raised_us.desc(), alarms.c.alarm_id).limit(limit)
    query = query if closed else query.where(alarms.c.closed_us.is_(None))
    return [_alarm(vault, row) for row in connection.execute(query)]


def count_open(connection: Connection) -> int:
    """Return how many are open."""
    return connection.execute(select(func.count()).where(alarms.c.closed_us.is_(None))).scalar_one()


def open_exchanges(connection: Connection, exchange_ids: Sequence[bytes]) -> set[bytes]:
    """Return those of the exchanges of which an alarm is open."""
    query = select(alarms.c.exchange_id).where(alarms.c.closed_us.is_(None), alarms.c.exchange_id.in_(exchange_ids))
    return set(connection.execute(query).scalars())


def close(connection: Connection, vault: Vault, alarm_id: bytes, *, officer: str, reason: str, now_us: int) -> Alarm:
    """Close an alarm and return it.

    Raises:
        NotFoundError: there is no such alarm.
        UsageError: it is closed.
    """
    row = connection.execute(select(alarms).where(alarms.c.alarm_id == alarm_id)).one_or_none()
    if row is None:
        raise NotFoundError("there is no such alarm: see `enlace alarms list`")
    if row.closed_us is not None:
        raise UsageError("it is closed already")
    alarm = _alarm(vault, row)
    alarm.closed_us, alarm.closed_by, alarm.reason = now_us, officer, reason
    key_id = key_id_of(as_bytes(row.sealed))
    sealed = key_id + vault.seal(key_id, _context(alarm_id), alarm.SerializeToString())
    this = update(alarms).where(alarms.c.alarm_id == alarm_id)
    connection.execute(this.values(sealed=sealed, closed_us=now_us))
    return alarm


def _alarm(vault: Vault, row: Row[*tuple[object, ...]]) -> Alarm:
    return Alarm.FromString(vault.open_alone(_context(as_bytes(row.alarm_id)), as_bytes(row.sealed)))


def _context(alarm_id: bytes) -> bytes:
    return b"enlace/v1/alarm\0" + alarm_id
