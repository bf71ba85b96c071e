"""What a verified ledger must still have beside its lines: what opens them, and the institution's copies of that.

An opening may be missing where an erasure says so that a line tells of, and whose ground is given. Copies may be
missing from before there were any, and once the audit period is over. Everything else somebody did away with.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from google.protobuf.message import DecodeError
from sqlalchemy import Connection, select

from node.errors import EnlaceError, LedgerBrokenError, MalformedError
from node.identity.institution import erasure_sha256, parse_erasure, verified_erasure
from node.ledger.leaf import parse_leaf, parse_shared
from node.store.erasures import list_erasures
from node.store.institution import (
    LINE_KEY,
    MOST_COPIES,
    SETTLING_US,
    charters,
    commitments,
    copies,
    due_us,
    epochs,
    line_id,
)
from node.store.lines import ledger_lines
from node.wire.institution_pb2 import (
    ERASURE_GROUND_RETENTION_ENDED,
    CopyEpoch,
    Erasure,
    SignedErasure,
)
from node.wire.ledger_pb2 import LEAF_KIND_ERASURE, LEAF_KIND_INSTITUTION, Leaf, LeafShared

_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Terms:
    """What directories and enrolments say of grounds.

    Attributes:
        retention_days: The shortest time that any directory gave openings; 0 where none did.
        period_days: The shortest audit period of any directory; 0 where none names an institution.
        focal_keys: Public keys (32 bytes) of the country's focal points.
    """

    retention_days: int
    period_days: int
    focal_keys: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class _Erased:
    """Lines whose openings, or copies under one epoch's key, a line says were erased at a time."""

    logged_us: int
    ground: int
    epoch_id: bytes
    starts: list[int]
    ends: list[int]

    def covers(self, index: int) -> bool:
        place = bisect_right(self.starts, index) - 1
        return place >= 0 and index <= self.ends[place]


@dataclass(slots=True)
class Coverage:
    """One verification under way: what may be missing."""

    terms: Terms | None
    whole: list[str] = field(default_factory=list)
    """What is wrong with what is kept of erasures, charters, epochs and commitments."""
    _erased: list[_Erased] = field(default_factory=list)
    _named: dict[bytes, str] = field(default_factory=dict)  # by the digest that a line names: what it is
    _charters: set[bytes] = field(default_factory=set)
    _ends: set[bytes] = field(default_factory=set)
    _epochs: dict[bytes, CopyEpoch] = field(default_factory=dict)  # by id; those that a line names
    _begins_us: int | None = None  # from when on lines have copies; None: not yet, or no more
    _begun: bool = False
    _size: int = 0

    # --- what the tables say ------------------------------------------------------------------------------------------

    def load(self, connection: Connection, size: int) -> None:
        """Read all that is kept, and believe what one of the first `size` lines names."""
        self._size = size
        for row in connection.execute(select(charters).order_by(charters.c.number)):
            digest = sha256(row.signed).digest()
            self._keep(connection, digest, f"charter {row.number}", LEAF_KIND_INSTITUTION)
            self._charters.add(digest)
        for row in connection.execute(select(commitments).order_by(commitments.c.size)):
            digest, what = sha256(row.note).digest(), f"the commitment to {row.size} readings"
            self._keep(connection, digest, what, LEAF_KIND_INSTITUTION)
        for row in connection.execute(select(epochs)):
            self._epoch(connection, row.epoch_id, row.epoch, row.wrapped)
        for signed in list_erasures(connection):
            self._erasure(connection, signed)

    def _keep(self, connection: Connection, digest: bytes, what: str, kind: int) -> Leaf | None:
        """Believe something that a line of this kind names, and return that line."""
        held = ledger_lines.c
        query = select(held.idx, held.leaf).where(held.exchange_id == line_id(digest), held.replay_key == LINE_KEY)
        found = connection.execute(query).one_or_none()
        if found is not None and found.idx >= self._size:
            return None  # it was logged meanwhile
        try:
            leaf = parse_leaf(found.leaf if found is not None else b"")
            shared = parse_shared(leaf.shared)
        except LedgerBrokenError:
            leaf, shared = None, None
        if leaf is None or shared is None or shared.kind != kind or shared.body_sha256 != digest:
            self.whole.append(f"no line tells of {what}: it was put there or altered by other means")
            return None
        self._named[digest] = what
        return leaf

    def _epoch(self, connection: Connection, epoch_id: bytes, data: bytes, wrapped: bytes | None) -> None:
        digest, what = sha256(data).digest(), f"the key of copies {epoch_id.hex()[:8]}"
        if self._keep(connection, digest, what, LEAF_KIND_INSTITUTION) is None:
            return
        epoch = CopyEpoch.FromString(data)  # the node wrote it: a line names it
        if not epoch.charter:
            self._ends.add(digest)
        if wrapped is not None and (epoch.epoch_id != epoch_id or sha256(wrapped).digest() != epoch.wrapped_sha256):
            self.whole.append(f"{what} is not the one that a line tells of")
        elif wrapped is not None:
            self._epochs[epoch_id] = epoch
        days = self.terms.period_days if self.terms is not None else 0
        if days and epoch.charter and epoch.until_us < due_us(epoch.begun_us, days):
            self.whole.append(f"{what} ends before the audit period of {days} days")

    def _erasure(self, connection: Connection, signed: bytes) -> None:
        try:
            erasure = verified_erasure(signed, self.terms.focal_keys) if self.terms is not None else _unverified(signed)
            digest = erasure_sha256(signed)
        except EnlaceError as error:
            self.whole.append(f"an erasure has no ground: {error}")
            return
        first, last = erasure.lines[0].first, erasure.lines[-1].last
        leaf = self._keep(connection, digest, f"the erasure of lines {first} to {last}", LEAF_KIND_ERASURE)
        if leaf is not None:
            starts, ends = [each.first for each in erasure.lines], [each.last for each in erasure.lines]
            self._erased.append(_Erased(leaf.logged_us, erasure.ground, erasure.epoch_id, starts, ends))

    # --- line by line -------------------------------------------------------------------------------------------------

    def follow(self, leaf: Leaf, shared: LeafShared) -> None:
        """Go on to the next line: what it names must be kept, and it may begin or end copies."""
        if self._begins_us is not None and leaf.logged_us >= self._begins_us:
            self._begun = True
        if shared.kind not in {LEAF_KIND_INSTITUTION, LEAF_KIND_ERASURE}:
            return
        digest = shared.body_sha256
        if self._named.pop(digest, None) is None:
            raise LedgerBrokenError("what it tells of is not there any more")
        if digest in self._charters and self._begins_us is None:
            self._begins_us = leaf.logged_us + SETTLING_US
        if digest in self._ends:
            self._begins_us, self._begun = None, False

    def require_erasure(self, index: int, logged_us: int) -> None:
        """Check that the opening of a line, which is missing, was erased on a ground.

        Raises:
            LedgerBrokenError: it was not.
        """
        fault = "what opens it is gone, and no erasure says so"
        for each in self._erased:
            if each.epoch_id or not each.covers(index):
                continue
            if each.ground != ERASURE_GROUND_RETENTION_ENDED or self.terms is None:
                return
            days = self.terms.retention_days
            if days and due_us(logged_us, days) <= each.logged_us:
                return
            fault = "what opens it was erased as if its retention had ended, and it had not"
        raise LedgerBrokenError(fault)

    def copied(self, connection: Connection, start: int, stop: int) -> set[int]:
        """Return the lines from `start` to before `stop` of which the institution has a copy under a known key."""
        held, found = copies.c, set[int]()
        query = select(held.first, held["count"], held.epoch_id)
        near = query.where(held.first > start - MOST_COPIES, held.first < stop)
        for first, count, epoch_id in connection.execute(near):
            if epoch_id in self._epochs and count <= MOST_COPIES:
                found.update(range(max(first, start), min(first + count, stop)))
        return found

    def require_copy(self, index: int, logged_us: int) -> None:
        """Check that the institution's copy for a line, which is missing, need not be there.

        Raises:
            LedgerBrokenError: it must.
        """
        if not self._begun:
            return
        days = self.terms.period_days if self.terms is not None else 0
        for each in self._erased:
            if each.epoch_id and each.covers(index) and due_us(logged_us, days) <= each.logged_us:
                return
        raise LedgerBrokenError("the institution's copy of what opens it is gone")

    def faults(self) -> list[str]:
        """Return what is wrong with what is kept, once all lines were followed."""
        left = list(self._named.values())[:_NAMED]
        return self.whole + [f"the line that tells of {what} does not count" for what in left]


def _unverified(signed: bytes) -> Erasure:
    """Return an erasure whose signatures nobody can check here."""
    try:
        return parse_erasure(SignedErasure.FromString(signed).erasure)
    except DecodeError as error:
        raise MalformedError("it is not a message of the contract") from error
