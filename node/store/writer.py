"""The one writer of a process: everything that changes the database together with the ledger goes through its thread.

A durable commit costs the same for one line as for a hundred, so it takes what has queued, writes it in one
transaction, and then releases all who wait. Nobody is released before the commit returns: what leaves the country has
been logged. A failure of the disk releases nobody either; each gets a `LedgerError`, and the next batch starts afresh.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from enum import IntEnum
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from node.errors import EnlaceError, LedgerError, ReplayError
from node.store.append import REPLAYED, Appender, Replay, SealedLine, found_ledger, placed, seal_line
from node.store.binding import now_us, with_states
from node.store.institution import Epoch
from node.store.lines import Head, Line
from node.store.touched import Touched
from node.store.vault import Vault

BATCH_S: Final = 0.005
"""Seconds of work after which a batch takes up no further change."""
BESIDE_ANSWERS_S: Final = 0.001
"""The same, for a batch with answers to peers in it."""
BATCH_LINES: Final = 128
"""Lines in a batch, at about 30 µs each."""
_STOPPED: Final = "the ledger's writer has stopped"

T = TypeVar("T")


class Priority(IntEnum):
    """Who goes first: answers to peers, then people at the desk, then mail and imports."""

    ANSWER = 0
    DESK = 1
    BACKGROUND = 2


class _Job:
    """Lines, and the change that they log, if any; from `submit` to the release of who waits.

    With `apart`, each line stands for itself: the result is a list, of an index or an error for each.
    """

    __slots__ = ("apart", "change", "error", "future", "late", "lines", "loop", "priority", "result", "sealed")

    def __init__(
        self,
        lines: Sequence[Line],
        change: Callable[[Connection], object] | None,
        priority: Priority,
        future: "Future[Any] | asyncio.Future[Any]",
        loop: asyncio.AbstractEventLoop | None,
        *,
        apart: bool = False,
        late: list[Line] | None = None,
    ) -> None:
        self.late = late  # lines that the change adds, behind the others
        self.lines = lines
        self.change = change
        self.priority = priority
        self.future = future
        self.loop = loop
        self.apart = apart
        self.sealed: Sequence[SealedLine] = ()
        self.result: object = None
        self.error: BaseException | None = None

    def replays(self) -> list[Replay]:
        """What must not be in the ledger yet."""
        return [(line.exchange_id, line.replay_key) for line in self.lines if line.replay_key is not None]

    def settle(self) -> None:
        """Tell who waits, unless they have gone: the peer hung up, and what was logged stays logged."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    """The thread that writes; made once per process, closed last.

    `append` and `submit` may be called from any number of tasks and threads.
    """

    def __init__(self, engine: Engine, vault: Vault, node: str = "", clock: Callable[[], int] = now_us) -> None:
        """Open the ledger, founding it where the database is new, and start the thread.

        Changes without a line get one, with the ledger's name (`node`, as "GT/gt-1") and the time (UTC microseconds).

        Raises:
            LedgerBrokenError: The head is missing or contradicts itself.
        """
        self._engine = engine
        self._vault = vault
        self._appender = Appender(engine.dialect)
        # On PostgreSQL, the first statement begins a transaction; on SQLite, it would not keep others from writing.
        self._begin = "BEGIN IMMEDIATE" if engine.dialect.name == "sqlite" else ""
        self._failures = (EnlaceError, SQLAlchemyError, OSError, engine.dialect.loaded_dbapi.Error)
        self._connection: Connection | None = None
        self._touched = Touched()
        self._node = node
        self._clock = clock
        self._inbox: SimpleQueue[_Job | None] = SimpleQueue()  # None: no more will come
        self._lanes: tuple[deque[_Job], ...] = tuple(deque() for _ in Priority)
        self._underway: list[_Job] = []
        self._closing = False
        self._stopped = False
        with engine.begin() as connection:
            found_ledger(connection)
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def append(self, line: Line, priority: Priority = Priority.ANSWER) -> "asyncio.Future[int]":
        """Log one line; to be called on an event loop.

        Returns:
            A future of the line's index, done when the line is durable. It fails with ReplayError if its replay key
            was used before, and with LedgerError if it could not be written: then nothing may leave.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._put(_Job((line,), None, priority, future, loop))
        return future

    def append_all(self, lines: Sequence[Line]) -> "asyncio.Future[list[int | BaseException]]":
        """Log lines of answers together; to be called on an event loop.

        Returns:
            A future of what became of each: its index, or the ReplayError by which it was refused. It fails with
            LedgerError if none could be written.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[int | BaseException]] = loop.create_future()
        self._put(_Job(lines, None, Priority.ANSWER, future, loop, apart=True))
        return future

    def submit(
        self, change: Callable[[Connection], T], lines: Sequence[Line] = (), priority: Priority = Priority.DESK
    ) -> "Future[T]":
        """Make a change and log it: both are committed, or neither is.

        The change runs on the writer's thread, among others and answers: it only talks to the database it is given, for
        5 ms at most, and neither commits nor rolls back. Large work comes as many small changes.

        Returns:
            A future of what the change returns. It fails with what the change raises, with ReplayError, or with
            LedgerError; then nothing of it was written.
        """
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # who gives up waiting can't stop it
        self._put(_Job(lines, change, priority, future, None))
        return future

    def submit_logging(
        self, change: Callable[[Connection, list[Line]], T], priority: Priority = Priority.DESK
    ) -> "Future[T]":
        """Make a change that adds its lines itself, since they follow from what it finds: none has a replay key.

        Otherwise as `submit`. The lines are encrypted within the transaction, which `submit` spares it.
        """
        late: list[Line] = []
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        self._put(_Job((), lambda connection: change(connection, late), priority, future, None, late=late))
        return future

    def copy_under(self, epoch: Epoch | None) -> None:
        """Make copies for the institution under this key from the batch on that is written; a change alone calls it."""
        self._appender.copy_under(epoch)

    def close(self) -> None:
        """Write what has been handed in, then stop. What comes later fails with LedgerError."""
        self._inbox.put(None)
        self._thread.join()

    @property
    def is_running(self) -> bool:
        """Tell whether lines can be logged; once this is false, nothing will ever leave this process again."""
        return not self._stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, job: _Job) -> None:
        self._inbox.put(job)
        if self._stopped:  # after `put`, so that either the thread's last look finds the job, or this one does
            self._refuse_inbox()

    def _run(self) -> None:
        try:
            while self._collect():
                self._write(self._take())
        finally:  # also if a bug ends the thread: whoever waited for ever would hold a peer's call open
            self._stopped = True
            self._disconnect()
            for jobs in (self._underway, *self._lanes):
                _fail(jobs, _STOPPED)
                _release(jobs)
            self._refuse_inbox()

    def _collect(self) -> bool:
        """Wait for work and sort it into lanes; False when all is done and no more will come."""
        while not any(self._lanes):
            if self._closing:
                return False
            self._sort(self._inbox.get())
        self._drain()
        return True

    def _drain(self) -> None:
        try:
            while True:
                self._sort(self._inbox.get_nowait())
        except Empty:
            pass

    def _sort(self, job: _Job | None) -> None:
        if job is None:
            self._closing = True
        else:
            self._lanes[job.priority].append(job)

    def _take(self) -> list[_Job]:
        """Take the next batch, the most urgent first; its last job may have more lines than there is room for."""
        jobs: list[_Job] = []
        room = BATCH_LINES
        for lane in self._lanes:
            while lane and room > 0:
                jobs.append(lane.popleft())
                room -= max(1, len(jobs[-1].lines))
        return jobs

    def _write(self, jobs: list[_Job]) -> None:
        self._underway = jobs
        answers = jobs[0].priority is Priority.ANSWER
        deadline = time.perf_counter() + (BESIDE_ANSWERS_S if answers else BATCH_S)
        done = len(jobs)
        try:
            sealed = self._seal(jobs, deadline)
            done = self._transact(jobs[:sealed], deadline)
        except self._failures as error:
            self._disconnect()
            _fail(jobs, f"the ledger could not be written: {_reason(error)}", error)
        for job in reversed(jobs[done:]):
            self._lanes[job.priority].appendleft(job)
        self._underway = []
        _release(jobs[:done])

    def _seal(self, jobs: list[_Job], deadline: float) -> int:
        """Encrypt, outside the transaction; returns for how many of the jobs there was time."""
        for number, job in enumerate(jobs):
            if number and job.change is not None and time.perf_counter() > deadline:
                return number
            # Once sealed, it was put off by the batch before. The last line of a change says what was changed.
            if not job.sealed:
                lines = job.lines if job.change is None else job.lines[:-1]
                job.sealed = [seal_line(self._vault, line) for line in lines]
        return len(jobs)

    def _transact(self, jobs: list[_Job], deadline: float) -> int:
        """Run one transaction; returns how many of the jobs it took before the time was up."""
        if self._connection is None:
            self._connection = self._engine.connect()
            self._touched.watch(self._connection)
        connection = self._connection
        if all(job.change is None for job in jobs):
            # Nobody but this module works on the connection, so it does without what SQLAlchemy's transactions cost.
            raw = connection.connection
            with closing(raw.cursor()) as cursor:
                if self._begin:
                    cursor.execute(self._begin)
                done, head = self._fill(cursor, connection, jobs, deadline)
            raw.commit()
        else:
            with connection.begin(), closing(connection.connection.cursor()) as cursor:
                done, head = self._fill(cursor, connection, jobs, deadline)
        # Were this before the commit, a failed commit would leave a tree in memory that nobody can rebuild.
        self._appender.committed(head)
        return done

    def _fill(self, cursor: DBAPICursor, connection: Connection, jobs: list[_Job], deadline: float) -> tuple[int, Head]:
        """Do the jobs in the transaction that has begun; returns how many there was time for, and the new head."""
        lines, done, changed = list[SealedLine](), 0, False
        head = self._appender.lock_head(cursor)
        used = self._appender.used(cursor, [replay for job in jobs for replay in job.replays()])
        for job in jobs:
            if job.change is not None:
                if changed and time.perf_counter() > deadline:
                    break
                changed = True
            done += 1
            if job.apart:
                job.result = [placed(sealed, head.size, lines, used) for sealed in job.sealed]
                continue
            job.result = head.size + len(lines)
            job.error = self._perform(job, connection, used)
            if job.error is None:
                lines += job.sealed
        return done, self._appender.append(cursor, head, lines) if lines else head

    def _perform(self, job: _Job, connection: Connection, used: set[Replay]) -> BaseException | None:
        """Make a job's change in a savepoint of its own, so that it fails alone; returns why it failed."""
        replays = job.replays()
        if not used.isdisjoint(replays) or len(set(replays)) < len(replays):
            return ReplayError(REPLAYED)
        if job.change is not None:
            self._touched.clear()
            savepoint = connection.begin_nested()
            try:
                job.result = job.change(connection)
                lines = job.late or job.lines[-1:]  # sealed with what was changed, which is known only now
                states = self._touched.states(connection)
                last = with_states(lines, states, self._node, self._clock) if states else lines
                job.sealed = [*job.sealed, *(seal_line(self._vault, line) for line in last)]
            except BaseException as error:  # noqa: BLE001 as in concurrent.futures: whoever submitted it gets it
                # SQLite may have rolled the whole transaction back (a full disk). Then this fails, and the batch too.
                savepoint.rollback()
                if isinstance(error, OperationalError):
                    return _caused(f"the change could not be written: {_reason(error)}", error)
                return error
            savepoint.commit()
        used.update(replays)
        return None

    def _disconnect(self) -> None:
        """Drop the connection, whatever state it is in; the next batch opens another and reads the head anew."""
        self._appender.failed()
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _refuse_inbox(self) -> None:
        jobs: list[_Job] = []
        try:
            while True:
                job = self._inbox.get_nowait()
                if job is not None:
                    jobs.append(job)
        except Empty:
            _fail(jobs, _STOPPED)
            _release(jobs)


def _caused(text: str, cause: BaseException | None) -> LedgerError:
    error = LedgerError(text)
    error.__cause__ = cause
    return error


def _fail(jobs: Iterable[_Job], text: str, cause: BaseException | None = None) -> None:
    for job in jobs:
        job.error = _caused(text, cause)


def _reason(error: BaseException) -> str:
    """First line of the driver's own message: what follows, or what SQLAlchemy adds, may quote values of records."""
    return str(getattr(error, "orig", None) or error).partition("\n")[0]


def _release(jobs: Iterable[_Job]) -> None:
    """Let those go who wait: one call into each event loop, since a call costs as much as twenty futures."""
    loops: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        if job.loop is None:
            job.settle()
        else:
            loops.setdefault(job.loop, []).append(job)
    for loop, waiting in loops.items():
        with suppress(RuntimeError):  # the loop was closed, so nobody waits
            loop.call_soon_threadsafe(_settle_all, waiting)


def _settle_all(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()
