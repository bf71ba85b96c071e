"""A replica of a ledger at the auditing institution: verified and read without its node.

What the node could leave out is missed: the tree is that of a checkpoint which witnesses have cosigned, every line has
a copy from the first charter on, and what was read before must still be there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from node.cli.directory_files import read
from node.cli.ledger_keys import cosigners, history, keys_of
from node.cli.ledger_replica import RECORDS, files_of
from node.errors import DecryptionError, EnlaceError, LedgerBrokenError, LedgerError, SignatureError
from node.federation.signed_checkpoints import quorum_of
from node.identity.approvals import enrolled
from node.identity.directory import TrustedDirectory
from node.identity.institution import open_sealed, verified_charter, verified_erasure
from node.ledger.bundle import Keys
from node.ledger.checkpoint import SignedCheckpoint
from node.ledger.exported import CHECKPOINT, ExportCheck, Progress, open_exported_checkpoint
from node.ledger.leaf import parse_leaf, parse_opening, parse_shared, verify_opening
from node.ledger.rfc6962 import Frontier, leaf_hash
from node.ledger.tiles import parse_bundle, tiles_at
from node.store.institution import SETTLING_US, due_us, open_copies, wrapping_info
from node.wire.envelope_pb2 import Statement
from node.wire.institution_pb2 import (
    ERASURE_GROUND_AUDIT_PERIOD_ENDED,
    CopyEpoch,
    Erasure,
    ReplicaCopies,
    ReplicaRecords,
    ReplicaStatements,
    SentStatement,
    SignedErasure,
)
from node.wire.ledger_pb2 import (
    DIRECTION_SENT,
    LEAF_KIND_ERASURE,
    LEAF_KIND_INSTITUTION,
    Leaf,
    LeafShared,
    Opening,
)

M = TypeVar("M", bound=Message)

_COUNTRY: Final = 1  # place in an origin


@dataclass(frozen=True, slots=True)
class ReplicaLine:
    """A line, with what opens it and the packed messages kept beside it; None where there is no copy that opens."""

    index: int
    leaf: Leaf
    shared: LeafShared
    opening: Opening | None
    bodies: bytes
    fault: str
    """Why there is none."""


@dataclass(slots=True)
class Replica:
    """One replica, opened with a root that is trusted and the institution's keys."""

    folder: Path
    signed: SignedCheckpoint
    directories: Sequence[TrustedDirectory]
    period_days: int
    """The shortest audit period of any directory."""
    records: ReplicaRecords
    _keys: Keys
    _data_keys: dict[bytes, bytes] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, root: Path, private_keys: Sequence[bytes]) -> "Replica":
        """Open a replica; its lines are for `verify` to judge.

        Raises:
            UsageError: a file is missing.
            DirectoryError: its directories don't follow from this root.
            NoteError: its checkpoint is not signed by the ledger's key.
            LedgerBrokenError: it is malformed, or its country names no institution.
        """
        records = _parsed(ReplicaRecords, read(folder / RECORDS))
        epochs = [(_parsed(CopyEpoch, kept.epoch), kept.wrapped) for kept in records.epochs]
        directories = history(read(root), records.directories)
        if not directories:
            raise LedgerBrokenError("the replica holds no directory")
        keys = keys_of(directories)
        signed = open_exported_checkpoint(read(folder / CHECKPOINT), keys)
        country = signed.checkpoint.origin.split("/")[_COUNTRY]
        audits = [each.member(country).audit for each in directories if each.member(country).HasField("audit")]
        if not audits:
            raise LedgerBrokenError("no directory names an institution of this country")
        made = cls(folder, signed, directories, min(each.period_days for each in audits), records, keys)
        for epoch, wrapped in epochs:
            if wrapped and sha256(wrapped).digest() == epoch.wrapped_sha256:
                try:
                    key = open_sealed(private_keys, wrapping_info(epoch.epoch_id), wrapped)
                except DecryptionError:
                    continue  # its copies are missed, line by line
                made._data_keys[epoch.epoch_id] = key
        return made

    @property
    def country(self) -> str:
        """Whose ledger it is, ISO 3166-1 alpha-2."""
        return self.signed.checkpoint.origin.split("/")[_COUNTRY]

    def cosigned_by(self) -> list[str]:
        """Return the countries that cosigned the checkpoint; a ledger's own doesn't count."""
        return sorted({name.split("/")[_COUNTRY] for name in cosigners(self.signed)})

    # --- lines --------------------------------------------------------------------------------------------------------

    def lines(self, start: int = 0) -> Iterator[ReplicaLine]:
        """Yield the lines from an index on, in order.

        Raises:
            UsageError, LedgerBrokenError: a file is missing or damaged; `verify` says which.
        """
        copied = self._copies(start)
        pending = next(copied, None)
        for index, leaf in self._leaves(start):
            parsed = parse_leaf(leaf)
            shared = parse_shared(parsed.shared)
            while pending is not None and pending[0] < index:
                pending = next(copied, None)
            if pending is None or pending[0] != index:
                yield ReplicaLine(index, parsed, shared, None, b"", "there is no copy of what opens it")
                continue
            yield _opened(index, parsed, shared, pending[1], pending[2])

    def _leaves(self, start: int) -> Iterator[tuple[int, bytes]]:
        for tile in tiles_at(0, start - start % 256, self.signed.checkpoint.size):
            for place, leaf in enumerate(parse_bundle(read(self.folder / tile.entries_path))):
                if tile.start + place >= start:
                    yield tile.start + place, leaf

    def _copies(self, start: int) -> Iterator[tuple[int, bytes, bytes]]:
        for _, last, path in files_of(self.folder / "copies"):
            if last < start:
                continue
            for row in _parsed(ReplicaCopies, read(path)).copies:
                key = self._data_keys.get(row.epoch_id)
                if key is None:
                    continue
                try:
                    opened = open_copies(key, row)
                except (DecryptionError, LedgerError):
                    continue  # missed, line by line
                for place, (opening, bodies) in enumerate(opened):
                    yield row.first + place, opening, bodies

    # --- verifying ----------------------------------------------------------------------------------------------------

    def verify(self, progress: Progress | None = None, seen: tuple[int, bytes] | None = None) -> dict[str, object]:
        """Check everything, and return what was counted.

        1. The tree, the leaves and the peers' signatures, as of any export.
        2. As many countries have cosigned the checkpoint as the directory calls for.
        3. What left with a line is there, signed, and names it.
        4. What charters, keys and erasures say is what lines say that was logged.
        5. From the first charter on, each line has a copy that opens it, until the audit period is over.
        6. With `seen`, size and root of what was read before: it begins with that.

        Raises:
            LedgerBrokenError: the text names what is wrong.
        """
        check = ExportCheck(lambda path: _file(self.folder / path), self._keys, self.signed)
        check.run(progress)
        check.require_whole()  # else nothing below would mean anything
        audited = _Audited(self)
        for line, statement in self._with_statements():
            audited.follow(line, statement, self._keys)
        found = [*audited.faults(), *self._extends(seen), *self._witnessed()]
        if found:
            raise LedgerBrokenError("; ".join(found))
        return {
            "ledger": self.signed.checkpoint.origin,
            "lines": self.signed.checkpoint.size,
            "root": self.signed.checkpoint.root,
            "cosigned_by": self.cosigned_by(),
            "signatures": check.signatures + audited.signatures,
            "opened": audited.opened,
            "erased_at_the_node": audited.erased,
        }

    def _witnessed(self) -> Iterator[str]:
        quorum, by = quorum_of(self.directories[0]), self.cosigned_by()
        if len(by) < quorum:
            yield f"the checkpoint is cosigned by {', '.join(by) or 'nobody'}, and {quorum} others should have"

    def _extends(self, seen: tuple[int, bytes] | None) -> Iterator[str]:
        if seen is None or not seen[0]:
            return
        size, root = seen
        if size > self.signed.checkpoint.size:
            yield f"{size} lines were read before, and {self.signed.checkpoint.size} are there: the ledger was cut"
            return
        tree = Frontier().appended(leaf_hash(leaf) for index, leaf in self._leaves(0) if index < size)
        if tree.root != root:
            yield f"history was rewritten: the first {size} lines are not those that were read before"

    def _with_statements(self) -> Iterator[tuple[ReplicaLine, SentStatement | None]]:
        parts = (_parsed(ReplicaStatements, read(path)).statements for *_, path in files_of(self._statements))
        sent = chain.from_iterable(parts)
        pending = next(sent, None)
        for line in self.lines():
            while pending is not None and pending.index < line.index:
                pending = next(sent, None)
            yield line, pending if pending is not None and pending.index == line.index else None

    @property
    def _statements(self) -> Path:
        return self.folder / "statements"


class _Audited:
    """One verification under way, of what is beside the lines."""

    def __init__(self, replica: Replica) -> None:
        self.opened = self.erased = self.signatures = 0
        self._found: dict[int, str] = {}
        self._whole: list[str] = []
        self._period_days, records = replica.period_days, replica.records
        self._charters = self._believed(replica)
        self._epochs = {sha256(kept.epoch).digest(): CopyEpoch.FromString(kept.epoch) for kept in records.epochs}
        self._erasures = self._erasures_of(records)
        self._unlogged = {**self._charters, **dict.fromkeys(self._epochs, "a key of copies"), **self._what()}
        self._begins_us: int | None = None
        self._begun = False

    def _believed(self, replica: Replica) -> dict[bytes, str]:
        """Return the charters by digest; each is signed by the institution of some directory."""
        known = {
            each.member(replica.country).audit.root_key
            for each in replica.directories
            if each.member(replica.country).HasField("audit")
        }
        found = {}
        for signed in replica.records.charters:
            for key in known:
                try:
                    number = verified_charter(signed, replica.country, key).number
                except (SignatureError, EnlaceError):
                    continue
                found[sha256(signed).digest()] = f"charter {number}"
                break
            else:
                self._whole.append("a charter is none of the institution's")
        return found

    def _erasures_of(self, records: ReplicaRecords) -> dict[bytes, Erasure]:
        found = {}
        try:
            focal = list(enrolled(records.focal_points).values()) if records.focal_points else []
        except EnlaceError as error:
            self._whole.append(f"the focal points can't be believed: {error}")
            focal = []
        for signed in records.erasures:
            try:
                erasure = verified_erasure(signed, focal)
            except EnlaceError as error:
                self._whole.append(f"an erasure has no ground: {error}")
            else:
                found[sha256(SignedErasure.FromString(signed).erasure).digest()] = erasure
        return found

    def _what(self) -> dict[bytes, str]:
        return {
            digest: f"the erasure of lines {each.lines[0].first} to {each.lines[-1].last}"
            for digest, each in self._erasures.items()
        }

    def follow(self, line: ReplicaLine, sent: SentStatement | None, keys: Keys) -> None:
        """Go on to the next line."""
        if self._begins_us is not None and line.leaf.logged_us >= self._begins_us:
            self._begun = True
        try:
            self._statement(line, sent, keys)
            self._named(line)
            if line.opening is not None:
                self.opened += 1
            elif self._begun and not self._is_over(line):
                raise LedgerBrokenError(line.fault)
        except EnlaceError as error:
            self._found.setdefault(line.index, f"line {line.index}: {error}")

    def faults(self) -> list[str]:
        """Return what was found, the lines first."""
        unlogged = [f"no line tells of {what}" for what in self._unlogged.values()]
        return [self._found[index] for index in sorted(self._found)] + self._whole + unlogged

    def _statement(self, line: ReplicaLine, sent: SentStatement | None, keys: Keys) -> None:
        if sent is None:
            if line.shared.direction == DIRECTION_SENT:
                raise LedgerBrokenError("the statement that left with it is missing")
            return
        try:
            named = Statement.FromString(sent.statement).leaf_sha256
        except DecodeError:
            raise LedgerBrokenError("the statement beside it is not one") from None
        if named != sha256(line.leaf.shared).digest():
            raise LedgerBrokenError("the statement beside it was signed for another line")
        keys.verify_statement(sent.statement, sent.key_id, sent.signature)
        self.signatures += 1

    def _named(self, line: ReplicaLine) -> None:
        if line.shared.kind not in {LEAF_KIND_INSTITUTION, LEAF_KIND_ERASURE}:
            return
        digest = line.shared.body_sha256
        self._unlogged.pop(digest, None)
        if digest in self._charters and self._begins_us is None:
            self._begins_us = line.leaf.logged_us + SETTLING_US
        epoch, erasure = self._epochs.get(digest), self._erasures.get(digest)
        if epoch is not None and not epoch.charter:
            self._begins_us, self._begun = None, False
        if erasure is not None:
            self._erased(line, erasure)
        elif line.shared.kind == LEAF_KIND_ERASURE:
            raise LedgerBrokenError("it tells of an erasure that the replica does not hold, or that has no ground")

    def _erased(self, line: ReplicaLine, erasure: Erasure) -> None:
        if erasure.ground != ERASURE_GROUND_AUDIT_PERIOD_ENDED:
            self.erased += sum(each.last - each.first + 1 for each in erasure.lines)
        elif any(each.epoch_id == erasure.epoch_id and each.until_us > line.leaf.logged_us for each in self._all()):
            raise LedgerBrokenError("it ends copies before the audit period was over")

    def _all(self) -> Sequence[CopyEpoch]:
        return list(self._epochs.values())

    def _is_over(self, line: ReplicaLine) -> bool:
        """Tell whether a later line says that this one's copy was deleted, after its time."""
        return any(
            each.ground == ERASURE_GROUND_AUDIT_PERIOD_ENDED
            and any(part.first <= line.index <= part.last for part in each.lines)
            and due_us(line.leaf.logged_us, self._period_days) <= each.time_us
            for each in self._erasures.values()
        )


def _opened(index: int, leaf: Leaf, shared: LeafShared, opening: bytes, bodies: bytes) -> ReplicaLine:
    try:
        parsed = parse_opening(opening)
        verify_opening(leaf, parsed)
    except LedgerError as error:
        return ReplicaLine(index, leaf, shared, None, b"", f"the copy does not open it: {error}")
    return ReplicaLine(index, leaf, shared, parsed, bodies, "")


def _parsed(kind: type[M], data: bytes) -> M:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise LedgerBrokenError(f"the replica is damaged: a {kind.DESCRIPTOR.name} can't be read") from None


def _file(path: Path) -> bytes | None:
    return read(path) if path.exists() else None
