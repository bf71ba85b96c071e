"""What was shown to whom, as the ledger tells it, and what is frozen of it when protection comes."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pytest
from sqlalchemy import Connection, delete, text, update

from node.errors import NotFoundError
from node.ledger.leaf import build_leaf, build_opening
from node.records.lookup import selector_tokens
from node.store import disclosures, freezes
from node.store.database import Database
from node.store.disclosures import Shown
from node.store.entries import Entries
from node.store.frozen import Frozen
from node.store.lines import Line, ledger_openings
from node.store.safeguard_tables import asked_days, followed
from node.store.tables import entry_revisions
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.codes_pb2 import LINK_KIND_USES, LOOKUP_KIND_TELEPHONE, AsylumState, Tri
from node.wire.entry_pb2 import Case, Entry, Link, Person, PersonName, Protection, Telecom
from node.wire.exchange_pb2 import Selector
from node.wire.ledger_pb2 import (
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    ENTRY_OUTCOME_ENTRY,
    ENTRY_OUTCOME_HELD_SILENTLY,
    ENTRY_OUTCOME_HIT,
    ENTRY_OUTCOME_INVISIBLE,
    ENTRY_OUTCOME_NEXT_PAGE,
    ENTRY_OUTCOME_PENDING,
    Decisions,
    Direction,
    EntryDecision,
    EntryOutcome,
    LeafKind,
    LeafPrivate,
    LeafShared,
)
from node.wire.safeguard_pb2 import FREEZE_STATE_FREEZE, FREEZE_STATE_WAITING, Freeze
from tests.conftest import START_US

T = TypeVar("T")

REVIEW_US = START_US + 365 * 86_400_000_000
DAY = START_US // 86_400_000_000
NUMBER = "+12025550143"
ANSWERED = LeafKind.LEAF_KIND_ANSWERED


@dataclass
class Node:
    """What a node keeps its records with."""

    database: Database
    vault: Vault
    writer: Writer
    frozen: Frozen
    entries: Entries

    def write(self, change: Callable[[Connection], T], *lines: Line) -> T:
        return self.writer.submit(change, lines).result()

    def log(self, *lines: Line) -> None:
        self.write(lambda _: None, *lines)

    def change(self, old: Entry, new: Entry) -> Entry:
        return self.write(lambda connection: self.entries.update(connection, old, new, START_US + 1))

    def follow(self) -> int:
        """Follow the ledger as the node does behind its answers; return how many pages there were."""
        pages = 0
        while (told := self.told()) is not None:
            self.write(partial(self._keep, told))
            pages += 1
        return pages

    def told(self) -> disclosures.Told | None:
        with self.database.reading() as connection:
            return disclosures.read_on(connection, self.vault)

    def _keep(self, told: disclosures.Told, connection: Connection) -> None:
        assert disclosures.keep(connection, told)
        self.entries.keep_views(connection, told, START_US + 2)

    def frozen_views(self) -> list[Freeze]:
        with self.database.reading() as connection:
            return freezes.list_freezes(connection)

    def shown(self, entry: Entry) -> dict[str, Shown]:
        with self.database.reading() as connection:
            return disclosures.shown_to(connection, entry.entry_id)

    def mark(self) -> freezes.Mark:
        with self.database.reading() as connection:
            return freezes.read_mark(connection)

    def found(self, peer: str, now_us: int = START_US + 9) -> list[int]:
        """Revisions that a peer finds by the number."""
        tokens = selector_tokens(Selector(kind=LOOKUP_KIND_TELEPHONE, value=NUMBER), self.vault.lookup_keys(), peer)
        with self.database.engine.connect() as connection, closing(connection.connection.cursor()) as cursor:
            standing = self.entries.find(cursor, tokens, now_us, 10)
        return [each.revision for each in self.frozen.view(peer, standing, tokens, now_us, 10)]


@pytest.fixture
def node(database: Database, vault: Vault) -> Iterator[Node]:
    frozen = Frozen(vault, vault.lookup_keys())
    with Writer(database.engine, vault) as writer:
        yield Node(database, vault, writer, frozen, Entries(database, vault, vault.lookup_keys(), frozen))


@pytest.fixture
def entry(node: Node, case: Case) -> Entry:
    """A telephone of somebody from GT."""
    new = Entry(
        case_id=case.case_id,
        unit="UIF",
        review_us=REVIEW_US,
        originator="MX",
        telecom=Telecom(telephone=NUMBER),
        protection=Protection(asylum=AsylumState.ASYLUM_STATE_NONE, origins=["GT"], origins_complete=True),
    )
    with node.database.engine.begin() as connection:  # without a line, so that those of a test begin with 0
        return node.entries.insert(connection, [new], START_US)[0]


def line(
    *shown: tuple[bytes, int, EntryOutcome.ValueType],
    peer: str = "GT",
    kind: LeafKind.ValueType = ANSWERED,
    direction: Direction.ValueType = DIRECTION_SENT,
) -> Line:
    exchange_id = os.urandom(16)
    shared = LeafShared(
        kind=kind, direction=direction, time_us=START_US, exchange_id=exchange_id, node="MX/mx-1", peer=peer
    ).SerializeToString()
    decided = [EntryDecision(entry_id=each, revision=revision, outcome=outcome) for each, revision, outcome in shown]
    decisions = Decisions(salt=os.urandom(16), entries=decided)
    opening, commitment = build_opening(os.urandom(32), LeafPrivate(), decisions)
    return Line(leaf=build_leaf(shared, START_US, commitment), opening=opening, exchange_id=exchange_id)


def strengthened(entry: Entry, **changes: object) -> Entry:
    new = Entry()
    new.CopyFrom(entry)
    new.protection.asylum = AsylumState.ASYLUM_STATE_CLAIMED
    new.MergeFrom(Entry(**changes))  # type: ignore[arg-type]
    return new


# --- what was shown --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [ENTRY_OUTCOME_ENTRY, ENTRY_OUTCOME_HIT, ENTRY_OUTCOME_PENDING])
def test_what_was_told_of_an_entry_counts(node: Node, entry: Entry, outcome: EntryOutcome.ValueType) -> None:
    node.log(line((entry.entry_id, 1, outcome)), line((entry.entry_id, 1, outcome), peer="US"))
    assert node.follow() == 1
    assert node.shown(entry) == {"GT": Shown(1, 0), "US": Shown(1, 1)}


@pytest.mark.parametrize("outcome", [ENTRY_OUTCOME_INVISIBLE, ENTRY_OUTCOME_HELD_SILENTLY, ENTRY_OUTCOME_NEXT_PAGE])
def test_what_looked_like_a_no_hit_does_not(node: Node, entry: Entry, outcome: EntryOutcome.ValueType) -> None:
    node.log(line((entry.entry_id, 1, outcome)))
    node.follow()
    assert node.shown(entry) == {}


def test_what_was_shown_last_stays(node: Node, entry: Entry) -> None:
    node.log(*[line((entry.entry_id, revision, ENTRY_OUTCOME_HIT)) for revision in (1, 2)])
    node.follow()
    node.log(line((entry.entry_id, 3, ENTRY_OUTCOME_HIT)))
    node.follow()
    assert node.shown(entry) == {"GT": Shown(3, 2)}


def test_long_ledgers_are_read_by_the_page_and_every_line_once(node: Node) -> None:
    asked = line(kind=LeafKind.LEAF_KIND_ASKED, peer="US")
    node.log(*(line(kind=LeafKind.LEAF_KIND_ASKED, peer="US") for _ in range(disclosures.PAGE)), asked)
    answered = [line(direction=DIRECTION_RECEIVED, peer="US") for _ in range(7)]
    node.log(*answered)
    assert node.follow() == 2
    assert node.follow() == 0
    with node.database.reading() as connection:
        assert connection.execute(asked_days.select()).all() == [(DAY, "US", disclosures.PAGE + 1, 7)]


def test_who_comes_second_writes_nothing(node: Node, entry: Entry) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)), line(kind=LeafKind.LEAF_KIND_ASKED))
    told = node.told()
    assert told is not None
    assert node.write(lambda connection: disclosures.keep(connection, told))
    assert not node.write(lambda connection: disclosures.keep(connection, told))
    with node.database.reading() as connection:
        assert connection.execute(asked_days.select()).all() == [(DAY, "GT", 1, 0)]
        assert connection.execute(followed.select()).all() == [(1, 2)]


def test_a_line_that_was_altered_hides_none_after_it(node: Node, entry: Entry) -> None:
    node.log(*[line((entry.entry_id, revision, ENTRY_OUTCOME_HIT)) for revision in (1, 2, 3)])
    with node.database.engine.begin() as connection:
        held = ledger_openings.c
        connection.execute(update(ledger_openings).where(held.idx == 1).values(sealed=os.urandom(400)))
    assert node.follow() == 3  # up to it, it, and the rest
    assert node.shown(entry) == {"GT": Shown(3, 2)}


def test_an_erased_opening_tells_nothing(node: Node, entry: Entry) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    with node.database.engine.begin() as connection:
        connection.execute(delete(ledger_openings))
    assert node.follow() == 1
    assert node.shown(entry) == {}


# --- what is frozen --------------------------------------------------------------------------------------------------


def test_a_line_that_nobody_has_followed_counts_when_protection_comes(node: Node, entry: Entry) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    node.change(entry, strengthened(entry))
    (view,) = node.frozen_views()
    assert (view.entry_id, view.peer, view.revision) == (entry.entry_id, "GT", 1)
    assert (view.state, view.until_us, view.made_us) == (FREEZE_STATE_WAITING, REVIEW_US, START_US + 1)


def test_an_answer_under_way_when_protection_came_freezes_what_it_showed(node: Node, entry: Entry) -> None:
    node.change(entry, strengthened(entry))
    assert node.frozen_views() == []
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    node.follow()
    assert [view.revision for view in node.frozen_views()] == [1]


def test_what_was_shown_since_is_not_frozen(node: Node, entry: Entry) -> None:
    """Protected, and shown all the same: as it stands, it is what the peer knows."""
    node.change(entry, strengthened(entry))
    node.log(line((entry.entry_id, 2, ENTRY_OUTCOME_HIT)))
    node.follow()
    assert node.frozen_views() == []


def test_an_ordinary_change_freezes_nothing(node: Node, entry: Entry) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    new = Entry()
    new.CopyFrom(entry)
    new.telecom.holder_name = "Invented Holder"
    node.change(entry, new)
    assert node.frozen_views() == []


def test_what_freezes_once_stays_as_it_was(node: Node, entry: Entry) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    second = node.change(entry, strengthened(entry))
    node.log(line((entry.entry_id, 2, ENTRY_OUTCOME_HIT)))  # shown by whatever mistake
    node.change(second, strengthened(second, protection=Protection(stateless=Tri.TRI_YES)))
    assert [view.revision for view in node.frozen_views()] == [1]


def test_what_a_thing_inherits_counts(node: Node, entry: Entry, case: Case) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    owner = Entry(
        case_id=case.case_id,
        unit="UIF",
        review_us=REVIEW_US,
        person=Person(names=[PersonName(full="Ana Invented")]),
        protection=Protection(asylum=AsylumState.ASYLUM_STATE_CLAIMED, origins=["GT"], origins_complete=True),
        links=[Link(kind=LINK_KIND_USES, to_entry_id=entry.entry_id)],
    )
    node.write(lambda connection: node.entries.insert(connection, [owner], START_US + 1))
    assert [view.entry_id for view in node.frozen_views()] == [entry.entry_id]


def test_a_view_ends_at_its_review_date_and_a_later_revision_is_not_seen_then(node: Node, entry: Entry) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    new = strengthened(entry)
    new.review_us = REVIEW_US + 1_000
    node.change(entry, new)
    assert node.found("GT") == [1]
    assert node.found("US") == [2]
    assert node.found("GT", REVIEW_US - 1) == [1]
    assert node.found("GT", REVIEW_US) == []
    assert node.found("US", REVIEW_US) == [2]


def test_a_revision_that_was_altered_keeps_no_protection_from_being_recorded(node: Node, entry: Entry) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    second = Entry()
    second.CopyFrom(entry)
    second.telecom.holder_name = "Invented Holder"
    second = node.change(entry, second)
    with node.database.engine.begin() as connection:
        connection.execute(update(entry_revisions).values(sealed=os.urandom(400)))
    assert node.change(second, strengthened(second)).protection.asylum == AsylumState.ASYLUM_STATE_CLAIMED
    assert node.frozen_views() == []


def test_a_view_that_was_altered_shows_nothing(node: Node, entry: Entry) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    node.change(entry, strengthened(entry))
    assert node.found("GT") == [1]
    with node.database.engine.begin() as connection:
        connection.execute(update(entry_revisions).values(sealed=os.urandom(400)))
    node.write(node.frozen.load)
    assert node.found("GT") == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE freezes SET peer = 'HN'",  # who never saw it
        "UPDATE freezes SET revision = revision - 1",
        "UPDATE freezes SET until_us = until_us + 1",
        "UPDATE freezes SET state = 2",
        "INSERT INTO freezes SELECT entry_id, 'HN', revision, state, until_us, 1, NULL, NULL, NULL, tag FROM freezes",
    ],
)
def test_a_view_that_sql_wrote_shows_nothing(node: Node, entry: Entry, statement: str) -> None:
    second = Entry()
    second.CopyFrom(entry)
    second.telecom.imei = "490154203237518"
    second = node.change(entry, second)
    node.log(line((entry.entry_id, 2, ENTRY_OUTCOME_HIT)))
    node.change(second, strengthened(second))
    assert (node.found("GT"), node.found("HN")) == ([2], [3])
    with node.database.engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount == 1
    node.write(node.frozen.load)
    altered = "HN" if "HN" in statement else "GT"
    assert node.found(altered) == []
    which = (entry.entry_id, altered, FREEZE_STATE_FREEZE)
    said = {"until_us": None, "officer": "o", "line": b"l", "now_us": START_US}
    with pytest.raises(NotFoundError):
        node.write(lambda connection: freezes.decide(connection, node.vault, *which, **said))  # type: ignore[arg-type]


def test_an_erased_case_freezes_nothing(node: Node, entry: Entry) -> None:
    node.change(entry, strengthened(entry))
    node.vault.erase_keys([entry.case_id], START_US)
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    node.follow()
    assert node.frozen_views() == []


def test_a_recall_ends_a_view(node: Node, entry: Entry) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    node.change(entry, strengthened(entry))
    before = node.mark()
    node.write(lambda connection: node.entries.recall(connection, entry.entry_id))
    assert node.found("GT") == []
    assert node.mark() != before  # so that other processes see it


def test_an_erased_case_shows_nothing(node: Node, entry: Entry) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))
    node.change(entry, strengthened(entry))
    node.vault.erase_keys([entry.case_id], START_US)
    assert node.found("GT") == []
    node.write(node.frozen.load)
    assert node.found("GT") == []


def test_a_change_that_was_not_committed_leaves_the_view_as_it_is_seen(node: Node, entry: Entry) -> None:
    node.log(line((entry.entry_id, 1, ENTRY_OUTCOME_HIT)))

    def failing(connection: Connection) -> None:
        node.entries.update(connection, entry, strengthened(entry), START_US + 1)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - its own
        node.write(failing)
    assert node.mark() != node.frozen.mark  # which the node's next round sees, and reads anew
    node.write(node.frozen.load)
    assert node.found("GT") == [1]
    assert node.frozen_views() == []
