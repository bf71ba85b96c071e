"""Reading as an auditor: a line first, and officers' names masked unless it says why they are to be shown."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from node.desk.officers import private_of_officer
from node.errors import UsageError
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.store.officers import Officer
from node.store.writer import Writer
from node.wire.ledger_pb2 import LeafKind

Names: TypeAlias = Callable[[str], str]
"""From an officer's pseudonym to what is shown of it."""

MOST_UNMASK: Final = 32
"""Bytes of a reason for unmasking: it stands in the line beside what was read, which has 64 for both."""

_MOST_REASON: Final = 64  # of a ledger line
_SHOWN: Final = 12  # hexadecimal digits: no two officers of a country share them by chance


@dataclass(frozen=True, slots=True)
class Masked:
    """Masks names alike within one reading, and otherwise in the next: masks of two readings can't be joined."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def __call__(self, name: str) -> str:
        """Return what stands for a name; nothing for nothing."""
        if not name:
            return ""
        return f"masked-{hmac.new(self.key, name.encode(), hashlib.sha256).hexdigest()[:_SHOWN]}"


@dataclass(slots=True)
class Reading:
    """Logs what auditors read."""

    standing: Standing
    writer: Writer
    clock: Callable[[], int]

    async def begin(self, officer: Officer, reason: str, *, subject: bytes = b"", unmask: str = "") -> Names:
        """Log that somebody is about to read, and return how they see officers' names.

        Args:
            officer: Who reads.
            reason: What, in a code of this node.
            subject: The id of what is read about.
            unmask: Why names are shown; empty where they stay masked.

        Raises:
            UsageError: no reason that a line has room for.
            LedgerError: it can't be logged, so nothing may be shown.
        """
        said = f"{reason} UNMASK {unmask}" if verified_unmask(unmask) else reason
        if len(said.encode()) > _MOST_REASON:
            raise UsageError("the reason for unmasking does not fit the ledger line: write a shorter one")
        private = private_of_officer(officer, subject=subject, reason=said)
        await self.writer.append(local_line(LeafKind.LEAF_KIND_READ, private, self.standing.signer, self.clock()))
        return str if unmask else Masked()


def verified_unmask(unmask: str) -> str:
    """Return a reason for unmasking, which may be empty.

    Raises:
        UsageError: it is blank, too long, or has control characters.
    """
    if unmask and (not unmask.strip() or not unmask.isprintable() or len(unmask.encode()) > MOST_UNMASK):
        raise UsageError(f"unmask: say why in at most {MOST_UNMASK} bytes of one line")
    return unmask
