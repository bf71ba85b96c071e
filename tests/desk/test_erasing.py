"""Erasing an own entry: with its ground, by two where a fact protects, and out of every backup; and who hears of it."""

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from sqlalchemy import create_engine, insert, select

from node.errors import KeyErasedError
from node.store.entry_rows import entry_context
from node.store.keystore import KeyStore
from node.store.received_tables import legal_holds
from node.store.tables import case_revisions, cases, entries, entry_revisions, lookups
from node.store.vault import Vault, read_key_file
from node.wire import subject_pb2 as wire
from node.wire.codes_pb2 import ASYLUM_STATE_CLAIMED, LINK_KIND_CONTACTED_BY, LINK_KIND_USES, TRI_YES
from node.wire.desk_pb2 import GetCaseRequest, GetEntryRequest, PutCaseRequest, PutEntryRequest
from node.wire.entry_pb2 import Case, Entry, Link
from tests.desk.support import Desks, Status, asserted, lines_since, refused, search
from tests.desk.test_petitions import step, subjects, under_review
from tests.federation.support import altered, case_record, private_of, protection, telephone
from tests.peer_simulator import telephone_query
from tests.world import DAY_US, World, now_us

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from node.wire.subject_pb2_grpc import SubjectsAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="module")

ERASURE = wire.PETITION_KIND_ERASURE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def focal(desks: Desks) -> "AsyncIterator[SubjectsAsyncStub]":
    async with subjects(desks.world) as stub:
        yield stub


class Numbers:
    """Numbers that nobody has used yet."""

    last = 300

    @classmethod
    def new(cls) -> str:
        cls.last += 1
        return f"+12025550{cls.last}"


async def recorded(desks: Desks, *entries_: Entry) -> tuple[Case, list[Entry]]:
    """A case of MX with these entries."""
    stub = await desks("MX")
    case = (await stub.PutCase(PutCaseRequest(case=altered(case_record(), crimes=[1])))).case
    kept = [
        (await stub.PutEntry(PutEntryRequest(entry=altered(each, case_id=case.case_id)))).entry for each in entries_
    ]
    return case, kept


def plain(number: str) -> Entry:
    return telephone(number, roles=False)


async def erase(focal: "SubjectsAsyncStub", entry: Entry, petition: bytes = b"") -> wire.EntryErasure:
    request = wire.EraseEntryRequest(entry_id=entry.entry_id, petition_id=petition, ground="art. 17, wrong person")
    return (await focal.EraseEntry(request)).erasure


def rows(world: World, *tables: object) -> int:
    engine = create_engine(world["MX"].config.store.database)
    with engine.connect() as connection:
        found = sum(len(connection.execute(select(table)).all()) for table in tables)  # type: ignore[call-overload, misc]
    engine.dispose()
    return found


def back_up(world: World, to: Path) -> None:
    path = create_engine(world["MX"].config.store.database).url.database
    with closing(sqlite3.connect(str(path))) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)


async def test_what_is_erased_is_gone_from_backups_too_and_the_rest_of_the_case_stays(
    desks: Desks, focal: "SubjectsAsyncStub", tmp_path: Path
) -> None:
    stub, book = await desks("MX"), desks.book("MX")
    case, (gone, stays) = await recorded(desks, plain(Numbers.new()), plain(number := Numbers.new()))
    edited = (await stub.PutEntry(PutEntryRequest(entry=altered(stays, attribution="Invented")))).entry
    await stub.PutCase(PutCaseRequest(case=altered(case, title="Invented, again")))
    config = desks.world["MX"].config
    back_up(desks.world, tmp_path / "backup.db")
    before = book.size
    erasure = await erase(focal, gone)
    assert (erasure.state, list(erasure.protected)) == (wire.ENTRY_ERASURE_STATE_DONE, [])
    (line,) = [each for each in book.lines(before) if private_of(each).reason.startswith("ERASURE")]
    private = private_of(line)
    assert (private.officer, private.subject, private.case_reference) == ("focal", gone.entry_id, case.reference)
    assert private.reason == "ERASURE ERASED: art. 17, wrong person"
    await refused(stub.GetEntry(GetEntryRequest(entry_id=gone.entry_id)), Status.NOT_FOUND)
    # What stays is as it was, in a case of another id, with its past.
    now = (await stub.GetEntry(GetEntryRequest(entry_id=stays.entry_id))).entry
    assert now.case_id != case.case_id
    assert altered(now, case_id=case.case_id, revision=edited.revision) == edited
    assert now.revision == edited.revision + 1  # who has read it before is to read it again
    held = await stub.GetCase(GetCaseRequest(case_id=now.case_id))
    assert (held.case.title, [each.entry_id for each in held.entries]) == ("Invented, again", [stays.entry_id])
    await refused(stub.GetCase(GetCaseRequest(case_id=case.case_id)), Status.NOT_FOUND)
    changed = altered(now, attribution="Invented, again")
    assert (await stub.PutEntry(PutEntryRequest(entry=changed))).entry.revision == now.revision + 1
    (answer,) = await search(await desks("GT"), telephone_query(number), "MX")
    assert answer.outcome == 1
    # A backup of the database opens no more, since the key that it needs is gone.
    backup = create_engine(f"sqlite:///{tmp_path / 'backup.db'}")
    with backup.connect() as connection, KeyStore.open(config.store.keystore) as keys:
        vault = Vault(keys, read_key_file(config.store.key_encryption_key))
        row = connection.execute(select(entries).where(entries.c.entry_id == gone.entry_id)).one()
        with pytest.raises(KeyErasedError):
            vault.open(row.case_id, entry_context(row.entry_id, row.case_id, row.revision), row.sealed)
    backup.dispose()
    book.verify()


async def test_where_a_fact_protects_another_focal_point_confirms(desks: Desks, focal: "SubjectsAsyncStub") -> None:
    book, stub = desks.book("MX"), await desks("MX")
    entry = asserted(altered(telephone(Numbers.new()), protection=protection(victim=TRI_YES)))
    _, (kept,) = await recorded(desks, entry)
    before = book.size
    erasure = await erase(focal, kept)
    assert erasure.state == wire.ENTRY_ERASURE_STATE_PROPOSED
    assert erasure.protected
    await refused(erase(focal, kept), Status.INVALID_ARGUMENT)
    decision = wire.DecideEntryErasureRequest(erasure_id=erasure.erasure_id, confirm=True)
    await refused(focal.DecideEntryErasure(decision), Status.FAILED_PRECONDITION)
    said = [(kind, reason.partition(":")[0]) for kind, _, reason in lines_since(book, before)]
    assert said == [("WEAKENING", "ERASURE PROPOSED"), ("DENIED", "ERASURE SECOND_OFFICER")]
    await stub.GetEntry(GetEntryRequest(entry_id=kept.entry_id))
    async with subjects(desks.world, "focal-1") as other:
        waits = (await other.ListEntryErasures(wire.ListEntryErasuresRequest())).erasures[0]
        assert (waits.erasure_id, waits.proposed_by, waits.ground) == (
            erasure.erasure_id,
            "focal",
            "art. 17, wrong person",
        )
        done = (await other.DecideEntryErasure(decision)).erasure
        assert (done.state, done.decided_by) == (wire.ENTRY_ERASURE_STATE_DONE, "focal-1")
        await refused(other.DecideEntryErasure(decision), Status.NOT_FOUND)
    await refused(stub.GetEntry(GetEntryRequest(entry_id=kept.entry_id)), Status.NOT_FOUND)


async def test_what_is_declined_stays(desks: Desks, focal: "SubjectsAsyncStub") -> None:
    entry = asserted(altered(telephone(Numbers.new()), protection=protection(victim=TRI_YES)))
    _, (kept,) = await recorded(desks, entry)
    erasure = await erase(focal, kept)
    declined = wire.DecideEntryErasureRequest(erasure_id=erasure.erasure_id, confirm=False)
    assert (await focal.DecideEntryErasure(declined)).erasure.state == wire.ENTRY_ERASURE_STATE_DECLINED
    await (await desks("MX")).GetEntry(GetEntryRequest(entry_id=kept.entry_id))


async def test_nothing_of_the_entry_is_left_in_the_database(desks: Desks, focal: "SubjectsAsyncStub") -> None:
    stub = await desks("MX")
    case, (gone,) = await recorded(desks, plain(Numbers.new()))
    await stub.PutEntry(PutEntryRequest(entry=altered(gone, attribution="Invented")))
    tables = (entries, entry_revisions, lookups, case_revisions)
    before, whole = rows(desks.world, *tables), rows(desks.world, cases)
    await erase(focal, gone)
    assert rows(desks.world, *tables) < before
    assert rows(desks.world, cases) == whole  # in its place, the one that it moved to
    engine = create_engine(desks.world["MX"].config.store.database)
    with engine.connect() as connection:
        for table, column in ((entries, "entry_id"), (entry_revisions, "entry_id"), (lookups, "entry_id")):
            assert connection.execute(select(table).where(table.c[column] == gone.entry_id)).first() is None
        assert connection.execute(select(cases).where(cases.c.case_id == case.case_id)).first() is None
    engine.dispose()


async def test_what_was_linked_to_it_can_be_edited_and_keeps_the_protection_that_it_inherited(
    desks: Desks, focal: "SubjectsAsyncStub"
) -> None:
    stub = await desks("MX")
    case, (phone,) = await recorded(desks, plain(Numbers.new()))
    owner = asserted(altered(telephone(Numbers.new()), protection=protection(victim=TRI_YES), case_id=case.case_id))
    owner.links.append(Link(kind=LINK_KIND_USES, to_entry_id=phone.entry_id))
    user = (await stub.PutEntry(PutEntryRequest(entry=owner))).entry
    inherits = (await stub.GetEntry(GetEntryRequest(entry_id=phone.entry_id))).entry.inherited
    assert inherits.victim == TRI_YES
    erasure = await erase(focal, user)
    async with subjects(desks.world, "focal-1") as other:
        await other.DecideEntryErasure(wire.DecideEntryErasureRequest(erasure_id=erasure.erasure_id, confirm=True))
    thing = (await stub.GetEntry(GetEntryRequest(entry_id=phone.entry_id))).entry
    assert thing.inherited == inherits
    second = plain(Numbers.new())
    second.case_id = thing.case_id
    second.links.append(Link(kind=LINK_KIND_CONTACTED_BY, to_entry_id=thing.entry_id))
    linked = (await stub.PutEntry(PutEntryRequest(entry=second))).entry
    erasure = await erase(focal, thing)
    if erasure.state == wire.ENTRY_ERASURE_STATE_PROPOSED:
        async with subjects(desks.world, "focal-1") as other:
            await other.DecideEntryErasure(wire.DecideEntryErasureRequest(erasure_id=erasure.erasure_id, confirm=True))
    now = (await stub.GetEntry(GetEntryRequest(entry_id=linked.entry_id))).entry
    assert not now.links
    assert (
        await stub.PutEntry(PutEntryRequest(entry=altered(now, attribution="Invented")))
    ).entry.revision > now.revision


async def test_a_legal_hold_keeps_it(desks: Desks, focal: "SubjectsAsyncStub") -> None:
    case, (kept,) = await recorded(desks, plain(Numbers.new()))
    engine = create_engine(desks.world["MX"].config.store.database)
    until = {"until_us": now_us() + DAY_US, "placed_by": "focal", "placed_us": now_us(), "tag": b""}
    with engine.begin() as connection:
        connection.execute(insert(legal_holds).values(subject=case.case_id, law="Invented law", **until))
    engine.dispose()
    with pytest.raises(Exception, match="a legal hold keeps it: Invented law"):
        await erase(focal, kept)


@pytest.mark.parametrize("ground", ["", "x" * 41, "two\nlines"])
async def test_no_ground_erases_nothing(desks: Desks, focal: "SubjectsAsyncStub", ground: str) -> None:
    _, (kept,) = await recorded(desks, plain(Numbers.new()))
    request = wire.EraseEntryRequest(entry_id=kept.entry_id, ground=ground)
    await refused(focal.EraseEntry(request), Status.INVALID_ARGUMENT)
    await refused(focal.EraseEntry(altered(request, entry_id=secrets.token_bytes(16), ground="g")), Status.NOT_FOUND)


# --- who hears of it -------------------------------------------------------------------------------------------------


async def test_a_state_that_may_be_one_of_origin_hears_only_by_counsels_decision(
    desks: Desks, focal: "SubjectsAsyncStub"
) -> None:
    number, book = Numbers.new(), desks.book("MX")
    entry = asserted(altered(telephone(number), protection=protection(origins=["GT"])))
    _, (kept,) = await recorded(desks, entry)
    await search(await desks("GT"), telephone_query(number), "MX")
    petition = await under_review(focal, ERASURE, kept.entry_id)
    plan = wire.PlanNoticesRequest(petition_id=petition.petition_id)
    first = await focal.PlanNotices(plan)
    assert not first.notices
    (withheld,) = first.withheld
    assert (withheld.peer, withheld.entry_id, withheld.may_be_origin) == ("GT", kept.entry_id, True)
    with pytest.raises(Exception, match="name the petition"):
        await erase(focal, kept)
    with pytest.raises(Exception, match="decide first whether GT"):
        await erase(focal, kept, petition.petition_id)
    decision = wire.DecideOriginRequest(
        petition_id=petition.petition_id, entry_id=kept.entry_id, peer="GT", words="it expires within the week anyway"
    )
    await refused(focal.DecideOrigin(altered(decision, words="")), Status.INVALID_ARGUMENT)
    await refused(focal.DecideOrigin(altered(decision, peer="FR")), Status.INVALID_ARGUMENT)
    before = book.size
    await focal.DecideOrigin(decision)
    assert lines_since(book, before) == [("RECORD", "", "PETITION KEEP_FROM GT")]
    assert not (await focal.PlanNotices(plan)).notices
    await focal.DecideOrigin(altered(decision, notify=True))
    (notice,) = (await focal.PlanNotices(plan)).notices
    assert (notice.peer, notice.kind, len(notice.handle)) == ("GT", wire.NOTICE_KIND_RECALL, 16)
    await refused(step(focal, petition, "ERASE"), Status.INVALID_ARGUMENT)  # it still stands
    erasure = await erase(focal, kept, petition.petition_id)
    if erasure.state == wire.ENTRY_ERASURE_STATE_PROPOSED:
        async with subjects(desks.world, "focal-1") as other:
            await other.DecideEntryErasure(wire.DecideEntryErasureRequest(erasure_id=erasure.erasure_id, confirm=True))
    assert (await step(focal, petition, "ERASE")).state == wire.PETITION_STATE_ERASED


async def test_a_holder_that_is_no_state_of_origin_gets_what_any_correction_is(
    desks: Desks, focal: "SubjectsAsyncStub"
) -> None:
    number = Numbers.new()
    _, (kept,) = await recorded(desks, asserted(telephone(number)))
    await search(await desks("GT"), telephone_query(number), "MX")
    petition = await under_review(focal, wire.PETITION_KIND_CORRECTION, kept.entry_id)
    plan = await focal.PlanNotices(wire.PlanNoticesRequest(petition_id=petition.petition_id))
    (notice,) = plan.notices
    assert not plan.withheld
    assert (notice.peer, notice.kind, notice.may_be_origin) == ("GT", wire.NOTICE_KIND_UPDATE, False)


async def test_an_entry_that_a_peer_goes_on_seeing_as_it_was_waits(desks: Desks, focal: "SubjectsAsyncStub") -> None:
    number, stub = Numbers.new(), await desks("MX")
    entry = asserted(altered(telephone(number), protection=protection(origins=["GT"])))
    _, (kept,) = await recorded(desks, entry)
    await search(await desks("GT"), telephone_query(number), "MX")
    claimed = altered(kept, protection=altered(kept.protection, asylum=ASYLUM_STATE_CLAIMED))
    await stub.PutEntry(PutEntryRequest(entry=claimed))
    with pytest.raises(Exception, match="goes on seeing it as it was"):
        await erase(focal, kept)
