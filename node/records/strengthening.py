"""What an edit adds to the protection of whom an entry is about: the other way round than `node.records.weakening`.

Who stops seeing an entry that it saw can conclude why. So what adds protection is told from what corrects, recalls or
revokes: a suspicion that is lifted, a consent that is taken back, a stricter handling.
"""

from typing import Final

from node.records.protection import PROTECTED_ROLES
from node.records.weakening import weakens
from node.wire.codes_pb2 import CAVEAT_NO_ORIGIN_STATE
from node.wire.entry_pb2 import Entry

_NO_PROTECTION: Final = frozenset({"entity", "recorded_us", "handling", "links"})
_BY_ROLE: Final = frozenset({"roles", "inherited_roles"})  # also of who is suspected less
_REVOCABLE: Final = ("consents", "assurances")


def strengthens(old: Entry, new: Entry) -> list[str]:
    """Name each fact by which an entry protects somebody more than it did; what it inherits counts.

    Returns:
        Paths of fields; empty where the edit adds no protection.
    """
    undone = [path for path in weakens(new, old) if path not in _NO_PROTECTION and not path.endswith(_REVOCABLE)]
    found = [path for path in undone if path not in _BY_ROLE and path != "caveats"]
    if CAVEAT_NO_ORIGIN_STATE in new.caveats and CAVEAT_NO_ORIGIN_STATE not in old.caveats:
        found.append("caveats")
    if _protected_roles(new) - _protected_roles(old):
        found.append("roles")
    return found


def _protected_roles(entry: Entry) -> frozenset[int]:
    return PROTECTED_ROLES.intersection((*entry.roles, *entry.inherited_roles))
