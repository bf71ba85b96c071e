"""What an edit would weaken: every fact by which it could let more leave than before.

UNKNOWN never helps release, so determining that there is nothing to protect is a weakening like any other, and so is
forgetting that anybody was there to be protected: it unlocks data.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from node.records.protection import (
    INHERITING,
    PROTECTED_ROLES,
    RANKS,
    RISKS,
    UNKNOWN_RANK,
    Role,
    coming_of_age,
    is_adult_when_recorded,
)
from node.schema import ENTITY_ONEOF
from node.wire import codes_pb2
from node.wire.entry_pb2 import Assurance, Consent, Entry, Protection

# Of these rules release most; who was not suspected, and becomes so, is named to others from then on. Passing from one
# to another of the same rank is the course of a case.
_SUSPECTED: Final[Mapping[int, int]] = MappingProxyType(
    {
        codes_pb2.ROLE_SUSPECT: 2,
        codes_pb2.ROLE_ACCUSED: 2,
        codes_pb2.ROLE_CONVICTED: 2,
        codes_pb2.ROLE_OFFICIAL_SUSPECT: 1,
    }
)
_MOST_SUSPECTED: Final = frozenset(role for role, rank in _SUSPECTED.items() if rank == max(_SUSPECTED.values()))
_HANDLING: Final[Mapping[int, int]] = MappingProxyType(
    {
        codes_pb2.HANDLING_CODE_H0: 0,
        codes_pb2.HANDLING_CODE_H1: 1,
        codes_pb2.HANDLING_CODE_H2: 2,
        codes_pb2.HANDLING_CODE_H3: 3,
    }
)
_STRICTEST_HANDLING: Final = 4  # UNKNOWN, and what this contract doesn't know
_LEGAL_PERSONS: Final = frozenset({"organisation", "group"})  # have roles, but no age, no asylum and no origin


def weakens(old: Entry, new: Entry) -> list[str]:
    """Name each fact of an entry that an edit would make less protective, so that a second officer must confirm it.

    What an entry inherits is compared like what is recorded of it: who edits it passes on what it inherited before.

    Returns:
        Paths of fields, roughly in the order of the contract; empty where the edit weakens nothing.
    """
    found = []
    if old.WhichOneof(ENTITY_ONEOF) != new.WhichOneof(ENTITY_ONEOF):
        found.append("entity")
    if new.recorded_us > old.recorded_us:  # an older record leaves less (28 CFR 23.20(h))
        found.append("recorded_us")
    found += _roles_weaken(old, new)
    if _HANDLING.get(new.handling, _STRICTEST_HANDLING) < _HANDLING.get(old.handling, _STRICTEST_HANDLING):
        found.append("handling")
    if set(old.caveats) - set(new.caveats):
        found.append("caveats")
    found += _own_weakens(old, new)
    found += _inherited_weakens(old, new)
    if set(old.person.nationalities) - set(new.person.nationalities):
        found.append("person.nationalities")
    if _inheriting_links(old) - _inheriting_links(new):
        found.append("links")
    return list(dict.fromkeys(found))


def _inheriting_links(entry: Entry) -> set[tuple[int, bytes]]:
    return {(link.kind, link.to_entry_id) for link in entry.links if link.kind in INHERITING}


# --- protections -----------------------------------------------------------------------------------------------------


def own_subject(entry: Entry) -> Protection | None:
    """What is recorded of whom an entry is about, apart from what it inherits; policy takes the same for a subject.

    Returns:
        None where there is nobody. A role without a protection tells that somebody is there, of whom nothing is known.
    """
    kind = entry.WhichOneof(ENTITY_ONEOF)
    if kind in {"person", None} or entry.HasField("protection"):
        return entry.protection
    if entry.HasField("inherited"):
        return None
    is_about_somebody = entry.inherited_roles or (entry.roles and kind not in _LEGAL_PERSONS)
    return entry.protection if is_about_somebody else None


def _own_weakens(old: Entry, new: Entry) -> list[str]:
    before, after = own_subject(old), own_subject(new)
    if before is None:
        return _given_weakens(Protection(), after or Protection(), "protection.")
    if after is None:  # also where nothing was recorded: nobody is protected any more
        lost = "protection" if old.HasField("protection") else "roles"
        return [lost, *_protection_weakens(before, Protection(), "protection.", besides="age")]
    found = _protection_weakens(before, after, "protection.", besides="age")
    if _age_weakens(old, new):
        found.append("person.birth" if old.person.birth != new.person.birth else "protection.age")
    return found


def _inherited_weakens(old: Entry, new: Entry) -> list[str]:
    if not old.HasField("inherited"):
        return _given_weakens(Protection(), new.inherited, "inherited.")
    lost = [] if new.HasField("inherited") else ["inherited"]
    return lost + _protection_weakens(old.inherited, new.inherited, "inherited.")


def _protection_weakens(before: Protection, after: Protection, prefix: str, besides: str = "") -> list[str]:
    found = [
        prefix + field
        for field, ranks in RANKS.items()
        if field != besides
        and ranks.get(getattr(after, field), UNKNOWN_RANK) < ranks.get(getattr(before, field), UNKNOWN_RANK)
    ]
    found += [
        prefix + field for field in (*RISKS, "origins") if set(getattr(before, field)).difference(getattr(after, field))
    ]
    named_complete = after.origins_complete and not before.origins_complete
    if named_complete or (_are_origins_told(after) and not _are_origins_told(before)):
        found.append(f"{prefix}origins_complete")
    return found + _given_weakens(before, after, prefix)


def _are_origins_told(protection: Protection) -> bool:
    return protection.origins_complete and bool(protection.origins)


def _given_weakens(before: Protection, after: Protection, prefix: str) -> list[str]:
    return [
        f"{prefix}{field}"
        for field, had, has in (
            ("consents", _given(before.consents), _given(after.consents)),
            ("assurances", _given(before.assurances), _given(after.assurances)),
        )
        if any(key not in had or given_us < had[key] for key, given_us in has.items())
    ]


def _given(many: Iterable[Consent | Assurance]) -> dict[tuple[str, int], int]:
    """Since when each consent or assurance is in force, by recipient and, of a consent, purpose."""
    found: dict[tuple[str, int], int] = {}
    for each in many:
        if each.given_us > 0 and not each.revoked_us:
            key = each.recipient, each.purpose if isinstance(each, Consent) else 0
            found[key] = min(each.given_us, found.get(key, each.given_us))
    return found


def _age_weakens(old: Entry, new: Entry) -> bool:
    """The subject would be, or might be, of age sooner. It does not matter of who was of age when recorded."""
    if is_adult_when_recorded(old):
        return False
    may_be, surely = coming_of_age(old)
    new_may_be, new_surely = coming_of_age(new)
    return new_may_be < may_be or new_surely < surely


# --- roles -----------------------------------------------------------------------------------------------------------


def _roles_weaken(old: Entry, new: Entry) -> list[str]:
    """Compare an entry's own roles, those it inherits, and both together, which is what rules see."""
    own_old, own_new = _known_roles(old, old.roles), _known_roles(new, new.roles)
    passed_old, passed_new = _known(old.inherited_roles), _known(new.inherited_roles)
    found = []
    if _is_weaker(own_old, own_new) or _is_weaker(
        _known_roles(old, [*old.roles, *old.inherited_roles]), _known_roles(new, [*new.roles, *new.inherited_roles])
    ):
        found.append("roles")
    if _is_weaker(passed_old, passed_new):
        found.append("inherited_roles")
    return found


def _is_weaker(before: set[int], after: set[int]) -> bool:
    dropped = before - after - {codes_pb2.ROLE_UNKNOWN}
    if dropped & PROTECTED_ROLES:
        return True
    if codes_pb2.ROLE_UNKNOWN in after:  # then no role helps release
        return False
    if codes_pb2.ROLE_UNKNOWN in before:
        return not after or bool(after - PROTECTED_ROLES)
    if before and not after:  # nobody is there any more
        return True
    # Rules may limit what concerns a third party, an associate, an official or the dead.
    return bool(dropped - _MOST_SUSPECTED) or _suspicion(after) > _suspicion(before)


def _suspicion(roles: set[int]) -> int:
    return max((_SUSPECTED.get(role, 0) for role in roles), default=0)


def _known_roles(entry: Entry, roles: Collection[Role]) -> set[int]:
    """Roles with UNKNOWN where a person has none."""
    is_somebody = entry.WhichOneof(ENTITY_ONEOF) in {"person", None}
    return _known(roles) or ({codes_pb2.ROLE_UNKNOWN} if is_somebody else set())


def _known(roles: Collection[Role]) -> set[int]:
    """Roles with UNKNOWN for each that this contract does not have."""
    known = codes_pb2.Role.values()
    return {role if role in known else codes_pb2.ROLE_UNKNOWN for role in roles}
