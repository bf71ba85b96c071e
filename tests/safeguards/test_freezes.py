"""Who may be the state that somebody is protected from sees nothing change when protection comes."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import grpc
import msgspec
import pytest
from sqlalchemy import URL, create_engine, select, update

from node.cli.serving import running
from node.config import Listen
from node.store import disclosures
from node.store.tables import entries, entry_revisions
from node.wire.codes_pb2 import LINK_KIND_USES, TRI_YES
from node.wire.desk_pb2 import GetCaseRequest, GetEntryRequest, ListCasesRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.entry_pb2 import Entry, Link
from node.wire.exchange_pb2 import Answer, Query, QueryResponse
from node.wire.ledger_pb2 import LEAF_KIND_RECORD
from node.wire.safeguard_pb2 import (
    FREEZE_STATE_EXPIRY,
    FREEZE_STATE_FREEZE,
    FREEZE_STATE_WAITING,
    DecideFreezeRequest,
    Freeze,
    ListFreezesRequest,
)
from tests.conftest import postgres_database
from tests.desk.support import Desks, Status, asserted, desks_of, refused
from tests.federation.support import case_record, decisions_of, person, private_of
from tests.ledger_lines import new_line
from tests.peer_simulator import channel_to, opened_answer, request, sealed_query, send, telephone_query
from tests.safeguards.support import CLAIMED, by_name, put, until, with_protection
from tests.world import DAY_US, World, free_ports, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEEN, MOVED, AWAY, EXPIRING, ORDINARY, KEPT, UNSEEN, USED, UNDONE = (f"+120255501{number}" for number in range(70, 79))
OTHERS = "+12025550189"
LASTS_US = 12_000_000
PERSON = "Invented Claimant"


@pytest.fixture(scope="module")
def world(world: World) -> World:
    """MX with telephones of suspects from GT, of which two are reviewed in some seconds."""
    soon = now_us() + LASTS_US
    records = {number: with_protection(number, origins=["GT"]) for number in (SEEN, MOVED, KEPT, UNSEEN, USED, UNDONE)}
    records |= {number: with_protection(number, origins=["GT"]) for number in (EXPIRING, ORDINARY)}
    records[AWAY] = with_protection(AWAY, origins=["HN"])
    for number in (EXPIRING, ORDINARY, KEPT):
        records[number].review_us = soon
    somebody = asserted(person(PERSON, origins=["GT"]))
    case = case_record()
    world["MX"].write((case, [*records.values(), somebody]))
    return world


async def entry_named(desks: Desks, number: str) -> Entry:
    for case_entries in await all_entries(desks):
        if number in (case_entries.telecom.telephone, *(name.full for name in case_entries.person.names)):
            return case_entries
    raise AssertionError(number)


async def all_entries(desks: Desks) -> list[Entry]:
    stub, found = await desks("MX"), list[Entry]()
    for case in (await stub.ListCases(ListCasesRequest())).cases:
        found += (await stub.GetCase(GetCaseRequest(case_id=case.case_id))).entries
    return found


async def exchanged(world: World, query: Query, asker: str = "GT") -> tuple[Answer, Mapping[str, int]]:
    """What a peer is answered, and how long each part of it is."""
    async with channel_to(world["MX"], world[asker].node) as channel:
        sealed = sealed_query(world[asker], "MX", query)
        data = await send(channel, request(sealed))
    opened = opened_answer(world, "MX", asker, sealed, data)
    envelope = QueryResponse.FromString(data).envelope
    return opened.body.answer, {field.name: len(value) for field, value in envelope.ListFields()}


async def shown(world: World, number: str, asker: str = "GT") -> Answer:
    return (await exchanged(world, telephone_query(number), asker))[0]


async def protect(desks: Desks, number: str, **changes: object) -> Entry:
    """Record that the holder claims asylum, and return the entry as it was before."""
    entry = await entry_named(desks, number)
    before = Entry()
    before.CopyFrom(entry)
    entry.protection.asylum = CLAIMED
    for name, value in changes.items():
        setattr(entry.telecom, name, value)
    assert await put(await desks("MX"), asserted(entry)) == b""
    return before


async def listed(desks: Desks) -> list[Freeze]:
    return list((await (await desks("MX", "focal")).ListFreezes(ListFreezesRequest())).freezes)


async def frozen(desks: Desks, entry_id: bytes) -> Freeze:
    (found,) = [each for each in await listed(desks) if each.entry_id == entry_id]
    return found


async def decide(desks: Desks, entry_id: bytes, state: int, until_us: int = 0, reason: str = "Invented.") -> Freeze:
    stub = await desks("MX", "focal")
    decided = DecideFreezeRequest(entry_id=entry_id, peer="GT", state=state, until_us=until_us, reason=reason)  # type: ignore[arg-type]
    return (await stub.DecideFreeze(decided)).freeze


async def test_the_view_ends_as_that_of_an_entry_that_nobody_kept(desks: Desks) -> None:
    """The first of the module, since it waits for a review date: EXPIRY equals an ordinary expiry, byte for byte."""
    world = desks.world
    before = {number: await exchanged(world, telephone_query(number)) for number in (EXPIRING, ORDINARY, KEPT)}
    assert all(len(answer.hits) == 1 for answer, _ in before.values())
    entry, kept = await protect(desks, EXPIRING), await protect(desks, KEPT)
    decided = await decide(desks, entry.entry_id, FREEZE_STATE_EXPIRY)
    assert (decided.state, decided.until_us) == (FREEZE_STATE_EXPIRY, entry.review_us)
    await decide(desks, kept.entry_id, FREEZE_STATE_FREEZE)
    assert now_us() < entry.review_us
    for number in (EXPIRING, ORDINARY, KEPT):
        assert await exchanged(world, telephone_query(number)) == before[number]
    await asyncio.sleep((entry.review_us - now_us()) / 1e6 + 0.01)
    expired = await exchanged(world, telephone_query(EXPIRING))
    assert expired == await exchanged(world, telephone_query(ORDINARY))
    assert expired[0] == Answer()
    assert await exchanged(world, telephone_query(KEPT)) == before[KEPT]
    assert await shown(world, EXPIRING) == Answer()  # nor is the revision that protects ever seen
    stub = await desks("MX", "focal")
    late = DecideFreezeRequest(entry_id=entry.entry_id, peer="GT", state=FREEZE_STATE_FREEZE, reason="Invented.")
    await refused(stub.DecideFreeze(late), Status.NOT_FOUND)


async def test_what_the_state_of_origin_saw_it_goes_on_seeing(desks: Desks) -> None:
    world = desks.world
    before = await exchanged(world, telephone_query(SEEN))
    assert len(before[0].hits) == 1
    old = await protect(desks, SEEN, holder_name="Invented Other")
    assert await exchanged(world, telephone_query(SEEN)) == before
    view = await frozen(desks, old.entry_id)
    assert (view.peer, view.revision, view.state) == ("GT", old.revision, FREEZE_STATE_WAITING)
    assert (view.until_us, view.decided_us) == (old.review_us, 0)
    # Decided on as it was: the ledger says on which revision.
    line = desks.book("MX").lines(peer="GT")[-1]
    (decision,) = decisions_of(line).entries
    assert decision.revision == old.revision
    # Who never saw it sees nothing of what changed either, by the rules and not by the freeze.
    assert (await shown(world, SEEN, "US")).hits  # asylum is kept from the state of origin alone
    desks.book("MX").verify()


async def test_it_is_found_by_what_it_was_found_by(desks: Desks) -> None:
    world = desks.world
    before = await exchanged(world, telephone_query(MOVED))
    await protect(desks, MOVED, telephone=OTHERS)
    assert await exchanged(world, telephone_query(MOVED)) == before
    assert await shown(world, OTHERS) == Answer()
    assert await shown(world, MOVED, "US") == Answer()
    assert len((await shown(world, OTHERS, "US")).hits) == 1


async def test_later_changes_do_not_reach_the_view(desks: Desks) -> None:
    before = await exchanged(desks.world, telephone_query(SEEN))
    entry = await entry_named(desks, SEEN)
    entry.telecom.holder_name = "Invented Third"
    await put(await desks("MX"), entry)
    assert await exchanged(desks.world, telephone_query(SEEN)) == before


async def test_who_saw_nothing_keeps_nothing(desks: Desks) -> None:
    old = await protect(desks, UNSEEN)
    assert await shown(desks.world, UNSEEN) == Answer()
    assert old.entry_id not in [each.entry_id for each in await listed(desks)]


async def test_an_older_revision_that_sql_puts_back_shows_nothing(desks: Desks) -> None:
    """Who never saw it would see it as it was before it was protected."""
    old = await protect(desks, UNDONE)
    assert await shown(desks.world, UNDONE) == Answer()
    assert len((await shown(desks.world, UNDONE, "US")).hits) == 1
    kept, past = entries.c, entry_revisions.c
    this = kept.entry_id == old.entry_id
    sealed = select(past.sealed).where(past.entry_id == old.entry_id, past.revision == old.revision).scalar_subquery()
    engine = create_engine(desks.world["MX"].config.store.database)  # as an administrator, beside the node
    with engine.begin() as connection:
        standing = connection.execute(select(kept.revision, kept.sealed).where(this)).one()._asdict()
        back = update(entries).where(this).values(revision=old.revision, sealed=sealed)
        assert connection.execute(back).rowcount == 1
    for asker in ("GT", "US"):
        assert await shown(desks.world, UNDONE, asker) == Answer()
    await refused((await desks("MX")).GetEntry(GetEntryRequest(entry_id=old.entry_id)), Status.UNAVAILABLE)
    with engine.begin() as connection:
        connection.execute(update(entries).where(this).values(**standing))
    engine.dispose()
    assert len((await shown(desks.world, UNDONE, "US")).hits) == 1


async def test_who_is_not_the_origin_sees_the_change_at_once(desks: Desks) -> None:
    assert (await shown(desks.world, AWAY)).hits
    entry = await entry_named(desks, AWAY)
    entry.protection.witness_protection = TRI_YES
    await put(await desks("MX"), asserted(entry))
    assert await shown(desks.world, AWAY) == Answer()
    assert entry.entry_id not in [each.entry_id for each in await listed(desks)]


async def test_what_a_thing_inherits_freezes_the_view_of_it(desks: Desks) -> None:
    world = desks.world
    before = await exchanged(world, telephone_query(USED))
    assert len(before[0].hits) == 1
    somebody, thing = await entry_named(desks, PERSON), await entry_named(desks, USED)
    somebody.protection.asylum = CLAIMED
    somebody.links.append(Link(kind=LINK_KIND_USES, to_entry_id=thing.entry_id))
    await put(await desks("MX"), asserted(somebody))
    assert (await entry_named(desks, USED)).inherited.asylum == CLAIMED
    assert await exchanged(world, telephone_query(USED)) == before
    assert (await frozen(desks, thing.entry_id)).state == FREEZE_STATE_WAITING
    assert await exchanged(world, by_name(PERSON)) != before


async def test_a_focal_point_decides_with_a_reason_and_a_line(desks: Desks) -> None:
    entry, book = await entry_named(desks, SEEN), desks.book("MX")
    before, until_us = book.size, now_us() + 30 * DAY_US
    view = await decide(desks, entry.entry_id, FREEZE_STATE_FREEZE, until_us, "Invented: it would tell.")
    assert (view.state, view.until_us, view.decided_by) == (FREEZE_STATE_FREEZE, until_us, "focal")
    line = book.lines(before)[0]
    private = private_of(line)
    assert (line.shared.kind, line.shared.peer, private.officer) == (LEAF_KIND_RECORD, "", "focal")
    assert (private.subject, private.reason) == (entry.entry_id, "FREEZE GT: Invented: it would tell.")
    again = await decide(desks, entry.entry_id, FREEZE_STATE_EXPIRY)
    assert (again.state, again.until_us) == (FREEZE_STATE_EXPIRY, until_us)
    assert len((await shown(desks.world, SEEN)).hits) == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"state": FREEZE_STATE_WAITING}, "state"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 41}, "reason"),
        ({"until_us": 1}, "until"),
        ({"until_us": 2**62}, "until"),
        ({"state": FREEZE_STATE_EXPIRY, "until_us": 2**62}, "until"),
    ],
)
async def test_a_decision_that_can_not_be_is_refused(desks: Desks, wrong: dict[str, object], field: str) -> None:
    entry, stub = await entry_named(desks, SEEN), await desks("MX", "focal")
    right = {"entry_id": entry.entry_id, "peer": "GT", "state": FREEZE_STATE_FREEZE, "reason": "Invented."}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.DecideFreeze(DecideFreezeRequest(**{**right, **wrong}))  # type: ignore[arg-type]
    assert caught.value.code() is Status.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith(f"{field}: ")


async def test_that_a_view_was_frozen_is_a_line_like_any_other(desks: Desks) -> None:
    entry, book = await entry_named(desks, USED), desks.book("MX")

    async def lines() -> list[str]:
        local = book.lines(kinds=(LEAF_KIND_RECORD,))
        return [private_of(line).reason for line in local if private_of(line).subject == entry.entry_id]

    assert "FROZEN GT" in await until(lines, lambda found: "FROZEN GT" in found)


async def test_what_one_process_freezes_the_other_shows_at_once(postgres_server: URL, tmp_path: Path) -> None:
    with postgres_database(postgres_server) as url:
        world = World.make(tmp_path, ("GT", "MX", "US"), databases={"MX": url})
        place = world["MX"]
        place.write((case_record(), [with_protection(SEEN, origins=["GT"])]))
        config, one = place.config, place.peer
        listen = Listen(*(f"127.0.0.1:{port}" for port in free_ports(3)))
        async with desks_of(world, "MX") as desks, running(msgspec.structs.replace(config, listen=listen)):
            place.peer = listen.peer
            before = await exchanged(world, telephone_query(SEEN))
            assert len(before[0].hits) == 1
            await protect(desks, SEEN, holder_name="Invented Other")
            assert await exchanged(world, telephone_query(SEEN)) == before
            place.peer = one
            assert await exchanged(world, telephone_query(SEEN)) == before


async def test_a_node_that_starts_again_shows_what_was_frozen(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX", "US"))
    world["MX"].write((case_record(), [with_protection(SEEN, origins=["GT"])]))
    async with desks_of(world, "MX") as desks:
        before = await exchanged(world, telephone_query(SEEN))
        await protect(desks, SEEN)
    async with running(world["MX"].config):
        assert await exchanged(world, telephone_query(SEEN)) == before


async def test_a_busy_hour_is_followed_in_a_quiet_one(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX"))
    world["MX"].write((case_record(), [with_protection(SEEN, origins=["GT"])]))
    async with running(world["MX"].config) as mx:
        assert mx.upkeep is not None
        mx.upkeep.cancel()  # so that nobody else follows

        async def left() -> int:
            return await mx.database.read(disclosures.left)

        await mx.freezing.catch_up()
        await mx.freezing.look()
        await exchanged(world, telephone_query(SEEN))
        for _ in range(3):
            lines = [new_line() for _ in range(disclosures.PAGE)]
            await asyncio.wrap_future(mx.writer.submit(lambda _: None, lines))
        await mx.freezing.look()
        assert await left() == 3 * disclosures.PAGE + 1
        await mx.freezing.look()  # nothing came since
        assert await left() == 2 * disclosures.PAGE + 1
        async with world["MX"].desk_channel() as channel:
            stub = DeskStub(channel)
            (case,) = (await stub.ListCases(ListCasesRequest())).cases
            (entry,) = (await stub.GetCase(GetCaseRequest(case_id=case.case_id))).entries
            entry.protection.asylum = CLAIMED
            await put(stub, asserted(entry))
        assert await left() < 10  # those of the officer alone
        assert len((await shown(world, SEEN)).hits) == 1
