"""Importing many cases: small changes one after another, so that an import never starves an answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection

from node.desk.recording import Recording
from node.errors import KeyErasedError, NotFoundError, RecordError, UsageError
from node.federation.standing import Standing
from node.store.officers import Officer
from node.store.writer import Priority, Writer
from node.wire.desk_pb2 import ImportProblem, ImportRequest, ImportResponse
from node.wire.entry_pb2 import Case, Entry
from node.wire.ledger_pb2 import LeafKind

WINDOW_CASES: Final = 256
"""Cases whose keys are made in one durable write; after each window, the client hears how far it is."""
WINDOW_BYTES: Final = 8 * 1_048_576
"""Of a window, so that memory stays flat whatever a message holds."""
CHANGE_ENTRIES: Final = 24
"""Entries of one change, written in about 3 ms; a larger case is a change by itself, since its links need it whole."""
ATOMIC_ENTRIES: Final = 10_000
"""Entries of an import that is kept whole or not at all: one change, so the peers wait while it is written."""

# What is wrong with a message, and not with the node.
_PROBLEMS: Final = (RecordError, NotFoundError, UsageError, KeyErasedError)


@dataclass(frozen=True, slots=True)
class _Staged:
    """A message that is fit to be kept; without a case, its entries go into cases that are here."""

    ordinal: int
    case: Case | None
    entries: tuple[Entry, ...]

    @property
    def subject(self) -> bytes:
        """Id that the ledger line names: of the case, else of the first entry."""
        return self.case.case_id if self.case else self.entries[0].entry_id

    @property
    def reference(self) -> str:
        """The case's own, where it comes along."""
        return self.case.reference if self.case else ""


@dataclass(slots=True)
class Importing:
    """Takes streams of cases from units."""

    standing: Standing
    recording: Recording
    writer: Writer
    clock: Callable[[], int]

    async def take(self, requests: AsyncIterator[ImportRequest], officer: Officer) -> AsyncIterator[ImportResponse]:
        """Keep each message that is fit to be kept, and tell of every other what is wrong with it.

        Where the first message is atomic, all are kept or none. An import adds: it never changes a case that is here.

        Raises:
            UsageError: an atomic import is too large.
            LedgerError, StoreError: nothing after the last response was kept.
        """
        ordinal, atomic, total = 0, False, ImportResponse()
        window: list[_Staged] = []
        problems: list[ImportProblem] = []
        size = entries = 0
        async for request in requests:
            atomic = request.atomic if ordinal == 0 else atomic
            try:
                window.append(self._staged(ordinal, request, officer))
            except _PROBLEMS as error:
                problems.append(ImportProblem(message=ordinal, reason=str(error)))
            ordinal += 1
            size += request.ByteSize()
            entries += len(request.entries)
            if atomic and entries > ATOMIC_ENTRIES:
                raise UsageError(f"an atomic import has at most {ATOMIC_ENTRIES} entries: split it, or leave that out")
            if not atomic and (len(window) >= WINDOW_CASES or size >= WINDOW_BYTES):
                yield await self._keep(window, problems, officer, total)
                window, problems, size = [], [], 0
        if atomic:
            yield await self._keep_all(window, problems, officer)
        elif window or problems or not ordinal:
            yield await self._keep(window, problems, officer, total)

    def _staged(self, ordinal: int, request: ImportRequest, officer: Officer) -> _Staged:
        now_us, case = self.clock(), None
        if request.HasField("case"):
            case = self.recording.completed_case(request.case, officer, now_us)
        elif not request.entries:
            raise RecordError("case: is missing, and there is no entry either")
        for entry in request.entries:
            if case is not None and entry.case_id not in (b"", case.case_id):
                raise RecordError("case_id: an entry is of another case than the one it comes with")
            if case is not None:
                entry.case_id = case.case_id
        entries = tuple(self.recording.completed_entry(entry, officer, now_us) for entry in request.entries)
        return _Staged(ordinal, case, entries)

    async def _keep(
        self, window: Sequence[_Staged], problems: list[ImportProblem], officer: Officer, total: ImportResponse
    ) -> ImportResponse:
        """Write a window as small changes, each with its lines."""
        await self.recording.freezing.catch_up()
        window = await self._with_keys(window, problems)
        await self._write_batches(_batches(window), problems, officer, total)
        problems.sort(key=lambda problem: problem.message)
        return ImportResponse(cases=total.cases, entries=total.entries, problems=problems)

    async def _write_batches(
        self,
        batches: Sequence[Sequence[_Staged]],
        problems: list[ImportProblem],
        officer: Officer,
        total: ImportResponse,
    ) -> None:
        changes = [self._submit(partial(self._write, batch), batch, officer) for batch in batches]
        alone: list[_Staged] = []
        for batch, failure in zip(batches, await asyncio.gather(*changes, return_exceptions=True), strict=True):
            if failure is None:
                _count(total, batch)
            elif not isinstance(failure, _PROBLEMS):
                raise failure
            elif len(batch) > 1:
                alone += batch  # one of them is to blame
            else:
                problems.append(ImportProblem(message=batch[0].ordinal, reason=str(failure)))
        if alone:
            await self._write_batches([[staged] for staged in alone], problems, officer, total)

    async def _keep_all(
        self, window: Sequence[_Staged], problems: list[ImportProblem], officer: Officer
    ) -> ImportResponse:
        """Write everything in one change, or nothing."""
        await self.recording.freezing.catch_up()
        window = await self._with_keys(window, problems)
        if problems:
            return ImportResponse(problems=problems)
        at = 0

        def change(connection: Connection) -> None:
            nonlocal at
            for staged in window:
                at = staged.ordinal
                self._write([staged], connection)

        try:
            await self._submit(change, window, officer)
        except _PROBLEMS as error:
            return ImportResponse(problems=[ImportProblem(message=at, reason=str(error))])
        kept = ImportResponse()
        _count(kept, window)
        return kept

    async def _with_keys(self, window: Sequence[_Staged], problems: list[ImportProblem]) -> list[_Staged]:
        """Make the keys of new cases durable, off the writer's thread; what was erased can't be imported again."""
        vault = self.recording.vault
        ids = [staged.case.case_id for staged in window if staged.case]
        try:
            await asyncio.to_thread(vault.ensure_keys, ids)
        except KeyErasedError:
            kept = []
            for staged in window:
                try:
                    await asyncio.to_thread(vault.ensure_keys, [staged.case.case_id] if staged.case else [])
                except KeyErasedError as error:
                    problems.append(ImportProblem(message=staged.ordinal, reason=str(error)))
                else:
                    kept.append(staged)
            return kept
        return list(window)

    def _submit(
        self, change: Callable[[Connection], None], batch: Sequence[_Staged], officer: Officer
    ) -> "asyncio.Future[None]":
        record = LeafKind.LEAF_KIND_RECORD
        lines = [self.recording.line(record, officer, each.subject, "IMPORT", each.reference) for each in batch]
        return asyncio.wrap_future(self.writer.submit(change, lines, Priority.BACKGROUND))

    def _write(self, batch: Sequence[_Staged], connection: Connection) -> None:
        now_us = self.clock()
        self.recording.cases.insert(connection, [staged.case for staged in batch if staged.case], now_us)
        if entries := [entry for staged in batch for entry in staged.entries]:
            self.recording.entries.insert(connection, entries, now_us)


def _batches(window: Sequence[_Staged]) -> list[list[_Staged]]:
    batches: list[list[_Staged]] = []
    room = 0
    for staged in window:
        room -= max(1, len(staged.entries))
        if room < 0:
            batches.append([])
            room = CHANGE_ENTRIES - len(staged.entries)
        batches[-1].append(staged)
    return batches


def _count(total: ImportResponse, batch: Sequence[_Staged]) -> None:
    total.cases += sum(staged.case is not None for staged in batch)
    total.entries += sum(len(staged.entries) for staged in batch)
