"""The report on a petition: all that is held of a person and was sent about them, for the competent officer to review.

It is not for handing out: what it says of third persons, of investigations and of peers is for the officer to decide,
item by item. What the node suggests decides nothing, and an item on which nobody has decided is not told.
"""

import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from node.desk.masking import Names
from node.desk.petitions import Petitions
from node.desk.tracing import Books, traced_line
from node.errors import DecryptionError, KeyErasedError, NotFoundError, UsageError
from node.federation.lines import QUERY_BODY
from node.policy.received_use import Use
from node.records.lookup import KEY_SIZE, LookupKey
from node.store import determinations, freezes, holds, subjects
from node.store.cases import Cases
from node.store.listing import read_head
from node.store.officers import Officer
from node.store.received import ReceivedEntries
from node.store.subjects import Asked, Held, Targets
from node.store.traces import trace
from node.wire.codes_pb2 import PURPOSE_OVERSIGHT
from node.wire.entry_pb2 import Case, Entry
from node.wire.ledger_pb2 import LEAF_KIND_ASKED, LeafPrivate
from node.wire.subject_pb2 import (
    REPORT_ITEM_KIND_ASKED_BY_PEER,
    REPORT_ITEM_KIND_ASKED_BY_US,
    REPORT_ITEM_KIND_DETERMINATION,
    REPORT_ITEM_KIND_FREEZE,
    REPORT_ITEM_KIND_HOLD,
    REPORT_ITEM_KIND_LINKED_ENTRY,
    REPORT_ITEM_KIND_OWN_ENTRY,
    REPORT_ITEM_KIND_POSSIBLE_DUPLICATE,
    REPORT_ITEM_KIND_RECEIVED_ENTRY,
    REPORT_ITEM_KIND_RELEASED,
    TELLING_INVESTIGATION,
    TELLING_SAFETY,
    TELLING_THIRD_PERSON,
    TELLING_TOLD,
    Mark,
    Petition,
    ReportItem,
    ReportItemKind,
    ReportPetitionRequest,
    ReportPetitionResponse,
    ReportProgress,
    ReportSummary,
)

_PAGE: Final = 500  # lines whose texts are opened on one snapshot: some 30 ms
_MOST_RECEIVED: Final = 1_000


@dataclass(slots=True)
class _Run:
    """One report while it is made."""

    petition: Petition
    held: Held
    targets: Targets
    period_us: tuple[int, int]
    names: Names
    books: Books = field(default_factory=Books)
    summary: ReportSummary = field(default_factory=ReportSummary)


@dataclass(slots=True)
class Subjects:
    """Serves focal points."""

    petitions: Petitions

    async def report(self, request: ReportPetitionRequest, officer: Officer) -> AsyncIterator[ReportPetitionResponse]:
        """Yield progress, each item as it is found, and at last the summary; first, lines that say what was read.

        Raises:
            NotFoundError: there is no such petition.
            UsageError: a period that ends before it begins, or no reason for unmasking.
            LedgerError: the ledger has no head, or the reading can't be logged.
        """
        database, now_us = self.petitions.database, self.petitions.clock()
        period_us = request.since_us, request.until_us or now_us + 1
        if not 0 <= period_us[0] < period_us[1]:
            raise UsageError("the period ends before it begins")
        petition, _ = await database.read(self.petitions.store.get, request.petition_id)
        names = await self.petitions.reading.begin(
            officer, "PETITION REPORT", subject=petition.petition_id, unmask=request.unmask
        )
        run = _Run(petition, await database.read(self._held, petition), self._targets(petition), period_us, names)
        read = [*run.held.own, *run.held.linked, *run.held.duplicates]
        if read:  # each by its own line, so that who asks who read an entry finds it
            await self.petitions.log_read(petition, officer, "PETITION ENTRY", *read)
        for item in await database.read(self._entries, run):
            yield ReportPetitionResponse(item=_marked(item, petition))
        size = (await database.read(read_head)).size
        for start in range(0, size, _PAGE):
            stop = min(start + _PAGE, size)
            for item in await database.read(self._lines, run, start, stop):
                yield ReportPetitionResponse(item=_marked(item, petition))
            yield ReportPetitionResponse(progress=ReportProgress(done=stop, total=size))
        for item in await database.read(self._received, run, officer):
            yield ReportPetitionResponse(item=_marked(item, petition))
        run.summary.MergeFrom(
            ReportSummary(
                lines=size,
                erased_entries=len(run.held.erased),
                received_searched=True,
                made_us=now_us,
                officer=officer.name,
            )
        )
        yield ReportPetitionResponse(summary=run.summary)

    def _held(self, connection: Connection, petition: Petition) -> Held:
        return subjects.held(
            connection,
            self.petitions.entries,
            self.petitions.vault.lookup_keys(),
            selectors=petition.selectors,
            entry_ids=petition.entry_ids,
            region=self.petitions.standing.country,
        )

    def _targets(self, petition: Petition) -> Targets:
        key = LookupKey(0, secrets.token_bytes(KEY_SIZE))
        return Targets(petition.selectors, key, self.petitions.standing.country)

    # --- own entries -------------------------------------------------------------------------------------------------

    def _entries(self, connection: Connection, run: _Run) -> list[ReportItem]:
        # What the named entries are found by, tells queries about the person that the petition's selectors don't.
        for entry_id in run.petition.entry_ids:
            if entry_id in run.held.own:
                run.targets.add(subjects.selectors_of(run.held.own[entry_id]))
        cases = Cases(self.petitions.vault)
        items = [_of_entry(connection, cases, REPORT_ITEM_KIND_OWN_ENTRY, each) for each in run.held.own.values()]
        for entry, links in run.held.linked.values():
            item = _of_entry(connection, cases, REPORT_ITEM_KIND_LINKED_ENTRY, entry)
            item.links.extend(links)  # type: ignore[arg-type]
            if subjects.is_third_person(entry, links):
                item.suggested = TELLING_THIRD_PERSON
            items.append(item)
        for entry in run.held.duplicates.values():
            item = _of_entry(connection, cases, REPORT_ITEM_KIND_POSSIBLE_DUPLICATE, entry)
            item.suggested = TELLING_THIRD_PERSON
            item.remark = "It shares a selector with an own entry: decide whether it is about the same person."
            items.append(item)
        return items + list(_waiting(connection, run))

    # --- exchanges ---------------------------------------------------------------------------------------------------

    def _lines(self, connection: Connection, run: _Run, start: int, stop: int) -> list[ReportItem]:
        looked = subjects.queries(
            connection,
            self.petitions.vault,
            run.targets,
            (start, stop),
            run.period_us,
            body=QUERY_BODY,
            country=self.petitions.standing.country,
        )
        run.summary.queries += looked.read
        run.summary.unreadable_queries += looked.unreadable
        found = [(each.line, _of_query(each, run.names)) for each in looked.found]
        traced = trace(connection, self.petitions.vault, run.held.own.keys() | set(run.petition.entry_ids), start, stop)
        run.summary.answers += traced.answers
        run.summary.unreadable_answers += len(traced.unreadable)
        for given in traced.given:
            if not run.period_us[0] <= given.logged_us < run.period_us[1]:
                continue
            line = traced_line(given, run.books.of(connection, given.private), run.names)
            item = ReportItem(
                reference=f"line {given.line} entry {given.decided.entry_id.hex()[:12]}",
                kind=REPORT_ITEM_KIND_RELEASED,
                suggested=TELLING_INVESTIGATION,
                at_us=given.logged_us,
                peer=line.peer,
                exchange_id=line.exchange_id,
                entry_id=given.decided.entry_id,
                officer=line.officer,
                unit=line.unit,
                purpose=line.purpose,
                released=line,
            )
            found.append((given.line, item))
        return [item for _, item in sorted(found, key=lambda each: each[0])]

    def _received(self, connection: Connection, run: _Run, officer: Officer) -> list[ReportItem]:
        use = Use(PURPOSE_OVERSIGHT, officer.unit_type, officer.unit)
        copies = ReceivedEntries(self.petitions.vault).find(
            connection,
            run.petition.selectors,
            self.petitions.standing.country,
            use,
            now_us=self.petitions.clock(),
            limit=_MOST_RECEIVED,
        )
        return [
            ReportItem(
                reference=f"received {each.received_id.hex()}",
                kind=REPORT_ITEM_KIND_RECEIVED_ENTRY,
                suggested=TELLING_INVESTIGATION,
                at_us=each.received_us,
                peer=each.peer,
                exchange_id=each.exchange_id,
                received=each.entry,
                remark="It is another country's: what it says is theirs to tell.",
            )
            for each in copies
        ]


def _of_entry(connection: Connection, cases: Cases, kind: ReportItemKind.ValueType, entry: Entry) -> ReportItem:
    case = _case(connection, cases, entry.case_id)
    item = ReportItem(
        reference=f"entry {entry.entry_id.hex()}",
        kind=kind,
        suggested=TELLING_INVESTIGATION if case.open else TELLING_TOLD,
        at_us=entry.recorded_us,
        entry_id=entry.entry_id,
        case_reference=case.reference,
        unit=entry.unit,
        entry=entry,
    )
    if entry.source:
        item.remark = "Who told of it is told to nobody."
    return item


def _case(connection: Connection, cases: Cases, case_id: bytes) -> Case:
    try:
        return cases.get(connection, case_id)
    except (NotFoundError, KeyErasedError, DecryptionError):
        return Case(open=True)  # what is not known is not told


def _of_query(asked: Asked, names: Names) -> ReportItem:
    ours, private = asked.shared.kind == LEAF_KIND_ASKED, asked.private or LeafPrivate()
    return ReportItem(
        reference=f"line {asked.line}",
        kind=REPORT_ITEM_KIND_ASKED_BY_US if ours else REPORT_ITEM_KIND_ASKED_BY_PEER,
        suggested=TELLING_INVESTIGATION,
        at_us=asked.logged_us,
        peer=asked.shared.peer,
        exchange_id=asked.shared.exchange_id,
        case_reference=asked.query.case_reference,
        officer=names(private.officer or asked.query.asker.officer),
        unit=private.unit or asked.query.asker.unit,
        purpose=asked.query.purpose,
        matched=asked.matched,
        remark="" if ours else "That a peer asked is the peer's to tell.",
    )


def _waiting(connection: Connection, run: _Run) -> Iterator[ReportItem]:
    """What waits for somebody because of an own entry, which the person is hardly ever told."""
    for notice in determinations.waiting(connection):
        if notice.entry_id in run.held.own:
            item = ReportItem(kind=REPORT_ITEM_KIND_DETERMINATION, at_us=notice.at_us, peer=notice.peer)
            yield _about(item, "determination", notice.entry_id, notice.exchange_id)
    for hold in holds.waiting(connection):
        if hold.entry_id in run.held.own:
            item = ReportItem(kind=REPORT_ITEM_KIND_HOLD, at_us=hold.at_us, peer=hold.peer)
            yield _about(item, "hold", hold.entry_id, hold.exchange_id)
    for view in freezes.list_freezes(connection):
        if view.entry_id in run.held.own:
            view.decided_by = run.names(view.decided_by)
            item = ReportItem(kind=REPORT_ITEM_KIND_FREEZE, at_us=view.made_us, peer=view.peer, freeze=view)
            yield _about(item, f"freeze {view.peer}", view.entry_id, b"")


def _about(item: ReportItem, what: str, entry_id: bytes, exchange_id: bytes) -> ReportItem:
    item.reference = f"{what} {(exchange_id or entry_id).hex()}"
    item.suggested, item.entry_id, item.exchange_id = TELLING_SAFETY, entry_id, exchange_id
    return item


def _marked(item: ReportItem, petition: Petition) -> ReportItem:
    mark = next((each for each in petition.marks if each.reference == item.reference), Mark())
    if mark.reference:
        item.mark.CopyFrom(mark)
    return item
