"""Silent alarms and decoys at the desk: what whoever asked must not learn of."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.desk.asserting import assert_by
from node.desk.officers import private_of_officer
from node.desk.received import verified_reason
from node.desk.recording import Recording
from node.federation.lines import local_line
from node.federation.watching import Watching
from node.store import alarms, decoys
from node.store.lines import Line
from node.store.officers import Officer
from node.wire.alarm_pb2 import Alarm, CloseAlarmRequest, Decoy, ListAlarmsRequest, PlantDecoyRequest
from node.wire.entry_pb2 import Case, Entry
from node.wire.ledger_pb2 import LeafKind

_LISTED: Final = 100


@dataclass(slots=True)
class AlarmDesk:
    """Serves focal points, and auditors with alarms; nobody else may know which entry is a decoy."""

    watching: Watching
    recording: Recording
    clock: Callable[[], int]

    async def list_alarms(self, request: ListAlarmsRequest, officer: Officer) -> list[Alarm]:
        """Return alarms, the newest first; that they were listed is a line.

        Raises:
            DecryptionError: one was altered.
        """
        limit = min(request.limit or _LISTED, alarms.LISTED)
        await self.recording.writer.append(self._line(officer, b"", "ALARMS", LeafKind.LEAF_KIND_READ))

        def read(connection: Connection) -> list[Alarm]:
            return alarms.listed(connection, self.recording.vault, closed=request.all, limit=limit)

        return await self.recording.database.read(read)

    async def close(self, request: CloseAlarmRequest, officer: Officer) -> Alarm:
        """Close an alarm with a reason, which is a line, and return it.

        Raises:
            NotFoundError: there is no such alarm.
            UsageError: it is closed, or the reason is missing or too long.
        """
        reason, now_us = verified_reason(request.reason), self.clock()
        line = self._line(officer, request.alarm_id, f"CLOSED {reason}")

        def change(connection: Connection) -> Alarm:
            vault = self.recording.vault
            return alarms.close(connection, vault, request.alarm_id, officer=officer.name, reason=reason, now_us=now_us)

        return await asyncio.wrap_future(self.recording.writer.submit(change, [line]))

    async def plant(self, request: PlantDecoyRequest, officer: Officer) -> Decoy:
        """Write an invented entry in a case of its own, both with the lines of any other, and note what it is.

        Raises:
            RecordError: it can't be kept; the text names the field.
        """
        now_us, recording = self.clock(), self.recording
        case = recording.completed_case(
            Case(
                reference=request.case_reference,
                title=request.case_title,
                crimes=request.entry.crimes,
                open=True,
            ),
            officer,
            now_us,
        )
        entry = Entry()
        entry.CopyFrom(request.entry)
        entry.entry_id, entry.case_id, entry.revision = b"", case.case_id, 0
        assert_by(entry, None, officer.name, now_us)
        entry = recording.completed_entry(entry, officer, now_us)
        decoy = Decoy(
            entry_id=entry.entry_id,
            kind=entry.WhichOneof("entity") or "",
            planted_by=officer.name,
            planted_us=now_us,
            case_id=case.case_id,
        )
        kind, reference = LeafKind.LEAF_KIND_RECORD, case.reference
        lines = [
            recording.line(kind, officer, case.case_id, "CASE", reference),
            recording.line(kind, officer, entry.entry_id, "ENTRY", reference),
            self._line(officer, b"", "DECOY"),
        ]
        await asyncio.to_thread(recording.vault.ensure_keys, (case.case_id,))

        def change(connection: Connection) -> None:
            recording.cases.put(connection, case, now_us)
            recording.entries.insert(connection, [entry], now_us)
            decoys.plant(connection, recording.vault, decoy)

        # Known to whoever answers before it can be found.
        self.watching.decoys |= {entry.entry_id}
        await asyncio.wrap_future(recording.writer.submit(change, lines))
        return decoy

    async def list_decoys(self, officer: Officer) -> list[Decoy]:
        """Return all decoys, the newest first; that they were listed is a line."""
        await self.recording.writer.append(self._line(officer, b"", "DECOYS", LeafKind.LEAF_KIND_READ))
        return await self.recording.database.read(decoys.listed, self.recording.vault)

    def _line(
        self, officer: Officer, subject: bytes, reason: str, kind: LeafKind.ValueType = LeafKind.LEAF_KIND_ALARM
    ) -> Line:
        private = private_of_officer(officer, subject=subject, reason=reason)
        return local_line(kind, private, self.recording.standing.signer, self.clock())
