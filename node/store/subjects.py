"""All that is held of a person: own entries by what they are found by and along links, and the queries about them.

Queries are compared by tokens under a key that is made for one search and then forgotten; memory stays flat, however
long the ledger is.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError
from sqlalchemy import Connection, select

from node.errors import DecryptionError, KeyErasedError, LedgerError, NotFoundError, RecordError
from node.ledger.leaf import parse_leaf, parse_opening, parse_private, parse_shared, verify_opening
from node.records.lookup import SEARCHABLE, LookupKey, selector_tokens
from node.schema import ENTITY_ONEOF, KIND_BY_HOLDER
from node.store.entries import Entries
from node.store.lines import (
    bodies_context,
    ledger_bodies,
    ledger_lines,
    ledger_openings,
    opening_context,
    unpack_bodies,
)
from node.store.tables import bonds, lookups
from node.store.vault import Vault
from node.wire.codes_pb2 import LinkKind
from node.wire.entry_pb2 import Entry, PersonName
from node.wire.exchange_pb2 import Body, Query, Selector
from node.wire.ledger_pb2 import (
    DIRECTION_SENT,
    LEAF_KIND_ANSWERED,
    LEAF_KIND_ASKED,
    LeafPrivate,
    LeafShared,
)

MOST_ENTRIES: Final = 1_000
"""Own entries of one report: who is in more has a selector that is not theirs alone."""

_TOKENS: Final = 250  # of one statement
_QUERIES: Final = frozenset({(LEAF_KIND_ASKED, DIRECTION_SENT), (LEAF_KIND_ANSWERED, DIRECTION_SENT)})


# --- own entries -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Held:
    """Own entries about a person, by id; `erased` can't be read any more.

    A linked entry stands with the kinds of the links that lead to it or from it.
    """

    own: dict[bytes, Entry] = field(default_factory=dict)
    linked: dict[bytes, tuple[Entry, tuple[int, ...]]] = field(default_factory=dict)
    duplicates: dict[bytes, Entry] = field(default_factory=dict)
    erased: set[bytes] = field(default_factory=set)


def held(
    connection: Connection,
    entries: Entries,
    keys: Sequence[LookupKey],
    *,
    selectors: Sequence[Selector],
    entry_ids: Sequence[bytes],
    region: str,
) -> Held:
    """Return own entries that the selectors find or that are named, what is linked to them, and possible duplicates.

    Entries count whatever their state and review date: they are held.

    Args:
        connection: To the main database.
        entries: To read them.
        keys: Of every live epoch.
        selectors: As the person's file says.
        entry_ids: Named by the officer.
        region: ISO 3166-1 alpha-2: what a national telephone number means here.
    """
    found = Held()
    wanted = dict.fromkeys([*entry_ids, *_ids_by(connection, tokens_of(selectors, keys, region))])
    found.own = _read(connection, entries, list(wanted)[:MOST_ENTRIES], found)
    links = _links(connection, entries, found)
    there = _read(connection, entries, list(links)[:MOST_ENTRIES], found)
    found.linked = {entry_id: (entry, tuple(sorted(links[entry_id]))) for entry_id, entry in there.items()}
    theirs = [selector for entry in found.own.values() for selector in selectors_of(entry)]
    more = _ids_by(connection, tokens_of(theirs, keys, region))
    others = [each for each in more if each not in found.own and each not in found.linked]
    found.duplicates = _read(connection, entries, others[:MOST_ENTRIES], found)
    return found


def tokens_of(selectors: Iterable[Selector], keys: Sequence[LookupKey], region: str) -> list[bytes]:
    """Return the tokens of all selectors that can be such values."""
    found: dict[bytes, None] = {}
    for selector in selectors:
        with suppress(RecordError):
            found.update(dict.fromkeys(selector_tokens(selector, keys, region)))
    return list(found)


def selectors_of(entry: Entry) -> Iterator[Selector]:
    """Yield a selector for each value by which an entry is found."""
    holder = entry.WhichOneof(ENTITY_ONEOF)
    if holder is None:
        return
    entity = getattr(entry, holder)
    for searchable, lookup in SEARCHABLE[KIND_BY_HOLDER[holder]]:
        value = getattr(entity, searchable.name)
        for each in value if searchable.is_repeated else (value,):
            text = each.full if searchable.message_type is PersonName.DESCRIPTOR else each
            if text:
                yield Selector(kind=lookup, value=text)


def _ids_by(connection: Connection, tokens: Sequence[bytes]) -> list[bytes]:
    found: dict[bytes, None] = {}
    for at in range(0, len(tokens), _TOKENS):
        query = select(lookups.c.entry_id).where(lookups.c.token.in_(tokens[at : at + _TOKENS]))
        found.update(dict.fromkeys(connection.execute(query.order_by(lookups.c.entry_id)).scalars()))
    return list(found)


def _read(connection: Connection, entries: Entries, entry_ids: Iterable[bytes], found: Held) -> dict[bytes, Entry]:
    read = {}
    for entry_id in entry_ids:
        try:
            read[entry_id] = entries.get(connection, entry_id)
        except (KeyErasedError, DecryptionError, NotFoundError):
            found.erased.add(entry_id)
    return read


def _links(connection: Connection, entries: Entries, found: Held) -> dict[bytes, set[int]]:
    """Return what is linked to the entries found, in their cases or by inheritance, with the kinds of the links."""
    links: dict[bytes, set[int]] = {}
    for entry in found.own.values():
        for link in entry.links:
            links.setdefault(link.to_entry_id, set()).add(link.kind)
    subjects = select(bonds.c.subject_id).where(bonds.c.thing_id.in_(tuple(found.own)))
    beside = dict.fromkeys(connection.execute(subjects).scalars()) if found.own else {}
    others = {each.entry_id: each for each in _read(connection, entries, beside, found).values()}
    for case_id in {entry.case_id for entry in found.own.values()}:
        with suppress(KeyErasedError, DecryptionError):
            others |= {each.entry_id: each for each in entries.of_case(connection, case_id)}
    for entry in others.values():
        for link in entry.links:
            if link.to_entry_id in found.own:
                links.setdefault(entry.entry_id, set()).add(link.kind)
    return {entry_id: kinds for entry_id, kinds in links.items() if entry_id not in found.own}


# --- queries ---------------------------------------------------------------------------------------------------------


class Targets:
    """What queries are compared with: a person's selectors, as tokens under a key of this search alone."""

    def __init__(self, selectors: Iterable[Selector], key: LookupKey, region: str) -> None:
        """Take the selectors; a year of birth only tells apart where the query names one too."""
        self._key = key
        self._region = region
        self._years: dict[bytes, set[int]] = {}
        self.add(selectors)

    def add(self, selectors: Iterable[Selector]) -> None:
        """Take more of the person's selectors."""
        for selector in selectors:
            for token in self._tokens(selector, self._region):
                self._years.setdefault(token, set()).add(selector.birth_year)

    def matched(self, query: Query, region: str) -> list[Selector]:
        """Return the query's selectors that may mean the person; `region` is the country where they were typed."""
        return [each for each in query.selectors if self._may_be(each, region)]

    def _may_be(self, selector: Selector, region: str) -> bool:
        years = [self._years[token] for token in self._tokens(selector, region) if token in self._years]
        return any(not selector.birth_year or each & {0, selector.birth_year} for each in years)

    def _tokens(self, selector: Selector, region: str) -> list[bytes]:
        return tokens_of([Selector(kind=selector.kind, value=selector.value)], [self._key], region)


class Asked(NamedTuple):
    """A query about the person; `private` is None where what opens the line was erased."""

    line: int
    logged_us: int
    shared: LeafShared
    private: LeafPrivate | None
    query: Query
    matched: Sequence[Selector]


class Looked(NamedTuple):
    """What some lines hold of queries: those that match, how many were read, and how many can't be."""

    found: Sequence[Asked]
    read: int
    unreadable: int


def queries(
    connection: Connection,
    vault: Vault,
    targets: Targets,
    lines: tuple[int, int],
    period_us: tuple[int, int],
    *,
    body: str,
    country: str,
) -> Looked:
    """Look through the queries, of this country and of peers, among ledger lines.

    Args:
        connection: To the main database.
        vault: Opens what can be opened.
        targets: Whom they are compared with.
        lines: Index of the first, and exclusive end.
        period_us: When they were logged: UTC microseconds, and exclusive end.
        body: The name under which queries are kept.
        country: This node's.
    """
    line = ledger_lines.c
    joined = ledger_lines.outerjoin(ledger_bodies, ledger_bodies.c.idx == line.idx)
    query = select(line.idx, line.leaf, line.leaf_hash, ledger_bodies.c.sealed).select_from(joined)
    found: list[Asked] = []
    read = unreadable = 0
    for row in connection.execute(query.where(line.idx >= lines[0], line.idx < lines[1]).order_by(line.idx)):
        try:
            leaf = parse_leaf(row.leaf)
            shared = parse_shared(leaf.shared)
        except LedgerError:
            unreadable += 1
            continue
        if (shared.kind, shared.direction) not in _QUERIES or not period_us[0] <= leaf.logged_us < period_us[1]:
            continue
        asked = _query(vault, row.leaf_hash, row.sealed, body)
        if asked is None:
            unreadable += 1
            continue
        read += 1
        matched = targets.matched(asked, country if shared.kind == LEAF_KIND_ASKED else shared.peer)
        if matched:
            private = _private(connection, vault, row.idx)
            found.append(Asked(row.idx, leaf.logged_us, shared, private, asked, matched))
    return Looked(found, read, unreadable)


def _query(vault: Vault, leaf_hash: bytes, sealed: bytes | None, name: str) -> Query | None:
    if sealed is None:
        return None
    try:
        kept: Mapping[str, bytes] = unpack_bodies(vault.open_alone(bodies_context(leaf_hash), sealed))
        return Body.FromString(kept[name]).query if name in kept else None
    except (KeyErasedError, DecryptionError, LedgerError, DecodeError):
        return None


def _private(connection: Connection, vault: Vault, index: int) -> LeafPrivate | None:
    joined = ledger_lines.join(ledger_openings, ledger_openings.c.idx == ledger_lines.c.idx)
    query = select(ledger_lines.c.leaf, ledger_lines.c.leaf_hash, ledger_openings.c.sealed).select_from(joined)
    row = connection.execute(query.where(ledger_lines.c.idx == index)).one_or_none()
    if row is None:
        return None
    with suppress(KeyErasedError, DecryptionError, LedgerError):
        opening = parse_opening(vault.open_alone(opening_context(row.leaf_hash), row.sealed))
        verify_opening(parse_leaf(row.leaf), opening)
        return parse_private(opening.private)
    return None


def is_third_person(entry: Entry, links: Collection[int]) -> bool:
    """Tell whether a linked entry is about somebody else, and not about a thing that the person uses or owns."""
    things = {LinkKind.LINK_KIND_USES, LinkKind.LINK_KIND_OWNS}
    return entry.WhichOneof(ENTITY_ONEOF) == "person" or not things.intersection(links)
