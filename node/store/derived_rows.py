"""Making anew what follows from lines, and comparing it with the tables that keep it.

What each peer was shown, how often peers were asked, and which lines they promised is worked out from lines behind
them. No line says so again, so `ledger verify` does the same once more. What followed from an opening that can't be
read any more is not known, and is counted as such: it is not taken for an attack.

Both sides are kept in a nameless file while lines are read, so that memory stays flat.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Connection, Table, func, select

from node.errors import DecryptionError, EnlaceError, LedgerBrokenError
from node.store.bound_rows import raw_rows, text_of
from node.store.disclosures import LineToFollow, depends_on_opening, told_of
from node.store.findings import findings
from node.store.ledger_rows import PAGE
from node.store.lines import ledger_head
from node.store.listing import list_lines
from node.store.prepared import Prepared
from node.store.receipts import OVERDUE, PROVED, WAITING, Promise, promise_of, promises
from node.store.request_tables import told_lines
from node.store.safeguard_tables import asked_days, disclosures, followed
from node.store.vault import Vault
from node.wire.ledger_pb2 import LEAF_KIND_MAIL, LEAF_KIND_MAIL_RECEIPT, Leaf, LeafShared, Opening

ReceiptVerifier = Callable[[Promise, bytes], None]
"""Checks the proof of a promise, and raises an EnlaceError where it does not hold."""

_AT_ONCE: Final = 1_000  # rows
_NAMED: Final = 1_000  # differences of a table
_SCRATCH: Final = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA cache_size = -16000",
    "CREATE TABLE dim (idx INTEGER PRIMARY KEY, peer TEXT)",  # lines whose opening might tell more
    "CREATE TABLE told (entry_id BLOB, peer TEXT, idx INTEGER)",
    "CREATE TABLE shown (entry_id BLOB, peer TEXT, revision INTEGER, idx INTEGER)",
    "CREATE TABLE promised (exchange_id BLOB, peer TEXT, line INTEGER, node TEXT, leaf_sha256 BLOB, due_us INTEGER)",
    "CREATE TABLE has_told (entry_id, peer, idx)",  # without types, so that nothing is made alike
    "CREATE TABLE has_shown (entry_id, peer, revision, idx)",
    "CREATE TABLE has_promised (exchange_id, peer, line, node, leaf_sha256, due_us)",
)
_KEPT: Final = (
    (told_lines, ("entry_id", "peer", "idx"), "has_told"),
    (disclosures, ("entry_id", "peer", "revision", "idx"), "has_shown"),
    (promises, ("exchange_id", "peer", "line", "node", "leaf_sha256", "due_us"), "has_promised"),
)
# What was shown last is of the last line that showed it; of a line that can't be opened, the revision is not known.
_SHOWN: Final = """
WITH made AS (SELECT entry_id, peer, revision, max(idx) AS idx FROM shown GROUP BY entry_id, peer),
     last AS (SELECT entry_id, peer, max(idx) AS idx FROM has_told GROUP BY entry_id, peer)
SELECT coalesce(has.entry_id, last.entry_id), coalesce(has.peer, last.peer), has.idx, last.idx, made.idx,
       has.revision IS made.revision
FROM last FULL JOIN has_shown AS has ON has.entry_id = last.entry_id AND has.peer = last.peer
LEFT JOIN made ON made.entry_id = last.entry_id AND made.peer = last.peer
WHERE has.idx IS NOT last.idx OR made.idx IS NOT last.idx OR has.revision IS NOT made.revision
"""


class DerivedRows:
    """One comparison: told of the lines page by page, then of the rows."""

    def __init__(
        self, connection: Connection, vault: Vault | None = None, verify_receipt: ReceiptVerifier | None = None
    ) -> None:
        """Begin; without a vault, nothing is known of what openings tell."""
        self.dim: int = 0
        """Rows that follow from openings which can't be read, so that nothing is said of them."""
        self._connection = connection
        self._vault = vault
        self._verify_receipt = verify_receipt
        self._end = self._next = 0  # lines that were followed when this began; lines that were taken up
        self._page: list[LineToFollow] = []
        self._promised: list[Promise] = []
        self._asked, self._answered = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
        self._may_ask, self._may_answer = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
        self._scratch = sqlite3.connect("", isolation_level=None)  # a file without a name, gone when it is closed
        for statement in _SCRATCH:
            self._scratch.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scratch.close()

    # --- the lines ----------------------------------------------------------------------------------------------------

    def load(self, size: int) -> None:
        """Read how far the first `size` lines were followed; what was followed later is caught up with at the end."""
        self._end = min(size, _followed(self._connection))

    def take(self, index: int, leaf: Leaf, shared: LeafShared, opening: Opening | None) -> None:
        """Take up a line, to be followed with its page; its opening is None where it can't be read."""
        promise = promise_of(index, leaf, shared)
        if promise is not None:
            self._promised.append(promise)
        if index < self._end:
            self._page.append(LineToFollow(index, shared, opening))

    def follow(self, stop: int) -> None:
        """Follow the lines that were taken up, before the index `stop`."""
        scratch, self._next = self._scratch, stop
        told = told_of(self._page, 0, stop)
        self._asked.update(told.asked)
        self._answered.update(told.answered)
        scratch.executemany("INSERT INTO told VALUES (?, ?, ?)", told.lines)
        shown = [(*key, each.revision, each.line) for key, each in told.shown.items()]
        scratch.executemany("INSERT INTO shown VALUES (?, ?, ?, ?)", shown)
        dim = [line for line in self._page if line.opening is None and depends_on_opening(line.shared)]
        for line in dim:
            if line.shared.kind == LEAF_KIND_MAIL:
                self._may_ask[line.day] += 1
            elif line.shared.kind == LEAF_KIND_MAIL_RECEIPT:
                self._may_answer[line.day] += 1
        scratch.executemany("INSERT OR IGNORE INTO dim VALUES (?, ?)", [(each.line, each.shared.peer) for each in dim])
        scratch.executemany("INSERT INTO promised VALUES (?, ?, ?, ?, ?, ?)", map(_of_line, self._promised))
        self._page, self._promised = [], []

    def _catch_up(self, end: int, stop: int) -> None:
        """Take up lines that were followed since this began, to before `end`, and promises to before `stop`."""
        before, seen = self._end, self._next
        start = min(before if end > before else stop, seen)
        while start < stop:
            try:
                lines = list_lines(self._connection, start, PAGE, vault=self._vault)
            except DecryptionError:  # the next verification names it
                lines = list_lines(self._connection, start, PAGE)
            if not lines:
                return
            for line in lines:
                promise = promise_of(line.index, line.leaf, line.shared)
                if promise is not None and line.index >= seen:
                    self._promised.append(promise)
                if before <= line.index < end:
                    self._page.append(LineToFollow(line.index, line.shared, line.opening))
            start = lines[-1].index + 1
            self.follow(start)

    # --- the rows -----------------------------------------------------------------------------------------------------

    def differences(self) -> Iterator[str]:
        """Say what is kept and does not follow from the lines; to be called on the snapshot in which rows are read."""
        connection = self._connection
        size = connection.execute(select(ledger_head.c.size)).scalar_one()
        end = _followed(connection)
        if not 0 <= end <= size or end < self._end:
            yield f"how far lines were followed was altered {_BEHIND}: it says {end} of {size} lines"
            return
        last = connection.execute(select(func.max(promises.c.line))).scalar_one_or_none()
        try:
            self._catch_up(end, max(end, min(size, last + 1 if isinstance(last, int) else 0)))
        except LedgerBrokenError:
            yield "lines that were appended meanwhile can't be followed: verify again"
            return
        for table, names, into in _KEPT:
            rows = self._rows(table, names)
            while batch := [tuple(row) for row in islice(rows, _AT_ONCE)]:
                marks = ", ".join("?" * len(names))
                self._scratch.executemany(f"INSERT INTO {into} VALUES ({marks})", batch)  # noqa: S608
        for found in (self._told(), self._shown(), self._days(), self._promises(), self._proofs()):
            for number, text in enumerate(found):
                if number == _NAMED:
                    yield "and more than can be named"
                    break
                yield text

    def _told(self) -> Iterator[str]:
        gone = "SELECT * FROM told EXCEPT SELECT * FROM has_told"
        for entry_id, peer, index in self._scratch.execute(gone):
            yield f"that line {index} told {peer} of the entry {text_of(entry_id)} was taken away {_BEHIND}"
        extra = "SELECT * FROM has_told EXCEPT SELECT * FROM told"
        for entry_id, peer, index in self._scratch.execute(extra):
            if self._is_dim(index, peer):
                self.dim += 1
            else:
                yield f"that line {text_of(index)} told {text_of(peer)} of the entry {text_of(entry_id)} is not so"

    def _shown(self) -> Iterator[str]:
        for entry_id, peer, is_line, last, made, is_same in self._scratch.execute(_SHOWN):
            what = f"what {text_of(peer)} was shown last of the entry {text_of(entry_id)}"
            if is_line is None:
                yield f"{what} was taken away {_BEHIND}"
            elif is_line == last and made != last and self._is_dim(last, peer):
                self.dim += 1
            elif is_line != last or made != last or not is_same:
                yield f"{what} was changed {_BEHIND}: lines say something else"

    def _days(self) -> Iterator[str]:
        kept: dict[tuple[Any, Any], tuple[Any, Any]] = {}
        for day, peer, asked, answered in self._rows(asked_days, ("day", "peer", "asked", "answered")):
            kept[day, peer] = asked, answered
        days = kept.keys() | self._asked.keys() | self._answered.keys()
        for key in sorted(days, key=repr):
            is_known = True
            for place, known, more in ((0, self._asked, self._may_ask), (1, self._answered, self._may_answer)):
                count = kept.get(key, (0, 0))[place]
                if not isinstance(count, int) or not known[key] <= count <= known[key] + more[key]:
                    what = ("was asked", "has answered")[place]
                    yield f"how often {text_of(key[1])} {what} on {_date(key[0])} was changed {_BEHIND}"
                is_known = is_known and not more[key]
            self.dim += not is_known

    def _promises(self) -> Iterator[str]:
        odd = "SELECT line, peer FROM (SELECT * FROM has_promised EXCEPT SELECT * FROM promised)"
        for line, peer in self._scratch.execute(odd):
            yield f"what {text_of(peer)} promised with line {text_of(line)} was changed {_BEHIND}: it is not so"
        # What is missing behind the last is not read yet.
        gone = (
            "SELECT exchange_id, peer FROM promised WHERE line <= (SELECT max(line) FROM has_promised)"
            " EXCEPT SELECT exchange_id, peer FROM has_promised"
        )
        for exchange_id, peer in self._scratch.execute(gone):
            yield f"what {peer} promised with the exchange {text_of(exchange_id)} was taken away {_BEHIND}"

    def _proofs(self) -> Iterator[str]:
        names = ("line", "peer", "exchange_id", "node", "leaf_sha256", "due_us", "state", "inclusion")
        for line, peer, exchange_id, node, leaf_sha256, due_us, state, inclusion in self._rows(promises, names):
            fault = ""
            if (inclusion is not None) != (state == PROVED) or state not in {WAITING, PROVED, OVERDUE}:
                fault = "its state and its proof do not fit"
            elif state == PROVED and self._verify_receipt is not None:
                try:
                    self._verify_receipt(Promise(exchange_id, peer, line, node, leaf_sha256, due_us), inclusion)
                except EnlaceError as error:
                    fault = f"its proof does not hold: {error}"
            elif state == OVERDUE and not self._is_found(exchange_id, peer):
                fault = "it is said to be overdue, and no finding says so"
            if fault:
                promised = f"the promise of {text_of(peer)} with line {text_of(line)}"
                yield f"what became of {promised} was changed {_BEHIND}: {fault}"

    def _is_found(self, exchange_id: bytes, peer: str) -> bool:
        held = findings.c
        query = select(held.finding_id).where(
            held.kind == "NO_RECEIPT", held.peer == peer, held.exchange_id == exchange_id
        )
        return self._connection.execute(query).first() is not None

    def _is_dim(self, index: object, peer: object) -> bool:
        found = self._scratch.execute("SELECT 1 FROM dim WHERE idx = ? AND peer = ?", (index, peer))
        return isinstance(index, int) and found.fetchone() is not None

    def _rows(self, table: Table, names: tuple[str, ...]) -> Iterator[Any]:
        query = select(*(table.c[name] for name in names))
        return raw_rows(self._connection, Prepared(query, self._connection.dialect).sql)


_BEHIND: Final = "behind the ledger's back"


def _followed(connection: Connection) -> int:
    end = connection.execute(select(followed.c.size)).scalar_one_or_none()
    return 0 if end is None else end if isinstance(end, int) else -1


def _of_line(promise: Promise) -> tuple[object, ...]:
    return promise.exchange_id, promise.peer, promise.line, promise.node, promise.leaf_sha256, promise.due_us


def _date(day: object) -> str:
    try:
        return str((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(str(day)))).date())
    except (ValueError, OverflowError):
        return text_of(str(day))
