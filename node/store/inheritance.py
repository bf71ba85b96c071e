"""Protection along links: what uses or owns a thing passes its protection on, as it is written."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from node.records.protection import INHERITING, inherited_protection, inherited_roles, strictest
from node.records.weakening import weakens
from node.store.tables import bonds, entries
from node.wire.codes_pb2 import LinkKind
from node.wire.entry_pb2 import Entry, Protection

# Bonds are made of links that inherit, whichever of them; the kinds are inside the encrypted entries.
_BOND: Final = LinkKind.LINK_KIND_USES


def things_of(entry: Entry) -> set[bytes]:
    """Return the ids of entries that inherit from this one."""
    return {link.to_entry_id for link in entry.links if link.kind in INHERITING} - {entry.entry_id}


def inherit(
    things: Mapping[bytes, Entry], subjects: Mapping[bytes, Sequence[Entry]], *, may_weaken: bool = False
) -> None:
    """Write into each thing what it inherits from its subjects, which may be things themselves.

    It starts from nothing inherited: else two things that own each other would keep alive what nobody passes on.

    Args:
        things: By id, with what they inherited before.
        subjects: Those that use or own a thing, by its id.
        may_weaken: A second officer confirmed the change that this follows from. Else no thing gets less protected than
            it was, whoever seems to have let go of it: a row that is missing from a table is nobody's decision.
    """
    floors = {} if may_weaken else {entry_id: _copy(thing) for entry_id, thing in things.items()}
    for thing in things.values():
        thing.ClearField("inherited")
        thing.ClearField("inherited_roles")
    chained = any(subject.entry_id in things for each in subjects.values() for subject in each)
    for _ in range(len(things) + 1 if chained else 1):
        before = [_inherited(thing) for thing in things.values()] if chained else []
        for entry_id, thing in things.items():
            _inherit_one(thing, subjects.get(entry_id, ()))
            if entry_id in floors:
                _keep_protected(thing, floors[entry_id])
        if [_inherited(thing) for thing in things.values() if chained] == before:
            return


def _inherit_one(thing: Entry, subjects: Sequence[Entry]) -> None:
    linked = [(_BOND, subject) for subject in subjects]
    protection = inherited_protection(linked)
    thing.ClearField("inherited")
    if protection is not None:
        thing.inherited.CopyFrom(protection)
    thing.inherited_roles[:] = inherited_roles(linked)


def _keep_protected(thing: Entry, before: Entry) -> None:
    """Join what a thing inherits with what it inherited before, where it would get weaker."""
    if not weakens(before, thing):
        return
    # Of a thing that merely states a role, nothing is known. Whoever is linked to it is not known to be all there is.
    had = before.inherited if before.HasField("inherited") else Protection()
    has = [thing.inherited] if thing.HasField("inherited") else []
    thing.inherited.CopyFrom(strictest(had, *has))
    thing.inherited_roles[:] = sorted({*before.inherited_roles, *thing.inherited_roles})


def pass_on_inherited(old: Entry, new: Entry) -> None:
    """Write into a change of an entry what it inherited before: the node's own to write, whatever somebody typed."""
    new.ClearField("inherited")
    if old.HasField("inherited"):
        new.inherited.CopyFrom(old.inherited)
    new.inherited_roles[:] = old.inherited_roles


def _copy(entry: Entry) -> Entry:
    copy = Entry()
    copy.CopyFrom(entry)
    return copy


def _inherited(thing: Entry) -> bytes:
    only = Entry(inherited_roles=thing.inherited_roles)
    if thing.HasField("inherited"):
        only.inherited.CopyFrom(thing.inherited)
    return only.SerializeToString(deterministic=True)


def is_inherited_alike(one: Entry, other: Entry) -> bool:
    """Tell whether two entries inherit the same."""
    return _inherited(one) == _inherited(other)


def drop_ended_links(connection: Connection, old: Entry, new: Entry) -> set[bytes]:
    """Take out of a change of an entry the links that it had already to entries that have ended since.

    Returns:
        The ids of what inherits from the entry as it was, and has not ended.
    """
    before = {link.to_entry_id for link in old.links}
    there = set(connection.execute(select(entries.c.entry_id).where(entries.c.entry_id.in_(before))).scalars())
    kept = [link for link in new.links if link.to_entry_id in there or link.to_entry_id not in before]
    if len(kept) < len(new.links):
        del new.links[:]
        new.links.extend(kept)
    return things_of(old) & there


def put_bonds(connection: Connection, entries: Iterable[Entry]) -> None:
    """Keep from whom things inherit, of new entries."""
    rows = [{"subject_id": entry.entry_id, "thing_id": thing} for entry in entries for thing in things_of(entry)]
    if rows:
        connection.execute(insert(bonds), rows)


def replace_bonds(connection: Connection, entry: Entry) -> None:
    """Keep from whom things inherit, of an entry that changed."""
    connection.execute(delete(bonds).where(bonds.c.subject_id == entry.entry_id))
    put_bonds(connection, (entry,))


def downstream(connection: Connection, entry_ids: Iterable[bytes]) -> set[bytes]:
    """Return the ids of everything that inherits from these entries, at first or second hand or further."""
    reach = select(bonds.c.thing_id).where(bonds.c.subject_id.in_(tuple(entry_ids))).cte("reach", recursive=True)
    further = select(bonds.c.thing_id).join(reach, bonds.c.subject_id == reach.c.thing_id)
    return set(connection.execute(select(reach.union(further).c.thing_id)).scalars())


def subjects_of(connection: Connection, entry_ids: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    """Return the ids of those from whom each of these entries inherits at first hand."""
    found: dict[bytes, list[bytes]] = {}
    query = select(bonds.c.thing_id, bonds.c.subject_id).where(bonds.c.thing_id.in_(tuple(entry_ids)))
    for thing, subject in connection.execute(query.order_by(bonds.c.thing_id, bonds.c.subject_id)):
        found.setdefault(thing, []).append(subject)
    return found
