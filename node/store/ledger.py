"""Verifying a whole ledger, from the leaves up, and naming what is wrong with it.

The root in the head proves that a ledger is whole; the chain beside it (`node.ledger.chain`) says where it is not.
Against somebody who rewrites lines and all that is kept here about them, only what others made helps: the signatures
in and beside the lines, and the checkpoints that witnesses have seen.
"""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from google.protobuf.message import DecodeError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from node.errors import (
    DecryptionError,
    KeyErasedError,
    LedgerBrokenError,
    LedgerError,
)
from node.ledger.bundle import StatementVerifier
from node.ledger.chain import Chain
from node.ledger.checkpoint import Checkpoint
from node.ledger.leaf import parse_leaf, parse_opening, parse_shared, verify_opening
from node.ledger.rfc6962 import Frontier, leaf_hash
from node.store.bound_rows import BoundRows
from node.store.covering import Coverage, Terms
from node.store.derived_rows import DerivedRows, ReceiptVerifier
from node.store.ledger_rows import PAGE, HeadRow, LedgerRows, LineRow, is_corrupt
from node.store.lines import opening_context, replay_key
from node.store.signatures import Signatures, Signed
from node.store.vault import Vault, key_id_of
from node.wire.envelope_pb2 import (
    STATEMENT_TYPE_ACKNOWLEDGEMENT,
    STATEMENT_TYPE_QUERY,
    STATEMENT_TYPE_RECONCILE_QUERY,
    Statement,
)
from node.wire.ledger_pb2 import DIRECTION_SENT, Leaf, LeafShared

Progress = Callable[[int, int], None]
"""Told how many lines are done, of how many."""

_NAMED: Final = 20  # findings that the error's text names

# What this node answers at once, and once alone: the line of the answer is the memory of it.
_ANSWERED_ONCE: Final = frozenset(
    {STATEMENT_TYPE_QUERY, STATEMENT_TYPE_ACKNOWLEDGEMENT, STATEMENT_TYPE_RECONCILE_QUERY}
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification has looked at; had it found anything wrong, it would have raised.

    Attributes:
        size: Lines, and the size of the tree.
        root: Of the tree, 32 bytes; to be compared with a checkpoint from elsewhere.
        openings: Openings that were decrypted and fit their leaves.
        erased: Lines whose opening can't be read any more, because it or its key was erased.
        signatures: Signatures that hold, of this node and of its peers.
        unknown_keys: Signatures whose key is not known, so that nothing is proved by them.
        rows: Things in other tables that are as lines say.
        dim: Rows that follow from openings which can't be read, so that nothing is said of them.
    """

    size: int
    root: bytes
    openings: int
    erased: int
    signatures: int
    unknown_keys: int
    rows: int
    dim: int


def verify_ledger(
    connection: Connection,
    *,
    vault: Vault | None = None,
    verify_statement: StatementVerifier | None = None,
    verify_receipt: ReceiptVerifier | None = None,
    progress: Progress | None = None,
    since: Checkpoint | None = None,
    terms: Terms | None = None,
) -> Report:
    """Recompute the whole ledger of a database, in memory that does not grow with it.

    1. Each line follows the one before, and fits the hash and the link beside it.
    2. Each leaf is read strictly, and what is kept in the clear beside it is what it says.
    3. With `verify_statement`: the statements, of this node and of its peers, are signed. It is called from threads.
    4. What opens a line is there, or an erasure says otherwise that a line tells of; with `terms`, on a ground that
       holds. Likewise the institution's copies of it, for as long as they are kept.
       With `vault`: the openings that still exist fit the commitments.
    5. The tree over all lines is the one in the head, and there are no lines past it.
    6. With `since`: the first lines are those of that checkpoint. Whose it is was verified by whoever gives it.
    7. What is in the tables that lines speak of is what they say: see `node.store.bound_rows`.
    8. What was worked out from lines is made again, as far as they can be opened: see `node.store.derived_rows`. With
       `verify_receipt`: the proofs of what peers promised hold.

    Of lines appended meanwhile, only what they say of rows is looked at.

    Raises:
        LedgerBrokenError: Something is wrong; the text names the lines, counted from 0.
        LedgerError: The database can't be read.
    """
    with ExitStack() as stack:
        signatures = stack.enter_context(Signatures(verify_statement)) if verify_statement is not None else None
        bound = stack.enter_context(BoundRows(connection, vault))
        derived = stack.enter_context(DerivedRows(connection, vault, verify_receipt))
        check = _Check(connection, vault, signatures, bound, derived, since, Coverage(terms))
        _run(check, connection, progress)
    return check.report()


def _run(check: "_Check", connection: Connection, progress: Progress | None) -> None:
    try:
        check.run(progress)
    except (SQLAlchemyError, connection.dialect.loaded_dbapi.Error) as error:
        if not is_corrupt(error):
            raise LedgerError(f"the ledger can't be read: {type(error).__name__}") from error
        check.whole.append(f"the database file is damaged: {error}")


class _Check:
    """One verification under way: the tree so far, and what was found."""

    def __init__(  # noqa: PLR0917 - one of each part of a verification
        self,
        connection: Connection,
        vault: Vault | None,
        signatures: Signatures | None,
        bound: BoundRows,
        derived: DerivedRows,
        since: Checkpoint | None,
        coverage: Coverage,
    ) -> None:
        self.whole: list[str] = []  # what is wrong with the ledger as such
        self._vault = vault
        self._signatures = signatures
        self._signed: list[Signed] = []  # of the page
        self._bound = bound
        self._derived = derived
        self._since = since
        self._coverage = coverage
        self._connection = connection
        self._rows = LedgerRows(connection)
        self._chain = Chain()
        self._lines = self._chain.found
        self._frontier = Frontier()
        self._complete = True
        self._openings = self._erased = 0

    def run(self, progress: Progress | None) -> None:
        head = self._rows.head()
        if head is None:
            self.whole.append("the head is missing or damaged")
            return
        self._coverage.load(self._connection, head.size)
        self._derived.load(head.size)
        end = self._rows.end(head.size)
        for start in range(0, end, PAGE):
            stop = min(start + PAGE, end)
            self._page(start, stop)
            if progress is not None:
                progress(stop, head.size)
        if self._signatures is not None:
            self._signatures.finish()
        self._missing(end, head.size)
        if end:
            self._chain.end(end - 1, head.link)
        self.whole += self._coverage.faults()
        if self._since is not None and self._since.size > head.size:
            self.whole.append(
                f"the ledger was cut: a checkpoint counts {self._since.size} lines, and it has {head.size}"
            )
        self._compare(head)
        for index in self._rows.surplus():
            self._lines.setdefault(index, f"line {index} is surplus")
        self._tables(head.size)

    def _tables(self, size: int) -> None:
        """Compare other tables with the lines, on one snapshot, so that what is written meanwhile is no difference."""
        connection = self._connection
        with nullcontext() if connection.in_transaction() else connection.begin():
            self.whole += self._bound.differences(size)
            self.whole += self._derived.differences()

    def report(self) -> Report:
        signatures = self._signatures
        for index, text in signatures.found.items() if signatures is not None else ():
            self._lines.setdefault(index, text)
        found = [self._lines[index] for index in sorted(self._lines)] + self.whole
        if found:
            more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            raise LedgerBrokenError("; ".join(found[:_NAMED]) + more)
        return Report(
            size=self._frontier.size,
            root=self._frontier.root,
            openings=self._openings,
            erased=self._erased,
            signatures=signatures.hold if signatures is not None else 0,
            unknown_keys=signatures.unknown if signatures is not None else 0,
            rows=self._bound.rows,
            dim=self._derived.dim,
        )

    def _page(self, start: int, stop: int) -> None:
        openings, copied = self._sealed(start, stop), self._coverage.copied(self._connection, start, stop)
        hashes: list[bytes] = []
        expected = start
        for row in self._rows.lines(start, stop):
            index = row if isinstance(row, int) else row.idx
            self._missing(expected, index)
            expected = index + 1
            if isinstance(row, int):
                self._lines[index] = f"line {index} is damaged and can't be read"
                self._lose()
                continue
            hashed = leaf_hash(row.leaf)
            hashes.append(hashed)
            self._chain.follow(index, hashed, row.leaf_hash, row.link)
            try:
                self._content(row, openings.get(index), copied=index in copied)
            except (LedgerError, DecryptionError) as error:
                self._lines.setdefault(index, f"line {index} is damaged: {error}")
        self._missing(expected, stop)
        if self._signatures is not None:
            self._signatures.verify(self._signed)
        for index, fault in self._bound.follow(start, stop).items():
            self._lines.setdefault(index, fault)
        self._derived.follow(stop)
        self._signed = []
        if self._since is not None and start < self._since.size <= stop:
            self._extends(self._since, self._frontier.appended(hashes[: self._since.size - start]))
        self._frontier = self._frontier.appended(hashes)

    def _extends(self, since: Checkpoint, then: Frontier) -> None:
        """Compare the first lines with a checkpoint; behind a line that can't be read, nothing can be compared."""
        if self._complete and then.root != since.root:
            self.whole.append(f"history was rewritten: the first {since.size} lines are not those of the checkpoint")

    def _sealed(self, start: int, stop: int) -> dict[int, bytes]:
        openings = self._rows.openings(start, stop)
        if self._vault is not None:
            self._vault.load_keys(key_id_of(sealed) for sealed in openings.values())
        return openings

    def _missing(self, start: int, stop: int) -> None:
        if start < stop:
            self._lines[start] = f"line {start} is missing" + (f", with all to {stop - 1}" if stop - start > 1 else "")
            self._lose()

    def _lose(self) -> None:
        """After a line that can't be read, neither link nor tree can be compared."""
        self._complete = False
        self._chain.interrupt()

    def _content(self, row: LineRow, sealed: bytes | None, *, copied: bool) -> None:
        leaf = parse_leaf(row.leaf)
        self._bound.take(row.idx, leaf, row.leaf_hash)
        shared = parse_shared(leaf.shared)
        if shared.exchange_id != row.exchange_id:
            raise LedgerBrokenError("the exchange id beside it is another one")
        if row.statement is None and shared.direction == DIRECTION_SENT:
            raise LedgerBrokenError("the statement that left with it is missing beside it")
        if row.statement is not None:
            try:
                statement = Statement.FromString(row.statement)
            except DecodeError:
                raise LedgerBrokenError("the statement beside it is not one") from None
            if statement.leaf_sha256 != sha256(leaf.shared).digest():
                raise LedgerBrokenError("the statement beside it was signed for another line")
            self._signed.append(Signed(row.idx, row.statement, row.key_id or b"", row.signature or b""))
        if shared.counterpart_statement:
            theirs = (shared.counterpart_statement, shared.counterpart_key_id, shared.counterpart_signature)
            self._signed.append(Signed(row.idx, *theirs))
        _verify_replay(row, shared)
        self._beside(row, leaf, shared, sealed, copied=copied)

    def _beside(self, row: LineRow, leaf: Leaf, shared: LeafShared, sealed: bytes | None, *, copied: bool) -> None:
        """Check what opens a line, and the institution's copy of that."""
        self._coverage.follow(leaf, shared)
        if not copied:
            self._coverage.require_copy(row.idx, leaf.logged_us)
        opened, opening = self._opened(row.leaf_hash, sealed), None
        if opened:
            opening = parse_opening(opened)
            verify_opening(leaf, opening)
            self._openings += 1
        self._derived.take(row.idx, leaf, shared, opening)
        if opened is None:
            self._coverage.require_erasure(row.idx, leaf.logged_us)
            self._erased += 1

    def _opened(self, leaf_hash: bytes, sealed: bytes | None) -> bytes | None:
        """Return the opening, None where it was erased, or nothing where no vault opens it."""
        if sealed is None or self._vault is None:
            return None if sealed is None else b""
        try:
            return self._vault.open_alone(opening_context(leaf_hash), sealed)
        except KeyErasedError:
            return None

    def _compare(self, head: HeadRow) -> None:
        """Compare the tree with the head; without a line that can't be read, that is all the proof there is."""
        if not self._complete:
            return
        if self._frontier.root != head.root:
            self.whole.append("the tree over the lines is not the one in the head" + self._range(head))
        elif self._frontier.to_bytes() != head.frontier:
            self.whole.append("the head's frontier is damaged; its root is right")

    def _range(self, head: HeadRow) -> str:
        """Narrow down which lines were rewritten together with their hashes and links."""
        try:
            kept = Frontier.from_bytes(head.frontier)
        except LedgerBrokenError:
            return ""
        if self._lines or kept.root != head.root or kept.size != self._frontier.size:
            return ""
        start, peaks = 0, iter(zip(self._frontier.peaks, kept.peaks, strict=True))
        for level in reversed(range(kept.size.bit_length())):  # a peak for each bit that is set, the highest first
            size = kept.size & 1 << level
            if size:
                computed, expected = next(peaks)
                if computed != expected:
                    return f": of the lines {start} to {start + size - 1}, one or more were rewritten"
            start += size
        return ""


def _verify_replay(row: LineRow, shared: LeafShared) -> None:
    """Check that the memory against replays holds what this line answers, as the peer's own statement has it.

    Raises:
        LedgerBrokenError: it does not.
    """
    if shared.direction != DIRECTION_SENT or not shared.counterpart_statement:
        return
    try:
        theirs = Statement.FromString(shared.counterpart_statement)
    except DecodeError:
        raise LedgerBrokenError("the peer's statement in it is not one") from None
    if theirs.type in _ANSWERED_ONCE and row.replay_key != replay_key(theirs):
        raise LedgerBrokenError("the memory against replays beside it is not of what it answers")
