"""Tracing an entry: every peer that got any part of it, under which rules, and what they owe."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlalchemy import Connection

from node.desk.masking import Names, Reading
from node.errors import NotFoundError, RulebookError, UsageError
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Layer, Rule, Rulebook
from node.store import freezes, rulebooks
from node.store.database import Database
from node.store.ids import ID_BYTES
from node.store.listing import read_head
from node.store.officers import Officer
from node.store.traces import Given, Traced, trace
from node.store.vault import Vault
from node.wire.audit_pb2 import TracedLine, TraceEntryRequest, TraceEntryResponse
from node.wire.codes_pb2 import DataCategory
from node.wire.ledger_pb2 import ENTRY_OUTCOME_PENDING, LeafPrivate

_PAGE: Final = 2_000  # lines read on one snapshot: some 100 ms
_MOST_UNREADABLE: Final = 1_000
_BITS: Final = ("released", "generalised", "pseudonymised", "masked")


class _Book(NamedTuple):
    """A rulebook of the past by its rules, or why it can't be read."""

    book: Rulebook | None
    rules: dict[str, Rule]
    remark: str


@dataclass(slots=True)
class Books:
    """The rulebooks that one trace has met."""

    held: dict[tuple[Layer, bytes], _Book] = field(default_factory=dict)

    def of(self, connection: Connection, private: LeafPrivate) -> list[_Book]:
        """Return those that a line names, the floor first."""
        digests: tuple[tuple[Layer, bytes], ...] = (
            ("floor", private.floor_sha256),
            ("release", private.release_sha256),
        )
        for each in digests:
            if each[1] and each not in self.held:
                self.held[each] = _read(connection, *each)
        return [self.held[each] for each in digests if each[1]]


@dataclass(slots=True)
class Tracing:
    """Serves auditors and focal points."""

    reading: Reading
    database: Database
    vault: Vault

    async def trace_entry(self, request: TraceEntryRequest, officer: Officer) -> AsyncIterator[TraceEntryResponse]:
        """Yield the lines of answers in which a peer got something of an entry, then what was looked at.

        Raises:
            UsageError: the id is none, or the reason for unmasking.
            LedgerError: the ledger has no head, or the reading can't be logged.
        """
        if len(request.entry_id) != ID_BYTES:
            raise UsageError(f"entry: an id has {ID_BYTES} bytes")
        names = await self.reading.begin(officer, "TRACE", subject=request.entry_id, unmask=request.unmask)
        size = (await self.database.read(read_head)).size
        books, last, unreadable = Books(), TraceEntryResponse(), list[int]()
        for start in range(0, size, _PAGE):
            stop = min(start + _PAGE, size)
            found, lines = await self.database.read(self._page, request.entry_id, (books, names), start, stop)
            last.answers += found.answers
            last.unreadable_total += len(found.unreadable)
            unreadable += found.unreadable
            if lines:
                yield TraceEntryResponse(lines=lines)
        last.unreadable.extend(unreadable[:_MOST_UNREADABLE])
        for each in await self.database.read(freezes.list_freezes):
            if each.entry_id == request.entry_id:
                each.decided_by = names(each.decided_by)
                last.freezes.append(each)
        yield last

    def _page(
        self, connection: Connection, entry_id: bytes, shown: tuple[Books, Names], start: int, stop: int
    ) -> tuple[Traced, list[TracedLine]]:
        found, (books, names) = trace(connection, self.vault, {entry_id}, start, stop), shown
        return found, [traced_line(each, books.of(connection, each.private), names) for each in found.given]


def _read(connection: Connection, layer: Layer, digest: bytes) -> _Book:
    try:
        # It was in force then, so that what it is marked as today does not matter.
        book = parse_rulebook(rulebooks.by_digest(connection, layer, digest), demonstration=True)
    except (NotFoundError, RulebookError):
        return _Book(None, {}, f"the {layer} rulebook {digest.hex()[:16]} of that time can't be read")
    return _Book(book, {rule.id: rule for rule in book.rules}, "")


def traced_line(given: Given, books: list[_Book], names: Names) -> TracedLine:
    """Return what a peer got of an entry by one answer, under the rulebooks of that time."""
    decided, private = given.decided, given.private
    line = TracedLine(
        index=given.line,
        peer=given.shared.peer,
        time_us=given.shared.time_us,
        logged_us=given.logged_us,
        exchange_id=given.shared.exchange_id,
        officer=names(private.officer),
        unit=private.unit,
        purpose=private.purpose,
        outcome=decided.outcome,
        revision=decided.revision,
        rules=decided.rules,
        rulebooks=[f"{each.book.name} {each.book.version}" for each in books if each.book],
        remark="; ".join(each.remark for each in books if each.remark),
        handle=decided.handle,
    )
    for name in _BITS:
        bits: int = getattr(decided, name)
        getattr(line, name).extend(each for each in DataCategory.values() if bits >> each & 1)
    if decided.outcome != ENTRY_OUTCOME_PENDING:
        fired = [each.rules[name] for each in books for name in decided.rules if name in each.rules]
        line.obligations.extend(sorted(frozenset[int]().union(*(rule.obligations for rule in fired))))  # type: ignore[arg-type]
        line.retention_days = min((rule.retention_days for rule in fired if rule.retention_days), default=0)
    return line
