"""What another rulebook would change: this node's records as they are, and its past decided again.

A report counts, and says nothing of a single record. The same records, past and rulebooks give the same report, whose
digest approvals name: it is known afterwards what the signers read. Single entries are named apart from it.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import Connection

from node.desk.officers import private_of_officer
from node.desk.replayed import MOST_RECORDS, Replayed
from node.desk.replayed_queries import ReplayedQueries
from node.errors import KeyErasedError, NotFoundError, RulebookError, UsageError
from node.federation.lines import QUERY_BODY, local_line
from node.federation.standing import Standing
from node.policy.decide import Policy
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Rulebook
from node.store import freezes
from node.store.database import Database
from node.store.decided import asked, decided
from node.store.entries import Entries
from node.store.listing import read_head
from node.store.officers import Officer
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.entry_pb2 import Entry
from node.wire.explaining_pb2 import ChangedEntry, RehearseRulebookRequest, RehearseRulebookResponse
from node.wire.ledger_pb2 import LeafKind

_REMEMBERED: Final = 65_536  # decisions
_PAGE: Final = 500  # ledger lines at once, some 15 ms
_TOLD_S: Final = 0.2  # how often progress is told
_LISTED: Final = 500  # single entries of a response


class Progress(NamedTuple):
    """How far a rehearsal is."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a rehearsal found.

    Attributes:
        text: For people.
        sha256: Of the text in UTF-8, which approvals name.
        changed: Single entries that are treated otherwise, as many as a rehearsal names.
        changed_total: How many there are.
    """

    text: str
    sha256: bytes
    changed: tuple[ChangedEntry, ...]
    changed_total: int


@dataclass(slots=True)
class Replaying:
    """Rehearses rulebooks."""

    standing: Standing
    database: Database
    vault: Vault
    entries: Entries
    writer: Writer
    clock: Callable[[], int]

    async def serve(
        self, request: RehearseRulebookRequest, officer: Officer
    ) -> AsyncIterator[RehearseRulebookResponse]:
        """Yield progress, the report, and single entries where they were asked for.

        Raises:
            UsageError: it is no rulebook, or another country's; the text lists its mistakes.
        """
        book = await asyncio.to_thread(self._parsed, request.content)
        reason = f"REHEARSAL {book.layer.upper()} {book.name} {book.version}"[:64]
        private = private_of_officer(officer, subject=book.sha256, reason=reason)
        await self.writer.append(local_line(LeafKind.LEAF_KIND_READ, private, self.standing.signer, self.clock()))
        async for step in self.replay(book):
            if isinstance(step, Progress):
                yield RehearseRulebookResponse(stage=step.stage, done=step.done, total=step.total)
                continue
            yield RehearseRulebookResponse(report=step.text, sha256=step.sha256, changed_total=step.changed_total)
            for at in range(0, len(step.changed) if request.entries else 0, _LISTED):
                yield RehearseRulebookResponse(changed=step.changed[at : at + _LISTED])

    async def rehearse_rulebook(self, content: bytes) -> Report:
        """Return the report on a rulebook (YAML), of whichever layer it is.

        Raises:
            UsageError: it is no rulebook, or another country's; the text lists its mistakes.
        """
        book = await asyncio.to_thread(self._parsed, content)  # up to a megabyte of YAML
        steps = [step async for step in self.replay(book) if isinstance(step, Report)]
        return steps[0]

    async def replay(self, book: Rulebook) -> AsyncIterator[Progress | Report]:
        """Yield progress, and at last the report."""
        now_us = self.clock()
        at_us = max(now_us, book.valid_from_us)
        lines = list(self._head(book, now_us, at_us))
        if book.layer == "outbound":
            queries = ReplayedQueries(self.standing, self.standing.rulebook("outbound", now_us), book, now_us, at_us)
            async for progress in self._asked(queries):
                yield progress
            yield _report([*lines, *queries.lines()], [], 0)
            return
        run = await self._run(book, now_us, at_us)
        async for progress in self._records(run):
            yield progress
        async for progress in self._answers(run):
            yield progress
        yield _report([*lines, *run.lines()], run.changed, run.changed_total)

    def _parsed(self, content: bytes) -> Rulebook:
        try:
            book = parse_rulebook(content, demonstration=self.standing.trust.directory.demonstration)
        except RulebookError as error:
            raise UsageError(str(error)) from error
        if book.country not in {"", self.standing.country}:
            raise UsageError(f"the rulebook is of {book.country}, and this node of {self.standing.country}")
        return book

    async def _run(self, book: Rulebook, now_us: int, at_us: int) -> Replayed:
        trust = self.standing.trust
        members = [each.country for each in trust.directory.members() if each.country != self.standing.country]
        held = {peer: self.standing.policy_for(peer, now_us) for peer in members}

        def compiled() -> tuple[dict[str, Policy], dict[str, Policy]]:
            # Of its own: what a rehearsal remembers must not push out what answers need.
            old = {peer: Policy(it.floor, it.release, it.accepted, _REMEMBERED) for peer, it in held.items()}
            new = {}
            for peer, it in held.items():
                floor, release = (book, it.release) if book.layer == "floor" else (it.floor, book)
                new[peer] = Policy(floor, release, it.accepted, _REMEMBERED)
            return old, new

        old, new = await asyncio.to_thread(compiled)
        return Replayed(self.standing, now_us, at_us, old, new, [peer for peer in members if trust.is_paired(peer)])

    def _head(self, book: Rulebook, now_us: int, at_us: int) -> Iterator[str]:
        yield f"Rehearsal of {book.name} {book.version} in {self.standing.country}, layer {book.layer}"
        yield f"its text: SHA-256 {book.sha256.hex()}"
        held = self.standing.rulebook(book.layer, now_us)
        yield f"in place of: {_named(held)}"
        if book.layer != "outbound":
            beside = self.standing.rulebook("release" if book.layer == "floor" else "floor", now_us)
            yield f"beside: {_named(beside)}"
        yield f"directory: version {self.standing.trust.directory.version}"
        if not book.is_valid_at(at_us):
            yield "It is not valid any more: with it, nothing would leave."

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _records(self, run: Replayed) -> AsyncIterator[Progress]:
        run.records_total = await self.database.read(self.entries.count_active, run.now_us)
        done, stopped = 0, False

        def read(connection: Connection) -> None:
            nonlocal done
            views = self._views(connection, run.now_us)
            for entry in self.entries.active(connection, run.now_us, MOST_RECORDS):
                if stopped:
                    return
                run.take_record(entry, views.get(entry.entry_id, {}))
                done += 1

        reading = asyncio.ensure_future(self.database.read(read))
        try:
            while not reading.done():
                await asyncio.wait({reading}, timeout=_TOLD_S)
                yield Progress("records", done, min(run.records_total, MOST_RECORDS))
            await reading
        finally:
            stopped = True  # also where nobody waits for the report any more

    def _views(self, connection: Connection, now_us: int) -> dict[bytes, dict[str, Entry | None]]:
        """Return what peers go on seeing instead of entries as they stand, by entry and peer."""
        views: dict[bytes, dict[str, Entry | None]] = {}
        for each in freezes.list_freezes(connection):
            with suppress(NotFoundError, KeyErasedError):
                seen = self.entries.revision(connection, each.entry_id, each.revision)
                views.setdefault(each.entry_id, {})[each.peer] = seen if each.until_us > now_us else None
        return views

    async def _answers(self, run: Replayed) -> AsyncIterator[Progress]:
        def read(connection: Connection, start: int) -> None:
            for answer in decided(connection, self.vault, start, start + _PAGE):
                run.take_answer(answer)

        async for progress in self._lines(read):
            yield progress

    async def _asked(self, queries: ReplayedQueries) -> AsyncIterator[Progress]:
        def read(connection: Connection, start: int) -> None:
            for query in asked(connection, self.vault, start, start + _PAGE, QUERY_BODY):
                queries.take(query)

        async for progress in self._lines(read):
            yield progress

    async def _lines(self, read: Callable[[Connection, int], None]) -> AsyncIterator[Progress]:
        """Read the ledger page by page, each in a thread and on a snapshot of its own, so that answers go on."""
        size = (await self.database.read(read_head)).size
        for start in range(0, size, _PAGE):
            await self.database.read(read, start)
            yield Progress("past", min(start + _PAGE, size), size)


def _named(book: Rulebook | None) -> str:
    return (
        "none, which lets nothing leave" if book is None else f"{book.name} {book.version}, SHA-256 {book.sha256.hex()}"
    )


def _report(lines: list[str], changed: list[ChangedEntry], total: int) -> Report:
    text = "\n".join(lines) + "\n"
    return Report(text, hashlib.sha256(text.encode()).digest(), tuple(changed), total)
