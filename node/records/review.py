"""Keeping a record for longer, which is a decision: whose record it is tells whether one officer takes it alone."""

from collections.abc import Iterator

from node.records.protection import PROTECTED_ROLES, RANKS, RISKS
from node.wire.codes_pb2 import ROLE_UNKNOWN
from node.wire.entry_pb2 import Entry, Protection

_PROTECTS = 2  # rank of a value that was recorded because there is somebody to protect


def is_kept_longer(old: Entry, new: Entry) -> bool:
    """Tell whether an edit keeps an entry past the date that was set for it."""
    return new.review_us > old.review_us


def is_protected(entry: Entry) -> bool:
    """Tell whether an entry bears on somebody who is protected by what was recorded, and not merely by what is unknown.

    What is kept of a victim, a child or a refugee can hurt them for as long as it is kept.
    """
    roles = PROTECTED_ROLES - {ROLE_UNKNOWN}
    if roles.intersection(entry.roles) or roles.intersection(entry.inherited_roles):
        return True
    return any(_protects(each) for each in _protections(entry))


def _protections(entry: Entry) -> Iterator[Protection]:
    yield entry.protection
    yield entry.inherited


def _protects(protection: Protection) -> bool:
    if any(getattr(protection, risk) for risk in RISKS):
        return True
    return any(ranks.get(getattr(protection, name), 0) >= _PROTECTS for name, ranks in RANKS.items())
